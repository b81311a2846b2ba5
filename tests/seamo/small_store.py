"""A small synthetic store for the loader's and the training's tests: SSL4EO-S12's layers at a few pixels."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from seamo.manifest import DatasetSpec, SplitSpec, shipped_manifest
from seamo.sample import Sample
from seamo.store.buildplan import view8
from seamo.store.format import VIEWS_NAME
from seamo.store.publish import put_made
from seamo.store.reader import Store, open_store
from seamo.store.splits import Assignment
from seamo.store.views import ClassLabel, make_view
from seamo.store.writer import BuildPlan, StoreWriter

LAYERS = ("s2a_10m", "s2a_20m", "s2a_60m", "s1")
SIDES = {"s2a_10m": 24, "s2a_20m": 12, "s2a_60m": 4, "s1": 24}


def small_spec() -> DatasetSpec:
    spec = shipped_manifest()["ssl4eo-s12"].only_layers(LAYERS)
    spec = spec.model_copy(update={"splits": {"listed": SplitSpec(in_archive=True)}})
    return spec.with_sizes({name: (side, side) for name, side in SIDES.items()})


def make_sample(spec: DatasetSpec, i: int, *, absent: int) -> Sample:
    """Smooth ground, a spectrum, a season's drift and some noise; the last `absent` dates are not there."""
    rng = np.random.default_rng([7, i])
    ground = np.kron(rng.normal(size=(4, 4)), np.ones((6, 6)))
    layers = {}
    for layer in spec.layers:
        side = layer.size[0]
        view = ground[:: 24 // side, :: 24 // side][:side, :side]
        noise = rng.normal(size=(layer.times, len(layer.bands), side, side))
        seasons = np.arange(layer.times)[:, None, None, None]
        if layer.sensor == "s1":
            pixels = -14 + 3 * view + 0.5 * seasons + noise
        else:
            spectrum = np.linspace(0.6, 1.4, len(layer.bands))[:, None, None]
            pixels = (2000 + 400 * view) * spectrum + 100 * seasons + 30 * noise
        pixels = pixels.astype(layer.dtype)
        if absent:
            pixels[layer.times - absent :] = layer.fill_value
        layers[layer.id] = pixels
    dates = np.datetime64("2020-01-10", "s") + np.arange(4) * np.timedelta64(90 * 86400, "s")
    dates = dates.copy()
    if absent:
        dates[4 - absent :] = np.datetime64("NaT")
    return Sample(key=f"{i:07d}", layers=layers, time=dict.fromkeys(spec.stacks, dates))


def build_small_store(
    root: Path, n: int = 24, *, absent: tuple[int, ...] = (), holes: tuple[int, ...] = (), layout: str = "zarr"
) -> Store:
    """A store of `n` places; those in `absent` lack their last two dates, those in `holes` one pixel of 20 m."""
    spec = small_spec()
    samples = [make_sample(spec, i, absent=2 if i in absent else 0) for i in range(n)]
    for i in holes:
        samples[i].layers["s2a_20m"][0, 3, 5, 6] = spec.layer("s2a_20m").fill_value
    plan = BuildPlan(spec, "listed", layout=layout, synthetic={"what": "synthetic, for tests"})
    with StoreWriter(root, plan, [sample.key for sample in samples]) as writer:
        for k in range(writer.num_shards):
            writer.write_shard(k, [samples[row] for row in writer.rows_of(k)])
        path = writer.publish(splits={sample.key: "train" for sample in samples})
    return open_store(path)


def write_view(
    path: Path,
    plan: BuildPlan,
    *,
    splits: Assignment | None = None,
    labels: Mapping[str, ClassLabel] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Path:
    """Other splits, label spaces or labels of a store on a disk, put below it: the view's folder."""
    final = path / VIEWS_NAME / view8(plan)
    put_made(final, lambda folder: make_view(path, folder, plan, splits=splits, labels=labels, provenance=provenance))
    return final
