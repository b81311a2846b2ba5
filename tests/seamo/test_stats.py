"""Statistics against numpy on the concatenated pixels, and by hand."""

import numpy as np
import pytest

from seamo import stats


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
