"""What races are made of: programs that start at once, a reader that looks on, and what is wrong with a store."""

import multiprocessing
import os
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Self

from numcodecs import blosc

from seamo.errors import SeamoError
from seamo.files import open_files
from seamo.store import shards
from seamo.store.check import differing_files
from seamo.store.reader import Store
from seamo.store.roots import Catalogue, read_catalogue
from seamo_prep.verify import verify

PATIENCE_S = 300.0
OTHER_CODEC = " with another compressor"  # behind a program's name: its blocks have other bytes of the same pixels
_PROGRAMS = {"seamo-prep": "seamo_prep.cli", "seamo-bench": "seamo_bench.cli"}
_LOADED = (  # before the fork, so that a start costs no imports, and two starts meet
    *("__main__", "tests.racing", "pandas", "pyarrow.pandas_compat", "pyarrow.parquet", "zarr", "obstore", "boto3"),
    *("rich.table", "rich.console", "rich.jupyter", "PIL.Image", "rasterio.warp", "rasterio.features"),
    *("seamo_prep.build", "seamo_prep.archives.eurosat", "seamo_prep.cli.program"),
    *("seamo_bench.runs.papers", "seamo_bench.cli.program", "seamo_bench.records.submit", "seamo_bench.runs.run"),
)


def processes() -> ForkServerContext:
    """Where processes begin with everything imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_LOADED))
    return context


def start(words: list[str], log: Path, first: Callable[[], None] | None = None) -> ForkServerProcess:
    """A program with its arguments, in a process that has its modules loaded; what it says goes into a file.

    Args:
        words: The program and its arguments.
        log: The file.
        first: Called in the process beforehand.
    """
    process = processes().Process(target=_program, args=(words, str(log), first), daemon=True)
    process.start()
    return process


def _program(words: list[str], log: str, first: Callable[[], None] | None) -> None:
    said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(said, 1)
    os.dup2(said, 2)
    name = words[0].removesuffix(OTHER_CODEC)
    if name != words[0]:
        shards.compress = lambda pixels, _: blosc.compress(pixels, b"zstd", 1, 1, 0, 1)
    if first is not None:
        first()
    sys.argv = [name, *words[1:]]
    module = __import__(_PROGRAMS[name], fromlist=["main"])
    module.main()


def ended(words: list[str], log: Path, first: Callable[[], None] | None = None) -> int:
    """The exit code of a program, run to its end; arguments as of `start`."""
    process = start(words, log, first)
    process.join(PATIENCE_S)
    if process.exitcode is None:
        process.kill()
        process.join()
    return process.exitcode if process.exitcode is not None else -9


def ran(words: list[str], log: Path, faults: list[str]) -> None:
    code = ended(words, log)
    if code:
        faults.append(f"{' '.join(words[:2])} ended with {code}: {last(log)}")


def last(log: Path) -> str:
    return log.read_text(errors="replace").strip()[-400:] if log.is_file() else ""


class Looker(ABC):
    """Looks, again and again, until it is told to stop; what it sees wrong is in `bad`."""

    def __init__(self) -> None:
        self.looks, self.bad = 0, list[str]()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    @abstractmethod
    def look(self) -> None:
        """Once."""

    def _run(self) -> None:
        while not self._end.is_set():
            try:
                self.look()
            except SeamoError as error:
                self.bad.append(f"a reader saw: {error}")
            self._end.wait(0.2)


class Reader(Looker):
    """Looks at a place until it is told to stop: what is listed, or has a store.json, must be whole.

    Args:
        place: A root.
        want: Every name that may come there -> contents that it may have.
        only_listed: Look at what is listed both before and after.
    """

    def __init__(self, place: str, want: Mapping[str, set[str]], *, only_listed: bool) -> None:
        super().__init__()
        self._place, self._want, self._only_listed = place, want, only_listed

    def look(self) -> None:
        """Once."""
        catalogue = read_catalogue(self._place) or Catalogue()
        files = open_files(self._place)
        names = catalogue.stores if self._only_listed else self._want
        for name in names:
            try:
                if not files.exists(f"{name}/store.json"):
                    wrong = ["is listed and not there"] if name in catalogue.stores else []
                else:
                    wrong = faults_of(f"{self._place}/{name}", self._want.get(name, set()))
                    self.looks += 1
            except SeamoError as error:
                wrong = [str(error)]
            if wrong and self._only_listed and name not in (read_catalogue(self._place) or Catalogue()).stores:
                continue  # it was removed while it was looked at
            self.bad += [f"a reader saw {name}: {one}" for one in wrong]


def faults_of(address: str, contents: set[str], *, deep: bool = False) -> list[str]:
    """What is wrong with a store: its files against its manifest, its content against what it may be.

    Args:
        address: Of the store.
        contents: That it may have.
        deep: All that `verify --deep` calls an error.
    """
    store = Store(address)
    if deep:
        checked = verify(store, deep=True, leaks=False, say=lambda _: None)
        found = [f"{one.where} {one.what}" for one in checked if one.severity == "error"]
    else:
        found = [f"{one.where} {one.what}" for one in differing_files(store, deep=True)]
    return found if store.content in contents else [*found, f"has the content {store.content[:12]}"]
