"""A map of cells over a graticule. No coastline is needed."""

import math
from collections.abc import Sequence
from html import escape

import numpy as np

from seamo_bench.board.geography import Grid
from seamo_bench.board.leaderboard import BoardRow, Head
from seamo_bench.board.report.atlas import Atlas
from seamo_bench.board.report.markup import amount, table
from seamo_bench.board.report.page import Page, Tab
from seamo_bench.board.report.plots import READING
from seamo_bench.board.tables import is_share, number
from seamo_bench.predictions import Floats
from seamo_bench.scores.metrics import metric

SHADES = 5  # of the map; 0 is the worst
WORST = 12  # cells in the table beside a map
_LINES = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0)  # spacing of the graticule, degrees


def render(page: Page) -> str:
    """A map a column, of the backbone that leads it; the script shows the others."""
    atlases, places = page.atlases, page.places
    drawn = [atlas for atlas in atlases if atlas.grid is not None]
    parts = [
        places.fold(atlas.head, _map(atlas, atlas.grid, number), is_open=not number)
        for number, atlas in enumerate(drawn)
        if atlas.grid is not None
    ]
    note = (
        '<p class="note">Each mark is a cell of longitude and latitude with the score of the test samples in it: '
        "the stronger the colour, the worse; the larger, the more samples. Few samples scatter by chance alone.</p>"
    )
    return note + "".join(parts) if parts else '<p class="note">No record says where its samples lie.</p>'


def _map(atlas: Atlas, grid: Grid, place: int) -> str:
    name, title = atlas.head.metric, metric(atlas.head.metric).title
    every = np.concatenate(list(atlas.scores.values()))
    every = every[np.isfinite(every)]
    low, high = (float(every.min()), float(every.max())) if len(every) else (0.0, 1.0)
    first, shown = next(iter(atlas.scores.items()))
    better = metric(name).higher_is_better
    counts = grid.counts.tolist()
    spots = [_spot(lon, lat, grid.step) for lon, lat in grid.corners.tolist()]
    marks, (width, height), boxes = _graticule(grid)
    for number_, (box, count, spot) in enumerate(zip(boxes, counts, spots, strict=True)):
        value = float(shown[number_])
        hint = f"{spot}: {title} {number(name, value)}, n = {count:,}"
        marks.append(
            f'<rect class="hint h{_shade(value, low, high, better=better)}" {box} tabindex="{-1 if number_ else 0}" '
            f'data-spot="{escape(spot)}" data-n="{count}"><title>{escape(hint)}</title></rect>'
        )
    options = "".join(
        f'<option data-scores="{" ".join("x" if math.isnan(score) else f"{score:.4g}" for score in scores.tolist())}">'
        f"{escape(row.title)}</option>"
        for row, scores in atlas.scores.items()
    )
    unit = 100 if is_share(name) else 1
    said = f"Map of {title} in {len(counts)} cells of {grid.step:g} degrees; the worst cells are in the table below"
    return (
        f'<div class="map" data-low="{low}" data-high="{high}" data-better="{int(better)}" data-unit="{unit}" '
        f'data-least="{_least(counts)}" '
        f'data-title="{escape(title)}">'
        f'<p class="pick"><label for="map-{place}">Backbone</label> <select id="map-{place}">{options}</select></p>'
        f'<figure class="plot"><div class="scroll"><svg role="group" viewBox="0 0 {width} {height}" '
        f'aria-label="{escape(said)}">{"".join(marks)}</svg></div>{READING}'
        f"<figcaption>{_legend(name, low, high, better=better)} {len(counts)} cells of {grid.step:g} degrees, "
        f"{sum(counts):,} samples.</figcaption></figure>"
        f"{_worst(atlas.head, first, shown, spots, counts)}</div>"
    )


def _worst(head: Head, row: BoardRow, scores: Floats, spots: Sequence[str], counts: Sequence[int]) -> str:
    sign = 1 if metric(head.metric).higher_is_better else -1
    least = _least(counts)
    enough = [k for k in range(len(spots)) if math.isfinite(scores[k]) and counts[k] >= least]
    order = sorted(enough, key=lambda k: (sign * scores[k], -counts[k], k))
    lines = [
        f'<tr><th scope="row">{escape(spots[k])}</th><td class="num" data-value="{counts[k]}">{counts[k]:,}</td>'
        f'<td class="num">{number(head.metric, float(scores[k]))}</td></tr>'
        for k in order[:WORST]
    ]
    names = ("Cell", amount("n"), amount(escape(metric(head.metric).title)))
    whose = f'<span class="whose">{escape(row.title)}</span>'
    caption = f"The cells with the worst scores of {whose}, of those with at least {least:,} samples (half of all)."
    return table(names, lines, caption=caption, sortable=False)


def _least(counts: Sequence[int]) -> int:
    """Samples that half of the cells have: those with fewer would head every list of the worst."""
    return sorted(counts)[len(counts) // 2]


def _shade(value: float, low: float, high: float, *, better: bool) -> str:
    if math.isnan(value):
        return "x"
    share = (value - low) / (high - low) if high > low else 1.0
    share = share if better else 1 - share
    return str(min(SHADES - 1, int(SHADES * share)))


def _legend(name: str, low: float, high: float, *, better: bool) -> str:
    edges = [low + (high - low) * step / SHADES for step in range(SHADES + 1)]
    edges = edges if better else edges[::-1]
    parts = [
        f'<span class="shade"><svg viewBox="0 0 9 9" aria-hidden="true"><rect class="h{k}" width="9" height="9"/></svg>'
        f"{number(name, edges[k])} to {number(name, edges[k + 1])}</span>"
        for k in range(SHADES)
    ]
    return " ".join(parts if high > low else parts[-1:])


def _graticule(grid: Grid) -> tuple[list[str], tuple[int, int], list[str]]:
    """Lines with their degrees, the drawing's size, and the place of each cell as attributes."""
    width, left, right, top, bottom = 760, 56, 20, 14, 30
    west, south = grid.corners.min(axis=0) - grid.step
    east, north = grid.corners.max(axis=0) + 2 * grid.step
    south, north, west, east = max(south, -90.0), min(north, 90.0), max(west, -180.0), min(east, 180.0)
    squeeze = max(0.2, math.cos(math.radians((south + north) / 2)))  # a degree of longitude in degrees of latitude
    scale = min((width - left - right) / ((east - west) * squeeze), 440 / (north - south))
    plot_w, plot_h = (east - west) * squeeze * scale, (north - south) * scale
    inset = left + (width - left - right - plot_w) / 2
    height = round(plot_h + top + bottom)

    def x(lon: float) -> float:
        return float(inset + (lon - west) * squeeze * scale)

    def y(lat: float) -> float:
        return float(top + (north - lat) * scale)

    marks = [f'<rect class="sea" x="{x(west):.1f}" y="{top}" width="{plot_w:.1f}" height="{plot_h:.1f}"/>']
    for span, ends, axis in ((plot_w, (west, east), "x"), (plot_h, (south, north), "y")):
        most = max(2, span / (90 if axis == "x" else 50))
        step = next((spacing for spacing in _LINES if (ends[1] - ends[0]) / spacing <= most), _LINES[-1])
        for k in range(math.ceil(ends[0] / step), math.floor(ends[1] / step) + 1):
            at = round(k * step, 6)
            if axis == "x":
                marks.append(
                    f'<line class="axis" x1="{x(at):.1f}" x2="{x(at):.1f}" y1="{top}" y2="{top + plot_h:.1f}"/>'
                )
                below = top + plot_h + 16
                marks.append(f'<text x="{x(at):.1f}" y="{below:.1f}" text-anchor="middle">{_degrees(at, "EW")}</text>')
            else:
                marks.append(
                    f'<line class="axis" x1="{x(west):.1f}" x2="{x(east):.1f}" y1="{y(at):.1f}" y2="{y(at):.1f}"/>'
                )
                marks.append(
                    f'<text x="{x(west) - 6:.1f}" y="{y(at) + 4:.1f}" text-anchor="end">{_degrees(at, "NS")}</text>'
                )
    wide, tall = max(7.0, grid.step * squeeze * scale), max(7.0, grid.step * scale)
    boxes, most = [], int(grid.counts.max())
    for (lon, lat), count in zip((grid.corners + grid.step / 2).tolist(), grid.counts.tolist(), strict=True):
        part = 0.4 + 0.6 * math.sqrt(count / most)  # of the cell's sides: the more samples, the larger
        w, h = max(5.0, part * wide), max(5.0, part * tall)
        boxes.append(f'x="{x(lon) - w / 2:.1f}" y="{y(lat) - h / 2:.1f}" width="{w:.1f}" height="{h:.1f}"')
    return marks, (width, height), boxes


def _spot(lon: float, lat: float, step: float) -> str:
    """`10 to 10.5 E, 50 to 50.5 N`: never across 0, which is an edge of cells."""
    sides = []
    for low, names in ((lon, "EW"), (lat, "NS")):
        near, far = sorted((abs(low), abs(low + step)))
        sides.append(f"{near:g} to {far:g} {names[0] if low >= 0 else names[1]}")
    return ", ".join(sides)


def _degrees(value: float, names: str) -> str:
    return f"{abs(value):g}\u00b0" + ("" if value == 0 else f" {names[value < 0]}")


TAB = Tab(id="map", name="Map", title="Map", order=60, render=render)
