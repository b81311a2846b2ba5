"""`seamo-prep init` and `build folder` on folders of many shapes: channels equal what rasterio reads by name."""

import csv
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import rasterio

from seamo.store.reader import Store, open_store
from seamo_prep.archives import folder
from seamo_prep.initial.begin import Initiated, init
from tests.prep.demo_stores import build_quietly
from tests.prep.own_folders import (
    BGRN,
    FILE_ORDER,
    Tile,
    drawn,
    orders,
    real_tiles,
    stack,
    synthetic_tiles,
    write,
)

ESA = {"B02": "Blue", "B03": "Green", "B04": "Red", "B08": "NIR"}
TWELVE = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")


@pytest.fixture(scope="module")
def tiles(request: pytest.FixtureRequest) -> list[Tile]:
    return real_tiles(request.getfixturevalue("samples")) if request.param == "real" else synthetic_tiles()


def relaxed(made: Initiated) -> tuple[str, ...]:
    return tuple(made.build.partition(" --relax ")[2].split(",")) if " --relax " in made.build else ()


def built(root: Path) -> Store:
    made = init(root)
    assert made.is_ready, [one for one in made.notes if one.kind == "fill in"]
    return open_store(build_quietly("folder", root, root.parent / "stores", relax=relaxed(made)).path)


def table(root: Path) -> dict[str, dict[str, str]]:
    with (root / folder.TABLE).open(encoding="utf-8", newline="") as file:
        return {row["key"]: row for row in csv.DictReader(file)}


def wanted(path: Path, layer, order: Sequence[str] | None) -> np.ndarray:
    """What rasterio reads of a file by the names of its bands, what is missing as the layer's fill."""
    with rasterio.open(path) as file:
        names = list(order or [{**{v: k for k, v in ESA.items()}}.get(one, one) for one in file.descriptions])
        found = []
        for name in layer.bands:
            band = file.read(names.index(name) + 1, masked=True)
            found.append(
                band.astype(layer.dtype).filled(layer.fill_value) if band.mask.any() else band.data.astype(layer.dtype)
            )
    return np.stack(found)


def same_as_rasterio(root: Path, store: Store, orders: dict[str, Sequence[str]] | None = None) -> None:
    rows = table(root)
    assert sorted(rows) == sorted(store.index["key"])
    for i in range(len(store)):
        sample = store[i]
        for layer in store.spec.layers:
            for slot in range(layer.times):
                path = rows[sample.key][layer.id if layer.times == 1 else f"{layer.id}.{slot}"]
                if path:
                    want = wanted(root / path, layer, (orders or {}).get(layer.id))
                    np.testing.assert_array_equal(sample.layers[layer.id][slot], want, err_msg=f"{sample.key} {path}")
                elif slot:
                    fill = np.asarray(layer.fill_value).astype(layer.dtype)
                    np.testing.assert_array_equal(
                        sample.layers[layer.id][slot], np.full_like(sample.layers[layer.id][slot], fill)
                    )
                else:
                    assert layer.id not in sample.layers


# Shapes ------------------------------------------------------------------------------------------------------


def class_folders(root: Path, tiles: list[Tile]) -> None:
    """A folder a class, BGRN described by ids, with spaces and umlauts in the names."""
    for tile in tiles:
        write(root / f"Klasse {tile.label}" / f"Bild für {tile.name}.tif", stack(tile), tile, names=BGRN)


def any_order(root: Path, tiles: list[Tile]) -> None:
    """Every file has its bands in another order, under common names."""
    for tile, order in zip(tiles, orders(), strict=False):
        write(root / tile.label / f"{tile.name}.tif", stack(tile, order), tile, names=[ESA[one] for one in order])


def with_csv(root: Path, tiles: list[Tile]) -> None:
    """A csv with paths, labels and splits; one image that it does not name, one name without an image."""
    lines = ["id,filename,label,subset,notes"]
    for number, tile in enumerate(tiles):
        write(root / "img" / f"{number:03d}.tif", stack(tile), tile, names=BGRN)
        lines.append(f'{number},{number:03d}.tif,{tile.label},{("training", "validation", "test")[number % 3]},"a, b"')
    write(root / "img" / "999.tif", stack(tiles[0]), tiles[0], names=BGRN)
    (root / "index.csv").write_text("\n".join([*lines, "77,777.tif,River,test,"]) + "\n")


def images_and_masks(root: Path, tiles: list[Tile]) -> None:
    """images/ and masks/ in train/ and test/; 255 is the class."""
    for number, tile in enumerate(tiles):
        split = ("train", "test")[number % 2]
        write(root / split / "images" / f"{tile.name}.tif", stack(tile), tile, names=BGRN)
        write(root / split / "masks" / f"{tile.name}.tif", drawn(tile, 255, 0), tile)


def masks_by_ending(root: Path, tiles: list[Tile]) -> None:
    """x_image.tif beside x_mask.tif, whose 0 is nodata."""
    for tile in tiles:
        write(root / f"{tile.name}_image.tif", stack(tile), tile, names=BGRN)
        write(root / f"{tile.name}_mask.tif", drawn(tile, 1, 3, 0), tile, nodata=0)


def dates_in_names(root: Path, tiles: list[Tile]) -> None:
    """One file a date; nodata 0 is declared, and one place misses a date."""
    for number, tile in enumerate(tiles[:6]):
        for month in ("03", "07", "11")[: 2 if number == 4 else 3]:
            pixels = stack(tile) + int(month)
            pixels[:, :5] = 0
            write(root / f"S2_{tile.name}_2021{month}02.tif", pixels, tile, names=BGRN, nodata=0)


def dates_as_files(root: Path, tiles: list[Tile]) -> None:
    """A folder a place, a file a date."""
    for tile in tiles[:4]:
        for day in ("2021-03-02", "2021-07-02"):
            write(root / tile.name / f"{day}.tif", stack(tile) + int(day[6]), tile, names=BGRN)


def reflectance(root: Path, tiles: list[Tile]) -> None:
    """Floats of 0 to 1 with NaN at an edge."""
    for tile in tiles:
        pixels = (stack(tile, TWELVE) / 10000).astype("float32")
        pixels[:, 0] = np.nan
        write(root / tile.label / f"{tile.name}.tif", pixels, tile, names=TWELVE)


def scaled(root: Path, tiles: list[Tile]) -> None:
    """Scale and offset of baseline 04.00 in the files."""
    for tile in tiles:
        write(root / tile.label / f"{tile.name}.tif", stack(tile) + 1000, tile, names=BGRN, scale=(1e-4, -0.1))


def file_a_band(root: Path, tiles: list[Tile]) -> None:
    """A file a band, the 20 m band on its own grid."""
    for tile in tiles[:4]:
        for name in BGRN:
            write(root / tile.name / f"{tile.name}_{name}.tif", stack(tile, [name]), tile)
        half = stack(tile, ["B11"])[:, ::2, ::2]
        coarse = Tile(tile.name, tile.label, tile.bands, tile.crs, tile.place @ rasterio.Affine.scale(2))
        write(root / tile.name / f"{tile.name}_B11.tif", half, coarse)


def pictures(root: Path, tiles: list[Tile]) -> None:
    """8-bit RGB in folders of splits."""
    for number, tile in enumerate(tiles):
        pixels = np.clip(stack(tile, ("B04", "B03", "B02")) // 12, 0, 255).astype(np.uint8)
        split = ("train", "val", "test")[number % 3]
        write(root / split / tile.label / f"{tile.name}.tif", pixels, tile, photometric="RGB")


def torchgeo_lists(root: Path, tiles: list[Tile]) -> None:
    """EuroSAT/allBands as others unpack it, with torchgeo's lists of splits; 13 bands that nobody describes."""
    names: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for number, tile in enumerate(tiles):
        write(root / "EuroSAT" / "allBands" / tile.label / f"{tile.name}.tif", stack(tile, FILE_ORDER), tile)
        names[("train", "val", "test")[number % 3]].append(f"{tile.name}.jpg")
    for split, listed in names.items():
        (root / f"eurosat-{split}.txt").write_text("\n".join(listed) + "\n")


def radar_and_optics(root: Path, tiles: list[Tile]) -> None:
    """s1/ in decibels and s2/, the same names; one place without radar."""
    for number, tile in enumerate(tiles[:4]):
        write(root / "s2" / f"{tile.name}.tif", stack(tile), tile, names=BGRN)
        radar = -25 + 20 * stack(tile, ("B11", "B12")).astype("float32") / 10000
        if number:
            write(root / "s1" / f"{tile.name}.tif", radar, tile, names=("VH", "VV"))


SHAPES: dict[Callable[[Path, list[Tile]], None], tuple[str, str, int]] = {  # shape -> task, unit, samples
    class_folders: ("single-label", "dn", 12),
    any_order: ("single-label", "dn", 12),
    with_csv: ("single-label", "dn", 12),
    images_and_masks: ("segmentation", "dn", 12),
    masks_by_ending: ("segmentation", "dn", 12),
    dates_in_names: ("none", "dn", 6),
    dates_as_files: ("none", "dn", 4),
    reflectance: ("single-label", "reflectance", 12),
    scaled: ("single-label", "dn+1000", 12),
    file_a_band: ("none", "dn", 4),
    pictures: ("single-label", "uint8", 12),
    torchgeo_lists: ("single-label", "dn", 12),
    radar_and_optics: ("none", "db", 4),
}
NOT_DESCRIBED = {
    torchgeo_lists: {"s2": FILE_ORDER},
    pictures: {"rgb": ("R", "G", "B")},
    file_a_band: {f"s2_{name.lower()}": (name,) for name in (*BGRN, "B11")},
}


# Of real tiles eight shapes are in `make test`, the others in `make soak`.
REAL = (class_folders, any_order, with_csv, images_and_masks, dates_in_names, reflectance, torchgeo_lists, scaled)
CASES = [
    pytest.param(source, shape, id=f"{source}-{shape.__name__}",
                 marks=pytest.mark.soak if source == "real" and shape not in REAL else ())
    for source in ("synthetic", "real") for shape in SHAPES
]  # fmt: skip


@pytest.mark.parametrize(("tiles", "shape"), CASES, indirect=["tiles"])
def test_channels_equal_what_rasterio_reads_by_name(tiles: list[Tile], shape, tmp_path: Path) -> None:
    root = tmp_path / "mine"
    shape(root, tiles)
    store = built(root)
    task, unit, count = SHAPES[shape]
    assert (store.spec.task.kind, len(store)) == (task, count)
    assert unit in {layer.unit for layer in store.spec.layers}
    same_as_rasterio(root, store, NOT_DESCRIBED.get(shape))
    rows = table(root)
    for i in range(len(store)):
        sample, row = store[i], rows[store[i].key]
        if task == "single-label":
            (tile,) = [one for one in tiles if one.name in row[next(iter(store.spec.layers)).id]] or [None]
            name = store.spec.label_space().names[sample.label]
            assert tile is None or name.endswith(tile.label)
        elif task == "segmentation":
            with rasterio.open(root / row["label"]) as file:
                mask = file.read(1)
            raw = store.spec.label_space().raw
            np.testing.assert_array_equal(sample.label, np.vectorize(lambda v, raw=raw: raw.get(int(v), v))(mask))


# Layouts of others -------------------------------------------------------------------------------------------


def terramesh(root: Path, tiles: list[Tile]) -> None:
    """TerraMesh's folders as GeoTIFFs: 12 undescribed bands, two of radar that are all called `bands`, land cover."""
    for tile in tiles[:4]:
        radar = -25 + 20 * stack(tile, ("B11", "B12")).astype("float64") / 10000
        write(root / "val" / "S2L2A" / f"{tile.name}.tif", stack(tile, TWELVE).astype("int16"), tile)
        write(root / "val" / "S1GRD" / f"{tile.name}.tif", radar, tile, names=("bands", "bands"))
        write(root / "val" / "LULC" / f"{tile.name}.tif", drawn(tile, 2, 5, 9), tile, names=("bands",))
        write(root / "val" / "DEM" / f"{tile.name}.tif", stack(tile, ["B01"]).astype("int16"), tile)


def check_terramesh(root: Path, radar: str) -> None:
    made = init(root)
    assert relaxed(made) == ("dtype", "names")
    assert "DEM/" in " ".join(one.where for one in made.notes if one.kind == "left out")
    store = open_store(build_quietly("folder", root, root.parent / "stores", relax=relaxed(made)).path)
    assert {layer.id: (layer.unit, layer.bands) for layer in store.spec.layers} == {
        radar: ("db", ("VV", "VH")), "s2l2a": ("dn", TWELVE),
    }  # fmt: skip
    same_as_rasterio(root, store, {"s2l2a": TWELVE, radar: ("VV", "VH")})
    for i in range(len(store)):
        with rasterio.open(root / table(root)[store[i].key]["label"]) as file:
            np.testing.assert_array_equal(store[i].label, file.read(1))


def test_folders_as_of_terramesh(tmp_path: Path) -> None:
    terramesh(tmp_path / "mesh", synthetic_tiles())
    check_terramesh(tmp_path / "mesh", "s1grd")


def test_real_sites_of_terramesh(samples: Path, tmp_path: Path) -> None:
    shutil.copytree(samples / "terramesh_examples", tmp_path / "mesh")
    check_terramesh(tmp_path / "mesh", "s1rtc")


def test_real_patches_of_bigearthnet_as_files_of_one_band(samples: Path, tmp_path: Path) -> None:
    """Patches in a folder that is not called as the archive: three grids, from 20 to 120 pixels."""
    for path in sorted((samples / "bigearthnet_v1" / "BigEarthNet-v1.0").iterdir())[:4]:
        shutil.copytree(path, tmp_path / "patches" / path.name)
    store = built(tmp_path / "patches")
    assert len(store) == 4
    assert {(layer.bands, layer.gsd_m, layer.size) for layer in store.spec.layers} >= {
        (("B02",), 10, (120, 120)), (("B8A",), 20, (60, 60)), (("B09",), 60, (20, 20)),
    }  # fmt: skip
    same_as_rasterio(tmp_path / "patches", store, {layer.id: layer.bands for layer in store.spec.layers})
    assert all("2017-06" <= str(store[i].time["s2"][0]) < "2018-06" for i in range(len(store)))


def test_real_series_with_dates(samples: Path, tmp_path: Path) -> None:
    """Two sites, three dates each, of both sensors, as files by name and date."""
    for number, path in enumerate(sorted((samples / "timeseries_s1s2").glob("*.npz"))):
        data = np.load(path, allow_pickle=True)
        west, _, _, north = data["bounds"].tolist()
        place = rasterio.Affine(10, 0, west, 0, -10, north)
        tile = Tile(f"site{number}", "", {}, f"EPSG:{int(data['epsg'])}", place)
        for slot in (3, 9, 20):
            day = str(data["s2_dates"][slot])[:10].replace("-", "")
            names = tuple(data["s2_bands"].tolist())[::-1]
            write(tmp_path / "series" / "s2" / f"{tile.name}_{day}.tif", data["s2"][slot][::-1], tile, names=names)
    store = built(tmp_path / "series")
    assert (len(store), store.spec.layers[0].times) == (2, 3)
    same_as_rasterio(tmp_path / "series", store)
    for i in range(len(store)):
        assert list(store[i].time[store.spec.stacks[0]]) == sorted(store[i].time[store.spec.stacks[0]])
