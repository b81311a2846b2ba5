"""A shard is made where nobody else writes, then put among the others once; several builders may do so at once.

Its files come first, its sidecar last: what sidecars tell of is there. Of two who put the same file, the second one
keeps what lies there, after it was found to hold his own pixels.
"""

import errno
import logging
import os
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from threading import Condition

from seamo.addresses import disk_path
from seamo.disk import private_folder
from seamo.errors import StoreError
from seamo.files import Files, open_files
from seamo.identity import write_atomically
from seamo.sample import Sample
from seamo.seal import SealedFile, damage
from seamo.store.format import META_NAME, WORK_NAME
from seamo.store.shards import Place
from seamo.store.sidecar import (
    BadSample,
    ShardJob,
    Sidecar,
    disk_errors,
    make_shard,
    read_sidecar,
    recorded_files,
    sidecar_bytes,
    sidecar_name,
)
from seamo.store.takeover import At, taken_over
from seamo.store.transfer import AT_ONCE, LARGEST, THREADS, large_files, put_file

logger = logging.getLogger(__name__)

_REMOVE = "Build again; if it stays so: `seamo-prep clean ROOT --unfinished`, or name another root."
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)  # file systems without hard links


def write_shard(job: ShardJob, samples: Iterable[Sample | BadSample]) -> None:
    """Make one shard and put it where it belongs, in any process; nothing is done where somebody was faster.

    Args:
        job: From `StoreWriter.job`.
        samples: One item for each of `job.keys`, in that order.

    Raises:
        SampleError: If a sample breaks the spec.
        StoreError: If keys do not match, the disk is full, what was read back differs, or another builder has put
            other pixels there.
    """
    files = open_files(job.place)
    if is_done(files, job.index):
        return
    with disk_errors(Path(job.place)), workplace(job.place, job.scratch) as folder:
        made = make_shard(job, folder, samples)
        if not is_done(files, job.index):  # what was put meanwhile needs no upload
            _deliver(job, made, folder, files)


def is_done(files: Files, k: int) -> bool:
    """Whether shard `k` of a store is complete: its sidecar is there, and on a disk its files have their sizes."""
    if files.exists(META_NAME):  # the store is complete: nobody needs sidecars any more
        return True
    if disk_path(files.url) is None:
        return files.exists(sidecar_name(k))
    recorded = recorded_files(files, k)
    return recorded is not None and all(files.size(name) == one.bytes for name, one in recorded.items())


@contextmanager
def workplace(place: str, scratch: Path | None) -> Iterator[Path]:
    """A folder of one's own, where files are made that go to an address.

    Args:
        place: On a disk, the folder lies below it, so that files need only be linked.
        scratch: For a bucket: below which; None: where temporary files are.
    """
    half = disk_path(place)
    if half is not None:
        below, mode = half / WORK_NAME / "parts", 0o777  # a group's folder is the group's
    else:
        below, mode = scratch or Path(tempfile.gettempdir()), 0o700
    with private_folder(below, mode=mode) as folder:
        yield folder


def _deliver(job: ShardJob, made: Sidecar, folder: Path, files: Files) -> None:
    """Put the files of a shard, and then its sidecar."""
    here, sidecar = disk_path(job.place), sidecar_name(job.index)
    if here is None:
        _check_sizes(job, made, files)

    def lay(name: str) -> tuple[SealedFile, dict[At, Place]]:
        sealed = made.files[name]
        with _puts.room(sealed.bytes):
            if here is not None:
                wrong = _linked(folder / name, here / name, sealed)
            else:
                wrong = put_file(open_files(folder), files, name, sealed)
            if not wrong:
                return sealed, {}
            theirs = files.read(name)
            lie = taken_over(job, made, name, ours=(folder / name).read_bytes(), theirs=theirs)
            if lie is not None:
                return SealedFile(len(theirs), sha256(theirs).hexdigest()), lie
            if here is None:
                raise StoreError(wrong, files.where(name), _REMOVE)
            (folder / name).replace(here / name)  # half a file, of a disk that crashed
            return sealed, {}

    with ThreadPoolExecutor(THREADS) as pool:
        laid = dict(zip(made.files, pool.map(lay, made.files), strict=True))
    lie = {at: place for _, places in laid.values() for at, place in places.items()}
    rows = [
        replace(row, places={layer: lie.get((i, layer), place) for layer, place in row.places.items()})
        for i, row in enumerate(made.rows)
    ]
    told = replace(made, rows=rows, files={name: sealed for name, (sealed, _) in laid.items()})
    if here is not None:
        (here / sidecar).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(here / sidecar, sidecar_bytes(told))
    elif files.put_once(sidecar, sidecar_bytes(told)) is not None:
        there = read_sidecar(files, job.index)
        if there.files != told.files or [row.digest for row in there.rows] != [row.digest for row in rows]:
            raise StoreError("another builder tells of other pixels or files", files.where(sidecar), _REMOVE)


def _linked(made: Path, final: Path, sealed: SealedFile) -> str:
    """Give a file its name if that is free. What is wrong with what has it; empty if that is the same."""
    final.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(made, final)
    except FileExistsError:
        return damage(final, sealed, deep=True)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        made.replace(final)
    return ""  # names are synced with the whole store


def _check_sizes(job: ShardJob, made: Sidecar, files: Files) -> None:
    for name, one in made.files.items():
        if one.bytes > LARGEST:
            what = f"has {one.bytes:,} bytes, and a bucket takes {LARGEST:,} in one put"
            raise StoreError(what, files.where(name), "Build this store on a disk.")
    told = large_files(made.files)
    if told and job.index == 0:  # once is enough
        logger.warning("%s: %s", job.place, told)


class _Room:
    """Keeps what the threads of a process put at the same time below a number of bytes; one file always may.

    Args:
        limit: Bytes.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._taken, self._changed = limit, 0, Condition()

    @contextmanager
    def room(self, size: int) -> Iterator[None]:
        """Wait until there is room."""
        with self._changed:
            self._changed.wait_for(lambda: not self._taken or self._taken + size <= self._limit)
            self._taken += size
        try:
            yield
        finally:
            with self._changed:
                self._taken -= size
                self._changed.notify_all()


_puts = _Room(AT_ONCE)  # of all shards that are being put
