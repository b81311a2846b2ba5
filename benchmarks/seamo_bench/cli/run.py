"""`seamo-bench run`."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seamo.errors import ProtocolError, UsageError
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
    Tflops,
    Threads,
    Weights,
    chosen_budget,
    chosen_device,
)
from seamo_bench.cli.asked import planned
from seamo_bench.cli.cells import Cells
from seamo_bench.cli.told import told

if TYPE_CHECKING:
    from seamo_bench.records.record import Record
    from seamo_bench.runs.cells import Cell, Planned

_QUIET_S = 600.0  # a cell that takes longer says how far it is, also where the output is no terminal
_AGAIN = "Give the same command again: it goes on with them."
_NOTHING = (
    "The reasons stand above: build or fetch what is missing, or ask for other backbones; `seamo-bench plan` with "
    "--cells tells of every cell."
)


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
    max_hours: Annotated[
        float, typer.Option(min=0.0, help="Cheap cells first, and none that would end later; 0: no limit.")
    ] = 0.0,
    tflops: Tflops = 0.0,
    as_json: Json = False,
) -> None:
    """Run what has no record yet; one failure stops nothing else."""
    if max_hours and scheduler:
        raise UsageError("--max-hours and --scheduler exclude each other")
    cells, places, speed = planned(
        suite, backbones, stores=stores, results=results, weights=weights, budget=budget, tflops=tflops,
        device="" if scheduler else device, writes=True,
    )  # fmt: skip

    from seamo_bench.cli.plan_view import duration, opening
    from seamo_bench.runs.limit import TimeLimit
    from seamo_bench.runs.run import Machine, run_plan
    from seamo_bench.runs.threads import limit_threads

    remark(opening(cells, speed))
    progress = Cells(quiet_s=_QUIET_S)
    limit = TimeLimit(max_hours) if max_hours else None
    if scheduler:
        from seamo_bench.runs.cluster import run_on_cluster

        records = run_on_cluster(
            cells, places, scheduler=scheduler, budget=chosen_budget(budget), threads=threads,
            machine=Machine(device, batch_size, workers, keep_models), progress=progress.cell, say=remark,
        )  # fmt: skip
    else:
        limit_threads(threads)
        machine = Machine(chosen_device(device), batch_size, workers, keep_models)
        records = run_plan(cells, places, machine=machine, progress=progress.cell, inner=progress.inner, limit=limit)
    rows = _rows(told(records, cells))
    progress.end()
    left = limit.left if limit else ()
    elsewhere = _left_to_others(cells, rows, left)
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
    if left:
        cost = duration(sum(cell.cost.seconds for cell in left))
        remark(f"{len(left)} cells of about {cost} were not begun within {max_hours:g} h. {_AGAIN}")
    if done or elsewhere or count["ok"]:
        remark(
            f"`seamo-bench table {results}` shows the scores, `seamo-bench report {results} -o report.html` the page"
        )
    if count["failed"]:
        raise typer.Exit(FAILED)
    if left and not (done or elsewhere or count["ok"]):
        cheapest = duration(min(cell.cost.seconds for cell in left))
        raise ProtocolError(f"no cell fits into {max_hours:g} h", suite, f"The cheapest takes about {cheapest}.")
    if not (done or elsewhere or count["ok"]):
        raise ProtocolError("nothing could be run", suite, _NOTHING)


def _left_to_others(cells: "Sequence[Cell]", rows: Sequence[Mapping[str, Any]], left: "Sequence[Planned]") -> int:
    """Records that were to do and that another run was faster with; not what was left for lack of time."""
    from seamo_bench.facts import run_key
    from seamo_bench.runs.cells import Planned

    ours = {row["id"] for row in rows}
    todo = [
        run_key(cell.facts[seed])
        for cell in cells
        if isinstance(cell, Planned) and cell not in left
        for seed in cell.todo
    ]
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
