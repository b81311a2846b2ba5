"""What frozen features tell of classes: a ridge and nearest neighbours, in closed form. Numpy alone.

Small and exact, for the probe of a run that trains; the benchmark's protocols are another room, with more choices.

Shapes: N training images, M other images, D features, K classes.
"""

import math

import numpy as np
from numpy.typing import NDArray

PENALTIES = tuple(10.0**k for k in range(-4, 5))  # of the mean squared length of a training vector
NEIGHBOURS, TEMPERATURE = 20, 0.07  # as the benchmark's knn
_Z = 1.959964  # of a normal distribution, 2.5 % in each tail

Features = NDArray[np.float64]
Classes = NDArray[np.int64]


def ridge_classes(train: Features, classes: Classes, other: Features) -> Classes:
    """Classes by a linear map that is fitted to one-hot labels with a squared penalty.

    Features are standardised with the training mean and deviation, the intercept is not penalised. The penalty is that
    of `PENALTIES` with the smallest leave-one-out error over the training images, which the hat matrix gives without
    fitting again (Golub, Heath and Wahba 1979): residual / (1 - leverage).

    Args:
        train: (N, D).
        classes: Of the training images.
        other: (M, D).

    Returns:
        (M,) class ids.
    """
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    scale = np.where(deviation > 0, deviation, 1.0)
    known = np.unique(classes)
    hot = (classes[:, None] == known).astype(np.float64)
    share = hot.mean(axis=0)
    left, singular, right = np.linalg.svd((train - mean) / scale, full_matrices=False)
    power, onto = singular**2, left.T @ (hot - share)
    best, chosen = math.inf, 0.0
    for penalty in PENALTIES:
        ridge = penalty * power.sum() / len(train)
        shrunk = power / (power + ridge) if ridge else np.ones_like(power)
        leverage = 1 / len(train) + left**2 @ shrunk
        alone = (hot - share - left @ (shrunk[:, None] * onto)) / np.maximum(1 - leverage, 1e-12)[:, None]
        error = float((alone**2).mean())
        if error < best:
            best, chosen = error, ridge
    slope = right.T @ ((singular / (power + chosen) if chosen else np.zeros_like(power))[:, None] * onto)
    found: Classes = known[((other - mean) / scale @ slope + share).argmax(axis=1)]
    return found


def neighbour_classes(train: Features, classes: Classes, other: Features) -> Classes:
    """Classes by the votes of the 20 nearest training images.

    Nearest by cosine after the training mean is taken off; a vote weighs exp(cosine / 0.07) (Wu et al. 2018).

    Args:
        train: (N, D).
        classes: Of the training images.
        other: (M, D).

    Returns:
        (M,) class ids; of classes with equal votes the lowest.
    """
    mean = train.mean(axis=0)
    cosines = _unit(other - mean) @ _unit(train - mean).T
    nearest = np.argsort(-cosines, axis=1, kind="stable")[:, :NEIGHBOURS]
    weights = np.exp((np.take_along_axis(cosines, nearest, axis=1) - 1) / TEMPERATURE)
    known = np.unique(classes)
    votes = (weights[..., None] * (classes[nearest][..., None] == known)).sum(axis=1)
    found: Classes = known[votes.argmax(axis=1)]
    return found


def paired_interval(now: NDArray[np.bool_], then: NDArray[np.bool_]) -> tuple[float, float, float]:
    """How much more often something is right, on the same images: difference of shares, and its 95 % interval.

    Bonett and Price (2012): a Wald interval after one image is added to either kind of disagreement, which keeps its
    coverage on small samples.

    Args:
        now: Whether it is right, image by image.
        then: Whether the other one is.

    Returns:
        The difference, and the ends of the interval.
    """
    count = len(now)
    better, worse = int((now & ~then).sum()), int((then & ~now).sum())
    p, q = (better + 1) / (count + 2), (worse + 1) / (count + 2)
    half = _Z * math.sqrt(max(p + q - (p - q) ** 2, 0.0) / (count + 2))
    return (better - worse) / count, max(p - q - half, -1.0), min(p - q + half, 1.0)


def _unit(vectors: Features) -> Features:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Features = vectors / np.where(length > 0, length, 1.0)
    return unit
