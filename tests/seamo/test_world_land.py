"""The drawn forms of the synthetic world: recognisable, physical, and (`arranged`) alike but in their layout."""

import numpy as np
import pytest

from seamo.bands import S2_L2A
from seamo.errors import UsageError
from seamo.testing.arranged import ARRANGED, WIDTH, is_first
from seamo.testing.covers import COVERS
from seamo.testing.drawing import cells, turned
from seamo.testing.fields import spread
from seamo.testing.surfaces import MATERIALS, SURFACES
from seamo.testing.world import World

MAY, JULY, LATE_JULY = (np.datetime64(f"2020-{day}") for day in ("05-10", "07-10", "07-25"))


def means(world: World, cover: str, *, places: int = 8, date: np.datetime64 = JULY) -> dict[str, float]:
    """Band -> mean surface reflectance x 10000 where the cover lies, in the north."""
    found: dict[str, list[float]] = {}
    for number in range(3 * places):
        scene = world.scene(f"{cover}/{number}", 66, focus=cover)
        if scene.latitude > 0 and len(found.get("B02", ())) < places:
            inside = scene.cover == COVERS.index(cover)
            for band, pixels in scene.s2(date, "L2A", clouds=False).items():
                if len(pixels) == 66:
                    found.setdefault(band, []).append(float(pixels[inside].mean()))
    return {band: float(np.mean(values)) for band, values in found.items()}


def test_places_follow_from_the_seed_and_forms_are_worlds_of_their_own() -> None:
    first, second = (World(3, form="land").scene("here", 66) for _ in range(2))
    other, plain = World(4, form="land").scene("here", 66), World(3).scene("here", 66)
    for product in ("L1C", "L2A"):
        for band, pixels in first.s2(JULY, product).items():
            np.testing.assert_array_equal(pixels, second.s2(JULY, product)[band])
            assert not np.array_equal(pixels, other.s2(JULY, product)[band])
            assert len(pixels) < 66 or not np.array_equal(pixels, plain.s2(JULY, product)[band])
    np.testing.assert_array_equal(first.s1(JULY)["VH"], second.s1(JULY)["VH"])


def test_the_tables_are_whole() -> None:
    for name, spectrum in MATERIALS.items():
        assert len(spectrum) == len(S2_L2A), name
        assert 0 < min(spectrum) < max(spectrum) < 10000, name
    for name, surface in SURFACES.items():
        for parts in (surface.rest, surface.active, surface.ripe or surface.rest):
            assert set(parts) <= set(MATERIALS), name
            assert sum(parts.values()) == pytest.approx(1), name
        assert 0 <= surface.green <= surface.green + surface.swing <= 1, name
        assert surface.radar[0] - surface.radar[1] > 4, name  # VH lies well below VV everywhere


def test_covers_look_as_they_do_from_space() -> None:
    """Orders that anyone who reads Sentinel-2 knows, not levels of ours."""
    world = World(2, form="land")
    seen = {cover: means(world, cover) for cover in ("sea", "broad-leaved-forest", "coniferous-forest", "pasture",
                                                     "industrial", "residential", "bare")}  # fmt: skip

    def ndvi(cover: str) -> float:
        one = seen[cover]
        return (one["B08"] - one["B04"]) / (one["B08"] + one["B04"])

    assert ndvi("broad-leaved-forest") > 0.75
    assert ndvi("sea") < 0.05
    assert 0 < ndvi("industrial") < ndvi("residential") < ndvi("pasture")
    assert seen["broad-leaved-forest"]["B08"] > 1.3 * seen["coniferous-forest"]["B08"]
    assert seen["broad-leaved-forest"]["B04"] < 400 < seen["pasture"]["B04"] < seen["bare"]["B04"]
    assert seen["sea"]["B08"] < 0.6 * seen["sea"]["B02"]


def test_shadows_fall_away_from_the_morning_sun() -> None:
    """To the north-west of a house in the north, to the south-west of one in the south: both are the left side."""
    world, beside = World(5, form="land"), {True: [], False: []}
    for number in range(30):
        scene = world.scene(f"r{number}", 66, focus="industrial")
        light = np.log(scene.ground.light)
        roofs = scene.s2(MAY, "L2A", clouds=False)["B02"] > 2500
        for step in (-1, 1):
            shaded = np.roll(roofs, (step, -1), (0, 1)) & ~roofs
            if shaded.sum() > 20:
                beside[scene.latitude > 0].append((step, light[shaded].mean()))
    for north, found in beside.items():
        up, down = (np.mean([light for step, light in found if step == side]) for side in (-1, 1))
        assert (up < down - 0.03) if north else (down < up - 0.03)


def test_radar_sees_what_the_optical_sensor_sees() -> None:
    world, levels = World(6, form="land"), {}
    for cover in ("sea", "annual-crop", "coniferous-forest", "industrial"):
        values = []
        for number in range(5):
            scene = world.scene(f"{cover}{number}", 66, focus=cover)
            inside = scene.cover == COVERS.index(cover)
            radar = scene.s1(MAY)
            values.append([radar["VV"][inside].mean(), radar["VH"][inside].mean()])
        levels[cover] = np.mean(values, axis=0)
    for low, high in (("sea", "annual-crop"), ("annual-crop", "coniferous-forest"), ("annual-crop", "industrial")):
        assert levels[low][0] < levels[high][0] - 1
        assert levels[low][1] < levels[high][1] - 1
    # Roofs are bright in both: within a town, VV follows B04.
    scene = world.scene("town", 96, focus="industrial")
    roofs = scene.s2(MAY, "L2A", clouds=False)["B04"] > 2500
    assert roofs.mean() > 0.02
    assert scene.s1(MAY)["VV"][roofs].mean() > scene.s1(MAY)["VV"][~roofs].mean() + 2


def test_wheat_ripens_after_it_was_green_and_grass_does_not() -> None:
    world, rise = World(8, form="land"), {"annual-crop": [], "pasture": []}
    for number in range(24):
        for cover, peak in (("annual-crop", 135), ("pasture", 145)):  # days of `winter wheat` and `meadow`
            scene = world.scene(f"{cover}/{number}", 66, focus=cover)
            grown = (np.abs(scene.ground.calendar.peak - peak) < 0.5) & (scene.ground.calendar.swing > 0.3)
            if scene.latitude > 0 and grown.sum() > 100:
                may, july = (scene.s2(date, "L2A", clouds=False)["B04"].astype(float) for date in (MAY, LATE_JULY))
                rise[cover].append(july[grown].mean() / may[grown].mean())
    assert min(map(len, rise.values())) >= 3
    assert np.median(rise["annual-crop"]) > 1.6 > 1.3 > np.median(rise["pasture"])


def test_focus_leads_and_every_cover_can_be_asked_for() -> None:
    for form in ("land", "arranged"):
        world = World(7, form=form)
        for cover in COVERS:
            scenes = [world.scene(f"f{number}", 66, focus=cover) for number in range(5)]
            share = np.mean([np.mean(scene.cover == COVERS.index(cover)) for scene in scenes])
            assert share > (0.02 if cover in ("road", "river") else 0.5), (form, cover)
    with pytest.raises(UsageError, match="no land cover 'lava'"):
        World(1, form="land").scene("x", 66, focus="lava")


def test_any_place_has_every_band_in_range_at_other_sizes_too() -> None:
    for form in ("land", "arranged"):
        for number, size in enumerate((6, 48, 120)):
            scene = World(9, form=form).scene(f"s{number}", size)
            for product in ("L1C", "L2A"):
                for pixels in scene.s2(MAY, product).values():
                    assert pixels.min() >= 1
                    assert pixels.max() < 12000
            assert all(np.isfinite(one).all() for one in scene.s1(MAY).values())


# Arranged -----------------------------------------------------------------------------------------------------


def pattern(cover: str, number: int) -> np.ndarray:
    rng = np.random.default_rng([number, ARRANGED.index(cover)])
    along, across = turned(240, rng.uniform(0, np.pi))
    return is_first(cover, along, across, rng.uniform(0, 1000, 2))


@pytest.mark.parametrize("cover", ARRANGED)
def test_arrangements_share_area_and_length_of_borders(cover) -> None:
    """Half of the ground each, and a border for every `WIDTH` pixels: crossings of rows and columns (Crofton)."""
    drawn = [pattern(cover, number) for number in range(24)]
    assert np.mean(drawn) == pytest.approx(0.5, abs=0.01)
    crossings = np.mean([(one[1:] != one[:-1]).mean() + (one[:, 1:] != one[:, :-1]).mean() for one in drawn])
    assert crossings == pytest.approx(2 * 2 / np.pi / WIDTH, rel=0.06)


def test_arranged_covers_have_the_same_marginals_and_the_drawn_ones_do_not() -> None:
    """Means over many places of band means and deviations: no cover is further from the others than chance."""

    def told_apart(form: str) -> float:
        world, found = World(12, form=form), {}
        for cover in ARRANGED:
            rows = []
            for number in range(40):
                scene = world.scene(f"{cover}/{number}", 66, focus=cover)
                bands = scene.s2(np.datetime64("2020-05-01") + 3 * number, "L1C", clouds=False)
                inside = scene.cover == COVERS.index(cover)
                rows.append(
                    [v for b in ("B02", "B04", "B08") for v in (bands[b][inside].mean(), bands[b][inside].std())]
                )
            found[cover] = np.array(rows)
        # Share of the variance that lies between covers, the largest over six statistics.
        every = np.stack(list(found.values()))
        between = every.mean(axis=1).var(axis=0)
        return float((between / every.reshape(-1, every.shape[-1]).var(axis=0)).max())

    assert told_apart("arranged") < 0.08  # 4 groups of 40: chance gives 0.02 on average
    assert told_apart("land") > 0.2


def test_cells_are_those_of_the_nearest_point() -> None:
    """Against the definition: of all points, the nearest; the border is half of how much nearer it is."""
    along, across = turned(30, 0.4)
    found = cells(np.random.default_rng(3), along, across, length=8.0, width=6.0)
    jitter = np.random.default_rng(3).uniform(0.1, 0.9, (2, 4096)).astype(np.float32)
    u, v = np.mgrid[990:1012, 990:1012]
    number = (u * 157 + v * 31) % 4096
    x, y = (u + jitter[0][number] - 1000) * 8.0, (v + jitter[1][number] - 1000) * 6.0
    away = np.hypot(x.ravel()[:, None] - along.ravel(), y.ravel()[:, None] - across.ravel())
    order = np.sort(away, axis=0)
    same = number.ravel()[away.argmin(axis=0)] == found.ids.ravel()
    assert same.mean() > 0.97  # the search looks at the nine boxes around a pixel only
    np.testing.assert_allclose(found.border.ravel()[same], ((order[1] - order[0]) / 2)[same], atol=0.3)


@pytest.mark.parametrize("shape", [(6, 6, 4), (2, 3, 1), (30, 12, 2)])
def test_the_point_spread_is_that_of_a_padded_image(shape):
    image = np.random.default_rng(3).uniform(0, 9000, shape).astype(np.float32)
    share = 0.12
    padded = np.pad(image, ((1, 1), (0, 0), (0, 0)), mode="edge")
    down = (1 - 2 * share) * image + share * (padded[:-2] + padded[2:])
    padded = np.pad(down, ((0, 0), (1, 1), (0, 0)), mode="edge")
    want = (1 - 2 * share) * down + share * (padded[:, :-2] + padded[:, 2:])
    found = spread(image, share)
    assert found.dtype == np.float32
    assert np.array_equal(found, want)
