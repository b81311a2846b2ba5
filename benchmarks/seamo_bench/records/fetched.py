"""Results at an address, brought to this disk for as long as they are read: all readers work on folders."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from seamo.addresses import address_of, disk_path, last_name, parent
from seamo.errors import ProtocolError, SeamoError
from seamo.files import Files, open_files
from seamo.files.protocol import BLOCK
from seamo_bench.records.layout import FOLDERS, RECORDS, predictions_path
from seamo_bench.records.record import read_record

_AT_ONCE = 8  # files that are asked for


@contextmanager
def results_on_disk(place: Path) -> Iterator[Path]:
    """A folder of results, a results repository or one record, as a path of this disk.

    Of an address it is a copy in a temporary folder, gone afterwards: all files of a repository, the records and
    predictions of a run's folder (not its heads and features), or one record with its predictions.

    Raises:
        ProtocolError: If there are none.
        StoreError: If they cannot be read.
    """
    if (folder := disk_path(place)) is not None:
        yield folder
        return
    with TemporaryDirectory(prefix="seamo-results-") as made:
        try:
            yield _one(place, Path(made)) if last_name(place).endswith(".json") else _all(place, Path(made))
        except SeamoError as error:  # what is wrong is wrong there, not here
            raise type(error)(error.what, error.where.replace(made, address_of(place)), error.fix) from error


def is_repository(files: Files) -> bool:
    """Whether there is a results repository at an address. One listing of folders."""
    return not set(FOLDERS).isdisjoint(files.folders())


def check_place(files: Files) -> None:
    """Ask an address whether results may be put there, before the first one is.

    Raises:
        ProtocolError: If something else is there.
        StoreError: If it cannot be written, or its server ignores conditions.
    """
    there = files.folders()  # once: another one may begin it at this moment
    if there and set(FOLDERS).isdisjoint(there):
        raise ProtocolError("is no results repository", files.url, "Choose a new address, or a repository.")
    files.probe()


def _all(place: Path, made: Path) -> Path:
    files = open_files(place)
    if is_repository(files):
        for name in FOLDERS:
            (made / name).mkdir()
        # Predictions are put before their record, so whatever is listed after the records has them.
        records = list(files.names(RECORDS))
        names = records + [name for name in files.names() if not name.startswith(f"{RECORDS}/")]
    else:
        names = [name for name in files.names() if "/" not in name and name.endswith((".json", ".npz"))]
    if not names:
        raise ProtocolError("there are no results", files.url, "Run a suite, and hand its results in there.")
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for _ in pool.map(partial(_fetch, files, made), names):
            pass
    return made


def _one(place: Path, made: Path) -> Path:
    """One record, where it lies in a folder like its own."""
    root, name = parent(place), last_name(place)
    if root.endswith(f"/{RECORDS}/{last_name(root)}"):
        name, root = f"{RECORDS}/{last_name(root)}/{name}", parent(parent(root))
        for folder in FOLDERS:
            (made / folder).mkdir()
    files = open_files(root)
    _fetch(files, made, name)
    record = read_record(made / name)
    if record.predictions is not None:
        path = predictions_path(made, record.predictions.name, record.predictions.sha256)
        beside = path.relative_to(made).as_posix()
        if files.exists(beside):  # else whoever looks at the record says so
            _fetch(files, made, beside)
    return made / name


def _fetch(files: Files, made: Path, name: str) -> None:
    first = files.read_range(name, 0, BLOCK)
    path = made / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            for block in (first,) if len(first) < BLOCK else files.stream(name):
                file.write(block)
    except OSError as error:
        raise ProtocolError(f"cannot be brought to this disk ({error.strerror})", files.where(name)) from error
