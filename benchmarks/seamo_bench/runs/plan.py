"""The plan of a suite: every cell with its facts and key; done, to run, or impossible and why. No pixels."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from seamo.addresses import address_of, disk_path, is_web, join, local_path
from seamo.discovery import did_you_mean
from seamo.errors import CheckpointError, ProtocolError, SeamoError, StoreError, UsageError
from seamo.files import open_files
from seamo.inputs.statistics import store_statistics
from seamo.inputs.wiring import Wiring
from seamo.manifest import DatasetSpec, shipped_manifest
from seamo.store.format import finest_layer
from seamo.store.samples import Samples
from seamo.store.splits import is_computed
from seamo_bench.card import BackboneCard
from seamo_bench.facts import BackboneFacts, Budget, Facts, ProtocolFacts, SplitFacts, TaskFacts, adapter_facts
from seamo_bench.family import Family
from seamo_bench.protocol import Params, Progress, Protocol, Split, silent
from seamo_bench.protocols import find_protocol
from seamo_bench.records.record import About
from seamo_bench.runs.cells import NO_SCHEME, Cell, Hindrance, Impossible, Planned, blanks_of, cell_id, told_apart
from seamo_bench.runs.estimate import GPU, Estimate, Size, Throughput, estimate, image_bytes, published_counts
from seamo_bench.runs.notes import (
    Past,
    checks_of,
    flags_of,
    left_out_flags,
    read_past,
    row_flags,
    split_flags,
    told_of_card,
)
from seamo_bench.suites.suite import Row, Suite, expand, names_of, num_seeds, protocol_params
from seamo_bench.tasks.stores import find_build, no_stores, open_row, store_identity, stores_facts, titles_of
from seamo_bench.tasks.trials import labels_of, make_trials, sample_counts, split_facts, task_facts
from seamo_bench.zoo.catalogue import (
    BackboneSource,
    Found,
    budget_card,
    card_digest,
    check_available,
    find_card,
    weights_digest,
    weights_path,
)
from seamo_bench.zoo.meeting import meet, way_of_facts

DEMO_SIDE = 128  # pixels: what a network sees of larger tiles, with `--budget demo`


@dataclass(frozen=True, slots=True)
class Places:
    """Where a suite runs.

    Args:
        stores: Address of a folder of stores, one folder a data set id.
        results: Folder of records, or its address.
        weights: Folder of checkpoint files.
        runs: Folder of a study's pretrainings, or its address; None: `runs` in the results.
    """

    stores: str | Path
    results: Path
    weights: Path
    runs: Path | None = None

    def __post_init__(self) -> None:
        for place in (self.stores, self.results, self.runs or ""):
            address_of(place)
        local_path(self.weights)  # an address of a bucket is refused, not made a folder

    def absolute(self) -> "Places":
        """The same for processes that were started elsewhere."""
        stores, results, runs = disk_path(self.stores), disk_path(self.results), self.runs and disk_path(self.runs)
        return Places(
            self.stores if stores is None else stores.absolute(),
            self.results if results is None else results.absolute(),
            self.weights.absolute(),
            self.runs if runs is None else runs.absolute(),
        )


def make_plan(
    suite: Suite,
    backbones: Sequence[str],
    places: Places,
    budget: Budget = "full",
    *,
    past: Past | None = None,
    speed: Throughput | None = None,
    progress: Progress = silent,
    given: Mapping[str, Found] | None = None,
) -> list[Cell]:
    """Every cell of a suite once, grouped by store and backbone so that a network is loaded once.

    Args:
        suite: What to run.
        backbones: Names; none = the suite's.
        places: Folders.
        budget: `full` or `demo`.
        past: What earlier runs left; None: what is read of the results.
        speed: Of the device, for estimates; None: that of earlier records, or else `estimate.GPU`.
        progress: Called with (cells planned, cells, name of the next).
        given: Cards under names of their own, instead of those that are listed.

    Raises:
        UsageError: If a backbone or a protocol is unknown.
        ProtocolError: If a row's parameters are wrong.
    """
    rows = expand(suite, _specs(places.stores))
    chosen = {id(row): names_of(suite, row, backbones) for row in rows}
    names = dict.fromkeys([*backbones, *(name for listed in chosen.values() for name in listed)])
    candidates = {name: _candidate(name, (given or {}).get(name) or find_card(name), budget) for name in names}
    protocols = {row.protocol: find_protocol(row.protocol) for row in rows}
    past = read_past(places.results) if past is None else past
    known = _Known(places, budget, past, speed or past.throughput or GPU)
    wanted = [
        (row, candidates[name])
        for dataset in dict.fromkeys(row.store for row in rows)
        for name in names
        for row in rows
        if row.store == dataset and name in chosen[id(row)]
    ]
    cells: list[Cell] = []
    for number, (row, candidate) in enumerate(wanted):
        progress(number, len(wanted), cell_id(candidate.name, row))
        cells.append(_Planner(protocols[row.protocol], row, candidate, known).plan())
    progress(len(wanted), len(wanted), "")
    return told_apart(cells)


@dataclass(frozen=True, slots=True, eq=False)
class _Candidate:
    """A backbone as asked for, before it meets a store."""

    name: str
    card: BackboneCard
    family: Family


def _candidate(name: str, found: Found, budget: Budget) -> _Candidate:
    return _Candidate(name, budget_card(found, budget), found.family)


_Data = tuple[str, str, str, str]  # what decides which stores a row reads


def _data(row: Row) -> _Data:
    return row.store, row.split, row.label_space, row.view


@dataclass(slots=True, eq=False)
class _Known:
    """What the cells of a plan share: stores are opened, labels read and rows drawn once."""

    places: Places
    budget: Budget
    past: Past
    speed: Throughput
    stores: dict[_Data, tuple[Samples | None, str]] = field(default_factory=dict)
    labels: dict[tuple[_Data, str], NDArray[Any]] = field(default_factory=dict)
    trials: dict[tuple[_Data, str, str, float, int], tuple[Split, ...]] = field(default_factory=dict)
    splits: dict[tuple[_Data, str, str, float, int], SplitFacts] = field(default_factory=dict)

    def open(self, row: Row) -> tuple[Samples | None, str]:
        """The store of a row, or why there is none; both where it is damaged."""
        place = _data(row)
        if place not in self.stores:
            folders = (join(self.places.stores, name) for name in row.datasets)
            self.stores[place] = open_row(*folders, scheme=row.split, label_space=row.label_space, view=row.view)
        return self.stores[place]

    def labels_of(self, row: Row, store: Samples, task: TaskFacts) -> NDArray[Any]:
        place = (_data(row), task.label_space)
        if place not in self.labels:
            self.labels[place] = labels_of(store, task)
        return self.labels[place]

    def trials_of(self, row: Row, store: Samples, task: TaskFacts, scheme: str, salt: int) -> tuple[Split, ...]:
        place = (_data(row), task.label_space, scheme, row.fraction, salt)
        if place not in self.trials:
            labels = self.labels_of(row, store, task)
            self.trials[place] = make_trials(
                store, labels, scheme=scheme, fraction=row.fraction, salt=salt, budget=self.budget
            )
        return self.trials[place]

    def split_of(self, row: Row, store: Samples, task: TaskFacts, scheme: str, seed: int) -> SplitFacts:
        """What records say of a seed's samples; where all labels are used, seeds have the same ones."""
        salt = seed if row.fraction < 1.0 else 0
        place = (_data(row), task.label_space, scheme, row.fraction, salt)
        if place not in self.splits:
            trials = self.trials_of(row, store, task, scheme, salt)
            self.splits[place] = split_facts(store, trials, scheme=scheme, fraction=row.fraction, salt=salt)
        return self.splits[place]


@dataclass(frozen=True, slots=True, eq=False)
class _Planner:
    protocol: Protocol
    row: Row
    candidate: _Candidate
    known: _Known

    @property
    def card(self) -> BackboneCard:
        return self.candidate.card

    def plan(self) -> Cell:
        row, known = self.row, self.known
        store, damage = known.open(row)
        params = protocol_params(self.protocol, row, known.budget)
        if store is None or damage:
            return self._impossible(damage, params, store, "missing")
        try:
            check_available(self.card)  # before anybody asks what it would be fed
            self._suits(params)
            scheme = self._scheme(store)
            task = task_facts(store, scheme, row.label_space)
            if task.kind not in self.protocol.tasks:
                return self._impossible(f"{self.protocol.id} cannot run {task.kind} tasks", params, store)
            wiring = self._wire(store, params)
            folded = scheme.startswith("cv")
            seeds = 1 if folded else num_seeds(self.protocol, row, known.budget)
            trials = {
                seed: known.trials_of(row, store, task, scheme, seed if row.fraction < 1.0 else 0)
                for seed in range(seeds)
            }
            if folded and not self.protocol.cross_validation:
                return self._impossible(f"{self.protocol.id} does not run cross-validation", params, store)
            weights = weights_path(self.card, _given(self.card, known.places.weights))
        except SeamoError as error:
            hindrance: Hindrance = "missing" if isinstance(error, CheckpointError | StoreError) else "unsuitable"
            return self._impossible(str(error), params, store, hindrance)
        backbone = BackboneFacts(id=self.card.id, card=card_digest(self.card), weights=weights_digest(weights))
        facts = {
            seed: Facts(
                stores=stores_facts(store),
                split=known.split_of(row, store, task, scheme, seed),
                task=task,
                backbone=backbone,
                protocol=ProtocolFacts(id=self.protocol.id, version=self.protocol.version, params=dict(params)),
                adapter=adapter_facts(wiring),
                seed=seed,
                precision=row.precision,
                inputs=row.asks,
                budget=known.budget,
            )
            for seed in trials
        }
        about = self._about(titles_of(store), trials[0]).model_copy(
            update={"identity": store_identity(store), "way": way_of_facts(self.card, adapter_facts(wiring))}
        )
        todo = tuple(seed for seed, of_seed in facts.items() if not known.past.is_done(of_seed))
        return Planned(
            id=cell_id(self.candidate.name, row),
            backbone=self.candidate.name,
            row=row,
            facts=facts,
            about=about,
            todo=todo,
            protocol=self.protocol,
            store=store,
            labels=known.labels_of(row, store, task),
            trials=trials,
            source=BackboneSource(self.candidate.family, self.card, weights),
            wiring=wiring,
            flags=(
                flags_of(self.card, wiring, store)
                + row_flags(row, scheme, self.protocol, known.budget)
                + split_flags(wiring, store, trials[0])
                + left_out_flags(store, known.labels_of(row, store, task), task, scheme)
            ),
            checks=checks_of(self.card, wiring, store),
            cost=self._cost(facts[0], about, wiring, store, params, trials=len(trials[0]), seeds=len(todo)),
            blanks=blanks_of(facts[0], row),
        )

    def _cost(
        self, facts: Facts, about: About, wiring: Wiring, store: Samples, params: Params, *, trials: int, seeds: int
    ) -> Estimate:
        """What seeds will take: as earlier records say, or by arithmetic."""
        fed = [one.input.sensor for one in wiring.sensors]
        size = Size(
            about.samples,
            trials,
            image_bytes(store.spec, fed),
            max(wiring.size or finest_layer(store.spec).size or (0,)),  # as stored where nothing is resized
            len(fed),
            len(facts.task.classes),
        )
        made = estimate(self.protocol, params, self.card, size, seeds=seeds, speed=self.known.speed)
        seconds = self.known.past.estimate(facts, about, seeds)
        return made if seconds is None else replace(made, features=0.0, own=seconds, measured=True)

    def _foreseen(self, facts: Facts, params: Params, store: Samples | None, spec: DatasetSpec) -> Estimate | None:
        """What a cell will take when its store or its weights are there; None where nobody knows how many samples."""
        row = self.row
        counts = published_counts(spec, row.split, row.fraction)
        if store is not None:
            counts = {name: store.meta.counts.splits.get(name, 0) for name in ("train", "val", "test")}
            counts["train"] = int(row.fraction * counts["train"])
        if counts is None:
            return None
        sensors = [one.partition(":")[0] for one in row.inputs]
        classes = len(facts.task.classes)
        size = Size(counts, 1, image_bytes(spec, sensors), row.size or 0, max(1, len(sensors)), classes)
        seeds = num_seeds(self.protocol, row, self.known.budget)
        return estimate(self.protocol, params, self.card, size, seeds=seeds, speed=self.known.speed)

    def _wire(self, store: Samples, params: Params) -> Wiring:
        row = self.row
        met = meet(
            self.card,
            self.candidate.family,
            store.spec,
            missing=row.missing,
            ways=row.ways,
            trains=self._trains(params),
            statistics=store_statistics(store),
            size=self._size(store),
            date=row.date,
            inputs=row.inputs,
        )
        if met.wiring is None:
            raise ProtocolError(met.why, self.card.id)
        return met.wiring

    def _scheme(self, store: Samples) -> str:
        """Split scheme: the row's, or the store's own; in the demo budget, which ranks nothing, always the latter."""
        own, wanted = store.meta.split_scheme, self.row.split
        return own if not wanted or (self.known.budget == "demo" and not is_computed(wanted)) else wanted

    def _size(self, store: Samples) -> int | None:
        """Image size: the row's; else the card's, or for dense levels the tile's where the card allows it."""
        card, row = self.card, self.row
        if row.size is not None or self.protocol.needs != "levels":
            return row.size
        tile = finest_layer(store.spec).size
        if tile is None:
            raise ProtocolError("images vary in size, dense protocols need tiles of one", store.title)
        side = min(tile[0], DEMO_SIDE) if self.known.budget == "demo" else tile[0]
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
        self, reason: str, params: Mapping[str, Any], store: Samples | None, hindrance: Hindrance = "unsuitable"
    ) -> Impossible:
        row = self.row
        manifest = shipped_manifest()
        own = NO_SCHEME if store is None else store.meta.split_scheme
        unknown = [name for name in row.datasets if name not in manifest]
        if store is not None:
            where, spec = stores_facts(store), store.spec
            titles = titles_of(store)
        elif unknown:
            near = did_you_mean(unknown[0], list(manifest))
            raise UsageError(f"no store and no manifest entry {unknown[0]!r}", fix=f"{near}{reason}")
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
            budget=self.known.budget,
        )
        about = self._about(titles, ())
        cost = self._foreseen(facts, params, store, spec) if hindrance == "missing" else None
        name = self.candidate.name
        return Impossible(cell_id(name, row), name, row, facts, about, reason, hindrance, cost)

    def _about(self, titles: tuple[str, ...], trials: Sequence[Split]) -> About:
        return About(stores=titles, samples=sample_counts(trials), **told_of_card(self.card))


def _specs(stores: str | Path) -> dict[str, DatasetSpec]:
    """Every data set that a row with a `task` may mean: of the manifest, then of stores that are not in it."""
    specs = dict(shipped_manifest())
    for name in [] if is_web(stores) else open_files(stores).folders():
        if name not in specs:
            with suppress(StoreError):  # a store that cannot be opened is named where a row asks for it
                specs[name] = find_build(join(stores, name)).spec
    return specs


def _given(card: BackboneCard, folder: Path) -> Path | None:
    if card.weights is None or Path(card.weights.filename).is_absolute():
        return None
    return folder / card.weights.filename
