"""The adapter: the one place where pixels of a store or of an image become the inputs of a network."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from seamo.data.batch import Batch
from seamo.data.crops import View, crop_stack, whole_view
from seamo.errors import ProtocolError
from seamo.inputs.normalise import apply_steps
from seamo.inputs.resize import resize, resize_true
from seamo.inputs.wiring import SensorWiring, Wiring
from seamo.manifest import LayerSpec
from seamo.resample import Kernel


class Adapter:
    """Batch -> {sensor: (B, C, H, W)} as a network expects it.

    Bands are selected by name, units converted, layers of several resolutions brought together and to the network's
    size as it says (`Expects.resize`), its steps applied, and pixels without a measurement set to its fill.

    Args:
        wiring: Which band of which layer feeds which channel: from `seamo.inputs.wiring.wire`.
    """

    def __init__(self, wiring: Wiring) -> None:
        self.wiring = wiring

    def __call__(self, batch: Batch, *, date: int | None = None) -> dict[str, Tensor]:
        """Inputs of the network: sensor -> (B, C, H, W) float32, on the batch's device.

        Args:
            batch: As the loader hands it out: the store's own numbers.
            date: Which date of every stack; None = the wiring's.

        Raises:
            ProtocolError: If the batch is of a store whose bands, units or fill are not those that were wired.
        """
        for sensor in self.wiring.sensors:
            for layer in sensor.layers:
                if sensor.slots(layer.id):
                    _check_layer(layer, batch)
        at = self.wiring.dates[0] if date is None else date
        return {sensor.input.sensor: self._sensor(sensor, batch, at) for sensor in self.wiring.sensors}

    def _sensor(self, sensor: SensorWiring, batch: Batch, date: int) -> Tensor:
        # NaN marks what was not measured until the very end: resizing and image statistics leave it out.
        size = self.wiring.size
        if size is not None and self.wiring.network.resize == "bicubic-native":
            images = _from_native(sensor, batch, date, size[0])
        else:
            images = self._assemble(sensor, batch, date)
            if size is not None:
                images = resize_true(images, batch.size, size)
        x = apply_steps(images, sensor.input.steps)
        made_up = [slot for slot, channel in enumerate(sensor.channels) if not channel.layer]
        if made_up and self.wiring.missing == "mean":
            there = [slot for slot, channel in enumerate(sensor.channels) if channel.layer]
            x[:, made_up] = x[:, there].mean(dim=1, keepdim=True)
        return x if math.isnan(sensor.input.fill) else torch.nan_to_num(x, nan=sensor.input.fill)

    def _assemble(self, sensor: SensorWiring, batch: Batch, date: int) -> Tensor:
        """The sensor's channels on the finest grid, units converted, NaN where nothing was measured."""
        used = [batch.layers[layer.id] for layer in sensor.layers if sensor.slots(layer.id)]
        grid = max((pixels.shape[-2], pixels.shape[-1]) for pixels in used)
        out = used[0].new_zeros((len(batch), len(sensor.channels), *grid), dtype=torch.float32)
        for layer in sensor.layers:
            slots = sensor.slots(layer.id)
            if not slots:
                continue
            pixels = measured(batch, layer, date)[:, [sensor.channels[slot].index for slot in slots]]
            kernel: Kernel = "nearest" if self.wiring.size is None else "bilinear"
            out[:, slots] = resize(_converted(pixels, sensor, slots), grid, kernel)
        return out


def _check_layer(wired: LayerSpec, batch: Batch) -> None:
    """Refuse a batch of another store, whose numbers would be taken for other bands or another unit."""
    have = next((layer for layer in batch.spec.layers if layer.id == wired.id), None)
    facts = [(one.bands, one.unit, str(one.fill_value)) for one in (wired, have) if one is not None]
    if len(facts) < 2 or facts[0] != facts[1]:
        what = f"layer {wired.id} is another one than in the store that this network was loaded for"
        raise ProtocolError(what, batch.spec.id, "Load it for this store: load_backbone(..., store=store).")


def measured(batch: Batch, layer: LayerSpec, date: int) -> Tensor:
    """One date of one layer as (B, C, H, W) float32, NaN where there is no measurement."""
    pixels = batch.layers[layer.id][:, date].to(torch.float32)
    fill = layer.fill_value
    if layer.is_float:  # the logarithm of 0 is no measurement, either
        pixels = pixels.masked_fill(~pixels.isfinite(), math.nan)
    if fill is not None and not math.isnan(fill):
        pixels = pixels.masked_fill(pixels == fill, math.nan)
    return pixels.masked_fill(~batch.valid[layer.id][:, date, None, None, None], math.nan)


def _converted(pixels: Tensor, sensor: SensorWiring, slots: Sequence[int]) -> Tensor:
    scale = pixels.new_tensor([sensor.channels[slot].scale for slot in slots])[:, None, None]
    offset = pixels.new_tensor([sensor.channels[slot].offset for slot in slots])[:, None, None]
    return pixels * scale + offset


def _from_native(sensor: SensorWiring, batch: Batch, date: int, side: int) -> Tensor:
    """The sensor's channels, each resized from its own grid at once, as pretraining crops whole images."""
    read = [layer for layer in sensor.layers if sensor.slots(layer.id)]
    first = batch.layers[read[0].id]
    out = torch.zeros(len(batch), len(sensor.channels), side, side, device=first.device)
    view = _true_view(batch, read, first.device)
    for layer in read:
        slots = sensor.slots(layer.id)
        # A band may feed several channels (its neighbours in wavelength): it is resized once.
        bands = list(dict.fromkeys(sensor.channels[slot].source for slot in slots))
        stored = {layer.id: batch.layers[layer.id][:, date : date + 1]}
        crop = crop_stack(stored, [layer], view, bands=bands, size=side, holes=batch.holes)
        pixels = crop.pixels if crop.valid is None else crop.pixels.masked_fill(~crop.valid, math.nan)
        pixels = pixels[:, 0].masked_fill(~batch.valid[layer.id][:, date, None, None, None], math.nan)
        places = [bands.index(sensor.channels[slot].source) for slot in slots]
        out[:, slots] = _converted(pixels[:, places], sensor, slots)
    return out


def _true_view(batch: Batch, read: Sequence[LayerSpec], device: torch.device) -> View:
    """Whole images, in their true extent: of those that vary in size, the padding is left out."""
    view = whole_view(len(batch), 1, device=device)
    if all(layer.size is not None for layer in read):
        return view
    padded = max((batch.layers[layer.id].shape[-2:] for layer in read if layer.size is None), key=tuple)
    box = view.box.clone()
    box[..., 2:] = (batch.size.to(device).double() / torch.tensor(padded, device=device))[:, None]
    return View(box, view.flip)
