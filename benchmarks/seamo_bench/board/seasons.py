"""What the season does to predictions: scores by season, and classes that flip between dates of a place. Numpy only.

Which image is of which place and day is known to stores alone, so `seamo-bench seasons` asks once and keeps the rows
of this file as an answer, which the report reads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from seamo_bench.board.geography import FEW_SCENES, part_score
from seamo_bench.board.tables import interval_text, number
from seamo_bench.facts import Value
from seamo_bench.predictions import ClassPredictions, Floats, Ints, Predictions, Scoring, Strings, probabilities, take
from seamo_bench.records.answers import Answer, read_answers
from seamo_bench.scores.distributions import wilson
from seamo_bench.scores.intervals import Interval, Sampling, interval, number_of
from seamo_bench.scores.metrics import metric
from seamo_bench.scores.replicates import replicate_mean

KIND = "season"
VERSION = 3  # of the method
SEASON_NAMES = ("winter", "spring", "summer", "autumn")  # meteorological, each hemisphere's own
MOST_DATES = 8  # of a place whose dates are paired
_MULTI = 0.5  # probability from which a class is there
Form = Literal["dates of a sample", "samples of a place", "one date a place"]
Which = Literal["all", "across", "within"]
Days = NDArray[np.datetime64]


class SeasonFigure(Value):
    """One number with its 95 % interval.

    Args:
        value: None where it cannot be had; `note` says why.
        low, high: None where there is no interval.
        units: Independent units behind it.
        unit: What they are: `places`, or `scenes` where places lie in scenes.
        chance: What features without any information get.
        note: What a reader must know.
        pretrainings: Pretraining runs whose features were asked; with several it is their mean.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    units: int = 0
    unit: str = "places"
    chance: float | None = None
    note: str = ""
    pretrainings: int = 1


class SeasonPart(Value):
    """The images of one season.

    Args:
        season: Its name.
        images: That were predicted.
        score: The column's metric on them.
    """

    season: str
    images: int
    score: SeasonFigure


class SeasonRow(Value):
    """What the season does to one row of one column.

    Args:
        row: As `seamo_bench.board.compare.row_of`.
        column: Id of the column.
        metric: Of the scores by season.
        form: How the store holds the dates of a place.
        dates: Most dates of one place.
        places, images: Test places, and images of them that were predicted.
        undated: Test images whose season nobody knows (no date, or no latitude); they are in no season.
        parts: Scores by season, of those that occur.
        flips: Share of a prediction that differs between two days of a place, mean over places.
        across: The same, of days in two seasons.
        within: The same, of days in one season.
        excess: `across` minus `within`, over places that have both.
        probe: Balanced accuracy of reading the season off the frozen backbone's features.
        recall: Recall at 1 of the same place on another date, by those features.
    """

    row: str
    column: str
    metric: str
    form: Form
    dates: int
    places: int
    images: int
    undated: int
    parts: tuple[SeasonPart, ...]
    flips: SeasonFigure
    across: SeasonFigure
    within: SeasonFigure
    excess: SeasonFigure
    probe: SeasonFigure
    recall: SeasonFigure


@dataclass(frozen=True, slots=True, eq=False)
class DatedImages:
    """Test images with their places and days.

    Args:
        keys: (N,) each once.
        places: (N,) the place of each.
        units: (N,) the scene of each; empty: places stand for themselves.
        days: (N,) datetime64[D], NaT where unknown.
        seasons: (N,) positions in `SEASON_NAMES`; -1 where unknown.
    """

    keys: Strings
    places: Strings
    units: Strings
    days: Days
    seasons: Ints

    @property
    def unit(self) -> str:
        """What the independent units are."""
        return unit_of(self.places, self.units)


@dataclass(frozen=True, slots=True, eq=False)
class DatePairs:
    """Pairs of images of one place on two days.

    Args:
        names: (P,) places that have a pair.
        units: (P,) their scenes; empty as in `DatedImages`.
        place: (M,) position in `names`.
        a, b: (M,) positions of the images.
        same: (M,) 1: of one season, 0: of two, -1: unknown.
    """

    names: Strings
    units: Strings
    place: Ints
    a: Ints
    b: Ints
    same: Ints

    @property
    def unit(self) -> str:
        """What the independent units are."""
        return unit_of(self.names, self.units)


def unit_of(places: Strings, units: Strings) -> str:
    """`scenes` where places share them, else `places`."""
    return "scenes" if len(units) and len(np.unique(units)) < len(np.unique(places)) else "places"


def counted(count: int, unit: str) -> str:
    """`1 scene`, `12 places`."""
    return f"{count:,} {unit if count != 1 else unit.removesuffix('s')}"


def spread_dates(count: int) -> Ints:
    """Positions of at most `MOST_DATES` of so many images in the order of their days, spread evenly."""
    return np.linspace(0, count - 1, min(count, MOST_DATES)).round().astype(np.int64)


def date_pairs(images: DatedImages) -> DatePairs:
    """Every pair of days of every place; of a place with more than `MOST_DATES` images, of as many spread evenly."""
    known = np.flatnonzero(~np.isnat(images.days))
    order = known[np.lexsort((images.days[known], images.places[known]))]
    _, starts = np.unique(images.places[order], return_index=True)
    found: list[tuple[int, int, int]] = []
    kept: list[int] = []
    for mine in np.split(order, starts[1:]) if len(order) else []:
        mine = mine[spread_dates(len(mine))]
        pairs = [(int(i), int(j)) for i, j in combinations(mine, 2) if images.days[i] != images.days[j]]
        found += [(len(kept), i, j) for i, j in pairs]
        if pairs:
            kept.append(int(mine[0]))
    table = np.array(found, dtype=np.int64).reshape(-1, 3)
    first, second = images.seasons[table[:, 1]], images.seasons[table[:, 2]]
    same = np.where((first < 0) | (second < 0), -1, first == second)
    units = images.units[kept] if len(images.units) else images.units
    return DatePairs(images.places[kept], units, table[:, 0], table[:, 1], table[:, 2], same)


def decisions(predictions: ClassPredictions) -> NDArray[np.bool_]:
    """(N, K) the classes that are predicted: the most probable one, or of sets those over one half."""
    likely = probabilities(predictions)
    if predictions.labels.ndim == 2:
        return np.asarray(likely > _MULTI)
    return np.asarray(likely.argmax(axis=1)[:, None] == np.arange(likely.shape[1]))


def flipped(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> Floats:
    """Share of two predictions that differs: 0 or 1 of single classes; of sets 1 - |both| / |either| (Jaccard 1901).

    Args:
        a: (M, K) classes that are predicted of one image.
        b: (M, K) those of another.
    """
    either = (a | b).sum(axis=1)
    return np.asarray(1 - np.divide((a & b).sum(axis=1), either, out=np.ones(len(a)), where=either > 0))


def place_flips(pairs: DatePairs, shares: Floats, which: Which = "all") -> Floats:
    """(P,) mean share of a place's pairs that flips; NaN where it has no such pair.

    Args:
        pairs: P places, M pairs.
        shares: (M,) of each pair, from `flipped`.
        which: All pairs, or those of days in two seasons, or in one.
    """
    use = np.ones(len(shares), dtype=np.bool_) if which == "all" else pairs.same == (which == "within")
    count = np.bincount(pairs.place[use], minlength=len(pairs.names))
    total = np.bincount(pairs.place[use], shares[use], minlength=len(pairs.names))
    return np.asarray(np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0))


def flip_figures(pairs: DatePairs, runs: Sequence[ClassPredictions], parents: Sequence[str]) -> dict[str, SeasonFigure]:
    """`flips`, `across`, `within` and `excess` of a `SeasonRow`.

    Args:
        pairs: Of the images.
        runs: Predictions of those images, in their order, one a run.
        parents: The pretraining run each belongs to.
    """
    shares = [flipped(made[pairs.a], made[pairs.b]) for made in map(decisions, runs)]
    every, across, within = (
        [place_flips(pairs, one, which) for one in shares] for which in ("all", "across", "within")
    )
    excess = [a - b for a, b in zip(across, within, strict=True)]
    unit = (0.0, 1.0)
    return {
        "flips": _mean(pairs, every, parents, unit, "no place has two days"),
        "across": _mean(pairs, across, parents, unit, "no place has days in two seasons"),
        "within": _mean(pairs, within, parents, unit, "no place has two days in one season"),
        "excess": _mean(pairs, excess, parents, None, "no place has days in two seasons and two days in one"),
    }


def _mean(
    pairs: DatePairs,
    numbers: Sequence[Floats],
    parents: Sequence[str],
    bounds: tuple[float, float] | None,
    nothing: str,
) -> SeasonFigure:
    there = np.flatnonzero(~np.isnan(numbers[0])) if numbers else np.empty(0, dtype=np.int64)
    if not len(there):
        return SeasonFigure(note=nothing)
    units = pairs.units[there] if len(pairs.units) else pairs.units
    made = [replicate_mean(pairs.names[there], one[there], units, "flips") for one in numbers]
    return figure(number_of(made, parents=parents, bounds=bounds), pairs.unit)


def figure(known: Sampling | Interval, unit: str) -> SeasonFigure:
    """A number with its interval as an answer keeps it.

    Args:
        known: The number.
        unit: What its independent units are; its own word is `scenes` for places, too.
    """
    one = interval(known) if isinstance(known, Sampling) else known
    value = None if np.isnan(one.value) else float(one.value)
    note = one.note.replace(one.unit, unit)
    if one.num_units == 1:
        note = f"{counted(1, unit)} alone: no interval"
    return SeasonFigure(value=value, low=one.low, high=one.high, units=one.num_units, unit=unit, note=note)


def season_parts(
    images: DatedImages, runs: Sequence[Predictions], parents: Sequence[str], *, name: str, scoring: Scoring
) -> tuple[SeasonPart, ...]:
    """The score of every season's images.

    Args:
        images: With their seasons.
        runs: Predictions of those images, in their order, one a run; their units are the images' places or scenes.
        parents: The pretraining run each belongs to.
        name: Metric.
        scoring: The task.
    """
    found = []
    for code, season in enumerate(SEASON_NAMES):
        rows = np.flatnonzero(images.seasons == code)
        if len(rows):
            score = part_score([take(run, rows) for run in runs], parents, name=name, scoring=scoring)
            shown = figure(_with_ends(score, name), images.unit)
            found.append(SeasonPart(season=season, images=len(rows), score=shown))
    return tuple(found)


def _with_ends(one: Interval, name: str) -> Interval:
    """Of a share that is nought or all in every place, the interval of so many places (Wilson 1927)."""
    sure = metric(name).hits and one.value in (0.0, 1.0) and one.num_units >= FEW_SCENES
    if one.low is not None or one.unit != "scenes" or not sure:
        return one
    low, high = wilson(one.value * one.num_units, one.num_units, one.level)
    told = [part for part in one.note.split("; ") if not part.endswith(": no interval")]
    return replace(one, low=low, high=high, note="; ".join(told))


def known_seasons(results: Path, known: Sequence[str]) -> Mapping[tuple[str, str], SeasonRow]:
    """(row, column) -> what is known of it; of several answers that of the most records.

    Args:
        results: Folder of the results, on this disk.
        known: Keys of the records that are there.
    """
    answers: list[Answer[SeasonRow]] = sorted(
        read_answers(results, KIND, SeasonRow, version=VERSION, known=known), key=lambda one: len(one.records)
    )
    return {(row.row, row.column): row for one in answers for row in one.rows}


def figure_text(name: str, one: SeasonFigure) -> str:
    """`12.00 [10.10, 14.20]`, or why there is no number.

    Args:
        name: Of the metric; `share` for what is none.
        one: The number.
    """
    return one.note or "undefined" if one.value is None else interval_text(name, one)


def asked_lines(row: SeasonRow) -> tuple[tuple[str, str], ...]:
    """(what was asked, what was found) of everything that a row says, in words."""
    title = metric(row.metric).title
    parts = [
        (f"{title} in {one.season}", f"{figure_text(row.metric, one.score)}, {one.images:,} images")
        for one in row.parts
    ]
    asked = [
        ("flips between two days of a place", row.flips),
        ("  of two seasons", row.across),
        ("  of one season", row.within),
        ("  the first minus the second", row.excess),
    ]
    features = [
        ("season read off the features", row.probe),
        ("place found again on another date", row.recall),
    ]
    return (
        *parts,
        *((title, figure_text("share", one) + _more(one)) for title, one in asked),
        *((title, figure_text("share", one) + _more(one) + _told(one)) for title, one in features),
    )


def _told(one: SeasonFigure) -> str:
    return f" ({one.note})" if one.note and one.value is not None else ""


def _more(one: SeasonFigure) -> str:
    if one.value is None:
        return ""
    chance = "" if one.chance is None else f"chance {number('share', one.chance)}"
    return "".join(f", {part}" for part in (counted(one.units, one.unit), chance, averaged(one)) if part)


def averaged(one: SeasonFigure) -> str:
    """Over what a number is the mean; empty where it is of one pretraining run."""
    return f"mean of {one.pretrainings} pretraining runs" if one.pretrainings > 1 else ""
