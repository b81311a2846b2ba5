"""An explanation kept beside the first number's record, for the report."""

from pathlib import Path

from seamo.errors import UsageError
from seamo_bench.board.explanations import KIND, VERSION, Change, KeptExplanation
from seamo_bench.records.answers import Answer, write_answer
from seamo_bench.records.put import whole_record
from seamo_bench.why.explained import Explanation
from seamo_bench.why.shown import names_of


def keep_explanation(results: Path, one: Explanation, *, made_by: str) -> Path:
    """Write an explanation beside the records in `results` that it is of.

    Args:
        results: Folder of the first number's record.
        one: What was found out.
        made_by: The command that finds it out again.

    Returns:
        The file.

    Raises:
        UsageError: If none of its records is in `results`.
    """
    low, high = one.chance or (None, None)
    row = KeptExplanation(
        a=one.a,
        b=one.b,
        a_metric=one.metric[0],
        b_metric=one.metric[1],
        a_value=one.values[0],
        b_value=one.values[1],
        changes=_changes(one),
        explained=one.explained,
        low=low,
        high=high,
        no_interval=one.no_chance,
        how=one.how,
        runs=one.runs,
        would_run=one.would_run,
        notes=(*(f"not measured: {told}" for told in one.why_not), *one.notes),
    )
    keys = one.records or tuple(filter(None, one.keys))
    here = tuple(sorted({key for key in keys if whole_record(results, key) is not None}))
    if not here:  # it would never be out of date
        raise UsageError(
            "no record of it is there, so it cannot be kept", str(results), "Bring the records of A there."
        )
    asked = {"a": one.keys[0] or one.a, "b": one.keys[1] or one.b, "metrics": " -> ".join(one.metric)}
    return write_answer(results, Answer(KIND, VERSION, made_by, dict(asked), here, (row,)))


def _changes(one: Explanation) -> tuple[Change, ...]:
    moved = [*one.moved, *([one.together] if one.together else [])]
    found = [
        Change(
            name=names_of(step) if step is not one.together else f"not told apart: {names_of(step)}",
            told="; ".join(f"{aspect.a} -> {aspect.b}" for aspect in step.aspects),
            effect=step.effect,
        )
        for step in moved
    ]
    return (*found, Change(name="unexplained", effect=one.unexplained))
