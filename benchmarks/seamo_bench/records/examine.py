"""A record or a folder of records, file by file, as a referee looks at them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from seamo.errors import ProtocolError
from seamo_bench.records.record import MACHINE_CHANGED, Record, read_record, read_records, verify

Held = Callable[[Record, Path], tuple[str, ...]]
"""What of a record in a folder is not what the data say (`seamo_bench.runs.referee`)."""

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
        return [_examined(read_record(path), path.parent, held)]
    found = read_records(path)
    if not found.records and not found.damaged:
        raise ProtocolError("there is no record", str(path), "Run a suite with --results first.")
    checked = [_examined(record, path, held) for record in found.records]
    checked += [_wrong(one.path.name, one.reason) for one in found.damaged]
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


def _examined(record: Record, results: Path, held: Held | None) -> Examined:
    name, wrong = f"{record.key}.json", problems_of(record, results, held)
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
