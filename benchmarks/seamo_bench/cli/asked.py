"""What `plan` and `run` are asked for: refused before anything heavy is imported, then planned."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from seamo.progress import Progress
from seamo.terminal import names
from seamo_bench.cli.arguments import chosen_budget, chosen_device

if TYPE_CHECKING:
    from seamo_bench.runs.cells import Cell
    from seamo_bench.runs.estimate import Throughput
    from seamo_bench.runs.plan import Places


def planned(
    suite: str,
    backbones: str,
    *,
    stores: Path,
    results: Path,
    weights: Path,
    budget: str,
    tflops: float = 0.0,
    device: str = "",
    writes: bool = False,
) -> "tuple[Sequence[Cell], Places, Throughput]":
    """The cells of a suite, where they run, and the throughput that their estimates rest on.

    Args:
        suite: Its name or file.
        backbones: Names, separated by commas; none: the suite's.
        stores: Address of stores.
        results: Folder of results, or its address.
        weights: Folder of checkpoint files.
        budget: `full` or `demo`.
        tflops: What the device sustains, stated by a person; 0: see `seamo_bench.runs.estimate`.
        device: Where it runs; empty: not here, or not known.
        writes: Whether results are written there: then there must be stores.

    Raises:
        UsageError: If the suite, a backbone or the budget is unknown, or runs do not write to such results.
        StoreError: If results are to be written and there is no store at all.
    """
    from seamo_bench.suites import find_suite
    from seamo_bench.zoo.catalogue import find_card

    chosen = chosen_budget(budget)
    find_suite(suite)
    for name in names(backbones):
        find_card(name)
    if writes:
        from seamo_bench.records.fetched import check_results
        from seamo_bench.tasks.stores import check_root

        check_results(results)
        check_root(stores)
    progress = Progress(sys.stderr, "cells", title="plan")  # a line at once: what comes next takes seconds

    from seamo_bench.runs.estimate import CPU, GPU, Throughput
    from seamo_bench.runs.notes import read_past
    from seamo_bench.runs.plan import Places, make_plan
    from seamo_bench.suites.suite import load_suite

    places = Places(stores, results, weights)

    def tell(done: int, total: int, _next: str) -> None:
        progress.report(done, total, "cells")

    past = read_past(results)
    stated = Throughput(tflops * 1e12, "as --tflops says") if tflops else None
    speed = stated or past.throughput or (CPU if device and chosen_device(device) == "cpu" else GPU)
    cells = make_plan(load_suite(suite), names(backbones), places, chosen, past=past, speed=speed, progress=tell)
    progress.close()
    return cells, places, speed
