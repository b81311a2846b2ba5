"""The group-channel ViT of SatMAE: one token a patch and band group, with the names of its files.

Shape suffixes as in `vit`, G band groups.
"""

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from seamo_bench.card import BackboneCard
from seamo_bench.network import Features
from seamo_bench.networks.variant import groups, number, whole
from seamo_bench.networks.vit import PatchEmbed, Taps, ViT, keep, level_blocks, resize_table, to_map

BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")  # channels 0 to 9


class GroupViT(ViT):
    """ViT whose tokens are patches of band groups; the group has its own part of the position embedding.

    Args:
        card: Its inputs hold the bands that are fed.
        channel_groups: Channels of each group.
        channel_embed: Width of the group's part; the spatial part has the rest.
    """

    def __init__(self, card: BackboneCard, *, channel_groups: Sequence[Sequence[int]], channel_embed: int) -> None:
        fed = [BANDS.index(name) for name in card.inputs[0].bands]
        self.channel_groups = [list(group) for group in channel_groups]
        # Of every group the channels that are fed: (column of its projection, channel of the image).
        self.fed = [
            [(column, fed.index(channel)) for column, channel in enumerate(group) if channel in fed]
            for group in self.channel_groups
        ]
        self.group_width = channel_embed
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
        """One projection a group; spatial, group and class-group tables."""
        side = img_size // self.patch_size
        self.patch_embed: nn.ModuleList = nn.ModuleList(
            PatchEmbed(self.patch_size, len(group), embed_dim) for group in self.channel_groups
        )
        self.pos_embed = nn.Parameter(torch.randn(1, 1 + side * side, embed_dim - self.group_width) * 0.02)
        self.channel_embed = nn.Parameter(torch.randn(1, len(self.channel_groups), self.group_width) * 0.02)
        self.channel_cls_embed = nn.Parameter(torch.zeros(1, 1, self.group_width))

    def embed(self, x_BCHW: Tensor, taps: Taps = None) -> Tensor:
        """Class token, then the patches of every group that is fed, each row-major."""
        assert self.cls_token is not None  # noqa: S101 (narrows the type; this trunk always has one)
        B = len(x_BCHW)
        spatial = resize_table(self.pos_embed[:, 1:], self.grid(x_BCHW), self.pos_interp)
        keep(taps, "pos_embed.used", torch.cat([self.pos_embed[:, :1], spatial], dim=1))
        first = self.cls_token + torch.cat([self.pos_embed[:, :1], self.channel_cls_embed], dim=-1)
        tokens = [first.expand(B, -1, -1)]
        for index, (fed, project) in enumerate(zip(self.fed, self.patch_embed, strict=True)):
            if not fed:
                continue
            kind = self.channel_embed[:, index : index + 1].expand(-1, spatial.shape[1], -1)
            columns, channels = zip(*fed, strict=True)
            own = cast(PatchEmbed, project).proj
            kernel = own.weight[:, list(columns)]
            maps = nn.functional.conv2d(x_BCHW[:, list(channels)], kernel, own.bias, stride=self.patch_size)
            patches = maps.flatten(2).transpose(1, 2)
            tokens.append(patches + torch.cat([spatial, kind], dim=-1))
        return torch.cat(tokens, dim=1)

    def mean_token(self, stream: Sequence[Tensor]) -> Tensor:
        """Mean of every token but the class token, before any norm."""
        return stream[-1][:, 1:].mean(1)

    def forward_features(self, inputs: Mapping[str, Tensor]) -> Features:
        """Mean token through `fc_norm`; maps are the mean over the band groups."""
        x = self.stack(inputs)
        grid = self.grid(x)
        stream = self.run(x)
        maps = []
        for index in level_blocks(len(stream)):
            tokens = self.norm(stream[index])[:, 1:]
            per_group = tokens.reshape(len(x), sum(map(bool, self.fed)), grid[0] * grid[1], -1)
            maps.append(to_map(per_group.mean(1), grid))
        return Features(self.fc_norm(self.mean_token(stream)), tuple(maps))


def group_vit(card: BackboneCard) -> GroupViT:
    """The group-channel ViT that a card describes."""
    return GroupViT(card, channel_groups=groups(card, "channel_groups"), channel_embed=whole(card, "channel_embed"))
