"""What frozen features say of the season and of the place: the questions of `seamo.use.diagnose`, put to a record."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from seamo.errors import SeamoError, UsageError
from seamo.use.diagnose import FEW_UNITS, SeasonScore, season_probe, season_retrieval, standardised
from seamo_bench.board.seasons import SeasonFigure, counted, spread_dates
from seamo_bench.predict.stored import RecordOnStore, features_on
from seamo_bench.predictions import Floats, Strings
from seamo_bench.questions.places import Dated
from seamo_bench.scores.intervals import interval, number_of
from seamo_bench.scores.replicates import Replicates

PLACES = 2000  # at most, whose features are compared


def features_asked(
    pretrainings: Sequence[RecordOnStore], dated: Dated, spots: Strings, seasons: NDArray[np.int64], units: Strings
) -> tuple[SeasonFigure, SeasonFigure]:
    """Season read off the frozen features, and places found again, of at most `PLACES` places.

    Args:
        pretrainings: A record of each pretraining run of a row, on their store.
        dated: Its test rows.
        spots: (n,) place of each row.
        seasons: (n, T) calendar season, -1 where unknown.
        units: (n,) scene of each row, or its place.

    Returns:
        The probe and the recall, means over the pretraining runs, or why they cannot be asked.
    """
    names, where = np.unique(spots, return_inverse=True)
    kept = np.arange(len(names))
    if len(names) > PLACES:
        kept = np.sort(np.random.default_rng(0).choice(len(names), PLACES, replace=False))
    mine = np.flatnonzero(np.isin(where, kept))
    place = np.searchsorted(kept, where[mine])
    there = one_a_day(dated.days[mine], place)
    try:
        found = [features_on(one, dated.rows[mine], there) for one in pretrainings]
    except SeamoError as error:
        return SeasonFigure(note=error.what), SeasonFigure(note=error.what)
    seasons, units = seasons[mine], units[mine]
    if there.shape[1] == 1:
        row = np.flatnonzero(there[:, 0])
        days, place = dated.days[mine, 0][row], place[row]
        placed = [by_place(one[row, 0], seasons[row, 0], days, place, len(kept)) for one in found]
        found, seasons = [features for features, _ in placed], placed[0][1]
        units = units[np.unique(place, return_index=True)[1]]
    return both_asked(found, seasons, units)


def both_asked(
    features: Sequence[Floats], seasons: NDArray[np.int64], units: Strings
) -> tuple[SeasonFigure, SeasonFigure]:
    """Probe and recall of places in (P,) scenes, or why they cannot be asked.

    Args:
        features: (P, T, D) of each pretraining run, NaN in the same places.
        seasons: (P, T), -1 where unknown.
        units: (P,) scenes.
    """
    scenes = units if len(np.unique(units)) < len(units) else None
    unit = "places" if scenes is None else "scenes"
    try:
        probed = [season_probe(one, seasons, np.random.default_rng([0, 2]), units=scenes) for one in features]
        probe = _figure([one.balanced_accuracy for one in probed], probed[0].units, unit)
    except UsageError as error:
        probe = SeasonFigure(note=f"{error.what}: no probe")
    try:
        sought = [season_retrieval(standardised(one), np.random.default_rng([0, 1]), units=scenes) for one in features]
        recall = _figure([one.recall_at_1 for one in sought], sought[0].units, unit)
    except UsageError as error:
        recall = SeasonFigure(note=error.what)
    return probe, recall


def _figure(scores: Sequence[SeasonScore], count: int, unit: str) -> SeasonFigure:
    """The score of one pretraining run, or the mean over several: their spread is in the interval as that of seeds."""
    first = scores[0]
    value, note = first.value, ""
    ends: tuple[float | None, float | None] = first.low, first.high
    if len(scores) > 1:
        # One seed drew the places of all of them, so that their draws go together.
        made = [Replicates(one.value, one.drawn, "bootstrap", "share", count, count, unit, 0, "", "") for one in scores]
        known = interval(number_of(made, bounds=(0.0, 1.0)))
        value, ends = known.value, (known.low, known.high)
        note = known.note.replace("two seeds", "two pretraining runs")
    if count < FEW_UNITS:
        ends, note = (None, None), f"{counted(count, unit)} alone: no interval"
    return SeasonFigure(
        value=value,
        low=ends[0],
        high=ends[1],
        units=count,
        unit=unit,
        chance=first.chance,
        note=note,
        pretrainings=len(scores),
    )


def one_a_day(days: NDArray[np.datetime64], place: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n, T) which images are the first of their place and day: two of one day are no two dates.

    Args:
        days: (n, T), NaT where there is no image.
        place: (n,) number of each row's place.
    """
    row, slot = np.nonzero(~np.isnat(days))
    _, first = np.unique(np.stack([place[row], days[row, slot].astype(np.int64)]), axis=1, return_index=True)
    there = np.zeros(days.shape, dtype=np.bool_)
    there[row[first], slot[first]] = True
    return there


def by_place(
    features: Floats, seasons: NDArray[np.int64], days: NDArray[np.datetime64], place: NDArray[np.int64], count: int
) -> tuple[Floats, NDArray[np.int64]]:
    """Single images as (places, dates, D): of each place those of `spread_dates`, NaN where it has fewer.

    Args:
        features: (m, D).
        seasons: (m,).
        days: (m,), those of a place all different.
        place: (m,) below `count`.
        count: Places.
    """
    order = np.lexsort((days, place))
    sizes = np.bincount(place, minlength=count)
    chosen = [spread_dates(int(size)) for size in sizes]
    width = max(1, *map(len, chosen))
    out = np.full((count, width, features.shape[1]), np.nan, dtype=np.float32)
    when = np.full((count, width), -1, dtype=np.int64)
    for k, start in enumerate(np.cumsum(sizes) - sizes):
        mine = order[start + chosen[k]]
        out[k, : len(mine)], when[k, : len(mine)] = features[mine], seasons[mine]
    return out, when
