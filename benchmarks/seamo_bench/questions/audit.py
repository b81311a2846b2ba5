"""The label audit with the stores at hand: files for whoever looks at the labels, and the answer for the report.

Nothing is written to a store: a label is changed by whoever keeps the data set, after looking.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from seamo.errors import ProtocolError
from seamo.escapes import csv_text
from seamo.identity import write_atomically
from seamo.store.alike import near_duplicates
from seamo.store.samples import Samples
from seamo_bench.board.audit import LabelAudit, audit_labels, ranking, row_of_audit
from seamo_bench.board.audit_asked import AuditQuestion, find_asked
from seamo_bench.board.audit_rows import KIND, VERSION, AuditRow, Suspect
from seamo_bench.facts import TaskFacts
from seamo_bench.protocol import Progress, silent
from seamo_bench.questions.audit_sheet import SheetCard, write_sheet
from seamo_bench.records.answers import Answer, write_answer
from seamo_bench.records.record import Record
from seamo_bench.tasks.stores import open_facts
from seamo_bench.tasks.trials import labelled, labels_of
from seamo_bench.tasks.truth import label_texts

SHOWN = 48  # samples on a sheet
_WITH_STORE = ("near-duplicates.csv", "suspects.png", "near-duplicates.png")  # what needs a store
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Audited:
    """What was found on one data set, and the files that say it."""

    row: AuditRow
    files: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class AlikePair:
    """Nearly the same image twice, with different labels, as class names."""

    rows: tuple[int, int]
    keys: tuple[str, str]
    labels: tuple[str, str]


@dataclass(frozen=True, slots=True)
class AlikePairs:
    """Pairs of nearly the same image with different labels, and whether some that look alike were not compared."""

    pairs: tuple[AlikePair, ...]
    is_cut: bool


def audit(
    records: Sequence[Record],
    results: Path,
    out: Path,
    *,
    stores: Path | None = None,
    datasets: Sequence[str] = (),
    keep: bool = True,
    tell: Tell = lambda _: None,
    progress: Progress = silent,
) -> list[Audited]:
    """Audit the labels of data sets.

    Args:
        records: Of a results folder.
        results: The folder.
        out: Folder of the files, one below it a data set.
        stores: Folder of stores, for pictures and near duplicates; None leaves them out.
        datasets: Ids; empty = all that have scores of classes.
        keep: Write the answers beside the records, for the report.
        tell: Called with what is left out, and why.
        progress: Called with (done, total, what).

    Raises:
        ProtocolError: If no data set can be audited.
        StoreError: If a store that the records name is not there, or is damaged.
    """
    asked, notes = find_asked(records, datasets)
    found, faults = [], []
    for note in notes:
        tell(note)
    for one in asked:
        try:
            judged = audit_labels(one, results, progress=progress)
        except ProtocolError as error:
            faults.append(str(error))
            tell(f"not audited: {error}")
            continue
        several = sum(other.dataset == one.dataset for other in asked) > 1
        folder = out / (f"{one.dataset}-{one.label_space}" if several else one.dataset)
        store = None if stores is None else open_facts(stores, one.records[0].facts)
        made = _write(judged, folder, store, tell)
        found.append(made)
        if keep:
            write_answer(results, _answer(one, made.row))
    if not found:
        raise ProtocolError("no labels can be audited", str(results), "; ".join([*faults, *notes]) or "Run a suite.")
    return found


def _answer(asked: AuditQuestion, row: AuditRow) -> Answer[AuditRow]:
    stores = asked.records[0].facts.stores
    question = {
        "dataset": asked.dataset,
        "label_space": asked.label_space,
        "content": " ".join(store.content for store in stores),
    }
    command = f"seamo-bench audit RESULTS --stores STORES --data {asked.dataset} -o audit"
    return Answer(KIND, VERSION, command, dict(question), tuple(sorted(one.key for one in asked.records)), (row,))


def _write(judged: LabelAudit, folder: Path, store: Samples | None, tell: Tell) -> Audited:
    folder.mkdir(parents=True, exist_ok=True)
    for name in _WITH_STORE:
        (folder / name).unlink(missing_ok=True)  # of an audit before, which may have been of other records
    alike = None if store is None else alike_with_other_labels(store, judged.asked.records[0].facts.task, tell)
    pairs = () if alike is None else alike.pairs
    near: dict[str, str] = {}
    for pair in pairs:
        for key, other in (pair.keys, pair.keys[::-1]):
            near.setdefault(key, other)
    listed = list(ranking(judged, near))
    lines = [{"rank": at, "suspect": bad, **one.model_dump()} for at, (one, bad) in enumerate(listed, 1)]
    files = [
        _write_csv(folder / "ranking.csv", lines, list(lines[0])),
        _write_csv(folder / "suspects.csv", [line for line in lines if line["suspect"]], list(lines[0])),
    ]
    if store is None or alike is None:
        return Audited(row_of_audit(judged, duplicates=near), tuple(files))
    files += _write_pairs_and_sheets(judged, folder, store, alike, [one for one, bad in listed if bad])
    return Audited(row_of_audit(judged, duplicates=near, pairs=len(pairs), is_cut=alike.is_cut), tuple(files))


def _write_pairs_and_sheets(
    judged: LabelAudit, folder: Path, store: Samples, alike: AlikePairs, suspects: Sequence[Suspect]
) -> list[Path]:
    pairs, count = alike.pairs, len(judged.models)
    table, suspects_sheet, pairs_sheet = (folder / name for name in _WITH_STORE)
    fields = ("key_a", "label_a", "key_b", "label_b")
    told = [dict(zip(fields, (p.keys[0], p.labels[0], p.keys[1], p.labels[1]), strict=True)) for p in pairs]
    files = [_write_csv(table, told, fields)]
    cards = [
        SheetCard(store.row(one.key), (one.key, f"{one.given} -> {one.suggested}", f"{one.against} of {count} models"))
        for one in suspects[:SHOWN]
    ]
    twins = [
        SheetCard(at, (key, label))
        for pair in pairs[: SHOWN // 2]
        for at, key, label in zip(pair.rows, pair.keys, pair.labels, strict=True)
    ]
    for path, shown, total, title in (
        (suspects_sheet, cards, len(suspects), "labels that most models contradict: given -> suggested"),
        (pairs_sheet, twins, 2 * len(pairs), "pairs of nearly the same image with different labels"),
    ):
        if shown:
            write_sheet(path, store, shown, title=title, total=total)
            files.append(path)
    return files


def _write_csv(path: Path, lines: Sequence[Mapping[str, object]], fields: Sequence[str]) -> Path:
    plain = [{name: csv_text(one) if isinstance(one, str) else one for name, one in line.items()} for line in lines]
    buffer = io.StringIO()
    pd.DataFrame(plain, columns=list(fields)).to_csv(buffer, index=False, lineterminator="\n")
    write_atomically(path, buffer.getvalue().encode("utf-8"))
    return path


def alike_with_other_labels(store: Samples, task: TaskFacts, tell: Tell = lambda _: None) -> AlikePairs:
    """Pairs of samples that are nearly the same image (`seamo.store.alike`) and have different labels, by rows.

    Args:
        store: An open store.
        task: Whose label space counts.
        tell: Called with how far it is.
    """
    labels = labels_of(store, task)
    rows = store.rows("all")
    rows = rows[labelled(store, labels)[rows]]
    groups = np.unique(labels, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)
    found = near_duplicates(store, rows, groups, say=lambda line: tell(f"near duplicates: {line}"))
    keys = store.read_columns(["key"]).column("key")
    pairs = tuple(
        AlikePair(
            (int(a), int(b)),
            (str(keys[int(a)].as_py()), str(keys[int(b)].as_py())),
            (_name(labels, int(a), task), _name(labels, int(b), task)),
        )
        for a, b in found.pairs
    )
    return AlikePairs(pairs, found.is_cut)


def _name(labels: NDArray[np.int64], row: int, task: TaskFacts) -> str:
    (text,) = label_texts(labels[row : row + 1])
    return ", ".join(task.classes[int(one)] for one in text.split(",") if one) or "none"
