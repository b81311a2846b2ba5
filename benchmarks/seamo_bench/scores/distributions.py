"""The few distribution functions that intervals need: Student's t, exact McNemar, Wilson, step-down corrections."""

import math
from collections.abc import Callable
from functools import lru_cache
from statistics import NormalDist

_TINY = 1e-300


def t_cdf(x: float, df: float) -> float:
    """Distribution function of Student's t (DLMF 8.17: through the regularised incomplete beta function)."""
    if math.isinf(df):
        return NormalDist().cdf(x)
    tail = 0.5 * _beta_regularised(df / 2, df / (df + x * x), x * x / (df + x * x))
    return 1 - tail if x > 0 else tail


@lru_cache(maxsize=1024)
def t_quantile(p: float, df: float) -> float:
    """Quantile of Student's t; `math.inf` degrees of freedom give the normal one."""
    if p < 0.5:
        return -t_quantile(1 - p, df)
    x = NormalDist().inv_cdf(p)
    if math.isinf(df):
        return x
    # Newton from the normal quantile: below the root of a concave function, so every step stays below it.
    scale = math.exp(math.lgamma((df + 1) / 2) - math.lgamma(df / 2)) / math.sqrt(df * math.pi)
    for _ in range(200):
        step = (p - t_cdf(x, df)) / (scale * (1 + x * x / df) ** (-(df + 1) / 2))
        x += step
        if abs(step) <= 1e-12 * x:
            break
    return x


def _beta_regularised(a: float, x: float, y: float) -> float:
    """I_x(a, 1/2) by the continued fraction DLMF 8.17.22 (Lentz' method), on the side where it converges.

    y = 1 - x is given apart because it loses digits where x is near 1.
    """
    b = 0.5
    if x == 0 or y == 0:
        return 0.0 if x == 0 else 1.0
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(y))
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(a, b, x) / a
    return 1 - front * _fraction(b, a, y) / b


def _fraction(a: float, b: float, x: float) -> float:
    c, d = 1.0, 1 / _away(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, 300):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 / _away(1 + even * d)
        c = _away(1 + even / c)
        value *= d * c
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d = 1 / _away(1 + odd * d)
        c = _away(1 + odd / c)
        value *= d * c
        if abs(d * c - 1) < 1e-15:
            break
    return value


def _away(x: float) -> float:
    return x if abs(x) >= _TINY else _TINY


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
    return _step_down(p_values, lambda left: left)


def adjusted_to_best(p_values: list[float]) -> list[float]:
    """Adjusted p values of comparisons with the best of the sample, in the order given.

    The best is chosen by the scores that are compared: with m + 1 equal models the widest of m (m + 1) / 2 pairs is
    tested, not one of m. So each step of Holm's rule counts the pairs among the models that are left.
    """
    return _step_down(p_values, lambda left: left * (left + 1) // 2)


def _step_down(p_values: list[float], tests: Callable[[int], int]) -> list[float]:
    """Smallest p first, each multiplied by the number of tests that are open when so many are left."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, tests(len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted
