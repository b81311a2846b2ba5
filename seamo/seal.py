"""The seal on what is kept: documents that carry their own digest, and manifests of size and sha256 over files.

A *document* is canonical JSON (`seamo.identity`) of one object whose field `digest` is the sha256 of the other fields.
Its bytes are the only ones that say the same, so any change of any byte is seen when it is read.

A *manifest* (`checksums.json`) is a document: `files`, name -> bytes and sha256 of every other file of a folder.
Who keeps the manifest's digest holds the whole folder.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from seamo.errors import SeamoError, StoreError
from seamo.files import Files, open_files
from seamo.identity import canonical_json, file_sha256

MANIFEST = "checksums.json"
_DIGEST = "digest"
_LONGEST = 256 * 2**20  # bytes of a document; a manifest of a million files has a hundred


class SealedFile(NamedTuple):
    """What one file must be.

    Args:
        bytes: Its size.
        sha256: 64 hex digits.
    """

    bytes: int
    sha256: str


class DamagedFile(NamedTuple):
    """One file that is not what its manifest says.

    Args:
        name: Relative, with `/`.
        what: Is wrong, as a sentence without a full stop.
    """

    name: str
    what: str


def seal_document(facts: Mapping[str, Any]) -> bytes:
    """The bytes of a document.

    Args:
        facts: Plain values (`canonical_json`) without a field `digest`.

    Example:
        >>> sealed = seal_document({"z": 1, "a": 2})
        >>> sealed == b'{"a":2,"digest":"%s","z":1}' % hashlib.sha256(b'{"a":2,"z":1}').hexdigest().encode()
        True
    """
    parts = {name: canonical_json({name: value})[1:-1] for name, value in facts.items()}  # each once: some are large
    state = hashlib.sha256(_joined(parts)).hexdigest()
    return _joined(parts | {_DIGEST: canonical_json({_DIGEST: state})[1:-1]})


def _joined(parts: Mapping[str, bytes]) -> bytes:
    """Canonical JSON of an object from that of its fields."""
    return b"{" + b",".join(parts[name] for name in sorted(parts)) + b"}"


def open_document(data: bytes, where: str, *, error: type[SeamoError], fix: str) -> dict[str, Any]:
    """The facts of a document, after its seal was checked.

    Args:
        data: All bytes of the file.
        where: The file, for messages.
        error: What is raised.
        fix: What to do about a damaged file of this kind.

    Returns:
        The fields without `digest`.

    Raises:
        SeamoError: Of the class `error`: if these are not the bytes that were sealed.

    Example:
        >>> from seamo.errors import StoreError
        >>> open_document(seal_document({"a": 1}), "store.json", error=StoreError, fix="Build it again.")
        {'a': 1}
    """
    return check_seal(parse_json(data, where, error=error, fix=fix), data, where, error=error, fix=fix)


def check_seal(facts: dict[str, Any], data: bytes, where: str, *, error: type[SeamoError], fix: str) -> dict[str, Any]:
    """The second half of `open_document`, for facts that were looked at first (another format carries no seal).

    Args:
        facts: `parse_json` of `data`; its field `digest` is taken out.
        data: All bytes of the file.
        where: The file, for messages.
        error: What is raised.
        fix: What to do about a damaged file of this kind.

    Raises:
        SeamoError: Of the class `error`: if these are not the bytes that were sealed.
    """
    said = facts.pop(_DIGEST, None)
    if said is None:
        raise error("carries no digest of itself", where, fix)
    try:
        sealed = seal_document(facts)
    except (SeamoError, RecursionError):  # numbers beyond a float's, nesting beyond what we ever write
        sealed = b""
    if sealed != data:
        raise error("is not what was sealed: its digest does not fit", where, fix)
    return facts


def document_digest(data: bytes) -> str:
    """The digest that a document's bytes carry, unchecked; empty if they carry none."""
    try:
        facts = json.loads(data)
    except (ValueError, RecursionError):
        return ""
    said = facts.get(_DIGEST, "") if isinstance(facts, dict) else ""
    return said if isinstance(said, str) else ""


def parse_json(data: bytes, where: str, *, error: type[SeamoError], fix: str) -> dict[str, Any]:
    """One JSON object from bytes that nobody vouches for.

    Raises:
        SeamoError: Of the class `error`: if it is too large, no UTF-8, no JSON (NaN is none), nested too deep, no
            object, or a key stands twice.
    """
    if len(data) > _LONGEST:
        raise error(f"has {len(data):,} bytes, which no such document has", where, fix)
    try:
        facts = json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as cause:
        raise error(f"is no JSON that can be read ({cause})", where, fix) from cause
    if not isinstance(facts, dict):
        raise error("is not one JSON object", where, fix)
    return facts


def manifest_bytes(files: Mapping[str, SealedFile]) -> bytes:
    """The bytes of `checksums.json` for these files."""
    return seal_document({"files": {name: one._asdict() for name, one in files.items()}})


def open_manifest(data: bytes, where: str, *, error: type[SeamoError], fix: str) -> dict[str, SealedFile]:
    """Name -> what the file must be, after the manifest's own seal was checked.

    Raises:
        SeamoError: Of the class `error`: if the manifest is damaged or is none.
    """
    facts = open_document(data, where, error=error, fix=fix)
    try:
        return {str(name): SealedFile(int(one["bytes"]), str(one["sha256"])) for name, one in facts["files"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as cause:
        raise error("is no manifest of files", where, fix) from cause


def seal_files(folder: Path, names: Iterable[str]) -> dict[str, SealedFile]:
    """Size and sha256 of files below a folder; each is read once."""
    return {name: SealedFile((folder / name).stat().st_size, file_sha256(folder / name)) for name in names}


def file_names(folder: Path) -> list[str]:
    """Every file below a folder, relative with `/`, sorted; hidden work files and links are files too."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def damages(folder: Path, files: Mapping[str, SealedFile], *, deep: bool) -> Iterator[DamagedFile]:
    """The files that are missing or not as sealed, in order of their names.

    Args:
        folder: Where they are.
        files: From the manifest.
        deep: Read every file and compare its sha256, not only its size.
    """
    for name, sealed in sorted(files.items()):
        found = damage(folder / name, sealed, deep=deep)
        if found:
            yield DamagedFile(name, found)


def damage(path: Path, sealed: SealedFile, *, deep: bool) -> str:
    """What is wrong with one file of a local disk; empty if nothing is."""
    return file_damage(open_files(path.parent), path.name, sealed, deep=deep)


def file_damage(files: Files, name: str, sealed: SealedFile, *, deep: bool) -> str:
    """What is wrong with one file; empty if nothing is.

    Args:
        files: That it is among.
        name: Of it.
        sealed: What it must be.
        deep: Read it and compare its sha256, not only its size.
    """
    try:
        size = files.size(name)
        if size is None:
            return "is missing"
        if size != sealed.bytes:
            return f"has {size:,} bytes instead of {sealed.bytes:,}"
        if deep:
            state = hashlib.sha256()
            for block in files.stream(name):
                state.update(block)
            if state.hexdigest() != sealed.sha256:
                return "has another sha256 than its manifest says"
    except StoreError as error:
        return error.what
    return ""


def bytes_damage(data: bytes, sealed: SealedFile) -> str:
    """What is wrong with a file's bytes; empty if nothing is."""
    if len(data) != sealed.bytes:
        return f"has {len(data):,} bytes instead of {sealed.bytes:,}"
    return "" if hashlib.sha256(data).hexdigest() == sealed.sha256 else "has another sha256 than its manifest says"


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key {next(name for name in names if names.count(name) > 1)!r} stands twice")
    return found
