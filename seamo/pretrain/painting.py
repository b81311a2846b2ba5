"""Predictions as pixels: with what the hidden patches alone know, as pictures of MAE are, and without it.

A network with normalised targets says how a hidden patch varies, not how bright it is. Pictures put the hidden patch's
own mean and scale back, so that even a grey answer looks like the place. What a network alone says is seen when it gets
the mean and scale of what was visible instead.

Shapes: B location, T season, L patches, N visible patches, P values of a patch, C bands, S image side.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from seamo.model.config import SeaMoConfig
from seamo.model.decoder import patch_moments
from seamo.model.masking import draw_masks
from seamo.model.seamo import Output
from seamo.model.tokenizer import patchify, unpatchify
from seamo.pretrain.inputs import Inputs


class Painted(NamedTuple):
    """Pixels (B, T, C, S, S) of a sensor: hidden patches as predicted, visible ones as they were.

    Args:
        alone: The network's, with mean and scale of the visible patches.
        helped: The network's, with each hidden patch's own mean and scale.
        mean_alone: The mean of the visible pixels, a number a band.
        mean_helped: The mean of the visible patches' normalised values, a number a band, put back like `helped`.
    """

    alone: Tensor
    helped: Tensor
    mean_alone: Tensor
    mean_helped: Tensor


@torch.no_grad()
def paint(output: Output, inputs: Inputs, config: SeaMoConfig) -> dict[str, Painted]:
    """Sensor -> what the network painted, and what costs nothing, with and without the hidden patches' own moments.

    Visible patches with a pixel that is no measurement tell no mean; where none is left, all of them do.
    """
    masks, found = draw_masks(inputs.noise, config), {}
    for m, s in enumerate(config.sensors):
        patches, num_bands = patchify(inputs.images[s], config.patch), len(config.bands[s])
        mean, scale = patch_moments(patches, config.norm_pix, num_bands)
        seen_BTL = ~masks.masked[:, :, m]
        if inputs.pixel_valid is not None:
            sound_BTL = seen_BTL & patchify(inputs.pixel_valid[s], config.patch).all(dim=-1)
            seen_BTL = torch.where(sound_BTL.any(dim=-1, keepdim=True), sound_BTL, seen_BTL)
        answers = (
            output.pred[s] * _of_seen(scale, seen_BTL) + _of_seen(mean, seen_BTL),
            output.pred[s] * scale + mean,
            _a_band(_of_seen(patches, seen_BTL), num_bands).expand_as(patches),
            _a_band(_of_seen((patches - mean) / scale, seen_BTL), num_bands) * scale + mean,
        )
        hidden = output.masked[s][..., None]
        found[s] = Painted(*(unpatchify(torch.where(hidden, one, patches), config.patch) for one in answers))
    return found


def _of_seen(values_BTLP: Tensor, seen_BTL: Tensor) -> Tensor:
    """Mean over the visible patches, (B, T, 1, P)."""
    seen = seen_BTL[..., None]
    return torch.where(seen, values_BTLP, 0).sum(dim=2, keepdim=True) / seen.sum(dim=2, keepdim=True)


def _a_band(values_BTLP: Tensor, num_bands: int) -> Tensor:
    """Each band's mean in place of its values."""
    bands = values_BTLP.reshape(*values_BTLP.shape[:3], num_bands, -1)
    return bands.mean(dim=-1, keepdim=True).expand_as(bands).flatten(-2)
