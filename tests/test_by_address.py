"""The verbs that read stores, given the address of a bucket: the same numbers as from a disk, and no local copy."""

import json
import sys
import uuid
from pathlib import Path

import numpy as np
import pytest

from seamo.cli import main as seamo
from seamo.pretrain.logs import read_curves
from seamo.testing.stores import tiny_store
from seamo_bench.cli import main as seamo_bench
from seamo_prep.cli import main as seamo_prep
from tests import servers
from tests.bench.bench_store import toy_store
from tests.seamo.small_store import build_small_store

TINY = [
    "model.size=16", "model.patch=4", "model.dim=32", "model.depth=1", "model.decoder={depth: 1, width: 32, heads: 4}",
    "stage1={epochs: 1, warmup_epochs: 0}", "stage2={epochs: 1, warmup_epochs: 0}", "optimiser.batch=8",
    "machine.threads=1",
]  # fmt: skip
SUITE = "id: small\nrows:\n  - {store: toy, protocol: knn}\n  - {store: toy, protocol: linear}\n"


def call(main, *words: object) -> int:
    before, sys.argv = sys.argv, ["command", *map(str, words)]
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    finally:
        sys.argv = before
    return 0


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)  # whatever becomes a folder named s3: is seen here
    return folder


@pytest.fixture(params=["bucket", *(pytest.param(one, marks=pytest.mark.soak) for one in ("weed", "azure"))])
def place(request: pytest.FixtureRequest) -> str:
    """An empty place of a server: moto, SeaweedFS, Azure's emulator."""
    return f"{request.getfixturevalue(request.param)}/{uuid.uuid4().hex}"


@pytest.mark.soak
def test_a_run_and_its_features_are_those_of_a_disk(place: str, tmp_path: Path, work: Path) -> None:
    store = build_small_store(tmp_path / "stores", n=16, absent=(0,))
    servers.upload(store.path, f"{place}/small/one")
    settings = [word for one in TINY for word in ("--set", one)]
    for out, where in (("disk", store.path), ("address", f"{place}/small")):
        assert call(seamo, "pretrain", "seamo-tiny", "--store", where, "--out", out, *settings) == 0
        assert call(seamo, "embed", "disk", where, "-o", f"{out}.npz") == 0
    assert read_curves(Path("address"))["loss"] == read_curves(Path("disk"))["loss"]
    weights = "final/model.safetensors"
    assert Path("address", weights).read_bytes() == Path("disk", weights).read_bytes()
    ours, theirs = np.load("address.npz"), np.load("disk.npz")
    assert ours.files == theirs.files
    for name in ours.files:
        np.testing.assert_array_equal(ours[name], theirs[name])  # NaN where an image is absent
    assert {path.name for path in work.iterdir()} == {"disk", "address", "disk.npz", "address.npz"}
    kept = b"".join(path.read_bytes() for path in work.rglob("*") if path.is_file())
    assert not [name for name, secret in servers.SECRETS.items() if secret.encode() in kept]


def test_records_are_those_of_a_disk(place: str, tmp_path: Path, work: Path) -> None:
    store = toy_store(tmp_path / "stores")
    servers.upload(store.path, f"{place}/toy/one")
    Path("small.yaml").write_text(SUITE)
    for results, stores in (("disk", tmp_path / "stores"), ("address", place)):
        words = ("--stores", stores, "--results", results, "--backbones", "image-statistics")
        assert call(seamo_bench, "run", "small.yaml", *words) == 0
    found = {results: _records(Path(results)) for results in ("disk", "address")}
    assert len(found["disk"]) == 4  # k-NN once, three seeds of the linear head
    assert found["address"] == found["disk"]
    assert {path.name for path in work.iterdir()} == {"disk", "address", "small.yaml"}


def _records(folder: Path) -> dict[str, object]:
    """Record name -> all that it says but what it cost, and where."""
    told = {path.name: json.loads(path.read_text()) for path in folder.glob("*.json")}
    return {name: {k: v for k, v in one.items() if k not in ("cost", "environment")} for name, one in told.items()}


def test_a_store_is_verified_and_looked_at_where_it_lies(bucket: str, tmp_path: Path, work: Path) -> None:
    store = tiny_store(tmp_path / "stores")
    servers.upload(store.path, f"{bucket}/toy/one")
    assert call(seamo_prep, "verify", f"{bucket}/toy/one", "--deep") == 0
    assert call(seamo_prep, "stats", f"{bucket}/toy") == 0
    assert call(seamo_prep, "look", f"{bucket}/toy/one/store.json", "-o", "look.html") == 0
    assert [path.name for path in work.iterdir()] == ["look.html"]
