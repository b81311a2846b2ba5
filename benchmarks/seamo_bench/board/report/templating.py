"""Templates: numbers as tables print them, everything else escaped."""

import re
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from seamo_bench.board.report import tabs
from seamo_bench.board.report.words import plural
from seamo_bench.board.tables import head_title, interval_text, number, p_text

_INDENTED = re.compile(r"^[ \t]+", re.MULTILINE)


class _Compact(FileSystemLoader):
    """Reads templates without their indentation, which is a tenth of a large page."""

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, object]:  # type: ignore[override]
        """The text of one."""
        text, path, fresh = super().get_source(environment, template)
        return _INDENTED.sub("", text), path, fresh


def templates() -> Environment:
    """The page's and the tabs' own, which lie beside their modules."""
    folders: Sequence[str | Path] = [Path(__file__).parent / "templates", *tabs.__path__]
    made = Environment(
        loader=_Compact(folders), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made.filters |= {"p": p_text, "plural": plural}
    made.globals |= {"number": number, "interval_text": interval_text, "head_title": head_title}
    return made
