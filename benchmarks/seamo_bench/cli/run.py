"""`seamo-bench run`."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seamo.options import Json
from seamo.terminal import FAILED, remark, say, show
from seamo_bench.cli.arguments import (
    WEIGHTS,
    Backbones,
    Budget,
    Device,
    Results,
    Stores,
    SuiteArgument,
    Threads,
    Weights,
    chosen_device,
)
from seamo_bench.cli.asked import planned
from seamo_bench.cli.cells import Cells

if TYPE_CHECKING:
    from seamo_bench.records.record import Record


def run(
    suite: SuiteArgument,
    stores: Stores,
    results: Results,
    backbones: Backbones = "",
    budget: Budget = "full",
    weights: Weights = WEIGHTS,
    device: Device = "auto",
    threads: Threads = 0,
    batch_size: Annotated[int, typer.Option(help="Images at a time, for features.")] = 64,
    workers: Annotated[int, typer.Option(help="Reading threads.")] = 2,
    keep_models: Annotated[
        bool,
        typer.Option(
            "--keep-models",
            help="Keep fine-tuned networks and heavy heads for `predict`, too: whole networks, up to 1.2 GB a record. "
            "What was trained is kept without it where it has at most 4 MiB.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Run what has no record yet; one failure stops nothing else."""
    cells, places = planned(suite, backbones, stores=stores, results=results, weights=weights, budget=budget)

    from seamo_bench.runs.run import Machine, run_plan

    limit_threads(threads)
    progress = Cells()
    machine = Machine(chosen_device(device), batch_size, workers, keep_models)
    rows = _rows(run_plan(cells, places, machine=machine, progress=progress.cell, inner=progress.inner))
    progress.end()
    count = {state: sum(row["status"] == state for row in rows) for state in ("ok", "impossible", "failed")}
    done = sum(cell.status == "done" for cell in cells)
    if as_json:
        show(rows, json=True)
    else:
        say(f"{done} cells were done; records written: " + ", ".join(f"{n} {state}" for state, n in count.items()))
        for row in rows:
            if row["status"] == "failed":
                say(f"failed: {row['backbone']} | {row['store']} | {row['protocol']}: {row['reason']}")
    if not done and not count["ok"]:
        remark("nothing could be run; `seamo-bench plan` says why")
    if count["failed"] or not (done or count["ok"]):
        raise typer.Exit(FAILED)


def _rows(records: "Iterable[Record]") -> list[dict[str, Any]]:
    return [
        {
            "id": record.key,
            "status": record.status,
            "backbone": record.about.backbone,
            "store": " + ".join(record.about.stores),
            "protocol": record.facts.protocol.id,
            "seed": record.facts.seed,
            "reason": record.reason,
            "scores": record.scores,
        }
        for record in records
    ]
