"""One vector for every sample and date of a store."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seamo.data.batch import Batch
from seamo.data.crops import View, crop_stack, whole_view
from seamo.data.loader import Loader
from seamo.errors import BandError, StoreError, UsageError
from seamo.manifest import LayerSpec, Statistics
from seamo.model.seamo import SeaMo
from seamo.pretrain.inputs import store_statistics
from seamo.progress import Progress
from seamo.store.reader import Store
from seamo.use.inputs import Channels, Pretrained, plan_channels
from seamo.use.options import Missing, check_table
from seamo.use.parts import Parts

PART = 1024  # samples that are finished together


@dataclass(frozen=True, slots=True)
class Reading:
    """What of a store is encoded, and how.

    Args:
        sensors: Of the model, encoded together; empty: all that the store has.
        stacks: Sensor -> stack; a sensor left out takes the stack of pretraining, else the only one it has.
        split: Of the store, or `all`.
        size: Side in pixels to which images are resized (as crops are in pretraining), whatever their shape; 0: that of
            pretraining.
        missing: See `seamo.use.inputs.plan_channels`.
        statistics: `card`, or `store`: the store's own statistics of its train split.
        batch: Samples encoded at once.
    """

    sensors: tuple[str, ...] = ()
    stacks: tuple[tuple[str, str], ...] = ()
    split: str = "all"
    size: int = 0
    missing: Missing = "refuse"
    statistics: str = "card"
    batch: int = 32


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A reading, worked out for one model and one store.

    Args:
        model: The model to use.
        layers: Sensor -> layers of its stack.
        channels: Sensor -> how its pixels become input.
        rows: Of the store.
        times: Dates a sample.
        size: Side of the model's input in pixels.
        batch: Samples encoded at once.
    """

    model: SeaMo
    layers: Mapping[str, tuple[LayerSpec, ...]]
    channels: Mapping[str, Channels]
    rows: NDArray[np.int64]
    times: int
    size: int
    batch: int

    @property
    def layer_ids(self) -> tuple[str, ...]:
        """Layers to read."""
        return tuple(
            layer.id
            for s, layers in self.layers.items()
            for layer in layers
            if set(layer.bands) & set(self.channels[s].have)
        )

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self.model.config.dim


def plan_reading(pretrained: Pretrained, store: Store, reading: Reading) -> Plan:
    """Work out sensors, stacks, bands and numbers.

    Raises:
        UsageError, BandError, StoreError: If the store cannot be read as asked.
    """
    model, card = pretrained.model, pretrained.card
    made = card["provenance"].get("stacks", {})
    stacks = _stacks(model.config.sensors, store, reading, made)
    layers = {s: store.spec.stack_layers(stack) for s, stack in stacks.items()}
    every = [layer for several in layers.values() for layer in several]
    finest = min(layer.gsd_m for layer in store.spec.layers)
    if any(layer.size is None and layer.gsd_m != finest for layer in every):
        raise StoreError("images vary in size and resolution", store.title, "Bands of one resolution can be embedded.")
    times = {store.spec.num_times(stack) for stack in stacks.values()}
    if len(times) != 1:
        raise UsageError(f"stacks {', '.join(stacks.values())} differ in their dates", store.title, "Give --sensor.")
    channels = {}
    for s, several in layers.items():
        model, channels[s] = plan_channels(
            model,
            card["normalisation"],
            s,
            have=[name for layer in several for name in layer.bands],
            unit=several[0].unit,
            missing=reading.missing,
            statistics=_statistics(store, several, reading.statistics),
        )
    size = reading.size or model.config.size
    if size % model.config.patch:
        raise UsageError(f"size {size} is not a multiple of the patch", "embed", f"It is {model.config.patch}.")
    return Plan(model, layers, channels, store.rows(reading.split), times.pop(), size, reading.batch)


def inputs_of(plan: Plan, batch: Batch, device: torch.device) -> tuple[dict[str, Tensor], Tensor]:
    """What the model takes for a batch.

    Returns:
        Sensor -> images (B, T, C, S, S); and (B, T), True where every sensor has an image.
    """
    moved = batch.to(device)
    view = _view(plan, moved)
    images, there = {}, torch.ones(len(batch), plan.times, dtype=torch.bool, device=device)
    for s, layers in plan.layers.items():
        channels = plan.channels[s]
        read = [layer for layer in layers if layer.id in plan.layer_ids]
        crop = crop_stack(moved.layers, read, view, bands=channels.have, size=plan.size, holes=batch.holes)
        pixels = crop.pixels if crop.valid is None else crop.pixels.masked_fill(~crop.valid, torch.nan)
        images[s] = channels(pixels)
        for layer in read:
            there &= moved.valid[layer.id]
    return images, there


def _view(plan: Plan, batch: Batch) -> View:
    """Whole images; of those that vary in size, which lie padded in the batch, the image itself."""
    view = whole_view(len(batch), plan.times, device=batch.rows.device)
    varying = [layer.id for layers in plan.layers.values() for layer in layers if layer.size is None]
    if not varying:
        return view
    padded = torch.tensor(batch.layers[varying[0]].shape[-2:], device=batch.rows.device)
    box = view.box.clone()
    box[..., 2:] = (batch.size.double() / padded)[:, None]
    return View(box, view.flip)


def batches_of(plan: Plan, store: Store, rows: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], Batch]]:
    """(places in `rows`, batch), until every row was there; images of one size come together.

    Args:
        plan: What is read.
        store: The store.
        rows: Ascending.
    """
    for batch in Loader(store, rows, plan.batch, layers=plan.layer_ids, find_holes=True):
        yield np.searchsorted(rows, batch.rows.numpy()), batch


def encode_batch(plan: Plan, batch: Batch) -> NDArray[np.float32]:
    """Features of a batch, (B, T, D); NaN where an image is absent."""
    device = next(plan.model.parameters()).device
    with torch.inference_mode():
        images, there = inputs_of(plan, batch, device)
        features = plan.model.pool({s: x.flatten(0, 1) for s, x in images.items()}).float()
        features = features.reshape(len(batch), plan.times, -1)
        features[~there] = torch.nan
    array: NDArray[np.float32] = features.cpu().numpy()
    return array


def embed_store(
    pretrained: Pretrained, store: Store, reading: Reading, out: Path, *, progress: TextIO | None = None
) -> dict[str, Any]:
    """Write a vector for every sample and date of a store.

    Every 1,024 samples are kept beside the output until it is whole: the same call goes on with them after a kill.

    Args:
        pretrained: The model.
        store: The store.
        reading: What of it.
        out: `.parquet` (one row a sample and date: key, split, slot, a date a stack, feature; absent images are
            left out) or `.npz` (features (N, T, D) with NaN where absent, key, split, a date a stack).
        progress: Where to show the way.

    Returns:
        What was done; also written into the output.

    Raises:
        UsageError, BandError, StoreError: If the store cannot be read as asked.
    """
    check_table(out)
    plan = plan_reading(pretrained, store, reading)
    about: dict[str, Any] = {
        "weights_sha256": pretrained.identity,
        "store": {"title": store.title, "content": store.content, "split": reading.split},
        "size": plan.size,
        "inputs": [one.facts() for one in plan.channels.values()],
        "pooling": "mean of all tokens after the final norm",
    }
    groups = [plan.rows[at : at + PART] for at in range(0, len(plan.rows), PART)]
    parts = Parts(out, about, len(groups))
    first = parts.first_missing
    meter = Progress(progress, "samples", len(plan.rows), done=min(first * PART, len(plan.rows)))
    for k in range(first, len(groups)):
        found = np.empty((len(groups[k]), plan.times, plan.dim), dtype=np.float32)
        for places, batch in batches_of(plan, store, groups[k]):
            found[places] = encode_batch(plan, batch)
            meter.add(len(batch))
        parts.save(k, found)
    features = np.concatenate([parts.load(k) for k in range(len(groups))])
    write = _write_parquet if out.suffix == ".parquet" else _write_npz
    table = _table(plan, store)
    with parts.writing():
        write(parts.whole, features, table, about)
    parts.finish()
    return {"out": str(out), "samples": len(features), "dates": plan.times, "dim": plan.dim, **about}


def dates_of(plan: Plan, store: Store) -> dict[str, NDArray[np.datetime64]]:
    """Stack -> (N, T) datetime64[s] of the plan's rows, NaT where there is none."""
    stacks = [layers[0].stack for layers in plan.layers.values()]
    none = np.full(plan.times, np.datetime64("NaT"), dtype="datetime64[s]")
    read = [store.read_times(int(row)) for row in plan.rows]
    return {stack: np.stack([one.get(stack, none) for one in read]) for stack in stacks}


def _table(plan: Plan, store: Store) -> dict[str, NDArray[Any]]:
    index = store.index
    table = {name: index[name].to_numpy()[plan.rows].astype(str) for name in ("key", "split")}
    return table | {f"date.{stack}": dates for stack, dates in dates_of(plan, store).items()}


def _write_npz(
    path: Path, features: NDArray[np.float32], table: Mapping[str, NDArray[Any]], about: Mapping[str, Any]
) -> None:
    with path.open("wb") as file:
        np.savez(file, features=features, about=np.array(json.dumps(about)), **table)  # type: ignore[arg-type]


def _write_parquet(
    path: Path, features: NDArray[np.float32], table: Mapping[str, NDArray[Any]], about: Mapping[str, Any]
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sample, slot = np.nonzero(~np.isnan(features[..., 0]))
    columns: dict[str, Any] = {name: pa.array(table[name][sample]) for name in ("key", "split")}
    columns["slot"] = pa.array(slot.astype(np.int32))
    for name in [name for name in table if name.startswith("date.")]:
        columns[name] = pa.array(table[name][sample, slot].astype("datetime64[ms]"))
    flat = np.ascontiguousarray(features[sample, slot])
    columns["feature"] = pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), flat.shape[1])
    pq.write_table(pa.table(columns).replace_schema_metadata({"seamo": json.dumps(about)}), path)


def _stacks(sensors: Sequence[str], store: Store, reading: Reading, made: Mapping[str, str]) -> dict[str, str]:
    given = dict(reading.stacks)
    there = {s: [x for x in store.spec.stacks if store.spec.stack_layers(x)[0].sensor == s] for s in sensors}
    wanted = reading.sensors or tuple(s for s in sensors if there[s])
    unknown = [s for s in (*wanted, *given) if s not in sensors]
    if unknown or not wanted:
        have = ", ".join(sensors)
        raise UsageError(f"no sensor {unknown[0] if unknown else ''} to embed", store.title, f"The model has {have}.")
    found = {}
    for s in [s for s in sensors if s in wanted]:
        if s in given or (s in made and made[s] in there[s]):
            found[s] = given[s] if s in given else made[s]
        elif len(there[s]) == 1:
            found[s] = there[s][0]
        elif there[s]:
            raise UsageError(f"{s} has stacks {', '.join(there[s])}", store.title, f"Give --stack {s}={there[s][0]}.")
        else:
            raise BandError(f"has no {s}", store.title, f"Its stacks: {', '.join(store.spec.stacks)}.")
    return found


def _statistics(store: Store, layers: tuple[LayerSpec, ...], name: str) -> Statistics | None:
    if name not in ("card", "store"):
        raise UsageError(f"no statistics {name!r}", "embed", "For a store: card or store.")
    return store_statistics(store, layers) if name == "store" else None
