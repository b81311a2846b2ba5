"""The cells of a plan: one backbone on one row of a suite, ready to run, or impossible and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from numpy.typing import NDArray

from seamo.inputs.wiring import Wiring
from seamo.store.samples import Samples
from seamo_bench.facts import Facts, Scalar, SplitFacts, run_key
from seamo_bench.protocol import Params, Protocol, Split
from seamo_bench.records.record import About, Flag
from seamo_bench.runs.estimate import Estimate
from seamo_bench.suites.suite import Row
from seamo_bench.tasks.stores import no_stores
from seamo_bench.zoo.catalogue import BackboneSource

NO_SCHEME = "of the store"  # split scheme of a cell whose store is not there and that names none
Hindrance = Literal["missing", "unsuitable"]


@dataclass(frozen=True, slots=True, eq=False)
class Planned:
    """A cell that has run or will.

    Args:
        id: Short name for listings.
        backbone: Name as asked for.
        row: Of the suite.
        facts: Seed -> facts of its record.
        about: What tables print.
        todo: Seeds that have no record yet.
        protocol: What runs.
        store: What it reads.
        labels: One entry a row of the store, see `seamo_bench.protocol.Context`.
        trials: Seed -> rows.
        source: Where the network comes from.
        wiring: How it reads the store.
        flags: What a reader of the record must know before anything has run.
        checks: What to know before running, in words.
        cost: What the seeds to do will take, the features of its group with them.
        blanks: Facts of every record that may have stood for this cell before it could run.
    """

    id: str
    backbone: str
    row: Row
    facts: Mapping[int, Facts]
    about: About
    todo: tuple[int, ...]
    protocol: Protocol
    store: Samples
    labels: NDArray[Any]
    trials: Mapping[int, tuple[Split, ...]]
    source: BackboneSource
    wiring: Wiring
    flags: tuple[Flag, ...]
    checks: tuple[str, ...]
    cost: Estimate
    blanks: tuple[Facts, ...]

    @property
    def status(self) -> Literal["done", "will run"]:
        """What will happen."""
        return "will run" if self.todo else "done"

    @property
    def seconds(self) -> float | None:
        """What it will take if it runs alone; None where nothing is to do."""
        return self.cost.seconds if self.todo else None

    @property
    def claim(self) -> str:
        """Name of its claim, the same in every plan: the key of its first seed."""
        return run_key(next(iter(self.facts.values())))

    @property
    def group(self) -> str:
        """The same for cells that share a network and its features on a store."""
        return repr((self.backbone, self.row.store, self.wiring))


@dataclass(frozen=True, slots=True, eq=False)
class Impossible:
    """A cell that cannot run.

    Args:
        id: Short name for listings.
        backbone: Name as asked for.
        row: Of the suite.
        facts: Of the record that stands for it; there is no adapter and no list of samples.
        about: What tables print.
        reason: Why.
        hindrance: `missing`: a store or weights are not there, or are damaged, and it runs when they are; `unsuitable`:
            this backbone and this row do not go together.
        cost: Of what is missing, what it will take when it is there; None where nobody knows, and of the
            unsuitable.
    """

    id: str
    backbone: str
    row: Row
    facts: Facts
    about: About
    reason: str
    hindrance: Hindrance
    cost: Estimate | None = None

    @property
    def group(self) -> str:
        """The same for cells that will share a network and its features on a store."""
        return repr((self.backbone, self.row.store, self.row.asks))

    @property
    def status(self) -> Literal["impossible"]:
        """What will happen."""
        return "impossible"


Cell = Planned | Impossible


def cell_id(backbone: str, row: Row) -> str:
    """Short name of a backbone on a row."""
    scheme = f" {row.split}" if row.split else ""
    share = f" {row.fraction:.0%}" if row.fraction < 1 else ""
    asks = f" {row.asks}" if row.asks else ""
    view = f" view {row.view}" if row.view else ""
    return f"{backbone} | {row.store}{view}{scheme}{share}{asks} | {row.protocol}"


def told_apart(cells: Sequence[Cell]) -> list[Cell]:
    """The same cells, each record once, and two of one name named by the parameters in which they differ.

    Rows that differ in what the demo budget replaces are one cell there. It has the flags of all of them.
    """
    once: dict[tuple[str, int, str], Cell] = {}
    for cell in cells:
        facts = _all_facts(cell)
        first = once.setdefault((run_key(facts[0]), len(facts), cell.status), cell)
        if isinstance(first, Planned) and isinstance(cell, Planned) and cell.flags != first.flags:
            flags = tuple(dict.fromkeys((*first.flags, *cell.flags)))
            once[run_key(facts[0]), len(facts), cell.status] = replace(first, flags=flags)
    of_name: dict[str, list[Params]] = {}
    for cell in once.values():
        of_name.setdefault(cell.id, []).append(_all_facts(cell)[0].protocol.params)
    return [_named(cell, of_name[cell.id]) for cell in once.values()]


def _all_facts(cell: Cell) -> tuple[Facts, ...]:
    return (cell.facts,) if isinstance(cell, Impossible) else tuple(cell.facts.values())


def _named(cell: Cell, all_params: Sequence[Params]) -> Cell:
    params = _all_facts(cell)[0].protocol.params
    differ = [name for name in params if any(other.get(name) != params[name] for other in all_params)]
    told = "".join(f" {name}={_value(params[name])}" for name in differ)
    return replace(cell, id=cell.id + told)


def _value(value: Scalar | tuple[Scalar, ...]) -> str:
    return "/".join(map(str, value)) if isinstance(value, tuple) else str(value)


def blanks_of(facts: Facts, row: Row) -> tuple[Facts, ...]:
    """Facts of every record that may have stood for a cell before it could run.

    Args:
        facts: Of one of its seeds.
        row: Of the suite.
    """
    backbone = facts.backbone.model_copy(update={"weights": ""})
    split = SplitFacts(scheme=facts.split.scheme, lists={}, fraction=row.fraction)
    blank = facts.model_copy(update={"adapter": None, "backbone": backbone, "split": split, "seed": 0})
    nowhere = SplitFacts(scheme=row.split or NO_SCHEME, lists={}, fraction=row.fraction)
    return blank, blank.model_copy(update={"stores": no_stores(row.datasets), "split": nowhere})
