"""What numbers in each unit look like, and which unit they look like if not in the one that is stated.

The limits are wide: night, cloud, snow, calm sea and desert stay inside. What lies outside is off by orders of
magnitude, or on the wrong side of zero.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from seamo.bands import Unit

REFLECTANCE = "reflectance (0 to 1)"
PERCENT = "reflectance in percent"
TIMES_10000 = "reflectance times 10,000 (dn)"
EIGHT_BIT = "8-bit values (0 to 255)"
MASK = "a mask or class ids"
DECIBEL = "decibel (db)"
DECIBEL_X100 = "decibel times 100 (db*100)"
LINEAR = "linear power, not its logarithm"
AMPLITUDE = "digital numbers of a radar"
# What no place can have, on either side: there stand numbers that mark what is missing, such as -9999 or -3.4e38.
_POSSIBLE = {
    Unit.DN: (-2_000, 100_000),
    Unit.DN_PLUS_1000: (-2_000, 100_000),
    Unit.REFLECTANCE_X10000: (-5_000, 100_000),
    Unit.REFLECTANCE: (-0.5, 100),
    Unit.DB: (-90, 90),
    Unit.DB_X100: (-9_000, 9_000),
}
_CUT = 0.002  # share of pixels at 255 from which on they are cut off there, and not the brightest by chance
_FILLS, _TWICE, _OFTEN = 4, 2, 10  # numbers that may mark what is missing, and how often they stand
_MOST = 100_000  # values that are looked at


def unit_doubt(unit: Unit, values: NDArray[Any]) -> str:
    """What speaks against a stated unit, as a sentence; empty if nothing does.

    Args:
        unit: As stated.
        values: Pixels of all bands of one sensor, of as many places as there are, any shape; what is not finite counts
            nowhere. Missing pixels of integers are left out by the caller.

    Example:
        >>> unit_doubt(Unit.DN, np.array([0.05, 0.1, 0.31]))
        'values from 0.051 to 0.3058 look like reflectance (0 to 1), not dn'
        >>> unit_doubt(Unit.DB, np.array([-21.0, -14.5, -9.0]))
        ''
    """
    flat = np.asarray(values).reshape(-1)
    flat = flat[:: -(-flat.size // _MOST)] if flat.size else flat
    flat = flat[np.isfinite(flat)].astype(np.float64)
    if not flat.size or unit is Unit.CLASS or (flat == flat[0]).all():
        return ""
    looks = _optical(unit, flat) if unit not in (Unit.DB, Unit.DB_X100) else _radar(unit, flat)
    low, high = np.percentile(flat, (1, 99))
    return f"values from {low:.4g} to {high:.4g} look like {looks}, not {unit.value}" if looks else ""


class Doubt(NamedTuple):
    """What is wrong with values.

    Args:
        what: A sentence.
        fills: Numbers, to the last digit, that mark missing pixels without anybody having said so; none where the
            unit is in doubt.
    """

    what: str
    fills: tuple[str, ...] = ()


def value_doubt(unit: Unit, values: NDArray[Any]) -> Doubt | None:
    """What is wrong with values: they are of another unit, or some are numbers that mark what is missing.

    Args:
        unit: As stated.
        values: Measured ones, of any shape; what is not finite counts nowhere.

    Example:
        >>> value_doubt(Unit.DB, np.array([-14.5, -9999, -9999, -9.0])).what
        '50 % of values are -9999, which no place has in db: missing pixels of which nobody said so'
    """
    flat = np.asarray(values).reshape(-1)
    fills, times = _unsaid_fills(unit, flat)
    rest = flat[~np.isin(flat, fills)] if len(fills) else flat
    if what := unit_doubt(unit, rest):
        return Doubt(what)
    if not len(fills):
        return None
    texts = tuple(_to_the_last_digit(one) for one in fills)
    named = texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} or {texts[-1]}"
    what = f"{100 * times:.2g} % of values are {named}, which no place has in {unit.value}"
    return Doubt(f"{what}: missing pixels of which nobody said so", texts)


def _unsaid_fills(unit: Unit, values: NDArray[Any]) -> tuple[list[float], float]:
    """Numbers that no place has in that unit and that stand again and again, the most frequent first; their share."""
    if unit not in _POSSIBLE or not values.size:
        return [], 0.0
    flat = values[:: -(-values.size // _MOST)]
    flat = flat[np.isfinite(flat)].astype(np.float64)
    low, high = _POSSIBLE[unit]
    found, times = np.unique(flat[(flat < low) | (flat > high)], return_counts=True)
    if not times.size:
        return [], 0.0
    order = np.argsort(-times, kind="stable")[:_FILLS]
    # One that is most of them need not stand often; of several each must. Values that differ from each other are a
    # matter of scale, of which `unit_doubt` speaks.
    often = order[times[order] >= (_TWICE if 2 * times.max() >= times.sum() else _OFTEN)]
    if 2 * times[often].sum() < times.sum():
        return [], 0.0
    return found[often].tolist(), float(times[often].sum() / len(flat))


def _to_the_last_digit(value: float) -> str:
    text = f"{value:.9g}"
    return text if float(text) == value else repr(value)


def _optical(unit: Unit, values: NDArray[np.float64]) -> str:
    low, middle, high = np.percentile(values, (1, 50, 99))
    most, whole = float(values.max()), bool((values == np.round(values)).all())
    if middle < -2 and low >= -70 and high <= 40 and not whole:
        return DECIBEL
    if unit is Unit.UINT8:
        if most > 255:
            return TIMES_10000
        return MASK if whole and high > 0 and most <= 1 else REFLECTANCE if not whole and most <= 2 else ""
    if unit is Unit.REFLECTANCE:
        if high > 10:
            return EIGHT_BIT if whole and most <= 255 else PERCENT if most <= 130 else TIMES_10000
        return "reflectance divided by 10,000 once more" if 0 < high < 5e-4 else MASK if whole else ""
    # Corrected water may hold nothing but 1 to 9 in the infrared: whole numbers that small say nothing. Of zeros with a
    # few measurements among them, these are far above.
    if not whole and low < 1 and 0 < high <= 2 and most <= 10:
        return REFLECTANCE
    if (
        whole
        and most == 255
        and 20 <= middle <= 235
        and low >= 0
        and (values == 255).sum() >= max(20, _CUT * len(values))
    ):
        return EIGHT_BIT
    if unit is Unit.DN_PLUS_1000 and _is_below(values[values != 0], 900):  # 0 is mostly a border
        return f"{TIMES_10000} without the shift of 1,000"
    return "another scale: no ground or cloud reflects three times the light" if middle > 32_767 else ""


def _is_below(values: NDArray[np.float64], limit: float) -> bool:
    return bool(values.size) and float(np.median(values)) < limit


def _radar(unit: Unit, values: NDArray[np.float64]) -> str:
    low, middle, high = np.percentile(values, (1, 50, 99))
    if low >= 0 and high > 0:  # water and shadow are dark in every scene: far below 0 dB
        return LINEAR if high <= 50 else AMPLITUDE
    if unit is Unit.DB:
        return DECIBEL_X100 if middle < -100 else ""
    return DECIBEL if middle < 0 and low >= -70 and high <= 40 else ""
