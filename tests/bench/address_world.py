"""A store, a suite, and results of a run on a disk, to which runs that write to an address are held."""

import json
from collections.abc import Iterator
from pathlib import Path

import torch

from seamo.files import open_files
from seamo_bench.records.layout import name_there
from seamo_bench.records.record import Record
from seamo_bench.runs.plan import Places, make_plan
from seamo_bench.runs.run import Machine, run_plan
from seamo_bench.suites.suite import load_suite
from tests.bench.bench_store import toy_store

torch.set_num_threads(1)
SUITE = """
id: shared
rows:
  - {store: toy, protocol: knn}
  - {store: toy, protocol: linear, seeds: 2, params: {steps: 2}}
"""
BACKBONES = ("image-statistics", "pixel-values")


def quiet(_done: int, _total: int, _what: str) -> None:
    pass


def places_of(world: Path, address: str) -> Places:
    return Places(world / "stores", Path(address), world / "weights")


def work(places: Places, **options: object) -> Iterator[Record]:
    suite = load_suite(str(Path(places.weights).parent / "suite.yaml"))
    return run_plan(
        make_plan(suite, BACKBONES, places), places, machine=Machine(), progress=quiet, inner=quiet, **options
    )


def plain(data: bytes) -> dict[str, object]:
    return {name: value for name, value in json.loads(data).items() if name not in ("cost", "environment")}


def of_disk(folder: Path) -> dict[str, object]:
    """What a run on a disk has left, by the names that it has at an address."""
    found: dict[str, object] = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".json" and path.parent == folder:
            found[name] = plain(path.read_bytes())
            record = json.loads(path.read_bytes())
            for file in filter(None, (record["predictions"], record["head"])):
                found[name_there(file["name"], file["sha256"])] = (folder / file["name"]).read_bytes()
        elif path.is_file() and name.startswith("features/"):
            found[name] = path.read_bytes()
    return found


def of_address(address: str) -> dict[str, object]:
    files = open_files(address)
    names = list(files.names())
    return {
        name: plain(files.read(name)) if name.endswith(".json") and "/" not in name else files.read(name)
        for name in names
    }


def make_world(folder: Path) -> Path:
    toy_store(folder / "stores", 30)
    (folder / "suite.yaml").write_text(SUITE)
    assert all(one.status == "ok" for one in work(Places(folder / "stores", folder / "disk", folder / "weights")))
    return folder


def lay_out(world: Path, address: str) -> None:
    """What a run at an address leaves, from what one on a disk has left."""
    for name in of_disk(world / "disk"):
        path = world / "disk" / name
        if not path.is_file():
            key, _, kind = name.partition(".")
            path = path.with_name(f"{key}.{kind.partition('.')[2]}")
        assert open_files(address).put_once(name, path.read_bytes()) is None
