"""What a label audit can be asked about: the records that say something of the same labels."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from seamo.errors import UsageError
from seamo.identity import digest
from seamo_bench.board.compare import column_of, row_of
from seamo_bench.records.record import Record

# Metric of each kind of task that tells whether a model is better than chance, which says what can be audited, too.
ABOVE_CHANCE: Mapping[str, str] = {"single-label": "balanced_accuracy", "multi-label": "macro_ap"}
# Both are parts of the names of files: a data set's id as manifests have it, a label space in plain words.
_ID = re.compile(r"[a-z0-9][a-z0-9.-]*")
_SPACE = re.compile(r"(\w[\w .+()-]*)?")


@dataclass(frozen=True, slots=True)
class AuditQuestion:
    """Records whose predictions say something of the same labels."""

    dataset: str
    label_space: str
    scheme: str
    records: tuple[Record, ...]


def find_asked(
    records: Sequence[Record], datasets: Sequence[str] = ()
) -> tuple[tuple[AuditQuestion, ...], tuple[str, ...]]:
    """What can be audited, a data set and label space each, and sentences on what is left out.

    Of several splits the one that reaches most samples is taken, then the one of most models.

    Args:
        records: Of a results folder.
        datasets: Ids that are asked for; empty = all.

    Raises:
        UsageError: If nothing is scored on one of them.
    """
    done = [one for one in records if one.status == "ok"]
    known = sorted({column_of(one).dataset for one in done})
    for name in datasets:
        if name not in known:
            raise UsageError(f"no score on {name!r} among the records", fix=f"There are {', '.join(known) or 'none'}.")
    groups: dict[tuple[str, str], dict[tuple[str, ...], list[Record]]] = {}
    notes = []
    for one in done:
        facts, dataset = one.facts, column_of(one).dataset
        if datasets and dataset not in datasets:
            continue
        if not _is_named_well(one):
            notes.append(f"record {one.key[:12]} is left out: its data set or label space is no name of a file.")
            continue
        if facts.task.kind not in ABOVE_CHANCE:
            notes.append(
                f"{dataset}: masks are not audited; a mask has a label a pixel, and records keep counts of them."
            )
            continue
        lists = facts.split.lists
        list_of = lists.get("all") or lists.get("test", "")
        same = (*(store.content for store in facts.stores), facts.split.scheme, list_of, digest(_task(one)))
        groups.setdefault((dataset, facts.task.label_space), {}).setdefault(same, []).append(one)
    found = []
    for (dataset, space), splits in sorted(groups.items()):
        ordered = sorted(splits.items(), key=lambda item: (-_samples(item[1][0]), -len(_rows(item[1])), item[0]))
        mine, said = _alike(ordered[0][1])
        scheme = mine[0].facts.split.scheme
        found.append(AuditQuestion(dataset, space, scheme, tuple(mine)))
        notes += [f"{dataset}: {sentence}" for sentence in said]
        notes += [
            f"{dataset}: {len(rest)} record(s) of split {rest[0].facts.split.scheme} are left out; those of {scheme} "
            "reach more samples, or are of more models, of another store or of other classes."
            for _, rest in ordered[1:]
        ]
    return tuple(found), tuple(dict.fromkeys(notes))


def _is_named_well(record: Record) -> bool:
    """Whether what files are named by is no path: a record is what anybody wrote."""
    ids = all(_ID.fullmatch(store.id) for store in record.facts.stores)
    return ids and _SPACE.fullmatch(record.facts.task.label_space) is not None


def _task(record: Record) -> dict[str, object]:
    return record.facts.task.model_dump(mode="json")


def _samples(record: Record) -> int:
    counts = record.about.samples
    return counts.get("all", counts.get("test", 0))


def _rows(records: Sequence[Record]) -> set[str]:
    return {row_of(one) for one in records}


def _alike(records: Sequence[Record]) -> tuple[list[Record], list[str]]:
    """Those with most labels and, where there are any, of the full budget: the others know less of the same samples."""
    notes = []
    share = max(one.facts.split.fraction for one in records)
    mine = [one for one in records if one.facts.split.fraction == share]
    full = [one for one in mine if one.facts.budget == "full"]
    if len(mine) < len(records):
        notes.append(f"{len(records) - len(mine)} record(s) with fewer training labels do not vote.")
    if full and len(full) < len(mine):
        notes.append(f"{len(mine) - len(full)} record(s) of demo budget do not vote.")
    return sorted(full or mine, key=lambda one: one.key), notes
