"""Records: one JSON a run, named by the hash of what can change its number, predictions beside it.

`<results>/<key>.json` holds the record, `<results>/<key>.npz` its predictions (no pickles). Everything but
`cost` and `environment` is the same, byte for byte, when the run is repeated on the same platform.

A record notices damage. Its facts have their hash in its key, predictions and a head theirs in the record; `seal` is
the hash of what else it says about the run, `environment.seal` of what it says about the machine. The latter is apart
because the same run of another machine is the same record: it is asked by `verify` alone. Whoever forges a record
makes new seals, too: what holds it against the data is `seamo_bench.runs.referee`.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from seamo.errors import ProtocolError
from seamo.identity import file_sha256, write_atomically
from seamo.seal import parse_json
from seamo_bench.facts import Facts, Scalar, Value, run_key, scoring_of
from seamo_bench.predictions import Predictions, check_predictions, predictions_bytes, predictions_from_bytes
from seamo_bench.records.groups import held_groups
from seamo_bench.records.layout import named_key, predictions_path, record_paths
from seamo_bench.records.seals import LAID_OUT, SEAL, machine_seal, record_bytes, run_seal
from seamo_bench.records.shown import shown_record, shown_records
from seamo_bench.scores.metrics import classes_tested, per_class, score

Status = Literal["ok", "impossible", "failed"]
FlagKind = Literal[
    "degenerate-features", "filled-bands", "other-input", "seen-in-pretraining", "unverified-card", "licence",
    "out-of-range", "data-check", "recipe",
]  # fmt: skip
_log = logging.getLogger(__name__)
Floor = Literal["", "image statistics", "random init", "supervised"]


class About(Value):
    """What tables print beside the facts; the same whenever the run is repeated, but not hashed.

    Args:
        stores: Titles, such as "EuroSAT subset (202 of 27,000)".
        identity: Of each store: build, view, hash of its pixels and seal of its files; empty in records of before.
        backbone: Title of the backbone.
        family: Its family (`BackboneCard.family`); empty in records of before there was this field.
        group: Backbones that differ only in their pretraining seed share it (`seamo`); empty = the backbone's id.
        pretraining_seed: Of a backbone in a group.
        pretraining: What decided its pretraining but the seed (settings, steps, data), name -> value as text; empty
            where nothing was pretrained, and in records of before there was the field.
        floor: What kind of floor this backbone is, if any.
        way: How the network met the bands of the store (`seamo.inputs.ways.Way`); empty where it did not, and in
            records of before there was the field.
        samples: Split -> number of samples used.
        chosen: What was chosen on validation (learning rate, ...), for readers.
    """

    stores: tuple[str, ...]
    identity: tuple[dict[str, str], ...] = ()
    backbone: str
    family: str = ""
    group: str = ""
    pretraining_seed: int | None = None
    pretraining: dict[str, str] = Field(default_factory=dict)
    floor: Floor = ""
    way: str = ""
    samples: dict[str, int] = Field(default_factory=dict)
    chosen: dict[str, Scalar] = Field(default_factory=dict)


class Flag(Value):
    """Something a reader must know about the number; shown as a footnote."""

    kind: FlagKind
    text: str


ONE_CLASS = Flag(kind="data-check", text="the test split holds one class: no score on it says anything")


class Cost(Value):
    """What the run took; None where it was not measured."""

    seconds: float | None = None
    peak_memory_mib: float | None = None
    samples_per_second: float | None = None
    parameters: int | None = None
    trainable_parameters: int | None = None
    flops_per_sample: float | None = None
    notes: str = ""


class PredictionsFile(Value):
    """The predictions beside a record."""

    name: str
    sha256: str


class HeadFile(Value):
    """What was trained, beside a record, and what applying it to new images needs (`seamo_bench.records.heads`).

    Args:
        name: Of the file.
        sha256: Of its bytes.
        tile: (H, W) of the store's tiles on its finest grid; (0, 0) where they vary.
        gsd_m: Ground sampling distance of that grid.
        sources: Sensor that was read -> its band for each of the network's channels; empty where one was made up.
    """

    name: str
    sha256: str
    tile: tuple[int, int]
    gsd_m: float
    sources: dict[str, tuple[str, ...]]


class Record(Value):
    """One run: facts, what came out, and what it took.

    Args:
        format: Version of this file format.
        key: `run_key(facts)`.
        reason: Why a cell is impossible or failed.
        scores: Metric -> value, derived from the predictions, never trusted (`verify`); None = undefined.
        per_class: Metric -> one value a class.
        head: What was trained, where it was kept.
        seal: Sha256 of the canonical JSON of all fields but `predictions`, `cost`, `environment` and this one; empty in
            records of before there was the field.
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
    head: HeadFile | None = None
    cost: Cost = Cost()
    environment: dict[str, str] = Field(default_factory=dict)
    seal: str = ""

    def __repr__(self) -> str:
        return shown_record(self).text()

    __str__ = __repr__

    def _repr_html_(self) -> str:
        return shown_record(self).html()


@dataclass(frozen=True, slots=True)
class Damage:
    """A file among the records that cannot be used, and why."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class RecordSet:
    """What a results folder holds.

    Args:
        records: In the order of their keys, their groups those that hold (`seamo_bench.records.groups`).
        damaged: Never dropped silently.
        notes: Which groups do not hold, and why.
        states: Of a results repository, key -> what its referee says of the record (`seamo_bench.runs.repository`).
    """

    records: tuple[Record, ...]
    damaged: tuple[Damage, ...] = ()
    notes: tuple[str, ...] = ()
    states: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return shown_records(self).text()

    def _repr_html_(self) -> str:
        return shown_records(self).html()


def write_record(
    results: Path,
    facts: Facts,
    *,
    about: About,
    status: Status = "ok",
    reason: str = "",
    predictions: Predictions | None = None,
    head: HeadFile | None = None,
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
        head: What `seamo_bench.records.heads.keep_head` wrote.
        flags: What a reader must know.
        cost: What it took.
        environment: Versions, device, code revision: written down beside, outside the key.

    Raises:
        ProtocolError: If status, reason and predictions do not fit together, or the predictions cannot be scored.
    """
    if (status == "ok") != (predictions is not None) or (status != "ok") != bool(reason):
        raise ProtocolError(f"a record that is {status} needs {'predictions' if status == 'ok' else 'a reason'} alone")
    key = run_key(facts)
    results.mkdir(parents=True, exist_ok=True)
    file = None
    scores: dict[str, float | None] = {}
    classes: dict[str, tuple[float | None, ...]] = {}
    if predictions is not None:
        check_predictions(predictions, len(facts.task.classes), facts.task.kind)
        scores, classes = scores_of(predictions, facts)
        flags = (*flags, ONE_CLASS) if classes_tested(predictions) < 2 else flags
        data = predictions_bytes(predictions)
        write_atomically(results / f"{key}.npz", data)
        file = PredictionsFile(name=f"{key}.npz", sha256=hashlib.sha256(data).hexdigest())
    record = Record(
        key=key,
        status=status,
        reason=reason,
        facts=facts,
        about=about,
        flags=flags,
        scores=scores,
        per_class=classes,
        predictions=file,
        head=head,
        cost=cost,
        environment=dict(environment or {}),
    )
    document = record.model_dump(mode="json")
    document["environment"][SEAL] = machine_seal(document)
    document[SEAL] = run_seal(document)
    data = record_bytes(document)
    write_atomically(results / f"{key}.json", data)
    return Record.model_validate_json(data)


def read_record(path: Path) -> Record:
    """One record.

    Raises:
        ProtocolError: If the file cannot be read, is damaged, or its key does not match its facts.
    """
    found = _read(path)
    if isinstance(found, Damage):
        raise ProtocolError(found.reason, where=str(path), fix="Delete the file to run this cell again.")
    return found


def read_records(results: str | Path) -> RecordSet:
    """All records of a folder whose predictions are theirs, and the files that are damaged, which are logged, too.

    Of a results repository the first record of every key (`seamo_bench.records.layout`).

    Raises:
        ProtocolError: If the folder is not there.
    """
    results = Path(results)
    if not results.is_dir():
        raise ProtocolError("is not a folder of results", where=str(results), fix="Run a suite with --results first.")
    found = [_whole(_read(path), results) for path in record_paths(results)]
    damaged = tuple(one for one in found if isinstance(one, Damage))
    for one in damaged:
        _log.warning("left out: %s %s", one.path.name, one.reason)
    records, notes = held_groups([one for one in found if isinstance(one, Record)])
    return RecordSet(records, damaged, notes)


def _whole(found: Record | Damage, results: Path) -> Record | Damage:
    """A record as it was read, or what is wrong with its predictions."""
    if isinstance(found, Damage) or found.predictions is None:
        return found
    try:
        predictions_file(found, results)
    except ProtocolError as error:
        return Damage(results / Path(found.predictions.name).name, error.what)
    return found


def _read(path: Path) -> Record | Damage:
    try:
        data = path.read_bytes()
    except OSError as error:
        return Damage(path, f"cannot be read ({error.strerror})")
    return parse_record(data, path)


def parse_record(data: bytes, path: Path) -> Record | Damage:
    """The record that a file of this name holds, or what is wrong with it; predictions are not looked at."""
    try:
        document = parse_json(data, path.name, error=ProtocolError, fix="")
        record = Record.model_validate_json(data)
    except ProtocolError as error:
        return Damage(path, f"is not a record of format 1: it {error.what}")
    except ValidationError as error:
        if told := _other_format(data):
            return Damage(path, told)
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        return Damage(path, f"is not a record of format 1 ({place + ': ' if place else ''}{first['msg']})")
    if record.key != run_key(record.facts):
        return Damage(path, "its key is not the hash of its facts: the facts were changed after the run")
    if named_key(path) != record.key:
        return Damage(path, f"holds the record {record.key}, which is not its name")
    if record.predictions is not None and record.predictions.name != f"{record.key}.npz":
        return Damage(path, f"its predictions, {record.predictions.name}, are not named by its key")
    if record.seal and record.seal != run_seal(document):
        return Damage(
            path, "its seal does not fit: scores, samples, flags or what else it says were changed afterwards"
        )
    if record.seal and data.startswith(LAID_OUT) and data != record_bytes(document):
        return Damage(path, "its bytes are not those that were written as this record")
    return record


def _other_format(data: bytes) -> str:
    """What to say of a record in a format that is not read here; empty if it is none."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(document, dict) or "format" not in document or not {"key", "facts"} & document.keys():
        return ""
    if document["format"] == 1:
        return ""
    around = document.get("environment")
    writer = around.get("seamo") if isinstance(around, dict) else None
    by = f", written by seamo {writer}" if isinstance(writer, str) else ""
    return f"is a record of format {str(document['format'])[:20]}{by}; this seamo reads format 1: use a newer one"


def is_of_one_class(record: Record) -> bool:
    """Whether the test split holds one class; of records older than the flag, as far as their per-class scores tell."""
    told = [record.per_class.get(name) for name in ("recall", "ap")]  # undefined for what is not in the test split
    return ONE_CLASS in record.flags or any(one and sum(value is not None for value in one) == 1 for one in told)


def predictions_file(record: Record, results: Path) -> Path:
    """The checked file of a record's predictions.

    Raises:
        ProtocolError: If there is none, or its sha256 is not the record's.
    """
    if record.predictions is None:
        raise ProtocolError(f"has no predictions, it is {record.status}: {record.reason}", where=record.key)
    path = predictions_path(results, record.predictions.name, record.predictions.sha256)
    if not path.is_file():
        raise ProtocolError("the predictions of this record are not there", where=str(path))
    try:
        stat = path.stat()
        same = _sha256_of(path, stat.st_size, stat.st_mtime_ns) == record.predictions.sha256
    except OSError as error:
        raise ProtocolError(f"the predictions of this record cannot be read ({error.strerror})", str(path)) from error
    if not same:
        raise ProtocolError(
            "is not the file that the record describes (its sha256 differs)",
            where=str(path),
            fix="Delete the record's .json and run the cell again.",
        )
    return path


@lru_cache(maxsize=4096)
def _sha256_of(path: Path, _size: int, _changed_ns: int) -> str:
    """A file's sha256; tables ask for it several times, and a file that changes is read again."""
    return file_sha256(path)


def load_predictions(record: Record, results: Path) -> Predictions:
    """The predictions beside a record.

    Raises:
        ProtocolError: If there are none, their sha256 is not the record's, or they do not answer its task.
    """
    path = predictions_file(record, results)
    data = path.read_bytes()
    if record.predictions is not None and hashlib.sha256(data).hexdigest() != record.predictions.sha256:
        raise ProtocolError("changed while it was read", where=str(path))
    task = record.facts.task
    try:
        predictions = predictions_from_bytes(data)
        check_predictions(predictions, len(task.classes), task.kind)
        return predictions
    except ProtocolError as error:
        raise ProtocolError(error.what, where=str(path)) from error


def scores_of(
    predictions: Predictions, facts: Facts
) -> tuple[dict[str, float | None], dict[str, tuple[float | None, ...]]]:
    """Scores and per-class scores as a record holds them."""
    # A protocol that reproduces older codes asks for their per-batch micro mAP with this parameter.
    asked = facts.protocol.params.get("score_batches", ())
    batches = tuple(size for size in asked if isinstance(size, int)) if isinstance(asked, tuple) else ()
    scoring = scoring_of(facts)
    return score(predictions, scoring, batches=batches), per_class(predictions, scoring)
