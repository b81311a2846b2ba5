"""One's own imagery: GeoTIFFs, `samples.csv` and `seamo.yaml` in one folder.

`seamo.yaml` has the form of `data_manifest.yaml`, with one entry. `samples.csv` has one row a sample:

    key                       parts of [A-Za-z0-9_-] joined by '/'
    <layer>                   path of the layer's GeoTIFF in the folder, bands in the order of the YAML
    <layer>.0, <layer>.1 ...  the same, where the layer has several dates
    <stack>.date[.0 ...]      date of each, ISO 8601, UTC; optional
    label                     class name; for multi-label names joined by '|'; for segmentation a path of a mask
    split, scene, country     optional; name the scheme of `split` in the YAML with `in_archive: true`

An empty cell is a date, or a layer, that is not there. Pixels that equal the layer's `fill` are missing.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from seamo.errors import ArchiveError, ManifestError
from seamo.manifest import DatasetSpec, LayerSpec, load_manifest
from seamo.sample import IGNORE, Array, GeoRef, Label, Sample
from seamo.testing.world import World
from seamo_prep.rasters import check_pixels, read_tiff
from seamo_prep.tiff import write_tiff
from seamo_prep.unpack import Raw, declare_synthetic

TABLE = "samples.csv"
SPEC = "seamo.yaml"
_ABOUT = ("split", "scene", "country")  # what the index says of a sample beside its files


def load_spec(root: Path) -> DatasetSpec:
    """The spec beside one's own imagery.

    Args:
        root: The folder with `seamo.yaml`.

    Raises:
        ManifestError: If the file is not there, is wrong, or holds another number of entries than one.
    """
    specs = load_manifest(root / SPEC)
    if len(specs) != 1:
        raise ManifestError(f"holds {len(specs)} entries instead of one", str(root / SPEC))
    return next(iter(specs.values()))


def index(raw: Raw, spec: DatasetSpec) -> pd.DataFrame:
    """See `seamo_prep.archives.Archive`."""
    if not raw.exists(TABLE):
        raise raw.missing(TABLE)
    table = list(csv.DictReader(io.StringIO(raw.read(TABLE).decode("utf-8-sig"), newline="")))
    where = raw.where(TABLE)
    if not table:
        raise ArchiveError("has no rows", where)
    _check_columns(list(table[0]), spec, where)
    keys = [row["key"] for row in table]
    if len(set(keys)) != len(keys):
        raise ArchiveError(f"key {next(key for key in keys if keys.count(key) > 1)!r} stands twice", where)
    files = [column for column in table[0] if column not in ("key", *_ABOUT)]
    frame = pd.DataFrame({"key": keys} | {f"_{column}": [row[column] or "" for row in table] for column in files})
    for column in _ABOUT:
        if column in table[0]:
            frame[column] = [row[column] or "" for row in table]
    frame = frame.sort_values("key", ignore_index=True)
    frame.attrs["ledger"] = []
    return frame


def read(raw: Raw, rows: pd.DataFrame, spec: DatasetSpec) -> Iterator[Sample]:
    """See `seamo_prep.archives.Archive`."""
    for row in rows.to_dict("records"):
        cells = {str(name): str(value) for name, value in row.items()}
        layers: dict[str, Array] = {}
        time: dict[str, NDArray[np.datetime64]] = {}
        geo: GeoRef | None = None
        finest = min(layer.gsd_m for layer in spec.layers)
        for stack in spec.stacks:
            order, dates = _dates(raw, cells, stack, spec)
            if order and dates is not None:
                time[stack] = dates
            for layer in spec.stack_layers(stack) if order else ():
                files = [cells[f"_{_cell(layer.id, slot, layer.times)}"] for slot in order]
                layers[layer.id], place = _pixels(raw, files, layer)
                geo = place if geo is None and layer.gsd_m == finest else geo
        label = _label(raw, cells.get("_label", ""), spec)
        yield Sample(key=cells["key"], layers=layers, time=time, geo=geo, label=label, scene=cells.get("scene", ""))


def demo(raw: Path, world: World, size: str) -> None:
    """See `seamo_prep.archives.Archive`."""
    entry = {
        "title": "Own imagery (synthetic)",
        "summary": "a synthetic example of one's own GeoTIFFs",
        "licence": "CC0-1.0",
        "citation": "none",
        "layers": [
            {"id": "s2", "stack": "s2", "sensor": "s2", "product": "L2A", "bands": ["B02", "B03", "B04", "B08"],
             "gsd_m": 10, "dtype": "uint16", "unit": "dn", "fill": 65535, "size": [48, 48], "times": 2},
        ],
        "task": {"kind": "single-label", "label_space": "cover"},
        "label_spaces": {"cover": {"classes": [{"name": "forest"}, {"name": "water"}]}},
        "splits": {"own": {"in_archive": True}},
        "default_split": "own",
    }  # fmt: skip
    raw.mkdir(parents=True, exist_ok=True)
    (raw / SPEC).write_text(yaml.safe_dump({"datasets": {"own-imagery": entry}}, sort_keys=False), encoding="utf-8")
    lines = ["key,s2.0,s2.1,s2.date.0,s2.date.1,label,split,scene"]
    for number in range({"tiny": 6, "small": 60}[size]):
        label, cover = (("forest", "coniferous-forest"), ("water", "sea"))[number % 2]
        scene = world.scene(f"own/{number}", 48, focus=cover)
        dates = ("2021-08-02T10:00:00", "2021-03-04T10:00:00")
        for slot, date in enumerate(dates):
            bands = scene.s2(np.datetime64(date), "L2A", clouds=False)
            pixels = np.stack([bands[band] for band in ("B02", "B03", "B04", "B08")])
            write_tiff(raw / f"{number}_{slot}.tif", pixels, epsg=scene.epsg, transform=scene.transform)
        split = ("train", "train", "train", "val", "test", "test")[number % 6]
        lines.append(
            f"place/{number},{number}_0.tif,{number}_1.tif,{dates[0]},{dates[1]},{label},{split},place-{number}"
        )
    (raw / TABLE).write_text("\n".join(lines) + "\n", encoding="utf-8")
    declare_synthetic(raw, what=f"synthetic example of one's own imagery ({size}); nothing in it was measured")


def _cell(name: str, slot: int, times: int) -> str:
    return name if times == 1 else f"{name}.{slot}"


def _check_columns(columns: Sequence[str], spec: DatasetSpec, where: str) -> None:
    needed = [_cell(layer.id, slot, layer.times) for layer in spec.layers for slot in range(layer.times)]
    optional = ["label", *_ABOUT]
    optional += [
        _cell(f"{one}.date", slot, spec.num_times(one)) for one in spec.stacks for slot in range(spec.num_times(one))
    ]
    missing = [name for name in ("key", *needed) if name not in columns]
    if missing:
        raise ArchiveError(f"has no column {missing[0]!r}", where, f"Needed: {', '.join(('key', *needed))}.")
    for name in columns:
        if name not in ("key", *needed, *optional):
            near = get_close_matches(name, (*needed, *optional), n=1)
            raise ArchiveError(
                f"unknown column {name!r}", where, f"Did you mean {near[0]!r}?" if near else "Take it out."
            )


def _dates(
    raw: Raw, cells: dict[str, str], stack: str, spec: DatasetSpec
) -> tuple[list[int], NDArray[np.datetime64] | None]:
    """The slots that are there, in order of time, and the dates (T,) if any is given."""
    layers, times = spec.stack_layers(stack), spec.num_times(stack)
    there = [[slot for slot in range(times) if cells[f"_{_cell(one.id, slot, times)}"]] for one in layers]
    if any(slots != there[0] for slots in there):
        raise ArchiveError(f"layers of {stack} have different dates", f"{raw.where(TABLE)}, key {cells['key']}")
    given = [cells.get(f"_{_cell(f'{stack}.date', slot, times)}", "") for slot in there[0]]
    if not any(given):
        return there[0], None
    try:
        dates = [np.datetime64(one, "s") for one in given]
    except ValueError as error:
        raise ArchiveError(f"is no date ({error})", f"{raw.where(TABLE)}, key {cells['key']}, {stack}.date") from error
    if any(np.isnat(dates)):
        raise ArchiveError(f"some dates of {stack} are missing", f"{raw.where(TABLE)}, key {cells['key']}")
    order = sorted(range(len(dates)), key=lambda i: dates[i])
    filled = np.full(times, np.datetime64("NaT"), dtype="datetime64[s]")
    filled[: len(order)] = [dates[i] for i in order]
    return [there[0][i] for i in order], filled


def _pixels(raw: Raw, files: list[str], layer: LayerSpec) -> tuple[Array, GeoRef | None]:
    found, geo = [], None
    for file in files:
        raster = read_tiff(raw, file)
        found.append(check_pixels(raw, file, raster.pixels, layer, bands=len(layer.bands)))
        if geo is None and raster.crs and raster.transform:
            geo = GeoRef(raster.crs, raster.transform)
    if len({pixels.shape for pixels in found}) != 1:
        raise ArchiveError(f"dates of {layer.id} differ in size", raw.where(files[0]))
    if len(found) < layer.times and layer.fill_value is None:
        raise ArchiveError(f"layer {layer.id} has no fill value for a date that is not there", raw.where(files[0]))
    dates = np.empty((layer.times, *found[0].shape), dtype=layer.dtype)
    dates[: len(found)] = found
    if len(found) < layer.times:
        dates[len(found) :] = layer.fill_value
    return dates, geo


def _label(raw: Raw, cell: str, spec: DatasetSpec) -> Label:
    if not cell or not spec.task.label_space:
        return None
    space = spec.label_space()
    if spec.task.kind in ("segmentation", "change"):
        mask = read_tiff(raw, cell).pixels[0]
        remap = space.raw or {number: number for number in (*range(len(space.classes)), IGNORE)}
        unknown = sorted(set(np.unique(mask).tolist()) - set(remap))
        if unknown:
            raise ArchiveError(
                f"mask holds {unknown[0]}, which is no class", raw.where(cell), f"Known: {sorted(remap)}."
            )
        ids = np.zeros(mask.shape, dtype=np.uint8)
        for value, number in remap.items():
            ids[mask == value] = number
        return ids
    names = cell.split("|")
    unknown_names = [name for name in names if name not in space.names]
    if unknown_names:
        raise ArchiveError(f"no class {unknown_names[0]!r}", raw.where(TABLE), f"Classes: {', '.join(space.names)}.")
    found = tuple(sorted({space.names.index(name) for name in names}))
    return found if spec.task.kind == "multi-label" else found[0]
