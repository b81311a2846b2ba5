"""Stores whose samples have places, and records that are right with one rate on some and with another elsewhere."""

import dataclasses
import json
from pathlib import Path

import numpy as np

from seamo.sample import GeoRef
from seamo.store.reader import Store
from seamo_bench import facts as f
from seamo_bench.board import overlap as board
from seamo_bench.predictions import ClassPredictions, Scoring
from seamo_bench.questions.overlap import overlaps
from seamo_bench.questions.seen import SeenShelf
from seamo_bench.records import record as r
from seamo_bench.tasks.stores import find_build, store_facts
from tests.bench import bench_store

SINGLE = Scoring("single-label")
UTM = "EPSG:32633"


def placed_store(root: Path, n: int = 90, *, name: str = "toy", step: float = 80.0, shift: float = 0.0) -> Store:
    """Samples of 80 m side by side in rows of ten, from 500 km east and 5,400 km north of UTM zone 33."""
    spec = bench_store.toy_spec()
    spec = spec.model_copy(update={"id": name, "title": name.title()})
    samples = bench_store.toy_samples(spec, n)
    for i, sample in enumerate(samples):
        x, y = 600_000.0 + step * (i % 10) + shift, 5_400_000.0 - step * (i // 10)
        samples[i] = dataclasses.replace(sample, geo=GeoRef(UTM, (10.0, 0.0, x, 0.0, -10.0, y)))
    return bench_store.build_store(root, spec, samples)


def opened(root: Path, name: str) -> Store:
    return find_build(root / name)


def guesses(keys: list[str], labels: np.ndarray, right: np.ndarray, **more: np.ndarray) -> ClassPredictions:
    guess = np.where(right, labels, (labels + 1) % 3)
    return ClassPredictions(np.array(keys), labels, (2 * np.eye(3)[guess]).astype(np.float32), **more)


def put(
    results: Path,
    store: Store,
    name: str,
    rates: tuple[float, float],
    *,
    seed: int = 0,
    content: str = "",
    split: str = "all",
    floor: str = "",
    folds: bool = False,
    weights: str = "",
    told: dict[str, str] | None = None,
) -> r.Record:
    """A record of all samples of a store, right with one rate on its first 30 samples and with another elsewhere."""
    n = len(store)
    keys = [f"s{i:04d}" for i in range(n)]
    labels = np.arange(n) % 3
    right = np.random.default_rng([seed, len(name)]).random(n) < np.where(np.arange(n) < 30, *rates)
    more = {"repeats": np.zeros(n, np.int16), "folds": (np.arange(n) % 5).astype(np.int16)} if folds else {}
    facts = f.Facts(
        stores=(store_facts(store),),
        split=f.SplitFacts(scheme="cv" if folds else "all", lists={"test": "2" * 64}),
        task=f.TaskFacts(kind="single-label", classes=("a", "b", "c")),
        backbone=f.BackboneFacts(id=name, card="d" * 64, weights=weights),
        protocol=f.ProtocolFacts(id="linear", version=1),
        seed=seed,
    )
    if content:
        told = {"pretrained_on.content": json.dumps(content), "data.split": json.dumps(split)}
    about = r.About(stores=(store.title,), backbone=name, floor=floor, pretraining=told or {})  # type: ignore[arg-type]
    return r.write_record(results, facts, about=about, predictions=guesses(keys, labels, right, **more))


def rows_of(results: Path, root: Path, **more: object) -> dict[str, board.OverlapRow]:
    lists = more.pop("lists", None)
    shelf = SeenShelf(root, lists)  # type: ignore[arg-type]
    answer, _ = overlaps(r.read_records(results), results, shelf, resamples=200, **more)  # type: ignore[arg-type]
    return {row.row: row for row in answer.rows}
