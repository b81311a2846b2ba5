"""Confident learning and the vote, held against loops, scipy and closed forms."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import binom

from seamo.errors import ProtocolError
from seamo_bench.scores.ballot import chances_of, count_votes, estimated_wrong, questions_of
from seamo_bench.scores.confident import NO_CLASS, calibrated, read_labels, swap_tests, upper_tail, wrong_share


def soft(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def world(seed: int, n: int = 200, k: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k - 1, n)  # no label names the last class
    return soft(rng.normal(size=(n, k)) + 1.5 * np.eye(k)[labels]), labels


def slow(chance: np.ndarray, labels: np.ndarray) -> tuple[list[int], list[float]]:
    """Northcutt et al. 2021, equation 1, and the margin, a sample at a time."""
    k = chance.shape[1]
    bars = []
    for one in range(k):
        own = [chance[i, one] for i in range(len(labels)) if labels[i] == one]
        bars.append(sum(own) / len(own) if own else float("inf"))
    says, margins = [], []
    for i, label in enumerate(labels):
        sure = [one for one in range(k) if chance[i, one] >= bars[one]]
        says.append(max(sure, key=lambda one: chance[i, one]) if sure else NO_CLASS)
        best = max(chance[i, one] - bars[one] for one in range(k) if one != label)
        margins.append(chance[i, label] - bars[label] - best)
    return says, margins


@pytest.mark.parametrize("seed", range(5))
def test_labels_are_read_as_a_loop_reads_them(seed: int) -> None:
    chance, labels = world(seed)
    read = read_labels(chance, labels)
    says, margins = slow(chance, labels)
    assert read.says.tolist() == says
    np.testing.assert_allclose(read.margin, margins, atol=1e-12)
    assert 3 not in says
    assert {NO_CLASS, 0, 1, 2} == set(says)


@pytest.mark.parametrize("seed", range(5))
def test_the_estimated_share_is_that_of_the_calibrated_joint(seed: int) -> None:
    chance, labels = world(seed)
    rng = np.random.default_rng(100 + seed)
    says = read_labels(chance, labels).says
    weights = rng.integers(0, 3, (6, len(labels))).astype(float)
    found = wrong_share(says, labels, weights, 4)
    for row, share in zip(weights, found, strict=True):
        counts = np.zeros((4, 4))
        for i, label in enumerate(labels):
            if says[i] != NO_CLASS:
                counts[label, says[i]] += row[i]
        joint = np.zeros((4, 4))
        for i in range(3):
            joint[i] = counts[i] / counts[i].sum() * row[labels == i].sum()
        joint /= joint.sum()
        assert share == pytest.approx(1 - np.trace(joint))
    assert wrong_share(labels, labels, np.ones((1, len(labels))), 4) == 0


@pytest.mark.parametrize("planted", [0.3, 1.0, 2.5])
def test_calibration_finds_the_temperature_and_keeps_the_order(planted: float) -> None:
    rng = np.random.default_rng(3)
    logits = rng.normal(scale=2, size=(4000, 5))
    labels = np.array([rng.choice(5, p=row) for row in soft(logits)])
    chance = soft(logits * planted)  # too sure, or not sure enough
    made = calibrated(chance, labels)
    logs = np.log(np.clip(chance, 1e-6, None))
    rows = np.arange(len(labels))
    best = minimize_scalar(
        lambda b: -np.log(soft(b * logs)[rows, labels]).mean(), bounds=(0.05, 20), method="bounded",
        options={"xatol": 1e-9},
    )  # fmt: skip
    np.testing.assert_allclose(made, soft(best.x * logs), atol=1e-5)
    assert best.x == pytest.approx(1 / planted, rel=0.1)
    assert (made.argmax(axis=1) == chance.argmax(axis=1)).all()
    assert np.isfinite(calibrated(np.eye(5)[labels], labels)).all()  # votes of 0 and 1, all right


@pytest.mark.parametrize("count", [0, 1, 7, 30])
@pytest.mark.parametrize("chance", [0.0, 0.04, 0.5, 1.0])
def test_the_tail_is_scipys(count: int, chance: float) -> None:
    assert upper_tail(count, 30, chance) == pytest.approx(binom.sf(count - 1, 30, chance), abs=1e-12)


def test_swaps_are_held_against_the_sizes_of_classes() -> None:
    given, suggested = np.array([0] * 12 + [1] * 3), np.array([1] * 11 + [2] + [0, 2, 2])
    found = {(a, b): (count, expected, p) for a, b, count, expected, p in swap_tests(given, suggested, [50, 30, 20, 0])}
    assert sorted(found) == [(0, 1), (0, 2), (1, 0), (1, 2)]  # nobody is labelled 3, and no suspect 2
    assert found[0, 1] == (11, pytest.approx(12 * 0.6), pytest.approx(binom.sf(10, 12, 0.6)))
    assert found[1, 2] == (2, pytest.approx(3 * 20 / 70), pytest.approx(binom.sf(1, 3, 20 / 70)))


@pytest.mark.parametrize("several", [False, True])
def test_votes_are_those_of_a_loop(several: bool) -> None:
    rng = np.random.default_rng(11)
    n, k = 60, 3
    labels = rng.integers(0, 2, (n, k)) if several else rng.integers(0, k, n)
    raw = [rng.random((n, k)) if several else soft(rng.normal(size=(n, k))) for _ in range(4)]
    chances = [chances_of(one, labels) for one in raw]
    votes = count_votes(chances, questions_of(labels))
    against = np.zeros(votes.truth.shape, int)
    margin = np.zeros(votes.truth.shape)
    for chance in chances:
        for q in range(votes.truth.shape[1]):
            says, margins = slow(chance[:, q], votes.truth[:, q])
            against[:, q] += [one not in (NO_CLASS, label) for one, label in zip(says, votes.truth[:, q], strict=True)]
            margin[:, q] += np.array(margins) / 4
    assert (votes.against == against).all()
    np.testing.assert_allclose(votes.margin, margin, atol=1e-12)
    assert (votes.contradicted == (against >= 3)).all()  # two of four are not most
    assert (against == 2).any()
    assert (votes.suggested != votes.truth).all()
    if several:
        assert (votes.suggested == 1 - labels).all()
        pairs = np.stack([1 - raw[0], raw[0]], axis=2).reshape(-1, 2)
        np.testing.assert_allclose(chances[0].reshape(-1, 2), calibrated(pairs, labels.ravel()))
    count = votes.truth.shape[1]
    asked = [[q for q in range(count) if against[i, q] >= 3] or list(range(count)) for i in range(n)]
    order = sorted(range(n), key=lambda i: (min(votes.margin[i, q] for q in asked[i]), i))
    assert votes.order.tolist() == order
    share = estimated_wrong(votes)(np.ones((1, n)))[0]
    want = [
        wrong_share(np.array(slow(votes.chance[:, q], votes.truth[:, q])[0]), votes.truth[:, q], np.ones((1, n)),
                    votes.chance.shape[2])[0]
        for q in range(votes.truth.shape[1])
    ]  # fmt: skip
    assert share == pytest.approx(np.mean(want))


def test_nobody_to_ask_is_refused() -> None:
    with pytest.raises(ProtocolError, match="no model"):
        count_votes([], np.zeros((3, 1), dtype=np.int64))
