"""What a split that ignores places adds to each score, and how scores fall with the distance to what was learnt."""

from collections.abc import Mapping, Sequence

from seamo_bench.board.leaderboard import Head
from seamo_bench.board.report.columns import best_first, chips
from seamo_bench.board.report.page import Page, Tab
from seamo_bench.board.report.plots import HEIGHT, NAMES, WIDTH, bar, lines_plot
from seamo_bench.board.spatial import HALF_WAY_KM, KIND, VERSION, DistanceBin, SpatialGap, distance_text, spatial_gaps
from seamo_bench.board.tables import interval_text, number
from seamo_bench.records.answers import read_answers
from seamo_bench.scores.intervals import Interval
from seamo_bench.scores.metrics import metric


def view(page: Page, heads: Sequence[Head]) -> Mapping[str, object] | None:
    """A table of differences a spatial column, and a curve a column whose distances were measured; else None."""
    gaps = () if page.mixed else _gaps(page)
    tables = [
        _table(page, head, mine) for head in heads if (mine := [one for one in gaps if one.column == head.column])
    ]
    bins = _bins(page)
    curves = [made for head in heads if (made := _curve(page, head, bins.get(head.column.id, {})))]
    if not tables and not curves:
        return None
    return {"tables": tables, "curves": curves, "width": WIDTH, "height": HEIGHT}


def _gaps(page: Page) -> tuple[SpatialGap, ...]:
    def tell(done: int, total: int) -> None:
        page.progress(done, total, "spatial differences")

    return spatial_gaps(page.found.records, page.results, resamples=page.resamples, tell=tell)


def _table(page: Page, head: Head, gaps: Sequence[SpatialGap]) -> dict[str, object]:
    names = {row.id: row for row in page.made.rows}
    ends = [0.0, *(end for one in gaps for end in _ends(one.difference.interval))]
    room = 0.06 * (max(ends) - min(ends)) or 0.01
    axis = min(ends) - room, max(ends) + room
    ordered = sorted(gaps, key=lambda one: -one.difference.interval.value)
    return {
        "head": head,
        "chips": chips(page.made, head),
        "metric": metric(gaps[0].metric).title,
        "zero": 4 + 292 * -axis[0] / (axis[1] - axis[0]),
        "lines": [
            {
                "row": names[one.row],
                "other": one.other,
                "scores": [interval_text(one.metric, score) for score in one.scores],
                "value": one.difference.interval.value,
                "text": interval_text(one.metric, one.difference.interval),
                "bar": bar(one.difference.interval, axis),
                "p": one.difference.p,
                "common": interval_text(one.metric, one.common.interval) if one.common else "none",
                "samples": one.common_samples,
                "train": one.train,
                "method": "; ".join(filter(None, (one.difference.interval.method, one.difference.interval.note))),
            }
            for one in ordered
            if one.row in names
        ],
    }


def _ends(one: Interval) -> list[float]:
    return [end for end in (one.value, one.low, one.high) if end is not None and end == end]


def _bins(page: Page) -> dict[str, dict[str, list[DistanceBin]]]:
    """Column -> row -> its bins, of the training list with most runs behind it."""
    known = [record.key for record in page.found.records]
    found: dict[str, dict[str, dict[tuple[str, ...], dict[float, DistanceBin]]]] = {}
    for answer in read_answers(page.results, KIND, DistanceBin, version=VERSION, known=known):
        if not answer.asked.get("metric"):
            for one in answer.rows:
                groups = found.setdefault(one.column, {}).setdefault(one.row, {})
                groups.setdefault(one.records, {})[one.low_km] = one
    chosen: dict[str, dict[str, list[DistanceBin]]] = {}
    for column, rows in found.items():
        for row, lists in rows.items():
            most = max(sorted(lists), key=len)
            chosen.setdefault(column, {})[row] = [lists[most][low] for low in sorted(lists[most])]
    return chosen


def _curve(page: Page, head: Head, bins: Mapping[str, Sequence[DistanceBin]]) -> dict[str, object] | None:
    scored = [row for row in best_first(page.made, head) if row.id in bins]
    if not scored:
        return None
    drawn = {row: _points(bins[row.id]) for row in scored[:NAMES]}
    lows = sorted({(one.low_km, distance_text(one)) for row in scored for one in bins[row.id]})
    several = len({at for points in drawn.values() for at in points}) > 1
    return {
        "head": head,
        "chips": chips(page.made, head),
        "metric": metric(head.metric).title,
        "plot": lines_plot(drawn, head.metric, metric(head.metric).title, by="distance", tick=_km) if several else None,
        "left_out": len(scored) - len(drawn),
        "bins": [text for _, text in lows],
        "lines": [
            {"row": row, "mark": str(position), "cells": [_cell(bins[row.id], low) for low, _ in lows]}
            for position, row in enumerate(scored, start=1)
        ],
    }


def _points(bins: Sequence[DistanceBin]) -> dict[float, Interval]:
    """Distance at which a bin is drawn, its upper end -> score."""
    return {
        one.high_km: Interval(one.value, one.low, one.high, 0.95, "", one.samples, "samples", 1, None, one.note)
        for one in bins
        if one.value is not None
    }


def _km(distance: float) -> str:
    return f"{distance:g} km" if distance < HALF_WAY_KM else "farther"


def _cell(bins: Sequence[DistanceBin], low: float) -> dict[str, object]:
    one = next((one for one in bins if one.low_km == low), None)
    if one is None:
        return {"sort": "", "text": "", "ends": "", "n": ""}
    ends = "no interval"
    if one.low is not None and one.high is not None:
        ends = f"{number(one.metric, one.low)} to {number(one.metric, one.high)}"
    sort = "" if one.value is None else one.value
    return {"sort": sort, "text": number(one.metric, one.value), "ends": ends, "n": f"{one.samples:,}"}


TAB = Tab(id="spatial", name="Spatial", title="Spatial honesty", order=38, view=view)
