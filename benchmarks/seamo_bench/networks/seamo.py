"""SeaMo's encoder as a backbone: tokenizers, encoder, final norm; fusion and decoders are dropped."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from seamo.model.checkpoint import encoder_only
from seamo.model.seamo import SeaMo
from seamo.use.bands import select_columns
from seamo_bench.network import Features, Network


class SeaMoNetwork(Network):
    """The encoder of a SeaMo model.

    Args:
        model: Taken over: its decoders and TM block are taken off it.
        bands: Sensor -> bands that will be fed; columns of others leave the tokenizer.
        num_levels: Dense levels, at evenly spaced blocks; the sensors' maps of one level are averaged.
        new: Sensors whose tokenizer is new and untrained.
    """

    def __init__(
        self, model: SeaMo, bands: Mapping[str, Sequence[str]], *, num_levels: int, new: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self.fresh = tuple(name for one in new for name in (f"model.tokenizers.{one}.", f"model.modality.{one}"))
        if {sensor: tuple(names) for sensor, names in bands.items()} != dict(model.config.bands):
            model = select_columns(model, bands)
        self.model = encoder_only(model)
        self.sensors = tuple(bands)
        depth = model.config.depth
        self.blocks = tuple(round((k + 1) * depth / num_levels) - 1 for k in range(num_levels))

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
