"""Small specs and samples for the tests of the store; as a script, a builder that may be killed.

Run as `python store_samples.py ROOT LAYOUT` it builds the store of `seasons_spec` and prints its content hash.
"""

import sys
from pathlib import Path

import numpy as np

from seamo.manifest import DatasetSpec, parse_spec
from seamo.sample import GeoRef, Sample
from seamo.store.writer import BadSample, BuildPlan, StoreWriter

SIZES = {"s2_10m": 24, "s2_20m": 12, "s2_60m": 4, "s1": 24}


def seasons_spec(**changes) -> DatasetSpec:
    """Two stacks, layers of three sizes, four dates, single-label."""
    classes = [{"name": name} for name in ("water", "forest", "crop")]
    shared = {"sensor": "s2", "stack": "s2", "dtype": "uint16", "unit": "dn", "fill": 65535, "times": 4}
    entry = {
        "id": "toy",
        "title": "Toy",
        "summary": "A toy.",
        "licence": "none",
        "citation": "none",
        "layers": [
            {"id": "s2_10m", "bands": ["B02", "B03", "B04", "B08"], "gsd_m": 10, "size": (24, 24), **shared},
            {"id": "s2_20m", "bands": ["B05", "B8A", "B11"], "gsd_m": 20, "size": (12, 12), **shared},
            {"id": "s2_60m", "bands": ["B01", "B09"], "gsd_m": 60, "size": (4, 4), **shared},
            {
                "id": "s1",
                "stack": "s1",
                "sensor": "s1",
                "bands": ["VV", "VH"],
                "gsd_m": 10,
                "dtype": "float32",
                "unit": "db",
                "fill": "nan",
                "size": (24, 24),
                "times": 4,
            },
        ],
        "task": {"kind": "single-label", "label_space": "toy"},
        "label_spaces": {"toy": {"classes": classes}},
        "expected": {"samples": 1000},
    }
    return parse_spec(entry | changes, "test")


def masks_spec(size=None) -> DatasetSpec:
    """One RGB layer with masks, of varying size by default."""
    layer = {"id": "rgb", "stack": "rgb", "sensor": "rgb", "bands": ["R", "G", "B"], "gsd_m": 0.3, "dtype": "uint8"}
    return seasons_spec(
        id="toy-masks",
        layers=[layer | {"unit": "uint8", "fill": None, "size": size}],
        task={"kind": "segmentation", "label_space": "toy"},
    )


def keys(num: int) -> list[str]:
    return [f"a{i % 3}/sample_{i:04d}" for i in range(num)]


def seasons_sample(i: int, spec: DatasetSpec) -> Sample:
    """Sample number i, always the same: sample 3 lacks s1, samples 5 to 7 lack their last two dates."""
    rng = np.random.default_rng(i)
    late = 5 <= i <= 7
    layers = {}
    for layer in spec.layers:
        shape = (layer.times, len(layer.bands), *layer.size)
        if layer.dtype == "float32":
            pixels = rng.normal(-12, 4, shape).astype(np.float32)
        else:
            pixels = rng.integers(0, 4000, shape).astype(np.uint16)
        if late:
            pixels[2:] = layer.fill_value
        if not (i == 3 and layer.id == "s1"):
            layers[layer.id] = pixels
    day = np.datetime64("2021-01-05T10:20:30", "s") + np.arange(4) * np.timedelta64(90, "D") + i
    if late:
        day[2:] = np.datetime64("NaT")
    return Sample(
        key=keys(i + 1)[i],
        layers=layers,
        time={"s2": day, "s1": day + np.timedelta64(3600, "s")},
        geo=GeoRef("EPSG:32633", (10.0, 0.0, 500000.0 + 240 * i, 0.0, -10.0, 5600000.0)) if i != 2 else None,
        label=i % 3,
        scene=f"scene{i % 5}",
        offset=(i, 2 * i),
    )


def mask_sample(i: int, sizes=((20, 31), (40, 64), (65, 10), (32, 32))) -> Sample:
    rng = np.random.default_rng(100 + i)
    h, w = sizes[i % len(sizes)]
    mask = rng.choice([0, 1, 2, 255], (h, w), p=[0.2, 0.5, 0.2, 0.1]).astype(np.uint8)
    return Sample(keys(i + 1)[i], {"rgb": rng.integers(0, 256, (1, 3, h, w)).astype(np.uint8)}, label=mask)


def build(root: Path, plan: BuildPlan, samples, **publish) -> Path:
    """Build a store from a list of samples, in this process."""
    with StoreWriter(root, plan, [one.key for one in samples]) as writer:
        for k in range(writer.num_shards):
            if not writer.is_done(k):
                writer.write_shard(k, [samples[row] for row in writer.rows_of(k)])
        return Path(writer.publish(**publish))


def seasons_samples(num: int = 40):
    spec = seasons_spec()
    samples: list[Sample | BadSample] = [seasons_sample(i, spec) for i in range(num)]
    samples[4] = BadSample(samples[4].key, "B05.tif is truncated")
    return samples


if __name__ == "__main__":
    from seamo.store.reader import open_store

    plan = BuildPlan(spec=seasons_spec(), split_scheme="hash-60-20-20", layout=sys.argv[2])
    sys.stdout.write(open_store(build(Path(sys.argv[1]), plan, seasons_samples())).content)
