"""Copies of stores: checked, resumable, of the format before too."""

import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from numpy.testing import assert_array_equal

from seamo.errors import StoreError, UsageError
from seamo.store.buildplan import BuildPlan
from seamo.store.check import content_of, differing_files
from seamo.store.copy import copy_store
from seamo.store.reader import Store, open_store, views_of
from seamo.store.writer import StoreWriter
from seamo.testing.stores import tiny_store
from tests.seamo.store_samples import build, seasons_samples, seasons_spec

SAMPLES = seasons_samples()[:20]
PLAN = BuildPlan(spec=seasons_spec(), split_scheme="hash-60-20-20")
# Written by the last version of that format; content hashes as it printed them.
FORMAT_1 = Path(__file__).parent / "stores_of_format_1.tar.xz"
CONTENT_1 = {
    "zarr": "7bf1a124ac387161c65cf6bbe996d5ade328aaff81c307ac232353907f1b4d8a",
    "tar": "0ef71ab1598872a4dc81c10c074dc71ad43da449c314e429eb7c846c3d5e0646",
    "masks": "441e1c8a75d0eafdf410b25450ff86a4115c3c0575c8ff2fb075549a86c662e4",
}
OPTIONS = {
    "zarr": {},
    "tar": {"layout": "webdataset", "task": "multi-label", "times": 1, "layers": ["s2"]},
    "masks": {"task": "segmentation", "times": 1, "layers": ["s2_20m"]},
}


def said(done: int, total: int, what: str) -> None:
    assert what in ("bytes", "samples")
    assert 0 <= done <= total


def copied(source: Path, root: Path, layout=None) -> Store:
    return open_store(copy_store(source, root, layout=layout, progress=said))


@pytest.fixture(scope="module")
def before(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("format1")
    with tarfile.open(FORMAT_1) as tar:
        tar.extractall(root, filter="data")
    return {name: next((root / name).glob("tiny/*/store.json")).parent for name in CONTENT_1}


def test_a_copy_holds_the_same_files_and_views(tmp_path):
    path = build(tmp_path / "a", PLAN, SAMPLES)
    with StoreWriter(tmp_path / "a", replace(PLAN, split_scheme="cv5x5"), [one.key for one in SAMPLES]) as writer:
        view = open_store(writer.publish())
    copy = copied(path, tmp_path / "b")
    assert copy.path == tmp_path / "b" / "toy" / path.name
    for one in path.rglob("*"):
        if one.is_file():
            assert (copy.path / one.relative_to(path)).read_bytes() == one.read_bytes()
    assert open_store(copy.path / "views" / view.path.name).content == view.content
    assert list(differing_files(copy, deep=True)) == []
    assert copied(view.path, tmp_path / "b").path == copy.path  # there already


def test_a_copy_goes_on_and_repairs_what_was_cut(tmp_path):
    path = build(tmp_path / "a", PLAN, SAMPLES)
    copy = copied(path, tmp_path / "b")
    part = copy.path.with_name(f".{path.name}-copy.partial")
    copy.path.rename(part)
    (part / "store.json").unlink()
    victim = next((part / "data.zarr").glob("s1/c/0/0/0/0/0"))
    victim.write_bytes(victim.read_bytes()[:-9])
    again = copied(path, tmp_path / "b")
    assert list(differing_files(again, deep=True)) == []
    assert not part.exists()


def test_a_copy_of_a_split_is_marked_as_a_subset(tmp_path):
    store = open_store(build(tmp_path / "a", PLAN, SAMPLES))
    made = open_store(copy_store(store.path, tmp_path / "b", layout=None, progress=said, split="val"))
    rows = store.rows("val")
    assert list(made.index["key"]) == list(store.index["key"].iloc[rows])
    assert made.meta.subset == f"split val of hash-60-20-20 alone; {len(rows)} of 1,000 samples"
    assert made.title == f"Toy subset ({len(rows)} of 1,000)"
    first = copy_store(store.path, tmp_path / "b", layout=None, progress=said, split="val", limit=2)
    assert list(open_store(first).index["key"]) == list(made.index["key"])[:2]
    assert len({store.meta.build, made.meta.build, open_store(first).meta.build}) == 3
    again = open_store(copy_store(made.path, tmp_path / "c", layout="webdataset", progress=said))
    assert (again.content, again.meta.subset) == (made.content, made.meta.subset)


def test_a_damaged_source_is_named(tmp_path):
    path = build(tmp_path / "a", PLAN, SAMPLES)
    victim = path / "data.zarr" / "key" / "zarr.json"
    victim.write_bytes(victim.read_bytes().replace(b"20", b"21", 1))
    with pytest.raises(StoreError, match=r"key/zarr\.json: is not what its manifest says"):
        copied(path, tmp_path / "b")
    with pytest.raises(StoreError, match="not finished"):
        open_store(tmp_path / "b" / "toy")


def test_another_codec_has_the_same_content_and_views(tmp_path):
    path = build(tmp_path / "a", PLAN, SAMPLES)
    with StoreWriter(tmp_path / "a", replace(PLAN, split_scheme="cv5x5"), [one.key for one in SAMPLES]) as writer:
        writer.publish()
    store, sizes = open_store(path), {}
    for codec in ("lz4", "compact", "none"):
        copy = open_store(copy_store(path, tmp_path / codec, layout=None, codec=codec, progress=said))
        assert (copy.content, copy.pixels, copy.meta.codec) == (store.content, store.pixels, codec)
        assert [view.content for view in views_of(copy)] == [view.content for view in views_of(store)] != []
        for one, other in zip(copy, store, strict=True):
            assert one.key == other.key
            for name in other.layers:
                assert_array_equal(one.layers[name], other.layers[name])
        sizes[codec] = sum(one.bytes for one in copy.read_manifest().values())
    assert sizes["compact"] < sizes["none"]
    assert copy.meta.build != store.meta.build
    with pytest.raises(UsageError, match="not compressed"):
        copy_store(path, tmp_path / "d", layout="webdataset", codec="lz4", progress=said)


@pytest.mark.parametrize("layout", ["zarr", "webdataset"])
def test_another_layout_has_the_same_content(tmp_path, layout):
    path = build(tmp_path / "a", replace(PLAN, layout="webdataset" if layout == "zarr" else "zarr"), SAMPLES)
    store, copy = open_store(path), copied(path, tmp_path / "b", layout)
    assert copy.meta.layout == layout
    assert (copy.content, copy.pixels, copy.meta.subset) == (store.content, store.pixels, store.meta.subset)


@pytest.mark.parametrize("name", CONTENT_1)
def test_the_format_before_is_refused_and_brought_to_this_one(tmp_path, before, name):
    with pytest.raises(StoreError, match=r"of the format before.*seamo-prep copy"):
        open_store(before[name])
    copy = copied(before[name], tmp_path)
    want = tiny_store(tmp_path / "anew", samples=5, **OPTIONS[name])
    assert (copy.pixels, copy.content, copy.title) == (want.pixels, want.content, want.title)
    assert content_of(copy) == copy.content
    assert copy.meta.provenance["was"]["content"] == CONTENT_1[name]
    assert copy.meta.statistics == want.meta.statistics
    assert copy.meta.truth == want.meta.truth
    for i in range(5):
        for layer, pixels in want[i].layers.items():
            assert_array_equal(copy[i].layers[layer], pixels)
        assert_array_equal(copy.read_label(i), want.read_label(i))


def test_a_damaged_store_of_the_format_before_is_refused(tmp_path, before):
    for name, pattern in (
        ("zarr", "data.zarr/s1/c/0/0/0/0/0"),
        ("tar", "shards/000000.tar"),
        ("zarr", "index.parquet"),
    ):
        victim = before[name] / pattern
        whole = victim.read_bytes()
        victim.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
        with pytest.raises(StoreError, match=Path(pattern).name):
            copied(before[name], tmp_path)
        victim.write_bytes(whole)
    with pytest.raises(StoreError):
        open_store(tmp_path / "tiny")


def test_a_copy_into_the_store_itself_is_refused(tmp_path):
    path = build(tmp_path / "a", PLAN, SAMPLES)
    for root in (path, path / "views", path / "new"):
        for layout in (None, "webdataset"):
            with pytest.raises(StoreError, match="inside the store"):
                copy_store(path, root, layout=layout, progress=said)
    assert list(differing_files(open_store(path), deep=True)) == []
    assert not (path / "new").exists()


def test_a_file_that_the_source_lacks_is_said_of_the_source(tmp_path):
    path = build(tmp_path / "a", PLAN, SAMPLES)
    (path / "moments.parquet").unlink()
    with pytest.raises(StoreError, match=r"a/.*moments.parquet: cannot be read .*copy the store again"):
        copy_store(path, tmp_path / "b", layout=None, progress=said)
