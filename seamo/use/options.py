"""What command lines say about images and outputs: `B02,B03`, `dn`, `s1=db`, a number, `map.tif`. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from seamo.bands import Unit
from seamo.disk import remove
from seamo.errors import UsageError

MAPS, TABLES = (".tif", ".tiff", ".zarr"), (".parquet", ".npz")  # how features are written: of an image, of a store


@dataclass(frozen=True, slots=True)
class Image:
    """One image of one sensor, as a command line says it.

    Args:
        path: A GeoTIFF, or another raster that GDAL reads.
        unit: What its numbers mean.
        sensor: Empty: the one that its bands belong to.
        bands: Names of its bands in order, `-` for one not to use; empty: its band descriptions.
        nodata: Value that is no measurement, beside what the raster itself declares.
    """

    path: Path
    unit: Unit
    sensor: str = ""
    bands: tuple[str, ...] = ()
    nodata: float | None = None


def parse_images(
    first: Path,
    others: Sequence[str],
    *,
    sensor: str = "",
    units: Sequence[str],
    bands: Sequence[str] = (),
    nodata: Sequence[str] = (),
) -> list[Image]:
    """The first image, and those of other sensors.

    Args:
        first: Its path.
        others: `sensor=path`.
        sensor: Of the first image; empty: the one that its bands belong to.
        units: `value` of the first image, `sensor=value` of the others.
        bands: As `units`.
        nodata: As `units`.

    Raises:
        UsageError: If a text is not understood, or for no image, or a sensor has two.
    """
    paths = {"": first}
    for text in others:
        other, image = pair_of(text, "--with", "sensor=image")
        if other in paths or other == sensor:
            raise UsageError(f"two images of {other}", "--with", "Every date is by itself.")
        paths[other] = Path(image)
    unit_by, bands_by, nodata_by = (
        by_image(texts, option, paths)
        for texts, option in ((units, "--unit"), (bands, "--bands"), (nodata, "--nodata"))
    )
    return [
        Image(
            path,
            unit_of(unit_by.get(name, ""), name),
            name or sensor,
            tuple(bands_by[name].split(",")) if name in bands_by else (),
            number_of(nodata_by[name], "--nodata") if name in nodata_by else None,
        )
        for name, path in paths.items()
    ]


def by_image(texts: Sequence[str], option: str, images: Mapping[str, Path]) -> dict[str, str]:
    """Sensor of `--with` -> value; the first image's under an empty name.

    Args:
        texts: `value`, or `sensor=value`.
        option: As it was given, for messages.
        images: Sensor -> image.

    Raises:
        UsageError: If a text is for no image, or the second for one.
    """
    found: dict[str, str] = {}
    for text in texts:
        sensor, value = pair_of(text, option, "sensor=value") if "=" in text else ("", text)
        if sensor not in images:
            fix = f"Give --with {sensor}=IMAGE; what is the first image's has no name before it."
            raise UsageError(f"{text!r} is for no image", option, fix)
        if sensor in found:
            raise UsageError(f"{text!r} is the second for one image", option, "Give it once.")
        found[sensor] = value
    return found


def unit_of(text: str, sensor: str = "") -> Unit:
    """A unit by its name.

    Raises:
        UsageError: If there is none of that name, or none is given.
    """
    if text not in [one.value for one in Unit]:
        known = ", ".join(one.value for one in Unit if one != Unit.CLASS)
        stated = f"--unit {sensor}=..." if sensor else "--unit"
        raise UsageError(f"{text!r} is no unit" if text else "the unit is not stated", stated, f"Units: {known}.")
    return Unit(text)


def number_of(text: str, option: str) -> float:
    """A number.

    Raises:
        UsageError: If it is none.
    """
    try:
        return float(text)
    except ValueError as error:
        raise UsageError(f"{text!r} is no number", option) from error


def pair_of(text: str, option: str, form: str) -> tuple[str, str]:
    """Name and value of `name=value`.

    Raises:
        UsageError: If it is not of that form.
    """
    sensor, _, value = text.partition("=")
    if not sensor or not value:
        raise UsageError(f"{text!r} is not {form}", option, f"For example {option} s1=...")
    return sensor, value


def check_map(out: Path) -> None:
    """Refuse an output that is no map.

    Raises:
        UsageError: If the name ends in something else than .tif, .tiff or .zarr.
    """
    if out.suffix.lower() not in MAPS:
        raise UsageError("is neither .tif nor .zarr", str(out), "Features of an image are a map: name one of them.")


def check_table(out: Path) -> None:
    """Refuse an output that is no table.

    Raises:
        UsageError: If the name ends in something else than .parquet or .npz.
    """
    if out.suffix not in TABLES:
        raise UsageError("is neither .parquet nor .npz", str(out), "Features of a store are a table: name one of them.")


def parts_beside(out: Path) -> list[Path]:
    """Folders in which parts of an output are, or were, kept until it is whole."""
    start = f".{out.name}."
    names = (path.name for path in out.parent.iterdir()) if out.parent.is_dir() else ()
    return sorted(out.with_name(name) for name in names if name.startswith(start) and name.endswith(".parts"))


def check_new(out: Path) -> None:
    """Refuse an output that exists, or whose folder does not; a process killed at its very end left its parts: sweep.

    Raises:
        UsageError: If so.
    """
    if out.exists():
        for left in parts_beside(out):
            remove(left)
        raise UsageError("exists already", str(out), "Choose another -o, or remove it.")
    if not out.parent.is_dir():
        raise UsageError("there is no such folder", str(out.parent), "Make it first.")
