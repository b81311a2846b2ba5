"""Identity of things: canonical JSON and its sha256, the one way in which seamo names content."""

import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seamo.disk import sync
from seamo.errors import UsageError

_LEAVES = frozenset({str, int, float, bool, type(None)})


def canonical_json(value: Any) -> bytes:
    """Serialise a plain value so that equal values give equal bytes.

    Keys are sorted, no whitespace is written, text is ASCII-escaped and NaN or infinity is refused
    (they are not JSON, and NaN is not equal to itself).

    Args:
        value: Nested dict (str keys), list, tuple, str, int, float, bool or None.

    Raises:
        UsageError: If the value holds something that JSON cannot say.

    Example:
        >>> canonical_json({"b": 1, "a": (1.5, None)})
        b'{"a":[1.5,null],"b":1}'
    """
    try:
        text = json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UsageError(f"value has no canonical JSON ({error})") from error
    return text.encode("ascii")


def _plain(value: Any) -> Any:
    # json.dumps would turn the key 1 into "1" and make {1: ..} equal to {"1": ..}.
    if type(value) in _LEAVES:
        return value
    if isinstance(value, Mapping):
        bad = [key for key in value if not isinstance(key, str)]
        if bad:
            raise TypeError(f"key {bad[0]!r} is not text")
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [item if type(item) in _LEAVES else _plain(item) for item in value]  # a million keys
    return value


def digest(value: Any) -> str:
    """Sha256 (64 hex digits) of `canonical_json(value)`.

    Example:
        >>> digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})
        True
        >>> digest([])[:16]
        '4f53cda18c2baa0c'
    """
    return hashlib.sha256(canonical_json(value)).hexdigest()


def file_sha256(path: Path) -> str:
    """Sha256 (64 hex digits) of a file's bytes, read in blocks of 1 MiB."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old bytes or the new ones, never a part.

    The bytes go to a hidden file beside `path` with a name that no other writer has, are flushed to the disk and
    renamed, and the folder is flushed. A full disk or a kill leaves what was there before.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        sync(path.parent)
    finally:
        part.unlink(missing_ok=True)
