"""Parts of the report held against numbers and words typed by hand: headline, links, commands, plots, land."""

import json
import re
import shlex
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from seamo_bench.board.leaderboard import build_table
from seamo_bench.board.report import coast, write_report
from seamo_bench.board.report.commands import Commands
from seamo_bench.board.report.contracts import contracts
from seamo_bench.board.report.headline import findings, opening
from seamo_bench.board.report.links import Links, is_safe, links_in
from seamo_bench.board.report.plots import HEIGHT, WIDTH, Axis, Dot, scatter
from seamo_bench.board.tables import p_text
from seamo_bench.records.record import read_record, read_records
from seamo_bench.scores.intervals import Interval
from tests.bench.test_report import HOSTILE, Page, put


def table(folder):
    return build_table(read_records(folder), folder, resamples=200)


def test_the_headline_says_what_leads_and_what_is_not_told_apart(tmp_path):
    for name, right in (("best", 0.99), ("near", 0.95), ("far", 0.4)):
        put(tmp_path, name, right)
    put(tmp_path, "stats", 0.97, floor="image statistics")
    put(tmp_path, "best", 0.9, dataset="world")
    put(tmp_path, "blind", 0, status="impossible")
    made = table(tmp_path)
    assert opening(made, read_records(tmp_path).records) == (
        "3 models and 1 floor on 2 data sets in 2 columns (data set, protocol, share of labels); 5 runs scored, "
        "1 cell without a score."
    )
    first, second = findings(made)
    cells = {row: cell for (row, column), cell in made.cells.items() if column.dataset == "eurosat" and cell.interval}
    one = cells["best"].interval
    assert one.value > cells["near"].interval.value > cells["far"].interval.value
    begin = "EuroSAT subset (202 of 27,000), linear (demo budget): "
    assert first.startswith(f"{begin}best leads with {100 * one.value:.2f} [{100 * one.low:.2f}, ")
    assert first.endswith(" (Top-1); not told apart from it: stats (a floor: image statistics), near.")
    assert second.startswith("World (synthetic), linear (demo budget): best leads with ")
    assert second.endswith("; nothing else has a score.")


def test_many_columns_are_told_by_task(tmp_path):
    for number in range(5):
        put(tmp_path, "good", 0.95, dataset=f"set-{number}")
        put(tmp_path, "bad", 0.2, dataset=f"set-{number}")
    put(tmp_path, "stats", 0.1, dataset="set-0", floor="image statistics")
    put(tmp_path, "good", 0.95, dataset="set-5")
    said = findings(table(tmp_path))
    assert said == [
        "Single-label classification, 6 columns (synthetic): led by good in 6. In 5 of 5 columns "
        "with several rows the leader is told apart from all others. In 1 a single row has a score.",
        "No floor is best, or not told apart from the best, in any of 6 columns.",
    ]


def test_a_folder_without_records_makes_a_page_that_says_so(tmp_path):
    (tmp_path / "results").mkdir()
    write_report(tmp_path / "results", tmp_path / "r.html", given="my results")
    text = (tmp_path / "r.html").read_text()
    parsed = Page(text)
    assert "There is no record here yet." in parsed.text
    assert "seamo-bench report 'my results' -o report.html" in parsed.text
    (tmp_path / "results" / "x.json").write_text("{")
    write_report(tmp_path / "results", tmp_path / "r.html")
    assert "x.json is left out: it is not a record" in Page((tmp_path / "r.html").read_text()).text


def test_check_commands_name_all_records_of_a_row_where_they_are(tmp_path):
    folder = tmp_path / "my results; rm"
    for seed in (1, 2, 0):
        put(folder, "good-net", 0.9, seed=seed)
    records = read_records(folder).records
    lines = Commands(folder, str(folder)).verify(records).splitlines()
    assert len(lines) == 3
    seeds = []
    for line in lines:
        program, verb, path = shlex.split(line)
        assert (program, verb) == ("seamo-bench", "verify")
        seeds.append(json.loads(Path(path).read_text())["facts"].get("seed", 0))
    assert seeds == [0, 1, 2]
    for given, dated in (("", True), ("s3://bucket/results", False)):  # a copy of an address is of today
        write_report(folder, tmp_path / "r.html", given=given, resamples=50)
        assert ("Newest record: " in (tmp_path / "r.html").read_text()) == dated
    there = Commands(folder, "s3://bucket/results/").verify(records[:1])
    assert there == f"seamo-bench verify s3://bucket/results/{records[0].key}.json"


def test_check_commands_of_a_results_repository_name_its_folders(tmp_path):
    put(tmp_path / "run", "good-net", 0.9)
    (path,) = (tmp_path / "run").glob("*.json")
    key, shared = path.stem, tmp_path / "shared"
    (shared / "records" / key[:2]).mkdir(parents=True)
    (shared / "predictions").mkdir()
    path.rename(shared / "records" / key[:2] / path.name)
    records = [read_record(shared / "records" / key[:2] / path.name)]
    said = Commands(shared, "../shared").verify(records)
    assert said == f"seamo-bench verify ../shared/records/{key[:2]}/{key}.json"


def test_only_whole_https_addresses_become_links():
    assert [link.url for link in links_in("arXiv 2412.02732; huggingface.co/ibm-nasa-geospatial; one date")] == [
        "https://arxiv.org/abs/2412.02732",
        "https://huggingface.co/ibm-nasa-geospatial",
    ]
    assert links_in("this project; javascript:alert(1); http://example.org/a") == ()
    assert [link.url for link in links_in('https://example.org/a"><script>')] == ["https://example.org/a"]
    for bad in ("http://a.org", "javascript:a()", "https://", "https://me@a.org/", "https://a.org/\n", "https://[", ""):
        assert not is_safe(bad), bad
    links = Links()
    assert links.of_backbone("croma-base-joint")[0].url == "https://arxiv.org/abs/2311.00566"
    assert {link.text for link in links.of_backbone("croma-base-joint")} >= {"github.com/antofuller/CROMA", "weights"}
    assert links.of_backbone(HOSTILE) == ()
    assert links.of_stores(["eurosat", HOSTILE])[0].url == "https://github.com/phelber/EuroSAT"


def test_equal_inputs_stand_once(tmp_path):
    for name in ("a", "b", "c"):
        put(tmp_path, name, 0.9)
    (one,) = contracts(read_records(tmp_path).records)
    assert {record.facts.backbone.id for record in one.records} == {"a", "b", "c"}
    assert dict(one.facts)["Size"] == "64 x 64, not resized"
    changed = [
        record.model_copy(
            update={
                "facts": record.facts.model_copy(
                    update={
                        "adapter": record.facts.adapter.model_copy(update={"size": (0, 0), "resize": "not resized"})
                    }
                )
            }
        )
        for record in read_records(tmp_path).records
    ]
    assert dict(contracts(changed)[0].facts)["Size"] == "as stored, not resized"


def test_p_values_are_never_zero():
    assert [p_text(p) for p in (None, 0.0, 0.00099, 0.001, 0.05, 1.0)] == [
        "", "< 0.001", "< 0.001", "0.001", "0.050", "1.000",
    ]  # fmt: skip


def dots(costs, values, width=0.05):
    from seamo_bench.board.leaderboard import BoardRow

    def one(value):
        return Interval(value, value - width, value + width, 0.95, "", 100, "samples", 1, None, "")

    return [
        Dot(BoardRow(f"m{k}", f"model-number-{k}", ""), cost, one(value), str(k + 1))
        for k, (cost, value) in enumerate(zip(costs, values, strict=True))
    ]


@pytest.mark.parametrize("count", [2, 7, 12, 40])
def test_plots_hold_their_intervals_and_labels_do_not_meet(count):
    rng = np.random.default_rng(count)
    costs = [None, *np.exp(rng.normal(22, 1, count - 1)).tolist()]
    values = rng.uniform(0.6, 0.9, count).tolist()
    plot = scatter(dots(costs, values), "top1", "Top-1", Axis("FLOPs a sample", "FLOPs"))
    assert len(plot.marks) == count  # the best one, and one without a cost, too
    low, high = HEIGHT - 54, 18
    boxes = []
    for mark in plot.marks:
        ends = [float(found) for found in re.findall(r"M[\d.]+ ([\d.]+)h8", mark.error)]
        assert len(ends) == 2
        assert high <= min(ends) < mark.y < max(ends) <= low
        wide = 6.4 * len(mark.label)
        start = mark.label_x - {"start": 0, "middle": 0.5, "end": 1}[mark.anchor] * wide
        if mark.label:
            assert start >= 0
            assert start + wide <= WIDTH
            boxes.append((start, mark.label_y - 9, start + wide, mark.label_y + 3))
    for k, (a, b, c, d) in enumerate(boxes):
        assert all(c < e or a > g or d < f or b > h for e, f, g, h in boxes[:k])
    assert len(boxes) >= min(count, 12) - 1
    assert len(plot.x_ticks) >= 2
    assert len(plot.y_ticks) >= 3


def shapefile(*rings_of):
    """A .shp of polygons by ESRI's description."""
    body = b""
    for number, rings in enumerate(rings_of, start=1):
        points = np.concatenate(rings)
        starts = np.cumsum([0, *(len(ring) for ring in rings[:-1])])
        content = struct.pack("<i4d2i", 5, *points.min(axis=0), *points.max(axis=0), len(rings), len(points))
        content += starts.astype("<i4").tobytes() + points.astype("<f8").tobytes()
        body += struct.pack(">2i", number, len(content) // 2) + content
    return (
        struct.pack(">7i", 9994, 0, 0, 0, 0, 0, (100 + len(body)) // 2)
        + struct.pack("<2i8d", 1000, 5, *[0.0] * 8)
        + body
    )


SQUARE = np.array([[0.0, 0], [10, 0], [10, 10], [0, 10], [0, 0]])


def test_land_is_read_from_a_shapefile_and_drawn_in_its_box():
    rings = coast.read_polygons(shapefile([SQUARE, SQUARE / 5 + 4], [SQUARE + 50]))
    assert [len(ring) for ring in rings] == [5, 5, 5]
    np.testing.assert_array_equal(rings[1], SQUARE / 5 + 4)
    # 10 pixels a degree, north up; the third is far away, and what is beyond the box ends a little beyond it.
    path = coast.Coast(rings).path((0, 0, 20, 8), lambda lon: 10 * lon, lambda lat: 80 - 10 * lat)
    assert path == "M0 80l100 0 0 -100 -100 0 0 100ZM40 40l20 0 0 -20 -20 0 0 20Z"
    for broken in (b"", b"x" * 200, shapefile([SQUARE])[:-8]):
        with pytest.raises(ValueError, match="it "):
            coast.read_polygons(broken)


def test_a_map_has_land_where_the_package_is_and_says_where_not(tmp_path, monkeypatch):
    put(tmp_path / "results", "good-net", 0.9)
    monkeypatch.setitem(sys.modules, coast._PACKAGE, None)
    coast.coast.cache_clear()
    write_report(tmp_path / "results", tmp_path / "r.html", resamples=50)
    assert "No outline of the coast is drawn" in (tmp_path / "r.html").read_text()
    package = tmp_path / "site" / coast._PACKAGE
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('nothing of it is run')")
    with zipfile.ZipFile(package / coast._ARCHIVE, "w") as archive:
        archive.writestr("land.shp", shapefile([SQUARE + [5, 45]]))
    monkeypatch.delitem(sys.modules, coast._PACKAGE)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    coast.coast.cache_clear()
    write_report(tmp_path / "results", tmp_path / "r.html", resamples=50)
    text = (tmp_path / "r.html").read_text()
    assert 'class="land"' in text
    assert "Land: Natural Earth 1:10m, public domain." in text
    (package / coast._ARCHIVE).write_bytes(b"no zip")
    coast.coast.cache_clear()
    write_report(tmp_path / "results", tmp_path / "r.html", resamples=50)
    assert 'class="land"' not in (tmp_path / "r.html").read_text()
    coast.coast.cache_clear()
