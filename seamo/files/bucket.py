"""Files in a bucket or on a web server (`seamo.files.Files`): obstore, behind the guards that it lacks.

The engine accepts answers that are too short, calls every conflict "already exists", hangs after a fork, and holds
secrets in what it pickles and prints. So lengths are checked here, what is there is read before a conflict is believed,
the process is remembered, and no object of the engine leaves this module, or is ever printed or pickled.
"""

import os
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any

from seamo.addresses import WEB, Location, checked_name, location
from seamo.errors import StoreError
from seamo.files.credentials import azure_account, s3_credentials
from seamo.files.protocol import BLOCK, PROBE, Change, ListedFile
from seamo.files.ranges import near

if TYPE_CHECKING:
    from obstore.store import ObjectStore

CONNECT_S = 5.0
SILENCE_S = 30.0  # without a byte, while an answer is read
RETRIES = 6
RETRY_S = 120.0  # from the first try of a request to the last
BUDGET_S = 300.0  # that failing requests may take, one after another, before every further one fails at once
_LONGEST_S = 1800.0  # one answer, however slowly its bytes come
_SLOWEST_PUT = 2e6  # bytes a second
_PUT_STEP = 32 * 2**20  # bytes; the time for a put is a step's, doubled until it is enough
_COLLISIONS = 6  # of conditional puts that leave nothing there, in a row
_SWAP_S = 120.0  # of losing every race for one object
_GAP = 2**20  # bytes that are fetched for nothing rather than asking again
_SPAN = 64 * 2**20  # bytes of one answer at most, unless one range is longer
_SHORT = 3  # times that a short answer is asked for
_FOREVER = {"Cache-Control": "max-age=31536000, immutable"}
_FRESH = {"Cache-Control": "no-cache"}
_AGAIN = "Try again; if it stays so, look whether the server is up."

_BEYOND = re.compile("status code: 416|Wanted range starting at")  # a range that begins behind the end
_used_in: list[int] = []  # the process that used the engine first; a fork copies it


class BucketFiles:
    """`Files` of a bucket, or of a web server, which is read only.

    Every process finds credentials anew, by the provider's own variables and profiles (`seamo.files.credentials`).

    Args:
        url: Its address.
    """

    def __init__(self, url: str) -> None:
        found = location(url)
        if found is None:
            raise StoreError("is not in a bucket", url)
        self._place = found
        self._clients: dict[int, ObjectStore] = {}
        self._how = ""  # it is asked: with which kind of credentials
        self._lock = Lock()
        self._lost_s = self._lost_until = 0.0  # seconds of failures in a row, however many at once; the end of the last

    def __reduce__(self) -> tuple[type["BucketFiles"], tuple[str]]:
        return BucketFiles, (self.url,)

    def __repr__(self) -> str:
        return f"BucketFiles({self.url!r})"

    @property
    def url(self) -> str:
        """The address that names are below."""
        return self._place.url

    def where(self, name: str) -> str:
        """The address of a name, for messages."""
        return f"{self.url}/{name}" if name else self.url

    def read(self, name: str) -> bytes:
        """All bytes of a file."""
        data = self.find(name)
        if data is None:
            raise _absent(self.where(name))
        return data

    def find(self, name: str) -> bytes | None:
        """All bytes of a file; None if it is not there."""
        return self._find(name)[0]

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        """Some bytes of a file; fewer than asked for only where the file ends early."""
        if length <= 0:
            return b""
        found = self._range(name, offset, length)
        if found is None:
            raise _absent(self.where(name))
        return found[0]

    def read_ranges(self, name: str, starts: Sequence[int], lengths: Sequence[int]) -> list[bytes]:
        """Several ranges of one file, each as `read_range` gives it; near ones are fetched together.

        Not by the engine's own `get_ranges`: that panics where an answer is shorter than its ranges.
        """
        asked = list(zip(starts, lengths, strict=True))
        result = [b""] * len(asked)
        for start, stop, members in near(asked, gap=_GAP, longest=_SPAN):
            span = self.read_range(name, start, stop - start)
            for i in members:
                offset, length = asked[i]
                result[i] = span[offset - start : offset - start + length]
        return result

    def stream(self, name: str) -> Iterator[bytes]:
        """All bytes of a file, piece by piece; each is asked for by itself, so no slow answer is cut off."""
        size = self.size(name)
        if size is None:
            raise _absent(self.where(name))
        for offset in range(0, size, BLOCK):
            length = min(BLOCK, size - offset)
            block = self.read_range(name, offset, length)
            if len(block) != length:
                raise StoreError("became shorter while it was read", self.where(name), _AGAIN)
            yield block

    def size(self, name: str) -> int | None:
        """Bytes of a file; None if it is not there."""
        found = self._ask(name, lambda engine, client, path: engine.head(client, path)["size"])
        return None if found is None else int(found)

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        return self.size(name) is not None

    def names(self, below: str = "") -> Iterator[str]:
        """Every file below a name. A listing: a request each 1,000 names."""
        return (one.name for one in self.listing(below))

    def listing(self, below: str = "") -> Iterator[ListedFile]:
        """The same, with sizes and ETags."""
        self._check_lists(below)
        for page in self._ask(below, lambda engine, client, path: list(engine.list(client, path or None))) or ():
            yield from (ListedFile(one["path"], one["size"], f"{one['e_tag']} {one['last_modified']}") for one in page)

    def folders(self, below: str = "") -> list[str]:
        """Names of the folders that lie directly in a folder, sorted. A listing, too."""
        self._check_lists(below)
        told = self._ask(below, lambda engine, client, path: engine.list_with_delimiter(client, path or None))
        return sorted(name.rstrip("/").rpartition("/")[2] for name in told["common_prefixes"]) if told else []

    def put_once(self, name: str, data: bytes) -> bytes | None:
        """Write a file that is not there yet, in one request with a condition.

        A conflict says nothing for sure (two puts that met, or our own whose answer got lost), so what is there is
        read and compared.
        """
        for _ in range(_COLLISIONS):
            try:
                self._put(name, data, mode="create", attributes=_FOREVER)
                return None
            except (_ConflictError, _UnsureError):
                there = self.find(name)
                if there is not None:
                    return None if there == data else there
                _pause()
        raise StoreError("writers keep colliding", self.where(name), _AGAIN)

    def swap(self, name: str, change: Change) -> bytes:
        """Change one small file by compare-and-swap: redone from what is there whenever somebody was faster."""
        self._check_writable(name)
        give_up = time.monotonic() + _SWAP_S
        tried: bytes | None = None
        while True:
            old, version = self._find(name)
            if tried is not None and old == tried:
                return tried  # it was in: only the answer got lost
            new = change(old)
            if new == old:
                return new
            if old is not None and "e_tag" not in version:
                raise StoreError("this server gives files no ETag, so none can be changed safely", self.where(name))
            try:
                self._put(name, new, mode=version if old is not None else "create", attributes=_FRESH)
                return new
            except (_ConflictError, _UnsureError):
                tried = new
            if time.monotonic() > give_up:
                raise StoreError("others keep changing it", self.where(name), _AGAIN)
            _pause()

    def delete(self, names: Iterable[str]) -> None:
        """Delete files; those that are not there are no error."""
        self._check_writable("")
        paths = [checked_name(name) for name in names]
        for start in range(0, len(paths), 1000):
            some = paths[start : start + 1000]
            if self._ask("", partial(_delete, some)) is None:
                for one in some:  # a provider that says so of the first that is not there
                    self._ask(one, partial(_delete, one))

    def probe(self) -> None:
        """Try whether the server honours conditions, with a file that is gone afterwards."""
        name = f"{PROBE}{secrets.token_hex(8)}"
        fix = "Its buckets can be read; to write, use a server with conditional puts (AWS, GCS, Azure, SeaweedFS)."
        try:
            if self.put_once(name, b"1") is not None or self.put_once(name, b"2") != b"1":
                raise StoreError("this server does not honour conditional writes (create)", self.url, fix)
            try:
                self._put(name, b"3", mode={"e_tag": '"0123456789abcdef0123456789abcdef"'}, attributes=_FRESH)
            except _ConflictError:
                return
            raise StoreError("this server does not honour conditional writes (update)", self.url, fix)
        finally:
            with suppress(StoreError):
                self.delete([name])

    def _find(self, name: str) -> tuple[bytes | None, dict[str, str]]:
        """All bytes of a file with its version; by ranges, because only their answers say the whole size."""
        found = self._range(name, 0, BLOCK)
        if found is None:
            return None, {}
        data, size, version = found
        if len(data) < size:
            data += b"".join(self.read_range(name, start, BLOCK) for start in range(len(data), size, BLOCK))
        return data, version

    def _range(self, name: str, offset: int, length: int) -> tuple[bytes, int, dict[str, str]] | None:
        """Bytes of a range that is not empty, the size of the whole file, its version; None if it is not there."""
        for _ in range(_SHORT):
            try:
                got = self._ask(name, lambda engine, client, path: _get(engine, client, path, offset, length))
            except _RangeError:
                meta = self._ask(name, lambda engine, client, path: engine.head(client, path))
                if meta is not None and offset < meta["size"]:
                    raise StoreError("the server gives no ranges", self.where(name), _NO_RANGES) from None
                got = None if meta is None else (b"", meta)
            if got is None:
                return None
            data, meta = got
            if len(data) == min(length, max(0, meta["size"] - offset)):
                return data, meta["size"], {one: meta[one] for one in ("e_tag", "version") if meta[one] is not None}
        raise StoreError("the server's answers are too short", self.where(name), _AGAIN)

    def _put(self, name: str, data: bytes, *, mode: Any, attributes: dict[str, str]) -> None:
        self._check_writable(name)
        self._ask(
            name,
            lambda engine, client, path: engine.put(
                client, path, data, mode=mode, attributes=attributes, use_multipart=False
            ),
            writing=max(1, len(data)),
        )

    def _check_lists(self, name: str) -> None:
        if self._place.scheme in WEB:
            raise StoreError("a web server lists no files", self.where(name), "Name one store.")

    def _check_writable(self, name: str) -> None:
        if self._place.scheme in WEB:
            raise StoreError("https:// is read only", self.where(name), "Write to a bucket or a disk.")

    def _ask(self, name: str, request: Callable[[Any, Any, str], Any], *, writing: int = 0) -> Any:
        """The answer of one request; None if there is no such file."""
        where = self.where(checked_name(name))
        _check_process(where)
        if self._lost_s > BUDGET_S:
            raise StoreError(f"did not answer for {self._lost_s:.0f} s in all", where, _AGAIN)
        import obstore
        from obstore import exceptions as cause

        client = self._client(writing)
        began = time.monotonic()
        try:
            answer = request(obstore, client, name)
        except (FileNotFoundError, cause.NotFoundError) as error:
            if writing:
                raise _explained(error, where, doing="written", how=self._how) from None
            return None
        except (cause.AlreadyExistsError, cause.PreconditionError) as error:
            raise _ConflictError(_one_line(error), where) from None
        except (cause.BaseError, NotImplementedError, ValueError, OSError) as error:
            if _BEYOND.search(str(error)[:1000]):
                raise _RangeError("no such range", where) from None
            self._note_failure(began)
            found = _explained(error, where, doing="written" if writing else "read", how=self._how)
            raise (_UnsureError(*found.args) if writing and _may_have_landed(error) else found) from None
        self._lost_s = 0.0
        return answer

    def _note_failure(self, began: float) -> None:
        with self._lock:
            now = time.monotonic()
            self._lost_s += now - max(began, self._lost_until)
            self._lost_until = now

    def _client(self, writing: int) -> "ObjectStore":
        step = 0
        if writing:
            step = _PUT_STEP
            while step < writing:
                step *= 2
        with self._lock:
            if step not in self._clients:
                self._clients[step], self._how = _make_client(self._place, step)
            return self._clients[step]


class _ConflictError(StoreError):
    """The server says that a condition does not hold; maybe it was our own request that changed it."""


class _UnsureError(StoreError):
    """A put without an answer: it may be in."""


class _RangeError(StoreError):
    """The file ends before the range begins."""


_NO_RANGES = "Serve the store by something that answers ranges (nginx, Apache, a bucket)."


def _delete(names: str | list[str], engine: Any, client: Any, _: str) -> bool:
    engine.delete(client, names)
    return True


def _get(engine: Any, client: Any, path: str, offset: int, length: int) -> tuple[bytes, Any]:
    result = engine.get(client, path, options={"range": (offset, offset + length)})
    return bytes(result.bytes()), result.meta


def _make_client(place: Location, step: int) -> "tuple[ObjectStore, str]":
    """A client of the engine with its times, and how it asks; no secret is an argument, so that it holds none."""
    from obstore.store import AzureStore, GCSStore, HTTPStore, S3Store

    prefix = place.path or None
    retry: Any = {
        "max_retries": RETRIES,
        "retry_timeout": timedelta(seconds=RETRY_S),
        "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=10), "base": 2},
    }
    times = {"timeout": SILENCE_S + step / _SLOWEST_PUT} if step else {"timeout": _LONGEST_S, "read_timeout": SILENCE_S}
    options: Any = {name: timedelta(seconds=one) for name, one in (times | {"connect_timeout": CONNECT_S}).items()}
    if place.scheme in WEB:
        options["allow_http"] = place.scheme == "http"
        return HTTPStore.from_url(place.url, client_options=options, retry_config=retry), "without credentials"
    if place.scheme == "s3":
        how, given = s3_credentials(place.url)
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", "")
        options["allow_http"] = endpoint.startswith("http://")
        s3 = S3Store(place.authority, prefix=prefix, client_options=options, retry_config=retry, **given)
        return s3, how
    how = "with what the provider's variables say"
    if place.scheme == "gs":
        return GCSStore(place.authority, prefix=prefix, client_options=options, retry_config=retry), how
    container, account = azure_account(place)
    options["allow_http"] = bool(os.environ.get("AZURE_STORAGE_USE_EMULATOR"))
    azure = AzureStore(container, prefix=prefix, account_name=account, client_options=options, retry_config=retry)
    return azure, how


def _check_process(where: str) -> None:
    if not _used_in:
        _used_in.append(os.getpid())
    if _used_in[0] != os.getpid():
        what = "a bucket cannot be read in a process that was forked from one that had read it"
        raise StoreError(what, where, "Start workers by forkserver or spawn.")


def _pause() -> None:
    time.sleep((20 + secrets.randbelow(180)) / 1000)


def _absent(where: str) -> StoreError:
    fix = "A store that names it is damaged or incomplete, or was deleted; else look whether the address is right."
    return StoreError("is not there", where, fix)


def _may_have_landed(error: Exception) -> bool:
    """Whether nothing was heard of a put: no status of the server is in the text."""
    return "status code" not in str(error)


def _explained(error: Exception, where: str, *, doing: str, how: str) -> StoreError:
    """An error of the engine as one of ours: one line, without what a query may have carried."""
    from obstore import exceptions as cause

    line = _one_line(error)
    if isinstance(error, FileNotFoundError | cause.NotFoundError):
        return StoreError(f"there is no such bucket ({line})", where, "Make it first.")
    denied = isinstance(error, cause.PermissionDeniedError | cause.UnauthenticatedError)
    if denied or re.search("status code: 40[13]|ExpiredToken", line):
        fix = "Look at the provider's variables and profiles (docs/buckets.md); their values are never shown."
        return StoreError(f"may not be {doing}; it was asked {how} ({line})", where, fix)
    if re.search("non-partial response|Range request not supported", line):
        return StoreError("the server gives no ranges", where, _NO_RANGES)
    if isinstance(error, cause.NotSupportedError | NotImplementedError):
        return StoreError(f"this server cannot do that ({line})", where)
    if "169.254.169.254" in line or "metadata.google.internal" in line:
        return StoreError("no credentials were found", where, "docs/buckets.md says which variables are looked at.")
    if "redirect without LOCATION" in line:
        return StoreError(f"is in another region ({line})", where, "Set AWS_REGION to the bucket's.")
    silent = re.search(r"after \d+ retries|HTTP error|timed out|status code: (5|429)", line)
    what = "the server does not answer" if silent else f"cannot be {doing}"
    return StoreError(f"{what} ({line})", where, _AGAIN)


def _one_line(error: Exception) -> str:
    line = next(iter(str(error).splitlines()), type(error).__name__)
    line = re.sub(r"<[?!]?[a-zA-Z].*", "", line)  # what the server sent, as markup
    code = re.search(r"<Code>([A-Za-z]{1,60})</Code>", str(error))
    line = re.sub(r"\?[^ \"')]*", "", line)
    return re.sub(r"(://)[^/ ]*@", r"\1", line)[:300].strip(" :") + (f", {code[1]}" if code else "")
