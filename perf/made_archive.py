"""An archive without files: samples of the declared shapes, made on the fly (synthetic), for measuring builds.

It comes to the builder as an outside package does: by an entry point that `installed` writes into a folder of its
own. Pixels are smooth fields with noise, so that they compress about as measured ones do.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from seamo.identity import digest
from seamo.manifest import DatasetSpec, shipped_manifest
from seamo.sample import Sample
from seamo.testing.world import World
from seamo_prep.unpack import Raw, declare_synthetic

_PREFIX = "made-"
_POOL = 2  # different images that one call of `read` varies


def index(raw: Raw, spec: DatasetSpec) -> pd.DataFrame:
    """See `seamo_prep.archives.Archive`."""
    count = json.loads(raw.read("count.json"))
    frame = pd.DataFrame({"key": [f"{spec.id}_{number:07d}" for number in range(count)]})
    frame.attrs["ledger"] = []
    return frame


def read(_raw: Raw, rows: pd.DataFrame, spec: DatasetSpec) -> Iterator[Sample]:
    """See `seamo_prep.archives.Archive`."""
    rng = np.random.default_rng(int(digest([spec.id, str(rows["key"].iloc[0])])[:8], 16))
    pools = {layer.id: _pool(rng, layer.times, len(layer.bands), layer.size or (64, 64), layer.dtype)
             for layer in spec.layers}  # fmt: skip
    start = np.datetime64("2020-01-01T10:00:00", "s")
    classes = len(spec.label_space().classes) if spec.task.label_space else 0
    for number, key in enumerate(rows["key"]):
        layers = {}
        for name, pool in pools.items():
            image = np.roll(pool[number % _POOL], number // _POOL, axis=-1)
            image[..., 0, 0] += np.asarray(number % 100, dtype=image.dtype)  # no two are equal
            layers[name] = image
        time = {one: start + np.arange(spec.num_times(one)) * np.timedelta64(90 * 86400, "s") for one in spec.stacks}
        yield Sample(str(key), layers, time=time, label=number % classes if classes else None)


def demo(raw: Path, _world: World, size: str) -> None:
    """See `seamo_prep.archives.Archive`; `size` is the number of samples."""
    raw.mkdir(parents=True, exist_ok=True)
    (raw / "count.json").write_text(size, encoding="ascii")
    declare_synthetic(raw, what=f"{size} samples made on the fly; nothing in them was measured")


def installed(folder: Path, dataset: str, *, count: int) -> tuple[str, Path, Mapping[str, str]]:
    """Make the archive of a shipped data set's shapes known to processes that are started with an environment.

    Args:
        folder: A new folder.
        dataset: Whose layers and labels to take.
        count: Number of samples.

    Returns:
        Its id, RAW, and the environment.
    """
    spec = shipped_manifest()[dataset]
    entry: dict[str, Any] = spec.model_dump(mode="json", include={"layers", "task", "label_spaces"})
    entry |= {"title": f"{spec.title}, made", "summary": "synthetic", "licence": "CC0-1.0", "citation": "none"}
    name = f"{_PREFIX}{dataset}"
    about = folder / "made_archive-0.dist-info"
    about.mkdir(parents=True)
    (folder / "made.py").write_text(Path(__file__).read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "made.yaml").write_text(yaml.safe_dump({"datasets": {name: entry}}), encoding="utf-8")
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: made-archive\nVersion: 0\n", encoding="ascii")
    (about / "entry_points.txt").write_text(f"[seamo.archives]\n{name} = made:made.yaml\n", encoding="ascii")
    raw = folder / "raw"
    demo(raw, World(0), str(count))
    return name, raw, {**os.environ, "PYTHONPATH": str(folder)}


def _pool(
    rng: np.random.Generator, times: int, bands: int, size: tuple[int, int], dtype: str
) -> np.ndarray[Any, np.dtype[Any]]:
    """(pool, T, C, H, W): smooth fields that bands and dates share in part, and noise; one band in memory at a time."""
    height, width = size
    made = np.empty((_POOL, times, bands, height, width), dtype=dtype)
    block = np.ones((8, 8), dtype=np.float32)
    for image in made:
        common = rng.standard_normal((height // 8 + 2, width // 8 + 2), dtype=np.float32)
        for band in image.reshape(-1, height, width):
            smooth = np.kron(common + rng.standard_normal(common.shape, dtype=np.float32), block)[:height, :width]
            smooth = smooth + 0.15 * rng.standard_normal((height, width), dtype=np.float32)
            band[:] = (3 * smooth - 12 if dtype == "float32" else 350 * smooth + 1500).clip(-40, 10000)
    return made
