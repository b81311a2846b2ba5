"""Files of a run at an address: put once, in parts where they are large, and read against their seals.

Who finds other bytes under a name (of a process that was killed in its upload, or is at it) leaves them and puts its
own beside, under their sha256. So nothing that a seal may speak of is ever changed, and whoever reads takes the one
that was sealed.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from seamo.errors import TrainingError
from seamo.files import Files
from seamo.seal import SealedFile

PART = 256 * 2**20  # bytes of one object; it is put from memory, and servers take 5 GB at most with a condition
FIX = "Go on with --resume, which makes again what it can."


def object_names(name: str, sealed: SealedFile) -> list[str]:
    """The objects of a file: itself, or of a large one its parts."""
    count = max(1, -(-sealed.bytes // PART))
    return [name] if count == 1 else [f"{name}.part-{k:04d}" for k in range(count)]


def put_file(files: Files, name: str, path: Path, sealed: SealedFile) -> None:
    """Put a file, or the first part of one that grows, as far as it is sealed.

    Args:
        files: Where.
        name: Its name there.
        path: Here.
        sealed: Size and sha256 of what is put.

    Raises:
        StoreError: If it cannot be put.
        TrainingError: If it is not what was sealed any more.
    """
    for stem in (name, _beside(name, sealed)):
        if _put(files, object_names(stem, sealed), path, sealed):
            return
    raise TrainingError("is there with other bytes, under its own sha256 too", files.where(name), FIX)


def _put(files: Files, names: list[str], path: Path, sealed: SealedFile) -> bool:
    """Whether these objects hold the file now; else others were there first."""
    state, left = hashlib.sha256(), sealed.bytes
    with path.open("rb") as file:
        for one in names:
            data = file.read(min(left, PART))
            left -= len(data)
            state.update(data)
            if one == names[-1] and (left or state.hexdigest() != sealed.sha256):
                raise TrainingError("is not what was sealed any more", str(path), FIX)
            if files.put_once(one, data) is not None:
                return False
    return True


def bring_file(files: Files, name: str, sealed: SealedFile, to: Path) -> None:
    """Bring a file here, checked.

    Raises:
        TrainingError: If it is not there as it was sealed.
        StoreError: If it cannot be read.
    """
    found = ""
    to.parent.mkdir(parents=True, exist_ok=True)
    part = to.with_name(f".{to.name}.part")
    for stem in (name, _beside(name, sealed)):
        names = object_names(stem, sealed)
        sizes = [files.size(one) for one in names]
        if None in sizes:
            found = found or "is missing"
            continue
        size = sum(one or 0 for one in sizes)
        if size != sealed.bytes:
            found = f"has {size:,} bytes instead of {sealed.bytes:,}"
            continue
        state = hashlib.sha256()
        with part.open("wb") as file:
            for block in _blocks(files, names):
                state.update(block)
                file.write(block)
        if state.hexdigest() == sealed.sha256:
            part.rename(to)
            return
        part.unlink()
        found = "has another sha256 than its manifest says"
    raise TrainingError(found, files.where(name), FIX)


def _blocks(files: Files, names: list[str]) -> Iterator[bytes]:
    for one in names:
        yield from files.stream(one)


def _beside(name: str, sealed: SealedFile) -> str:
    return f"{name}.{sealed.sha256[:16]}"
