"""One's own imagery is told apart by what is in its files; everything else in the folder does not matter."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest
import yaml

from seamo.errors import ArchiveError, UsageError
from seamo.store.reader import open_store
from seamo_prep import fingerprint
from tests.prep.demo_stores import build_quietly


@pytest.fixture
def raw(demo_raw: Path, tmp_path: Path) -> Path:
    return shutil.copytree(demo_raw / "folder", tmp_path / "raw")


def flip_a_pixel(path: Path) -> None:
    """One bit of the last byte of an uncompressed part of the file; size and time stay."""
    found = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def test_a_corrected_label_is_a_view_of_the_same_pixels(raw: Path, tmp_path: Path) -> None:
    first = build_quietly("folder", raw, tmp_path / "root")
    shards = {path: path.stat().st_mtime_ns for path in first.path.rglob("c/*") if path.is_file()}
    assert shards
    rows = (raw / "samples.csv").read_text().splitlines()
    was, now = ("forest", "water") if ",forest," in rows[1] else ("water", "forest")
    rows[1] = rows[1].replace(was, now)
    (raw / "samples.csv").write_text("\n".join(rows) + "\n")
    second = build_quietly("folder", raw, tmp_path / "root")
    assert (second.was_there, first.path in second.path.parents) == (False, True)
    assert {path: path.stat().st_mtime_ns for path in first.path.rglob("c/*") if path.is_file()} == shards
    names = [open_store(path).spec.label_space().names[open_store(path)[0].label] for path in (first.path, second.path)]
    assert names == [was, now]
    assert open_store(first.path).meta.pixels == open_store(second.path).meta.pixels
    rows[1] = rows[1].replace(now, "forrest")
    (raw / "samples.csv").write_text("\n".join(rows) + "\n")
    with pytest.raises(ArchiveError, match="no class 'forrest'"):
        build_quietly("folder", raw, tmp_path / "root")


def test_images_that_are_exchanged_in_the_table_make_another_store(raw: Path, tmp_path: Path) -> None:
    first = build_quietly("folder", raw, tmp_path / "root")
    table = (raw / "samples.csv").read_text()
    for date in "01":  # both, as all files of a sample lie on one ground
        first_file, other = f",0_{date}.tif,", f",2_{date}.tif,"
        table = table.replace(first_file, ",?,").replace(other, first_file).replace(",?,", other)
    (raw / "samples.csv").write_text(table)
    second = build_quietly("folder", raw, tmp_path / "root")
    assert second.path.parent == first.path.parent
    one, two = (open_store(built.path)[0].layers["s2"] for built in (first, second))
    assert (one != two).any()


@pytest.mark.parametrize("name", ["samples.csv", "seamo.yaml", "3_1.tif"])
def test_any_change_of_a_file_that_is_read_makes_another_store(name: str, raw: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    first = build_quietly("folder", raw, root)
    assert build_quietly("folder", raw, root) == type(first)(first.url, was_there=True)
    size = (raw / name).stat().st_size
    if name == "seamo.yaml":
        text = (raw / name).read_text()
        (raw / name).write_text(text.replace("gsd_m: 10", "gsd_m: 20"))
    elif name == "samples.csv":
        text = (raw / name).read_text()
        (raw / name).write_text(text.replace("place-0", "place-9"))
    else:
        flip_a_pixel(raw / name)
    assert (raw / name).stat().st_size == size
    second = build_quietly("folder", raw, root)
    assert (second.was_there, second.path != first.path) == (False, True)


def test_what_the_table_does_not_name_does_not_count(raw: Path, tmp_path: Path) -> None:
    first = build_quietly("folder", raw, tmp_path / "root")
    for name in (".DS_Store", "samples.csv~", ".samples.csv.swp", "notes.txt", "unused.tif", "sub/.hidden"):
        (raw / name).parent.mkdir(exist_ok=True)
        (raw / name).write_bytes(b"x")
    declared = raw / "SYNTHETIC.json"
    declared.write_text(json.dumps(json.loads(declared.read_bytes()), indent=3))  # the same, written otherwise
    for path in raw.glob("*.tif"):
        path.touch()
    assert build_quietly("folder", raw, tmp_path / "root").was_there
    moved = shutil.copytree(raw, tmp_path / "elsewhere")
    assert build_quietly("folder", moved, tmp_path / "root").path == first.path


def test_a_second_look_reads_only_what_is_new_or_too_young(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    whole = fingerprint.file_sha256
    monkeypatch.setattr(fingerprint, "file_sha256", lambda path: (read.append(path.name), whole(path))[1])
    build_quietly("folder", raw, tmp_path / "root")
    assert len(read) == 2 * 14  # twice: the files are younger than a disk's clock can tell apart
    time.sleep(3.1)
    build_quietly("folder", raw, tmp_path / "root")
    read.clear()
    assert build_quietly("folder", raw, tmp_path / "root").was_there
    assert read == []
    flip_a_pixel(raw / "0_0.tif")  # the same size, the time put back: the inode still tells
    assert not build_quietly("folder", raw, tmp_path / "root").was_there
    assert set(read) == {"0_0.tif"}
    (kept,) = (tmp_path / "root").glob("*/.*.hashes")
    assert str(tmp_path) not in kept.read_text()
    kept.write_bytes(kept.read_bytes().replace(b"0_0", b"9_9"))  # damaged: made anew
    assert build_quietly("folder", raw, tmp_path / "root").was_there


def test_imagery_that_changes_while_it_is_built_is_not_published(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from seamo_prep import build

    def write_and_change(*arguments, **options) -> None:
        write(*arguments, **options)
        flip_a_pixel(raw / "2_0.tif")

    write = build.write_shards
    monkeypatch.setattr(build, "write_shards", write_and_change)
    with pytest.raises(ArchiveError, match="was changed while it was built"):
        build_quietly("folder", raw, tmp_path / "root")
    assert not list((tmp_path / "root").glob("*/*/store.json"))
    assert not list((tmp_path / "root").glob("*/.*.partial"))
    monkeypatch.setattr(build, "write_shards", write)
    assert len(open_store(build_quietly("folder", raw, tmp_path / "root").path)) == 6


def test_stores_inside_raw_are_refused(raw: Path, demo_raw: Path, tmp_path: Path) -> None:
    for root in (raw, raw / "stores", raw / "a" / "b"):
        with pytest.raises(UsageError, match="inside RAW"):
            build_quietly("folder", raw, root)
    (tmp_path / "link").symlink_to(raw)
    with pytest.raises(UsageError, match="inside RAW"):
        build_quietly("folder", raw, tmp_path / "link" / "stores")
    with pytest.raises(UsageError, match="inside RAW"):
        build_quietly("eurosat", demo_raw, demo_raw)  # RAW/eurosat is where its store would go
    assert sorted(one.name for one in raw.iterdir() if one.is_dir()) == []
    spec = yaml.safe_load((raw / "seamo.yaml").read_text())
    (name,) = spec["datasets"]
    inner = shutil.copytree(raw, tmp_path / "root" / name / "raw")
    with pytest.raises(UsageError, match="folder of its own stores"):
        build_quietly("folder", inner, tmp_path / "root")


def test_labels_of_the_table_are_read_as_the_archive_reads_them(raw: Path, tmp_path: Path) -> None:
    """A name may hold a bar where one label belongs, and an empty cell is a negative where the task says so."""
    spec = yaml.safe_load((raw / "seamo.yaml").read_text())
    entry = spec["datasets"]["own-imagery"]
    entry["label_spaces"]["cover"]["classes"] = [{"name": "forest"}, {"name": "river|lake"}]
    (raw / "seamo.yaml").write_text(yaml.safe_dump(spec))
    table = (raw / "samples.csv").read_text()
    (raw / "samples.csv").write_text(table.replace(",water,", ",river|lake,"))
    store = open_store(build_quietly("folder", raw, tmp_path / "root").path)
    assert [store.read_label(row) for row in range(len(store))] == [0, 1] * 3
    entry["task"] |= {"kind": "multi-label", "no_class": "negative"}
    entry["label_spaces"]["cover"]["classes"] = [{"name": "forest"}, {"name": "water"}]
    (raw / "seamo.yaml").write_text(yaml.safe_dump(spec))
    (raw / "samples.csv").write_text(table.replace(",water,", ",,"))
    store = open_store(build_quietly("folder", raw, tmp_path / "root").path)
    assert [store.read_label(row) for row in range(len(store))] == [(0,), ()] * 3
    (raw / "samples.csv").write_text(table.replace(",water,", ",,").replace(",forest,", ",water,"))
    view = build_quietly("folder", raw, tmp_path / "root").path
    assert view.parent.parent == store.path
    store = open_store(view)
    assert [store.read_label(row) for row in range(len(store))] == [(1,), ()] * 3


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("3_1.tif.aux.xml", "<PAMDataset><PAMRasterBand band='1'><NoDataValue>0</NoDataValue></PAMRasterBand>"
                            "</PAMDataset>"),
        ("3_1.tfw", "10\n0\n0\n-10\n5\n5\n"),
    ],
)  # fmt: skip
def test_what_lies_beside_an_image_and_speaks_of_it_counts(name: str, text: str, raw: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    first = build_quietly("folder", raw, root)
    (raw / name).write_text(text)
    second = build_quietly("folder", raw, root)
    assert (second.was_there, second.path != first.path) == (False, True)
    (raw / name).write_text(text.replace("0", "7", 1))
    assert build_quietly("folder", raw, root).path not in (first.path, second.path)
    (raw / name).unlink()
    assert build_quietly("folder", raw, root) == type(first)(first.url, was_there=True)
