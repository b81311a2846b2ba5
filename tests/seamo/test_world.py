"""The synthetic world: determinism, physics, seasons, arrangement."""

import numpy as np
import pytest
from rasterio.warp import transform as to_crs

from seamo.bands import S2_L1C, S2_L2A
from seamo.errors import UsageError
from seamo.testing.world import COVERS, World

JULY, JANUARY = np.datetime64("2020-07-10"), np.datetime64("2020-01-10")


def mean_ndvi(world: World, cover: str, date: np.datetime64, places: int = 6) -> float:
    values = []
    for number in range(places):
        scene = world.scene(f"{cover}-{number}", 66, focus=cover)
        bands = scene.s2(date, "L2A", clouds=False)
        red, infrared = bands["B04"].astype(float), bands["B08"].astype(float)
        inside = scene.cover == COVERS.index(cover)
        values.append(((infrared - red) / (infrared + red))[inside].mean())
    return float(np.mean(values))


def north(world: World, cover: str, *, places: int) -> list:
    found = (world.scene(f"n{number}", 66, focus=cover) for number in range(4 * places))
    return [scene for scene in found if scene.latitude > 0][:places]


def test_same_name_gives_same_place_and_pixels() -> None:
    first, second = (World(3).scene("here", 66) for _ in range(2))
    assert np.array_equal(first.cover, second.cover)
    assert first.transform == second.transform
    assert np.array_equal(first.s2(JULY, "L1C")["B8A"], second.s2(JULY, "L1C")["B8A"])
    assert np.array_equal(first.s1(JULY)["VH"], second.s1(JULY)["VH"])
    other = World(4).scene("here", 66)
    assert first.transform != other.transform
    assert not np.array_equal(first.s2(JULY, "L1C")["B04"], other.s2(JULY, "L1C")["B04"])


def test_bands_come_on_their_native_grids_in_canonical_order() -> None:
    scene = World(1).scene("a", 96)
    top, surface = scene.s2(JULY, "L1C"), scene.s2(JULY, "L2A")
    assert tuple(top) == S2_L1C
    assert tuple(surface) == S2_L2A
    sizes = {name: pixels.shape[0] for name, pixels in top.items()}
    assert (sizes["B02"], sizes["B8A"], sizes["B10"]) == (96, 48, 16)
    assert all(pixels.dtype == np.uint16 and pixels.min() > 0 for pixels in top.values())


def test_bands_obey_physics() -> None:
    world = World(2)
    cirrus, ratio, vv, vh, haze = [], [], [], [], []
    for number in range(40):
        scene = world.scene(f"p{number}", 66)
        top, surface, radar = scene.s2(JULY, "L1C"), scene.s2(JULY, "L2A"), scene.s1(JULY)
        cirrus.append(top["B10"].mean())
        ratio.append(surface["B8A"].mean() / surface["B08"].mean())
        haze.append(top["B01"].mean() - surface["B01"].mean())
        vv.append(radar["VV"].mean())
        vh.append(radar["VH"].mean())
    assert 5 < np.mean(cirrus) < 60
    assert 0.9 < np.mean(ratio) < 1.2
    assert np.mean(haze) > 400  # path radiance is strongest in the coastal band
    assert -16 < np.mean(vv) < -8
    assert (np.array(vv) - np.array(vh)).min() > 2


def test_plants_follow_the_season_of_their_hemisphere() -> None:
    world = World(5)
    crops, water = ("broad-leaved-forest", "sea")
    scenes = north(world, crops, places=4)
    swing = [float((scene.greenness(JULY) - scene.greenness(JANUARY)).mean()) for scene in scenes]
    assert min(swing) > 0.2
    southern = [one for one in (world.scene(f"s{i}", 66, focus=crops) for i in range(40)) if one.latitude < 0]
    assert all(float((one.greenness(JANUARY) - one.greenness(JULY)).mean()) > 0.2 for one in southern)
    assert southern
    # Crops of one kind or the other are green in May or July, and bare in January; water never changes.
    field = abs(max(mean_ndvi(world, "annual-crop", np.datetime64(f"2020-{m}-10")) for m in ("05", "07"))
                - mean_ndvi(world, "annual-crop", np.datetime64("2020-11-10")))  # fmt: skip
    sea = abs(mean_ndvi(world, water, JULY) - mean_ndvi(world, water, JANUARY))
    assert field > 4 * sea


def test_a_world_without_seasons_stands_still() -> None:
    still, moving = World(6, seasons=False), World(6)
    for cover in ("annual-crop", "broad-leaved-forest"):
        names = [f"q{number}" for number in range(4)]
        means = {}
        for world in (still, moving):
            differences = []
            for name in names:
                scene = world.scene(name, 66, focus=cover)
                first, second = (scene.s2(date, "L2A", clouds=False)["B08"].astype(float) for date in (JULY, JANUARY))
                differences.append(abs(first.mean() - second.mean()) / first.mean())
            means[world.seasons] = float(np.mean(differences))
        assert means[False] < 0.01
        assert means[True] > 0.1
    assert np.array_equal(still.scene("q0", 66).cover, moving.scene("q0", 66).cover)


def test_cover_is_spatially_correlated_and_led_by_the_focus() -> None:
    world = World(7)
    same = [
        np.mean(scene.cover[:, 1:] == scene.cover[:, :-1]) for scene in (world.scene(f"c{i}", 96) for i in range(8))
    ]
    assert min(same) > 0.9
    for cover in set(COVERS) - {"road", "river"}:
        share = [np.mean(world.scene(f"f{i}", 66, focus=cover).cover == COVERS.index(cover)) for i in range(5)]
        assert np.mean(share) > 0.5, cover
    for line in ("road", "river"):
        assert (world.scene("line", 66, focus=line).cover == COVERS.index(line)).any()


def test_some_classes_differ_by_arrangement_more_than_by_level() -> None:
    # Rows of an orchard and a smooth pasture: neighbouring pixels agree in one and not in the other.
    def roughness(cover: str) -> float:
        found = []
        for number in range(6):
            scene = World(8).scene(f"{cover}{number}", 66, focus=cover)
            pixels = scene.s2(np.datetime64("2020-03-01"), "L2A", clouds=False)["B08"].astype(float)
            inside = (scene.cover == COVERS.index(cover))[:, 1:] & (scene.cover == COVERS.index(cover))[:, :-1]
            found.append(np.abs(np.diff(pixels, axis=1))[inside].mean() / pixels.std())
        return float(np.mean(found))

    assert roughness("permanent-crop") > 2 * roughness("pasture")


def test_clouds_are_bright_and_on_a_part_of_dates() -> None:
    scene = World(9).scene("sky", 66, focus="coniferous-forest")
    dates = np.datetime64("2020-01-01") + np.arange(0, 365, 5)
    cloudy = [(scene.s2(date, "L2A")["B02"] > 3000).mean() for date in dates]
    assert 0.1 < np.mean(np.array(cloudy) > 0) < 0.6
    assert all((scene.s2(date, "L2A", clouds=False)["B02"] < 3000).all() for date in dates[:10])


def test_georeference_agrees_with_proj() -> None:
    for number in range(20):
        scene = World(10).scene(f"geo{number}", 66)
        a, _, left, _, e, top = scene.transform
        (east,), (north_m,) = to_crs("EPSG:4326", f"EPSG:{scene.epsg}", [scene.longitude], [scene.latitude])
        assert abs(east - (left + 33 * a)) < 6  # the corner is rounded to 10 m
        assert abs(north_m - (top + 33 * e)) < 6


def test_wrong_requests_are_refused() -> None:
    with pytest.raises(UsageError, match="multiple of 6"):
        World(1).scene("x", 64)
    with pytest.raises(UsageError, match="no land cover 'lava'"):
        World(1).scene("x", 66, focus="lava")
