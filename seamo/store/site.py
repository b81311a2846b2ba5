"""Where a store is being built: a hidden folder of a disk, or a bucket, right below the store's name.

Several builders may be at work on one store. They share its shards, each in an order of its own, and what one has put
the others take. Claims tell who is at which shard; they save double work, and nothing depends on them: when nobody's
shards are left, those of others are made too, so that no builder that was killed is waited for.
"""

import logging
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Protocol

from seamo.addresses import disk_path, join
from seamo.disk import share, take_alone
from seamo.errors import StoreError
from seamo.files import Files, open_files
from seamo.identity import write_atomically
from seamo.seal import SealedFile, open_manifest
from seamo.store import format as fmt
from seamo.store.deliver import is_done, workplace
from seamo.store.meta import BUILD_AGAIN
from seamo.store.publish import builders_lock, put_in_place, put_made, sweep
from seamo.store.roots import probe
from seamo.store.sidecar import DONE, Sidecar, disk_errors, read_sidecar, recorded_files
from seamo.store.transfer import THREADS, Cargo, Meter, upload

logger = logging.getLogger(__name__)

Make = Callable[[Path], None]
"""Writes the small files of a store or a view into a folder, store.json last."""
Tell = Callable[[int], None]

_BEGUN = f"{fmt.WORK_NAME}/keys.json"
_CLAIMS = f"{fmt.WORK_NAME}/claims"
_MADE = f"{fmt.WORK_NAME}/made"  # in a bucket: small files of whoever has finished, a folder each
_CHOSEN = f"{fmt.WORK_NAME}/chosen"  # which of these folders it is
_OTHERS = "was begun with other samples"
_TICK_S = 0.2


class Site(Protocol):
    """What `StoreWriter` needs of the place that it builds in."""

    @property
    def place(self) -> str:
        """Address of the half-built store, where its shards come to lie."""

    def published(self) -> str:
        """Address of the store if it is finished; else empty."""

    def done(self, num_shards: int) -> set[int]:
        """Shards that are complete."""

    def todo(self, shards: Iterable[int], tell: Tell) -> Iterator[int]:
        """Of some shards those to make; `tell` is called with those that others have completed meanwhile."""

    def finish(self, make: Make) -> None:
        """Publish the store; of several who do so, one."""

    def finish_view(self, view: str, make: Make) -> None:
        """Publish a view of the published store."""

    def discard(self) -> None:
        """Take away what is not published."""

    def close(self) -> None:
        """Let go of it; what is complete stays for the next builder."""


def open_site(root: str | Path, name: str, told: bytes, *, scratch: Path | None) -> Site:
    """The place where a store is built, ready, or as it was left.

    Args:
        root: Address of a folder of stores.
        name: `<id>/<build8>`.
        told: Of its samples: they must be those that it was begun with.
        scratch: For a bucket: where files are made; None: where temporary files are.

    Raises:
        StoreError: If it was begun with other samples, cannot be written, or, on a disk, a copy or a removal of it is
            at work.
    """
    folder = disk_path(root)
    return BucketSite(root, name, told, scratch=scratch) if folder is None else DiskSite(folder / name, told)


class DiskSite:
    """A hidden folder beside the store's, which gets the store's name at the end.

    Builders share the store's lock; who finishes waits until he alone has it. What must not meet builders (a copy, a
    removal, a sweep) takes it alone, too.

    Args:
        final: The store's folder.
        told: See `open_site`.
    """

    def __init__(self, final: Path, told: bytes) -> None:
        self._final = final
        self._folder = final.with_name(f".{final.name}.partial").absolute()
        self._files = open_files(self._folder)
        with disk_errors(self._folder):
            final.parent.mkdir(parents=True, exist_ok=True)
            self._lock, self._is_first = builders_lock(final)
            try:
                if not self.published():
                    self._begin(told)
                elif self._is_first:
                    sweep(final, work=True)
                share(self._lock)
            except BaseException:
                self.close()
                raise

    def _begin(self, told: bytes) -> None:
        begun, claims = self._folder / _BEGUN, self._folder / _CLAIMS
        if self._is_first:  # nobody else is at work: what lies there is of builders that were killed
            shutil.rmtree(begun.with_name("parts"), ignore_errors=True)
            shutil.rmtree(claims, ignore_errors=True)
            sweep(self._folder)
        claims.mkdir(parents=True, exist_ok=True)
        if not begun.is_file():
            write_atomically(begun, told)
        elif begun.read_bytes() != told:
            raise StoreError(_OTHERS, self.place, "If the archive was changed, delete that folder.")

    @property
    def place(self) -> str:
        """See `Site`."""
        return str(self._folder)

    def published(self) -> str:
        """See `Site`."""
        return str(self._final) if (self._final / fmt.META_NAME).is_file() else ""

    def done(self, num_shards: int) -> set[int]:
        """See `Site`."""
        return {k for k in range(num_shards) if self.published() or is_done(self._files, k)}

    def todo(self, shards: Iterable[int], tell: Tell) -> Iterator[int]:
        """See `Site`."""
        yield from _shared_out(list(shards), self._files, self._claim, tell=tell, anywhere=not self._is_first)

    def _claim(self, name: str) -> bool:
        with disk_errors(self._folder):
            try:
                (self._folder / name).touch(exist_ok=False)
            except FileExistsError:
                return False
            return True

    def finish(self, make: Make) -> None:
        """See `Site`."""
        self._wait_alone()
        if not self.published():
            with disk_errors(self._folder):
                if not (self._folder / fmt.META_NAME).is_file():
                    make(self._folder)
                shutil.rmtree(self._folder / fmt.WORK_NAME, ignore_errors=True)
                put_in_place(self._folder, self._final)

    def finish_view(self, view: str, make: Make) -> None:
        """See `Site`."""
        self._wait_alone()
        final = self._final / fmt.VIEWS_NAME / view
        if not (final / fmt.META_NAME).is_file():
            with disk_errors(final):
                put_made(final, make)

    def discard(self) -> None:
        """See `Site`."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def close(self) -> None:
        """See `Site`."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _wait_alone(self) -> None:
        told = False
        while not take_alone(self._lock):
            if not told:
                logger.warning("%s: waiting for another builder to end its shard", self._final)
                told = True
            time.sleep(_TICK_S)


class BucketSite:
    """A bucket, right below the store's name: nothing is renamed there, so each file is put once.

    The small files depend on who makes them (splits, versions of libraries, the time): whoever has finished puts all of
    his beside the others', then says once whose are taken. Anybody, who finishes after him or instead of him, puts
    these under their names, store.json last.

    Args:
        root: Address of stores.
        name: Of the store.
        told: See `open_site`.
        scratch: See `open_site`.
    """

    def __init__(self, root: str | Path, name: str, told: bytes, *, scratch: Path | None) -> None:
        self._files, self._scratch = open_files(join(root, name)), scratch
        if self.published():
            _delete_below(self._files, fmt.WORK_NAME)
        else:
            probe(root)
            there = self._files.put_once(_BEGUN, told)
            if there is not None:
                fix = "If the archive was changed: `seamo-prep clean ROOT --unfinished`."
                raise StoreError(_OTHERS, self.place, fix)

    @property
    def place(self) -> str:
        """See `Site`."""
        return self._files.url

    def published(self) -> str:
        """See `Site`."""
        return self.place if self._files.exists(fmt.META_NAME) else ""

    def done(self, num_shards: int) -> set[int]:
        """See `Site`."""
        if self.published():
            return set(range(num_shards))
        return {int(Path(name).stem) for name in self._files.names(DONE)}

    def todo(self, shards: Iterable[int], tell: Tell) -> Iterator[int]:
        """See `Site`."""
        me = secrets.token_bytes(8)
        yield from _shared_out(
            list(shards), self._files, lambda name: self._files.put_once(name, me) is None, tell=tell, anywhere=True
        )

    def finish(self, make: Make) -> None:
        """See `Site`."""

        def complete(folder: Path) -> None:
            make(folder)
            self._check_pixels(open_files(folder))

        try:
            self._choose(self._files, complete)
            self._check_pixels(self._files)
        except StoreError:  # maybe because somebody else has finished meanwhile, and taken away what is not needed
            if not self.published():
                raise
        _delete_below(self._files, fmt.WORK_NAME)

    def finish_view(self, view: str, make: Make) -> None:
        """See `Site`."""
        files = open_files(join(self.place, fmt.VIEWS_NAME, view))
        try:
            self._choose(files, make)
        except StoreError:
            if not files.exists(fmt.META_NAME):
                raise
        for one in (files, self._files):
            _delete_below(one, fmt.WORK_NAME)

    def discard(self) -> None:
        """See `Site`."""
        if not self.published():
            _delete_below(self._files, "")

    def close(self) -> None:
        """See `Site`."""

    def _choose(self, files: Files, make: Make) -> None:
        """Put the small files of a store or a view: one's own, or those of whoever was faster."""
        if not files.exists(_CHOSEN):
            with workplace(self.place, self._scratch) as folder:
                make(folder)
                mine, token = open_files(folder), secrets.token_hex(8)
                with ThreadPoolExecutor(THREADS) as pool:
                    put = [pool.submit(_put, mine, files, name, f"{_MADE}/{token}/{name}") for name in mine.names()]
                    for one in put:
                        one.result()
            files.put_once(_CHOSEN, token.encode())
        chosen = open_files(join(files.url, _MADE, files.read(_CHOSEN).decode()))
        manifest, small = _manifest(chosen), set(chosen.names())
        cargo = Cargo(files.url, chosen, {name: one for name, one in manifest.items() if name in small})
        upload(cargo, files, Meter(lambda *_: None, 0))

    def _check_pixels(self, small: Files) -> None:
        """Look whether all files are there that a manifest names; a removal that was at work may have taken some.

        Args:
            small: Where the manifest is, with the small files.
        """
        lost = set(_manifest(small)) - set(self._files.names())
        lost -= set(small.names()) if lost else set()
        if lost:
            shards = [name for name in self._files.names(DONE) if lost & set(self._recorded(name))]
            self._files.delete([fmt.META_NAME, _CHOSEN, *shards])
            what = f"{len(lost)} files of finished shards were taken away by somebody else"
            raise StoreError(what, self.place, "Build again: they are made anew.")

    def _recorded(self, sidecar: str) -> Iterable[str]:
        return recorded_files(self._files, int(Path(sidecar).stem)) or ()


def sidecars(files: Files, num_shards: int) -> Iterator[Sidecar]:
    """The sidecars of all shards, in order; some at a time."""
    with ThreadPoolExecutor(THREADS) as pool:
        for first in range(0, num_shards, THREADS):
            yield from pool.map(lambda k: read_sidecar(files, k), range(first, min(first + THREADS, num_shards)))


def _shared_out(
    shards: list[int], files: Files, claim: Callable[[str], bool], *, tell: Tell, anywhere: bool
) -> Iterator[int]:
    """Shards to make: first those that nobody is at, then those that somebody once was at, and so on."""
    first = secrets.randbelow(max(1, len(shards))) if anywhere else 0  # those who come later meet late
    left = dict.fromkeys([*shards[first:], *shards[:first]])
    for turn in count():
        for k in tuple(left):
            if is_done(files, k):
                del left[k]
                tell(k)
            elif claim(f"{_CLAIMS}/{k:06d}-{turn}"):
                del left[k]
                yield k
        if not left:
            return


def _manifest(files: Files) -> dict[str, SealedFile]:
    where = files.where(fmt.CHECKSUMS_NAME)
    return open_manifest(files.read(fmt.CHECKSUMS_NAME), where, error=StoreError, fix=BUILD_AGAIN)


def _put(source: Files, target: Files, name: str, to: str) -> None:
    target.put_once(to, source.read(name))


def _delete_below(files: Files, name: str) -> None:
    # What tells of shards goes before them, so that no builder counts on what is not there any more.
    files.delete(sorted(files.names(name), key=lambda one: not one.startswith(f"{fmt.WORK_NAME}/")))
