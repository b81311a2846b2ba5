"""How `change` sees a place: both dates through one encoder, the loss weighed by the share of change."""

import copy
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from seamo.data.loader import Loader
from seamo.errors import ProtocolError
from seamo.inputs.adapter import Adapter
from seamo.sample import IGNORE
from seamo.store.format import finest_layer
from seamo_bench.protocol import Context, Outcome, Rows
from seamo_bench.protocols.dense.seeds import run_task
from seamo_bench.protocols.dense.tiles import DenseTask, mask_of


def run_change(context: Context) -> Iterator[Outcome]:
    """Seed by seed: train, choose, test; see `seamo_bench.protocols.dense.seeds`.

    Raises:
        ProtocolError: For a parameter that is none, or images of varying size.
        TrainingError: If no learning rate has a finite loss.
    """
    difference, weighing = context.params["difference"], context.params["class_weights"]
    if difference not in ("signed", "absolute"):
        raise ProtocolError(f"is {difference!r}, not signed or absolute", "parameter difference")
    if weighing not in ("change-share", "none"):
        raise ProtocolError(f"is {weighing!r}, not change-share or none", "parameter class_weights")

    def weights(rows: Rows) -> tuple[float, ...] | None:
        return change_weights(context, rows) if weighing == "change-share" else None

    yield from run_task(DenseTask(context, both_dates(context), str(difference), weights))


def both_dates(context: Context) -> tuple[Adapter, Adapter]:
    """The backbone's adapter for the first and for the second date.

    Raises:
        ProtocolError: If a sensor does not have two dates.
    """
    adapter = context.backbone.adapter
    if adapter is None:
        raise ProtocolError("was not loaded for a store", context.backbone.card.id)
    for one in adapter.wiring.sensors:
        if one.layers[0].times != 2:
            raise ProtocolError(f"change needs 2 dates, {one.stack} has {one.layers[0].times}", context.store.title)
    first, second = copy.copy(adapter), copy.copy(adapter)
    first.wiring = replace(adapter.wiring, dates=(0,))
    second.wiring = replace(adapter.wiring, dates=(1,))
    return first, second


def change_weights(context: Context, rows: Rows) -> tuple[float, float]:
    """Weights of no change and change, from the share p of changed pixels among those with a class.

    Raises:
        ProtocolError: If the task does not have two classes, or training has no change at all.
    """
    if len(context.task.classes) != 2 or context.task.positive != 1:
        raise ProtocolError("weighs two classes, no change and change, in this order", "class_weights change-share")
    changed = labelled = 0
    layer = finest_layer(context.store.spec).id
    for batch in Loader(context.store, rows, 64, layers=(layer,), label_space=context.task.label_space):
        mask = mask_of(batch).numpy()[~batch.padding.numpy()]
        changed += int((mask == 1).sum())
        labelled += int((mask != IGNORE).sum())
    if not changed:
        raise ProtocolError("no training tile shows a change", context.store.title, "Use more labels.")
    p = float(np.float64(changed) / labelled)
    return 20.0 * p, 2.0 * (1.0 - p)
