"""A person's csv, read strictly: what a spreadsheet or a script got wrong ends in one message with file and line.

The form is that of RFC 4180: UTF-8 (a byte order mark is fine), columns separated by commas, one header line, as many
cells in every row. Blank lines are skipped.
"""

import csv
import io
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from seamo.errors import ArchiveError

_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
_DATE = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?", flags=re.ASCII
)
_YEARS = range(1900, 2101)  # of images


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row of a table.

    Args:
        line: Its number in the file, from 1.
        cells: Column -> text.
    """

    line: int
    cells: Mapping[str, str]


def read_csv(data: bytes, where: str) -> list[TableRow]:
    """All rows of a table.

    Args:
        data: The whole file.
        where: The file, for messages.

    Raises:
        ArchiveError: With the line, if it is no such table.
    """
    text = _text(data, where)
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] = []
    rows: list[TableRow] = []
    try:
        for cells in lines:
            here = at_line(where, lines.line_num)
            if not cells:
                continue
            if not header:
                header = cells
                _check_header(header, here)
                continue
            _check_cells(cells, here)
            if len(cells) != len(header):
                fix = "A comma inside a cell needs quotes around the cell; an empty cell its comma."
                raise ArchiveError(f"has {len(cells)} cells in {len(header)} columns", here, fix)
            rows.append(TableRow(lines.line_num, dict(zip(header, cells, strict=True))))
    except csv.Error as error:
        raise ArchiveError(f"is no csv ({error})", at_line(where, lines.line_num), "Quotes must be closed.") from error
    if not rows:
        raise ArchiveError("has no rows" if header else "is empty", where)
    return rows


def at_line(where: str, line: int) -> str:
    """A place in a file, for messages.

    Example:
        >>> at_line("samples.csv", 3)
        'samples.csv, line 3'
    """
    return f"{where}, line {line}"


def utc_date(text: str, where: str) -> np.datetime64:
    """A date of ISO 8601 in its extended form, in UTC, to the second (fractions are cut off).

    Args:
        text: `2021-08-02`, `2021-08-02T10:00`, `2021-08-02 10:00:31.5Z`; `+02:00` is converted; without a zone: UTC.
        where: File and line, for messages.

    Raises:
        ArchiveError: If it is anything else, or a day that does not exist.

    Example:
        >>> str(utc_date("2021-08-02T01:30:00+02:00", "samples.csv"))
        '2021-08-01T23:30:00'
    """
    found = _DATE.fullmatch(text)
    if found is None:
        raise ArchiveError(f"{text!r} is no date of the form 2021-08-02 or 2021-08-02T10:00:00Z", where, _hint(text))
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups()[:6])
    zone = found[7] or "Z"
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
        ahead = timedelta(0)
        if zone != "Z":
            digits = zone[1:].replace(":", "")
            ahead = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
            if ahead > timedelta(hours=14) or int(digits[2:]) > 59:
                raise ValueError(f"no time zone {zone}")
        moment += ahead if zone[0] == "-" else -ahead
    except (ValueError, OverflowError) as error:
        raise ArchiveError(f"{text!r} is no date ({error})", where, "Write 2021-08-02T10:00:00Z.") from error
    if moment.year not in _YEARS:
        raise ArchiveError(f"{text!r} is no date of an image", where, "Write the year with four digits.")
    return np.datetime64(moment.replace(tzinfo=None), "s")


def _hint(text: str) -> str:
    if re.fullmatch(r"\d{8}(T\d{6}Z?)?", text, flags=re.ASCII):
        return f"Write {text[:4]}-{text[4:6]}-{text[6:8]}, with hyphens."
    if re.fullmatch(r"\d{5}(\.\d+)?", text, flags=re.ASCII):
        return "It looks like a spreadsheet's day number: give the column the format yyyy-mm-dd and save it again."
    if re.fullmatch(r"\d{9,13}(\.\d+)?", text, flags=re.ASCII):
        return "It looks like seconds since 1970: write the date."
    if re.fullmatch(r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}.*", text, flags=re.ASCII):
        return "Write year, month and day, in this order, with hyphens and two digits: which is which is not guessed."
    return "Write year, month and day with hyphens."


def _text(data: bytes, where: str) -> str:
    save = "Save it as UTF-8 (in a spreadsheet: CSV UTF-8)."
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or (data[:400].count(0) * 3 > len(data[:400])):
        raise ArchiveError("is not UTF-8: it looks like UTF-16", where, save)
    if data[:4] == b"PK\x03\x04" or data[:4] == b"\xd0\xcf\x11\xe0":
        raise ArchiveError("is a spreadsheet's own file, not csv", where, save)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ArchiveError(f"is not UTF-8: it looks like {_encoding(data)}", at_line(where, line), save) from error
    if "\0" in text:
        raise ArchiveError("holds a NUL byte", at_line(where, text[: text.index("\0")].count("\n") + 1), save)
    return text


def _encoding(data: bytes) -> str:
    """Which encoding bytes that are not UTF-8 look like."""
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        return "no text, or an older encoding such as Latin-1 or Mac Roman"
    odd = next(char for char in text if ord(char) > 127)
    line = next(one for one in text.splitlines() if odd in one)
    return f"cp1252 (Windows), in which this line reads {_shown(line)}"


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:80]}...")


def _check_cells(cells: list[str], here: str) -> None:
    for cell in cells:
        if not cell.isprintable() and any(unicodedata.category(char) == "Cc" for char in cell):
            what = "a line break" if set(cell) & set("\r\n") else "a control character"
            raise ArchiveError(f"holds {what} inside a cell: {_shown(cell)}", here, "Take it out.")
        if cell != cell.strip():
            raise ArchiveError(f"holds space around a cell: {_shown(cell)}", here, "Take it out.")


def _check_header(header: list[str], here: str) -> None:
    if header[0].lower().startswith("sep="):
        raise ArchiveError(f"{','.join(header)!r} is a spreadsheet's own line, no header", here, "Take the line out.")
    if len(header) == 1:
        for separator, name in _SEPARATORS.items():
            if separator in header[0]:
                raise ArchiveError(f"separates its columns by {name}", here, "Save it with commas.")
    _check_cells(header, here)
    for number, name in enumerate(header, 1):
        if not name:
            raise ArchiveError(f"column {number} has no name", here, "Name it, or take it out.")
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise ArchiveError(f"column {twice!r} stands twice", here, "Take one out.")
