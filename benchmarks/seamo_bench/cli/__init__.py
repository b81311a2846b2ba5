"""`seamo-bench`: plan, run, read and check evaluations. Nothing heavy is imported before it is needed."""

import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from seamo.errors import SeamoError, UsageError
from seamo_bench.cli import maps as maps_cli
from seamo_bench.cli import study as study_cli
from seamo_bench.cli import weights as weights_cli
from seamo_bench.cli.output import Progress, chosen_budget, limit_threads, say, show

app = typer.Typer(
    help="Evaluate any backbone on any store under the same protocols.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(weights_cli.app, name="weights")
for _verb in (*study_cli.VERBS, *maps_cli.VERBS):
    app.command()(_verb)

StoresOption = Annotated[Path, typer.Option("--stores", help="Folder of stores, one folder a data set.")]
ResultsOption = Annotated[Path, typer.Option("--results", help="Folder of records.")]
BackbonesOption = Annotated[str, typer.Option("--backbones", help="Comma-separated; default: the suite's.")]
BudgetOption = Annotated[str, typer.Option("--budget", help="full | demo (2 epochs, 64 samples; part of the key).")]
WeightsOption = Annotated[Path, typer.Option("--weights", help="Folder of checkpoint files.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
ResultsArgument = Annotated[Path, typer.Argument(help="Folder of records.")]
WEIGHTS = Path("weights")


@app.callback()
def _options(
    *,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and debug messages.")] = False,
) -> None:
    # `main` takes --debug out of the arguments, wherever it stands; declared here for --help.
    pass


@app.command("list")
def list_things(
    kind: Annotated[str, typer.Argument(help="backbones | protocols | suites")], as_json: JsonOption = False
) -> None:
    """What there is, with availability and licence."""
    from seamo_bench.protocols import find_protocol, protocols
    from seamo_bench.suites.suite import suites
    from seamo_bench.zoo import catalogue

    if kind == "backbones":
        rows = [
            {
                "id": card.id,
                "title": card.title,
                "family": card.family,
                "sensors": "+".join(one.sensor for one in card.inputs) if card.joint else _sensors(card.inputs),
                "size": card.size,
                "availability": card.availability,
                "licence": card.weights.licence if card.weights else "",
                "verified": ", ".join(card.verified) or "unverified",
            }
            for card in (found.card for found in catalogue.cards().values())
        ]
    elif kind == "protocols":
        rows = []
        for name in protocols():
            one = find_protocol(name)
            rows.append({"id": one.id, "version": one.version, "title": one.title, "tasks": ", ".join(one.tasks)})
    elif kind == "suites":
        from seamo_bench.suites.suite import load_suite

        loaded = [load_suite(name) for name in suites()]
        rows = [{"id": one.id, "title": one.title, "rows": len(one.rows)} for one in loaded]
    else:
        raise UsageError(f"cannot list {kind!r}", fix="Choose backbones, protocols or suites.")
    show(rows, as_json=as_json)


def _sensors(inputs: Any) -> str:
    return " | ".join(one.sensor for one in inputs)


@app.command()
def plan(
    suite: Annotated[str, typer.Argument(help="A shipped suite, or a YAML file.")],
    stores: StoresOption,
    results: ResultsOption = Path("results"),
    backbones: BackbonesOption = "",
    budget: BudgetOption = "full",
    weights: WeightsOption = WEIGHTS,
    cells: Annotated[bool, typer.Option("--cells", help="One line a cell.")] = False,
    as_json: JsonOption = False,
) -> None:
    """The matrix: done, will run, impossible (why), estimated cost."""
    from seamo_bench.cli.plan_view import every_cell, listing, overview
    from seamo_bench.runs.plan import Places, make_plan
    from seamo_bench.suites.suite import load_suite

    planned = make_plan(load_suite(suite), _names(backbones), Places(stores, results, weights), chosen_budget(budget))
    if as_json:
        show(listing(planned), as_json=True)
    else:
        say(every_cell(planned) if cells else overview(planned))


@app.command()
def run(
    suite: Annotated[str, typer.Argument(help="A shipped suite, or a YAML file.")],
    stores: StoresOption,
    results: ResultsOption,
    backbones: BackbonesOption = "",
    budget: BudgetOption = "full",
    weights: WeightsOption = WEIGHTS,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1; auto takes a GPU if there is one.")] = "auto",
    threads: Annotated[int, typer.Option(help="CPU threads; 0 leaves the libraries their choice.")] = 0,
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
    as_json: JsonOption = False,
) -> None:
    """Run what has no record yet; one failure stops nothing else."""
    from seamo_bench.runs.plan import Places, make_plan
    from seamo_bench.suites.suite import load_suite

    chosen = chosen_budget(budget)
    places = Places(stores, results, weights)
    cells = make_plan(load_suite(suite), _names(backbones), places, chosen)

    import torch

    from seamo_bench.runs.run import Machine, run_plan

    if threads:
        limit_threads(threads)
    where = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    progress = Progress()
    machine = Machine(where, batch_size, workers, keep_models)
    records = run_plan(cells, places, machine=machine, progress=progress.cell, inner=progress.inner)
    rows = [
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
    progress.end()
    if as_json:
        show(rows, as_json=True)
    else:
        count = {state: sum(row["status"] == state for row in rows) for state in ("ok", "impossible", "failed")}
        done = sum(cell.status == "done" for cell in cells)
        say(f"{done} cells were done; records written: " + ", ".join(f"{n} {state}" for state, n in count.items()))
        for row in rows:
            if row["status"] == "failed":
                say(f"failed: {row['backbone']} | {row['store']} | {row['protocol']}: {row['reason']}")
    if any(row["status"] == "failed" for row in rows):
        raise typer.Exit(1)


@app.command()
def explain(
    backbone: Annotated[str, typer.Argument(help="Card id, or a SeaMo run.")],
    store: Annotated[Path, typer.Argument(help="A store.")],
    missing: Annotated[str, typer.Option(help="Missing-band policy; default: the card's.")] = "",
    size: Annotated[int, typer.Option(help="Image size; default: the card's.")] = 0,
    date: Annotated[int, typer.Option(help="Which date of every stack.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """What happens to each channel, from the store's layer, band and unit to the network's input slot."""
    from seamo.store.reader import open_store
    from seamo_bench.explain import explain as rows_of
    from seamo_bench.tasks.trials import store_statistics
    from seamo_bench.wiring import wire
    from seamo_bench.zoo.catalogue import check_selection, family, find_card

    opened = open_store(store)
    found = find_card(backbone)
    wiring = wire(
        found.card,
        opened.spec,
        statistics=store_statistics(opened),
        missing=missing or None,  # type: ignore[arg-type]
        size=size or None,
        date=date,
    )
    check_selection(wiring, family(found.module))
    rows = rows_of(wiring, opened.spec)
    if as_json:
        show(rows, as_json=True)
        return
    say(f"{opened.title} -> {found.card.title}: {wiring.resampling()}; missing bands: {wiring.missing}\n")
    every = [column for column in rows[0] if len(rows) > 1 and len({row[column] for row in rows}) == 1]
    show([{column: row[column] for column in row if column not in every} for row in rows], as_json=False)
    told = [f"{column} {rows[0][column]}" for column in every if rows[0][column] != ""]
    say(f"\nEvery channel: {'; '.join(told)}" if told else "")


@app.command()
def verify(record: Annotated[Path, typer.Argument(help="A record's JSON file.")]) -> None:
    """Check a record as a referee would: key, hash of the predictions, scores recomputed."""
    from seamo.errors import ProtocolError
    from seamo_bench.records.record import read_records
    from seamo_bench.records.record import verify as check

    found = read_records(record.parent)
    own = [one for one in found.records if f"{one.key}.json" == record.name]
    damage = [one.reason for one in found.damaged if one.path.name == record.name]
    if not own:
        raise ProtocolError(damage[0] if damage else "there is no such record", where=str(record))
    wrong = check(own[0], record.parent)
    if wrong:
        raise ProtocolError("; ".join(wrong), where=str(record))
    say(f"{record.name}: key, predictions and scores agree")


@app.command()
def table(
    results: ResultsArgument,
    *,
    md: Annotated[bool, typer.Option("--md", help="Markdown.")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="LaTeX.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="One line a cell.")] = False,
    metric: Annotated[str, typer.Option(help="One metric for all columns that have it.")] = "",
    mixed: Annotated[bool, typer.Option("--mixed", help="Mix records that differ in a number-changing fact.")] = False,
    compute: Annotated[bool, typer.Option("--compute", help="Device hours (Table 15), and images a second.")] = False,
    as_json: JsonOption = False,
) -> None:
    """The leaderboard of a folder of records."""
    if compute:
        _compute(results, md=not (latex or csv or as_json), as_json=as_json)
        return
    from seamo_bench.board.leaderboard import build_table
    from seamo_bench.board.tables import to_csv, to_latex, to_markdown, to_objects, to_text
    from seamo_bench.records.record import read_records

    if md + latex + csv + as_json > 1:
        raise UsageError("choose one of --md, --latex, --csv and --json")
    made = build_table(read_records(results), results, metric_name=metric, mixed=mixed)
    if as_json:
        show(to_objects(made), as_json=True)
        return
    write = to_markdown if md else to_latex if latex else to_csv if csv else to_text
    sys.stdout.write(write(made))


def _compute(results: Path, *, md: bool, as_json: bool) -> None:
    from seamo_bench.paper.compute import compute_table, network_table, to_markdown, to_objects
    from seamo_bench.records.record import read_records

    if not md and not as_json:
        raise UsageError("--compute is written as Markdown or --json")
    records = read_records(results).records
    rows, networks = compute_table(records, results), network_table(records)
    if as_json:
        show(to_objects(rows, networks), as_json=True)
    else:
        sys.stdout.write(to_markdown(rows, networks))


@app.command()
def report(
    results: ResultsArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="The .html file.")],
    *,
    figures: Annotated[Path | None, typer.Option(help="Folder of PNG files to put into the page.")] = None,
    mixed: Annotated[bool, typer.Option("--mixed", help="Mix records that differ in a number-changing fact.")] = False,
) -> None:
    """One HTML page that needs no network."""
    from seamo_bench.board.report import write_report

    progress = Progress()
    progress.cell(0, 1, "report")
    write_report(results, output, mixed=mixed, figures=figures, progress=progress.inner)
    progress.end()
    say(str(output))


@app.command()
def compare(results: ResultsArgument, a: str, b: str, metric: str = "", as_json: JsonOption = False) -> None:
    """Backbone (or group) A minus B, paired, wherever both have a score."""
    from seamo_bench.board.compare import compare as pairs
    from seamo_bench.records.record import read_records

    rows = [
        {
            "id": one.column.id,
            "metric": one.metric,
            "a": one.a,
            "b": one.b,
            "difference": one.difference.interval.value,
            "low": one.difference.interval.low,
            "high": one.difference.interval.high,
            "p": one.difference.p,
            "method": one.difference.interval.method,
            "test": one.difference.test,
        }
        for one in pairs(read_records(results).records, results, a, b, metric=metric)
    ]
    show(rows, as_json=as_json)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def main() -> None:
    """Entry point: exit 1 if the work failed, 2 for wrong usage; an error is one message (`--debug`: its traceback)."""
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    logging.basicConfig(level=logging.DEBUG if debug else logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        app(args=[one for one in arguments if one != "--debug"])
    except SeamoError as error:
        if debug:
            raise
        sys.stderr.write(f"seamo-bench: {error}\n")
        sys.exit(2 if isinstance(error, UsageError) else 1)
    except KeyboardInterrupt:
        sys.stderr.write("stopped; the same command goes on\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
