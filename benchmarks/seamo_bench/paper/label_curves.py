"""The curves over shares of labels as pictures: `labels-<data set>-<protocol>-<id>.png`, one a question."""

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from seamo.errors import SeamoError
from seamo.escapes import printable
from seamo.identity import write_atomically
from seamo_bench.board.compare import Column, column_of
from seamo_bench.board.curves import LabelCurves, label_curves, said_once
from seamo_bench.board.leaderboard import build_table
from seamo_bench.paper.figures import Drawn
from seamo_bench.records.record import Record, read_records
from seamo_bench.scores.metric import SHARE
from seamo_bench.scores.metrics import metric

_MOST = 10  # lines a picture: more cannot be told apart


def draw_label_curves(results: Path, out: Path) -> Iterator[Drawn]:
    """Draw every question that was asked with several shares of the labels.

    Args:
        results: Folder of records with their predictions.
        out: Folder of the PNG files; made if it is not there.

    Yields:
        One a question.

    Records that cannot stand side by side are one that is not drawn, with the reason.
    """
    found = read_records(results)
    shares: dict[Column, set[float]] = {}
    for record in found.records:
        shares.setdefault(_question(record), set()).add(record.facts.split.fraction)
    asked = tuple(record for record in found.records if len(shares[_question(record)]) > 1)
    if not asked:
        return
    try:
        made = build_table(replace(found, records=asked), results)
    except SeamoError as error:
        yield Drawn("labels", "", str(error))
        return
    out.mkdir(parents=True, exist_ok=True)
    for curves in label_curves(made):
        column = curves.head.column
        name = f"labels-{column.dataset}-{column.protocol}-{column.id.rpartition('/')[2]}"
        path = out / f"{name}.png"
        write_curves(path, curves)
        shown = [made.cells[row.id, column] for row in curves.lines if (row.id, column) in made.cells]
        yield Drawn(name, str(path), "", tuple(record.key for cell in shown for record in cell.records))


def _question(record: Record) -> Column:
    """The column of a record, whatever the share of labels."""
    return replace(column_of(record), fraction=1.0)


def write_curves(path: Path, curves: LabelCurves) -> None:
    """Draw one question: a line a backbone, floors dashed, bars are the intervals of the table."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.6), dpi=130, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    scale = 100.0 if metric(curves.head.metric).unit == SHARE else 1.0
    for number, (row, points) in enumerate(list(curves.lines.items())[:_MOST]):
        shares = sorted(points)
        apart = 1.02 ** (number - (min(len(curves.lines), _MOST) - 1) / 2)
        values = [scale * points[share].value for share in shares]
        ends = [(points[share].low, points[share].high) for share in shares]
        below = [0.0 if low is None else value - scale * low for value, (low, _) in zip(values, ends, strict=True)]
        above = [0.0 if high is None else scale * high - value for value, (_, high) in zip(values, ends, strict=True)]
        axes.errorbar(
            [100 * share * apart for share in shares],
            values,
            yerr=(below, above),
            label=printable(row.title).replace("$", r"\$") + (" (floor)" if row.floor else ""),
            linestyle="--" if row.floor else "-",
            marker="o",
            markersize=4,
            linewidth=1.2,
            capsize=2,
        )
    axes.set_xscale("log")
    axes.set_xticks([100 * share for share in curves.fractions], [f"{100 * share:g} %" for share in curves.fractions])
    axes.minorticks_off()
    seeds = ", ".join(str(curves.seeds[share]) for share in curves.fractions)
    axes.set_xlabel(f"share of the training labels (seeds: {seeds})")
    axes.set_ylabel(metric(curves.head.metric).title)
    said = "SYNTHETIC data; " if curves.head.synthetic else ""
    title = printable(f"{curves.head.dataset}\n{said}{said_once(curves.head)}", lines=True)
    figure.suptitle(title, fontsize=9, parse_math=False)
    axes.grid(visible=True, linewidth=0.4, alpha=0.6)
    left = len(curves.lines) - _MOST
    axes.legend(fontsize=7, title=f"and {left} more" if left > 0 else None, title_fontsize=7)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    write_atomically(path, buffer.getvalue())
