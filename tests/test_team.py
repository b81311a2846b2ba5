"""The day of a team, as `docs/guide-team.md` tells it: every command of it, who did what, and what is left where."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import yaml

from seamo.cli import main as seamo
from seamo.files import open_files
from seamo_bench.cli import main as seamo_bench
from seamo_prep.cli import main as seamo_prep
from seamo_prep.demo import write_demos
from tests import servers
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "guide-team.md").read_text("utf-8")
MAINS = {"seamo": seamo, "seamo-prep": seamo_prep, "seamo-bench": seamo_bench}
# What makes the pretraining of the page small enough for a test.
SMALL = shlex.split(
    "--device cpu --set stage1.epochs=1 --set stage1.warmup_epochs=0 --set stage2.epochs=1 --set stage2.warmup_epochs=0"
    " --set optimiser.batch=4 --set model.depth=1 --set model.dim=24 --set machine.workers=1"
)
PLANTED = {
    "AWS_ACCESS_KEY_ID": "AKIAPLANTED000000DAY",
    "AWS_SECRET_ACCESS_KEY": "planted/key/of/the/day/1111",
    "AWS_SESSION_TOKEN": "planted-token-of-the-day-2222",
    "AZURE_STORAGE_ACCOUNT_KEY": "cGxhbnRlZC1vZi10aGUtZGF5",
    "AZURE_STORAGE_SAS_TOKEN": "sv=2026&sig=planted-of-the-day-3333",
    "GOOGLE_SERVICE_ACCOUNT_KEY": '{"private_key": "planted-of-the-day-4444"}',
    "AWS_BEARER_TOKEN_BEDROCK": "planted-bearer-of-the-day-5555",
}
PROFILE = {"aws_access_key_id": "AKIAPROFILE000000DAY", "aws_secret_access_key": "profile/key/of/the/day/6666"}
SIGNATURE = "0123456789abcdefplantedsignature"
SECRETS = [*PLANTED.values(), *PROFILE.values(), SIGNATURE, "planted-of-the-day-3333", "planted-of-the-day-4444"]
Run = Callable[[str, Path], str]
"""Runs the commands of a block, a line each, in a folder; what they said."""


def people() -> dict[str, list[str]]:
    """Name -> blocks of commands and of what they say, of each section of the page."""
    found = {}
    for section in PAGE.split("\n## ")[1:]:
        blocks = re.findall(r"^```console\n(\$.*?)^```$", section, re.DOTALL | re.MULTILINE)
        if blocks:
            found[section.split(" ")[0].lower()] = blocks
    return found


def spend(day: Path, bucket: str, run: Run) -> dict[str, str]:
    """Go through the day; what each heard. Everybody has a home with temporary files of their own."""
    heard = {}
    for name, blocks in people().items():
        home = day / name
        (home / "tmp").mkdir(parents=True)
        if name == "ada":
            write_demos(home / "raw", only=["ssl4eo-s12", "eurosat"], size="tiny", workers=1, tell=lambda *_: None)
        if name == "dan":
            suite = re.search(r"^```yaml title=\"team.yaml\"\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
            (home / "team.yaml").write_text(suite[1] if suite else "")
        heard[name] = ""
        for block in blocks:
            lines = block.replace("s3://our-bucket", bucket).splitlines()
            said = run("\n".join(line[2:] for line in lines if line.startswith("$ ")), home)
            for line in lines:
                assert line.startswith("$ ") or line == "..." or line in said, (line, said)
            heard[name] += said
    return heard


def check(day: Path, bucket: str, heard: dict[str, str]) -> None:
    """Who did what, as the files say by themselves, and what is left where."""
    stores, results = open_files(f"{bucket}/stores"), open_files(f"{bucket}/results")
    run = set(open_files(f"{bucket}/runs/one").names())
    assert run >= {"run.json", "curves.csv", "final/model.safetensors", "checksums.json"}
    assert "claim.json" not in run
    entries = json.loads(stores.read("catalog.json"))["stores"]
    assert {name.partition("/")[0]: entry["who"] for name, entry in entries.items()} == {
        "ssl4eo-s12": "ada",
        "eurosat": "ada",
    }
    names = sorted(results.names())
    records = [json.loads(results.read(name)) for name in names if name.startswith("records/")]
    assert {one["environment"]["submitter"] for one in records} == {"dan"}
    told = {(one["facts"]["backbone"]["id"], one["facts"]["protocol"]["id"], one["status"]) for one in records}
    assert len(told) == len(records) == 4
    assert {status for _, _, status in told} == {"ok"}
    assert len([name for name in names if name.startswith("predictions/")]) == 4
    assert len([name for name in names if name.startswith("cards/")]) == 2
    entry = next(json.loads(results.read(name)) for name in names if name.startswith("stores/"))
    assert [one["who"] for one in entry["rebuilt"]] == ["ada"]
    ran = list(open_files(f"{bucket}/dan").names())
    assert len([name for name in ran if "/" not in name and name.endswith(".json")]) == 4
    assert {name.partition("/")[0] for name in ran if "/" in name} == {"features"}
    assert heard["eve"].count("plausible, not rerun: records/") == 4
    left = {one.name: {path.name for path in one.iterdir()} - {"tmp"} for one in day.iterdir()}
    assert left == {
        "ada": {"raw"},
        "ben": {"eurosat.html"},
        "chi": set(),
        "dan": {"team.yaml"},
        "eve": {"report.html"},
    }
    assert not [path for one in day.glob("*/tmp") for path in one.rglob("*") if path.is_file()]
    assert not [path for path in day.rglob("*") if path.name in ("store.json", "index.parquet", "catalog.json")]


def without_secrets(day: Path, bucket: str, heard: dict[str, str], secrets: Iterable[str] = SECRETS) -> None:
    """No secret stands in a file of anybody, in an object of the bucket, or in what was said."""
    files = open_files(bucket)
    kept = {str(path): path.read_bytes() for path in day.rglob("*") if path.is_file()}
    kept |= {name: files.read(name) for name in files.names()}
    kept |= {f"what {name} heard": said.encode() for name, said in heard.items()}
    assert {Path(name).name for name in kept} > {"run.json", "catalog.json", "store.json", "report.html", "recipe.yaml"}
    for secret in secrets:
        assert not [name for name, data in kept.items() if secret.encode() in data], secret


@pytest.fixture
def planted(bucket: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty bucket, asked with credentials that are easily found again."""
    for name, text in PLANTED.items():
        monkeypatch.setenv(name, text)
    return bucket


def test_the_day_goes_as_the_page_says_and_leaves_no_secret(
    planted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """In this process, one command after the other, each with --debug."""

    def call(command: str, home: Path) -> int:
        words = shlex.split(command.removesuffix("&"))
        if words[0] in ("export", "wait"):
            for name, _, text in (word.partition("=") for word in words[1:]):
                monkeypatch.setenv(name, text)
            return 0
        monkeypatch.chdir(home)
        monkeypatch.setattr(tempfile, "tempdir", str(home / "tmp"))
        more = SMALL if words[1] == "pretrain" else []
        monkeypatch.setattr(sys, "argv", [*words, *more, "--debug"])
        with pytest.raises(SystemExit) as end:
            MAINS[words[0]]()
        return int(end.value.code or 0)

    def run(commands: str, home: Path) -> str:
        capfd.readouterr()
        ends = [call(command, home) for command in commands.splitlines()]
        said = "".join(capfd.readouterr())
        assert not any(ends), said
        return said

    day = tmp_path / "day"
    heard = spend(day, planted, run)
    check(day, planted, heard)
    # Signed links, a key that is refused, and a profile, on the way to an error.
    profiles = tmp_path / "credentials"
    profiles.write_text("[team]\n" + "".join(f"{name} = {text}\n" for name, text in PROFILE.items()))
    capfd.readouterr()
    link = f"{planted}/stores/eurosat?X-Amz-Credential=AKIA&X-Amz-Signature={SIGNATURE}"
    assert call(f"seamo-prep verify '{link}'", day / "eve") == 1
    assert call(f"seamo-bench table '{link}'", day / "eve") == 1
    assert call(f"seamo-prep verify 's3://user:{SIGNATURE}@bucket/a'", day / "eve") == 1
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(profiles))
    monkeypatch.setenv("AWS_PROFILE", "team")
    assert call(f"seamo-bench table {planted}/results", day / "eve") == 0
    assert call(f"seamo-prep verify {planted}/stores/nothing", day / "eve") == 1
    heard["errors"] = "".join(capfd.readouterr())
    assert "an address has no part after '?'" in heard["errors"]
    assert "Traceback" in heard["errors"]
    without_secrets(day, planted, heard)


@pytest.mark.soak
@pytest.mark.parametrize("server", ["planted", "weed", "azure"])
def test_the_day_goes_by_processes(server: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """By a shell, each command a process, two workers at once; on moto, SeaweedFS and Azure's emulator."""
    place = f"{request.getfixturevalue(server)}/{uuid.uuid4().hex}"
    words = {"seamo": "seamo.cli", "seamo-prep": "seamo_prep.cli", "seamo-bench": "seamo_bench.cli"}
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for name, module in words.items():
        small = f'[ "$1" = pretrain ] && set -- "$@" {shlex.join(SMALL)}\n' if name == "seamo" else ""
        (bin_folder / name).write_text(f'#!/bin/bash\n{small}exec {sys.executable} -m {module} "$@"\n')
        (bin_folder / name).chmod(0o755)

    def run(commands: str, home: Path) -> str:
        env = {
            **os.environ,
            "PATH": f"{bin_folder}:{os.environ['PATH']}",
            "TMPDIR": str(home / "tmp"),
            "HOME": str(home),
        }
        env["SEAMO_WHO"] = home.name  # a second block is of the same shell
        script = ["bash", "-e", "-c", commands]
        done = subprocess.run(script, cwd=home, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    day = tmp_path / "day"
    heard = spend(day, place, run)
    for home in day.iterdir():
        shutil.rmtree(home / ".cache", ignore_errors=True)
    check(day, place, heard)
    without_secrets(day, place, heard, SECRETS if server == "planted" else servers.SECRETS.values())


def test_the_page_is_in_the_site_and_its_suite_is_one() -> None:
    assert "guide-team.md" in (ROOT / "mkdocs.yml").read_text("utf-8")
    assert list(people()) == ["ada", "ben", "chi", "dan", "eve"]
    assert [len(blocks) for blocks in people().values()] == [2, 1, 1, 1, 1]
    (suite,) = re.findall(r"^```yaml title=\"team.yaml\"\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert {row["store"] for row in yaml.safe_load(suite)["rows"]} == {"eurosat"}
