"""Six expectations of each model and of the leaderboard, each cell with its evidence."""

from collections.abc import Mapping, Sequence

from seamo_bench.board.expectations import EXPECTATIONS, SOURCE, Judged
from seamo_bench.board.leaderboard import Head
from seamo_bench.board.report.page import Page, Tab

FEW = 3  # keys that are named in a cell
MOST = 60  # models


def view(page: Page, _heads: Sequence[Head]) -> Mapping[str, object] | None:
    """A row a model, the leaderboard first; nothing where nobody judged."""
    card = page.scorecard
    if card is None or not card.models:
        return None
    rows = [("The leaderboard", "", [_cell(one) for one in card.board])]
    rows += [(one.name, one.floor, [_cell(cell) for cell in one.cells]) for one in card.models[:MOST]]
    return {
        "expectations": EXPECTATIONS,
        "rows": rows,
        "more": len(card.models) - len(card.models[:MOST]),
        "notes": card.notes,
        "source": SOURCE,
    }


def _cell(one: Judged) -> dict[str, object]:
    keys = ", ".join(key[:8] for key in one.records[:FEW])
    more = f" and {len(one.records) - FEW} more" if len(one.records) > FEW else ""
    return {"met": one.met, "evidence": one.evidence, "named": f"{keys}{more}"}


TAB = Tab(id="expectations", name="Expectations", title="Six expectations, by what is here", order=94, view=view)
