"""SeaMo's encoder as a backbone: tokenizers, encoder, final norm; fusion and decoders are dropped."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor, nn

from seamo.model.seamo import SeaMo
from seamo_bench.network import Features, Network


class SeaMoNetwork(Network):
    """The encoder of a SeaMo model.

    Args:
        model: Taken over: decoders, fusion and the tokenizers of sensors that are not fed are taken off it.
        kept: Sensor -> positions of the bands that will be fed; its tokenizer loses the other columns.
        num_levels: Dense levels, at evenly spaced blocks; the sensors' maps of one level are averaged.
        new: Sensors whose tokenizer is new and untrained.
    """

    def __init__(
        self, model: SeaMo, kept: Mapping[str, Sequence[int]], *, num_levels: int, new: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self.fresh = tuple(name for one in new for name in (f"model.tokenizers.{one}.", f"model.modality.{one}"))
        config = model.config
        model.fusion = None
        model.decoders = nn.ModuleDict()
        model.tokenizers = nn.ModuleDict(
            {sensor: model.tokenizers[sensor] for sensor in config.sensors if sensor in kept}
        )
        bands = dict(config.bands)
        for sensor, columns in kept.items():
            if list(columns) != list(range(len(bands[sensor]))):
                _cut(model.tokenizers[sensor], columns, config.patch)
                bands[sensor] = tuple(bands[sensor][position] for position in columns)
        model.config = replace(config, bands=bands)
        self.model = model
        self.sensors = tuple(kept)
        self.blocks = tuple(round((k + 1) * config.depth / num_levels) - 1 for k in range(num_levels))

    def forward_features(self, inputs: Mapping[str, Tensor]) -> Features:
        """Mean of all tokens after the final norm, and maps after evenly spaced blocks (the last one included)."""
        images = {sensor: inputs[sensor] for sensor in self.sensors}
        levels = self.model.encode_levels(images, self.blocks)
        patch = self.model.config.patch
        height, width = (side // patch for side in images[self.sensors[0]].shape[-2:])
        maps = tuple(
            level.view(len(level), len(images), height, width, -1).mean(dim=1).permute(0, 3, 1, 2) for level in levels
        )
        return Features(self.model.encoder.norm(levels[-1]).mean(dim=1), maps)


def _cut(tokenizer: nn.Module, columns: Sequence[int], patch: int) -> None:
    """Leave only some bands' columns in a linear patch embedding, whose values run band, row, column."""
    if not isinstance(tokenizer, nn.Linear):
        raise TypeError("SeaMo's tokenizers are linear layers")
    weight = tokenizer.weight.detach()
    cube = weight.view(len(weight), -1, patch * patch)
    tokenizer.weight = nn.Parameter(cube[:, list(columns)].flatten(1).clone())
    tokenizer.in_features = len(columns) * patch * patch
