"""What records, folders of them and leaderboards show of themselves."""

from html.parser import HTMLParser

from seamo_bench.board.leaderboard import build_table
from seamo_bench.board.tables import to_text
from seamo_bench.records.record import read_records
from tests.bench.test_report import HOSTILE, some_results


class Texts(HTMLParser):
    """Tags, and what stands between them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, _attrs: object) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_each_says_in_a_few_lines_what_it_holds(tmp_path):
    found = read_records(some_results(tmp_path))
    record = next(one for one in found.records if one.about.backbone == "good-net" and one.about.stores[0][0] == "E")
    lines = repr(record).splitlines()
    assert lines[0] == f"Record {record.key[:12]}, ok: good-net"
    assert f"top1 {record.scores['top1']:.4f}" in repr(record)
    assert len(lines) < 10
    assert str(record) == repr(record)
    blind = next(one for one in found.records if one.status == "impossible")
    assert "impossible: blind" in repr(blind)
    whole = repr(found)
    assert whole.splitlines()[0] == "14 records, 1 damaged files"
    assert "13 ok, 1 impossible" in whole
    table = build_table(found, str(tmp_path), resamples=50)
    assert repr(table) == to_text(table).rstrip()


def test_notebooks_get_tables_and_nothing_of_a_record_becomes_markup(tmp_path):
    found = read_records(some_results(tmp_path))
    table = build_table(found, tmp_path, resamples=50)
    for value in (*found.records, found, table):
        shown = Texts(value._repr_html_())
        assert shown.tags <= {"div", "b", "table", "tr", "th", "td", "p"}
    shown = Texts(table._repr_html_())
    assert HOSTILE in shown.texts
    assert len([one for one in shown.texts if one.startswith("Values with 95 %")]) == 1
