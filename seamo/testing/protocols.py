"""What every protocol must hold, as one call: `check_protocol(module, folder)`.

The heart of it: **a protocol may not see test labels, nor choose on test rows**. It is run on small synthetic stores
and on variants of them in which the labels, or the pixels, of single splits are changed. What must not follow a change
has to be the same bit by bit. Needs torch; everything runs in seconds on one core.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from seamo.errors import SeamoError
from seamo.store.reader import Store
from seamo.testing.expect import expect
from seamo.testing.tasks import task_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from seamo_bench.network import Backbone
    from seamo_bench.predictions import Predictions
    from seamo_bench.protocol import Context, Outcome, Params, Split
    from seamo_bench.protocol import Protocol as Card

Rows = NDArray[np.int64]


class ProtocolModule(Protocol):
    """What a protocol's module offers."""

    PROTOCOL: "Card"

    def run(self, context: "Context") -> "Iterator[Outcome]":
        """One outcome a seed."""


def check_protocol(
    module: ProtocolModule,
    folder: Path,
    *,
    params: "Params | None" = None,
    single: "Params | None" = None,
    seeds: tuple[int, ...] = (0, 1),
) -> None:
    """Check one protocol on every kind of task that it names.

    * One outcome a seed, in order; predictions of the test rows in their order, with their labels, finite.
    * The same context gives the same bits. The network and the labels are left as they were found.
    * Labels of the test rows change neither what is chosen, nor heads, nor scores.
    * Pixels of test rows change neither what is chosen, nor heads, nor the scores of other test rows.
    * The order of the test rows changes no score.
    * A protocol that chooses nothing does not look at the validation rows, nor does one whose parameters (`single`)
      leave nothing to choose. With `params`, what is chosen follows the validation rows.
    * With `cross_validation`, no fold's scores follow the labels or other pixels of that fold's test rows.

    Args:
        module: With `PROTOCOL` and `run(context)`.
        folder: Where stores and features go; tests that share it share the stores.
        params: Changes of the protocol's demo parameters: short runs, and settings to choose from that differ.
        single: Changes of `params` with which nothing is left to choose; None leaves that check out.
        seeds: Seeds to run.

    Raises:
        AssertionError: Saying what does not hold, of which protocol, task and seed, and what to do.
    """
    card = module.PROTOCOL
    known = {**card.defaults, **card.demo, **(params or {})}
    strange = sorted(set(known) - set(card.defaults))
    expect(not strange, card.id, f"{strange} are no parameters", "List every parameter in `defaults`.")
    expect(card.tasks, card.id, "names no task", "List the kinds of task that it runs.")
    for kind in card.tasks:
        bench = _Bench(module, kind, folder, known, seeds)
        _check_splits(bench, {} if single is None else {**known, **single}, several=params is not None)
        if card.cross_validation:
            _check_folds(bench)


@dataclass(frozen=True, slots=True)
class _Bench:
    """One protocol and one kind of task, ready to be run on variants of the store."""

    module: ProtocolModule
    kind: str
    folder: Path
    params: Mapping[str, Any]
    seeds: tuple[int, ...]

    @property
    def name(self) -> str:
        return f"{self.module.PROTOCOL.id} ({self.kind})"

    def store(self, *, relabelled: Rows | None = None, disturbed: Rows | None = None) -> Store:
        """The store, or the variant with other labels or pixels in some rows."""
        plain = task_store(self.folder, self.kind)
        keys = plain.index["key"].to_numpy()
        changes = {"relabelled": relabelled, "disturbed": disturbed}
        named = {what: keys[rows].tolist() for what, rows in changes.items() if rows is not None}
        return task_store(self.folder, self.kind, **named) if named else plain

    def run(
        self, store: Store, splits: Mapping[int, tuple["Split", ...]], params: Mapping[str, Any] | None = None
    ) -> "dict[int, Outcome]":
        """Outcomes by seed; what can be seen from one run is checked here."""
        backbone = tiny_backbone(store)
        context = _context(self, store, backbone, splits, params or self.params)
        before, labels = _state(backbone), context.labels.copy()
        outcomes = list(self.module.run(context))
        seeds = [outcome.seed for outcome in outcomes]
        fix = "Yield one Outcome a seed, in the order of context.splits."
        expect(seeds == list(splits), self.name, f"gave outcomes of seeds {seeds} for {list(splits)}", fix)
        what = "the backbone's network is not as it was found (weights, buffers or mode)"
        fix = "Train what context.backbone.make(seed) gives, or a copy."
        expect(_state(backbone) == before, self.name, what, fix)
        expect(np.array_equal(context.labels, labels), self.name, "context.labels were changed", "Work on a copy.")
        for outcome in outcomes:
            _check_predictions(f"{self.name}, seed {outcome.seed}", context, outcome)
        return {outcome.seed: outcome for outcome in outcomes}


def tiny_backbone(store: Store) -> "Backbone":
    """Two random convolutions and a batch norm for stores of `task_store`: pooled features and two levels."""
    import torch
    from torch import Tensor, nn

    from seamo.bands import Unit
    from seamo.inputs.adapter import Adapter
    from seamo.inputs.spec import InputSpec
    from seamo.inputs.wiring import wire
    from seamo.testing.tasks import BANDS, SIDE
    from seamo_bench.card import BackboneCard
    from seamo_bench.network import Backbone, Features, Network

    class TinyNetwork(Network):
        """Pixels of 1,000 DN are 1: as the pixels of the synthetic tasks are."""

        def __init__(self, seed: int) -> None:
            super().__init__()
            self.stem = nn.Conv2d(len(BANDS), 8, 3, stride=2, padding=1)
            self.norm = nn.BatchNorm2d(8)
            self.last = nn.Conv2d(8, 16, 3, stride=2, padding=1)
            generator = torch.Generator().manual_seed(seed)
            for parameter in (*self.stem.parameters(), *self.last.parameters()):
                nn.init.normal_(parameter, std=0.3, generator=generator)

        def forward_features(self, inputs: Mapping[str, Tensor]) -> Features:
            first = self.norm(self.stem(inputs["s2"] / 1000.0)).relu()
            second = self.last(first).relu()
            return Features(torch.cat([first.mean(dim=(2, 3)), second.mean(dim=(2, 3))], dim=1), (first, second))

    card = BackboneCard(
        id="tiny-conv",
        family="testing",
        title="Two random convolutions",
        inputs=(InputSpec("s2", BANDS, Unit.DN, (), "seamo.testing"),),
        embed_dim=24,
        size=SIDE,
        multiple_of=4,
        levels=((8, 2), (16, 4)),
        code_licence="Apache-2.0",
        source="seamo.testing",
        availability="none needed",
    )

    def make(seed: int) -> Network:
        with torch.random.fork_rng(devices=[]):
            return TinyNetwork(seed).eval()

    return Backbone(card, make(0), Adapter(wire(card.expects, store.spec)), make)


def _context(
    bench: _Bench,
    store: Store,
    backbone: "Backbone",
    splits: Mapping[int, tuple["Split", ...]],
    params: Mapping[str, Any],
) -> "Context":
    import torch

    from seamo_bench.facts import BackboneFacts
    from seamo_bench.features.cache import FeatureCache, Work
    from seamo_bench.runs.context import context_of
    from seamo_bench.tasks.trials import labels_of, task_facts

    work = Work(torch.device("cpu"))
    facts = BackboneFacts(id=backbone.card.id, card="as in seamo.testing")
    cache = FeatureCache(bench.folder / "features", store, backbone, facts=facts, work=work)
    task = task_facts(store, store.meta.split_scheme)
    return context_of(
        backbone,
        store,
        cache,
        task=task,
        labels=labels_of(store, task),
        splits=splits,
        params=params,
        work=work,
        budget="demo",
    )


def _state(backbone: "Backbone") -> dict[str, Any]:
    """What of a network must not change: values, modes, and what is trained."""
    network = backbone.network
    values: dict[str, Any] = {name: value.numpy().tobytes() for name, value in network.state_dict().items()}
    modes = {f"mode of {name}": module.training for name, module in network.named_modules()}
    trained = {f"trained {name}": parameter.requires_grad for name, parameter in network.named_parameters()}
    return values | modes | trained


# One run ---------------------------------------------------------------------------------------------------


def _check_predictions(where: str, context: "Context", outcome: "Outcome") -> None:
    from seamo_bench.predictions import ClassPredictions, check_predictions

    found = outcome.predictions
    try:
        check_predictions(found, len(context.task.classes), context.task.kind)
    except SeamoError as error:
        raise AssertionError(f"{where}: {error}") from error
    trials = context.splits[outcome.seed]
    tested = np.concatenate([trial.test for trial in trials])
    if isinstance(found, ClassPredictions):
        keys = context.store.index["key"].to_numpy(dtype=np.str_)[tested]
        fix = "Give them as Split.test has them."
        expect(np.array_equal(found.keys, keys), where, "predictions are not of the test rows in their order", fix)
        what = "labels of the predictions are not those of their keys"
        expect(np.array_equal(found.labels, context.labels[tested]), where, what, "Take context.labels[trial.test].")
        folds = [(trial.repeat, trial.fold) for trial in trials for _ in trial.test] if len(trials) > 1 else []
        said = list(zip(found.repeats.tolist(), found.folds.tolist(), strict=True))
        expect(said == folds, where, "repeats and folds are not those of the trials", "See `predictions_of`.")
        return
    scenes = context.store.index["scene"].to_numpy(dtype=np.str_)[tested]
    tiles = context.store.index["key"].to_numpy(dtype=np.str_)[tested]
    expected = [list(dict.fromkeys(scenes)), tiles.tolist()]
    what = "predictions are not of the scenes (or tiles) of Split.test in the order in which they come"
    expect(found.keys.tolist() in expected, where, what)


# Variants --------------------------------------------------------------------------------------------------


def _check_splits(bench: _Bench, single: Mapping[str, Any], *, several: bool) -> None:
    """Train, val and test.

    Args:
        bench: What is run.
        single: Parameters with nothing to choose; empty where that check is left out.
        several: Whether there is certainly something to choose, so that the choice can be seen to follow validation.
    """
    from seamo_bench.protocol import Split

    names = bench.store().index["split"].to_numpy(dtype=np.str_)
    train, val, test = (np.flatnonzero(names == name).astype(np.int64) for name in ("train", "val", "test"))
    splits = {seed: (Split(train, val, test),) for seed in bench.seeds}
    first = bench.run(bench.store(), splits)

    def same(other: "dict[int, Outcome]", what: str, fix: str, scores: _Scores) -> None:
        problem = _differences(first, other, scores)
        if problem:  # is it a leak, or chance?
            again = _differences(first, bench.run(bench.store(), splits), _Scores())
            draw = "Draw everything from generators that follow the seed."
            expect(not again, bench.name, f"two runs of the same context differ ({again})", draw)
        expect(not problem, bench.name, f"{problem} when {what}", fix)

    blind = "A protocol may not see test labels: choose on trial.val, and test once."
    other = bench.run(bench.store(relabelled=test), splits)
    same(other, "the labels of the test rows are changed", blind, _Scores(turned=True))

    touched = _half(bench.store(), test)
    apart = "Fit and standardise with trial.train alone; a test row's scores depend on no other test row."
    other = bench.run(bench.store(disturbed=touched), splits)
    kept = _untouched(bench.store(), touched)
    same(other, "the pixels of half of the test rows are changed", apart, _Scores(only=kept))

    mixed = np.random.default_rng(2).permutation(test)
    other = bench.run(bench.store(), {seed: (Split(train, val, mixed),) for seed in bench.seeds})
    _compare_by_key(bench, first, other)

    changed = bench.store(relabelled=val, disturbed=val)
    unused = "Fit with trial.train alone; trial.val is for choosing."
    other = bench.run(changed, splits)
    if not any(outcome.chosen for outcome in first.values()):
        same(other, "labels and pixels of the validation rows are changed", unused, _Scores())
    elif several:
        follows = any(dict(first[seed].chosen) != dict(other[seed].chosen) for seed in bench.seeds)
        what = "what is chosen stays when labels and pixels of the validation rows are changed"
        expect(follows, bench.name, what, "Choose on trial.val (and give settings that differ).")
    if single:
        alone = {bench.seeds[0]: splits[bench.seeds[0]]}
        runs = [bench.run(store, alone, single) for store in (bench.store(), changed)]
        base, other = ({seed: replace(one, chosen={}) for seed, one in run.items()} for run in runs)
        problem = _differences(base, other, _Scores())
        what = f"{problem} when the validation rows are changed, with nothing to choose"
        expect(not problem, bench.name, what, unused)


def _check_folds(bench: _Bench) -> None:
    """Cross-validation: what is changed in the test rows of one fold does not reach that fold's own scores."""
    from seamo_bench.protocol import Split

    plain = bench.store()
    names = plain.index["split"].to_numpy(dtype=np.str_)
    test = np.flatnonzero(names == "test").astype(np.int64)  # the first fold, so that variants are shared
    rest = np.flatnonzero(names != "test").astype(np.int64)
    rows, nothing = np.arange(len(plain), dtype=np.int64), np.empty(0, dtype=np.int64)
    folds = [test, rest[::2], rest[1::2]]
    trials = tuple(Split(np.setdiff1d(rows, fold), nothing, fold, 0, number) for number, fold in enumerate(folds))
    splits = dict.fromkeys(bench.seeds, trials)
    first = bench.run(plain, splits)
    touched = _half(plain, test)
    keys = plain.index["key"].to_numpy(dtype=np.str_)
    variants = (
        ("the labels of a fold's test rows are changed", bench.store(relabelled=test), test),
        (
            "the pixels of half of the test rows are changed",
            bench.store(disturbed=touched),
            np.setdiff1d(test, touched),
        ),
    )
    for what, store, kept in variants:
        other = bench.run(store, splits)
        # What other folds chose and trained may follow: these rows are in their training.
        base, varied = ({seed: replace(one, head={}, chosen={}) for seed, one in run.items()} for run in (first, other))
        problem = _differences(base, varied, _Scores(only=set(keys[kept].tolist())))
        fix = "Choose hyper-parameters inside each training fold; fit and standardise with trial.train alone."
        expect(not problem, f"{bench.name}, cross-validation", f"{problem} when {what}", fix)


def _half(store: Store, rows: Rows) -> Rows:
    """Half of the rows, of scenes half of the scenes: drawn, so that no regular order maps them onto themselves."""
    scenes = store.index["scene"].fillna("").to_numpy(dtype=np.str_)[rows] if "scene" in store.index else rows
    units = scenes if len(np.unique(scenes)) > 1 else rows
    drawn = np.random.default_rng(1).permutation(np.unique(units))
    return rows[np.isin(units, drawn[: len(drawn) // 2])]


def _untouched(store: Store, touched: Rows) -> set[str]:
    """Keys of samples and scenes that hold no touched row."""
    left = np.setdiff1d(np.arange(len(store)), touched)
    found = set(store.index["key"].iloc[left].tolist())
    return found | set(store.index["scene"].iloc[left].tolist()) if "scene" in store.index else found


# Comparing -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Scores:
    """Which scores are compared.

    Args:
        only: Keys; None = all.
        turned: Whether the true classes of confusion counts were turned by one.
    """

    only: set[str] | None = None
    turned: bool = False


def _differences(first: "Mapping[int, Outcome]", other: "Mapping[int, Outcome]", scores: _Scores) -> str:
    """The first seed that differs, and in what; empty if none does."""
    problems = ((seed, _difference(outcome, other[seed], scores)) for seed, outcome in first.items())
    return next((f"seed {seed}: {problem}" for seed, problem in problems if problem), "")


def _difference(a: "Outcome", b: "Outcome", scores: _Scores) -> str:
    """What differs between two outcomes; empty if nothing does."""
    if dict(a.chosen) != dict(b.chosen):
        return f"what is chosen becomes {dict(b.chosen)} instead of {dict(a.chosen)}"
    if a.trainable_parameters != b.trainable_parameters:
        return f"{b.trainable_parameters} instead of {a.trainable_parameters} parameters are trained"
    if a.head.keys() != b.head.keys():
        return "the head has other arrays"
    for name, array in a.head.items():
        if array.tobytes() != b.head[name].tobytes():
            return f"{name} of the head differs"
    ours, theirs = (_scores_by_key(one.predictions) for one in (a, b))
    if scores.turned:  # confusion counts [true, predicted] of labels that were turned by one class
        ours = {key: np.roll(one, 1, axis=0) if one.ndim == 2 else one for key, one in ours.items()}
    differing = [
        key
        for key, one in ours.items()
        if (scores.only is None or key[0] in scores.only) and one.tobytes() != theirs[key].tobytes()
    ]
    return f"the scores of {differing[0][0]} differ (of {len(differing)} of {len(ours)} keys)" if differing else ""


def _scores_by_key(found: "Predictions") -> dict[tuple[str, int], NDArray[Any]]:
    """(Key, repeat) -> (K,) scores, or (K, K) confusion counts [true, predicted]."""
    from seamo_bench.predictions import ClassPredictions

    if not isinstance(found, ClassPredictions):
        return {(str(key), 0): counts for key, counts in zip(found.keys, found.confusion, strict=True)}
    repeats = found.repeats.tolist() if len(found.repeats) else itertools.repeat(0, len(found.keys))
    return {(str(key), int(repeat)): row for key, repeat, row in zip(found.keys, repeats, found.scores, strict=True)}


def _compare_by_key(bench: _Bench, first: "Mapping[int, Outcome]", other: "Mapping[int, Outcome]") -> None:
    """Scores in another order of the test rows: the same but for rounding."""
    for seed in bench.seeds:
        ours, theirs = (_scores_by_key(one[seed].predictions) for one in (first, other))
        for key, one in ours.items():
            close = (
                np.allclose(one, theirs[key], rtol=1e-3, atol=1e-4)
                if one.ndim == 1
                else np.abs(one - theirs[key]).sum() <= 0.02 * one.sum()
            )
            what = f"the scores of {key[0]} differ when the test rows come in another order"
            fix = "Give each row its own scores: keep the order of Split.test, and no row may depend on another."
            expect(close, f"{bench.name}, seed {seed}", what, fix)
