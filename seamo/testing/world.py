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
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from seamo.bands import S2_L1C, S2_L2A, band
from seamo.errors import UsageError

Product = Literal["L1C", "L2A"]
Floats = NDArray[np.float32]

COVERS = (
    "annual-crop",
    "permanent-crop",
    "pasture",
    "herbaceous",
    "broad-leaved-forest",
    "coniferous-forest",
    "river",
    "sea",
    "residential",
    "industrial",
    "road",
    "wetland",
    "bare",
    "shrub",
)
"""Land covers; `Scene.cover` holds positions in this tuple."""

# Surface reflectance x 10000 of the materials, Sentinel-2 bands without B10.
_MATERIALS = {
    #         B01   B02   B03   B04   B05   B06   B07   B08   B8A   B09   B11   B12
    "leaf": (220, 330, 650, 380, 1050, 2900, 3700, 3850, 4050, 4000, 2000, 1000),
    "canopy": (160, 240, 480, 260, 780, 2500, 3150, 3250, 3450, 3400, 1500, 680),
    "needle": (140, 200, 360, 230, 520, 1400, 1750, 1800, 1950, 1950, 900, 420),
    "litter": (260, 360, 520, 640, 850, 1150, 1300, 1420, 1550, 1600, 1900, 1350),
    "straw": (420, 640, 980, 1250, 1550, 1850, 2050, 2250, 2400, 2450, 3000, 2200),
    "soil": (480, 700, 1000, 1300, 1500, 1650, 1800, 1950, 2100, 2150, 2700, 2300),
    "water": (280, 330, 320, 220, 180, 120, 110, 90, 80, 70, 40, 25),
    "roof": (1100, 1350, 1500, 1700, 1800, 1900, 2000, 2150, 2200, 2250, 2400, 2200),
    "asphalt": (700, 850, 950, 1000, 1050, 1100, 1150, 1200, 1250, 1280, 1400, 1300),
    "sand": (1500, 1900, 2400, 2900, 3100, 3250, 3350, 3450, 3550, 3550, 4200, 3900),
}
_CLOUD = (6200, 6300, 6300, 6500, 6600, 6700, 6800, 6800, 6900, 6900, 4600, 3300)
# Top of atmosphere = path + transmission * surface; B09 lies in a water-vapour band.
_PATH = (1030, 720, 420, 240, 190, 150, 120, 95, 75, 30, 12, 6)
_TRANSMISSION = (0.80, 0.84, 0.87, 0.90, 0.90, 0.91, 0.92, 0.92, 0.94, 0.30, 0.96, 0.95)


@dataclass(frozen=True, slots=True)
class _Cover:
    """One land cover: materials at rest and in full leaf, phenology, texture, radar.

    `green` and `swing` give the share of the active state at rest and what the season adds; the season is
    `exp(-|days from peak / width| ** shape)`, in days of a northern year. `vv` and `vh` are dB at rest,
    `vv_green` and `vh_green` what full leaf adds.
    """

    rest: dict[str, float]
    active: dict[str, float]
    green: float
    swing: float
    peak: float
    width: float
    shape: float
    rough: float  # standard deviation of the texture, relative
    vv: float
    vh: float
    vv_green: float = 0.0
    vh_green: float = 0.0


_PARK = {"roof": 0.35, "asphalt": 0.30, "leaf": 0.35}
_TABLE = {
    "annual-crop": _Cover(
        {"soil": 0.75, "straw": 0.25}, {"leaf": 1.0}, 0.10, 0.80, 170, 48, 2, 0.11, -12.5, -20.0, 1.5, 3.5
    ),
    "permanent-crop": _Cover(
        {"soil": 0.6, "straw": 0.4}, {"leaf": 0.7, "canopy": 0.3}, 0.30, 0.42, 190, 85, 2, 0.11, -11.0, -18.0, 0.5, 1.8
    ),
    "pasture": _Cover({"straw": 0.6, "soil": 0.4}, {"leaf": 1.0}, 0.48, 0.38, 140, 75, 2, 0.11, -11.8, -18.8, 0.6, 1.8),
    "herbaceous": _Cover(
        {"straw": 0.7, "soil": 0.3}, {"leaf": 0.9, "canopy": 0.1}, 0.18, 0.62, 125, 52, 2, 0.11, -12.0, -19.2, 0.6, 2.2
    ),
    "broad-leaved-forest": _Cover(
        {"litter": 1.0}, {"canopy": 1.0}, 0.05, 0.90, 200, 90, 5, 0.09, -9.6, -15.2, 0.3, 0.6
    ),
    "coniferous-forest": _Cover(
        {"litter": 0.5, "needle": 0.5}, {"needle": 0.8, "canopy": 0.2}, 0.75, 0.15, 200, 90, 3,
        0.09, -9.4, -14.9, 0.1, 0.3,
    ),
    "river": _Cover({"water": 0.88, "soil": 0.12}, {"water": 0.9, "leaf": 0.1}, 0, 0.3, 200, 60, 2, 0.02, -19.0, -25.5),
    "sea": _Cover({"water": 1.0}, {"water": 1.0}, 0, 0, 200, 60, 2, 0.02, -18.5, -26.0),
    "residential": _Cover(
        {"roof": 0.42, "asphalt": 0.33, "soil": 0.25}, _PARK, 0.35, 0.45, 190, 80, 3, 0.22, -7.8, -14.2
    ),
    "industrial": _Cover(
        {"roof": 0.45, "asphalt": 0.40, "soil": 0.15}, _PARK, 0.30, 0.40, 190, 80, 3, 0.22, -7.0, -13.8
    ),
    "road": _Cover(
        {"asphalt": 0.85, "soil": 0.15}, {"asphalt": 0.7, "leaf": 0.3}, 0.2, 0.4, 180, 70, 2, 0.05, -13.5, -20.5
    ),
    "wetland": _Cover(
        {"water": 0.4, "straw": 0.35, "litter": 0.25}, {"leaf": 0.6, "water": 0.25, "straw": 0.15},
        0.15, 0.65, 205, 60, 2, 0.12, -12.8, -20.2, 2.0, 3.0,
    ),
    "bare": _Cover({"sand": 0.4, "soil": 0.6}, {"sand": 0.3, "soil": 0.7}, 0.3, 0.2, 180, 80, 2, 0.10, -13.5, -21.5),
    "shrub": _Cover(
        {"litter": 0.4, "straw": 0.4, "soil": 0.2}, {"canopy": 0.5, "leaf": 0.3, "needle": 0.2}, 0.40, 0.35, 165, 80, 2,
        0.11, -11.0, -17.4, 0.4, 1.2,
    ),
}  # fmt: skip
# What lies around a cover, where it shares a scene with others.
_NEIGHBOURS = {
    "sea": ("bare", "herbaceous", "shrub"),
    "residential": ("residential", "pasture", "road", "herbaceous"),
    "industrial": ("industrial", "residential", "annual-crop", "bare"),
    "broad-leaved-forest": ("pasture", "coniferous-forest", "herbaceous"),
    "coniferous-forest": ("broad-leaved-forest", "wetland", "herbaceous"),
    "wetland": ("herbaceous", "sea", "pasture"),
}
_FIELDS = ("annual-crop", "pasture", "herbaceous", "permanent-crop", "broad-leaved-forest", "shrub")
_LINES = {"road": (1.6, 2.6), "river": (5.0, 11.0)}  # covers that cross a scene as a line; width in pixels
MIDSUMMER = 172.0  # the day of the northern year at which a world without seasons stands still


@dataclass(frozen=True, slots=True)
class World:
    """A synthetic world; everything in it follows from the seed.

    Args:
        seed: Chooses the world.
        seasons: False stops the phenology at midsummer: dates of a scene then differ by noise, haze and
            clouds only.

    Example:
        >>> scene = World(seed=1).scene("Forest_1", 66, focus="broad-leaved-forest")
        >>> scene.s2(np.datetime64("2020-07-01"), "L2A")["B8A"].shape
        (33, 33)
    """

    seed: int
    seasons: bool = True

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
        cover: (H, W) uint8, positions in `COVERS`.
        latitude: Of the centre, degrees north (WGS84).
        longitude: Of the centre, degrees east.
        epsg: Code of its UTM zone.
        transform: Affine (a, b, c, d, e, f) of the 10 m grid, in metres of that zone.
        rest: (H, W, materials) shares at rest, by cover and texture.
        change: What the active state adds to `rest`.
        day_shift: (H, W) days by which a pixel is ahead of its cover's calendar.
        texture: (H, W) standardised detail.
        spectra: (materials, 12) reflectance x 10000 in this place.
    """

    world: World
    name: str
    cover: NDArray[np.uint8]
    latitude: float
    longitude: float
    epsg: int
    transform: tuple[float, float, float, float, float, float]
    rest: Floats
    change: Floats
    day_shift: Floats
    texture: Floats
    spectra: Floats

    def greenness(self, date: np.datetime64) -> Floats:
        """Share of the active state (0 to 1) per pixel, shape (H, W)."""
        day = MIDSUMMER
        if self.world.seasons:
            day = float((date.astype("datetime64[D]") - date.astype("datetime64[Y]")).astype(int)) + 1
            day += 182.625 if self.latitude < 0 else 0.0
        look = _tables()
        away = np.abs((day + self.day_shift - look.peak[self.cover] + 182.625) % 365.25 - 182.625)
        season = np.exp(-((away / look.width[self.cover]) ** look.shape[self.cover]))
        state = look.green[self.cover] + look.swing[self.cover] * season
        return np.asarray(np.clip(state * (1 + 0.15 * self.texture), 0, 1), dtype=np.float32)

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
        alpha, shadow = _clouds(sky, len(self.cover)) if clouds else (None, None)
        haze = float(np.exp(sky.normal(0, 0.18)))
        rng = _rng(self, date, product)
        look = _tables()
        green = self.greenness(date)
        shares = self.rest + green[..., None] * self.change
        shares *= np.exp(look.rough[self.cover] * self.texture)[..., None]
        if shadow is not None:
            shares *= (1 - 0.5 * shadow)[..., None]
        found = {}
        for gsd, names in _GRIDS:
            step = gsd // 10
            light = _block_mean(shares, step) @ self.spectra[:, [S2_L2A.index(name) for name in names]]
            if alpha is not None:
                thick = _block_mean(alpha[..., None], step)
                light += thick * (np.array([_CLOUD[S2_L2A.index(name)] for name in names], np.float32) - light)
            light *= 1 + 0.01 * rng.standard_normal(light.shape, dtype=np.float32)
            for index, name in enumerate(names):
                position = S2_L2A.index(name)
                pixels = light[..., index]
                if product == "L1C":
                    pixels = _PATH[position] * haze + _TRANSMISSION[position] * pixels
                else:
                    pixels = pixels + 40.0 * (haze - 1) * _PATH[position] / _PATH[0]
                noise = 6 * rng.standard_normal(pixels.shape, dtype=np.float32)
                found[name] = np.clip(pixels + noise, 1, 20000).astype(np.uint16)
        if product == "L1C":
            cirrus = 12 + 3 * rng.standard_normal(found["B01"].shape, dtype=np.float32)
            if alpha is not None:
                cirrus += 90 * _block_mean(alpha[..., None], 6)[..., 0]
            found["B10"] = np.clip(cirrus, 1, 20000).astype(np.uint16)
        order = S2_L1C if product == "L1C" else S2_L2A
        return {name: found[name] for name in order}

    def s1(self, date: np.datetime64) -> dict[str, Floats]:
        """Sentinel-1 backscatter in dB, VV and VH, (H, W) float32 on the 10 m grid, with speckle."""
        rng = _rng(self, date, "s1")
        look = _tables()
        green = self.greenness(date)
        wet, wind = rng.normal(0, 0.7), rng.normal(0, 1.5)
        is_water = np.isin(self.cover, [COVERS.index("sea"), COVERS.index("river")])
        common = np.where(is_water, wind, wet) + 8 * look.rough[self.cover] * self.texture
        found = {}
        for name, rest, gain in (("VV", look.vv, look.vv_green), ("VH", look.vh, look.vh_green)):
            level = rest[self.cover] + gain[self.cover] * green + common
            # Multi-look intensity is gamma distributed; ground range detected products have about 4.4 looks.
            speckle = rng.gamma(4.4, 1 / 4.4, self.cover.shape)
            found[name] = np.asarray(level + 10 * np.log10(np.maximum(speckle, 1e-3)), dtype=np.float32)
        return found


_GRIDS = tuple((gsd, tuple(name for name in S2_L2A if band("s2", name).gsd_m == gsd)) for gsd in (10, 20, 60))


@dataclass(frozen=True, slots=True)
class _Tables:
    """`_TABLE` as arrays over covers."""

    rest: Floats
    active: Floats
    green: Floats
    swing: Floats
    peak: Floats
    width: Floats
    shape: Floats
    rough: Floats
    vv: Floats
    vh: Floats
    vv_green: Floats
    vh_green: Floats


@lru_cache(maxsize=1)
def _tables() -> _Tables:
    rows = [_TABLE[name] for name in COVERS]

    def column(values: list[float]) -> Floats:
        return np.array(values, dtype=np.float32)

    return _Tables(
        rest=np.array([[row.rest.get(name, 0) for name in _MATERIALS] for row in rows], dtype=np.float32),
        active=np.array([[row.active.get(name, 0) for name in _MATERIALS] for row in rows], dtype=np.float32),
        green=column([row.green for row in rows]),
        swing=column([row.swing for row in rows]),
        peak=column([row.peak for row in rows]),
        width=column([row.width for row in rows]),
        shape=column([row.shape for row in rows]),
        rough=column([row.rough for row in rows]),
        vv=column([row.vv for row in rows]),
        vh=column([row.vh for row in rows]),
        vv_green=column([row.vv_green for row in rows]),
        vh_green=column([row.vh_green for row in rows]),
    )


def _lay_out(world: World, name: str, size: int, focus: str | None) -> Scene:
    rng = np.random.default_rng([world.seed, *_words(name)])
    main = focus if focus is not None else str(rng.choice(COVERS))
    around = [str(one) for one in rng.choice(_NEIGHBOURS.get(main, _FIELDS), 2)]
    # Coordinates along and across the fields, and the parcels they cut out.
    angle = rng.uniform(0, np.pi)
    row, col = np.mgrid[0:size, 0:size].astype(np.float32)
    along = np.cos(angle) * col + np.sin(angle) * row
    across = np.cos(angle) * row - np.sin(angle) * col
    parcel = _blocks(along, across, rng.uniform(14, 30), rng.uniform(8, 16))
    # Zones: the largest of three smooth fields; the focus starts ahead.
    ahead = (rng.uniform(0.9, 2.2), 0.0, 0.0) if main not in _LINES else (-9.0, 0.0, 0.0)
    field = np.stack([_smooth(rng, size, 20) + lead for lead in ahead])
    codes = np.array([COVERS.index(one) for one in (main, *around)], dtype=np.uint8)
    cover = codes[field.argmax(axis=0)]
    for line in _LINES:
        if main == line or (rng.random() < 0.12 and main not in ("sea", "river")):
            bend = _smooth(rng, size, 24)[:, :1].T * 6 if line == "river" else 0.0
            turned = np.cos(rng.uniform(0, np.pi)) * (col - size / 2) + np.sin(rng.uniform(0, np.pi)) * (row - size / 2)
            offset = turned + bend + rng.uniform(-size / 8, size / 8)
            cover[np.abs(offset) < rng.uniform(*_LINES[line]) / 2] = COVERS.index(line)

    texture = _textures(rng, along, across, parcel)[cover, np.arange(size)[:, None], np.arange(size)[None, :]]
    days = rng.normal(0, 10, len(COVERS)).astype(np.float32)[cover] + rng.normal(0, 5, 4096).astype(np.float32)[parcel]
    # Parcels of annual crops are sown in autumn (green in May) or in spring (green in July).
    share = rng.uniform(0.2, 0.8)
    sown = np.where(rng.random(4096) < share, 35.0, -35.0).astype(np.float32)[parcel]
    days += np.where(cover == COVERS.index("annual-crop"), sown, 0).astype(np.float32)

    look = _tables()
    gain = np.exp(rng.normal(0, 0.10, len(COVERS))).astype(np.float32)
    tilt = np.linspace(-1, 1, len(S2_L2A)) * rng.normal(0, 0.06, (len(_MATERIALS), 1))
    spectra = np.array(list(_MATERIALS.values())) * np.exp(rng.normal(0, 0.10, (len(_MATERIALS), 1)) + tilt)
    rest = (look.rest * gain[:, None])[cover]
    latitude, longitude, epsg, transform = _place(rng, size)
    return Scene(
        world=world,
        name=name,
        cover=cover,
        latitude=latitude,
        longitude=longitude,
        epsg=epsg,
        transform=transform,
        rest=rest,
        change=(look.active * gain[:, None])[cover] - rest,
        day_shift=days,
        texture=texture,
        spectra=spectra.astype(np.float32),
    )


def _textures(rng: np.random.Generator, along: Floats, across: Floats, parcel: NDArray[np.intp]) -> Floats:
    """Standardised detail for every cover, (covers, H, W): equal spread, different arrangement."""
    size = len(along)
    white = rng.standard_normal((size, size), dtype=np.float32)
    tones = rng.standard_normal(4096, dtype=np.float32)
    fine, coarse = _smooth(rng, size, 3), _smooth(rng, size, 8)
    rows = np.sqrt(2) * np.cos(2 * np.pi * across / rng.uniform(2.6, 3.8) + coarse)
    large = tones[_blocks(along, across, rng.uniform(10, 15), rng.uniform(8, 12))]
    small = tones[_blocks(along, across, rng.uniform(3, 4.5), rng.uniform(2.5, 4))]
    kinds = {
        "annual-crop": tones[parcel],
        "permanent-crop": rows,
        "pasture": coarse,
        "herbaceous": fine,
        "broad-leaved-forest": 0.8 * fine + 0.6 * white,
        "coniferous-forest": 0.3 * fine + 0.95 * white,
        "river": coarse,
        "sea": 0.7 * np.cos(2 * np.pi * along / 9 + 2 * coarse) + 0.7 * white,
        "residential": small,
        "industrial": large,
        "road": white,
        "wetland": 0.7 * coarse + 0.7 * fine,
        "bare": 0.9 * coarse + 0.4 * white,
        "shrub": white,
    }
    return np.stack([kinds[name] for name in COVERS]).astype(np.float32)


def _blocks(along: Floats, across: Floats, length: float, width: float) -> NDArray[np.intp]:
    """Number (0 to 4095) of the rectangle, in rows shifted like bricks, that a pixel lies in."""
    line = np.floor(across / width).astype(np.intp)
    cell = np.floor(along / length + 0.37 * line).astype(np.intp)
    return np.asarray((line * 73 + cell * 31) % 4096)


def _clouds(rng: np.random.Generator, size: int) -> tuple[Floats | None, Floats | None]:
    """Opacity of clouds and depth of their shadows, (size, size); none on most dates."""
    partly, amount = rng.random() < 0.3, rng.uniform(0.02, 0.4)
    drift = 12
    if not partly:
        return None, None
    field = _smooth(rng, size + drift, 26) + 0.4 * _smooth(rng, size + drift, 7)
    edge = np.quantile(field[drift:, drift:], 1 - amount)
    opacity = np.clip((field - edge) / 0.5, 0, 1).astype(np.float32)
    return opacity[drift:, drift:], opacity[:-drift, :-drift]  # the sun stands in the north-west of this world


def _smooth(rng: np.random.Generator, size: int, cell: int) -> Floats:
    """Standard normal noise that is correlated over about `cell` pixels, (size, size)."""
    weights = _spline(size, cell)
    grid = rng.standard_normal((weights.shape[1],) * 2, dtype=np.float32)
    return np.asarray(weights @ grid @ weights.T)


@lru_cache(maxsize=64)
def _spline(size: int, cell: int) -> Floats:
    """Cubic B-spline weights from a grid of nodes `cell` pixels apart to pixels; rows have unit norm."""
    where = (np.arange(size) + 0.5) / cell + 1
    away = np.abs(where[:, None] - np.arange(int(where[-1]) + 3)[None, :])
    near, far = 2 / 3 - away**2 + away**3 / 2, (2 - away) ** 3 / 6
    weights = np.where(away < 1, near, np.where(away < 2, far, 0))
    return np.asarray(weights / np.linalg.norm(weights, axis=1, keepdims=True), dtype=np.float32)


def _block_mean(values: Floats, step: int) -> Floats:
    """Mean over blocks of step x step pixels of (H, W, C)."""
    if step == 1:
        return values
    height, width, channels = values.shape
    return np.asarray(values.reshape(height // step, step, width // step, step, channels).mean(axis=(1, 3)))


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
