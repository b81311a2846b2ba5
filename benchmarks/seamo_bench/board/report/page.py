"""What a tab of the report is, and what it may show."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from seamo_bench.board.leaderboard import Table
from seamo_bench.board.report.atlas import Atlas
from seamo_bench.board.report.contracts import ReportInputs
from seamo_bench.board.report.markup import PageNumbers
from seamo_bench.board.report.pictures import Picture
from seamo_bench.protocol import Progress
from seamo_bench.records.record import RecordSet


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """All that a page is made of.

    Args:
        made: The leaderboard.
        found: Its records; `load_predictions(record, results)` has the predictions of one.
        results: Their folder.
        places: Ids of columns and cells inside the page, and the blocks that the filters show and hide.
        inputs: What the models were fed.
        atlases: Scores of cells and countries.
        pictures: That go into the page.
        mixed: Whether columns may hold records that cannot be compared.
        resamples: Of the bootstrap.
        progress: Called with (done, total, what) now and then.
    """

    made: Table
    found: RecordSet
    results: Path
    places: PageNumbers
    inputs: ReportInputs
    atlases: Sequence[Atlas]
    pictures: Sequence[Picture]
    mixed: bool
    resamples: int
    progress: Progress


@dataclass(frozen=True, slots=True)
class Tab:
    """One section of the page.

    Args:
        id: Its anchor, unlike that of any other tab; lowercase letters, digits and `-`.
        name: In the navigation.
        title: Its heading.
        order: Place on the page; ours are 10 apart.
        render: The section's markup, in which everything that comes from records is escaped; empty: it is left out.
    """

    id: str
    name: str
    title: str
    order: int
    render: Callable[[Page], str]
