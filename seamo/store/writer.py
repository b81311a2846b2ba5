"""Writing a store: one shard at a time, and the moment at which it becomes visible.

A half-built store is `<root>/<id>/.<build8>.partial/`, which nothing takes for a store. Publishing completes it
there, store.json last, and renames the folder to `<build8>`. Whatever moment a build is killed at, building the same
plan again finds the shards that are done and goes on.
"""

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seamo import stats
from seamo.addresses import local_path
from seamo.errors import StoreError
from seamo.identity import canonical_json, write_atomically
from seamo.manifest import DatasetSpec
from seamo.sample import Sample, check_key
from seamo.seal import SealedFile
from seamo.store import format as fmt
from seamo.store.buildplan import BuildPlan, build8, view8
from seamo.store.content import pixels_hash
from seamo.store.keeping import enter
from seamo.store.meaning import Meaning
from seamo.store.meta import Counts, StoreMeta, array_facts, band_facts
from seamo.store.moments import all_statistics, moments_bytes, part_statistics
from seamo.store.publish import build_lock, put_in_place, seal, sweep
from seamo.store.roots import check_public
from seamo.store.sidecar import BadSample, ShardJob, disk_errors, read_sidecar, recorded_files, write_shard
from seamo.store.splits import Assignment, SampleFacts, assign
from seamo.store.subsets import keys_sha256
from seamo.store.table import RowFacts, index_bytes, row_groups
from seamo.store.views import find_view, write_view
from seamo.store.zarrmeta import write_zarr_metadata

__all__ = ["BadSample", "BuildPlan", "ShardJob", "StoreWriter", "build8", "write_shard"]


class StoreWriter:
    """Builds one store, or a view of one; use as a context manager (it holds a lock until it is closed).

    Workers get `job(k)` and call `write_shard`; the writer itself stays in the process that coordinates.

    Args:
        root: Folder of stores.
        plan: What is being built.
        keys: Key of every row, unique, in row order.

    Raises:
        StoreError: If another process builds the same plan, a half-built store has other keys, or there is
            nothing to build.
        SampleError: If a key cannot be one.
    """

    def __init__(self, root: Path, plan: BuildPlan, keys: Sequence[str]) -> None:
        root = local_path(root)
        self._root = root
        self.plan = plan
        self.keys = tuple(keys)
        self.build = build8(plan)
        self._final = root / plan.spec.id / self.build
        self._folder = root / plan.spec.id / f".{self.build}.partial"
        self._lock: int | None = None
        self._check_keys()
        check_public(root, plan.spec)
        self._rows_per_shard = fmt.rows_per_shard(plan.spec, plan.layout, len(self.keys))
        with disk_errors(self._folder):
            self._final.parent.mkdir(parents=True, exist_ok=True)
            self._lock = build_lock(self._final)
        try:
            if self.published is None:
                self._begin()
            else:
                sweep(self._final, work=True)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "StoreWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the lock; what is complete stays for the next builder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def folder(self) -> Path:
        """Where shards are being written (`published` once they are visible)."""
        return self._folder

    @property
    def published(self) -> Path | None:
        """The finished store's folder if this plan has been built already."""
        return self._final if (self._final / fmt.META_NAME).is_file() else None

    @property
    def num_shards(self) -> int:
        """Number of shards."""
        return -(-len(self.keys) // self._rows_per_shard)

    def rows_of(self, k: int) -> range:
        """Rows of shard `k`."""
        if not 0 <= k < self.num_shards:
            raise IndexError(k)
        return range(k * self._rows_per_shard, min((k + 1) * self._rows_per_shard, len(self.keys)))

    def is_done(self, k: int) -> bool:
        """Whether shard `k` is complete (its sidecar is there and the files have the recorded sizes)."""
        if self.published is not None or (self._folder / fmt.META_NAME).is_file():  # complete, but for the rename
            return True
        files = recorded_files(self._folder, k)
        return files is not None and all(_size(self._folder / name) == one.bytes for name, one in files.items())

    def job(self, k: int) -> ShardJob:
        """What a worker process needs for `write_shard(job, samples)`."""
        rows = self.rows_of(k)
        return ShardJob(self._folder, self.plan, k, self._rows_per_shard, self.keys[rows.start : rows.stop])

    def write_shard(self, k: int, samples: Iterable[Sample | BadSample]) -> None:
        """`write_shard(self.job(k), samples)` in this process."""
        write_shard(self.job(k), samples)

    def publish(
        self,
        *,
        splits: Mapping[str, str] | Assignment | None = None,
        labels: Mapping[str, int | tuple[int, ...] | None] | None = None,
        ledger: Sequence[tuple[str, str]] = (),
        provenance: Mapping[str, Any] | None = None,
        subset: str = "",
        countries: Mapping[str, str] | None = None,
    ) -> Path:
        """Make the store visible: index, metadata, checksums, store.json, then one rename.

        Where the pixels are published already, the splits and labels that are asked for become a view of them.

        Args:
            splits: key -> train | val | test for a scheme of published lists or of the archive; a key that
                is not in it (or says `exclude`) belongs to no split. None for computed schemes. Of a store that is
                copied, its assignment as it is.
            labels: key -> class id, sorted ids, or None, where the archive keeps them apart from the pixels; they win
                over those of the samples. None takes the samples' own.
            ledger: (name, reason) of what the archive's index left out.
            provenance: Plain facts for store.json (archive files, command, ...).
            subset: What the archive itself says is missing (`2 of 24 cities`); empty if nothing is. What counts tell
                is added.
            countries: key -> country, where the archive names them: a column of the index, no part of the content.

        Returns:
            The store's folder, or the view's.

        Raises:
            StoreError: If a shard is not done, or the scheme needs `splits`.
        """
        there = self.published
        if there is not None:
            view = find_view(there, view8(self.plan))
            if view is not None:
                return view
            view = write_view(there, self.plan, splits=splits, labels=labels, provenance=provenance)
            self._enter(view)
            return view
        missing = [k for k in range(self.num_shards) if not self.is_done(k)]
        if missing:
            raise StoreError(f"{len(missing)} of {self.num_shards} shards are not done", str(self._folder))
        with disk_errors(self._folder):
            if not (self._folder / fmt.META_NAME).is_file():
                self._complete(splits, labels, ledger, dict(provenance or {}), subset, countries)
            shutil.rmtree(self._folder / fmt.WORK_NAME, ignore_errors=True)
            put_in_place(self._folder, self._final)
        self._enter(self._final)
        return self._final

    def _enter(self, path: Path) -> None:
        enter(self._root, path.relative_to(self._root).as_posix())

    def _complete(
        self,
        splits: Mapping[str, str] | Assignment | None,
        labels: Mapping[str, int | tuple[int, ...] | None] | None,
        ledger: Sequence[tuple[str, str]],
        provenance: dict[str, Any],
        subset: str,
        countries: Mapping[str, str] | None,
    ) -> None:
        gathered = _Gathered(self.plan, self._sidecars())
        rows = gathered.rows
        if labels is not None:
            rows = [replace(row, label=_plain_label(labels.get(row.key))) for row in rows]
        spec = self.plan.spec
        facts = SampleFacts(self.keys, [_class_of(row) for row in rows], [row.scene for row in rows])
        assigned, folds = assign(spec, self.plan.split_scheme, facts, published=splits)
        names = ["" if row.reason else split for row, split in zip(rows, assigned, strict=True)]
        if self.plan.layout == "zarr":
            write_zarr_metadata(
                self._folder / fmt.ZARR_NAME,
                spec,
                codec=self.plan.codec,
                rows_per_shard=self._rows_per_shard,
                keys=self.keys,
                dates={stack: np.array([row.dates[stack] for row in rows]) for stack in spec.stacks},
                buckets=_buckets(self.plan, rows),
            )
        bad = [[row.key, row.reason] for row in rows if row.reason]
        left_out = [*bad, *([name, reason] for name, reason in ledger), *_infinite(spec, rows)]
        masks = [None if row.classes is None else dict(row.classes) for row in rows]
        index = index_bytes(spec, rows, names, folds, countries=countries)
        for name, data in {
            fmt.INDEX_NAME: index,
            fmt.MOMENTS_NAME: moments_bytes(gathered.moments, masks if fmt.label_kind(spec) == "mask" else None),
            fmt.LEDGER_NAME: json.dumps([{"name": n, "reason": r} for n, r in left_out], indent=1).encode(),
        }.items():
            write_atomically(self._folder / name, data)
        digests = [row.digest for row in rows]
        meaning = Meaning(
            keys=self.keys,
            digests=digests,
            labels=[row.label for row in rows],
            splits=names,
            folds=folds,
            readable=np.array([not row.reason for row in rows]),
            masks=masks,
        )
        meta = self._meta(gathered, meaning, subset)
        meta = meta.model_copy(update={"ledger": len(left_out), "provenance": provenance, "index": row_groups(index)})
        seal(self._folder, meta, known=gathered.files)

    def _sidecars(self) -> Iterator[Any]:
        return (read_sidecar(self._folder, k) for k in range(self.num_shards))

    def _meta(self, gathered: "_Gathered", meaning: Meaning, missing: str) -> StoreMeta:
        plan, spec, rows = self.plan, self.plan.spec, gathered.rows
        readable = sum(not row.reason for row in rows)
        without = {
            layer: sum(layer not in row.valid and not row.reason for row in rows) for layer in fmt.stored_ids(spec)
        }
        without = {layer: count for layer, count in without.items() if count}
        missing = "" if plan.synthetic is not None else missing
        subset = "; ".join(one for one in (missing, _why_subset(plan, readable, without)) if one)
        everything = all_statistics(spec, gathered.moments, gathered.histograms)
        train = part_statistics(spec, gathered.moments, np.array([name == "train" for name in meaning.splits]))
        return StoreMeta(
            format="seamo-store/2",
            id=spec.id,
            title=fmt.title_of(spec, readable=readable, synthetic=plan.synthetic is not None, subset=subset != ""),
            build=self.build,
            view=view8(plan),
            pixels_in="",
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            layout=plan.layout,
            codec=plan.effective_codec,
            rows_per_shard=self._rows_per_shard,
            num_shards=self.num_shards,
            arrays=array_facts(spec, plan.effective_codec),
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

    def _check_keys(self) -> None:
        where = self.plan.spec.id
        if not self.keys:
            raise StoreError("there are no samples to build", where, "Check the archive folder and the limit.")
        if len(set(self.keys)) != len(self.keys):
            twice = next(key for i, key in enumerate(self.keys) if key in self.keys[:i])
            raise StoreError(f"key {twice} stands twice", where)
        for key in self.keys:
            check_key(key)

    def _begin(self) -> None:
        with disk_errors(self._folder):
            work = self._folder / fmt.WORK_NAME
            work.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(work / "parts", ignore_errors=True)  # of a builder that was killed; we hold the lock
            sweep(self._folder)
            begun = work / "keys.json"
            said = {"num": len(self.keys), "sha256": keys_sha256(self.keys)}
            if not begun.is_file():
                write_atomically(begun, canonical_json(said))
            elif begun.read_bytes() != canonical_json(said):
                raise StoreError(
                    "was begun with other samples", str(self._folder), "If the archive was changed, delete that folder."
                )


class _Gathered:
    """Everything the sidecars say, in row order."""

    def __init__(self, plan: BuildPlan, sidecars: Iterable[Any]) -> None:
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


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1
