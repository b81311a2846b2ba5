"""The few distribution functions that intervals need, in numpy: Student's t and the exact McNemar test."""

import math
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
_TINY = 1e-300


def t_cdf(x: Floats, df: float) -> Floats:
    """Distribution function of Student's t (DLMF 8.17: through the regularised incomplete beta function)."""
    x = np.asarray(x, dtype=np.float64)
    tail = 0.5 * _beta_regularised(df / 2, df / (df + x * x), x * x / (df + x * x))
    return np.where(x > 0, 1 - tail, tail)


@lru_cache(maxsize=1024)
def t_quantile(p: float, df: float) -> float:
    """Quantile of Student's t; `math.inf` degrees of freedom give the normal one."""
    return float(_t_quantiles(np.array([p]), df)[0])


@lru_cache(maxsize=64)
def t_grid(df: float, num: int) -> Floats:
    """`num` numbers that are distributed as t: its quantiles at (i + 1/2) / num, ascending, read-only.

    Draws of this kind make percentile intervals of a pure t exact instead of noisy.
    """
    grid = _t_quantiles((np.arange(num) + 0.5) / num, df)
    grid.setflags(write=False)
    return grid


def _t_quantiles(p: Floats, df: float) -> Floats:
    if math.isinf(df):
        return np.array([NormalDist().inv_cdf(float(one)) for one in p])
    low, high = np.full(p.shape, -1.0), np.full(p.shape, 1.0)
    while (t_cdf(low, df) > p).any():
        low *= 2
    while (t_cdf(high, df) < p).any():
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        below = t_cdf(middle, df) < p
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.asarray((low + high) / 2)


def _beta_regularised(a: float, x: Floats, y: Floats) -> Floats:
    """I_x(a, 1/2) by the continued fraction DLMF 8.17.22 (Lentz' method), on the side where it converges.

    y = 1 - x is given apart because it loses digits where x is near 1.
    """
    b = 0.5
    front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    with np.errstate(divide="ignore"):
        scale = np.exp(front + a * np.log(x) + b * np.log(y))
    direct = x < (a + 1) / (a + b + 2)
    out = np.empty_like(x)
    out[direct] = scale[direct] * _fraction(a, b, x[direct]) / a
    out[~direct] = 1 - scale[~direct] * _fraction(b, a, y[~direct]) / b
    return out


def _fraction(a: float, b: float, x: Floats) -> Floats:
    c = np.ones_like(x)
    d = 1 / _away(1 - (a + b) * x / (a + 1))
    value = d.copy()
    for m in range(1, 300):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 / _away(1 + even * d)
        c = _away(1 + even / c)
        value = value * d * c
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d = 1 / _away(1 + odd * d)
        c = _away(1 + odd / c)
        step = d * c
        value = value * step
        if np.all(np.abs(step - 1) < 1e-15):
            break
    return value


def _away(x: Floats) -> Floats:
    return np.where(np.abs(x) < _TINY, _TINY, x)


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """Two-sided exact p of McNemar's test.

    Args:
        only_a: Samples that only the first model has right.
        only_b: Samples that only the second has right.

    Returns:
        P(a split at least as uneven | both equally good): twice the binomial(n, 1/2) tail, at most 1.
    """
    n, k = only_a + only_b, min(only_a, only_b)
    logs = [math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) - n * math.log(2) for i in range(k + 1)]
    return min(1.0, 2 * math.fsum(math.exp(one) for one in logs))


def wilson(successes: float, n: int, level: float) -> tuple[float, float]:
    """Wilson's score interval of a share (Wilson 1927); not empty when every sample is right."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def holm(p_values: list[float]) -> list[float]:
    """Holm's step-down adjusted p values (Holm 1979), in the order given."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted
