"""Contested numbers in words and as plain rows."""

from collections.abc import Sequence
from typing import Any

from seamo.escapes import printable
from seamo_bench.board.contested import QUESTIONS, Contest, ReadAs
from seamo_bench.board.report.words import plural
from seamo_bench.board.tables import interval_text, number
from seamo_bench.scores.metric import SHARE

LEGEND = "Percent, with 95 % intervals."
# What a block's readings have in common; of what was asked.
SAME = "Which average, which test samples: the same predictions, read otherwise; * is what a table here prints."
OTHER = (
    "Which labels, which split: one model, trained or tested on other samples each time. No star there: "
    "tables average draws, and have a column for every split."
)


def legend(found: Sequence[Contest]) -> str:
    """What holds of the blocks that are there."""
    asked = {one.question for one in found}
    told = [SAME] * bool(asked & {"average", "test list"}) + [OTHER] * bool(asked & {"labels", "split"})
    return " ".join([LEGEND, *told])


def reading_text(one: ReadAs) -> str:
    """`54.29 [50.00, 58.00]`, or why there is none."""
    return "undefined" if one.value is None else interval_text(SHARE, one)


def spread_text(one: Contest) -> str:
    """`40.00 to 50.00, 10.00 points apart`."""
    if one.ends is None:
        return "one reading"
    low, high = (number(SHARE, end) for end in one.ends)
    return f"{low} to {high}, {number(SHARE, one.spread)} points apart"


def to_objects(found: Sequence[Contest]) -> list[dict[str, Any]]:
    """A plain row a reading."""
    return [
        {
            "id": f"{one.records[0][:12]}/{one.question}/{one.printed}/{reading.id}".replace(" ", "-"),
            "question": one.question,
            "of": one.title,
            "printed_as": one.printed,
            "reading": reading.id,
            "title": reading.title,
            "value": reading.value,
            "low": reading.low,
            "high": reading.high,
            "ours": reading.ours,
            "note": reading.note,
            "users": reading.users,
            "source": reading.source,
            "synthetic": one.synthetic,
            "subset": one.subset,
            "records": list(one.records),
        }
        for one in found
        for reading in one.readings
    ]


def to_text(found: Sequence[Contest]) -> str:
    """For a terminal: the widest contest first, each with its readings."""
    lines: list[str] = []
    apart = [one for one in found if one.spread > 0]
    for one in sorted(apart, key=lambda one: -one.spread):
        words = [one.title, one.printed, QUESTIONS[one.question], *_limits(one)]
        lines += [printable(" | ".join(words)), f"  {spread_text(one)}"]
        width = max(len(reading_text(reading)) for reading in one.readings)
        for reading in one.readings:
            mark = "*" if reading.ours else " "
            users = f" ({reading.users}: {reading.source})" if reading.users else ""
            lines.append(printable(f"  {mark} {reading_text(reading):<{width}}  {reading.title}{users}"))
        lines += [printable(f"    note: {note}") for note in one.notes]
        lines.append("")
    if alike := len(found) - len(apart):
        lines.append(f"{plural(alike, 'block')} of equal readings left out; --json has them.")
    return "\n".join([*lines, legend(apart)])


def _limits(one: Contest) -> list[str]:
    return ["SYNTHETIC"] * one.synthetic + ["subset"] * one.subset
