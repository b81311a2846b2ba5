"""`seamo-bench audit`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seamo.addresses import disk_path
from seamo.options import Json
from seamo.progress import Progress
from seamo.terminal import names, remark, show, table
from seamo_bench.cli.arguments import ResultsArgument
from seamo_bench.cli.judged import records_for_tables

if TYPE_CHECKING:
    from seamo_bench.questions.audit import Audited

_SWAPS, _FIRST = 10, 10


def audit(
    results: ResultsArgument,
    *,
    out: Annotated[Path, typer.Option("-o", "--output", help="Folder of the lists and pictures.")],
    stores: Annotated[
        Path | None, typer.Option("--stores", help="Folder of stores: pictures, and near duplicates.")
    ] = None,
    data: Annotated[str, typer.Option("--data", help="Data sets: ID,...; default: all with scores of classes.")] = "",
    as_json: Json = False,
) -> None:
    """Which labels most models contradict, a list and a sheet of pictures; the data set is never altered.

    Models are asked about samples that they were not trained on: all of them where records are cross-validated (`split:
    cv5x5` in a suite), else those of the test split. Scores are told with and without the suspects.
    """
    from seamo_bench.questions.audit import audit as make
    from seamo_bench.records.fetched import results_on_disk
    from seamo_bench.records.layout import is_shared
    from seamo_bench.tasks.stores import check_root

    if stores is not None:
        check_root(stores)
    progress = Progress(sys.stderr, title="audit", keep=False)
    with results_on_disk(results) as folder:
        own = disk_path(results) is not None and not is_shared(folder)
        records = records_for_tables(folder).records
        found = make(
            records,
            folder,
            out,
            stores=stores,
            datasets=names(data),
            keep=own,
            tell=remark,
            progress=progress.report,
        )
    progress.close()
    if stores is None:
        remark("Without --stores there are no pictures, and near duplicates are not looked for.")
    if not own:
        remark("The report shows audits of folders on this disk alone: this one is in the files only.")
    rows = [
        {"id": one.row.dataset, **one.row.model_dump(mode="json"), "files": [str(path) for path in one.files]}
        for one in found
    ]
    show(rows, json=as_json, text=lambda: "\n\n".join(map(_text, found)))


def _text(one: "Audited") -> str:
    from seamo_bench.board import audit_rows as words
    from seamo_bench.board.tables import number, p_text

    row = one.row
    lines = [row.title, *words.reservations(row), words.headline(row), words.estimate_text(row)]
    lines.append(words.duplicates_text(row))
    lines += [f"{sentence}." for sentence in row.left_out]
    if row.listed:
        first = [[s.key, s.given, s.suggested, s.against, s.margin] for s in row.listed[:_FIRST]]
        columns = ["sample", "given", "suggested", f"of {len(row.models)} models", "margin"]
        lines += ["", table(columns, first, title=f"The first {len(first)} of {row.suspects:,} suspects")]
    if row.swaps:
        pairs = [[s.given, s.suggested, s.count, s.expected, p_text(s.p)] for s in row.swaps[:_SWAPS]]
        columns = ["given", "suggested", "suspects", "expected", "p"]
        title = f"{words.swaps_title(row)}, {len(pairs)} of {len(row.swaps)} pairs"
        lines += ["", table(columns, pairs, title=title)]
    scores = [
        [s.model, s.protocol, s.metric, number(s.metric, s.all), number(s.metric, s.without), words.change_text(s)]
        for s in row.without
    ]
    columns = ["model", "protocol", "metric", "all", "without", "difference [95 % interval]"]
    lines += ["", table(columns, scores, title=words.FLATTERS), ""]
    return "\n".join([*lines, *map(str, one.files)])
