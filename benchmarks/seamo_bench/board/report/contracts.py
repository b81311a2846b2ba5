"""What the models were fed: the input contracts among records."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from seamo_bench.facts import AdapterFacts
from seamo_bench.records.record import Record


@dataclass(frozen=True, slots=True)
class InputContract:
    """One way to feed a network, in words, and the records that were fed so."""

    facts: Sequence[tuple[str, str]]
    records: Sequence[Record]


def contracts(records: Iterable[Record]) -> list[InputContract]:
    """Equal contracts once, in the order of backbones and stores."""
    found: dict[str, tuple[AdapterFacts, list[Record]]] = {}
    for record in sorted(records, key=lambda one: (one.facts.backbone.id, [s.id for s in one.facts.stores], one.key)):
        adapter = record.facts.adapter
        if adapter is not None:
            found.setdefault(adapter.model_dump_json(), (adapter, []))[1].append(record)
    return [InputContract(_words(adapter), mine) for adapter, mine in found.values()]


def contract_numbers(records: Iterable[Record]) -> dict[str, int]:
    """Key of a record -> number of its contract."""
    return {record.key: number for number, one in enumerate(contracts(records)) for record in one.records}


def _words(adapter: AdapterFacts) -> list[tuple[str, str]]:
    rows = [("Size", _size(adapter)), ("Missing bands", adapter.missing)]
    for fed in adapter.inputs:
        steps = "; then ".join(f"{step.op} a={_numbers(step.a)} b={_numbers(step.b)}" for step in fed.steps)
        rows += [
            (f"{fed.sensor} bands", " ".join(fed.bands)),
            (f"{fed.sensor} unit", f"{fed.unit}, from {fed.stack}"),
            (f"{fed.sensor} steps", steps or "none"),
            (f"{fed.sensor} numbers from", fed.statistics or "not stated"),
        ]
        if fed.filled:
            rows.append((f"{fed.sensor} made up", " ".join(fed.filled)))
    return rows


def _size(adapter: AdapterFacts) -> str:
    """What the network sees; 0 x 0 stands for images as they are stored, and `resize` often names the size."""
    size = f"{adapter.size[0]} x {adapter.size[1]}" if all(adapter.size) else "as stored"
    return adapter.resize if size in adapter.resize else f"{size}, {adapter.resize or 'not resized'}"


def _numbers(values: Sequence[float]) -> str:
    return "[" + ", ".join(f"{value:g}" for value in values) + "]"
