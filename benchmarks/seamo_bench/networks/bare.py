"""The transformer of CROMA and SatViT: norms inside the layers, bias-free q, k, v, patches flattened (c i j).

Shape suffixes as in `vit`, h heads in attention biases.
"""

import math

import torch
from torch import Tensor, nn

from seamo.errors import SampleError
from seamo_bench.networks.vit import Taps, keep


class SelfAttention(nn.Module):
    """Self-attention with an optional bias a head."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.input_norm = nn.LayerNorm(dim)
        self.to_qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.to_out = nn.Linear(dim, dim)

    def forward(self, x_BND: Tensor, bias_hNN: Tensor | None = None) -> Tensor:
        """Attend within x."""
        q, k, v = self.to_qkv(self.input_norm(x_BND)).chunk(3, dim=-1)
        out: Tensor = self.to_out(_attend(q, k, v, self.heads, bias_hNN))
        return out


class BareCrossAttention(nn.Module):
    """Attention of x to a context; both go through the same norm."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.input_norm = nn.LayerNorm(dim)
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_k = nn.Linear(dim, dim, bias=False)
        self.to_v = nn.Linear(dim, dim, bias=False)
        self.to_out = nn.Linear(dim, dim)

    def forward(self, x_BND: Tensor, context_BND: Tensor, bias_hNN: Tensor | None = None) -> Tensor:
        """Attend from x to the context."""
        context = self.input_norm(context_BND)
        q, k, v = self.to_q(self.input_norm(x_BND)), self.to_k(context), self.to_v(context)
        out: Tensor = self.to_out(_attend(q, k, v, self.heads, bias_hNN))
        return out


def _attend(q: Tensor, k: Tensor, v: Tensor, heads: int, bias_hNN: Tensor | None) -> Tensor:
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (q, k, v))  # type: ignore[no-untyped-call]
    y: Tensor = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=bias_hNN)
    return y.transpose(1, 2).flatten(2)


class FeedForward(nn.Module):
    """LayerNorm, then two linear layers with a GELU between (`net.0`, `net.3`)."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.input_norm = nn.LayerNorm(dim)
        self.net = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Identity(), nn.Linear(hidden, dim))

    def forward(self, x_BND: Tensor) -> Tensor:
        """Apply to every token."""
        out: Tensor = self.net(self.input_norm(x_BND))
        return out


class BareTransformer(nn.Module):
    """Layers of self-attention, optional cross-attention and feed-forward, then `norm_out`."""

    def __init__(self, dim: int, *, depth: int, heads: int, ff_mult: int = 4, cross: bool = False) -> None:
        super().__init__()
        self.cross = cross
        self.layers = nn.ModuleList()
        for _ in range(depth):
            parts: list[nn.Module] = [SelfAttention(dim, heads), FeedForward(dim, ff_mult * dim)]
            if cross:
                parts.insert(1, BareCrossAttention(dim, heads))
            self.layers.append(nn.ModuleList(parts))
        self.norm_out = nn.LayerNorm(dim)

    def run(
        self, x_BND: Tensor, *, context: Tensor | None = None, bias: Tensor | None = None, taps: Taps = None, name: str
    ) -> list[Tensor]:
        """Residual stream after every layer; `name` prefixes the taps."""
        x = x_BND
        stream = []
        for index, layer in enumerate(self.layers):
            parts = list(layer.children())
            x = x + parts[0](x, bias)
            if context is not None:
                x = x + parts[1](x, context, bias)
            x = x + parts[-1](x)
            keep(taps, f"{name}block.{index:02d}", x)
            stream.append(x)
        if taps is not None:
            keep(taps, f"{name}tokens.final", self.norm_out(x))
        return stream


def patches_of(x_BCHW: Tensor, patch: int) -> tuple[Tensor, tuple[int, int]]:
    """Flattened patches (B, N, C*patch*patch) in the order (c i j), and the grid.

    Raises:
        SampleError: If the image is not a whole number of patches.
    """
    H, W = x_BCHW.shape[-2:]
    if H % patch or W % patch:
        what = f"an image of {H} x {W} pixels is not whole patches of {patch}"
        raise SampleError(what, fix="Resize or crop it.")
    flat = nn.functional.unfold(x_BCHW, patch, stride=patch)
    return flat.transpose(1, 2), (H // patch, W // patch)


def alibi(grid: tuple[int, int], heads: int, device: torch.device) -> Tensor:
    """2-D ALiBi bias (heads, N, N): minus slope times the distance of patch centres, in patches.

    Slopes are the geometric series of Press et al. (arXiv 2108.12409) from 2 ** (-2 ** -(log2(heads) - 3)).
    """
    start = 2.0 ** (-(2.0 ** -(math.log2(heads) - 3)))
    slopes = torch.tensor([start ** (head + 1) for head in range(heads)], device=device)
    rows, columns = torch.meshgrid(
        torch.arange(grid[0], device=device), torch.arange(grid[1], device=device), indexing="ij"
    )
    centres = torch.stack([rows.flatten(), columns.flatten()], dim=1).float()
    distance = (centres[:, None] - centres[None]).square().sum(-1).sqrt()
    return -slopes[:, None, None] * distance
