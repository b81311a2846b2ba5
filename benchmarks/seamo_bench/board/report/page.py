"""What a tab of the report is, and what it may show."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from seamo_bench.board.expectations import Scorecard
from seamo_bench.board.leaderboard import Head, Table
from seamo_bench.board.report.atlas import Atlas
from seamo_bench.board.report.commands import Commands
from seamo_bench.board.report.links import Links
from seamo_bench.board.report.pictures import Picture
from seamo_bench.board.report.places import PageNumbers
from seamo_bench.protocol import Progress
from seamo_bench.records.record import RecordSet


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """All that a page is made of.

    Args:
        made: The leaderboard.
        found: Its records; `load_predictions(record, results)` has the predictions of one.
        results: Their folder.
        places: Ids of columns, rows and cells inside the page, by which the filters find them.
        commands: What a reader types to check a number.
        newest: Day of the newest record's file; empty where it is not known.
        links: Papers, code, weights and homepages.
        atlases: Scores of cells and countries.
        pictures: That go into the page.
        mixed: Whether columns may hold records that cannot be compared.
        resamples: Of the bootstrap.
        progress: Called with (done, total, what) now and then.
        scorecard: The six expectations; None where nobody asked for them.
    """

    made: Table
    found: RecordSet
    results: Path
    places: PageNumbers
    commands: Commands
    newest: str
    links: Links
    atlases: Sequence[Atlas]
    pictures: Sequence[Picture]
    mixed: bool
    resamples: int
    progress: Progress
    scorecard: Scorecard | None = None


@dataclass(frozen=True, slots=True)
class Tab:
    """One section of the page. Its template is the file `<id>.html` beside its module.

    Args:
        id: Its anchor, unlike that of any other tab; lowercase letters, digits and `-`.
        name: In the navigation.
        title: Its heading.
        order: Place on the page; ours are 10 apart.
        view: What the template shows, of these columns; None: the tab is left out.
        by_task: A section for each kind of task, with the columns of that kind, instead of one with all.
    """

    id: str
    name: str
    title: str
    order: int
    view: Callable[[Page, Sequence[Head]], Mapping[str, object] | None]
    by_task: bool = False
