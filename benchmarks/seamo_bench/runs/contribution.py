"""In whose name a contribution speaks, and where its records stand: rows and columns that they join, withdrawals."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from seamo.errors import ProtocolError
from seamo.identity import file_sha256
from seamo_bench.board.compare import Column, column_of, differences
from seamo_bench.card import owner_of
from seamo_bench.records.groups import held_groups
from seamo_bench.records.layout import RECORDS, WITHDRAWN, number_of
from seamo_bench.records.record import Record, read_record
from seamo_bench.records.submit import submitter_of
from seamo_bench.runs.changes import Withdrawal
from seamo_bench.runs.verdict import Verdict
from seamo_bench.zoo.catalogue import cards


def in_own_name(judged: Sequence[Verdict], before: Mapping[str, Path], submitter: str) -> Iterator[Verdict]:
    """The verdicts; added records are refused that bear somebody else's name, or join somebody else's row.

    Args:
        judged: Records, each by itself.
        before: Files of the base branch.
        submitter: Whose contribution it is; empty: of one person, whoever it is.
    """
    there = [one.record for one in judged if one.record is not None and one.name in before]
    people = {submitter_of(one.record) for one in judged if one.record is not None and one.name not in before}
    whose = {submitter.casefold()} if submitter else people - {""}
    for one in judged:
        if one.record is None or one.name in before:
            yield one
            continue
        wrong = list(_of_rows(one.record, there))
        if len(whose) > 1 or submitter_of(one.record) not in {"", *whose}:
            told = f"a contribution of {submitter}" if submitter else "one contribution, one submitter"
            wrong.append(f"is handed in by {submitter_of(one.record) or 'nobody'}: {told}")
        yield replace(one, state="refused", problems=(*one.problems, *wrong)) if wrong else one


def _of_rows(record: Record, there: Sequence[Record]) -> Iterator[str]:
    """Whether a run of one's own would be taken for another one that is there, or for a seed of somebody else's."""
    mine, group, who = record.facts.backbone, record.about.group, submitter_of(record)
    if owner_of(mine.id) in cards():
        return
    if any(one.facts.backbone.id == mine.id and one.facts.backbone.card != mine.card for one in there):
        yield f"another card is here as backbone {mine.id}: rename the run"
    elsewhere = [one for one in there if (one.about.group or one.facts.backbone.id) == group]
    owners = {submitter_of(one) for one in elsewhere if one.facts.backbone.card != mine.card}
    if group and owners - {who}:
        yield f"its group {group} is that of {', '.join(sorted(one or 'nobody' for one in owners - {who}))}"


def beside_others(judged: Sequence[Verdict], before: Mapping[str, Path]) -> Iterator[Verdict]:
    """The verdicts; added records are refused that cannot stand in one column with those that are there.

    Else one record of another precision, input or version would end the table for everybody.

    Args:
        judged: Records, each by itself.
        before: Files of the base branch.
    """
    shown = [one for one in judged if _is_shown(one)]
    columns: dict[Column, list[tuple[str, Record]]] = {}
    records, _ = held_groups([one.record for one in shown if one.record is not None])
    for one, record in zip(shown, records, strict=True):
        columns.setdefault(column_of(record), []).append((one.name, record))
    wrong: dict[str, tuple[str, ...]] = {}
    for members in columns.values():
        old = [record for name, record in members if name in before]
        if differences(old):
            continue
        for name, record in members:
            rest = old or [record for _, record in members]
            if name not in before and (told := differences([*rest, record])):
                wrong[name] = tuple(f"cannot stand in one column with what is there: {one}" for one in told)
    for one in judged:
        told = wrong.get(one.name, ())
        yield replace(one, state="refused", problems=(*one.problems, *told)) if told else one


def _is_shown(one: Verdict) -> bool:
    return one.record is not None and one.record.status == "ok" and not (one.problems or number_of(Path(one.name)))


def added_withdrawals(
    withdrawn: Mapping[str, Withdrawal], before: Mapping[str, Path], submitter: str
) -> Iterator[Verdict]:
    """What a contribution withdraws: said, and refused where it is somebody else's.

    Args:
        withdrawn: Key -> withdrawal, of the repository with the contribution.
        before: Files of the base branch.
        submitter: Whose contribution it is; empty: anybody's.
    """
    for key, one in withdrawn.items():
        name = f"{WITHDRAWN}/{key}.json"
        if name in before:
            continue
        paths = [path for place, path in before.items() if place.startswith(f"{RECORDS}/{key[:2]}/{key}.")]
        owners = {_owner(path) for path in paths if file_sha256(path) in one.records}
        said = f"of {', '.join(sorted(who or 'nobody' for who in owners)) or 'nobody that is here'}: {one.reason}"
        if submitter and owners - {submitter.casefold()}:
            yield Verdict(name, "refused", (f"withdraws a record {said}: that is for maintainers",))
        else:
            yield Verdict(name, "withdrawal", remarks=(said,))


def _owner(path: Path) -> str:
    try:
        return submitter_of(read_record(path))
    except ProtocolError:  # damaged in the base branch: anybody's
        return ""
