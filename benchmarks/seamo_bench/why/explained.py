"""Two numbers, the facts in which they differ, what each moves: from records, and from runs between them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from seamo.errors import ProtocolError, SeamoError
from seamo_bench.board.compare import row_of
from seamo_bench.facts import Facts, run_key, scoring_of
from seamo_bench.records.put import whole_record
from seamo_bench.records.record import Record
from seamo_bench.records.replicates import replicates_of
from seamo_bench.scores.intervals import difference_of, interval
from seamo_bench.scores.metrics import PRIMARY, metrics_for
from seamo_bench.why.aspects import METRIC, TEST, Aspect, aspects_of, mixed
from seamo_bench.why.attribution import Attribution, attribute
from seamo_bench.why.between import Bench, plan_facts
from seamo_bench.why.rescoring import check_metric, keys_of, scored

_TINY = 1e-12  # of a score: rounding
_ROUNDING = 5e-5  # what is told of an end that was run again


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One of two numbers.

    Args:
        title: Whose it is.
        metric: What it is.
        facts: What was run.
        record: Of ours; None of a published number.
        results: The record's folder.
        stated: A published number, as a share.
    """

    title: str
    metric: str
    facts: Facts
    record: Record | None = None
    results: Path | None = None
    stated: float | None = None


@dataclass(frozen=True, slots=True)
class Moved:
    """Facts and what they move.

    Args:
        aspects: One; or several that nothing tells apart.
        effect: What they move, of the score.
    """

    aspects: tuple[Aspect, ...]
    effect: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why two numbers differ.

    Args:
        a: The first number's title.
        b: The second's.
        metric: Of the first, then of the second.
        values: The numbers.
        moved: Single facts and what they move, the largest first.
        together: Facts that were not told apart, and what they move together; None where there are none.
        unexplained: What is left: where the ends, run again, are not what they were.
        how: The order of the changes, in words.
        runs: Runs between the two that were made.
        would_run: Runs that would tell more, in words.
        why_not: Runs that cannot be made, and why.
        common: Samples that both tested and their two scores on those; None where they tested the same ones, or none.
        chance: Ends of the difference's paired 95 % interval; None where there is none.
        no_chance: Why there is none; empty where there is one.
        keys: Of the records; of several seeds those of the first.
        records: Keys of all records, where several seeds are averaged; empty otherwise.
        notes: What else a reader must know.
    """

    a: str
    b: str
    metric: tuple[str, str]
    values: tuple[float, float]
    moved: tuple[Moved, ...]
    together: Moved | None
    unexplained: float
    how: str
    runs: int = 0
    would_run: tuple[str, ...] = ()
    why_not: tuple[str, ...] = ()
    common: tuple[int, float, float] | None = None
    chance: tuple[float, float] | None = None
    no_chance: str = ""
    keys: tuple[str, str] = ("", "")
    records: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def difference(self) -> float:
        """The second minus the first."""
        return self.values[1] - self.values[0]

    @property
    def explained(self) -> float | None:
        """Share of the difference that single facts account for, at least 0; None of numbers that are equal."""
        left = self.unexplained + (self.together.effect if self.together else 0.0)
        return None if abs(self.difference) < _TINY else max(0.0, 1 - abs(left) / abs(self.difference))


def side_of(record: Record, results: Path, metric: str = "") -> Side:
    """A record as one of two numbers.

    Raises:
        ProtocolError: If it has no score.
        UsageError: If its task has no such metric.
    """
    if record.status != "ok":
        raise ProtocolError(f"has no score, it is {record.status}: {record.reason}", record.key[:12])
    name = metric or PRIMARY[record.facts.task.kind]
    check_metric(name, record.facts)
    stores = "+".join(store.id for store in record.facts.stores)
    title = f"{row_of(record)} | {stores} | {record.facts.protocol.id}, seed {record.facts.seed} ({record.key[:8]})"
    return Side(title, name, record.facts, record, results)


def explain(a: Side, b: Side, *, bench: Bench | None = None, notes: Sequence[str] = ()) -> Explanation:
    """Divide the difference of two numbers among the facts in which they differ.

    Args:
        a: The first, a record.
        b: The second.
        bench: Where runs between them are made; None: only records that are there, and their predictions.
        notes: To be handed on.

    Raises:
        ProtocolError: If a number is undefined, or the two are of tasks that no metric has in common.
    """
    if a.facts.task.kind != b.facts.task.kind:
        told = f"one is {a.facts.task.kind}, the other {b.facts.task.kind}"
        raise ProtocolError(f"are scores of different tasks: {told}", f"{a.title} and {b.title}")
    aspects = list(aspects_of(a.facts, b.facts))
    if a.metric != b.metric:
        aspects.append(Aspect(METRIC, a.metric, b.metric))
    values = _value(a), _value(b)
    known = {aspect.name: aspect for aspect in aspects}
    way = _Way(a, b, frozenset(known), bench)
    made = Attribution({}, "no fact differs")
    if aspects:
        way.check_ends()
        ends = way.value(frozenset()), way.value(frozenset(known))
        made = Attribution({}, "an end is not known") if None in ends else attribute(list(known), way.value)
    singles = [Moved((known[names[0]],), effect) for names, effect in made.effects.items() if len(names) == 1]
    groups = [(names, effect) for names, effect in made.effects.items() if len(names) > 1]
    told_apart = {name for names, _ in groups for name in names}
    together = Moved(tuple(one for one in aspects if one.name in told_apart), sum(effect for _, effect in groups))
    covered = sum(made.effects.values())
    return Explanation(
        a.title,
        b.title,
        (a.metric, b.metric),
        values,
        tuple(sorted(singles, key=lambda one: -abs(one.effect))),
        together if groups else None,
        values[1] - values[0] - covered,
        made.how,
        way.runs,
        tuple(way.would_run),
        tuple(dict.fromkeys(way.why_not)),
        _common(a, b),
        *_chance(a, b),
        tuple("" if side.record is None else side.record.key for side in (a, b)),  # type: ignore[arg-type]
        notes=(*way.drift(values), *notes),
    )


def averaged(found: Sequence[Explanation]) -> Explanation | None:
    """Several seeds of one pair of rows as one, as tables show their means; None where not the same is told apart.

    Args:
        found: One a seed, of one metric each.
    """
    first, count = found[0], len(found)
    if count == 1:
        return first
    told = [(one.metric, {_names(part) for part in _parts(one)}, one.together is None) for one in found]
    if any(one != told[0] for one in told):
        return None

    def mean(part: Moved) -> Moved:
        effects = [own.effect for one in found for own in _parts(one) if _names(own) == _names(part)]
        return Moved(part.aspects, sum(effects) / count)

    titles = [f"{one.rpartition(', seed ')[0]}, mean of {count} seeds" for one in (first.a, first.b)]
    values = [sum(one.values[side] for one in found) / count for side in (0, 1)]
    return Explanation(
        titles[0],
        titles[1],
        first.metric,
        (values[0], values[1]),
        tuple(sorted(map(mean, first.moved), key=lambda one: -abs(one.effect))),
        None if first.together is None else mean(first.together),
        sum(one.unexplained for one in found) / count,
        first.how,
        sum(one.runs for one in found),
        tuple(dict.fromkeys(told for one in found for told in one.would_run)),
        tuple(dict.fromkeys(told for one in found for told in one.why_not)),
        no_chance=f"it is the mean of {count} seeds, each of which has one of its own",
        keys=first.keys,
        records=tuple(dict.fromkeys(key for one in found for key in one.keys if key)),
        notes=tuple(dict.fromkeys(told for one in found for told in one.notes)),
    )


def _parts(one: Explanation) -> list[Moved]:
    return [*one.moved, *([one.together] if one.together else [])]


def _names(part: Moved) -> tuple[str, ...]:
    return tuple(aspect.name for aspect in part.aspects)


def _value(side: Side) -> float:
    if side.stated is not None:
        return side.stated
    if side.record is None or side.results is None:
        raise ProtocolError("is neither a record nor a published number", side.title)
    value = scored(side.record, side.results, side.metric)
    if value is None:
        raise ProtocolError(f"{side.metric} is undefined", side.title)
    return value


def _common(a: Side, b: Side) -> tuple[int, float, float] | None:
    """What both score on the samples that both tested, where they tested others, too."""
    if a.record is None or b.record is None or a.results is None or b.results is None:
        return None
    ours, theirs = keys_of(a.record, a.results), keys_of(b.record, b.results)
    both = ours & theirs
    if ours == theirs or not both:
        return None
    scores = scored(a.record, a.results, a.metric, both), scored(b.record, b.results, b.metric, both)
    return None if scores[0] is None or scores[1] is None else (len(both), scores[0], scores[1])


def _chance(a: Side, b: Side) -> tuple[tuple[float, float] | None, str]:
    """Where the difference may lie given so many test samples, as `compare` has it, turned; or why that is unknown."""
    if a.metric != b.metric:
        return None, "the two are of different metrics"
    if a.metric not in metrics_for(scoring_of(a.facts)):
        return None, f"{a.metric} follows the order of the samples"
    made = []
    for side in (a, b):
        if side.record is None or side.results is None:
            return None, "a published number has no predictions"
        made.append(replicates_of(side.record, side.results, side.metric))
    if (made[0].samples, made[0].truth) != (made[1].samples, made[1].truth):
        return None, "the two were not tested on the same samples with the same labels"
    found = interval(difference_of([made[1]], [made[0]]))
    if found.low is None or found.high is None:
        return None, found.note or "there is no error to measure with"
    return (found.low, found.high), ""


@dataclass(slots=True, eq=False)
class _Way:
    """The numbers between two ends: of records that are there, scored anew, or of runs."""

    a: Side
    b: Side
    names: frozenset[str]
    bench: Bench | None
    runs: int = 0
    would_run: list[str] = field(default_factory=list)
    why_not: list[str] = field(default_factory=list)
    _records: dict[frozenset[str], tuple[Record, Path] | None] = field(default_factory=dict)
    _values: dict[frozenset[str], float | None] = field(default_factory=dict)

    def check_ends(self) -> None:
        """Where runs are made between the ends, run these too: what is not as it was is left unexplained.

        An end whose network is trained and whose facts are those of today's plan is believed: that is dear.
        """
        facts = self.names - {METRIC}
        if self.bench is None or (len(facts) < 2 and self.b.record is not None):
            return
        for chosen in (frozenset[str](), facts):
            side = self.b if chosen else self.a
            again = self._planned(chosen, is_end=True)
            if again is not None:
                self._records[chosen] = again
            elif side.record is not None and side.results is not None:
                self._records[chosen] = (side.record, side.results)

    def drift(self, values: tuple[float, float]) -> tuple[str, ...]:
        """Ends that were run again, or run as somebody else describes them, and are not what they were."""
        found = []
        for chosen, value, name in ((frozenset[str](), values[0], "A"), (self.names, values[1], "B")):
            again = self._values.get(chosen)
            if again is not None and abs(again - value) > _ROUNDING:
                found.append(f"{name}, run here by its facts, is {again:.4f}, not {value:.4f}")
        return tuple(found)

    def value(self, made: frozenset[str]) -> float | None:
        """The number when these facts are those of the second side."""
        if made not in self._values:
            self._values[made] = self._number(made)
        return self._values[made]

    def _number(self, made: frozenset[str]) -> float | None:
        metric = (self.b if METRIC in made else self.a).metric
        facts = made - {METRIC}
        if TEST in self.names and facts not in self._records and self._there(facts) is None:
            value = self._of_part(facts, metric)
            if value is not None:
                return value
        found = self._record(facts)
        return None if found is None else scored(*found, metric)

    def _of_part(self, facts: frozenset[str], metric: str) -> float | None:
        """The number of the same run on the other's test samples, where those are a part of its own."""
        found, side = self._there(facts ^ {TEST}), self.b if TEST in facts else self.a
        if found is None or side.record is None or side.results is None:
            return None
        return scored(*found, metric, keys_of(side.record, side.results))

    def _record(self, chosen: frozenset[str]) -> tuple[Record, Path] | None:
        if chosen not in self._records:
            self._records[chosen] = self._there(chosen) or self._planned(chosen)
        return self._records[chosen]

    def _facts(self, chosen: frozenset[str]) -> Facts | None:
        try:
            return mixed(self.a.facts, self.b.facts, chosen)
        except ProtocolError as error:
            self.why_not.append(f"{self._told(chosen)}: {error}")
            return None

    def _there(self, chosen: frozenset[str]) -> tuple[Record, Path] | None:
        """The record of these facts that lies beside one of the two."""
        for side, own in ((self.a, frozenset[str]()), (self.b, self.names - {METRIC})):
            if chosen == own and side.record is not None and side.results is not None:
                return side.record, side.results
        facts = self._facts(chosen)
        return None if facts is None else self._kept(run_key(facts))

    def _kept(self, key: str) -> tuple[Record, Path] | None:
        for folder in dict.fromkeys(side.results for side in (self.a, self.b) if side.results is not None):
            if (record := whole_record(folder, key)) is not None:
                return record, folder
        return None

    def _planned(self, chosen: frozenset[str], *, is_end: bool = False) -> tuple[Record, Path] | None:
        """The record of these facts, run where there is none."""
        if self.bench is None:
            self.would_run.append(self._told(chosen))
            return None
        facts = self._facts(chosen)
        if facts is None:
            return None
        results = Path(self.bench.places.results)
        try:
            cell = plan_facts(facts, self.bench)
            (planned,) = cell.facts.values()
            is_cheap = cell.protocol.needs == "features"
            kept = None if is_end and is_cheap else self._kept(run_key(planned))
            if kept is not None:
                return kept
            record = whole_record(results, run_key(planned))
            if record is None:
                self.runs += 1
                record = self.bench.run(cell)
        except SeamoError as error:
            self.why_not.append(f"{self._told(chosen)}: {error}")
            return None
        return record, results

    def _told(self, chosen: frozenset[str]) -> str:
        ordered = [one.name for one in aspects_of(self.a.facts, self.b.facts) if one.name in chosen]
        if not ordered:
            return "A"
        return "B" if chosen == self.names - {METRIC} else f"A with B's {', '.join(ordered)}"
