"""What records show of themselves, in a shell and in a notebook."""

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from seamo.summary import Summary, some

if TYPE_CHECKING:
    from seamo_bench.records.record import Record, RecordSet


def shown_record(record: "Record") -> Summary:
    """One run: who, where, how, what came out, and what a reader must know."""
    facts = record.facts
    scores = [f"{name} {'undefined' if one is None else f'{one:.4f}'}" for name, one in record.scores.items()]
    lines = [
        ("on", ", ".join(record.about.stores)),
        ("protocol", f"{facts.protocol.id}, {100 * facts.split.fraction:g} % of labels, split {facts.split.scheme}"),
        ("seed", str(facts.seed)),
        ("scores", ", ".join(scores)) if record.status == "ok" else ("reason", record.reason),
        *(("note", f"{flag.kind}: {flag.text}") for flag in record.flags),
    ]
    return Summary(f"Record {record.key[:12]}, {record.status}: {record.about.backbone}", tuple(lines))


def shown_records(found: "RecordSet") -> Summary:
    """A folder of results: how many runs of what."""
    states = Counter(record.status for record in found.records)
    lines = [
        ("status", ", ".join(f"{count:,} {name}" for name, count in states.items()) or "nothing"),
        ("backbones", _names(record.facts.backbone.id for record in found.records)),
        ("data sets", _names("+".join(one.id for one in record.facts.stores) for record in found.records)),
        ("protocols", _names(record.facts.protocol.id for record in found.records)),
        *(("damaged", f"{one.path.name} {one.reason}") for one in found.damaged[:3]),
        *(("note", note) for note in found.notes[:3]),
    ]
    damaged = f", {len(found.damaged):,} damaged files" if found.damaged else ""
    return Summary(f"{len(found.records):,} records{damaged}", tuple(lines))


def _names(names: Iterable[str]) -> str:
    return some(sorted(set(names)))
