"""Which band of a store feeds which channel of a network, and with which numbers: by name, before pixels are read.

No torch here: `plan` and `explain` need the answer for many cells at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

from seamo.bands import Unit, band, canonical
from seamo.errors import BandError, ProtocolError, UsageError
from seamo.manifest import DatasetSpec, LayerSpec, Statistics
from seamo_bench.card import BackboneCard, InputSpec, MissingPolicy, Step
from seamo_bench.records import AdapterFacts, InputFacts, StepFacts

# (from, to) -> (scale, offset): value_to = value_from * scale + offset. Everything else is refused.
CONVERSIONS: dict[tuple[Unit, Unit], tuple[float, float]] = {
    (Unit.DN_PLUS_1000, Unit.DN): (1.0, -1000.0),
    (Unit.DN, Unit.DN_PLUS_1000): (1.0, 1000.0),
    (Unit.DB_X100, Unit.DB): (0.01, 0.0),
    (Unit.DB, Unit.DB_X100): (100.0, 0.0),
}
STORE_OPS = ("store-zscore", "store-2std")


@dataclass(frozen=True, slots=True)
class Channel:
    """One input channel of the network and what feeds it.

    Args:
        band: The band that the network expects here.
        layer: Layer of the store that is read; empty where nothing is (policies `zero` and `mean`).
        source: Band of that layer: `band` itself, or its neighbour in wavelength.
        index: Position of `source` in the layer.
        scale, offset: Unit conversion: x * scale + offset.
    """

    band: str
    layer: str = ""
    source: str = ""
    index: int = 0
    scale: float = 1.0
    offset: float = 0.0

    @property
    def filled(self) -> bool:
        """Whether the store does not have this band."""
        return self.band != self.source


@dataclass(frozen=True, slots=True)
class SensorWiring:
    """The channels of one sensor.

    Args:
        input: The card's input with the bands that are really fed and steps with their numbers.
        stack: Stack of the store that is read.
        layers: Its layers, finest grid first.
        channels: One per band of `input.bands`.
        kept: Positions of `input.bands` among the card's own bands.
        dropped: Bands of the card that `select-columns` leaves out.
        statistics: Where the numbers of the steps come from.
    """

    input: InputSpec
    stack: str
    layers: tuple[LayerSpec, ...]
    channels: tuple[Channel, ...]
    kept: tuple[int, ...]
    dropped: tuple[str, ...]
    statistics: str


@dataclass(frozen=True, slots=True)
class Wiring:
    """How one card reads one data set.

    Args:
        card: The card, its `inputs` reduced to the sensors and bands that are really fed.
        sensors: One entry an input.
        missing: Policy for bands that the store does not have.
        size: Height and width fed to the network; None where images are not resized.
        date: Which date (slot) of every stack is read.
    """

    card: BackboneCard
    sensors: tuple[SensorWiring, ...]
    missing: MissingPolicy
    size: tuple[int, int] | None
    date: int

    @property
    def layers(self) -> tuple[str, ...]:
        """Layers that must be read."""
        used = (channel.layer for one in self.sensors for channel in one.channels if channel.layer)
        return tuple(dict.fromkeys(used))

    def facts(self) -> AdapterFacts:
        """What a record says about it; everything here is part of the run's key."""
        inputs = tuple(
            InputFacts(
                sensor=one.input.sensor,
                stack=one.stack,
                bands=one.input.bands,
                unit=one.input.unit.value,
                steps=tuple(StepFacts(op=step.op, a=step.a, b=step.b) for step in one.input.steps),
                filled=tuple(channel.band for channel in one.channels if channel.filled),
                statistics=one.statistics,
            )
            for one in self.sensors
        )
        return AdapterFacts(inputs=inputs, missing=self.missing, size=self.size or (0, 0), resize=self.resampling())

    def resampling(self) -> str:
        """How the layers become one image of the network's size, in words."""
        dates = f"date {self.date}" if any(one.layers[0].times > 1 for one in self.sensors) else ""
        coarse = any(len({layer.gsd_m for layer in one.layers}) > 1 for one in self.sensors)
        assemble = ("bilinear to the finest grid" if self.size else "nearest to the finest grid") if coarse else ""
        resize = f"bilinear antialiased to {self.size[0]} x {self.size[1]}" if self.size else "not resized"
        return ", then ".join(part for part in (dates, assemble, resize) if part)


def wire(
    card: BackboneCard,
    spec: DatasetSpec,
    *,
    statistics: Mapping[str, Statistics] | None = None,
    missing: MissingPolicy | None = None,
    size: int | None = None,
    date: int = 0,
    stacks: Mapping[str, str] | None = None,
    inputs: Sequence[str] = (),
) -> Wiring:
    """Decide what feeds every channel of a backbone.

    Args:
        card: The backbone.
        spec: The store's data set.
        statistics: Stack id -> statistics of the store's training split, in the layers' unit; needed by cards
            that normalise with the store's own numbers.
        missing: Policy for bands that the store does not have; None = the card's.
        size: Image size in pixels; None = the card's.
        date: Which date of every stack, for stores with several.
        stacks: Sensor -> stack, where the store has several of one sensor and the product does not decide.
        inputs: Sensors that are fed, and no others (`s2`), with some of their bands alone (`s2:B02+B03+B04`: the
            store is read as if it had no more); empty = all that card and store have.

    Raises:
        BandError: If a sensor or a band is missing (with policy `fail`), or stands twice.
        ProtocolError: If units, sizes, dates or statistics do not fit.
    """
    policy = missing or card.missing
    if policy not in get_args(MissingPolicy):
        raise UsageError(f"no missing-band policy {policy!r}", fix=f"There are {', '.join(get_args(MissingPolicy))}.")
    asked = parse_inputs(inputs)
    unable = [sensor for sensor in asked if sensor not in {one.sensor for one in card.inputs}]
    if unable:
        takes = ", ".join(one.sensor for one in card.inputs) or "no images"
        raise BandError(f"takes {takes}; {' and '.join(asked)} is asked for", where=card.id)
    there = {layer.sensor for layer in spec.layers if not asked or layer.sensor in asked}
    wanted = [one for one in card.inputs if one.sensor in there]
    absent = [one.sensor for one in card.inputs if one.sensor not in there]
    gone = [sensor for sensor in asked if sensor not in there]
    if gone:
        raise BandError(f"has no {' and '.join(gone)}", where=spec.id)
    if not wanted or (card.joint and absent):
        needed = " and ".join(absent) if card.joint else " or ".join(absent)
        raise BandError(f"needs {needed}, {spec.id} has {', '.join(sorted(there))}", where=card.id)
    sensors = tuple(
        _wire_sensor(
            card,
            one,
            spec,
            statistics or {},
            policy=policy,
            named=(stacks or {}).get(one.sensor, ""),
            only=asked.get(one.sensor, ()),
        )
        for one in wanted
    )
    for one in sensors:
        if not 0 <= date < one.layers[0].times:
            raise ProtocolError(f"no date {date}: {one.stack} has {one.layers[0].times}", where=spec.id)
    fitted = replace(card, inputs=tuple(one.input for one in sensors))
    return Wiring(fitted, sensors, policy, _size(card, size), date)


def parse_inputs(inputs: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Sensor -> bands (none: all of them) of texts such as `s1` and `s2:B02+B03+B04`.

    Raises:
        UsageError: If a sensor stands twice, or a list of bands is empty.
    """
    found: dict[str, tuple[str, ...]] = {}
    for text in inputs:
        sensor, colon, listed = text.partition(":")
        names = tuple(listed.split("+")) if listed else ()
        if sensor in found or not sensor or (colon and not listed) or "" in names or len(set(names)) < len(names):
            raise UsageError(f"{text!r} is no input", fix="Write a sensor (s2), or s2:B02+B03+B04, each sensor once.")
        found[sensor] = names
    return found


def _size(card: BackboneCard, size: int | None) -> tuple[int, int] | None:
    if card.size == 0:
        if size is not None:
            raise ProtocolError("takes images as the store has them, never resized", where=card.id)
        return None
    side = card.size if size is None else size
    if side < 1 or side % card.multiple_of or (side != card.size and not card.any_size):
        rule = f"multiples of {card.multiple_of}" if card.any_size else f"only {card.size}"
        raise ProtocolError(f"takes {rule} pixels, not {side}", where=card.id)
    return side, side


def _wire_sensor(
    card: BackboneCard,
    want: InputSpec,
    spec: DatasetSpec,
    statistics: Mapping[str, Statistics],
    *,
    policy: MissingPolicy,
    named: str,
    only: tuple[str, ...],
) -> SensorWiring:
    stack = _pick_stack(card, want, spec, named)
    layers = spec.stack_layers(stack)
    have: dict[str, tuple[LayerSpec, int]] = {}
    for layer in layers:
        for index, name in enumerate(layer.bands):
            if name in have:
                raise BandError(f"{want.sensor}:{name} is in {have[name][0].id} and in {layer.id}", where=spec.id)
            have[name] = (layer, index)
    unknown = [name for name in only if name not in have]
    if unknown:
        raise BandError(f"has no {want.sensor}:{unknown[0]}", where=spec.id)
    have = {name: place for name, place in have.items() if not only or name in only}
    bands = want.bands or canonical(want.sensor, list(have))
    gone = [name for name in bands if name not in have]
    if gone and (policy == "fail" or len(gone) == len(bands)):
        raise BandError(
            f"needs {', '.join(f'{want.sensor}:{name}' for name in gone)}, {spec.id} has {', '.join(have)}",
            where=card.id,
            fix="Choose a missing-band policy (zero, mean, nearest-wavelength, select-columns); it is part of the key.",
        )
    kept = [position for position, name in enumerate(bands) if name in have or policy != "select-columns"]
    source = {name: _source(want.sensor, name, list(have), policy) for name in bands}
    channels = tuple(_channel(card, bands[position], source[bands[position]], have, want.unit) for position in kept)
    steps, origin = _resolve(card, want, [source[name] for name in bands], have, statistics.get(stack))
    chosen = replace(want, bands=tuple(bands[position] for position in kept), steps=_restrict(steps, kept, len(bands)))
    dropped = tuple(name for position, name in enumerate(bands) if position not in kept)
    return SensorWiring(chosen, stack, layers, channels, tuple(kept), dropped, origin)


def _pick_stack(card: BackboneCard, want: InputSpec, spec: DatasetSpec, named: str) -> str:
    found = {layer.stack: layer for layer in spec.layers if layer.sensor == want.sensor}
    if named:
        if named not in found:
            raise ProtocolError(f"no stack {named!r} of {want.sensor}, there are {', '.join(found)}", where=spec.id)
        return named
    if len(found) > 1:
        found = {stack: layer for stack, layer in found.items() if layer.product == want.product}
    if len(found) != 1:
        raise ProtocolError(
            f"has several stacks of {want.sensor} and none or several are {want.product or 'of any product'}",
            where=spec.id,
            fix=f"Name the one that {card.id} reads.",
        )
    return next(iter(found))


def _source(sensor: str, name: str, have: Sequence[str], policy: MissingPolicy) -> str:
    """The band that is read for `name`; empty where none is."""
    if name in have:
        return name
    if policy != "nearest-wavelength":
        return ""
    centre = band(sensor, name).wavelength_nm
    return min(have, key=lambda other: abs(band(sensor, other).wavelength_nm - centre))


def _channel(
    card: BackboneCard, name: str, source: str, have: Mapping[str, tuple[LayerSpec, int]], unit: Unit
) -> Channel:
    if not source:
        return Channel(name)
    layer, index = have[source]
    scale, offset = conversion(layer.unit, unit, where=f"{card.id}: {layer.sensor}:{source} of layer {layer.id}")
    return Channel(name, layer.id, source, index, scale, offset)


def conversion(have: Unit, want: Unit, where: str = "") -> tuple[float, float]:
    """Scale and offset that turn values of one unit into another.

    Raises:
        ProtocolError: If the two do not say the same thing about the ground.
    """
    if have == want:
        return 1.0, 0.0
    if (have, want) not in CONVERSIONS:
        raise ProtocolError(f"unit {have.value} cannot become {want.value}", where)
    return CONVERSIONS[have, want]


def _resolve(
    card: BackboneCard,
    want: InputSpec,
    sources: Sequence[str],
    have: Mapping[str, tuple[LayerSpec, int]],
    statistics: Statistics | None,
) -> tuple[tuple[Step, ...], str]:
    """Put the store's numbers into steps that ask for them."""
    if not any(step.op in STORE_OPS for step in want.steps):
        return want.steps, want.source
    if statistics is None:
        raise ProtocolError(
            f"normalises {want.sensor} with the store's own statistics and there are none",
            where=card.id,
            fix="Load it for a store: load_backbone(..., store=store).",
        )
    mean, std = [], []
    for source in sources:
        if not source:  # no measurement, so nothing to centre: the filled channel is zero after the step
            mean.append(0.0)
            std.append(1.0)
            continue
        scale, offset = conversion(have[source][0].unit, want.unit, where=card.id)
        if source not in statistics.mean or not statistics.std[source] > 0:
            raise ProtocolError(
                f"the store's statistics of {want.sensor}:{source} are missing or constant", where=card.id
            )
        mean.append(statistics.mean[source] * scale + offset)
        std.append(statistics.std[source] * scale)
    steps: list[Step] = []
    for step in want.steps:
        if step.op == "store-zscore":
            steps.append(Step("affine", tuple(mean), tuple(std)))
        elif step.op == "store-2std":
            low = tuple(m - 2 * s for m, s in zip(mean, std, strict=True))
            steps += [Step("affine", low, tuple(4 * s for s in std)), Step("clip", (0.0,), (1.0,))]
        else:
            steps.append(step)
    return tuple(steps), f"train split of the store ({statistics.source})"


def _restrict(steps: Sequence[Step], kept: Sequence[int], count: int) -> tuple[Step, ...]:
    """Steps for the bands that are kept; numbers that hold for all bands stay as they are."""

    def pick(numbers: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(numbers[position] for position in kept) if len(numbers) == count and count > 1 else numbers

    return tuple(Step(step.op, pick(step.a), pick(step.b)) for step in steps)


def explain(wiring: Wiring, spec: DatasetSpec) -> list[dict[str, str | int | float]]:
    """One row a channel: from the store's layer, band and unit to the network's input slot, with the numbers.

    Columns: id (`s2:B8A`), slot, layer, source, gsd_m, unit, conversion, steps, fill, product, note.
    """
    rows: list[dict[str, str | int | float]] = []
    for one in wiring.sensors:
        for slot, channel in enumerate(one.channels):
            layer = spec.layer(channel.layer) if channel.layer else None
            notes = []
            if channel.filled:
                notes.append(f"not in the store: {wiring.missing}")
            if layer is not None and one.input.product and layer.product and layer.product != one.input.product:
                notes.append(f"weights were made on {one.input.product}")
            rows.append(
                {
                    "id": f"{one.input.sensor}:{channel.band}",
                    "slot": slot,
                    "layer": channel.layer,
                    "source": f"{one.input.sensor}:{channel.source}" if channel.source else "",
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
