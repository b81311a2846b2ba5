"""An explanation as text and as plain rows."""

from collections.abc import Iterator, Sequence
from typing import Any

from seamo_bench.board.tables import is_share, number, signed
from seamo_bench.why.explained import Explanation, Moved

_WIDEST = 44  # letters of a fact


def to_text(one: Explanation) -> str:
    """From one number to the other, fact by fact."""
    metrics = one.metric[0] if one.metric[0] == one.metric[1] else f"{one.metric[0]} -> {one.metric[1]}"
    unit = " (percent)" if is_share(one.metric[0]) else ""
    lines = [f"A  {one.a}", f"B  {one.b}", f"{metrics}{unit}", "", *_table(one), ""]
    if one.explained is None:
        lines.append("The numbers are equal.")
    else:
        lines.append(f"Single facts explain {100 * one.explained:.0f} % of the difference; {one.how}.")
    if one.chance:
        low, high = (signed(one.metric[0], end) for end in one.chance)
        zero = ", which has zero in it: chance alone may make it" if one.chance[0] <= 0 <= one.chance[1] else ""
        lines.append(f"95 % interval of the difference, paired: {low} to {high}{zero}.")
    elif one.no_chance:
        lines.append(f"No paired interval of the difference: {one.no_chance}.")
    if one.common:
        count, ours, theirs = one.common
        scores = [number(name, value) for name, value in zip(one.metric, (ours, theirs), strict=True)]
        lines.append(f"On the {count:,} test samples of both: A {scores[0]}, B {scores[1]}.")
    if one.runs:
        lines.append(f"{one.runs} runs were made.")
    if one.would_run:
        lines.append("With --stores these runs would tell more:")
        lines += [f"  {told}" for told in one.would_run]
    lines += [f"not measured: {told}" for told in one.why_not]
    lines += [f"note: {told}" for told in one.notes]
    return "\n".join(lines)


def bars(one: Explanation) -> Iterator[tuple[str, float]]:
    """(what, how much it moves), from the first number to the second; what is left last."""
    for moved in one.moved:
        yield moved.aspects[0].name, moved.effect
    if one.together is not None:
        yield f"not told apart: {names_of(one.together)}", one.together.effect
    yield "unexplained", one.unexplained


def names_of(moved: Moved) -> str:
    """The facts by name."""
    return ", ".join(aspect.name for aspect in moved.aspects)


def _table(one: Explanation) -> list[str]:
    rows = [("A", number(one.metric[0], one.values[0]), "")]
    for moved in one.moved:
        (aspect,) = moved.aspects
        rows.append((aspect.name, signed(one.metric[0], moved.effect), f"{_cut(aspect.a)} -> {_cut(aspect.b)}"))
    if one.together is not None:
        rows.append(("not told apart", signed(one.metric[0], one.together.effect), names_of(one.together)))
        rows += [("", "", f"{x.name}: {_cut(x.a)} -> {_cut(x.b)}") for x in one.together.aspects]
    rows.append(("unexplained", signed(one.metric[0], one.unexplained), ""))
    rows.append(("B", number(one.metric[1], one.values[1]), ""))
    wide = max(len(name) for name, _, _ in rows)
    return [f"{name:<{wide}}  {value:>8}  {told}".rstrip() for name, value, told in rows]


def _cut(text: str) -> str:
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 3]}..."


def to_objects(found: Sequence[Explanation]) -> list[dict[str, Any]]:
    """One plain row a pair of numbers, scores as shares."""
    return [_object(one) for one in found]


def _object(one: Explanation) -> dict[str, Any]:
    facts = [
        {"name": aspect.name, "a": aspect.a, "b": aspect.b, "effect": moved.effect}
        for moved in one.moved
        for aspect in moved.aspects
    ]
    together = one.together
    return {
        "id": f"{one.keys[0][:12] or one.a} -> {one.keys[1][:12] or one.b}",
        "a": {"title": one.a, "record": one.keys[0], "metric": one.metric[0], "value": one.values[0]},
        "b": {"title": one.b, "record": one.keys[1], "metric": one.metric[1], "value": one.values[1]},
        "difference": one.difference,
        "explained": one.explained,
        "unexplained": one.unexplained,
        "facts": facts,
        "not_told_apart": None if together is None else {
            "effect": together.effect,
            "facts": [{"name": x.name, "a": x.a, "b": x.b} for x in together.aspects],
        },
        "how": one.how,
        "runs": one.runs,
        "would_run": list(one.would_run),
        "why_not": list(one.why_not),
        "common_samples": None if one.common is None else dict(zip(("count", "a", "b"), one.common, strict=True)),
        "interval": None if one.chance is None else list(one.chance),
        "no_interval": one.no_chance,
        "notes": list(one.notes),
    }  # fmt: skip
