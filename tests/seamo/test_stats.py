"""Statistics against numpy on the concatenated pixels, and by hand."""

import numpy as np
import pytest

from seamo import stats
from seamo.native import statistics
from seamo.native.library import kernels
from seamo.testing.stores import tiny_store


def moments(x, valid):
    return stats.observe(x, valid, stats.new_histogram(x.shape[1]))


def histogram(x, valid):
    counts = stats.new_histogram(x.shape[1])
    stats.observe(x, valid, counts)
    return counts


def pieces(dtype, n=7):
    rng = np.random.default_rng(3)
    for _ in range(n):
        h, w = rng.integers(3, 9, 2)
        x = rng.normal(120 if dtype == "uint8" else -14, 9, (2, 3, h, w))
        if dtype == "uint16":
            x = rng.integers(0, 65536, (2, 3, h, w))
        valid = rng.random((2, 3, h, w)) < 0.8
        yield x.astype(dtype), valid


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_against_numpy(dtype):
    items = list(pieces(dtype))
    merged = stats.merge(stats.stack([moments(x, v) for x, v in items]))
    counts = sum(histogram(x, v) for x, v in items)
    quantiles = stats.percentiles(counts, dtype)
    for c in range(3):
        values = np.concatenate([x[:, c][v[:, c]] for x, v in items])
        exact = values.astype(np.float64)
        assert merged.count[c] == values.size == counts[c].sum()
        np.testing.assert_allclose(merged.mean[c], exact.mean(), rtol=1e-13)
        np.testing.assert_allclose(merged.std[c], exact.std(), rtol=1e-12)
        assert (merged.low[c], merged.high[c]) == (values.min(), values.max())
        want = np.percentile(values, stats.PERCENTILES, method="inverted_cdf")
        if dtype == "float32":
            assert (np.abs(quantiles[c] - want) <= stats.FLOAT_STEP + 1e-6).all()
        else:
            np.testing.assert_array_equal(quantiles[c], want)


def test_a_small_spread_on_a_large_mean_survives():
    # Sums of squares would lose this: 60000^2 * 10^6 pixels against a spread of 0.5.
    x = np.full((1, 1, 1000, 1000), 60000, np.uint16)
    x[..., ::2] = 60001
    got = stats.merge(stats.stack([moments(x, np.ones(x.shape, bool))] * 50))
    np.testing.assert_allclose(got.std, 0.5, rtol=1e-12)


def test_by_hand():
    x = np.array([1, 2, 3, 65535], np.uint16).reshape(1, 1, 2, 2)
    got = moments(x, x != 65535)
    assert got.count[0] == 3
    assert got.mean[0] == 2.0
    np.testing.assert_allclose(got.std[0], np.sqrt(2 / 3))
    said = stats.describe(["B02"], got, histogram(x, x != 65535), "uint16")["B02"]
    assert said["percentiles"]["50"] == 2.0
    assert said["max"] == 3.0


def test_a_band_without_pixels_says_so():
    x = np.full((1, 2, 2, 2), np.nan, np.float32)
    x[0, 0] = -12.345
    total = stats.merge(stats.stack([moments(x, ~np.isnan(x))]))
    said = stats.describe(["VV", "VH"], total, histogram(x, ~np.isnan(x)), "float32")
    assert said["VH"] == {"count": 0, "mean": None, "std": None, "min": None, "max": None} | {
        "percentiles": {f"{q:g}": None for q in stats.PERCENTILES}
    }
    assert said["VV"]["percentiles"]["50"] == -12.35  # the lower edge of its bin


def test_images_without_holes():
    rng = np.random.default_rng(5)
    for dtype in ("uint8", "int16", "float32"):
        x = rng.normal(60, 20, (3, 2, 9, 7)).astype(dtype)
        got = moments(x, np.ones(x.shape, bool))
        by_band = x.astype(np.float64).transpose(1, 0, 2, 3).reshape(2, -1)
        np.testing.assert_allclose(got.mean, by_band.mean(axis=1), rtol=1e-13)
        np.testing.assert_allclose(got.std, by_band.std(axis=1), rtol=1e-12)
        np.testing.assert_array_equal(got.low, by_band.min(axis=1))


def test_other_dtypes_are_refused():
    with pytest.raises(ValueError, match="float64"):
        histogram(np.zeros((1, 1, 2, 2)), np.ones((1, 1, 2, 2), bool))


def by_numpy(monkeypatch, function, *arguments):
    with monkeypatch.context() as patch:
        patch.setattr(statistics, "kernels", lambda: None)
        return function(*arguments)


def parts(one):
    return [getattr(one, part).tobytes() for part in ("count", "mean", "m2", "low", "high")]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_compiled_loops_give_numpys_bytes(dtype, monkeypatch):
    """Sums of floats depend on their order: it is numpy's, at every length, with holes and without."""
    if kernels() is None:
        pytest.skip("no compiled loops here")
    rng = np.random.default_rng(11)
    base = tiny_store().spec.layer("s1" if dtype == "float32" else "s2_10m")
    for trial in range(60):
        shape = (rng.integers(1, 4), rng.integers(1, 4), rng.integers(1, 60), rng.integers(1, 90 if trial % 5 else 400))
        if dtype == "float32":
            x = (rng.normal(-14, 6, shape) * 10.0 ** rng.integers(-2, 3)).astype(dtype)
            x[rng.random(shape) < trial % 3 / 4] = np.nan
            fill = "nan"
        else:
            info = np.iinfo(dtype)
            x = rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)
            x = x if trial % 2 else (x % 100).astype(dtype)
            fill = (None, int(x.flat[0]), int(x.max()), info.max)[trial % 4]
        if trial % 7 == 6:
            x[:, 0] = np.nan if fill == "nan" else fill or 0
        layer = base.model_copy(update={"dtype": dtype, "fill": fill})
        ours, theirs = stats.new_histogram(shape[1]), stats.new_histogram(shape[1])
        found = stats.observe_layer(x, layer, ours)
        assert parts(found) == parts(by_numpy(monkeypatch, stats.observe_layer, x, layer, theirs))
        valid = rng.random(shape) < 0.7 if dtype != "float32" else ~np.isnan(x)
        found = stats.observe(x, valid, ours)
        assert parts(found) == parts(by_numpy(monkeypatch, stats.observe, x, valid, theirs))
        np.testing.assert_array_equal(ours, theirs)


def test_sums_of_zeros_are_not_negative(monkeypatch):
    for length in (1, 7, 8, 200):
        x = np.full((1, 1, 1, length), -0.0, np.float32)
        found = moments(x, x == 0)
        assert parts(found) == parts(by_numpy(monkeypatch, moments, x, x == 0))


def test_what_does_not_fit_is_refused():
    if kernels() is None:
        pytest.skip("no compiled loops here")
    values, counts = np.zeros(9, np.float32), np.zeros(65536, np.int64)
    for wrong in (values.astype(float), values.reshape(3, 3), np.full(9, np.nan, np.float32)):
        with pytest.raises(ValueError):
            statistics.float_moments(wrong, counts, start=0.0, step=1.0)
    for wrong in (counts[:-1], counts.astype(np.int32), np.zeros(2 * 65536, np.int64)[::2]):
        with pytest.raises(ValueError):
            statistics.float_moments(values, wrong, start=0.0, step=1.0)
    with pytest.raises(ValueError):
        statistics.integer_moments(np.zeros((1, 2, 3, 3), np.uint8), stats.new_histogram(3), fill=None)
