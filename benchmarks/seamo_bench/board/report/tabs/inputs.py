"""What each model was fed."""

from seamo_bench.board.report.page import Page, Tab


def render(page: Page) -> str:
    """All input contracts, folded."""
    return page.inputs.section()


TAB = Tab(id="inputs", name="Inputs", title="What each model was fed", order=90, render=render)
