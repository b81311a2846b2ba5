"""From pixels to tokens: patches, their linear embedding, and positions.

Shapes: B batch, T season, L patches, P values of a patch, D width, C bands, H/W pixels, h/w patches.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


def patchify(images_BTCHW: Tensor, patch: int) -> Tensor:
    """Cut images into patches: (B, T, C, H, W) -> (B, T, L, P).

    Patches run row by row; the values of a patch run band, row, column, so that the weight of a
    `Tokenizer` is that of a convolution: `weight.view(D, C, patch, patch)`.
    """
    B, T, C, H, W = images_BTCHW.shape
    h, w = H // patch, W // patch
    cut = images_BTCHW.reshape(B, T, C, h, patch, w, patch)
    return cut.permute(0, 1, 3, 5, 2, 4, 6).reshape(B, T, h * w, C * patch * patch)


def unpatchify(patches_BTLP: Tensor, patch: int) -> Tensor:
    """Undo `patchify` for square images."""
    B, T, L, P = patches_BTLP.shape
    side, C = round(L**0.5), P // (patch * patch)
    cut = patches_BTLP.reshape(B, T, side, side, C, patch, patch)
    return cut.permute(0, 1, 4, 2, 5, 3, 6).reshape(B, T, C, side * patch, side * patch)


class Tokenizer(nn.Linear):
    """Linear patch embedding of one sensor: (..., P) -> (..., D)."""


def sincos(rows_h: Tensor, cols_w: Tensor, width: int) -> Tensor:
    """Fixed two-dimensional sine-cosine embedding (Vaswani et al. 2017, in two dimensions as in MAE).

    Args:
        rows_h: Coordinates of the grid's rows, in patches.
        cols_w: Coordinates of its columns.
        width: D, a multiple of 4.

    Returns:
        (h * w, D): sine and cosine of the column in the first half, of the row in the second, with
        frequencies 10000 ** (-i / (D / 4)).
    """
    quarter = width // 4
    frequency = 10000.0 ** (-torch.arange(quarter, dtype=torch.float64, device=rows_h.device) / quarter)
    row = rows_h.double()[:, None] * frequency
    col = cols_w.double()[:, None] * frequency
    h, w = len(rows_h), len(cols_w)
    row_hwD = torch.cat([row.sin(), row.cos()], dim=1)[:, None].expand(h, w, width // 2)
    col_hwD = torch.cat([col.sin(), col.cos()], dim=1)[None].expand(h, w, width // 2)
    return torch.cat([col_hwD, row_hwD], dim=2).reshape(h * w, width).float()


class Positions(nn.Module):
    """Position embedding of a square grid, fixed or learned, that also answers for other grids.

    A fixed embedding is computed at the other grid's patch centres, laid over the trained grid (what
    interpolating the table approximates); a learned one is interpolated (bicubic, antialiased).
    """

    table: Tensor

    def __init__(self, grid: int, width: int, *, learned: bool) -> None:
        super().__init__()
        self.grid, self.width, self.learned = grid, width, learned
        if learned:
            self.table = nn.Parameter(torch.empty(grid * grid, width))
        else:
            at = torch.arange(grid)
            self.register_buffer("table", sincos(at, at, width), persistent=False)

    def forward(self, h: int, w: int) -> Tensor:
        """Embedding of an (h, w) grid: (h * w, D)."""
        if (h, w) == (self.grid, self.grid):
            return self.table
        if self.learned:
            table = self.table.float().reshape(1, self.grid, self.grid, self.width).permute(0, 3, 1, 2)
            resized = functional.interpolate(table, size=(h, w), mode="bicubic", antialias=True)
            return resized.permute(0, 2, 3, 1).reshape(h * w, self.width)
        return sincos(self._centres(h), self._centres(w), self.width).to(self.table.dtype)

    def _centres(self, count: int) -> Tensor:
        return (torch.arange(count, device=self.table.device) + 0.5) * self.grid / count - 0.5
