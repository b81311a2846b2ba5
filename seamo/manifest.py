"""The manifest: `data_manifest.yaml` (or a person's own YAML) as typed, frozen specs."""

import math
from collections.abc import Mapping
from difflib import get_close_matches
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from seamo.bands import SENSORS, Unit, band
from seamo.errors import BandError, ManifestError
from seamo.yamlfile import parse_mapping, read_mapping

TaskKind = Literal["pretrain", "single-label", "multi-label", "segmentation", "change", "none"]
DType = Literal["uint8", "uint16", "int16", "float32"]
Redistribution = Literal["allowed", "forbidden", "unknown"]


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ArchiveFile(_Spec):
    """One published file: where it is, what it must be, how to get it when no link is allowed."""

    name: str
    urls: tuple[str, ...] = ()
    bytes: int | None = None
    md5: str | None = None
    sha256: str | None = None
    part: str = ""  # the group that `fetch --only` names
    same_as: str = ""  # holds the samples of this other file; `fetch` takes it only when it is asked for by name
    unpacks_to: str = ""  # the top folder inside, where it differs from the file's name
    how: str = ""  # instructions where a licence or a login forbids a direct link
    unverified: str = ""  # why a fact about this file is missing or uncertain


class LayerSpec(_Spec):
    """One array of a sample: same sensor, same grid, same dtype.

    Args:
        id: `s2_10m`; lower case, no dot.
        stack: The layers that make one image share it (`s2_10m`, `s2_20m`, `s2_60m` -> `s2`), and share
            their dates. Two products of one sensor are two stacks (`s2a`, `s2c`).
        sensor: Key of `seamo.bands.SENSORS`.
        product: Processing level (`L1C`, `L2A`, `GRD`), free text.
        bands: Names in the order in which the store holds them.
        gsd_m: Ground sampling distance of the grid, metres.
        dtype, unit: Of the stored numbers.
        fill: Value of a pixel that is not there; "nan" for floats, null if none exists.
        size: (H, W) in pixels; null where images vary.
        times: Number of dates T.
    """

    id: str = Field(pattern=r"^[a-z0-9_]+$")
    stack: str = Field(pattern=r"^[a-z0-9_]+$")
    sensor: str
    product: str = ""
    bands: tuple[str, ...]
    gsd_m: float
    dtype: DType
    unit: Unit
    fill: int | Literal["nan"] | None
    size: tuple[int, int] | None
    times: int = Field(default=1, ge=1)

    @field_validator("fill", mode="before")
    @classmethod
    def _nan_of_yaml(cls, fill: Any) -> Any:
        return "nan" if isinstance(fill, float) and math.isnan(fill) else fill  # `.nan`, as YAML spells the number

    @model_validator(mode="after")
    def _bands_exist(self) -> "LayerSpec":
        if self.sensor not in SENSORS:
            raise ValueError(f"no sensor {self.sensor!r}, there are {', '.join(SENSORS)}")
        for name in self.bands:
            try:
                band(self.sensor, name)
            except BandError as error:
                raise ValueError(str(error)) from error
        if self.fill == "nan" and not self.is_float:
            raise ValueError(f"fill nan does not fit {self.dtype}")
        return self

    @property
    def fill_value(self) -> int | float | None:
        """The fill value as a number, or None."""
        return math.nan if self.fill == "nan" else self.fill

    @property
    def is_float(self) -> bool:
        """Whether it holds floating-point numbers: what is not finite is no measurement, whatever the fill."""
        return self.dtype.startswith("float")


class LabelClass(_Spec):
    """One class: its name and the colour (`#rrggbb`) in which pictures show it."""

    name: str
    color: str = ""


class LabelSpace(_Spec):
    """A numbered list of classes; id = position.

    Args:
        classes: In id order.
        raw: For masks: raw pixel value -> class id (255 = ignore). Values not listed are an error.
        source: The label space this one is derived from, with `derived`: own id -> ids there.
    """

    classes: tuple[LabelClass, ...]
    raw: dict[int, int] = Field(default_factory=dict)
    source: str = ""
    derived: dict[int, tuple[int, ...]] = Field(default_factory=dict)
    note: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in id order."""
        return tuple(item.name for item in self.classes)

    def map_from_source(self, ids: tuple[int, ...]) -> tuple[int, ...]:
        """Ids of this space for ids of its source space; ids without a class here are dropped."""
        own = {theirs: ours for ours, many in self.derived.items() for theirs in many}
        return tuple(sorted({own[i] for i in ids if i in own}))


class TaskSpec(_Spec):
    """What the labels are for.

    Args:
        kind: Of the task.
        label_space: The default one, empty where there are no labels.
        no_class: What an image is whose set of classes is empty, in a multi-label task: `left out` of training and
            test, which is said and counted, or a `negative` of every class. An image without a label is never one.
    """

    kind: TaskKind
    label_space: str = ""
    no_class: Literal["left out", "negative"] = "left out"

    @model_validator(mode="after")
    def _has_sets(self) -> "TaskSpec":
        if self.no_class == "negative" and self.kind != "multi-label":
            raise ValueError(f"no_class: negative is of multi-label tasks, this one is {self.kind}")
        return self

    @model_serializer(mode="wrap")
    def _plain(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `no_class` at its default: stores of before there was the field keep their address."""
        plain: dict[str, Any] = dump(self)
        return {name: value for name, value in plain.items() if name != "no_class" or value != "left out"}


class SplitFile(_Spec):
    """One published list of a split scheme."""

    split: Literal["train", "val", "test", "exclude"]
    file: str
    urls: tuple[str, ...] = ()
    md5: str | None = None
    sha256: str | None = None
    lines: int | None = None
    note: str = ""


class SplitSpec(_Spec):
    """A named split scheme that published lists (or the archive's own folders) define.

    Args:
        files: The lists. Empty with `in_archive`: the reader's index carries the column `split`.
        val_from_train: Only train and test are published: 10 % of train becomes val (by scene where known).
    """

    files: tuple[SplitFile, ...] = ()
    in_archive: bool = False
    val_from_train: bool = False
    label_space: str = ""  # where the scheme belongs to another label space than the task's default
    note: str = ""


class Statistics(_Spec):
    """Published per-band mean and standard deviation: facts with a source, never a default."""

    source: str
    product: str = ""
    unit: Unit
    mean: dict[str, float]
    std: dict[str, float]
    note: str = ""


class Expected(_Spec):
    """Counts of the published data set."""

    samples: int | None = None
    splits: dict[str, dict[str, int]] = Field(default_factory=dict)  # scheme -> split -> count
    class_range: tuple[int, int] | None = None  # smallest and largest number of samples of a class


class DatasetSpec(_Spec):
    """Everything seamo knows about one data set before it reads a byte of it.

    Of its licence (`seamo.licences` says what follows from it):

    * `licence`: what it is published under, in words.
    * `attribution`: what is shown wherever the data, or something made of it, is passed on.
    * `redistribution`: whether the data itself may be passed on to everybody; `redistribution_why`: who says so.
    * `accept`: name of the licence that a person must accept before `fetch` brings a file; empty where none must be.
    """

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    title: str
    summary: str
    homepage: str = ""
    licence: str
    attribution: str = ""
    redistribution: Redistribution = "unknown"
    redistribution_why: str = ""
    accept: str = Field(default="", pattern=r"^[A-Za-z0-9.+-]*$")  # one word, as it is typed behind --accept
    citation: str
    archives: tuple[ArchiveFile, ...] = ()
    layers: tuple[LayerSpec, ...]
    task: TaskSpec
    label_spaces: dict[str, LabelSpace] = Field(default_factory=dict)
    # Layer of class ids, which comes along beside the labels -> label space of the ids.
    maps: dict[str, str] = Field(default_factory=dict)
    splits: dict[str, SplitSpec] = Field(default_factory=dict)
    default_split: str = "hash-60-20-20"
    expected: Expected = Expected()
    statistics: dict[str, Statistics] = Field(default_factory=dict)
    traps: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> "DatasetSpec":
        ids = [layer.id for layer in self.layers]
        if len(set(ids)) != len(ids):
            raise ValueError(f"a layer id stands twice in {ids}")
        if "label" in ids:
            raise ValueError("'label' is the name of the mask, a layer cannot have it")
        if self.task.label_space and self.task.label_space not in self.label_spaces:
            raise ValueError(f"task names label space {self.task.label_space!r}, there are {list(self.label_spaces)}")
        for layer, space in self.maps.items():
            if space not in self.label_spaces or any(one.id == layer and one.unit != Unit.CLASS for one in self.layers):
                raise ValueError(f"maps: {layer} is no layer of class ids, or {space!r} is no label space")
        for stack in self.stacks:
            if len({(one.sensor, one.times) for one in self.layers if one.stack == stack}) != 1:
                raise ValueError(f"layers of stack {stack!r} differ in sensor or number of dates")
        return self

    @property
    def stacks(self) -> tuple[str, ...]:
        """Stack ids in order of first appearance."""
        return tuple(dict.fromkeys(layer.stack for layer in self.layers))

    def layer(self, layer_id: str) -> LayerSpec:
        """One layer by id.

        Raises:
            ManifestError: If there is none; names those that there are.
        """
        for layer in self.layers:
            if layer.id == layer_id:
                return layer
        raise ManifestError(
            f"no layer {layer_id!r}", where=self.id, fix=f"Layers: {', '.join(one.id for one in self.layers)}."
        )

    def stack_layers(self, stack: str) -> tuple[LayerSpec, ...]:
        """The layers of one stack, finest grid first.

        Raises:
            ManifestError: If there is none; names those that there are.
        """
        found = tuple(sorted((one for one in self.layers if one.stack == stack), key=lambda one: one.gsd_m))
        if not found:
            raise ManifestError(f"no stack {stack!r}", where=self.id, fix=f"Stacks: {', '.join(self.stacks)}.")
        return found

    def num_times(self, stack: str) -> int:
        """Number of dates of a stack."""
        return self.stack_layers(stack)[0].times

    def label_space(self, name: str = "") -> LabelSpace:
        """A label space by name, the task's default without one.

        Raises:
            ManifestError: If there is none; names those that there are.
        """
        chosen = name or self.task.label_space
        if chosen not in self.label_spaces:
            raise ManifestError(
                f"no label space {chosen!r}", where=self.id, fix=f"Label spaces: {', '.join(self.label_spaces)}."
            )
        return self.label_spaces[chosen]

    def map_of(self, label_space: str) -> str:
        """The layer that holds the ids of a label space, or of the one that it derives from; "" for labels."""
        known = self.label_spaces.get(label_space)
        names = () if known is None else (label_space, known.source)
        return next((layer for layer, space in self.maps.items() if space in names), "")

    def with_sizes(self, sizes: Mapping[str, tuple[int, int]]) -> "DatasetSpec":
        """The same spec with other layer sizes (a declared synthetic archive, a relaxed shape)."""
        for layer_id in sizes:
            self.layer(layer_id)
        layers = tuple(one.model_copy(update={"size": sizes.get(one.id, one.size)}) for one in self.layers)
        return self.model_copy(update={"layers": layers})

    def only_layers(self, ids: tuple[str, ...]) -> "DatasetSpec":
        """The same spec with some of its layers."""
        chosen = {self.layer(layer_id).id for layer_id in ids}
        return self.model_copy(update={"layers": tuple(one for one in self.layers if one.id in chosen)})


def parse_spec(entry: Any, where: str) -> DatasetSpec:
    """A spec from plain data (a manifest entry, the `spec` of a store.json).

    Args:
        entry: Mapping with the fields of `DatasetSpec`.
        where: The file and entry, for messages.

    Raises:
        ManifestError: For an unknown key (with the nearest known one), a missing or a wrong value.
    """
    try:
        return DatasetSpec.model_validate(entry)
    except ValidationError as error:
        raise _explain(error, where) from error


def load_manifest(path: Path) -> dict[str, DatasetSpec]:
    """Read a manifest: top level `datasets:`, id -> entry.

    Raises:
        ManifestError: If the file is not such a YAML, or an entry is wrong.
    """
    return _specs_of(read_mapping(path, error=ManifestError), str(path))


def parse_manifest(data: bytes, where: str) -> dict[str, DatasetSpec]:
    """The same of the bytes of one; `where` is their place, for messages."""
    return _specs_of(parse_mapping(data, where, error=ManifestError), where)


def _specs_of(document: dict[Any, Any], where: str) -> dict[str, DatasetSpec]:
    if set(document) != {"datasets"} or not isinstance(document["datasets"], dict):
        raise ManifestError("must hold one mapping, `datasets:`, from id to entry", where)
    specs = {}
    for dataset_id, entry in document["datasets"].items():
        here = f"{where.rpartition('/')[2]}: {dataset_id}"
        if not isinstance(entry, dict):
            raise ManifestError("entry is not a mapping", here)
        specs[dataset_id] = parse_spec({"id": dataset_id, **entry}, here)
    return specs


@lru_cache(maxsize=1)
def shipped_manifest() -> Mapping[str, DatasetSpec]:
    """The project's own `data_manifest.yaml`, read once.

    Example:
        >>> shipped_manifest()["eurosat"].expected.samples
        27000
    """
    return load_manifest(shipped_manifest_path())


def shipped_manifest_path() -> Path:
    """Where the shipped manifest is: inside the wheel, or at the top of an editable checkout."""
    packaged = Path(str(files("seamo"))) / "data_manifest.yaml"
    return packaged if packaged.is_file() else Path(__file__).resolve().parent.parent / "data_manifest.yaml"


def _explain(error: ValidationError, where: str) -> ManifestError:
    first = error.errors()[0]
    location = ".".join(str(part) for part in first["loc"])
    fix = ""
    if first["type"] == "extra_forbidden":
        unknown = str(first["loc"][-1])
        near = get_close_matches(unknown, sorted(_field_names()), n=1, cutoff=0.5)
        fix = f"Did you mean {near[0]!r}?" if near else ""
        return ManifestError(f"unknown key {unknown!r}", where=f"{where}: {location}", fix=fix)
    message = str(first["msg"]).removeprefix("Value error, ")
    return ManifestError(message, where=f"{where}: {location}" if location else where)


def _field_names() -> set[str]:
    kinds = (DatasetSpec, ArchiveFile, LayerSpec, LabelClass, LabelSpace, TaskSpec, SplitFile, SplitSpec, Statistics)
    return {name for kind in kinds for name in (*kind.model_fields, *Expected.model_fields)}
