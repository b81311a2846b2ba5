"""SeaMo's encoder as a backbone: tokenizers, encoder, final norm; fusion and decoders are dropped."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from seamo.errors import UsageError
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
        tiled: Cut images into tiles of the model's own size, and look at each by itself.
        spread: Pool by mean and standard deviation.
    """

    def __init__(
        self,
        model: SeaMo,
        bands: Mapping[str, Sequence[str]],
        *,
        num_levels: int,
        new: Sequence[str] = (),
        tiled: bool = False,
        spread: bool = False,
    ) -> None:
        super().__init__()
        self.fresh = tuple(name for one in new for name in (f"model.tokenizers.{one}.", f"model.modality.{one}"))
        if {sensor: tuple(names) for sensor, names in bands.items()} != dict(model.config.bands):
            model = select_columns(model, bands)
        self.model = encoder_only(model)
        self.sensors = tuple(bands)
        self.tiled, self.spread = tiled, spread
        depth = model.config.depth
        self.blocks = tuple(round((k + 1) * depth / num_levels) - 1 for k in range(num_levels))

    def forward_features(self, inputs: Mapping[str, Tensor]) -> Features:
        """All tokens after the final norm, pooled, and maps after evenly spaced blocks (the last one included)."""
        images = {sensor: inputs[sensor] for sensor in self.sensors}
        size, patch = self.model.config.size, self.model.config.patch
        batch, _, *sides = images[self.sensors[0]].shape
        down, right = (side // size if self.tiled else 1 for side in sides)
        if self.tiled:
            images = {sensor: _cut(pixels, size) for sensor, pixels in images.items()}
        levels = self.model.encode_levels(images, self.blocks)
        height, width = (side // patch for side in images[self.sensors[0]].shape[-2:])
        maps = tuple(
            level.view(batch, down, right, len(images), height, width, -1)
            .mean(dim=3)
            .permute(0, 5, 1, 3, 2, 4)
            .reshape(batch, -1, down * height, right * width)
            for level in levels
        )
        tokens = self.model.encoder.norm(levels[-1])
        tokens = tokens.view(batch, -1, tokens.shape[-1])
        pooled = [tokens.mean(dim=1)]
        if self.spread:
            pooled.append(tokens.std(dim=1, correction=0))
        return Features(torch.cat(pooled, dim=1) if self.spread else pooled[0], maps)


def _cut(pixels: Tensor, size: int) -> Tensor:
    """(B, C, H, W) -> (B * tiles, C, size, size), the tiles of an image row by row."""
    batch, bands, height, width = pixels.shape
    if height % size or width % size or not height or not width:
        raise UsageError(
            f"images of {height} x {width} pixels are not made of tiles of {size}", fix="Leave `tiles` behind @ out."
        )
    cut = pixels.view(batch, bands, height // size, size, width // size, size).permute(0, 2, 4, 1, 3, 5)
    return cut.reshape(-1, bands, size, size)
