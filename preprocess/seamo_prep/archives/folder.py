"""One's own imagery: GeoTIFFs, `samples.csv` and `seamo.yaml` in one folder.

`seamo.yaml` has the form of `data_manifest.yaml`, with one entry; what it says of licence, attribution and
redistribution goes along with the store. `samples.csv` (UTF-8, commas) has one row a sample:

    key                       parts of [A-Za-z0-9_-] joined by '/'
    <layer>                   path of the layer's GeoTIFF in the folder
    <layer>.0, <layer>.1 ...  the same, where the layer has several dates
    <stack>.date[.0 ...]      date of each, ISO 8601 (2021-08-02, 2021-08-02T10:00:00Z), UTC; optional
    label                     class name; for multi-label names joined by '|'; for segmentation a path of a mask
    split, scene, country     optional; name the scheme of `split` in the YAML with `in_archive: true`

An empty cell is a date, or a layer, that is not there. Bands are those that the file describes, in any order, or, where
it describes none, in the order of the YAML. Pixels that the file says are missing (nodata, mask, alpha 0, not finite)
are stored as the layer's `fill`; where the file says nothing, those that equal the `fill` are missing. Scale and offset
must agree with the layer's unit, and all files of a sample must lie on one ground; `--relax grid` takes them as they
are, `--relax names` passes over descriptions that name no band of the sensor.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from seamo.addresses import disk_path
from seamo.errors import ManifestError
from seamo.files import open_files
from seamo.manifest import DatasetSpec, load_manifest, parse_manifest, shipped_manifest
from seamo.sample import Array, GeoRef, Label, Sample
from seamo.testing.world import World
from seamo_prep.archives._folder_pixels import PlacedFile, check_one_ground, read_layer, read_mask
from seamo_prep.archives._folder_table import cell_label, cell_name, is_mask, read_table, stack_dates
from seamo_prep.tiff import write_tiff
from seamo_prep.unpack import Raw, declare_synthetic

TABLE = "samples.csv"
SPEC = "seamo.yaml"
FILL_IN = "FILL-IN"  # stands in the YAML, where `seamo-prep init` could not know what belongs there
_OPEN = re.compile(rf"^\s*(?:- )?([\w-]+):\s*{FILL_IN}\s*(?:#.*)?$")


def load_spec(root: str | Path) -> DatasetSpec:
    """The spec beside one's own imagery.

    Args:
        root: The folder with `seamo.yaml`, or its address.

    Raises:
        ManifestError: If the file is not there, is wrong, holds another number of entries than one, or the id of a
            published data set.
        StoreError: If the address cannot be read.
    """
    path = disk_path(root)
    if path is not None:
        if (path / SPEC).is_file():
            _check_filled_in((path / SPEC).read_bytes(), str(path / SPEC))
        specs, where = load_manifest(path / SPEC), str(path / SPEC)
    else:
        files = open_files(root)
        data, where = files.find(SPEC), files.where(SPEC)
        if data is None:
            raise ManifestError("is not there", where, "RAW holds it, samples.csv and the images.")
        _check_filled_in(data, where)
        specs = parse_manifest(data, where)
    if len(specs) != 1:
        raise ManifestError(f"holds {len(specs)} entries instead of one", where)
    spec = next(iter(specs.values()))
    if spec.id in shipped_manifest():  # numbers of its store would stand for those of the published data
        fix = f"Give it another, such as my-{spec.id}; the published files are built by: seamo-prep build {spec.id}."
        raise ManifestError(f"{spec.id} is the id of a published data set", where, fix)
    return spec


def _check_filled_in(data: bytes, where: str) -> None:
    """Refuse a file in which `init` left places that only a person can fill in."""
    lines = enumerate(data.decode("utf-8", "replace").splitlines(), 1)
    found = [f"line {number} {match[1]}" for number, line in lines if (match := _OPEN.match(line))]
    if found:
        fix = f"Write there, instead of {FILL_IN}, what you know; the comment above each place says what is known."
        raise ManifestError(f"{', '.join(found)}: to be filled in", where, fix)


def index(raw: Raw, spec: DatasetSpec) -> pd.DataFrame:
    """See `seamo_prep.archives.Archive`."""
    if not raw.exists(TABLE):
        raise raw.missing(TABLE)
    frame = read_table(raw.read(TABLE), raw.where(TABLE), spec)
    frame.attrs["ledger"] = []
    return frame


def read(raw: Raw, rows: pd.DataFrame, spec: DatasetSpec) -> Iterator[Sample]:
    """See `seamo_prep.archives.Archive`."""
    for row in rows.to_dict("records"):
        cells = {str(name): str(value) for name, value in row.items()}
        where = f"{raw.where(TABLE)}, key {cells['key']}"
        layers: dict[str, Array] = {}
        time: dict[str, NDArray[np.datetime64]] = {}
        placed: list[PlacedFile] = []
        for stack in spec.stacks:
            order, dates = stack_dates(cells, stack, spec, where)
            if dates:
                time[stack] = np.full(spec.num_times(stack), np.datetime64("NaT"), dtype="datetime64[s]")
                time[stack][: len(dates)] = dates
            for layer in spec.stack_layers(stack) if order else ():
                files = [cells[f"_{cell_name(layer.id, slot, layer.times)}"] for slot in order]
                layers[layer.id], found = read_layer(raw, files, layer)
                placed += found
        placed.sort(key=lambda one: one.gsd_m)  # stable: the finest layer's first file leads
        geo = _geo(placed, finest=min(layer.gsd_m for layer in spec.layers))
        label = _label(raw, cells.get("_label", ""), spec, placed=placed, where=where)
        check_one_ground(raw, placed)
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


def _geo(placed: list[PlacedFile], *, finest: float) -> GeoRef | None:
    """Of the finest layer alone: a coarser one, or a mask, lies on another grid of pixels."""
    for one in placed:
        if one.gsd_m == finest and one.grid.crs and one.grid.transform is not None:
            return GeoRef(one.grid.crs, one.grid.transform)
    return None


def _label(raw: Raw, cell: str, spec: DatasetSpec, *, placed: list[PlacedFile], where: str) -> Label:
    if not cell or not is_mask(spec) or not spec.task.label_space:
        return cell_label(cell, spec, where)
    mask, place = read_mask(raw, cell, spec, placed)
    placed.append(place)
    return mask
