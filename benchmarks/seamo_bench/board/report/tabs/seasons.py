"""What the season does to each score, where it was asked of the stores (`seamo-bench seasons`)."""

from collections.abc import Mapping, Sequence

from seamo_bench.board.leaderboard import Head
from seamo_bench.board.report.columns import chips
from seamo_bench.board.report.page import Page, Tab
from seamo_bench.board.seasons import SEASON_NAMES, SeasonFigure, SeasonRow, averaged, counted, known_seasons
from seamo_bench.board.tables import number
from seamo_bench.scores.metrics import metric

_MOST = 200  # rows of a column
_MOST_REASONS = 12
_ASKED = ("Flips", "Flips, two seasons", "Flips, one season", "Flips, difference", "Season read off", "Place found")


def view(page: Page, heads: Sequence[Head]) -> Mapping[str, object] | None:
    """A table a column: scores by season, flips between dates, and what the features tell of the season."""
    known = known_seasons(page.results, [record.key for record in page.found.records])
    parts = []
    for head in heads:
        rows = [(row, known[row.id, head.column.id]) for row in page.made.rows if (row.id, head.column.id) in known]
        rows = [(row, one) for row, one in rows if one.metric == head.metric]
        if not rows:
            continue
        seasons = [name for name in SEASON_NAMES if any(part.season == name for _, one in rows for part in one.parts)]
        lines = [(row, _cells(one, head.metric, seasons)) for row, one in rows[:_MOST]]
        names = (*(name.capitalize() for name in seasons), *_ASKED)
        parts.append(
            {
                "head": head,
                "chips": chips(page.made, head),
                "metric": metric(head.metric).title,
                "names": names,
                "about": _about([one for _, one in rows]),
                "lines": lines,
                "reasons": _reasons(names, [cells for _, cells in lines]),
                "cut": max(0, len(rows) - _MOST),
            }
        )
    return {"parts": parts} if parts else None


def _about(rows: Sequence[SeasonRow]) -> str:
    most = max(rows, key=lambda one: one.images)
    dates = "one date of each" if most.dates < 2 else f"up to {most.dates} dates of each ({most.form})"
    undated = f", {most.undated:,} of them in no season" if most.undated else ""
    asked = (("season read off", [one.probe for one in rows]), ("place found", [one.recall for one in rows]))
    chances = [f"{what} {_chance(figures)}" for what, figures in asked if _chance(figures)]
    chance = f" By chance: {', '.join(chances)}." if chances else ""
    return f"{most.places:,} test places, {dates}; {most.images:,} predicted images{undated}.{chance}"


def _chance(figures: Sequence[SeasonFigure]) -> str:
    """Of the rows that were asked; they differ where runs read dates that others lack."""
    known = sorted({one.chance for one in figures if one.chance is not None})
    ends = dict.fromkeys(number("share", one) for one in (known[:1] + known[-1:]))
    return " to ".join(ends)


def _reasons(names: Sequence[str], lines: Sequence[Sequence[Mapping[str, object]]]) -> list[tuple[str, str]]:
    """Why there is no number, or no interval, in which columns, each reason once: not everybody can point at a cell."""
    found: dict[str, dict[str, None]] = {}
    for cells in lines:
        for name, cell in zip(names, cells, strict=True):
            if cell["why"]:
                found.setdefault(str(cell["why"]), {})[name] = None
    return [("; ".join(told), why) for why, told in found.items()][:_MOST_REASONS]


def _cells(row: SeasonRow, name: str, seasons: Sequence[str]) -> list[dict[str, object]]:
    by_season = {part.season: part for part in row.parts}
    none = SeasonFigure(note="no image")
    scores = [
        _cell(name, by_season[season].score, f"n = {by_season[season].images:,}")
        if season in by_season
        else _cell(name, none)
        for season in seasons
    ]
    shares = (row.flips, row.across, row.within, row.excess, row.probe, row.recall)
    return [*scores, *(_cell("share", one) for one in shares)]


def _cell(name: str, one: SeasonFigure, more: str = "") -> dict[str, object]:
    if one.value is None:
        return {"value": "", "text": "-", "ends": "", "of": "", "hint": one.note, "why": one.note}
    ends = "no interval"
    if one.low is not None and one.high is not None:
        ends = f"{number(name, one.low)} to {number(name, one.high)}"
    told = "; ".join(part for part in (more, counted(one.units, one.unit), one.note) if part)
    why = one.note if one.low is None else ""
    text = number(name, one.value)
    return {"value": one.value, "text": text, "ends": ends, "of": averaged(one), "hint": told, "why": why}


TAB = Tab(id="seasons", name="Seasons", title="Seasons", order=72, view=view)
