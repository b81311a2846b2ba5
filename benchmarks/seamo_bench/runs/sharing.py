"""Beginning a results repository, and putting stores into its register."""

from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.resources import files as resources
from pathlib import Path

from seamo import __version__
from seamo.addresses import disk_path
from seamo.errors import ProtocolError, StoreError
from seamo.files import open_files
from seamo.store.check import differing_files
from seamo.store.joined import JoinedStore
from seamo.store.reader import open_store
from seamo_bench.records.fetched import check_place, is_repository
from seamo_bench.records.layout import FOLDERS, is_shared
from seamo_bench.runs.papers import all_protocols
from seamo_bench.runs.register import StoreEntry, entry_bytes, entry_name, make_entry, merged, read_entry

_PLACES = {
    "README.md": "README.md",
    "CODEOWNERS": ".github/CODEOWNERS",
    "gitattributes": ".gitattributes",
    "referee.yml": ".github/workflows/referee.yml",
}


def init_repository(folder: Path) -> list[str]:
    """Write an empty results repository: folders, a README, the workflow that runs the referee, this seamo's protocols.

    Args:
        folder: New; or a repository, which gets what it lacks (protocols of a newer seamo). In a bucket, where no
            workflow runs, protocols are all that is written.

    Returns:
        Names of the files that were written.

    Raises:
        ProtocolError: If one of them is there with other content, or something else is at the address.
    """
    files = open_files(folder)
    path = disk_path(folder)
    made = dict(all_protocols())
    if path is None:
        check_place(files)
    if path is None or is_shared(path):  # where a tolerance may be the community's own
        made = {name: data for name, data in made.items() if files.find(name) is None}
    else:
        template = resources("seamo_bench.runs") / "template"
        made |= {place: (template / name).read_bytes() for name, place in _PLACES.items()}
        made["requirements.txt"] = f"seamo=={__version__}\n".encode()
        made |= {f"{name}/.gitkeep": b"" for name in FOLDERS}
    there = {place: files.find(place) for place in made}
    for place, data in made.items():
        if there[place] not in (None, data):
            raise ProtocolError(f"{place} is there already, and is another one", files.url, "Choose a new folder.")
    for place, data in made.items():
        files.put_once(place, data)
    return [place for place in made if there[place] is None]


def register_store(folder: Path, stores: Sequence[Path], *, who: str) -> StoreEntry:
    """Put what records are judged by into the register of a results repository.

    Args:
        folder: The repository.
        stores: One store, or those that are joined by key, in the order of the suite's row.
        who: Built them, and vouches for them.

    Raises:
        ProtocolError: If it is no results repository, or its register contradicts the store.
        StoreError: If a store is not there or damaged.
    """
    files, path = open_files(folder), disk_path(folder)
    if not (is_repository(files) if path is None else is_shared(path)):
        raise ProtocolError("is no results repository", files.url, "`seamo-bench referee --init DIR` makes one.")
    opened = [open_store(path) for path in stores]
    for store in opened:
        wrong = next(differing_files(store), None)
        if wrong is not None:
            raise StoreError(f"is damaged: {wrong.where} {wrong.what}", store.title, "Build it again.")
    joined = opened[0] if len(opened) == 1 else JoinedStore(opened)
    when = datetime.now(UTC).isoformat(timespec="seconds")
    entry, name = make_entry(joined, who=who, when=when), entry_name(joined.content)
    if not entry.tests:
        raise ProtocolError("has no labels to judge records by", joined.title)

    def entered(there: bytes | None) -> bytes:
        return entry_bytes(entry if there is None else merged(read_entry(there, name), entry))

    return read_entry(files.swap(name, entered), name)
