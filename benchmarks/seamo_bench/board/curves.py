"""Scores against the share of labels: the columns of a leaderboard that differ in nothing else, as one curve a row."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from seamo_bench.board.leaderboard import BoardRow, Head, Table
from seamo_bench.scores.intervals import Interval
from seamo_bench.scores.metrics import metric


@dataclass(frozen=True, slots=True, eq=False)
class LabelCurves:
    """One question, asked with several shares of the training labels.

    Args:
        head: Of the column with the most labels.
        fractions: Shares of the labels, ascending; at least two.
        lines: Row -> fraction -> its score there; the best with the most labels first. A share that a row was not run
            with, or where the score is undefined, is not in it.
        seeds: Fraction -> how many subsets (seeds) the row with the most has.
    """

    head: Head
    fractions: tuple[float, ...]
    lines: Mapping[BoardRow, Mapping[float, Interval]]
    seeds: Mapping[float, int]


def label_curves(made: Table) -> tuple[LabelCurves, ...]:
    """The curves of a leaderboard, in the order of its columns."""
    groups: dict[object, list[Head]] = {}
    for head in made.heads:
        groups.setdefault((replace(head.column, fraction=1.0), head.metric), []).append(head)
    found = []
    for heads in groups.values():
        by_share = {head.column.fraction: head for head in heads}
        lines: dict[BoardRow, dict[float, Interval]] = {}
        seeds: dict[float, int] = {}
        for row in made.rows:
            for share in sorted(by_share):
                cell = made.cells.get((row.id, by_share[share].column))
                if cell and cell.interval and math.isfinite(cell.interval.value):
                    lines.setdefault(row, {})[share] = cell.interval
                    seeds[share] = max(seeds.get(share, 0), cell.interval.num_seeds)
        if len(seeds) < 2:
            continue
        most = max(seeds)
        sign = -1 if metric(heads[0].metric).higher_is_better else 1
        order = sorted(lines, key=lambda row: sign * lines[row][most].value if most in lines[row] else math.inf)
        found.append(LabelCurves(by_share[most], tuple(sorted(seeds)), {row: lines[row] for row in order}, seeds))
    return tuple(found)


def said_once(head: Head) -> str:
    """What a curve is about: the heading of its column without the share of labels."""
    return head.protocol.replace(f", {100 * head.column.fraction:g} % of labels", "")
