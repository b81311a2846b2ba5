"""Units: which one numbers look like; no alarm on real samples; conversions by hand."""

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch

from seamo.bands import Unit
from seamo.errors import UsageError
from seamo.inputs.check import refuse_unit
from seamo.inputs.units import conversion, is_convertible
from seamo.units import unit_doubt, value_doubt

RNG = np.random.default_rng(0)
GROUND = np.clip(RNG.lognormal(-2.2, 0.6, 20_000), 0.005, 1.1).astype(np.float32)  # reflectance
BACKSCATTER = RNG.normal(-14, 5, 20_000).astype(np.float32)  # decibel
MADE = {
    Unit.REFLECTANCE: GROUND,
    Unit.DN: np.round(GROUND * 10000),
    Unit.REFLECTANCE_X10000: np.round(GROUND * 10000),
    Unit.DN_PLUS_1000: np.round(GROUND * 10000) + 1000,
    Unit.UINT8: np.clip(np.round(GROUND * 900), 0, 255),
    Unit.DB: BACKSCATTER,
    Unit.DB_X100: np.round(BACKSCATTER * 100),
}
OPTICAL = (Unit.REFLECTANCE, Unit.DN, Unit.REFLECTANCE_X10000, Unit.DN_PLUS_1000, Unit.UINT8)


@pytest.mark.parametrize("unit", list(MADE))
def test_values_in_their_unit_raise_no_doubt(unit: Unit) -> None:
    assert unit_doubt(unit, MADE[unit]) == ""
    assert unit_doubt(unit, MADE[unit].astype(np.float32)[:500]) == ""


@pytest.mark.parametrize(
    ("stated", "values", "word"),
    [
        (Unit.DN, GROUND, "reflectance (0 to 1)"),
        (Unit.DN_PLUS_1000, GROUND, "reflectance (0 to 1)"),
        (Unit.REFLECTANCE_X10000, GROUND, "reflectance (0 to 1)"),
        (Unit.UINT8, GROUND, "reflectance (0 to 1)"),
        (Unit.REFLECTANCE, GROUND * 10000, "times 10,000"),
        (Unit.REFLECTANCE, GROUND * 100, "percent"),
        (Unit.REFLECTANCE, MADE[Unit.UINT8], "8-bit"),
        (Unit.REFLECTANCE, GROUND / 10000, "once more"),
        (Unit.UINT8, GROUND * 10000, "times 10,000"),
        (Unit.DN, MADE[Unit.UINT8], "8-bit"),
        (Unit.DN, GROUND * 655_350, "another scale"),
        (Unit.DN_PLUS_1000, RNG.integers(0, 900, 5000), "without the shift of 1,000"),
        (Unit.DN_PLUS_1000, np.append(np.zeros(9000), GROUND * 1000 + 1), "without the shift of 1,000"),
        (Unit.UINT8, (GROUND > 0.1).astype(np.uint8), "a mask"),
        (Unit.DN, BACKSCATTER, "decibel (db)"),
        (Unit.REFLECTANCE, BACKSCATTER, "decibel (db)"),
        (Unit.DB, 10 ** (BACKSCATTER / 10), "linear power"),
        (Unit.DB_X100, 10 ** (BACKSCATTER / 10), "linear power"),
        (Unit.DB, 400 * 10 ** (BACKSCATTER / 20), "digital numbers of a radar"),
        (Unit.DB, BACKSCATTER * 100, "db*100"),
        (Unit.DB_X100, BACKSCATTER, "decibel (db)"),
        (Unit.DB, GROUND * 10000, "digital numbers of a radar"),
    ],
)
def test_values_of_another_unit_are_named(stated: Unit, values: np.ndarray, word: str) -> None:
    assert word in unit_doubt(stated, values)
    with pytest.raises(UsageError, match=f"not {stated.value}".replace("+", r"\+").replace("*", r"\*")):
        refuse_unit(stated, values, "image.tif")


@pytest.mark.parametrize(
    ("unit", "values"),
    [
        (Unit.DN, RNG.normal(18, 12, 5000).round()),  # deep water, atmospherically corrected, some below zero
        (Unit.DN, np.full(500, 28000.0) - RNG.integers(0, 16000, 500)),  # cloud, up to saturation
        (Unit.DN, np.where(RNG.random(5000) < 0.995, 0, 700)),  # the swath's border, filled with 0
        (Unit.DN, RNG.integers(0, 250, 5000)),  # night
        (Unit.DN, np.append(RNG.integers(20, 250, 400), 255)),  # the brightest pixel of a dark tile
        (Unit.DN, RNG.integers(1, 3, 400)),  # corrected water in the infrared, cut off at 1
        (Unit.DN, 1 + RNG.random(400)),  # the same, resampled
        (Unit.DN_PLUS_1000, RNG.normal(1000, 12, 5000).round()),  # deep water
        (Unit.DN_PLUS_1000, np.append(np.zeros(5000), MADE[Unit.DN_PLUS_1000])),  # a border of 0
        (Unit.REFLECTANCE, RNG.normal(0.002, 0.002, 5000)),
        (Unit.REFLECTANCE, RNG.uniform(0.6, 1.7, 5000)),  # snow and cloud
        (Unit.DB, RNG.normal(-27, 1.5, 5000)),  # calm sea
        (Unit.DB, RNG.normal(-1, 6, 5000)),  # a harbour
        (Unit.DB_X100, RNG.normal(-2700, 150, 5000).round()),
        (Unit.UINT8, RNG.integers(0, 20, 5000)),  # a dark picture
        (Unit.DN, np.zeros(100)),
        (Unit.DN, np.full(100, np.nan)),
        (Unit.DN, np.empty(0)),
        (Unit.CLASS, np.arange(5)),
    ],
)
def test_scenes_at_the_edge_raise_no_doubt(unit: Unit, values: np.ndarray) -> None:
    assert unit_doubt(unit, values) == ""


def test_infinite_values_count_nowhere() -> None:
    assert unit_doubt(Unit.DB, np.append(BACKSCATTER, [np.inf, -np.inf])) == ""


def mostly(values: np.ndarray, fill: float) -> np.ndarray:
    """Every tenth value is `fill`."""
    return np.where(np.arange(len(values)) % 10 == 3, fill, values.astype(np.float64))


@pytest.mark.parametrize("unit", [one for one in MADE if one is not Unit.UINT8])
@pytest.mark.parametrize("fill", [-9999, -32768, -3.4028234663852886e38, 1e20])
def test_a_number_that_marks_what_is_missing_is_named(unit: Unit, fill: float) -> None:
    what, (text,) = value_doubt(unit, mostly(MADE[unit], fill))
    assert float(text) == fill  # nodata is taken to the last digit
    assert what.startswith(f"10 % of values are {text}, which no place has in {unit.value}")
    with pytest.raises(UsageError, match="State it with --nodata"):
        refuse_unit(unit, mostly(MADE[unit], fill), "image.tif")


@pytest.mark.parametrize("unit", list(MADE))
def test_measured_values_mark_nothing(unit: Unit) -> None:
    assert value_doubt(unit, MADE[unit]) is None
    assert value_doubt(unit, np.append(MADE[unit], [np.nan, -np.inf])) is None


@pytest.mark.parametrize(
    ("unit", "values"),
    [
        (Unit.DN, np.append(MADE[Unit.DN], [65535] * 900)),  # saturated
        (Unit.DN, np.append(MADE[Unit.DN], [-9999])),  # once: anything may be wrong with one pixel
        (Unit.DB, np.append(BACKSCATTER, [-59.5] * 900)),  # a floor
        (Unit.UINT8, np.full(900, 255)),
        (Unit.CLASS, np.full(900, -9999)),
        (Unit.DN, np.empty(0)),
    ],
)
def test_what_a_place_can_have_marks_nothing(unit: Unit, values: np.ndarray) -> None:
    assert value_doubt(unit, values) is None


@pytest.mark.parametrize(
    ("unit", "values", "word"),
    [
        (Unit.DB, MADE[Unit.DB_X100], "db*100"),
        (Unit.REFLECTANCE, GROUND * 10_000, "times 10,000"),
        (Unit.REFLECTANCE, np.append(MADE[Unit.UINT8], [255] * 9000), "8-bit"),  # cut off, and nothing is missing
        (Unit.DB, np.append(MADE[Unit.UINT8], [255] * 9000), "radar"),
        (Unit.DN, mostly(GROUND, -9999), "reflectance (0 to 1)"),  # a fill hides no wrong unit
    ],
)
def test_another_unit_is_said_first(unit: Unit, values: np.ndarray, word: str) -> None:
    what, fills = value_doubt(unit, values)
    assert (word in what, fills) == (True, ())


def test_several_numbers_that_mark_what_is_missing_are_all_named() -> None:
    several = np.concatenate([BACKSCATTER, np.repeat([-9999, -32768, -3.4e38], [100, 90, 80])])
    what, fills = value_doubt(Unit.DB, several)
    assert fills == ("-9999", "-32768", "-3.4e+38")
    assert "are -9999, -32768 or -3.4e+38, which no place has in db" in what
    with pytest.raises(UsageError, match="Write -9999 for all, and state --nodata -9999"):
        refuse_unit(Unit.DB, several, "image.tif")
    assert value_doubt(Unit.DB, np.append(BACKSCATTER, [-91, -92, -93] * 3)) is None  # a few odd pixels


def test_no_doubt_about_real_images(samples: Path) -> None:
    """Every raster of Sentinel-1 and -2 among the real samples, alone."""
    seen = 0
    for path in sorted(samples.rglob("*.tif")):
        name = path.as_posix()
        if "LULC" in name or "label" in name.lower() or "DEM" in name or "NDVI" in name or "RGB" in name:
            continue
        with rasterio.open(path) as file:
            pixels, fill = file.read().astype(np.float64), file.nodata
        unit = Unit.DB if "S1" in name.upper().split("/")[-2] or "/s1" in name.lower() else Unit.DN
        if fill is not None:
            pixels[pixels == fill] = np.nan
        assert unit_doubt(unit, pixels) == "", name
        assert value_doubt(unit, pixels) is None, name
        seen += 1
    assert seen > 200


@pytest.mark.parametrize(("have", "want"), list(permutations(OPTICAL[:-1], 2)))
def test_conversions_of_reflectance(have: Unit, want: Unit) -> None:
    scale, offset = conversion(have, want)
    got = torch.from_numpy(MADE[have].astype(np.float64)) * scale + offset
    assert np.abs(got.numpy() - MADE[want]).max() <= (0.51 if want != Unit.REFLECTANCE else 6e-5)


def test_what_cannot_become_reflectance() -> None:
    assert not is_convertible(Unit.UINT8, Unit.REFLECTANCE)
    assert not is_convertible(Unit.DB, Unit.REFLECTANCE)
    assert conversion(Unit.DN_PLUS_1000, Unit.DN) == (1.0, -1000.0)  # exactly: keys depend on it
    assert conversion(Unit.DN, Unit.DN_PLUS_1000) == (1.0, 1000.0)
