"""What yardsticks and a probe cost a run: beside a training step of stage 2, in turn.

    python perf/yardsticks.py [--recipe seamo-demo-plain] [--batch 16] [--rounds 7] [--device cpu]
    python perf/yardsticks.py --device cuda --recipe seamo-base --batch 256 --repeat 10

It fails where measuring every so many steps, as the recipe says, takes more than 1 % of the time of training. Synthetic
pixels (noise); for the probe vectors as wide as the model's, 500 to fit and 500 to ask (its images are encoded as
`perf/feature_rate.py` measures).
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from bench import alternate, machine

from seamo.model.masking import noise_shape
from seamo.model.seamo import SeaMo
from seamo.pretrain.frozen import neighbour_classes, ridge_classes
from seamo.pretrain.inputs import Inputs
from seamo.pretrain.recipe import load_recipe
from seamo.pretrain.yardsticks import yardstick_sums

SEASONS, MARK = 4, 0.01


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="seamo-demo-plain")
    parser.add_argument("--batch", type=int, default=16, help="locations")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--repeat", type=int, default=1, help="steps a round")
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    device, recipe = torch.device(given.device), load_recipe(given.recipe)
    config, every = recipe.model, recipe.machine.yardsticks
    random = torch.Generator().manual_seed(0)
    images = {
        s: torch.rand(given.batch, SEASONS, len(bands), config.size, config.size, generator=random).to(device)
        for s, bands in config.bands.items()
    }
    noise = torch.rand(noise_shape(config, given.batch, SEASONS), generator=random).to(device)
    inputs = Inputs(images, noise, None, None)
    model = SeaMo(config, generator=random).to(device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    bf16 = device.type == "cuda" and recipe.compute.precision == "bf16"
    network = torch.compile(model) if device.type == "cuda" and recipe.compute.compile else model

    def train() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            loss = network(inputs.images, noise=inputs.noise).loss
        torch.autograd.backward(loss)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    def often(work: Callable[[], object]) -> Callable[[], int]:
        def run() -> int:
            for _ in range(given.repeat):
                work()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            return given.repeat

        return run

    found = alternate(
        {"step": often(train), "yardsticks": often(lambda: yardstick_sums(inputs, config))}, rounds=given.rounds
    )
    print(machine(), f"torch {torch.__version__}, {torch.get_num_threads()} threads, {given}")
    steps, yards = found.rates["step"], found.rates["yardsticks"]
    one = statistics.median(step / yard for step, yard in zip(steps, yards, strict=True))
    print(f"a step {1e3 / statistics.median(steps):.1f} ms, yardsticks {1e3 / statistics.median(yards):.1f} ms")
    share = one / every
    print(f"yardsticks: {one:.2%} of a step that measures them, {share:.2%} of all with one in {every}")
    vectors = np.random.default_rng(0).normal(size=(1000, config.dim))
    classes = np.arange(500) % 10
    began = time.process_time()
    ridge_classes(vectors[:500], classes, vectors[500:])
    middle = time.process_time()
    neighbour_classes(vectors[:500], classes, vectors[500:])
    print(f"a probe's heads: ridge {middle - began:.2f} s, knn {time.process_time() - middle:.2f} s of CPU")
    sys.exit(share > MARK)


if __name__ == "__main__":
    main()
