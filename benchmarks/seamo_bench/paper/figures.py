"""The pictures of the paper (its Figures 5 to 13) from our stores and records, and the same of every other data set.

`figure05` shows samples of SSL4EO-S12, one row a sensor and place, four seasons; 6 and 7 SegMunich, 8 and 9 OSCD, 11
GLH-Water, 12 and 13 S1S2-Water: image, truth and what every model says; 10 SegMunich's truth beside SeaMo alone. Of
all other stores there are `samples-<id>`, of other records `predictions-<id>` and `classes-<id>`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from seamo.errors import ProtocolError, SeamoError, StoreError
from seamo.sample import IGNORE
from seamo.store.pictures import MISSING, class_colours, mask_picture
from seamo.store.reader import Store
from seamo_bench.facts import Facts
from seamo_bench.paper.examples import (
    Ids,
    Model,
    Shown,
    best_column,
    models_of,
    pictures_of,
    places_of,
    store_of,
    stores_under,
)
from seamo_bench.paper.identity import is_seamo
from seamo_bench.paper.sheet import Colour, Sheet, SheetCell, SheetRow, shortened, write_sheet
from seamo_bench.predictions import ClassPredictions, probabilities
from seamo_bench.records.record import Record, read_records
from seamo_bench.scores.metrics import PRIMARY
from seamo_bench.tasks.trials import DENSE

MODELS = 5  # beside each other
EXAMPLES = 4  # places a figure
SAMPLES = 6  # of a data set
MOST_SAID = 3  # classes of a set that are named


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of the paper.

    Args:
        id: How its file begins.
        dataset: That it shows.
        number: In the paper.
        first: Place with which it begins: of two figures of one data set the second goes on.
        seamo: Whether it shows SeaMo alone.
    """

    id: str
    dataset: str
    number: int
    first: int = 0
    seamo: bool = False


PAPER = (
    Figure("figure06", "segmunich", 6),
    Figure("figure07", "segmunich", 7, first=EXAMPLES),
    Figure("figure08", "oscd", 8),
    Figure("figure09", "oscd", 9, first=EXAMPLES),
    Figure("figure10", "segmunich", 10, first=2 * EXAMPLES, seamo=True),
    Figure("figure11", "glh-water", 11),
    Figure("figure12", "s1s2-water-s1", 12),
    Figure("figure13", "s1s2-water-s2", 13),
)
PRETRAINING = Figure("figure05", "ssl4eo-s12", 5)


@dataclass(frozen=True, slots=True)
class Drawn:
    """What became of one figure.

    Args:
        id: Name of the file without its ending.
        file: Path; empty where it could not be drawn.
        reason: Why it could not.
        records: Keys of the records that it shows.
    """

    id: str
    file: str
    reason: str = ""
    records: tuple[str, ...] = ()


def draw_figures(
    results: Path, stores: Path, out: Path, *, progress: Callable[[int, int, str], None]
) -> Iterator[Drawn]:
    """Draw what can be drawn, and say why the rest cannot.

    Args:
        results: Folder of records with their predictions.
        stores: Folder of stores, for pixels and truth.
        out: Folder of the PNG files; made if it is not there.
        progress: Called with (done, total, name) before each figure.

    Yields:
        One a figure of the paper, one a store, one a data set with records.

    Raises:
        ProtocolError: If `results` is no folder of results.
        StoreError: If there is no store.
    """
    records, found = read_records(results).records, stores_under(stores)
    out.mkdir(parents=True, exist_ok=True)
    jobs = _jobs(records, results, found)
    for number, (name, sheet_of) in enumerate(jobs):
        progress(number, len(jobs), name)
        try:
            sheet, shown = sheet_of()
        except SeamoError as error:
            yield Drawn(name, "", str(error))
            continue
        path = out / f"{name}.png"
        write_sheet(path, sheet)
        yield Drawn(name, str(path), "", tuple(one.key for one in shown))
    progress(len(jobs), len(jobs), "")


Made = tuple[Sheet, Sequence[Record]]
Job = tuple[str, Callable[[], Made]]


def _jobs(records: Sequence[Record], results: Path, stores: Sequence[Store]) -> list[Job]:
    jobs: list[Job] = [(f"{PRETRAINING.id}-{PRETRAINING.dataset}", partial(_seasons, stores))]
    jobs += [(f"{one.id}-{one.dataset}", partial(_dense, one, records, results, stores)) for one in PAPER]
    first = {store.spec.id: store for store in reversed(stores)}
    jobs += [(f"samples-{name}", partial(_samples, store)) for name, store in sorted(first.items())]
    tasks = {_dataset(record): record.facts.task.kind for record in records if record.status == "ok"}
    for name in sorted(tasks.keys() - {one.dataset for one in PAPER}):
        if tasks[name] in DENSE:
            figure = Figure(f"predictions-{name}", name, 0)
            jobs.append((figure.id, partial(_dense, figure, records, results, stores)))
        else:
            jobs.append((f"classes-{name}", partial(_classes, name, records, results, stores)))
    return jobs


def _dataset(record: Record) -> str:
    return "+".join(one.id for one in record.facts.stores)


# Samples -------------------------------------------------------------------------------------------------


def _seasons(stores: Sequence[Store]) -> Made:
    """SSL4EO-S12: places in pairs of rows, optical above radar, the seasons side by side."""
    mine = [store for store in stores if store.spec.id == PRETRAINING.dataset]
    if not mine:
        raise StoreError(f"there is no store of {PRETRAINING.dataset}")
    store = mine[0]
    optical = [stack for stack in store.spec.stacks if stack.startswith("s2")]
    radar = [stack for stack in store.spec.stacks if stack.startswith("s1")]
    rows, notes = [], dict[str, None]()
    for row in _spread(store, 3):
        key = str(store.index["key"].iloc[row])
        shown = pictures_of(store, row)
        for stack in (*optical[:1], *radar[:1]):
            own = [one for one in shown if one.name.split(maxsplit=1)[0].rstrip(",") == stack]
            cells = tuple(SheetCell(one.picture, one.day) for one in own)
            rows.append(SheetRow(f"{key}\n{stack}", cells))
            notes |= dict.fromkeys(_stretch(one) for one in own)
    title = f"Figure {PRETRAINING.number}: samples of SSL4EO-S12, four seasons of each place"
    return Sheet(title, (_store_line(store),), tuple(rows), notes=tuple(notes)), ()


def _samples(store: Store) -> Made:
    """Some samples of a store: every stack and date, and the mask or the class."""
    spec, blocks = store.spec, list[tuple[str, list[SheetCell]]]()
    space = spec.label_space() if spec.task.label_space else None
    colours = class_colours(space) if space else []
    names, notes, classes = space.names if space else (), dict[str, None](), set[int]()
    for row in _spread(store, SAMPLES):
        shown = pictures_of(store, row)
        notes |= dict.fromkeys(_stretch(one) for one in shown)
        label = store.read_label(row)
        cells = [_cell(one) for one in shown]
        if isinstance(label, np.ndarray):
            cells.append(SheetCell(mask_picture(label, colours), "classes"))
            classes |= set(np.unique(label).tolist())
        elif label is not None and cells:
            ids = label if isinstance(label, tuple) else (label,)
            cells[0] = _below(cells[0], ", ".join(names[i] for i in ids))
        blocks.append((str(store.index["key"].iloc[row]), cells))
    sheet = Sheet(
        f"Samples of {spec.title}",
        (_store_line(store),),
        _wrap(blocks),
        legend=_legend(names, colours, classes),
        notes=tuple(notes),
    )
    return sheet, ()


def _spread(store: Store, count: int) -> list[int]:
    """Rows of a store: its classes in turn, and over the whole of it."""
    rows = [int(row) for row in store.rows("all")]
    if not rows:
        raise StoreError("holds no sample", store.title)
    groups: dict[str, list[int]] = {}
    column = "dominant" if "dominant" in store.index else "label" if "label" in store.index else ""
    for row in rows:
        groups.setdefault(str(store.index[column].iloc[row]) if column else "", []).append(row)
    lines = [one[:: max(1, len(one) // count)] for _, one in sorted(groups.items())]
    turns = [line[turn] for turn in range(max(map(len, lines))) for line in lines if turn < len(line)]
    return sorted(turns[:count])


def _wrap(blocks: Sequence[tuple[str, list[SheetCell]]]) -> tuple[SheetRow, ...]:
    """Samples of few pictures stand side by side, named above; those of many have a row each."""
    most = max(len(cells) for _, cells in blocks)
    if most > 2:
        return _once([SheetRow(key, tuple(cells)) for key, cells in blocks])
    flat: list[SheetCell | None] = []
    for key, cells in blocks:
        first = replace(cells[0], below=(shortened(key), *cells[0].below))
        flat += [first, *cells[1:], *[None] * (most - len(cells))]
    across = 6 // most * most
    return _once([SheetRow("", tuple(flat[at : at + across])) for at in range(0, len(flat), across)])


def _once(rows: Sequence[SheetRow]) -> tuple[SheetRow, ...]:
    """Heads of columns above the first row alone, where those of other rows say the same."""
    heads = [None if cell is None else cell.above for cell in rows[0].cells]

    def rest(row: SheetRow) -> SheetRow:
        cells = tuple(
            replace(cell, above="") if cell is not None and cell.above == head else cell
            for cell, head in zip(row.cells, heads, strict=False)
        )
        return replace(row, cells=(*cells, *row.cells[len(cells) :]))

    return (rows[0], *map(rest, rows[1:]))


# Predictions ---------------------------------------------------------------------------------------------


def _dense(figure: Figure, records: Sequence[Record], results: Path, stores: Sequence[Store]) -> Made:
    """Image, truth, and what every model says there."""
    chosen = best_column(records, figure.dataset)
    if not chosen:
        raise ProtocolError(f"there is no record of {figure.dataset} with a score")
    models, total = models_of([one for one in chosen if is_seamo(one)] if figure.seamo else chosen, results, MODELS)
    if not models:
        raise ProtocolError("no record of a pretrained SeaMo is among them; figure06 shows those that there are")
    facts = models[0].record.facts
    store = store_of(models[0].record, stores)
    places = places_of(store, models, figure.first + EXAMPLES)[figure.first :]
    if not places:
        raise ProtocolError(f"the test split shows no more than {figure.first} places apart (a demo: --size small has)")
    colours = class_colours(store.spec.label_space(facts.task.label_space))
    rows, seen, notes = [], set[int](), dict[str, None]()
    for place in places:
        shown: list[tuple[Ids, str]] = [(place.truth, "truth")]
        shown += [(ids, _model_line(model)) for ids, model in zip(place.predicted, models, strict=True)]
        images = [_cell(one) for one in place.pictures]
        rows.append(
            SheetRow(place.key, (*images, *(SheetCell(mask_picture(ids, colours), words) for ids, words in shown)))
        )
        seen |= {int(one) for ids, _ in shown for one in np.unique(ids)}
        notes |= dict.fromkeys(_stretch(one) for one in place.pictures)
    what = "truth and what SeaMo says" if figure.seamo else "what the models say"
    sheet = Sheet(
        f"{_number(figure)}{store.spec.title}: {what}",
        _about(models[0].record, len(models), total),
        _once(rows),
        legend=_legend(facts.task.classes, colours, seen),
        notes=(*notes, *_keys(models)),
    )
    return sheet, [model.record for model in models]


def _classes(dataset: str, records: Sequence[Record], results: Path, stores: Sequence[Store]) -> Made:
    """Test samples with their class and the models' classes: half that the first model has right, half wrong."""
    chosen = best_column(records, dataset)
    models, total = models_of(chosen, results, 3)
    record = models[0].record
    store = store_of(record, stores)
    tables = [_by_key(model) for model in models]
    keys, right = _examples(models[0], 2 * SAMPLES)
    blocks, notes = [], dict[str, None]()
    for key in keys:
        shown = pictures_of(store, store.row(key), record.facts)
        notes |= dict.fromkeys(_stretch(one) for one in shown)
        lines = [f"true: {_named(tables[0][key][0], record.facts)}"]
        for number, (model, table) in enumerate(zip(models, tables, strict=True)):
            lines.append(f"{_letter(number)}: {_said(*table[key], model.record.facts)}")
        cells = [_cell(one) for one in shown]
        blocks.append((key, [_below(cells[0], *lines), *cells[1:]]))
    listed = [f"{_letter(number)}: {_model_line(model)}" for number, model in enumerate(models)]
    sheet = Sheet(
        f"{store.spec.title}: classes of test samples",
        (
            *_about(record, len(models), total),
            f"{right} that A has wholly right, then others",
            *listed,
        ),
        _wrap(blocks),
        notes=(*notes, *_keys(models)),
    )
    return sheet, [model.record for model in models]


def _by_key(model: Model) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Sample key -> label and probabilities; of several folds the first one's."""
    own = model.predictions
    if not isinstance(own, ClassPredictions):
        raise ProtocolError("its predictions are no classes", model.record.key)
    chance = probabilities(own)
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for key, label, one in zip(own.keys, own.labels, chance, strict=True):
        found.setdefault(str(key), (np.atleast_1d(label), one))
    return found


def _examples(model: Model, count: int) -> tuple[list[str], int]:
    """Keys of samples that a model has right, then of some that it has wrong; and how many are right."""
    table = _by_key(model)
    sides: tuple[list[str], list[str]] = ([], [])
    for key in sorted(table):
        label, chance = table[key]
        hit = bool((label == (chance >= 0.5)).all()) if len(label) > 1 else int(label[0]) == int(chance.argmax())
        sides[0 if hit else 1].append(key)
    half = count // 2
    short = [max(0, half - len(side)) for side in sides]
    chosen = [_even(side, half + short[1 - k]) for k, side in enumerate(sides)]
    return [*chosen[0], *chosen[1]], len(chosen[0])


def _even(keys: Sequence[str], count: int) -> list[str]:
    """So many of them, evenly spread."""
    if len(keys) <= count:
        return list(keys)
    return [keys[place] for place in np.linspace(0, len(keys) - 1, count).astype(int)]


def _named(label: np.ndarray, facts: Facts) -> str:
    names = facts.task.classes
    return ", ".join(names[k] for k in np.flatnonzero(label)) if len(label) > 1 else names[int(label[0])]


def _said(label: np.ndarray, chance: np.ndarray, facts: Facts) -> str:
    names = facts.task.classes
    if len(label) > 1:
        said = [f"{names[k]} {chance[k]:.2f}" for k in np.argsort(-chance) if chance[k] >= 0.5]
        more = f" and {len(said) - MOST_SAID} more" if len(said) > MOST_SAID else ""
        return ", ".join(said[:MOST_SAID]) + more or f"none (most: {names[int(chance.argmax())]} {chance.max():.2f})"
    first = int(chance.argmax())
    return f"{names[first]} {chance[first]:.2f} ({'right' if first == int(label[0]) else 'WRONG'})"


# Words ---------------------------------------------------------------------------------------------------


def _number(figure: Figure) -> str:
    return f"Figure {figure.number}: " if figure.number else ""


def _cell(one: Shown) -> SheetCell:
    return SheetCell(one.picture, one.name, (one.day,) if one.day else ())


def _stretch(one: Shown) -> str:
    """How it was rendered; of stretches that differ between samples only their rule."""
    return one.stretch.partition(" 2-98 %:")[0] + (" 2 to 98 % of each sample" if " 2-98 %:" in one.stretch else "")


def _below(cell: SheetCell, *lines: str) -> SheetCell:
    return replace(cell, below=(*cell.below, *lines))


def _letter(number: int) -> str:
    return "ABCDEFGH"[number]


def _store_line(store: Store) -> str:
    synthetic = "; SYNTHETIC: nothing here was measured" if store.meta.synthetic is not None else ""
    subset = f"; subset: {store.meta.subset}" if store.meta.subset and store.meta.synthetic is None else ""
    return f"{store.title}{synthetic}{subset}; content {store.content[:12]}"


def _about(record: Record, shown: int, total: int) -> tuple[str, ...]:
    facts = record.facts
    data = " + ".join(record.about.stores)
    if any(one.synthetic for one in facts.stores):
        data += "; SYNTHETIC: nothing here was measured"
    elif any(one.subset for one in facts.stores):
        data += " (a subset)"
    params = facts.protocol.params
    how = [facts.protocol.id, *([f"{params['head']} head"] if "head" in params else [])]
    how += ["frozen encoder"] if params.get("frozen") is True else []
    how += [f"{facts.split.fraction:.0%} of the labels", f"split {facts.split.scheme}", f"seed {facts.seed}"]
    how += ["DEMO BUDGET"] if facts.budget == "demo" else []
    models = f"{shown} of {total} models" if shown < total else f"{shown} models" if shown > 1 else "1 model"
    return data, f"Test split; {', '.join(how)}; {models}"


def _model_line(model: Model) -> str:
    score = "" if model.score is None else f", {PRIMARY[model.record.facts.task.kind]} {100 * model.score:.1f}"
    return f"{model.title}{score}"


def _keys(models: Sequence[Model]) -> tuple[str, ...]:
    return (f"Records, in this order: {', '.join(model.record.key[:12] for model in models)}",)


def _legend(names: Sequence[str], colours: Sequence[Colour], seen: set[int]) -> tuple[tuple[str, Colour], ...]:
    """Classes that are seen, and what has none."""
    known = tuple((names[k], colours[k]) for k in sorted(seen - {IGNORE}))
    return (*known, ("no class", MISSING)) if IGNORE in seen else known
