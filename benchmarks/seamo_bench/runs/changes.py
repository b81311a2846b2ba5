"""The files of a results repository: which may be there, and what a contribution may change of those that were."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import Field, ValidationError

from seamo.errors import ProtocolError
from seamo.identity import file_sha256
from seamo.seal import parse_json
from seamo_bench.facts import Value
from seamo_bench.records.layout import (
    CARDS,
    FOLDERS,
    KEY,
    PREDICTIONS,
    PROTOCOLS,
    RECORDS,
    STORES,
    WITHDRAWN,
)

AROUND = ("README.md", "LICENSE", "requirements.txt", ".gitattributes", ".gitignore")
_MAINTAINED = re.compile(rf"\.github/.+|{'|'.join(map(re.escape, AROUND))}")
_PLACES = re.compile(
    rf"{RECORDS}/(?P<k2>[0-9a-f]{{2}})/(?P=k2)[0-9a-f]{{62}}(\.[1-9][0-9]{{0,3}})?\.json"
    rf"|{PREDICTIONS}/{KEY}\.npz|{CARDS}/{KEY}\.json|{WITHDRAWN}/{KEY}\.json|{STORES}/[0-9a-f]{{16}}\.json"
    rf"|{PROTOCOLS}/[a-z0-9][a-z0-9-]*-[1-9][0-9]*\.json"
)
_KEPT = {f"{folder}/.gitkeep" for folder in FOLDERS}


class Withdrawal(Value):
    """Why records of a key are gone: `withdrawn/<key>.json`.

    Args:
        records: Sha256 of the files that are withdrawn; no such record may come again.
        reason: In words.
        who: Withdrew them.
    """

    records: tuple[str, ...] = Field(min_length=1)
    reason: str = Field(min_length=1)
    who: str = ""


def files_of(folder: Path) -> dict[str, Path]:
    """Every file of a checkout by its name, relative with `/`: links are files, `.git` is none of it."""
    found = {}
    for parent, folders, names in os.walk(folder):
        here = Path(parent)
        if here == folder:
            folders[:] = [name for name in folders if name != ".git"]
            names = [name for name in names if name != ".git"]  # of a worktree
        links = [name for name in folders if (here / name).is_symlink()]
        for name in sorted([*names, *links]):
            found[(here / name).relative_to(folder).as_posix()] = here / name
    return dict(sorted(found.items()))


def misplaced(name: str, path: Path) -> str:
    """Why a file may not be in a results repository; empty if it may."""
    if path.is_symlink() or not path.is_file():
        return "is a link, or no file"
    if name in _KEPT:
        return "" if path.stat().st_size == 0 else "is not empty"
    return "" if _PLACES.fullmatch(name) or _MAINTAINED.fullmatch(name) else "is outside the layout"


def withdrawals(files: Mapping[str, Path]) -> tuple[dict[str, Withdrawal], dict[str, str]]:
    """Key -> its withdrawal; and what is wrong with files that are none.

    Args:
        files: From `files_of`.
    """
    found, wrong = {}, {}
    for name, path in files.items():
        if name.startswith(f"{WITHDRAWN}/") and name.endswith(".json"):
            try:
                data = path.read_bytes()
                parse_json(data, name, error=ProtocolError, fix="")
                found[path.stem] = Withdrawal.model_validate_json(data)
            except (OSError, ProtocolError, ValidationError):
                wrong[name] = 'is no withdrawal: {"records": [sha256 of each file], "reason": "...", "who": "..."}'
    return found, wrong


def forbidden(base: Mapping[str, Path], files: Mapping[str, Path], *, maintainer: bool) -> Iterator[tuple[str, str]]:
    """(name, why not) of every change that a contribution must not make.

    Records stay as they are, unless they are withdrawn; if the first record of a key is, another one may move up.
    The register, protocols that were there, and all that is no result are the maintainers'.

    Args:
        base: Files of the branch that it goes to.
        files: With the contribution.
        maintainer: Whether it is one of theirs.
    """
    gone, _ = withdrawals(files)
    for name in sorted({*base, *files}):
        old, new = base.get(name), files.get(name)
        if old is not None and new is not None and _same(old, new):
            continue
        folder = name.partition("/")[0]
        if folder == RECORDS:
            if old is not None and not _may_go(name, old, base, files, gone):
                how = "was removed" if new is None else "was changed"
                yield name, f"{how}, and withdrawn/ does not name it"
        elif folder in (PREDICTIONS, CARDS, PROTOCOLS) and old is None:
            continue
        elif folder == PREDICTIONS and new is None:
            continue  # whoever names it is told that it is missing
        elif folder == WITHDRAWN and old is None:
            continue
        elif not maintainer:
            how = "was added" if old is None else "was removed" if new is None else "was changed"
            yield name, f"{how}: that is for maintainers"
        elif folder in (PREDICTIONS, CARDS):
            yield name, "was changed or removed: its name is its content"


def _same(one: Path, other: Path) -> bool:
    if one.is_symlink() or other.is_symlink():
        return False
    return one.stat().st_size == other.stat().st_size and file_sha256(one) == file_sha256(other)


def _may_go(
    name: str, old: Path, base: Mapping[str, Path], files: Mapping[str, Path], gone: Mapping[str, Withdrawal]
) -> bool:
    """Whether a record's file may be gone or another: it is withdrawn, or moved up in place of one that is."""
    key = Path(name).name.partition(".")[0]
    named = set(gone[key].records) if key in gone else set()
    if file_sha256(old) in named:
        return True
    beside = [one for one in files if one.startswith(f"{RECORDS}/{key[:2]}/{key}.")]
    first = base.get(f"{RECORDS}/{key[:2]}/{key}.json")
    makes_room = first is not None and file_sha256(first) in named
    return makes_room and any(_same(old, files[one]) for one in beside)
