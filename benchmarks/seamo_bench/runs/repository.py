"""The referee of a results repository: what lies in it, record by record, and what a contribution changes.

Everything is judged by what is trusted: of a contribution the branch that it goes to, else the folder itself. Nobody
needs the stores for that; whoever has them can hold the records against them, too (`seamo_bench.runs.referee`).
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from seamo.errors import ProtocolError
from seamo_bench.predictions import promised_bytes
from seamo_bench.records.examine import MACHINE_CHANGED, Held, problems_of
from seamo_bench.records.groups import held_groups
from seamo_bench.records.layout import (
    CARDS,
    PREDICTIONS,
    PROTOCOLS,
    RECORDS,
    STORES,
    is_shared,
    number_of,
    predictions_name,
    record_name,
)
from seamo_bench.records.record import Damage, Record, RecordSet, read_record
from seamo_bench.records.submit import same_record, submitter_of
from seamo_bench.runs.changes import Withdrawal, files_of, forbidden, misplaced, withdrawals
from seamo_bench.runs.contribution import added_withdrawals, beside_others, in_own_name
from seamo_bench.runs.papers import (
    CardPaper,
    ProtocolPaper,
    card_name,
    protocol_name,
    read_card,
    read_protocol,
    stranger,
)
from seamo_bench.runs.referee import of_card, of_protocol
from seamo_bench.runs.register import Register, StoreEntry, read_entry
from seamo_bench.runs.verdict import State, Verdict
from seamo_bench.scores.metrics import PRIMARY

_LONGEST = 16 * 2**20  # bytes of a record's JSON


@dataclass(frozen=True, slots=True)
class Trusted:
    """What records are judged by: the papers and the register, by name."""

    cards: Mapping[str, CardPaper]
    protocols: Mapping[str, ProtocolPaper]
    register: Register
    withdrawn: Mapping[str, Withdrawal]


def judge(
    folder: Path,
    *,
    base: Path | None = None,
    held: Held | None = None,
    maintainer: bool = False,
    submitter: str = "",
) -> tuple[Verdict, ...]:
    """Judge a results repository: records, papers and register, and every file that should not be there.

    Args:
        folder: The repository, with the contribution where there is one.
        base: Checkout of the branch that a contribution goes to; None judges the folder by itself.
        held: Holds records against the data; None: there are no data.
        maintainer: The contribution is a maintainer's: the register and the files around may change.
        submitter: Whose contribution it is; records that it adds must be theirs. Empty: of one person, whoever it is.

    Raises:
        ProtocolError: If it is no results repository.
    """
    for one in (folder, *([base] if base else [])):
        if not is_shared(one):
            raise ProtocolError("is no results repository", str(one), "`seamo-bench referee --init DIR` makes one.")
    files = files_of(folder)
    before = files_of(base) if base is not None else files
    wrong: dict[str, list[str]] = {}
    for name, path in files.items():
        if why := misplaced(name, path):
            wrong.setdefault(name, []).append(why)
    for name, why in forbidden(before, files, maintainer=maintainer) if base is not None else ():
        wrong.setdefault(name, []).append(why)
    sound = {name: path for name, path in files.items() if name not in wrong}
    trusted = _trusted(sound, before if base is not None and not maintainer else None, wrong)
    judged = list(_records(sound, folder, trusted, held))
    gone: list[Verdict] = []
    if base is not None:
        if not maintainer:
            judged = list(beside_others(list(in_own_name(judged, before, submitter)), before))
        gone = list(added_withdrawals(trusted.withdrawn, before, "" if maintainer else submitter))
    named = {predictions_name(one.record.predictions.sha256) for one in judged if one.record and one.record.predictions}
    for name in sound:
        if name.startswith(f"{PREDICTIONS}/") and name.endswith(".npz") and name not in named:
            wrong.setdefault(name, []).append("belongs to no record")
    bad = [Verdict(name, "refused", tuple(why)) for name, why in sorted(wrong.items())]
    return (*bad, *gone, *_with_states(judged, trusted))


def _trusted(files: Mapping[str, Path], before: Mapping[str, Path] | None, wrong: dict[str, list[str]]) -> Trusted:
    """What the papers, the register and the withdrawals say; those that are none are put down as wrong.

    Args:
        files: Of the repository.
        before: Of the trusted branch; None: all of `files` are trusted.
        wrong: Name -> why not; grows.
    """
    cards: dict[str, CardPaper] = {}
    protocols: dict[str, ProtocolPaper] = {}
    entries: list[StoreEntry] = []
    for name, path in files.items():
        folder = name.partition("/")[0]
        if folder not in (CARDS, PROTOCOLS, STORES) or not name.endswith(".json"):
            continue
        known = before is None or name in before  # as it was: changes of papers are refused
        try:
            data = _read(path)
            if folder == STORES:
                entry = read_entry(data, name)
                entries += [entry] if known else []
                continue
            paper = read_card(data, name) if folder == CARDS else read_protocol(data, name)
            if folder == CARDS and hashlib.sha256(data).hexdigest() != path.stem:
                raise ProtocolError("is not the card that its name says (its sha256 differs)", name)
            if not known and (why := stranger(paper, data)):
                raise ProtocolError(why, name)
        except ProtocolError as error:
            wrong.setdefault(name, []).append(error.what)
            continue
        if isinstance(paper, CardPaper):
            cards[name] = paper
        else:
            protocols[name] = paper
    withdrawn, unread = withdrawals(files)
    for name, why in unread.items():
        wrong.setdefault(name, []).append(why)
    return Trusted(cards, protocols, Register(tuple(entries)), withdrawn)


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _LONGEST:
            raise ProtocolError(f"has {path.stat().st_size:,} bytes, which no such file has", path.name)
        return path.read_bytes()
    except OSError as error:
        raise ProtocolError(f"cannot be read ({error.strerror})", path.name) from error


def _records(files: Mapping[str, Path], folder: Path, trusted: Trusted, held: Held | None) -> Iterator[Verdict]:
    def everything(record: Record, results: Path) -> tuple[str, ...]:
        found = trusted.register.problems(record, results)
        return found if found or held is None else held(record, results)

    for name, path in files.items():
        if not name.startswith(f"{RECORDS}/") or not name.endswith(".json"):
            continue
        try:
            data = _read(path)
            record = read_record(path)
            problems = _before_it_is_opened(record, data, files, trusted)
            problems = problems or problems_of(record, folder, everything if record.status == "ok" else None)
        except ProtocolError as error:
            yield Verdict(name, "refused", (error.what,))
            continue
        if record.status != "ok":
            problems = (*problems, *_paper_names(record, trusted))
        remarks = tuple(one for one in problems if one == MACHINE_CHANGED)
        problems = tuple(one for one in problems if one != MACHINE_CHANGED)
        yield Verdict(name, "refused" if problems else "no score", problems, remarks, record)


def _before_it_is_opened(record: Record, data: bytes, files: Mapping[str, Path], trusted: Trusted) -> tuple[str, ...]:
    """What is wrong with a record as far as it can be told before its predictions are unpacked."""
    if record.status == "failed":
        return (f"the run failed: {record.reason}",)
    gone = trusted.withdrawn.get(record.key)
    if gone is not None and hashlib.sha256(data).hexdigest() in gone.records:
        return (f"is withdrawn: {gone.reason}",)
    if record_name(record.key) not in files:
        return ("is another record of a key that has no first one",)
    if record.status != "ok" or record.predictions is None:
        return ()
    if found := _of_papers(record, trusted):  # scores are computed with parameters that the protocol has
        return found
    most = trusted.register.largest(record.facts)
    if not most:  # not in the register, which says so before it looks at predictions
        return trusted.register.problems(record, Path())
    path = files.get(predictions_name(record.predictions.sha256))
    if path is None:
        return ("its predictions are not there",)
    promised = max(path.stat().st_size, promised_bytes(path))
    told = f"its predictions unpack to {promised:,} bytes, those of its samples have at most {most:,}"
    return (told,) if promised > most else ()


def _of_papers(record: Record, trusted: Trusted) -> tuple[str, ...]:
    """What of a record is not what its card and its protocol say."""
    missing = _paper_names(record, trusted)
    if missing:
        return missing
    facts = record.facts
    card = trusted.cards[card_name(facts.backbone.card)]
    found = of_protocol(facts, trusted.protocols[protocol_name(facts.protocol.id, facts.protocol.version)])
    if card.id != facts.backbone.id:
        return (*found, f"its card is that of backbone {card.id}, not of {facts.backbone.id}")
    weights = card.weights.sha256 if card.weights is not None else None
    told = card.told()
    return (*found, *of_card(record, told, weights=weights, pretrained_on=card.pretrained_on))


def _paper_names(record: Record, trusted: Trusted) -> tuple[str, ...]:
    facts = record.facts
    found = []
    if card_name(facts.backbone.card) not in trusted.cards:
        found.append(f"the card of backbone {facts.backbone.id} ({facts.backbone.card[:12]}) is not in {CARDS}/")
    if protocol_name(facts.protocol.id, facts.protocol.version) not in trusted.protocols:
        found.append(f"version {facts.protocol.version} of protocol {facts.protocol.id} is not in {PROTOCOLS}/")
    return tuple(found)


def _with_states(judged: list[Verdict], trusted: Trusted) -> Iterator[Verdict]:
    """The verdicts, those of good records with what others' records of the same key say of them."""
    by_key: dict[str, list[tuple[Verdict, Record]]] = {}
    for one in judged:
        if one.record is not None and not one.problems:
            by_key.setdefault(one.record.key, []).append((one, one.record))
    for one in judged:
        if one.record is None or one.problems or one.record.status != "ok":
            yield one
            continue
        peers = [(other.name, record) for other, record in by_key[one.record.key] if other is not one]
        earlier = [
            other for other, record in peers if _number(other) < _number(one.name) and _again(record, one.record)
        ]
        if earlier:
            yield replace(one, state="refused", problems=(f"says the same as {earlier[0]}",))
            continue
        state, remarks = _state(one.record, [record for _, record in peers], trusted)
        yield replace(one, state=state, remarks=(*one.remarks, *remarks))


def _again(one: Record, other: Record) -> bool:
    return one.status == other.status and same_record(one, other)


def _number(name: str) -> int:
    return number_of(Path(name))


def _state(record: Record, peers: list[Record], trusted: Trusted) -> tuple[State, tuple[str, ...]]:
    """Whether somebody else has the same score under the same key."""
    protocol = record.facts.protocol
    tolerance = trusted.protocols[protocol_name(protocol.id, protocol.version)].tolerance
    main = PRIMARY[record.facts.task.kind]
    mine = record.scores.get(main)
    agree: set[str] = set()
    differ: set[str] = set()
    for other in peers:
        who = submitter_of(other)
        if not who or not submitter_of(record) or who == submitter_of(record):
            continue  # one person's runs reproduce nothing, and nobody's are perhaps one person's
        theirs = other.scores.get(main)
        close = mine is theirs if mine is None or theirs is None else abs(mine - theirs) <= tolerance
        (agree if close else differ).add(f"{who} ({'undefined' if theirs is None else f'{theirs:.4f}'})")
    said = [f"{main} within {tolerance:g}: {', '.join(sorted(agree))}"] if agree else []
    said += [f"{main} further off than {tolerance:g}: {', '.join(sorted(differ))}"] if differ else []
    state: State = "reproduced" if agree else "not reproduced" if differ else "plausible, not rerun"
    return state, tuple(said)


def refereed(results: Path) -> RecordSet:
    """What a results repository holds, for tables: the first record of each key that is not refused, with states.

    Raises:
        ProtocolError: If it is no results repository.
    """
    verdicts = judge(results)
    first = [one for one in verdicts if one.record is not None and not one.problems and not _number(one.name)]
    records, notes = held_groups([one.record for one in first if one.record is not None])
    refused = [one for one in verdicts if one.problems]
    damaged = tuple(Damage(results / one.name, f"is refused: {'; '.join(one.problems)}") for one in refused)
    states = {one.record.key: one.state for one in first if one.record is not None and one.state != "no score"}
    count = sum(state == "reproduced" for state in states.values())
    told = f"A results repository: {count} of {len(states)} scores are reproduced by another submitter."
    return RecordSet(tuple(sorted(records, key=lambda one: one.key)), damaged, (told, *notes), states)
