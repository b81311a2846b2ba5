"""What spreadsheets and scripts do to a csv: read rightly, or one message with file and line."""

import csv
import io
from datetime import UTC, datetime

import numpy as np
import pytest

from seamo.errors import ArchiveError
from seamo_prep.strict_csv import read_csv, utc_date

HEAD = "key,s2,label\n"


def refused(data: bytes | str) -> str:
    with pytest.raises(ArchiveError) as caught:
        read_csv(data if isinstance(data, bytes) else data.encode(), "t.csv")
    assert caught.value.where.startswith("t.csv")
    return str(caught.value)


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_what_programs_write_is_read(ending: str, mark: str) -> None:
    """Against the standard library's own reader."""
    text = ending.join(["key,s2,label", "a,a.tif,water", "", 'b,"b,1.tif","say ""sea"""', "c,,K\u00f6ln"]) + ending
    rows = read_csv((mark + text).encode(), "t.csv")
    assert [row.cells for row in rows] == list(csv.DictReader(io.StringIO(text, newline="")))
    assert [row.line for row in rows] == [2, 4, 5]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (HEAD, "has no rows"),
        (HEAD + "a,a.tif\n", "line 2: has 2 cells in 3 columns"),
        (HEAD + "a,a.tif,water\nb,b.tif,water,train\n", "line 3: has 4 cells in 3 columns"),
        ("key;s2;label\na;a.tif;water\n", "line 1: separates its columns by semicolons"),
        ("key\ts2\tlabel\na\ta.tif\twater\n", "line 1: separates its columns by tabs"),
        ("key,s2,s2\na,a,a\n", "column 's2' stands twice"),
        ("key,s2,\na,a,a\n", "line 1: column 3 has no name"),
        ("sep=,\nkey,s2\na,a.tif\n", "line 1: 'sep=,' is a spreadsheet's own line, no header. Take the line out."),
        ("SEP=;\nkey;s2\na;a.tif\n", "line 1: 'SEP=;' is a spreadsheet's own line"),
        (HEAD + 'a,"a\n.tif",water\n', "line 3: holds a line break inside a cell"),
        (HEAD + 'a,"a.tif,water\n', "is no csv"),
        (HEAD + 'a,"a"b.tif,water\n', "line 2: is no csv"),
        (HEAD + "a,a.tif,wa\0ter\n", "line 2: holds a NUL byte"),
        (HEAD + "a,a.tif,wa\x1b[31mter\n", "line 2: holds a control character"),
        (HEAD + "a, a.tif,water\n", "line 2: holds space around a cell"),
        (HEAD + "a,a.tif,water\u00a0\n", "line 2: holds space around a cell"),
        ((HEAD + "a,a.tif,x\nb,b.tif,K\u00f6ln\n").encode("cp1252"), r"line 3: is not UTF-8: it looks like cp1252"),
        ((HEAD + "a,a.tif,K\u00f6ln\n").encode("utf-16"), "it looks like UTF-16"),
        ((HEAD + "a,a.tif,K\u00f6ln\n").encode("utf-16-le"), "it looks like UTF-16"),
        ((HEAD + "a,a.tif,K\u00f6ln\n").encode("mac_roman") + b"\x81\n", "it looks like no text, or an older encoding"),
        (b"PK\x03\x04 a workbook", "a spreadsheet's own file"),
        (HEAD + f"a,a.tif,{'x' * 200_000}\n", "is no csv"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line(data: bytes | str, message: str) -> None:
    assert message in refused(data)


def test_the_message_shows_what_the_bytes_would_say() -> None:
    assert "reads 'a,a.tif,K\u00f6ln'" in refused((HEAD + "a,a.tif,K\u00f6ln\n").encode("cp1252"))


def test_no_bytes_end_in_another_error() -> None:
    rng = np.random.default_rng(5)
    good = (HEAD + "a,a.tif,water\nb,b.tif,K\u00f6ln\n").encode()
    outcomes = set()
    for _ in range(3000):
        data = bytearray(good)
        for position in rng.integers(0, len(data), 2):
            data[position] = rng.integers(256)
        try:
            outcomes.add(len(read_csv(bytes(data[: rng.integers(len(data) + 1)]), "t.csv")))
        except ArchiveError as error:
            assert error.where.startswith("t.csv")  # noqa: PT017
            outcomes.add(-1)
    assert outcomes >= {-1, 1, 2}


@pytest.mark.parametrize(
    "text",
    [
        "2021-08-02", "2021-08-02T10:00", "2021-08-02 10:00:31", "2021-08-02T10:00:31Z", "2021-08-02T00:30:00+02:00",
        "2021-12-31T23:30:00-05:30", "2024-02-29T12:00:00Z", "2021-08-02T10:00:31.500Z",
    ],
)  # fmt: skip
def test_dates_equal_python_s_own_reading(text: str) -> None:
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    assert utc_date(text, "t.csv").astype("int64") == int(moment.timestamp())


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("20210802", "Write 2021-08-02"), ("20210802T100000", "Write 2021-08-02"), ("44410", "day number"),
        ("1627898400", "seconds since 1970"), ("1627898400000", "seconds since 1970"), ("02.08.2021", "not guessed"),
        ("02/08/2021", "not guessed"), ("02-08-2021", "not guessed"), ("2021/08/02", "not guessed"),
        ("2021-8-2", "not guessed"), ("2021", "hyphens"), ("2021-08", "hyphens"), ("2021-W31-1", "hyphens"),
        ("2021-214", "hyphens"), ("today", "hyphens"), ("now", "hyphens"), ("NaT", "hyphens"), ("2. August 2021", ""),
        ("2021-02-30", "no date"), ("2021-13-01", "no date"), ("2021-02-29", "no date"),
        ("2021-08-02T25:00", "no date"),
        ("2021-08-02T10:00:61Z", "no date"), ("2021-08-02T10:00:00+15:00", "no date"), ("0021-08-02", "four digits"),
        ("2201-01-01", "date of an image"), ("9999-12-31T23:59:59-10:00", "no date"), ("0000-01-01", "no date"),
        ("2021-08-02T10:00:00 CET", ""), ("\u0662021-08-02", ""), ("-2021-08-02", ""), ("2021-08-02Z", ""),
    ],
)  # fmt: skip
def test_what_is_no_date_is_refused(text: str, hint: str) -> None:
    with pytest.raises(ArchiveError, match="date") as caught:
        utc_date(text, "t.csv, line 2")
    assert caught.value.where == "t.csv, line 2"
    assert hint in str(caught.value)
