"""How long training waits for data when epochs are short: a loader an epoch against one loader for all of them.

python perf/waiting.py [--locations 64] [--batch 8] [--epochs 6] [--rounds 3]

The store holds synthetic locations of SSL4EO-S12 (`corpus.py`): s1 and s2a, four dates, native 264, 132 and 44 px,
lz4. What waits is the loop of `seamo.pretrain`: before a micro-batch it asks the loader for a batch, and the
time until it has one is waiting (cropping and everything else is not). Shares are of the whole time from the first
question to the end of the last step. The loader alone and the step alone are measured in the same rounds, because the
share only means something where the loader is the faster one.
"""

import argparse
import csv
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from bench import machine
from corpus import build_store, write_archive

from seamo.data.batch import Batch
from seamo.data.loader import Loader
from seamo.model.seamo import SeaMo
from seamo.pretrain.inputs import plan_inputs
from seamo.pretrain.loop import pretrain
from seamo.pretrain.mixture import training_data
from seamo.pretrain.optimise import adamw
from seamo.pretrain.recipe import Recipe, load_recipe
from seamo.store.reader import Store

CPU = torch.device("cpu")


def batches(store: Store, recipe: Recipe, epoch: int, epochs: int) -> Loader:
    """As the training loop reads."""
    layers = plan_inputs(recipe, 2, training_data(recipe, [store])).layer_ids
    return Loader(
        store,
        np.arange(len(store)),
        recipe.optimiser.batch,
        layers=layers,
        epoch=epoch,
        epochs=epochs,
        shuffle=True,
        drop_last=True,
        workers=recipe.machine.workers,
        find_holes=True,
    )


def stepper(store: Store, recipe: Recipe) -> Callable[[Batch], None]:
    """One training step of stage 2 on a batch."""
    plan = plan_inputs(recipe, 2, training_data(recipe, [store]))
    model = SeaMo(recipe.model, generator=torch.Generator().manual_seed(0))
    optimiser = adamw(model, recipe.optimiser, fused=True)

    def step(batch: Batch) -> None:
        inputs = plan(batch, CPU, epoch=0)
        model(inputs.images, noise=inputs.noise, valid=inputs.valid, pixel_valid=inputs.pixel_valid).loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step


def waiting(source: Iterable[Batch], step: Callable[[Batch], None]) -> float:
    """Share of the time in which nothing was done but waiting for the next batch."""
    began, waited = time.perf_counter(), 0.0
    iterator = iter(source)
    while True:
        asked = time.perf_counter()
        batch = next(iterator, None)
        waited += time.perf_counter() - asked
        if batch is None:
            return waited / (time.perf_counter() - began)
        step(batch)


def chained(loaders: Iterable[Loader]) -> Iterator[Batch]:
    """A loader an epoch, started when its epoch begins."""
    for loader in loaders:
        yield from loader


def whole_run(store: Store, recipe: Recipe, out: Path) -> float:
    """The same share from the speed.csv of a real run."""
    pretrain(recipe, store, out)
    with (out / "speed.csv").open(encoding="utf-8", newline="") as file:
        rows = [(float(row["seconds"]), float(row["data_wait_share"])) for row in csv.DictReader(file)]
    return sum(seconds * share for seconds, share in rows) / sum(seconds for seconds, _ in rows)


def rate(work: Callable[[], int]) -> float:
    """Samples a second."""
    began = time.perf_counter()
    count = work()
    return count / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--locations", type=int, default=64)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--recipe", default="seamo-tiny")
    given = parser.parse_args()
    torch.set_num_threads(1)
    changes = [f"optimiser.batch={given.batch}", "machine.threads=1", "machine.checkpoint_every=100000"]
    changes += ["data={stacks: {s2: s2a, s1: s1}, split: all, statistics: {s2: store, s1: store}}"]
    changes += ["stage1={epochs: 0, warmup_epochs: 0}", f"stage2={{epochs: {given.epochs}, warmup_epochs: 1}}"]
    recipe = load_recipe(given.recipe, changes)
    print(machine() + f", torch {torch.__version__}, {given}", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        write_archive(Path(scratch) / "raw", given.locations)
        store = build_store(Path(scratch) / "raw", Path(scratch) / "stores", "zarr")
        step, kept = stepper(store, recipe), next(iter(batches(store, recipe, 0, 1)))
        steps = given.locations // given.batch
        step(kept)  # warms up
        found: dict[str, list[float]] = {}
        for number in range(given.rounds):
            rates = {
                "loader alone": rate(lambda: sum(len(one) for one in batches(store, recipe, 0, given.epochs))),
                "step alone": rate(lambda: sum(step(kept) is None for _ in range(steps)) * given.batch),
            }
            shares = {
                "waiting, a loader an epoch": waiting(
                    chained(batches(store, recipe, epoch, 1) for epoch in range(given.epochs)), step
                ),
                "waiting, one loader for all": waiting(batches(store, recipe, 0, given.epochs), step),
                "waiting, `seamo pretrain`": whole_run(store, recipe, Path(scratch) / f"run-{number}"),
            }
            for name, value in (rates | shares).items():
                found.setdefault(name, []).append(value)
        print(f"{given.epochs} epochs of {steps} steps, {given.rounds} rounds: median (range)")
        for name, values in found.items():
            form = "{:.2%}" if name.startswith("waiting") else "{:.1f} locations/s"
            middle, low, high = (form.format(value) for value in (statistics.median(values), min(values), max(values)))
            print(f"{name:28} {middle} ({low} to {high})")
        ratios = [a / b for a, b in zip(found["loader alone"], found["step alone"], strict=True)]
        print(f"{'loader alone / step alone':28} {statistics.median(ratios):.1f}")


if __name__ == "__main__":
    main()
