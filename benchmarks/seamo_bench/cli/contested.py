"""`seamo-bench contested`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seamo.addresses import disk_path
from seamo.errors import UsageError
from seamo.options import Json
from seamo.terminal import names, remark, show
from seamo_bench.cli.arguments import WEIGHTS, Device, ResultsArgument, Threads, Weights

if TYPE_CHECKING:
    from seamo_bench.board.contested import Contest
    from seamo_bench.records.record import Record


def contested(
    results: ResultsArgument,
    *,
    question: Annotated[str, typer.Option(help="One of: average, test list, labels, split; all without.")] = "",
    stores: Annotated[
        Path | None, typer.Option("--stores", help="Folder of stores: draw the labels as others do, and run that.")
    ] = None,
    fraction: Annotated[float, typer.Option(help="Share of the labels that is drawn then.")] = 0.1,
    backbones: Annotated[str, typer.Option("--backbones", help="Where the records' own runs are: RUN,...")] = "",
    weights: Weights = WEIGHTS,
    device: Device = "auto",
    threads: Threads = 0,
    as_json: Json = False,
) -> None:
    """Contested numbers: what the same predictions are worth by every reading that others take, side by side.

    Which average (micro, macro, per image, tile by tile), which test samples, which part of the labels, which split.
    Nothing is run without --stores; with it, every record of frozen features with all labels is run again on parts of
    the labels drawn by other rules, and the answers are kept among the results.
    """
    from seamo_bench.board.contested import QUESTIONS, between_records, from_answers, of_record, seeds_of
    from seamo_bench.board.contested_text import to_objects, to_text
    from seamo_bench.cli.cells import Cells
    from seamo_bench.records.fetched import check_results, results_on_disk
    from seamo_bench.records.record import read_records

    if question and question not in QUESTIONS:
        raise UsageError(f"no question {question!r}", "--question", f"There are {', '.join(QUESTIONS)}.")
    if not 0 < fraction < 1:
        raise UsageError("is not between 0 and 1", f"--fraction {fraction:g}", "A tenth is 0.1.")
    if backbones and stores is None:
        raise UsageError("--backbones is for runs, which need --stores")
    if stores is not None:
        check_results(results)
        if disk_path(results) is None:
            raise UsageError("answers are kept in a folder on this disk", str(results), "Bring the records here first.")
    with results_on_disk(results) as folder:
        records = read_records(folder).records
        done = [record for record in records if record.status == "ok"]
        if stores is not None:
            own = names(backbones)
            _draw(done, folder, stores, weights, own, fraction=fraction, device=device, threads=threads)
        progress = Cells()
        found: list[Contest] = []
        seeds = seeds_of(done)
        for number, record in enumerate(done):
            progress.cell(number, len(done), record.facts.backbone.id)
            found += of_record(record, folder, seeds=seeds[record.key])
        found += [*between_records(records, folder), *from_answers(records, folder)]
        progress.end()
    found = [one for one in found if len(one.readings) > 1 and question in ("", one.question)]
    if not found:
        remark("there is no record with two readings. Run a suite first.")
    show(to_objects(found), json=as_json, text=lambda: to_text(found))


def _draw(
    done: "list[Record]",
    folder: Path,
    stores: Path,
    weights: Path,
    own: "tuple[str, ...]",
    *,
    fraction: float,
    device: str,
    threads: int,
) -> None:
    """Run what can be drawn, and keep the answers; what cannot be run here is said and left."""
    from seamo.errors import SeamoError
    from seamo_bench.cli.arguments import chosen_device
    from seamo_bench.cli.cells import Cells
    from seamo_bench.questions.contested import can_be_drawn, drawn_otherwise
    from seamo_bench.records.answers import write_answer
    from seamo_bench.runs.plan import Places
    from seamo_bench.runs.run import Machine
    from seamo_bench.runs.threads import limit_threads
    from seamo_bench.tasks.stores import check_root
    from seamo_bench.why.between import Bench
    from seamo_bench.why.sides import names_by_id

    check_root(stores)
    limit_threads(threads)
    progress = Cells()
    places = Places(stores, folder, weights)
    bench = Bench(places, dict(names_by_id(own)), Machine(chosen_device(device)), inner=progress.inner)
    for number, record in enumerate(done):
        progress.cell(number, len(done), record.facts.backbone.id)
        try:
            if not can_be_drawn(record):
                continue
            write_answer(folder, drawn_otherwise(record, bench, fraction=fraction))
        except SeamoError as error:  # one record of many
            remark(f"not drawn: {record.facts.backbone.id}: {error}")
    progress.end()
