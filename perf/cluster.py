"""What a second worker brings: a suite of equal fine-tuning cells on one and on two workers of a dask scheduler.

python perf/cluster.py [--cells 6] [--epochs 20] [--samples 60] [--rounds 1]

EuroSAT-shaped samples made on the fly (synthetic), ResNet-18 with random weights; every cell is fed other bands, so
that each is a group of its own. Workers are processes of one thread, started before the clock is. Records of both must
be equal. Fails where two workers take more than 0.6 of the time of one.
"""

import argparse
import hashlib
import statistics
import sys
import tempfile
import time
from pathlib import Path

from bench import machine
from probe import made_store

from seamo.store.reader import Store
from seamo_bench.runs.cluster import run_on_cluster
from seamo_bench.runs.plan import Places, make_plan
from seamo_bench.runs.run import Machine
from seamo_bench.suites.suite import Row, Suite

_LIMIT = 0.6


def suite_of(store: Store, cells: int, epochs: int) -> Suite:
    """A row a band."""
    bands = store.spec.layers[0].bands[:cells]
    params = {"epochs": epochs, "warmup": 0, "batch": 16, "base_lrs": (1e-3,)}
    rows = tuple(
        Row(store="eurosat", protocol="finetune", inputs=(f"s2:{band}",), seeds=1, size=64, params=params)
        for band in bands
    )
    return Suite(id="workers", backbones=("resnet18",), rows=rows)


def measured(suite: Suite, places: Places, workers: int) -> tuple[float, dict[str, str]]:
    """Seconds of a run on so many workers, and the hash of every record's predictions."""
    from distributed import LocalCluster

    def quiet(_done: int, _total: int, _what: str) -> None:
        pass

    with LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0") as dask:  # type: ignore[no-untyped-call]
        cells = make_plan(suite, (), places)
        begin = time.perf_counter()
        records = list(
            run_on_cluster(
                cells, places, scheduler=dask.scheduler_address, budget="full", machine=Machine("cpu"), threads=1,
                progress=quiet, say=print,
            )
        )  # fmt: skip
        took = time.perf_counter() - begin
    assert {record.status for record in records} == {"ok"}, records[0].reason
    return took, {
        record.key: hashlib.sha256((places.results / f"{record.key}.npz").read_bytes()).hexdigest()
        for record in records
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--samples", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args()
    print(machine())
    ratios = []
    with tempfile.TemporaryDirectory() as scratch:
        store = made_store(Path(scratch) / "stores", arguments.samples)
        suite = suite_of(store, arguments.cells, arguments.epochs)
        for number in range(arguments.rounds):
            took = {}
            found = {}
            for workers in (1, 2):
                results = Path(scratch) / f"results{number}-{workers}"
                places = Places(Path(scratch) / "stores", results, Path(scratch))
                took[workers], found[workers] = measured(suite, places, workers)
            assert found[1] == found[2], "the records are not the same"
            ratios.append(took[2] / took[1])
            print(
                f"{arguments.cells} cells: one worker {took[1]:.1f} s ({took[1] / arguments.cells:.1f} s a cell), "
                f"two {took[2]:.1f} s, ratio {ratios[-1]:.2f}; records equal"
            )
    sys.exit(statistics.median(ratios) > _LIMIT)


if __name__ == "__main__":
    main()
