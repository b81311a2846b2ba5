"""Does pretraining help on the few real tiles? `python examples/real_folds.py TILES OUT`: five folds, five times.

TILES holds `EuroSAT_MS/<Class>/<Class>_<n>.tif`. For every fold a SeaMo is pretrained on the training tiles alone,
which it sees without labels, and its frozen features are probed beside the same network with random weights and beside
floors. Everything goes through the programs of seamo; what is done is kept below OUT, so that the command goes on where
it was stopped. Folds are those of the split scheme cv5x5. The figures are of a few tiles, and no figures of EuroSAT.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import seamo_bench
from seamo import open_store
from seamo.store.reader import Store

SETTINGS = (  # what of the recipe seamo-demo is otherwise: one sensor, one date, tiles of 64 pixels
    "model.bands={s2: [B01, B02, B03, B04, B05, B06, B07, B08, B8A, B09, B11, B12]}", "model.strategy=unimodal",
    "model.temporal=false", "model.tm={mode: none}", "data.stacks={s2: s2}", "data.statistics={s2: store}",
    "data.season_sampling=first", "crop.rate=[0.5, 0.5]", "crop.steps=64", "optimiser.batch=32",
    "optimiser.base_lr=1.2e-2", "machine.micro_batch=32", "stage1={epochs: 100, warmup_epochs: 10}",
    "stage2={epochs: 0, warmup_epochs: 0}",
)  # fmt: skip
LOOKS = {"mean": "pretrain+tiles", "mean + std": "pretrain+tiles+std"}
PENALTIES = 10.0 ** np.arange(-6, 1.5, 0.5)  # a sample
FLOORS = ("image-statistics", "texture-statistics", "tokenizer-statistics")


def pretrained_without(out: Path, tiles: Sequence[Path], *, seed: int) -> Path:
    """The run of a SeaMo that learned from some tiles alone; made below `out`, unless it is there."""
    run = out / f"real-seed{seed}"
    if not (run / "final").is_dir():
        for tile in tiles:
            at = out / "raw" / "EuroSAT_MS" / tile.parent.name / tile.name
            at.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(tile, at)
        _call("seamo_prep.cli", "build", "eurosat", "--raw", out / "raw", "--store", out, "--splits", "none")
        sets = [word for one in (f"seed={seed}", *SETTINGS) for word in ("--set", one)]
        _call("seamo.cli", "pretrain", "seamo-demo", "--resume", "--store", out / "eurosat", "--out", run, *sets)
        shutil.rmtree(out / "raw")
    return run


def features_of(backbone: str, store: Store) -> NDArray[np.float64]:
    """Pooled features of every tile, (N, D), in the order of the store."""
    loaded = seamo_bench.load_backbone(backbone, store=store)
    with torch.no_grad():
        parts = [loaded.features(batch).pooled[: len(batch)] for batch in store.loader("all", 64)]
    return np.concatenate([part.double().numpy() for part in parts])


def ridge(features: NDArray[np.float64], labels: NDArray[np.int64], train: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which samples a ridge classifier gets right that saw the samples of `train`.

    One-hot targets on standardised features; of penalties from 1e-6 to 10 times the number of samples, half a decade
    apart, the one whose squared leave-one-out error is smallest (Golub, Heath and Wahba 1979), which takes no
    validation split from few tiles. Features of neighbouring bands are nearly the same: small penalties are needed.
    """
    scale = features[train].std(axis=0)
    x = (features - features[train].mean(axis=0)) / np.where(scale > 0, scale, 1)
    y = np.eye(labels.max() + 1)[labels]
    target = y[train] - y[train].mean(axis=0)
    u, s, vt = np.linalg.svd(x[train], full_matrices=False)
    best, weights = np.inf, np.zeros((x.shape[1], y.shape[1]))
    for penalty in PENALTIES * train.sum():
        shrunk = s**2 / (s**2 + penalty)
        own = (u**2 * shrunk).sum(axis=1) + 1 / train.sum()
        left_out = (target - u @ (shrunk[:, None] * (u.T @ target))) / (1 - own)[:, None]
        if (left_out**2).mean() < best:
            best = float((left_out**2).mean())
            weights = vt.T @ ((shrunk / np.maximum(s, 1e-12))[:, None] * (u.T @ target))
    answer = x @ weights + y[train].mean(axis=0)
    return np.asarray(answer.argmax(axis=1) == labels)


def interval(per_tile: NDArray[np.float64]) -> list[float]:
    """Mean and 95 % interval over tiles, by the bootstrap, and the p of a mean of 0 by the same resamples."""
    rng = np.random.default_rng(0)
    means = per_tile[rng.integers(0, len(per_tile), (4000, len(per_tile)))].mean(axis=1)
    p = 2 * min((means <= 0).mean(), (means >= 0).mean())
    ends = np.quantile(means, (0.025, 0.975))
    return [float(per_tile.mean()), float(ends[0]), float(ends[1]), min(1.0, float(p))]


def _call(module: str, *words: object) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", module, *map(str, words)], check=True, env=environment)  # noqa: S603 (ours)


def main() -> None:
    """All folds, then the figures."""
    parser = argparse.ArgumentParser(prog="python examples/real_folds.py", description="Pretraining on few real tiles.")
    parser.add_argument("tiles", type=Path, help="holds EuroSAT_MS/<Class>/<Class>_<n>.tif")
    parser.add_argument("out", type=Path, help="everything that is made")
    parser.add_argument("--repeats", type=int, default=5, choices=range(1, 6), help="how many of the five divisions")
    parser.add_argument("--seed", type=int, default=0, help="of the pretrainings")
    args = parser.parse_args()
    files = {tile.stem: tile for tile in sorted((args.tiles / "EuroSAT_MS").glob("*/*.tif"))}
    if not files:
        parser.error(f"{args.tiles}: no EuroSAT_MS/<Class>/<Class>_<n>.tif")
    torch.set_num_threads(1)
    _call("seamo_prep.cli", "build", "eurosat", "--raw", args.tiles, "--store", args.out, "--splits", "cv5x5")
    store = open_store(args.out / "eurosat")
    keys, labels = list(store.index["key"]), store.index["label"].to_numpy().astype(np.int64)
    fixed = {name: features_of(name, store) for name in FLOORS}
    hits: dict[str, NDArray[np.float64]] = {}
    for repeat in range(args.repeats):
        folds = store.index[f"fold{repeat}"].to_numpy()
        for fold in range(int(folds.max()) + 1):
            train = folds != fold
            learned = [files[key] for key, one in zip(keys, train, strict=True) if one]
            run = pretrained_without(args.out / f"repeat{repeat}-fold{fold}", learned, seed=args.seed)
            features = dict(fixed)
            for pooling, look in LOOKS.items():
                features[f"pretrained, {pooling}"] = features_of(f"{run}@{look}", store)
                features[f"random weights, {pooling}"] = features_of(f"{run}@{look}+random:{args.seed}", store)
            for name, values in features.items():
                right = ridge(values, labels, train)
                hits.setdefault(name, np.zeros((args.repeats, len(keys))))[repeat, ~train] = right[~train]
            print(f"repeat {repeat}, fold {fold}: done", file=sys.stderr)
    scores = {name: interval(kept.mean(axis=0)) for name, kept in hits.items()}
    gains = {one: interval((hits[f"pretrained, {one}"] - hits[f"random weights, {one}"]).mean(axis=0)) for one in LOOKS}
    told = {"tiles": len(keys), "repeats": args.repeats, "seed": args.seed, "scores": scores, "gains": gains}
    np.savez(args.out / "hits.npz", **hits)  # 1.0 where right: (repeats, tiles), tiles in the order of the store
    (args.out / "figures.json").write_text(json.dumps(told, indent=1) + "\n", encoding="ascii")
    for title, rows in (("top-1, percent", scores), ("pretrained minus random weights, points", gains)):
        print(title)
        for name, (middle, low, high, p) in rows.items():
            said = f"  p {p:.3f}" if rows is gains else ""
            print(f"  {100 * middle:6.1f} [{100 * low:.1f}, {100 * high:.1f}]  {name}{said}")


if __name__ == "__main__":
    main()
