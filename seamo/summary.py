"""What a value shows of itself: a title and a few named lines, as text and as HTML for notebooks."""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

_MOST = 100  # characters of a line


class Summary(NamedTuple):
    """A value as a reader sees it.

    Args:
        title: What it is.
        lines: Name and text of each line.
    """

    title: str
    lines: tuple[tuple[str, str], ...]

    def text(self) -> str:
        """One line each, names in a column; long ones are cut.

        Example:
            >>> print(Summary("Store of 2 samples", (("splits", "train 1, test 1"), ("where", "/data/x"))).text())
            Store of 2 samples
              splits  train 1, test 1
              where   /data/x
        """
        width = max((len(name) for name, _ in self.lines), default=0)
        return "\n".join([self.title, *(f"  {name:{width}}  {cut(text, _MOST)}" for name, text in self.lines)])

    def html(self) -> str:
        """A small table, every word escaped."""
        rows = "".join(
            f"<tr><th style='text-align:left;vertical-align:top'>{escape(name)}</th>"
            f"<td style='text-align:left'>{escape(text)}</td></tr>"
            for name, text in self.lines
        )
        return f"<div><b>{escape(self.title)}</b><table>{rows}</table></div>"


def cut(text: str, most: int) -> str:
    """The text, or its beginning and `...`.

    Example:
        >>> cut("B01, B02, B03", 10)
        'B01, B0...'
    """
    return text if len(text) <= most else text[: most - 3] + "..."


def some(names: Sequence[str], most: int = 8) -> str:
    """Names, of many the first ones and how many there are.

    Example:
        >>> some(["a", "b", "c"], 2)
        'a, b and 1 more'
    """
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
