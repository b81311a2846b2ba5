"""The report: one self-contained HTML page made from a results folder, readable without network or script."""

import importlib
import re
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path

from seamo.addresses import disk_path
from seamo.discovery import own_modules
from seamo.errors import ProtocolError
from seamo.identity import write_atomically
from seamo_bench.board.expectations import Scorecard
from seamo_bench.board.leaderboard import Head, Table, build_table
from seamo_bench.board.report import tabs
from seamo_bench.board.report.atlas import make_atlases
from seamo_bench.board.report.columns import TASKS, is_of_aggregates, kinds
from seamo_bench.board.report.commands import Commands
from seamo_bench.board.report.headline import findings, newest, opening
from seamo_bench.board.report.links import Links
from seamo_bench.board.report.page import Page, Tab
from seamo_bench.board.report.pictures import read_pictures
from seamo_bench.board.report.places import PageNumbers
from seamo_bench.board.report.state import board_state, families
from seamo_bench.board.report.templating import templates
from seamo_bench.board.report.words import plural
from seamo_bench.protocol import Progress, silent
from seamo_bench.records.record import RecordSet, read_records
from seamo_bench.scores.replicates import RESAMPLES

# Whatever a record says, the page loads nothing and runs nothing but its own script.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def write_report(
    results: Path,
    output: Path,
    *,
    found: RecordSet | None = None,
    given: str = "",
    title: str = "seamo benchmark",
    mixed: bool = False,
    resamples: int = RESAMPLES,
    figures: Path | None = None,
    progress: Progress | None = None,
    judge: Callable[[Table], Scorecard] | None = None,
) -> None:
    """Read a results folder and write the page. A folder without records makes a page that says so.

    Args:
        results: Folder of records.
        output: The .html file.
        found: What is in the folder, if it was read; a referee's words on it, for example.
        given: The folder as the reader knows it, for the commands on the page: an address, for example; `results`
            if empty.
        title: Heading of the page.
        mixed: As in `build_table`.
        resamples: Of the bootstrap.
        figures: Folder of PNG files to put into the page.
        progress: Called with (done, total, what) now and then.
        judge: Makes the scorecard of the six expectations (`seamo_bench.questions.expectations.judged_board`).

    Raises:
        ProtocolError: If records cannot share a column, or the folder of figures has no figure.
    """
    drawn = read_pictures(figures) if figures else ()
    found = read_records(results) if found is None else found
    nothing = Table((), (), {}, (), {}, found.damaged)
    made = build_table(found, results, mixed=mixed, resamples=resamples) if found.records else nothing
    said = progress or silent
    page = Page(
        made=made,
        found=found,
        results=results,
        places=PageNumbers(made),
        commands=Commands(results, given or str(results)),
        # Files that were brought here from an address are all of today.
        newest=newest(results) if disk_path(given or results) is not None else "",
        links=Links(),
        atlases=make_atlases(made, results, said),
        pictures=drawn,
        mixed=mixed,
        resamples=resamples,
        progress=said,
        scorecard=judge(made) if judge and found.records else None,
    )
    write_atomically(output, render(page, title=title).encode("utf-8"))


def all_tabs() -> list[Tab]:
    """Every tab in its place.

    Raises:
        ProtocolError: If two files claim one anchor.
    """
    listed: dict[str, Tab] = {}
    for module in own_modules(tabs):
        tab: Tab = importlib.import_module(module).TAB
        if tab.id in listed:
            raise ProtocolError(f"tab {tab.id} is there twice", module, "Give it another id.")
        listed[tab.id] = tab
    return sorted(listed.values(), key=lambda tab: (tab.order, tab.id))


def render(page: Page, *, title: str) -> str:
    """The page as text; templates escape everything that comes from records."""
    made, made_of = page.made, templates()
    # Imported once: importing macros anew for every tab would compile them each time.
    ui = made_of.get_template("macros.html").module
    sections = []
    for tab in all_tabs():
        for anchor, name, heading, heads in _parts(tab, made):
            shown = tab.view(page, heads)
            if shown is not None:
                body = made_of.get_template(f"{tab.id}.html").render(page=page, ui=ui, **shown)
                sections.append({"id": anchor, "name": name, "title": heading, "body": body})
    text = made_of.get_template("page.html").render(
        page=page,
        title=title,
        policy=_POLICY,
        style=(files(__name__) / "page.css").read_text("utf-8"),
        script=(files(__name__) / "page.js").read_text("utf-8"),
        opening=opening(made, page.found.records),
        newest=page.newest,
        findings=findings(made),
        caveats=_caveats(made),
        filters=_filters(made),
        sections=sections if made.rows else [],
        state=board_state(made, title),
    )
    return re.sub(r"\n\s*\n+", "\n", text).lstrip()


def _parts(tab: Tab, made: Table) -> list[tuple[str, str, str, Sequence[Head]]]:
    """Anchor, name, heading and columns of each section that a tab makes."""
    if not tab.by_task:
        return [(tab.id, tab.name, tab.title, made.heads)]
    task = kinds(made)
    found: list[tuple[str, str, str, Sequence[Head]]] = []
    for kind in dict.fromkeys(task[head.column] for head in made.heads):
        heads = [head for head in made.heads if task[head.column] == kind]
        title = TASKS.get(kind, kind)
        found.append((f"{tab.id}-{kind}", title, f"{tab.title}: {title.lower()}", heads))
    return found


def _caveats(made: Table) -> list[str]:
    """What limits the whole page; what is about one column or the aggregates stands there."""
    elsewhere = {note for head in made.heads for note in head.notes}
    damaged, synthetic = f"{len(made.damaged)} DAMAGED", "SYNTHETIC data"
    found = []
    for note in made.notes:
        if note.startswith(damaged):
            found.append(f"{plural(len(made.damaged), 'damaged file')} left out; the tab Flags says which and why.")
        elif note.startswith(synthetic) and all(head.synthetic for head in made.heads):
            found.append("All data are SYNTHETIC: nothing here is a statement about the real world.")
        elif note not in elsewhere and not is_of_aggregates(note):
            found.append(note)
    if not made.heads:  # no record, so that no note and no tab tells of them
        found += [f"{one.path.name} is left out: it {one.reason}." for one in made.damaged]
    return found


def _filters(made: Table) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """Name, label and choices (value, text) of what the script filters by; a choice of one is none."""
    columns = [head.column for head in made.heads]
    family = sorted({one for one in families(made).values() if one})
    fractions = sorted({column.fraction for column in columns})
    choices = [
        ("family", "Family", [(one, one) for one in family]),
        ("dataset", "Data set", [(one, one) for one in dict.fromkeys(column.dataset for column in columns)]),
        ("protocol", "Protocol", [(one, one) for one in dict.fromkeys(column.protocol for column in columns)]),
        ("fraction", "Labels", [(f"{one:g}", f"{100 * one:g} %") for one in fractions]),
    ]
    return [(name, label, values) for name, label, values in choices if len(values) > 1]
