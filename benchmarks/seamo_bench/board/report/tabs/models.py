"""The models and data sets behind the numbers, with what is to be read about them elsewhere."""

from collections.abc import Mapping, Sequence

from seamo_bench.board.leaderboard import Head
from seamo_bench.board.report.columns import chips
from seamo_bench.board.report.page import Page, Tab
from seamo_bench.board.report.state import families


def view(page: Page, heads: Sequence[Head]) -> Mapping[str, object] | None:
    """A table of backbones and one of data sets."""
    made = page.made
    if not made.rows:
        return None
    family = families(made)
    firsts: dict[str, str] = {}
    for (row, _), cell in made.cells.items():
        firsts.setdefault(row, cell.records[0].facts.backbone.id)
    models = [
        {
            "row": row,
            "family": family.get(row.id, ""),
            "licence": page.links.licence(firsts[row.id]),
            "links": page.links.of_backbone(firsts[row.id]),
        }
        for row in made.rows
    ]
    sets: dict[str, Head] = {}
    for head in heads:
        sets.setdefault(head.column.dataset, head)
    data = [
        {
            "head": head,
            "chips": [word for word in chips(made, head) if word in ("synthetic", "subset")],
            "links": page.links.of_stores(name.split("+")),
        }
        for name, head in sorted(sets.items())
    ]
    return {"models": models, "data": data}


TAB = Tab(id="models", name="Models and data", title="Models and data sets elsewhere", order=85, view=view)
