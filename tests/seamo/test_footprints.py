"""Footprints across the antimeridian and around the poles, as shapely reads them."""

import json
import os
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely

from seamo.errors import StoreError
from seamo.sample import GeoRef
from seamo.store.footprints import ImageGrid, footprints, geo_metadata
from seamo.store.reader import open_store
from seamo.store.writer import BuildPlan
from tests.seamo.store_samples import build, seasons_samples, seasons_spec


def one(crs: str, transform: tuple[float, ...], size: int = 256):
    (box,), (shape,) = footprints([ImageGrid("k", crs, transform, size, size)])
    return box, shapely.from_wkb(shape)


def utm(zone: int, east: float, north: float = 0.0, epsg: int = 32600):
    return f"EPSG:{epsg + zone}", (10.0, 0.0, 500_000.0 + east, 0.0, -10.0, 5_000_000.0 + north)


def degrees(east: float, south: float = 10.0, wide: float = 0.2):
    return "EPSG:4326", (wide / 256, 0.0, east, 0.0, -0.2 / 256, south + 0.2)


# Zone 1 begins at the antimeridian, which is some 236 km west of its middle at 45 degrees north.
@pytest.mark.parametrize("at", [utm(1, -237_000), utm(60, 235_000), degrees(179.9), degrees(-180.1), degrees(539.9)])
def test_a_chip_across_the_antimeridian_is_cut(at):
    box, shape = one(*at)
    assert shape.geom_type == "MultiPolygon"
    assert shape.is_valid
    assert all(part.exterior.is_ccw for part in shape.geoms)
    west, east = sorted(shape.geoms, key=lambda part: -part.bounds[0])
    assert west.bounds[2] == 180
    assert east.bounds[0] == -180
    assert box == {
        "xmin": west.bounds[0],
        "ymin": shape.bounds[1],
        "xmax": pytest.approx(east.bounds[2]),
        "ymax": shape.bounds[3],
    }
    crs, (a, b, c, d, e, f) = at
    aside = one(crs, (a, b, c + (20_000 if a == 10 else 1) * (-1 if crs.endswith("60") else 1), d, e, f))[1]
    assert shape.area == pytest.approx(aside.area, rel=2e-3)  # nothing is lost, and it is no belt around the world


@pytest.mark.parametrize("east", [179.5, 179.8, -180.0, 0.0])
def test_a_chip_that_touches_it_or_lies_elsewhere_is_one_polygon(east):
    box, shape = one(*degrees(east))
    assert shape.geom_type == "Polygon"
    assert shape.bounds == pytest.approx((east, 10.0, east + 0.2, 10.2))
    assert box["xmin"] < box["xmax"]


def test_an_image_of_the_globe_stays_one():
    box, shape = one("EPSG:4326", (360 / 256, 0.0, -180.0, 0.0, -180 / 256, 90.0))
    assert (box["xmin"], box["xmax"]) == (-180, 180)
    assert shape.area == pytest.approx(360 * 180)


@pytest.mark.parametrize(("crs", "pole"), [("EPSG:3413", 90), ("EPSG:3995", 90), ("EPSG:3031", -90)])
def test_a_chip_with_a_pole_inside_is_a_cap(crs, pole):
    box, shape = one(crs, (10.0, 0.0, -1000.0, 0.0, -10.0, 1500.0))
    assert shape.is_valid
    assert shape.exterior.is_ccw
    assert (box["xmin"], box["xmax"]) == (-180, 180)
    assert pole in (box["ymin"], box["ymax"])
    for lon in (-179.9, -90, 0.1, 77, 179.9):
        assert shape.contains(shapely.Point(lon, pole * 0.99999))
        assert not shape.intersects(shapely.Point(lon, pole * 0.999))


def test_a_chip_beside_the_pole_is_none():
    box, shape = one("EPSG:3413", (10.0, 0.0, 3000.0, 0.0, -10.0, 5500.0))
    assert shape.is_valid
    assert max(abs(box["ymin"]), abs(box["ymax"])) < 90


def test_the_file_says_what_it_holds(tmp_path):
    samples = [s for s in seasons_samples(20) if hasattr(s, "geo")]
    crs, transform = utm(1, -236_100)
    samples[0] = type(samples[0])(samples[0].key, samples[0].layers, samples[0].time, GeoRef(crs, transform), 0)
    path = build(tmp_path, BuildPlan(seasons_spec(), "none"), samples)
    table = pq.read_table(path / "index.parquet")
    geo = json.loads(table.schema.metadata[b"geo"])["columns"]["footprint"]
    kinds = {shapely.from_wkb(one).geom_type for one in table["footprint"].to_pylist() if one}
    assert set(geo["geometry_types"]) == kinds == {"Polygon", "MultiPolygon"}
    assert geo["bbox"][0::2] == [-180, 180]
    assert open_store(path).read_index(["bbox"])["bbox"].iloc[0]["xmin"] > 179


def test_ordinary_footprints_are_the_corners():
    crs, transform = utm(32, 12_340)
    box, shape = one(crs, transform)
    from rasterio.warp import transform as warp

    x, y = transform[2], transform[5]
    lon, lat = warp(crs, "EPSG:4326", [x, x + 2560, x + 2560, x], [y - 2560, y - 2560, y, y])
    assert np.array(shape.exterior.coords)[:4].tolist() == np.stack([lon, lat], axis=1).tolist()
    assert box == {"xmin": min(lon), "ymin": min(lat), "xmax": max(lon), "ymax": max(lat)}
    assert json.loads(geo_metadata([box], [shapely.to_wkb(shape)]))["columns"]["footprint"]["geometry_types"] == [
        "Polygon"
    ]


@pytest.mark.usefixtures("no_such_profile")
def test_a_place_is_found_without_asking_for_a_profile_of_aws():
    assert one(*utm(33, 0))[1].geom_type == "Polygon"


@pytest.mark.parametrize("crs", ['LOCAL_CS["drone",UNIT["metre",1]]', "EPSG:32633"])
def test_a_place_outside_of_its_system_is_named(crs):
    there, far = (10.0, 0, 5e5, 0, -10.0, 5e6), (10.0, 0, 5e8, 0, -10.0, 5e9)
    first = "EPSG:32633" if crs.startswith("EPSG") else crs
    grids = [ImageGrid("a", "EPSG:32633", there, 9, 9), ImageGrid("b", first, far, 9, 9)]
    with pytest.raises(StoreError, match="its place cannot be found in coordinate system") as caught:
        footprints(grids)
    assert caught.value.where == "b"
    assert "Correct its coordinate system" in caught.value.fix


def test_a_system_that_nobody_knows_is_one_message():
    with pytest.raises(StoreError, match="its place cannot be found in coordinate system 'EPSG:99999'"):
        one("EPSG:99999", utm(33, 0)[1])


def test_the_data_of_another_proj_are_named(tmp_path):
    """PROJ_DATA of another installation is what GIS programs and conda leave in a shell."""
    program = (
        "from seamo.store.footprints import ImageGrid, footprints\n"
        "try:\n    footprints([ImageGrid('k', 'EPSG:32633', (10, 0, 5e5, 0, -10, 5e6), 9, 9)])\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
    )
    surroundings = {
        **os.environ,
        "PROJ_DATA": str(tmp_path),
        "PROJ_LIB": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=surroundings, timeout=60)
    assert done.stdout.startswith("StoreError k: its place cannot be found in coordinate system 'EPSG:32633'")
    assert "unset PROJ_DATA and PROJ_LIB" in done.stdout
