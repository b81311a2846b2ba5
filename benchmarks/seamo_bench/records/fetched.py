"""Results at an address, brought to this disk for as long as they are read: all readers work on folders."""

from collections.abc import Iterator, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from seamo.addresses import address_of, disk_path, is_web, last_name, parent
from seamo.errors import ProtocolError, SeamoError, UsageError
from seamo.files import Files, open_files
from seamo.files.protocol import BLOCK
from seamo_bench.records.answers import FOLDER as ANSWERS
from seamo_bench.records.layout import FOLDERS, PREDICTIONS, PROTOCOLS, RECORDS, is_shared, name_there, predictions_path
from seamo_bench.records.record import Record, parse_record, read_record

_AT_ONCE = 8  # files that are asked for
# What a run leaves below its results beside records, also in a folder that was copied to a bucket.
_OF_RUNS = {ANSWERS, "claims", "features", "intervals", "reproductions", "runs", "studies"}


@contextmanager
def results_on_disk(place: Path, *, head: bool = False) -> Iterator[Path]:
    """A folder of results, a results repository or one record, as a path of this disk.

    Of an address it is a copy in a temporary folder, gone afterwards: all files of a repository, the records,
    predictions and answers of a run's folder (not its heads and features), or one record with its predictions.

    Args:
        place: A path or an address.
        head: Bring what one record has trained, too.

    Raises:
        ProtocolError: If there are none.
        StoreError: If they cannot be read.
    """
    if (folder := disk_path(place)) is not None:
        yield folder
        return
    with TemporaryDirectory(prefix="seamo-results-") as made:
        try:
            is_one = last_name(place).endswith(".json")
            yield _one(place, Path(made), head=head) if is_one else _all(place, Path(made))
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


def check_results(place: Path) -> None:
    """Refuse, before anything runs, what runs do not write to.

    Raises:
        UsageError: If it is a results repository, a web server, or something else is there.
        StoreError: If it cannot be written, or its server ignores conditions.
    """
    where, folder = address_of(place), disk_path(place)
    how = "Run into a folder or an address of your own, and hand in with `seamo-bench submit`."
    if is_web(place):
        raise UsageError("a web server is read only", where, how)
    files = open_files(place)
    there = set() if folder is not None else set(files.folders())
    if is_shared(folder) if folder is not None else there & {RECORDS, PREDICTIONS, PROTOCOLS}:
        raise UsageError("is a results repository, which runs do not write to", where, how)
    if other := sorted(there - _OF_RUNS):
        raise UsageError(f"holds something else ({other[0]}/)", where, "Choose a new address, or one of results.")
    if folder is None:
        files.probe()


def _all(place: Path, made: Path) -> Path:
    files = open_files(place)
    if is_repository(files):
        for name in FOLDERS:
            (made / name).mkdir()
        # Predictions are put before their record, so whatever is listed after the records has them.
        records = list(files.names(RECORDS))
        names = records + [name for name in files.names() if not name.startswith(f"{RECORDS}/")]
        bring = partial(_fetch, files, made)
    else:
        listed = set(files.names())
        names = [name for name in listed if "/" not in name and name.endswith(".json")]
        bring = partial(_fetch_with_predictions, files, made, listed)
        if names:
            names += [name for name in listed if name.endswith(".json") and name.rpartition("/")[0] == ANSWERS]
    if not names:
        raise ProtocolError("there are no results", files.url, "Run a suite, and hand its results in there.")
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for _ in pool.map(bring, names):
            pass
    return made


def _fetch_with_predictions(files: Files, made: Path, listed: Set[str], name: str) -> None:
    """An answer; or a record of a run, and what it names: runs at work put more while names are listed."""
    _fetch(files, made, name)
    if "/" in name:
        return
    record = parse_record((made / name).read_bytes(), made / name)
    if not isinstance(record, Record) or record.predictions is None:
        return
    own, there = record.predictions.name, name_there(record.predictions.name, record.predictions.sha256)
    beside = own if own in listed and there not in listed else there
    if beside in listed or files.exists(beside):  # else whoever looks at the record says so
        _fetch(files, made, beside)


def _one(place: Path, made: Path, *, head: bool) -> Path:
    """One record, where it lies in a folder like its own."""
    root, name = parent(place), last_name(place)
    if root.endswith(f"/{RECORDS}/{last_name(root)}"):
        name, root = f"{RECORDS}/{last_name(root)}/{name}", parent(parent(root))
        for folder in FOLDERS:
            (made / folder).mkdir()
    files = open_files(root)
    _fetch(files, made, name)
    record = read_record(made / name)
    wanted = []
    if record.predictions is not None:
        file = record.predictions
        path = predictions_path(made, file.name, file.sha256).relative_to(made).as_posix()
        wanted.append((path, name_there(path, file.sha256)))
    if record.head is not None and head:
        wanted.append((record.head.name, name_there(record.head.name, record.head.sha256)))
    for names in wanted:
        for beside in filter(files.exists, names):  # else whoever looks at the record says so
            _fetch(files, made, beside)
            break
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
