"""Records: one JSON a run, named by the hash of what can change its number, predictions beside it.

`<results>/<key>.json` holds the record, `<results>/<key>.npz` its predictions (no pickles). Everything but
`cost` and `environment` is the same, byte for byte, when the run is repeated on the same platform.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from seamo.errors import ProtocolError
from seamo.identity import digest, file_sha256, write_atomically
from seamo_bench.metrics import ClassPredictions, Kind, Predictions, Scoring, TilePredictions

Status = Literal["ok", "impossible", "failed"]
Budget = Literal["full", "demo"]
Scalar = bool | int | float | str | None
FlagKind = Literal["degenerate-features", "filled-bands", "seen-in-pretraining", "unverified-card", "out-of-range", "data-check"]
Floor = Literal["", "image statistics", "random init", "supervised"]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class StoreFacts(_Value):
    """One store that a run reads; two where sensors of separate stores are joined by key."""

    id: str
    content: str
    synthetic: bool = False
    subset: bool = False


class SplitFacts(_Value):
    """Which samples were used for what.

    Args:
        scheme: `official`, `hash-60-20-20`, `cv5x5`, ...
        lists: Split -> sha256 of the key list really used (one key a line, sorted), the fraction applied.
        fraction, salt: The label fraction of train and its salt.
        rule: How the fraction was drawn.
    """

    scheme: str
    lists: dict[str, str]
    fraction: float = 1.0
    salt: int = 0
    rule: str = "hash"


class TaskFacts(_Value):
    """The label space a run is scored in.

    Args:
        kind: Of the task.
        classes: Names in id order.
        label_space: Name in the manifest.
        background: Class id that the `_no_background` metrics leave out.
        positive: Class id of the one-class metrics (change, water).
    """

    kind: Kind
    classes: tuple[str, ...]
    label_space: str = ""
    background: int | None = None
    positive: int | None = None


class BackboneFacts(_Value):
    """The network.

    Args:
        id: Card id, or id of a run.
        card: Digest of the whole card.
        weights: Sha256 of the weights file, digest of the run or checkpoint; empty where nothing is loaded.
    """

    id: str
    card: str
    weights: str = ""


class StepFacts(_Value):
    """One step of the normalisation that was applied, as on the card (`seamo_bench.card.Step`)."""

    op: str
    a: tuple[float, ...] = ()
    b: tuple[float, ...] = ()


class InputFacts(_Value):
    """What one sensor's channels were fed with.

    Args:
        sensor: Key of `seamo.bands.SENSORS`.
        stack: Stack (or layer) of the store that was read.
        bands: Names in the order of the network's channels.
        unit: Unit of the numbers before `steps`.
        steps: Normalisation, in order.
        filled: Bands of `bands` that the store does not have and the missing policy made up.
        statistics: Where the numbers in `steps` come from.
    """

    sensor: str
    stack: str
    bands: tuple[str, ...]
    unit: str
    steps: tuple[StepFacts, ...]
    filled: tuple[str, ...] = ()
    statistics: str = ""


class AdapterFacts(_Value):
    """What happened to pixels before the network.

    Args:
        inputs: One per sensor.
        missing: Missing-band policy.
        size: (H, W) fed to the network.
        resize: How the image got there, in words.
    """

    inputs: tuple[InputFacts, ...]
    missing: str
    size: tuple[int, int]
    resize: str = ""


class ProtocolFacts(_Value):
    """How the backbone was evaluated; `version` is bumped when the code gives other numbers."""

    id: str
    version: int
    params: dict[str, Scalar | tuple[Scalar, ...]] = Field(default_factory=dict)


class Facts(_Value):
    """Everything that can change the number, and nothing else (no device, workers, host, evaluation batch).

    Args:
        adapter: None only where the cell is impossible because no adapter can be made.
        seed: Of everything the protocol draws.
        precision: `fp32`, `bf16`, ...
        budget: `demo` runs are never mixed with full ones.
    """

    stores: tuple[StoreFacts, ...]
    split: SplitFacts
    task: TaskFacts
    backbone: BackboneFacts
    protocol: ProtocolFacts
    adapter: AdapterFacts | None = None
    seed: int = 0
    precision: str = "fp32"
    budget: Budget = "full"


class About(_Value):
    """What tables print beside the facts; the same whenever the run is repeated, but not hashed.

    Args:
        stores: Titles, such as "EuroSAT subset (202 of 27,000)".
        backbone: Title of the backbone.
        group: Backbones that differ only in their pretraining seed share it (`seamo`); empty = the backbone's id.
        pretraining_seed: Of a backbone in a group.
        floor: What kind of floor this backbone is, if any.
        samples: Split -> number of samples used.
        chosen: What was chosen on validation (learning rate, ...), for readers.
    """

    stores: tuple[str, ...]
    backbone: str
    group: str = ""
    pretraining_seed: int | None = None
    floor: Floor = ""
    samples: dict[str, int] = Field(default_factory=dict)
    chosen: dict[str, Scalar] = Field(default_factory=dict)


class Flag(_Value):
    """Something a reader must know about the number; shown as a footnote."""

    kind: FlagKind
    text: str


class Cost(_Value):
    """What the run took; None where it was not measured."""

    seconds: float | None = None
    peak_memory_mib: float | None = None
    samples_per_second: float | None = None
    parameters: int | None = None
    trainable_parameters: int | None = None
    flops_per_sample: float | None = None
    notes: str = ""


class PredictionsFile(_Value):
    """The predictions beside a record."""

    name: str
    sha256: str


class Record(_Value):
    """One run: facts, what came out, and what it took.

    Args:
        format: Version of this file format.
        key: `run_key(facts)`.
        reason: Why a cell is impossible or failed.
        scores: Metric -> value, derived from the predictions, never trusted (`verify`); None = undefined.
        per_class: Metric -> one value a class.
    """

    format: Literal[1] = 1
    key: str
    status: Status
    reason: str = ""
    facts: Facts
    about: About
    flags: tuple[Flag, ...] = ()
    scores: dict[str, float | None] = Field(default_factory=dict)
    per_class: dict[str, tuple[float | None, ...]] = Field(default_factory=dict)
    predictions: PredictionsFile | None = None
    cost: Cost = Cost()
    environment: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Damage:
    """A file among the records that cannot be used, and why."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class RecordSet:
    """What a results folder holds: `records` in the order of their keys, `damaged` never dropped silently."""

    records: tuple[Record, ...]
    damaged: tuple[Damage, ...] = ()


def run_key(facts: Facts) -> str:
    """Sha256 of the facts in canonical JSON, fields at their defaults left out.

    Leaving defaults out keeps the keys of old records when a field is added; so a default, once
    published, is never changed.
    """
    return digest(facts.model_dump(mode="json", exclude_defaults=True))


def keys_sha256(keys: list[str]) -> str:
    """Sha256 of a key list as `SplitFacts.lists` holds it: of the canonical JSON of the sorted keys."""
    return digest(sorted(keys))


def write_record(
    results: Path,
    facts: Facts,
    *,
    about: About,
    status: Status = "ok",
    reason: str = "",
    predictions: Predictions | None = None,
    flags: tuple[Flag, ...] = (),
    cost: Cost = Cost(),  # noqa: B008 - frozen
    environment: Mapping[str, str] | None = None,
) -> Record:
    """Score predictions and write the record of one run: predictions first, then the JSON, each atomically.

    Args:
        results: Folder of the results; made if it is not there.
        facts: What was run.
        about: What tables print.
        status: `ok` needs predictions; `impossible` and `failed` need a reason.
        reason: For a blank in the table, as a sentence a user understands.
        predictions: Of the test split, or of all folds.
        flags: What a reader must know.
        cost: What it took.
        environment: Versions, device, code revision: written down beside, outside the key.

    Raises:
        ProtocolError: If status, reason and predictions do not fit together, or the predictions are not finite.
    """
    raise NotImplementedError


def find_record(results: Path, facts: Facts) -> Record | None:
    """The record of these facts, or None if it was not written yet.

    Raises:
        ProtocolError: If the file is there but damaged (delete it to run again).
    """
    raise NotImplementedError


def read_records(results: Path) -> RecordSet:
    """All records of a folder, and the files that are damaged or whose key does not match their facts."""
    raise NotImplementedError


def load_predictions(record: Record, results: Path) -> Predictions:
    """The predictions beside a record.

    Raises:
        ProtocolError: If there are none, or their sha256 is not the record's.
    """
    raise NotImplementedError


def verify(record: Record, results: Path) -> tuple[str, ...]:
    """Check a record as a referee would: key, predictions' hash, scores recomputed. Empty = nothing wrong."""
    raise NotImplementedError
