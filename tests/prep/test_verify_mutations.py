"""verify on real pixels: silent as they were published, and each way of spoiling 64 or more of them found and named."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import yaml

from seamo.manifest import DatasetSpec, LabelClass, LabelSpace, shipped_manifest
from seamo.sample import Sample
from seamo.store.reader import Store, open_store
from seamo.store.splits import hash_split
from seamo.store.writer import BuildPlan, StoreWriter
from seamo_prep.tiff import write_tiff
from seamo_prep.verify import Finding, verify
from tests.prep.demo_stores import build_quietly

Change = Callable[[Sample], Sample]
S2L2A = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12"]  # TerraMesh's order
COVERS = ["none", "water", "trees", "grass", "flooded", "crops", "shrub", "built", "bare", "snow"]  # of its LULC
TILE = 56


def soak(*values: object) -> object:
    """A case of which another of its kind is looked at in `make test`."""
    return pytest.param(*values, marks=pytest.mark.soak)


def findings(store: Store, *, leaks: bool = False) -> list[Finding]:
    return list(verify(store, deep=False, leaks=leaks, say=lambda _: None))


def alarms(store: Store, *, leaks: bool = False) -> list[str]:
    return [f"{one.severity} {one.check} {one.where}: {one.what}" for one in findings(store, leaks=leaks)
            if one.severity != "note"]  # fmt: skip


def errors(store: Store, check: str, *, leaks: bool = False) -> str:
    found = findings(store, leaks=leaks)
    return "\n".join(f"{one.where}: {one.what}" for one in found if one.check == check and one.severity == "error")


def write(root: Path, spec: DatasetSpec, samples: list[Sample]) -> Store:
    by_key = {one.key: one for one in samples}
    with StoreWriter(root, BuildPlan(spec=spec, split_scheme="hash-60-20-20"), sorted(by_key)) as writer:
        for k in range(writer.num_shards):
            writer.write_shard(k, [by_key[writer.keys[row]] for row in writer.rows_of(k)])
        return open_store(writer.publish())


def change_pixels(change: Callable[[np.ndarray], np.ndarray], layers: tuple[str, ...]) -> Change:
    return lambda one: replace(one, layers={k: change(v) if k in layers else v for k, v in one.layers.items()})


def exchange(spec: DatasetSpec, layer: str, first: str, second: str) -> Change:
    bands = spec.layer(layer).bands
    order = np.arange(len(bands))
    i, j = bands.index(first), bands.index(second)
    order[[i, j]] = j, i
    return change_pixels(lambda pixels: pixels[:, order], (layer,))


@pytest.fixture(scope="module")
def eurosat(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    """EuroSAT subset: 10 real samples a class."""
    store = open_store(build_quietly("eurosat", samples / "eurosat_ms", tmp_path_factory.mktemp("eurosat")).path)
    assert alarms(store, leaks=True) == []  # all 202
    labels = np.array([store.read_label(row) for row in range(len(store))])
    rows = np.concatenate([np.flatnonzero(labels == label)[:10] for label in range(10)])
    assert len(rows) == 100
    return [store[int(row)] for row in rows]


EUROSAT = shipped_manifest()["eurosat"]


@pytest.mark.parametrize(("first", "second"), [("B10", "B11"), soak("B8A", "B09"), soak("B04", "B08"), ("B08", "B11")])
def test_exchanged_bands_are_named(first: str, second: str, eurosat: list[Sample], tmp_path: Path) -> None:
    change = exchange(EUROSAT, "s2", first, second)
    store = write(tmp_path, EUROSAT, [change(one) for one in eurosat])
    named = {f"{first} and {second} are exchanged", f"{second} and {first} are exchanged"}
    assert any(one in errors(store, "physics") for one in named)


@pytest.mark.parametrize("shift", [1000, soak(-1000)])
def test_shifts_are_named(shift: int, eurosat: list[Sample], tmp_path: Path) -> None:
    change = change_pixels(lambda pixels: (pixels.astype(np.int64) + shift).astype(np.uint16), ("s2",))  # wraps
    found = errors(write(tmp_path, EUROSAT, [change(one) for one in eurosat]), "physics")
    assert ("shifted by +1000" if shift > 0 else "wrapped") in found


@pytest.mark.parametrize("by", [1, soak(5)])
def test_rotated_labels_are_found(by: int, eurosat: list[Sample], tmp_path: Path) -> None:
    rotated = [replace(one, label=(one.label + by) % 10) for one in eurosat]
    assert "100 of 100 samples have the name of another class" in errors(
        write(tmp_path / "a", EUROSAT, rotated), "labels"
    )
    nameless = [replace(one, key=f"s-{number}") for number, one in enumerate(rotated)]
    found = errors(write(tmp_path / "b", EUROSAT, nameless), "labels")
    assert "SeaLake" in found
    assert "water is dark" in found


def test_labels_of_other_samples_are_warned_of(eurosat: list[Sample], tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(len(eurosat))
    shuffled = [replace(one, key=f"s-{i}", label=eurosat[order[i]].label) for i, one in enumerate(eurosat)]
    assert any("labels of other samples" in one for one in alarms(write(tmp_path / "wrong", EUROSAT, shuffled)))
    nameless = [replace(one, key=f"s-{i}") for i, one in enumerate(eurosat)]
    assert alarms(write(tmp_path / "right", EUROSAT, nameless)) == []


def test_a_dropped_class_is_named(eurosat: list[Sample], tmp_path: Path) -> None:
    less = [one for one in eurosat if not one.key.startswith("River")]
    assert "River" in errors(write(tmp_path, EUROSAT, less), "classes")


def test_copies_of_train_samples_in_test_are_named(eurosat: list[Sample], tmp_path: Path) -> None:
    train = [one for one in eurosat if hash_split("eurosat", one.key) == "train"][::6]
    rng = np.random.default_rng(1)

    def copy(one: Sample, change: Callable[[np.ndarray], np.ndarray]) -> Sample:
        key = next(f"{one.key}{i}" for i in range(100) if hash_split("eurosat", f"{one.key}{i}") == "test")
        return replace(one, key=key, layers={"s2": change(one.layers["s2"])})

    exact = write(tmp_path / "exact", EUROSAT, eurosat + [copy(one, lambda pixels: pixels) for one in train])
    assert all(one.key in errors(exact, "splits") for one in train)  # without --leaks
    brighter = [copy(one, lambda pixels: (pixels * 1.02 + rng.normal(0, 5, pixels.shape)).clip(0).astype(np.uint16))
                for one in train]  # fmt: skip
    near = write(tmp_path / "near", EUROSAT, eurosat + brighter)
    assert errors(near, "splits") == ""
    found = errors(near, "leaks", leaks=True)
    assert sum(one.key in found for one in train) >= 0.8 * len(train)


@pytest.fixture(scope="module")
def bigearthnet(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[DatasetSpec, list[Sample]]:
    """30 real pairs of BigEarthNet v1, each cut into four."""
    root = tmp_path_factory.mktemp("bigearthnet")
    raw = samples / "bigearthnet_v1_configilm"
    store = open_store(build_quietly("bigearthnet-v1", raw, root, relax=("names",)).path)
    assert alarms(store, leaks=True) == []
    spec = store.spec.with_sizes({"s1": (60, 60), "s2_10m": (60, 60), "s2_20m": (30, 30), "s2_60m": (10, 10)})
    cut = []
    for row in range(len(store)):
        one = store[row]
        for y in range(2):
            for x in range(2):
                layers = {
                    name: np.ascontiguousarray(np.split(np.split(pixels, 2, axis=2)[y], 2, axis=3)[x])
                    for name, pixels in one.layers.items()
                }
                cut.append(replace(one, key=f"{one.key}_{y}{x}", layers=layers, geo=None))
    assert len(cut) == 120
    return spec, cut


def test_quarters_of_real_patches_raise_no_alarm(bigearthnet, tmp_path: Path) -> None:
    assert alarms(write(tmp_path, *bigearthnet), leaks=True) == []


def test_radar_bands_and_bands_of_native_grids(bigearthnet, tmp_path: Path) -> None:
    spec, cut = bigearthnet
    radar = exchange(spec, "s1", "VV", "VH")
    both = exchange(spec, "s2_10m", "B04", "B08")
    store = write(tmp_path, spec, [both(radar(one)) for one in cut])
    found = errors(store, "physics")
    assert "VV and VH are exchanged" in found
    assert "B04 and B08 are exchanged" in found


@pytest.mark.soak
def test_bands_exchanged_between_grids(bigearthnet, tmp_path: Path) -> None:
    spec, cut = bigearthnet
    fine, middle = spec.layer("s2_10m").bands, spec.layer("s2_20m").bands

    def change(one: Sample) -> Sample:
        tens, twenties = one.layers["s2_10m"].copy(), one.layers["s2_20m"].copy()
        b08 = tens[:, fine.index("B08")].copy()
        tens[:, fine.index("B08")] = np.kron(twenties[:, middle.index("B11")], np.ones((2, 2), np.uint16))
        twenties[:, middle.index("B11")] = b08[:, ::2, ::2]
        return replace(one, layers=dict(one.layers) | {"s2_10m": tens, "s2_20m": twenties})

    found = errors(write(tmp_path, spec, [change(one) for one in cut]), "physics")
    assert "B08 and B11 are exchanged" in found


@pytest.fixture(scope="module")
def terramesh(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Five real sites cut into 80 tiles with land cover, as one's own imagery in a folder."""
    raw = tmp_path_factory.mktemp("terramesh")
    layer = {"product": "L2A", "gsd_m": 10, "size": [TILE, TILE], "times": 1}
    entry = {
        "title": "TerraMesh examples", "summary": "five sites", "licence": "CC-BY-SA-4.0", "citation": "TerraMesh",
        "layers": [
            {**layer, "id": "s2", "stack": "s2", "sensor": "s2", "bands": S2L2A, "dtype": "int16", "unit": "dn",
             "fill": -32768},
            {**layer, "id": "s1", "stack": "s1", "sensor": "s1", "product": "RTC", "bands": ["VV", "VH"],
             "dtype": "float32", "unit": "db", "fill": "nan"},
        ],
        "task": {"kind": "segmentation", "label_space": "cover"},
        "label_spaces": {"cover": {"classes": [{"name": name} for name in COVERS]}},
    }  # fmt: skip
    (raw / "seamo.yaml").write_text(yaml.safe_dump({"datasets": {"terramesh-examples": entry}}), encoding="utf-8")
    lines = ["key,s2,s1,label,scene"]
    for path in sorted((samples / "terramesh_examples" / "S2L2A").glob("*.tif")):
        for y in range(0, 224, TILE):
            for x in range(0, 224, TILE):
                key = f"{path.stem}_{y}_{x}"
                for folder, dtype in (("S2L2A", "int16"), ("S1RTC", "float32"), ("LULC", "uint8")):
                    with rasterio.open(path.parent.parent / folder / path.name) as file:
                        pixels = file.read(window=rasterio.windows.Window(x, y, TILE, TILE)).astype(dtype)
                        epsg = file.crs.to_epsg()
                        place = file.transform @ rasterio.Affine.translation(x, y)
                    write_tiff(raw / f"{key}_{folder}.tif", pixels, epsg=epsg, transform=tuple(place)[:6])
                lines.append(f"{key},{key}_S2L2A.tif,{key}_S1RTC.tif,{key}_LULC.tif,{path.stem}")
    (raw / "samples.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return open_store(build_quietly("folder", raw, tmp_path_factory.mktemp("stores")).path)


def test_tiles_of_five_sites_raise_no_alarm(terramesh: Store) -> None:
    assert len(terramesh) == 80
    assert alarms(terramesh, leaks=True) == []


@pytest.mark.parametrize(("first", "second"), [("B8A", "B09"), soak("B08", "B11"), soak("B04", "B08")])
def test_bands_resampled_to_one_grid_are_told_apart(first: str, second: str, terramesh: Store, tmp_path: Path) -> None:
    change = exchange(terramesh.spec, "s2", first, second)
    store = write(tmp_path, terramesh.spec, [change(terramesh[row]) for row in range(80)])
    assert f"{first} and {second} are exchanged" in errors(store, "physics")


@pytest.mark.parametrize(
    ("name", "turn"),
    [
        ("transposed", np.transpose),
        soak("mirrored left to right", np.fliplr),
        soak("turned by 90 degrees", np.rot90),
    ],
)
def test_turned_masks_are_named(name: str, turn, terramesh: Store, tmp_path: Path) -> None:
    turned = [
        replace(one, label=np.ascontiguousarray(turn(one.label))) for one in map(terramesh.__getitem__, range(80))
    ]
    found = errors(write(tmp_path, terramesh.spec, turned), "labels")
    # What undoes a quarter turn is the opposite one.
    assert f"better when {name.replace('90', '270')} " in found
    assert found.count("\n") == 0


def test_a_class_dropped_from_masks_is_named(terramesh: Store, tmp_path: Path) -> None:
    """Every tile a place of its own, three covers in all; one of them is then taken out."""
    space = LabelSpace(classes=tuple(LabelClass(name=name) for name in ("water", "plants", "soil", "built", "snow")))
    spec = terramesh.spec.model_copy(update={"label_spaces": {"cover": space}})
    ids = np.array([255, 0, 1, 1, 0, 1, 1, 3, 2, 4, 255, 2], dtype=np.uint8)
    whole = [
        replace(one, label=ids[np.minimum(one.label, 11)], scene="") for one in map(terramesh.__getitem__, range(80))
    ]
    for row, one in enumerate(whole):  # so that every class is in many tiles
        one.label[0, :5] = np.arange(5) if row % 2 else 255
    assert "no sample" not in errors(write(tmp_path / "whole", spec, whole), "classes")
    less = [replace(one, label=np.where(one.label == 3, 255, one.label).astype(np.uint8)) for one in whole]
    store = write(tmp_path / "less", spec, less)
    assert "no sample of class built" in errors(store, "classes")
    assert any("of all mask pixels are ignored" in one.what for one in findings(store))


def test_one_real_location_raises_no_alarm(samples: Path, tmp_path: Path) -> None:
    built = build_quietly("ssl4eo-s12", samples / "ssl4eo_s12", tmp_path / "a", relax=("seasons",))
    assert alarms(open_store(built.path), leaks=True) == []
    built = build_quietly("bigearthnet-v1", samples / "bigearthnet_v1", tmp_path / "b")
    assert alarms(open_store(built.path), leaks=True) == []
