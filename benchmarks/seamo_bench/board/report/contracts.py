"""What the models were fed: the input contracts among records."""

from collections.abc import Iterable, Sequence
from html import escape

from seamo_bench.board.report.markup import facts_list
from seamo_bench.facts import AdapterFacts
from seamo_bench.records.record import Record


class ReportInputs:
    """The different input contracts among records, numbered: many runs share one."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._places: dict[tuple[str, str, str], int] = {}
        self._listed: list[tuple[str, AdapterFacts]] = []
        for record in sorted(records, key=lambda record: (record.facts.backbone.id, self._stores(record))):
            adapter = record.facts.adapter
            if adapter and self._key(record) not in self._places:
                self._places[self._key(record)] = len(self._listed)
                self._listed.append((f"{record.facts.backbone.id} on {self._stores(record)}", adapter))

    @staticmethod
    def _stores(record: Record) -> str:
        return "+".join(store.id for store in record.facts.stores)

    def _key(self, record: Record) -> tuple[str, str, str]:
        adapter = record.facts.adapter
        return record.facts.backbone.id, self._stores(record), adapter.model_dump_json() if adapter else ""

    def link(self, record: Record) -> str:
        """A link to a record's contract; empty without one."""
        place = self._places.get(self._key(record))
        return "" if place is None else f'<a href="#input-{place}">what it was fed</a>'

    def section(self) -> str:
        """All of them, folded."""
        parts = [
            f'<details id="input-{number}"><summary>{escape(name)}</summary>{_contract(adapter)}</details>'
            for number, (name, adapter) in enumerate(self._listed)
        ]
        return "".join(parts) or '<p class="note">No record has an input contract.</p>'


def _contract(adapter: AdapterFacts) -> str:
    rows = [("Size", f"{adapter.size[0]} x {adapter.size[1]} {adapter.resize}"), ("Missing bands", adapter.missing)]
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
    return facts_list(rows)


def _numbers(values: Sequence[float]) -> str:
    return "[" + ", ".join(f"{value:g}" for value in values) + "]"
