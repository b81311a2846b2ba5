"""What Sentinel-1 and Sentinel-2 pixels must look like, band by band; and which exchange of bands explains it if not.

`observe` reduces a stack to a few numbers a sample, `oddities` holds them against physics, `explain` tries every
exchange of two bands and keeps the one that makes the numbers right. `docs/verify.md` has the reasons and measured
margins of every threshold here.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seamo.bands import SENSORS, Unit, band
from seamo.manifest import LayerSpec
from seamo.sample import valid_pixels
from seamo.store.reader import Store
from seamo.units import value_doubt

Floats = NDArray[np.float64]

CIRRUS_DN = 100.0  # mean of B10 in L1C: 12 in EuroSAT, 22 in SSL4EO-S12; any other band is above 200
SHIFTED_DN = 900.0  # the darkest percent of the darkest band lies above it only with the shift of +1000
_CELLS = 8  # a sample is averaged to 8 x 8 cells
_PIXELS = 4096  # pixels of a band that quantiles are taken from
_COARSE_M = 60.0
_FLAT = 0.1  # a spread of less than this share of the mean says nothing about correlation
# Neighbours in wavelength: smallest and largest ratio of their means, smallest correlation.
_NEIGHBOURS = {
    ("B08", "B8A"): (0.75, 1.35, 0.85),
    ("B07", "B8A"): (0.75, 1.35, 0.85),
    ("B07", "B08"): (0.75, 1.35, 0.85),
    ("B06", "B07"): (0.65, 1.35, 0.85),
    ("B11", "B12"): (0.85, 4.0, 0.5),
    ("B03", "B04"): (0.5, 2.0, 0.5),
    ("B02", "B03"): (0.5, 1.8, 0.5),
}
_DIM_DN = 300.0  # added to both before the ratio: over water it would be one of noise
_GREENEST = 0.1  # NDVI that a tenth of the cells exceeds wherever something grows
_SHARE = 0.75  # of samples that must agree about which band is sharper
_EXCHANGED_DB = 0.5  # VH is some 7 dB below VV; exchanged, it is that much above, not by a chance of noise
UNIT_ROWS = 64  # samples whose values are held against the unit
_HAZY = ("B01", "B02", "B03")  # never dark in L1C, because of the air


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A stack of N samples, C bands, in a few numbers; NaN where nothing is there.

    Args:
        bands: Names.
        grids: Layer that holds each band: sharpness is compared within one grid only.
        means: (N, C).
        low, high: (N, C), 1st and 99th percentile of each sample.
        spans: (C, 2), smallest and largest pixel of all.
        cells: (C, M), means over cells of all samples.
        sharp: (N, C), change from pixel to pixel over change in 60 m: about 0.17 for a 60 m band on a 10 m grid,
            0.25 for a 20 m band, 0.4 for a 10 m band.
    """

    bands: tuple[str, ...]
    grids: tuple[str, ...]
    means: Floats
    low: Floats
    high: Floats
    spans: Floats
    cells: Floats
    sharp: Floats

    def of(self, name: str) -> int:
        """Position of a band."""
        return self.bands.index(name)

    def exchanged(self, first: str, second: str) -> "Seen":
        """The same numbers if two bands had each other's name."""
        order = np.arange(len(self.bands))
        i, j = self.of(first), self.of(second)
        order[[i, j]] = j, i
        sharp = self.sharp[:, order]
        if self.grids[i] != self.grids[j]:
            sharp[:, [i, j]] = np.nan
        return replace(self, means=self.means[:, order], low=self.low[:, order], high=self.high[:, order],
                       spans=self.spans[order], cells=self.cells[order], sharp=sharp)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Oddity:
    """One thing that physics forbids.

    Args:
        bands: What it is about.
        what: What is seen.
        is_sure: No kind of place looks like this, so that a few samples are enough.
    """

    bands: str
    what: str
    is_sure: bool = False


def observe(store: Store, stack: str, rows: Sequence[int] | NDArray[np.int64]) -> Seen | None:
    """Look at some rows of a stack, at one of its dates each; None if it is nowhere there."""
    layers = store.spec.stack_layers(stack)
    bands = tuple(name for layer in layers for name in layer.bands)
    facts: list[Floats] = []
    cells: list[Floats] = []
    for number, row in enumerate(rows):
        if not all(store.is_valid(int(row), layer.id) for layer in layers):
            continue
        parts = [_one_date(store.read_layer(int(row), layer.id), layer, number) for layer in layers]
        if any(one is None for one in parts):
            continue
        found = [_reduce(image, layer) for image, layer in zip(parts, layers, strict=True) if image is not None]
        facts.append(np.concatenate([one[0] for one in found], axis=1))
        sizes = {one[1].shape[1] for one in found}
        if len(sizes) == 1:
            cells.append(np.concatenate([one[1] for one in found]))
    if not facts:
        return None
    mean, low, high, least, most, sharp = np.stack(facts).transpose(1, 0, 2)
    joined = np.concatenate(cells, axis=1) if cells else np.empty((len(bands), 0))
    spans = np.stack([np.nanmin(least, axis=0), np.nanmax(most, axis=0)], axis=1)
    grids = tuple(layer.id for layer in layers for _ in layer.bands)
    whole = joined[:, ~np.isnan(joined).any(axis=0)]
    return Seen(bands, grids, mean, low, high, spans, whole, sharp)


def _one_date(pixels: NDArray[Any], layer: LayerSpec, number: int) -> Floats | None:
    """(C, H, W) of one date, NaN where missing; the dates in turn, None if that one is not there in some band."""
    slot = number % len(pixels)
    valid = valid_pixels(pixels[slot : slot + 1], layer)[0]
    if not valid.reshape(len(valid), -1).any(axis=1).all():
        return None
    image: Floats = pixels[slot].astype(np.float64)
    image[~valid] = np.nan
    return image


def _reduce(image: Floats, layer: LayerSpec) -> tuple[Floats, Floats]:
    """(6, C): mean, 1 %, 99 %, least, most, sharpness; and (C, cells)."""
    flat = image.reshape(len(image), -1)
    few = flat[:, :: -(-flat.shape[1] // _PIXELS)]
    few = few if not np.isnan(few).all(axis=1).any() else flat
    percentile = np.nanpercentile if np.isnan(few).any() else np.percentile  # the same numbers in a third of the time
    low, high = percentile(few, (1, 99), axis=1)
    sharp = sharpness(image, max(1, round(_COARSE_M / layer.gsd_m)))
    mean = (np.nanmean if np.isnan(flat).any() else np.mean)(flat, axis=1)
    facts = np.stack([mean, low, high, np.nanmin(flat, axis=1), np.nanmax(flat, axis=1), sharp])
    return facts, cell_means(image, _CELLS).reshape(len(image), -1)


def cell_means(image: Floats, cells: int) -> Floats:
    """(C, H, W) averaged to at most (C, cells, cells); NaN if a cell holds a missing pixel."""
    height, width = image.shape[1:]
    rows, cols = (np.arange(min(cells, n)) * n // min(cells, n) for n in (height, width))
    total = np.add.reduceat(np.add.reduceat(image, rows, axis=1), cols, axis=2)
    return np.asarray(total / np.outer(np.diff([*rows, height]), np.diff([*cols, width])))


def sharpness(image: Floats, far: int) -> Floats:
    """(C,): mean change to the next pixel over mean change to the pixel `far` away; NaN where it cannot be told."""
    if far < 2 or min(image.shape[1:]) <= 2 * far:
        return np.full(len(image), np.nan)
    near = _change(image, 1)
    across = _change(image, far)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(across > 0, near / across, np.nan))


def _change(image: Floats, step: int) -> Floats:
    count = len(image)
    down = np.abs(image[:, step:] - image[:, :-step]).reshape(count, -1)
    right = np.abs(image[:, :, step:] - image[:, :, :-step]).reshape(count, -1)
    both = np.concatenate([down, right], axis=1)
    total = both.sum(axis=1)
    if not np.isnan(total).any():  # nothing is missing: the same numbers in half of the time
        return np.asarray(total / max(both.shape[1], 1))
    is_there = ~np.isnan(both)
    return np.asarray(np.where(is_there, both, 0).sum(axis=1) / np.maximum(is_there.sum(axis=1), 1))


def oddities(seen: Seen, layer: LayerSpec) -> list[Oddity]:
    """Everything about a stack that physics forbids.

    Args:
        seen: From `observe`.
        layer: Any of the stack's layers: sensor, product and unit.
    """
    if layer.sensor == "s1" and layer.unit in (Unit.DB, Unit.DB_X100):
        return list(_radar(seen, 100.0 if layer.unit is Unit.DB_X100 else 1.0))
    if layer.sensor == "s2" and layer.unit in (Unit.DN, Unit.DN_PLUS_1000, Unit.REFLECTANCE, Unit.REFLECTANCE_X10000):
        seen = _in_dn(seen) if layer.unit is Unit.REFLECTANCE else seen
        shift = 1000.0 if layer.unit is Unit.DN_PLUS_1000 else 0.0
        return [*_offset(seen, layer, shift), *_spectrum(seen, shift), *_sharper(seen, layer.sensor)]
    return []


def _in_dn(seen: Seen) -> Seen:
    parts = {name: getattr(seen, name) * 1e4 for name in ("means", "low", "high", "spans", "cells")}
    return replace(seen, **parts)


def doubtful_values(store: Store, rows: NDArray[np.int64], *, most: int = UNIT_ROWS) -> Iterator[tuple[str, str, str]]:
    """(layer, what, what to do) where values are of another unit than the store states, or some an unsaid fill.

    Args:
        store: The store.
        rows: Of the samples that may be looked at.
        most: How many of them are, spread evenly.
    """
    rows = rows[:: -(-len(rows) // most) or 1]
    for layer in store.spec.layers:
        values, room = [], np.empty(0, dtype=layer.dtype)
        for row in rows:
            if store.is_valid(int(row), layer.id):
                shape = store.shape(int(row), layer.id)
                room = room if room.shape == shape else np.empty(shape, dtype=layer.dtype)
                pixels = store.read_layer(int(row), layer.id, room)
                valid = valid_pixels(pixels, layer)
                there = pixels.reshape(-1) if valid.all() else pixels[valid]
                values.append(there[:: -(-there.size // _PIXELS) or 1].copy())
        measured = np.concatenate(values) if values else np.empty(0)
        if doubt := value_doubt(layer.unit, measured):
            fix = _stated(doubt.fills) if doubt.fills else "state the right unit"
            yield layer.id, doubt.what, f"{fix} and build again"


def _stated(fills: Sequence[str]) -> str:
    """How one says that numbers mark what is missing."""
    first = fills[0]
    if len(fills) > 1:
        return f"write {first} for all of them, state it as nodata in the files (gdal_edit.py -a_nodata {first})"
    if re.fullmatch(r"-?\d{1,15}", first):  # a layer's fill is a whole number
        return f"state {first} as the layer's fill, or as nodata in the files,"
    return f"state {first} as nodata in the files (gdal_edit.py -a_nodata {first})"


def explain(seen: Seen, layer: LayerSpec) -> str:
    """The exchange of two bands after which nothing is odd; empty if there is none or several fit alike."""
    best: list[tuple[int, float, str]] = []
    for first, second in combinations(seen.bands, 2):
        trial = seen.exchanged(first, second)
        best.append((len(oddities(trial, layer)), -_fit(trial, layer.sensor), f"{first} and {second}"))
    best.sort()
    return best[0][2] if best and best[0][0] == 0 else ""


def _fit(seen: Seen, sensor: str) -> float:
    """How well neighbours in wavelength, and bands of one resolution, agree: only to choose among exchanges."""
    score = 0.0
    if seen.cells.shape[1] > 1:
        cells = (seen.cells - seen.cells.mean(axis=1, keepdims=True)) / (seen.cells.std(axis=1, keepdims=True) + 1e-9)
        names = [one.name for one in SENSORS[sensor] if one.name in seen.bands and one.name not in ("B09", "B10")]
        score += sum(float((cells[seen.of(a)] * cells[seen.of(b)]).mean()) for a, b in pairwise(names))
    gsd = np.array([band(sensor, name).gsd_m for name in seen.bands])
    sharp = _medians(seen.sharp)
    is_there = ~np.isnan(sharp)
    return score - float(np.abs(np.log(sharp[is_there] / (0.65 * gsd[is_there] ** -0.2))).sum())


def _radar(seen: Seen, scale: float) -> Iterator[Oddity]:
    means = np.nanmean(seen.means, axis=0) / scale
    mean = dict(zip(seen.bands, means.tolist(), strict=True))
    for name, value in mean.items():
        if not -35 <= value <= 5:
            yield Oddity(name, f"mean {value:.1f} dB is outside -35 to 5: not decibel?")
    if {"VV", "VH"} <= mean.keys():
        above = mean["VV"] - mean["VH"]
        if above < -_EXCHANGED_DB:
            yield Oddity("VV, VH", f"mean VV {mean['VV']:.1f} dB is below mean VH {mean['VH']:.1f} dB", is_sure=True)
        elif above == 0.0:
            yield Oddity("VV, VH", f"both have the mean {mean['VV']:.1f} dB: one band twice?", is_sure=True)


def _offset(seen: Seen, layer: LayerSpec, shift: float) -> Iterator[Oddity]:
    chosen = [i for i, name in enumerate(seen.bands) if layer.product != "L1C" or name not in _HAZY]
    if not chosen:
        return
    darkest = seen.low[:, chosen].min(axis=1)
    share = float((darkest >= SHIFTED_DN).mean())
    typical = float(np.median(darkest))
    if shift and share < 0.5:
        yield Oddity("all bands", f"the darkest percent is {typical:.0f} DN, but the unit says +1000: not shifted?")
    if not shift and share > 0.5:
        yield Oddity("all bands", f"the darkest percent is {typical:.0f} DN: shifted by +1000?")
    elif not shift and share > 0.1 and "B10" in seen.bands:  # cirrus is dark everywhere
        yield Oddity("all bands", f"in {share:.0%} of samples the darkest percent is above {SHIFTED_DN:.0f} DN: mixed?")
    wrapped = [name for name, high in zip(seen.bands, np.median(seen.high, axis=0), strict=True) if high > 30000]
    if wrapped:
        yield Oddity(", ".join(wrapped), "a percent is above 30000 DN: numbers below zero that wrapped?")


def _spectrum(seen: Seen, shift: float) -> Iterator[Oddity]:
    if "B10" in seen.bands:
        cirrus = float(np.nanmedian(seen.means[:, seen.of("B10")])) - shift
        if cirrus >= CIRRUS_DN:
            what = f"typical mean {cirrus:.0f} DN, cirrus is below {CIRRUS_DN:.0f}: another band?"
            yield Oddity("B10", what, is_sure=True)
    if seen.cells.shape[1] < 16:
        return
    cells = {name: seen.cells[i] - shift for i, name in enumerate(seen.bands)}
    for (first, second), (least, most, together) in _NEIGHBOURS.items():
        if not {first, second} <= cells.keys():
            continue
        ratio = float((cells[first].mean() + _DIM_DN) / (max(cells[second].mean(), 0.0) + _DIM_DN))
        correlation = _correlation(cells[first], cells[second])
        if not least <= ratio <= most or correlation < together:
            what = f"mean ratio {ratio:.2f}, correlation {correlation:.2f}; they are neighbours: another band?"
            yield Oddity(f"{first}, {second}", what)
    if {"B03", "B04", "B08"} <= cells.keys():
        index = (cells["B08"] - cells["B04"]) / np.maximum(cells["B08"] + cells["B04"], 1)
        green = float(np.quantile(index, 0.9))
        visible, infrared = (_correlation(cells["B03"], cells[name]) for name in ("B04", "B08"))
        if green < _GREENEST and infrared > visible:
            what = f"NDVI is below {green:.2f} nearly everywhere, and B08 goes with B03 more than B04 does"
            yield Oddity("B04, B08", what)


def _sharper(seen: Seen, sensor: str) -> Iterator[Oddity]:
    """Bands of finer detectors are sharper, also when all were resampled to one grid."""
    for first, second in combinations(range(len(seen.bands)), 2):
        gsds = [band(sensor, seen.bands[i]).gsd_m for i in (first, second)]
        if seen.grids[first] != seen.grids[second] or gsds[0] == gsds[1]:
            continue
        if "B10" in (seen.bands[first], seen.bands[second]):  # little but noise
            continue
        fine, coarse = (first, second) if gsds[0] < gsds[1] else (second, first)
        pairs = seen.sharp[:, [fine, coarse]]
        pairs = pairs[~np.isnan(pairs).any(axis=1)]
        if len(pairs) and (pairs[:, 0] < pairs[:, 1]).mean() > _SHARE:
            names = f"{seen.bands[fine]}, {seen.bands[coarse]}"
            yield Oddity(names, f"{seen.bands[coarse]} ({max(gsds):.0f} m) is sharper than {seen.bands[fine]} "
                                f"({min(gsds):.0f} m)")  # fmt: skip


def _correlation(first: Floats, second: Floats) -> float:
    """1 where one of them is too even to tell."""
    if min(first.std() / max(abs(first.mean()), 1), second.std() / max(abs(second.mean()), 1)) < _FLAT:
        return 1.0
    return float(np.corrcoef(first, second)[0, 1])


def _medians(values: Floats) -> Floats:
    """(N, C) -> (C,), NaN for a column without a number."""
    return np.array([np.median(one[~np.isnan(one)]) if (~np.isnan(one)).any() else np.nan for one in values.T])
