"""Writing a store: one shard at a time, and the moment at which it becomes visible.

A half-built store is `<root>/<id>/.<build8>.partial/`, which nothing takes for a store. Publishing completes it
there, store.json last, and renames the folder to `<build8>`. Whatever moment a build is killed at, building the same
plan again finds the shards that are done and goes on.
"""

import fcntl
import json
import os
import shutil
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seamo import stats
from seamo.errors import StoreError
from seamo.identity import canonical_json, file_sha256, write_atomically
from seamo.sample import Sample, check_key
from seamo.store import format as fmt
from seamo.store.content import content_hash
from seamo.store.remote import local_path
from seamo.store.shards import FileFacts
from seamo.store.sidecar import (
    BadSample,
    BuildPlan,
    ShardJob,
    build8,
    disk_errors,
    read_sidecar,
    recorded_files,
    write_shard,
)
from seamo.store.splits import SampleFacts, assign
from seamo.store.subsets import keys_sha256
from seamo.store.table import RowFacts, index_bytes
from seamo.store.zarrmeta import write_zarr_metadata

__all__ = ["BadSample", "BuildPlan", "ShardJob", "StoreWriter", "build8", "write_shard"]


class StoreWriter:
    """Builds one store; use as a context manager (it holds a lock until it is closed).

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
        self.plan = plan
        self.keys = tuple(keys)
        self.build = build8(plan)
        self._final = root / plan.spec.id / self.build
        self._folder = root / plan.spec.id / f".{self.build}.partial"
        self._lock: int | None = None
        self._check_keys()
        self._rows_per_shard = fmt.rows_per_shard(plan.spec, plan.layout, len(self.keys))
        with disk_errors(self._folder):
            self._final.parent.mkdir(parents=True, exist_ok=True)
            self._take_lock()
        try:
            if self.published is None:
                self._begin()
            else:
                shutil.rmtree(self._final / fmt.WORK_NAME, ignore_errors=True)  # killed right after publishing
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
        if self.published is not None:
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
        splits: Mapping[str, str] | None = None,
        ledger: Sequence[tuple[str, str]] = (),
        provenance: Mapping[str, Any] | None = None,
        subset: str = "",
        countries: Mapping[str, str] | None = None,
    ) -> Path:
        """Make the store visible: index.parquet, metadata, store.json, then one rename.

        Args:
            splits: key -> train | val | test for a scheme of published lists or of the archive; a key that
                is not in it (or says `exclude`) belongs to no split. None for computed schemes.
            ledger: (name, reason) of what the archive's index left out.
            provenance: Plain facts for store.json (archive files, command, ...).
            subset: What the archive itself says is missing (`2 of 24 cities`); empty if nothing is.
            countries: key -> country, where the archive names them: a column of the index, no part of the content.

        Returns:
            The store's folder.

        Raises:
            StoreError: If a shard is not done, or the scheme needs `splits`.
        """
        if self.published is not None:
            return self._final
        missing = [k for k in range(self.num_shards) if not self.is_done(k)]
        if missing:
            raise StoreError(f"{len(missing)} of {self.num_shards} shards are not done", str(self._folder))
        with disk_errors(self._folder):
            if not (self._folder / fmt.META_NAME).is_file():
                self._complete(splits, ledger, dict(provenance or {}), subset, countries)
            _sync(self._folder)
            self._folder.rename(self._final)
            _sync(self._final.parent)
            shutil.rmtree(self._final / fmt.WORK_NAME, ignore_errors=True)
        return self._final

    def _complete(
        self,
        splits: Mapping[str, str] | None,
        ledger: Sequence[tuple[str, str]],
        provenance: dict[str, Any],
        subset: str,
        countries: Mapping[str, str] | None,
    ) -> None:
        gathered = _Gathered(self.plan, self._sidecars())
        rows = gathered.rows
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
        left_out = [*bad, *([name, reason] for name, reason in ledger)]
        documents = {
            fmt.INDEX_NAME: index_bytes(spec, rows, names, folds, countries=countries),
            fmt.CHECKSUMS_NAME: canonical_json({name: one._asdict() for name, one in gathered.files.items()}),
            fmt.LEDGER_NAME: json.dumps([{"name": n, "reason": r} for n, r in left_out], indent=1).encode(),
        }
        for name, data in documents.items():
            write_atomically(self._folder / name, data)
        digests = [row.digest for row in rows]
        meta = self._meta(gathered, names, content_hash(spec, self.keys, digests, names, folds), subset)
        meta = meta.model_copy(
            update={
                "ledger": len(left_out),
                "provenance": provenance,
                "checksums": {name: file_sha256(self._folder / name) for name in documents},
            }
        )
        shutil.rmtree(self._folder / fmt.WORK_NAME / "parts", ignore_errors=True)
        write_atomically(self._folder / fmt.META_NAME, meta.model_dump_json(indent=1).encode())

    def _sidecars(self) -> Iterator[Any]:
        return (read_sidecar(self._folder, k) for k in range(self.num_shards))

    def _meta(self, gathered: "_Gathered", names: Sequence[str], content: str, missing: str) -> fmt.StoreMeta:
        plan, spec, rows = self.plan, self.plan.spec, gathered.rows
        readable = sum(not row.reason for row in rows)
        without = {
            layer: sum(layer not in row.valid and not row.reason for row in rows) for layer in fmt.stored_ids(spec)
        }
        without = {layer: count for layer, count in without.items() if count}
        subset = _why_subset(plan, readable, without, missing)
        return fmt.StoreMeta(
            format="seamo-store/1",
            id=spec.id,
            title=fmt.title_of(spec, readable=readable, synthetic=plan.synthetic is not None, subset=subset != ""),
            build=self.build,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            layout=plan.layout,
            codec=plan.effective_codec,
            rows_per_shard=self._rows_per_shard,
            num_shards=self.num_shards,
            spec=spec,
            split_scheme=plan.split_scheme,
            limit=plan.limit,
            relax=tuple(sorted(plan.relax)),
            archive=plan.archive,
            synthetic=None if plan.synthetic is None else dict(plan.synthetic),
            subset=subset,
            counts=fmt.Counts(
                samples=len(rows),
                bad=len(rows) - readable,
                published=spec.expected.samples,
                splits={split: names.count(split) for split in sorted(set(names))},
                without=without,
            ),
            ledger=0,
            content=content,
            checksums={},
            statistics=gathered.statistics(names),
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
            begun = work / "keys.json"
            said = {"num": len(self.keys), "sha256": keys_sha256(self.keys)}
            if not begun.is_file():
                write_atomically(begun, canonical_json(said))
            elif json.loads(begun.read_bytes()) != said:
                raise StoreError(
                    "was begun with other samples", str(self._folder), "If the archive was changed, delete that folder."
                )

    def _take_lock(self) -> None:
        path = self._final.parent / f".{self.build}.lock"
        # The kernel lets go of the lock when its holder dies, however that happens: no lock is ever stale.
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(lock, 200, 0).decode(errors="replace").strip() or "unknown"
            os.close(lock)
            raise StoreError(
                f"is being built by another process ({holder})", str(self._final), "Wait for it, or end it."
            ) from error
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        self._lock = lock


class _Gathered:
    """Everything the sidecars say, in row order."""

    def __init__(self, plan: BuildPlan, sidecars: Iterable[Any]) -> None:
        self.rows: list[RowFacts] = []
        self.files: dict[str, FileFacts] = {}
        self._spec = plan.spec
        self._pieces: dict[str, list[stats.Moments]] = {layer.id: [] for layer in plan.spec.layers}
        self._histograms: dict[str, NDArray[np.int64]] = {}
        for sidecar in sidecars:
            self.rows += sidecar.rows
            self.files |= sidecar.files
            for layer, moments in sidecar.moments.items():
                self._pieces[layer].append(moments)
                counts = sidecar.histograms[layer]
                self._histograms[layer] = self._histograms.get(layer, 0) + counts

    def statistics(self, names: Sequence[str]) -> dict[str, dict[str, dict[str, Any]]]:
        """Over all samples (with percentiles) and over split train: layer -> band -> numbers."""
        train = np.array([name == "train" for name in names])
        result: dict[str, dict[str, dict[str, Any]]] = {"all": {}, "train": {}}
        for layer in self._spec.layers:
            pieces = stats.concatenate(self._pieces[layer.id])
            counts = self._histograms[layer.id]
            result["all"][layer.id] = stats.describe(layer.bands, stats.merge(pieces), counts, layer.dtype)
            result["train"][layer.id] = stats.describe(layer.bands, stats.merge(stats.select(pieces, train)))
        return result


def _class_of(row: RowFacts) -> int | tuple[int, ...] | None:
    return tuple(row.label) if isinstance(row.label, list) else row.label if row.dominant is None else row.dominant


def _buckets(plan: BuildPlan, rows: Sequence[RowFacts]) -> dict[str, list[int]]:
    return {
        layer: sorted({row.places[layer].bucket for row in rows if layer in row.places})
        for layer in fmt.varying_layers(plan.spec)
    }


def _why_subset(plan: BuildPlan, readable: int, without: Mapping[str, int], missing: str) -> str:
    if plan.synthetic is not None:
        return ""
    reasons = [missing] if missing else []
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


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
