"""One corpus for all readers: SSL4EO-S12 v1.0 in its published layout, deflated GeoTIFFs of synthetic locations.

A location is 56 files (four dates, s1 and s2a), 5.3 MB decoded: 264, 132 and 44 px, uint16 and float32, in strips of
8 KB as GDAL writes them. `DISTINCT` of them differ; further ones are copies, files of their own. Nothing was measured.
"""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from conversion import deflate_tiff
from numpy.typing import NDArray

from seamo.manifest import shipped_manifest
from seamo.store.format import Layout
from seamo.store.reader import Store, open_store
from seamo.testing.world import World
from seamo_prep.archives import ssl4eo_s12
from seamo_prep.build import Options, build
from seamo_prep.engines import Engine
from seamo_prep.unpack import declare_synthetic

LAYERS = ("s1", "s2a_10m", "s2a_20m", "s2a_60m")
DISTINCT = 12
SEASONS = 4
_STACKS = ("s1", "s2a")
_SIDE = 264
_DATES = ("2020-01-05T10:00:00", "2020-04-05T10:00:00", "2020-07-05T10:00:00", "2020-10-05T10:00:00")

Layers = dict[str, NDArray[Any]]


def write_archive(raw: Path, count: int) -> None:
    """Write `count` locations."""
    for number in range(min(count, DISTINCT)):
        scene = World(0).scene(f"perf-{number}", _SIDE)
        with tempfile.TemporaryDirectory(dir=raw.parent) as folder:
            plain = Path(folder)
            for date in (np.datetime64(one) for one in _DATES):
                ssl4eo_s12._demo_date(plain, scene, f"{number:07d}", dates=[date] * 3, has_gap=False)
            for path in (path for stack in _STACKS for path in sorted((plain / stack).rglob("*.tif"))):
                deflate_tiff(path, raw / path.relative_to(plain))
    for number in range(DISTINCT, count):
        for stack in _STACKS:
            shutil.copytree(raw / stack / f"{number % DISTINCT:07d}", raw / stack / f"{number:07d}")
    declare_synthetic(raw, what=f"{DISTINCT} synthetic locations, each several times; nothing in it was measured")


def build_store(raw: Path, root: Path, layout: Layout, *, limit: int | None = None, threads: int = 2) -> Store:
    """`seamo-prep build` of the archive, in this process."""
    options = Options(layout=layout, layers=LAYERS, limit=limit)
    built = build("ssl4eo-s12", raw=raw, root=root, options=options, engine=Engine(threads), say=lambda _: None,
                  progress=lambda _done, _total: None)  # fmt: skip
    return open_store(built.url)


def decoded_bytes(store: Store) -> int:
    """Bytes of one decoded sample."""
    return sum(store.read_layer(0, name).nbytes for name in LAYERS)


def tiff_names(raw: Path, number: int) -> Iterator[tuple[str, int, int, Path]]:
    """(layer, date, band, file) of one location."""
    spec = shipped_manifest()["ssl4eo-s12"]
    for name in LAYERS:
        layer = spec.layer(name)
        for t, date in enumerate(sorted((raw / layer.stack / f"{number:07d}").iterdir())):
            for c, band in enumerate(layer.bands):
                yield name, t, c, date / f"{'B' + band[2:] if band.startswith('B0') else band}.tif"


def empty_sample() -> Layers:
    """Arrays of the layers' shapes."""
    spec = shipped_manifest()["ssl4eo-s12"]
    made: Layers = {}
    for name in LAYERS:
        layer = spec.layer(name)
        made[name] = np.empty((SEASONS, len(layer.bands), *(layer.size or (0, 0))), dtype=layer.dtype)
    return made


def bytes_of(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
