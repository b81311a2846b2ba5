"""The report: one self-contained HTML page made from a results folder, readable without network or script."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path

from seamo.identity import write_atomically
from seamo_bench.board.compare import Comparison, compare
from seamo_bench.board.leaderboard import Table, build_table
from seamo_bench.board.report.atlas import Atlas, countries, make_atlases, maps
from seamo_bench.board.report.board import classes, heat, leaderboard, paired
from seamo_bench.board.report.costs import costs
from seamo_bench.board.report.markup import Places
from seamo_bench.board.report.pictures import Picture, pictures, read_pictures
from seamo_bench.board.report.provenance import Inputs, again, checks, origins
from seamo_bench.records.record import RecordSet, read_records
from seamo_bench.scores.replicates import RESAMPLES

Progress = Callable[[int, int, str], None]
# Whatever a record says, the page loads nothing and runs nothing but its own script.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


@dataclass(frozen=True, slots=True)
class Parts:
    """What a page shows beside the table and its records."""

    pairs: Sequence[Comparison] = ()
    atlases: Sequence[Atlas] = ()
    pictures: Sequence[Picture] = ()


def write_report(
    results: Path,
    output: Path,
    *,
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
        title: Heading of the page.
        mixed: As in `build_table`.
        resamples: Of the bootstrap.
        figures: Folder of PNG files to put into the page.
        progress: Called with (done, total, what) now and then.

    Raises:
        ProtocolError: If there is nothing to show, or the folder of figures has none.
    """
    drawn = read_pictures(figures) if figures else ()
    found = read_records(results)
    made = build_table(found, results, mixed=mixed, resamples=resamples)
    said = progress or _say_nothing
    pairs = () if mixed else _pairs(made, found, results, resamples, said)
    parts = Parts(pairs, make_atlases(made, results, said), drawn)
    write_atomically(output, render(made, found, title=title, parts=parts).encode("utf-8"))


def _say_nothing(done: int, total: int, what: str) -> None:
    pass


def _pairs(made: Table, found: RecordSet, results: Path, resamples: int, progress: Progress) -> tuple[Comparison, ...]:
    """Every backbone that is no floor against every floor, and the two leading ones."""
    scored = [row for row in made.rows if any(c.interval for (r, _), c in made.cells.items() if r == row.id)]
    models = [row.id for row in scored if not row.floor]
    wanted = [(model, row.id) for model in models for row in scored if row.floor]
    if len(models) > 1:
        wanted.insert(0, (models[0], models[1]))
    pairs: list[Comparison] = []
    for number, (a, b) in enumerate(wanted):
        progress(number, len(wanted), "comparing pairs")
        pairs += compare(found.records, results, a, b, resamples=resamples)
    return tuple(pairs)


def render(made: Table, found: RecordSet, *, title: str, parts: Parts = Parts()) -> str:
    """The page as text; everything that comes from records is escaped."""
    places, inputs = Places(made), Inputs(found.records)
    sections = [
        ("leaderboard", "Scores", "Leaderboard", leaderboard(made, places)),
        ("heat", "Overview", "Models and data sets", heat(made, places)),
        ("paired", "Pairs", "Paired comparisons", paired(parts.pairs, made, places)),
        ("cost", "Cost", "Score and cost", costs(made, places)),
        ("classes", "Classes", "Per class", classes(made, places)),
        ("map", "Map", "Map", maps(parts.atlases, places)),
        ("countries", "Countries", "Per country", countries(parts.atlases, places)),
        ("figures", "Figures", "Figures", pictures(parts.pictures)),
        ("inputs", "Inputs", "What each model was fed", inputs.section()),
        ("checks", "Flags", "Checks and flags", checks(made)),
        ("origins", "Origins", "Where each number comes from", origins(made, places, inputs)),
        ("again", "Again", "How to get these numbers again", again(found)),
    ]
    sections = [one for one in sections if one[3]]
    nav = " ".join(f'<a href="#{place}">{name}</a>' for place, name, _, _ in sections)
    body = "".join(f'<section id="{place}"><h2>{name}</h2>{inner}</section>' for place, _, name, inner in sections)
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


def _filters(places: Places) -> str:
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


def _filter_rules(places: Places) -> str:
    """Style rules that hide what is not chosen: the tabs work without script."""
    rules = [
        f"body:has(#show-{letter}{k}:checked) [data-{name}]:not([data-{name}={letter}{k}])"
        for name, letter, values in (("task", "t", places.tasks), ("protocol", "p", places.protocols))
        for k in range(len(values))
    ]
    return ",".join(rules) + "{display:none}"
