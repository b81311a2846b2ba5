"""Predictions and records that readings, draws and tables may tell otherwise."""

from pathlib import Path

import numpy as np

from seamo_bench import facts as f
from seamo_bench.predictions import ClassPredictions, TilePredictions, tile_confusion
from seamo_bench.records.record import About, Record, write_record
from seamo_bench.scores.readings import READINGS

LISTED = {one.id: one for one in READINGS}
RNG = np.random.default_rng


def many_labels(n: int = 80, k: int = 6, *, seed: int = 0) -> ClassPredictions:
    rng = RNG(seed)
    labels = (rng.random((n, k)) < np.linspace(0.08, 0.6, k)).astype(np.uint8)
    labels[:, 0] |= ~labels.any(axis=1)  # every sample has a class
    scores = (labels * 1.2 + rng.normal(0, 1.0, (n, k)) - 0.5).astype(np.float32)
    return ClassPredictions(np.array([f"k{i:03d}" for i in range(n)]), labels, scores)


def one_label(n: int = 80, k: int = 5, *, seed: int = 0, right: float = 0.6) -> ClassPredictions:
    rng = RNG(seed)
    labels = np.minimum(rng.geometric(0.4, n) - 1, k - 1)
    guess = np.where(rng.random(n) < right, labels, (labels + 1) % k)
    return ClassPredictions(np.array([f"k{i:03d}" for i in range(n)]), labels, np.eye(k, dtype=np.float32)[guess])


def masks(n: int = 40, k: int = 2, *, seed: int = 0) -> tuple[list[np.ndarray], list[np.ndarray], TilePredictions]:
    """Truth and prediction of images of several sizes, some of them without the last class, and their predictions."""
    rng = RNG(seed)
    truth, guess = [], []
    for i in range(n):
        share = 0.0 if i % 4 == 0 else rng.random() * 0.5
        shape = (int(rng.integers(3, 9)), 7)
        true = np.where(rng.random(shape) < share, k - 1, rng.integers(0, k - 1, shape) if k > 2 else 0)
        wrong = rng.random(shape) < (0.0 if i % 8 == 0 else 0.15)
        truth.append(true)
        guess.append(np.where(wrong, (true + 1) % k, true))
    counts = np.stack([tile_confusion(a, b, k) for a, b in zip(truth, guess, strict=True)])
    return truth, guess, TilePredictions(np.array([f"t{i:03d}" for i in range(n)]), counts)


def value(name, predictions, scoring) -> float:
    return float(LISTED[name].prepare(predictions, scoring)(np.ones((1, len(predictions.keys))))[0])


def facts(kind: str, k: int, *, salt: int = 0, scheme: str = "official", fraction: float = 1.0, **rest) -> f.Facts:
    lists = {"train": f"{salt}" * 64, "test": rest.pop("test", "2" * 64)}
    return f.Facts(
        stores=(f.StoreFacts(id="toy", content="c" * 64, synthetic=True),),
        split=f.SplitFacts(scheme=scheme, lists=lists, fraction=fraction, salt=salt),
        task=f.TaskFacts(
            kind=kind,
            classes=tuple(f"class {i}" for i in range(k)),
            positive=1 if kind == "change" else None,
        ),
        backbone=f.BackboneFacts(id=rest.pop("backbone", "mine"), card="d" * 64),
        protocol=f.ProtocolFacts(id="logreg", version=3, params=rest.pop("params", {})),
        **rest,
    )


def record_of(p, kind: str) -> Record:
    k = p.confusion.shape[1] if isinstance(p, TilePredictions) else p.scores.shape[1]
    about = About(stores=("Toy (synthetic)",), backbone="Mine")
    return Record(key="a" * 64, status="ok", facts=facts(kind, k), about=about)


def put(folder: Path, *, seed: int = 0, right: float = 0.6, **rest) -> Record:
    about = About(stores=("Toy (synthetic)",), backbone="Mine")
    p = one_label(seed=1, right=right)
    return write_record(folder, facts("single-label", 5, seed=seed, **rest), about=about, predictions=p)
