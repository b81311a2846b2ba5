"""`seamo-bench overlap`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seamo.errors import UsageError
from seamo.options import Json
from seamo.progress import Progress
from seamo.terminal import names, remark, say, show
from seamo_bench.cli.arguments import Stores

if TYPE_CHECKING:
    from seamo_bench.board.overlap import OverlapRow, PartScore, ScoreGap


def overlap(
    results: Annotated[Path, typer.Argument(help="Folder of records, on this disk.")],
    *,
    stores: Stores,
    footprints: Annotated[
        Path | None, typer.Option("--footprints", help="Folder of lists, <corpus>.parquet or .csv; see the page.")
    ] = None,
    days: Annotated[
        int, typer.Option(min=-1, help="Count only images at most so many days apart; -1: days do not count.")
    ] = -1,
    backbones: Annotated[str, typer.Option("--backbones", help="Where the records' own runs are: RUN,...")] = "",
    as_json: Json = False,
) -> None:
    """Which test samples lie where a backbone was pretrained, and its score with and without them.

    What is found is kept beside the records, and the report shows it. Where a corpus has no list here, that is said:
    its samples count as unknown, never as clean.
    """
    progress = Progress(sys.stderr, title="overlap", keep=False)

    from seamo_bench.questions.overlap import overlaps
    from seamo_bench.questions.seen import SeenShelf
    from seamo_bench.records.answers import answering_folder, write_answer
    from seamo_bench.records.record import read_records
    from seamo_bench.tasks.stores import check_root
    from seamo_bench.zoo.catalogue import find_card

    folder = answering_folder(results)
    if footprints is not None and not footprints.is_dir():
        raise UsageError("is no folder", f"--footprints {footprints}", "Put the lists into one, named by corpus.")
    check_root(stores)
    shelf = SeenShelf(stores, footprints, {find_card(name).card.id: name for name in names(backbones)})
    found = read_records(folder)
    answer, left = overlaps(found, folder, shelf, days=None if days < 0 else days, progress=progress.report)
    progress.close()
    write_answer(folder, answer)
    for line in left:
        remark(f"left out: {line}")
    if as_json:
        show([row.model_dump(mode="json") for row in answer.rows], json=True)
        return
    show([_line(row) for row in answer.rows], json=False)
    for row in answer.rows:
        for one in row.corpora:
            if one.is_partly_unknown:
                say(f"{row.title}: {one.id} is {'partly ' if one.unplaced else ''}unknown: {one.note}")
    made_up = sorted({row.dataset for row in answer.rows if row.synthetic})
    if made_up:
        say(f"Synthetic data: {', '.join(made_up)}.")


def _line(row: "OverlapRow") -> dict[str, str]:
    return {
        "data": row.dataset,
        "backbone": row.row,
        "pretrained on": ", ".join(one.id for one in row.corpora) or "nothing",
        "touched": f"{row.touched:,}",
        "clean": f"{row.clean:,}",
        "unknown": f"{row.unknown:,}",
        "score": _score(row, row.whole),
        "without": _score(row, row.rest),
        "difference": _gap(row, row.gap) or row.note,
        "beyond floors": _gap(row, row.beyond),
    }


def _score(row: "OverlapRow", one: "PartScore | None") -> str:
    from seamo_bench.board.tables import number

    return "" if one is None else number(row.metric, one.value)


def _gap(row: "OverlapRow", one: "ScoreGap | None") -> str:
    from seamo_bench.board.tables import interval_text

    return "" if one is None else interval_text(row.metric, one)
