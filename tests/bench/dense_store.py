"""Small synthetic stores with masks: scenes cut into overlapping tiles; what a pixel is shows in its bands."""

from pathlib import Path

import numpy as np

from seamo.manifest import DatasetSpec, parse_spec
from seamo.sample import IGNORE, Sample
from seamo.store.reader import Store, open_store
from seamo.store.writer import BuildPlan, StoreWriter

BANDS = ("B02", "B03", "B04", "B08")
TILE, STRIDE, SCENE = 16, 8, 32
CLASSES = ("Background", "field", "water")


def dense_spec(*, kind: str = "segmentation", names: tuple[str, ...] = CLASSES, size: int = TILE) -> DatasetSpec:
    times = 2 if kind == "change" else 1
    layer = {
        "id": "s2", "stack": "s2", "sensor": "s2", "product": "L1C", "bands": BANDS, "gsd_m": 10.0, "dtype": "uint16",
        "unit": "dn", "fill": 65535, "size": (size, size), "times": times,
    }  # fmt: skip
    entry = {
        "id": "scenes",
        "title": "Scenes",
        "summary": "synthetic, for tests",
        "licence": "none",
        "citation": "none",
        "layers": [layer],
        "task": {"kind": kind, "label_space": "own"},
        "label_spaces": {"own": {"classes": [{"name": name} for name in names]}},
        "splits": {"official": {"in_archive": True}},
    }
    return parse_spec(entry, "test")


def scene(seed: int, kind: str, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """(T, C, 32, 32) pixels and the mask: blocks of 4 x 4 of one class, each class a spectrum, and noise."""
    rng = np.random.default_rng(seed)
    mask = rng.integers(0, num_classes, (SCENE // 4, SCENE // 4)).repeat(4, 0).repeat(4, 1).astype(np.uint8)
    spectra = 1000.0 + 400.0 * np.array([[0, 1, 2, 3], [3, 0, 1, 2], [1, 3, 3, 0]])
    noise = rng.normal(0, 60, (2, len(BANDS), SCENE, SCENE))
    if kind == "change":
        ground = rng.integers(0, 3, (SCENE // 4, SCENE // 4)).repeat(4, 0).repeat(4, 1)
        later = np.where(mask == 1, (ground + 1) % 3, ground)
        pixels = np.stack([spectra[ground], spectra[later]]).transpose(0, 3, 1, 2) + noise
    else:
        pixels = spectra[mask].transpose(2, 0, 1)[None] + noise[:1]
    mask[:2] = IGNORE
    return pixels.astype(np.uint16), mask


def dense_samples(spec: DatasetSpec, scenes: int = 6, *, stride: int = STRIDE) -> tuple[list[Sample], dict[str, str]]:
    """Tiles of every scene, and key -> split: scenes go to train, val and test."""
    samples, splits = [], {}
    num_classes = len(spec.label_space().classes)
    for number in range(scenes):
        pixels, mask = scene(number, spec.task.kind, num_classes)
        split = ("train", "train", "val", "test")[number % 4] if number < 4 else ("train", "test")[number % 2]
        for y0 in range(0, SCENE - TILE + 1, stride):
            for x0 in range(0, SCENE - TILE + 1, stride):
                key = f"scene{number}/t{y0:02d}-{x0:02d}"
                part = slice(y0, y0 + TILE), slice(x0, x0 + TILE)
                layers = {"s2": np.ascontiguousarray(pixels[(slice(spec.num_times("s2")), slice(None), *part)])}
                label = np.ascontiguousarray(mask[part])
                samples.append(Sample(key, layers, label=label, scene=f"scene{number}", offset=(y0, x0)))
                splits[key] = split
    return samples, splits


def dense_store(root: Path, *, kind: str = "segmentation", scenes: int = 6, names: tuple[str, ...] = CLASSES) -> Store:
    spec = dense_spec(kind=kind, names=names)
    samples, splits = dense_samples(spec, scenes)
    return write_store(root, spec, samples, splits)


def map_store(root: Path, *, scenes: int = 6, without: tuple[str, ...] = ()) -> Store:
    """The same tiles with sets of classes as labels, and the mask as a layer of ids in another order.

    The layer's ids are 2 - class; its derived label space has the first two classes, the third has no class there.
    Samples named in `without` lack the layer.
    """
    plain = dense_spec()
    samples, splits = dense_samples(plain, scenes)
    layer = {
        "id": "map", "stack": "map", "sensor": "map", "bands": ["CLC"], "gsd_m": 10.0, "dtype": "uint8",
        "unit": "class", "fill": 255, "size": (TILE, TILE), "times": 1,
    }  # fmt: skip
    names = [{"name": name} for name in CLASSES]
    entry = {
        **plain.model_dump(exclude_defaults=True),
        "id": "mapped",
        "layers": [*(one.model_dump() for one in plain.layers), layer],
        "task": {"kind": "multi-label", "label_space": "own"},
        "maps": {"map": "codes"},
        "label_spaces": {
            "own": {"classes": names},
            "codes": {"classes": names[::-1]},
            "two": {"classes": names[:2], "source": "codes", "derived": {0: [2], 1: [1]}},
        },
    }
    spec = parse_spec(entry, "test")
    made = []
    for sample in samples:
        mask = np.asarray(sample.label)
        layers = {**sample.layers, "map": np.where(mask == IGNORE, IGNORE, 2 - mask).astype(np.uint8)[None, None]}
        if sample.key in without:
            del layers["map"]
        label = tuple(int(k) for k in np.unique(mask) if k != IGNORE)
        made.append(Sample(sample.key, layers, label=label, scene=sample.scene, offset=sample.offset))
    return write_store(root, spec, made, splits)


def write_store(root: Path, spec: DatasetSpec, samples: list[Sample], splits: dict[str, str]) -> Store:
    plan = BuildPlan(spec, "official", synthetic={"what": "synthetic, for tests"})
    with StoreWriter(root, plan, [sample.key for sample in samples]) as writer:
        for k in range(writer.num_shards):
            writer.write_shard(k, [samples[row] for row in writer.rows_of(k)])
        return open_store(writer.publish(splits=splits))
