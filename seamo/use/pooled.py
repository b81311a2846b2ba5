"""One vector for every sample and date of a store."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seamo.data.batch import Batch
from seamo.data.loader import Loader
from seamo.errors import BandError, StoreError, UsageError
from seamo.inputs.adapter import Adapter, measured
from seamo.inputs.check import check_range
from seamo.inputs.spec import MissingPolicy
from seamo.inputs.statistics import pretraining_part, store_statistics
from seamo.licences import terms_of
from seamo.manifest import Statistics
from seamo.model.seamo import SeaMo
from seamo.progress import Progress
from seamo.store.reader import Store
from seamo.units import unit_doubt
from seamo.use.inputs import Pretrained, facts_of, fit
from seamo.use.options import check_table
from seamo.use.parts import Parts

log = logging.getLogger(__name__)
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
        missing: See `seamo.inputs.spec.MissingPolicy`.
        statistics: `card`, or `store`: the store's own statistics of its train split.
        batch: Samples encoded at once.
    """

    sensors: tuple[str, ...] = ()
    stacks: tuple[tuple[str, str], ...] = ()
    split: str = "all"
    size: int = 0
    missing: MissingPolicy = "fail"
    statistics: str = "card"
    batch: int = 32


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A reading, worked out for one model and one store.

    Args:
        model: The model to use.
        adapter: Turns batches into its input.
        inputs: What is done to each sensor, as plain values.
        rows: Of the store.
        times: Dates a sample.
        batch: Samples encoded at once.
    """

    model: SeaMo
    adapter: Adapter
    inputs: list[dict[str, Any]]
    rows: NDArray[np.int64]
    times: int
    batch: int

    @property
    def stacks(self) -> tuple[str, ...]:
        """Stacks that are read."""
        return tuple(sensor.stack for sensor in self.adapter.wiring.sensors)

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self.model.config.dim


def plan_reading(pretrained: Pretrained, store: Store, reading: Reading) -> Plan:
    """Work out sensors, stacks, bands and numbers.

    Raises:
        UsageError, BandError, StoreError, ProtocolError: If the store cannot be read as asked.
    """
    model, card = pretrained.model, pretrained.card
    stacks = _stacks(model.config.sensors, store, reading, card["provenance"].get("stacks", {}))
    every = [layer for stack in stacks.values() for layer in store.spec.stack_layers(stack)]
    finest = min(layer.gsd_m for layer in store.spec.layers)
    if any(layer.size is None and layer.gsd_m != finest for layer in every):
        raise StoreError("images vary in size and resolution", store.title, "Bands of one resolution can be embedded.")
    times = {store.spec.num_times(stack) for stack in stacks.values()}
    if len(times) != 1:
        raise UsageError(f"stacks {', '.join(stacks.values())} differ in their dates", store.title, "Give --sensor.")
    statistics = _statistics(store, stacks, reading.statistics)
    size = reading.size or model.config.size
    if size % model.config.patch:
        raise UsageError(f"size {size} is not a multiple of the patch", "embed", f"It is {model.config.patch}.")
    model, adapter = fit(
        pretrained, store.spec, stacks=stacks, statistics=statistics, missing=reading.missing, size=size
    )
    inputs = facts_of(adapter, statistics)
    return Plan(model, adapter, inputs, store.rows(reading.split), times.pop(), reading.batch)


def inputs_of(plan: Plan, batch: Batch, device: torch.device) -> tuple[dict[str, Tensor], Tensor]:
    """What the model takes for a batch.

    Returns:
        Sensor -> images (B, T, C, S, S); and (B, T), True where every sensor has an image.
    """
    moved = batch.to(device)
    dates = [plan.adapter(moved, date=date) for date in range(plan.times)]
    there = torch.stack([moved.valid[layer] for layer in plan.adapter.wiring.layers]).all(dim=0)
    return {sensor: torch.stack([images[sensor] for images in dates], dim=1) for sensor in dates[0]}, there


def batches_of(plan: Plan, store: Store, rows: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], Batch]]:
    """(places in `rows`, batch), until every row was there; images of one size come together.

    Args:
        plan: What is read.
        store: The store.
        rows: Ascending.
    """
    for batch in Loader(store, rows, plan.batch, layers=plan.adapter.wiring.layers, find_holes=True):
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


def check_first(plan: Plan, batch: Batch) -> list[str]:
    """Look at the images of a batch, in their units and after normalisation: see `seamo.inputs.check.check_range`.

    Raises:
        ProtocolError: If no network was trained on such numbers.
    """
    images, there = inputs_of(plan, batch, next(plan.model.parameters()).device)
    if not bool(there.any()):
        return []
    wiring = plan.adapter.wiring
    read = {layer.id: layer for sensor in wiring.sensors for layer in sensor.layers if layer.id in batch.layers}
    doubts = {name: unit_doubt(layer.unit, measured(batch, layer, 0).numpy()) for name, layer in read.items()}
    notes = [f"{layer}: {doubt}" for layer, doubt in doubts.items() if doubt]
    return notes + check_range({sensor: x[there] for sensor, x in images.items()}, wiring)


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
        ProtocolError: If the first images are in no range that a network was trained on.
    """
    check_table(out)
    plan = plan_reading(pretrained, store, reading)
    about: dict[str, Any] = {
        "weights_sha256": pretrained.identity,
        "store": {"title": store.title, "content": store.content, "split": reading.split},
        "data": {store.spec.id: terms_of(store.spec)},
        "size": plan.adapter.wiring.size[0] if plan.adapter.wiring.size else 0,
        "inputs": plan.inputs,
        "pooling": "mean of all tokens after the final norm",
    }
    groups = [plan.rows[at : at + PART] for at in range(0, len(plan.rows), PART)]
    parts = Parts(out, about, len(groups))
    first = parts.first_missing
    meter = Progress(progress, "samples", len(plan.rows), done=min(first * PART, len(plan.rows)))
    unseen = first == 0
    for k in range(first, len(groups)):
        found = np.empty((len(groups[k]), plan.times, plan.dim), dtype=np.float32)
        for places, batch in batches_of(plan, store, groups[k]):
            if unseen:  # the very first images; a run that goes on was looked at before
                unseen = False
                for note in check_first(plan, batch):
                    log.warning("%s: %s", store.title, note)
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
    none = np.full(plan.times, np.datetime64("NaT"), dtype="datetime64[s]")
    read = [store.read_times(int(row)) for row in plan.rows]
    return {stack: np.stack([one.get(stack, none) for one in read]) for stack in plan.stacks}


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


def _statistics(store: Store, stacks: Mapping[str, str], name: str) -> dict[str, Statistics]:
    """Stack -> the store's own numbers, where they are asked for."""
    if name not in ("card", "store"):
        raise UsageError(f"no statistics {name!r}", "embed", "For a store: card or store.")
    if name == "card":
        return {}
    known = store_statistics(store, part=pretraining_part(store))
    absent = [stack for stack in stacks.values() if stack not in known]
    if absent:
        raise StoreError(f"has no statistics of {absent[0]}", store.title)
    return {stack: known[stack] for stack in stacks.values()}
