"""Galileo's encoder: tokens of band groups over space and time, space, time, or neither; flexible patches.

Shape suffixes: B batch, T time steps, h/w patches, D width, c bands of a group.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seamo.errors import SampleError
from seamo_bench.card import BackboneCard
from seamo_bench.network import Features, Network
from seamo_bench.networks.presto import JUNE, cartesian
from seamo_bench.networks.variant import number, whole
from seamo_bench.networks.vit import Block, Taps, keep, level_blocks

# Band group -> channels of its array: (B, T, c, H, W), (B, c, H, W), (B, T, c) and (B, c).
SPACE_TIME: dict[str, tuple[int, ...]] = {
    "S1": (0, 1),
    "S2_RGB": (2, 3, 4),
    "S2_Red_Edge": (5, 6, 7),
    "S2_NIR_10m": (8,),
    "S2_NIR_20m": (9,),
    "S2_SWIR": (10, 11),
    "NDVI": (12,),
}
SPACE: dict[str, tuple[int, ...]] = {"SRTM": (0, 1), "DW": tuple(range(2, 11)), "WC": tuple(range(11, 16))}
TIME: dict[str, tuple[int, ...]] = {"ERA5": (0, 1), "TC": (2, 3, 4), "VIIRS": (5,)}
STATIC: dict[str, tuple[int, ...]] = {
    "LS": (0,),
    "location": (1, 2, 3),
    "DW_static": tuple(range(4, 13)),
    "WC_static": tuple(range(13, 18)),
}
S2_GROUPS = ("S2_RGB", "S2_Red_Edge", "S2_NIR_10m", "S2_NIR_20m", "S2_SWIR")
S2_BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")  # channels 2 to 11
BASE_GSD_M = 10.0


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of one batch and where they came from.

    Args:
        stream: Residual stream after every block, (B, N, D), tokens ordered space-time (h, w, T, group), space
            (h, w, group), time (T, group), static (group).
        grid: Patches (h, w).
        steps: Time steps.
        given: Groups that were given, of each of the four kinds.
    """

    stream: list[Tensor]
    grid: tuple[int, int]
    steps: int
    given: tuple[tuple[str, ...], ...]


class FlexiPatch(nn.Module):
    """Patch projection stored for one patch size and resized to any smaller one."""

    def __init__(self, chans: int, patch: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(chans, dim, patch, patch)

    def forward(self, x_BcHW: Tensor, patch: int) -> Tensor:
        """(B, c, H, W) -> (B, D, h, w)."""
        weight = self.proj.weight
        if patch != weight.shape[-1]:
            matrix = resize_inverse(weight.shape[-1], patch).to(weight)
            weight = (weight.flatten(2) @ matrix.T).reshape(*weight.shape[:2], patch, patch)
        return nn.functional.conv2d(x_BcHW, weight, self.proj.bias, stride=patch)


def resize_inverse(old: int, new: int) -> Tensor:
    """Pseudo-inverse (new^2, old^2) of bicubic resizing, as FlexiViT resizes patch kernels (arXiv 2212.08013)."""
    basis = torch.eye(old * old).reshape(-1, 1, old, old)
    resized = nn.functional.interpolate(basis, (new, new), mode="bicubic", antialias=True)
    inverse: Tensor = torch.linalg.pinv(resized.flatten(1))
    return inverse


class Galileo(Network):
    """Galileo (Tseng et al. 2025, arXiv 2502.09356), encoder only.

    Args:
        card: Its variant has the constructor numbers and `patch_size`, the side in pixels used for images.
    """

    def __init__(self, card: BackboneCard) -> None:
        super().__init__()
        dim, base = whole(card, "embedding_size"), whole(card, "max_patch_size")
        part = dim // 4
        self.patch_size = whole(card, "patch_size")
        self.pos_embed = nn.Parameter(torch.zeros(whole(card, "max_sequence_length"), part))
        self.s_t_channel_embed = nn.Parameter(torch.randn(len(SPACE_TIME), part) * 0.02)
        self.sp_channel_embed = nn.Parameter(torch.randn(len(SPACE), part) * 0.02)
        self.t_channel_embed = nn.Parameter(torch.randn(len(TIME), part) * 0.02)
        self.st_channel_embed = nn.Parameter(torch.randn(len(STATIC), part) * 0.02)
        self.blocks = nn.ModuleList(
            Block(dim, whole(card, "num_heads"), mlp_ratio=number(card, "mlp_ratio"), eps=1e-5, split=True)
            for _ in range(whole(card, "depth"))
        )
        self.month_embed = nn.Embedding(12, part)
        self.space_time_embed = nn.ModuleDict({k: FlexiPatch(len(v), base, dim) for k, v in SPACE_TIME.items()})
        self.space_embed = nn.ModuleDict({k: FlexiPatch(len(v), base, dim) for k, v in SPACE.items()})
        self.time_embed = nn.ModuleDict({k: nn.Linear(len(v), dim) for k, v in TIME.items()})
        self.static_embed = nn.ModuleDict({k: nn.Linear(len(v), dim) for k, v in STATIC.items()})
        self.norm = nn.LayerNorm(dim)
        fed = next((one.bands for one in card.inputs if one.sensor == "s2"), ())
        self.s2_groups = {  # those that are fed whole: group -> channels of the image
            name: [fed.index(S2_BANDS[channel - 2]) for channel in SPACE_TIME[name]]
            for name in S2_GROUPS
            if all(S2_BANDS[channel - 2] in fed for channel in SPACE_TIME[name])
        }

    def run(
        self,
        groups: Mapping[str, Tensor],
        months_BT: Tensor,
        *,
        patch: int,
        gsd_m: float = BASE_GSD_M,
        taps: Taps = None,
    ) -> Tokens:
        """Encode the band groups that are given.

        Args:
            groups: Group name -> normalised values; at least one over space and time.
            months_BT: Month (0..11) of every step.
            patch: Patch side in pixels.
            gsd_m: Ground sampling distance in metres; patches further apart on the ground get other positions.
            taps: See `vit.keep`.

        Raises:
            SampleError: If the image is not a whole number of patches.
        """
        some = next(groups[name] for name in SPACE_TIME if name in groups)
        (B, T), (H, W) = some.shape[:2], some.shape[-2:]
        if H % patch or W % patch:
            raise SampleError(f"an image of {H} x {W} pixels is not whole patches of {patch}", fix="Resize or crop it.")
        h, w = H // patch, W // patch
        given = tuple(tuple(name for name in kind if name in groups) for kind in (SPACE_TIME, SPACE, TIME, STATIC))
        place = spatial_table((h, w), self.pos_embed.shape[1], gsd_m * patch / BASE_GSD_M).to(some)
        zero = some.new_zeros(self.pos_embed.shape[1])
        month, step = self.month_embed(months_BT), self.pos_embed[:T]

        def coded(tokens: Tensor, *parts: Tensor) -> Tensor:
            shape = tokens.shape[:-1]
            return tokens + torch.cat([part.expand(*shape, -1) for part in parts], dim=-1)

        def stacked(names: tuple[str, ...], tokens: list[Tensor]) -> list[Tensor]:
            return [torch.stack(tokens, dim=-2).flatten(1, -2)] if names else []

        space_time = []
        for name in given[0]:
            plane = self.space_time_embed[name](groups[name].flatten(0, 1), patch)
            tokens = plane.unflatten(0, (B, T)).permute(0, 3, 4, 1, 2)  # B h w T D
            kind = self.s_t_channel_embed[list(SPACE_TIME).index(name)]
            space_time.append(coded(tokens, kind, step, month[:, None, None], place[:, :, None]))
        space = []
        for name in given[1]:
            tokens = self.space_embed[name](groups[name], patch).permute(0, 2, 3, 1)
            kind = self.sp_channel_embed[list(SPACE).index(name)]
            space.append(coded(tokens, kind, zero, zero, place))
        time = []
        for name in given[2]:
            kind = self.t_channel_embed[list(TIME).index(name)]
            time.append(coded(self.time_embed[name](groups[name]), kind, step, month, zero))
        static = []
        for name in given[3]:
            kind = self.st_channel_embed[list(STATIC).index(name)]
            static.append(coded(self.static_embed[name](groups[name]), kind, zero, zero, zero))
        kinds = zip(given, (space_time, space, time, static), strict=True)
        x = torch.cat([part for names, tokens in kinds for part in stacked(names, tokens)], dim=1)
        keep(taps, "tokens.embed", x)
        stream = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            keep(taps, f"block.{index:02d}", x)
            stream.append(x)
        return Tokens(stream, (h, w), T, given)

    def per_patch(self, tokens: Tokens, x_BND: Tensor) -> Tensor:
        """Mean over everything that is known about a patch (B, h*w, D); tokens without a place count for each."""
        B, _, D = x_BND.shape
        area = tokens.grid[0] * tokens.grid[1]
        over_time = area * tokens.steps * len(tokens.given[0])
        over_space = over_time + area * len(tokens.given[1])
        parts = [
            x_BND[:, :over_time].reshape(B, area, -1, D),
            x_BND[:, over_time:over_space].reshape(B, area, len(tokens.given[1]), D),
            x_BND[:, None, over_space:].expand(-1, area, -1, -1),
        ]
        return torch.cat(parts, dim=2).mean(2)

    def forward_features(self, inputs: Mapping[str, Tensor]) -> Features:
        """Mean token and maps of four blocks.

        Args:
            inputs: `s1` (B, 2, H, W) VV, VH and `s2` (B, C, H, W), the card's bands, either or both, normalised.
                Optional `latlon` (B, 2) in degrees and `month` (B,) 0..11; without them no place, and June.
        """
        groups: dict[str, Tensor] = {}
        if "s1" in inputs:
            groups["S1"] = inputs["s1"][:, None]
        if "s2" in inputs:
            for name, channels in self.s2_groups.items():
                groups[name] = inputs["s2"][:, None, channels]
        if "latlon" in inputs:
            groups["location"] = cartesian(inputs["latlon"])
        some = next(iter(groups.values()))
        june = torch.full((len(some),), JUNE, device=some.device)
        tokens = self.run(groups, inputs.get("month", june)[:, None], patch=self.patch_size)
        maps = []
        for index in level_blocks(len(tokens.stream)):
            plane = self.per_patch(tokens, self.norm(tokens.stream[index])).transpose(1, 2)
            maps.append(plane.reshape(len(some), -1, *tokens.grid))
        return Features(self.norm(tokens.stream[-1]).mean(1), tuple(maps))


def spatial_table(grid: tuple[int, int], width: int, resolution: float) -> Tensor:
    """2-D sine-cosine positions (h, w, width), half for columns and half for rows, scaled by ground resolution."""

    def axis(count: int) -> Tensor:
        quarter = width // 4
        # The exponent runs to 1/4 only (k / width), not to 1: so are the published weights trained.
        frequency = 1.0 / 10000 ** (torch.arange(quarter, dtype=torch.float32) / width)
        angles = torch.arange(count, dtype=torch.float32)[:, None] * resolution * frequency
        return torch.cat([angles.sin(), angles.cos()], dim=1)

    h, w = grid
    columns = axis(w)[None].expand(h, -1, -1)
    rows = axis(h)[:, None].expand(-1, w, -1)
    return torch.cat([columns, rows], dim=-1)
