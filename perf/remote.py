"""Reading from a bucket whose every answer comes late, beside the same loader on a disk, and beside downloads.

python perf/remote.py [--delay-ms 30] [--line-mb 150] [--samples 250] [--rounds 3] [--batch 16] [--store STORE]

The server is SeaweedFS (`weed` on the PATH), behind a proxy that waits before it passes a request on, and lets through
so many MB a second in all: without a limit what is measured is how server, proxy and Loader share the cores of one
machine, which a Loader on a machine of its own does not. The store holds the demo of SSL4EO-S12 (synthetic: one
location many times) unless one is named. In turn: whole objects by eight threads through the proxy, the Loader on the
disk, and the Loader through the proxy, shuffled fully, by blocks and in order. The mark is 90 % of the lower of the
first two, round by round, and a first batch within a second. Then two epochs with a cache (`SEAMO_CACHE`), the second
one beside the disk.
"""

import argparse
import asyncio
import contextlib
import math
import multiprocessing
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from bench import machine
from conversion import ours, write_archive

from seamo.data.loader import Loader
from seamo.files import open_files
from seamo.store.cache import FOLDER, LIMIT
from seamo.store.copy import copy_store
from seamo.store.reader import Store, open_store
from tests import servers

_PIECE = 2**20
_THREADS = 8  # that download whole objects


def serve(port: int, delay: float, rate: float, told: Connection) -> None:
    """A proxy that passes each request on after a while, and so many bytes a second back; says its port."""
    free = 0.0  # when the line is

    async def answer(back: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal free
        with contextlib.suppress(OSError):
            while piece := await back.read(_PIECE):
                free = max(free, time.monotonic()) + len(piece) / rate
                await asyncio.sleep(free - time.monotonic())
                writer.write(piece)
                await writer.drain()
        writer.close()

    async def passed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection("127.0.0.1", port, limit=4 * _PIECE)
        answers = asyncio.create_task(answer(back, writer))
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                said = [
                    line.partition(b":")[2] for line in head.split(b"\r\n") if line[:15].lower() == b"content-length:"
                ]
                await asyncio.sleep(delay)
                forth.write(head + await reader.readexactly(int(said[0]) if said else 0))
                await forth.drain()
        forth.close()
        await answers

    async def main() -> None:
        server = await asyncio.start_server(passed, "127.0.0.1", 0, limit=4 * _PIECE)
        told.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


@contextlib.contextmanager
def late(server: str, delay: float, rate: float) -> Iterator[str]:
    """The address of a proxy of a server, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    mine, its = context.Pipe()
    process = context.Process(target=serve, args=(int(server.rpartition(":")[2]), delay, rate, its), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{mine.recv()}"
    finally:
        process.kill()
        process.join()


def downloaded(store: Store, address: str) -> tuple[int, float]:
    """Every object of the pixels, whole; the number of samples in them, and no first batch."""
    files = open_files(address)
    names = [name for name in store.read_manifest() if "/c/" in name or name.endswith(".tar")]
    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(lambda name: len(files.read(name)), names))
    return len(store), 0.0


def loaded(store: Store, batch: int, **order: Any) -> tuple[int, float]:
    """An epoch; the number of samples, and seconds until the first batch."""
    began, first, count = time.perf_counter(), 0.0, 0
    for one in Loader(store, store.rows("all"), batch, workers=2, **order):
        first = first or time.perf_counter() - began
        count += len(one.rows)
    return count, first


def measure(ways: dict[str, Callable[[], tuple[int, float]]], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Samples a second, and seconds until the first batch, of each way in each round, in turn; a first one warms up."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            began = time.perf_counter()
            count, first = way()
            if number:
                found[name].append((count / (time.perf_counter() - began), first))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--delay-ms", type=float, default=30.0)
    parser.add_argument("--line-mb", type=float, default=math.inf)
    parser.add_argument("--samples", type=int, default=250)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--store", default="")
    said = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, servers.buckets("weed") as (server, bucket):
        os.environ.update(servers.environment(server))
        os.environ.pop(FOLDER, None)
        if said.store:
            disk = open_store(said.store)
        else:
            write_archive(Path(folder) / "raw", said.samples)
            ours(Path(folder) / "raw", Path(folder) / "stores", workers=2)
            shutil.rmtree(Path(folder) / "raw")
            disk = open_store(Path(folder) / "stores" / "ssl4eo-s12")
        address = copy_store(disk.url, bucket, layout=None, progress=lambda *_: None)
        size = sum(one.bytes for one in disk.read_manifest().values()) / len(disk) / 1e6
        line = f"{said.delay_ms:.0f} ms a request, {said.line_mb:g} MB/s"
        print(f"{machine()}; {len(disk)} samples of {size:.2f} MB, {line}", flush=True)
        with late(server, said.delay_ms / 1e3, said.line_mb * 1e6) as proxy:
            os.environ["AWS_ENDPOINT_URL"] = proxy
            far = open_store(address)
            ways = {
                "whole objects": lambda: downloaded(disk, address),
                "disk, shuffled": lambda: loaded(disk, said.batch, shuffle=True),
                "bucket, shuffled": lambda: loaded(far, said.batch, shuffle=True),
                "bucket, blocks of 16": lambda: loaded(far, said.batch, shuffle=True, block=16, buffer=64),
                "bucket, in order": lambda: loaded(far, said.batch),
            }
            report(measure(ways, said.rounds))
            os.environ |= {FOLDER: str(Path(folder) / "cache"), LIMIT: "100GB"}
            ways = {
                "disk, shuffled": lambda: loaded(disk, said.batch, shuffle=True),
                "bucket, from the cache": lambda: loaded(far, said.batch, shuffle=True),
            }
            report(measure(ways, said.rounds))  # the round that warms up fills the cache
        print(f"load after {os.getloadavg()[0]:.1f}")


def report(found: dict[str, list[tuple[float, float]]]) -> None:
    """Print medians, and the share of the lower of the rates that are not the bucket's."""
    marks = [rates for name, rates in found.items() if not name.startswith("bucket")]
    print(f"{'way':24} {'samples/s':>10} {'range':>15} {'of the lower':>13} {'first batch':>12}")
    for name, rates in found.items():
        values = [rate for rate, _ in rates]
        lower = [min(mark[n][0] for mark in marks) for n in range(len(values))]
        share = statistics.median(value / low for value, low in zip(values, lower, strict=True))
        first = statistics.median(one for _, one in rates)
        span = f"{min(values):.0f}-{max(values):.0f}"
        told = f"{first:.2f} s" if first else ""
        print(f"{name:24} {statistics.median(values):10.0f} {span:>15} {share:13.0%} {told:>12}", flush=True)


if __name__ == "__main__":
    main()
