"""Small synthetic stores for the benchmark's tests: two grids of Sentinel-2, or single pixels of a few bands."""

from pathlib import Path

import numpy as np

from seamo.manifest import DatasetSpec, parse_spec
from seamo.sample import Sample
from seamo.store.reader import Store, open_store
from seamo.store.writer import BuildPlan, StoreWriter

BANDS = ("B02", "B03", "B04", "B08", "B11")
NUM_CLASSES = 3


def toy_spec(
    *, bands: tuple[str, ...] = BANDS, kind: str = "single-label", unit: str = "dn", size: int = 8, times: int = 1
) -> DatasetSpec:
    """Bands of 10 m in one layer; B11 (20 m) in a layer of half the size."""
    fine = [name for name in bands if name != "B11"]
    common = {"stack": "s2", "sensor": "s2", "product": "L1C", "dtype": "uint16", "unit": unit, "fill": 65535}
    layers = [{"id": "s2_10m", "bands": fine, "gsd_m": 10.0, "size": (size, size), "times": times, **common}]
    if "B11" in bands:
        half = (size // 2, size // 2)
        layers.append({"id": "s2_20m", "bands": ["B11"], "gsd_m": 20.0, "size": half, "times": times, **common})
    classes = [{"name": f"class {k}"} for k in range(NUM_CLASSES)]
    entry = {
        "id": "toy",
        "title": "Toy",
        "summary": "synthetic, for tests",
        "licence": "none",
        "citation": "none",
        "layers": layers,
        "task": {"kind": kind, "label_space": "own"},
        "label_spaces": {"own": {"classes": classes}},
    }
    return parse_spec(entry, "test")


def toy_samples(spec: DatasetSpec, n: int, *, seed: int = 0) -> list[Sample]:
    """Each class has a spectrum; noise blurs it. The pixels of a band depend on its name, not on its place."""
    rng = np.random.default_rng(seed)
    order = [name for layer in spec.layers for name in sorted(layer.bands)]
    samples = []
    for i in range(n):
        label = i % NUM_CLASSES
        noise = {name: rng.normal(size=(32, 32)) for name in sorted(order)}
        level = {name: rng.normal() for name in sorted(order)}
        layers = {}
        for layer in spec.layers:
            side = layer.size[0]
            planes = [
                1000 + 300 * label * (1 + BANDS.index(name) % 2) + 250 * level[name] + 80 * noise[name][:side, :side]
                for name in layer.bands
            ]
            stacked = np.clip(np.stack(planes), 0, 60000).astype(layer.dtype)
            layers[layer.id] = np.repeat(stacked[None], layer.times, axis=0)
        kind: int | tuple[int, ...] = label
        if spec.task.kind == "multi-label":
            kind = ((0,), (0, 1), (1, 2))[label]  # each class is on one side of a plane
        samples.append(Sample(key=f"s{i:04d}", layers=layers, label=kind))
    return samples


def build_store(root: Path, spec: DatasetSpec, samples: list[Sample], *, scheme: str = "hash-60-20-20") -> Store:
    plan = BuildPlan(spec, scheme, synthetic={"what": "synthetic, for tests"})
    with StoreWriter(root, plan, [sample.key for sample in samples]) as writer:
        for k in range(writer.num_shards):
            writer.write_shard(k, [samples[row] for row in writer.rows_of(k)])
        return open_store(writer.publish())


def toy_store(root: Path, n: int = 90, **options: object) -> Store:
    spec = toy_spec(**options)  # type: ignore[arg-type]
    return build_store(root, spec, toy_samples(spec, n))
