"""Peak memory of the frozen protocols on cached features that are larger than they may hold.

python perf/features.py [--samples 1000000] [--width 1024] [--classes 19] [--seeds 5]
                        [--protocols linear,logreg,knn]

Writes features (noise around class centres, synthetic; 4 GB of them by default) in the cache's own format into a
temporary folder, and runs each protocol on them in a process of its own: 80 % train, 10 % validation, 10 % test, a
multi-label task; `linear` with its grid of 24 settings for one epoch, `logreg` for five iterations, `knn` on 2,000
test samples. What counts is the process's own high-water mark of resident memory. Fails above 4 GB.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

_LIMIT = 4_000_000_000
_PARAMS = {"linear": {"steps": 1562}, "logreg": {"C": 1.0, "max_iter": 5}, "knn": {}}  # 1,562 x 512: one pass
_KNN_TESTS = 2000


def write_cache(folder: Path, samples: int, width: int, classes: int) -> None:
    """Features in parts as the cache writes them, and their labels."""
    from seamo_bench.features.parts import PART_ROWS, write_part

    rng = np.random.default_rng(0)
    centres = rng.standard_normal((classes, width), dtype=np.float32)
    labels = np.zeros((samples, classes), dtype=np.uint8)
    labels[np.arange(samples), rng.integers(0, classes, samples)] = 1
    labels[np.arange(samples), rng.integers(0, classes, samples)] = 1
    for start in range(0, samples, PART_ROWS):
        rows = np.arange(start, min(start + PART_ROWS, samples))
        noise = rng.standard_normal((len(rows), width), dtype=np.float32)
        write_part(folder, rows, noise * 4 + labels[rows].astype(np.float32) @ centres)
    np.save(folder.with_suffix(".labels.npy"), labels)


def run(protocol: str, folder: Path, threads: int, seeds: int) -> dict[str, float]:
    """Run one protocol on a cache; returns seconds and the peak in bytes."""
    import pandas as pd
    import torch

    from seamo_bench.facts import TaskFacts
    from seamo_bench.features.parts import read_parts
    from seamo_bench.features.table import FeatureTable
    from seamo_bench.protocol import Context, Split
    from seamo_bench.protocols import find_protocol, runner

    torch.set_num_threads(threads)
    labels = np.load(folder.with_suffix(".labels.npy"))
    samples, classes = labels.shape
    begin = time.perf_counter()
    parts = read_parts(folder, samples)
    order = np.random.default_rng(1).permutation(samples)
    train, val, test = np.split(order, [int(0.8 * samples), int(0.9 * samples)])
    if protocol == "knn":
        test = test[:_KNN_TESTS]
    trial = Split(np.sort(train), np.sort(val), np.sort(test))
    shown = 0.0

    def progress(done: int, total: int, what: str) -> None:
        nonlocal shown
        if time.perf_counter() - shown > 10:
            shown = time.perf_counter()
            print(f"{protocol}: {done:,} of {total:,} {what}, {shown - begin:.0f} s", file=sys.stderr, flush=True)

    context = Context(
        task=TaskFacts(kind="multi-label", classes=tuple(f"class {k}" for k in range(classes))),
        backbone=None,
        store=SimpleNamespace(index=pd.DataFrame({"key": [f"sample_{row:07d}" for row in range(samples)]})),
        labels=labels,
        features=lambda rows: FeatureTable(parts.files, parts.where[rows], parts.width),
        splits=dict.fromkeys(range(seeds if protocol == "linear" else 1), (trial,)),
        params={**find_protocol(protocol).defaults, **_PARAMS[protocol]},
        budget="full",
        precision="fp32",
        device=torch.device("cpu"),
        progress=progress,
    )
    for outcome in runner(protocol)(context):
        print(f"{protocol}: seed {outcome.seed}, {dict(outcome.chosen)} {outcome.notes}", file=sys.stderr)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"seconds": time.perf_counter() - begin, "peak": peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--classes", type=int, default=19)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--protocols", default="linear,logreg,knn")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--scratch", type=Path, default=None, help="folder for the cache; a temporary one without it")
    parser.add_argument("--cache", type=Path, help=argparse.SUPPRESS)  # set for the processes that this one starts
    arguments = parser.parse_args()
    if arguments.cache:
        print(json.dumps(run(arguments.protocols, arguments.cache, arguments.threads, arguments.seeds)))
        return
    from bench import machine

    print(machine())
    highest = 0.0
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        folder = Path(scratch) / "cache"
        need = 4 * arguments.samples * arguments.width
        free = shutil.disk_usage(scratch).free
        if need * 1.1 > free:
            sys.exit(
                f"{scratch}: {need / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB free. Use --scratch or --samples."
            )
        folder.mkdir()
        begin = time.perf_counter()
        write_cache(folder, arguments.samples, arguments.width, arguments.classes)
        print(f"{arguments.samples:,} x {arguments.width} synthetic features, {need / 1e9:.2f} GB, "
              f"written in {time.perf_counter() - begin:.0f} s", flush=True)  # fmt: skip
        for protocol in arguments.protocols.split(","):
            command = [sys.executable, __file__, "--cache", str(folder), "--protocols", protocol,
                       "--threads", str(arguments.threads), "--seeds", str(arguments.seeds)]  # fmt: skip
            found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
            highest = max(highest, found["peak"])
            print(f"{protocol:8} peak {found['peak'] / 1e6:,.0f} MB in {found['seconds']:.0f} s", flush=True)
    print(f"highest {highest / 1e6:,.0f} MB, limit {_LIMIT / 1e6:,.0f} MB: {'ok' if highest < _LIMIT else 'TOO MUCH'}")
    sys.exit(0 if highest < _LIMIT else 1)


if __name__ == "__main__":
    main()
