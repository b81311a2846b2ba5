"""Six expectations of what is published about a model, held against a leaderboard: of each model, and of the whole.

They are those of Corley et al. 2026, "No One Knows the State of the Art in Geospatial Foundation Models",
arXiv 2605.12678: weights under a named licence, shared core evaluations, baselines marked as copied or run again,
variance, one evaluation harness, controls that separate data, architecture and algorithm. What counts as met here is
ours, and stands with each (`EXPECTATIONS`). Nothing is asked of anybody: cards, records and published numbers answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from seamo_bench.records.record import Record

Met = Literal["met", "partly", "not met", "not known"]
SOURCE = "https://arxiv.org/abs/2605.12678"


@dataclass(frozen=True, slots=True)
class Expectation:
    """One of the six: what is expected, and when it counts as met here."""

    id: str
    title: str
    met: str


EXPECTATIONS: tuple[Expectation, ...] = (
    Expectation(
        "licence",
        "Weights under a named licence",
        "The card of the weights names their licence; partly: it names that of the code alone.",
    ),
    Expectation(
        "core",
        "Shared core evaluations",
        "Every column of suite `core` has a score on the full data, or a record that says why it has none; partly: "
        "some do, or on subsets, synthetic data or the demo budget.",
    ),
    Expectation(
        "copied",
        "Copied or run again",
        "Scores rest on predictions kept here, and every published number known of the model was run again on the same "
        "data, protocol and share of labels; partly: some published numbers stand as copied, each with its source.",
    ),
    Expectation(
        "variance",
        "Variance",
        "Every score has an interval, and where a run draws anything, of two seeds or more; partly: some do.",
    ),
    Expectation(
        "harness",
        "One harness",
        "All scores come from one version of this code, one of each protocol and one content of each data set; partly: "
        "from several versions of the code; not met: of a protocol or of data.",
    ),
    Expectation(
        "controls",
        "Controls",
        "In every column of the model stand image statistics (what no network needs), an untrained network of its "
        "family (architecture), one trained on the labels alone (pretraining at all), and another pretraining that "
        "differs in one thing (data or algorithm); partly: some of them.",
    ),
)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a card says of its weights.

    Args:
        licence: As it names it; empty where it says nothing.
        scope: What the licence is of: `weights`, `code`, `nothing` where no weights are loaded, `unknown`.
    """

    licence: str
    scope: Literal["weights", "code", "nothing", "unknown"]


@dataclass(frozen=True, slots=True)
class Place:
    """A cell of a suite or a table elsewhere: data set, protocol, share of the labels; sensors where they are named."""

    dataset: str
    protocol: str
    fraction: float
    sensors: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Short."""
        share = "" if self.fraction == 1 else f" {100 * self.fraction:g} %"
        return " ".join([self.dataset, *self.sensors, self.protocol]) + share

    def is_of(self, record: Record) -> bool:
        """Whether a record answers it."""
        facts = record.facts
        mine = ("+".join(store.id for store in facts.stores), facts.protocol.id, facts.split.fraction)
        if mine != (self.dataset, self.protocol, self.fraction):
            return False
        fed = facts.adapter.inputs if facts.adapter is not None else ()
        sensors = {one.sensor for one in fed} or {word.partition(":")[0] for word in facts.inputs.split()}
        return not self.sensors or sensors == set(self.sensors)


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A published number: of which backbone, and for which place."""

    id: str
    backbone: str
    place: Place


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What is asked beside the records.

    Args:
        terms: Backbone -> what its card says; without an entry nothing is known.
        core: Places of suite `core`.
        published: Numbers that others printed.
        drawing: Protocols that draw something (batches, first weights).
    """

    terms: Mapping[str, Terms]
    core: tuple[Place, ...]
    published: tuple[Elsewhere, ...]
    drawing: frozenset[str]


@dataclass(frozen=True, slots=True)
class Judged:
    """One expectation of one model, or of the whole.

    Args:
        expectation: Its id.
        met: Whether it is.
        evidence: Sentences, the decisive one first.
        records: Keys of the records that it rests on.
    """

    expectation: str
    met: Met
    evidence: tuple[str, ...]
    records: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JudgedModel:
    """A model (or group) with its six cells; `floor`: what kind of floor it is, if any."""

    name: str
    floor: str
    cells: tuple[Judged, ...]


@dataclass(frozen=True, slots=True)
class Scorecard:
    """Models in the order of the leaderboard, floors last, and the leaderboard itself.

    Args:
        models: A row each.
        board: The six cells of the whole; floors do not count among its models.
        notes: What stands above: synthetic data, subsets.
    """

    models: tuple[JudgedModel, ...]
    board: tuple[Judged, ...]
    notes: tuple[str, ...]


def to_objects(found: Scorecard) -> list[dict[str, Any]]:
    """A plain row a cell; those of the whole leaderboard have the model `leaderboard`."""
    rows = [(one.name, one.floor, cell) for one in found.models for cell in one.cells]
    rows += [("leaderboard", "", cell) for cell in found.board]
    return [
        {
            "id": f"{name}/{cell.expectation}".replace(" ", "-"),
            "model": name,
            "floor": floor,
            "expectation": cell.expectation,
            "met": cell.met,
            "evidence": list(cell.evidence),
            "records": list(cell.records),
            "notes": list(found.notes),
        }
        for name, floor, cell in rows
    ]
