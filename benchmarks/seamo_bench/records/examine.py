"""A record or a folder of records, file by file, as a referee looks at them."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from seamo.errors import ProtocolError
from seamo.identity import file_sha256
from seamo_bench.facts import run_key
from seamo_bench.records.layout import beside_path, reproduction_paths, results_of
from seamo_bench.records.record import Record, load_predictions, read_record, read_records, scores_of
from seamo_bench.records.seals import SEAL, machine_seal
from seamo_bench.scores.metrics import PRIMARY

Held = Callable[[Record, Path], tuple[str, ...]]
"""What of a record in a folder is not what the data say (`seamo_bench.runs.referee`)."""

MACHINE_CHANGED = "its cost or environment was changed after the run: they do not fit their seal"
AGREES = "key, predictions and scores agree"
HELD = "labels, samples and split lists are the store's"
NOT_HELD = "not held against the data (--stores)"


@dataclass(frozen=True, slots=True)
class Examined:
    """One file.

    Args:
        name: Of the file.
        verdict: In words.
        held: Whether it was held against the data.
        problems: What is wrong; empty if nothing is.
    """

    name: str
    verdict: str
    held: bool = False
    problems: tuple[str, ...] = ()


def examine(path: Path, held: Held | None = None) -> list[Examined]:
    """Every record of a folder, or one, and of a folder what belongs to no record.

    Args:
        path: A record's JSON file, or a folder of records.
        held: Holds a record that agrees with itself against the data; None: there are no data.

    Raises:
        ProtocolError: If there is no such record, or no record in the folder.
    """
    if not path.is_dir():
        return [_examined(path.name, read_record(path), results_of(path), held)]
    found = read_records(path)
    if not found.records and not found.damaged:
        raise ProtocolError("there is no record", str(path), "Run a suite with --results first.")
    checked = [_examined(f"{record.key}.json", record, path, held) for record in found.records]
    checked += [_wrong(one.path.name, one.reason) for one in found.damaged]
    for again in reproduction_paths(path):
        try:
            checked.append(_examined(again.name, read_record(again), path, held))
        except ProtocolError as error:
            checked.append(_wrong(again.name, error.what))
    return sorted(checked, key=lambda one: one.name) + [
        Examined(name, "belongs to no record here: left by a run that was stopped, or its record is lost")
        for name in _strays(path)
    ]


def problems_of(record: Record, results: Path, held: Held | None) -> tuple[str, ...]:
    """What is wrong with a record: with itself, and else against the data."""
    found = verify(record, results)
    if held is None or set(found) - {MACHINE_CHANGED}:
        return found
    return (*found, *held(record, results))


def _examined(name: str, record: Record, results: Path, held: Held | None) -> Examined:
    wrong = problems_of(record, results, held)
    if wrong:
        return _wrong(name, *wrong)
    if record.status != "ok":
        return Examined(name, f"key agrees; {record.status}, no score")
    return Examined(name, f"{AGREES}; {NOT_HELD if held is None else HELD}", held=held is not None)


def _wrong(name: str, *problems: str) -> Examined:
    return Examined(name, f"WRONG: {'; '.join(problems)}", problems=problems)


def _strays(results: Path) -> Iterator[str]:
    for path in sorted([*results.glob("*.npz"), *results.glob("*.safetensors")]):
        if not (results / f"{path.name.partition('.')[0]}.json").exists():
            yield path.name


def _is_machine_changed(record: Record) -> bool:
    """Whether cost or environment are not those that were written; unknown of records of before there were seals."""
    told = record.model_dump(mode="json", include={"cost", "environment"}, exclude_unset=True)
    return bool(record.seal) and record.environment.get(SEAL) != machine_seal({"cost": {}, "environment": {}, **told})


def verify(record: Record, results: Path) -> tuple[str, ...]:
    """Check a record as a referee would: key, predictions' hash, scores recomputed. Empty = nothing wrong."""
    problems = []
    if record.key != run_key(record.facts):
        problems.append("its key is not the hash of its facts")
    if _is_machine_changed(record):
        problems.append(MACHINE_CHANGED)
    if record.status != "ok":
        if record.scores or record.predictions is not None:
            problems.append(f"it is {record.status} and yet has scores or predictions")
        return tuple(problems)
    try:
        predictions = load_predictions(record, results)
    except ProtocolError as error:
        return (*problems, f"{Path(error.where).name}: {error.what}")  # its folder may be a temporary one
    if record.head is not None:
        head = beside_path(results, record.head.name, record.head.sha256)
        if head.is_file() and file_sha256(head) != record.head.sha256:  # it need not lie beside a published record
            problems.append("the trained head beside it is not the one it names (its sha256 differs)")
    scores, classes = scores_of(predictions, record.facts)
    # A metric that is younger than the record is not in it; tables compute it from the predictions.
    if not set(record.scores) <= set(scores) or set(classes) != set(record.per_class):
        problems.append(f"its metrics are {sorted(record.scores)}, the predictions give {sorted(scores)}")
        return tuple(problems)
    main = PRIMARY[record.facts.task.kind]
    if main in scores and main not in record.scores:
        problems.append(f"its main score {main} is missing")
    for name, value in record.scores.items():
        if not _same(value, scores[name]):
            problems.append(f"{name} is {value}, the predictions give {scores[name]}")
    for name, values in classes.items():
        theirs = record.per_class[name]
        if len(values) != len(theirs) or not all(map(_same, values, theirs)):
            problems.append(f"the per-class {name} is not what the predictions give")
    return tuple(problems)


def _same(a: float | None, b: float | None) -> bool:
    # Sums in another order (other BLAS, other CPU) differ in the last digits, a wrong score in the first.
    return a is b if a is None or b is None else math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)
