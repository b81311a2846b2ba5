"""store.json: what a store says of itself, sealed."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from seamo.addresses import parent
from seamo.bands import band
from seamo.errors import ManifestError, StoreError, UsageError
from seamo.manifest import DatasetSpec
from seamo.seal import check_seal, parse_json, seal_document
from seamo.store.format import FORMAT, LABEL, CodecName, Layout, blosc_settings, shuffle_of, stored_ids
from seamo.store.packing import STEP, check_packed

BUILD_AGAIN = "Copy the store again, or build it again."
PREVIOUS = "seamo-store/1"


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Counts(_Strict):
    """How many samples a store holds.

    Args:
        samples: Rows.
        bad: Rows of samples that could not be read.
        published: Samples of the published data set, None if unknown.
        splits: Samples of each split; "" for those that belong to none.
        without: Layer -> readable samples that do not have it.
    """

    samples: int
    bad: int
    published: int | None
    splits: dict[str, int]
    without: dict[str, int]


class ArrayFacts(_Strict):
    """How the chunks of one layer are stored.

    Args:
        dates: Dates in a chunk.
        codec, level: Compressor, and how hard it tries; `none` and 0 for plain bytes.
        shuffle: Of the compressor.
        scale, offset: A stored number s (int16; -32768 for none) means s x scale + offset in the layer's unit, and that
            is what is read; None where it is stored as it is (`seamo.store.packing`).
    """

    dates: int
    codec: Literal["lz4", "zstd", "none"]
    level: int = 0
    shuffle: Literal["none", "byte", "bit"] = "none"
    scale: float | None = None
    offset: float | None = None


class BandFacts(_Strict):
    """Where in the spectrum a band lies (`seamo.bands`); None where a sensor has no such number."""

    wavelength_nm: float | None
    width_nm: float | None


class RowGroup(_Strict):
    """A run of bytes of index.parquet: the file's start up to the end of a row group, or what follows the last one."""

    rows: int
    bytes: int
    sha256: str


class SplitTruth(_Strict):
    """What may be said about a split's labels: digests by which a record is judged without the pixels.

    Args:
        rows: Samples.
        keys: See `seamo.store.truth.keys_digest`.
        labels: Label space -> `seamo.store.truth.labels_digest`; empty where there are no labels.
    """

    rows: int
    keys: str
    labels: dict[str, str]


class StoreMeta(_Strict):
    """store.json. Its presence means that the store is published.

    Args:
        format: Version of the format.
        id, title: Of the data set; `title` says what it is a subset of, and "synthetic" when it is.
        build: The 8 hex digits of what decides the pixels.
        view: The 8 hex digits of what decides splits, label spaces and labels.
        pixels_in: Where data.zarr or shards/ lie, seen from here: "" for this folder, `../..` from a view.
        created: UTC, ISO 8601.
        layout, codec, rows_per_shard, num_shards: How the samples lie.
        arrays: Layer (and `label`) -> how its chunks are stored.
        bands: Layer -> band -> where in the spectrum it lies.
        spec: What the store holds: layers, label spaces, splits.
        split_scheme: Named in every table.
        limit, relax, on_bad, archive, labels: From the plan.
        synthetic: The declaration of a synthetic archive, or None.
        subset: Why this is not the whole published data set; empty if it is.
        counts: Numbers of samples.
        ledger: Number of entries of ledger.json.
        pixels: sha256 of decoded samples, keys and band names, whatever splits and labels are.
        content: sha256 of the pixels with labels, splits and folds.
        truth: Split (and `all`) -> digests of its keys and labels.
        index: Row groups of index.parquet; the last entry, of 0 rows, is what follows them.
        seal: Digest of checksums.json, which holds size and sha256 of every other file.
        statistics: `all` and `train` -> layer -> band -> count, mean, std, min, max (`all`: percentiles).
        provenance: Facts that the builder gave.
        versions: Of the tools that wrote the store.
    """

    format: Literal["seamo-store/2"]
    id: str
    title: str
    build: str
    view: str
    pixels_in: Literal["", "../.."]
    created: str
    layout: Layout
    codec: CodecName
    rows_per_shard: int
    num_shards: int
    arrays: dict[str, ArrayFacts]
    bands: dict[str, dict[str, BandFacts]]
    spec: DatasetSpec
    split_scheme: str
    limit: int | None
    relax: tuple[str, ...]
    on_bad: Literal["raise", "skip"]
    archive: str
    labels: str
    synthetic: dict[str, Any] | None
    subset: str
    counts: Counts
    ledger: int
    pixels: str
    content: str
    truth: dict[str, SplitTruth]
    index: tuple[RowGroup, ...]
    seal: str
    statistics: dict[str, dict[str, dict[str, dict[str, Any]]]]
    provenance: dict[str, Any]
    versions: dict[str, str]


def read_meta(data: bytes, where: str) -> StoreMeta:
    """Parse store.json strictly, after its seal was checked.

    Raises:
        StoreError: If it is not such a document, naming the first wrong field, or of another format.
    """
    facts = parse_json(data, where, error=StoreError, fix=BUILD_AGAIN)
    _check_format(facts.get("format"), where)
    facts = check_seal(facts, data, where, error=StoreError, fix=BUILD_AGAIN)
    try:
        meta = StoreMeta.model_validate(facts)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise StoreError(f"is not a {FORMAT} description ({place}: {first['msg']})", where, BUILD_AGAIN) from error
    _check_packing(meta, where)
    return meta.model_copy(update={"statistics": _in_order(meta)})


def _check_packing(meta: StoreMeta, where: str) -> None:
    """Refuse a packing that this version does not write, whose numbers it would read as others."""
    packed = {name: (facts.scale, facts.offset) for name, facts in meta.arrays.items()}
    packed = {name: how for name, how in packed.items() if how != (None, None)}
    try:
        check_packed(meta.spec, packed)
    except (UsageError, ManifestError) as error:
        raise StoreError(f"packs what cannot be packed ({error.what})", where, BUILD_AGAIN) from error
    for name, how in packed.items():
        if how != (STEP, 0.0):
            what = f"packs {name} with scale and offset {how}, this version reads {STEP} and 0"
            raise StoreError(what, where, "Read it with the version that wrote it, or build it again.")


def _in_order(meta: StoreMeta) -> dict[str, dict[str, dict[str, dict[str, Any]]]]:
    """Statistics with layers and bands in the spec's order: canonical JSON sorts them by name."""
    return {
        part: {
            layer.id: {name: layers[layer.id][name] for name in layer.bands if name in layers[layer.id]}
            for layer in meta.spec.layers
            if layer.id in layers
        }
        for part, layers in meta.statistics.items()
    }


def _check_format(said: Any, where: str) -> None:
    """Refuse a store.json of another format, saying what to do."""
    if said == PREVIOUS:
        raise StoreError(
            f"is a store of the format before ({PREVIOUS})",
            parent(where),
            f"Bring it to {FORMAT}, checked on the way: seamo-prep copy {parent(where)} ROOT.",
        )
    if said != FORMAT:
        raise StoreError(
            f"is of format {str(said)[:40]!r}, not {FORMAT}",
            where,
            "Read it with the version of seamo that wrote it.",
        )


class SaidByMeta:
    """What stores of every kind say by their `meta`: of several in one, that of all together."""

    meta: StoreMeta

    @property
    def spec(self) -> DatasetSpec:
        """What the store holds."""
        return self.meta.spec

    @property
    def title(self) -> str:
        """Name with what it is a subset of: "EuroSAT subset (202 of 27,000)"; every table shows it."""
        return self.meta.title

    @property
    def content(self) -> str:
        """The sha256 of what is inside, whatever the layout: pixels, labels, splits and folds."""
        return self.meta.content

    @property
    def pixels(self) -> str:
        """The sha256 of the pixels alone: every view of them has the same."""
        return self.meta.pixels


def meta_bytes(meta: StoreMeta) -> bytes:
    """The bytes of store.json: canonical JSON with a digest of its own other fields."""
    return seal_document(meta.model_dump(mode="json"))


def array_facts(spec: DatasetSpec, codec: CodecName, packed: Sequence[str] = ()) -> dict[str, ArrayFacts]:
    """How this version stores the chunks of every layer: one sample, all its dates; some packed."""
    settings = blosc_settings(codec)
    name, level = settings or ("none", 0)
    dtypes = {layer.id: layer.dtype for layer in spec.layers} | {LABEL: "uint8"} | dict.fromkeys(packed, "int16")
    dates = {layer.id: layer.times for layer in spec.layers} | {LABEL: 1}
    return {
        layer: ArrayFacts(
            dates=dates[layer],
            codec=name,
            level=level,
            shuffle=shuffle_of(np.dtype(dtypes[layer])) if settings else "none",
            scale=STEP if layer in packed else None,
            offset=0.0 if layer in packed else None,
        )
        for layer in stored_ids(spec)
    }


def band_facts(spec: DatasetSpec) -> dict[str, dict[str, BandFacts]]:
    """Where the bands of every layer lie."""
    return {layer.id: {name: _facts_of(layer.sensor, name) for name in layer.bands} for layer in spec.layers}


def _facts_of(sensor: str, name: str) -> BandFacts:
    known = band(sensor, name)
    return BandFacts(wavelength_nm=known.wavelength_nm or None, width_nm=known.width_nm)


def folds_of(columns: Sequence[str]) -> list[str]:
    """The columns of a cross-validation's folds, in order."""
    return sorted(
        (name for name in columns if name[:4] == "fold" and name[4:].isdigit()), key=lambda name: int(name[4:])
    )
