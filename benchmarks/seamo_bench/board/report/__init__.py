"""The report: one self-contained HTML page made from a results folder, readable without network or script."""

import importlib
from html import escape
from importlib.resources import files
from pathlib import Path

from seamo.discovery import own_modules
from seamo.errors import ProtocolError
from seamo.identity import write_atomically
from seamo_bench.board.leaderboard import build_table
from seamo_bench.board.report import tabs
from seamo_bench.board.report.atlas import make_atlases
from seamo_bench.board.report.contracts import ReportInputs
from seamo_bench.board.report.markup import PageNumbers
from seamo_bench.board.report.page import Page, Tab
from seamo_bench.board.report.pictures import read_pictures
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
    title: str = "seamo benchmark",
    mixed: bool = False,
    resamples: int = RESAMPLES,
    figures: Path | None = None,
    progress: Progress | None = None,
) -> None:
    """Read a results folder and write the page.

    Args:
        results: Folder of records.
        output: The .html file.
        found: What is in the folder, if it was read; a referee's words on it, for example.
        title: Heading of the page.
        mixed: As in `build_table`.
        resamples: Of the bootstrap.
        figures: Folder of PNG files to put into the page.
        progress: Called with (done, total, what) now and then.

    Raises:
        ProtocolError: If there is nothing to show, or the folder of figures has none.
    """
    drawn = read_pictures(figures) if figures else ()
    found = read_records(results) if found is None else found
    made = build_table(found, results, mixed=mixed, resamples=resamples)
    said = progress or silent
    page = Page(
        made=made,
        found=found,
        results=results,
        places=PageNumbers(made),
        inputs=ReportInputs(found.records),
        atlases=make_atlases(made, results, said),
        pictures=drawn,
        mixed=mixed,
        resamples=resamples,
        progress=said,
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
    """The page as text; everything that comes from records is escaped."""
    made, found, places = page.made, page.found, page.places
    sections = [(tab, inner) for tab in all_tabs() if (inner := tab.render(page))]
    nav = " ".join(f'<a href="#{tab.id}">{tab.name}</a>' for tab, _ in sections)
    body = "".join(f'<section id="{tab.id}"><h2>{tab.title}</h2>{inner}</section>' for tab, inner in sections)
    notes = "".join(f"<li>{escape(note)}</li>" for note in made.notes)
    ok = sum(record.status == "ok" for record in found.records)
    lead = f"{ok} runs scored, {len(found.records) - ok} blanks with reasons, {len(made.rows)} backbones."
    style = (files(__name__) / "page.css").read_text("utf-8")
    script = (files(__name__) / "page.js").read_text("utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>{escape(title)}</title><style>{style}{_filter_rules(places)}</style></head><body>"
        '<a class="skip" href="#leaderboard">To the leaderboard</a>'
        f'<header><h1>{escape(title)}</h1><p class="lead">{lead}</p><ul class="warnings">{notes}</ul></header>'
        f'<div class="bar-top"><nav aria-label="Sections">{nav}</nav>{_filters(places)}</div>'
        f"<main>{body}</main><footer>Every number is computed from stored predictions; its record is named by the "
        f'hash of what can change it.</footer><dialog id="drawer" aria-label="Where a number comes from"></dialog>'
        f"<script>{script}</script></body></html>\n"
    )


def _filters(places: PageNumbers) -> str:
    """Tabs by task and by protocol: radio buttons, which keyboards know how to walk."""
    groups = [("task", "Task", "t", places.tasks), ("protocol", "Protocol", "p", places.protocols)]
    parts = []
    for name, legend, letter, values in groups:
        tabs = [(f"{letter}-all", "all"), *((f"{letter}{k}", value) for k, value in enumerate(values))]
        inner = "".join(
            f'<input type="radio" name="{name}" id="show-{place}"{" checked" if place.endswith("-all") else ""}>'
            f'<label for="show-{place}">{escape(text)}</label>'
            for place, text in tabs
        )
        parts.append(f"<fieldset><legend>{legend}</legend>{inner}</fieldset>")
    return f'<form class="filters" aria-label="Which columns are shown">{"".join(parts)}<p role="status"></p></form>'


def _filter_rules(places: PageNumbers) -> str:
    """Style rules that hide what is not chosen: the tabs work without script."""
    rules = [
        f"body:has(#show-{letter}{k}:checked) [data-{name}]:not([data-{name}={letter}{k}])"
        for name, letter, values in (("task", "t", places.tasks), ("protocol", "p", places.protocols))
        for k in range(len(values))
    ]
    return ",".join(rules) + "{display:none}"
