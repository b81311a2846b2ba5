"""What a grid of linear probes costs beside one: (features + 24 settings x 5 seeds) / (features + one training).

python perf/probe.py [--backbone seamo-random] [--size 128] [--samples 60] [--seeds 5] [--rounds 3] [--device cpu]

EuroSAT-shaped samples made on the fly (synthetic), a network with random weights: what it costs does not depend on
either. Features are computed once; then one training (one setting, one seed) and the whole protocol (all settings and
seeds, choice on validation, test) run in turn from the same cache, the median of each counts. Fails from 1.3 on.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from bench import machine
from made_archive import read

import seamo_bench
from seamo.manifest import shipped_manifest
from seamo.store.reader import Store, open_store
from seamo.store.writer import BuildPlan, StoreWriter
from seamo_bench.facts import BackboneFacts
from seamo_bench.features.cache import FeatureCache, Work
from seamo_bench.protocols import find_protocol, runner
from seamo_bench.runs.context import context_of
from seamo_bench.tasks.trials import labels_of, make_trials, task_facts

_LIMIT = 1.3
_SCHEME = "hash-60-20-20"


def made_store(root: Path, count: int) -> Store:
    """A store of synthetic samples of EuroSAT's shape."""
    spec = shipped_manifest()["eurosat"]
    keys = [f"made_{number:07d}" for number in range(count)]
    samples = {sample.key: sample for sample in read(None, pd.DataFrame({"key": keys}), spec)}
    plan = BuildPlan(spec, _SCHEME, synthetic={"what": "samples made on the fly"})
    with StoreWriter(root, plan, keys) as writer:
        for shard in range(writer.num_shards):
            writer.write_shard(shard, [samples[keys[row]] for row in writer.rows_of(shard)])
        return open_store(writer.publish())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="seamo-random")
    parser.add_argument("--size", type=int, default=None, help="image size; the card's own without it")
    parser.add_argument("--samples", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    print(machine())
    with tempfile.TemporaryDirectory() as scratch:
        store = made_store(Path(scratch) / "store", arguments.samples)
        backbone = seamo_bench.load_backbone(arguments.backbone, store=store, size=arguments.size)
        facts = BackboneFacts(id=backbone.card.id, card="")
        work = Work(device, batch_size=16)
        cache = FeatureCache(Path(scratch), store, backbone, facts=facts, work=work)
        begin = time.perf_counter()
        width = cache.table(np.arange(len(store))).width
        extraction = time.perf_counter() - begin
        task = task_facts(store, _SCHEME)
        labels = labels_of(store, task)
        (trial,) = make_trials(store, labels, scheme=_SCHEME, fraction=1.0, salt=0, budget="full")

        def probe(seeds: int, **params: tuple[float, ...]) -> float:
            context = context_of(
                backbone,
                store,
                cache,
                task=task,
                labels=labels,
                splits=dict.fromkeys(range(seeds), (trial,)),
                params={**find_protocol("linear").defaults, **params},
                work=work,
            )
            begin = time.perf_counter()
            for _ in runner("linear")(context):
                pass
            return time.perf_counter() - begin

        one, every = [], []
        for _ in range(arguments.rounds):
            one.append(probe(1, lrs=(0.1,), weight_decays=(0.0,)))
            every.append(probe(arguments.seeds))
    defaults = find_protocol("linear").defaults
    settings = len(defaults["lrs"]) * len(defaults["weight_decays"])
    ratio = (extraction + statistics.median(every)) / (extraction + statistics.median(one))
    print(
        f"{backbone.card.title} (random weights), {arguments.samples} synthetic samples, {width} features, "
        f"{len(task.classes)} classes, {defaults['steps']} steps, {arguments.device}, {arguments.threads} threads\n"
        f"features                     {extraction:8.2f} s\n"
        f"one training                 {statistics.median(one):8.2f} s ({min(one):.2f}-{max(one):.2f})\n"
        f"{settings} settings x {arguments.seeds} seeds       {statistics.median(every):8.2f} s "
        f"({min(every):.2f}-{max(every):.2f})\n"
        f"ratio with the features      {ratio:8.3f}, limit {_LIMIT}: {'ok' if ratio < _LIMIT else 'TOO MUCH'}"
    )
    sys.exit(0 if ratio < _LIMIT else 1)


if __name__ == "__main__":
    main()
