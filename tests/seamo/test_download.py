"""Downloads against a server on this machine that drops, lies and sends wrong bytes."""

import hashlib
import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from seamo.download import RemoteFile, download
from seamo.errors import DownloadError

GOOD = np.random.default_rng(0).bytes(300_000)
WRONG = np.random.default_rng(1).bytes(300_000)
SHA = hashlib.sha256(GOOD).hexdigest()
Answer = Callable[["Handler", int], None]


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves /<name> with the behaviour of that name; `seen` is every (name, Range) asked."""

    seen: list[tuple[str, str]]
    behaviours: dict[str, Answer]

    def do_GET(self) -> None:
        name = self.path.strip("/")
        wanted = self.headers.get("Range", "")
        self.seen.append((name, wanted))
        self.behaviours[name](self, int(wanted[6:-1]) if wanted else 0)

    def answer(
        self, body: bytes, start: int, *, length: int | None = None, etag: str = "", cut: int | None = None
    ) -> None:
        if self.headers.get("If-Range", etag) != etag:
            start = 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start if length is None else length))
        if etag:
            self.send_header("ETag", etag)
        self.end_headers()
        self.wfile.write(body[start : start + cut] if cut is not None else body[start:])
        self.wfile.flush()
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def server() -> Iterator[tuple[str, type[Handler]]]:
    handler = type("H", (Handler,), {"seen": [], "behaviours": {}})
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}", handler
    running.shutdown()
    running.server_close()


def published(base: str, *names: str, **facts: object) -> RemoteFile:
    known: dict[str, object] = {"size": len(GOOD), "sha256": SHA, **facts}
    return RemoteFile("a.zip", tuple(f"{base}/{name}" for name in names), **known)  # type: ignore[arg-type]


def bring(file: RemoteFile, folder: Path) -> Path:
    return download(file, folder, tries=3, pause_s=0.0, timeout_s=5.0)


def test_a_dropped_connection_goes_on_where_it_ended(server: tuple[str, type[Handler]], tmp_path: Path) -> None:
    base, handler = server
    handler.behaviours["drops"] = lambda h, start: h.answer(GOOD, start, cut=100_000)
    seen: list[tuple[int, int | None]] = []
    file = published(base, "drops")
    path = download(file, tmp_path, pause_s=0.0, on_progress=lambda have, of: seen.append((have, of)))
    assert path.read_bytes() == GOOD
    assert handler.seen == [("drops", ""), ("drops", "bytes=100000-"), ("drops", "bytes=200000-")]
    assert seen[-1] == (300_000, 300_000)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zip"]
    assert bring(file, tmp_path) == path  # a second time nothing is asked for
    assert len(handler.seen) == 3


def test_wrong_bytes_go_to_quarantine_and_the_next_mirror_is_asked(
    server: tuple[str, type[Handler]], tmp_path: Path
) -> None:
    base, handler = server
    handler.behaviours["wrong"] = lambda h, start: h.answer(WRONG, start)
    handler.behaviours["good"] = lambda h, start: h.answer(GOOD, start)
    assert bring(published(base, "wrong", "good"), tmp_path).read_bytes() == GOOD
    assert (tmp_path / "a.zip.quarantine").read_bytes() == WRONG


def test_only_wrong_bytes_is_an_error_that_leaves_no_file(server: tuple[str, type[Handler]], tmp_path: Path) -> None:
    base, handler = server
    handler.behaviours["wrong"] = lambda h, start: h.answer(WRONG, start)
    with pytest.raises(DownloadError, match="its sha256 is"):
        bring(published(base, "wrong"), tmp_path)
    assert not (tmp_path / "a.zip").exists()


@pytest.mark.parametrize("length", [299_999, 300_001, 12])
def test_a_server_that_lies_about_the_length(server: tuple[str, type[Handler]], tmp_path: Path, length: int) -> None:
    base, handler = server
    handler.behaviours["lies"] = lambda h, start: h.answer(GOOD, start, length=length)
    handler.behaviours["good"] = lambda h, start: h.answer(GOOD, start)
    with pytest.raises(DownloadError, match=f"{length} bytes instead of 300000"):
        bring(published(base, "lies"), tmp_path)
    assert bring(published(base, "lies", "good"), tmp_path).read_bytes() == GOOD


def test_a_server_without_ranges_starts_over(server: tuple[str, type[Handler]], tmp_path: Path) -> None:
    base, handler = server
    (tmp_path / "a.zip.part").write_bytes(GOOD[:50_000])
    handler.behaviours["whole"] = lambda h, _: h.answer(GOOD, 0)
    assert bring(published(base, "whole"), tmp_path).read_bytes() == GOOD


def test_a_part_of_another_version_is_not_spliced(server: tuple[str, type[Handler]], tmp_path: Path) -> None:
    base, handler = server
    # No hash is published: the ETag is all there is. First half of version one, then version two.
    versions = [(WRONG, '"1"'), (GOOD, '"2"'), (GOOD, '"2"')]

    def changing(h: Handler, start: int) -> None:
        body, etag = versions.pop(0)
        h.answer(body, start, etag=etag, cut=150_000)

    handler.behaviours["changes"] = changing
    path = bring(published(base, "changes", sha256=None), tmp_path)
    assert path.read_bytes() == GOOD


def test_a_spliced_part_gets_one_clean_attempt(server: tuple[str, type[Handler]], tmp_path: Path) -> None:
    base, handler = server
    (tmp_path / "a.zip.part").write_bytes(WRONG[:50_000])
    handler.behaviours["good"] = lambda h, start: h.answer(GOOD, start)
    assert bring(published(base, "good"), tmp_path).read_bytes() == GOOD
    assert [ranged for _, ranged in handler.seen] == ["bytes=50000-", ""]


def test_errors_name_every_mirror(server: tuple[str, type[Handler]], tmp_path: Path) -> None:
    base, handler = server
    handler.behaviours["gone"] = lambda h, _: h.send_error(404)
    handler.behaviours["busy"] = lambda h, _: h.send_error(503)
    with pytest.raises(DownloadError, match=r"gone: HTTP 404.*busy: HTTP 503 \(3 tries"):
        bring(published(base, "gone", "busy"), tmp_path)
    with pytest.raises(DownloadError, match="has no link"):
        bring(published(base), tmp_path)
    with pytest.raises(DownloadError, match="not an http link"):
        bring(RemoteFile("a.zip", ("file:///etc/passwd",)), tmp_path)


def test_a_wrong_file_that_is_there_is_not_overwritten(server: tuple[str, type[Handler]], tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(WRONG)
    with pytest.raises(DownloadError, match="is there already, but its sha256"):
        bring(published(server[0], "good"), tmp_path)
    assert (tmp_path / "a.zip").read_bytes() == WRONG


def test_a_full_disk_keeps_what_has_come(
    server: tuple[str, type[Handler]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, handler = server
    handler.behaviours["good"] = lambda h, start: h.answer(GOOD, start)
    (tmp_path / "a.zip.part").write_bytes(GOOD[:100_000])
    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(DownloadError, match="No space left"):
            bring(published(base, "good"), tmp_path)
    assert (tmp_path / "a.zip.part").read_bytes() == GOOD[:100_000]
    assert bring(published(base, "good"), tmp_path).read_bytes() == GOOD
