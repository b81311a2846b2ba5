"""A tiny synthetic store, made in a moment: for examples, and for tests of whatever reads stores."""

import shutil
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from seamo.manifest import DatasetSpec, TaskKind, parse_spec
from seamo.sample import GeoRef, Label, Sample
from seamo.store.format import Layout, finest_layer
from seamo.store.reader import Store, open_store
from seamo.store.stacks import layer_ids
from seamo.store.writer import BuildPlan, StoreWriter

TinyTask = Literal["pretrain", "single-label", "multi-label", "segmentation"]

_SIDE = 24
_CLASSES = ("water", "forest", "crop")
_SPLITS = ("train", "train", "train", "val", "test")
_SHARED = {"product": "L2A", "dtype": "uint16", "unit": "dn", "fill": 65535}
_LAYERS = (
    {"id": "s2_10m", "stack": "s2", "sensor": "s2", "bands": ["B02", "B03", "B04", "B08"], "gsd_m": 10.0, **_SHARED},
    {"id": "s2_20m", "stack": "s2", "sensor": "s2", "bands": ["B11"], "gsd_m": 20.0, **_SHARED},
    {"id": "s1", "stack": "s1", "sensor": "s1", "bands": ["VV", "VH"], "gsd_m": 10.0, "dtype": "float32",
     "unit": "db", "fill": "nan"},
)  # fmt: skip


def tiny_store(
    folder: Path | None = None,
    *,
    samples: int = 12,
    task: TinyTask = "single-label",
    layout: Layout = "zarr",
    layers: Sequence[str] | None = None,
    times: int = 2,
) -> Store:
    """Build a store of a few made-up samples and open it.

    Layers are `s2_10m` (T, 4, 24, 24), `s2_20m` (T, 1, 12, 12) and `s1` (T, 2, 24, 24). Sample i is of class i % 3
    (`water`, `forest`, `crop`), which its brightness tells; of five samples three are `train`, one `val`, one `test`;
    each lies in UTM zone 33 and has a date every 90 days. Masks hold two classes, and 255 in their first row.

    Args:
        folder: Where stores are built; a temporary folder that goes when the store does, if None.
        samples: How many; at least 1.
        task: Kind of the labels; `pretrain` has none.
        layout: Of the store.
        layers: Layer or stack ids; None = all.
        times: Number of dates T.

    Example:
        >>> store = tiny_store()
        >>> store.title, store.spec.stacks, store.meta.counts.splits
        ('Tiny synthetic (12 samples)', ('s2', 's1'), {'test': 2, 'train': 8, 'val': 2})
        >>> store[4].key, store[4].label, store[4].layers["s1"].shape
        ('tiny_004', 1, (2, 2, 24, 24))
    """
    root = Path(tempfile.mkdtemp(prefix="seamo-tiny-")) if folder is None else folder
    spec = _spec(task, layers, times)
    made = [_sample(spec, i) for i in range(samples)]
    plan = BuildPlan(spec, "official", layout=layout, limit=samples, synthetic={"what": "synthetic, tiny"})
    with StoreWriter(root, plan, [sample.key for sample in made]) as writer:
        for k in range(writer.num_shards):
            if not writer.is_done(k):
                writer.write_shard(k, [made[row] for row in writer.rows_of(k)])
        path = writer.publish(splits={sample.key: _SPLITS[i % len(_SPLITS)] for i, sample in enumerate(made)})
    store = open_store(path)
    if folder is None:
        weakref.finalize(store, shutil.rmtree, root, ignore_errors=True)
    return store


def _spec(task: TinyTask, layers: Sequence[str] | None, times: int) -> DatasetSpec:
    sides = {"s2_20m": _SIDE // 2}
    entry: dict[str, Any] = {
        "id": "tiny",
        "title": "Tiny",
        "summary": "Synthetic: made by seamo.testing.",
        "licence": "none",
        "redistribution": "allowed",
        "redistribution_why": "made up",
        "citation": "none",
        "layers": [{**layer, "times": times, "size": (sides.get(str(layer["id"]), _SIDE),) * 2} for layer in _LAYERS],
        "task": {"kind": task, "label_space": "" if task == "pretrain" else "tiny"},
        "label_spaces": {"tiny": {"classes": [{"name": name} for name in _CLASSES]}},
        "splits": {"official": {"in_archive": True}},
        "default_split": "official",
    }
    spec = parse_spec(entry, "seamo.testing.stores")
    return spec.only_layers(layer_ids(spec, layers))


def _sample(spec: DatasetSpec, i: int) -> Sample:
    kind = i % len(_CLASSES)
    pixels = {}
    for layer in spec.layers:
        height, width = layer.size or (_SIDE, _SIDE)
        # BatchSamples for each layer apart: the pixels of one do not depend on which others there are.
        rng = np.random.default_rng([i, *layer.id.encode()])
        noise = rng.normal(size=(layer.times, len(layer.bands), height, width))
        level, spread = (-18.0 + 5.0 * kind, 1.0) if layer.sensor == "s1" else (800.0 + 900.0 * kind, 60.0)
        pixels[layer.id] = (level + spread * noise).astype(layer.dtype)
    first = np.datetime64("2021-01-05T10:20:30", "s") + i
    finest = finest_layer(spec)
    dates = first + np.arange(spec.layers[0].times) * np.timedelta64(90 * 86400, "s")
    return Sample(
        key=f"tiny_{i:03d}",
        layers=pixels,
        time=dict.fromkeys(spec.stacks, dates),
        geo=GeoRef("EPSG:32633", (finest.gsd_m, 0.0, 500000.0 + 10 * _SIDE * i, 0.0, -finest.gsd_m, 5600000.0)),
        label=_label(spec.task.kind, kind, finest.size or (_SIDE, _SIDE)),
        scene=f"scene{i % 4}",
    )


def _label(task: TaskKind, kind: int, size: tuple[int, int]) -> Label:
    if task == "pretrain":
        return None
    if task == "single-label":
        return kind
    if task == "multi-label":
        return tuple(sorted({0, kind}))
    mask = np.full(size, kind, dtype=np.uint8)
    mask[:, size[1] // 2 :] = (kind + 1) % len(_CLASSES)
    mask[0] = 255
    return mask
