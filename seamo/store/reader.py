"""Reading a store: samples, layers, stacks and rows of splits, by direct byte ranges."""

from collections.abc import Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from seamo.addresses import address_of, disk_path, is_web, join, last_name, parent
from seamo.errors import StoreError, UsageError
from seamo.files import Files, open_files
from seamo.files.disk import DiskFiles
from seamo.manifest import LayerSpec
from seamo.native.scratch import Scratch
from seamo.sample import GeoRef, Label, Sample
from seamo.seal import SealedFile, document_digest, open_manifest
from seamo.store import format as fmt
from seamo.store.columns import HEAVY, IndexColumns
from seamo.store.faces import Faces
from seamo.store.meta import BUILD_AGAIN, SaidByMeta, read_meta
from seamo.store.packing import DTYPE, unpack
from seamo.store.roots import latest_of, read_catalogue, store_urls
from seamo.store.shards import ChunkPlaces, Place
from seamo.store.subsets import AboutRows, Subset, draw, draw_rows

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[Any]
_WHICH = "Name one of them, or say which one is meant: seamo-prep latest ROOT ID/BUILD."
_CHUNK = Scratch()  # the stored bytes of the chunk that a thread decodes
_STEPS = Scratch()  # what stands in it, of a packed layer
_LIST = "`seamo-prep ls ROOT` lists stores."


def open_store(url: str | Path) -> "Store":
    """Open a published store.

    Args:
        url: A path or the address of a bucket or a web server (`seamo.addresses`): of the build, of a view in it
            (`views/<view8>`), of the store.json of either, or `<root>/<dataset-id>` when that holds exactly one store,
            or the root's catalogue says which one is meant (`seamo-prep latest`).

    Raises:
        StoreError: If there is no store, only an unfinished one, or several.

    Example:
        >>> from seamo.testing.stores import tiny_store
        >>> made = tiny_store()  # its folder goes when it does
        >>> store = open_store(made.path)
        >>> store.title, len(store), store[0].layers["s2_10m"].shape
        ('Tiny synthetic (12 samples)', 12, (2, 4, 24, 24))
    """
    url = parent(url) if last_name(url) == fmt.META_NAME else address_of(url)
    path = disk_path(url)
    if path is not None and not path.is_dir():
        raise StoreError("there is no such folder", where=url, fix=_LIST)
    if open_files(url).exists(fmt.META_NAME):
        return Store(url)
    found = store_urls(url)
    if len(found) == 1:
        return Store(found[0])
    if found:
        latest = latest_of(url)
        if latest:
            return Store(join(url, latest))
        names = ", ".join(one.removeprefix(f"{url}/") for one in found)
        raise StoreError(f"holds {len(found)} stores ({names})", url, _WHICH)
    if path is not None and (path.name.endswith(".partial") or any(path.glob(".*.partial"))):
        raise StoreError("is not finished", url, "Run the same `seamo-prep build` again: it goes on.")
    raise StoreError("holds no store (no store.json)", url, _LIST)


class PixelFiles(Protocol):
    """Files of which parts can be read."""

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        """Some bytes of a file; fewer than asked for where the file ends early."""

    def where(self, name: str) -> str:
        """The address of a name, for messages."""


@runtime_checkable
class KeepingFiles(PixelFiles, Protocol):
    """The same, where what was read is kept."""

    def forget(self, name: str, offset: int) -> None:
        """Keep no longer what lies there: a chunk of it was wrong."""


def views_of(store: "Store") -> list["Store"]:
    """The views of a store, in order of their names.

    Args:
        store: Not a view. On a web server the root's catalogue says which views there are; without one, none is found.
    """
    if is_web(store.url):
        dataset = parent(store.url)
        below = f"{last_name(dataset)}/{last_name(store.url)}/{fmt.VIEWS_NAME}/"
        catalogue = read_catalogue(parent(dataset))
        found = [last_name(one) for one in (catalogue.stores if catalogue else ()) if one.startswith(below)]
    else:
        found = [one for one in store.files.folders(fmt.VIEWS_NAME) if not one.startswith(".")]
    urls = [join(store.url, fmt.VIEWS_NAME, one) for one in sorted(found)]
    return [Store(url) for url in urls if open_files(url).exists(fmt.META_NAME)]


class Store(SaidByMeta, Faces):
    """A published store, or a view of one. Opening reads store.json only; the index is read when first needed.

    Thread-safe; pickles as its address. A store on a local disk may be used after a fork.

    Args:
        place: Address of the folder that holds store.json.
    """

    def __init__(self, place: str | Path) -> None:
        self.files: Files = open_files(place)
        self.meta = read_meta(self.files.read(fmt.META_NAME), self.files.where(fmt.META_NAME))
        self._columns = IndexColumns(self.files, self.meta.spec, self.meta.index)
        self._origin: PixelFiles = open_files(self.pixels_url) if self.meta.pixels_in else self.files
        self._pixels: PixelFiles = self._origin

    def __reduce__(self) -> tuple[type["Store"], tuple[Any, ...]]:
        return Store, (self.url,)

    def __len__(self) -> int:
        return self.meta.counts.samples

    @property
    def url(self) -> str:
        """Its address: a path, or that of a bucket or a web server."""
        return self.files.url

    @property
    def path(self) -> Path:
        """Its folder.

        Raises:
            UsageError: If it is not on a local disk.
        """
        path = disk_path(self.url)
        if path is None:
            raise UsageError("is not on this disk, so it has no path", self.url, "Use `store.url`, or copy it.")
        return path

    @property
    def pixels_url(self) -> str:
        """Where data.zarr or shards/ is: `url`, or of a view the store that it is of."""
        return parent(parent(self.url)) if self.meta.pixels_in else self.url

    @property
    def pixel_files(self) -> PixelFiles:
        """Where chunks are read from."""
        return self._pixels

    @property
    def is_on_disk(self) -> bool:
        """Whether chunks lie on a disk, which the kernel reads ahead, and not behind a network."""
        return isinstance(self._pixels, DiskFiles)

    def reading_from(self, files: PixelFiles) -> "Store":
        """The same store, its chunks read through other files; what comes wrong from them is read past them."""
        other = Store.__new__(type(self))  # not `copy`, which opens it again, and reads the index again
        other.__dict__.update(self.__dict__)
        other._pixels = files
        return other

    def read_table(self) -> Any:
        """The whole index as an Arrow table, with its metadata."""
        return self._columns.table(None)

    def read_file(self, name: str) -> bytes:
        """All bytes of one file of the store, unchecked.

        Raises:
            StoreError: If it cannot be read.
        """
        return self.files.read(name)

    def read_manifest(self) -> dict[str, SealedFile]:
        """Size and sha256 of every file of the store but store.json and the views.

        Raises:
            StoreError: If the manifest is damaged, or not the one that store.json names.
        """
        where = self.files.where(fmt.CHECKSUMS_NAME)
        data = self.files.read(fmt.CHECKSUMS_NAME)
        if document_digest(data) != self.meta.seal:
            raise StoreError("is not the manifest that store.json names", where, BUILD_AGAIN)
        return open_manifest(data, where, error=StoreError, fix=BUILD_AGAIN)

    @cached_property
    def index(self) -> "pd.DataFrame":
        """One row a sample: key, split, label, time, scene, y0, x0, height, width, shard, ...

        All columns of index.parquet except footprint, bbox, transform and sha256, which `read_index` gives.
        """
        return self.read_index([name for name in self._columns.names if name not in HEAVY | {"transform"}])

    def read_index(self, columns: list[str]) -> "pd.DataFrame":
        """Some columns of index.parquet (`footprint`: WKB bytes in WGS84)."""
        return self._columns.frame(columns)

    def read_columns(self, columns: list[str]) -> Any:
        """The same as an Arrow table: of a million rows seconds faster where there are sets."""
        return self._columns.table(columns)

    def read_rows(self, rows: NDArray[np.int64], columns: list[str]) -> Any:
        """The same of some rows, which ascend: no column is kept whole."""
        return self._columns.table(columns, rows)

    def read_codes(self, column: str) -> tuple[NDArray[np.int64], list[str]]:
        """A column of text as (N,) positions in the list of its values, -1 where there is none."""
        return self._columns.codes(column)

    def read_batches(self, columns: list[str], rows: int = 65536) -> Iterator[Any]:
        """The same as Arrow record batches, in order: memory for `rows` rows at a time."""
        return self._columns.batches(columns, rows)

    @property
    def index_schema(self) -> Any:
        """Names and Arrow types of the columns of index.parquet."""
        return self._columns.schema

    def row(self, key: str) -> int:
        """Row of a key.

        Raises:
            StoreError: If there is no such sample.
        """
        row = self._columns.rows_by_key.get(key)
        if row is None:
            raise StoreError(f"no sample {key!r}", where=self.title, fix="`store.index['key']` lists them.")
        return row

    def rows(self, split: str, fraction: float = 1.0, salt: int | str = 0) -> NDArray[np.int64]:
        """Rows of a split, ascending.

        Args:
            split: `train`, `val`, `test`, or `all`: every readable sample.
            fraction: Less than 1 for a subset by the rule of `seamo.store.subsets`.
            salt: Another subset of the same size; `seco` for SeCo's rule (with repeats, in drawn order).

        Raises:
            StoreError: If the store has no such split.
        """
        return draw_rows(self.spec, self._rows_of(split), fraction=fraction, salt=salt, about=self._about_rows())

    def subset(self, split: str, fraction: float = 1.0, salt: int | str = 0) -> Subset:
        """Rows as `rows` gives them, with the subset's name and the digest of its keys."""
        return draw(self.spec, split, self._rows_of(split), fraction=fraction, salt=salt, about=self._about_rows())

    def _rows_of(self, split: str) -> NDArray[np.int64]:
        if split == "all":
            return np.flatnonzero(self._columns.array("readable"))
        if split in self.meta.counts.splits and split:
            return np.flatnonzero(self._columns.is_text("split", split))
        there = ", ".join((*(name for name in self.meta.counts.splits if name), "all"))
        raise StoreError(f"no split {split!r} in scheme {self.meta.split_scheme}", self.title, f"Splits: {there}.")

    def _about_rows(self) -> AboutRows:
        columns = self._columns
        return AboutRows(partial(columns.texts, "key"), columns.class_of, partial(columns.text, "scene"))

    def class_of(self, i: int) -> int | tuple[int, ...] | None:
        """Class id, set of ids, or the most frequent class of a mask; None without a label."""
        return self._columns.class_of(i)

    def shape(self, i: int, layer: str) -> tuple[int, ...]:
        """True shape of one sample's layer: (T, C, H, W), or (H, W) of the mask."""
        if layer == fmt.LABEL:
            finest = fmt.finest_layer(self.spec)
            return finest.size or self._columns.size(i, finest, fmt.LABEL)
        spec = self.spec.layer(layer)
        return (spec.times, len(spec.bands), *(spec.size or self._columns.size(i, spec, layer)))

    def is_valid(self, i: int, layer: str) -> bool:
        """Whether the sample has this layer; if not, reading it gives the fill value."""
        return bool(self._columns.array(f"{layer}.valid")[i])

    def are_valid(self, rows: NDArray[np.int64], layer: str) -> NDArray[np.bool_]:
        """`is_valid` of several samples, (n,)."""
        return np.asarray(self._columns.array(f"{layer}.valid")[rows], dtype=np.bool_)

    def dates_of(self, rows: NDArray[np.int64], stack: str) -> NDArray[np.datetime64]:
        """Dates of several samples, (n, T) datetime64[s], NaT where absent."""
        return self._columns.dates(stack)[rows]

    def places(self, rows: NDArray[np.int64], layer: str) -> ChunkPlaces:
        """Where the chunks of a layer of several samples lie."""
        return self._columns.places(rows, layer)

    def read_layer(self, i: int, layer: str, out: Array | None = None, *, date: int | None = None) -> Array:
        """One layer of one sample, (T, C, H, W) in the layer's dtype; `label` gives the mask (H, W).

        Args:
            i: Row.
            layer: Layer id, or `label`.
            out: Where to write, of the layer's dtype; if it is larger than the image (size buckets), the rest is
                padded with fill at the bottom and right. Allocated if None.
            date: Only this date, (1, C, H, W): the others are read and checked, and not decoded.

        Raises:
            StoreError: If the bytes are truncated or damaged: names shard, sample and layer.
            UsageError: If `out` has another dtype or is too small, or there is no such date.
        """
        spec: LayerSpec | None = None if layer == fmt.LABEL else self.spec.layer(layer)
        if spec is None and fmt.label_kind(self.spec) != "mask":
            raise StoreError("labels are not masks", where=self.title, fix="Use read_label.")
        shape = self.shape(i, layer)
        if date is not None:
            if spec is None or not 0 <= date < shape[0]:
                raise UsageError(f"there is no date {date} of {shape[0] if spec else 1}", where=layer)
            shape = (1, *shape[1:])
        dtype = np.dtype("uint8" if spec is None else spec.dtype)
        target = np.empty(shape, dtype=dtype) if out is None else out
        if (
            target.dtype != dtype
            or target.ndim != len(shape)
            or any(have < need for have, need in zip(target.shape, shape, strict=True))
        ):
            raise UsageError(f"out is {target.dtype} {target.shape} instead of {dtype} {shape}", where=layer)
        place = self._columns.place(i, layer)
        if place.length == 0:
            target[...] = fmt.padding_value(spec)
            return target
        stored = (*shape[:-2], place.bucket, place.bucket) if place.bucket else shape
        if target.shape == stored and target.flags.c_contiguous:
            self._decode(i, layer, target, date)
            return target
        pixels = np.empty(stored, dtype=dtype)
        self._decode(i, layer, pixels, date)
        height, width = shape[-2:]
        if target.shape != shape:
            target[...] = fmt.padding_value(spec)
        target[..., :height, :width] = pixels[..., :height, :width]
        return target

    def _decode(self, i: int, layer: str, target: Array, date: int | None) -> None:
        """One chunk, or one of its dates, in the layer's own numbers."""
        facts = self.meta.arrays[layer]
        if facts.scale is None:
            self._decode_stored(i, layer, target, date)
            return
        stored = _STEPS.array(target.shape, DTYPE)
        self._decode_stored(i, layer, stored, date)
        unpack(stored, facts.scale, facts.offset or 0.0, target)

    def _decode_stored(self, i: int, layer: str, target: Array, date: int | None) -> None:
        place = self._columns.place(i, layer)
        shard = int(self._columns.array("shard")[i])
        name = fmt.shard_file(self.meta.layout, shard, fmt.array_name(layer, place.bucket))
        start, dates = (0, 1) if date is None else (date * target.nbytes, self.spec.layer(layer).times)
        total = target.nbytes * dates
        for files in (self._pixels, self._origin):  # what came wrong over a network once comes right the second time
            try:
                data, count, checksum = self._chunk(files, name, place, target if dates == 1 else None)
                problem = ""
                if count != place.length:
                    problem = f"the file ends early ({count} of {place.length} bytes)"
                elif checksum != place.crc32c:
                    problem = "the bytes are damaged (crc32c differs)"
                else:
                    if data is not None:
                        fmt.unpack(data, self.meta.codec, target, start=start, total=total)
                    return
            except StoreError as error:
                raise StoreError(error.what, self._named(name, i, layer), error.fix) from error
            except (RuntimeError, ValueError) as error:
                problem = f"the bytes do not decode ({error})"
            if isinstance(files, KeepingFiles):
                files.forget(name, place.offset)
        raise StoreError(problem, self._named(name, i, layer), "Copy the store again, or delete it and build it again.")

    def _chunk(self, files: PixelFiles, name: str, place: Place, target: Array | None) -> tuple[Any, int, int]:
        """The stored bytes of a chunk, how many and their checksum; None for bytes that are in `target` as they are."""
        read_into = getattr(files, "read_into", None)  # of a disk, and of what was fetched
        if read_into is None:
            data = files.read_range(name, place.offset, place.length)
            return data, len(data), fmt.crc32c(data)
        if self.meta.codec == "none" and target is not None and target.nbytes == place.length:
            return None, *read_into(name, place.offset, target)
        kept = _CHUNK.array((place.length,), np.uint8)
        return kept, *read_into(name, place.offset, kept)

    def _named(self, name: str, i: int, layer: str) -> str:
        return f"{self._pixels.where(name)}: sample {self._columns.text('key', i)} layer {layer}"

    def read_label(self, i: int) -> Label:
        """The label as in `Sample.label`."""
        if fmt.label_kind(self.spec) != "mask":
            return self._columns.label(i)
        return self.read_layer(i, fmt.LABEL) if self.is_valid(i, fmt.LABEL) else None

    def read_times(self, i: int) -> dict[str, NDArray[np.datetime64]]:
        """Stack -> (T,) datetime64[s], NaT where absent; stacks without any date are left out."""
        times = {stack: self._columns.dates(stack)[i] for stack in self.spec.stacks}
        return {stack: dates for stack, dates in times.items() if not np.isnat(dates).all()}

    def read_geo(self, i: int) -> GeoRef | None:
        """The georeference of the finest grid."""
        return self._columns.geo(i)

    def read_sample(self, i: int) -> Sample:
        """One whole sample, by its row.

        Raises:
            StoreError: If it cannot be read.
        """
        layers = {layer.id: self.read_layer(i, layer.id) for layer in self.spec.layers if self.is_valid(i, layer.id)}
        key, scene = self._columns.text("key", i), self._columns.text("scene", i)
        offset = int(self._columns.array("y0")[i]), int(self._columns.array("x0")[i])
        times, geo, label = self.read_times(i), self.read_geo(i), self.read_label(i)
        return Sample(key, layers, time=times, geo=geo, label=label, scene=scene, offset=offset, spec=self.spec)
