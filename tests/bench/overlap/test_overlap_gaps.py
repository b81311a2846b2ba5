"""What overlaps do to a score: the gap of touched and clean samples, its error, and what floors gain."""

import numpy as np
import pytest

from seamo_bench.board import overlap as board
from seamo_bench.board.compare import Runs
from seamo_bench.scores.metrics import compute
from tests.bench.overlap.placed import SINGLE, guesses


def runs_of(n: int, rates: tuple[float, float], touched: np.ndarray, seeds: int, seed: int, **more: np.ndarray) -> Runs:
    """Runs that are right with one rate on touched samples and with another elsewhere."""
    labels = np.arange(n) % 3
    keys = [f"k{i:04d}" for i in range(n)]
    made = []
    for number in range(seeds):
        rng = np.random.default_rng([seed, number])
        right = rng.random(n) < np.where(touched, rates[0], rates[1])
        made.append(guesses(keys, labels, right, **more))
    return Runs(tuple(made), tuple(str(number) for number in range(seeds)))


@pytest.mark.parametrize("metric", ["top1", "balanced_accuracy"])
def test_the_gap_is_that_of_two_scores_and_its_error_that_of_both_resampled(metric: str) -> None:
    n = 400
    touched = np.arange(n) % 4 == 0
    runs = runs_of(n, (0.95, 0.6), touched, 1, 3)
    (run,) = runs.predictions
    (made,) = board.gaps_of(runs, run.keys[touched], metric, SINGLE, resamples=400)
    whole, rest = (float(compute(metric, run, SINGLE, one[None])[0]) for one in (np.ones(n), 1.0 - touched))
    assert made.value == pytest.approx(whole - rest)
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(400):
        weights = np.bincount(rng.integers(0, n, n), minlength=n).astype(float)
        a, b = (float(compute(metric, run, SINGLE, one[None])[0]) for one in (weights, weights * ~touched))
        drawn.append(a - b)
    assert float(np.std(made.values)) == pytest.approx(float(np.std(drawn)), rel=0.15)
    found = board.gap_of([made], runs.parents)
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert found.p is not None
    assert found.value == made.value
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * float(np.std(drawn)), rel=0.2)
    assert found.low > 0
    assert found.p < 1e-3


def test_scenes_are_the_units_where_they_are_known() -> None:
    n = 400
    touched = np.arange(n) < 100
    scenes = np.array([f"scene{i // 10}" for i in range(n)])
    alone, together = (
        board.gaps_of(runs_of(n, (0.9, 0.6), touched, 1, 5, **more), runs_of(n, (0, 0), touched, 1, 5).predictions[0]
                      .keys[touched], "top1", SINGLE, resamples=200)[0]
        for more in ({}, {"units": scenes})
    )  # fmt: skip
    assert (alone.unit, together.unit, together.num_units) == ("samples", "scenes", 40)
    assert alone.value == together.value


def test_no_gap_is_found_where_there_is_none() -> None:
    """In 95 % of worlds without an effect the interval holds 0; allow what chance does to 50."""
    held = 0
    for seed in range(50):
        touched = np.random.default_rng(seed).random(300) < 0.3
        runs = runs_of(300, (0.7, 0.7), touched, 2, 1000 + seed)
        found = board.gap_of(
            board.gaps_of(runs, runs.predictions[0].keys[touched], "top1", SINGLE, resamples=100), runs.parents
        )
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 0 <= found.high
    assert held >= 43  # fewer: three times in a thousand


def test_what_floors_gain_on_the_same_samples_is_taken_off() -> None:
    n = 600
    touched = np.arange(n) % 3 == 0
    floors = runs_of(n, (0.8, 0.5), touched, 2, 11)  # easier where the corpus lies, for whoever saw nothing, too
    keys = floors.predictions[0].keys[touched]
    bare = board.gaps_of(floors, keys, "top1", SINGLE, resamples=300)
    told = {}
    for name, rates in (("as easy", (0.9, 0.6)), ("contaminated", (0.99, 0.4))):
        runs = runs_of(n, rates, touched, 2, 12)
        gaps = board.gaps_of(runs, keys, "top1", SINGLE, resamples=300)
        gap = board.gap_of(gaps, runs.parents)
        told[name] = board.gap_beyond(gaps, runs.parents, bare, ["floor", "floor"])
        assert gap is not None
        assert gap.low is not None
        assert gap.low > 0
    easy, seen = told["as easy"], told["contaminated"]
    assert easy is not None
    assert easy.low is not None
    assert easy.high is not None
    assert easy.low <= 0 <= easy.high
    assert seen is not None
    assert seen.low is not None
    assert seen.low > 0
