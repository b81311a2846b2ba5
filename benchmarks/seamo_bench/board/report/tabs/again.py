"""How to get these numbers again: versions and commands."""

from collections.abc import Mapping, Sequence

from seamo_bench.board.leaderboard import Head
from seamo_bench.board.report.page import Page, Tab
from seamo_bench.records.seals import SEAL


def view(page: Page, _heads: Sequence[Head]) -> Mapping[str, object] | None:
    """Versions and commands."""
    seen: dict[str, set[str]] = {}
    for record in page.found.records:
        for name, value in record.environment.items():
            seen.setdefault(name, set()).add(value)
    folder = page.commands.folder
    commands = {
        f"seamo-bench verify {folder}": "every record: key, hash of the predictions, scores computed again",
        f"seamo-bench table {folder}": "this leaderboard from the stored predictions, no GPU",
        f"seamo-bench report {folder} -o report.html": "this page",
        f"seamo-bench run SUITE --stores ROOT --results {folder}": "runs what is not there yet",
    }
    return {
        "versions": [(name, _listed(values)) for name, values in sorted(seen.items()) if name != SEAL],
        "commands": commands,
    }


def _listed(values: set[str]) -> str:
    shown = sorted(values)
    return ", ".join(shown[:6]) + (f" and {len(shown) - 6} more" if len(shown) > 6 else "")


TAB = Tab(id="again", name="Again", title="How to get these numbers again", order=120, view=view)
