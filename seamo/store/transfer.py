"""Files of a store from one address to another: in parallel, each held against its sha256 as it is read and as it lies.

To a disk, files go into a hidden folder that gets its name at the end. To a bucket, each is put once below its own
name, and store.json comes last: what is there without it is no store, and the next try goes on with it.
"""

import hashlib
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from threading import Lock
from typing import NamedTuple, Protocol

from seamo.disk import sync_tree
from seamo.errors import StoreError
from seamo.files import Files, open_files
from seamo.identity import write_atomically
from seamo.seal import SealedFile, bytes_damage, damage
from seamo.store import format as fmt
from seamo.store.meta import BUILD_AGAIN, read_meta
from seamo.store.publish import put_in_place, sweep

Progress = Callable[[int, int, str], None]
"""Called with how much is done, how much in all, and of what: `bytes`, or `samples`."""

Ends = tuple[Files, Files]
"""Where files come from, and where they go."""
Move = Callable[[Files, Files, str, SealedFile], None]
"""Moves one file from here to there, and checks it on both sides; done before, it is looked at and kept."""

THREADS = 8
LARGE = 128 * 2**20  # bytes; a put takes 1.8 times its size in memory
LARGEST = 5 * 10**9  # bytes; no server takes more in one put with a condition
_BYTES = "bytes"
_TIMES = 3  # that what somebody else takes away meanwhile is put
AT_ONCE = 8 * LARGE  # bytes of the files that are being put


class Cargo(NamedTuple):
    """A store, or a view, that is to be moved.

    Args:
        name: Below the root.
        source: Its files.
        manifest: What each must be.
    """

    name: str
    source: Files
    manifest: Mapping[str, SealedFile]


class Meter:
    """Counts bytes of several threads.

    Args:
        progress: Called by one thread at a time.
        total: Bytes in all.
    """

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total, self._done, self._lock = progress, total, 0, Lock()
        if total:
            progress(0, total, _BYTES)

    def add(self, count: int) -> None:
        """Count more that is done."""
        with self._lock:
            self._done += count
            self._progress(self._done, self._total, _BYTES)


class Movers(Protocol):
    """Who moves files: threads of this process (`move_here`), or workers (`seamo.store.workers`)."""

    def __call__(self, move: Move, ends: Ends, files: Mapping[str, SealedFile], *, meter: Meter, threads: int) -> None:
        """Move every file.

        Args:
            move: Moves one; a function of a module.
            ends: Where from, and where to.
            files: Name -> what it must be.
            meter: Counts.
            threads: At work at once in this process.
        """


def move_here(move: Move, ends: Ends, files: Mapping[str, SealedFile], *, meter: Meter, threads: int) -> None:
    """See `Movers`; the first error ends it, after what is being done."""

    def work(name: str, sealed: SealedFile) -> None:
        move(*ends, name, sealed)
        meter.add(sealed.bytes)

    with ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(work, name, sealed) for name, sealed in sorted(files.items())]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def download(cargo: Cargo, final: Path, meter: Meter, *, threads: int, movers: Movers = move_here) -> None:
    """Bring a store, or a view, to a disk; what an interrupted try left is kept where it is whole.

    Args:
        cargo: What.
        final: The folder that it becomes; its lock is held.
        meter: Counts.
        threads: At work at once.
        movers: Who does it.

    Raises:
        StoreError: If a byte is not what it must be.
        OSError: If the disk is full.
    """
    part = final.with_name(f".{final.name}-copy.partial")
    part.mkdir(parents=True, exist_ok=True)
    movers(_fetch_file, (cargo.source, open_files(part)), cargo.manifest, meter=meter, threads=threads)
    sweep(part)
    for name, sealed in cargo.manifest.items():
        if damage(part / name, sealed, deep=False):  # written elsewhere: whoever wrote it has read it back
            what = "is not there, though a worker has written it"
            raise StoreError(what, str(part / name), "Name a folder that all workers see under the same path.")
    write_atomically(part / fmt.CHECKSUMS_NAME, cargo.source.read(fmt.CHECKSUMS_NAME))
    sync_tree(part)
    write_atomically(part / fmt.META_NAME, cargo.source.read(fmt.META_NAME))
    put_in_place(part, final)


def upload(cargo: Cargo, target: Files, meter: Meter, *, movers: Movers = move_here) -> None:
    """Put a store, or a view, into a bucket; what is there with the right bytes is kept.

    Args:
        cargo: What.
        target: Where its files come to lie; conditions are known to be honoured there.
        meter: Counts.
        movers: Who does it.

    Raises:
        StoreError: If a byte of the source is not what it must be, other bytes are there, or a file is too large.
    """
    largest = max((one.bytes for one in cargo.manifest.values()), default=1)
    if largest > LARGEST:
        name = next(name for name, one in cargo.manifest.items() if one.bytes == largest)
        what = f"has {largest:,} bytes, and a bucket takes {LARGEST:,} in one put"
        raise StoreError(what, cargo.source.where(name), "Keep this store on a disk.")

    threads = max(1, min(THREADS, AT_ONCE // max(1, largest)))
    todo = dict(cargo.manifest)
    for _ in range(_TIMES):
        movers(_put_whole, (cargo.source, target), todo, meter=meter, threads=threads)
        _put_last(cargo.source, target)
        # A removal that began before may have taken away what was kept here: then it is put again.
        there = set(target.names())
        todo = {name: sealed for name, sealed in cargo.manifest.items() if name not in there}
        if not todo and {fmt.CHECKSUMS_NAME, fmt.META_NAME} <= there:
            return
    fix = "Copy again when the removal has ended."
    raise StoreError("is being removed by somebody else while it is put", target.url, fix)


def _put_last(source: Files, target: Files) -> None:
    """The manifest, then store.json."""
    if target.put_once(fmt.CHECKSUMS_NAME, source.read(fmt.CHECKSUMS_NAME)) is not None:
        raise _refused(target, fmt.CHECKSUMS_NAME)
    ours = source.read(fmt.META_NAME)
    there = target.put_once(fmt.META_NAME, ours)
    # Who built the same at the same time says another moment there, and the same of every other file.
    if there is not None and _said(there, target) != _said(ours, source):
        raise _refused(target, fmt.META_NAME)


def large_files(manifest: Mapping[str, SealedFile]) -> str:
    """What to know before files above 128 MB are put; empty if there are none."""
    large = [one.bytes for one in manifest.values() if one.bytes > LARGE]
    if not large:
        return ""
    return (
        f"{len(large)} files are larger than {LARGE // 2**20} MB, the largest {max(large) / 1e6:,.0f} MB: each is one "
        f"put, which takes 1.8 times its size in memory; {AT_ONCE // 2**20:,} MB are put at a time"
    )


def _fetch_file(source: Files, target: Files, name: str, sealed: SealedFile) -> None:
    path = Path(target.url) / name
    if not damage(path, sealed, deep=True):
        return  # an earlier try has brought it
    if not Path(target.url).is_dir():
        fix = "Name a folder that all workers see under the same path."
        raise StoreError("is not there, where this worker runs", target.url, fix)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Under a name of its own until it is whole: a worker that was given up may still be at it.
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    with part.open("wb") as out:
        found = _sealed(_written(source.stream(name), out.write))
        out.flush()
        os.fsync(out.fileno())
    if found != sealed:
        part.unlink(missing_ok=True)
        raise StoreError("is not what its manifest says", source.where(name), BUILD_AGAIN)
    part.replace(path)
    wrong = damage(path, sealed, deep=True)
    if wrong:
        raise StoreError(f"was written and reads back otherwise: {wrong}", str(path), "Check the disk, copy again.")


def put_file(source: Files, target: Files, name: str, sealed: SealedFile) -> str:
    """Put a file once, and read it back. What is wrong with the bytes that lie there then; empty if nothing is.

    Raises:
        StoreError: If the source is not what it must be.
    """
    size, what = target.size(name), "is there already, with other bytes"
    if size is None:
        data = source.read(name)
        if bytes_damage(data, sealed):
            raise StoreError("is not what its manifest says", source.where(name), BUILD_AGAIN)
        if target.put_once(name, data) is None:
            what = "was put and reads back otherwise"
        size = len(data)
        del data  # before it is read back
    # Twice: a byte may have turned on its way back. It is never deleted here: somebody else may be counting on it.
    if size != sealed.bytes or all(_sealed(target.stream(name)) != sealed for _ in range(2)):
        return what
    return ""


def _put_whole(source: Files, target: Files, name: str, sealed: SealedFile) -> None:
    wrong = put_file(source, target, name, sealed)
    if wrong:
        raise _refused(target, name, wrong)


def _refused(target: Files, name: str, what: str = "is there already, with other bytes") -> StoreError:
    fix = "Copy again; if it stays so, take away what is there (seamo-prep rm ROOT ID/BUILD), or name another root."
    return StoreError(what, target.where(name), fix)


def _said(data: bytes, files: Files) -> tuple[str, str]:
    meta = read_meta(data, files.where(fmt.META_NAME))
    return meta.seal, meta.content


def _sealed(blocks: Iterable[bytes]) -> SealedFile:
    state, size = hashlib.sha256(), 0
    for block in blocks:
        state.update(block)
        size += len(block)
    return SealedFile(size, state.hexdigest())


def _written(blocks: Iterable[bytes], write: Callable[[bytes], int]) -> Iterator[bytes]:
    for block in blocks:
        write(block)
        yield block
