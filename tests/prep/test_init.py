"""`seamo-prep init`: what it does not know, whom it does not write over, and what is odd about a folder."""

import json
import os
import re
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
import yaml

from seamo.errors import ArchiveError, ManifestError, SeamoError
from seamo.store.reader import open_store
from seamo_prep.archives import folder
from seamo_prep.demo import write_demos
from seamo_prep.initial.begin import Initiated, init
from seamo_prep.initial.paths import day_of, group, make_keys
from tests.prep.demo_stores import build_quietly
from tests.prep.own_folders import BGRN, FILE_ORDER, NEWER, Tile, drawn, stack, synthetic_tiles, write
from tests.prep.test_init_folders import table


@pytest.fixture(scope="module")
def tiles() -> list[Tile]:
    return synthetic_tiles()


def refused(root: Path) -> str:
    with pytest.raises(SeamoError) as caught:
        init(root)
    assert not (root / folder.SPEC).exists()
    assert not (root / folder.TABLE).exists()
    return str(caught.value)


def of_kind(made: Initiated, kind: str) -> dict[str, str]:
    return {one.where: one.what for one in made.notes if one.kind == kind}


def layer_of(root: Path, number: int = 0) -> dict[str, object]:
    document = yaml.safe_load((root / folder.SPEC).read_text("utf-8"))
    (entry,) = document["datasets"].values()
    return entry["layers"][number]


def some(root: Path, tiles: list[Tile], bands=BGRN, names=BGRN, change=lambda pixels: pixels, **options) -> Path:
    for tile in tiles:
        write(root / f"{tile.name}.tif", change(stack(tile, bands)), tile, names=names, **options)
    return root


# What cannot be known ----------------------------------------------------------------------------------------


def test_bands_that_nobody_names_are_marked_and_build_refuses_them(tiles, tmp_path: Path) -> None:
    root = some(tmp_path / "raw", tiles, names=())
    made = init(root)
    assert not made.is_ready
    assert {one.split(", ")[1] for one in of_kind(made, "fill in")} == {"image.sensor", "image.bands", "image.unit"}
    with pytest.raises(ManifestError) as caught:
        build_quietly("folder", root, tmp_path / "stores")
    lines = (root / folder.SPEC).read_text("utf-8").splitlines()
    for number, name in re.findall(r"line (\d+) (\w+)", str(caught.value)):
        assert lines[int(number) - 1].strip() == f"{name}: FILL-IN"
    assert len(re.findall(r"line \d+", str(caught.value))) == 3
    # Filled in, it builds; the bands are those that the person named, by position.
    text = (root / folder.SPEC).read_text("utf-8")
    for name, value in (("sensor", "s2"), ("bands", "[B02, B03, B04, B08]"), ("unit", "dn")):
        text = text.replace(f"{name}: FILL-IN", f"{name}: {value}")
    (root / folder.SPEC).write_text(text, "utf-8")
    store = open_store(build_quietly("folder", root, tmp_path / "stores").path)
    np.testing.assert_array_equal(store[0].layers["image"][0], stack(sorted(tiles, key=lambda one: one.name)[0]))


def test_thirteen_bands_name_the_trap_of_b8a(tiles, tmp_path: Path) -> None:
    made = init(some(tmp_path / "raw", tiles, FILE_ORDER, ()))
    (why,) = [what for where, what in of_kind(made, "fill in").items() if where.endswith("bands")]
    assert "B8A stands behind B08 in some files and last in others" in why


@pytest.mark.parametrize(
    ("change", "bands", "names", "words"),
    [
        (lambda p: p + 1000, BGRN, BGRN, "dn, or dn+1000"),
        (lambda p: (p // 40).clip(0, 255).astype("uint16"), BGRN, BGRN, "below 256"),
        (lambda p: ((p - p.min()) / (p.max() - p.min())).astype("float32"), BGRN, BGRN, "normalisation"),
        (lambda p: p.astype("float32") / 1e4, ("B11", "B12"), ("VV", "VH"), "linear power"),
        (lambda p: p * 0 + 7, BGRN, BGRN, "values seen"),
    ],
)
def test_a_unit_that_values_speak_against_is_marked(tiles, tmp_path: Path, change, bands, names, words: str) -> None:
    root = some(tmp_path / "raw", tiles[:1], bands, names, change)
    made = init(root)
    (why,) = [what for where, what in of_kind(made, "fill in").items() if where.endswith("unit")]
    assert words in why
    assert layer_of(root)["unit"] == "FILL-IN"


def test_zeros_that_nobody_declares_are_marked(tiles, tmp_path: Path) -> None:
    def holed(pixels: np.ndarray) -> np.ndarray:
        return np.where(np.arange(64) < 9, 0, pixels).astype("uint16")

    made = init(some(tmp_path / "raw", tiles, change=holed))
    (why,) = [what for where, what in of_kind(made, "fill in").items() if where.endswith("fill")]
    assert "all bands are 0 at once in 14.1 %" in why
    made = init(some(tmp_path / "newer", tiles, change=lambda pixels: holed(pixels + 1000)))
    assert {where.rpartition(".")[2] for where in of_kind(made, "fill in")} == {"fill", "unit"}  # dn, or dn+1000
    root = some(tmp_path / "said", tiles, change=holed, nodata=0)
    assert init(root).is_ready
    assert layer_of(root)["fill"] == 0


def test_names_that_landsat_uses_too_need_the_grid_or_the_name_of_sentinel_2(tiles, tmp_path: Path) -> None:
    coarse = [Tile(one.name, one.label, one.bands, one.crs, one.place @ rasterio.Affine.scale(3)) for one in tiles]
    made = init(some(tmp_path / "landsat", coarse, names=("SR_B2", "SR_B3", "SR_B4", "SR_B5")))
    assert not made.is_ready
    assert any("Landsat and others" in what for what in of_kind(made, "fill in").values())
    assert init(some(tmp_path / "ten", tiles)).is_ready
    for tile in coarse:
        write(tmp_path / "named" / f"S2A_MSIL2A_{tile.name}.tif", stack(tile), tile, names=BGRN)
    assert init(tmp_path / "named").is_ready


def test_a_scale_that_some_files_state_is_no_unit_of_all(tiles, tmp_path: Path) -> None:
    root = some(tmp_path / "raw", tiles[:6], scale=(1e-4, 0.0))
    assert init(root).is_ready
    some(root, tiles[6:])
    made = init(root)
    assert any("others nothing" in what for what in of_kind(made, "fill in").values())
    root = some(tmp_path / "odd", tiles, scale=(3e-5, 0.0))
    assert any("gdal_translate -unscale" in what for what in of_kind(init(root), "fill in").values())


# Whose files they are ----------------------------------------------------------------------------------------


def test_its_own_files_are_written_anew_and_nobody_elses(tiles, tmp_path: Path) -> None:
    root = some(tmp_path / "raw", tiles[:3])
    assert init(root).samples == 3
    some(root, tiles)
    assert init(root).samples == 12
    spec, rows = (root / folder.SPEC).read_bytes(), (root / folder.TABLE).read_bytes()
    for name, data in ((folder.SPEC, spec.replace(b"unit: dn", b"unit: dn+1000")), (folder.TABLE, rows + b"\n")):
        kept = {folder.SPEC: spec, folder.TABLE: rows} | {name: data}
        for one, text in kept.items():
            (root / one).write_bytes(text)
        with pytest.raises(ArchiveError, match="there already"):
            init(root)
        assert {one: (root / one).read_bytes() for one in kept} == kept
    (root / folder.SPEC).unlink()
    with pytest.raises(ArchiveError, match="Rename it"):
        init(root)
    assert not (root / folder.SPEC).exists()


def test_a_folder_that_cannot_be_written_to_is_linked_to(tiles, tmp_path: Path, monkeypatch) -> None:
    root = some(tmp_path / "read only", tiles[:4])
    monkeypatch.setattr(os, "access", lambda path, _mode: Path(path).name != root.name)
    assert f"mkdir mine && ln -s '{root}' mine/images" in refused(root)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "images").symlink_to(root)
    assert init(tmp_path / "mine").samples == 4
    build_quietly("folder", tmp_path / "mine", tmp_path / "stores")
    assert sorted(path.name for path in root.iterdir()) == sorted(f"{tile.name}.tif" for tile in tiles[:4])


# What a folder may be instead --------------------------------------------------------------------------------


def test_published_archives_need_no_table(tmp_path: Path) -> None:
    write_demos(tmp_path, only=["eurosat", "bigearthnet-v1"], workers=1, size="tiny", tell=lambda *_: None)
    tree = "ds/images/remote_sensing/otherDatasets/sentinel_2/tif"
    for deep in ("eurosat", "eurosat/ds", f"eurosat/{tree}", f"eurosat/{tree}/Forest"):
        said = refused(tmp_path / deep)
        assert f"seamo-prep build eurosat --raw {tmp_path / 'eurosat'} " in said
        assert ("too deep" in said) == (deep != "eurosat")
    assert "build bigearthnet-v1 --raw" in refused(tmp_path / "bigearthnet-v1" / "BigEarthNet-v1.0")


def test_a_real_published_subset_is_recognised(samples: Path) -> None:
    with pytest.raises(ArchiveError, match="is the published eurosat, which needs no table"):
        init(samples / "eurosat_ms")


def test_folders_without_a_geotiff_say_what_is_there(tmp_path: Path) -> None:
    assert "holds no GeoTIFF. Give the folder" in refused(tmp_path)
    for name, words in (("a.jp2", "gdal_translate"), ("b.zip", "Unpack"), ("c.zarr/0.0", "rio.to_raster")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
        assert words in refused(tmp_path)


def test_terramesh_as_published_says_why_it_is_not_read(tmp_path: Path) -> None:
    for part in ("S2L2A", "S1GRD", "LULC"):
        (tmp_path / "train" / part).mkdir(parents=True)
        (tmp_path / "train" / part / "majortom_shard_000001.tar").write_bytes(b"x")
    said = refused(tmp_path)
    assert "3 .tar" in said
    assert "TerraMesh's folders as they are published, zarr arrays in shards" in said


def test_files_that_are_no_rasters_are_left_out_by_name(tiles, tmp_path: Path) -> None:
    root = some(tmp_path / "raw", tiles)
    (root / "notes.tif").write_text("no raster")
    (root / "empty.tif").write_bytes(b"")
    made = init(root)
    assert made.samples == 12
    assert {"notes.tif", "empty.tif"} <= set(of_kind(made, "left out"))
    for tile in tiles:
        (root / f"{tile.name}.tif").write_text("no raster")
    (root / folder.SPEC).unlink()
    (root / folder.TABLE).unlink()
    assert "none of its 14 files makes a sample" in refused(root)


@pytest.mark.parametrize("many", [1_000, pytest.param(20_000, marks=pytest.mark.soak)])
def test_of_many_files_a_stated_number_is_looked_at(tiles, tmp_path: Path, many: int) -> None:
    first = write(tmp_path / "first.tif", stack(tiles[0])[:, :8, :8], tiles[0], names=BGRN)
    for number in range(many):
        path = tmp_path / "raw" / f"class-{number % 5}" / f"{number}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(first, path)
    began = time.process_time()
    made = init(tmp_path / "raw")
    assert time.process_time() - began < 2 + many / 1_000
    assert made.samples == many
    (counts,) = [what for where, what in of_kind(made, "found").items() if not where]
    said = re.fullmatch(
        rf"{many:,} samples, {many:,} GeoTIFFs; looked at: headers of (\d+) of them, pixels of (\d+)", counts
    )
    assert said is not None
    assert 300 < int(said[1]) <= 400
    assert 20 < int(said[2]) <= 48


# What differs between files ----------------------------------------------------------------------------------


def test_mixed_sizes_and_systems_are_written_down(tiles, tmp_path: Path) -> None:
    root = tmp_path / "raw"
    for number, tile in enumerate(tiles):
        other = Tile(tile.name, tile.label, tile.bands, f"EPSG:{32630 + number % 3}", NEWER)
        write(root / f"{tile.name}.tif", stack(tile)[:, : 64 - 8 * (number % 2)], other, names=BGRN)
    made = init(root)
    assert layer_of(root)["size"] is None
    text = (root / folder.SPEC).read_text("utf-8")
    assert "sizes differ (2: 64 x 64, 56 x 64)" in text
    assert "3 coordinate systems" in text
    store = open_store(build_quietly("folder", root, tmp_path / "stores").path)
    assert {store[i].layers["s2"].shape[2] for i in range(len(store))} == {64, 56}
    assert {store[i].geo.crs for i in range(len(store))} == {"EPSG:32630", "EPSG:32631", "EPSG:32632"}
    assert made.is_ready


def test_mixed_numbers_of_bands_are_refused(tiles, tmp_path: Path) -> None:
    root = some(tmp_path / "raw", tiles[:8])
    some(root, tiles[8:], FILE_ORDER, FILE_ORDER)
    said = refused(root)
    assert "8 have 4, such as Forest_1.tif; 4 have 13, such as Highway_1.tif" in said
    assert "a folder of its own" in said


def test_other_types_need_a_relaxed_build(tiles, tmp_path: Path) -> None:
    root = some(tmp_path / "raw", tiles, change=lambda pixels: pixels.astype("int32"))
    made = init(root)
    assert layer_of(root)["dtype"] == "uint16"
    assert made.build.endswith("--relax dtype")
    store = open_store(build_quietly("folder", root, tmp_path / "stores", relax=("dtype",)).path)
    assert store.spec.layers[0].dtype == "uint16"
    assert "complex values" in refused(some(tmp_path / "c", tiles, change=lambda pixels: pixels.astype("complex64")))


def test_a_mask_that_is_a_picture_is_refused(tiles, tmp_path: Path) -> None:
    for tile in tiles:
        write(tmp_path / "images" / f"{tile.name}.tif", stack(tile), tile, names=BGRN)
        write(tmp_path / "masks" / f"{tile.name}.tif", np.repeat(drawn(tile, 255, 0), 3, axis=0), tile)
    assert "has 3 bands instead of 1" in refused(tmp_path)


def test_dates_that_lie_elsewhere_are_samples_of_their_own(tiles, tmp_path: Path) -> None:
    for month, tile in zip(range(1, 7), tiles, strict=False):
        write(tmp_path / f"shot_2021{month:02d}05.tif", stack(tile), tile, names=BGRN)
    made = init(tmp_path)
    assert made.samples == 6
    assert {row["s2.date"] for row in table(tmp_path).values()} == {f"2021-{month:02d}-05" for month in range(1, 7)}
    assert any("do not lie on one ground" in one.what for one in made.notes)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_masks_without_a_place_are_named(tiles, tmp_path: Path) -> None:
    for tile in tiles:
        write(tmp_path / "images" / f"{tile.name}.tif", stack(tile), tile, names=BGRN)
        bare = Tile(tile.name, tile.label, tile.bands, None, None)
        if tile.name != "River_4":
            write(tmp_path / "masks" / f"{tile.name}.tif", drawn(tile, 1, 0), bare)
    found = [one.what for one in init(tmp_path).notes]
    assert any("only one of them says where it lies; if they lie together in truth" in what for what in found)
    assert "1 of 12 samples have no mask" in found
    with pytest.raises(ArchiveError, match="--relax grid"):
        build_quietly("folder", tmp_path, tmp_path.parent / "stores")
    store = open_store(build_quietly("folder", tmp_path, tmp_path.parent / "stores", relax=("grid",)).path)
    assert len(store) == 12


def test_described_beside_undescribed_is_not_known(tiles, tmp_path: Path) -> None:
    some(tmp_path, tiles[:6])
    some(tmp_path, tiles[6:], names=())
    assert any("others do not (" in what for what in of_kind(init(tmp_path), "fill in").values())


@pytest.mark.parametrize(
    ("crs", "step", "north", "metres"),
    [
        ("EPSG:4326", 8.983e-5, 0, 10.0),
        ("EPSG:2263", 1.9685, 0, 0.6),  # feet
        ("EPSG:32633", 30.0, 0, 30.0),
        ("EPSG:3857", 20.0, 8_399_738, 10.0),  # at 60 degrees a metre of the web's Mercator is half of one
    ],
)
def test_the_spacing_is_in_metres(tiles, tmp_path: Path, crs: str, step: float, north: float, metres: float) -> None:
    tile = Tile("a", "", tiles[0].bands, crs, rasterio.Affine(step, 0, 0, 0, -step, north))
    init(some(tmp_path, [tile]))
    assert layer_of(tmp_path)["gsd_m"] == pytest.approx(metres, rel=0.005)


def test_one_image_is_a_folder_too(tiles, tmp_path: Path) -> None:
    assert init(some(tmp_path, tiles[:1])).samples == 1


def test_a_class_folder_alone_asks_for_the_one_above(tiles, tmp_path: Path) -> None:
    for tile in tiles:
        write(tmp_path / tile.label / f"{tile.name}.tif", stack(tile), tile, names=BGRN)
    found = [one.what for one in init(tmp_path / "River").notes]
    assert any(
        f"(Forest, Highway): if they are classes, masks or splits, run `init` on {tmp_path}" in what for what in found
    )


def test_a_file_without_a_date_is_no_date_of_its_neighbour(tiles, tmp_path: Path) -> None:
    for name in ("a", "a_20210302", "a_20210702"):
        write(tmp_path / f"{name}.tif", stack(tiles[0]), tiles[0], names=BGRN)
    assert init(tmp_path).samples == 3
    assert [row["s2.date"] for row in table(tmp_path).values()] == ["", "2021-03-02", "2021-07-02"]
    build_quietly("folder", tmp_path, tmp_path.parent / "stores")


def test_a_folder_called_as_a_part_of_an_archive_is_not_that_archive(tiles, tmp_path: Path) -> None:
    for tile in tiles[:4]:  # SSL4EO-S12 unpacks to s1/<id>/<product>/
        write(tmp_path / "s1" / tile.name / "p" / "x.tif", stack(tile), tile, names=BGRN)
    assert init(tmp_path).samples == 4


# Names -------------------------------------------------------------------------------------------------------


def test_odd_names_links_and_doubles(tiles, tmp_path: Path) -> None:
    root = tmp_path / "raw"
    for name in ("a b.tif", "a-b.tif", "\u00fc.tif", "u.tif", "x.tiff", "x.TIF", "\u6e56.tif"):
        write(root / name, stack(tiles[0]), tiles[0], names=BGRN)
    outside = write(tmp_path / "outside.tif", stack(tiles[1]), tiles[1], names=BGRN)
    (root / "linked.tif").symlink_to(outside)
    (root / "lost.tif").symlink_to(tmp_path / "nothing.tif")
    (root / "loop").symlink_to(root)
    write(root / " edge.tif", stack(tiles[0]), tiles[0], names=BGRN)
    write(root / "tab\t.tif", stack(tiles[0]), tiles[0], names=BGRN)
    made = init(root)
    assert set(of_kind(made, "left out")) == {"lost.tif", " edge.tif", "tab\t.tif"}
    rows = table(root)
    assert {row["s2"]: key for key, row in rows.items()} == {
        "a b.tif": "a-b", "a-b.tif": "a-b-2", "u.tif": "u", "\u00fc.tif": "u-2", "x.TIF": "x", "x.tiff": "x-2",
        "linked.tif": "linked", "\u6e56.tif": "x-3",
    }  # fmt: skip
    store = open_store(build_quietly("folder", root, tmp_path / "stores").path)
    assert len(store) == 8
    np.testing.assert_array_equal(store[store.row("linked")].layers["s2"][0], stack(tiles[1]))


def test_the_same_names_in_two_classes_are_two_samples(tiles, tmp_path: Path) -> None:
    for tile in tiles:
        write(tmp_path / tile.label / f"{tile.name[-1]}.tif", stack(tile), tile, names=BGRN)
    init(tmp_path)
    assert set(table(tmp_path)) == {tile.name.replace("_", "/") for tile in tiles}


def test_a_folder_may_be_called_as_the_data_set_would_be(tiles, tmp_path: Path) -> None:
    root = tmp_path / "river"
    for tile in tiles:
        write(root / tile.label.lower() / f"{tile.name}.tif", stack(tile), tile, names=BGRN)
    init(root)  # an id that is a folder of RAW would be looked for inside it
    assert len(open_store(build_quietly("folder", root, tmp_path / "stores").path)) == 12


@pytest.mark.parametrize(
    ("paths", "want"),
    [
        ("A/1.tif A/2.tif B/1.tif B/2.tif", "A A B B"),
        ("A/1.tif A/2.tif B/1.tif", ""),  # a folder of one image is no class
        ("x/A/1.tif x/A/2.tif x/B/1.tif x/B/2.tif", "A A B B"),
        ("A/p/1.tif A/q/1.tif B/p/1.tif B/q/1.tif", ""),  # which level is the class cannot be seen
        ("p/2021-01-01.tif p/2021-02-01.tif q/2021-01-01.tif q/2021-02-01.tif", ""),  # folders are places
        ("images/a.tif masks/a.tif images/b.tif masks/b.tif", ""),
    ],
)
def test_which_folders_are_classes(paths: str, want: str) -> None:
    found = group(paths.split(), with_dates=True)
    assert " ".join(found.label_of[name] for name in sorted(found.label_of)) == want


def test_dates_and_keys_of_names() -> None:
    assert day_of("20210802T101031_20210802T120000_T33UUP") == "2021-08-02T10:10:31"
    assert day_of("tile_20211302") == day_of("patch_120210802") == day_of("2021") == ""
    assert day_of("2021-02-30") == ""
    assert make_keys([("a", "b"), ("a", "b")]) == ["a/b", "a/b-2"]


# The command -------------------------------------------------------------------------------------------------


def test_the_command_says_what_was_guessed(tiles, tmp_path: Path, monkeypatch, capsys) -> None:
    from seamo_prep.cli import main

    root = some(tmp_path / "raw", tiles, names=())
    monkeypatch.setattr("sys.argv", ["seamo-prep", "init", str(root), "--json"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    printed = capsys.readouterr()
    kinds = {row["kind"] for row in json.loads(printed.out)}
    assert kinds == {"found", "guess", "unknown", "fill in"}
    assert printed.err.splitlines()[-1] == f"next: fill in, then seamo-prep build folder --raw {root} --store stores"
