"""Copernicus-FM's trunk: DOFA's generated kernels from wavelength and bandwidth, and tokens of place, scale and time.

Shape suffixes as in `vit`.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from seamo_bench.card import BackboneCard
from seamo_bench.network import Features
from seamo_bench.networks.dofa import SCALE, KernelGenerator, Residual
from seamo_bench.networks.variant import number, whole
from seamo_bench.networks.vit import Taps, ViT, keep, level_blocks, to_map


def fourier(x: Tensor, low: float, high: float, width: int) -> Tensor:
    """Sines, then cosines of 2 pi x / wavelength, wavelengths log-spaced from `low` to `high`, in float64 inside."""
    waves = torch.logspace(math.log10(low), math.log10(high), width // 2, dtype=torch.float64, device=x.device)
    angles = x.double()[:, None] * (2 * math.pi / waves)
    return torch.cat([angles.sin(), angles.cos()], dim=-1).float()


class SpectralEmbed(nn.Module):
    """Patch projection generated from wavelength and bandwidth in nanometres; padding 1 as in DOFA."""

    def __init__(self, width: int, patch: int, dim: int) -> None:
        super().__init__()
        self.width, self.patch, self.dim = width, patch, dim
        self.weight_generator = KernelGenerator(width, patch, dim)
        self.fclayer = Residual(width)

    def forward(self, x_BCHW: Tensor, waves_nm: Tensor, widths_nm: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D, h, w)."""
        code = fourier(waves_nm, 100, 1e9, self.width) + fourier(widths_nm, 1, 1e9, self.width)
        flat, bias = self.weight_generator(self.fclayer(code))
        kernel = flat.view(len(waves_nm), self.patch, self.patch, self.dim).permute(3, 0, 1, 2) * SCALE
        return nn.functional.conv2d(x_BCHW, kernel, bias * SCALE, stride=self.patch, padding=1)


class CopernicusFM(ViT):
    """ViT with generated kernels; place, scale and time are the learned stand-ins for "not given".

    Args:
        card: Its variant has the constructor numbers.
        spectra_nm: Sensor -> (wavelength, bandwidth) of each of its bands.
    """

    def __init__(self, card: BackboneCard, spectra_nm: Mapping[str, Sequence[tuple[float, float]]]) -> None:
        dim = whole(card, "embed_dim")
        self.spectra_nm = {sensor: list(known) for sensor, known in spectra_nm.items()}
        self.generator_width = whole(card, "wv_planes")
        super().__init__(
            {spec.sensor: len(spec.bands) for spec in card.inputs},
            img_size=whole(card, "img_size"),
            patch_size=whole(card, "patch_size"),
            embed_dim=dim,
            depth=whole(card, "depth"),
            num_heads=whole(card, "num_heads"),
            mlp_ratio=number(card, "mlp_ratio"),
            pool="mean-norm",
            pos_interp="none",
        )
        self.norm = nn.Identity()  # the file has a norm after pooling only
        self.fc_norm = nn.LayerNorm(dim, eps=1e-6)
        self.coord_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.scale_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.time_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.coord_fc = nn.Linear(dim, dim)
        self.scale_fc = nn.Linear(dim, dim)
        self.time_fc = nn.Linear(dim, dim)

    def make_embedding(self, img_size: int, embed_dim: int) -> None:
        """Kernel generator and position table."""
        side = img_size // self.patch_size
        self.patch_embed_spectral = SpectralEmbed(self.generator_width, self.patch_size, embed_dim)
        self.pos_embed = nn.Parameter(torch.randn(1, 1 + side * side, embed_dim) * 0.02)

    def embed(self, x_BCHW: Tensor, taps: Taps = None) -> Tensor:
        """Class token and patches; to all positions the three tokens of what is not given are added."""
        assert self.cls_token is not None  # noqa: S101 (narrows the type; this trunk always has one)
        pairs = [pair for sensor in self.sensors for pair in self.spectra_nm[sensor]]
        spectra = torch.tensor(pairs, dtype=torch.float32, device=x_BCHW.device)
        unknown = self.coord_fc(self.coord_token) + self.scale_fc(self.scale_token) + self.time_fc(self.time_token)
        table = self.positions(self.grid(x_BCHW)) + unknown
        keep(taps, "pos_embed.used", table)
        patches = self.patch_embed_spectral(x_BCHW, spectra[:, 0], spectra[:, 1]).flatten(2).transpose(1, 2)
        tokens: Tensor = torch.cat([self.cls_token.expand(len(x_BCHW), -1, -1), patches], dim=1) + table
        return tokens

    def forward_features(self, inputs: Mapping[str, Tensor]) -> Features:
        """Mean patch token through `fc_norm`; maps of four blocks without a norm."""
        x = self.stack(inputs)
        grid = self.grid(x)
        stream = self.run(x)
        maps = tuple(to_map(stream[index][:, 1:], grid) for index in level_blocks(len(stream)))
        return Features(self.fc_norm(stream[-1][:, 1:].mean(1)), maps)
