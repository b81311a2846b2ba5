"""Sensors, their bands and the units of pixels: the only tables of band names in the project."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum

from seamo.errors import BandError


class Unit(StrEnum):
    """What a stored number means."""

    DN = "dn"  # Sentinel-2 digital number: reflectance = DN / 10000
    DN_PLUS_1000 = "dn+1000"  # Sentinel-2 with the offset of baseline 04.00: reflectance = (DN - 1000) / 10000
    REFLECTANCE = "reflectance"  # reflectance itself: 0 to 1, and somewhat beyond over clouds and snow
    REFLECTANCE_X10000 = "reflectance*10000"  # the same as `dn`, said of any sensor
    DB = "db"  # Sentinel-1 backscatter in decibel
    DB_X100 = "db*100"  # the same, times 100 (int16 archives)
    UINT8 = "uint8"  # an 8-bit image value without a physical unit
    CLASS = "class"  # a class id


@dataclass(frozen=True, slots=True)
class Band:
    """One band of one sensor.

    Args:
        sensor: `s1`, `s2` or `rgb`; `map` for a map of class ids.
        name: The operator's id (ESA: `B8A`, `VV`).
        gsd_m: Ground sampling distance at which the sensor delivers it, in metres.
        wavelength_nm: Centre wavelength in nanometres (Sentinel-2A, ESA spectral response functions;
            C-band radar at 5.405 GHz for `s1`).
        width_nm: Full width at half maximum in nanometres (Sentinel-2A, ESA; `rgb`: nominal, see below); None for
            radar.
    """

    sensor: str
    name: str
    gsd_m: float
    wavelength_nm: float
    width_nm: float | None = None

    @property
    def id(self) -> str:
        """Qualified id, such as `s2:B8A`."""
        return f"{self.sensor}:{self.name}"


# Canonical order is the order of these tables. Sentinel-2: ESA, centre wavelengths and bandwidths of Sentinel-2A.
SENSORS: dict[str, tuple[Band, ...]] = {
    "s2": (
        Band("s2", "B01", 60.0, 442.7, 21.0),
        Band("s2", "B02", 10.0, 492.4, 66.0),
        Band("s2", "B03", 10.0, 559.8, 36.0),
        Band("s2", "B04", 10.0, 664.6, 31.0),
        Band("s2", "B05", 20.0, 704.1, 15.0),
        Band("s2", "B06", 20.0, 740.5, 15.0),
        Band("s2", "B07", 20.0, 782.8, 20.0),
        Band("s2", "B08", 10.0, 832.8, 106.0),
        Band("s2", "B8A", 20.0, 864.7, 21.0),
        Band("s2", "B09", 60.0, 945.1, 20.0),
        Band("s2", "B10", 60.0, 1373.5, 31.0),
        Band("s2", "B11", 20.0, 1613.7, 91.0),
        Band("s2", "B12", 20.0, 2202.4, 175.0),
    ),
    "s1": (Band("s1", "VV", 10.0, 5.5465763e7), Band("s1", "VH", 10.0, 5.5465763e7)),
    # Images whose camera nobody states. Nominal: red and blue as WorldView-2 has them (630 to 690, 450 to 510 nm;
    # DigitalGlobe, "The benefits of the eight spectral bands of WorldView-2"), green of its width (510 to 580 nm there)
    # about 560 nm, the colour's usual centre.
    "rgb": (
        Band("rgb", "R", 0.3, 660.0, 60.0),
        Band("rgb", "G", 0.3, 560.0, 70.0),
        Band("rgb", "B", 0.3, 480.0, 60.0),
    ),
    # Not a sensor: class ids (`Unit.CLASS`) that come along as a layer, beside labels of another kind.
    "map": (Band("map", "CLC", 10.0, 0.0),),
}
S2_L1C = tuple(band.name for band in SENSORS["s2"])
S2_L2A = tuple(name for name in S2_L1C if name != "B10")
S1 = ("VV", "VH")
# Common names of the STAC extension EO (v1.1.0, table "Common Band Names"), which files describe their bands with, too.
COMMON_NAMES: dict[str, dict[str, str]] = {
    "s2": {
        "coastal": "B01", "blue": "B02", "green": "B03", "red": "B04", "rededge071": "B05", "rededge075": "B06",
        "rededge078": "B07", "nir": "B08", "nir08": "B8A", "nir09": "B09", "cirrus": "B10", "swir16": "B11",
        "swir22": "B12",
    },
    "rgb": {"red": "R", "green": "G", "blue": "B"},
}  # fmt: skip


def band(sensor: str, name: str) -> Band:
    """Look one band up.

    Raises:
        BandError: If the sensor or the band is unknown; names the nearest known one.

    Example:
        >>> band("s2", "B8A").gsd_m
        20.0
    """
    if sensor not in SENSORS:
        raise BandError(f"no sensor {sensor!r}", fix=f"Known sensors: {', '.join(SENSORS)}.")
    for known in SENSORS[sensor]:
        if known.name == name:
            return known
    names = [known.name for known in SENSORS[sensor]]
    near = get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    raise BandError(f"{sensor} has no band {name!r}", fix=f"{hint}Its bands: {', '.join(names)}.")


def canonical(sensor: str, names: Sequence[str]) -> tuple[str, ...]:
    """Sort band names into the sensor's canonical order (B8A after B08, VV before VH).

    Raises:
        BandError: If a name is unknown or stands twice.
    """
    order = {known.name: position for position, known in enumerate(SENSORS.get(sensor, ()))}
    for name in names:
        band(sensor, name)
    if len(set(names)) != len(names):
        raise BandError(f"a band stands twice in {list(names)}", where=sensor)
    return tuple(sorted(names, key=order.__getitem__))


def is_optical(sensor: str) -> bool:
    """Whether a sensor sees sunlight that the ground reflects: all its bands are between 300 and 3000 nm.

    Example:
        >>> [name for name in SENSORS if is_optical(name)]
        ['s2', 'rgb']
    """
    return all(300 <= one.wavelength_nm <= 3000 for one in SENSORS.get(sensor, ())) and sensor in SENSORS


def positions(have: Sequence[str], want: Sequence[str], where: str = "") -> list[int]:
    """Index of each wanted band in `have`: the one way in which bands are selected, by name.

    Raises:
        BandError: If a wanted band is missing, or `have` names a band twice.

    Example:
        >>> positions(["B02", "B04", "B8A"], ["B8A", "B02"])
        [2, 0]
    """
    if len(set(have)) != len(have):
        raise BandError(f"a band stands twice in {list(have)}", where)
    missing = [name for name in want if name not in have]
    if missing:
        raise BandError(f"needs {', '.join(missing)}, there is {', '.join(have)}", where)
    return [list(have).index(name) for name in want]
