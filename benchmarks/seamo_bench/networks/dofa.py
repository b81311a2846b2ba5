"""DOFA's dynamic patch embedding: kernels generated from wavelengths. Shape suffixes as in `vit`, P: its width."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from seamo_bench.card import BackboneCard
from seamo_bench.network import Features
from seamo_bench.networks.variant import number, whole
from seamo_bench.networks.vit import Taps, ViT, keep, level_blocks, to_map

WEIGHT_TOKENS = 128
SCALE = 0.01  # generated kernels and bias are small, so that training starts calmly


class Residual(nn.Module):
    """x + relu(w2(relu(w1(x))))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.w1 = nn.Linear(width, width)
        self.w2 = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Apply to the last axis."""
        out: Tensor = x + self.w2(self.w1(x).relu()).relu()
        return out


class KernelGenerator(nn.Module):
    """One transformer layer over weight tokens, bands and a bias token; the bands' outputs become kernels."""

    def __init__(self, width: int, kernel_size: int, dim: int) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(width, nhead=4, dim_feedforward=2048, dropout=0.0, activation="gelu")
        self.transformer_encoder = nn.TransformerEncoder(layer, num_layers=1, enable_nested_tensor=False)
        self.weight_tokens = nn.Parameter(torch.randn(WEIGHT_TOKENS, width) * 0.02)
        self.bias_token = nn.Parameter(torch.randn(1, width) * 0.02)
        self.fc_weight = nn.Linear(width, kernel_size * kernel_size * dim)
        self.fc_bias = nn.Linear(width, dim)

    def forward(self, waves_CP: Tensor) -> tuple[Tensor, Tensor]:
        """Flat kernels (C, k*k*D) and bias (D,)."""
        out = self.transformer_encoder(torch.cat([self.weight_tokens, waves_CP, self.bias_token]))
        return self.fc_weight(out[WEIGHT_TOKENS:-1] + waves_CP), self.fc_bias(out[-1])


class DynamicEmbed(nn.Module):
    """Patch projection with generated kernels; kernel 16, stride 16, padding 1 as published."""

    def __init__(self, width: int, patch: int, dim: int) -> None:
        super().__init__()
        self.width, self.patch, self.dim = width, patch, dim
        self.weight_generator = KernelGenerator(width, patch, dim)
        self.fclayer = Residual(width)

    def forward(self, x_BCHW: Tensor, waves_um: Tensor, taps: Taps = None) -> Tensor:
        """Embed an image whose channels have these wavelengths in micrometres; (B, D, h, w)."""
        sincos = sincos_1d(waves_um * 1000, self.width)
        keep(taps, "waves.sincos", sincos)
        waves = self.fclayer(sincos)
        keep(taps, "waves.embedded", waves)
        flat, bias = self.weight_generator(waves)
        kernel = flat.view(len(waves_um), self.patch, self.patch, self.dim).permute(3, 0, 1, 2) * SCALE
        keep(taps, "kernel.generated", kernel[:4])
        keep(taps, "bias.generated", bias * SCALE)
        return nn.functional.conv2d(x_BCHW, kernel, bias * SCALE, stride=self.patch, padding=1)


def sincos_1d(positions: Tensor, width: int) -> Tensor:
    """Sine half, cosine half of positions over a geometric series of frequencies, in float32.

    float64 would differ by 2e-4 at radar wavelengths (5405 rad), so the precision is part of the model.
    """
    exponents = torch.arange(width // 2, dtype=torch.float32, device=positions.device) / (width / 2.0)
    angles = positions.float()[:, None] * (1.0 / 10000**exponents)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class DOFA(ViT):
    """ViT with a dynamic patch embedding.

    Args:
        card: Its variant has the constructor numbers.
        waves_um: Sensor -> wavelength of each of its channels, in micrometres.
    """

    def __init__(self, card: BackboneCard, waves_um: Mapping[str, Sequence[float]]) -> None:
        self.generator_width = whole(card, "wv_planes")
        self.waves_um = {sensor: list(waves) for sensor, waves in waves_um.items()}
        super().__init__(
            {spec.sensor: len(spec.bands) for spec in card.inputs},
            img_size=whole(card, "img_size"),
            patch_size=whole(card, "patch_size"),
            embed_dim=whole(card, "embed_dim"),
            depth=whole(card, "depth"),
            num_heads=whole(card, "num_heads"),
            mlp_ratio=number(card, "mlp_ratio"),
            pool="mean-norm",
            pos_interp="bicubic",
        )
        self.fc_norm = nn.LayerNorm(whole(card, "embed_dim"), eps=1e-6)

    def make_embedding(self, img_size: int, embed_dim: int) -> None:
        """Kernel generator and position table."""
        side = img_size // self.patch_size
        self.dynamic = DynamicEmbed(self.generator_width, self.patch_size, embed_dim)
        self.pos_embed = nn.Parameter(torch.randn(1, 1 + side * side, embed_dim) * 0.02)

    def tokens(self, x_BCHW: Tensor, waves_um: Sequence[float], taps: Taps = None) -> list[Tensor]:
        """Residual stream of an image whose channels have these wavelengths."""
        assert self.cls_token is not None  # noqa: S101 (narrows the type; this trunk always has one)
        waves = torch.tensor(list(waves_um), dtype=torch.float32, device=x_BCHW.device)
        table = self.positions(self.grid(x_BCHW))
        keep(taps, "pos_embed.used", table)
        patches = self.dynamic(x_BCHW, waves, taps).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x_BCHW), -1, -1), patches], dim=1) + table
        keep(taps, "tokens.embed", x)
        stream = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            keep(taps, f"block.{index:02d}", x)
            stream.append(x)
        return stream

    def pooled_mean(self, stream: Sequence[Tensor]) -> Tensor:
        """Mean patch token, then `fc_norm`."""
        out: Tensor = self.fc_norm(stream[-1][:, 1:].mean(1))
        return out

    def forward_features(self, inputs: Mapping[str, Tensor]) -> Features:
        """Pooled feature; maps of four blocks without a norm (the file's own `norm` belongs to another head)."""
        given = [sensor for sensor in self.sensors if sensor in inputs]
        x = torch.cat([inputs[sensor] for sensor in given], dim=1)
        grid = self.grid(x)
        stream = self.tokens(x, [wave for sensor in given for wave in self.waves_um[sensor]])
        maps = tuple(to_map(stream[index][:, 1:], grid) for index in level_blocks(len(stream)))
        return Features(self.pooled_mean(stream), maps)
