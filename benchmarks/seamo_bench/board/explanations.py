"""Why two numbers differ, as it is kept beside the records and shown by the report (`seamo_bench.why` finds it out)."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, model_validator

from seamo.errors import ProtocolError
from seamo_bench.board.tables import is_share
from seamo_bench.facts import Value
from seamo_bench.records.answers import Answer, read_answers
from seamo_bench.records.record import Record

KIND = "why"
VERSION = 2  # of the way in which a difference is divided


def _there(name: str) -> str:
    """A metric by which numbers can be written; what was kept with one that is gone is left out."""
    try:
        is_share(name)
    except ProtocolError as error:
        raise ValueError(str(error)) from error
    return name


_MetricName = Annotated[str, AfterValidator(_there)]


class Change(Value):
    """One step from the first number to the second.

    Args:
        name: Of the facts that changed.
        told: What they were and became.
        effect: What it moves, in the metric's unit.
    """

    name: str
    told: str = ""
    effect: float


class KeptExplanation(Value):
    """A difference and what it is made of: `a_value` and all effects add up to `b_value`.

    Args:
        a, b: Whose the numbers are.
        a_metric, b_metric: What they are.
        a_value, b_value: The numbers.
        changes: In order; what stays unexplained is the last.
        explained: Share of the difference that single facts account for; None of equal numbers.
        low, high: Paired 95 % interval of the difference; None where there is none.
        no_interval: Why there is none; empty where there is one.
        how: How the effects were found, in words.
        runs: Runs between the two that were made.
        would_run: Runs that would tell more, in words.
        notes: What else a reader must know.
    """

    a: str
    b: str
    a_metric: _MetricName
    b_metric: _MetricName
    a_value: float
    b_value: float
    changes: tuple[Change, ...]
    explained: float | None
    low: float | None
    high: float | None
    no_interval: str
    how: str
    runs: int
    would_run: tuple[str, ...]
    notes: tuple[str, ...]

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.low is None) != (self.high is None):
            raise ValueError("has one end of an interval")
        return self


def kept_explanations(results: Path, records: tuple[Record, ...]) -> tuple[Answer[KeptExplanation], ...]:
    """All that were kept beside these records."""
    known = [record.key for record in records]
    return read_answers(results, KIND, KeptExplanation, version=VERSION, known=known)
