"""Which stores are under a root: published ones, and those that are still being built."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from seamo.addresses import local_path
from seamo.errors import StoreError
from seamo.store import format as fmt
from seamo.store.meta import StoreMeta, read_meta


@dataclass(frozen=True, slots=True)
class Entry:
    """One store under a root.

    Args:
        id: Of the data set.
        build: The 8 hex digits of the pixels, and of a view `<8 hex digits>/views/<8 hex digits>`.
        path: Its folder.
        state: `published`, `unfinished`, or `damaged` (store.json cannot be read).
        created: UTC, ISO 8601; of an unfinished store, when it was last written to.
        title: As tables show it; empty unless published.
        meta: store.json, if published.
        problem: What is wrong with a damaged one.
    """

    id: str
    build: str
    path: Path
    state: Literal["published", "unfinished", "damaged"]
    created: str
    title: str = ""
    meta: StoreMeta | None = None
    problem: str = ""


def list_stores(root: str | Path) -> list[Entry]:
    """Every store under a root, by data set id, newest first; unfinished ones after the published.

    Raises:
        StoreError: If the root is not a folder.

    Example:
        >>> from seamo.testing.stores import tiny_store
        >>> store = tiny_store()
        >>> [entry.id for entry in list_stores(store.path.parents[1])]
        ['tiny']
    """
    folder = local_path(root)
    if not folder.is_dir():
        raise StoreError("there is no such folder", where=str(folder))
    entries: list[Entry] = []
    for dataset in sorted(path for path in folder.iterdir() if path.is_dir()):
        folders = [path for path in dataset.iterdir() if path.is_dir()]
        views = [path for folder in folders for path in folder.glob(f"{fmt.VIEWS_NAME}/[!.]*") if path.is_dir()]
        here = [_entry(dataset.name, path) for path in (*folders, *views)]
        found = [entry for entry in here if entry is not None]
        found.sort(key=lambda entry: (entry.created, entry.build), reverse=True)
        entries += sorted(found, key=lambda entry: entry.state == "unfinished")
    return entries


def newest(entries: Sequence[Entry]) -> dict[str, Entry]:
    """The newest published store of every data set."""
    result: dict[str, Entry] = {}
    for entry in entries:
        if entry.state == "published" and (entry.id not in result or entry.created > result[entry.id].created):
            result[entry.id] = entry
    return result


def _entry(dataset_id: str, path: Path) -> Entry | None:
    if path.name.startswith(".") and path.name.endswith(".partial"):
        changed = datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")
        return Entry(dataset_id, path.name[1:].removesuffix(".partial"), path, "unfinished", changed)
    meta_path = path / fmt.META_NAME
    if not meta_path.is_file():
        return None
    try:
        meta = read_meta(meta_path.read_bytes(), str(meta_path))
    except StoreError as error:
        return Entry(dataset_id, _name(path), path, "damaged", "", problem=str(error))
    return Entry(meta.id, _name(path), path, "published", meta.created, meta.title, meta)


def _name(path: Path) -> str:
    """A store's name below its data set's folder."""
    is_view = path.parent.name == fmt.VIEWS_NAME
    return f"{path.parent.parent.name}/{fmt.VIEWS_NAME}/{path.name}" if is_view else path.name
