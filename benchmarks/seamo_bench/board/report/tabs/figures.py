"""The figures that were drawn beside the records."""

from base64 import b64encode
from collections.abc import Mapping, Sequence

from seamo_bench.board.leaderboard import Head
from seamo_bench.board.report.page import Page, Tab


def view(page: Page, _heads: Sequence[Head]) -> Mapping[str, object] | None:
    """PNG files, as text that an address can hold."""
    if not page.pictures:
        return None
    return {"pictures": [(picture.caption, b64encode(picture.data).decode()) for picture in page.pictures]}


TAB = Tab(id="figures", name="Figures", title="Figures", order=80, view=view)
