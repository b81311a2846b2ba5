"""How a network meets bands that it was not made for: what stands in for what, how far off, in which unit.

One rule a way; whatever a rule cannot do it refuses, and says why. No torch here.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from seamo.bands import COMMON_NAMES, Unit, band, canonical, is_optical
from seamo.errors import BandError
from seamo.inputs.spec import Expects, InputSpec, MissingPolicy, Step
from seamo.inputs.steps import STORE_OPS, restrict
from seamo.inputs.units import is_convertible

# `native`, or the policy that made something of what the store has.
Way = Literal["native"] | MissingPolicy
# Those that refuse whatever they cannot feed with a band of the store.
WHOLE: tuple[MissingPolicy, ...] = ("fail", "8-bit", "rgb", "wavelength", "select")
# Those that may read another optical sensor than the network's.
CROSSING: tuple[MissingPolicy, ...] = ("rgb", "wavelength", "select")
# Those that may take values whose unit says nothing of the ground, as the network's own code takes them.
_ENTERING: tuple[MissingPolicy, ...] = (
    "8-bit",
    "rgb",
    "wavelength",
    "select",
    "select-columns",
    "new-tokenizer",
)
_COLOURS = ("red", "green", "blue")
_TO_8BIT = ("truncate-uint8", "wrap-uint8")
STORE_ZSCORE = (Step("store-zscore"),)


def stand_in(policy: MissingPolicy, want: str, have: Sequence[str], *, limit_nm: float) -> str:
    """The band of a store that is read for one of a network; empty where none is.

    Args:
        policy: How the network meets bands that are not there.
        want: Qualified id of the network's band, such as `s2:B8A`.
        have: Qualified ids of the store's bands.
        limit_nm: Of `select`.

    Example:
        >>> stand_in("select", "s2:B8A", ["s2:B04", "s2:B08"], limit_nm=50.0)
        's2:B08'
    """
    if want in have:
        return want
    if policy == "rgb":
        return next((one for one in have if colour(one) and colour(one) == colour(want)), "")
    if policy not in ("nearest-wavelength", "select") or not have:
        return ""
    if policy == "select" and not _by_wavelength(want):  # VV and VH are of one wavelength, and not of one scene
        return ""
    nearest = min(have, key=lambda one: distance_nm(want, one))
    return nearest if policy == "nearest-wavelength" or distance_nm(want, nearest) <= limit_nm else ""


def distance_nm(one: str, other: str) -> float:
    """Distance of the centre wavelengths of two bands, by qualified id, in nanometres to one digit.

    Example:
        >>> distance_nm("s2:B8A", "s2:B08")
        31.9
    """
    return round(abs(_centre(one) - _centre(other)), 1)


def _by_wavelength(name: str) -> bool:
    """Whether a band, by qualified id, is one of those that their wavelength tells apart."""
    return is_optical(name.partition(":")[0])


def colour(name: str) -> str:
    """Whether a band, by qualified id, is a sensor's `red`, `green` or `blue`; empty for any other."""
    sensor, _, own = name.partition(":")
    found = COMMON_NAMES.get(sensor, {})
    return next((one for one in _COLOURS if found.get(one) == own), "")


def takes_rgb(want: InputSpec) -> bool:
    """Whether an input is a picture: red, green and blue, and nothing else."""
    return sorted(colour(f"{want.sensor}:{name}") for name in want.bands) == sorted(_COLOURS)


def refusal(
    network: Expects, policy: MissingPolicy, unfed: Sequence[str], have: Sequence[str], where: str
) -> BandError:
    """Why bands that nothing feeds are refused.

    Args:
        network: That needs them.
        policy: How it was to meet the store.
        unfed: Qualified ids of its bands.
        have: Those of the store.
        where: Id of the data set.
    """
    if policy == "select" and _by_wavelength(unfed[0]):
        far = unfed[0]
        near = min(have, key=lambda one: distance_nm(far, one))
        apart = f"{distance_nm(far, near):g} nm away (limit {network.select_nm:g} nm)"
        return BandError(f"needs {far}, the nearest that {where} has is {near}, {apart}", where=network.id)
    return BandError(
        f"needs {', '.join(unfed)}, {where} has {', '.join(one.partition(':')[2] for one in have)}", network.id
    )


def crossing(policy: MissingPolicy, want: InputSpec, there: Sequence[str], known: Sequence[str]) -> str:
    """The other optical sensor that is read for an input; empty where there is none, several, or no need.

    Args:
        policy: How the network meets the store.
        want: The input.
        there: Sensors of the store.
        known: Sensors that the network has inputs for, which read them themselves.
    """
    if policy not in CROSSING or want.sensor in there or not is_optical(want.sensor):
        return ""
    optical = [sensor for sensor in there if is_optical(sensor) and sensor not in known]
    return optical[0] if len(optical) == 1 else ""


def in_stores_unit(want: InputSpec, units: Sequence[Unit], *, policy: MissingPolicy, learnt: bool) -> InputSpec:
    """The input in the store's unit, where its own cannot be had and the network's code allows for it.

    * A network without weights knows no unit: what is centred with the store's statistics, or taken as it is, may be
      8-bit as well as reflectance.
    * Where the published code makes 8-bit values first (mean +- 2 sigma to a byte, then to [0, 1]), bytes of a store
      enter where its own would be.
    * Where it normalises with the statistics of the data set at hand, it does so in any unit.

    The last two need a policy that says so: what such values meant is not known.

    Args:
        want: What the network expects.
        units: Of the layers that are read.
        policy: How the network meets the store.
        learnt: Whether it has weights.
    """
    found = set(units)
    (unit,) = found if len(found) == 1 else (want.unit,)
    if is_convertible(unit, want.unit):
        return want
    by_store = bool(want.steps) and want.steps[0].op in STORE_OPS
    if not learnt and (not want.steps or by_store):
        return replace(want, unit=unit)
    if policy not in _ENTERING:
        return want
    made = [index for index, step in enumerate(want.steps) if step.op in _TO_8BIT]
    if unit is Unit.UINT8 and made:
        source = f"{want.source}; the store's 8-bit values enter where its own would be"
        return replace(want, unit=unit, steps=want.steps[made[-1] + 1 :], source=source)
    return replace(want, unit=unit) if by_store else want


def of_wavelengths(want: InputSpec, sensor: str, have: Sequence[str], units: Sequence[Unit]) -> InputSpec:
    """The input of a network that makes its kernels from wavelengths: the store's bands, with what is known of them.

    Of the network's own sensor these are the bands that it has numbers for; of another one, or in a unit that its
    numbers do not fit, all bands, z-scored with the store's statistics.

    Args:
        want: What the network was shown by its authors, in the store's unit where that is possible.
        sensor: Of the store.
        have: Names of the store's bands.
        units: Of its layers.
    """
    own = tuple(name for name in want.bands if sensor == want.sensor and name in have)
    if own and all(is_convertible(unit, want.unit) for unit in units):
        columns = [want.bands.index(name) for name in own]
        return replace(want, bands=own, steps=restrict(want.steps, columns, len(want.bands)))
    source = f"z-score with the store's statistics: no numbers of {sensor} are published for it ({want.source})"
    bands = canonical(sensor, have)
    return InputSpec(sensor, bands, units[0], STORE_ZSCORE, source, fill=want.fill)


def _centre(name: str) -> float:
    sensor, _, own = name.partition(":")
    return band(sensor, own).wavelength_nm
