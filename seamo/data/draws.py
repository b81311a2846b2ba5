"""Random numbers that depend on (seed, epoch, sample) alone: not on batch, rank, worker or order.

A counter-based generator (splitmix64, Steele, Lea and Flood 2014) in 64-bit integer arithmetic, so that CPU
and GPU give the same bits and a resumed or re-sharded run sees the same crops and masks.
"""

import torch
from torch import Tensor

CROPS, QUADRANTS, MASKS = 1, 2, 3
"""Streams: what the numbers are for. Different streams of one sample are independent."""

_GOLDEN = 0x9E3779B97F4A7C15
_FACTOR_1, _FACTOR_2 = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_BITS = 2**64


def uniforms(rows: Tensor, count: int, *, seed: int, epoch: int, stream: int) -> Tensor:
    """Uniform numbers in [0, 1), `count` a sample.

    Args:
        rows: (B,) int64, the samples' rows in their store. The result lives on the same device.
        count: Numbers a sample; the first k do not depend on it.
        seed: Of the run.
        epoch: Every epoch draws anew.
        stream: One of the constants of this module, or another small number.

    Returns:
        (B, count) float64, multiples of 2 ** -53.

    Example:
        >>> draws = uniforms(torch.tensor([0, 7]), 3, seed=0, epoch=1, stream=CROPS)
        >>> alone = uniforms(torch.tensor([7]), 3, seed=0, epoch=1, stream=CROPS)
        >>> draws.shape, bool((draws[1] == alone[0]).all())
        (torch.Size([2, 3]), True)
    """
    key = 0
    for part in (seed, epoch, stream):
        key = int(_mix(torch.tensor(_signed(key + part * _GOLDEN + 1))))
    state = _mix(_mix(rows + _signed(_GOLDEN)) ^ key)
    steps = torch.arange(1, count + 1, device=rows.device) * _signed(_GOLDEN)
    return _shift(_mix(state[:, None] + steps), 11).double() * 2.0**-53


def _mix(x: Tensor) -> Tensor:
    # int64 arithmetic of torch wraps around, as that of uint64 does.
    x = (x ^ _shift(x, 30)) * _signed(_FACTOR_1)
    x = (x ^ _shift(x, 27)) * _signed(_FACTOR_2)
    return x ^ _shift(x, 31)


def _shift(x: Tensor, bits: int) -> Tensor:
    # `>>` of a signed number copies the sign; a logical shift does not.
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _signed(number: int) -> int:
    number %= _BITS
    return number - _BITS if number >= _BITS // 2 else number
