"""Evaluation of `dense` and `change`: what is chosen on validation is counted as the test is, on stitched scenes."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from seamo.errors import ProtocolError
from seamo.sample import IGNORE
from seamo_bench.predictions import TilePredictions
from seamo_bench.protocol import Rows, number
from seamo_bench.protocols.dense.tiles import Candidate, DenseTask, Segmenter
from seamo_bench.scores.metrics import PRIMARY, compute
from seamo_bench.tasks.stitch import (
    ScoredScene,
    StitchedImage,
    Stitcher,
    Tile,
    images_of,
    keeps_ids,
    stitch,
    tile_predictions,
)


def probabilities_of(
    task: DenseTask, models: Sequence[Segmenter], rows: Rows
) -> Iterator[tuple[list[NDArray[np.float32]], NDArray[np.uint8]]]:
    """Tile by tile in the order of `rows`: the class probabilities (K, H, W) of each model, and the mask.

    The models share their encoder.
    """
    context = task.context
    size = min(int(number(context.params, "batch")), 64)
    autocast = torch.autocast(context.device.type, torch.bfloat16, enabled=context.precision == "bf16")
    for batch in task.loader(rows, size):
        moved = batch.to(context.device)
        masks = task.mask(batch).numpy().copy()
        with torch.inference_mode(), autocast:
            levels = models[0].levels(task.inputs(moved))
            grid = (masks.shape[1], masks.shape[2])
            every = [model.logits(levels, grid).float().softmax(dim=1).cpu().numpy() for model in models]
        for position in range(len(batch)):
            if not bool(batch.padding[position]):
                yield [one[position] for one in every], masks[position]


def validate(task: DenseTask, candidates: Sequence[Candidate], rows: Rows) -> list[tuple[float, float]]:
    """(primary metric, minus the loss) of every candidate; (-1, 0) for one that diverged.

    The metric is counted on stitched scenes, as that of the test is; the loss, which breaks ties, tile by tile.
    """
    num_classes = len(task.context.task.classes)
    images = scored_images(task, rows)
    tiles = probabilities_of(task, [one.model for one in candidates], np.concatenate([one.rows for one in images]))
    counts: list[list[NDArray[np.int64]]] = [[] for _ in candidates]
    losses = np.zeros(len(candidates))
    finite = np.array([not one.diverged for one in candidates])
    pixels = 0
    for image in images:
        stitchers = [Stitcher(image, num_classes, keep=False) for _ in candidates]
        for every, truth in itertools.islice(tiles, len(image.rows)):
            there = truth != IGNORE
            pixels += int(there.sum())
            for position, probabilities in enumerate(every):
                finite[position] &= bool(np.isfinite(probabilities).all())
                stitchers[position].add(Tile(probabilities, truth))
                own = np.take_along_axis(probabilities, np.where(there, truth, 0)[None].astype(np.int64), axis=0)[0]
                losses[position] -= float(np.log(np.maximum(own[there], np.finfo(np.float32).tiny)).sum())
        for kept, stitcher in zip(counts, stitchers, strict=True):
            kept.append(stitcher.finish().confusion)
    if not pixels:
        raise ProtocolError("no validation pixel has a class", task.context.store.title, "Choose another split.")
    keys = np.array([image.key for image in images], dtype=np.str_)
    merits = []
    for position, candidate in enumerate(candidates):
        if not finite[position]:
            candidate.diverged = True
            merits.append((-1.0, 0.0))
            continue
        found = TilePredictions(keys, np.stack(counts[position]))
        value = float(compute(PRIMARY[task.scoring.kind], found, task.scoring)[0])
        merits.append((0.0 if np.isnan(value) else value, -float(losses[position]) / pixels))
    return merits


def test(task: DenseTask, model: Segmenter, rows: Rows) -> TilePredictions:
    """Predictions of the test tiles, stitched to scenes where their places are known; one scene at a time."""
    images = scored_images(task, rows)
    num_classes = len(task.context.task.classes)
    ordered = np.concatenate([image.rows for image in images])
    tiles = (Tile(every[0], truth) for every, truth in probabilities_of(task, [model], ordered))
    keep = keeps_ids(images)
    done = itertools.accumulate(len(image.rows) for image in images)

    def scored() -> Iterator[ScoredScene]:
        for image, count in zip(images, done, strict=True):
            yield stitch(image, itertools.islice(tiles, len(image.rows)), num_classes, keep=keep)
            task.context.progress(count, len(ordered), "test tiles")

    return tile_predictions(images, scored())


def scored_images(task: DenseTask, rows: Rows) -> list[StitchedImage]:
    """What counts as one image of a split."""
    store = task.context.store
    part = store.index.iloc[rows]
    size = task.mask_layer.size
    return images_of(
        rows,
        keys=[str(key) for key in part["key"]],
        scenes=[str(scene) for scene in part["scene"].fillna("")],
        corners=part[["y0", "x0"]].to_numpy(dtype=np.int64),
        sizes=np.tile(np.array(size, dtype=np.int64), (len(rows), 1)),
    )
