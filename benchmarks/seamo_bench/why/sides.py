"""What two numbers are named by: the file of a record, a folder of results, or the id of a published number."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from seamo.errors import ProtocolError, SeamoError, UsageError
from seamo_bench.board.compare import column_of, name_of, row_of
from seamo_bench.board.tables import is_share
from seamo_bench.facts import Facts, scoring_of
from seamo_bench.paper.reproduce import ELSEWHERE, recipe_of, stated_differences
from seamo_bench.records.layout import named_key, results_of
from seamo_bench.records.record import Record, read_record, read_records
from seamo_bench.runs.cells import Planned
from seamo_bench.runs.plan import make_plan
from seamo_bench.scores.metrics import metrics_for
from seamo_bench.suites.published import Published, load_published
from seamo_bench.suites.suite import Row, Suite
from seamo_bench.why.aspects import aspects_of
from seamo_bench.why.between import Bench
from seamo_bench.why.explained import Side, side_of
from seamo_bench.zoo.catalogue import cards


def find_record(path: Path) -> tuple[Record, Path] | None:
    """The record of a file, or of the first digits of its key behind its folder; None if `path` names none.

    Raises:
        ProtocolError: If it is damaged.
        UsageError: If several keys begin so.
    """
    if path.suffix == ".json" and path.is_file():
        return read_record(path), results_of(path)
    if path.exists() or not path.parent.is_dir() or not path.name:
        return None
    near = [one for one in sorted(path.parent.glob(f"{path.name}*.json")) if named_key(one)]
    if len(near) > 1:
        raise UsageError(f"{len(near)} keys begin so", str(path), "Give more of its digits.")
    return (read_record(near[0]), results_of(near[0])) if near else None


def find_published(text: str) -> Published:
    """A published number by its id, in any case.

    Raises:
        UsageError: If there is none, with those that are close.
    """
    known = {one.id.casefold(): one for name in ("seamo", ELSEWHERE) for one in load_published(name)}
    if text.casefold() in known:
        return known[text.casefold()]
    near = [known[name].id for name in get_close_matches(text.casefold(), known, n=3, cutoff=0.5)]
    told = f"Did you mean {' or '.join(near)}? " if near else ""
    fix = f"{told}`seamo-bench reproduce RESULTS --json` has the ids of published numbers."
    raise UsageError("is no record, no folder of results and no published number", text, fix)


def published_side(one: Published, ours: Side, bench: Bench | None) -> tuple[Side, tuple[str, ...]]:
    """A published number beside ours, in its own metric where this task has it, and what must be known of the two.

    With a bench its facts are those of the paper's recipe in suite `paper`, of whoever published it elsewhere split
    and label fraction; without one they are ours, so that nothing but the metric is told apart.

    Raises:
        ProtocolError: If the value is lost, or is not of the data of ours.
    """
    record = ours.record
    if record is None:
        raise ProtocolError("two published numbers have no predictions", one.id, "Name a record of yours first.")
    stores = "+".join(store.id for store in record.facts.stores)
    if one.value is None or stores != one.dataset:
        raise ProtocolError("its value is lost" if one.value is None else f"is of {one.dataset}, not {stores}", one.id)
    notes = list(stated_differences(one, record))
    name = ours.metric
    if one.metric in metrics_for(scoring_of(record.facts)):
        name = one.metric
    else:
        notes.insert(0, f"metric: {name} instead of {one.metric}, which this task does not have")
    facts = record.facts
    if bench is not None:
        facts, told = _published_facts(one, record, bench)
        notes = [*told, *notes]
    scale = 100.0 if is_share(name) else 1.0
    title = f"{one.model} {one.arch}".strip()
    return Side(f"{title}, {one.source}", name, facts, stated=one.value / scale), tuple(notes)


def _published_facts(one: Published, record: Record, bench: Bench) -> tuple[Facts, tuple[str, ...]]:
    """The facts of a run as it was published, and why they are not those if they are not."""
    facts = record.facts
    if one.table == ELSEWHERE:
        split, fraction = facts.split, one.fraction or 1.0
        told = () if one.variant in ("", split.scheme) else (f"its split, {one.variant}, is not that of ours",)
        if fraction == split.fraction:
            return facts, told
        salt = facts.seed if fraction < 1.0 else 0
        split = split.model_copy(update={"fraction": fraction, "lists": {}, "salt": salt})
        return facts.model_copy(update={"split": split}), told
    recipe = recipe_of(one)
    if recipe is None:
        return facts, ()
    backbone = one.backbone if one.backbone in cards() else facts.backbone.id
    name = bench.names.get(backbone, backbone)
    row = recipe.model_copy(update={"backbones": (), "seeds": max(facts.seed + 1, recipe.seeds or 1)})
    try:
        (cell,) = make_plan(_one_row(row), [name], bench.places)
    except SeamoError as error:
        return facts, (f"the recipe of {one.table} cannot be planned: {error}",)
    if not isinstance(cell, Planned):
        return facts, (f"the recipe of {one.table} cannot be run here: {cell.reason}",)
    return cell.facts.get(facts.seed, cell.facts[0]), ()


def _one_row(row: Row) -> Suite:
    return Suite(id="why", rows=(row,))


@dataclass(frozen=True, slots=True)
class Pair:
    """Two records of two folders of results that answer one question, with other numbers."""

    a: Side
    b: Side


def pairs_of(a: Path, b: Path, metric_name: str = "") -> tuple[tuple[tuple[Pair, ...], ...], tuple[str, ...]]:
    """The rows in which two folders of results differ, a pair a seed, and what only one of them has.

    Records belong together that are of one backbone, data set, protocol and seed; of several such, those with the
    fewest facts that differ. Records with the same predictions are no pair.

    Raises:
        ProtocolError: If a folder is none of results.
    """
    ours, theirs = ([one for one in read_records(place).records if one.status == "ok"] for place in (a, b))
    asked: dict[tuple[object, ...], list[Record]] = {}
    for one in theirs:
        asked.setdefault(_question(one), []).append(one)
    near = [(record, other) for record in ours for other in asked.get(_question(record), ())]
    pairs: dict[tuple[object, ...], list[Pair]] = {}
    used: tuple[set[str], set[str]] = set(), set()
    for record, other in sorted(near, key=_distance):  # the nearest of all first, whoever comes first in a folder
        if record.key in used[0] or other.key in used[1]:
            continue
        used[0].add(record.key)
        used[1].add(other.key)
        if record.predictions and other.predictions and record.predictions.sha256 == other.predictions.sha256:
            continue
        pair = Pair(side_of(record, a, metric_name), side_of(other, b, metric_name))
        row = tuple((column_of(one), row_of(one)) for one in (record, other))
        pairs.setdefault(row, []).append(pair)
    alone = [f"only in A: {_named(one)}" for one in ours if one.key not in used[0]]
    alone += [f"only in B: {_named(one)}" for one in theirs if one.key not in used[1]]
    return tuple(map(tuple, pairs.values())), tuple(alone)


def _distance(pair: tuple[Record, Record]) -> tuple[bool, int, str, str]:
    one, other = pair
    return one.key != other.key, len(aspects_of(one.facts, other.facts)), one.key, other.key


def _question(record: Record) -> tuple[object, ...]:
    facts = record.facts
    return name_of(record), "+".join(store.id for store in facts.stores), facts.protocol.id, facts.seed


def _named(record: Record) -> str:
    name, stores, protocol, seed = _question(record)
    return f"{name} | {stores} | {protocol}, seed {seed}"


def with_metric(pair: Pair, name: str) -> Pair:
    """The same with the second number in another metric."""
    return Pair(pair.a, replace(pair.b, metric=name)) if name else pair


def names_by_id(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(id of its card, name) of each backbone that is named."""
    from seamo_bench.zoo.catalogue import find_card

    for name in names:
        yield find_card(name).card.id, name
