"""The two files as text: `samples.csv`, and `seamo.yaml` with a comment for every guess; and whose they are."""

import csv
import hashlib
import io
import json
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seamo_prep.archives.folder import FILL_IN

__all__ = ["FILL_IN", "Reasoned", "flow", "is_own", "scalar", "sealed", "table_text"]

_MARK = re.compile(
    rb"# seamo-prep init wrote this file \(sha256 ([0-9a-f]{64})\) and samples\.csv \(([0-9a-f]{64})\)\.\n"
)
_WIDTH = 116


@dataclass(frozen=True, slots=True)
class Reasoned:
    """A value of the YAML and why it stands there.

    Args:
        text: As YAML has it.
        why: The reason; begins with `guess:` where it is none but likely.
        is_open: Whether it is not known, so that a person must fill it in.
    """

    text: str
    why: str
    is_open: bool = False

    @property
    def is_guess(self) -> bool:
        """Whether it is likely, not known."""
        return self.why.startswith("guess")


def scalar(value: Any) -> str:
    """A value as YAML in one line: names as they are where they are plain, else quoted.

    Example:
        >>> scalar("AnnualCrop"), scalar("yes"), scalar("a: b"), scalar(65535)
        ('AnnualCrop', '"yes"', '"a: b"', '65535')
    """
    if not isinstance(value, str):
        return json.dumps(value)
    is_plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*( [A-Za-z0-9_-]+)*", value)
    is_word = value.lower() in ("true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan")
    return value if is_plain and not is_word else json.dumps(value, ensure_ascii=False)


def flow(values: Iterable[str]) -> str:
    """A list in one line.

    Example:
        >>> flow(["VV", "VH"])
        '[VV, VH]'
    """
    return f"[{', '.join(scalar(one) for one in values)}]"


def comment(text: str, indent: int) -> list[str]:
    """Lines of a comment."""
    plain = re.sub(r"\s+", " ", "".join(char if char.isprintable() else "?" for char in text))
    return textwrap.wrap(plain, _WIDTH, initial_indent=" " * indent + "# ", subsequent_indent=" " * indent + "#   ",
                         break_long_words=False, break_on_hyphens=False)  # fmt: skip


def lines_of(said: Mapping[str, Reasoned], indent: int) -> list[str]:
    """Fields, each under its comment; where several have the same, it stands once."""
    found: list[str] = []
    before = ""
    for name, one in said.items():
        found += [
            *(comment(one.why, indent) if one.why and one.why != before else []),
            f"{' ' * indent}{name}: {one.text}",
        ]
        before = one.why
    return found


def table_text(columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> str:
    """`samples.csv`."""
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def sealed(spec: str, table: str) -> bytes:
    """The YAML under the line that says who wrote it, and what both files were."""
    body = spec.encode("utf-8")
    digests = (hashlib.sha256(body).hexdigest(), hashlib.sha256(table.encode("utf-8")).hexdigest())
    return (
        b"# seamo-prep init wrote this file (sha256 %b) and samples.csv (%b).\n" % tuple(map(str.encode, digests))
        + body
    )


def is_own(spec: bytes, table: bytes) -> bool:
    """Whether two files are as `init` wrote them, together."""
    mark = _MARK.match(spec)
    return mark is not None and [one.decode() for one in mark.groups()] == [
        hashlib.sha256(spec[mark.end() :]).hexdigest(), hashlib.sha256(table).hexdigest(),
    ]  # fmt: skip
