"""Building: both layouts, any number of workers, kills, bad input."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio

from seamo.errors import ArchiveError, SeamoError, StoreError, UsageError
from seamo.native import checksum, statistics
from seamo.store import copy as copying
from seamo.store.check import content_of
from seamo.store.format import Layout
from seamo.store.reader import open_store
from seamo.store.roots import read_catalogue
from seamo_prep import speed
from seamo_prep.verify import verify
from tests.prep.demo_stores import IDS, build_quietly

# As EuroSAT's files hold them (phelber/EuroSAT issue 7), typed again here.
EUROSAT_FILE = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B09", "B10", "B11", "B12", "B8A"]


@pytest.mark.parametrize("dataset", IDS)
def test_both_layouts_hold_the_same(dataset: str, demo_raw: Path, demo_root: Path, tmp_path: Path) -> None:
    built = build_quietly(dataset, demo_raw / dataset, tmp_path, layout="webdataset")
    tar, zarr = open_store(built.path), open_store(demo_root / dataset)
    assert (tar.meta.layout, zarr.meta.layout) == ("webdataset", "zarr")
    assert tar.content == zarr.content == content_of(tar) == content_of(zarr)
    assert "synthetic" in tar.title


def test_pixels_are_those_of_the_files(demo_raw: Path, demo_root: Path) -> None:
    store = open_store(demo_root / "eurosat")
    files = {path.stem: path for path in (demo_raw / "eurosat").rglob("*.tif")}
    assert len(files) == len(store) == 60
    bands = store.spec.layer("s2").bands
    for row in range(0, 60, 7):
        sample = store[row]
        with rasterio.open(files[sample.key]) as file:
            expected = file.read()
        for position, name in enumerate(bands):
            np.testing.assert_array_equal(sample.layers["s2"][0, position], expected[EUROSAT_FILE.index(name)])
        assert store.spec.label_space().names[sample.label] == sample.key.rpartition("_")[0]


def test_content_does_not_depend_on_the_number_of_workers(demo_raw: Path, demo_root: Path, tmp_path: Path) -> None:
    built = build_quietly("eurosat", demo_raw / "eurosat", tmp_path, workers=2)
    assert open_store(built.path).content == open_store(demo_root / "eurosat").content


@pytest.mark.parametrize("dataset", ["ssl4eo-s12", "eurosat-sar"])
def test_bytes_do_not_depend_on_compiled_loops(
    dataset: str, demo_raw: Path, demo_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_loops = open_store(demo_root / dataset)
    for module in (checksum, statistics):
        monkeypatch.setattr(module, "kernels", lambda: None)
    without = open_store(build_quietly(dataset, demo_raw / dataset, tmp_path).path)
    assert without.read_manifest() == with_loops.read_manifest()  # sizes and sha256 of all files but store.json
    assert without.meta.statistics == with_loops.meta.statistics


def test_one_s_own_imagery(demo_raw: Path, tmp_path: Path) -> None:
    built = build_quietly("folder", demo_raw / "folder", tmp_path)
    store = open_store(built.path)
    assert (store.meta.id, store.meta.split_scheme, len(store)) == ("own-imagery", "own", 6)
    assert built.path.parent.name == "own-imagery"
    (tmp_path / "catalog.json").unlink()  # as where it was killed between the store and its entry
    assert build_quietly("folder", demo_raw / "folder", tmp_path).was_there
    catalogue = read_catalogue(tmp_path)
    assert catalogue is not None
    assert list(catalogue.stores) == [f"own-imagery/{built.path.name}"]


def test_a_second_build_finds_the_first(demo_raw: Path, demo_root: Path) -> None:
    before = (demo_root / "eurosat").stat().st_mtime_ns
    built = build_quietly("eurosat", demo_raw / "eurosat", demo_root)
    assert built.was_there
    assert built.path == open_store(demo_root / "eurosat").path
    assert (demo_root / "eurosat").stat().st_mtime_ns == before


def test_limit_layers_and_splits_make_other_stores(demo_raw: Path, tmp_path: Path) -> None:
    said: list[str] = []
    raw = demo_raw / "bigearthnet-v1"
    limited = open_store(build_quietly("bigearthnet-v1", raw, tmp_path, limit=3, layers=("s2_10m", "s1")).path)
    assert (len(limited), [one.id for one in limited.spec.layers]) == (3, ["s1", "s2_10m"])
    folds = open_store(build_quietly("bigearthnet-v1", raw, tmp_path, splits="cv5x5", say=said.append).path)
    assert {f"fold{i}" for i in range(5)} <= set(folds.index.columns)
    assert said == ["splits: cv5x5"]
    with pytest.raises(UsageError, match="no layer 's3'"):
        build_quietly("bigearthnet-v1", raw, tmp_path, layers=("s3",))
    with pytest.raises(UsageError, match="no split scheme 'offical'"):
        build_quietly("bigearthnet-v1", raw, tmp_path, splits="offical")


def test_radar_in_16_bits(demo_raw: Path, demo_root: Path, tmp_path: Path) -> None:
    raw, floats = demo_raw / "eurosat-sar", open_store(demo_root / "eurosat-sar")
    packed = open_store(build_quietly("eurosat-sar", raw, tmp_path, pack=("s1",), workers=2).path)
    assert packed.meta.build != floats.meta.build
    assert packed.pixels != floats.pixels
    for row in (0, 7):
        ours, theirs = (one.read_layer(row, "s1") for one in (packed, floats))
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=0.005 + 4e-6)
    sizes = [sum(one.read_index(["s1.length"])["s1.length"]) for one in (packed, floats)]
    assert sizes[0] < 0.55 * sizes[1]
    assert [one for one in verify(packed, deep=True, leaks=True, say=print) if one.severity == "error"] == []
    speed._steps(packed, speed._chunks(packed, packed.rows("all")[:2]))  # checks and decodes by itself
    with pytest.raises(UsageError, match=r"layer s2 is uint16 dn and is stored as it is.*To pack: none"):
        build_quietly("eurosat", demo_raw / "eurosat", tmp_path, pack=("s2",))


def test_without_lists_the_hash_decides_and_says_so(demo_raw: Path, tmp_path: Path) -> None:
    raw = shutil.copytree(demo_raw / "eurosat", tmp_path / "raw")
    for path in raw.glob("eurosat-*.txt"):
        path.unlink()
    said: list[str] = []
    store = open_store(build_quietly("eurosat", raw, tmp_path / "root", say=said.append).path)
    assert store.meta.split_scheme == "hash-60-20-20"
    assert said[0].startswith("splits: hash-60-20-20, because the lists of 'official' are not in")
    with pytest.raises(SeamoError):  # asked for by name, they must be there
        build_quietly("eurosat", raw, tmp_path / "root", splits="official")


def command(raw: Path, root: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "seamo_prep.cli", "build", "eurosat", "--raw", str(raw), "--store", str(root), *more]


def kill_and_resume(raw: Path, root: Path, chance: np.random.Generator, workers: str) -> None:
    """Start a build, kill it some time after the first file was written, then build to the end."""
    process = subprocess.Popen(command(raw, root, "--workers", workers), stderr=subprocess.DEVNULL, stdout=-3)
    while process.poll() is None and not any(root.glob("eurosat/.*.partial")):
        time.sleep(0.001)
    time.sleep(chance.uniform(0, 0.35 if workers == "1" else 4.0))
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run(command(raw, root, "--workers", "1"), check=True, capture_output=True)


@pytest.mark.soak
@pytest.mark.parametrize("moment", [0, 1, pytest.param(2, id="2-two-workers")])
def test_a_killed_build_resumes(moment: int, demo_raw: Path, demo_root: Path, tmp_path: Path) -> None:
    kill_and_resume(demo_raw / "eurosat", tmp_path, np.random.default_rng(moment), "2" if moment == 2 else "1")
    assert open_store(tmp_path / "eurosat").content == content_of(open_store(demo_root / "eurosat"))


@pytest.mark.soak
@pytest.mark.parametrize("moment", range(10))
def test_a_killed_build_resumes_at_any_moment(moment: int, demo_raw: Path, demo_root: Path, tmp_path: Path) -> None:
    kill_and_resume(demo_raw / "eurosat", tmp_path, np.random.default_rng(100 + moment), "12"[moment % 2])
    store = open_store(tmp_path / "eurosat")
    assert content_of(store) == open_store(demo_root / "eurosat").content


def fails(raw: Path, root: Path, *more: str) -> str:
    """The one message of a build that must fail."""
    done = subprocess.run(command(raw, root, *more), capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    messages = [line for line in done.stderr.splitlines() if line.startswith("seamo-prep: ")]
    assert len(messages) == 1, done.stderr
    return messages[0]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_truncated_file_names_itself_and_loses_nothing(workers: str, demo_raw: Path, tmp_path: Path) -> None:
    raw, root = shutil.copytree(demo_raw / "eurosat", tmp_path / "raw"), tmp_path / "root"
    victim = next(raw.rglob("SeaLake_6.tif"))  # in the last shard
    whole = victim.read_bytes()
    os.truncate(victim, len(whole) // 2)
    assert "SeaLake_6.tif" in fails(raw, root, "--workers", workers)
    done = sorted(root.glob("eurosat/.*.partial/.work/done/*.npz"))
    assert done, "finished shards must stay"
    assert not list(root.glob("eurosat/*/store.json"))
    with pytest.raises(StoreError, match="not finished"):
        open_store(root / "eurosat")

    skipped = open_store(build_quietly("eurosat", raw, root, on_bad="skip").path)
    entry = json.loads((skipped.path / "ledger.json").read_bytes())
    assert [(one["name"], "SeaLake_6.tif" in one["reason"]) for one in entry] == [("SeaLake_6", True)]
    assert (len(skipped), skipped.meta.counts.bad) == (60, 1)
    assert len(skipped.rows("all")) == 59


def test_wrong_shape_and_type_are_refused(demo_raw: Path, tmp_path: Path) -> None:
    for number, (dtype, side, word) in enumerate((("uint16", 63, "63"), ("float32", 64, "float32"))):
        raw = shutil.copytree(demo_raw / "eurosat", tmp_path / f"raw{number}")
        victim = next(raw.rglob("Forest_2.tif"))
        with rasterio.open(victim) as file:
            pixels, profile = file.read(), file.profile
        pixels = pixels[:, :side, :side].astype(dtype)
        if dtype == "float32":
            pixels += np.float32(0.5)
        profile.update(dtype=dtype, height=side, width=side)
        with rasterio.open(victim, "w", **profile) as file:
            file.write(pixels)
        with pytest.raises(SeamoError, match="Forest_2") as caught:
            build_quietly("eurosat", raw, tmp_path / "root")
        assert word in str(caught.value)


def test_a_missing_band_file_is_refused(demo_raw: Path, tmp_path: Path) -> None:
    raw = shutil.copytree(demo_raw / "ssl4eo-s12", tmp_path / "raw")
    next(iter(sorted(raw.glob("s2a/0000002/*/B8A.tif")))).unlink()
    with pytest.raises(ArchiveError, match=r"0000002.*B8A\.tif"):
        build_quietly("ssl4eo-s12", raw, tmp_path / "root")


def test_a_missing_season_is_refused_or_relaxed(demo_raw: Path, tmp_path: Path) -> None:
    raw = shutil.copytree(demo_raw / "ssl4eo-s12", tmp_path / "raw")
    shutil.rmtree(sorted((raw / "s1" / "0000001").iterdir())[0])
    with pytest.raises(ArchiveError, match="3 dates instead of 4"):
        build_quietly("ssl4eo-s12", raw, tmp_path / "root")
    store = open_store(build_quietly("ssl4eo-s12", raw, tmp_path / "root", relax=("seasons",)).path)
    times = store.read_times(store.row("0000001"))["s1"]
    assert list(np.isnat(times)) == [False, False, False, True]
    assert np.isnan(store.read_layer(store.row("0000001"), "s1")[3]).all()
    assert store.meta.relax == ("seasons",)


def test_an_unknown_label_is_refused(demo_raw: Path, tmp_path: Path) -> None:
    raw = shutil.copytree(demo_raw / "bigearthnet-v1", tmp_path / "raw")
    for path in raw.rglob("*_labels_metadata.json"):
        document = json.loads(path.read_bytes())
        document["labels"] = ["Pasturs"]
        path.write_text(json.dumps(document))
    with pytest.raises(SeamoError, match="Pasturs"):
        build_quietly("bigearthnet-v1", raw, tmp_path / "root")


def test_a_full_disk_says_so(demo_raw: Path, tmp_path: Path) -> None:
    # A limit on the size of files is the disk that is full: the kernel refuses the write.
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000));"
        "sys.argv = ['seamo-prep', *sys.argv[1:]]; from seamo_prep.cli import main; main()"
    )
    arguments = ["build", "eurosat", "--raw", str(demo_raw / "eurosat"), "--store", str(tmp_path), "--workers", "1"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "the disk is full" in done.stderr
    assert "Traceback" not in done.stderr
    build_quietly("eurosat", demo_raw / "eurosat", tmp_path)
    assert len(open_store(tmp_path / "eurosat")) == 60


@pytest.mark.parametrize("dataset", ["eurosat", "bigearthnet-v1"])
def test_a_copy_with_a_limit_is_the_build_with_it(
    demo_raw: Path, demo_root: Path, tmp_path: Path, dataset: str
) -> None:
    limit = 7 if dataset == "eurosat" else 3
    want = open_store(build_quietly(dataset, demo_raw / dataset, tmp_path / "a", limit=limit).url)
    place = copying.copy_store(demo_root / dataset, tmp_path / "b", layout=None, progress=lambda *_: None, limit=limit)
    made = open_store(place)
    assert (made.meta.build, made.meta.view, made.content) == (want.meta.build, want.meta.view, want.content)
    for name in ("title", "subset", "limit", "counts", "truth", "statistics", "ledger"):
        assert getattr(made.meta, name) == getattr(want.meta, name), name
    whole = copying.copy_store(demo_root / dataset, tmp_path / "b", layout=None, progress=lambda *_: None, limit=10_000)
    assert open_store(whole).content == open_store(demo_root / dataset).content


@pytest.mark.parametrize("layout", ["zarr", "webdataset"])
def test_a_copy_of_a_split_holds_its_samples_and_is_sound(demo_root: Path, tmp_path: Path, layout: Layout) -> None:
    whole = open_store(demo_root / "eurosat")
    places = {
        split: copying.copy_store(whole.url, tmp_path, layout=layout, progress=lambda *_: None, split=split)
        for split in ("train", "test")
    }
    for split, place in places.items():
        made, rows = open_store(place), whole.rows(split)
        assert list(made.index["key"]) == list(whole.index["key"].iloc[rows])
        assert made.meta.truth[split] == whole.meta.truth[split]
        assert made.meta.counts.splits == {split: len(rows)}
        assert (made.meta.layout, made.meta.provenance["part_of"]["content"]) == (layout, whole.content)
        for i in (0, len(rows) - 1):
            np.testing.assert_array_equal(made[i].layers["s2"], whole[int(rows[i])].layers["s2"])
            assert made[i].label == whole[int(rows[i])].label
        assert [one for one in verify(made, deep=True, leaks=False, say=print) if one.severity == "error"] == []
    assert len({whole.meta.build, *(open_store(place).meta.build for place in places.values())}) == 3
    with pytest.raises(StoreError, match="no split 'val2'"):
        copying.copy_store(whole.url, tmp_path, layout=None, progress=lambda *_: None, split="val2")
