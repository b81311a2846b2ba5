"""Writing a store: one shard at a time, and the moment at which it becomes visible.

On a disk, a half-built store is `<root>/<id>/.<build8>.partial/`, which nothing takes for a store. Publishing completes
it there, store.json last, and renames the folder to `<build8>`. In a bucket its files lie under their names from the
beginning, and store.json, put last, makes a store of them (`seamo.store.site`). Whatever moment a build is killed at,
building the same plan again, here or elsewhere, finds the shards that are done and goes on.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from seamo.addresses import address_of, join
from seamo.errors import StoreError
from seamo.files import open_files
from seamo.identity import canonical_json
from seamo.sample import Sample, check_key
from seamo.store import format as fmt
from seamo.store.buildplan import BuildPlan, build8, view8
from seamo.store.complete import Said, complete
from seamo.store.deliver import is_done, write_shard
from seamo.store.keeping import enter, enter_if_missing
from seamo.store.packing import check_packed
from seamo.store.roots import check_public
from seamo.store.sidecar import BadSample, ShardJob
from seamo.store.site import Tell, open_site, sidecars
from seamo.store.splits import Assignment
from seamo.store.subsets import keys_sha256
from seamo.store.views import find_view, make_view

__all__ = ["BadSample", "BuildPlan", "ShardJob", "StoreWriter", "build8", "write_shard"]


class StoreWriter:
    """Builds one store, or a view of one; use as a context manager (on a disk it shares a lock until it is closed).

    Workers get `job(k)` and call `write_shard`; the writer itself stays in the process that coordinates.

    Args:
        root: Address of a folder of stores.
        plan: What is being built.
        keys: Key of every row, unique, in row order.
        scratch: For a bucket: folder where the shards that are at hand are made; None: where temporary files are.

    Raises:
        StoreError: If a half-built store has other keys, there is nothing to build, or, on a disk, another process
            copies or removes this store.
        SampleError: If a key cannot be one.
        UsageError: If a layer cannot be packed.
    """

    def __init__(self, root: str | Path, plan: BuildPlan, keys: Sequence[str], *, scratch: Path | None = None) -> None:
        self._root = address_of(root)
        self.plan = plan
        self.keys = tuple(keys)
        self.build = build8(plan)
        self._scratch = scratch
        self._check_keys()
        check_packed(plan.spec, plan.pack)
        check_public(root, plan.spec)
        self._rows_per_shard = fmt.rows_per_shard(plan.spec, plan.layout, len(self.keys))
        self._name = f"{plan.spec.id}/{self.build}"
        told = canonical_json({"num": len(self.keys), "sha256": keys_sha256(self.keys)})
        self._site = open_site(self._root, self._name, told, scratch=scratch)

    def __enter__(self) -> "StoreWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the lock; what is complete stays for the next builder."""
        self._site.close()

    @property
    def place(self) -> str:
        """Address of the half-built store, where shards come to lie (`published` once they are visible)."""
        return self._site.place

    @property
    def published(self) -> str:
        """Address of the finished store if this plan has been built already; else empty."""
        return self._site.published()

    @property
    def num_shards(self) -> int:
        """Number of shards."""
        return -(-len(self.keys) // self._rows_per_shard)

    def rows_of(self, k: int) -> range:
        """Rows of shard `k`."""
        if not 0 <= k < self.num_shards:
            raise IndexError(k)
        return range(k * self._rows_per_shard, min((k + 1) * self._rows_per_shard, len(self.keys)))

    def done(self) -> set[int]:
        """The shards that are complete (sidecars are there, and on a disk the files have the recorded sizes)."""
        return self._site.done(self.num_shards)

    def is_done(self, k: int) -> bool:
        """Whether shard `k` is complete."""
        return bool(self.published) or is_done(open_files(self.place), k)

    def todo(self, shards: Iterable[int], tell: Tell) -> Iterator[int]:
        """Of some shards those to make, one after the other; other builders of the same plan make others meanwhile.

        Args:
            shards: That were not done.
            tell: Called with each that another builder has completed.
        """
        return self._site.todo(shards, tell)

    def job(self, k: int) -> ShardJob:
        """What a worker process needs for `write_shard(job, samples)`."""
        rows = self.rows_of(k)
        keys = self.keys[rows.start : rows.stop]
        return ShardJob(self.place, self._scratch, self.plan, k, self._rows_per_shard, keys)

    def write_shard(self, k: int, samples: Iterable[Sample | BadSample]) -> None:
        """`write_shard(self.job(k), samples)` in this process."""
        write_shard(self.job(k), samples)

    def discard(self) -> None:
        """Take away what is there and not published."""
        self._site.discard()

    def publish(
        self,
        *,
        splits: Mapping[str, str] | Assignment | None = None,
        labels: Mapping[str, int | tuple[int, ...] | None] | None = None,
        ledger: Sequence[tuple[str, str]] = (),
        provenance: Mapping[str, Any] | None = None,
        subset: str = "",
        countries: Mapping[str, str] | None = None,
    ) -> str:
        """Make the store visible: index, metadata, checksums, then store.json; on a disk, by one rename.

        Where the pixels are published already, the splits and labels that are asked for become a view of them; so they
        do where another builder of the same pixels was faster.

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
            The store's address, or the view's.

        Raises:
            StoreError: If a shard is not done, or the scheme needs `splits`.
        """
        said = Said(splits, labels, ledger, dict(provenance or {}), subset, countries)
        if not self.published:
            missing = self.num_shards - len(self.done())
            if missing:
                raise StoreError(f"{missing} of {self.num_shards} shards are not done", self.place)
            self._site.finish(lambda folder: self._complete(folder, said))
        enter_if_missing(self._root, self._name)
        store = self.published
        view = view8(self.plan)
        name = find_view(store, view)
        if name is None:
            self._site.finish_view(
                view,
                lambda folder: make_view(store, folder, self.plan, splits=splits, labels=labels, provenance=provenance),
            )
            name = f"{fmt.VIEWS_NAME}/{view}"
            enter(self._root, f"{self._name}/{name}")
        return join(store, name)

    def _complete(self, folder: Path, said: Said) -> None:
        found = sidecars(open_files(self.place), self.num_shards)
        complete(folder, self.plan, self.keys, rows_per_shard=self._rows_per_shard, sidecars=found, said=said)

    def _check_keys(self) -> None:
        where = self.plan.spec.id
        if not self.keys:
            raise StoreError("there are no samples to build", where, "Check the archive folder and the limit.")
        if len(set(self.keys)) != len(self.keys):
            twice = next(key for i, key in enumerate(self.keys) if key in self.keys[:i])
            raise StoreError(f"key {twice} stands twice", where)
        for key in self.keys:
            check_key(key)
