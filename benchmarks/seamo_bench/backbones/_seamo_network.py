"""SeaMo's encoder as a backbone: tokenizers, encoder, final norm; fusion and decoders are dropped."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from seamo.model.seamo import SeaMo
from seamo_bench.network import Features, Network


class SeaMoNetwork(Network):
    """The encoder of a SeaMo model.

    Args:
        model: Decoders and fusion are taken off it.
        kept: Sensor -> positions of the bands that will be fed; the tokenizer loses the other columns.
        num_levels: Dense levels, at evenly spaced blocks; the sensors' maps of one level are averaged.
    """

    def __init__(self, model: SeaMo, kept: Mapping[str, Sequence[int]], *, num_levels: int) -> None:
        super().__init__()
        model.fusion = None
        model.decoders = nn.ModuleDict()
        patch = model.config.patch
        bands = dict(model.config.bands)
        for sensor in list(model.tokenizers):
            if sensor not in kept:
                del model.tokenizers[sensor]
                continue
            columns = list(kept[sensor])
            if columns != list(range(len(bands[sensor]))):
                _cut(model.tokenizers[sensor], columns, patch)
                bands[sensor] = tuple(bands[sensor][position] for position in columns)
        self.model = model
        self.sensors = tuple(kept)
        depth = model.config.depth
        self.blocks = tuple(round((k + 1) * depth / num_levels) - 1 for k in range(num_levels))

    def forward_features(self, inputs: Mapping[str, Tensor]) -> Features:
        """Mean of all tokens after the final norm, and maps after evenly spaced blocks."""
        images = {sensor: inputs[sensor] for sensor in self.sensors}
        height, width = (side // self.model.config.patch for side in next(iter(images.values())).shape[-2:])
        tokens = self.model.encode(images)
        return Features(tokens.mean(dim=1), ())

    def levels(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Dense maps (B, D, h, w)."""
        raise NotImplementedError


def _cut(tokenizer: nn.Module, columns: list[int], patch: int) -> None:
    weight = tokenizer.weight
    assert isinstance(weight, Tensor)
    cube = weight.detach().view(weight.shape[0], -1, patch * patch)[:, columns]
    tokenizer.weight = nn.Parameter(cube.reshape(weight.shape[0], -1).clone())
    tokenizer.in_features = len(columns) * patch * patch
