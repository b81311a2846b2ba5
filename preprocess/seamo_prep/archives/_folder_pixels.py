"""GeoTIFFs and masks of one's own imagery, held against what the YAML says of them (see `folder`)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seamo.bands import Unit
from seamo.errors import ArchiveError
from seamo.manifest import DatasetSpec, LabelSpace, LayerSpec
from seamo.rasterfacts import PixelGrid, bind_bands, check_placed, check_readable, grids_apart
from seamo.sample import IGNORE, Array
from seamo_prep.rasters import Raster, check_pixels, read_own
from seamo_prep.unpack import Raw


@dataclass(frozen=True, slots=True)
class PlacedFile:
    """Where one file of a sample lies.

    Args:
        file: Its name.
        what: `image`, or `mask`.
        gsd_m: Of its layer; masks are drawn on the finest.
        grid: As the file says.
    """

    file: str
    what: str
    gsd_m: float
    grid: PixelGrid


def read_layer(raw: Raw, files: Sequence[str], layer: LayerSpec) -> tuple[Array, list[PlacedFile]]:
    """The dates of one layer of one sample.

    Args:
        raw: Where the files are.
        files: One a date that is there, in order of time.
        layer: What they must be.

    Returns:
        (T, C, H, W) in the layer's dtype, what is missing as its fill, absent dates last; and where each file lies.

    Raises:
        ArchiveError: If a file is not what the layer says, or what it says of itself contradicts the layer.
    """
    found, placed = [], []
    for file in files:
        raster = read_own(raw, file)
        _check_has_grid(raw, file, raster)
        found.append(_layer_pixels(raw, file, raster, layer))
        placed.append(PlacedFile(file, "image", layer.gsd_m, raster.facts.grid))
    if len({pixels.shape for pixels in found}) != 1:
        raise ArchiveError(f"dates of {layer.id} differ in size", raw.where(files[0]))
    dates = np.empty((layer.times, *found[0].shape), dtype=layer.dtype)
    dates[: len(found)] = found
    if len(found) < layer.times:
        if layer.fill_value is None:
            raise ArchiveError(f"layer {layer.id} has no fill value for a date that is not there", raw.where(files[0]))
        dates[len(found) :] = layer.fill_value
    return dates, placed


def read_mask(
    raw: Raw, file: str, spec: DatasetSpec, placed: Sequence[PlacedFile]
) -> tuple[NDArray[np.uint8], PlacedFile]:
    """A mask of class ids, (H, W) uint8; what the file says is missing is ignored.

    Args:
        raw: Where the file is.
        file: One band of whole numbers; a colour table is fine, for its indices are the classes.
        spec: The data set.
        placed: The sample's images, finest first.

    Raises:
        ArchiveError: If it is no such mask, or holds a value that is no class.
    """
    raster, where, space = read_own(raw, file), raw.where(file), spec.label_space()
    _check_has_grid(raw, file, raster)
    facts = raster.facts
    if len(facts.measured) != 1:
        fix = "A mask holds class ids in one band; a picture of a mask must be drawn back to ids."
        raise ArchiveError(f"the mask has {len(facts.measured)} bands instead of 1", where, fix)
    check_readable(facts, Unit.CLASS, where, bands=facts.measured, error=ArchiveError)
    band = facts.measured[0]
    ids = raster.pixels[band]
    if ids.dtype.kind not in "ui":
        raise ArchiveError(f"the mask is {ids.dtype} instead of whole numbers", where, "Write it as uint8.")
    finest = min(spec.layers, key=lambda one: one.gsd_m)
    leads = next((one for one in placed if one.gsd_m == finest.gsd_m), None)
    size = finest.size if leads is None else (leads.grid.height, leads.grid.width)
    if size is not None and ids.shape != size:
        what = f"the mask has {ids.shape[0]} x {ids.shape[1]} pixels, the image {size[0]} x {size[1]}"
        raise ArchiveError(what, where, "Draw it on the image's grid.")
    missing = raster.missing()[band]
    return _class_ids(ids, missing, space, where, nodata=facts.nodata[band]), PlacedFile(
        file, "mask", finest.gsd_m, facts.grid
    )


def check_one_ground(raw: Raw, placed: Sequence[PlacedFile]) -> None:
    """Refuse a sample whose files do not cover the same ground, or of which only some say where they lie.

    Args:
        raw: Says whether that is relaxed.
        placed: Its files, the leading one first.

    Raises:
        ArchiveError: With the first file that lies elsewhere.
    """
    for other in placed[1:] if "grid" not in raw.relax else ():
        if grids_apart(placed[0].grid, other.grid):
            raise ArchiveError(
                f"the {other.what} does not lie on the grid of {placed[0].file}: {other.grid} "
                f"instead of {placed[0].grid}",
                raw.where(other.file),
                "Warp it onto that grid; files that lie together in truth are taken with --relax grid.",
            )


def _check_has_grid(raw: Raw, file: str, raster: Raster) -> None:
    if "grid" not in raw.relax:
        fix = "Without a place it is taken with --relax grid."
        check_placed(raster.facts, raw.where(file), fix=fix, error=ArchiveError)


def _layer_pixels(raw: Raw, file: str, raster: Raster, layer: LayerSpec) -> Array:
    """(C, H, W) in the layer's dtype, bands in its order, what is missing as its fill."""
    facts, where = raster.facts, raw.where(file)
    numbers = bind_bands(facts, layer.bands, layer.sensor, where, any_text="names" in raw.relax, error=ArchiveError)
    check_readable(facts, layer.unit, where, bands=numbers, error=ArchiveError)
    missing = raster.missing()[numbers]
    measured = raster.pixels[numbers]
    measured[missing] = 0  # whatever stands there need not fit the layer's type
    pixels = check_pixels(raw, file, measured, layer, bands=len(layer.bands))
    fill = layer.fill_value
    if fill is None:
        if missing.any():
            raise ArchiveError(
                f"{int(missing.sum())} values are missing by what the file says ({_how(raster)}), "
                f"and layer {layer.id} has no fill",
                where,
                "Give the layer a `fill` that no pixel has.",
            )
        return pixels
    if not np.isnan(fill) and not np.array_equal(np.asarray(fill).astype(pixels.dtype), fill):
        raise ArchiveError(f"fill {fill} of layer {layer.id} is no {layer.dtype}", where, "Give it another `fill`.")
    clash = (pixels == fill) & ~missing
    if facts.tells_missing and clash.any():
        raise ArchiveError(
            f"{int(clash.sum())} measured values equal the fill {fill} of layer {layer.id}, "
            f"while the file says what is missing ({_how(raster)})",
            where,
            "Give the layer a `fill` that no pixel has.",
        )
    pixels[missing] = fill
    if layer.is_float and pixels.dtype.kind == raster.pixels.dtype.kind:
        # Left as it is for the writer, which stores it as missing too, and counts it.
        infinite = raster.infinite()[numbers]
        pixels[infinite] = raster.pixels[numbers][infinite]
    return pixels


def _how(raster: Raster) -> str:
    """How a file says that pixels are missing."""
    facts = raster.facts
    values = sorted({f"{one:g}" for one in facts.nodata if one is not None})
    ways = [f"nodata {', '.join(values)}"] if values else []
    ways += ["a mask"] if facts.has_mask else []
    ways += ["alpha"] if facts.alpha else []
    return " and ".join(ways) or "not finite"


def _class_ids(
    ids: Array, missing: NDArray[np.bool_], space: LabelSpace, where: str, *, nodata: float | None
) -> NDArray[np.uint8]:
    remap = space.raw or {number: number for number in (*range(len(space.classes)), IGNORE)}
    values = set(np.unique(ids[~missing]).tolist())
    unknown = sorted(values - set(remap))
    if unknown:
        raise ArchiveError(f"mask holds {unknown[0]}, which is no class", where, f"Known: {sorted(remap)}.")
    if nodata in remap and remap[int(nodata)] != IGNORE and (ids == nodata).any():
        raise ArchiveError(
            f"the mask says that {nodata:g} is no data, and {nodata:g} is class {space.names[remap[int(nodata)]]}",
            where,
            "Take nodata out of the file, or map the value to 255 (ignore) under `raw` of the label space.",
        )
    # The masks of most programs: 255 is the class of interest there, and would count nowhere here.
    if not space.raw and IGNORE in values <= {0, IGNORE} and len(space.classes) <= 2:
        last = space.names[-1]
        raise ArchiveError(
            f"the mask holds {' and '.join(map(str, sorted(values)))} alone, and 255 means ignore: no pixel is {last}",
            where,
            f"Say what 255 is: `raw: {{0: 0, 255: {len(space.classes) - 1}}}` makes it {last}, "
            f"`raw: {{{', '.join(f'{n}: {n}' for n in range(len(space.classes)))}, 255: 255}}` keeps it ignored.",
        )
    out = np.full(ids.shape, IGNORE, dtype=np.uint8)
    for value, number in remap.items():
        out[(ids == value) & ~missing] = number
    return out
