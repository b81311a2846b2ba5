"""Servers that tests start: buckets (moto, SeaweedFS), a web server with and without ranges, a faulty proxy."""

import asyncio
import base64
import contextlib
import email.utils
import hmac
import http.server
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from seamo.files import open_files

KEY, SECRET = "AKIASEAMOTESTS000000", "seamo/tests/secret/0000000000000000000000"
# It ends with the process that started it, however that ends: its standard input is closed then.
# It looks whether an object is there and then writes it: of two conditional puts at once both could win.
_MOTO = """
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
import moto.server as server
writing, run = threading.Lock(), server.run_simple

def run_apart(host, port, app, **options):
    def apart(environ, start):
        if environ["REQUEST_METHOD"] == "GET":
            return app(environ, start)
        with writing:
            return list(app(environ, start))

    run(host, port, apart, **options)

server.run_simple = run_apart
server.main(sys.argv[1:])
"""
_ACCOUNT = "devstoreaccount1"  # of the emulator, and its key, as its manual has them
_PUBLISHED_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
SECRETS = {"key": KEY, "secret": SECRET, "azure": _PUBLISHED_KEY}
AZURE = {"AZURE_STORAGE_ACCOUNT_NAME": _ACCOUNT, "AZURE_STORAGE_USE_EMULATOR": "true"}
_SIGNED = f"AWS4-HMAC-SHA256 Credential={KEY}/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"


@contextlib.contextmanager
def moto() -> Iterator[str]:
    """A server of buckets in memory: its address, `http://127.0.0.1:PORT`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", _MOTO, "-H", "127.0.0.1", "-p", str(port)]
    env = {name: text for name, text in os.environ.items() if not name.startswith("AWS_")}
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, env=env)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(lambda: urllib.request.urlopen(f"{url}/moto-api/", timeout=5).close())  # noqa: S310
        yield url
    finally:
        os.kill(server.pid, signal.SIGKILL)
        server.wait()


@contextlib.contextmanager
def seaweed() -> Iterator[str]:
    """SeaweedFS, on the PATH as `weed` (4.48 or later: before, of several conditional puts each won): its address."""
    names = [f"-{part}.port{kind}" for part in ("master", "volume", "filer", "s3") for kind in ("", ".grpc")]
    ports = dict(zip(names, _free_ports(len(names)), strict=True))
    with tempfile.TemporaryDirectory() as folder:
        may = {"name": "tests", "actions": ["Admin", "Read", "List", "Tagging", "Write"]}
        known = Path(folder) / "known.json"
        may["credentials"] = [{"accessKey": KEY, "secretKey": SECRET}]  # type: ignore[list-item]
        known.write_text(json.dumps({"identities": [may]}))
        options = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder}", "-filer", "-s3", f"-s3.config={known}"]
        options += ["-volume.max=300", "-master.volumeSizeLimitMB=64", "-master.telemetry=false"]
        options += ["-s3.port.iceberg=0", "-s3.port.lance=0", *(f"{name}={port}" for name, port in ports.items())]
        command, quiet = ["weed", f"-logdir={folder}", "server", *options], subprocess.DEVNULL
        server = subprocess.Popen(command, stdout=quiet, stderr=quiet, start_new_session=True)
        try:
            url = f"http://127.0.0.1:{ports['-s3.port']}"
            _wait(lambda: _answers(url))
            yield url
        finally:
            os.kill(server.pid, signal.SIGKILL)
            server.wait()
            for port in ports.values():  # they lie there whatever TMPDIR says
                for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108
                    left.unlink(missing_ok=True)


@contextlib.contextmanager
def buckets(kind: str) -> Iterator[tuple[str, str]]:
    """A server, `weed` or `moto`, and the address of an empty bucket there that takes its first put at once."""
    with seaweed() if kind == "weed" else moto() as url:
        import boto3  # slow, and only here

        name = f"seamo-{uuid.uuid4().hex[:12]}"
        keys = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET, "region_name": "us-east-1"}
        client = boto3.client("s3", endpoint_url=url, **keys)
        client.create_bucket(Bucket=name)
        client.put_object(Bucket=name, Key="first", Body=b"1")  # the first put takes seconds
        yield url, f"s3://{name}"


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as all_of_them:
        free = [all_of_them.enter_context(socket.socket()) for _ in range(count)]
        for one in free:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in free]


def _answers(url: str) -> None:
    with contextlib.suppress(urllib.error.HTTPError):  # who is refused was answered
        urllib.request.urlopen(url, timeout=5).close()  # noqa: S310


@contextlib.contextmanager
def azurite() -> Iterator[str]:
    """Azure's own emulator with one container, in memory: the container's address. On the PATH as `azurite-blob`."""
    host, port = "127.0.0.1", "10000"  # where clients look for it
    options = ["--silent", "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"]
    command = ["azurite-blob", *options, "--blobHost", host, "--blobPort", port]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    name = f"seamo-{uuid.uuid4().hex[:12]}"
    date = email.utils.formatdate(usegmt=True)
    signed = (
        "PUT"
        + 12 * "\n"
        + f"x-ms-date:{date}\nx-ms-version:2021-08-06\n/{_ACCOUNT}/{_ACCOUNT}/{name}\nrestype:container"
    )
    seal = base64.b64encode(hmac.digest(base64.b64decode(_PUBLISHED_KEY), signed.encode(), "sha256")).decode()
    head = {"x-ms-date": date, "x-ms-version": "2021-08-06", "Authorization": f"SharedKey {_ACCOUNT}:{seal}"}
    url = f"http://{host}:{port}/{_ACCOUNT}/{name}?restype=container"
    try:
        request = urllib.request.Request(url, method="PUT", headers=head)
        _wait(lambda: urllib.request.urlopen(request, timeout=5).close())  # noqa: S310
        yield f"az://{name}"
    finally:
        os.kill(server.pid, signal.SIGKILL)
        server.wait()


def new_bucket(server: str) -> str:
    """A bucket of a server that has none of that name: its address."""
    name = f"seamo-{uuid.uuid4().hex[:12]}"
    request = urllib.request.Request(f"{server}/{name}", method="PUT", headers={"Authorization": _SIGNED})  # noqa: S310
    urllib.request.urlopen(request, timeout=10).close()  # noqa: S310
    return f"s3://{name}"


def upload(folder: Path, address: str) -> None:
    """Put every file below a folder."""
    files = open_files(address)
    for name in open_files(folder).names():
        assert files.put_once(name, (folder / name).read_bytes()) is None


def environment(server: str) -> dict[str, str]:
    """The variables by which clients find a server of buckets."""
    given = {"AWS_ENDPOINT_URL": server, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    return given | {"AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}


def _wait(ready: Callable[[], None]) -> None:
    give_up = time.monotonic() + 60
    while True:
        try:
            return ready()
        except OSError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.05)


class _Plain(http.server.SimpleHTTPRequestHandler):
    """Files without ranges."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes

    def log_message(self, *_: object) -> None:
        pass


class _Ranged(_Plain):
    """Files with ranges of one piece."""

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if not path.is_file() or not asked:
            return super().do_GET()
        size, first = path.stat().st_size, int(asked[1])
        last = min(int(asked[2]), size - 1)
        if first >= size:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.send_header("Content-Length", str(last - first + 1))
        self.send_header("Last-Modified", self.date_time_string(path.stat().st_mtime))
        self.end_headers()
        with path.open("rb") as file:
            file.seek(first)
            self.wfile.write(file.read(last - first + 1))
        return None


@contextlib.contextmanager
def web(folder: Path, *, ranges: bool = True) -> Iterator[str]:
    """A web server of a folder: its address."""
    handler = partial(_Ranged if ranges else _Plain, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass(slots=True)
class Fault:
    """What a proxy does instead of its duty.

    Args:
        kind: A status (`503`), `expired` (credentials), `reset`, `hang`, `hang after it`, `lost`, `truncated`,
            `short` (with a fitting length), `wrong byte`, `range ignored`, `condition ignored`.
        method: Of the requests that are meant.
        path: A part of their path.
        times: How often.
    """

    kind: str
    method: str = "GET"
    path: str = ""
    times: int = 1


class FaultProxy:
    """A server in front of another one that makes faults. The Host header stays, so that signatures stay valid.

    Args:
        server: Address of the other one.
        bucket: Address of a bucket there, for who uses it.
    """

    def __init__(self, server: str, bucket: str) -> None:
        self.bucket = bucket
        host, _, port = server.removeprefix("http://").partition(":")
        self._to = (host, int(port))
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.01))
        self._loop.close()

    def _fault(self, method: str, path: str) -> str:
        for fault in self.faults:
            if fault.times and fault.method == method and fault.path in path:
                fault.times -= 1
                return fault.kind
        return "none"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while await self._request(reader, writer):
                pass
        writer.close()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        method, path, _ = head.split(b"\r\n")[0].decode().split(" ")
        body = await reader.readexactly(int(_header(head, "content-length") or 0))
        self.requests.append(f"{method} {path}")
        kind = self._fault(method, path)
        if kind.isdigit() or kind == "expired":
            status, body = (kind, "<Error>") if kind.isdigit() else ("400", "<Error><Code>ExpiredToken</Code></Error>")
            writer.write(f"HTTP/1.1 {status} fault\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
            return True
        if kind == "hang":
            await asyncio.sleep(60)
        if kind == "reset":
            return _abort(writer)
        ignored = {"range ignored": b"range", "condition ignored": b"if-(none-)?match"}.get(kind)
        if ignored:
            head = re.sub(rb"(?i)\r\n%s:[^\r]*" % ignored, b"", head)
        head = re.sub(rb"(?i)\r\nconnection:[^\r]*", b"", head)[:-2] + b"Connection: close\r\n\r\n"
        back, forth = await asyncio.open_connection(*self._to)
        forth.write(head + body)
        answer = await back.read()
        forth.close()
        if kind == "lost":
            return _abort(writer)
        if kind == "hang after it":
            await asyncio.sleep(60)
        top, _, content = answer.partition(b"\r\n\r\n")
        top = re.sub(rb"(?i)\r\n(connection|transfer-encoding):[^\r]*", b"", top)
        if kind == "short":
            content = content[: len(content) // 2]
            top = re.sub(rb"(?i)(\r\ncontent-length:)[^\r]*", rb"\1 %d" % len(content), top)
        if kind == "wrong byte":
            middle = len(content) // 2
            content = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        if kind == "truncated":
            content = content[: len(content) // 2]
        writer.write(top + b"\r\n\r\n" + content)
        await writer.drain()
        return kind != "truncated"


def _header(head: bytes, name: str) -> str:
    found = re.search(rf"(?i)\r\n{name}:\s*([^\r]*)".encode(), head)
    return found[1].decode() if found else ""


def _abort(writer: asyncio.StreamWriter) -> bool:
    writer.transport.abort()
    return False
