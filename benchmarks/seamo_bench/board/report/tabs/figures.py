"""The figures that were drawn beside the records."""

from base64 import b64encode
from html import escape

from seamo_bench.board.report.page import Page, Tab


def render(page: Page) -> str:
    """The section of figures."""
    parts = [
        f'<figure class="picture"><img loading="lazy" alt="{escape(picture.caption)}" '
        f'src="data:image/png;base64,{b64encode(picture.data).decode()}">'
        f"<figcaption>{escape(picture.caption)}</figcaption></figure>"
        for picture in page.pictures
    ]
    return "".join(parts)


TAB = Tab(id="figures", name="Figures", title="Figures", order=80, render=render)
