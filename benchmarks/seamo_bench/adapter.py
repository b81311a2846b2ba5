"""The adapter: the one place where pixels of a store become normalised inputs of a network."""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from seamo.data.batch import Batch
from seamo.errors import ProtocolError
from seamo.manifest import DatasetSpec, LayerSpec, Statistics
from seamo.resample import Kernel, resize_matrix
from seamo_bench.card import BackboneCard, MissingPolicy
from seamo_bench.facts import AdapterFacts
from seamo_bench.normalise import apply_steps
from seamo_bench.wiring import SensorWiring, Wiring, wire

RAW_MEAN, RAW_STD, FLAT_STD = 3.0, 10.0, 0.1  # outside: not normalised, not normalised, compressed


class Adapter:
    """Batch -> {sensor: (B, C, H, W)} as a card wants it.

    Bands are selected by name, units converted, layers of several resolutions brought to the finest grid, the
    image resized to the network's size, the card's steps applied, and pixels without a measurement set to the
    card's fill. `describe()` says all of it.

    Args:
        card: The backbone.
        spec: The store's data set.
        missing, size, statistics, date, stacks, inputs: See `seamo_bench.wiring.wire`.
    """

    def __init__(
        self,
        card: BackboneCard,
        spec: DatasetSpec,
        *,
        missing: MissingPolicy | None = None,
        size: int | None = None,
        statistics: Mapping[str, Statistics] | None = None,
        date: int = 0,
        stacks: Mapping[str, str] | None = None,
        inputs: Sequence[str] = (),
    ) -> None:
        self.wiring: Wiring = wire(
            card, spec, statistics=statistics, missing=missing, size=size, date=date, stacks=stacks, inputs=inputs
        )

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """Inputs of the network: sensor -> (B, C, H, W) float32, on the batch's device."""
        return {one.input.sensor: self._sensor(one, batch) for one in self.wiring.sensors}

    def describe(self) -> AdapterFacts:
        """What a record says about the way from the store to the network."""
        return self.wiring.facts()

    def _sensor(self, one: SensorWiring, batch: Batch) -> Tensor:
        # NaN marks what was not measured until the very end: resizing and image statistics leave it out.
        images = self._assemble(one, batch)
        if self.wiring.size is not None:
            images = _resize_true(images, batch.size, self.wiring.size)
        x = apply_steps(images, one.input.steps)
        made_up = [slot for slot, channel in enumerate(one.channels) if not channel.layer]
        if made_up and self.wiring.missing == "mean":
            there = [slot for slot, channel in enumerate(one.channels) if channel.layer]
            x[:, made_up] = x[:, there].mean(dim=1, keepdim=True)
        return x if math.isnan(one.input.fill) else torch.nan_to_num(x, nan=one.input.fill)

    def _assemble(self, one: SensorWiring, batch: Batch) -> Tensor:
        """The sensor's channels on the finest grid, units converted, NaN where nothing was measured."""
        used = [batch.layers[layer.id] for layer in one.layers if any(c.layer == layer.id for c in one.channels)]
        grid = max((pixels.shape[-2], pixels.shape[-1]) for pixels in used)
        out = used[0].new_zeros((len(batch), len(one.channels), *grid), dtype=torch.float32)
        for layer in one.layers:
            slots = [slot for slot, channel in enumerate(one.channels) if channel.layer == layer.id]
            if not slots:
                continue
            pixels = measured(batch, layer, self.wiring.dates[0])[:, [one.channels[slot].index for slot in slots]]
            kernel: Kernel = "nearest" if self.wiring.size is None else "bilinear"
            scale = pixels.new_tensor([one.channels[slot].scale for slot in slots])[:, None, None]
            offset = pixels.new_tensor([one.channels[slot].offset for slot in slots])[:, None, None]
            out[:, slots] = resize(pixels * scale + offset, grid, kernel)
        return out


def measured(batch: Batch, layer: LayerSpec, date: int) -> Tensor:
    """One date of one layer as (B, C, H, W) float32, NaN where there is no measurement."""
    pixels = batch.layers[layer.id][:, date].to(torch.float32)
    fill = layer.fill_value
    if fill is not None and not math.isnan(fill):
        pixels = pixels.masked_fill(pixels == fill, math.nan)
    return pixels.masked_fill(~batch.valid[layer.id][:, date, None, None, None], math.nan)


def resize(x: Tensor, size: tuple[int, int], kernel: Kernel = "bilinear") -> Tensor:
    """`seamo.resample.resize` (antialiased) in torch: NaN is no measurement and does not spread.

    Args:
        x: (..., H, W) float32.
        size: (h, w) of the result.
        kernel: See `seamo.resample.resize_matrix`.
    """
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    down, across = (_matrix(n, m, kernel).to(x.device) for n, m in zip(x.shape[-2:], size, strict=True))
    there = ~x.isnan()
    total = down @ torch.nan_to_num(x, nan=0.0) @ across.T
    if bool(there.all()):
        return total
    # A pixel counts where at least half of its weight was measured (kernels without negative lobes only).
    share = down @ there.to(x.dtype) @ across.T
    return torch.where(share >= 0.5, total / share.clamp(min=0.5), math.nan)


@lru_cache(maxsize=64)
def _matrix(src: int, dst: int, kernel: Kernel) -> Tensor:
    return torch.from_numpy(resize_matrix(src, dst, kernel=kernel)).to(torch.float32)


def _resize_true(images: Tensor, true_size: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize the true part of every image: what a size bucket pads is not part of it."""
    grid = images.shape[-2:]
    sizes = [(int(h), int(w)) for h, w in true_size.tolist()]
    if all(one == tuple(grid) for one in sizes):
        return resize(images, size)
    parts = [resize(image[:, :h, :w], size) for image, (h, w) in zip(images, sizes, strict=True)]
    return torch.stack(parts)


def check_range(inputs: Mapping[str, Tensor], wiring: Wiring) -> list[str]:
    """Look at a first batch after normalisation: numbers that no network was trained on are found here.

    Cards without steps (raw values on purpose) are not checked.

    Returns:
        What a reader should know: a sensor whose values hardly vary.

    Raises:
        ProtocolError: If a sensor's values are not normalised (abs(mean) >= 3 or std >= 10), all equal, or none.
    """
    notes = []
    for one in wiring.sensors:
        if not one.input.steps:
            continue
        values = inputs[one.input.sensor].double()
        values = values[values.isfinite()]
        where = f"{wiring.card.id}: {one.input.sensor}"
        if values.numel() == 0:
            raise ProtocolError("the first batch holds no measurement", where)
        mean, std = float(values.mean()), float(values.std(correction=0))
        if abs(mean) >= RAW_MEAN or std >= RAW_STD or std == 0.0:
            raise ProtocolError(
                f"after normalisation the first batch has mean {mean:.3g} and std {std:.3g}",
                where,
                "Look at `seamo-bench explain`: unit, product or statistics do not fit this store.",
            )
        if std <= FLAT_STD:
            notes.append(f"{one.input.sensor} values hardly vary after normalisation (std {std:.3g})")
    return notes
