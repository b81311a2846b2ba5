"""Small synthetic stores that a protocol can learn from, and variants of them in which chosen samples are changed.

Nothing here is measured. A sample follows from its key: a variant differs from its store in the labels or in the
pixels of the samples that are named, and in nothing else, so whatever else changes in a protocol's result is a leak.
"""

import hashlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seamo.manifest import DatasetSpec, parse_spec
from seamo.sample import IGNORE, Label, Sample
from seamo.store.buildplan import BuildPlan, build8
from seamo.store.format import META_NAME
from seamo.store.reader import Store, open_store
from seamo.store.writer import StoreWriter

BANDS = ("B02", "B03", "B04", "B08")
SIDE = 16  # pixels of a sample, and of a tile of a scene
KINDS = ("single-label", "multi-label", "segmentation", "change")
_DENSE = ("segmentation", "change")
_CLASSES = ("water", "field", "town")
_SETS = ((0,), (0, 1), (1, 2))  # labels of a multi-label task, by the class that the pixels show
_SCENE, _STRIDE = 24, 8  # a scene is cut into 2 x 2 tiles that overlap
# Splits in turn; validation and test differ in length, so that scores of one never fit the labels of the other.
_TURNS = ("train", "test", "train", "val", "train", "test", "train", "test", "train", "val", "train")
_SAMPLES, _SCENES = 55, 11
_SPECTRA = 600.0 + 300.0 * np.array([[0, 1, 2, 3], [3, 0, 1, 2], [1, 3, 3, 0]])


def task_store(root: Path, kind: str, *, relabelled: Collection[str] = (), disturbed: Collection[str] = ()) -> Store:
    """A store of one kind of task, or a variant of it; found again where it was built before.

    Classes are spectra of four Sentinel-2 bands (16 x 16 pixels, DN), blurred so that no rule is right everywhere.
    Dense tasks have scenes of 2 x 2 overlapping tiles; `change` has two dates.

    Args:
        root: Folder of stores.
        kind: One of `KINDS`.
        relabelled: Keys of samples whose labels are turned: class k becomes k + 1, the last one 0; pixels that count
            nowhere stay so.
        disturbed: Keys of samples whose pixels are far outside what the others show.

    Returns:
        The store; its split scheme is `official`.
    """
    spec = _spec(kind)
    made = list(_samples(spec))
    unknown = (set(relabelled) | set(disturbed)) - {sample.key for sample, _ in made}
    if unknown:
        raise ValueError(f"no samples {sorted(unknown)[:3]}")
    named = hashlib.sha256(repr((kind, sorted(relabelled), sorted(disturbed))).encode()).hexdigest()[:12]
    samples = [_varied(one, spec, one.key in relabelled, one.key in disturbed) for one, _ in made]
    plan = BuildPlan(spec, "official", synthetic={"what": "synthetic, for the contract of protocols"})
    folder = root / named
    if (folder / spec.id / build8(plan) / META_NAME).is_file():
        return open_store(folder / spec.id / build8(plan))
    with StoreWriter(folder, plan, [sample.key for sample in samples]) as writer:
        for k in range(writer.num_shards):
            writer.write_shard(k, [samples[row] for row in writer.rows_of(k)])
        return open_store(writer.publish(splits={sample.key: split for sample, split in made}))


def _spec(kind: str) -> DatasetSpec:
    names = _CLASSES[:2] if kind == "change" else _CLASSES
    layer = {
        "id": "s2", "stack": "s2", "sensor": "s2", "product": "L1C", "bands": BANDS, "gsd_m": 10.0, "dtype": "uint16",
        "unit": "dn", "fill": 65535, "size": (SIDE, SIDE), "times": 2 if kind == "change" else 1,
    }  # fmt: skip
    entry: dict[str, Any] = {
        "id": f"task-{kind}",
        "title": f"Task {kind}",
        "summary": "Synthetic: made by seamo.testing.",
        "licence": "none",
        "citation": "none",
        "layers": [layer],
        "task": {"kind": kind, "label_space": "own"},
        "label_spaces": {"own": {"classes": [{"name": name} for name in names]}},
        "splits": {"official": {"in_archive": True}},
    }
    return parse_spec(entry, "seamo.testing.tasks")


def _samples(spec: DatasetSpec) -> Iterator[tuple[Sample, str]]:
    """Every sample with its split, sorted by key."""
    if spec.task.kind in _DENSE:
        for number in range(_SCENES):
            yield from ((tile, _TURNS[number % len(_TURNS)]) for tile in _tiles(spec, number))
        return
    for number in range(_SAMPLES):
        rng = np.random.default_rng([number, 1])
        shown = number % len(_CLASSES)
        level = rng.normal(0.0, 250.0, (len(BANDS), 1, 1))  # of the whole sample: classes overlap
        pixels = _SPECTRA[shown][:, None, None] + level + rng.normal(0.0, 60.0, (len(BANDS), SIDE, SIDE))
        label: Label = _SETS[shown] if spec.task.kind == "multi-label" else shown
        yield Sample(f"s{number:03d}", {"s2": _whole(pixels)[None]}, label=label), _TURNS[number % len(_TURNS)]


def _tiles(spec: DatasetSpec, number: int) -> Iterator[Sample]:
    """The tiles of one scene: blocks of 4 x 4 pixels of one class, or whose class changes between two dates."""
    rng = np.random.default_rng([number, 2])
    blocks = _SCENE // 4

    def drawn(num_classes: int) -> NDArray[np.int64]:
        return rng.integers(0, num_classes, (blocks, blocks)).repeat(4, 0).repeat(4, 1)

    mask = drawn(len(spec.label_space().classes))
    shown = [mask]
    if spec.task.kind == "change":
        ground = drawn(len(_CLASSES))
        shown = [ground, np.where(mask == 1, (ground + 1) % len(_CLASSES), ground)]
    noise = rng.normal(0.0, 250.0, (len(shown), len(BANDS), _SCENE, _SCENE))
    pixels = _whole(_SPECTRA[np.stack(shown)].transpose(0, 3, 1, 2) + noise)
    classes = mask.astype(np.uint8)
    classes[:2] = IGNORE
    for y0 in range(0, _SCENE - SIDE + 1, _STRIDE):
        for x0 in range(0, _SCENE - SIDE + 1, _STRIDE):
            window = (..., slice(y0, y0 + SIDE), slice(x0, x0 + SIDE))
            layers = {"s2": np.ascontiguousarray(pixels[window])}
            label = np.ascontiguousarray(classes[window])
            yield Sample(
                f"s{number:03d}/t{y0:02d}-{x0:02d}", layers, label=label, scene=f"s{number:03d}", offset=(y0, x0)
            )


def _whole(pixels: NDArray[np.float64]) -> NDArray[np.uint16]:
    return np.clip(pixels, 0, 10_000).astype(np.uint16)


def _varied(sample: Sample, spec: DatasetSpec, relabelled: bool, disturbed: bool) -> Sample:
    layers = {name: 60_000 - pixels // 2 for name, pixels in sample.layers.items()} if disturbed else sample.layers
    label = _turned(sample.label, len(spec.label_space().classes)) if relabelled else sample.label
    return Sample(sample.key, layers, label=label, scene=sample.scene, offset=sample.offset)


def _turned(label: Label, num_classes: int) -> Label:
    if isinstance(label, np.ndarray):
        return np.where(label == IGNORE, IGNORE, (label + 1) % num_classes).astype(np.uint8)
    if isinstance(label, tuple):
        return tuple(sorted((k + 1) % num_classes for k in label))
    return None if label is None else (label + 1) % num_classes
