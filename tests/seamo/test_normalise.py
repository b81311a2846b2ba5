"""Normalisation against values worked out by hand."""

import math

import pytest
import torch

from seamo.bands import Unit
from seamo.errors import BandError, RecipeError, UsageError
from seamo.inputs.check import check_unit, far_share
from seamo.inputs.normalise import (
    Normalisation,
    normalisation_from,
    normalise,
    parse_normalisation,
)
from seamo.manifest import Statistics

STATISTICS = Statistics(
    source="made up for this test",
    unit=Unit.DN,
    mean={"B02": 1000.0, "B03": 2000.0, "B8A": 3000.0},
    std={"B02": 100.0, "B03": 250.0, "B8A": 500.0},
)
TWO = normalisation_from(STATISTICS, ["B8A", "B02"], kind="two-sigma")


def image(*bands: list[float]) -> torch.Tensor:
    return torch.tensor(bands)[:, None, :]


def test_two_sigma_by_hand():
    # B8A: 2000 .. 4000 -> 0 .. 1; B02: 800 .. 1200 -> 0 .. 1
    pixels = image([3000.0, 2000.0, 3500.0, 9000.0], [1000.0, 700.0, 1100.0, 850.0])
    wanted = image([0.5, 0.0, 0.75, 1.0], [0.5, 0.0, 0.75, 0.125])
    torch.testing.assert_close(normalise(pixels, TWO), wanted)


def test_z_score_by_hand_and_integers():
    how = normalisation_from(STATISTICS, ["B02", "B03"], kind="z-score")
    pixels = torch.tensor([[[900, 1250]], [[2000, 1500]]], dtype=torch.int16)
    wanted = torch.tensor([[[-1.0, 2.5]], [[0.0, -2.0]]])
    torch.testing.assert_close(normalise(pixels, how), wanted)


def test_eight_bit_rounds_to_255ths():
    how = normalisation_from(STATISTICS, ["B02"], kind="two-sigma", eight_bit=True)
    # (801 - 800) / 400 * 255 = 0.64 -> 1; (800.5 - 800) / 400 * 255 = 0.32 -> 0
    torch.testing.assert_close(normalise(image([801.0, 800.5]), how) * 255, image([1.0, 0.0]))


@pytest.mark.parametrize(("kind", "value"), [("two-sigma", 0.5), ("z-score", 0.0)])
def test_invalid_pixels_become_the_mean_whatever_they_hold(kind: str, value: float):
    how = normalisation_from(STATISTICS, ["B02"], kind=kind)
    out = normalise(image([math.nan, 1000.0, -32768.0]), how, valid=torch.tensor([[[False, True, False]]]))
    assert out.tolist() == [[[value, value, value]]]


def test_leading_axes_are_kept():
    pixels = torch.full((2, 3, 2, 4, 5), 1000.0)
    assert normalise(pixels, TWO).shape == (2, 3, 2, 4, 5)
    assert normalise(pixels, TWO)[1, 2, 1].unique().tolist() == [0.5]


def test_bands_are_selected_by_name_and_missing_ones_refused():
    assert (TWO.bands, TWO.mean, TWO.std) == (("B8A", "B02"), (3000.0, 1000.0), (500.0, 100.0))
    with pytest.raises(BandError, match="no statistics for B11"):
        normalisation_from(STATISTICS, ["B02", "B11"], kind="two-sigma")
    with pytest.raises(UsageError, match="3 bands instead of B8A, B02"):
        normalise(torch.zeros(3, 4, 4), TWO)


def test_plain_values_there_and_back_in_another_band_order():
    assert parse_normalisation(TWO.to_dict(), ["B8A", "B02"]) == TWO
    swapped = parse_normalisation(TWO.to_dict(), ["B02"])
    assert (swapped.bands, swapped.mean, swapped.std) == (("B02",), (1000.0,), (100.0,))
    with pytest.raises(BandError, match="needs B03"):
        parse_normalisation(TWO.to_dict(), ["B03"])
    with pytest.raises(RecipeError, match="says nothing about 'source'"):
        parse_normalisation({key: value for key, value in TWO.to_dict().items() if key != "source"}, ["B02"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"std": (0.0,)}, "not positive"),
        ({"std": (math.nan,)}, "not positive"),
        ({"mean": (1.0, 2.0)}, "2 means, 1 stds, 1 bands"),
        ({"source": ""}, "names no source"),
        ({"kind": "minmax"}, "Choose one of two-sigma, z-score"),
        ({"kind": "z-score", "eight_bit": True}, "eight_bit rounds"),
    ],
)
def test_numbers_that_cannot_be(changes: dict, message: str):
    fields = {"kind": "two-sigma", "bands": ("B02",), "mean": (1.0,), "std": (1.0,), "unit": Unit.DN, "source": "x"}
    with pytest.raises(RecipeError, match=message):
        Normalisation(**{**fields, **changes})


def test_far_share_and_range_check():
    pixels = image([3000.0, 3000.0, 3000.0, 6000.0], [1000.0, 1499.0, 1501.0, 499.0])
    assert far_share(pixels, TWO) == {"B8A": 0.25, "B02": 0.5}
    check_unit(pixels, TWO)
    some = torch.tensor([[[True] * 4], [[False, False, True, True]]])
    with pytest.raises(UsageError, match=r"most pixels of B02 .* check unit and band order"):
        check_unit(pixels, TWO, valid=some)
    with pytest.raises(UsageError, match="most pixels of B8A, B02"):
        check_unit(pixels / 10000, TWO)  # reflectance instead of digital numbers
    check_unit(pixels / 10000, TWO, valid=torch.zeros_like(pixels, dtype=torch.bool))  # nothing to judge
