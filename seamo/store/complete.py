"""The small files of a store, made from what the sidecars of its shards say: metadata, index, checksums, store.json."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seamo import stats
from seamo.identity import write_atomically
from seamo.manifest import DatasetSpec
from seamo.seal import SealedFile
from seamo.store import format as fmt
from seamo.store.buildplan import BuildPlan, build8, view8
from seamo.store.content import pixels_hash
from seamo.store.meaning import Meaning
from seamo.store.meta import Counts, StoreMeta, array_facts, band_facts
from seamo.store.moments import all_statistics, moments_bytes, part_statistics
from seamo.store.publish import seal
from seamo.store.sidecar import Sidecar
from seamo.store.splits import Assignment, SampleFacts, assign
from seamo.store.table import RowFacts, index_bytes, row_groups
from seamo.store.zarrmeta import write_zarr_metadata


@dataclass(frozen=True, slots=True)
class Said:
    """What is said of a store beside its pixels: see `StoreWriter.publish`."""

    splits: Mapping[str, str] | Assignment | None
    labels: Mapping[str, int | tuple[int, ...] | None] | None
    ledger: Sequence[tuple[str, str]]
    provenance: Mapping[str, Any]
    subset: str
    countries: Mapping[str, str] | None


def complete(
    folder: Path, plan: BuildPlan, keys: Sequence[str], *, rows_per_shard: int, sidecars: Iterable[Sidecar], said: Said
) -> None:
    """Write everything but the shards, store.json last.

    Args:
        folder: Where the shards are, or an empty one.
        plan: What is built.
        keys: Of every row.
        rows_per_shard: Of a full shard.
        sidecars: Of every shard, in order.
        said: What splits, labels and the rest are.

    Raises:
        StoreError: If the scheme needs lists that are not there.
    """
    gathered = _Gathered(plan, sidecars)
    rows = gathered.rows
    if said.labels is not None:
        rows = [replace(row, label=_plain_label(said.labels.get(row.key))) for row in rows]
    spec = plan.spec
    facts = SampleFacts(keys, [_class_of(row) for row in rows], [row.scene for row in rows])
    assigned, folds = assign(spec, plan.split_scheme, facts, published=said.splits)
    names = ["" if row.reason else split for row, split in zip(rows, assigned, strict=True)]
    if plan.layout == "zarr":
        write_zarr_metadata(
            folder / fmt.ZARR_NAME,
            spec,
            codec=plan.codec,
            rows_per_shard=rows_per_shard,
            keys=keys,
            dates={stack: np.array([row.dates[stack] for row in rows]) for stack in spec.stacks},
            buckets=_buckets(plan, rows),
            packed=plan.pack,
        )
    bad = [[row.key, row.reason] for row in rows if row.reason]
    left_out = [*bad, *([name, reason] for name, reason in said.ledger), *_infinite(spec, rows)]
    masks = [None if row.classes is None else dict(row.classes) for row in rows]
    index = index_bytes(spec, rows, names, folds, countries=said.countries)
    for name, data in {
        fmt.INDEX_NAME: index,
        fmt.MOMENTS_NAME: moments_bytes(gathered.moments, masks if fmt.label_kind(spec) == "mask" else None),
        fmt.LEDGER_NAME: json.dumps([{"name": n, "reason": r} for n, r in left_out], indent=1).encode(),
    }.items():
        write_atomically(folder / name, data)
    meaning = Meaning(
        keys=keys,
        digests=[row.digest for row in rows],
        labels=[row.label for row in rows],
        splits=names,
        folds=folds,
        readable=np.array([not row.reason for row in rows]),
        masks=masks,
    )
    meta = _meta(plan, gathered, meaning, missing=said.subset, rows_per_shard=rows_per_shard)
    told = {"ledger": len(left_out), "provenance": dict(said.provenance), "index": row_groups(index)}
    seal(folder, meta.model_copy(update=told), known=gathered.files)


def _meta(plan: BuildPlan, gathered: "_Gathered", meaning: Meaning, *, missing: str, rows_per_shard: int) -> StoreMeta:
    spec, rows = plan.spec, gathered.rows
    readable = sum(not row.reason for row in rows)
    without = {layer: sum(layer not in row.valid and not row.reason for row in rows) for layer in fmt.stored_ids(spec)}
    without = {layer: count for layer, count in without.items() if count}
    missing = "" if plan.synthetic is not None else missing
    subset = "; ".join(one for one in (missing, _why_subset(plan, readable, without)) if one)
    everything = all_statistics(spec, gathered.moments, gathered.histograms)
    train = part_statistics(spec, gathered.moments, np.array([name == "train" for name in meaning.splits]))
    return StoreMeta(
        format="seamo-store/2",
        id=spec.id,
        title=fmt.title_of(spec, readable=readable, synthetic=plan.synthetic is not None, subset=subset != ""),
        build=build8(plan),
        view=view8(plan),
        pixels_in="",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        layout=plan.layout,
        codec=plan.effective_codec,
        rows_per_shard=rows_per_shard,
        num_shards=-(-len(rows) // rows_per_shard),
        arrays=array_facts(spec, plan.effective_codec, plan.pack),
        bands=band_facts(spec),
        spec=spec,
        split_scheme=plan.split_scheme,
        limit=plan.limit,
        relax=tuple(sorted(plan.relax)),
        on_bad=plan.on_bad,
        archive=plan.archive,
        labels=plan.labels,
        synthetic=None if plan.synthetic is None else dict(plan.synthetic),
        subset=subset,
        counts=Counts(
            samples=len(rows),
            bad=len(rows) - readable,
            published=spec.expected.samples,
            splits=meaning.split_counts(),
            without=without,
        ),
        ledger=0,
        pixels=pixels_hash(spec, meaning.keys, meaning.digests),
        content=meaning.content(spec),
        truth=meaning.truth(spec),
        index=(),
        seal="",
        statistics={"all": everything, "train": train},
        provenance={},
        versions={name: version(name) for name in ("numcodecs", "numpy", "pyarrow", "seamo", "zarr")},
    )


class _Gathered:
    """Everything the sidecars say, in row order."""

    def __init__(self, plan: BuildPlan, sidecars: Iterable[Sidecar]) -> None:
        self.rows: list[RowFacts] = []
        self.files: dict[str, SealedFile] = {}
        pieces: dict[str, list[stats.Moments]] = {layer.id: [] for layer in plan.spec.layers}
        self.histograms: dict[str, NDArray[np.int64]] = {}
        for sidecar in sidecars:
            self.rows += sidecar.rows
            self.files |= sidecar.files
            for layer, moments in sidecar.moments.items():
                pieces[layer].append(moments)
                counts = sidecar.histograms[layer]
                self.histograms[layer] = self.histograms.get(layer, 0) + counts
        self.moments = {layer: stats.concatenate(blocks) for layer, blocks in pieces.items()}


def _plain_label(label: int | tuple[int, ...] | None) -> int | list[int] | None:
    return list(label) if isinstance(label, tuple) else label


def _infinite(spec: DatasetSpec, rows: Sequence[RowFacts]) -> Iterator[list[str]]:
    """Entries of the ledger: how many pixels of a band were infinite, and in which samples."""
    for layer in spec.layers:
        for c, name in enumerate(layer.bands):
            held = [(row.key, row.infinite[layer.id][c]) for row in rows if layer.id in row.infinite]
            held = [(key, count) for key, count in held if count]
            if held:
                pixels = sum(count for _, count in held)
                what = f"{pixels:,} pixels in {len(held):,} samples are infinite (first in {held[0][0]})"
                yield [f"{layer.id} {name}", f"{what}; stored as missing"]


def _class_of(row: RowFacts) -> int | tuple[int, ...] | None:
    return tuple(row.label) if isinstance(row.label, list) else row.label if row.dominant is None else row.dominant


def _buckets(plan: BuildPlan, rows: Sequence[RowFacts]) -> dict[str, list[int]]:
    return {
        layer: sorted({row.places[layer].bucket for row in rows if layer in row.places})
        for layer in fmt.varying_layers(plan.spec)
    }


def _why_subset(plan: BuildPlan, readable: int, without: Mapping[str, int]) -> str:
    if plan.synthetic is not None:
        return ""
    reasons = []
    expected = plan.spec.expected.samples
    if expected is not None and readable != expected:
        reasons.append(f"{readable:,} of {expected:,} samples")
    elif expected is None and plan.limit is not None:
        reasons.append(f"limited to {plan.limit:,} samples")
    reasons += [f"{count:,} samples without {layer}" for layer, count in without.items()]
    return "; ".join(reasons)
