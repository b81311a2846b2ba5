"""The synthetic world: land cover, seasons, clouds and speckle, for demo archives and tests.

Nothing here is measured. Pixels are linear mixtures of a few material spectra whose shares follow the land cover
and the day of the year, seen through a simple atmosphere. The levels are set so that band means come near the
published ones of EuroSAT, BigEarthNet and SSL4EO-S12; the rest is made up so that there is something to learn:

* crops, pastures, grass and shrub share materials and brightness, and differ by arrangement (parcels, rows,
  smooth, rough) and by when they are green; so do residential and industrial land (small and large blocks);
* leafless broad-leaved forest and conifers differ in winter and hardly in summer, winter and summer crops differ
  in May and July: several dates of a place say more than one.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from seamo.bands import S2_L1C, S2_L2A, band
from seamo.errors import UsageError
from seamo.testing.covers import CLOUD, COVERS, PATH, TRANSMISSION, Floats
from seamo.testing.fields import block_mean, cloud_cover, spread, strided_mean
from seamo.testing.ground import Ground
from seamo.testing.land import lay_out_land
from seamo.testing.plain import lay_out_plain

__all__ = ["COVERS", "Scene", "World"]

Product = Literal["L1C", "L2A"]
Form = Literal["plain", "land", "arranged"]

RIPE_DAYS = 55.0  # what ripens does so that long after it was green
MIDSUMMER = 172.0  # the day of the northern year at which a world without seasons stands still


@dataclass(frozen=True, slots=True)
class World:
    """A synthetic world; everything in it follows from the seed.

    Args:
        seed: Chooses the world.
        seasons: False stops the phenology at midsummer: dates of a scene then differ by noise, haze and
            clouds only.
        form: `plain` has zones with a texture each. `land` is drawn: parcels, pivots, hedges, streets and houses,
            shores, crowns, slopes. `arranged` is `land`, but four kinds of field land share their two materials, their
            seasons and the length of their borders, and differ in how these lie (`seamo.testing.arranged`).

    Example:
        >>> scene = World(seed=1).scene("Forest_1", 66, focus="broad-leaved-forest")
        >>> scene.s2(np.datetime64("2020-07-01"), "L2A")["B8A"].shape
        (33, 33)
    """

    seed: int
    seasons: bool = True
    form: Form = "plain"

    def scene(self, name: str, size: int, *, focus: str | None = None) -> "Scene":
        """Lay out one place.

        Args:
            name: Names the place; the same name and size give the same place.
            size: Height and width in pixels of 10 m; a multiple of 6, so that 60 m pixels fit.
            focus: Land cover that dominates (areas) or crosses (road, river) the scene; drawn without one.

        Raises:
            UsageError: If the size is no multiple of 6 or the cover is unknown.
        """
        if size < 6 or size % 6:
            raise UsageError(f"scene size {size} is not a multiple of 6", where=name)
        if focus is not None and focus not in COVERS:
            raise UsageError(f"no land cover {focus!r}", where=name, fix=f"Covers: {', '.join(COVERS)}.")
        return _lay_out(self, name, size, focus)


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """One place of a world; `s2` and `s1` look at it.

    Args:
        world: The world it lies in.
        name: Its name there.
        ground: What lies there.
        latitude: Of the centre, degrees north (WGS84).
        longitude: Of the centre, degrees east.
        epsg: Code of its UTM zone.
        transform: Affine (a, b, c, d, e, f) of the 10 m grid, in metres of that zone.
    """

    world: World
    name: str
    ground: Ground
    latitude: float
    longitude: float
    epsg: int
    transform: tuple[float, float, float, float, float, float]

    @property
    def cover(self) -> NDArray[np.uint8]:
        """(H, W) positions in `COVERS`."""
        return self.ground.cover

    def greenness(self, date: np.datetime64) -> Floats:
        """Share of the active state (0 to 1) per pixel, shape (H, W)."""
        return np.asarray(np.clip(self._season(date, 0.0) * self.ground.vigour, 0, 1), dtype=np.float32)

    def _day(self, date: np.datetime64) -> float:
        """Day of the northern year whose season it is."""
        if not self.world.seasons:
            return MIDSUMMER
        day = float((date.astype("datetime64[D]") - date.astype("datetime64[Y]")).astype(int)) + 1
        return day + (182.625 if self.latitude < 0 else 0.0)

    def _season(self, date: np.datetime64, late: float) -> Floats:
        """State of the calendar as it was `late` days before the date."""
        ground, when = self.ground, self.ground.calendar
        away = np.abs((self._day(date) - late + ground.day_shift - when.peak + 182.625) % 365.25 - 182.625)
        return np.asarray(when.green + when.swing * np.exp(-((away / when.width) ** when.shape)))

    def s2(self, date: np.datetime64, product: Product, *, clouds: bool = True) -> dict[str, NDArray[np.uint16]]:
        """Sentinel-2 digital numbers (reflectance x 10000, no offset), each band on its native grid.

        Args:
            date: Day of acquisition; both products of a day show the same clouds.
            product: `L1C` (top of atmosphere, 13 bands) or `L2A` (surface, no B10).
            clouds: False leaves clouds and their shadows out.

        Returns:
            Band -> (size*10/gsd, size*10/gsd) uint16, at least 1 everywhere (0 means missing in archives).
        """
        sky = _rng(self, date, "sky")
        ground = self.ground
        alpha, shadow = cloud_cover(sky, len(self.cover)) if clouds else (None, None)
        if alpha is not None and shadow is not None:  # drawn with shadows that fall to the lower right
            down, right = ground.shadow
            alpha, shadow = alpha[::down, ::right], shadow[::down, ::right]
        haze = float(np.exp(sky.normal(0, 0.18)))
        rng = _rng(self, date, product)
        green = self.greenness(date)
        shares = green[..., None] * ground.change
        shares += ground.rest
        if ground.ripe is not None:
            shares += ((1 - green) * np.clip(self._season(date, RIPE_DAYS), 0, 1))[..., None] * ground.ripe
        shares *= ground.light[..., None]
        if shadow is not None:
            shares *= (1 - 0.5 * shadow)[..., None]
        found = {}
        mean = block_mean if self.world.form == "plain" else strided_mean
        for gsd, names in _GRIDS:
            step = gsd // 10
            chosen = [S2_L2A.index(name) for name in names]
            if ground.spectra is None:
                light = mean(shares[..., chosen], step)
            else:
                light = mean(shares, step) @ ground.spectra[:, chosen]
            if gsd == 10:
                light = spread(light, ground.blur)
            if alpha is not None:
                thick = mean(alpha[..., None], step)
                light += thick * (np.array([CLOUD[S2_L2A.index(name)] for name in names], np.float32) - light)
            light *= 1 + 0.01 * rng.standard_normal(light.shape, dtype=np.float32)
            for index, name in enumerate(names):
                position = S2_L2A.index(name)
                pixels = light[..., index]
                if product == "L1C":
                    path = haze if ground.haze is None else haze * mean(ground.haze[..., None], step)[..., 0]
                    pixels = PATH[position] * path + TRANSMISSION[position] * pixels
                else:
                    pixels = pixels + 40.0 * (haze - 1) * PATH[position] / PATH[0]
                noise = 6 * rng.standard_normal(pixels.shape, dtype=np.float32)
                found[name] = np.clip(pixels + noise, 1, 20000).astype(np.uint16)
        if product == "L1C":
            cirrus = 12 + 3 * rng.standard_normal(found["B01"].shape, dtype=np.float32)
            if alpha is not None:
                cirrus += 90 * mean(alpha[..., None], 6)[..., 0]
            found["B10"] = np.clip(cirrus, 1, 20000).astype(np.uint16)
        order = S2_L1C if product == "L1C" else S2_L2A
        return {name: found[name] for name in order}

    def s1(self, date: np.datetime64) -> dict[str, Floats]:
        """Sentinel-1 backscatter in dB, VV and VH, (H, W) float32 on the 10 m grid, with speckle."""
        rng = _rng(self, date, "s1")
        green, radar = self.greenness(date), self.ground.radar
        wet, wind = rng.normal(0, 0.7), rng.normal(0, 1.5)
        is_water = np.isin(self.cover, [COVERS.index("sea"), COVERS.index("river")])
        common = np.where(is_water, wind, wet) + radar.detail
        found = {}
        for name, rest, gain in (("VV", radar.vv, radar.vv_green), ("VH", radar.vh, radar.vh_green)):
            level = rest + gain * green + common
            # Multi-look intensity is gamma distributed; ground range detected products have about 4.4 looks.
            speckle = rng.gamma(4.4, 1 / 4.4, self.cover.shape)
            found[name] = np.asarray(level + 10 * np.log10(np.maximum(speckle, 1e-3)), dtype=np.float32)
        return found


_GRIDS = tuple((gsd, tuple(name for name in S2_L2A if band("s2", name).gsd_m == gsd)) for gsd in (10, 20, 60))


def _lay_out(world: World, name: str, size: int, focus: str | None) -> Scene:
    rng = np.random.default_rng([world.seed, *_words(name)])
    if world.form == "plain":
        ground, place = lay_out_plain(rng, size, focus), _place(rng, size)
    else:
        place = _place(rng, size)
        ground = lay_out_land(
            rng, size, focus, shadow=(-1 if place[0] > 0 else 1, -1), arranged=world.form == "arranged"
        )
    latitude, longitude, epsg, transform = place
    return Scene(world, name, ground, latitude=latitude, longitude=longitude, epsg=epsg, transform=transform)


def _words(name: str) -> tuple[int, ...]:
    return tuple(np.frombuffer(hashlib.sha256(name.encode()).digest()[:16], dtype="<u4").tolist())


def _rng(scene: Scene, date: np.datetime64, what: str) -> np.random.Generator:
    day = int(date.astype("datetime64[D]").astype(np.int64)) + 2**20
    return np.random.default_rng([scene.world.seed, *_words(scene.name), day, *_words(what)])


def _place(
    rng: np.random.Generator, size: int
) -> tuple[float, float, int, tuple[float, float, float, float, float, float]]:
    """A random place on the temperate land belts: centre, UTM zone, transform on whole tens of metres."""
    south = rng.random() < 0.2
    latitude = rng.uniform(-42, -22) if south else rng.uniform(36, 60)
    zone = int(rng.integers(1, 61))
    longitude = zone * 6 - 183 + rng.uniform(-2.5, 2.5)
    east, north = _utm(latitude, longitude, zone)
    half = size * 5
    left, top = round((east - half) / 10) * 10.0, round((north + half) / 10) * 10.0
    return latitude, longitude, (32700 if south else 32600) + zone, (10.0, 0.0, left, 0.0, -10.0, top)


def _utm(latitude: float, longitude: float, zone: int) -> tuple[float, float]:
    """UTM easting and northing, metres: Krueger's series to third order (Karney, doi 10.1007/s00190-011-0445-3)."""
    flat = 1 / 298.257223563
    n = flat / (2 - flat)
    radius = 6378137.0 / (1 + n) * (1 + n**2 / 4 + n**4 / 64)
    series = (n / 2 - 2 * n**2 / 3 + 5 * n**3 / 16, 13 * n**2 / 48 - 3 * n**3 / 5, 61 * n**3 / 240)
    phi, lam = np.radians(latitude), np.radians(longitude - (zone * 6 - 183))
    e = 2 * np.sqrt(n) / (1 + n)
    t = np.sinh(np.arctanh(np.sin(phi)) - e * np.arctanh(e * np.sin(phi)))
    xi, eta = np.arctan2(t, np.cos(lam)), np.arctanh(np.sin(lam) / np.hypot(1, t))
    east, north = eta, xi
    for order, factor in enumerate(series, start=1):
        east += factor * np.cos(2 * order * xi) * np.sinh(2 * order * eta)
        north += factor * np.sin(2 * order * xi) * np.cosh(2 * order * eta)
    scale = 0.9996 * radius
    return float(500000 + scale * east), float(scale * north + (10_000_000 if latitude < 0 else 0))
