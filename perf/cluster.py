"""What a second worker brings: a suite of equal fine-tuning cells on one and on two workers of a dask scheduler.

python perf/cluster.py [--cells 6] [--epochs 20] [--samples 60] [--rounds 1] [--wait 0]

EuroSAT-shaped samples made on the fly (synthetic), ResNet-18 with random weights; every cell is fed other bands, so
that each is a group of its own. Workers are processes of one thread that have imported all they need before the clock
starts. Records of both must be equal. Fails where two workers take more than 0.6 of the time of one. By the clock a
busy machine decides; CPU seconds of the busiest worker say what an idle one would show, and cells that wait (`--wait`
seconds each, as for a GPU) what the clock does where cores are not what is scarce.
"""

import argparse
import hashlib
import importlib
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import machine
from probe import made_store

from seamo.store.reader import Store
from seamo_bench.protocol import Context
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


def wait_in_cells(seconds: float) -> None:
    """Make every cell of this process wait before it works."""
    from seamo_bench.runs import run

    context_of = run.context_of

    def slowly(*arguments: Any, **named: Any) -> Context:
        time.sleep(seconds)
        return context_of(*arguments, **named)

    run.context_of = slowly


def measured(suite: Suite, places: Places, workers: int, wait: float) -> tuple[float, float, dict[str, str]]:
    """Seconds by the clock, CPU seconds of the busiest worker, and the hash of every record's predictions."""
    from distributed import Client, LocalCluster

    def quiet(_done: int, _total: int, _what: str) -> None:
        pass

    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0") as dask,  # type: ignore[no-untyped-call]
        Client(dask) as client,  # type: ignore[no-untyped-call]
    ):
        client.run(importlib.import_module, "seamo_bench.protocols.finetune.training")
        client.run(wait_in_cells, wait)
        cells = make_plan(suite, (), places)
        begin, before = time.perf_counter(), client.run(time.process_time)
        records = list(
            run_on_cluster(
                cells,
                places,
                scheduler=dask.scheduler_address,
                budget="full",
                machine=Machine("cpu"),
                threads=1,
                progress=quiet,
                say=print,
            )
        )
        took, after = time.perf_counter() - begin, client.run(time.process_time)
    assert {record.status for record in records} == {"ok"}, records[0].reason
    hashes = {
        record.key: hashlib.sha256((places.results / f"{record.key}.npz").read_bytes()).hexdigest()
        for record in records
    }
    return took, max(after[one] - before[one] for one in after), hashes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--samples", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--wait", type=float, default=0.0)
    arguments = parser.parse_args()
    print(machine())
    ratios = []
    with tempfile.TemporaryDirectory() as scratch:
        store = made_store(Path(scratch) / "stores", arguments.samples)
        suite = suite_of(store, arguments.cells, arguments.epochs)
        for number in range(arguments.rounds):
            took, cpu, found = {}, {}, {}
            for workers in (1, 2):
                results = Path(scratch) / f"results{number}-{workers}"
                places = Places(Path(scratch) / "stores", results, Path(scratch))
                took[workers], cpu[workers], found[workers] = measured(suite, places, workers, arguments.wait)
                print(
                    f"{workers} workers: {took[workers]:.1f} s, {cpu[workers]:.1f} s of CPU of the busiest", flush=True
                )
            assert found[1] == found[2], "the records are not the same"
            ratios.append(took[2] / took[1])
            print(f"ratio {ratios[-1]:.2f} by the clock, {cpu[2] / cpu[1]:.2f} of CPU; records equal", flush=True)
    sys.exit(statistics.median(ratios) > _LIMIT)


if __name__ == "__main__":
    main()
