"""A world of records to explain, and the facts that are planted in it."""

from dataclasses import replace
from pathlib import Path

from seamo_bench.facts import run_key
from seamo_bench.protocol import silent
from seamo_bench.records.record import Record, read_record
from seamo_bench.runs.estimate import CPU
from seamo_bench.runs.notes import NOTHING
from seamo_bench.runs.plan import Places, make_plan
from seamo_bench.runs.run import Machine, run_plan
from seamo_bench.suites.suite import Row, Suite
from seamo_bench.why.aspects import aspects_of
from seamo_bench.why.between import Bench
from seamo_bench.why.explained import Explanation, explain, side_of
from seamo_bench.zoo.catalogue import find_card

NETWORK = "timm:test_vit@random"  # small, and every channel has weights of its own


class World:
    """Stores, and a folder of records that are run when they are asked for."""

    def __init__(self, folder: Path) -> None:
        self.stores, self.results, self.scratch = folder / "stores", folder / "results", folder / "between"

    def made(self, name=NETWORK, *, card=None, into=None, **row) -> Record:
        """The record of a row; with a card, as a wrapper that nobody here knows would have made it."""
        places = Places(self.stores, into or self.results, self.stores)
        given = {} if card is None else {name: replace(find_card(name), card=card)}
        row = {"protocol": "logreg", "seeds": 1, **row}
        if row["protocol"] == "logreg":  # one penalty, and none chosen on validation
            row["params"] = {"C": 1.0, **row.get("params", {})}
        suite = Suite(id="one", rows=(Row(**row),))
        (cell,) = make_plan(suite, [name], places, past=NOTHING, speed=CPU, given=given)
        list(run_plan([cell], places, machine=Machine(), progress=silent, inner=silent))
        return read_record(places.results / f"{run_key(cell.facts[0])}.json")

    def all(self) -> list[Record]:
        return [read_record(path) for path in self.results.glob("*.json")]

    @property
    def bench(self) -> Bench:
        return Bench(Places(self.stores, self.scratch, self.stores))

    def why(self, a: Record, b: Record, metric="", *, metric_b="", runs=True) -> Explanation:
        sides = side_of(a, self.results, metric), side_of(b, self.results, metric_b or metric)
        return explain(*sides, bench=self.bench if runs else None)


def changed(name, **how):
    """The card of a wrapper that feeds something else: field of its inputs -> what it makes of that."""
    card = find_card(name).card
    inputs = [replace(one, **{field: make(getattr(one, field)) for field, make in how.items()}) for one in card.inputs]
    return replace(card, inputs=tuple(inputs))


def other_steps(steps):
    return (replace(steps[0], op="affine", a=(0.0,), b=(50_000.0,)),)


# What is planted -> (the fact that must be named first, how).
PLANTED = {
    "normalisation": lambda: {"card": changed(NETWORK, steps=other_steps)},
    "bands": lambda: {"card": changed(NETWORK, bands=lambda bands: bands[::-1])},
    "kernel": lambda: {"card": replace(find_card(NETWORK).card, resize="bicubic-native")},
    "split": lambda: {"split": "hash-60-20-20"},
    "label fraction": lambda: {"fraction": 0.2},
    "parameter C": lambda: {"params": {"C": 0.003}},
}


def check_planted(world: World, fact: str, *, metric: str, planted=None, **common) -> Explanation:
    """One fact is planted and one that moves next to nothing lies beside it: which of the two it was is measured."""
    a = world.made(store="eurosat", **common)
    planted = PLANTED[fact]() if planted is None else dict(planted)
    params = {"max_iter": 1999, **planted.pop("params", {})}
    b = world.made(store="eurosat", **common, **planted, params=params)
    told = world.why(a, b, metric)
    assert {one.name for one in aspects_of(a.facts, b.facts)} == {fact, "parameter max_iter"}
    assert told.values == (a.scores[metric], b.scores[metric])
    assert abs(told.difference) > 1e-4, "nothing was planted"
    assert told.moved[0].aspects[0].name == fact
    assert abs(told.moved[0].effect - told.difference) <= 0.05 * abs(told.difference)
    assert told.explained >= 0.95
    return told
