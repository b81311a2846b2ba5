"""Resizing against Pillow and torch, and by hand."""

import numpy as np
import pytest
import torch
from PIL import Image

from seamo.errors import UsageError
from seamo.resample import resize, resize_matrix

PILLOW = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "nearest": Image.Resampling.NEAREST,
}
SIZES = [(12, 15, 24, 40), (24, 20, 7, 9), (11, 30, 17, 13), (8, 8, 8, 8)]


def image(h, w):
    return np.random.default_rng(h * 100 + w).normal(100, 30, (h, w)).astype(np.float32)


@pytest.mark.parametrize("kernel", ["bilinear", "bicubic", "nearest"])
@pytest.mark.parametrize("sizes", SIZES)
def test_equals_pillow(kernel, sizes):
    h, w, h2, w2 = sizes
    x = image(h, w)
    want = np.asarray(Image.fromarray(x).resize((w2, h2), PILLOW[kernel]))
    np.testing.assert_allclose(resize(x, (h2, w2), kernel), want, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("kernel", ["bilinear", "bicubic"])
@pytest.mark.parametrize("sizes", SIZES)
def test_equals_torch_antialiased(kernel, sizes):
    h, w, h2, w2 = sizes
    x = image(h, w)
    want = torch.nn.functional.interpolate(
        torch.from_numpy(x)[None, None], (h2, w2), mode=kernel, align_corners=False, antialias=True
    )
    np.testing.assert_allclose(resize(x, (h2, w2), kernel), want[0, 0].numpy(), rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("sizes", SIZES)
def test_equals_torch_without_antialias(sizes):
    h, w, h2, w2 = sizes
    x = image(h, w)
    want = torch.nn.functional.interpolate(torch.from_numpy(x)[None, None], (h2, w2), mode="bilinear")
    np.testing.assert_allclose(resize(x, (h2, w2), antialias=False), want[0, 0].numpy(), rtol=1e-5, atol=1e-4)


def test_a_range_equals_pillows_box():
    x = image(20, 20)
    want = np.asarray(Image.fromarray(x).resize((9, 12), Image.Resampling.BICUBIC, box=(2.5, 3.25, 11.0, 18.5)))
    down = resize_matrix(20, 12, lo=3.25, hi=18.5, kernel="bicubic")
    across = resize_matrix(20, 9, lo=2.5, hi=11.0, kernel="bicubic")
    np.testing.assert_allclose(down @ x @ across.T, want, rtol=1e-5, atol=1e-3)


def test_rows_sum_to_one_and_doubling_by_hand():
    matrix = resize_matrix(2, 4)
    np.testing.assert_allclose(matrix, [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])
    assert np.allclose(resize_matrix(44, 264, kernel="bicubic").sum(axis=1), 1)


def test_labels_keep_their_dtype_and_values():
    labels = np.array([[1, 255], [3, 4]], dtype=np.uint8)
    got = resize(labels, (4, 4), "nearest")
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, np.kron(labels, np.ones((2, 2), np.uint8)))


def test_missing_pixels_do_not_spread():
    x = np.full((1, 8, 8), 5.0, np.float32)
    x[0, :, 4:] = np.nan
    got = resize(x, (16, 16))[0]
    np.testing.assert_allclose(got[:, :8], 5.0)
    assert np.isnan(got[:, 8:]).all()
    assert np.isnan(resize(np.full((4, 4), np.nan, np.float32), (8, 8), "bicubic")).all()


def test_wrong_calls_are_refused():
    for bad in ({"lo": 3.0, "hi": 2.0}, {"hi": 9.0}, {"lo": -1.0}, {"kernel": "lanczos"}):
        with pytest.raises(UsageError):
            resize_matrix(8, 4, **bad)
