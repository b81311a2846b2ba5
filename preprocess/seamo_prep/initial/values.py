"""Unit and nodata of a layer from what its files say and, held against that, from values that were looked at."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from seamo.bands import Unit
from seamo.units import unit_doubt
from seamo_prep.initial.peek import Peek
from seamo_prep.initial.text import FILL_IN, Reasoned, scalar

LIMITS = {"uint8": (0, 255), "uint16": (0, 65535), "int16": (-32768, 32767)}
_SENTINEL = 0.005  # share of pixels from which on a value in all bands at once may mean that nothing was measured


def seen(values: NDArray[np.float64]) -> str:
    """The range of some values, in words."""
    flat = values[np.isfinite(values)]
    if not flat.size:
        return "no value was seen"
    low, middle, high = np.percentile(flat, (1, 50, 99))
    return f"values seen: {low:.4g} (1 %), {middle:.4g} (half), {high:.4g} (99 %), most {flat.max():.4g}"


def values_of(peeks: Sequence[Peek]) -> NDArray[np.float64]:
    """All values that were looked at, flat."""
    looked = [one.values.reshape(-1) for one in peeks if one.values is not None]
    return np.concatenate(looked) if looked else np.empty(0)


def guess_unit(sensor: str, dtype: str, values: NDArray[np.float64], peeks: Sequence[Peek]) -> Reasoned:
    """The unit of a layer whose bands are known.

    Args:
        sensor: Of the layer.
        dtype: Of the layer.
        values: That were looked at, flat.
        peeks: Of its files.
    """
    scales = {(one.facts.scales[n], one.facts.offsets[n]) for one in peeks for n in one.facts.measured}
    if scales != {(1.0, 0.0)}:
        return _unit_of_scale(sensor, scales)
    flat = values[np.isfinite(values)]
    told = seen(flat)
    open_ = f"{told}. Units: {', '.join(Unit)}"
    if not flat.size or flat.min() == flat.max():
        return Reasoned(FILL_IN, open_, is_open=True)
    if dtype == "uint8":
        return Reasoned(Unit.UINT8, "8-bit values without a physical unit")
    if sensor == "s1":
        return _radar_unit(flat, told)
    if sensor == "rgb":
        return Reasoned(FILL_IN, f"pictures of {dtype}: {open_}", is_open=True)
    whole = bool((flat == np.round(flat)).all())
    doubt = unit_doubt(Unit.DN, flat)
    if not whole:
        if flat.min() == 0 and flat.max() == 1:
            what = "the least value is 0 and the greatest 1, as after a normalisation, which is no unit"
            return Reasoned(FILL_IN, f"{what}. {open_}", is_open=True)
        low, high = np.percentile(flat, (1, 99))
        if not unit_doubt(Unit.REFLECTANCE, flat) and low >= -0.5 and high <= 3:
            return Reasoned(Unit.REFLECTANCE, f"guess: fractions, {told}")
    if doubt or flat.max() <= 255:
        return Reasoned(
            FILL_IN, f"{doubt or 'values below 256 are no digital numbers of Sentinel-2'}. {open_}", is_open=True
        )
    darkest = float(np.percentile(flat, 1))
    if darkest >= 900:
        what = (f"the darkest hundredth is {darkest:.4g}: dn, or dn+1000 (reflectance times 10,000, plus 1,000, as ESA "
                "publishes it since processing baseline 04.00 of January 2022)")  # fmt: skip
        return Reasoned(FILL_IN, f"{what}. {told}", is_open=True)
    return Reasoned(Unit.DN, f"guess: reflectance times 10,000; {told}; below 1,000, so not dn+1000")


def _radar_unit(flat: NDArray[np.float64], told: str) -> Reasoned:
    if not unit_doubt(Unit.DB, flat) and np.median(flat) < 0:
        return Reasoned(Unit.DB, f"guess: decibels; {told}")
    if not unit_doubt(Unit.DB_X100, flat) and np.median(flat) < -100:
        return Reasoned(Unit.DB_X100, f"guess: decibels times 100; {told}")
    doubt = unit_doubt(Unit.DB, flat)
    return Reasoned(
        FILL_IN, f"{doubt or told}. Radar is read in db or db*100: 10 * log10 of linear power", is_open=True
    )


def _unit_of_scale(sensor: str, scales: set[tuple[float, float]]) -> Reasoned:
    told = ", ".join(f"{scale:g} * pixel + {offset:g}" for scale, offset in sorted(scales - {(1.0, 0.0)}))
    if (1.0, 0.0) in scales:
        what = (
            f"some files or bands say that value = {told}, others nothing: one unit for all, or a folder for each kind"
        )
        return Reasoned(FILL_IN, f"{what}. Units: {', '.join(Unit)}", is_open=True)
    known = {
        (1e-4, 0.0): Unit.DN if sensor == "s2" else Unit.REFLECTANCE_X10000,
        (1e-4, -0.1): Unit.DN_PLUS_1000,
        (0.01, 0.0): Unit.DB_X100,
    }
    for (scale, offset), unit in known.items():
        if all(np.isclose(one, (scale, offset), rtol=1e-6, atol=1e-12).all() for one in scales):
            return Reasoned(unit, f"the files' scale and offset: {told}")
    what = f"the files say that value = {told}, which is no unit of seamo"
    return Reasoned(
        FILL_IN, f"{what}: convert the pixels and take scale and offset out (gdal_translate -unscale)", is_open=True
    )


def guess_fill(dtype: str, peeks: Sequence[Peek], *, need_fill: bool) -> Reasoned:
    """The value that stands for what is missing.

    Args:
        dtype: Of the layer.
        peeks: Of its files.
        need_fill: Whether dates are missing in some samples.
    """
    declared = sorted({value for one in peeks for number in one.facts.measured
                       if (value := one.facts.nodata[number]) is not None})  # fmt: skip
    silent = [one for one in peeks if not one.facts.tells_missing]
    shares: dict[float, float] = {}
    for one in silent:
        for value, share in one.sentinels:
            shares[value] = max(shares.get(value, 0.0), share)
    doubtful = [
        (value, share)
        for value, share in sorted(shares.items(), key=lambda one: -one[1])
        if share >= _SENTINEL and value not in declared
    ]
    says = (
        f"the files declare nodata {', '.join(f'{one:g}' for one in declared)}"
        if declared
        else "no file declares nodata"
    )
    says += f" ({len(silent)} of {len(peeks)} do not)" if declared and silent else ""
    if doubtful:
        value, share = doubtful[0]
        where = next(one.path for one in silent if dict(one.sentinels).get(value, 0) == share)
        what = (f"{says}, and all bands are {value:g} at once in {100 * share:.1f} % of {where}: nodata, most likely "
                f"(then write {value:g}), or measured (then {_spare(dtype, peeks)})")  # fmt: skip
        return Reasoned(FILL_IN, what, is_open=True)
    if dtype == "float32":
        return Reasoned("nan", f"{says}; what is not finite is missing")
    least, most = LIMITS[dtype]
    if len(declared) == 1 and float(declared[0]).is_integer() and least <= declared[0] <= most:
        return Reasoned(f"{declared[0]:.0f}", f"{says}: those pixels are missing")
    spare = _spare(dtype, peeks)
    if not spare:
        return Reasoned(
            FILL_IN, f"{says}; every number of {dtype} was seen: another dtype has room for one", is_open=True
        )
    if dtype == "uint8" and not declared and not need_fill and not any(one.facts.tells_missing for one in peeks):
        return Reasoned("null", f"{says}: every pixel counts")
    return Reasoned(spare, f"{says}; no pixel that was looked at has this value")


def _spare(dtype: str, peeks: Sequence[Peek]) -> str:
    """A number of a type that no measured pixel has: at its ends; empty without one."""
    if dtype == "float32":
        return "nan"
    values = values_of(peeks)
    least, most = LIMITS[dtype]
    ends = (least, most) if dtype == "int16" else (most, least)
    return next((scalar(one) for one in ends if not (values == one).any()), "")
