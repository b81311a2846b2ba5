"""One layer from its files: sensor, bands, unit, nodata, grid, each with the reason; `FILL-IN` where none is known."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.warp import transform as warp_points

from seamo.bands import SENSORS, Unit, canonical
from seamo.earth import nearest_km
from seamo.errors import ArchiveError
from seamo.rasterfacts import GDAL_ERRORS, band_said, bind_bands, gdal_settings
from seamo_prep.initial.peek import Peek
from seamo_prep.initial.text import FILL_IN, Reasoned, flow
from seamo_prep.initial.values import LIMITS, guess_fill, guess_unit, seen, values_of

_DEGREE_M = 111_320.0  # metres of a degree of latitude
_ROUND = (10.0, 20.0, 60.0, 30.0)  # grids that a file of nearly that spacing lies on
_ALIKE = 0.02  # part of it by which a spacing may differ from such a grid
_FAR = 0.05  # part of it by which a system's metre may differ from one on the ground
_WHOLE = ("uint8", "uint16", "int16")
_S2_NAME = re.compile(r"(?i)(?<![a-z0-9])(s2[abc]?|sentinel[-_ ]?2[abc]?)(?![a-z0-9])")
_ONLY_S2 = {"B8A", "B12"}  # ids that no other widespread sensor has (Landsat 8: B1 to B11)
_FOREIGN = "Landsat and others use the same names"


@dataclass(frozen=True, slots=True)
class LayerGuess:
    """What a layer's entry says.

    Args:
        id: Of the layer.
        stack: Of its layers.
        said: Field of the YAML -> value with its reason, in their order.
        relax: Words that `build --relax` needs for these files.
        notes: What else a person should know.
    """

    id: str
    stack: str
    said: Mapping[str, Reasoned]
    relax: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Bands:
    """Sensor and bands as they are written, and the names that both stand for (empty where they are not known)."""

    sensor: Reasoned
    listed: Reasoned
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hint:
    """What is known of a layer before its files are looked at.

    Args:
        sensor, product: By the name of its folder; empty if it says nothing.
        bands: In the order of the files, where the layout documents it; empty if not.
        why: Where that is said.
    """

    sensor: str = ""
    product: str = ""
    bands: tuple[str, ...] = ()
    why: str = ""


def guess_layer(
    part: str, stack: str, peeks: Sequence[Peek], hint: Hint, *, of_stack: Sequence[Peek], times: int, need_fill: bool
) -> LayerGuess:
    """The entry of one layer.

    Args:
        part: Its id.
        stack: Of its stack.
        peeks: Of its files, at least one.
        hint: What is known already.
        of_stack: All files of the stack, which has one unit.
        times: Dates of a sample, at most.
        need_fill: Whether dates are missing in some samples.

    Raises:
        ArchiveError: If its files have nothing in common that a layer could say.
    """
    _check_alike(peeks)
    notes: list[str] = []
    relax: set[str] = set()
    gsd, gsd_m = _gsd(peeks)
    bands = _bands(peeks, hint, gsd_m)
    if bands.names and not _bind(peeks, bands.names, bands.sensor.text):
        relax.add("names")
        notes.append("descriptions that name no band are passed over with --relax names")
    dtype, is_other = _dtype(peeks)
    relax |= {"dtype"} if is_other else set()
    values = values_of(of_stack)
    if not bands.names:
        unit = Reasoned(FILL_IN, f"known with the bands; {seen(values)}. Units: {', '.join(Unit)}", is_open=True)
    else:
        unit = guess_unit(bands.sensor.text, dtype.text, values, of_stack)
    said = {
        "sensor": bands.sensor,
        **({"product": Reasoned(hint.product, f"guess: {hint.why}")} if hint.product else {}),
        "bands": bands.listed,
        "gsd_m": gsd,
        "dtype": dtype,
        "unit": unit,
        "fill": guess_fill(dtype.text, peeks, need_fill=need_fill),
        "size": _size(peeks),
        **({"times": Reasoned(str(times), "dates of a sample, at most")} if times > 1 else {}),
    }
    if any(one.facts.grid.transform is None and (one.facts.num_gcps or one.facts.has_rpcs) for one in peeks):
        notes.append("files are placed by control points or polynomials alone: warp them, or build with --relax grid")
    return LayerGuess(part, stack, said, frozenset(relax), tuple(notes))


def _check_alike(peeks: Sequence[Peek]) -> None:
    """Refuse files of different products."""
    counts = Counter(len(one.facts.measured) for one in peeks)
    if len(counts) > 1:
        told = [f"{count} have {bands}, such as {_first(peeks, bands)}" for bands, count in sorted(counts.items())]
        raise ArchiveError(
            f"the images differ in the number of bands: {'; '.join(told)}", "",
            "Put one kind into a folder of its own, or name parts by folders (s1/, s2/, masks/).",
        )  # fmt: skip
    for one in peeks:
        for number in one.facts.measured:
            if one.facts.dtypes[number].startswith("complex"):
                raise ArchiveError(
                    f"holds complex values ({one.facts.dtypes[number]})",
                    one.path,
                    "Compute decibels of the intensity first.",
                )
            if one.facts.colours[number] == "palette":
                raise ArchiveError(
                    "holds indices into a colour table, which are no measurement", one.path,
                    "A mask belongs into a folder masks/; a picture is written as bands by gdal_translate -expand rgb.",
                )  # fmt: skip


def _first(peeks: Sequence[Peek], bands: int) -> str:
    return next(one.path for one in peeks if len(one.facts.measured) == bands)


def _bands(peeks: Sequence[Peek], hint: Hint, gsd_m: float) -> _Bands:
    described = [tuple(one.facts.descriptions[number] for number in one.facts.measured) for one in peeks]
    count = len(described[0])
    texts = ", ".join(one or "-" for one in described[0])
    says = f"the files describe their bands: {texts}"
    s1, s2, rgb = (_named(described, sensor) for sensor in ("s1", "s2", "rgb"))
    is_s2 = hint.sensor == "s2" or _is_s2(peeks)
    if s1:
        return _known("s1", s1, says, count)
    if set(s2) & _ids(described):
        if is_s2 or _ONLY_S2 & set(s2):
            return _known("s2", s2, says, count)
        if _near(gsd_m, (10.0, 20.0, 60.0)):
            return _known(
                "s2", s2, f"guess: {says}; on a grid of {gsd_m:g} m they are Sentinel-2's ({_FOREIGN})", count
            )
        return _unknown(
            f"{says}: Sentinel-2's, or another sensor's ({_FOREIGN}), for the grid is not Sentinel-2's", count
        )
    is_deep = all(one.facts.dtypes[0] != "uint8" for one in peeks)
    if s2 and (is_s2 or (_near(gsd_m, (10.0, 20.0)) and is_deep)):
        return _known("s2", s2, f"guess: {says}; on Sentinel-2's grid, or by its name", count)
    if set(rgb) == {"R", "G", "B"}:
        return _known("rgb", ("R", "G", "B"), f"guess: {says}", count)
    if hint.bands and len(hint.bands) == count:
        reason = f"guess: {hint.why}"
        return _Bands(Reasoned(hint.sensor, reason), Reasoned(flow(hint.bands), reason), hint.bands)
    colours = {tuple(one.facts.colours[number] for number in one.facts.measured) for one in peeks}
    if colours == {("red", "green", "blue")} and hint.sensor in ("", "rgb"):
        reason = "guess: the files call their bands red, green and blue"
        return _Bands(Reasoned("rgb", reason), Reasoned("[R, G, B]", reason), ("R", "G", "B"))
    silent = [one.path for one, texts in zip(peeks, described, strict=True) if not any(texts)]
    is_silent = len(silent) == len(peeks)
    if silent and not is_silent:
        return _unknown(f"some files describe their bands, others do not ({silent[0]})", count, hint.sensor)
    return _unknown(
        "no file describes its bands" if is_silent else f"{says}, which are no sensor's", count, hint.sensor
    )


def _known(sensor: str, names: Sequence[str], why: str, count: int) -> _Bands:
    """Bands that the files describe."""
    rest = count - len(names)
    more = f"; {rest} of {count} bands are none of {sensor} and are left out" if rest else ""
    order = "bound by name, in whatever order each file has them"
    return _Bands(Reasoned(sensor, why + more), Reasoned(flow(names), order), tuple(names))


def _unknown(what: str, count: int, sensor: str = "") -> _Bands:
    sensors = [name for name in SENSORS if name != "map"]
    known = "; ".join(f"{name}: {', '.join(one.name for one in SENSORS[name])}" for name in sensors)
    trap = " B8A stands behind B08 in some files and last in others (EuroSAT), which cannot be seen."
    order = (
        f"{what}: the {count} bands, [...], in the order of the files.{trap * (count in (12, 13))} Known are {known}"
    )
    of_folder = Reasoned(sensor, "guess: the name of the folder")
    open_ = Reasoned(FILL_IN, f"{what}. One of {', '.join(sensors)}", is_open=True)
    return _Bands(of_folder if sensor else open_, Reasoned(FILL_IN, order, is_open=True))


def _named(described: Sequence[tuple[str, ...]], sensor: str) -> tuple[str, ...]:
    """Bands of a sensor that every file names, each once, in the sensor's order."""
    common: set[str] = set()
    for number, texts in enumerate(described):
        found = [name for text in texts if (name := band_said(text, [sensor]))]
        if len(set(found)) != len(found):
            return ()
        common = set(found) if number == 0 else common & set(found)
    return canonical(sensor, sorted(common))


def _ids(described: Sequence[tuple[str, ...]]) -> set[str]:
    """Bands that are called by their ids, not by common names."""
    return {name for texts in described for text in texts if (name := band_said(text, ["s2", "s1"]))}


def _is_s2(peeks: Sequence[Peek]) -> bool:
    """Whether a file is called by Sentinel-2's name."""
    return any(_S2_NAME.search(one.path) for one in peeks)


def _bind(peeks: Sequence[Peek], names: Sequence[str], sensor: str) -> bool:
    """Whether the archive `folder` finds the bands in every file without `--relax names`.

    Raises:
        ArchiveError: If it does not with it, either.
    """
    is_plain = True
    for one in peeks:
        try:
            bind_bands(one.facts, names, sensor, one.path, any_text=False, error=ArchiveError)
        except ArchiveError:
            is_plain = False
            bind_bands(one.facts, names, sensor, one.path, any_text=True, error=ArchiveError)
    return is_plain


def _near(gsd_m: float, grids: Sequence[float]) -> bool:
    """Whether a spacing is one of some, to a twentieth."""
    return any(abs(gsd_m - one) <= 0.05 * one for one in grids)


def _gsd(peeks: Sequence[Peek]) -> tuple[Reasoned, float]:
    found = []
    for one in peeks:
        grid = one.facts.grid
        if grid.transform is not None and grid.crs:
            found.append(_spacing(grid.crs, grid.transform, grid.height))
    if not found:
        return Reasoned(FILL_IN, "no file says where it lies: metres from one pixel to the next", is_open=True), 0.0
    middle = float(np.median(found))
    spread = (
        ""
        if max(found) - min(found) <= _ALIKE * middle
        else f"; files differ, from {min(found):.4g} to {max(found):.4g}"
    )
    near = next((one for one in _ROUND if abs(one - middle) <= _ALIKE * one), float(f"{middle:.3g}"))
    systems = len({one.facts.grid.crs for one in peeks})
    return Reasoned(
        f"{near:g}", f"the files' grids: {middle:.5g} m, {systems} coordinate system{'s' * (systems != 1)}{spread}"
    ), near


def _spacing(crs: str, transform: Sequence[float], rows: int) -> float:
    """Metres from one row of pixels to the next: by the system's unit, or on the ground where that is far from it.

    A metre of the web's Mercator is half of one on the ground at 60 degrees.
    """
    _, b, c, _, e, f = transform
    plain = float(np.hypot(b, e)) * _metres(crs)
    try:
        with gdal_settings():
            x, y = warp_points(crs, "EPSG:4326", [c, c + b * rows], [f, f + e * rows])
    except (*GDAL_ERRORS, CRSError):
        return plain
    km = float(nearest_km(np.array([[x[0], y[0]]]), np.array([[x[1], y[1]]]))[0])
    ground = 1000 * km / max(rows, 1)
    return plain if abs(ground - plain) <= _FAR * plain else ground


def _metres(crs: str) -> float:
    """Metres of one unit of a coordinate system, from north to south."""
    system = CRS.from_user_input(crs)
    return _DEGREE_M if system.is_geographic else float(system.linear_units_factor[1])


def _size(peeks: Sequence[Peek]) -> Reasoned:
    sizes = Counter((one.facts.grid.height, one.facts.grid.width) for one in peeks)
    if len(sizes) == 1:
        (height, width), _ = sizes.most_common(1)[0]
        return Reasoned(f"[{height}, {width}]", "rows and columns of all files that were looked at")
    told = ", ".join(f"{h} x {w}" for (h, w), _ in sizes.most_common(3))
    return Reasoned(
        "null", f"sizes differ ({len(sizes)}: {told}{', ...' * (len(sizes) > 3)}): every image keeps its own"
    )


def _dtype(peeks: Sequence[Peek]) -> tuple[Reasoned, bool]:
    """The type of the layer, and whether `--relax dtype` is needed."""
    found = sorted({one.facts.dtypes[number] for one in peeks for number in one.facts.measured})
    if len(found) == 1 and found[0] in (*_WHOLE, "float32"):
        return Reasoned(found[0], "the files' own"), False
    told = f"the files have {', '.join(found)}"
    if any(one.startswith("float") for one in found):
        return Reasoned("float32", f"{told}; --relax dtype takes what loses no size"), True
    flat = values_of(peeks)
    low, high = (float(flat.min()), float(flat.max())) if flat.size else (0.0, 0.0)
    for name, (least, most) in LIMITS.items():
        if least <= low and high <= most and (name != "uint8" or found == ["uint8"]):
            return Reasoned(name, f"guess: {told}, the values seen fit; --relax dtype refuses others"), True
    return Reasoned("float32", f"guess: {told}; --relax dtype refuses values that would change"), True
