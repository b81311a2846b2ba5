"""Turning images and masks that are not square: half turns alone, of everything alike; square ones as before."""

import numpy as np
import pytest
import torch

from seamo_bench.protocols.dense.training import augment

PARAMS = {"flip": False, "rotate": True}


def images(height: int, width: int, count: int = 40) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    ground = torch.arange(height * width).reshape(height, width).expand(count, height, width)
    return {"s2": ground[:, None].repeat(1, 3, 1, 1).float()}, ground.to(torch.int64)


@pytest.mark.parametrize(("height", "width"), [(17, 23), (23, 17), (1, 4)])
def test_oblong_tiles_are_turned_by_half(height: int, width: int) -> None:
    inputs, mask = images(height, width)
    (turned,), masks = augment([inputs], mask, PARAMS, np.random.default_rng(0))
    upside_down = 0
    for before, image, ids in zip(mask, turned["s2"], masks, strict=True):
        assert torch.equal(image[0].long(), ids)
        if not torch.equal(ids, before):
            assert torch.equal(ids, before.flip(0, 1))
            upside_down += 1
    assert 8 <= upside_down <= 32


def test_a_square_image_with_an_oblong_mask_is_turned_by_half() -> None:
    mask = images(17, 23)[1]
    (turned,), masks = augment([images(16, 16)[0]], mask, PARAMS, np.random.default_rng(0))
    assert masks.shape == (40, 17, 23)
    assert torch.equal((masks != mask).flatten(1).any(1), (turned["s2"] != images(16, 16)[0]["s2"]).flatten(1).any(1))


def test_square_tiles_are_turned_by_any_quarter() -> None:
    inputs, mask = images(5, 5)
    (turned,), masks = augment([inputs], mask, PARAMS, np.random.default_rng(0))
    turns = np.random.default_rng(0).integers(4, size=40)
    for number, before, image, ids in zip(turns.tolist(), mask, turned["s2"], masks, strict=True):
        assert np.array_equal(ids.numpy(), np.rot90(before.numpy(), number))
        assert torch.equal(image[1].long(), ids)
    assert set(turns.tolist()) == {0, 1, 2, 3}
