"""The verbs of `seamo-bench` that read or make whole papers' tables: study, reproduce, submit."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from seamo_bench.cli.output import Progress, chosen_budget, limit_threads, say, show

STOPPED = 75  # as `seamo pretrain`: a checkpoint is written, the same command goes on (EX_TEMPFAIL)

ResultsArgument = Annotated[Path, typer.Argument(help="Folder of records.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


def study(
    file: Annotated[str, typer.Argument(help="A shipped study (table10 ... table13, figure15), or a YAML file.")],
    store: Annotated[Path, typer.Option("--store", help="Store to pretrain on.")],
    stores: Annotated[Path, typer.Option("--stores", help="Folder of stores to evaluate on.")],
    results: Annotated[Path, typer.Option("--results", help="Folder of records, runs and reports.")],
    budget: Annotated[str, typer.Option("--budget", help="full | demo (tiny models, 64 samples).")] = "full",
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1; auto takes a GPU if there is one.")] = "auto",
    threads: Annotated[int, typer.Option(help="CPU threads; 0 leaves the libraries their choice.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Pretrain the rows of an ablation table on STORE and evaluate them; what is done is skipped."""
    chosen = chosen_budget(budget)
    import torch

    from seamo.pretrain.loop import Stopped
    from seamo.store.reader import open_store
    from seamo_bench.paper import study as studies
    from seamo_bench.runs.plan import Places
    from seamo_bench.runs.run import Machine
    from seamo_bench.suites.study_file import load_study

    if threads:
        limit_threads(threads)
    wanted, opened = load_study(file), open_store(store)
    places = Places(stores, results, Path("weights"))
    where = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    progress = Progress()

    def news(text: str) -> None:
        sys.stderr.write(f"{text}\n")

    try:
        lines = studies.run_study(
            wanted, opened, places, budget=chosen, machine=Machine(where), say=news, progress=progress.cell,
            inner=progress.inner, shown=sys.stderr,
        )  # fmt: skip
    except Stopped as stopped:
        news(f"stopped as asked; the same command goes on (checkpoint {stopped.checkpoint})")
        raise typer.Exit(STOPPED) from None
    progress.end()
    report = studies.to_objects(wanted, lines, places, budget=chosen, store=opened.title)
    path = studies.write_report(report, results)
    if as_json:
        show(report["rows"], as_json=True)
    else:
        say(str(path))
    if any(line.reason for line in lines):
        raise typer.Exit(1)


def reproduce(
    results: ResultsArgument,
    *,
    table: Annotated[str, typer.Option("--table", help="1 to 9, or elsewhere; all without.")] = "",
    backbone: Annotated[str, typer.Option("--backbone", help="Row of ours that is SeaMo; else the closest run.")] = "",
    csv: Annotated[bool, typer.Option("--csv", help="One line a published value.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Every row of the paper's Tables 1-9, and what others published, beside ours: differences, and a verdict."""
    from seamo_bench.paper import reproduce as reproducing
    from seamo_bench.records.record import read_records

    name = f"T{table}" if table.isdecimal() else table
    rows = reproducing.reproduce(read_records(results).records, results, table=name, backbone=backbone)
    if as_json:
        show(reproducing.to_objects(rows), as_json=True)
    else:
        sys.stdout.write(reproducing.to_csv(rows) if csv else reproducing.to_markdown(rows))


def submit(
    results: ResultsArgument,
    destination: Annotated[Path, typer.Argument(help="Folder, for example in a checkout of a results repository.")],
    as_json: JsonOption = False,
) -> None:
    """Copy records with predictions to DEST: key, hash and scores are checked first, nothing there is replaced."""
    from seamo_bench.records.submit import submit as copy

    rows = [{"id": one.key, "outcome": one.outcome, "reason": one.reason} for one in copy(results, destination)]
    if as_json:
        show(rows, as_json=True)
    else:
        count = {kind: sum(row["outcome"] == kind for row in rows) for kind in ("copied", "there already", "refused")}
        say(", ".join(f"{number} {kind}" for kind, number in count.items()))
        for row in rows:
            if row["outcome"] == "refused":
                say(f"refused {row['id']}: {row['reason']}")
    if any(row["outcome"] == "refused" for row in rows):
        raise typer.Exit(1)


VERBS = (study, reproduce, submit)
