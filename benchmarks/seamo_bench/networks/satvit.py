"""SatViT's encoder: flattened patches, a stored position table, CROMA's layers without ALiBi."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from seamo.bands import S1, S2_L2A
from seamo_bench.card import BackboneCard
from seamo_bench.network import Features, Network
from seamo_bench.networks.bare import BareTransformer, patches_of
from seamo_bench.networks.variant import whole
from seamo_bench.networks.vit import Taps, keep, level_blocks, resize_table, to_map

FIRST = {"s2": 0, "s1": 12}  # channel at which a sensor begins


class SatViT(Network):
    """ViT over 15 stacked channels (12 optical, 3 radar).

    Args:
        card: Its variant has the constructor numbers.
    """

    def __init__(self, card: BackboneCard) -> None:
        super().__init__()
        dim = whole(card, "encoder_dim")
        self.patch, self.chans = whole(card, "patch_size"), whole(card, "in_chans")
        known = {"s2": S2_L2A, "s1": S1}
        self.slots = {
            one.sensor: [FIRST[one.sensor] + known[one.sensor].index(name) for name in one.bands]
            for one in card.inputs
            if one.sensor in known and set(one.bands) <= set(known[one.sensor])
        }
        if card.missing == "new-tokenizer" and any(known.get(one.sensor) != one.bands for one in card.inputs):
            names = [(one.sensor, name) for one in card.inputs for name in one.bands]
            self.chans = len(names)
            self.slots = {
                one.sensor: [k for k, (own, _) in enumerate(names) if own == one.sensor] for one in card.inputs
            }
        self.linear_input = nn.Linear(self.chans * self.patch * self.patch, dim)
        self.pos_embed = nn.Parameter(torch.randn(1, whole(card, "num_patches"), dim) * 0.02)
        self.encoder = BareTransformer(dim, depth=whole(card, "encoder_depth"), heads=whole(card, "encoder_num_heads"))

    def run(self, x_BCHW: Tensor, taps: Taps = None) -> tuple[list[Tensor], tuple[int, int]]:
        """Residual stream after `norm_out`, and the grid.

        Raises:
            SampleError: If the image does not give the stored number of patches.
        """
        flat, grid = patches_of(x_BCHW, self.patch)
        tokens = self.linear_input(flat) + resize_table(self.pos_embed, grid, "none")
        keep(taps, "tokens.embed", tokens)
        stream = self.encoder.run(tokens, taps=taps, name="")
        return [self.encoder.norm_out(x) for x in stream], grid

    def forward_features(self, inputs: Mapping[str, Tensor]) -> Features:
        """Mean token and four maps. Channels that are not given (an absent sensor or band, descending VV) are zero."""
        some = next(iter(inputs.values()))
        B, _, H, W = some.shape
        x = some.new_zeros(B, self.chans, H, W)
        for sensor, image in inputs.items():
            x[:, self.slots[sensor]] = image
        normed, grid = self.run(x)
        maps = tuple(to_map(normed[index], grid) for index in level_blocks(len(normed)))
        return Features(normed[-1].mean(1), maps)
