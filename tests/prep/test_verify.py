"""verify: nothing found on sound stores, each fault found and named."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from seamo.manifest import DatasetSpec, shipped_manifest
from seamo.sample import GeoRef, Sample
from seamo.store.reader import Store, open_store
from seamo.store.writer import BuildPlan, StoreWriter
from seamo.testing.stores import tiny_store
from seamo.testing.world import World
from seamo_prep.archives.eurosat import COVERS_OF
from seamo_prep.verify import Finding, statistics_rows, verify
from tests.prep.demo_stores import IDS, build_quietly


def found(store: Store, *, deep: bool = False, leaks: bool = False) -> list[Finding]:
    return list(verify(store, deep=deep, leaks=leaks, say=lambda _: None))


def errors(store: Store, *, deep: bool = False, leaks: bool = False) -> dict[str, str]:
    return {one.check: f"{one.where}: {one.what}" for one in found(store, deep=deep, leaks=leaks)
            if one.severity == "error"}  # fmt: skip


@pytest.mark.parametrize("dataset", IDS)
def test_demo_stores_are_sound(dataset: str, demo_root: Path) -> None:
    assert errors(open_store(demo_root / dataset), deep=True, leaks=True) == {}


def test_no_alarm_on_real_samples(samples: Path, tmp_path: Path) -> None:
    store = open_store(build_quietly("eurosat", samples / "eurosat_ms", tmp_path).path)
    assert [(one.check, one.severity) for one in found(store, deep=True, leaks=True)] == [("counts", "note")]


def test_a_flipped_byte_is_found(demo_root: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(open_store(demo_root / "eurosat").path, tmp_path / "store")
    shard = max((folder / "data.zarr" / "s2" / "c").rglob("0"), key=lambda path: path.stat().st_size)
    data = bytearray(shard.read_bytes())
    data[1000] ^= 1
    shard.write_bytes(data)
    assert "sha256" in errors(open_store(folder))["files"]


@pytest.fixture(scope="module")
def pixels() -> dict[str, np.ndarray]:
    """70 synthetic images, seven a class, (1, 13, 60, 60) in canonical order."""
    world = World(11)
    spec = shipped_manifest()["eurosat"]
    made = {}
    for label in spec.label_space().names:
        for number in range(7):
            scene = world.scene(f"{label}_{number}", 60, focus=COVERS_OF[label][0])
            bands = scene.s2(np.datetime64("2017-06-01") + number, "L1C", clouds=False)
            stack = [np.kron(bands[b], np.ones((60 // len(bands[b]),) * 2, np.uint16)) for b in spec.layer("s2").bands]
            made[f"{label}_{number}"] = np.stack(stack)[None]
    return made


def write(root: Path, images: dict[str, np.ndarray], change: Callable[[np.ndarray], np.ndarray] = lambda one: one,
          geo: Callable[[str], GeoRef | None] = lambda _: None) -> Store:  # fmt: skip
    spec: DatasetSpec = shipped_manifest()["eurosat"].with_sizes({"s2": (60, 60)})
    plan = BuildPlan(spec=spec, split_scheme="hash-60-20-20", archive="test", synthetic={"synthetic": True})
    names = spec.label_space().names
    with StoreWriter(root, plan, sorted(images)) as writer:
        for k in range(writer.num_shards):
            keys = [sorted(images)[row] for row in writer.rows_of(k)]
            writer.write_shard(
                k,
                [
                    Sample(key, {"s2": change(images[key])}, geo=geo(key), label=names.index(key.partition("_")[0]))
                    for key in keys
                ],
            )
        return open_store(writer.publish())


def exchange(first: str, second: str) -> Callable[[np.ndarray], np.ndarray]:
    bands = list(shipped_manifest()["eurosat"].layer("s2").bands)
    order = np.arange(len(bands))
    i, j = bands.index(first), bands.index(second)
    order[[i, j]] = j, i
    return lambda image: image[:, order]


@pytest.mark.parametrize(
    ("first", "second", "cause"),
    [("B10", "B11", "B10"), ("B8A", "B09", "B8A"), ("B04", "B08", "B08"), ("B08", "B11", "B08")],
)
def test_exchanged_bands_are_found(first: str, second: str, cause: str, pixels, tmp_path: Path) -> None:
    assert errors(write(tmp_path / "right", pixels)) == {}
    wrong = errors(write(tmp_path / "wrong", pixels, exchange(first, second)))
    assert cause in wrong["physics"]


def test_a_shift_of_1000_is_found(pixels, tmp_path: Path) -> None:
    wrong = found(write(tmp_path, pixels, lambda image: image + np.uint16(1000)))
    assert any("shifted by +1000" in one.what for one in wrong if one.severity == "error")


def test_a_dropped_class_is_found(pixels, tmp_path: Path) -> None:
    less = {key: image for key, image in pixels.items() if not key.startswith("River")}
    more = {f"{key}9": image + np.uint16(1) for key, image in less.items() if key.endswith("_1")}
    store = write(tmp_path, less | more)
    assert len(store) >= 64
    assert "River" in errors(store)["classes"]


def test_a_train_image_in_test_is_found(pixels, tmp_path: Path) -> None:
    from seamo.store.splits import hash_split

    split = {key: hash_split("eurosat", key) for key in pixels}
    victim = next(key for key, name in split.items() if name == "train")
    copy = next(f"{victim}{i}" for i in range(100) if hash_split("eurosat", f"{victim}{i}") == "test")
    store = write(tmp_path, pixels | {copy: pixels[victim] + np.uint16(1)})  # nearly the same
    assert errors(store) == {}
    assert victim in errors(store, leaks=True)["leaks"]


def test_places_shared_by_splits_are_warned_of(pixels, tmp_path: Path) -> None:
    few = dict(list(pixels.items())[::7])

    def place(apart: float) -> Callable[[str], GeoRef]:
        order = sorted(few)
        return lambda key: GeoRef("EPSG:32632", (10, 0, 500_000 + apart * order.index(key), 0, -10, 5_000_000))

    apart = found(write(tmp_path / "apart", few, geo=place(700)), leaks=True)
    assert not [one for one in apart if "footprints" in one.what]
    close = found(write(tmp_path / "close", few, geo=place(300)), leaks=True)
    assert {one.severity for one in close if "footprints" in one.what} == {"warning"}


def test_scenes_shared_by_splits_are_counted(tmp_path: Path) -> None:
    store = tiny_store(tmp_path)
    splits_of: dict[str, set[str]] = {}
    for scene, split in zip(store.index["scene"], store.index["split"], strict=True):
        splits_of.setdefault(scene, set()).add(split)
    shared = sorted(scene for scene, splits in splits_of.items() if len(splits) > 1)
    (note,) = (one for one in found(store) if one.check == "splits")
    assert (note.severity, note.where) == ("note", shared[0])
    assert note.what == f"{len(shared)} of {len(splits_of)} scenes have samples in several splits"
    assert not [one for one in found(tiny_store(tmp_path / "one", samples=3)) if one.check == "splits"]  # all train


def test_radar_with_exchanged_bands_is_found(demo_raw: Path, tmp_path: Path) -> None:
    import rasterio

    raw = shutil.copytree(demo_raw / "eurosat-sar", tmp_path / "raw")
    for path in raw.rglob("*.tif"):
        with rasterio.open(path) as file:
            image, profile = file.read(), file.profile
        with rasterio.open(path, "w", **profile) as file:
            file.write(image[::-1])
    store = open_store(build_quietly("eurosat-sar", raw, tmp_path / "root").path)
    assert "VV and VH are exchanged" in errors(store)["physics"]


def test_statistics_are_numpy_s(demo_raw: Path, demo_root: Path) -> None:
    import rasterio

    values = []
    for path in (demo_raw / "eurosat").rglob("*.tif"):
        with rasterio.open(path) as file:
            values.append(file.read(13).astype(np.float64))  # B8A is the last
    rows = {row["id"]: row for row in statistics_rows(open_store(demo_root / "eurosat"))}
    assert rows["s2:B8A"]["mean"] == pytest.approx(np.mean(values), rel=1e-12)
    assert rows["s2:B8A"]["std"] == pytest.approx(np.std(values), rel=1e-12)
    assert rows["s2:B8A"]["p50"] == np.percentile(values, 50, method="inverted_cdf")


def test_statistics_beside_published_ones(demo_root: Path) -> None:
    store = open_store(demo_root / "eurosat")
    name = next(iter(store.spec.statistics))
    row = next(row for row in statistics_rows(store, name) if row["id"] == "s2:B02")
    published = store.spec.statistics[name]
    assert row["published_mean"] == published.mean["B02"]
    expected = (row["mean"] - published.mean["B02"]) / published.std["B02"]
    assert row["difference_in_std"] == pytest.approx(expected)
