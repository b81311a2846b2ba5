"""Writing a store: what is built, one shard at a time, and the moment at which it becomes visible."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from seamo.manifest import DatasetSpec
from seamo.sample import Sample

Layout = Literal["zarr", "webdataset"]
CodecName = Literal["lz4", "compact", "none"]


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """What is being built: everything that decides what the store will hold, known before the first byte.

    Args:
        spec: The spec with the layers and sizes that are built (`only_layers`, `with_sizes`).
        split_scheme: Name of the split scheme.
        layout: `zarr` or `webdataset`.
        codec: `lz4`, `compact` (zstd) or `none`; the webdataset layout is always uncompressed.
        limit: Build only the first so many samples.
        relax: What may differ from the manifest (`shape`, `dtype`, `seasons`, `names`).
        on_bad: `raise`, or `skip` to put unreadable samples into the ledger.
        archive: Digest of the archive's file names and sizes.
        synthetic: The declaration (`SYNTHETIC.json`) of a synthetic archive, or None for real data.
    """

    spec: DatasetSpec
    split_scheme: str
    layout: Layout = "zarr"
    codec: CodecName = "lz4"
    limit: int | None = None
    relax: tuple[str, ...] = ()
    on_bad: Literal["raise", "skip"] = "raise"
    archive: str = ""
    synthetic: Mapping[str, Any] | None = None


def build8(plan: BuildPlan) -> str:
    """First 8 hex digits of the plan's digest: the folder in which the store lands."""
    raise NotImplementedError


@dataclass(frozen=True, slots=True)
class BadSample:
    """A sample that could not be read: it keeps its row, at fill, and stands in the ledger."""

    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class ShardJob:
    """Everything a worker process needs to write one shard; pickles small."""

    folder: Path
    plan: BuildPlan
    index: int
    first_row: int
    keys: tuple[str, ...]


def write_shard(job: ShardJob, samples: Iterable[Sample | BadSample]) -> None:
    """Write, read back, check and put in place one shard (in any process).

    Args:
        job: From `StoreWriter.job`.
        samples: One item for each of `job.keys`, in that order; consumed as a stream.

    Raises:
        SampleError: If a sample breaks the spec.
        StoreError: If keys do not match, the disk is full, or what was read back differs.
    """
    raise NotImplementedError


class StoreWriter:
    """Builds one store in `<root>/<id>/.<build8>.partial/`; use as a context manager (it holds a lock).

    Args:
        root: Folder of stores.
        plan: What is being built.
        keys: Key of every row, unique, in row order.

    Raises:
        StoreError: If another process builds the same plan, or a half-built store has other keys.
    """

    def __init__(self, root: Path, plan: BuildPlan, keys: Sequence[str]) -> None:
        raise NotImplementedError

    def __enter__(self) -> "StoreWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the lock; what is complete stays for the next builder."""
        raise NotImplementedError

    @property
    def published(self) -> Path | None:
        """The finished store's folder if this plan has been built already."""
        raise NotImplementedError

    @property
    def num_shards(self) -> int:
        """Number of shards."""
        raise NotImplementedError

    def rows_of(self, k: int) -> range:
        """Rows of shard `k`."""
        raise NotImplementedError

    def is_done(self, k: int) -> bool:
        """Whether shard `k` is complete (its sidecar is there and the files have the recorded sizes)."""
        raise NotImplementedError

    def job(self, k: int) -> ShardJob:
        """What a worker process needs for `write_shard(job, samples)`."""
        raise NotImplementedError

    def write_shard(self, k: int, samples: Iterable[Sample | BadSample]) -> None:
        """`write_shard(self.job(k), samples)` in this process."""
        write_shard(self.job(k), samples)

    def publish(
        self,
        *,
        splits: Mapping[str, str] | None = None,
        ledger: Sequence[tuple[str, str]] = (),
        provenance: Mapping[str, Any] | None = None,
    ) -> Path:
        """Make the store visible: index.parquet, metadata, store.json, then one rename.

        Args:
            splits: key -> train | val | test for a scheme of published lists or of the archive; a key that
                is not in it (or says `exclude`) belongs to no split. None for computed schemes.
            ledger: (name, reason) of what the archive's index left out.
            provenance: Plain facts for store.json (archive files, command, ...).

        Returns:
            The store's folder.

        Raises:
            StoreError: If a shard is not done, or the scheme needs `splits`.
        """
        raise NotImplementedError
