"""The plan of a suite: every cell with its facts and key; done, to run, or impossible and why. No pixels."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from seamo.errors import CheckpointError, ProtocolError, SeamoError, StoreError, UsageError
from seamo.inputs.statistics import store_statistics
from seamo.inputs.wiring import Wiring, check_trained, wire
from seamo.manifest import DatasetSpec, shipped_manifest
from seamo.store.check import differing_files
from seamo.store.format import finest_layer
from seamo.store.reader import Store
from seamo.store.remote import local_path
from seamo.store.splits import COMPUTED
from seamo_bench.card import BackboneCard
from seamo_bench.facts import BackboneFacts, Budget, Facts, ProtocolFacts, SplitFacts, TaskFacts, adapter_facts
from seamo_bench.protocol import Params, Protocol, Split
from seamo_bench.protocols import find_protocol
from seamo_bench.records.record import About, Flag, Floor
from seamo_bench.runs.notes import Past, checks_of, flags_of, read_past, row_flags, split_flags
from seamo_bench.suites.suite import Row, Suite, expand, names_of, num_seeds, protocol_params
from seamo_bench.tasks.builds import find_build
from seamo_bench.tasks.joined import JoinedStore, no_stores, stores_facts, titles_of
from seamo_bench.tasks.trials import labels_of, make_trials, split_facts, task_facts
from seamo_bench.zoo.catalogue import (
    budget_card,
    card_digest,
    check_selection,
    family,
    find_card,
    weights_digest,
    weights_path,
)

DEMO_SIDE = 128  # pixels: what a network sees of larger tiles, with `--budget demo`
NO_SCHEME = "of the store"  # split scheme of a cell whose store is not there and that names none
Status = Literal["done", "will run", "impossible"]
Hindrance = Literal["", "missing", "unsuitable"]


@dataclass(frozen=True, slots=True)
class Places:
    """Where a suite runs.

    Args:
        stores: Folder of stores, one folder a data set id.
        results: Folder of records.
        weights: Folder of checkpoint files.
    """

    stores: Path
    results: Path
    weights: Path

    def __post_init__(self) -> None:
        for path in (self.stores, self.results, self.weights):
            local_path(path)  # an address of a bucket is refused, not made a folder


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """One backbone on one row.

    Args:
        backbone: Name as asked for.
        row: Of the suite.
        status: What will happen.
        reason: Why it is impossible.
        hindrance: `missing`: a store or weights are not there, or are damaged, and it runs when they are; `unsuitable`:
            this backbone and this row do not go together.
        facts: Seed -> facts of its record; the one entry of an impossible cell has no adapter.
        todo: Seeds that have no record yet.
        about: What tables print.
        flags: What a reader must know before anything has run.
        checks: What to know before running, in words.
        trials: Seed -> rows.
        protocol, store, labels, wiring, weights: What running it needs; None where impossible.
        seconds: Estimated cost, None if nothing like it has run here yet.
    """

    backbone: str
    row: Row
    status: Status
    facts: Mapping[int, Facts]
    about: About
    reason: str = ""
    hindrance: Hindrance = ""
    todo: tuple[int, ...] = ()
    flags: tuple[Flag, ...] = ()
    checks: tuple[str, ...] = ()
    trials: Mapping[int, tuple[Split, ...]] = field(default_factory=dict)
    protocol: Protocol | None = None
    store: Store | None = None
    labels: NDArray[Any] | None = None
    wiring: Wiring | None = None
    weights: Path | None = None
    seconds: float | None = None

    @property
    def id(self) -> str:
        """Short name for listings."""
        scheme = f" {self.row.split}" if self.row.split else ""
        share = f" {self.row.fraction:.0%}" if self.row.fraction < 1 else ""
        asks = f" {self.row.asks}" if self.row.asks else ""
        return f"{self.backbone} | {self.row.store}{scheme}{share}{asks} | {self.row.protocol}"

    @property
    def size(self) -> int | None:
        """Side of the images that the network sees; None where they are not resized."""
        return None if self.wiring is None or self.wiring.size is None else self.wiring.size[0]

    @property
    def blank(self) -> Facts:
        """Facts of the record that stands for this cell while it is impossible."""
        first = next(iter(self.facts.values()))
        backbone = first.backbone.model_copy(update={"weights": ""})
        split = SplitFacts(scheme=first.split.scheme, lists={}, fraction=self.row.fraction)
        return first.model_copy(update={"adapter": None, "backbone": backbone, "split": split, "seed": 0})

    def blanks(self) -> tuple[Facts, ...]:
        """Facts of every record that may have stood for this cell before it could run."""
        scheme = self.row.split or NO_SCHEME
        nowhere = self.blank.model_copy(
            update={
                "stores": no_stores(self.row.datasets),
                "split": SplitFacts(scheme=scheme, lists={}, fraction=self.row.fraction),
            }
        )
        return self.blank, nowhere


def make_plan(
    suite: Suite,
    backbones: Sequence[str],
    places: Places,
    budget: Budget = "full",
    *,
    progress: Callable[[int, int, str], None] | None = None,
) -> list[Cell]:
    """Every cell of a suite, grouped by store and backbone so that a network is loaded once.

    Args:
        suite: What is asked.
        backbones: Of whom; the suite's own without.
        places: Where.
        budget: How much.
        progress: Called with (cells planned, cells, "cells").

    Raises:
        UsageError: If a backbone or a protocol is unknown.
        ProtocolError: If a row's parameters are wrong.
    """
    rows = expand(suite, _specs(places.stores))
    chosen = {id(row): names_of(suite, row, backbones) for row in rows}
    names = dict.fromkeys([*backbones, *(name for listed in chosen.values() for name in listed)])
    found = {name: find_card(name) for name in names}
    cards = {name: budget_card(one, budget) for name, one in found.items()}
    protocols = {row.protocol: find_protocol(row.protocol) for row in rows}
    past = read_past(places.results)
    opened: dict[tuple[str, str], tuple[Store | None, str]] = {}
    labels: dict[tuple[str, str], NDArray[Any]] = {}
    trials: dict[tuple[str, str, str, float, int], tuple[Split, ...]] = {}
    crossed = [
        (name, row)
        for dataset in dict.fromkeys(row.store for row in rows)
        for name in names
        for row in rows
        if row.store == dataset and name in chosen[id(row)]
    ]
    cells: list[Cell] = []
    for name, row in crossed:
        if progress is not None:
            progress(len(cells), len(crossed), "cells")
        planner = _Planner(protocols[row.protocol], row, name, cards[name], found[name].module, budget)
        cells.append(planner.plan(places, opened, labels, trials, past))
    if progress is not None:
        progress(len(cells), len(cells), "cells")
    return cells


@dataclass(slots=True, eq=False)
class _Planner:
    protocol: Protocol
    row: Row
    name: str
    card: BackboneCard
    module: str
    budget: Budget

    def plan(
        self,
        places: Places,
        opened: dict[tuple[str, str], tuple[Store | None, str]],
        labels: dict[tuple[str, str], NDArray[Any]],
        trials: dict[tuple[str, str, str, float, int], tuple[Split, ...]],
        past: Past,
    ) -> Cell:
        row = self.row
        if (row.store, row.split) not in opened:
            opened[row.store, row.split] = _open(*(places.stores / name for name in row.datasets), scheme=row.split)
        store, damage = opened[row.store, row.split]
        params = protocol_params(self.protocol, row, self.budget)
        if store is None or damage:
            return self._impossible(damage, params, store, "missing")
        try:
            if self.card.availability in ("quoted only", "no loader"):
                weights_path(self.card, None)  # raises, before anybody asks what it would be fed
            self._suits(params)
            scheme = self._scheme(store)
            task = task_facts(store, scheme, row.label_space)
            if task.kind not in self.protocol.tasks:
                return self._impossible(f"{self.protocol.id} cannot run {task.kind} tasks", params, store)
            place = (f"{row.store} {row.split}", task.label_space)
            if place not in labels:
                labels[place] = labels_of(store, task)
            wiring = wire(
                self.card.expects,
                store.spec,
                statistics=store_statistics(store),
                missing=row.missing,
                size=self._size(store),
                date=row.date,
                inputs=row.inputs,
            )
            check_selection(wiring, family(self.module))
            if not self._trains(params):
                check_trained(wiring)
            chosen: dict[int, tuple[Split, ...]] = {}
            folded = scheme.startswith("cv")
            seeds = 1 if folded else num_seeds(self.protocol, row, self.budget)
            for seed in range(seeds):
                salt = seed if row.fraction < 1.0 else 0
                key = (*place, scheme, row.fraction, salt)
                if key not in trials:
                    trials[key] = make_trials(
                        store, labels[place], scheme=scheme, fraction=row.fraction, salt=salt, budget=self.budget
                    )
                chosen[seed] = trials[key]
            if folded and not self.protocol.cross_validation:
                return self._impossible(f"{self.protocol.id} does not run cross-validation", params, store)
            weights = weights_path(self.card, _given(self.card, places.weights))
        except SeamoError as error:
            hindrance: Hindrance = "missing" if isinstance(error, CheckpointError | StoreError) else "unsuitable"
            return self._impossible(str(error), params, store, hindrance)
        backbone = BackboneFacts(id=self.card.id, card=card_digest(self.card), weights=weights_digest(weights))
        facts = {
            seed: Facts(
                stores=stores_facts(store),
                split=split_facts(store, chosen[seed], scheme=scheme, fraction=row.fraction, salt=seed),
                task=task,
                backbone=backbone,
                protocol=ProtocolFacts(id=self.protocol.id, version=self.protocol.version, params=dict(params)),
                adapter=adapter_facts(wiring),
                seed=seed,
                precision=row.precision,
                inputs=row.asks,
                budget=self.budget,
            )
            for seed in chosen
        }
        about = self._about(titles_of(store), chosen[0])
        done = {seed for seed, one in facts.items() if past.is_done(one)}
        todo = tuple(seed for seed in facts if seed not in done)
        return Cell(
            self.name,
            row,
            "will run" if todo else "done",
            facts,
            about,
            todo=todo,
            flags=flags_of(self.card, wiring, store) + row_flags(row, scheme) + split_flags(wiring, store, chosen[0]),
            checks=checks_of(self.card, wiring, store),
            trials=chosen,
            protocol=self.protocol,
            store=store,
            labels=labels[place],
            wiring=wiring,
            weights=weights,
            seconds=past.estimate(facts[0], about, len(todo)),
        )

    def _scheme(self, store: Store) -> str:
        """Split scheme: the row's, or the store's own; in the demo budget, which ranks nothing, always the latter."""
        own, wanted = store.meta.split_scheme, self.row.split
        return own if not wanted or (self.budget == "demo" and wanted not in COMPUTED) else wanted

    def _size(self, store: Store) -> int | None:
        """Image size: the row's; else the card's, or for dense levels the tile's where the card allows it."""
        card, row = self.card, self.row
        if row.size is not None or self.protocol.needs != "levels":
            return row.size
        tile = finest_layer(store.spec).size
        if tile is None:
            raise ProtocolError("images vary in size, dense protocols need tiles of one", store.title)
        side = min(tile[0], DEMO_SIDE) if self.budget == "demo" else tile[0]
        fits = card.size and card.any_size and tile[0] == tile[1] and side % card.multiple_of == 0
        return side if fits else None

    def _suits(self, params: Params) -> None:
        card, needs, trains = self.card, self.protocol.needs, self._trains(params)
        if trains and not card.trainable:
            raise UsageError("has nothing to train", card.id)
        if needs == "levels" and not card.levels:
            raise UsageError("gives no dense levels", card.id)
        if needs == "levels" and not trains and dict(card.variant).get("floor") == "supervised" and not card.weights:
            raise UsageError("has no pretrained weights: it is trained from scratch, with frozen: false", card.id)
        if needs == "features" and dict(card.variant).get("floor") == "supervised" and card.weights is None:
            raise UsageError("has no pretrained weights to probe: it is trained by finetune", card.id)

    def _trains(self, params: Params) -> bool:
        """Whether the network itself is trained."""
        needs = self.protocol.needs
        return needs == "network" or (needs == "levels" and not params["frozen"])

    def _impossible(
        self, reason: str, params: Mapping[str, Any], store: Store | None, hindrance: Hindrance = "unsuitable"
    ) -> Cell:
        row = self.row
        manifest = shipped_manifest()
        own = NO_SCHEME if store is None else store.meta.split_scheme
        unknown = [name for name in row.datasets if name not in manifest]
        if store is not None:
            where, spec = stores_facts(store), store.spec
            titles = titles_of(store)
        elif unknown:
            raise UsageError(f"no store and no manifest entry {unknown[0]!r}", fix=reason)
        else:
            where, spec = no_stores(row.datasets), manifest[row.datasets[0]]
            titles = tuple(manifest[name].title for name in row.datasets)
        space = row.label_space or spec.task.label_space
        kind = "segmentation" if spec.map_of(space) else spec.task.kind
        kind = kind if kind not in ("pretrain", "none") else self.protocol.tasks[0]
        classes = spec.label_space(space).names if space in spec.label_spaces else ()
        facts = Facts(
            stores=where,
            split=SplitFacts(scheme=row.split or own, lists={}, fraction=row.fraction),
            task=TaskFacts(kind=kind, classes=classes, label_space=space),
            backbone=BackboneFacts(id=self.card.id, card=card_digest(self.card)),
            protocol=ProtocolFacts(id=self.protocol.id, version=self.protocol.version, params=dict(params)),
            precision=row.precision,
            inputs=row.asks,
            budget=self.budget,
        )
        about = self._about(titles, ())
        return Cell(self.name, row, "impossible", {0: facts}, about, reason=reason, hindrance=hindrance)

    def _about(self, titles: tuple[str, ...], trials: Sequence[Split]) -> About:
        options = dict(self.card.variant)
        seed = options.get("pretraining_seed")
        floor = str(options.get("floor", ""))
        floors: dict[str, Floor] = {
            "image statistics": "image statistics",
            "random init": "random init",
            "supervised": "supervised",
        }
        samples = {}
        if len(trials) == 1:
            samples = {"train": len(trials[0].train), "val": len(trials[0].val), "test": len(trials[0].test)}
        elif trials:
            samples = {"all": len(trials[0].train) + len(trials[0].test)}
        return About(
            stores=titles,
            backbone=self.card.title,
            group=str(options.get("group", "")),
            pretraining_seed=seed if isinstance(seed, int) else None,
            floor=floors.get(floor, ""),
            samples=samples,
        )


def _open(*paths: Path, scheme: str = "") -> tuple[Store | None, str]:
    """The store of a row, or why there is none; both where it is damaged. Reasons name no folder.

    Its index, ledger and file sizes are held against store.json here; pixels against their checksums when they are
    read.
    """
    stores, damage = [], ""
    for path in paths:
        try:
            stores.append(find_build(path, scheme))
        except StoreError as error:
            how = f"`seamo-prep fetch {path.name}` and `seamo-prep build {path.name}` make one"
            return None, f"no store of {path.name}: {error.what}. {how}."
        wrong = next(differing_files(stores[-1]), None)
        if wrong is not None:
            how = "Copy it again, or build it anew"
            damage = f"the store of {path.name} is damaged: {wrong.where} {wrong.what}. {how}."
    try:
        return (stores[0] if len(stores) == 1 or damage else JoinedStore(stores)), damage
    except StoreError as error:
        return None, str(error)


def _specs(stores: Path) -> dict[str, DatasetSpec]:
    """Every data set that a row with a `task` may mean: of the manifest, then of stores that are not in it."""
    specs = dict(shipped_manifest())
    for path in sorted(stores.iterdir()) if stores.is_dir() else []:
        if path.is_dir() and path.name not in specs:
            store, _ = _open(path)
            if store is not None:
                specs[path.name] = store.spec
    return specs


def _given(card: BackboneCard, folder: Path) -> Path | None:
    if card.weights is None or Path(card.weights.filename).is_absolute():
        return None
    return folder / card.weights.filename
