"""`seamo-bench why`."""

import shlex
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from seamo.addresses import location
from seamo.errors import SeamoError, UsageError
from seamo.options import Json
from seamo.terminal import names, remark, show
from seamo_bench.cli.arguments import WEIGHTS, Device, Threads, Weights

if TYPE_CHECKING:
    from seamo_bench.why.between import Bench
    from seamo_bench.why.explained import Explanation


def why(
    a: Annotated[Path, typer.Argument(help="A record's JSON file, or a folder of results; or its address.")],
    b: Annotated[str, typer.Argument(help="The same; or a published number by its id, T1/SeaMo/...")],
    *,
    metric: Annotated[str, typer.Option("--metric", help="Of both; default: the task's, or the published one.")] = "",
    metric_b: Annotated[str, typer.Option("--metric-b", help="Of B, where it is another one.")] = "",
    stores: Annotated[
        Path | None, typer.Option("--stores", help="Folder of stores: make the runs between the two.")
    ] = None,
    results: Annotated[
        Path | None, typer.Option("--results", help="Keep those runs and their features here; default: nowhere.")
    ] = None,
    backbones: Annotated[str, typer.Option("--backbones", help="Where the records' own runs are: RUN,...")] = "",
    weights: Weights = WEIGHTS,
    device: Device = "auto",
    threads: Threads = 0,
    out: Annotated[Path | None, typer.Option("-o", "--output", help="A waterfall, .png.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep it beside A's records, for the report.")] = False,
    as_json: Json = False,
) -> None:
    """Why two numbers differ: the facts in which they do, what each moves, and what stays unexplained.

    Stored predictions are scored anew where that suffices (metric, averaging, a part of the test samples), and records
    that lie beside the two are used. Nothing is run without --stores: it is said what would be. Of two folders of
    results every row that differs is explained.
    """
    if out is not None and out.suffix != ".png":
        raise UsageError("is no .png", str(out))
    if results is not None and stores is None:
        raise UsageError("--results is for runs, which need --stores")
    folder = _answering(a) if keep else None
    with ExitStack() as stack:
        bench = stack.enter_context(_bench(stores, results, weights, backbones, device, threads))
        found, alone = _explained(stack, a, b, metric, metric_b, bench)
    if out is not None and found:
        from seamo_bench.why.waterfall import write_waterfall

        for number, one in enumerate(found):
            path = out if len(found) == 1 else out.with_name(f"{out.stem}-{number + 1}.png")
            write_waterfall(path, one)
    if folder is not None:
        _keep(folder, found)
    from seamo_bench.why.shown import to_objects, to_text

    for line in alone:
        remark(line)
    show(to_objects(found), json=as_json, text=lambda: "\n\n".join(map(to_text, found)) or "no row differs")


def _answering(a: Path) -> Path:
    """A's folder, if answers can be kept there."""
    from seamo_bench.records.answers import answering_folder
    from seamo_bench.records.layout import results_of

    return answering_folder(a if a.is_dir() or location(a) is not None else results_of(a))


def _keep(folder: Path, found: "list[Explanation]") -> None:
    from seamo_bench.why.kept import keep_explanation

    for one in found:
        keep_explanation(folder, one, made_by=shlex.join(["seamo-bench", *sys.argv[1:]]))


@contextmanager
def _bench(
    stores: Path | None, results: Path | None, weights: Path, backbones: str, device: str, threads: int
) -> Iterator["Bench | None"]:
    """Where runs are made: kept in `results`, or gone afterwards; None without stores."""
    if stores is None:
        yield None
        return
    from seamo_bench.cli.arguments import chosen_device
    from seamo_bench.cli.cells import Cells
    from seamo_bench.records.fetched import check_results
    from seamo_bench.runs.plan import Places
    from seamo_bench.runs.run import Machine
    from seamo_bench.runs.threads import limit_threads
    from seamo_bench.tasks.stores import check_root
    from seamo_bench.why.between import Bench
    from seamo_bench.why.sides import names_by_id

    if results is not None:
        check_results(results)
    check_root(stores)
    limit_threads(threads)
    progress = Cells()
    with TemporaryDirectory(prefix="seamo-why-") as scratch:
        places = Places(stores, Path(scratch) if results is None else results, weights)
        known = dict(names_by_id(names(backbones)))
        yield Bench(places, known, Machine(chosen_device(device)), progress.cell, progress.inner)
    progress.end()


def _check_apart(bench: "Bench | None", *places: Path | None) -> None:
    """Refuse to put runs between two numbers among the records of a table: they are of no suite."""
    for place in places:
        folder = None if place is None else place if place.is_dir() else place.parent
        if bench is not None and folder is not None and folder.resolve() == Path(bench.places.results).resolve():
            raise UsageError("holds A or B", f"--results {folder}", "Name a folder of its own for the runs between.")


def _explained(
    stack: ExitStack, a: Path, b: str, metric: str, metric_b: str, bench: "Bench | None"
) -> "tuple[list[Explanation], tuple[str, ...]]":
    from dataclasses import replace

    from seamo_bench.records.fetched import results_on_disk
    from seamo_bench.why.explained import averaged, explain, side_of
    from seamo_bench.why.sides import find_published, find_record, pairs_of, published_side, with_metric

    here = stack.enter_context(results_on_disk(a))
    first = find_record(here)
    if first is None and not here.is_dir():
        raise UsageError("is no record and no folder of results", str(a))
    is_place = location(b) is not None or Path(b).exists() or find_record(Path(b)) is not None
    there = stack.enter_context(results_on_disk(Path(b))) if is_place else None
    _check_apart(bench, here, there)
    second = find_record(there) if there is not None else None
    if first is None:
        if there is None or second is not None:
            raise UsageError("A is a folder of results, so B must be one, too", b)
        rows, alone = pairs_of(here, there, metric)
        found = []
        for row in rows:
            try:
                seeds = [explain(one.a, one.b, bench=bench) for one in (with_metric(pair, metric_b) for pair in row)]
            except SeamoError as error:  # one row of many
                alone = (*alone, f"not explained: {row[0].a.title}: {error}")
                continue
            mean = averaged(seeds)
            found += seeds if mean is None else [mean]
        return sorted(found, key=lambda one: -abs(one.difference)), alone
    ours = side_of(*first, metric)
    if there is None:
        published = find_published(b)
        if metric_b:
            raise UsageError("a published number has the metric that it was printed in", "--metric-b", "Leave it out.")
        theirs, notes = published_side(published, ours, bench)
        if not metric:
            ours = replace(ours, metric=theirs.metric)
        return [explain(ours, theirs, bench=bench, notes=notes)], ()
    if second is None:
        raise UsageError("A is a record, so B must be one, or a published number", b)
    return [explain(ours, side_of(*second, metric_b or metric), bench=bench)], ()
