"""Suites: which protocol runs on which store, as a small YAML. No torch, no stores here."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from seamo.bands import Unit
from seamo.errors import ProtocolError
from seamo.inputs.wiring import parse_inputs
from seamo.manifest import DatasetSpec
from seamo.yamlfile import read_mapping
from seamo_bench.card import MissingPolicy
from seamo_bench.facts import Budget, InputAsked, Scalar
from seamo_bench.predictions import Kind
from seamo_bench.protocol import Params, Protocol
from seamo_bench.suites import find_suite

JOIN = "+"  # between data set ids, which never hold one


class Row(BaseModel):
    """One row of a suite, crossed with the backbones that are asked for.

    Args:
        store: Data set id; two that are joined by key as `eurosat+eurosat-sar`, or `stores: [eurosat, eurosat-sar]`:
            labels, splits and subsets are the first one's.
        task: Instead of `store`: every data set of this kind of task (`expand` makes one row of each).
        protocol: Protocol id.
        inputs: Sensors (`s2`), or some of their bands (`s2:B02+B03`), that are fed; empty = all that there is.
        backbones: Run here in addition to the suite's.
        split: Split scheme; empty = the store's own.
        fraction: Share of the training labels.
        params: Overrides of the protocol's defaults.
        label_space: Label space; empty = that of the split scheme, or the task's default.
        view: Which one is meant of several stores with this split and label space (corrected labels): the first
            digits of its view, as `seamo-prep ls` has it, or its build; of stores that are joined, of the first.
        missing: Missing-band policy; None = the card's.
        size: Image size in pixels; None = the card's.
        date: Which date of every stack, for stores with several.
        seeds: Number of seeds; None = the protocol's.
        precision: Of training and features.
        published: Where it stands in the paper (`T1`).
        basis: What the parameters rest on, for readers: parameter -> "P: ..." printed in the paper, "I: ..."
            follows from its "as in ..." sentences, "D: ..." decided here because it is silent.
        flag: Why the recipe is implausible; shown beside every number of the row.
        ways: How a backbone may meet a store that it cannot read as it was made to, in this order; what its family
            cannot do is passed over. Empty = the suite's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    store: str = ""
    task: Kind | None = None
    protocol: str
    inputs: tuple[str, ...] = ()
    backbones: tuple[str, ...] = ()
    split: str = ""
    fraction: float = Field(default=1.0, gt=0.0, le=1.0)
    params: dict[str, Scalar | tuple[Scalar, ...]] = Field(default_factory=dict)
    label_space: str = ""
    view: str = ""
    missing: MissingPolicy | None = None
    size: int | None = None
    date: int = 0
    seeds: int | None = Field(default=None, ge=1)
    precision: Literal["fp32", "bf16"] = "fp32"
    published: str = ""
    basis: dict[str, str] = Field(default_factory=dict)
    flag: str = ""
    ways: tuple[MissingPolicy, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _joined(cls, given: Any) -> Any:
        if not isinstance(given, dict) or "stores" not in given:
            return given
        names = given["stores"]
        if "store" in given or not isinstance(names, list | tuple) or not all(isinstance(one, str) for one in names):
            raise ValueError("`stores` is a list of data set ids, instead of `store`")
        return {**{key: value for key, value in given.items() if key != "stores"}, "store": JOIN.join(names)}

    @model_validator(mode="after")
    def _one_selector(self) -> "Row":
        if bool(self.store) == bool(self.task):
            raise ValueError("a row names a store or a task, not both")
        parse_inputs(self.inputs)
        return self

    @property
    def datasets(self) -> tuple[str, ...]:
        """Ids of the data sets that are read."""
        return tuple(self.store.split(JOIN))

    @property
    def asks(self) -> str:
        """What the row asks of the input beyond the card, as records and columns say it."""
        anew = self.missing == "new-tokenizer"  # no column with those that need none
        return InputAsked(self.inputs, self.size, anew).line


class Suite(BaseModel):
    """A suite.

    Args:
        id: Its name.
        title: One line.
        backbones: Backbones that it runs if none are asked for.
        ways: See `Row`; empty = a backbone reads a store as it was made to, or not at all.
        rows: What it runs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    title: str = ""
    backbones: tuple[str, ...] = ("image-statistics",)
    ways: tuple[MissingPolicy, ...] = ()
    rows: tuple[Row, ...] = Field(min_length=1)


def load_suite(name_or_path: str) -> Suite:
    """A shipped suite by name, or one from a YAML file.

    Raises:
        UsageError: If there is none of that name.
        ProtocolError: If the file is not a suite.
    """
    path = find_suite(name_or_path)
    document = read_mapping(path, error=ProtocolError)
    try:
        return Suite.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ProtocolError(str(first["msg"]), where=f"{path}: {place}") from error


def expand(suite: Suite, specs: Mapping[str, DatasetSpec]) -> tuple[Row, ...]:
    """Rows with a `task` become one row a data set of that task, and a way to feed it.

    A data set of one sensor is fed as it is; one of several is fed sensor by sensor, and then with all of them.

    Args:
        suite: The suite.
        specs: Data set id -> spec: of the manifest, and of stores that are in no manifest.
    """
    rows: list[Row] = []
    for written in suite.rows:
        # A row that names its policy asks for that one.
        row = written if written.ways or written.missing else written.model_copy(update={"ways": suite.ways})
        if row.task is None:
            rows.append(row)
            continue
        for name, spec in specs.items():
            if spec.task.kind == row.task:
                ways = [row.inputs] if row.inputs else _ways(spec)
                rows.extend(row.model_copy(update={"store": name, "task": None, "inputs": one}) for one in ways)
    return tuple(rows)


def _ways(spec: DatasetSpec) -> list[tuple[str, ...]]:
    sensors = tuple(dict.fromkeys(layer.sensor for layer in spec.layers if layer.unit is not Unit.CLASS))
    if len(sensors) < 2:
        return [()]
    return [*((sensor,) for sensor in sensors), sensors]


def names_of(suite: Suite, row: Row, asked: Sequence[str]) -> tuple[str, ...]:
    """Backbones of a row: the suite's and its own; of those asked for, the ones it may run.

    What is asked for runs everywhere, except backbones that some row of the suite names: they run in those rows.
    """
    if not asked:
        return tuple(dict.fromkeys((*suite.backbones, *row.backbones)))
    special = {name for one in suite.rows for name in one.backbones} - set(suite.backbones)
    return tuple(name for name in dict.fromkeys(asked) if name not in special or name in row.backbones)


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
