"""Flags with their marks, and damaged files."""

from html import escape

from seamo_bench.board.report.page import Page, Tab
from seamo_bench.board.tables import footnotes


def render(page: Page) -> str:
    """Flags with their marks, and damaged files."""
    made = page.made
    lines = [
        f'<li id="flag-{mark}"><strong>{mark}</strong> {escape(flag.kind)}: {escape(flag.text)}</li>'
        for flag, mark in footnotes(made).items()
    ]
    broken = [f"<li>{escape(damage.path.name)}: {escape(damage.reason)}</li>" for damage in made.damaged]
    listed = f"<ul>{''.join(lines)}</ul>" if lines else '<p class="note">No record carries a flag.</p>'
    return listed + (f"<h3>Damaged files</h3><ul>{''.join(broken)}</ul>" if broken else "")


TAB = Tab(id="checks", name="Flags", title="Checks and flags", order=100, render=render)
