"""Refuse pixels that no network was trained on: before normalisation by their unit, after it by their range."""

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from seamo.bands import Unit
from seamo.errors import ProtocolError, UsageError
from seamo.inputs.normalise import Normalisation, numbers_of
from seamo.inputs.wiring import SensorWiring, Wiring
from seamo.units import unit_doubt, value_doubt

RAW_MEAN, RAW_STD, FLAT_STD = 3.0, 10.0, 0.1  # outside: not normalised, not normalised, compressed
_FAR = 5.0  # standard deviations


def check_range(inputs: Mapping[str, Tensor], wiring: Wiring) -> list[str]:
    """Look at a first batch after normalisation: numbers that no network was trained on are found here.

    Inputs without steps (raw values on purpose) are held against their unit, and what is odd about them is a note.

    Args:
        inputs: Sensor -> (B, C, H, W) from the adapter.
        wiring: The adapter's.

    Returns:
        What a reader should know: a sensor whose values hardly vary, or are not in its unit.

    Raises:
        ProtocolError: If a sensor's values are not normalised (abs(mean) >= 3 or std >= 10), all equal, or none.
    """
    notes = []
    for sensor in wiring.sensors:
        values = inputs[sensor.input.sensor].double()
        values = values[values.isfinite()]
        if not sensor.input.steps:
            if doubt := unit_doubt(sensor.input.unit, values.cpu().numpy()):
                notes.append(f"{sensor.input.sensor} {doubt}")
            continue
        where = f"{wiring.network.id}: {sensor.input.sensor}"
        if values.numel() == 0:
            raise ProtocolError("the first batch holds no measurement", where)
        mean, std = float(values.mean()), float(values.std(correction=0))
        if abs(mean) >= RAW_MEAN or std >= RAW_STD or std == 0.0:
            raise ProtocolError(
                f"after normalisation the first batch has mean {mean:.3g} and std {std:.3g}",
                where,
                "Look at `seamo-bench explain`: unit, product or statistics do not fit this store.",
            )
        if std <= FLAT_STD:
            notes.append(f"{sensor.input.sensor} values hardly vary after normalisation (std {std:.3g})")
    return notes


def refuse_unit(unit: Unit, pixels: NDArray[Any], where: str) -> None:
    """Refuse pixels of an image that are not in the unit that is stated, or mark what is missing by an unsaid number.

    Args:
        unit: As stated.
        pixels: Of all bands of one sensor, NaN where there is no measurement.
        where: File or sensor.

    Raises:
        UsageError: Saying which unit they look like, or which number that is.
    """
    if doubt := value_doubt(unit, pixels):
        fix = "State the unit that the pixels are in (--unit), or convert them."
        if doubt.fills:
            first = doubt.fills[0]
            which = f"--nodata {first} (of another image than the first: --nodata SENSOR={first})"
            fix = f"State it with {which}." if len(doubt.fills) == 1 else f"Write {first} for all, and state {which}."
        raise UsageError(doubt.what, where, fix)


def far_share(pixels: Tensor, how: Normalisation, *, valid: Tensor | None = None) -> dict[str, float]:
    """Share of each band's valid pixels further than 5 standard deviations from the mean (nan without any)."""
    mean, std = numbers_of(pixels, how)
    far = (pixels.float() - mean).abs() > _FAR * std
    counted = torch.ones_like(far) if valid is None else valid.expand_as(far)
    axes = [axis for axis in range(far.ndim) if axis != far.ndim - 3]
    shares = (far & counted).sum(dim=axes).double() / counted.sum(dim=axes)
    return dict(zip(how.bands, shares.tolist(), strict=True))


def check_unit(pixels: Tensor, how: Normalisation, *, valid: Tensor | None = None) -> None:
    """Refuse pixels that cannot be in the unit of the numbers: half of a band is further than 5 std from the mean.

    Raises:
        UsageError: Naming the bands.
    """
    bad = [name for name, share in far_share(pixels, how, valid=valid).items() if share > 0.5]
    if bad:
        fix = f"The numbers ({how.source}) are for unit {how.unit.value}; check unit and band order."
        raise UsageError(f"most pixels of {', '.join(bad)} are more than 5 std from the mean", "normalisation", fix)


def normalisation_in(sensor: SensorWiring) -> Normalisation | None:
    """The bands that are read and the mean and deviation in a sensor's steps; None where steps are of another kind.

    It is `seamo.inputs.normalise.steps_of` backwards, so that the unit of pixels can be checked before they are fed.
    """
    first, *others = sensor.input.steps or (None,)
    slots = [slot for slot, channel in enumerate(sensor.channels) if not channel.filled]
    if first is None or first.op != "affine" or len(first.a) != len(sensor.channels) or not slots:
        return None
    two_sigma = bool(others) and others[0] is not None and others[0].op == "clip"
    wide, shift = (4.0, 2.0) if two_sigma else (1.0, 0.0)
    std = tuple(first.b[slot] / wide for slot in slots)
    return Normalisation(
        kind="two-sigma" if two_sigma else "z-score",
        bands=tuple(sensor.channels[slot].band for slot in slots),
        mean=tuple(first.a[slot] + shift * deviation for slot, deviation in zip(slots, std, strict=True)),
        std=std,
        unit=sensor.input.unit,
        source=sensor.statistics,
    )
