"""The drawn forms of the synthetic world: a place is divided into zones and parcels, and each is painted as land.

Who draws what: `farmland` parcels, rows, pivots, hedges; `wildland` crowns, slopes, scrub, marsh, shores and rivers;
`townland` streets, houses, halls and roads. `arranged` has the field land of the form of that name.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from seamo.testing.arranged import ARRANGED, paint_arranged
from seamo.testing.covers import COVERS, FIELDS, LINES, NEIGHBOURS, Floats
from seamo.testing.drawing import Canvas, Parcels, new_sheet, shade, turned
from seamo.testing.farmland import FARMS, divide, paint_annual, paint_orchards, paint_pasture
from seamo.testing.fields import smooth
from seamo.testing.ground import Calendar, Ground, Radar
from seamo.testing.surfaces import CALENDAR, CHANGE, MATERIALS, NUM_BANDS, RADAR, REST, RIPE, surface_rows
from seamo.testing.townland import paint_halls, paint_houses, paint_road
from seamo.testing.wildland import (
    paint_bare,
    paint_broad_leaved,
    paint_conifers,
    paint_grass,
    paint_marsh,
    paint_river,
    paint_scrub,
    paint_sea,
)

_SOILS = ("soil", "red soil", "pale soil", "dark soil")
_BLUR = (
    0.12  # with the pixel's own aperture, a contrast of a third at the Nyquist frequency, as of Sentinel-2's 10 m bands
)

Paint = Callable[[Canvas, NDArray[np.bool_], np.random.Generator, Parcels], None]
_PAINT: dict[str, Paint] = {
    "annual-crop": paint_annual,
    "permanent-crop": paint_orchards,
    "pasture": paint_pasture,
    "herbaceous": paint_grass,
    "broad-leaved-forest": paint_broad_leaved,
    "coniferous-forest": paint_conifers,
    "residential": paint_houses,
    "industrial": paint_halls,
    "wetland": paint_marsh,
    "bare": paint_bare,
    "shrub": paint_scrub,
}
# Slopes: brightness that a slope of one standard deviation adds, as logarithm.
_RELIEF = {
    "herbaceous": 0.22, "broad-leaved-forest": 0.16, "coniferous-forest": 0.20, "bare": 0.22, "shrub": 0.14,
    "pasture": 0.03, "permanent-crop": 0.03, "annual-crop": 0.012,
}  # fmt: skip


def lay_out_land(
    rng: np.random.Generator, size: int, focus: str | None, *, shadow: tuple[int, int], arranged: bool
) -> Ground:
    """Lay out a place of a drawn form.

    Args:
        rng: Everything is drawn from it.
        size: Height and width in pixels of 10 m.
        focus: The cover that leads, or crosses; drawn without one.
        shadow: The way that shadows fall, see `Ground`.
        arranged: Whether field land is that of the form `arranged`.
    """
    main = focus if focus is not None else str(rng.choice(COVERS))
    around = [str(one) for one in rng.choice(NEIGHBOURS.get(main, FIELDS), 2)]
    sheet = new_sheet(size, surface_rows(_spectra(rng)), shadow=shadow)
    along, across = turned(size, rng.uniform(0, np.pi))
    parcels = divide(rng, along, across, lead=next((one for one in (main, *around) if one in FARMS), "annual-crop"))
    names = (main if main not in LINES else around[0], *around)
    zone, shore = _zones(rng, size, None if arranged else parcels, names, is_line=main in LINES)
    for number, name in enumerate(dict.fromkeys(names)):
        mask = np.isin(zone, [place for place, one in enumerate(names) if one == name])
        sheet.claim(mask, name)
        if arranged and name in ARRANGED:
            paint_arranged(sheet, mask, rng, name)
        elif name == "sea":
            paint_sea(sheet, mask, rng, shore if number == 0 else np.full_like(shore, 9.0))
        elif name in _PAINT:
            _PAINT[name](sheet, mask, rng, parcels)
        else:  # a road among the neighbours: the land that it crosses
            paint_grass(sheet, mask, rng, parcels)
            sheet.claim(mask, "herbaceous")
    _light(sheet, rng, flat=ARRANGED if arranged else ())
    if main == "river" or (main != "sea" and rng.random() < 0.05):
        paint_river(sheet, rng, wide=main == "river")
    if main == "road" or (main not in ("sea", "river") and rng.random() < (0.05 if "forest" in main else 0.15)):
        paint_road(sheet, rng, wide=main == "road")
    return _ground(sheet, rng)


def _zones(
    rng: np.random.Generator, size: int, parcels: Parcels | None, names: tuple[str, ...], *, is_line: bool
) -> tuple[NDArray[np.intp], Floats]:
    """Which of the names a pixel belongs to, and how far it is inside the first, in units of the fields."""
    lead = rng.uniform(1.2, 3.2) if not is_line else 0.4
    if names[0] == "sea":
        lead = 9.0 if rng.random() < 0.5 else rng.uniform(0.8, 1.8)
    field = np.stack([smooth(rng, size, 26) + (lead if number == 0 else 0.0) for number in range(3)])
    field[:2] += 0.12 * smooth(rng, size, 5)  # ragged edges of wood and shore
    if parcels is not None and names[0] in FARMS:  # field land ends where a parcel does
        weight = np.bincount(parcels.ids.ravel(), minlength=1)
        for one in field:
            one[:] = (np.bincount(parcels.ids.ravel(), one.ravel()) / np.maximum(weight, 1))[parcels.ids]
    return field.argmax(axis=0), np.asarray(field[0] - field[1:].max(axis=0), dtype=np.float32)


def _light(sheet: Canvas, rng: np.random.Generator, *, flat: tuple[str, ...]) -> None:
    """Slopes of the covers that lie on hills, and fine unevenness everywhere."""
    steep = np.array([0.0 if name in flat else _RELIEF.get(name, 0.0) for name in COVERS], dtype=np.float32)[
        sheet.cover
    ]
    if steep.max() > 0:
        slope = shade(rng, sheet.size, sheet.shadow) * np.float32(rng.uniform(0.3, 1.3))
        sheet.light[:] += steep * slope
        sheet.echo[:] += 6 * steep * slope  # radars look from one side, too
    sheet.light[:] += 0.02 * rng.standard_normal(sheet.light.shape, dtype=np.float32)


def _spectra(rng: np.random.Generator) -> Floats:
    """Materials as they are in one place, (materials, 12)."""
    kinds = list(MATERIALS)
    base = np.array(list(MATERIALS.values()))
    soils = [kinds.index(name) for name in _SOILS]
    base[soils[0]] = rng.dirichlet([0.8, 0.35, 0.35, 0.3]) @ base[soils]
    if rng.random() < 0.4:  # water that carries silt or algae
        share = rng.uniform(0.2, 0.9)
        base[kinds.index("water")] = (1 - share) * base[kinds.index("water")] + share * base[kinds.index("silt")]
    tilt = np.linspace(-1, 1, NUM_BANDS) * rng.normal(0, 0.06, (len(kinds), 1))
    return np.asarray(base * np.exp(rng.normal(0, 0.10, (len(kinds), 1)) + tilt), dtype=np.float32)


def _ground(sheet: Canvas, rng: np.random.Generator) -> Ground:
    # Contiguous: every image reads them all.
    rest, change, ripe = (np.ascontiguousarray(sheet.values[..., part]) for part in (REST, CHANGE, RIPE))
    calendar, radar = (np.ascontiguousarray(np.moveaxis(sheet.values[..., part], -1, 0)) for part in (CALENDAR, RADAR))
    return Ground(
        cover=sheet.cover,
        rest=rest,
        change=change,
        ripe=ripe if ripe.any() else None,
        spectra=None,  # surfaces are mixed as light, not as materials
        calendar=Calendar(*calendar),
        day_shift=sheet.days + np.float32(rng.normal(0, 10)),
        vigour=1 + 0.15 * sheet.tone,
        light=np.exp(sheet.light),
        radar=Radar(radar[0], radar[1], radar[2], radar[3], detail=sheet.echo),
        haze=1 + 0.08 * smooth(rng, sheet.size, 60),
        blur=_BLUR,
        shadow=sheet.shadow,
    )
