"""Scores against the share of training labels: a drawing and a list for every question asked with several shares."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from seamo_bench.board.curves import label_curves, said_once
from seamo_bench.board.leaderboard import Head
from seamo_bench.board.report.columns import chips
from seamo_bench.board.report.page import Page, Tab
from seamo_bench.board.report.plots import HEIGHT, NAMES, WIDTH, lines_plot
from seamo_bench.board.tables import interval_text
from seamo_bench.scores.intervals import Interval
from seamo_bench.scores.metrics import metric


def view(page: Page, heads: Sequence[Head]) -> Mapping[str, object] | None:
    """A plot and a table a question; None where nothing was run with two shares."""
    parts = []
    for one in label_curves(page.made):
        if one.head not in heads:
            continue
        name, title = one.head.metric, metric(one.head.metric).title
        drawn = dict(list(one.lines.items())[:NAMES])
        parts.append(
            {
                "head": replace(one.head, protocol=said_once(one.head)),
                "chips": chips(page.made, one.head),
                "plot": lines_plot(drawn, name, title),
                "metric": title,
                "shares": [f"{100 * share:g} %" for share in one.fractions],
                "subsets": [one.seeds[share] for share in one.fractions],
                "left_out": len(one.lines) - len(drawn),
                "lines": [
                    {
                        "row": row,
                        "mark": str(position),
                        "cells": [_cell(points.get(share), name) for share in one.fractions],
                    }
                    for position, (row, points) in enumerate(one.lines.items(), start=1)
                ],
            }
        )
    return {"parts": parts, "width": WIDTH, "height": HEIGHT} if parts else None


def _cell(score: Interval | None, name: str) -> tuple[str, str]:
    return ("", "") if score is None else (str(score.value), interval_text(name, score))


TAB = Tab(id="labels", name="Labels", title="Score and share of labels", order=35, view=view)
