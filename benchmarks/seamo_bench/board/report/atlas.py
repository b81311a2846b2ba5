"""Where the scores come from: scores of cells and countries, which the map and the table of countries show."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seamo_bench.board.compare import load_runs
from seamo_bench.board.geography import (
    Grid,
    cell_scores,
    count_countries,
    country_score,
    geography_of,
    make_grid,
)
from seamo_bench.board.leaderboard import BoardRow, Head, Table
from seamo_bench.facts import scoring_of
from seamo_bench.predictions import Floats
from seamo_bench.records.record import Record, load_predictions
from seamo_bench.scores.intervals import Interval


@dataclass(frozen=True, slots=True, eq=False)
class Atlas:
    """What is known about one column's places.

    Args:
        head: The column.
        grid: Cells of the map; None where no place is known.
        scores: BoardRow -> score of each cell.
        countries: Country -> samples.
        by_country: BoardRow -> scores of the countries, in their order.
    """

    head: Head
    grid: Grid | None
    scores: Mapping[BoardRow, Floats]
    countries: Mapping[str, int]
    by_country: Mapping[BoardRow, tuple[Interval, ...]]


def make_atlases(made: Table, results: Path, progress: Callable[[int, int, str], None]) -> tuple[Atlas, ...]:
    """Score cells and countries from the stored predictions; columns that know no place are left out."""
    found = []
    for place, head in enumerate(made.heads):
        progress(place, len(made.heads), "scoring cells and countries")
        done: dict[BoardRow, list[Record]] = {}
        for row in made.rows:
            cell = made.cells.get((row.id, head.column))
            done[row] = [record for record in cell.records if record.status == "ok"] if cell and cell.interval else []
        done = {row: records for row, records in done.items() if records}
        # The first records that know where they are say it for all: the test samples are the same.
        known = geography_of(load_predictions(record, results) for records in done.values() for record in records)
        if known is None:
            continue
        grid = make_grid(known) if np.isfinite(known.places).all(axis=1).any() else None
        countries = count_countries(known)
        scores: dict[BoardRow, Floats] = {}
        by_country: dict[BoardRow, tuple[Interval, ...]] = {}
        for row, records in done.items():
            runs, scoring = load_runs(records, results), scoring_of(records[0].facts)
            if grid is not None:
                scores[row] = cell_scores(runs, known, grid, name=head.metric, scoring=scoring)
            by_country[row] = tuple(
                country_score(runs, known, country, name=head.metric, scoring=scoring) for country in countries
            )
        found.append(Atlas(head, grid, scores, countries, by_country))
    return tuple(found)
