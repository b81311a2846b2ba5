"""CROMA's three encoders: radar, optical, and one that crosses them. Shape suffixes as in `vit`."""

from collections.abc import Mapping

from torch import Tensor, nn

from seamo.errors import SampleError
from seamo_bench.card import BackboneCard
from seamo_bench.network import Features, Network
from seamo_bench.networks.bare import BareTransformer, alibi, patches_of
from seamo_bench.networks.variant import whole, word
from seamo_bench.networks.vit import Taps, keep, level_blocks, to_map


class SensorEncoder(nn.Module):
    """Linear patch projection and a transformer."""

    def __init__(self, chans: int, patch: int, transformer: BareTransformer, dim: int) -> None:
        super().__init__()
        self.linear_input = nn.Linear(chans * patch * patch, dim)
        self.transformer = transformer


class CROMA(Network):
    """Radar encoder, optical encoder and joint encoder with 2-D ALiBi; which of them run depends on what is given.

    Args:
        card: Its variant has the constructor numbers and `branches`: `s1`, `s2` or `joint` (all three encoders).
    """

    def __init__(self, card: BackboneCard) -> None:
        super().__init__()
        dim, heads, mult = whole(card, "encoder_dim"), whole(card, "num_heads"), whole(card, "ff_mult")
        self.patch, self.heads, self.branches = whole(card, "patch_size"), heads, word(card, "branches")
        chans = {"s1": whole(card, "s1_channels"), "s2": whole(card, "s2_channels")}
        if card.missing == "new-tokenizer":
            chans |= {_branch(one.sensor): len(one.bands) for one in card.inputs}
        depth = {"s1": whole(card, "s1_depth"), "s2": whole(card, "encoder_depth")}
        for sensor in chans if self.branches == "joint" else (self.branches,):
            transformer = BareTransformer(dim, depth=depth[sensor], heads=heads, ff_mult=mult)
            self.add_module(f"{sensor}_encoder", SensorEncoder(chans[sensor], self.patch, transformer, dim))
            head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, mult * dim), nn.GELU(), nn.Linear(mult * dim, dim))
            self.add_module(f"{sensor}_GAP_FFN", head)
        if self.branches == "joint":
            self.joint_encoder = BareTransformer(
                dim, depth=whole(card, "joint_depth"), heads=heads, ff_mult=mult, cross=True
            )

    def encode(self, sensor: str, x_BCHW: Tensor, taps: Taps = None) -> tuple[list[Tensor], Tensor, tuple[int, int]]:
        """One sensor: its stream after `norm_out`, its pooled feature, its grid."""
        encoder = self.get_submodule(f"{sensor}_encoder")
        assert isinstance(encoder, SensorEncoder)  # noqa: S101 (narrows the type)
        flat, grid = patches_of(x_BCHW, self.patch)
        tokens = encoder.linear_input(flat)
        keep(taps, f"{sensor}.tokens.embed", tokens)
        bias = alibi(grid, self.heads, tokens.device)
        stream = encoder.transformer.run(tokens, bias=bias, taps=taps, name=f"{sensor}.")
        normed = [encoder.transformer.norm_out(x) for x in stream]
        pooled = self.get_submodule(f"{sensor}_GAP_FFN")(normed[-1].mean(1))
        keep(taps, f"{sensor}.pooled", pooled)
        return normed, pooled, grid

    def run(self, inputs: Mapping[str, Tensor], taps: Taps = None) -> tuple[list[Tensor], Tensor, tuple[int, int]]:
        """The deepest encoder that the given sensors allow: normed stream, pooled feature, grid.

        Raises:
            SampleError: If the two sensors' images differ in size.
        """
        if set(inputs) != {"s1", "s2"}:
            ((sensor, x),) = inputs.items()
            return self.encode(sensor, x, taps)
        s1, _, grid = self.encode("s1", inputs["s1"], taps)
        s2, _, other = self.encode("s2", inputs["s2"], taps)
        if grid != other:
            raise SampleError(f"radar has {grid} patches, optical {other}", fix="Resize both to one size.")
        bias = alibi(grid, self.heads, s1[-1].device)
        stream = self.joint_encoder.run(s1[-1], context=s2[-1], bias=bias, taps=taps, name="joint.")
        normed = [self.joint_encoder.norm_out(x) for x in stream]
        pooled = normed[-1].mean(1)
        keep(taps, "joint.pooled", pooled)
        return normed, pooled, grid

    def forward_features(self, inputs: Mapping[str, Tensor]) -> Features:
        """Pooled feature and four maps of the deepest encoder that runs."""
        normed, pooled, grid = self.run({_branch(sensor): x for sensor, x in inputs.items()})
        return Features(pooled, tuple(to_map(normed[index], grid) for index in level_blocks(len(normed))))


def _branch(sensor: str) -> str:
    """The encoder of a sensor: one that CROMA does not know, with a new projection, goes through the optical one."""
    return sensor if sensor == "s1" else "s2"
