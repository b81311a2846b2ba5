"""The cell of given facts, planned as a suite's row is: what a record says is built again, or it is said why not."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from seamo.bands import Unit
from seamo.errors import ProtocolError
from seamo.inputs.spec import InputSpec, Step
from seamo.store.reader import Store
from seamo_bench.facts import AdapterFacts, Facts, InputFacts, asked_of, run_key
from seamo_bench.protocol import Progress, silent
from seamo_bench.protocols import find_protocol
from seamo_bench.records.put import whole_record
from seamo_bench.records.record import Record
from seamo_bench.runs.cells import Impossible, Planned
from seamo_bench.runs.estimate import CPU
from seamo_bench.runs.notes import NOTHING
from seamo_bench.runs.plan import Places, make_plan
from seamo_bench.runs.run import Machine, run_plan
from seamo_bench.suites.suite import JOIN, Row, Suite
from seamo_bench.tasks.stores import stores_of_facts
from seamo_bench.why.aspects import date_of, is_from_store, kernel_of
from seamo_bench.zoo.catalogue import Found, find_card

_OTHER = "{what} here is {here}, not {wanted}"


@dataclass(frozen=True, slots=True)
class Bench:
    """Where the runs between two numbers are made.

    Args:
        places: Stores, results of these runs (with their caches), weights.
        names: Id of a backbone -> the name by which it is found here: a run's folder.
        machine: Where to run.
        progress: Called with (done, total, name) before each cell.
        inner: Called from inside a cell.
    """

    places: Places
    names: Mapping[str, str] = field(default_factory=dict)
    machine: Machine = field(default_factory=Machine)
    progress: Progress = silent
    inner: Progress = silent

    def run(self, cell: Planned) -> Record:
        """The record of a cell of one seed, run now if it was not before.

        Raises:
            ProtocolError: If it fails.
        """
        (facts,) = cell.facts.values()
        key = run_key(facts)
        done = list(run_plan([cell], self.places, machine=self.machine, progress=self.progress, inner=self.inner))
        failed = [one.reason for one in done if one.key == key and one.status != "ok"]
        record = whole_record(Path(self.places.results), key)
        if record is None:
            raise ProtocolError(f"failed: {failed[0] if failed else 'it left no record'}", cell.id)
        return record


def plan_facts(wanted: Facts, bench: Bench) -> Planned:
    """The cell of these facts and no others, of one seed.

    The backbone's own card is taken where it reads the store as the facts say; else the card with the bands, unit,
    steps and kernel that they state, so that a record of another wrapper's input can be run again.

    Args:
        wanted: Of a record, or mixed of two; empty lists and an empty card's digest are filled in.
        bench: Where it would run.

    Raises:
        ProtocolError: If the facts cannot be had here: another version of the protocol, other weights, no such store.
        StoreError, UsageError: If the store is not there, or nobody knows the backbone.
    """
    version = find_protocol(wanted.protocol.id).version
    if version != wanted.protocol.version:
        told = _OTHER.format(what="version", here=version, wanted=wanted.protocol.version)
        raise ProtocolError(told, f"protocol {wanted.protocol.id}")
    name = bench.names.get(wanted.backbone.id, wanted.backbone.id)
    found = find_card(name)
    chosen = stores_of_facts(bench.places.stores, wanted)
    suite = Suite(id="why", rows=(_row_of(wanted, _name_among(*chosen[0])),))
    contents = [store.content for store, _ in chosen]
    first: tuple[str, ...] = ()
    for candidate in (found, _rebuilt(found, wanted.adapter)):
        if candidate is None:
            continue
        given = {name: candidate}
        # Records of before are looked up by key, one by one: a table's folder is not read for every run.
        (cell,) = make_plan(suite, [name], bench.places, wanted.budget, past=NOTHING, speed=CPU, given=given)
        wrong = (cell.reason,) if isinstance(cell, Impossible) else _other(cell, wanted, contents)
        if isinstance(cell, Planned) and not wrong:
            return _of_seed(cell, wanted.seed)
        first = first or wrong
    raise ProtocolError(f"cannot be run here: {'; '.join(first)}", wanted.backbone.id)


def _other(cell: Planned, wanted: Facts, contents: list[str]) -> tuple[str, ...]:
    """What of a planned cell is not as wanted: that of its seed, and the very stores."""
    here = cell.facts.get(wanted.seed)
    if here is None:
        return (f"there is no seed {wanted.seed} with this split and budget",)
    found = differing(here, wanted)
    ours = [one.content for one in here.stores]
    return found if ours == contents else (*found, _OTHER.format(what="the data", here=ours, wanted=contents))


def _of_seed(cell: Planned, seed: int) -> Planned:
    todo = tuple(one for one in cell.todo if one == seed)
    return replace(cell, facts={seed: cell.facts[seed]}, trials={seed: cell.trials[seed]}, todo=todo)


def _row_of(facts: Facts, view: str) -> Row:
    """The row of a suite whose cells have these facts; `view` names its first store among others."""
    asked = asked_of(facts.inputs)
    adapter = facts.adapter
    when = re.match(r"\d+", date_of(adapter.resize)) if adapter is not None else None
    known = find_protocol(facts.protocol.id).defaults
    unknown = sorted(set(facts.protocol.params) ^ set(known))
    if unknown:
        raise ProtocolError(f"parameter {unknown[0]!r} is not in both", f"protocol {facts.protocol.id}")
    return Row(
        store=JOIN.join(store.id for store in facts.stores),
        protocol=facts.protocol.id,
        inputs=asked.inputs,
        split=facts.split.scheme,
        fraction=facts.split.fraction,
        params=dict(facts.protocol.params),
        label_space=facts.task.label_space,
        view=view,
        missing=None if adapter is None else adapter.missing,
        size=asked.size,
        date=int(when[0]) if when else 0,
        seeds=facts.seed + 1,
        precision=facts.precision,
    )


def _name_among(chosen: Store, there: list[Store]) -> str:
    """By which a row names a store among others: its view or, where they share that, its build."""
    if len(there) < 2:
        return ""
    views = [store.meta.view for store in there]
    return chosen.meta.view if views.count(chosen.meta.view) == 1 else chosen.meta.build


def _rebuilt(found: Found, adapter: AdapterFacts | None) -> Found | None:
    """A card whose inputs are those that a record states; None where it states none, or another sensor's."""
    if adapter is None:
        return None
    stated = {one.sensor: one for one in adapter.inputs}
    own = {one.sensor: one for one in found.card.inputs}
    if not stated.keys() <= own.keys():
        return None
    inputs = tuple(_input(one, stated[sensor]) if sensor in stated else one for sensor, one in own.items())
    kernel = kernel_of(adapter.resize)
    resize = kernel if kernel in ("bilinear", "bicubic-native") else found.card.resize
    return replace(found, card=replace(found.card, inputs=inputs, resize=resize))  # type: ignore[arg-type]


def _input(own: InputSpec, stated: InputFacts) -> InputSpec:
    steps = tuple(Step(step.op, step.a, step.b) for step in stated.steps)  # type: ignore[arg-type]
    if is_from_store(stated):
        return replace(own, bands=stated.bands, unit=Unit(stated.unit), steps=_asked(steps), source="store")
    return replace(own, bands=stated.bands, unit=Unit(stated.unit), steps=steps, source=stated.statistics)


def _asked(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """Steps that ask for the store's numbers, of those that have them (`seamo.inputs.steps.resolve`)."""
    asked: list[Step] = []
    for number, step in enumerate(steps):
        after = steps[number + 1] if number + 1 < len(steps) else Step("affine")
        if step.op == "affine":
            asked.append(Step("store-2std" if after == Step("clip", (0.0,), (1.0,)) else "store-zscore"))
        elif not (asked and asked[-1].op == "store-2std" and step == Step("clip", (0.0,), (1.0,))):
            asked.append(step)
    return tuple(asked)


def differing(here: Facts, wanted: Facts) -> tuple[str, ...]:
    """What of planned facts is not as wanted, in words; what the wanted facts leave open is as it comes.

    A card's digest is not compared: what it decides of the input is, and weights have their own.
    """
    found = []

    def same(what: str, ours: object, theirs: object) -> None:
        if ours != theirs:
            found.append(_OTHER.format(what=what, here=_short(ours), wanted=_short(theirs)))

    same("the task", here.task, wanted.task)
    same("the split", here.split.scheme, wanted.split.scheme)
    same("the label fraction", (here.split.fraction, here.split.rule), (wanted.split.fraction, wanted.split.rule))
    if wanted.split.lists:
        same("the sample lists", here.split.lists, wanted.split.lists)
    same("the weights", here.backbone.weights, wanted.backbone.weights)
    same("the protocol", here.protocol, wanted.protocol)
    same("the budget", here.budget, wanted.budget)
    same("the precision", here.precision, wanted.precision)
    if here.adapter is not None and wanted.adapter is not None:
        same("the input", _fed(here.adapter), _fed(wanted.adapter))
        stored = [one.sensor for one in wanted.adapter.inputs if is_from_store(one)]
        for one, other in zip(here.adapter.inputs, wanted.adapter.inputs, strict=False):
            is_known = bool(wanted.backbone.card) or one.sensor not in stored
            if is_known:
                same(f"the normalisation of {one.sensor}", one.steps, other.steps)
    return tuple(found)


def _fed(adapter: AdapterFacts) -> object:
    inputs = [(one.sensor, one.bands, one.unit, one.filled, one.sources, is_from_store(one)) for one in adapter.inputs]
    return inputs, adapter.missing, adapter.size, kernel_of(adapter.resize), date_of(adapter.resize)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
