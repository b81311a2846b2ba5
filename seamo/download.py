"""Downloading one published file: resumed by range, several mirrors, size and hash always checked."""

import hashlib
import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from seamo.errors import DownloadError
from seamo.identity import write_atomically

BLOCK = 1 << 20
Progress = Callable[[int, int | None], None]
"""Called with (bytes so far, bytes expected or None)."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file and what it must be.

    Args:
        name: File name in the target folder.
        urls: Mirrors, tried in this order.
        size: Bytes, if published.
        md5, sha256: Hex digests, if published.
    """

    name: str
    urls: tuple[str, ...]
    size: int | None = None
    md5: str | None = None
    sha256: str | None = None

    @property
    def checkable(self) -> bool:
        """Whether a hash is published, so that wrong bytes are always seen."""
        return bool(self.md5 or self.sha256)


class _MirrorError(Exception):
    """This mirror cannot give the file; the reason is the text."""


class _DiskError(Exception):
    """The bytes could not be written; no mirror can help."""


def download(
    file: RemoteFile,
    folder: Path,
    *,
    on_progress: Progress | None = None,
    timeout_s: float = 60.0,
    tries: int = 5,
    pause_s: float = 1.0,
) -> Path:
    """Bring a file into a folder, or say why not.

    An interrupted download leaves `<name>.part` and goes on from there, on any mirror if a hash is published,
    else only from the same version at the same mirror (ETag). A file that arrives whole but is not the published
    one is kept as `<name>.quarantine` for a look, never under its name.

    Args:
        file: What to bring and what it must be.
        folder: Where to; must exist.
        on_progress: See `Progress`.
        timeout_s: Seconds without a byte after which a connection is given up.
        tries: Attempts in a row without a new byte before the next mirror is asked.
        pause_s: Pause after the first failed attempt; doubles with each one.

    Returns:
        `folder / file.name`, its size and hashes checked (also when it was there before).

    Raises:
        DownloadError: With the reason of every mirror; also if the file there already is a wrong one.
    """
    if not file.urls:
        raise DownloadError("has no link", file.name, "Get it by hand as its entry says.")
    target = folder / file.name
    if target.exists():
        wrong = mismatch(target, file)
        if wrong:
            raise DownloadError(f"is there already, but {wrong}", str(target), "Move it away and fetch again.")
        return target
    part = folder / f"{file.name}.part"
    reasons = []
    for url in file.urls:
        if not url.startswith(("http://", "https://")):
            reasons.append(f"{url}: not an http link")
            continue
        for resumed in (True, False):  # a file put together from two versions gets a second, clean attempt
            was_there = resumed and part.exists()
            try:
                _fill(part, url, file, on_progress=on_progress, timeout_s=timeout_s, tries=tries, pause_s=pause_s)
                wrong = mismatch(part, file)
            except _MirrorError as error:
                reasons.append(f"{url}: {error}")
                break
            _tag_path(part).unlink(missing_ok=True)
            if not wrong:
                part.replace(target)
                return target
            part.replace(folder / f"{file.name}.quarantine")
            reasons.append(f"{url}: {wrong} (kept as {file.name}.quarantine)")
            if not was_there:
                break
    raise DownloadError(
        f"no mirror gave the file ({'; '.join(reasons)})", file.name, "What has come is kept. Try again."
    )


def mismatch(path: Path, file: RemoteFile) -> str:
    """Why a file is not the published one, or an empty text."""
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        return f"it has {size} bytes instead of {file.size}"
    for name, wanted in (("sha256", file.sha256), ("md5", file.md5)):
        if wanted:
            with path.open("rb") as opened:
                found = hashlib.file_digest(opened, name).hexdigest()
            if found != wanted:
                return f"its {name} is {found} instead of {wanted}"
    return ""


def _fill(
    part: Path,
    url: str,
    file: RemoteFile,
    *,
    on_progress: Progress | None,
    timeout_s: float,
    tries: int,
    pause_s: float,
) -> None:
    failed = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            complete = _append(part, url, file, on_progress=on_progress, timeout_s=timeout_s)
        except urllib.error.HTTPError as error:
            if error.code in (408, 429, 500, 502, 503, 504):
                complete, reason = False, f"HTTP {error.code}"
            else:
                raise _MirrorError(f"HTTP {error.code} {error.reason}") from error
        except _DiskError as error:
            fix = "What has come is kept. Make room and fetch again."
            raise DownloadError(f"cannot be written ({error})", str(part), fix) from error
        except (http.client.HTTPException, OSError) as error:  # every way in which a connection dies
            complete, reason = False, f"{type(error).__name__}: {error}"
        else:
            reason = "the connection ended early"
        if complete:
            return
        after = part.stat().st_size if part.exists() else 0
        failed = 0 if after > before else failed + 1
        if failed >= tries:
            raise _MirrorError(f"{reason} ({tries} tries, {after} bytes so far)")
        time.sleep(pause_s * 2 ** max(failed - 1, 0))


def _append(part: Path, url: str, file: RemoteFile, *, on_progress: Progress | None, timeout_s: float) -> bool:
    """Append to the part what one connection gives; True when the file is complete."""
    have = part.stat().st_size if part.exists() else 0
    if file.size is not None and have == file.size:
        return True
    tag = _read_tag(part)
    stale = not file.checkable and tag.get("url") != url
    if have and (stale or (file.size is not None and have > file.size)):
        part.unlink()
        have = 0
    headers = {"User-Agent": "seamo", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if tag.get("url") == url and tag.get("etag"):
            headers["If-Range"] = tag["etag"]
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - http(s) only, checked by the caller
    try:
        response = urllib.request.urlopen(request, timeout=timeout_s)  # noqa: S310
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # the part is as long as the file, or longer: start over
            error.close()
            if file.size is None and error.headers.get("Content-Range", "") == f"bytes */{have}":
                return True
            part.unlink()
            return False
        raise
    with response:
        start, total = _range_of(response, have)
        if file.size is not None and total is not None and total != file.size:
            raise _MirrorError(f"the server's file has {total} bytes instead of {file.size}")
        if start not in (0, have):
            raise _MirrorError(f"asked from byte {have}, the server answered from byte {start}")
        etag = response.headers.get("ETag", "")
        note = json.dumps({"url": url, "etag": "" if etag.startswith("W/") else etag}).encode()
        try:
            write_atomically(_tag_path(part), note)
            opened = part.open("ab" if start else "wb")
        except OSError as error:
            raise _DiskError(error.strerror) from error
        with opened:
            _copy(response, opened, start, total if file.size is None else file.size, on_progress)
    now = part.stat().st_size
    expected = file.size if file.size is not None else total
    return now == expected if expected is not None else True


def _copy(
    response: http.client.HTTPResponse, out: IO[bytes], start: int, total: int | None, on_progress: Progress | None
) -> None:
    have = start
    while block := response.read1(BLOCK):
        if total is not None and have + len(block) > total:
            raise _MirrorError(f"the server sends more than {total} bytes")
        try:
            out.write(block)
        except OSError as error:
            raise _DiskError(error.strerror) from error
        have += len(block)
        if on_progress:
            on_progress(have, total)


def _range_of(response: http.client.HTTPResponse, have: int) -> tuple[int, int | None]:
    """(first byte, whole length) that a response says it carries."""
    if response.status == 206:
        unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
        span, _, total = rest.partition("/")
        first = span.partition("-")[0]
        if unit != "bytes" or not first.isdigit():
            raise _MirrorError(f"unreadable Content-Range {response.headers.get('Content-Range')!r}")
        return int(first), int(total) if total.isdigit() else None
    if have:  # the server ignored the range, or the file has changed: from the start
        have = 0
    length = response.headers.get("Content-Length", "")
    return have, int(length) if length.isdigit() else None


def _tag_path(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _read_tag(part: Path) -> dict[str, str]:
    try:
        found = json.loads(_tag_path(part).read_bytes())
    except (OSError, ValueError):
        return {}
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}
