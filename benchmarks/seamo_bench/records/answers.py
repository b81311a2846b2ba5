"""What is known of records beside their scores (how far a score depends on place or season, which labels are suspect).

An answer needs pixels, places or days that records do not hold, so a command with the stores makes it once, and the
report shows it without them: one sealed JSON document each, `<results>/answers/<kind>-<question>.json`. The question is
a digest of what was asked, so that the same one replaces its answer. Every kind has a value type for its rows, which
reading checks.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from seamo.addresses import address_of, disk_path
from seamo.errors import ProtocolError, SeamoError, UsageError
from seamo.identity import digest, write_atomically
from seamo.seal import open_document, seal_document
from seamo_bench.facts import Scalar, Value
from seamo_bench.records.layout import is_shared

FOLDER = "answers"
_KIND = r"[a-z][a-z-]{0,31}"
_log = logging.getLogger(__name__)
Row = TypeVar("Row", bound=Value)


class _Head(Value):
    kind: str = Field(pattern=_KIND)
    version: int = Field(ge=1)
    made_by: str
    asked: dict[str, Scalar]
    records: tuple[str, ...]
    rows: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Answer(Generic[Row]):
    """The answer to one question about records.

    Args:
        kind: Which question, in lowercase letters and `-` (`season`).
        version: Of the method; another one makes other numbers.
        made_by: The command that makes it again.
        asked: What was asked beside the records (a store's content, a radius in metres), for readers.
        records: Keys of the records that the rows are of, sorted.
        rows: What was found.
    """

    kind: str
    version: int
    made_by: str
    asked: dict[str, Scalar]
    records: tuple[str, ...]
    rows: tuple[Row, ...]


def answering_folder(results: Path) -> Path:
    """The folder of this disk beside whose records answers are kept.

    Args:
        results: As the user named it.

    Raises:
        UsageError: If it is an address or no folder, or a results repository, which holds what was handed in alone.
    """
    folder = disk_path(results)
    if folder is None or not folder.is_dir():
        what = "an answer is kept beside its records, so they must be in a folder on this disk"
        raise UsageError(what, address_of(results), "Bring them here first.")
    if is_shared(folder):
        raise UsageError("is a results repository", address_of(results), "Ask of the folder that `run` wrote to.")
    return folder


def write_answer(results: Path, answer: Answer[Row]) -> Path:
    """Keep an answer beside the records it is of; one to the same question is replaced.

    Args:
        results: Folder of the results, on this disk.
        answer: What was found.

    Returns:
        The file.
    """
    question = {"kind": answer.kind, "asked": answer.asked, "records": list(answer.records)}
    document = {
        "kind": answer.kind,
        "version": answer.version,
        "made_by": answer.made_by,
        "asked": answer.asked,
        "records": list(answer.records),
        "rows": [row.model_dump(mode="json") for row in answer.rows],
    }
    folder = results / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{answer.kind}-{digest(question)[:16]}.json"
    write_atomically(path, seal_document(document))
    return path


def read_answers(
    results: Path, kind: str, row: type[Row], *, version: int, known: Sequence[str] | None = None
) -> tuple[Answer[Row], ...]:
    """Answers of one kind in the order of their files; what is damaged, older or of other records is logged and left.

    Of a results repository there are none.

    Args:
        results: Folder of the results, on this disk.
        kind: Which question.
        row: What a row must be.
        version: Of the method that makes them now.
        known: Keys of the records that are there: answers that rest on others are out of date. None: not asked.
    """
    if is_shared(results):  # a repository holds what was handed in: nobody here has made its answers
        return ()
    there = None if known is None else set(known)
    found = []
    for path in sorted((results / FOLDER).glob(f"{kind}-*.json")):
        try:
            one = _read(path, row)
        except SeamoError as error:
            _log.warning("left out: %s", error)
            continue
        if one.kind != kind:  # of a kind whose name begins alike
            continue
        if one.version != version:
            _log.warning("left out: %s is of version %d, not %d: %s", path.name, one.version, version, one.made_by)
        elif there is not None and not one.records:  # it would never be out of date
            _log.warning("left out: %s is of no record: %s", path.name, one.made_by)
        elif there is not None and not there.issuperset(one.records):
            _log.warning("left out: %s is of records that are not here: %s", path.name, one.made_by)
        else:
            found.append(one)
    return tuple(found)


def _read(path: Path, row: type[Row]) -> Answer[Row]:
    try:
        facts = open_document(path.read_bytes(), path.name, error=ProtocolError, fix="Make it again.")
        head = _Head.model_validate(facts)
        rows = TypeAdapter(tuple[row, ...]).validate_python(head.rows)  # type: ignore[valid-type]
    except (ValidationError, OSError) as error:
        raise ProtocolError(f"is no answer: {error}", path.name, "Make it again.") from error
    return Answer(head.kind, head.version, head.made_by, head.asked, head.records, rows)
