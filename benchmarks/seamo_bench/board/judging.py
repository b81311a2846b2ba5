"""Whether the six expectations (`seamo_bench.board.expectations`) are met, by a leaderboard and what is known of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from seamo_bench.board.compare import Column, name_of
from seamo_bench.board.expectations import EXPECTATIONS, Judged, JudgedModel, Known, Met, Place, Scorecard
from seamo_bench.board.leaderboard import FLOORS, BoardCell, Head, Table
from seamo_bench.records.record import Record

_FEW = 4  # names in a sentence


@dataclass(frozen=True, slots=True, eq=False)
class _Model:
    """All that the board has of one name: its cells and their records."""

    name: str
    floor: str
    cells: tuple[tuple[Head, BoardCell], ...]

    @property
    def records(self) -> list[Record]:
        return [record for _, cell in self.cells for record in cell.records]

    @property
    def done(self) -> list[Record]:
        return [record for record in self.records if record.status == "ok"]

    @property
    def columns(self) -> set[Column]:
        return {head.column for head, cell in self.cells if cell.interval is not None}


def scorecard(table: Table, known: Known) -> Scorecard:
    """The six expectations of every model of a leaderboard, and of the leaderboard.

    Args:
        table: The leaderboard.
        known: Cards, suite `core`, published numbers.
    """
    models = _models(table)
    judged = tuple(
        JudgedModel(
            one.name,
            one.floor,
            (
                _licence(one, known),
                _core(one, known),
                _copied(one, known),
                _variance(one, known),
                _harness(one.done),
                _controls(one, models),
            ),
        )
        for one in models
    )
    notes = [note for note in table.notes if note.startswith(("SYNTHETIC", "Subsets", "DEMO"))]
    return Scorecard(judged, _board(models, judged, known), tuple(notes))


def _models(table: Table) -> list[_Model]:
    found: dict[str, list[tuple[Head, BoardCell]]] = {}
    floors: dict[str, str] = {}
    for row in table.rows:
        for head in table.heads:
            cell = table.cells.get((row.id, head.column))
            if cell is not None:
                name = name_of(cell.records[0])
                found.setdefault(name, []).append((head, cell))
                floors[name] = row.floor
    return [_Model(name, floors[name], tuple(cells)) for name, cells in found.items()]


def _keys(records: Iterable[Record]) -> tuple[str, ...]:
    return tuple(sorted({record.key for record in records}))


def _some(names: Iterable[str]) -> str:
    """The first few of many, and how many more there are."""
    listed = list(dict.fromkeys(names))
    more = f" and {len(listed) - _FEW} more" if len(listed) > _FEW else ""
    return ", ".join(listed[:_FEW]) + more


def _degree(part: int, whole: int) -> Met:
    if whole == 0:
        return "not known"
    return "met" if part == whole else "partly" if part else "not met"


# One model -----------------------------------------------------------------------------------------------


def _licence(one: _Model, known: Known) -> Judged:
    ids = sorted({record.facts.backbone.id for record in one.records})
    terms = [known.terms.get(name) for name in ids]
    keys = _keys(one.records)
    if one.floor == "random init":
        return Judged("licence", "met", ("its weights were drawn here",), keys)
    if any(term is None or term.scope == "unknown" for term in terms):
        said = [f"no card here says under which licence the weights of {_some(ids)} are"]
        return Judged("licence", "not known", tuple(said), keys)
    there = [term for term in terms if term is not None]
    if all(term.scope == "nothing" for term in there):
        return Judged("licence", "met", ("no weights are loaded that need a licence",), keys)
    named = sorted({term.licence for term in there if term.licence})
    if not named:
        return Judged("licence", "not met", ("the publisher of the weights states no licence",), keys)
    if any(term.scope == "code" for term in there):
        return Judged("licence", "partly", (f"{', '.join(named)} is named for the code, not for the weights",), keys)
    return Judged("licence", "met", (f"the weights are under {', '.join(named)}",), keys)


def is_real(record: Record) -> bool:
    """Whether a record is of full data at full budget."""
    facts = record.facts
    return facts.budget == "full" and not any(store.synthetic or store.subset for store in facts.stores)


def _core(one: _Model, known: Known) -> Judged:
    answers: dict[Place, list[Record]] = {}
    for place in known.core:
        if mine := [record for record in one.records if record.status != "failed" and place.is_of(record)]:
            answers[place] = mine
    scored = [place for place, group in answers.items() if any(record.status == "ok" for record in group)]
    real = [place for place in answers if any(map(is_real, answers[place]))]
    said = [f"{len(scored)} of {len(known.core)} core evaluations have a score here"]
    if told := len(answers) - len(scored):
        said.append(f"cannot be run, and a record says why: {told}")
    if missing := [place.title for place in known.core if place not in answers]:
        said.append(f"not run: {_some(missing)}")
    if len(real) < len(answers):
        said.append(f"on synthetic data, a subset or the demo budget: {len(answers) - len(real)}")
    full = len(real) == len(known.core) and bool(scored)
    met: Met = "met" if full else "partly" if scored else "not met"
    return Judged("core", met, tuple(said), _keys(record for group in answers.values() for record in group))


def _copied(one: _Model, known: Known) -> Judged:
    ids = {record.facts.backbone.id for record in one.records}
    printed = [number for number in known.published if number.backbone in ids]
    real = [record for record in one.done if is_real(record)]
    rerun = [number for number in printed if any(number.place.is_of(record) for record in real)]
    said = [f"runs with predictions here: {len(one.done)}; no score is copied"]
    if printed:
        said.append(
            f"{len(rerun)} of {len(printed)} numbers that others published of it were run again on the same data"
        )
        if len(rerun) < len(printed):
            said.append("the others stand as copied, with their source, in `seamo-bench reproduce`")
    else:
        said.append("no number that others published of it is known here")
    met: Met = "not met" if not one.done else "met" if len(rerun) == len(printed) else "partly"
    return Judged("copied", met, tuple(said), _keys(one.done))


def _draws(record: Record, known: Known) -> bool:
    return record.facts.protocol.id in known.drawing or record.facts.split.fraction < 1.0


def _variance(one: _Model, known: Known) -> Judged:
    scored = [(cell, cell.interval) for _, cell in one.cells if cell.interval is not None]
    with_interval = [cell for cell, interval in scored if interval.low is not None]
    lone = [
        head.dataset
        for head, cell in one.cells
        if cell.interval is not None
        and cell.interval.num_seeds < 2
        and cell.interval.unit != "folds"
        and any(_draws(record, known) for record in cell.records)
    ]
    said = [f"{len(with_interval)} of {len(scored)} scores have an interval"]
    if lone:
        said.append(f"scores of one seed alone, though the run draws: {len(lone)} ({_some(lone)})")
    good = len(with_interval) == len(scored) and not lone
    met: Met = "not met" if not with_interval else "met" if good else "partly"
    return Judged("variance", met, tuple(said), _keys(one.done))


def _harness(records: Sequence[Record]) -> Judged:
    """Of one model's records, or of all."""
    if not records:
        return Judged("harness", "not known", ("nothing was run",))
    versions: dict[str, set[str]] = {}
    for record in records:
        facts = record.facts
        versions.setdefault(f"protocol {facts.protocol.id}", set()).add(f"version {facts.protocol.version}")
        for store in facts.stores:
            versions.setdefault(f"data {store.id}", set()).add(store.content[:12])
    several = [f"{what}: {', '.join(sorted(found))}" for what, found in sorted(versions.items()) if len(found) > 1]
    codes = sorted({record.environment.get("seamo", "unknown") for record in records})
    said = [f"runs: {len(records)}, all by this code" + (f", version {codes[0]}" if len(codes) == 1 else "")]
    if len(codes) > 1:
        said.append(f"by {len(codes)} versions of it: {_some(codes)}")
    if several:
        said.append(f"several of {_some(several)}")
    met: Met = "not met" if several else "met" if len(codes) == 1 and codes != ["unknown"] else "partly"
    return Judged("harness", met, tuple(said), _keys(records))


def _families(records: Iterable[Record]) -> set[str]:
    return {record.about.family for record in records if record.about.family}


def _controls(one: _Model, models: Sequence[_Model]) -> Judged:
    if one.floor:
        return Judged("controls", "met", (f"is a control itself: {one.floor}",), _keys(one.done))
    family, columns = _families(one.done), one.columns
    found: dict[str, set[Column]] = {}
    keys: set[str] = set(_keys(one.done))

    def count(what: str, others: Iterable[_Model]) -> None:
        mine = found.setdefault(what, set())
        for other in others:
            shared = other.columns & columns
            mine |= shared
            keys.update(record.key for head, cell in other.cells if head.column in shared for record in cell.records)

    others = [other for other in models if other.name != one.name]
    untrained = [other for other in others if other.floor == "random init" and _families(other.done) & family]
    count("image statistics", [other for other in others if other.floor == "image statistics"])
    count("an untrained network of its family", untrained)
    count("a network trained on the labels alone", [other for other in others if other.floor == "supervised"])
    count("another pretraining that differs in one thing", [other for other in others if _is_one_step(one, other)])
    said = [f"{what}: in {len(mine)} of {len(columns)} columns" for what, mine in found.items()]
    whole = all(mine == columns for mine in found.values())
    met: Met = "met" if whole and columns else "partly" if any(found.values()) else "not met"
    return Judged("controls", met, tuple(said), tuple(sorted(keys)))


def _is_one_step(one: _Model, other: _Model) -> bool:
    """Whether two were pretrained alike in all but one setting that both tell."""
    mine = [record.about.pretraining for record in one.done if record.about.pretraining]
    theirs = [record.about.pretraining for record in other.done if record.about.pretraining]
    if not mine or not theirs:
        return False
    names = mine[0].keys() | theirs[0].keys()
    return sum(mine[0].get(name) != theirs[0].get(name) for name in names) == 1


# The whole -----------------------------------------------------------------------------------------------


def _board(models: Sequence[_Model], judged: Sequence[JudgedModel], known: Known) -> tuple[Judged, ...]:
    real = [one for one in judged if not one.floor]
    done = [record for one in models for record in one.done]
    cells = []
    for number, expectation in enumerate(EXPECTATIONS):
        if expectation.id == "harness":
            cells.append(_harness(done))
            continue
        mine = [(one.name, one.cells[number]) for one in real]
        good = [name for name, cell in mine if cell.met == "met"]
        some = [name for name, cell in mine if cell.met == "partly"]
        said = [f"met by {len(good)} of {len(mine)} models"]
        if lacking := [f"{name} ({cell.met})" for name, cell in mine if cell.met != "met"]:
            said.append(f"not by {_some(lacking)}")
        if expectation.id == "core":
            said.append(_shared_core(models, known))
        if expectation.id == "controls":
            said += _floors(models)
        met = _degree(len(good), len(mine))
        if met == "not met" and some:
            met = "partly"
        if all(cell.met == "not known" for _, cell in mine):
            met = "not known"
        keys = sorted({key for _, cell in mine for key in cell.records})
        cells.append(Judged(expectation.id, met, tuple(said), tuple(keys)))
    return tuple(cells)


def _shared_core(models: Sequence[_Model], known: Known) -> str:
    real = [one for one in models if not one.floor]
    shared = sum(all(any(map(place.is_of, one.done)) for one in real) for place in known.core) if real else 0
    return f"{shared} of {len(known.core)} core evaluations have a score of every model"


def _floors(models: Sequence[_Model]) -> list[str]:
    columns = {column for one in models for column in one.columns}
    there = {kind: {column for one in models if one.floor == kind for column in one.columns} for kind in FLOORS}
    return [f"{kind}: in {len(mine)} of {len(columns)} columns" for kind, mine in there.items()]
