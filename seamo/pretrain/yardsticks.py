"""What costs nothing: trivial predictors of the hidden patches, in error the same mean as the loss beside them.

Every predictor answers with one number a band and patch, in the loss's own target space:

* `zero`: 0, the mean of a normalised target;
* `mean`: the mean of the image's visible patches;
* `nearest`: the band means of the visible patch that is nearest on the grid (ties: the earlier one);
* `oracle`: the hidden patch's own band means, which no network is told. It is a floor for whoever paints no texture.

Predictors see one image of one date alone. A visible patch with a pixel that is no measurement is not looked at; where
none is left, `mean` and `nearest` are 0.

Shapes: B location, T season, M sensor, L patches, N visible patches, C bands, K yardsticks.
"""

import torch
from torch import Tensor

from seamo.model.config import SeaMoConfig
from seamo.model.decoder import patch_moments
from seamo.model.masking import draw_masks
from seamo.model.seamo import counted_patches
from seamo.model.tokenizer import patchify
from seamo.pretrain.inputs import Inputs
from seamo.pretrain.learnt import YARDSTICKS


@torch.no_grad()
def yardstick_sums(inputs: Inputs, config: SeaMoConfig) -> dict[tuple[str, int], Tensor]:
    """Errors of the trivial predictors, summed over the patches that count in the loss.

    Args:
        inputs: What the model takes.
        config: The model's: says targets, masks and patches.

    Returns:
        (sensor, season index) -> (K + 1,) float64 on the inputs' device: for each of `YARDSTICKS` the sum over the
        counted patches of the mean squared error of a patch's values, and the number of these patches.
    """
    masks = draw_masks(inputs.noise, config)
    sums = {}
    for m, s in enumerate(config.sensors):
        patches = patchify(inputs.images[s].float(), config.patch)
        measured_BTL = torch.ones(patches.shape[:3], dtype=torch.bool, device=patches.device)
        if inputs.pixel_valid is not None:
            measured_BTL = patchify(inputs.pixel_valid[s], config.patch).all(dim=-1)
        counted_BTL = counted_patches(
            masks.masked[:, :, m], s, config, valid=inputs.valid, pixel_valid=inputs.pixel_valid
        )
        errors_BTLK = _errors(patches, masks.kept[:, :, m], measured_BTL, s, config)
        # An absent image may hold anything, also NaN.
        kept = torch.where(counted_BTL[..., None], errors_BTLK, 0).sum(dim=(0, 2), dtype=torch.float64)
        found_TK = torch.cat([kept, counted_BTL.sum(dim=(0, 2))[:, None].double()], dim=1)
        for t in range(len(found_TK)):
            sums[s, t] = found_TK[t]
    return sums


def _errors(patches: Tensor, kept_BTN: Tensor, measured_BTL: Tensor, sensor: str, config: SeaMoConfig) -> Tensor:
    """Mean squared error (B, T, L, K) of every patch by every yardstick."""
    num_bands = len(config.bands[sensor])
    mean, scale = patch_moments(patches, config.norm_pix, num_bands)
    target_BTLCP = (patches - mean).div_(scale).reshape(*patches.shape[:3], num_bands, -1)
    bands_BTLC = target_BTLCP.mean(dim=-1)
    # A number a band is off by what the band varies, and by its distance to the band's mean.
    within_BTL = (target_BTLCP - bands_BTLC[..., None]).square_().mean(dim=(-2, -1))
    seen_BTNC = bands_BTLC.gather(2, kept_BTN[..., None].expand(-1, -1, -1, num_bands))
    used_BTN = measured_BTL.gather(2, kept_BTN)
    some_BT11 = used_BTN.any(dim=-1)[..., None, None]
    weight_BTN1 = used_BTN[..., None].to(seen_BTNC.dtype)
    mean_BT1C = (seen_BTNC * weight_BTN1).sum(dim=2, keepdim=True) / weight_BTN1.sum(dim=2, keepdim=True).clamp(min=1)
    place_BTL = _nearest(kept_BTN, used_BTN, config.grid)
    nearest_BTLC = bands_BTLC.gather(2, place_BTL[..., None].expand(-1, -1, -1, num_bands))
    answers = {
        "zero": torch.zeros_like(mean_BT1C),
        "mean": mean_BT1C,
        "nearest": torch.where(some_BT11, nearest_BTLC, 0),
        "oracle": bands_BTLC,
    }
    return torch.stack([within_BTL + (bands_BTLC - answers[name]).square().mean(dim=-1) for name in YARDSTICKS], dim=-1)


def _nearest(kept_BTN: Tensor, used_BTN: Tensor, grid: int) -> Tensor:
    """Index (B, T, L) of the used visible patch that is nearest to each patch."""
    num_patches = grid * grid
    at = torch.arange(num_patches, device=kept_BTN.device, dtype=torch.int32)
    row, col = at // grid, at % grid
    distance_LL = (row[:, None] - row).square() + (col[:, None] - col).square()
    # One number that is smallest at the nearest, and among equals at the earlier patch; unused ones come last.
    last = 2 * num_patches * num_patches
    rank_BTN = kept_BTN.int() + (~used_BTN).int() * last
    distance_BTNL = distance_LL.index_select(0, kept_BTN.flatten()).view(*kept_BTN.shape, num_patches)
    best_BTL = distance_BTNL.mul_(num_patches).add_(rank_BTN[..., None]).amin(dim=2)
    return (best_BTL % num_patches).long()
