"""Samples a second of our Loader beside other readers of the same store: zarr-python and plain webdataset.

python perf/loading.py [--locations 96] [--rounds 5] [--batch 16]

The stores hold SSL4EO-S12-shaped samples that are made on the fly (synthetic): s1 and s2a, four dates, native 264, 132
and 44 px, lz4. Every reader gets two workers and the same batches in the same order; zarr-python and webdataset read
behind a torch DataLoader with two processes, which are started once. `full` adds the per-season crop, resize to 128 and
normalisation, the same to each. Before that, these alone are timed on one batch: as a CPU does them (sums of rows) and
as an accelerator does (matrix products).
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import webdataset
import zarr
from bench import alternate, machine
from made_archive import installed
from torch.utils.data import DataLoader, Dataset

from seamo.data import crops
from seamo.data.crops import CropConfig, crop_stack, draw_views
from seamo.data.loader import Loader
from seamo.manifest import DatasetSpec
from seamo.store.reader import Store, open_store

_LAYERS = ("s1", "s2a_10m", "s2a_20m", "s2a_60m")
_SIZE = 128


class ZarrDataset(Dataset[dict[str, np.ndarray[Any, Any]]]):
    """A sample through zarr-python, opened in each worker."""

    def __init__(self, path: Path, rows: list[int]) -> None:
        self._path, self._rows = path, rows
        self._group: zarr.Group | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, i: int) -> dict[str, np.ndarray[Any, Any]]:
        if self._group is None:
            self._group = zarr.open_group(self._path, mode="r")
        return {"row": np.asarray(self._rows[i])} | {name: self._group[name][self._rows[i]] for name in _LAYERS}


Epoch = Callable[[], Iterator[dict[str, torch.Tensor]]]


def ours(store: Store, batch: int) -> Epoch:
    def epoch() -> Iterator[dict[str, torch.Tensor]]:
        for one in loader:
            yield {"row": one.rows, **one.layers}

    loader = Loader(store, np.arange(len(store)), batch, layers=_LAYERS, workers=2)
    return epoch


def through_zarr(store: Store, batch: int) -> Epoch:
    return _loader(ZarrDataset(store.path / "data.zarr", list(range(len(store)))), batch)


def through_webdataset(store: Store, batch: int) -> Epoch:
    shards = [str(path) for path in sorted((store.path / "shards").glob("*.tar"))]
    return _loader(webdataset.WebDataset(shards, shardshuffle=False, empty_check=False).decode().map(_members), batch)


def _loader(data: Any, batch: int) -> Epoch:
    # Workers live through all rounds: what is compared is reading, not importing torch.
    loader = DataLoader(
        data, batch_size=batch, num_workers=2, persistent_workers=True, multiprocessing_context="forkserver"
    )
    return lambda: iter(loader)


def _members(sample: dict[str, Any]) -> dict[str, Any]:
    return {"row": int(sample["__key__"].rpartition("_")[2])} | {name: sample[f"{name}.npy"] for name in _LAYERS}


def full(batch: dict[str, torch.Tensor], spec: DatasetSpec) -> list[torch.Tensor]:
    """Crop, resize and normalise, the same for every reader."""
    views = draw_views(CropConfig(), batch["row"].long(), sensors=("s1", "s2"), seasons=4, seed=0, epoch=0)
    images = []
    for stack, sensor in (("s1", "s1"), ("s2a", "s2")):
        layers = [layer for layer in spec.stack_layers(stack) if layer.id in batch]
        bands = [name for layer in layers for name in layer.bands]
        pixels = crop_stack(batch, layers, views[sensor], bands=bands, size=_SIZE, holes=()).pixels
        images.append((pixels - 1500.0) / 1000.0)
    return images


def crop_cost(batch: dict[str, torch.Tensor], spec: DatasetSpec, rounds: int) -> str:
    """CPU milliseconds a location of `full`, both ways."""
    ways = {"sums of rows": crops._by_rows, "matrix products": crops._by_matrices}
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            crops._by_rows = way
            began = time.process_time()
            full(batch, spec)
            if number:
                found[name].append((time.process_time() - began) / len(batch["row"]) * 1e3)
    crops._by_rows = ways["sums of rows"]
    return ", ".join(f"{name} {statistics.median(x):.1f} ms ({min(x):.1f}-{max(x):.1f})" for name, x in found.items())


def build(folder: Path, count: int, layout: str) -> Store:
    name, raw, environment = installed(folder / f"package-{layout}", "ssl4eo-s12", count=count)
    root = folder / "stores" / layout
    subprocess.run([sys.executable, "-m", "seamo_prep.cli", "build", name, "--raw", str(raw), "--store", str(root),
                    "--layers", ",".join(_LAYERS), "--layout", layout, "--workers", "2"],
                   check=True, env=dict(environment), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    return open_store(root / name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--locations", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=16)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(machine() + f", torch {torch.__version__}, webdataset {webdataset.__version__}")
    with tempfile.TemporaryDirectory() as scratch:
        stores = {layout: build(Path(scratch), arguments.locations, layout) for layout in ("zarr", "webdataset")}
        readers = {"seamo Loader, zarr": (ours, "zarr"), "seamo Loader, webdataset": (ours, "webdataset"),
                   "zarr-python, DataLoader": (through_zarr, "zarr"),
                   "webdataset, DataLoader": (through_webdataset, "webdataset")}  # fmt: skip
        epochs = {name: reader(stores[layout], arguments.batch) for name, (reader, layout) in readers.items()}
        spec = stores["zarr"].spec
        batch = next(iter(epochs["seamo Loader, zarr"]()))
        print(f"crop, CPU time of a location: {crop_cost(batch, spec, arguments.rounds)}", flush=True)
        for mode in ("decode", "full"):
            print(f"\n{mode}: epochs of {arguments.locations} locations, batch {arguments.batch}, "
                  f"{arguments.rounds} rounds", flush=True)  # fmt: skip
            variants = {name: _run(epoch, spec, mode) for name, epoch in epochs.items()}
            print(alternate(variants, rounds=arguments.rounds).report("seamo Loader, zarr"), flush=True)


def _run(epoch: Epoch, spec: DatasetSpec, mode: str) -> Callable[[], int]:
    def run() -> int:
        count = 0
        for one in epoch():
            count += len(one["row"])
            if mode == "full":
                full(one, spec)
        return count

    return run


if __name__ == "__main__":
    main()
