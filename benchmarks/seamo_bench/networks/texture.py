"""The network of `texture-statistics`: what is measured stands, with its sources, in its family.

Shapes: B image, C channel (bands, then indices), H row, W column.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from seamo_bench.network import Features, Network

_TAILS = (0.1, 0.9)


class TextureStatistics(Network):
    """(B, C, H, W) -> (B, (4 + lags) (bands + indices)): a channel's mean, std, p10, p90 and autocorrelations.

    A pixel that is NaN is in no number, and neither is a pair of pixels of which one is NaN. What is not defined is 0:
    every number of a channel without a pixel, the autocorrelation of a constant channel or at a lag without a pair.

    Args:
        pairs: Sensor -> positions (a, b) of the two bands of each index, in the order of the features.
        scales: Sensor -> what its values are multiplied with.
        logarithmic: Sensors whose values are logarithms, so that an index is a - b; else it is (a - b) / (a + b) of
            values that count as 0 below 0, and not defined where both are.
        lags: In pixels; each along rows and along columns, of which the mean is taken.
    """

    def __init__(
        self,
        pairs: Mapping[str, Sequence[tuple[int, int]]],
        *,
        scales: Mapping[str, float],
        logarithmic: Sequence[str],
        lags: Sequence[int],
    ) -> None:
        super().__init__()
        self.pairs, self.scales, self.logarithmic, self.lags = pairs, scales, frozenset(logarithmic), tuple(lags)

    def forward_features(self, inputs: Mapping[str, Tensor]) -> Features:
        """The measurements of every sensor, one after the other; no dense levels."""
        parts = []
        for sensor, pairs in self.pairs.items():
            bands = inputs[sensor].float() * self.scales[sensor]
            indices = _indices(bands, pairs, logarithmic=sensor in self.logarithmic)
            # Image by image, which stays in a CPU's cache: half the time of a batch at once.
            each = [_measured(torch.cat(image), self.lags) for image in zip(bands, indices, strict=True)]
            parts.append(torch.stack(each).flatten(1))
        return Features(torch.nan_to_num(torch.cat(parts, dim=1), nan=0.0))


def _indices(bands: Tensor, pairs: Sequence[tuple[int, int]], *, logarithmic: bool) -> Tensor:
    """(B, pairs, H, W)."""
    known = bands if logarithmic else bands.clamp_min(0.0)
    first, second = (known[:, [pair[side] for pair in pairs]] for side in (0, 1))
    apart = first - second
    return apart if logarithmic else apart.div_(first.add_(second))


def _measured(x_CHW: Tensor, lags: Sequence[int]) -> Tensor:
    """(C, 4 + lags), NaN where a number is not defined."""
    mean = x_CHW.mean(dim=(1, 2))
    seen: Tensor | None = None
    count: Tensor | int = x_CHW[0].numel()
    if mean.isnan().any():  # what has no hole, which is most images, needs no masks
        seen, mean = ~x_CHW.isnan(), x_CHW.nanmean(dim=(1, 2))
        count = seen.sum(dim=(1, 2))
    apart = x_CHW - mean[:, None, None]
    if seen is not None:
        apart.masked_fill_(~seen, 0.0)
    variance = apart.square().sum(dim=(1, 2)) / count
    # Values that differ by float32's rounding alone do not differ, and have no texture.
    variance = torch.where(variance.sqrt() > 4 * torch.finfo(torch.float32).eps * mean.abs(), variance, 0.0)
    textured = torch.where(variance > 0, variance, torch.nan)
    covariances = [_autocovariance(apart, seen, lag) for lag in lags]
    found = [mean, variance.sqrt(), *_quantiles(x_CHW, count), *(one / textured for one in covariances)]
    return torch.stack(found, dim=1)


def _quantiles(x_CHW: Tensor, count: Tensor | int) -> list[Tensor]:
    """The 10th and 90th percentile (C,), on the straight line between two pixels; NaN where there is none."""
    flat = x_CHW.flatten(1)
    # NaN sort to the end. numpy's sort takes a tenth of the time of torch's, which is for other devices.
    ordered = torch.from_numpy(np.sort(flat.numpy(), axis=1)) if flat.device.type == "cpu" else flat.sort(dim=1).values
    last = (torch.as_tensor(count, device=flat.device).expand(len(flat)).double() - 1).clamp_min(0)
    found = []
    for level in _TAILS:
        place = level * last
        below = place.long()
        above = torch.minimum(below + 1, last.long())
        low, high = (ordered.gather(1, at[:, None])[:, 0].double() for at in (below, above))
        found.append((low + (high - low) * (place - below)).float())
    return found


def _autocovariance(apart_CHW: Tensor, seen_CHW: Tensor | None, lag: int) -> Tensor:
    """(C,): mean product of deviations so many pixels apart, the mean of rows and columns; NaN without a pair."""
    both = []
    for dim in (1, 2):
        side = apart_CHW.shape[dim]
        size = max(side - lag, 0)
        one, other = (apart_CHW.narrow(dim, start, size) for start in (0, side - size))
        if seen_CHW is None:
            pairs: Tensor | int = one[0].numel()
        else:
            pairs = (seen_CHW.narrow(dim, 0, size) & seen_CHW.narrow(dim, side - size, size)).sum(dim=(1, 2))
        both.append((one * other).sum(dim=(1, 2)) / pairs)
    return (both[0] + both[1]) / 2
