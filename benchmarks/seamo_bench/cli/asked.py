"""What `plan` and `run` are asked for: refused before anything heavy is imported, then planned."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from seamo.progress import Progress
from seamo.terminal import names
from seamo_bench.cli.arguments import chosen_budget

if TYPE_CHECKING:
    from seamo_bench.runs.cells import Cell
    from seamo_bench.runs.plan import Places


def planned(
    suite: str, backbones: str, *, stores: Path, results: Path, weights: Path, budget: str, writes: bool = False
) -> "tuple[Sequence[Cell], Places]":
    """The cells of a suite, and where they run.

    Args:
        suite: Its name or file.
        backbones: Names, separated by commas; none: the suite's.
        stores: Address of stores.
        results: Folder of results, or its address.
        weights: Folder of checkpoint files.
        budget: `full` or `demo`.
        writes: Whether results are written there.

    Raises:
        UsageError: If the suite, a backbone or the budget is unknown, or runs do not write to such results.
    """
    from seamo_bench.suites import find_suite
    from seamo_bench.zoo.catalogue import find_card

    chosen = chosen_budget(budget)
    find_suite(suite)
    for name in names(backbones):
        find_card(name)
    if writes:
        from seamo_bench.records.fetched import check_results

        check_results(results)
    progress = Progress(sys.stderr, "cells", title="plan")  # a line at once: what comes next takes seconds

    from seamo_bench.runs.plan import Places, make_plan
    from seamo_bench.suites.suite import load_suite

    places = Places(stores, results, weights)

    def tell(done: int, total: int, _next: str) -> None:
        progress.report(done, total, "cells")

    cells = make_plan(load_suite(suite), names(backbones), places, chosen, progress=tell)
    progress.close()
    return cells, places
