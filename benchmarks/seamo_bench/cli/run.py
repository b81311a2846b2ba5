"""`seamo-bench run`."""

from collections.abc import Iterable, Mapping, Sequence
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
    Scheduler,
    Stores,
    SuiteArgument,
    Threads,
    Weights,
    chosen_budget,
    chosen_device,
)
from seamo_bench.cli.asked import planned
from seamo_bench.cli.cells import Cells

if TYPE_CHECKING:
    from seamo_bench.records.record import Record
    from seamo_bench.runs.cells import Cell


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
    scheduler: Scheduler = "",
    as_json: Json = False,
) -> None:
    """Run what has no record yet; one failure stops nothing else."""
    cells, places = planned(
        suite, backbones, stores=stores, results=results, weights=weights, budget=budget, writes=True
    )

    from seamo_bench.runs.run import Machine, run_plan
    from seamo_bench.runs.threads import limit_threads

    progress = Cells()
    if scheduler:
        from seamo_bench.runs.cluster import run_on_cluster

        records = run_on_cluster(
            cells, places, scheduler=scheduler, budget=chosen_budget(budget), threads=threads,
            machine=Machine(device, batch_size, workers, keep_models), progress=progress.cell, say=remark,
        )  # fmt: skip
    else:
        limit_threads(threads)
        machine = Machine(chosen_device(device), batch_size, workers, keep_models)
        records = run_plan(cells, places, machine=machine, progress=progress.cell, inner=progress.inner)
    rows = _rows(records)
    progress.end()
    elsewhere = _left_to_others(cells, rows)
    count = {state: sum(row["status"] == state for row in rows) for state in ("ok", "impossible", "failed")}
    done = sum(cell.status == "done" for cell in cells)
    if as_json:
        show(rows, json=True)
    else:
        if elsewhere:
            say(f"{elsewhere} records were written by other runs on these results")
        say(f"{done} cells were done; records written: " + ", ".join(f"{n} {state}" for state, n in count.items()))
        for row in rows:
            if row["status"] == "failed":
                say(f"failed: {row['backbone']} | {row['store']} | {row['protocol']}: {row['reason']}")
    if not done and not elsewhere and not count["ok"]:
        remark("nothing could be run; `seamo-bench plan` says why")
    if count["failed"] or not (done or elsewhere or count["ok"]):
        raise typer.Exit(FAILED)


def _left_to_others(cells: "Sequence[Cell]", rows: Sequence[Mapping[str, Any]]) -> int:
    """Records that were to do and that another run was faster with."""
    from seamo_bench.facts import run_key
    from seamo_bench.runs.cells import Planned

    ours = {row["id"] for row in rows}
    todo = [run_key(cell.facts[seed]) for cell in cells if isinstance(cell, Planned) for seed in cell.todo]
    return sum(key not in ours for key in todo)


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
