"""Temporal-multimodal fusion: every image asks the other sensor and the previous season.

Shapes: B batch, T season, N visible tokens, K context tokens, D width. `own` are the tokens of the image
to be reconstructed, `other` those of the other sensor in the same season, `previous` those of the same
sensor one season before. Paper: section 3.1.4 (variant `text`) and Algorithm 1 (variant `algorithm1`, in
the one reading in which seasons exchange anything: lines 5-6 for the first season, 9-10 for the rest).
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

import torch
from timm.layers.mlp import Mlp
from torch import Tensor, nn
from torch.nn import functional

from seamo.model.config import FusionConfig, SeaMoConfig
from seamo.model.encoder import Norm, attention_mask


class FusionPart(NamedTuple):
    """Tokens (B, N, D) of one image per row, and which rows have that image (None: all)."""

    tokens: Tensor
    there: Tensor | None


class CrossAttention(nn.Module):
    """Multi-head cross-attention; a row whose context is absent gets zeros."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, query_BND: Tensor, context_BKD: Tensor, valid_BK: Tensor | None = None) -> Tensor:
        """Output (B, N, D) at the query's positions; `valid_BK` False hides a context token."""
        B, N, D = query_BND.shape
        q = self.q(query_BND).reshape(B, N, self.heads, -1).transpose(1, 2)
        k, v = self.kv(context_BKD).reshape(B, -1, 2, self.heads, D // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        mask = None if valid_BK is None else attention_mask(valid_BK)
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(B, N, D))
        return out if valid_BK is None else _where(valid_BK.any(dim=1), out, torch.zeros_like(out))


class FuseBlock(nn.Module):
    """One cross-attention; a linear layer fuses what surrounds the image.

    text:       U = own + CA(LN(own), LN(W [other, previous])), joined along the tokens, W: D -> D
    algorithm1: U = CA(LN(W [other; previous]), LN(own)), joined along the channels, W: 2D -> D
                (first season: W [..] = other); `residual` value adds own
    both:       H = U + MLP(LN(U))
    """

    def __init__(self, tm: FusionConfig, width: int, heads: int) -> None:
        super().__init__()
        self.variant, self.residual = tm.variant, tm.residual
        self.fuse = nn.Linear(width if tm.variant == "text" else 2 * width, width)
        self.type_other = nn.Parameter(torch.empty(width)) if tm.type_embed else None
        self.type_previous = nn.Parameter(torch.empty(width)) if tm.type_embed else None
        self.norm_own, self.norm_fused = Norm(width), Norm(width)
        self.attention = CrossAttention(width, heads)
        self.norm_mlp, self.mlp = Norm(width), Mlp(width, 4 * width)

    def forward(self, own: Tensor, other: FusionPart | None, previous: FusionPart | None) -> Tensor:
        """Fused tokens H (B, N, D) of one image per row."""
        x = own + self._ask(own, other, previous) if self.variant == "text" else self._answer(own, other, previous)
        out: Tensor = x + self.mlp(self.norm_mlp(x))
        return out

    def _ask(self, own: Tensor, other: FusionPart | None, previous: FusionPart | None) -> Tensor:
        parts = [
            part if mark is None else FusionPart(part.tokens + mark.to(part.tokens.dtype), part.there)
            for part, mark in ((other, self.type_other), (previous, self.type_previous))
            if part is not None
        ]
        if not parts:  # one sensor in its first season
            return torch.zeros_like(own)
        context = self.norm_fused(self.fuse(torch.cat([part.tokens for part in parts], dim=1)))
        out: Tensor = self.attention(self.norm_own(own), context, _token_validity(parts))
        return out

    def _answer(self, own: Tensor, other: FusionPart | None, previous: FusionPart | None) -> Tensor:
        assert other is not None  # noqa: S101 - the configuration refuses algorithm1 with one sensor
        query = other.tokens
        if previous is not None:
            fused = self.fuse(torch.cat([other.tokens, previous.tokens], dim=2))
            query = fused if previous.there is None else _where(previous.there, fused, query)
        out: Tensor = self.attention(self.norm_fused(query), self.norm_own(own))
        return out + own if self.residual == "value" else out


class DecoupleBlock(nn.Module):
    """Two cross-attentions, one with the other sensor and one with the previous season.

    text:       A = CA1(LN(own), LN(other)), B = CA2(LN(own), LN(previous)), U = own + merge(A, B)
    algorithm1: A = CA1(LN(other), LN(own)), B = CA2(LN(previous), LN(own)), U = merge(A, B) (+ own)
    both:       merge is A + B, or a linear layer 2D -> D of [A; B]; what is absent is zero;
                H = U + MLP(LN(U))
    """

    def __init__(self, tm: FusionConfig, width: int, heads: int, *, alone: bool) -> None:
        super().__init__()
        self.variant = tm.variant
        self.adds_own = tm.variant == "text" or tm.residual == "value"
        self.norm_own = Norm(width)
        # One sensor alone has no other: no weights that would never get a gradient.
        self.norm_other = None if alone else Norm(width)
        self.attention_other = None if alone else CrossAttention(width, heads)
        self.norm_previous, self.attention_previous = Norm(width), CrossAttention(width, heads)
        self.merge = nn.Linear(2 * width, width) if tm.merge == "concat" else None
        self.norm_mlp, self.mlp = Norm(width), Mlp(width, 4 * width)

    def forward(self, own: Tensor, other: FusionPart | None, previous: FusionPart | None) -> Tensor:
        """Fused tokens H (B, N, D) of one image per row."""
        x = self.norm_own(own)
        of_other = self._attend(x, other, self.norm_other, self.attention_other)
        of_previous = self._attend(x, previous, self.norm_previous, self.attention_previous)
        update = of_other + of_previous
        if self.merge is not None:
            update = self.merge(torch.cat([of_other, of_previous], dim=2))
        fused = own + update if self.adds_own else update
        out: Tensor = fused + self.mlp(self.norm_mlp(fused))
        return out

    def _attend(
        self, own: Tensor, part: FusionPart | None, norm: nn.Module | None, attention: nn.Module | None
    ) -> Tensor:
        if part is None or norm is None or attention is None:
            return torch.zeros_like(own)
        context = norm(part.tokens)
        out: Tensor = attention(own, context) if self.variant == "text" else attention(context, own)
        return out if part.there is None else _where(part.there, out, torch.zeros_like(out))


class Fusion(nn.Module):
    """The TM block of every sensor; weights shared by the seasons."""

    def __init__(self, config: SeaMoConfig) -> None:
        super().__init__()
        self.sensors, self.tm = config.sensors, config.tm
        self.blocks = nn.ModuleDict(
            {sensor: nn.ModuleList(_make_block(config) for _ in range(config.tm.depth)) for sensor in config.sensors}
        )

    def forward(self, features: Mapping[str, Tensor], there: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
        """Fuse.

        Args:
            features: Sensor -> encoder output F (B, T, N, D).
            there: Sensor -> (B, T), False where an image is absent; None: all are there. An absent image
                is no context of any other.

        Returns:
            Sensor -> H (B, T, N, D).
        """
        seasons = next(iter(features.values())).shape[1]
        handed_on = there if self.tm.prev == "F" or there is None else fusable(there, self.tm)
        # With F of the previous season the seasons do not depend on each other: the first, then all others at once.
        cuts = [0, 1, seasons] if self.tm.prev == "F" and seasons > 1 else list(range(seasons + 1))
        fused: dict[str, list[Tensor]] = {sensor: [] for sensor in self.sensors}
        for start, stop in pairwise(cuts):
            step = {}
            for sensor in self.sensors:
                others = [name for name in self.sensors if name != sensor]
                other = _part(features, there, others[0], start, stop) if others else None
                previous = None
                if start > 0:
                    previous = _part(features, handed_on, sensor, start - 1, stop - 1)
                    if self.tm.prev == "H":
                        previous = FusionPart(fused[sensor][-1].flatten(0, 1), previous.there)
                own = features[sensor][:, start:stop]
                x = own.flatten(0, 1)
                for block in self.blocks[sensor].children():
                    x = block(x, other, previous)
                step[sensor] = x.reshape(own.shape)
            for sensor in self.sensors:
                fused[sensor].append(step[sensor])
        return {sensor: torch.cat(parts, dim=1) for sensor, parts in fused.items()}


def fusable(there: Mapping[str, Tensor], tm: FusionConfig) -> dict[str, Tensor]:
    """Which images can come out of the TM block: those that are there, with `algorithm1` in all sensors."""
    if tm.variant == "text":
        return dict(there)
    everywhere = torch.stack(list(there.values())).all(dim=0)
    return dict.fromkeys(there, everywhere)


def _make_block(config: SeaMoConfig) -> nn.Module:
    if config.tm.mode == "fuse":
        return FuseBlock(config.tm, config.dim, config.heads)
    return DecoupleBlock(config.tm, config.dim, config.heads, alone=len(config.sensors) == 1)


def _part(
    features: Mapping[str, Tensor], there: Mapping[str, Tensor] | None, sensor: str, start: int, stop: int
) -> FusionPart:
    rows = None if there is None else there[sensor][:, start:stop].flatten()
    return FusionPart(features[sensor][:, start:stop].flatten(0, 1), rows)


def _token_validity(parts: list[FusionPart]) -> Tensor | None:
    columns = [part.there[:, None].expand(-1, part.tokens.shape[1]) for part in parts if part.there is not None]
    return torch.cat(columns, dim=1) if columns else None


def _where(rows_B: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    return torch.where(rows_B[:, None, None], yes, no)
