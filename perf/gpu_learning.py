"""Does it learn something that fixed measurements do not say? An experiment with criteria from before any result.

    python perf/gpu_learning.py --world FOLDER --seconds 100 --out found.json [--fiftieth]

Part of `perf/gpu.py`, which draws the worlds. Synthetic Sentinel-2 (L1C, clear sky, one date, native 10 m): a
`seamo-small` of 64 px and patch 8 learns in world 1001 for so many seconds; frozen features are judged in world 1002,
which nothing was chosen on. Beside it stand the same network with random weights, its tokenizer alone, statistics of
bands, and those with autocorrelations; everything under one ridge classifier whose penalty leave-one-out chooses, and
under logistic regression.

Criteria, fixed on 2026-11-30, before the experiment was run at any size, and not changed since:
1. `gain`: pretrained minus random weights (mean of the tokens, ridge) excludes 0 at every number of labels a class.
2. `below`: on places that were not trained on, the loss is at most 0.9 times that of the better trivial predictor (the
   mean of the visible patches, the nearest visible patch, each by band).
3. `beyond`: pretrained minus statistics with autocorrelations (ridge) lies above 0 at the largest number of labels.
Intervals are of 95 %: 2,000 replicates over test images and, on either side, over seeds. Two seeds are few: the
intervals say how far images decide, and little about another seed.
"""

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from seamo.bands import S2_L2A
from seamo.data.batch import Batch
from seamo.data.crops import CropConfig
from seamo.inputs.normalise import Normalisation
from seamo.manifest import shipped_manifest
from seamo.model.config import DecoderConfig, FusionConfig, SeaMoConfig
from seamo.model.decoder import patch_moments
from seamo.model.seamo import SeaMo
from seamo.model.tokenizer import patchify
from seamo.pretrain.frozen import ridge_classes
from seamo.pretrain.inputs import InputPlan
from seamo.pretrain.optimise import Schedule

LAYERS = ("s2c_10m", "s2c_20m", "s2c_60m")
LAGS = (1, 2, 3, 4, 6, 8, 12)  # pixels
CLOSE = 0.9  # of the better trivial predictor's loss: criterion 2


@dataclass(frozen=True, slots=True)
class Size:
    """How large the experiment is; the labels and tests are a class."""

    config: SeaMoConfig
    batch: int
    peak: float
    labels: tuple[int, ...]
    draws: tuple[int, ...]
    seeds: tuple[int, ...] = (0, 1)
    random_seeds: tuple[int, ...] = (10, 11, 12)


def _config(dim: int, depth: int, heads: int, decoder: DecoderConfig) -> SeaMoConfig:
    return SeaMoConfig(
        bands={"s2": S2_L2A}, size=64, patch=8, dim=dim, depth=depth, heads=heads, decoder=decoder,
        strategy="unimodal", temporal=False, tm=FusionConfig(mode="none"),
    )  # fmt: skip


FULL = Size(_config(384, 12, 6, DecoderConfig(4, 256, 8)), 512, 1.5e-3, (10, 45, 500), (5, 3, 1))
FIFTIETH = Size(_config(96, 3, 3, DecoderConfig(1, 64, 4)), 16, 1.5e-3, (2, 4, 10), (2, 1, 1), random_seeds=(10,))


class Places:
    """Drawn places on the device, and how batches of them become inputs: the product's own crops and normalisation."""

    def __init__(
        self, folder: Path, config: SeaMoConfig, numbers: Normalisation, crop: CropConfig, device: str
    ) -> None:
        # As signed integers, which torch can index on a GPU: no digital number is above 20,000.
        self.layers = {
            one: torch.from_numpy(np.load(folder / f"{one}.npy").view(np.int16)).to(device) for one in LAYERS
        }
        self.spec = shipped_manifest()["ssl4eo-s12"].only_layers(LAYERS)
        self.device = torch.device(device)
        layers = {"s2": self.spec.layers}
        self.plan = InputPlan(config, crop, {"s2": "s2c"}, layers, {"s2": numbers}, 1, random_season=False, seed=0)

    def __len__(self) -> int:
        return len(self.layers[LAYERS[0]])

    def inputs(self, rows: Tensor, *, epoch: int) -> tuple[dict[str, Tensor], Tensor]:
        """Normalised images (B, 1, C, S, S) by sensor, and the noise that decides the masks."""
        at = rows.to(self.device)
        layers = {name: one[at].view(torch.uint16)[:, None] for name, one in self.layers.items()}
        n, nothing = len(rows), torch.zeros(len(rows), dtype=torch.bool)
        valid = {name: torch.ones(n, 1, dtype=torch.bool) for name in LAYERS}
        size = torch.zeros(n, 2, dtype=torch.int64)
        keys = tuple(map(str, range(n)))
        batch = Batch(self.spec, rows, keys, layers, valid, {}, size, None, None, nothing, holes=frozenset())
        made = self.plan(batch, self.device, epoch=epoch)
        return made.images, made.noise


def clear_sky(folder: Path) -> Normalisation:
    """Mean and standard deviation of the places that are learned from."""
    mean, std = {}, {}
    for name in LAYERS:
        bands = shipped_manifest()["ssl4eo-s12"].layer(name).bands
        pixels = np.load(folder / f"{name}.npy", mmap_mode="r")[:2000].astype(np.float64)
        for at, band in enumerate(bands):
            mean[band], std[band] = float(pixels[:, at].mean()), float(pixels[:, at].std())
    unit = shipped_manifest()["ssl4eo-s12"].layer(LAYERS[0]).unit
    given = [tuple(one[band] for band in S2_L2A) for one in (mean, std)]
    return Normalisation("two-sigma", S2_L2A, given[0], given[1], unit, "the drawn places")


def cast(device: str) -> torch.autocast:
    return torch.autocast(device, torch.bfloat16, enabled=device == "cuda")


def learn(places: Places, size: Size, seed: int, seconds: float, held: int) -> tuple[SeaMo, dict[str, float]]:
    """Train for so many seconds; the schedule is of as many steps as the first ones say will fit."""
    device = places.device.type
    model = SeaMo(size.config, generator=torch.Generator().manual_seed(seed)).to(device).train()
    network = torch.compile(model) if device == "cuda" else model
    optimiser = torch.optim.AdamW(model.parameters(), lr=size.peak, betas=(0.9, 0.95), weight_decay=0.05)
    order = torch.Generator().manual_seed(seed)
    trained = len(places) - held

    def step(number: int) -> None:
        rows = torch.randint(trained, (size.batch,), generator=order)
        images, noise = places.inputs(rows, epoch=1 + number + 1_000_000 * seed)
        with cast(device):
            loss = network(images, noise=noise).loss
        torch.autograd.backward(loss)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    def timed(first: int, count: int) -> float:
        began = time.perf_counter()
        for number in range(first, first + count):
            step(number)
        if device == "cuda":
            torch.cuda.synchronize()
        return (time.perf_counter() - began) / count

    began = time.perf_counter()
    for group in optimiser.param_groups:
        group["lr"] = size.peak / 100
    timed(0, 2)  # compiles
    each = timed(2, 5)
    steps = max(20, int((seconds - (time.perf_counter() - began)) / each))
    schedule = Schedule(size.peak, max(1, steps // 20), steps)
    for number in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = schedule(number)
        step(7 + number)
    model.eval()
    return model, {"steps": steps, "places_per_s": size.batch / each, **losses(model, places, trained, size.batch)}


@torch.no_grad()
def losses(model: SeaMo, places: Places, first: int, batch: int) -> dict[str, float]:
    """Mean squared error on hidden patches of the places from `first` on: the model's and the trivial predictors'."""
    config, found = model.config, []
    for rows in torch.arange(first, len(places)).split(batch):
        images, noise = places.inputs(rows, epoch=0)
        output = model(images, noise=noise)
        patches = patchify(images["s2"], config.patch)
        mean, scale = patch_moments(patches, config.norm_pix, len(S2_L2A))
        found.append([len(rows) * one for one in trivial((patches - mean) / scale, output.masked["s2"], config)])
        found[-1].append(len(rows) * float(output.terms["s2", 0]))
    zero, visible, nearest, own = (np.array(found).sum(axis=0) / (len(places) - first)).tolist()
    return {"zero": zero, "visible mean": visible, "nearest visible": nearest, "pretrained": own}


def trivial(target_BTLP: Tensor, masked_BTL: Tensor, config: SeaMoConfig) -> list[float]:
    """Mean squared error on hidden patches of zero, of the visible mean and the nearest visible patch by band."""
    target, hidden = target_BTLP[:, 0], masked_BTL[:, 0]
    bands_BLC = target.unflatten(-1, (len(S2_L2A), -1)).mean(-1)
    seen = (~hidden)[..., None]
    mean_BC = (bands_BLC * seen).sum(1) / seen.sum(1)
    at = torch.arange(config.num_patches, device=target.device)
    where = torch.stack([at // config.grid, at % config.grid], dim=1).float()
    away_BLL = torch.cdist(where, where)[None].masked_fill(hidden[:, None, :], math.inf)
    near_BLC = bands_BLC.gather(1, away_BLL.argmin(-1)[..., None].expand(-1, -1, len(S2_L2A)))
    spread = config.patch**2
    guesses = (torch.zeros_like(bands_BLC), mean_BC[:, None].expand_as(bands_BLC), near_BLC)
    errors = ((target - one.repeat_interleave(spread, dim=-1)).square().mean(-1) for one in guesses)
    return [float((error * hidden).sum() / hidden.sum()) for error in errors]


@torch.no_grad()
def features(places: Places, of: Callable[[Tensor], Tensor], batch: int) -> Tensor:
    """Features of all places, float64, one row each."""
    made = [of(places.inputs(rows, epoch=0)[0]["s2"][:, 0]) for rows in torch.arange(len(places)).split(batch)]
    return torch.cat(made).double()


def pooled(model: SeaMo) -> Callable[[Tensor], Tensor]:
    """The mean of the encoder's tokens."""
    return lambda images: model.encode({"s2": images}).float().mean(1)


def tokens(model: SeaMo) -> Callable[[Tensor], Tensor]:
    """Mean and standard deviation of what the tokenizer makes of patches, positions left out."""

    def of(images: Tensor) -> Tensor:
        made = model.tokenizers["s2"](patchify(images[:, None], model.config.patch)[:, 0])
        return torch.cat([made.mean(1), made.std(1)], dim=1)

    return of


def statistics(images: Tensor) -> Tensor:
    """Mean and standard deviation of each band."""
    return torch.cat([images.mean((-2, -1)), images.std((-2, -1))], dim=1)


def autocorrelations(images: Tensor) -> Tensor:
    """`statistics`, and of each band its correlation with itself some pixels further down and to the right."""
    x = images - images.mean((-2, -1), keepdim=True)
    variance = x.square().mean((-2, -1)) + 1e-8
    found = [statistics(images)]
    for lag in LAGS:
        found += [(x[..., lag:, :] * x[..., :-lag, :]).mean((-2, -1)) / variance]
        found += [(x[..., lag:] * x[..., :-lag]).mean((-2, -1)) / variance]
    return torch.cat(found, dim=1)


def ridge(train: Tensor, labels: Tensor, test: Tensor) -> Tensor:
    """Predicted classes, by the ridge of a run's own probe (a CPU's LAPACK is faster than a GPU's decomposition)."""
    known, asked = (one.double().cpu().numpy() for one in (train, test))
    return torch.from_numpy(ridge_classes(known, labels.cpu().numpy(), asked)).to(labels.device)


def logistic(train: Tensor, labels: Tensor, test: Tensor) -> Tensor:
    """Predicted classes: multinomial logistic regression, its penalty chosen on a held-out fifth."""
    chosen = torch.arange(len(labels), device=labels.device) % 5 == 4
    penalties = (1e-4, 1e-3, 1e-2, 1e-1)
    right = [
        float((_fit(train[~chosen], labels[~chosen], train[chosen], one) == labels[chosen]).double().mean())
        for one in penalties
    ]
    return _fit(train, labels, test, penalties[right.index(max(right))])


def _fit(train: Tensor, labels: Tensor, test: Tensor, penalty: float) -> Tensor:
    x, z = standardised(train, test)
    weights = torch.zeros(x.shape[1] + 1, int(labels.max()) + 1, dtype=x.dtype, device=x.device, requires_grad=True)
    search = torch.optim.LBFGS([weights], max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        search.zero_grad()
        value = functional.cross_entropy(x @ weights[:-1] + weights[-1], labels) + penalty * weights[:-1].square().sum()
        value.backward()
        return value

    search.step(loss)
    return (z @ weights[:-1] + weights[-1]).argmax(1).detach()


def standardised(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    mean, std = train.mean(0), train.std(0) + 1e-6
    return (train - mean) / std, (test - mean) / std


def interval(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[float, float, float]:
    """Difference of accuracies in points with its interval: a, b (seeds, images), hits of paired images."""
    rng, replicates = np.random.default_rng(0), []
    for _ in range(2000):
        at = rng.integers(a.shape[1], size=a.shape[1])
        sides = [one[rng.integers(len(one), size=len(one))][:, at].mean() for one in (a, b)]
        replicates.append(sides[0] - sides[1])
    low, high = np.percentile(replicates, [2.5, 97.5])
    return tuple(round(100 * float(one), 2) for one in (a.mean() - b.mean(), low, high))  # type: ignore[return-value]


def judge(losses_of: list[dict[str, float]], hits: dict[str, dict[int, NDArray[np.float64]]]) -> dict[str, object]:
    """The three criteria; `hits` under ridge: row -> labels a class -> (seeds, images)."""
    gain = {n: interval(hits["pretrained"][n], hits["random weights"][n]) for n in hits["pretrained"]}
    most = max(gain)
    beyond = interval(hits["pretrained"][most], hits["statistics + autocorrelations"][most])
    below = [one["pretrained"] / min(one["visible mean"], one["nearest visible"]) for one in losses_of]
    return {
        "gain": {"met": all(low > 0 for _, low, _ in gain.values()), "difference": gain},
        "below": {"met": max(below) <= CLOSE, "ratio": below},
        "beyond": {"met": beyond[1] > 0, "labels": most, "difference": beyond},
    }


def probe(
    rows: dict[str, list[Tensor]], classes: Tensor, size: Size, head: Callable[[Tensor, Tensor, Tensor], Tensor],
    draws: tuple[int, ...],
) -> dict[str, dict[int, NDArray[np.float64]]]:  # fmt: skip
    """Row -> labels a class -> (seeds, test images) share of draws that hit. The first images of a class train."""
    per_class, count = max(size.labels), int(classes.max()) + 1
    order = torch.arange(len(classes)).reshape(count, -1)
    test = order[:, per_class:].flatten().to(classes.device)
    made: dict[str, dict[int, NDArray[np.float64]]] = {name: {} for name in rows}
    for labels, number in zip(size.labels, draws, strict=True):
        for name, seeds in rows.items():
            hits = torch.zeros(len(seeds), len(test), device=classes.device, dtype=torch.float64)
            for draw in range(number):
                chosen = torch.randperm(per_class, generator=torch.Generator().manual_seed(draw))[:labels]
                train = order[:, chosen].T.flatten().to(classes.device)  # class by class in turn
                for seed, x in enumerate(seeds):
                    hits[seed] += (head(x[train], classes[train], x[test]) == classes[test]).double() / number
            made[name][labels] = hits.cpu().numpy()
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", type=Path, required=True, help="what `gpu_parts.py prepare` drew")
    parser.add_argument("--seconds", type=float, required=True, help="for all: two fifths for either seed")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--fiftieth", action="store_true")
    given = parser.parse_args()
    size, device = FIFTIETH if given.fiftieth else FULL, "cuda" if torch.cuda.is_available() else "cpu"
    began, torch.backends.cuda.matmul.allow_tf32 = time.perf_counter(), True
    numbers = clear_sky(given.world / "learn")
    native = CropConfig(rate=(2 / 3, 2 / 3), rate_mode="side")  # 64 of 96 pixels
    learnt = Places(given.world / "learn", size.config, numbers, native, device)
    judged = Places(given.world / "judge", size.config, numbers, CropConfig(mode="same_full", flip=False), device)
    classes = torch.from_numpy(np.load(given.world / "judge" / "classes.npy").astype(np.int64)).to(device)
    held, batch = max(16, len(learnt) // 40), size.batch
    curves, rows = [], {"pretrained": [], "random weights": []}
    for seed in size.seeds:
        model, curve = learn(learnt, size, seed, given.seconds * 0.4, held)
        curves.append(curve)
        rows["pretrained"].append(features(judged, pooled(model), batch))
    for seed in size.random_seeds:
        model = SeaMo(size.config, generator=torch.Generator().manual_seed(seed)).to(device).eval()
        rows["random weights"].append(features(judged, pooled(model), batch))
    rows["tokenizer, mean + std"] = [features(judged, tokens(model), batch)]
    rows["statistics"] = [features(judged, statistics, batch)]
    rows["statistics + autocorrelations"] = [features(judged, autocorrelations, batch)]
    hits = probe(rows, classes, size, ridge, size.draws)
    found = {"device": device, "places": len(learnt), "curves": curves, "criteria": judge(curves, hits)}
    found["ridge"] = {row: {n: round(100 * float(h.mean()), 2) for n, h in of.items()} for row, of in hits.items()}
    if time.perf_counter() - began < 0.95 * given.seconds or given.fiftieth:
        hits = probe(rows, classes, size, logistic, (1,) * len(size.labels))
        found["logistic"] = {
            row: {n: round(100 * float(h.mean()), 2) for n, h in of.items()} for row, of in hits.items()
        }
    given.out.write_text(json.dumps(found))
    for title in ("ridge", "logistic"):
        print(title, json.dumps(found.get(title, "not reached: no time was left")))
    for number, curve in enumerate(curves):
        print(f"seed {size.seeds[number]}: {json.dumps(curve)}")
    for name, verdict in found["criteria"].items():
        print(f"criterion {name}: {'met' if verdict['met'] else 'not met'} {json.dumps(verdict)}")


if __name__ == "__main__":
    main()
