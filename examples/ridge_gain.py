"""What pretraining gives under a ridge head: `python examples/ridge_gain.py WORLD...`, each a folder of the demo.

A WORLD holds `stores/eurosat` and, below `runs/`, pretrainings of the recipe seamo-demo that ended, as `make demo` and
`make readme-figures` leave them. Features are probed as those of real tiles are (examples/real_folds.py): the head
learns from the training split, and the penalty is chosen by leaving one out, where the benchmark's `logreg` chooses
among few on a small validation split. Differences are to the same network with the weights that the run began with.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from real_folds import LOOKS, features_of, ridge

from seamo import open_store
from seamo.pretrain.recipe import load_recipe

RESAMPLES = 4000


def gains_of(world: Path, look: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(runs, test images), 1 where right: of the pretrained networks, and of the same with random weights."""
    store = open_store(world / "stores" / "eurosat")
    labels, split = store.index["label"].to_numpy().astype(np.int64), store.index["split"].to_numpy()
    made = []
    for run in sorted(path.parent for path in (world / "runs").glob("*/final")):
        seed = load_recipe(str(run / "recipe.yaml")).seed
        names = (f"{run}@{look}", f"{run}@{look}+random:{seed}")
        made.append([ridge(features_of(one, store), labels, split == "train")[split == "test"] for one in names])
    hits = np.array(made, dtype=np.float64)
    return hits[:, 0], hits[:, 1]


def interval(gains: list[NDArray[np.float64]]) -> tuple[float, float, float]:
    """Mean over worlds, and 95 % interval over the images and the pretrainings of each, by the bootstrap."""
    rng = np.random.default_rng(0)
    means = np.empty((RESAMPLES, len(gains)))
    for at, one in enumerate(gains):
        runs, images = one.shape
        for number in range(RESAMPLES):
            drawn = one[rng.integers(0, runs, runs)][:, rng.integers(0, images, images)]
            means[number, at] = drawn.mean()
    low, high = np.quantile(means.mean(axis=1), (0.025, 0.975))
    return float(np.mean([one.mean() for one in gains])), float(low), float(high)


def main() -> None:
    """A line a world and pooling, and one over all worlds."""
    parser = argparse.ArgumentParser(prog="python examples/ridge_gain.py", description="Pretraining under ridge.")
    parser.add_argument("worlds", type=Path, nargs="+", help="folders of the demo")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("top-1 of pretrained and random weights, percent; the difference in points, run by run and with its interval")
    for pooling, look in LOOKS.items():
        gains = []
        for world in args.worlds:
            pretrained, random = gains_of(world, look)
            gains.append(pretrained - random)
            each = ", ".join(f"{100 * one:+.1f}" for one in gains[-1].mean(axis=1))
            scores = f"{100 * pretrained.mean():.1f}, {100 * random.mean():.1f}"
            print(f"  {world.name}, {pooling}: {scores}; {each}; {_shown(interval(gains[-1:]))}")
        print(f"  {len(gains)} worlds, {pooling}: {_shown(interval(gains))}")


def _shown(found: tuple[float, float, float]) -> str:
    middle, low, high = (100 * one for one in found)
    return f"{middle:+.1f} [{low:+.1f}, {high:+.1f}]"


if __name__ == "__main__":
    main()
