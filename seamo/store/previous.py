"""Stores of the format before (`seamo-store/1`): read and checked by its rules, to be brought to the present one.

It had no seal: store.json named the sha256 of index.parquet, checksums.json and ledger.json, and checksums.json the
size and crc32c of every shard file. A sample's digest covered its label.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import google_crc32c
import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from seamo.errors import StoreError
from seamo.files import open_files
from seamo.identity import canonical_json, file_sha256
from seamo.manifest import DatasetSpec
from seamo.sample import Sample
from seamo.seal import parse_json
from seamo.store import format as fmt
from seamo.store.columns import IndexColumns
from seamo.store.content import bad_digest, date_seconds
from seamo.store.meta import BUILD_AGAIN, PREVIOUS, Counts, StoreMeta, array_facts, band_facts, folds_of
from seamo.store.reader import Store
from seamo.store.table import row_groups

_BLOCK = 2**20


class _PreviousMeta(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["seamo-store/1"]
    id: str
    title: str
    build: str
    created: str
    layout: fmt.Layout
    codec: fmt.CodecName
    rows_per_shard: int
    num_shards: int
    spec: DatasetSpec
    split_scheme: str
    limit: int | None
    relax: tuple[str, ...]
    archive: str
    synthetic: dict[str, Any] | None
    subset: str
    counts: Counts
    ledger: int
    content: str
    checksums: dict[str, str]
    statistics: dict[str, dict[str, dict[str, dict[str, Any]]]]
    provenance: dict[str, Any]
    versions: dict[str, str]


class PreviousStore(Store):
    """A store of the format before, opened for copying.

    Args:
        path: Folder that holds store.json.

    Raises:
        StoreError: If its small files are not what store.json says, or it is of another format.
    """

    def __init__(self, path: Path) -> None:
        self.files = self._pixels = self._origin = open_files(path)
        where = path / fmt.META_NAME
        facts = parse_json(self.files.read(fmt.META_NAME), str(where), error=StoreError, fix=BUILD_AGAIN)
        try:
            old = _PreviousMeta.model_validate(facts)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise StoreError(f"is not a {PREVIOUS} description ({place}: {first['msg']})", str(where)) from error
        for name, said in old.checksums.items():
            if not (path / name).is_file() or file_sha256(path / name) != said:
                raise StoreError("is missing or has another sha256 than store.json says", str(path / name), BUILD_AGAIN)
        index = self.files.read(fmt.INDEX_NAME)
        kept = {name: getattr(old, name) for name in _PreviousMeta.model_fields if name not in ("format", "checksums")}
        self.meta = StoreMeta.model_construct(
            **kept,
            format="seamo-store/2",
            view="",
            on_bad="skip" if old.counts.bad else "raise",
            labels="",
            pixels_in="",
            arrays=array_facts(old.spec, old.codec),
            bands=band_facts(old.spec),
            pixels="",
            truth={},
            index=row_groups(index),
            seal="",
        )
        self._columns = IndexColumns(self.files, self.meta.spec, self.meta.index)


def damaged_files(store: PreviousStore) -> Iterator[tuple[str, str]]:
    """(name, what is wrong) of shard files that have another size or crc32c than recorded."""
    where = str(store.path / fmt.CHECKSUMS_NAME)
    files = parse_json(store.read_file(fmt.CHECKSUMS_NAME), where, error=StoreError, fix=BUILD_AGAIN)
    for name, facts in files.items():
        path = store.path / name
        if not path.is_file():
            yield name, "is missing"
        elif path.stat().st_size != facts["bytes"]:
            yield name, f"has {path.stat().st_size} bytes instead of {facts['bytes']}"
        elif _crc32c(path) != facts["crc32c"]:
            yield name, "has another crc32c than recorded"


def previous_digest(sample: Sample, spec: DatasetSpec) -> bytes:
    """The digest of one sample as the format before had it: with its label."""
    layers = {layer.id: sample.layers[layer.id] for layer in spec.layers if layer.id in sample.layers}
    dates = {stack: seconds.tolist() for stack, seconds in date_seconds(sample.time, spec).items()}
    label = sample.label
    told: Any = ["mask", *(str(size) for size in label.shape)] if isinstance(label, np.ndarray) else label
    head = {
        "key": sample.key,
        "layers": [[name, pixels.dtype.str, list(pixels.shape)] for name, pixels in layers.items()],
        "dates": {stack: [None if one == fmt.NO_DATE else one for one in values] for stack, values in dates.items()},
        "geo": None if sample.geo is None else [sample.geo.crs, *(float(one) for one in sample.geo.transform)],
        "label": list(told) if isinstance(told, tuple) else told,
    }
    state = hashlib.sha256(canonical_json(head) + b"\n")
    for pixels in layers.values():
        state.update(np.ascontiguousarray(pixels).data)
    if isinstance(label, np.ndarray):
        state.update(np.ascontiguousarray(label).data)
    return state.digest()


def previous_content(store: PreviousStore) -> str:
    """The content hash of that format, from what is stored; every sample is decoded."""
    state = hashlib.sha256(canonical_json({layer.id: layer.bands for layer in store.spec.layers}) + b"\n")
    frame = store.read_index(["key", "split", "readable"])
    names = folds_of(list(store.index.columns))
    folds = store.read_index(names).to_numpy() if names else None
    for i, (key, split, ok) in enumerate(zip(frame["key"], frame["split"], frame["readable"], strict=True)):
        digest = previous_digest(store[i], store.spec) if ok else bad_digest(str(key))
        numbers = "" if folds is None else " ".join(str(fold) for fold in folds[i])
        state.update(f"{key}|{digest.hex()}|{split}|{numbers}\n".encode())
    return state.hexdigest()


def _crc32c(path: Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            checksum = int(google_crc32c.extend(checksum, block))
    return checksum
