"""Text of others, written so that nothing in it is a command where it goes: terminal, Markdown, LaTeX, CSV.

Titles, labels, keys, file names and reasons come from files that somebody else wrote. HTML has `html.escape`.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence

_JOINERS = "\u200c\u200d"  # Persian and Indic scripts cannot be written without them
_MARKDOWN = {char: "\\" + char for char in "\\`*_{}[]|#~$"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",  # in LaTeX's default text font these three print as other signs
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
}
_FORMULA = "=+-@\uff1d\uff0b\uff0d\uff20"  # also in full width, which spreadsheets take for the same


def printable(text: str, *, lines: bool = False) -> str:
    r"""What a terminal may show: control, direction and invisible characters as `\x1b`, `\u202e`.

    Without that, a title could move the cursor, rename the window, or show another order of letters than it has.

    Args:
        text: Anything, also a file name that is no Unicode.
        lines: Keep line ends and tabs.

    Example:
        >>> printable("Lakes\x1b[2J")
        'Lakes\\x1b[2J'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if _is_shown(char, lines) else _named(char) for char in text)


def _is_shown(char: str, lines: bool) -> bool:
    if char in "\n\t":
        return lines
    # Other: control, format, surrogate, private and unassigned; line and paragraph separators.
    return char in _JOINERS or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp")


def _named(char: str) -> str:
    code = ord(char)
    short = {"\n": r"\n", "\t": r"\t", "\r": r"\r"}.get(char)
    return short or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))


def markdown(text: str) -> str:
    r"""One line of Markdown, also in a cell of a table: no markup, no raw HTML.

    Example:
        >>> markdown("a|b <img src=x>")
        'a\\|b &lt;img src=x&gt;'
    """
    return "".join(_MARKDOWN.get(char, char) for char in _one_line(text))


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown, every cell by `markdown`.

    Example:
        >>> print(markdown_table(("band", "mean"), [("B02", 1), ("B03", 2)]))
        | band | mean |
        | --- | --- |
        | B02 | 1 |
        | B03 | 2 |
    """
    lines = [heads, ["---"] * len(heads), *([markdown(str(cell)) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def latex(text: str) -> str:
    r"""One line of LaTeX, also in a cell of a table.

    Example:
        >>> latex("Lakes of <10 km")
        'Lakes of \\textless{}10 km'
    """
    plain = "".join(_LATEX.get(char, char) for char in _one_line(text))
    plain = re.sub("-(?=-)", "-{}", plain)  # two would print as a dash
    return "{}" + plain if plain.startswith(("[", "*")) else plain  # \\ before it would take it for its option


def csv_text(text: str) -> str:
    """A text cell of a CSV file that no spreadsheet takes for a formula; numbers stay what they are.

    Example:
        >>> csv_text("=1+1"), csv_text("-0.5")
        ("'=1+1", '-0.5')
    """
    shown = printable(text, lines=True)
    if not text.lstrip().startswith(tuple(_FORMULA)) and not text.startswith(("\t", "\r", "\n")):
        return shown
    return shown if re.fullmatch(r"[+-]?[0-9]+(\.[0-9]*)?(e[+-]?[0-9]+)?", text) else f"'{shown}"
