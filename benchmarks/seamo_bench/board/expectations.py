"""Six expectations of what is published about a model, held against a leaderboard: of each model, and of the whole.

They are those of Corley et al. 2026, "No One Knows the State of the Art in Geospatial Foundation Models",
arXiv 2605.12678: weights under a named licence, shared core evaluations, baselines marked as copied or run again,
variance, one evaluation harness, controls that separate data, architecture and algorithm. What counts as met here is
ours, and stands with each (`EXPECTATIONS`). Nothing is asked of anybody: cards, records and published numbers answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from seamo_bench.board.compare import column_of
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
        "The card of all weights names their licence; partly: it names that of the code alone. Not known: the card "
        "does not know it, or a run had another card or other weights.",
    ),
    Expectation(
        "core",
        "Shared core evaluations",
        "Every column of suite `core` has a score on the full data; partly: some do, or on subsets, synthetic data or "
        "the demo budget. A record that something cannot be run is no score: it does not tell whether that lies in the "
        "model or in what was at hand.",
    ),
    Expectation(
        "copied",
        "Copied or run again",
        "Scores rest on predictions kept here, and every published number known of the model was run again on the same "
        "data, split and share of labels: of SeaMo's tables by the protocol that they print, of others by the one here "
        "that is nearest to theirs; partly: some published numbers stand as copied, each with its source. Not known: "
        "no published number of it is.",
    ),
    Expectation(
        "variance",
        "Variance",
        "Every score has an interval, and where a run draws anything, of two seeds or more; partly: some do. Not "
        "known: one seed of a protocol that is not installed here.",
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
        "differs in one thing (data or one setting; how far it was trained alone is none); partly: some of them.",
    ),
)


@dataclass(frozen=True, slots=True)
class LicenceTerms:
    """What a card says of its weights.

    Args:
        licence: As it names it; empty where it says nothing.
        scope: What the licence is of: `weights`, `code`, `nothing` where no weights are loaded; `unknown` where the
            card does not know it, `changed` where a run had another card or other weights than those that are listed.
    """

    licence: str
    scope: Literal["weights", "code", "nothing", "unknown", "changed"]


@dataclass(frozen=True, slots=True)
class EvaluationPlace:
    """A column of a suite.

    Args:
        dataset: Ids joined by `+`.
        protocol: Protocol id.
        fraction: Of the training labels.
        inputs: What the suite's row asks of the input, as records have it.
        scheme: Split scheme; empty = any.
        params: (budget, all parameters of the protocol as `Column` has them); empty = any.
    """

    dataset: str
    protocol: str
    fraction: float
    inputs: str = ""
    scheme: str = ""
    params: tuple[tuple[str, str], ...] = ()

    @property
    def title(self) -> str:
        """Short."""
        share = "" if self.fraction == 1 else f" {100 * self.fraction:g} %"
        return " ".join([self.dataset, *self.inputs.split(), self.protocol]) + share

    def is_of(self, record: Record) -> bool:
        """Whether a record answers it."""
        mine = column_of(record)
        return (
            (mine.dataset, mine.protocol, mine.fraction, mine.inputs)
            == (self.dataset, self.protocol, self.fraction, self.inputs)
            and self.scheme in ("", mine.scheme)
            and (not self.params or (mine.budget, mine.params) in self.params)
        )


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A published number.

    Args:
        id: Its own.
        of: Keys of the records whose backbone it is of.
        again: Keys of those that ran it again.
    """

    id: str
    of: frozenset[str]
    again: frozenset[str]


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What is asked beside the records.

    Args:
        terms: Backbone -> what its card says; without an entry nothing is known.
        core: Places of suite `core`.
        published: Numbers that are printed somewhere.
        drawing: Protocol -> whether it draws something (batches, first weights); without an entry nobody knows.
    """

    terms: Mapping[str, LicenceTerms]
    core: tuple[EvaluationPlace, ...]
    published: tuple[Elsewhere, ...]
    drawing: Mapping[str, bool]


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
