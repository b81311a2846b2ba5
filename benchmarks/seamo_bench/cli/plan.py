"""`seamo-bench plan`."""

from pathlib import Path
from typing import Annotated

import typer

from seamo.options import Json
from seamo.terminal import show
from seamo_bench.cli.arguments import WEIGHTS, Backbones, Budget, Results, Stores, SuiteArgument, Tflops, Weights
from seamo_bench.cli.asked import planned


def plan(
    suite: SuiteArgument,
    stores: Stores,
    results: Results = Path("results"),
    backbones: Backbones = "",
    budget: Budget = "full",
    weights: Weights = WEIGHTS,
    tflops: Tflops = 0.0,
    cells: Annotated[bool, typer.Option("--cells", help="One line a cell.")] = False,
    ways: Annotated[
        bool, typer.Option("--ways", help="Only how each backbone meets each data set, and why not.")
    ] = False,
    as_json: Json = False,
) -> None:
    """The matrix: done, will run, impossible (why), estimated hours and disk."""
    found, _, speed = planned(
        suite, backbones, stores=stores, results=results, weights=weights, budget=budget, tflops=tflops
    )

    from seamo_bench.cli.plan_view import every_cell, listing, overview

    if ways:
        from seamo_bench.cli.coverage import coverage, coverage_rows, coverage_text

        met = coverage(found)
        show(coverage_rows(met), json=as_json, text=lambda: coverage_text(met))
    elif as_json:
        show(listing(found), json=True)
    else:
        show((), json=False, text=lambda: every_cell(found) if cells else overview(found, speed))
