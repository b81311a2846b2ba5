"""Which band of a store feeds which channel of a network, and with which numbers: by name, before pixels are read.

No torch here: `plan` and `explain` need the answer for many cells at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

from seamo.bands import Unit, band, canonical
from seamo.errors import BandError, ProtocolError, UsageError
from seamo.inputs.spec import Expects, InputSpec, MissingPolicy
from seamo.inputs.steps import STORE_OPS, resolve, restrict
from seamo.inputs.units import conversion, is_convertible
from seamo.manifest import DatasetSpec, LayerSpec, Statistics

_POLICIES = get_args(MissingPolicy)  # the first one is to fail


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
        input: The network's input with the bands that are really fed and steps with their numbers.
        stack: Stack of the store that is read.
        layers: Its layers, finest grid first.
        channels: One per band of `input.bands`.
        dropped: Bands of the network that `select-columns` leaves out.
        statistics: Where the numbers of the steps come from.
        new: Whether its tokenizer is new and untrained (`new-tokenizer`).
    """

    input: InputSpec
    stack: str
    layers: tuple[LayerSpec, ...]
    channels: tuple[Channel, ...]
    dropped: tuple[str, ...]
    statistics: str
    new: bool

    def slots(self, layer: str) -> list[int]:
        """Positions of the channels that a layer feeds."""
        return [slot for slot, channel in enumerate(self.channels) if channel.layer == layer]


@dataclass(frozen=True, slots=True)
class Wiring:
    """How one network reads one data set.

    Args:
        network: What it expects, its `inputs` those that are really fed, `missing` the policy that made them so.
        sensors: One entry an input.
        missing: Policy for bands that the store does not have.
        size: Height and width fed to the network; None where images are not resized.
        dates: Which dates (slots) of every stack are read; the adapter reads the first one.
    """

    network: Expects
    sensors: tuple[SensorWiring, ...]
    missing: MissingPolicy
    size: tuple[int, int] | None
    dates: tuple[int, ...]

    @property
    def layers(self) -> tuple[str, ...]:
        """Layers that must be read."""
        used = (channel.layer for one in self.sensors for channel in one.channels if channel.layer)
        return tuple(dict.fromkeys(used))

    def resampling(self) -> str:
        """How the layers become one image of the network's size, in words (part of a run's key)."""
        several = any(sensor.layers[0].times > 1 for sensor in self.sensors)
        named = f"date {self.dates[0]}" if len(self.dates) == 1 else f"dates {' and '.join(map(str, self.dates))}"
        dates = named if several else ""
        if self.size and self.network.resize == "bicubic-native":
            ways = [f"bicubic antialiased from every layer's own grid to {self.size[0]} x {self.size[1]}"]
        else:
            coarse = any(len({layer.gsd_m for layer in sensor.layers}) > 1 for sensor in self.sensors)
            ways = [
                ("bilinear to the finest grid" if self.size else "nearest to the finest grid") if coarse else "",
                f"bilinear antialiased to {self.size[0]} x {self.size[1]}" if self.size else "not resized",
            ]
        return ", then ".join(part for part in (dates, *ways) if part)


def wire(
    network: Expects,
    spec: DatasetSpec,
    *,
    statistics: Mapping[str, Statistics] | None = None,
    missing: MissingPolicy | None = None,
    size: int | None = None,
    date: int = 0,
    stacks: Mapping[str, str] | None = None,
    inputs: Sequence[str] = (),
) -> Wiring:
    """Decide what feeds every channel of a network.

    Args:
        network: What it expects.
        spec: The store's data set.
        statistics: Stack id -> statistics of the store's training split, in the layers' unit; needed by networks
            that normalise with the store's own numbers.
        missing: Policy for bands that the store does not have; None = the network's.
        size: Image size in pixels; None = the network's.
        date: Which date of every stack, for stores with several; where the task is change, both are read.
        stacks: Sensor -> stack, where the store has several of one sensor and the product does not decide.
        inputs: Sensors that are fed, and no others (`s2`), with some of their bands alone (`s2:B02+B03+B04`: the
            store is read as if it had no more); empty = all that network and store have.

    Raises:
        BandError: If a sensor or a band is missing (with policy `fail`), or stands twice.
        ProtocolError: If units, sizes, dates or statistics do not fit.
    """
    policy = missing or network.missing
    if policy not in _POLICIES:
        raise UsageError(f"no missing-band policy {policy!r}", fix=f"There are {', '.join(_POLICIES)}.")
    asked = parse_inputs(inputs)
    sensors = tuple(
        _wire_sensor(
            network,
            want,
            spec,
            statistics or {},
            policy=policy,
            named=(stacks or {}).get(want.sensor, ""),
            only=asked.get(want.sensor, ()),
        )
        for want in _wanted(network, spec, policy, asked)
    )
    for sensor in sensors:
        if not 0 <= date < sensor.layers[0].times:
            raise ProtocolError(f"no date {date}: {sensor.stack} has {sensor.layers[0].times}", where=spec.id)
    fitted = replace(network, inputs=tuple(sensor.input for sensor in sensors), missing=policy)
    dates = (0, 1) if spec.task.kind == "change" else (date,)
    return Wiring(fitted, sensors, policy, _size(network, size), dates)


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


def check_trained(wiring: Wiring) -> None:
    """For whoever leaves the encoder frozen: refuse new tokenizers, which nothing would train.

    Raises:
        ProtocolError: If a sensor's tokenizer is new.
    """
    new = [one.input.sensor for one in wiring.sensors if one.new]
    if new:
        raise ProtocolError(
            f"its tokenizer of {' and '.join(new)} is new and untrained, and the encoder stays frozen",
            wiring.network.id,
            "Fine-tune, or choose another missing-band policy.",
        )


def _wanted(
    network: Expects, spec: DatasetSpec, policy: MissingPolicy, asked: Mapping[str, tuple[str, ...]]
) -> list[InputSpec]:
    """The network's inputs that the store feeds; with `new-tokenizer` also sensors that it does not know.

    Those are added where they are asked for, or where the store has no others.
    """
    units = {layer.sensor: layer.unit for layer in spec.layers if layer.unit is not Unit.CLASS}
    there = [sensor for sensor in units if not asked or sensor in asked]
    known = [one.sensor for one in network.inputs]
    strange = [sensor for sensor in there if sensor not in known]
    anew = policy == "new-tokenizer" and bool(known) and (bool(asked) or strange == there)
    if not anew and any(sensor not in known for sensor in asked):
        raise BandError(
            f"takes {', '.join(known) or 'no images'}; {' and '.join(asked)} is asked for", where=network.id
        )
    if len(there) < len(asked):
        raise BandError(f"has no {' and '.join(sensor for sensor in asked if sensor not in there)}", where=spec.id)
    wanted = [one for one in network.inputs if one.sensor in there]
    if anew:
        like = network.inputs[0]
        wanted += [replace(like, sensor=one, bands=(), unit=units[one], product="") for one in strange]
    absent = [sensor for sensor in known if sensor not in there]
    if not wanted or (network.joint and absent):
        needed = " and ".join(absent) if network.joint else " or ".join(absent)
        raise BandError(f"needs {needed}, {spec.id} has {', '.join(sorted(there))}", where=network.id)
    return wanted


def _size(network: Expects, size: int | None) -> tuple[int, int] | None:
    if network.size == 0:
        if size is not None:
            raise ProtocolError("takes images as the store has them, never resized", where=network.id)
        return None
    side = network.size if size is None else size
    if side < 1 or side % network.multiple_of or (side != network.size and not network.any_size):
        rule = f"multiples of {network.multiple_of}" if network.any_size else f"only {network.size}"
        raise ProtocolError(f"takes {rule} pixels, not {side}", where=network.id)
    return side, side


def _wire_sensor(
    network: Expects,
    want: InputSpec,
    spec: DatasetSpec,
    statistics: Mapping[str, Statistics],
    *,
    policy: MissingPolicy,
    named: str,
    only: tuple[str, ...],
) -> SensorWiring:
    stack = _pick_stack(network.id, want, spec, named)
    layers = spec.stack_layers(stack)
    want = _in_own_unit(network, want, layers)
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
    new = policy == "new-tokenizer" and (
        want.sensor not in [one.sensor for one in network.inputs] or any(name not in have for name in want.bands)
    )
    if new:
        want = _anew(network.id, want, canonical(want.sensor, list(have)))
    bands = want.bands or canonical(want.sensor, list(have))
    gone = [name for name in bands if name not in have]
    if gone and (policy == "fail" or len(gone) == len(bands)):
        raise BandError(
            f"needs {', '.join(f'{want.sensor}:{name}' for name in gone)}, {spec.id} has {', '.join(have)}",
            where=network.id,
            fix=f"Choose a missing-band policy ({', '.join(_POLICIES[1:])}); it is part of the key.",
        )
    kept = [position for position, name in enumerate(bands) if name in have or policy != "select-columns"]
    source = {name: _source(want.sensor, name, list(have), policy) for name in bands}
    channels = tuple(
        _channel(network.id, bands[position], source[bands[position]], have, want.unit) for position in kept
    )
    steps, origin = resolve(network.id, want, [source[name] for name in bands], have, statistics.get(stack))
    chosen = replace(want, bands=tuple(bands[position] for position in kept), steps=restrict(steps, kept, len(bands)))
    dropped = tuple(name for position, name in enumerate(bands) if position not in kept)
    return SensorWiring(chosen, stack, layers, channels, dropped, origin, new)


def _in_own_unit(network: Expects, want: InputSpec, layers: Sequence[LayerSpec]) -> InputSpec:
    """The input in the store's unit, where its own cannot be had and nothing was learnt in it.

    A network without weights knows no unit: what is centred with the store's statistics, or taken as it is, may be
    8-bit as well as reflectance.
    """
    units = {layer.unit for layer in layers}
    is_free = not network.learnt and (not want.steps or want.steps[0].op in STORE_OPS)
    (unit,) = units if len(units) == 1 else (want.unit,)
    return replace(want, unit=unit) if is_free and not is_convertible(unit, want.unit) else want


def _anew(network: str, want: InputSpec, bands: tuple[str, ...]) -> InputSpec:
    """The input of a new tokenizer: these bands, normalised as the network's own are.

    Raises:
        ProtocolError: If the network normalises with numbers of its own and has none for a band.
    """
    if any(step.op in STORE_OPS for step in want.steps):
        return replace(want, bands=bands)
    unknown = [f"{want.sensor}:{name}" for name in bands if name not in want.bands]
    if unknown:
        raise ProtocolError(
            f"has no numbers to normalise {', '.join(unknown)} with",
            network,
            "A new tokenizer for them needs a network that normalises with the store's own statistics.",
        )
    columns = [want.bands.index(name) for name in bands]
    return replace(want, bands=bands, steps=restrict(want.steps, columns, len(want.bands)))


def _pick_stack(network: str, want: InputSpec, spec: DatasetSpec, named: str) -> str:
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
            fix=f"Name the one that {network} reads.",
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


def _channel(network: str, name: str, source: str, have: Mapping[str, tuple[LayerSpec, int]], unit: Unit) -> Channel:
    if not source:
        return Channel(name)
    layer, index = have[source]
    scale, offset = conversion(layer.unit, unit, where=f"{network}: {layer.sensor}:{source} of layer {layer.id}")
    return Channel(name, layer.id, source, index, scale, offset)
