"""How to get these numbers again: versions and commands."""

from html import escape

from seamo_bench.board.report.markup import facts_list
from seamo_bench.board.report.page import Page, Tab


def render(page: Page) -> str:
    """Versions and commands."""
    seen: dict[str, set[str]] = {}
    for record in page.found.records:
        for name, value in record.environment.items():
            seen.setdefault(name, set()).add(value)
    said = facts_list((name, ", ".join(sorted(values))) for name, values in sorted(seen.items()))
    commands = (
        "seamo-bench verify results/KEY.json      # key, hash of the predictions, scores recomputed\n"
        "seamo-bench table  results --md          # this leaderboard from the stored predictions, no GPU\n"
        "seamo-bench report results -o report.html\n"
        "seamo-bench run    SUITE --stores ROOT --results results   # runs what is not there yet\n"
    )
    return f'{said if seen else ""}<pre tabindex="0"><code>{escape(commands)}</code></pre>'


TAB = Tab(id="again", name="Again", title="How to get these numbers again", order=120, render=render)
