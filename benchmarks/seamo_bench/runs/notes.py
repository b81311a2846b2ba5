"""What a plan says about a cell beside its facts: flags of its record, what to know before, what it may cost."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from seamo.addresses import disk_path
from seamo.files import open_files
from seamo.inputs.steps import FROM_STORE
from seamo.inputs.units import is_convertible
from seamo.inputs.ways import CROSSING, WHOLE
from seamo.inputs.wiring import Wiring
from seamo.store.samples import Samples
from seamo_bench.card import BackboneCard
from seamo_bench.facts import Budget, Facts, TaskFacts, run_key
from seamo_bench.protocol import Protocol, Split
from seamo_bench.records.layout import beside_path
from seamo_bench.records.record import About, Flag, Floor, Record, read_records
from seamo_bench.records.there import records_there
from seamo_bench.runs.estimate import Throughput, measured_throughput
from seamo_bench.suites.suite import Row
from seamo_bench.tasks.stores import parts_of
from seamo_bench.tasks.trials import left_out, tested_in_statistics


def flags_of(card: BackboneCard, wiring: Wiring, store: Samples) -> tuple[Flag, ...]:
    """What a reader of the record must know about this backbone on this store."""
    flags = []
    of_anything = dict(card.variant).get("floor") == "image statistics"
    if not of_anything and (told := ways_told(wiring) or _other_units(card, wiring)):
        flags.append(Flag(kind="other-input", text=told))
    made_up = [channel.band for one in wiring.sensors for channel in one.channels if channel.filled]
    if made_up and wiring.missing not in CROSSING:  # which names what it reads instead
        flags.append(Flag(kind="filled-bands", text=f"{', '.join(made_up)} not in the store: {wiring.missing}"))
    dropped = [name for one in wiring.sensors for name in one.dropped]
    if dropped:
        flags.append(Flag(kind="filled-bands", text=f"{', '.join(dropped)} not in the store: input columns left out"))
    new = [f"{one.input.sensor}:{'+'.join(one.input.bands)}" for one in wiring.sensors if one.new]
    if new:
        flags.append(Flag(kind="filled-bands", text=f"a new tokenizer for {' and '.join(new)}"))
    flags.extend(seen_flags(card.pretrained_on, [part.spec.id for part in parts_of(store)]))
    if card.weights is not None and card.weights.noncommercial:
        flags.append(Flag(kind="licence", text=f"weights are licensed {card.weights.licence}: not for commercial use"))
    if not card.verified:
        flags.append(Flag(kind="unverified-card", text="no reference output proves this implementation"))
    return tuple(flags)


def ways_told(wiring: Wiring) -> str:
    """How the network met the store, in words; empty where it was fed as it was made to be, or something was made up.

    What stands in for what is named, with the distance of their centre wavelengths.
    """
    if wiring.way not in WHOLE:  # the others are told as bands that are not in the store
        return ""
    pairs = [
        f"{band} from {source} ({apart:g} nm)" for one in wiring.sensors for band, source, apart in one.stand_ins()
    ]
    fed = [f"{one.input.sensor}:{'+'.join(one.input.bands)}" for one in wiring.sensors if one.way != "native"]
    units = {one.input.unit.value for one in wiring.sensors if one.way != "native"}
    what = ", ".join(pairs) or f"{' and '.join(fed)} in {' and '.join(sorted(units))}"
    return f"by {wiring.way}: {what}"


def _other_units(card: BackboneCard, wiring: Wiring) -> str:
    """Which sensors are read in a unit that says nothing of the card's, beside what was done with their bands."""
    own = {one.sensor: one.unit for one in card.inputs if one.bands and card.availability != "none needed"}
    read = [one.input for one in wiring.sensors if not one.new and one.input.sensor in own]
    other = [one for one in read if not is_convertible(one.unit, own[one.sensor])]
    return ", ".join(f"{one.sensor} is read in {one.unit.value}, as the store has it" for one in other)


def seen_flags(pretrained_on: Sequence[str], tested: Sequence[str]) -> tuple[Flag, ...]:
    """What was seen in pretraining of what is tested on.

    Args:
        pretrained_on: Data set ids of the card.
        tested: Those of the stores.
    """
    seen = [name for name in tested if name in pretrained_on]
    return tuple(Flag(kind="seen-in-pretraining", text=f"pretrained on {name}") for name in seen)


def told_of_card(card: BackboneCard) -> dict[str, Any]:
    """What records say about a backbone beside their facts: fields of `About`."""
    return {**told_of(card.title, card.family, dict(card.variant)), "pretraining": dict(card.pretraining)}


def told_of(title: str, family: str, variant: Mapping[str, Any]) -> dict[str, Any]:
    """The part of `told_of_card` that the card's digest covers."""
    seed, floor = variant.get("pretraining_seed"), str(variant.get("floor", ""))
    return {
        "backbone": title,
        "family": family,
        "group": str(variant.get("group", "")),
        "pretraining_seed": seed if isinstance(seed, int) else None,
        "floor": floor if floor in get_args(Floor) else "",
    }


def row_flags(row: Row, scheme: str, protocol: Protocol, budget: Budget) -> tuple[Flag, ...]:
    """What a reader must know about the row of the suite.

    Its own flag speaks of a recipe: nothing is said of one whose parameters the demo budget has replaced.
    """
    replaced = budget == "demo" and any(name in protocol.demo for name in row.params)
    flags = [Flag(kind="recipe", text=row.flag)] if row.flag and not replaced else []
    if row.split and scheme != row.split:
        flags.append(Flag(kind="recipe", text=f"split {scheme} instead of {row.split}, for the demo budget"))
    return tuple(flags)


def split_flags(wiring: Wiring, store: Samples, trials: Sequence[Split]) -> tuple[Flag, ...]:
    """What a reader must know about the way samples were split, and about what is tested."""
    flags = []
    tested = np.unique(np.concatenate([trial.test for trial in trials]))
    blank = len(tested) - int(np.any([store.are_valid(tested, layer) for layer in wiring.layers], axis=0).sum())
    if blank:
        text = f"{blank:,} of {len(tested):,} test samples hold no measured pixel: what is said of them is a guess"
        flags.append(Flag(kind="data-check", text=text))
    rests = any(one.statistics.startswith(FROM_STORE) for one in wiring.sensors)
    if share := tested_in_statistics(store, trials) if rests else 0.0:
        of = f"that {share:.0%} of the test samples are part of"
        flags.append(Flag(kind="data-check", text=f"inputs are normalised with band statistics (no labels) {of}"))
    return tuple(flags)


def left_out_flags(store: Samples, labels: NDArray[Any], task: TaskFacts, scheme: str) -> tuple[Flag, ...]:
    """What a reader must know about samples that a split has and no run uses."""
    counts = left_out(store, labels, scheme)
    if not counts:
        return ()
    told = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    total = sum(counts.values())
    text = f"left out: {total:,} sample{'s' * (total != 1)} without any class of {task.label_space} ({told})"
    return (Flag(kind="data-check", text=text),)


def checks_of(card: BackboneCard, wiring: Wiring, store: Samples) -> tuple[str, ...]:
    """What to know before running, in words."""
    notes = []
    if card.weights is not None and not (card.weights.sha256 or card.weights.md5):
        notes.append("no hash of its weights is published: they are held against the network, key by key")
    if store.meta.synthetic is not None:
        notes.append("synthetic data")
    if store.meta.subset:
        notes.append(f"subset: {store.meta.subset}")
    if store.meta.counts.bad:
        notes.append(f"{store.meta.counts.bad} samples could not be read when it was built")
    for one in wiring.sensors:
        products = {layer.product for layer in one.layers if layer.product}
        if one.input.product and products - {one.input.product}:
            notes.append(f"{one.stack} is {', '.join(sorted(products))}, the weights were made on {one.input.product}")
    return tuple(notes)


@dataclass(frozen=True, slots=True)
class Past:
    """What earlier runs left.

    Args:
        done: Keys of runs that ended well and whose predictions are there.
        rates: (protocol, backbone, budget) -> seconds a sample, median over its records.
        throughput: Of the device that they were made on; None without records that tell.
    """

    done: frozenset[str]
    rates: Mapping[tuple[str, str, str], float]
    throughput: Throughput | None = None

    def is_done(self, facts: Facts) -> bool:
        """Whether these facts have a record; a damaged one is none: it is run again and replaced."""
        return run_key(facts) in self.done

    def estimate(self, facts: Facts, about: About, seeds: int) -> float | None:
        """Seconds, from what the same protocol and backbone took before, by sample; None without such a record."""
        rate = self.rates.get(_kind(facts))
        if rate is None or not seeds:
            return None
        return rate * max(1, sum(about.samples.values())) * seeds


NOTHING = Past(frozenset(), {})


def read_past(results: Path) -> Past:
    """What a folder of results holds, or an address; nothing where there is none."""
    good = list(_good(results) if disk_path(results) is not None else records_there(open_files(results)))
    rates: dict[tuple[str, str, str], list[float]] = {}
    for record in good:
        if record.cost.seconds:
            rate = record.cost.seconds / max(1, sum(record.about.samples.values()))
            rates.setdefault(_kind(record.facts), []).append(rate)
    done = frozenset(record.key for record in good)
    medians = {kind: float(np.median(found)) for kind, found in rates.items()}
    return Past(done, medians, measured_throughput(good))


def _good(folder: Path) -> Iterator[Record]:
    for record in read_records(folder).records if folder.is_dir() else ():
        file = record.predictions
        if record.status == "ok" and file is not None and beside_path(folder, file.name, file.sha256).is_file():
            yield record


def _kind(facts: Facts) -> tuple[str, str, str]:
    return facts.protocol.id, facts.backbone.id, facts.budget
