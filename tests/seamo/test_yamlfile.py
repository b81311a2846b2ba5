"""YAML that a person wrote: whatever is wrong with it is one message of ours, with file and line."""

import random
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from seamo.errors import ManifestError, RecipeError, SeamoError
from seamo.manifest import load_manifest, shipped_manifest_path
from seamo.pretrain.recipe import load_recipe, shipped_recipes
from seamo.yamlfile import read_mapping
from seamo_bench.suites import studies, suites
from seamo_bench.suites.study_file import load_study
from seamo_bench.suites.suite import load_suite

LAUGHS = "a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)
BAD = {
    "latin": ("id: ok\ntitle: Zürich\n".encode("cp1252"), r"line 2: is not UTF-8; it looks like Windows-1252"),
    "utf-16": ("id: ok\n".encode("utf-16"), "is not UTF-8; it looks like UTF-16"),
    "utf-16 without its mark": ("id: ok\n".encode("utf-16-be"), "is not UTF-8; it looks like UTF-16"),
    "cyrillic": ("id: Москва\n".encode("cp1251"), "line 1: is not UTF-8; it looks like an encoding of another script"),
    "nul": (b"id: a\n\nb: \0\n", r"line 3: holds the control character U\+0000"),
    "escape": (b"id: \x1b[31m\n", r"line 1: holds the control character U\+001B"),
    "picture": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "looks like no text at all"),
    "deep list": (b"id: " + b"[" * 100_000, "line 1: is nested more than 50 deep"),
    "deep mapping": (b"".join(b" " * i + b"a:\n" for i in range(90)), "line 51: is nested more than 50 deep"),
    "laughs": (LAUGHS.encode(), r"line \d+: unfolds to more than 200,000 values"),
    "merged laughs": (LAUGHS.encode() + b"x: {<<: *a11}\n", r"line \d+: unfolds to more than"),
    "inside itself": (b"a: &x [*x]\n", r"line 1: alias \*x has no anchor before it"),
    "twice": (b"id: a\nrows: {b: 1,\n b: 2}\n", "line 3: is not YAML .*key 'b' stands twice"),
    "tab": (b"id: a\nrows:\n\t- b\n", "line 3: is not YAML .*a tab indents the line"),
    "tag": (b"a: 1\nb: !!python/object/apply:os.system [id]\n", "line 2: tag .*os.system is not taken"),
    "own tag": (b"a: !include x.yaml\n", "line 1: tag !include is not taken"),
    "bytes": (b"a: !!binary aGk=\n", "line 1: tag .*binary is not taken"),
    "two": (b"a: 1\n---\nb: 2\n", "line 2: holds a second document"),
    "empty": (b"", "is empty"),
    "only a comment": (b"# nothing\n", "is empty"),
    "list": (b"- a\n", "is not a mapping"),
    "open quote": (b"a: 'b\n", "line 2: is not YAML"),
    "list as key": (b"? [a]\n: b\n", "line 1: is not YAML .*a key is no plain value"),
    "no such day": (b"a: 1\nb: 2026-13-01\n", "line 2: is not YAML .*month must be"),
    "no number": (b"a: !!int four\n", "line 1: is not YAML .*four"),
    "long number": (b"a: " + b"9" * 5000, "line 1: is not YAML .*4300 digits"),
    "large": (b"a: b\n" * 2_000_000, "has more than 8,388,608 bytes"),
}
DOORS = {"recipe": load_recipe, "suite": load_suite, "study": load_study, "manifest": lambda p: load_manifest(Path(p))}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("door", DOORS)
def test_every_door_says_file_and_line(tmp_path: Path, door: str, name: str) -> None:
    data, message = BAD[name]
    path = tmp_path / "bad.yaml"
    path.write_bytes(data)
    with pytest.raises(SeamoError, match=rf"bad\.yaml.*{message}"):
        DOORS[door](str(path))


def test_a_file_that_is_not_there_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(RecipeError, match="cannot be read"):
            read_mapping(path, error=RecipeError)


def test_what_is_shipped_reads_as_plain_yaml_does() -> None:
    paths = [shipped_manifest_path(), *shipped_recipes().values(), *suites().values()]
    assert len(paths) > 5
    for path in paths:
        assert read_mapping(path, error=ManifestError) == yaml.safe_load(path.read_text(encoding="utf-8"))


def test_own_keys_win_over_merged_ones_and_a_byte_order_mark_is_none(tmp_path: Path) -> None:
    path = tmp_path / "merged.yaml"
    path.write_bytes(b"\xef\xbb\xbfbase: &b {x: 1, y: 2}\nown: {<<: *b, y: 3}\n")
    assert read_mapping(path, error=RecipeError)["own"] == {"x": 1, "y": 3}


def test_bombs_take_no_memory(tmp_path: Path) -> None:
    code = """
import resource, sys
from pathlib import Path
from seamo.errors import RecipeError
from seamo.yamlfile import read_mapping
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_mapping(Path(sys.argv[1]), error=RecipeError)
except RecipeError:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    for name in ("laughs", "merged laughs", "deep list"):
        (tmp_path / "bomb.yaml").write_bytes(BAD[name][0])
        run = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "bomb.yaml")], capture_output=True, text=True, check=True
        )
        assert int(run.stdout) < 64 * 1024, name  # KiB


MEANT = rb"""&a |*a|!!int |<<: |- |{|[|? |: |'|"|%|---|.nan|.inf|1e999|2026-02-31|~|=|!!str |-1|[]|{}|a: """.split(b"|")
MEANT += [b"\t", b"\0", b"\n", b"\xff", b"\xc3\xa4", b"|\n"]


def _mutated(data: bytes, rng: random.Random) -> bytes:
    """A few bytes exchanged, removed, doubled, or replaced by what YAML finds meaning in."""
    found = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(found) + 1)
        kind = rng.randrange(4)
        if kind == 0 and at < len(found):
            found[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del found[at : at + rng.randint(1, 30)]
        elif kind == 2:
            found[at:at] = rng.choice(MEANT)
        else:
            found[at:at] = found[at : at + rng.randint(1, 60)]
    return bytes(found)


def _fuzz(tmp_path: Path, count: int) -> int:
    rng = random.Random(11)  # noqa: S311 - the same files every time
    shipped = suites()
    seeds = {
        "recipe": [path.read_bytes() for path in shipped_recipes().values()],
        "suite": [path.read_bytes() for path in shipped.values()],
        "study": [path.read_bytes() for path in studies().values()],
        "manifest": [b"datasets:\n" + part for part in _entries()],
    }
    refused, path = 0, tmp_path / "fuzzed.yaml"
    for _ in range(count):
        door = rng.choice(list(seeds))
        path.write_bytes(_mutated(rng.choice(seeds[door]), rng))
        try:
            DOORS[door](str(path))
        except SeamoError:
            refused += 1
    return refused


def _entries() -> list[bytes]:
    """Single entries of the shipped manifest that use no anchor of another."""
    text = shipped_manifest_path().read_bytes().partition(b"datasets:\n")[2]
    parts, lines = list[bytes](), text.splitlines(keepends=True)
    for line in lines:
        if line[:2] == b"  " and line[2:3].isalpha():
            parts.append(b"")
        if parts:
            parts[-1] += line
    return [part for part in parts if b"*" not in part][:5]


def test_mutated_files_end_in_our_errors(tmp_path: Path) -> None:
    assert _fuzz(tmp_path, 300) > 150


@pytest.mark.soak
def test_many_mutated_files_end_in_our_errors(tmp_path: Path) -> None:
    assert _fuzz(tmp_path, 100_000) > 50_000
