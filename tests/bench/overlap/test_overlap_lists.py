"""Lists of footprints: which touch, how lists are read, written and refused."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from seamo.errors import UsageError
from seamo.sample import GeoRef
from seamo.store.placelist import Footprints, footprints_of, read_footprints, write_footprints
from seamo_bench.questions.touching import touching
from seamo_prep.cli import main as prep
from tests.bench import bench_store
from tests.bench.overlap.placed import opened
from tests.bench.test_touching import only


def test_neighbours_of_one_grid_do_not_touch_and_shifted_ones_do(root: Path) -> None:
    store = opened(root, "toy")
    whole, rows = footprints_of(store, np.arange(len(store)))
    assert rows.tolist() == list(range(90))
    wide = whole.corners[0].max(axis=0) - whole.corners[0].min(axis=0)
    assert whole.boxes[0, 2] > whole.boxes[1, 0]  # as boxes, neighbours do overlap: the grid is turned against north
    for k in range(0, 90, 7):
        one = dataclasses.replace(whole, **only(whole, k))
        rest = Footprints(*(np.delete(getattr(whole, name), k, axis=0) for name in ("ids", "corners", "begin", "end")))
        assert touching(one, rest).tolist() == [-1], k
        pushed = dataclasses.replace(one, corners=one.corners + 0.5 * wide)
        assert touching(pushed, rest)[0] >= 0
    beside, _ = footprints_of(opened(root, "beside"), np.arange(90))
    assert (touching(whole, beside) == -1).all()
    assert touching(whole, whole).tolist() == list(range(90))


def test_samples_without_a_place_are_no_footprints_and_cut_ones_are_boxes(tmp_path: Path) -> None:
    spec = bench_store.toy_spec()
    samples = bench_store.toy_samples(spec, 3)
    samples[0] = dataclasses.replace(samples[0], geo=GeoRef("EPSG:4326", (0.01, 0.0, 179.95, 0.0, -0.01, -16.0)))
    samples[2] = dataclasses.replace(samples[2], geo=GeoRef("EPSG:4326", (0.01, 0.0, 10.0, 0.0, -0.01, -16.0)))
    found, rows = footprints_of(bench_store.build_store(tmp_path, spec, samples), np.array([2, 1, 0]))
    assert rows.tolist() == [2, 0]
    np.testing.assert_allclose(found.boxes, [[10, -16.08, 10.08, -16], [179.95, -16.08, 180.03, -16]])
    assert found.num_dated == 0


def test_lists_are_read_as_they_were_written(tmp_path: Path, root: Path) -> None:
    known, _ = footprints_of(opened(root, "toy"), np.arange(90))
    day = np.datetime64("2020-02-29", "D")
    known = dataclasses.replace(known, begin=np.full(90, day), end=np.array([day] * 89 + [np.datetime64("NaT", "D")]))
    write_footprints(tmp_path / "toy.parquet", known)
    back = read_footprints(tmp_path / "toy.parquet")
    for name in ("ids", "corners", "begin", "end"):
        np.testing.assert_array_equal(getattr(back, name), getattr(known, name))
    assert back.num_dated == 89
    (tmp_path / "a.csv").write_text(
        "id,west,south,east,north,begin,end\n007,179.9,-16,-179.9,-15.9,2020-01-05,\nb,1,2,3,4,,\n"
    )
    table = read_footprints(tmp_path / "a.csv")
    assert table.ids.tolist() == ["007", "b"]
    np.testing.assert_allclose(table.boxes, [[179.9, -16, 180.1, -15.9], [1, 2, 3, 4]])
    assert table.begin[0] == np.datetime64("2020-01-05")
    assert np.isnat(table.end).all()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("id,west,south,east,north\na,10,50,10,50\n", "have no area"),
        ("id,west,south,east,north\na,10,50,11,95\n", "have no area"),
        ("id,west,south,east,north\na,180,50,-180,51\n", "have no area"),
        ("id,west,south,east,north\na,10,50,,51\n", "have no area"),
        ("id,lon,lat\na,10,50\n", "is no list of footprints"),
        ("id,west,south,east,north,begin\na,10,50,11,51,soon\n", "is no list of footprints"),
    ],
)
def test_what_is_no_list_is_refused(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(UsageError, match=why):
        read_footprints(tmp_path / "a.csv")
    (tmp_path / "a.parquet").write_text(text)
    with pytest.raises(UsageError, match="is no list"):
        read_footprints(tmp_path / "a.parquet")


def test_a_store_is_exported_as_a_list(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "sys.argv",
        ["seamo-prep", "export", str(root / "toy"), "--footprints", "-o", str(tmp_path / "toy.parquet"), "--json"],
    )
    with pytest.raises(SystemExit) as end:
        prep()
    assert not end.value.code
    assert json.loads(capsys.readouterr().out)[0]["footprints"] == 90
    known, _ = footprints_of(opened(root, "toy"), np.arange(90))
    np.testing.assert_array_equal(read_footprints(tmp_path / "toy.parquet").corners, known.corners)
