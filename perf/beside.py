"""What the Loader leaves to Python beside it, and what a training step leaves to the Loader.

python perf/beside.py [--locations 48] [--seconds 0.5] [--rounds 11] [--workers 1]

A thread that counts in Python holds the interpreter's lock whenever it may: whatever the Loader does under that lock
slows it down. It counts alone, beside threads that hash (they hold no lock, and take as many cores), and beside a
Loader with as many threads. The mark is 90 % of the rate beside hashing. Then the Loader reads alone, beside
a thread of matrix products (a training step that holds no lock), and beside the same products in another process, which
shows what cores and memory alone cost. The mark is 80 % of the rate alone. Both for decoded batches and for finished
images, both layouts. Fails below a mark. Give it a worker less than there are cores: cores that are shared show first.
"""

import argparse
import hashlib
import multiprocessing
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import torch
from bench import facts, keep, machine
from corpus import LAYERS, build_store, write_archive

from seamo.data.loader import Loader
from seamo.inputs.speed import CroppedStacks
from seamo.store.reader import Store

COUNTING, READING = 0.9, 0.8
_SIDE = 1024  # of the matrices
_BATCH = 16

Work = Callable[[Event], int]  # goes on until it is told to stop; how much it did


def count(stop: Event) -> int:
    done = 0
    while not stop.is_set():
        for _ in range(1000):
            done += 1
    return done


def hashing(stop: Event) -> int:
    done, data = 0, bytes(2**22)
    while not stop.is_set():
        hashlib.sha256(data).digest()
        done += 1
    return done


def multiply(stop: Any) -> int:
    done, matrix = 0, torch.ones(_SIDE, _SIDE)
    out = torch.empty_like(matrix)
    while not stop.is_set():
        torch.mm(matrix, matrix, out=out)
        done += 1
    return done


def loading(store: Store, workers: int, *, finished: bool) -> Work:
    images = CroppedStacks(store.spec) if finished else None

    def work(stop: Event) -> int:
        done = 0
        for batch in Loader(store, np.arange(len(store)), _BATCH, layers=LAYERS, workers=workers, epochs=10**6,
                            images=images):  # fmt: skip
            done += len(batch)
            if stop.is_set():
                break
        return done

    return work


def together(seconds: float, *works: Work) -> list[float]:
    """Rates of works that go on at once, a thread each."""
    stop = Event()
    rates = [0.0] * len(works)

    def run(at: int) -> None:
        began = time.perf_counter()
        rates[at] = works[at](stop) / (time.perf_counter() - began)

    threads = [threading.Thread(target=run, args=(at,)) for at in range(len(works))]
    for one in threads:
        one.start()
    time.sleep(seconds)
    stop.set()
    for one in threads:
        one.join()
    return rates


def _multiply_elsewhere(ready: Any, go: Any) -> None:
    torch.set_num_threads(1)
    matrix = torch.ones(_SIDE, _SIDE)
    ready.set()
    while True:
        go.wait()
        torch.mm(matrix, matrix)


@contextmanager
def another_process() -> Iterator[Any]:
    """A process that multiplies while the event that is given is set."""
    context = multiprocessing.get_context("spawn")
    ready, go = context.Event(), context.Event()
    process = context.Process(target=_multiply_elsewhere, args=(ready, go))
    process.start()
    ready.wait()
    try:
        yield go
    finally:
        process.terminate()
        process.join()


def once(load: Work, workers: int, seconds: float, elsewhere: Any) -> dict[str, float]:
    """Every rate of one round; rounds are short, so that what else runs is the same in all of one."""
    found = {"counting alone": together(seconds, count)[0]}
    found["counting beside hashing"] = together(seconds, count, *[hashing] * workers)[0]
    found["counting beside the Loader"], found["Loader beside counting"] = together(seconds, count, load)
    found["Loader alone"] = together(seconds, load)[0]
    found["Loader beside a step"] = together(seconds, load, multiply)[0]
    elsewhere.set()
    found["Loader beside a step elsewhere"] = together(seconds, load)[0]
    elsewhere.clear()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--locations", type=int, default=48)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(machine(), flush=True)
    document = facts(("numpy", "torch")) | {"command": " ".join(["python", "perf/beside.py", *sys.argv[1:]])}
    missed = 0
    with tempfile.TemporaryDirectory() as scratch, another_process() as elsewhere:
        write_archive(Path(scratch) / "raw", given.locations)
        for layout in ("zarr", "webdataset"):
            store = build_store(Path(scratch) / "raw", Path(scratch) / layout, layout)
            for finished in (False, True):
                title = f"{layout}, {'finished images' if finished else 'decoded'}"
                load = loading(store, given.workers, finished=finished)
                together(given.seconds, load)  # warms
                rounds = [once(load, given.workers, given.seconds, elsewhere) for _ in range(given.rounds)]
                document[title] = rounds
                kept = {
                    "counting beside the Loader / beside hashing": COUNTING,
                    "Loader beside a step / alone": READING,
                    "Loader beside a step / beside a step elsewhere": 0.0,
                    "Loader beside counting / alone": 0.0,
                }
                print(f"{title}, {given.workers} reading threads, {given.rounds} rounds")
                for name, mark in kept.items():
                    above, _, below = name.partition(" / ")
                    under = f"{above.split()[0]} {below}"
                    ratios = [one[above] / one[under] for one in rounds]
                    middle = statistics.median(ratios)
                    verdict = "" if not mark else f"  {'ok' if middle >= mark else 'LESS THAN'} {mark:.0%}"
                    print(f"  {name:50} {middle:.0%} ({min(ratios):.0%}-{max(ratios):.0%}){verdict}", flush=True)
                    missed += middle < mark
    print(keep("beside", document))
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
