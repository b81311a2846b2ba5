"""`seamo-bench study`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from seamo.options import Json
from seamo.terminal import FAILED, goes_on, remark, say, show
from seamo_bench.cli.arguments import WEIGHTS, Device, Scheduler, Stores, Threads, chosen_budget, chosen_device
from seamo_bench.cli.cells import Cells


def study(
    file: Annotated[
        str, typer.Argument(help="A shipped study (table10 ... table13, figure15, before-real), or a YAML file.")
    ],
    store: Annotated[Path, typer.Option("--store", help="Store to pretrain on.")],
    stores: Stores,
    results: Annotated[Path, typer.Option("--results", help="Folder of records, runs and reports; or an address.")],
    runs: Annotated[
        Path | None,
        typer.Option("--runs", help="Place of the pretrainings; default: `runs` in the results."),
    ] = None,
    budget: Annotated[str, typer.Option("--budget", help="full | demo (tiny models, 64 samples).")] = "full",
    device: Device = "auto",
    threads: Threads = 0,
    scheduler: Scheduler = "",
    as_json: Json = False,
) -> None:
    """Pretrain the rows of an ablation table on STORE and evaluate them; what is done is skipped."""
    from seamo_bench.suites import find_study

    chosen = chosen_budget(budget)
    find_study(file)  # before anything heavy is imported

    from seamo_bench.records.fetched import check_results

    check_results(results)

    from seamo.store.reader import open_store
    from seamo_bench.suites.study_file import load_study

    wanted, opened = load_study(file), open_store(store)

    from seamo.pretrain.loop import Stopped
    from seamo_bench.paper import study as studies
    from seamo_bench.paper.study_report import write_report
    from seamo_bench.runs.plan import Places
    from seamo_bench.runs.run import Machine
    from seamo_bench.runs.threads import limit_threads

    places = Places(stores, results, WEIGHTS, runs)
    progress = Cells()
    if scheduler:
        from seamo_bench.paper.study_cluster import run_study_on_cluster

        lines = run_study_on_cluster(
            wanted, opened, places, scheduler=scheduler, budget=chosen, machine=Machine(device), threads=threads,
            say=remark, progress=progress.cell,
        )  # fmt: skip
    else:
        limit_threads(threads)
        with goes_on("Give the same command again: it goes on from the last checkpoint.", Stopped):
            lines = studies.run_study(
                wanted, opened, places, budget=chosen, machine=Machine(chosen_device(device)), say=remark,
                progress=progress.cell, inner=progress.inner, shown=sys.stderr,
            )  # fmt: skip
    progress.end()
    report = studies.report_of(wanted, lines, places, budget=chosen, store=opened.title)
    path = write_report(report, results)
    if as_json:
        show(report["rows"], json=True)
    else:
        say(path)
    if any(line.reason for line in lines):
        raise typer.Exit(FAILED)
