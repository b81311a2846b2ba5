"""What a split without blocks of land adds to each score, and how scores fall with the distance to what was learnt."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from seamo_bench.board.leaderboard import Head
from seamo_bench.board.report.columns import best_first, chips
from seamo_bench.board.report.page import Page, Tab
from seamo_bench.board.report.plots import HEIGHT, NAMES, WIDTH, bar, lines_plot
from seamo_bench.board.spatial import (
    HALF_WAY_KM,
    KIND,
    VERSION,
    DistanceBin,
    SpatialGap,
    SpatialGaps,
    bin_interval,
    distance_text,
    spatial_gaps,
    unplaced_texts,
)
from seamo_bench.board.tables import interval_text
from seamo_bench.records.answers import read_answers
from seamo_bench.scores.intervals import Interval
from seamo_bench.scores.metrics import metric

_MOST = 200  # rows of a table
_REASONS = 20  # pairs that were left out


def view(page: Page, heads: Sequence[Head]) -> Mapping[str, object] | None:
    """A table of differences a spatial column, and a curve a column whose distances were measured; else None."""
    found = SpatialGaps((), ()) if page.mixed else _gaps(page)
    tables = [
        _table(page, head, mine) for head in heads if (mine := [one for one in found.gaps if one.column == head.column])
    ]
    bins = _bins(page)
    curves = [made for head in heads if (made := _curve(page, head, bins.get(head.column.id, {})))]
    if not tables and not curves and not found.left_out:
        return None
    return {
        "tables": tables,
        "curves": curves,
        "left_out": found.left_out[:_REASONS],
        "more": max(0, len(found.left_out) - _REASONS),
        "width": WIDTH,
        "height": HEIGHT,
    }


def _gaps(page: Page) -> SpatialGaps:
    def tell(done: int, total: int) -> None:
        page.progress(done, total, "spatial differences")

    return spatial_gaps(page.found.records, page.results, resamples=page.resamples, tell=tell)


def _table(page: Page, head: Head, gaps: Sequence[SpatialGap]) -> dict[str, object]:
    names = {row.id: row for row in page.made.rows}
    ordered = sorted((one for one in gaps if one.row in names), key=lambda one: -one.difference.interval.value)
    ends = [0.0, *(end for one in ordered[:_MOST] for end in _ends(one.difference.interval))]
    room = 0.06 * (max(ends) - min(ends)) or 0.01
    axis = min(ends) - room, max(ends) + room
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
                "common_value": one.common.interval.value if one.common else "",
                "samples": one.common_samples,
                "train": one.train,
                "method": "; ".join(filter(None, (one.difference.interval.method, one.difference.interval.note))),
            }
            for one in ordered[:_MOST]
        ],
        "cut": max(0, len(ordered) - _MOST),
    }


def _ends(one: Interval) -> list[float]:
    return [end for end in (one.value, one.low, one.high) if end is not None and end == end]


@dataclass(frozen=True, slots=True)
class _Bins:
    """Bins of one row by distance, of the training list with most runs behind it, and of how many lists it is one."""

    bins: Sequence[DistanceBin]
    lists: int


def _bins(page: Page) -> dict[str, dict[str, _Bins]]:
    """Column -> row -> its bins."""
    known = [record.key for record in page.found.records]
    found: dict[str, dict[str, dict[tuple[str, ...], dict[float, DistanceBin]]]] = {}
    for answer in read_answers(page.results, KIND, DistanceBin, version=VERSION, known=known):
        if not answer.asked.get("metric"):
            for one in answer.rows:
                groups = found.setdefault(one.column, {}).setdefault(one.row, {})
                groups.setdefault(one.records, {})[one.low_km] = one
    chosen: dict[str, dict[str, _Bins]] = {}
    for column, rows in found.items():
        for row, lists in rows.items():
            most = max(sorted(lists), key=len)
            bins = [lists[most][low] for low in sorted(lists[most])]
            chosen.setdefault(column, {})[row] = _Bins(bins, len(lists))
    return chosen


def _curve(page: Page, head: Head, bins: Mapping[str, _Bins]) -> dict[str, object] | None:
    scored = [row for row in best_first(page.made, head) if row.id in bins]
    if not scored:
        return None
    scored.sort(key=lambda row: not _points(bins[row.id].bins))  # what has no defined score cannot be drawn
    drawn = {row: points for row in scored[:NAMES] if (points := _points(bins[row.id].bins))}
    told = scored[:_MOST]
    lows = sorted({(one.low_km, distance_text(one)) for row in told for one in bins[row.id].bins})
    several = len({at for points in drawn.values() for at in points}) > 1
    return {
        "head": head,
        "chips": chips(page.made, head),
        "metric": metric(head.metric).title,
        "plot": lines_plot(drawn, head.metric, metric(head.metric).title, by="distance", tick=_km) if several else None,
        "left_out": len(scored) - len(drawn),
        "cut": len(scored) - len(told),
        "unplaced": unplaced_texts([one for row in told for one in bins[row.id].bins])[:_REASONS],
        "lists": max((bins[row.id].lists for row in told), default=1),
        "bins": [text for _, text in lows],
        "lines": [
            {"row": row, "mark": str(position), "cells": [_cell(bins[row.id].bins, low) for low, _ in lows]}
            for position, row in enumerate(told, start=1)
        ],
    }


def _points(bins: Sequence[DistanceBin]) -> dict[float, Interval]:
    """Distance at which a bin is drawn, its upper end -> score."""
    return {one.high_km: bin_interval(one) for one in bins if one.value is not None}


def _km(distance: float) -> str:
    return f"{distance:g} km" if distance < HALF_WAY_KM else "farther"


def _cell(bins: Sequence[DistanceBin], low: float) -> dict[str, object]:
    one = next((one for one in bins if one.low_km == low), None)
    if one is None:
        return {"sort": "", "text": "", "n": "", "note": ""}
    text = interval_text(one.metric, bin_interval(one))
    return {"sort": "" if one.value is None else one.value, "text": text, "n": f"{one.samples:,}", "note": one.note}


TAB = Tab(id="spatial", name="Spatial", title="Spatial honesty", order=38, view=view)
