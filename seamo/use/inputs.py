"""A pretrained model to be used, and how it reads a data set: by the one engine of `seamo.inputs`."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from seamo.errors import UsageError
from seamo.inputs.adapter import Adapter
from seamo.inputs.explain import summary
from seamo.inputs.pretrained import expects_of
from seamo.inputs.spec import MissingPolicy
from seamo.inputs.wiring import check_trained, wire
from seamo.manifest import DatasetSpec, Statistics
from seamo.model.checkpoint import load_model
from seamo.model.seamo import SeaMo
from seamo.pretrain.fetched import model_folder
from seamo.use.bands import select_columns


@dataclass(frozen=True, slots=True, eq=False)
class Pretrained:
    """A model to be used, and its card.

    Args:
        model: On its device, in evaluation mode.
        card: See `seamo.model.checkpoint.save_model`.
        path: Where it was read.
    """

    model: SeaMo
    card: Mapping[str, Any]
    path: Path

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return next(self.model.parameters()).device

    @property
    def identity(self) -> str:
        """The sha256 of the weights, by the card."""
        return str(self.card["weights"]["sha256"])


def load_pretrained(path: str | Path, *, device: str = "") -> Pretrained:
    """Read the model of a run, a checkpoint or an exported folder.

    Args:
        path: Its folder, or its address.
        device: `cpu`, `cuda`, ...; without it cuda where there is one.
    """
    folder = model_folder(path)
    model, card = load_model(folder)
    where = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return Pretrained(model.to(where).eval(), card, folder)


def fit(
    pretrained: Pretrained,
    spec: DatasetSpec,
    *,
    stacks: Mapping[str, str],
    statistics: Mapping[str, Statistics],
    missing: MissingPolicy = "fail",
    size: int | None = None,
) -> tuple[SeaMo, Adapter]:
    """Decide by name how a model reads a data set.

    Args:
        pretrained: Stays as it is.
        spec: The data set.
        stacks: Sensor -> stack, of every sensor that is to be read.
        statistics: Stack -> numbers to use in place of the model's own; its kind of scaling stays.
        missing: For bands that the model takes and the data set lacks: see `seamo.inputs.spec.MissingPolicy`.
        size: Side of the model's input in pixels; None = that of pretraining, 0 = images are taken as they are.

    Returns:
        The model to use (another one with select-columns), and the adapter that feeds it.

    Raises:
        UsageError: If the model has no such sensor.
        BandError, ProtocolError: If bands, units, sizes or statistics do not fit.
    """
    known = pretrained.model.config.bands
    unknown = [sensor for sensor in stacks if sensor not in known]
    if unknown:
        raise UsageError(f"no sensor {unknown[0]!r}", "model", f"It has {', '.join(known)}.")
    own = [sensor for sensor, stack in stacks.items() if stack not in statistics]
    network = expects_of(pretrained.card, pretrained.path.name, own=own)
    if size == 0:
        network = replace(network, size=0)
    wiring = wire(
        network,
        spec,
        missing=missing,
        size=size or None,
        statistics=statistics,
        stacks=stacks,
        inputs=tuple(stacks),
    )
    check_trained(wiring)
    fed = {sensor.input.sensor: sensor.input.bands for sensor in wiring.sensors}
    if all(tuple(known[sensor]) == bands for sensor, bands in fed.items()):
        return pretrained.model, Adapter(wiring)
    return select_columns(pretrained.model, {**known, **fed}), Adapter(wiring)


def read_bands(adapter: Adapter) -> dict[str, tuple[str, ...]]:
    """Sensor -> the bands of the data set that feed its channels, each once."""
    return {
        sensor.input.sensor: tuple(dict.fromkeys(channel.source for channel in sensor.channels if channel.layer))
        for sensor in adapter.wiring.sensors
    }


def facts_of(adapter: Adapter, statistics: Mapping[str, Statistics]) -> list[dict[str, Any]]:
    """What was done to each sensor, as plain values; numbers that were given name their own source."""
    rows = summary(adapter.wiring)
    for row, sensor in zip(rows, adapter.wiring.sensors, strict=True):
        if sensor.stack in statistics:
            row["normalisation"]["source"] = statistics[sensor.stack].source
    return rows
