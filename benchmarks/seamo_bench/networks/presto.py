"""Presto's encoder: a transformer over the time series of one pixel.

Shape suffixes: B series, T time steps, C the 17 channels, N tokens, D width.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from seamo.errors import CheckpointError
from seamo_bench.card import BackboneCard
from seamo_bench.network import Features, Network
from seamo_bench.networks.variant import number, whole
from seamo_bench.networks.vit import Block, Taps, keep

# Channels: VV VH B2 B3 B4 B5 B6 B7 B8 B8A B11 B12 temperature precipitation elevation slope NDVI.
GROUPS: dict[str, tuple[int, ...]] = {
    "S1": (0, 1),
    "S2_RGB": (2, 3, 4),
    "S2_Red_Edge": (5, 6, 7),
    "S2_NIR_10m": (8,),
    "S2_NIR_20m": (9,),
    "S2_SWIR": (10, 11),
    "ERA5": (12, 13),
    "SRTM": (14, 15),
    "NDVI": (16,),
}
NUM_CHANNELS = 17
RED, NIR, NDVI = 4, 8, 16
NO_CLASS = 9  # Dynamic World: missing
JUNE = 5  # month index where the time of an image is not given
CHUNK = 1024  # series at a time: a fifth faster than 4096 on a CPU core, whose cache holds the tokens
CHANNELS = {"s1": ("VV", "VH"), "s2": ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")}
FIRST = {"s1": 0, "s2": 2}  # channel at which a sensor begins


class Presto(Network):
    """Presto (Tseng et al. 2023, arXiv 2304.14065), encoder only.

    Args:
        card: Its variant has the constructor numbers.
    """

    def __init__(self, card: BackboneCard) -> None:
        super().__init__()
        dim, part = whole(card, "embed_dim"), whole(card, "embed_dim") // 4
        self.pos_embed = nn.Parameter(torch.zeros(1, whole(card, "max_sequence_length"), dim - 2 * part))
        self.eo_patch_embed = nn.ModuleDict({name: nn.Linear(len(index), dim) for name, index in GROUPS.items()})
        self.dw_embed = nn.Embedding(NO_CLASS + 1, dim)
        self.latlon_embed = nn.Linear(3, dim)
        self.blocks = nn.ModuleList(
            Block(dim, whole(card, "num_heads"), mlp_ratio=number(card, "mlp_ratio"), eps=1e-5)
            for _ in range(whole(card, "depth"))
        )
        self.norm = nn.LayerNorm(dim)
        self.month_embed = nn.Embedding(12, part)
        self.channel_embed = nn.Embedding(len(GROUPS) + 1, part)
        self.channels = {one.sensor: [CHANNELS[one.sensor].index(name) for name in one.bands] for one in card.inputs}

    def run(
        self,
        x_BTC: Tensor,
        mask_BTC: Tensor,
        *,
        dynamic_world_BT: Tensor,
        latlon_B2: Tensor,
        month_B: Tensor,
        taps: Taps = None,
    ) -> Tensor:
        """Pooled feature (B, D): the norm of the mean of the tokens that are given, position token included.

        Args:
            x_BTC: Normalised series.
            mask_BTC: 1 where a channel is not given; a group with one such channel is left out.
            dynamic_world_BT: Land cover class, 9 where missing.
            latlon_B2: Latitude and longitude in degrees.
            month_B: Month (0..11) of the first step.
            taps: See `vit.keep`.

        Raises:
            CheckpointError: If the series of a batch keep different numbers of tokens.
        """
        B, T, _ = x_BTC.shape
        months = (torch.arange(T, device=x_BTC.device)[None] + month_B[:, None]) % 12
        month = self.month_embed(months)
        position = self.pos_embed[:, :T].expand(B, -1, -1)
        tokens, masks = [], []
        for index, (name, channels) in enumerate(GROUPS.items()):
            steps = slice(0, 1) if name == "SRTM" else slice(None)  # terrain does not change: one token
            embedded = self.eo_patch_embed[name](x_BTC[:, steps, list(channels)])
            kind = self.channel_embed.weight[index].expand(B, embedded.shape[1], -1)
            when = (month, position)
            if name == "SRTM":
                when = (torch.zeros_like(month[:, :1]), torch.zeros_like(position[:, :1]))
            tokens.append(embedded + torch.cat([when[0], kind, when[1]], dim=-1))
            masks.append(mask_BTC[:, steps, list(channels)].amax(-1))
        kind = self.channel_embed.weight[len(GROUPS)].expand(B, T, -1)
        tokens.append(self.dw_embed(dynamic_world_BT) + torch.cat([month, kind, position], dim=-1))
        masks.append((dynamic_world_BT == NO_CLASS).to(x_BTC.dtype))
        x, hidden = torch.cat(tokens, dim=1), torch.cat(masks, dim=1) > 0
        counts = (~hidden).sum(1)
        if (counts != counts[0]).any():
            raise CheckpointError("the series of one batch keep different numbers of tokens", "presto")
        kept = hidden.to(torch.int8).sort(dim=1, stable=True).indices[:, : int(counts[0])]
        keep(taps, "tokens.kept_indices", kept)
        x = x.gather(1, kept[..., None].expand(-1, -1, x.shape[-1]))
        x = torch.cat([self.latlon_embed(cartesian(latlon_B2))[:, None], x], dim=1)
        keep(taps, "tokens.embed", x)
        for index, block in enumerate(self.blocks):
            x = block(x)
            keep(taps, f"block.{index:02d}", x)
        if taps is not None:
            keep(taps, "tokens.final", self.norm(x))
        out: Tensor = self.norm(x.mean(1))
        return out

    def forward_features(self, inputs: Mapping[str, Tensor]) -> Features:
        """Every pixel is a series of one step; the image's feature is the mean over its pixels.

        Args:
            inputs: `s1` (B, 2, H, W) VV, VH and `s2` (B, C, H, W), the card's bands, either or both, normalised.
                Optional `latlon` (B, 2) in degrees and `month` (B,) 0..11; without them 0, 0 and June.
        """
        some = next(inputs[sensor] for sensor in FIRST if sensor in inputs)
        B, _, H, W = some.shape
        x = some.new_zeros(B, NUM_CHANNELS, H, W)
        mask = torch.ones(NUM_CHANNELS, device=some.device)
        for sensor, first in FIRST.items():
            if sensor in inputs:
                channels = [first + place for place in self.channels[sensor]]
                x[:, channels] = inputs[sensor]
                mask[channels] = 0
        if not (mask[NIR] or mask[RED]):
            x[:, NDVI] = ndvi(x[:, NIR], x[:, RED])
            mask[NDVI] = 0
        series = x.permute(0, 2, 3, 1).reshape(-1, 1, NUM_CHANNELS)
        latlon = inputs.get("latlon", some.new_zeros(B, 2)).repeat_interleave(H * W, 0)
        june = torch.full((B,), JUNE, device=some.device)
        month = inputs.get("month", june).repeat_interleave(H * W, 0)
        parts = [
            self.run(
                one,
                mask.expand(len(one), 1, -1),
                dynamic_world_BT=torch.full((len(one), 1), NO_CLASS, device=some.device),
                latlon_B2=where,
                month_B=when,
            )
            for one, where, when in zip(*(torch.split(part, CHUNK) for part in (series, latlon, month)), strict=True)
        ]
        plane = torch.cat(parts).reshape(B, H, W, -1).permute(0, 3, 1, 2)
        return Features(plane.mean((2, 3)), (plane,))


def ndvi(nir: Tensor, red: Tensor) -> Tensor:
    """(nir - red) / (nir + red), 0 where both are 0."""
    total = nir + red
    return torch.where(total == 0, torch.zeros_like(total), (nir - red) / torch.where(total == 0, 1.0, total))


def cartesian(latlon_B2: Tensor) -> Tensor:
    """Degrees to a point on the unit sphere (B, 3)."""
    latitude, longitude = latlon_B2.deg2rad().unbind(-1)
    return torch.stack([latitude.cos() * longitude.cos(), latitude.cos() * longitude.sin(), latitude.sin()], dim=-1)
