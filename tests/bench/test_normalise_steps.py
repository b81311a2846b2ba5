"""Steps of published normalisations against hand-worked numbers and numpy."""

import numpy as np
import pytest
import torch

from seamo.errors import UsageError
from seamo.inputs.normalise import apply_steps
from seamo_bench.backbones._steps import DN_TO_8BIT, DN_TO_8BIT_WRAPPED, SSL4EO_S1, two_sigma_8bit
from seamo_bench.card import Step


def image(*values: float) -> torch.Tensor:
    return torch.tensor(values).view(1, 1, 1, -1)


def test_affine_takes_a_number_per_band() -> None:
    x = torch.tensor([[[[10.0]], [[30.0]]]])
    assert apply_steps(x, (Step("affine", (2.0, 10.0), (4.0, 5.0)),)).flatten().tolist() == [2.0, 4.0]


def test_eight_bit_truncates_and_limits() -> None:
    # 3999 / 10000 * 255 = 101.9745 -> 101; 12000 -> 306 -> 255.
    out = apply_steps(image(0, 3999, 10000, 12000), DN_TO_8BIT) * 255
    assert out.flatten().round().tolist() == [0, 101, 255, 255]


def test_unchecked_cast_wraps() -> None:
    # 12000 / 10000 * 255 = 306 -> 306 - 256 = 50.
    out = apply_steps(image(3999, 12000), DN_TO_8BIT_WRAPPED) * 255
    assert out.flatten().round().tolist() == [101, 50]


def test_two_sigma_in_eight_bit() -> None:
    # mean 100, sd 50: 0 -> 0, 100 -> 127.5 -> 127, 200 -> 255, 300 -> limited to 255.
    out = apply_steps(image(-5, 0, 100, 200, 300), two_sigma_8bit((100.0,), (50.0,))) * 255
    assert out.flatten().round().tolist() == [0, 0, 127, 255, 255]


def test_quantiles_are_numpy_s_and_per_image_and_band() -> None:
    x = torch.from_numpy(np.random.default_rng(0).normal(-15, 6, (2, 2, 20, 20)).astype(np.float32))
    out = apply_steps(x, SSL4EO_S1).numpy()
    for b in range(2):
        for c, (mean, std) in enumerate(((-12.59, 5.26), (-20.26, 5.91))):
            band = x[b, c].numpy().astype(np.float64)
            band = np.clip(band, np.quantile(band, 0.01), np.quantile(band, 0.99))
            scaled = (band - (mean - 2 * std)) / (4 * std) * 255
            wanted = np.clip(scaled, 0, 255).astype(np.uint8) / 255
            np.testing.assert_allclose(out[b, c], wanted, atol=1e-7)


def test_minmax_and_zscore_of_an_image() -> None:
    x = torch.tensor([[[[0.0, 2.0]], [[4.0, 6.0]]]])
    assert apply_steps(x, (Step("image-minmax", (0.0,)),)).flatten().tolist() == [0, 1, 0, 1]
    # all bands together: mean 3, standard deviation sqrt(5)
    wanted = [-3 / 5**0.5, -1 / 5**0.5, 1 / 5**0.5, 3 / 5**0.5]
    assert apply_steps(x, (Step("image-zscore"),)).flatten().tolist() == pytest.approx(wanted)


@pytest.mark.parametrize("op", ["image-minmax", "image-zscore", "image-quantile-clip"])
def test_missing_pixels_stay_missing_and_count_for_nothing(op: str) -> None:
    step = Step("image-quantile-clip", (0.0,), (1.0,)) if op == "image-quantile-clip" else Step(op, (0.0,))  # type: ignore[arg-type]
    whole = apply_steps(image(1, 2, 5), (step,)).flatten()
    holed = apply_steps(image(1, float("nan"), 2, 5), (step,)).flatten()
    assert holed[1].isnan()
    torch.testing.assert_close(holed[[0, 2, 3]], whole)


def test_numbers_that_fit_no_band_are_refused() -> None:
    with pytest.raises(UsageError, match="3 numbers for 2 bands"):
        apply_steps(torch.zeros(1, 2, 1, 1), (Step("scale", (1.0, 2.0, 3.0)),))


def test_a_step_that_waits_for_the_store_is_refused() -> None:
    with pytest.raises(UsageError, match="has no numbers yet"):
        apply_steps(torch.zeros(1, 2, 1, 1), (Step("store-2std"),))


def test_images_without_a_batch_axis_are_refused() -> None:
    with pytest.raises(UsageError, match="3 dimensions"):
        apply_steps(torch.zeros(2, 1, 1), ())
