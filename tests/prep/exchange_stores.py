"""Small synthetic stores for the tests of exchange: samples in odd places, without a place, a date or a layer."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from seamo.sample import GeoRef, Sample
from seamo.store.buildplan import BuildPlan
from seamo.store.reader import Store, open_store
from seamo.store.writer import StoreWriter
from seamo.testing.stores import tiny_store


def store_of(root: Path, samples: list[Sample], like: Store, pack: tuple[str, ...] = ()) -> Store:
    """A store of these samples, with the spec of another."""
    plan = BuildPlan(like.spec, "official", limit=len(samples), pack=pack, synthetic={"what": "synthetic, tiny"})
    with StoreWriter(root, plan, [sample.key for sample in samples]) as writer:
        for k in range(writer.num_shards):
            writer.write_shard(k, [samples[row] for row in writer.rows_of(k)])
        splits = {sample.key: ("train", "val", "test", "")[i % 4] for i, sample in enumerate(samples)}
        return open_store(writer.publish(splits=splits))


def odd_store(root: Path) -> Store:
    """Seven: plain, no place, no date, one date, across the antimeridian, no s1, a projection without a code."""
    like = tiny_store(root / "like", samples=7)
    samples = [like[i] for i in range(7)]
    never = {stack: np.full(2, np.datetime64("NaT"), "datetime64[s]") for stack in like.spec.stacks}
    one = {stack: np.array(["2020-02-29T12:00:00", "NaT"], "datetime64[s]") for stack in like.spec.stacks}
    samples[1] = replace(samples[1], geo=None)
    samples[2] = replace(samples[2], time=never)
    samples[3] = replace(samples[3], time=one)
    samples[4] = replace(samples[4], geo=GeoRef("EPSG:4326", (0.001, 0.0, 179.99, 0.0, -0.001, 10.0)))
    samples[5] = replace(samples[5], layers={k: v for k, v in samples[5].layers.items() if k != "s1"})
    no_code = "+proj=laea +lat_0=10 +lon_0=20 +datum=WGS84 +units=m"
    samples[6] = replace(samples[6], geo=GeoRef(no_code, (10.0, 0.0, 0.0, 0.0, -10.0, 0.0)))
    return store_of(root / "odd", samples, like)


def packed_store(root: Path) -> Store:
    """Four samples whose radar is packed; the first has a pixel where nothing was measured."""
    like = tiny_store(root / "like", samples=4)
    samples = [like[i] for i in range(4)]
    radar = samples[0].layers["s1"].copy()
    radar[0, 1, 2, 3] = np.nan
    samples[0] = replace(samples[0], layers=samples[0].layers | {"s1": radar})
    return store_of(root / "packed", samples, like, pack=("s1",))
