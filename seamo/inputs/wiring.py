"""Which band of a store feeds which channel of a network, and with which numbers: by name, before pixels are read.

No torch here: `plan` and `explain` need the answer for many cells at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

from seamo.bands import Unit, canonical
from seamo.errors import BandError, ProtocolError, UsageError
from seamo.inputs.spec import Expects, InputSpec, MissingPolicy
from seamo.inputs.steps import STORE_OPS, resolve, restrict
from seamo.inputs.units import conversion, is_convertible
from seamo.inputs.ways import (
    STORE_ZSCORE,
    WHOLE,
    Way,
    crossing,
    distance_nm,
    in_stores_unit,
    of_wavelengths,
    refusal,
    stand_in,
    takes_rgb,
)
from seamo.manifest import DatasetSpec, LayerSpec, Statistics

_POLICIES = get_args(MissingPolicy)  # the first one is to fail


@dataclass(frozen=True, slots=True)
class Channel:
    """One input channel of the network and what feeds it.

    Args:
        band: The band that the network expects here.
        layer: Layer of the store that is read; empty where nothing is (policies `zero` and `mean`).
        source: Band of that layer: `band` itself, or what stands in for it.
        index: Position of `source` in the layer.
        scale, offset: Unit conversion: x * scale + offset.
        sensor: Of `source`, where it is another than the network's.
    """

    band: str
    layer: str = ""
    source: str = ""
    index: int = 0
    scale: float = 1.0
    offset: float = 0.0
    sensor: str = ""

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
        way: How the network meets what the store has of it.
    """

    input: InputSpec
    stack: str
    layers: tuple[LayerSpec, ...]
    channels: tuple[Channel, ...]
    dropped: tuple[str, ...]
    statistics: str
    new: bool
    way: Way = "native"

    @property
    def source_sensor(self) -> str:
        """Sensor of the store that is read; the network's own, or one that stands in for it."""
        return self.layers[0].sensor

    def stand_ins(self) -> tuple[tuple[str, str, float], ...]:
        """Bands of the network that another band stands in for: (band, band of the store, distance in nm)."""
        own, other = self.input.sensor, self.source_sensor
        pairs = [(f"{own}:{one.band}", f"{other}:{one.source}") for one in self.channels if one.filled and one.source]
        return tuple((band, source, distance_nm(band, source)) for band, source in pairs)

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

    @property
    def way(self) -> Way:
        """How the network meets the data set: `native`, or what was done with some of its sensors."""
        return next((sensor.way for sensor in self.sensors if sensor.way != "native"), "native")

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
        UsageError: If there is no such policy.
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
            named=(stacks or {}).get(sensor, ""),
            only=asked.get(sensor, ()),
            sensor=sensor,
        )
        for want, sensor in _wanted(network, spec, policy, asked)
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
) -> list[tuple[InputSpec, str]]:
    """The network's inputs that the store feeds, and from which of its sensors.

    With `new-tokenizer` also sensors that the network does not know: they are added where they are asked for, or
    where the store has no others.
    """
    units = {layer.sensor: layer.unit for layer in spec.layers if layer.unit is not Unit.CLASS}
    there = [sensor for sensor in units if not asked or sensor in asked]
    known = [one.sensor for one in network.inputs]
    strange = [sensor for sensor in there if sensor not in known]
    anew = policy == "new-tokenizer" and bool(known) and (bool(asked) or strange == there)
    crossed = {one.sensor: crossing(policy, one, there, known) for one in network.inputs}
    if not anew and any(sensor not in known and sensor not in crossed.values() for sensor in asked):
        raise BandError(
            f"takes {', '.join(known) or 'no images'}; {' and '.join(asked)} is asked for", where=network.id
        )
    if len(there) < len(asked):
        raise BandError(f"has no {' and '.join(sensor for sensor in asked if sensor not in there)}", where=spec.id)
    wanted = [(one, one.sensor) for one in network.inputs if one.sensor in there]
    wanted += [(one, crossed[one.sensor]) for one in network.inputs if crossed[one.sensor]]
    if anew:
        like = network.inputs[0]
        wanted += [(replace(like, sensor=one, bands=(), unit=units[one], product=""), one) for one in strange]
    absent = [sensor for sensor in known if sensor not in there and not crossed[sensor]]
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
    sensor: str,
) -> SensorWiring:
    own = want
    stack = _pick_stack(network.id, want, spec, named, sensor)
    layers = spec.stack_layers(stack)
    units = [layer.unit for layer in layers]
    if policy == "rgb" and not takes_rgb(want):
        raise BandError("does not take red, green and blue alone", network.id, "Choose another policy.")
    if policy == "8-bit" and _is_picture(network):
        raise BandError("takes pictures, whatever their unit", network.id, "Choose the policy rgb.")
    want = in_stores_unit(want, units, policy=policy, learnt=network.learnt)
    have: dict[str, tuple[LayerSpec, int]] = {}
    for layer in layers:
        for index, name in enumerate(layer.bands):
            if name in have:
                raise BandError(f"{sensor}:{name} is in {have[name][0].id} and in {layer.id}", where=spec.id)
            have[name] = (layer, index)
    unknown = [name for name in only if name not in have]
    if unknown:
        raise BandError(f"has no {sensor}:{unknown[0]}", where=spec.id)
    have = {name: place for name, place in have.items() if not only or name in only}
    new = policy == "new-tokenizer" and (
        want.sensor not in [one.sensor for one in network.inputs] or any(name not in have for name in want.bands)
    )
    if new:
        want = _anew(want, canonical(want.sensor, list(have)), units)
    if policy == "wavelength":
        want = of_wavelengths(want, sensor, list(have), units)
    bands = want.bands or canonical(want.sensor, list(have))
    theirs = [f"{sensor}:{name}" for name in have]
    source = {
        name: stand_in(policy, f"{want.sensor}:{name}", theirs, limit_nm=network.select_nm).partition(":")[2]
        for name in bands
    }
    gone = [name for name in bands if name not in have or want.sensor != sensor]
    unfed = [f"{want.sensor}:{name}" for name in bands if not source[name]]
    if unfed and policy in WHOLE and policy != "fail":
        raise refusal(network, policy, unfed, theirs, spec.id)
    if gone and (policy == "fail" or (len(gone) == len(bands) and want.sensor == sensor)):
        raise BandError(
            f"needs {', '.join(f'{want.sensor}:{name}' for name in gone)}, {spec.id} has {', '.join(have)}",
            where=network.id,
            fix=f"Choose a missing-band policy ({', '.join(_POLICIES[1:])}); it is part of the key.",
        )
    kept = [position for position, name in enumerate(bands) if name in have or policy != "select-columns"]
    channels = tuple(_channel(network.id, bands[position], source[bands[position]], have, want) for position in kept)
    steps, origin = resolve(network.id, want, [source[name] for name in bands], have, statistics.get(stack))
    chosen = replace(want, bands=tuple(bands[position] for position in kept), steps=restrict(steps, kept, len(bands)))
    dropped = tuple(name for position, name in enumerate(bands) if position not in kept)
    way = _way(network, own, chosen, policy, other=bool(dropped) or any(one.filled for one in channels) or new)
    return SensorWiring(chosen, stack, layers, channels, dropped, origin, new, way)


def _way(network: Expects, own: InputSpec, fed: InputSpec, policy: MissingPolicy, *, other: bool) -> Way:
    """How a network meets a store with one of its inputs.

    Args:
        network: The network.
        own: Its input.
        fed: The input with what the store has.
        policy: What decided it.
        other: Whether something stands in for one of its bands, or the input layer is not the pretrained one.
    """
    if not own.bands:  # whatever bands there are: nothing to depart from
        return policy if other and policy != "fail" else "native"
    of_unit = not is_convertible(fed.unit, own.unit)
    if policy == "fail":  # random weights read any unit, and stand beside those that were pretrained
        if _is_picture(network) and own.sensor != "rgb":
            return "rgb"  # fed with a picture that was made of another sensor's bands
        return "8-bit" if of_unit else "native"
    return policy if other or of_unit or (fed.sensor, fed.bands) != (own.sensor, own.bands) else "native"


def _is_picture(network: Expects) -> bool:
    """Whether it was made for images of red, green and blue, and other sensors are made into such."""
    return network.inputs[0].sensor == "rgb" and takes_rgb(network.inputs[0])


def _anew(want: InputSpec, bands: tuple[str, ...], units: Sequence[Unit]) -> InputSpec:
    """The input of a new tokenizer: these bands, normalised as the network's own are.

    Where that takes numbers of its own and there are none for a band, all are z-scored with the store's statistics:
    what is learnt anew knows no other scaling.
    """
    if any(step.op in STORE_OPS for step in want.steps):
        return replace(want, bands=bands)
    if any(name not in want.bands for name in bands) or not all(is_convertible(unit, want.unit) for unit in units):
        return replace(want, bands=bands, unit=units[0], steps=STORE_ZSCORE, source="store")
    columns = [want.bands.index(name) for name in bands]
    return replace(want, bands=bands, steps=restrict(want.steps, columns, len(want.bands)))


def _pick_stack(network: str, want: InputSpec, spec: DatasetSpec, named: str, sensor: str) -> str:
    found = {layer.stack: layer for layer in spec.layers if layer.sensor == sensor}
    if named:
        if named not in found:
            raise ProtocolError(f"no stack {named!r} of {sensor}, there are {', '.join(found)}", where=spec.id)
        return named
    if len(found) > 1:
        found = {stack: layer for stack, layer in found.items() if layer.product == want.product}
    if len(found) != 1:
        raise ProtocolError(
            f"has several stacks of {sensor} and none or several are {want.product or 'of any product'}",
            where=spec.id,
            fix=f"Name the one that {network} reads.",
        )
    return next(iter(found))


def _channel(
    network: str, name: str, source: str, have: Mapping[str, tuple[LayerSpec, int]], want: InputSpec
) -> Channel:
    if not source:
        return Channel(name)
    layer, index = have[source]
    where = f"{network}: {layer.sensor}:{source} of layer {layer.id}"
    scale, offset = conversion(layer.unit, want.unit, where=where)
    return Channel(name, layer.id, source, index, scale, offset, layer.sensor if layer.sensor != want.sensor else "")
