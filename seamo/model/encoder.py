"""The encoder: plain pre-norm vision-transformer blocks (timm), and how a stack of them runs.

Shapes: B sequences, N tokens, D width.
"""

from collections.abc import Sequence

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class Norm(nn.LayerNorm):
    """LayerNorm with eps 1e-6, as every transformer of this family has it."""

    def __init__(self, width: int, device: torch.device | None = None, dtype: torch.dtype | None = None) -> None:
        super().__init__(width, eps=1e-6, device=device, dtype=dtype)


def make_blocks(depth: int, width: int, heads: int, *, drop_path: float = 0.0) -> nn.ModuleList:
    """Transformer blocks (MLP ratio 4, qkv bias, LayerNorm eps 1e-6, GELU).

    Args:
        depth: Number of blocks.
        width: D.
        heads: Attention heads of a block.
        drop_path: Rate of the last block; the first has 0, those between lie on a line.
    """
    rates = [drop_path * index / max(depth - 1, 1) for index in range(depth)]
    return nn.ModuleList(Block(width, heads, qkv_bias=True, norm_layer=Norm, drop_path=rate) for rate in rates)


def run_block(block: nn.Module, x_BND: Tensor, key_mask: Tensor | None, *, recompute: bool) -> Tensor:
    """One block, keeping its activations or recomputing them in the backward pass."""
    if recompute and torch.is_grad_enabled():
        out: Tensor = checkpoint(block, x_BND, key_mask, use_reentrant=False)
    else:
        out = block(x_BND, attn_mask=key_mask)
    return out


def attention_mask(valid_BN: Tensor) -> Tensor:
    """Key mask (B, 1, 1, N), True where a token may be attended to.

    A sequence without any valid token attends to itself, because a softmax over nothing is not a number;
    what comes out of it counts nowhere.
    """
    return (valid_BN | ~valid_BN.any(dim=1, keepdim=True))[:, None, None, :]


class Encoder(nn.Module):
    """Blocks, final norm and, if asked for, a CLS token at the front of every sequence."""

    def __init__(self, depth: int, width: int, heads: int, *, cls_token: bool, drop_path: float) -> None:
        super().__init__()
        self.cls = nn.Parameter(torch.empty(width)) if cls_token else None
        self.blocks = make_blocks(depth, width, heads, drop_path=drop_path)
        self.norm = Norm(width)
        self.recompute = False

    @property
    def num_extra(self) -> int:
        """Tokens in front of the patch tokens in the output (the CLS token)."""
        return 0 if self.cls is None else 1

    def forward(self, tokens_BND: Tensor, valid_BN: Tensor | None = None) -> Tensor:
        """Normalised tokens (B, num_extra + N, D); `valid_BN` False hides a token from all others."""
        x, mask = self._enter(tokens_BND, valid_BN)
        for block in self.blocks:
            x = run_block(block, x, mask, recompute=self.recompute)
        normed: Tensor = self.norm(x)
        return normed

    def levels(self, tokens_BND: Tensor, blocks: Sequence[int]) -> tuple[Tensor, ...]:
        """Patch tokens after the given blocks (0-based, ascending), without the final norm."""
        x, mask = self._enter(tokens_BND, None)
        found = []
        for index, block in enumerate(self.blocks):
            x = run_block(block, x, mask, recompute=self.recompute)
            if index in blocks:
                found.append(x[:, self.num_extra :])
        return tuple(found)

    def _enter(self, x: Tensor, valid_BN: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if self.cls is not None:
            x = torch.cat([self.cls.to(x.dtype).expand(len(x), 1, -1), x], dim=1)
            valid_BN = None if valid_BN is None else nn.functional.pad(valid_BN, (1, 0), value=True)
        return x, None if valid_BN is None else attention_mask(valid_BN)
