"""The contract of protocols: held by every protocol that is found, broken by every kind of leak that is made here."""

import importlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from seamo.testing.protocols import check_protocol
from seamo.testing.tasks import KINDS, task_store
from seamo_bench.predictions import ClassPredictions
from seamo_bench.protocol import Context, Outcome, Protocol, Rows
from seamo_bench.protocols import protocols

torch.set_num_threads(1)

# Short runs with several settings to choose from, and one with a single setting. A protocol that is not here is
# checked with its demo parameters.
SHORT = {
    "linear": {"steps": 4, "lrs": (0.003, 0.3, 3.0), "weight_decays": (0.0,)},
    "logreg": {"C": (1e-3, 1.0)},
    "finetune": {"epochs": 1, "batch": 15, "base_lrs": (1e-4, 0.1)},
    "dense": {"epochs": 1, "head": "linear", "base_lrs": (1e-4, 0.03)},
    "change": {"epochs": 1, "head": "linear", "base_lrs": (1e-4, 0.03)},
}
SINGLE = {
    "linear": {"lrs": (0.3,)},
    "logreg": {"C": 1.0},
    "finetune": {"base_lrs": (0.1,)},
    "dense": {"base_lrs": (0.03,)},
    "change": {"base_lrs": (0.03,)},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("contract")


@pytest.mark.parametrize("name", sorted(protocols()))
def test_every_protocol_keeps_the_contract(folder: Path, name: str) -> None:
    module = importlib.import_module(protocols()[name])
    check_protocol(module, folder, params=SHORT.get(name), single=SINGLE.get(name))


@pytest.mark.parametrize("kind", KINDS)
def test_variants_of_a_store_differ_where_they_should_and_nowhere_else(folder: Path, kind: str) -> None:
    plain = task_store(folder, kind)
    names = plain.index["split"].to_numpy(dtype=np.str_)
    test = np.flatnonzero(names == "test")
    assert {str(name) for name in names} == {"train", "val", "test"}
    keys = plain.index["key"].iloc[test].tolist()
    labels, pixels = task_store(folder, kind, relabelled=keys), task_store(folder, kind, disturbed=keys)
    for row in range(len(plain)):
        ours, relabelled, disturbed = plain[row], labels[row], pixels[row]
        assert ours.key == relabelled.key == disturbed.key
        assert np.array_equal(ours.layers["s2"], relabelled.layers["s2"])
        assert np.array_equal(ours.label, disturbed.label)
        assert np.array_equal(ours.label, relabelled.label) == (row not in test)
        assert np.array_equal(ours.layers["s2"], disturbed.layers["s2"]) == (row not in test)


# Protocols that cheat -----------------------------------------------------------------------------------------

SHRINKS = {"shrinks": (0.0, 0.9, 2.0)}
Cheat = Callable[[Context], Iterator[Outcome]]


def centroids(x: np.ndarray, y: np.ndarray, test: np.ndarray, *, shrink: float) -> np.ndarray:
    """Minus the distance to each class's mean, drawn towards the mean of all by `shrink`."""
    means = np.stack([(1 - shrink) * x[y == k].mean(axis=0) + shrink * x.mean(axis=0) for k in range(3)])
    means[0] += shrink  # so that settings differ in what they predict
    return -np.linalg.norm(test[:, None] - means[None], axis=2).astype(np.float32)


def made(run: Cheat, **card: object) -> SimpleNamespace:
    options = {"tasks": ("single-label",), "defaults": SHRINKS, **card}
    return SimpleNamespace(PROTOCOL=Protocol(id="cheat", version=1, title="", needs="features", **options), run=run)


def protocol(
    *,
    chosen_on: str = "val",
    fitted_on: tuple[str, ...] = ("train",),
    scaled_with: tuple[str, ...] = ("train",),
    order: Callable[[np.ndarray], np.ndarray] = lambda scores: scores,
    keys_of: Callable[[Rows], Rows] = lambda rows: rows,
    after: Callable[[Context], None] = lambda _: None,
    noise: float = 0.0,
    seeds: int = 2,
) -> Cheat:
    """A nearest-centroid protocol, honest unless it is told otherwise."""

    def run(context: Context) -> Iterator[Outcome]:
        for seed in context.seeds[:seeds]:
            (trial,) = context.splits[seed]

            def rows_of(names: tuple[str, ...], trial: object = trial) -> Rows:
                return np.concatenate([getattr(trial, name) for name in names])

            scale = context.features(rows_of(scaled_with)).read()
            mean, std = scale.mean(axis=0), scale.std(axis=0) + 1e-6
            fit = rows_of(fitted_on)
            x, y = (context.features(fit).read() - mean) / std, context.labels[fit]

            def scored(rows: Rows, shrink: float, x: np.ndarray = x, y: np.ndarray = y, at=(mean, std)) -> np.ndarray:
                return centroids(x, y, (context.features(rows).read() - at[0]) / at[1], shrink=shrink)

            val = rows_of((chosen_on,))
            right = [float((scored(val, s).argmax(axis=1) == context.labels[val]).mean()) for s in shrinks(context)]
            best = int(np.argmax(right))
            scores = order(scored(trial.test, shrinks(context)[best]))
            scores = scores + np.float32(noise * np.random.default_rng().normal())
            shown = keys_of(trial.test)
            keys = context.store.index["key"].iloc[shown].to_numpy(dtype=np.str_)
            after(context)
            yield Outcome(
                seed,
                ClassPredictions(keys, context.labels[shown], scores),
                chosen={"shrink": shrinks(context)[best], "validation": right[best]},
                head={"mean": mean},
            )

    return run


def shrinks(context: Context) -> tuple[float, ...]:
    return tuple(float(one) for one in context.params["shrinks"])


def train_mode(context: Context) -> None:
    context.backbone.network.train()


def moved_statistics(context: Context) -> None:
    context.backbone.network.norm.running_mean += 1


def changed_labels(context: Context) -> None:
    context.labels[0] = 1


def test_an_honest_protocol_passes(folder: Path) -> None:
    check_protocol(made(protocol()), folder, params=SHRINKS, single={"shrinks": (0.9,)})


@pytest.mark.parametrize(
    ("cheat", "words"),
    [
        (protocol(chosen_on="test"), r"what is chosen becomes .* when the labels of the test rows are changed"),
        (protocol(fitted_on=("train", "test")), "when the labels of the test rows are changed"),
        (protocol(scaled_with=("train", "test")), "when the pixels of half of the test rows are changed"),
        (protocol(chosen_on="train"), "what is chosen stays when labels and pixels of the validation rows"),
        (protocol(fitted_on=("train", "val")), "when the validation rows are changed, with nothing to choose"),
        (protocol(order=lambda scores: np.sort(scores, axis=0)), "when the pixels of half of the test rows"),
        (protocol(order=lambda scores: scores[::-1]), "when the pixels of half of the test rows"),
        (protocol(keys_of=lambda rows: rows[::-1]), "are not of the test rows in their order"),
        (protocol(after=train_mode), "network is not as it was found"),
        (protocol(after=moved_statistics), "network is not as it was found"),
        (protocol(after=changed_labels), "context.labels were changed"),
        (protocol(noise=1e-3), "two runs of the same context differ"),
        (protocol(noise=np.nan), "scores that are not finite"),
        (protocol(seeds=1), r"outcomes of seeds \[0\] for \[0, 1\]"),
    ],
)
def test_every_cheat_is_seen(folder: Path, cheat: Cheat, words: str) -> None:
    with pytest.raises(AssertionError, match=rf"^cheat.*{words}"):
        check_protocol(made(cheat), folder, params=SHRINKS, single={"shrinks": (0.9,)})


def test_without_settings_that_differ_a_choice_need_not_follow_validation(folder: Path) -> None:
    """As with demo parameters of one setting: what is chosen is that one, whatever validation says."""

    def run(context: Context) -> Iterator[Outcome]:
        for outcome in protocol()(context):
            yield replace(outcome, chosen={"shrink": outcome.chosen["shrink"]})

    check_protocol(made(run, defaults={"shrinks": (0.9,)}), folder)


def test_a_parameter_that_is_not_listed_is_seen(folder: Path) -> None:
    with pytest.raises(AssertionError, match=r"\['grid'\] are no parameters"):
        check_protocol(made(protocol()), folder, params={"grid": 3})


def test_hyper_parameters_chosen_on_the_folds_that_are_tested_are_seen(folder: Path) -> None:
    """With folds: chosen inside each training fold passes, chosen on the tested folds does not."""

    def folded(inside: bool) -> Cheat:
        def run(context: Context) -> Iterator[Outcome]:
            for seed, trials in context.splits.items():
                parts, rows = [], []
                for trial in trials:
                    train, test = trial.train, trial.test
                    x, y = context.features(train).read(), context.labels[train]
                    looked = train if inside else test
                    pixels = context.features(looked).read()
                    right = [
                        float((centroids(x, y, pixels, shrink=s).argmax(axis=1) == context.labels[looked]).mean())
                        for s in shrinks(context)
                    ]
                    shrink = shrinks(context)[int(np.argmax(right))]
                    parts.append(centroids(x, y, context.features(test).read(), shrink=shrink))
                    rows.append(test)
                every, many = np.concatenate(rows), len(trials) > 1
                numbers = np.concatenate(
                    [np.full(len(one), trial.fold) for one, trial in zip(rows, trials, strict=True)]
                )
                yield Outcome(
                    seed,
                    ClassPredictions(
                        context.store.index["key"].iloc[every].to_numpy(dtype=np.str_),
                        context.labels[every],
                        np.concatenate(parts),
                        repeats=np.zeros(len(every), int) if many else np.empty(0, int),
                        folds=numbers if many else np.empty(0, int),
                    ),
                )

        return run

    check_protocol(made(folded(inside=True), cross_validation=True), folder)
    blind = made(folded(inside=False), cross_validation=True)
    with pytest.raises(AssertionError, match="labels of the test rows"):
        check_protocol(blind, folder)
    from seamo.testing import protocols as suite  # the same, past the check of the plain splits

    bench = suite._Bench(blind, "single-label", folder, SHRINKS, (0,))
    with pytest.raises(AssertionError, match=r"cross-validation: .* when the labels of a fold's test rows"):
        suite._check_folds(bench)
