"""Damage to a results folder, bit by bit: every change of every file is named, and nothing else is said of the rest."""

import contextlib
import io
import json
import resource
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seamo.errors import ProtocolError, SeamoError
from seamo_bench import facts as f
from seamo_bench.board.leaderboard import build_table
from seamo_bench.predictions import (
    ClassPredictions,
    Kind,
    TilePredictions,
    check_predictions,
    predictions_bytes,
    predictions_from_bytes,
)
from seamo_bench.records import record as r
from seamo_bench.records.examine import examine
from seamo_bench.records.heads import load_head

pytest.importorskip("safetensors")
from safetensors.numpy import save

CLASSES = ("Forest", "Sea")
SAMPLED = 150  # flips, in `make test`
TRUNCATED = 24


def facts(kind: str, backbone: str) -> f.Facts:
    return f.Facts(
        stores=(f.StoreFacts(id=f"a-{kind}", content="c" * 64),),
        split=f.SplitFacts(scheme="official", lists={"train": "1" * 64, "test": "2" * 64}),
        task=f.TaskFacts(kind=kind, classes=CLASSES, positive=1 if kind == "change" else None),
        backbone=f.BackboneFacts(id=backbone, card="d" * 64, weights="e" * 64),
        protocol=f.ProtocolFacts(id="knn", version=1, params={"k": 20, "rates": (1e-05, 0.25), "name": "\u00e9tude"}),
    )


def make(folder: Path) -> None:
    """A results folder with a file of every sort: classes, masks with class ids, a head, a blank, kept replicates."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 12)
    scores = (rng.normal(size=(12, 2)) + np.eye(2)[labels]).astype(np.float32)
    keys = np.array([f"a/{i}" for i in range(12)])
    places = rng.normal(size=(12, 2)).astype(np.float32)
    samples = ClassPredictions(keys, labels, scores, places=places, countries=np.array(["France", "Chad"] * 6))
    confusion = rng.integers(0, 9, (3, 2, 2))
    tiles = TilePredictions(
        np.array(list("abc")), confusion, ids=np.arange(12, dtype=np.uint8) % 2, shapes=np.array([[2, 2]] * 3)
    )
    about = r.About(
        stores=("Two classes",), backbone="Net", family="seamo", samples={"test": 12}, chosen={"rate": 0.1},
        group="net", pretraining_seed=3, pretraining={"model.dim": "96"},
    )  # fmt: skip
    rest: dict[str, Any] = {
        "flags": (r.Flag(kind="data-check", text="a \u00e9 b"),),
        "cost": r.Cost(seconds=1.5, flops_per_sample=1.25e21, notes="none"),
        "environment": {"torch": "2.13", "device": "cpu"},
    }
    one = facts("single-label", "net")
    path = folder / f"{f.run_key(one)}.head.safetensors"
    folder.mkdir()
    path.write_bytes(save({"weight": np.ones((2, 2), np.float32)}))
    head = r.HeadFile(name=path.name, sha256=r.file_sha256(path), tile=(8, 8), gsd_m=10.0, sources={"s2": ("B02", "")})
    r.write_record(folder, one, about=about, predictions=samples, head=head, **rest)
    r.write_record(folder, facts("change", "net"), about=about, predictions=tiles, **rest)
    r.write_record(folder, facts("change", "blind"), about=about, status="impossible", reason="needs B10", **rest)
    build_table(r.read_records(folder), folder, resamples=50)  # keeps replicates


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("attack") / "results"
    make(folder)
    assert [one for one in examine(folder) if one.problems] == []
    suffixes = sorted({path.suffix for path in files(folder)})
    assert suffixes == [".json", ".npz", ".safetensors"]
    assert len(files(folder)) == 3 + 2 + 1 + 2  # records, predictions, the head, replicates
    return folder


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def cells(folder: Path) -> dict[Any, Any]:
    made = build_table(r.read_records(folder), folder, resamples=50)
    return {place: cell.interval for place, cell in made.cells.items()}


def silent(folder: Path, path: Path, data: bytes, before: dict[Any, Any]) -> str:
    """How a damaged file of a folder fared: empty if it was named (or made anew), else what was wrong with that."""
    good = path.read_bytes()
    path.write_bytes(data)
    try:
        if path.parent != folder:  # kept replicates: made anew, so that every interval is what it was
            return "" if cells(folder) == before else "other intervals"
        named = {one.name for one in examine(folder) if one.problems}
        stem = path.name.partition(".")[0]
        if not any(name.startswith(stem) for name in named):
            return "was not named"
        others = {name for name in named if not name.startswith(stem)}
        if others:
            return f"{others} were named, too"
        rest = cells(folder)  # the table names the file and goes on with the rest
        if not all(rest[place] == before[place] for place in rest):
            return "other numbers in the table"
    except SeamoError as error:
        return f"stopped everything: {error}"
    finally:
        path.write_bytes(good)
    return ""


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def attacks(folder: Path, flips: int, cuts: int) -> Iterator[tuple[Path, bytes, str]]:
    """Files with one bit turned, and cut short."""
    rng = np.random.default_rng(1)
    listed = files(folder)
    for path in listed:
        data = path.read_bytes()
        for bit in rng.integers(0, 8 * len(data), flips // len(listed)).tolist():
            yield path, flipped(data, bit), f"bit {bit} of {len(data)} bytes"
        for size in {0, 1, len(data) - 1, *rng.integers(0, len(data), cuts // len(listed)).tolist()}:
            yield path, data[:size], f"cut to {size} of {len(data)} bytes"


def check(whole: Path, folder: Path, flips: int, cuts: int) -> int:
    shutil.copytree(whole, folder)
    before, count, wrong = cells(folder), 0, []
    for path, data, what in attacks(folder, flips, cuts):
        count += 1
        told = silent(folder, path, data, before)
        if told:
            wrong.append(f"{path.name[-30:]} {what}: {told}")
    assert wrong == [], f"{len(wrong)} of {count}"
    return count


def test_flipped_bits_and_cut_files_are_named(whole: Path, tmp_path: Path) -> None:
    assert check(whole, tmp_path / "results", SAMPLED, TRUNCATED) >= SAMPLED + TRUNCATED - 16


@pytest.mark.soak
def test_many_flipped_bits_and_cut_files_are_named(whole: Path, tmp_path: Path) -> None:
    count = check(whole, tmp_path / "results", 4000, 800)
    print(f"{count:,} damaged files, all named")  # noqa: T201 - what `make soak` shows


def leaves(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if isinstance(value, dict | list) and value:
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for name, inner in pairs:
            yield from leaves(inner, (*place, name))
    else:
        yield place, value


def other(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value * (1 + 1e-15) + 1e-300 if isinstance(value, float) else value + 1
    return f"{value}x" if isinstance(value, str) else "x"


def test_every_edited_field_is_named_however_the_file_is_laid_out(whole: Path, tmp_path: Path) -> None:
    """As an editor or a script would leave it: parsed, one value changed, written in another layout."""
    folder = tmp_path / "results"
    shutil.copytree(whole, folder)
    count = 0
    for path in sorted(folder.glob("*.json")):
        good = path.read_bytes()
        for place, value in leaves(json.loads(good)):
            document = json.loads(good)
            inside = document
            for name in place[:-1]:
                inside = inside[name]
            inside[place[-1]] = other(value)
            if inside[place[-1]] == value:
                continue
            path.write_text(json.dumps(document))
            named = [one.name for one in examine(folder) if one.problems]
            assert any(name.startswith(path.stem) for name in named), (path.name, place)
            count += 1
        path.write_text(json.dumps(json.loads(good)))  # another layout alone is no damage
        assert [one for one in examine(folder) if one.problems] == []
        path.write_bytes(good)
    assert count > 150


def test_a_damaged_head_is_refused_where_it_is_used(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    shutil.copytree(whole, folder)
    (path,) = folder.glob("*.safetensors")
    record = next(one for one in r.read_records(folder).records if one.head is not None)
    assert record.head is not None
    path.write_bytes(flipped(path.read_bytes(), 8 * 80))
    with pytest.raises(ProtocolError, match="sha256 differs"):
        load_head(record.head, folder)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "no JSON"),
        (b"\xff\xfe{}", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b'{"a":' * 100_000, "no JSON"),
        (b"[]", "not one JSON object"),
        (b'{"key": 1, "key": 2}', "stands twice"),
        (b'{"format": NaN}', "format"),
    ],
)
def test_what_is_no_record_is_named(tmp_path: Path, data: bytes, what: str) -> None:
    path = tmp_path / "odd.json"
    path.write_bytes(data)
    (damage,) = r.read_records(tmp_path).damaged
    assert what in damage.reason
    with pytest.raises(ProtocolError, match=r"odd\.json"):
        build_table(r.read_records(tmp_path), tmp_path)


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def test_predictions_of_a_forger_end_in_our_error() -> None:
    """Bytes whose sha256 is right, because whoever wrote the record wrote them."""
    good = ClassPredictions(np.array(["a", "b"]), np.array([0, 1]), np.zeros((2, 2), np.float32))
    arrays = dict(np.load(io.BytesIO(predictions_bytes(good))))
    assert predictions_from_bytes(npz(**arrays)).keys.tolist() == ["a", "b"]
    odd = {
        "no zip": b"x" * 100,
        "no keys": npz(**{name: array for name, array in arrays.items() if name != "keys"}),
        "keys of numbers": npz(**{**arrays, "keys": np.arange(2)}),
        "labels of text": npz(**{**arrays, "labels": np.array(["a", "b"])}),
        "scores of a cube": npz(**{**arrays, "scores": np.zeros((2, 2, 2), np.float32)}),
        "scale of nobody": npz(**{**arrays, "scale": np.array("odds")}),
        "pickled": npz(**{**arrays, "units": np.array([{}, {}], dtype=object)}),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in arrays:
            archive.writestr(f"{name}.npy", b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'shape': (9999999999,), }")
    odd["more than it holds"] = buffer.getvalue()
    for name, data in odd.items():
        with pytest.raises(ProtocolError, match="predictions"):
            predictions_from_bytes(data)
        assert name
    rng = np.random.default_rng(3)
    data = predictions_bytes(good)
    for bit in rng.integers(0, 8 * len(data), 500).tolist():
        with contextlib.suppress(ProtocolError):
            predictions_from_bytes(flipped(data, bit))


def test_predictions_that_no_run_makes_are_refused_before_they_are_scored() -> None:
    """Of every kind of task; a referee would end in an index of numpy's otherwise, and a table show a score."""
    one = ClassPredictions(np.array(["a", "b"]), np.array([0, 1]), np.zeros((2, 2), np.float32))
    sets = replace(one, labels=np.eye(2, dtype=np.uint8))
    counts = np.full((2, 2, 2), 3, np.int64)
    sides = np.array([[3, 4], [3, 4]], np.int32)
    maps = TilePredictions(one.keys, counts, ids=np.zeros(24, np.uint8), shapes=sides)
    folds = {"repeats": np.array([0, 0]), "folds": np.array([0, 1])}
    sevens = np.full((2, 2), 7.0)
    check_predictions(one, 2, "single-label")
    check_predictions(replace(one, **folds), 2, "single-label")
    check_predictions(sets, 2, "multi-label")
    check_predictions(maps, 2, "segmentation")
    odd: list[tuple[ClassPredictions | TilePredictions, Kind, str]] = [
        (one, "multi-label", "not those of a multi-label task"),
        (sets, "single-label", "not those of a single-label task"),
        (one, "segmentation", "not those of a segmentation task"),
        (maps, "single-label", "not those of a single-label task"),
        (replace(one, scores=np.full((2, 2), 1e300)), "single-label", "not finite"),
        (replace(one, scores=sevens, scale="probabilities"), "single-label", "probabilities run from 7"),
        (
            replace(one, scores=-sevens, scale="probabilities"),
            "single-label",
            "probabilities run from -7",
        ),
        (replace(one, repeats=np.array([0, 0]), folds=np.array([0, 0])), "single-label", "repeat 0 has one fold"),
        (replace(one, keys=np.array(["a", "a"]), **folds), "single-label", "stands twice"),
        (replace(maps, shapes=-sides), "segmentation", "do not fill"),
        (replace(maps, shapes=np.concatenate([sides, [[0, 0]]])), "segmentation", "do not fill"),
        (replace(maps, shapes=np.array([[3, 4, 1], [3, 4, 1]])), "segmentation", "do not fill"),
        (replace(maps, ids=np.zeros(24, np.uint16)), "segmentation", "class ids are uint16"),
        (replace(maps, confusion=np.full((2, 2, 2), 2**62)), "segmentation", "more pixels"),
        (replace(maps, tilewise=np.full((2, 2, 2), 2**63, np.uint64)), "segmentation", "more pixels"),
    ]
    for predictions, kind, what in odd:
        with pytest.raises(ProtocolError, match=what):
            check_predictions(predictions, 2, kind)


def test_predictions_that_unpack_without_bound_are_refused_before_they_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seamo_bench.predictions.LARGEST", 2**20)
    path, megabytes = tmp_path / "bomb.npz", 160
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({megabytes * 2**20},), }}".ljust(117) + "\n"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("keys.npy", "w") as file:
        file.write(b"\x93NUMPY\x01\x00v\x00" + header.encode())
        for _ in range(megabytes):
            file.write(bytes(2**20))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ProtocolError, match="more than the"):
        predictions_from_bytes(path.read_bytes())
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 64
