"""A probe while it trains: frozen features of a small labelled store, under heads in closed form, every few epochs.

The heads are fitted to images of the store's `train` split and asked about those of `val`. `test` is never read: a
number that one looks at while training is a number that one chooses by. Nothing here draws from a global generator,
and no weight is touched: a run is the same to the bit with and without it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from seamo.data.loader import Loader
from seamo.errors import RecipeError, StoreError
from seamo.identity import digest
from seamo.inputs.adapter import Adapter
from seamo.inputs.pretrained import expects_of
from seamo.inputs.statistics import store_statistics
from seamo.inputs.wiring import wire
from seamo.model.seamo import SeaMo
from seamo.pretrain.frozen import Classes, Features, neighbour_classes, ridge_classes
from seamo.pretrain.probed import ProbeRow
from seamo.pretrain.recipe import ProbePart
from seamo.store.reader import Store, open_store

_SPLITS = ("train", "val")
_BATCH = 64


@dataclass(frozen=True, slots=True, eq=False)
class TrainingProbe:
    """What a run is probed on.

    Args:
        store: A labelled one.
        adapter: How the network reads it.
        rows: Split -> rows of the store, ascending.
        classes: Split -> the class id of each row.
        on: Digest of all this: probes of one run are compared where it is the same.
    """

    store: Store
    adapter: Adapter
    rows: Mapping[str, NDArray[np.int64]]
    classes: Mapping[str, Classes]
    on: str


def plan_probe(part: ProbePart, described: Mapping[str, Any]) -> TrainingProbe:
    """Open the probe's store, choose its images and wire them.

    Args:
        part: Of the recipe, with a store.
        described: `config`, `normalisation` and `provenance` of the network, as its card will have them.

    Raises:
        RecipeError: If the store's samples are not of one class each.
        StoreError: If it cannot be opened, or lacks a split, labels or statistics.
        BandError, ProtocolError: If the network cannot read it.
    """
    store = open_store(part.store)
    if store.spec.task.kind != "single-label":
        what = f"is of the task {store.spec.task.kind}, a probe needs one class a sample"
        raise RecipeError(what, f"probe.store, {store.title}", "Take another store, such as eurosat.")
    own = tuple(described["config"]["bands"]) if part.statistics == "pretrain" else ()
    network = expects_of(described, "the network that trains", own=own)
    wiring = wire(network, store.spec, statistics=store_statistics(store), size=part.size or None)
    rows, classes = {}, {}
    for split in _SPLITS:
        rows[split], classes[split] = _labelled(store, split, wiring.layers, part.samples)
    facts = {
        "content": store.content,
        "rows": {split: [int(row) for row in some] for split, some in rows.items()},
        "statistics": part.statistics,
        "size": list(wiring.size or ()),
        "stacks": [sensor.stack for sensor in wiring.sensors],
    }
    return TrainingProbe(store, Adapter(wiring), rows, classes, digest(facts)[:16])


def measure(probe: TrainingProbe, model: SeaMo, *, step: int, stage: int, epochs: int) -> ProbeRow:
    """Probe a network as it is; it comes back as it was.

    Args:
        probe: On what.
        model: The network, where it computes.
        step: Optimiser steps that it has behind it.
        stage: Whose network it is.
        epochs: That it has behind it.
    """
    trained = model.training
    model.eval()
    features = {split: _encode(probe, model, split) for split in _SPLITS}
    model.train(trained)
    train, classes = features["train"], probe.classes["train"]
    heads = {"ridge": ridge_classes, "knn": neighbour_classes}
    right = {name: head(train, classes, features["val"]) == probe.classes["val"] for name, head in heads.items()}
    return ProbeRow(step, stage, epochs, probe.on, len(train), right)


@torch.no_grad()
def _encode(probe: TrainingProbe, model: SeaMo, split: str) -> Features:
    """Pooled features (N, D) of the rows of a split, in their order."""
    device, rows = next(model.parameters()).device, probe.rows[split]
    found = np.empty((len(rows), model.config.dim))
    # Images of varying size come in another order than that of the rows.
    for batch in Loader(probe.store, rows, _BATCH, layers=probe.adapter.wiring.layers, find_holes=True):
        pooled = model.pool(probe.adapter(batch.to(device))).double().cpu().numpy()
        found[np.searchsorted(rows, batch.rows.numpy())] = pooled
    return found


def _labelled(store: Store, split: str, layers: tuple[str, ...], samples: int) -> tuple[NDArray[np.int64], Classes]:
    """Some rows of a split that have a class and all images, by the rule of subsets; and their classes."""
    every = store.rows(split)
    rows = store.rows(split, min(1.0, samples / max(len(every), 1)))
    labels = [store.read_label(int(row)) for row in rows]
    there = np.array([isinstance(label, int) for label in labels], dtype=np.bool_)
    for layer in layers:
        there &= store.are_valid(rows, layer)
    classes = np.array([label for label, sound in zip(labels, there, strict=True) if sound], dtype=np.int64)
    if len(classes) < 2:
        raise StoreError(f"split {split} has {len(classes)} labelled images to probe", store.title)
    return rows[there], classes
