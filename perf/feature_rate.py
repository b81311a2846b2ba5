"""How far computing features is from the rates of the loader and of the network alone.

python perf/feature_rate.py [--samples 4096] [--backbones means,image-statistics,resnet18] [--rounds 3] [--threads 1]

EuroSAT-shaped samples made on the fly (synthetic), random weights; `means` is a network that gives the mean of every
channel, so that nothing but the way to it and from it is measured. In every round, in turn: the Loader alone, the
adapter and network alone on batches that are in memory, the two in one loop that keeps nothing, and
`FeatureCache.fill` into an empty folder, which computes, checks, writes, seals and reads back its parts. On a CPU
loader and network share the cores, so that the bare loop is what can be had; on a device it is the slower of the two.
"""

import argparse
import tempfile
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path

import numpy as np
import torch
from bench import alternate, machine
from probe import made_store
from torch import Tensor

import seamo_bench
from seamo.data.loader import Loader
from seamo.store.reader import Store
from seamo_bench.facts import BackboneFacts
from seamo_bench.features.cache import FeatureCache, Work
from seamo_bench.network import Features, Network

BATCH = 64


class Means(Network):
    """Means of all channels; what is missing is 0."""

    def forward_features(self, inputs: Mapping[str, Tensor]) -> Features:
        """(B, C) of all sensors."""
        return Features(torch.cat([x.nan_to_num().mean(dim=(2, 3)) for x in inputs.values()], dim=1))


def ways(store: Store, name: str, *, device: torch.device, scratch: Path) -> dict[str, Callable[[], int]]:
    """Name -> what to run; each goes through all samples."""
    backbone = seamo_bench.load_backbone("image-statistics" if name == "means" else name, store=store)
    if name == "means":
        backbone.network = Means()
    assert backbone.adapter is not None
    adapter, network = backbone.adapter, backbone.network.to(device).eval()
    work, numbers = Work(device, batch_size=BATCH), count()
    kept = next(iter(loader(store, adapter.wiring.layers))).to(device)

    @torch.inference_mode()
    def alone() -> int:
        for _ in range(len(store) // BATCH):
            network.forward_features(adapter(kept)).pooled.float().cpu()
        return len(store) // BATCH * BATCH

    @torch.inference_mode()
    def together() -> int:
        for batch in loader(store, adapter.wiring.layers):
            network.forward_features(adapter(batch.to(device))).pooled.float().cpu()
        return len(store)

    def fill() -> int:
        facts = BackboneFacts(id=backbone.card.id, card="")
        cache = FeatureCache(scratch / f"{name}-{next(numbers)}", store, backbone, facts=facts, work=work)
        cache.fill(np.arange(len(store)))
        return len(store)

    return {
        "loader alone": lambda: sum(len(batch) for batch in loader(store, adapter.wiring.layers)),
        "network alone": alone,
        "both in a loop": together,
        "features": fill,
    }


def loader(store: Store, layers: tuple[str, ...]) -> Loader:
    """As the cache reads."""
    return Loader(store, np.arange(len(store)), BATCH, layers=layers, workers=2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=4096)
    parser.add_argument("--backbones", default="means,image-statistics,resnet18")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print(f"{machine()}, torch {torch.__version__}, {given.samples} samples, {given.device}, {given.threads} threads")
    with tempfile.TemporaryDirectory() as scratch:
        store = made_store(Path(scratch) / "store", given.samples)
        for name in given.backbones.split(","):
            variants = ways(store, name, device=torch.device(given.device), scratch=Path(scratch))
            print(f"{name}\n{alternate(variants, rounds=given.rounds).report('features')}", flush=True)


if __name__ == "__main__":
    main()
