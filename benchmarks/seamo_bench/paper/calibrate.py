"""Does this installation measure what others measured? Published frozen cells, each with a tolerance fixed beforehand.

`published/calibration.csv` names cells of `published/elsewhere.csv`, by how many points ours may differ from them, and
why they may; suite `calibrate` runs them. A tolerance is never changed to fit a result: a cell that turns out to be
another measurement is taken out, with its reason.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from seamo.errors import ProtocolError
from seamo_bench.board.compare import cell_sampling, check_comparable, column_of, row_of, unreal, way_of
from seamo_bench.paper.reproduce import Reproduced
from seamo_bench.protocols import find_protocol
from seamo_bench.records.record import Record
from seamo_bench.scores.intervals import interval
from seamo_bench.scores.replicates import RESAMPLES
from seamo_bench.suites.published import FOLDER, Published, load_published
from seamo_bench.suites.suite import Row, load_suite, protocol_params

CALIBRATE = "calibrate"


@dataclass(frozen=True, slots=True)
class CalibrationCell:
    """One published cell to hold ours against.

    Args:
        published: Of `elsewhere`.
        samples: Split -> how many samples the authors had.
        tolerance: Points by which ours may differ.
        reason: Why it may.
    """

    published: Published
    samples: tuple[tuple[str, int], ...]
    tolerance: float
    reason: str


@lru_cache(maxsize=1)
def load_calibration() -> tuple[CalibrationCell, ...]:
    """The cells, in the order of the file.

    Raises:
        ProtocolError: If a line names no published cell of the suite's data and split, or several.
    """
    row = load_suite(CALIBRATE).rows[0]
    there = [one for one in load_published("elsewhere") if (one.dataset, one.variant) == (row.store, row.split)]
    cells = []
    with (FOLDER / "calibration.csv").open(encoding="utf-8", newline="") as file:
        for number, line in enumerate(csv.DictReader(file), 2):
            found = [one for one in there if (one.backbone, one.protocol) == (line["backbone"], line["protocol"])]
            if len(found) != 1:
                raise ProtocolError(f"names {len(found)} published cells", f"calibration.csv:{number}")
            samples = tuple((name, int(line[name])) for name in ("train", "test"))
            named = replace(found[0], table=CALIBRATE)
            cells.append(CalibrationCell(named, samples, float(line["tolerance"]), line["reason"]))
    return tuple(cells)


def calibrate(records: Sequence[Record], results: Path, *, resamples: int = RESAMPLES) -> tuple[Reproduced, ...]:
    """Every cell with its verdict: `agrees`, `disagrees`, `not comparable` or `not run`.

    Args:
        records: Of a results folder.
        results: The folder.
        resamples: Of the bootstrap.

    Raises:
        ProtocolError: If predictions are missing or changed.
    """
    suite = load_suite(CALIBRATE).rows
    return tuple(_one(cell, suite, records, results, resamples) for cell in load_calibration())


def _one(
    cell: CalibrationCell, suite: Sequence[Row], records: Sequence[Record], results: Path, resamples: int
) -> Reproduced:
    one = cell.published
    rows = [row for row in suite if row.protocol == one.protocol]
    # A backbone that no row names runs in all of them: the one with the authors' image size counts.
    recipe = next((row for row in rows if one.backbone in row.backbones), rows[-1])
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        same = (record.facts.backbone.id, record.facts.protocol.id) == (one.backbone, one.protocol)
        if same and record.status == "ok" and "+".join(store.id for store in record.facts.stores) == one.dataset:
            groups.setdefault((column_of(record).id, row_of(record)), []).append(record)
    if not groups:
        return Reproduced(one, "not run", (f"`run {CALIBRATE} --backbones {one.backbone}`",))
    apart = {place: _apart(cell, recipe, group[0]) for place, group in groups.items()}
    place = min(apart, key=lambda key: (len(apart[key]), key))
    chosen = groups[place]
    check_comparable(chosen, place[0])
    ours = interval(cell_sampling(chosen, results, one.metric, resamples=resamples))
    made = Reproduced(
        one,
        "not comparable",
        apart[place],
        metric=one.metric,
        ours=ours,
        backbone=place[1],
        column=place[0],
        store=" + ".join(chosen[0].about.stores),
        records=tuple(record.key for record in chosen),
    )
    if apart[place] or made.difference is None:
        return made
    near = abs(made.difference) <= cell.tolerance
    why = f"tolerance {cell.tolerance:g} points: {cell.reason}"
    return replace(made, verdict="agrees" if near else "disagrees", why=(why,))


def _apart(cell: CalibrationCell, recipe: Row, record: Record) -> tuple[str, ...]:
    """Why a record is another measurement than the published one."""
    facts, why = record.facts, unreal(record)
    if facts.split.scheme != recipe.split:
        why.append(f"split: {facts.split.scheme} instead of {recipe.split}")
    if facts.split.fraction != recipe.fraction:
        why.append(f"{facts.split.fraction:.0%} of the labels")
    if way_of(record) != "native":
        why.append(f"fed otherwise than it was made to be: {way_of(record)}")
    if asked := [word for word in facts.inputs.split() if ":" in word]:
        why.append(f"only {' '.join(asked)}")
    if facts.precision != recipe.precision:
        why.append(f"precision {facts.precision} instead of {recipe.precision}")
    protocol = find_protocol(recipe.protocol)
    if facts.protocol.version != protocol.version:
        why.append(f"version {facts.protocol.version} of {protocol.id}, now {protocol.version}")
    for name, theirs in protocol_params(protocol, recipe, "full").items():
        if facts.protocol.params.get(name) != theirs:
            why.append(f"{name}: {facts.protocol.params.get(name)} instead of {theirs}")
    if recipe.size and (facts.adapter is None or facts.adapter.size != (recipe.size, recipe.size)):
        why.append(f"images of another size than {recipe.size} pixels")
    for name, count in cell.samples:
        if record.about.samples.get(name) != count:
            why.append(f"{record.about.samples.get(name)} {name} samples instead of {count}")
    return tuple(why)
