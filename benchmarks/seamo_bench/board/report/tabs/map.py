"""A map of cells over a graticule, with the coast where an outline of it is installed."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from seamo_bench.board.geography import Grid
from seamo_bench.board.leaderboard import Head
from seamo_bench.board.report.atlas import Atlas
from seamo_bench.board.report.coast import SOURCE, Coast, coast
from seamo_bench.board.report.columns import chips
from seamo_bench.board.report.page import Page, Tab
from seamo_bench.board.tables import is_share, number
from seamo_bench.predictions import Floats
from seamo_bench.scores.metrics import metric

SHADES = 5  # of the map; 0 is the worst
WORST = 12  # cells in the table beside a map, and not more than half of them
LEAST = 10  # samples, under which a cell is on no list of the worst: chance would head it
_LINES = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0)  # spacing of the graticule, degrees


@dataclass(frozen=True, slots=True)
class MapGround:
    """What lies under the cells: the drawing's size, lines with their degrees, the coast, and where a place is."""

    width: int
    height: int
    frame: tuple[float, float, float, float]
    lines: Sequence[str]
    labels: Sequence[tuple[float, float, str, str]]
    coast: str
    x: Callable[[float], float]
    y: Callable[[float], float]
    cell: tuple[float, float]


def view(page: Page, heads: Sequence[Head]) -> Mapping[str, object] | None:
    """A map a column, of the backbone that leads it; the script shows the others."""
    outline = coast()
    parts = [
        {
            "head": atlas.head,
            "chips": chips(page.made, atlas.head),
            "place": page.places.col(atlas.head),
            **_map(atlas, atlas.grid, outline),
        }
        for atlas in page.atlases
        if atlas.grid is not None and atlas.head in heads
    ]
    return {"parts": parts, "source": SOURCE if outline else ""}


def _map(atlas: Atlas, grid: Grid, outline: Coast | None) -> dict[str, object]:
    name, title = atlas.head.metric, metric(atlas.head.metric).title
    every = np.concatenate(list(atlas.scores.values()))
    every = every[np.isfinite(every)]
    low, high = (float(every.min()), float(every.max())) if len(every) else (0.0, 1.0)
    first, shown = next(iter(atlas.scores.items()))
    better = metric(name).higher_is_better
    counts = grid.counts.tolist()
    spots = [_spot(lon, lat, grid.step) for lon, lat in grid.corners.tolist()]
    ground = ground_of(grid, outline)
    least = max(LEAST, sorted(counts)[len(counts) // 2])  # those with fewer would head every list of the worst
    cells = [
        {
            "spot": spot,
            "n": count,
            "shade": _shade(float(shown[k]), low, high, better=better),
            "hint": f"{spot}: {title} {_score(name, float(shown[k]))}, n = {count:,}",
            "box": box,
        }
        for k, (box, count, spot) in enumerate(zip(boxes_of(grid, ground), counts, spots, strict=True))
    ]
    options = [
        (row, " ".join("x" if math.isnan(score) else f"{score:.4g}" for score in scores.tolist()))
        for row, scores in atlas.scores.items()
    ]
    return {
        "ground": ground,
        "cells": cells,
        "options": options,
        "first": first,
        "low": low,
        "high": high,
        "better": int(better),
        "unit": 100 if is_share(name) else 1,
        "least": least,
        "metric": title,
        "step": f"{grid.step:g}",
        "samples": sum(counts),
        "legend": _legend(name, low, high, better=better),
        "worst": _worst(atlas.head, shown, spots, counts, least),
    }


def _score(name: str, value: float) -> str:
    """A cell's score, or why there is none."""
    return "undefined (no sample of a class that counts)" if math.isnan(value) else number(name, value)


def _worst(
    head: Head, scores: Floats, spots: Sequence[str], counts: Sequence[int], least: int
) -> list[tuple[str, int, str]]:
    sign = 1 if metric(head.metric).higher_is_better else -1
    enough = [k for k in range(len(spots)) if math.isfinite(scores[k]) and counts[k] >= least]
    order = sorted(enough, key=lambda k: (sign * scores[k], -counts[k], k))
    most = min(WORST, -(-len(order) // 2))
    return [(spots[k], counts[k], number(head.metric, float(scores[k]))) for k in order[:most]]


def _shade(value: float, low: float, high: float, *, better: bool) -> str:
    if math.isnan(value):
        return "x"
    share = (value - low) / (high - low) if high > low else 1.0
    share = share if better else 1 - share
    return str(min(SHADES - 1, int(SHADES * share)))


def _legend(name: str, low: float, high: float, *, better: bool) -> list[tuple[int, str]]:
    edges = [low + (high - low) * step / SHADES for step in range(SHADES + 1)]
    edges = edges if better else edges[::-1]
    parts = [(k, f"{number(name, edges[k])} to {number(name, edges[k + 1])}") for k in range(SHADES)]
    return parts if high > low else parts[-1:]


def ground_of(grid: Grid, outline: Coast | None) -> MapGround:
    """The drawing under cells: its size, a graticule, and the coast where an outline is given."""
    width, left, right, top, bottom = 760, 56, 20, 14, 30
    # Some land around the samples, so that a reader knows where that is.
    margin = max(grid.step, 0.15 * float(np.ptp(grid.corners, axis=0).max())) if outline else grid.step
    west, south = grid.corners.min(axis=0) - margin
    east, north = grid.corners.max(axis=0) + grid.step + margin
    south, north, west, east = max(south, -90.0), min(north, 90.0), max(west, -180.0), min(east, 180.0)
    squeeze = max(0.2, math.cos(math.radians((south + north) / 2)))  # a degree of longitude in degrees of latitude
    scale = min((width - left - right) / ((east - west) * squeeze), 440 / (north - south))
    plot_w, plot_h = (east - west) * squeeze * scale, (north - south) * scale

    def x(lon: float) -> float:
        return float(left + (lon - west) * squeeze * scale)

    def y(lat: float) -> float:
        return float(top + (north - lat) * scale)

    lines: list[str] = []
    labels: list[tuple[float, float, str, str]] = []
    for span, ends, upright in ((plot_w, (west, east), True), (plot_h, (south, north), False)):
        most = max(2, span / (90 if upright else 50))
        step = next((spacing for spacing in _LINES if (ends[1] - ends[0]) / spacing <= most), _LINES[-1])
        for k in range(math.ceil(ends[0] / step), math.floor(ends[1] / step) + 1):
            at = round(k * step, 6)
            if upright:
                lines.append(f"M{x(at):.1f} {top}V{top + plot_h:.1f}")
                labels.append((x(at), top + plot_h + 16, "middle", _degrees(at, "EW")))
            else:
                lines.append(f"M{x(west):.1f} {y(at):.1f}H{x(east):.1f}")
                labels.append((x(west) - 6, y(at) + 4, "end", _degrees(at, "NS")))
    drawn = outline.path((west, south, east, north), x, y) if outline else ""
    frame = (x(west), float(top), plot_w, plot_h)
    cell = (max(7.0, grid.step * squeeze * scale), max(7.0, grid.step * scale))
    return MapGround(
        round(left + plot_w + right), round(plot_h + top + bottom), frame, lines, labels, drawn, x, y, cell
    )


def boxes_of(
    grid: Grid, ground: MapGround, counts: Sequence[int] | None = None
) -> list[tuple[float, float, float, float]]:
    """Left, top, width and height of a rectangle for each cell: the more samples, the larger.

    Args:
        grid: The cells.
        ground: What lies under them.
        counts: Samples of each cell; None: those of the grid.
    """
    counts = grid.counts.tolist() if counts is None else counts
    boxes, most = [], max(1, *counts)
    wide, tall = ground.cell
    for (lon, lat), count in zip((grid.corners + grid.step / 2).tolist(), counts, strict=True):
        part = 0.4 + 0.6 * math.sqrt(count / most)  # of the cell's sides
        w, h = max(5.0, part * wide), max(5.0, part * tall)
        boxes.append((ground.x(lon) - w / 2, ground.y(lat) - h / 2, w, h))
    return boxes


def _spot(lon: float, lat: float, step: float) -> str:
    """`10 to 10.5 E, 50 to 50.5 N`: never across 0, which is an edge of cells."""
    sides = []
    for low, names in ((lon, "EW"), (lat, "NS")):
        near, far = sorted((abs(low), abs(low + step)))
        sides.append(f"{near:g} to {far:g} {names[0] if low >= 0 else names[1]}")
    return ", ".join(sides)


def _degrees(value: float, names: str) -> str:
    return f"{abs(value):g}\u00b0" + ("" if value == 0 else f" {names[value < 0]}")


TAB = Tab(id="map", name="Map", title="Map", order=60, view=view)
