"""Whether the six expectations (`seamo_bench.board.expectations`) are met, by a leaderboard and what is known of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from seamo_bench.board.compare import Column, name_of, unreal
from seamo_bench.board.expectations import EXPECTATIONS, EvaluationPlace, Judged, JudgedModel, Known, Met, Scorecard
from seamo_bench.board.leaderboard import FLOORS, BoardCell, Head, Table
from seamo_bench.records.record import Record

_FEW = 4  # names in a sentence
_FOLLOWS = {"step", "pretrained_on.samples"}  # of a pretraining: what its data and settings make of themselves


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
    """By the backbone of which least is known, or that has least."""
    keys = _keys(one.records)
    if one.floor == "random init":
        return Judged("licence", "met", ("its weights were drawn here",), keys)
    ids = sorted({record.facts.backbone.id for record in one.records})
    terms = {name: known.terms.get(name) for name in ids}

    def those(*scopes: str, named: bool) -> list[str]:
        return [
            name for name, of in terms.items() if of is not None and of.scope in scopes and bool(of.licence) == named
        ]

    licences = ", ".join(sorted({of.licence for of in terms.values() if of is not None and of.licence}))
    if bare := those("weights", "code", named=False):
        met: Met = "not met"
        said = f"the publisher states no licence of the weights of {_some(bare)}"
    elif changed := [name for name, of in terms.items() if of is not None and of.scope == "changed"]:
        met, said = "not known", f"runs of {_some(changed)} had another card or other weights than those listed here"
    elif silent := [name for name, of in terms.items() if of is None or of.scope == "unknown"]:
        met, said = "not known", f"no card here says under which licence the weights of {_some(silent)} are"
    elif code := those("code", named=True):
        met, said = "partly", f"{licences} is named; of {_some(code)} for the code, not for the weights"
    elif licences:
        met, said = "met", f"the weights are under {licences}"
    else:
        met, said = "met", "no weights are loaded that need a licence"
    return Judged("licence", met, (said,), keys)


def _core(one: _Model, known: Known) -> Judged:
    answers: dict[EvaluationPlace, list[Record]] = {}
    for place in known.core:
        if mine := [record for record in one.records if record.status != "failed" and place.is_of(record)]:
            answers[place] = mine
    scores = {place: [record for record in mine if record.status == "ok"] for place, mine in answers.items()}
    scored = [place for place, done in scores.items() if done]
    real = [place for place in scored if not all(map(unreal, scores[place]))]
    said = [f"{len(scored)} of {len(known.core)} core evaluations have a score here"]
    if told := len(answers) - len(scored):
        said.append(f"cannot be run, and a record says why, which may lie in the model or in what was at hand: {told}")
    if missing := [place.title for place in known.core if place not in answers]:
        said.append(f"not run: {_some(missing)}")
    if len(real) < len(scored):
        said.append(f"on synthetic data, a subset or the demo budget: {len(scored) - len(real)}")
    met: Met = "not met" if not scored else "met" if len(real) == len(known.core) else "partly"
    return Judged("core", met, tuple(said), _keys(record for group in answers.values() for record in group))


def _copied(one: _Model, known: Known) -> Judged:
    keys, done = set(_keys(one.records)), set(_keys(one.done))
    printed = [number for number in known.published if number.of & keys]
    rerun = [number for number in printed if number.again & done]
    said = [f"runs with predictions here: {len(one.done)}; no score is copied"]
    if printed:
        said.append(f"{len(rerun)} of {len(printed)} published numbers of it were run again on the same data and split")
        if len(rerun) < len(printed):
            said.append("the others stand as copied, with their source, in `seamo-bench reproduce`")
    else:
        said.append("no published number of it is known here")
    met: Met = "not known" if not printed else "not met" if not done else "partly"
    return Judged("copied", "met" if printed and len(rerun) == len(printed) else met, tuple(said), tuple(sorted(done)))


def _draws(record: Record, known: Known) -> bool | None:
    """None where nobody knows."""
    return True if record.facts.split.fraction < 1.0 else known.drawing.get(record.facts.protocol.id)


def _variance(one: _Model, known: Known) -> Judged:
    scored = [(cell, cell.interval) for _, cell in one.cells if cell.interval is not None]
    with_interval = [cell for cell, interval in scored if interval.low is not None]
    single = [
        (head.dataset, {_draws(record, known) for record in cell.records})
        for head, cell in one.cells
        if cell.interval is not None and cell.interval.num_seeds < 2 and cell.interval.unit != "folds"
    ]
    lone = [name for name, draws in single if True in draws]
    unsure = [name for name, draws in single if None in draws and True not in draws]
    said = [f"{len(with_interval)} of {len(scored)} scores have an interval"]
    if lone:
        said.append(f"scores of one seed alone, though the run draws: {len(lone)} ({_some(lone)})")
    if unsure:
        said.append(f"scores of one seed of a protocol that is not installed here: {len(unsure)} ({_some(unsure)})")
    whole = len(with_interval) == len(scored) and not lone
    met: Met = "not met" if not with_interval else "partly" if not whole else "not known" if unsure else "met"
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
    """Whether two were pretrained alike in all but one setting, or in all but the data.

    How many steps were taken and how many samples there were follows from those; a stage that ended earlier is the
    same pretraining.
    """
    mine = [record.about.pretraining for record in one.done if record.about.pretraining]
    theirs = [record.about.pretraining for record in other.done if record.about.pretraining]
    if other.floor or not mine or not theirs:
        return False
    names = (mine[0].keys() | theirs[0].keys()) - _FOLLOWS
    apart = [name for name in names if mine[0].get(name) != theirs[0].get(name)]
    return len(apart) == 1 and apart != ["stage"]


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
