"""Models vote on labels: whose label most of them contradict, and by how much. Numpy only.

A sample asks Q questions of C answers each: one of K classes (single-label), or K times yes or no (multi-label).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seamo.errors import ProtocolError
from seamo_bench.predictions import Floats, Ints
from seamo_bench.scores.confident import NO_CLASS, calibrated, read_labels, wrong_share
from seamo_bench.scores.metric import Weighted


@dataclass(frozen=True, slots=True, eq=False)
class Ballot:
    """What V models say of N samples, alike in weight.

    Args:
        models: V.
        truth: (N, Q) answers that the labels give.
        chance: (N, Q, C) mean of the models' probabilities.
        margin: (N, Q) mean of their normalised margins.
        against: (N, Q) models that contradict the answer.
        suggested: (N, Q) the other answer that leads, on average.
    """

    models: int
    truth: Ints
    chance: Floats
    margin: Floats
    against: Ints
    suggested: Ints

    @property
    def contradicted(self) -> NDArray[np.bool_]:
        """(N, Q) answers that more than half of the models contradict."""
        return np.asarray(2 * self.against > self.models)

    @property
    def worst(self) -> Ints:
        """(N,) question with the least margin: of a sample that is contradicted, among those that are."""
        contradicted = self.contradicted
        asked = contradicted | ~contradicted.any(axis=1, keepdims=True)
        return np.asarray(np.where(asked, self.margin, np.inf).argmin(axis=1))

    @property
    def order(self) -> Ints:
        """(N,) samples, the most suspect one first: by the margin of their worst question, then as they stand."""
        return np.argsort(np.take_along_axis(self.margin, self.worst[:, None], axis=1)[:, 0], kind="stable")

    def answered(self, changed: NDArray[np.bool_]) -> Ints:
        """(N, Q) the labels' answers, or the suggested ones where `changed`, (N, Q)."""
        return np.where(changed, self.suggested, self.truth)


def questions_of(labels: Ints) -> Ints:
    """(N, Q) answers of labels: (N,) class ids, or (N, K) 0/1."""
    return labels[:, None].astype(np.int64) if labels.ndim == 1 else labels.astype(np.int64)


def chances_of(chance: Floats, labels: Ints) -> Floats:
    """(N, Q, C) calibrated probabilities of answers.

    Args:
        chance: (N, K) probabilities of classes.
        labels: (N,) class ids, or (N, K) 0/1: then each class is a question, and all have one temperature.
    """
    if labels.ndim == 1:
        return calibrated(chance, labels)[:, None, :]
    pairs = np.stack([1 - chance, chance], axis=2)
    return calibrated(pairs.reshape(-1, 2), labels.ravel().astype(np.int64)).reshape(pairs.shape)


def count_votes(chances: Iterable[Floats], truth: Ints) -> Ballot:
    """Let models vote, one after another.

    Args:
        chances: (N, Q, C) of each model, none of which was trained on these samples.
        truth: (N, Q).

    Raises:
        ProtocolError: If there is no model.
    """
    models = 0
    leads = total = margin = np.zeros(0)
    against = np.zeros(truth.shape, dtype=np.int64)
    for chance in chances:
        if not models:
            leads, total, margin = np.zeros(chance.shape), np.zeros(chance.shape), np.zeros(truth.shape)
        for q in range(truth.shape[1]):
            read = read_labels(chance[:, q], truth[:, q])
            leads[:, q] += read.leads
            margin[:, q] += read.margin
            against[:, q] += (read.says != truth[:, q]) & (read.says != NO_CLASS)
        total += chance
        models += 1
    if not models:
        raise ProtocolError("there is no model to ask about labels")
    np.put_along_axis(leads, truth[:, :, None], -np.inf, axis=2)
    return Ballot(models, truth, total / models, margin / models, against, leads.argmax(axis=2))


def estimated_wrong(votes: Ballot) -> Weighted:
    """Weights (R, N) -> (R,) estimated share of wrong answers, by all models together (`confident.wrong_share`)."""
    count, classes = votes.truth.shape[1], votes.chance.shape[2]
    said = [read_labels(votes.chance[:, q], votes.truth[:, q]).says for q in range(count)]

    def value(weights: Floats) -> Floats:
        shares = [wrong_share(says, votes.truth[:, q], weights, classes) for q, says in enumerate(said)]
        return np.asarray(np.mean(shares, axis=0))

    return value
