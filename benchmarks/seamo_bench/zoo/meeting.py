"""How backbones meet stores: as they were made to, by another way, or not at all and why. No torch here."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from seamo.bands import Unit, is_optical
from seamo.errors import BandError, ProtocolError, UsageError
from seamo.inputs.spec import MissingPolicy
from seamo.inputs.units import is_convertible
from seamo.inputs.ways import Way, takes_rgb
from seamo.inputs.wiring import Wiring, check_trained, wire
from seamo.manifest import DatasetSpec, Statistics
from seamo_bench.card import BackboneCard
from seamo_bench.facts import AdapterFacts
from seamo_bench.family import Family
from seamo_bench.zoo.catalogue import check_selection

REFUSALS = (BandError, ProtocolError, UsageError)


@dataclass(frozen=True, slots=True)
class Meeting:
    """One backbone and one data set.

    Args:
        wiring: How it reads it; None where it cannot.
        refused: (way, why not) of what was tried before, or of all ways.
    """

    wiring: Wiring | None
    refused: tuple[tuple[Way, str], ...]

    @property
    def way(self) -> str:
        """In one word; `cannot` where there is none."""
        return "cannot" if self.wiring is None else self.wiring.way

    @property
    def why(self) -> str:
        """Why not as it was made to, then why by no other way; empty where nothing was refused.

        A way that fails as the first one did is not told again.
        """
        if not self.refused:
            return ""
        (_, first), *others = self.refused
        told = {way: reason for way, reason in others if reason != first}
        return "; ".join([first, *(f"by {way}: {reason}" for way, reason in told.items())])


def meet(
    card: BackboneCard,
    family: Family,
    spec: DatasetSpec,
    *,
    missing: MissingPolicy | None = None,
    ways: Sequence[MissingPolicy] | None = None,
    trains: bool = True,
    statistics: Mapping[str, Statistics],
    size: int | None = None,
    date: int = 0,
    inputs: Sequence[str] = (),
) -> Meeting:
    """Find out how a backbone reads a data set: as it was made to, else by the first way that works.

    Args:
        card: Of the backbone, whole.
        family: Its family.
        spec: Of the store.
        missing: The policy that is asked for, and no other.
        ways: What may be tried, in this order; what the family cannot do is passed over. None = all, those first that
            change least (`Family.ways_of`).
        trains: Whether the network will be trained; if not, new tokenizers are refused.
        statistics: As `seamo.inputs.wiring.wire`, like the rest.
        size: Image size in pixels.
        date: Which date of every stack.
        inputs: Sensors that are fed, with some of their bands.

    Raises:
        BandError, ProtocolError, UsageError: If nothing else may be tried.
    """
    can = family.ways_of(card)
    able = can if ways is None else tuple(way for way in ways if way in can)
    tried: list[MissingPolicy | None] = [missing] if missing else [None, *able]
    refused: list[tuple[Way, str]] = []
    for policy in tried:
        try:
            wiring = wire(
                card.expects, spec, missing=policy, statistics=statistics, size=size, date=date, inputs=inputs
            )
            check_selection(wiring, family)
            if policy == "new-tokenizer" and not missing:
                _check_kind(card, spec, wiring)
            if not trains:
                check_trained(wiring)
        except REFUSALS as error:
            if len(tried) == 1:
                raise
            refused.append((policy or "native", _reason(card, error)))
        else:
            return Meeting(wiring, tuple(refused))
    return Meeting(None, tuple(refused))


def _reason(card: BackboneCard, error: BandError | ProtocolError | UsageError) -> str:
    """What was refused, without the backbone's name in front, and without the advice: all policies are tried."""
    return error.what if error.where in ("", card.id) else f"{error.where}: {error.what}"


def _check_kind(card: BackboneCard, spec: DatasetSpec, wiring: Wiring) -> None:
    """Refuse a new tokenizer for radar on a network that knows none, or the reverse: little of it would be the same."""
    kinds = {is_optical(one.sensor) for one in card.inputs}
    for one in wiring.sensors:
        if one.new and is_optical(one.input.sensor) not in kinds:
            made = "sunlight" if True in kinds else "radar"
            raise BandError(f"was made for {made}, {one.input.sensor} of {spec.id} is none", card.id)


def way_of_facts(card: BackboneCard, adapter: AdapterFacts) -> str:
    """How a backbone met a store, as the facts of a run and its card say: what `Wiring.way` was.

    Image statistics are of whatever there is, and meet every store natively.

    Args:
        card: Of the backbone, whole.
        adapter: Of the run.
    """
    if dict(card.variant).get("floor") == "image statistics":
        return "native"
    own = {one.sensor: one for one in card.inputs}
    fails = adapter.missing == "fail"
    picture = card.inputs[0].sensor == "rgb" and takes_rgb(card.inputs[0])
    if fails and picture and any(one.sensor != "rgb" for one in adapter.inputs):
        return "rgb"
    for fed in adapter.inputs:
        known = own.get(fed.sensor)
        if known is not None and not known.bands and not fed.filled:
            continue
        if known is None or fed.filled or fed.bands != known.bands or not is_convertible(Unit(fed.unit), known.unit):
            return "8-bit" if fails else adapter.missing
    return "native"


def assumed_statistics(spec: DatasetSpec) -> dict[str, Statistics]:
    """Numbers in place of those that a store would have: enough to say how it would be read, and for nothing else."""
    found = {}
    for stack in spec.stacks:
        layers = [layer for layer in spec.stack_layers(stack) if layer.unit is not Unit.CLASS]
        names = [name for layer in layers for name in layer.bands]
        if layers:
            ones = dict.fromkeys(names, 1.0)
            found[stack] = Statistics(source="assumed", unit=layers[0].unit, mean=dict.fromkeys(names, 0.0), std=ones)
    return found


def meetings(
    found: Iterable[tuple[str, BackboneCard, Family]], specs: Mapping[str, DatasetSpec]
) -> dict[tuple[str, str], Meeting]:
    """(name, data set id) -> how each backbone would read each data set if the store and its weights were there."""
    known = {name: assumed_statistics(spec) for name, spec in specs.items()}
    return {
        (name, place): meet(card, family, spec, statistics=known[place])
        for name, card, family in found
        for place, spec in specs.items()
    }


def is_optical_card(card: BackboneCard) -> bool:
    """Whether a backbone reads sunlight: only such are counted against optical stores."""
    return any(is_optical(one.sensor) for one in card.inputs)


def is_optical_spec(spec: DatasetSpec) -> bool:
    """Whether a data set has an optical layer."""
    return any(is_optical(layer.sensor) for layer in spec.layers)
