"""Readers of one corpus, ours and others': how each writes it and how it gives epochs of batches.

Everyone else reads in processes behind a DataLoader (the one they bring or torch's), which are started once and live
through all epochs. An epoch is a function without arguments that yields dicts: `row`, and either the layers as stored
(`decode`) or `s1` and `s2a` cropped, resized and normalised (`full`).
"""

import importlib
import importlib.util
import shutil
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from corpus import LAYERS, Layers, bytes_of, empty_sample, tiff_names
from crop import CROPS
from torch.utils.data import DataLoader, Dataset

from seamo.data.loader import Loader
from seamo.inputs.speed import CroppedStacks
from seamo.store.reader import open_store

Batch = dict[str, Any]
Epoch = Callable[[], Iterator[Batch]]


@dataclass(frozen=True, slots=True)
class Job:
    """What one reader is asked for.

    Args:
        folder: Where the corpus lies in this reader's form.
        count: Samples of an epoch.
        batch: Samples of a batch.
        workers: Reading threads or processes.
        crop: What peers do to a sample, of `crop.CROPS`; empty for decoding alone.
    """

    folder: Path
    count: int
    batch: int
    workers: int
    crop: str

    def item(self, layers: Layers, row: int) -> Batch:
        """A sample as a peer's worker hands it out."""
        return {"row": row} | (CROPS[self.crop](layers, row) if self.crop else layers)


@dataclass(frozen=True, slots=True)
class Reader:
    """One way to read the corpus.

    Args:
        title: As tables show it.
        form: Which files: readers of one form share them.
        epochs: How.
        needs: Package, as it is imported.
    """

    title: str
    form: str
    epochs: Callable[[Job], Epoch]
    needs: str = ""

    @property
    def is_there(self) -> bool:
        """Whether its package is installed."""
        return not self.needs or importlib.util.find_spec(self.needs) is not None


def decoded_by_us(job: Job) -> Epoch:
    """The Loader."""
    store = open_store(job.folder)
    loader = Loader(store, np.arange(job.count), job.batch, layers=LAYERS, workers=job.workers)

    def epoch() -> Iterator[Batch]:
        for one in loader:
            yield {"row": one.rows, **one.layers}

    return epoch


def finished_by_us(job: Job) -> Epoch:
    """The Loader with images made in the reading threads, as pretraining on a CPU has them."""
    store = open_store(job.folder)
    images = CroppedStacks(store.spec)
    loader = Loader(store, np.arange(job.count), job.batch, layers=LAYERS, workers=job.workers, images=images)

    def epoch() -> Iterator[Batch]:
        for one in loader:
            yield {"row": one.rows, **one.images}

    return epoch


def by_us(job: Job) -> Epoch:
    """Ours."""
    return finished_by_us(job) if job.crop else decoded_by_us(job)


class Rows(Dataset[Batch]):
    """Samples by number, opened in each worker."""

    def __init__(self, job: Job, opened: Callable[[Path], Callable[[int], Layers]]) -> None:
        self._job, self._opened = job, opened
        self._read: Callable[[int], Layers] | None = None

    def __len__(self) -> int:
        return self._job.count

    def __getitem__(self, row: int) -> Batch:
        if self._read is None:
            self._read = self._opened(self._job.folder)
        return self._job.item(self._read(row), row)


def rows_of(opened: Callable[[Path], Callable[[int], Layers]]) -> Callable[[Job], Epoch]:
    """A torch DataLoader over `Rows`."""

    def epochs(job: Job) -> Epoch:
        loader = DataLoader(Rows(job, opened), job.batch, num_workers=job.workers, persistent_workers=True)
        return lambda: iter(loader)

    return epochs


def through_zarr(folder: Path) -> Callable[[int], Layers]:
    """zarr-python."""
    import zarr

    group = zarr.open_group(open_store(folder).path / "data.zarr", mode="r")
    arrays = {name: group[name] for name in LAYERS}
    return lambda row: {name: array[row] for name, array in arrays.items()}


def through_tensorstore(folder: Path) -> Callable[[int], Layers]:
    """tensorstore, a thread a worker; the layers of a sample are asked for together."""
    import tensorstore

    context = tensorstore.Context({"data_copy_concurrency": {"limit": 1}, "file_io_concurrency": {"limit": 1}})
    base = open_store(folder).path / "data.zarr"
    arrays = {name: tensorstore.open({"driver": "zarr3", "kvstore": f"file://{base / name}/"}, context=context,
                                     read=True, open=True).result() for name in LAYERS}  # fmt: skip

    def read(row: int) -> Layers:
        asked = {name: array[row].read() for name, array in arrays.items()}
        return {name: one.result() for name, one in asked.items()}

    return read


def through_rasterio(folder: Path) -> Callable[[int], Layers]:
    """The published files themselves, with one listing of a folder a location."""

    def read(row: int) -> Layers:
        layers = empty_sample()
        with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"):
            for name, t, c, path in tiff_names(folder, row):
                with rasterio.open(path) as file:
                    file.read(1, out=layers[name][t, c])
        return layers

    return read


def through_webdataset(job: Job) -> Epoch:
    """Its own WebLoader; batches are made in the workers, as it recommends."""
    import webdataset

    def item(sample: Batch) -> Batch:
        layers = {name: sample[f"{name}.npy"] for name in LAYERS}
        return job.item(layers, int(sample["__key__"]))

    shards = [str(path) for path in sorted((open_store(job.folder).path / "shards").glob("*.tar"))]
    data = webdataset.WebDataset(shards, shardshuffle=False, empty_check=False).decode().map(item)
    batches = data.batched(job.batch, collation_fn=torch.utils.data.default_collate)
    loader = webdataset.WebLoader(batches, batch_size=None, num_workers=job.workers, persistent_workers=True)
    return lambda: iter(loader)


def through_litdata(job: Job) -> Epoch:
    """Its StreamingDataset and StreamingDataLoader."""
    import litdata

    class Samples(litdata.StreamingDataset):  # type: ignore[misc]
        def __getitem__(self, index: Any) -> Batch:
            sample = super().__getitem__(index)
            return job.item({name: sample[name] for name in LAYERS}, int(sample["row"]))

    data = Samples(str(job.folder), shuffle=False)
    loader = litdata.StreamingDataLoader(data, batch_size=job.batch, num_workers=job.workers, persistent_workers=True)
    return lambda: iter(loader)


def through_mds(job: Job) -> Epoch:
    """MosaicML's StreamingDataset and StreamingDataLoader."""
    streaming = mosaic()

    class Samples(streaming.StreamingDataset):  # type: ignore[name-defined, misc]
        def __getitem__(self, at: Any) -> Batch:
            sample = super().__getitem__(at)
            return job.item({name: sample[name] for name in LAYERS}, int(sample["row"]))

    data = Samples(local=str(job.folder), shuffle=False, batch_size=job.batch)
    loader = streaming.StreamingDataLoader(data, batch_size=job.batch, num_workers=job.workers, persistent_workers=True)
    return lambda: iter(loader)


def mosaic() -> Any:
    """The module `streaming`. It asks transformers for two classes, which only batches of text are looked at for."""
    if "transformers" not in sys.modules and importlib.util.find_spec("transformers") is None:
        for name, value in (("feature_extraction_utils", "BatchFeature"), ("tokenization_utils_base", "BatchEncoding"),
                            ("models.auto.tokenization_auto", "AutoTokenizer")):  # fmt: skip
            module = types.ModuleType(f"transformers.{name}")
            setattr(module, value, type(value, (), {}))
            sys.modules[module.__name__] = module
        for name in ("transformers", "transformers.models", "transformers.models.auto"):
            sys.modules[name] = types.ModuleType(name)
    return importlib.import_module("streaming")


def load(package: str) -> None:
    """Import what a reader needs."""
    if package == "streaming":
        mosaic()
    elif package:
        importlib.import_module(package)


READERS: dict[str, Reader] = {
    "zarr": Reader("seamo Loader, lz4 (zarr)", "zarr", by_us),
    "wds": Reader("seamo Loader, not compressed (webdataset)", "wds", by_us),
    "litdata": Reader("litdata, not compressed", "litdata", through_litdata, "litdata"),
    "litdata-zstd": Reader("litdata, zstd", "litdata-zstd", through_litdata, "litdata"),
    "mds": Reader("MosaicML streaming, not compressed", "mds", through_mds, "streaming"),
    "mds-zstd": Reader("MosaicML streaming, zstd (unpacked once)", "mds-zstd", through_mds, "streaming"),
    "webdataset": Reader("webdataset, not compressed", "wds", through_webdataset, "webdataset"),
    "tensorstore": Reader("tensorstore, lz4, DataLoader", "zarr", rows_of(through_tensorstore), "tensorstore"),
    "zarr-python": Reader("zarr-python, lz4, DataLoader", "zarr", rows_of(through_zarr), "zarr"),
    "rasterio": Reader("rasterio, published files, DataLoader", "raw", rows_of(through_rasterio), "rasterio"),
}
OURS = ("zarr", "wds")


def write_form(form: str, store_path: Path, out: Path, count: int) -> None:
    """Write the corpus as a peer keeps it, out of our store."""
    if form.startswith("litdata"):
        _write_litdata(store_path, out, count, compression="zstd" if form.endswith("zstd") else None)
    elif form.startswith("mds"):
        _write_mds(store_path, out, count, compression="zstd" if form.endswith("zstd") else None)


class LitdataSample:
    """What litdata calls for each row, in processes of its own."""

    def __init__(self, store_path: Path) -> None:
        self._path = store_path

    def __call__(self, row: int) -> Batch:
        """One sample."""
        store = open_store(self._path)
        return {"row": row} | {name: store.read_layer(row, name) for name in LAYERS}


def _write_litdata(store_path: Path, out: Path, count: int, *, compression: str | None) -> None:
    import litdata

    litdata.optimize(LitdataSample(store_path), list(range(count)), str(out), chunk_bytes="64MB", num_workers=1,
                     compression=compression, verbose=False)  # fmt: skip


def _write_mds(store_path: Path, out: Path, count: int, *, compression: str | None) -> None:
    store = open_store(store_path)
    columns = {"row": "int"}
    for name, pixels in empty_sample().items():
        columns[name] = f"ndarray:{pixels.dtype}:{','.join(map(str, pixels.shape))}"
    shutil.rmtree(out, ignore_errors=True)
    with mosaic().MDSWriter(out=str(out), columns=columns, compression=compression, size_limit=2**26) as writer:
        for row in range(count):
            writer.write({"row": row} | {name: store.read_layer(row, name) for name in LAYERS})


def stored_mb(folder: Path, count: int) -> float:
    """MB of files a sample."""
    return bytes_of(folder) / count / 1e6
