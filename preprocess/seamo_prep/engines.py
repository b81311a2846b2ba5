"""Who writes the shards of a build: this thread, threads of this process, processes, or workers of a dask scheduler.

Whoever does it takes a whole shard, and what is finished stays. Threads share one `Raw`, start at once and need no
memory of their own beyond the sample at hand; more than four of them would wait for each other's Python code, so more
workers than that are processes. Where cores are left, a shard's next samples are read in a thread of its own while
one is encoded and written. Processes, here and of a scheduler, get nothing but small arguments, from which what was
lost can be computed again; each opens the archive once, keyed by what describes it.
"""

import os
import signal
import threading
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from seamo.cluster import Lost, RemoteTask, connected, place_of, run_tasks
from seamo.errors import ArchiveError, SampleError, SeamoError, StoreError
from seamo.manifest import DatasetSpec
from seamo.sample import Sample, check_sample
from seamo.store.writer import BadSample, ShardJob, StoreWriter, write_shard
from seamo_prep.archives import Archive, load_archive
from seamo_prep.processes import Died, in_processes
from seamo_prep.unpack import Raw

if TYPE_CHECKING:
    import pandas as pd

OnBad = Literal["raise", "skip"]
Say = Callable[[str], None]
Progress = Callable[[int, int], None]
"""Called with (samples done, samples in all); the first call tells what an earlier build left."""
_USEFUL_THREADS = 4  # beyond that they wait for each other's Python code
_LOADED = ("seamo_prep.engines", "pandas", "pyarrow.parquet", "rasterio", "PIL.Image")  # by every process
_AHEAD = 2  # samples that are read before they are asked for
_KEPT = "Finished shards are kept: give the same command again"


@dataclass(frozen=True, slots=True)
class Engine:
    """Who does the work.

    Args:
        workers: Who writes a shard each, no more than there are cores: 1 works in the calling thread, up to four are
            threads, more are processes. 0 takes one a core, up to four.
        scheduler: Address of a dask scheduler instead, whose workers see RAW, and a store on a disk, under the same
            paths.
    """

    workers: int = 0
    scheduler: str = ""


@dataclass(frozen=True, slots=True)
class ArchiveSource:
    """What samples are read from.

    Args:
        archive_id: Names the module that reads them.
        archive: That module.
        raw: The published files.
        spec: What is built of them.
        on_bad: What happens to a sample that cannot be read.
    """

    archive_id: str
    archive: Archive
    raw: Raw
    spec: DatasetSpec
    on_bad: OnBad


@dataclass(frozen=True, slots=True)
class _Address:
    """A `ArchiveSource` as it travels: small, and equal for equal sources, so that a worker opens each once."""

    archive_id: str
    root: str | Path
    spec: str
    relax: frozenset[str]
    on_bad: OnBad


class _StoppedError(Exception):
    """Another shard failed, or the builder was told to stop."""


def write_shards(
    writer: StoreWriter, rows: "pd.DataFrame", source: ArchiveSource, *, engine: Engine, say: Say, progress: Progress
) -> None:
    """Write every shard that is not done yet.

    Args:
        writer: Of the store.
        rows: The archive's index, in row order.
        source: Where the samples come from.
        engine: Who does it.
        say: Called with each remark that a person should read.
        progress: See `Progress`; called in the calling thread.

    Raises:
        ArchiveError, SampleError: With the file at fault.
        StoreError: If the disk is full, a server does not answer, another builder has put other pixels, or a process,
            the scheduler or its workers are lost.
        UsageError: If the scheduler's address is none.
    """
    there = writer.done()
    left = [k for k in range(writer.num_shards) if k not in there]
    total = len(rows)
    done = total - sum(len(writer.rows_of(k)) for k in left)
    progress(done, total)
    if not left:
        return

    def tell(k: int) -> None:
        nonlocal done
        done += len(writer.rows_of(k))
        progress(done, total)

    todo = writer.todo(left, tell)
    if engine.scheduler:
        _on_cluster(writer, rows, source, scheduler=engine.scheduler, todo=todo, say=say, tell=tell)
        return
    cores = len(os.sched_getaffinity(0))
    workers = min(engine.workers or _USEFUL_THREADS, cores, len(left))
    is_ahead = workers < cores
    if workers > _USEFUL_THREADS:
        _in_processes(writer, rows, source, workers=workers, todo=todo, tell=tell, is_ahead=is_ahead)
        return
    with _quiet_readers():
        if workers > 1:
            _in_threads(writer, rows, source, workers=workers, todo=todo, tell=tell, is_ahead=is_ahead)
            return
        stop = threading.Event()  # nobody sets it: a signal is raised in this thread
        for k in todo:
            _write_one(source, _slice(writer, rows, k), writer.job(k), stop, is_ahead=is_ahead)
            tell(k)


def _in_threads(
    writer: StoreWriter,
    rows: "pd.DataFrame",
    source: ArchiveSource,
    *,
    workers: int,
    todo: Iterator[int],
    tell: Callable[[int], None],
    is_ahead: bool,
) -> None:
    stop = threading.Event()
    running: dict[Future[None], int] = {}
    with ThreadPoolExecutor(workers, thread_name_prefix="shard") as pool:
        try:
            while True:
                for k in islice(todo, workers - len(running)):
                    job = (source, _slice(writer, rows, k), writer.job(k), stop)
                    running[pool.submit(_write_one, *job, is_ahead=is_ahead)] = k
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    k = running.pop(future)
                    future.result()  # raises what the thread raised
                    tell(k)
        except BaseException:
            stop.set()  # leaving the pool waits for every thread; each ends before its next sample
            raise


def _in_processes(
    writer: StoreWriter,
    rows: "pd.DataFrame",
    source: ArchiveSource,
    *,
    workers: int,
    todo: Iterator[int],
    tell: Callable[[int], None],
    is_ahead: bool,
) -> None:
    address = _address_of(source)
    tasks = ((k, (address, _slice(writer, rows, k), writer.job(k), is_ahead)) for k in todo)
    with closing(in_processes(_in_process, tasks, workers=workers, preload=_LOADED)) as ended:
        for k, outcome in ended:
            if isinstance(outcome, Died):
                why = 'A script that builds needs `if __name__ == "__main__":`; what it said stands above.'
                if outcome.code == -signal.SIGKILL:
                    why = "Probably out of memory: give fewer workers."
                raise StoreError(f"the process that wrote shard {k} {outcome}", writer.place, f"{why} {_KEPT}.")
            tell(k)


def _until(stop: threading.Event, samples: Iterable[Sample | BadSample]) -> Iterator[Sample | BadSample]:
    for sample in samples:
        if stop.is_set():
            raise _StoppedError
        yield sample


@contextmanager
def _quiet_readers() -> Generator[None]:
    """Silence, for all threads, the warnings that readers silence for themselves.

    `warnings.catch_warnings` changes the whole process and puts back what it found: entered by two threads in turn, the
    one that leaves first takes the other's silence away. Inside this, what it puts back is silent too.
    """
    from PIL.Image import DecompressionBombWarning
    from rasterio.errors import NotGeoreferencedWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        warnings.simplefilter("ignore", DecompressionBombWarning)
        yield


def _on_cluster(
    writer: StoreWriter,
    rows: "pd.DataFrame",
    source: ArchiveSource,
    *,
    scheduler: str,
    todo: Iterator[int],
    say: Say,
    tell: Callable[[int], None],
) -> None:
    address = _address_of(source)
    shard_of: dict[str, int] = {}

    def task(k: int) -> RemoteTask:
        key = f"shard-{writer.build}-{k}"
        shard_of[key] = k
        return RemoteTask(key, _on_worker, (address, _slice(writer, rows, k), writer.job(k)))

    with connected(scheduler, kept=_KEPT, say=say) as client:
        tasks = map(task, todo)
        for ended in run_tasks(client, tasks, where=place_of(scheduler), kept=_KEPT):
            if ended is None:
                continue
            k, outcome = shard_of[ended[0].key], ended[1]
            if isinstance(outcome, Lost):
                raise StoreError(
                    f"shard {k} {outcome}",
                    writer.place,
                    f"Probably out of memory: give workers more, or fewer threads. {_KEPT}.",
                )
            if outcome is not None:
                raise outcome
            tell(k)


def _on_worker(address: _Address, rows: "pd.DataFrame", job: ShardJob) -> SeamoError | None:
    """Write a shard; a fault of the data is returned, as trying again would not help it."""
    try:
        _write_one(_opened(address), rows, job, threading.Event())
    except (ArchiveError, SampleError) as error:
        return error
    return None


def _in_process(address: _Address, rows: "pd.DataFrame", job: ShardJob, is_ahead: bool) -> None:
    with _quiet_readers():
        _write_one(_opened(address), rows, job, threading.Event(), is_ahead=is_ahead)


def _address_of(source: ArchiveSource) -> _Address:
    spec = source.spec.model_dump_json()
    return _Address(source.archive_id, source.raw.given, spec, source.raw.relax, source.on_bad)


@lru_cache(maxsize=2)
def _opened(address: _Address) -> ArchiveSource:
    spec = DatasetSpec.model_validate_json(address.spec)
    raw = Raw(address.root, spec, address.relax)
    return ArchiveSource(address.archive_id, load_archive(address.archive_id), raw, spec, address.on_bad)


def _slice(writer: StoreWriter, rows: "pd.DataFrame", k: int) -> "pd.DataFrame":
    span = writer.rows_of(k)
    part = rows.iloc[span.start : span.stop]
    part.attrs = {}  # the ledger of the whole archive need not travel with every shard
    return part


def _write_one(
    source: ArchiveSource, rows: "pd.DataFrame", job: ShardJob, stop: threading.Event, *, is_ahead: bool = False
) -> None:
    from seamo.rasterfacts import gdal_settings

    with gdal_settings():  # GDAL's settings and handlers are a thread's own
        samples = _samples(source, rows)
        with closing(_read_ahead(samples) if is_ahead else samples) as read:
            write_shard(job, _until(stop, read))


def _read_ahead(samples: Iterator[Sample | BadSample]) -> Generator[Sample | BadSample]:
    """The same samples in the same order, read in another thread."""
    from seamo.rasterfacts import gdal_settings

    def following() -> Sample | BadSample | None:
        with gdal_settings():
            return next(samples, None)

    with ThreadPoolExecutor(1, thread_name_prefix="read") as pool:
        waiting = deque(pool.submit(following) for _ in range(_AHEAD))
        try:
            while (sample := waiting.popleft().result()) is not None:
                waiting.append(pool.submit(following))
                yield sample
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # leaving the pool waits for the sample that is being read


def _samples(source: ArchiveSource, rows: "pd.DataFrame") -> Generator[Sample | BadSample]:
    if source.on_bad == "raise":
        yield from source.archive.read(source.raw, rows, source.spec)
        return
    position = 0
    while position < len(rows):
        try:
            for sample in source.archive.read(source.raw, rows.iloc[position:], source.spec):
                check_sample(sample, source.spec)
                yield sample
                position += 1
        except (ArchiveError, SampleError) as error:
            yield BadSample(str(rows["key"].iloc[position]), _reason(error))
            position += 1
        else:
            return


def _reason(error: SeamoError) -> str:
    return f"{error.where}: {error.what}" if error.where else error.what
