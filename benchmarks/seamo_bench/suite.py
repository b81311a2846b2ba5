"""Suites: which protocol runs on which store, as a small YAML. No torch, no stores here."""

from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from seamo.errors import ProtocolError
from seamo_bench.card import MissingPolicy
from seamo_bench.catalogue import suites
from seamo_bench.protocol import Params, Protocol
from seamo_bench.records import Budget, Scalar


class Row(BaseModel):
    """One row of a suite, crossed with the backbones that are asked for.

    Args:
        store: Data set id.
        protocol: Protocol id.
        split: Split scheme; empty = the store's own.
        fraction: Share of the training labels.
        params: Overrides of the protocol's defaults.
        label_space: Label space; empty = that of the split scheme, or the task's default.
        missing: Missing-band policy; None = the card's.
        size: Image size in pixels; None = the card's.
        date: Which date of every stack, for stores with several.
        seeds: Number of seeds; None = the protocol's.
        precision: Of training and features.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    store: str
    protocol: str
    split: str = ""
    fraction: float = Field(default=1.0, gt=0.0, le=1.0)
    params: dict[str, Scalar | tuple[Scalar, ...]] = Field(default_factory=dict)
    label_space: str = ""
    missing: MissingPolicy | None = None
    size: int | None = None
    date: int = 0
    seeds: int | None = Field(default=None, ge=1)
    precision: Literal["fp32", "bf16"] = "fp32"


class Suite(BaseModel):
    """A suite.

    Args:
        id: Its name.
        title: One line.
        backbones: Backbones that it runs if none are asked for.
        rows: What it runs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    title: str = ""
    backbones: tuple[str, ...] = ("image-statistics",)
    rows: tuple[Row, ...] = Field(min_length=1)


def load_suite(name_or_path: str) -> Suite:
    """A shipped suite by name, or one from a YAML file.

    Raises:
        ProtocolError: If there is none of that name, or the file is not a suite.
    """
    shipped = suites()
    path = shipped.get(name_or_path, Path(name_or_path))
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        fix = f"Shipped suites: {', '.join(shipped)}; or give a YAML file."
        raise ProtocolError(f"no suite {name_or_path!r} ({error.strerror})", fix=fix) from error
    except yaml.YAMLError as error:
        raise ProtocolError(f"is not YAML ({error})", where=str(path)) from error
    try:
        return Suite.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ProtocolError(str(first["msg"]), where=f"{path}: {place}") from error


def protocol_params(protocol: Protocol, row: Row, budget: Budget) -> Params:
    """Defaults, then the row's changes, then what the demo budget sets.

    Raises:
        ProtocolError: If the row names a parameter that the protocol does not have.
    """
    unknown = [name for name in row.params if name not in protocol.defaults]
    if unknown:
        known = ", ".join(protocol.defaults) or "none"
        raise ProtocolError(f"has no parameter {unknown[0]!r}", f"protocol {protocol.id}", f"Its parameters: {known}.")
    return {**protocol.defaults, **row.params, **(protocol.demo if budget == "demo" else {})}


def num_seeds(protocol: Protocol, row: Row, budget: Budget) -> int:
    """How many seeds a row runs: one in the demo budget, and one where nothing is drawn."""
    if budget == "demo":
        return 1
    return protocol.num_seeds if row.seeds is None else row.seeds
