"""What happens to every channel, in words: from a layer, band and unit of the store to the network. No torch here."""

from typing import Any

from seamo.bands import Unit
from seamo.inputs.spec import Step
from seamo.inputs.ways import WHOLE, distance_nm
from seamo.inputs.wiring import Channel, Wiring
from seamo.manifest import DatasetSpec, LayerSpec


def explain(wiring: Wiring, spec: DatasetSpec) -> list[dict[str, str | int | float]]:
    """One row a channel: from the store's layer, band and unit to the network's input slot, with the numbers.

    Columns: id (`s2:B8A`), slot, layer, source, gsd_m, unit, conversion, steps, fill, product, note.
    """
    rows: list[dict[str, str | int | float]] = []
    for one in wiring.sensors:
        by_name = one.way in WHOLE and not any(channel.filled for channel in one.channels)
        for slot, channel in enumerate(one.channels):
            layer = spec.layer(channel.layer) if channel.layer else None
            notes = []
            if channel.filled and channel.source:
                apart = distance_nm(f"{one.input.sensor}:{channel.band}", f"{one.source_sensor}:{channel.source}")
                notes.append(f"not in the store: {wiring.missing}, {apart:g} nm away")
            elif channel.filled:
                notes.append(f"not in the store: {wiring.missing}")
            elif by_name:
                notes.append(f"by {one.way}")
            if one.new:
                notes.append("new tokenizer, to be trained")
            if layer is not None and one.input.product and layer.product and layer.product != one.input.product:
                notes.append(f"weights were made on {one.input.product}")
            rows.append(
                {
                    "id": f"{one.input.sensor}:{channel.band}",
                    "slot": slot,
                    "layer": channel.layer,
                    "source": f"{one.source_sensor}:{channel.source}" if channel.source else "",
                    "gsd_m": layer.gsd_m if layer else 0.0,
                    "product": layer.product if layer else "",
                    "unit": layer.unit.value if layer else "",
                    "conversion": _conversion_text(channel, layer, one.input.unit),
                    "steps": "; ".join(_step_text(step, slot, len(one.channels)) for step in one.input.steps) or "none",
                    "statistics": one.statistics,
                    "fill": one.input.fill,
                    "note": "; ".join(notes),
                }
            )
    return rows


def summary(wiring: Wiring) -> list[dict[str, Any]]:
    """What happens to each sensor, as plain values for the description of an output.

    Keys: sensor, bands, made_up (bands that were not there, and how they were made up), conversion, normalisation
    (unit, steps with their numbers, source).
    """
    rows = []
    for sensor in wiring.sensors:
        made_up = [channel.band for channel in sensor.channels if channel.filled]
        fed = [channel for channel in sensor.channels if channel.layer]
        rows.append(
            {
                "sensor": sensor.input.sensor,
                "bands": [channel.band for channel in sensor.channels if not channel.filled],
                "made_up": {"bands": made_up, "how": wiring.missing} if made_up else {},
                "conversion": f"x * {fed[0].scale:g} + {fed[0].offset:g}",
                "normalisation": {
                    "unit": sensor.input.unit.value,
                    "steps": [{"op": step.op, "a": list(step.a), "b": list(step.b)} for step in sensor.input.steps],
                    "source": sensor.statistics,
                },
            }
        )
    return rows


def _conversion_text(channel: Channel, layer: LayerSpec | None, unit: Unit) -> str:
    if layer is None:
        return ""
    if layer.unit == unit:
        return "none"
    return f"{layer.unit.value} -> {unit.value}: x * {channel.scale:g} + {channel.offset:g}"


def _step_text(step: Step, slot: int, count: int) -> str:
    def number(values: tuple[float, ...]) -> str:
        return "" if not values else f"{values[slot] if len(values) == count else values[0]:.6g}"

    a, b = number(step.a), number(step.b)
    texts = {"affine": f"(x - {a}) / {b}", "scale": f"x * {a}", "clip": f"clip to [{a}, {b}]"}
    return texts.get(step.op, " ".join(part for part in (step.op, a, b) if part))
