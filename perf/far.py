"""How fast the Loader reads a store that is far away, beside the same store on the disk and whole files of it.

python perf/far.py [--samples 256] [--delay 0.03] [--rounds 3] [--batch 32]

The store holds samples of seven layers (synthetic noise, about 680 kB each, lz4). A web server in a process of its own
gives ranges of it, each answer late by the delay; whole files, eight at a time, are the line that the Loader is held
to. Where the split does not fit into the memory for reading ahead, that is said to be a quarter of the store.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from bench import machine

from seamo.data.loader import Loader
from seamo.manifest import parse_spec
from seamo.sample import Sample
from seamo.store import ahead
from seamo.store.reader import Store, open_store
from seamo.store.writer import BuildPlan, StoreWriter
from tests import servers

LAYER = {"product": "L2A", "sensor": "s2", "dtype": "uint16", "unit": "dn", "fill": 65535, "gsd_m": 10.0, "times": 2}


def build(root: Path, samples: int) -> Store:
    """Seven layers of noise."""
    layers = [{"id": f"l{k}", "stack": f"l{k}", "bands": ["B02", "B03", "B04"], "size": (96, 96)} for k in range(7)]
    entry = {"id": "noise", "title": "Noise", "summary": "synthetic", "licence": "none", "citation": "none"}
    spec = parse_spec(entry | {"layers": [LAYER | one for one in layers], "task": {"kind": "pretrain"}}, "perf")
    rng = np.random.default_rng(0)

    def sample(row: int) -> Sample:
        pixels = {layer.id: rng.integers(0, 9000, (2, 3, 96, 96), dtype=np.uint16) for layer in spec.layers}
        return Sample(key=f"n{row:05d}", layers=pixels)

    plan = BuildPlan(spec, "none", synthetic={"what": "synthetic noise"})
    with StoreWriter(root, plan, [f"n{row:05d}" for row in range(samples)]) as writer:
        for k in range(writer.num_shards):
            writer.write_shard(k, [sample(int(row)) for row in writer.rows_of(k)])
        return open_store(writer.publish())


def serve(folder: Path, delay: float) -> None:
    """Serve until the process is ended."""
    answer = servers._Ranged.do_GET

    def late(handler: servers._Ranged) -> None:
        time.sleep(delay)
        answer(handler)

    servers._Ranged.do_GET = late
    with servers.web(folder) as url:
        print(url, flush=True)
        time.sleep(3600)


def loaded(store: Store, batch: int, **options: bool | int) -> Callable[[], tuple[int, float]]:
    """Samples read, and seconds until the first batch."""

    def work() -> tuple[int, float]:
        began, first, count = time.perf_counter(), 0.0, 0
        for one in Loader(store, store.rows("all"), batch, **options):
            first = first or time.perf_counter() - began
            count += len(one.keys)
        return count, first

    return work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--delay", type=float, default=0.03)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--serve", type=Path)
    given = parser.parse_args()
    if given.serve:
        serve(given.serve, given.delay)
    torch.set_num_threads(1)
    print(machine() + f", {given}", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        disk = build(Path(scratch), given.samples)
        command = [sys.executable, __file__, "--serve", str(disk.path), "--delay", str(given.delay)]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            far = open_store(server.stdout.readline().strip())
            print(f"{sum(one.bytes for one in far.read_manifest().values()) / given.samples:,.0f} bytes a sample")
            measure(disk, far, given)
        finally:
            server.kill()
            server.wait()


def measure(disk: Store, far: Store, given: argparse.Namespace) -> None:
    files = [name for name in far.read_manifest() if "/c/" in name and "/l" in name]

    def whole() -> tuple[int, float]:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(far.files.read, files))
        return len(far), 0.0

    fits, scarce = ahead.KEEP, sum(far.read_manifest()[name].bytes for name in files) // 4
    ways = {
        "disk, shuffled": (fits, loaded(disk, given.batch, shuffle=True)),
        "whole files": (fits, whole),
        "far, in order": (fits, loaded(far, given.batch)),
        "far, shuffled": (fits, loaded(far, given.batch, shuffle=True)),
        "far, shuffled, two epochs": (fits, loaded(far, given.batch, shuffle=True, epochs=2)),
        "far, larger than memory, in order": (scarce, loaded(far, given.batch)),
        "far, larger than memory, shuffled": (scarce, loaded(far, given.batch, shuffle=True)),
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(given.rounds):
        for name, (memory, work) in ways.items():
            ahead.KEEP = memory
            began = time.perf_counter()
            count, first = work()
            found[name].append((count / (time.perf_counter() - began), first))
    for name, values in found.items():
        rates = [rate for rate, _ in values]
        line = f"{name:36} {statistics.median(rates):.0f} samples/s ({min(rates):.0f}-{max(rates):.0f})"
        first = statistics.median(first for _, first in values)
        print(line + (f", first batch after {first:.2f} s" if first else ""))
    marks = [min(a[0], b[0]) for a, b in zip(found["disk, shuffled"], found["whole files"], strict=True)]
    for name in ("far, in order", "far, shuffled"):
        ratios = [one[0] / mark for one, mark in zip(found[name], marks, strict=True)]
        print(f"{name} / the slower of disk and whole files: {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
