"""`backbone(module, ...)`: a network of one's own as a value that `evaluate` takes; nothing is registered."""

import copy
import math
import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from seamo.bands import SENSORS, Unit
from seamo.errors import ProtocolError, SeamoError, UsageError
from seamo.inputs.spec import InputSpec, MissingPolicy, Step
from seamo_bench.card import BackboneCard
from seamo_bench.network import Backbone, Features, Network

_PROBE = 64  # side of the image that shows what a network of no size gives


def backbone(
    module: nn.Module,
    *,
    bands: Sequence[str],
    mean: Sequence[float],
    std: Sequence[float],
    unit: Unit | str,
    sensor: str = "s2",
    size: int = 0,
    multiple_of: int = 1,
    missing: MissingPolicy = "fail",
    name: str = "",
) -> Backbone:
    """A module as a backbone: bands by name, normalised as (x - mean) / std, its output as features.

    The module is called with (B, C, H, W) and may return a vector (B, D); a map (B, C, h, w), which is averaged over
    space; several maps, shallow to deep, of which the last is averaged; or `seamo_bench.network.Features`. Probes take
    the vector, dense protocols the maps. Fine-tuning trains a copy; the module itself stays as it is.

    Args:
        module: Any torch module, its weights loaded.
        bands: Its channels in order, by the names of `seamo.bands` (`B04`, `VV`).
        mean: One number a band, in `unit`.
        std: The same.
        unit: Unit of the numbers before they are normalised (`dn`, `reflectance`, `db`, ...): the store's are
            converted.
        sensor: `s2`, `s1`, `rgb`, ...
        size: Side of the images that it takes, to which they are resized; 0 = as the store has them.
        multiple_of: What the side must be a multiple of.
        missing: What to do for bands that a store lacks.
        name: In messages and tables; empty = the module's class.

    Raises:
        UsageError: If bands, mean and std differ in number, a number is not finite, or the sensor or unit is unknown.
        ProtocolError: If what the module returns is none of the above, or it takes no image of this size.

    Example:
        >>> import seamo_bench
        >>> from seamo.testing.stores import tiny_store
        >>> own = nn.Sequential(nn.Conv2d(3, 16, 4, stride=4), nn.ReLU())
        >>> rgb = backbone(own, bands=["B04", "B03", "B02"], mean=[1000] * 3, std=[500] * 3, unit="dn")
        >>> rgb.card.embed_dim, rgb.card.levels
        (16, ((16, 4),))
        >>> (result,) = seamo_bench.evaluate(rgb, tiny_store(), "knn")
        >>> 0 <= result.scores["top1"] <= 1
        True
    """
    bands, numbers = tuple(bands), [tuple(float(one) for one in numbers) for numbers in (mean, std)]
    title = name or type(module).__name__
    if sensor not in SENSORS:
        raise UsageError(f"no sensor {sensor!r}", title, f"Sensors: {', '.join(SENSORS)}.")
    if {len(one) for one in numbers} != {len(bands)} or not bands:
        fix = "One number a band, in the order of `bands`."
        raise UsageError(f"{len(bands)} bands, {len(numbers[0])} means and {len(numbers[1])} stds", title, fix)
    if not all(math.isfinite(one) for part in numbers for one in part) or min(numbers[1]) <= 0:
        raise UsageError("mean and std must be finite, std above 0", title)
    try:
        declared = Unit(unit)
    except ValueError:
        raise UsageError(f"no unit {unit!r}", title, f"Units: {', '.join(Unit)}.") from None
    network = _OwnNetwork(copy.deepcopy(module), sensor).eval()
    side = size or -(-_PROBE // multiple_of) * multiple_of
    try:
        with torch.no_grad():
            found = network.forward_features({sensor: torch.zeros(1, len(bands), side, side)})
    except (RuntimeError, AssertionError, ValueError) as error:  # of torch and of the module itself
        if isinstance(error, SeamoError):
            raise
        text = str(error).partition("\n")[0]
        fix = f"{'' if size else 'Where it takes one size alone, say size=. '}`bands` are its channels, in order."
        raise ProtocolError(f"takes no image (1, {len(bands)}, {side}, {side}): {text}", title, fix) from error
    card = BackboneCard(
        id=re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "own",
        family="own",
        title=title,
        inputs=(InputSpec(sensor, bands, declared, (Step("affine", *numbers),), "given in Python"),),
        embed_dim=int(found.pooled.shape[1]),
        size=size,
        multiple_of=multiple_of,
        code_licence="",
        source="given in Python",
        any_size=not size,
        levels=tuple((int(one.shape[1]), round(side / one.shape[-1])) for one in found.levels),
        missing=missing,
    )
    return Backbone(card, network, None, lambda _seed: copy.deepcopy(network).eval())


class _OwnNetwork(Network):
    def __init__(self, module: nn.Module, sensor: str) -> None:
        super().__init__()
        self.module, self.sensor = module, sensor

    def forward_features(self, inputs: Mapping[str, Tensor]) -> Features:
        """See `seamo_bench.network.Network`."""
        out = self.module(inputs[self.sensor])
        if isinstance(out, Features):
            return out
        maps = [out] if isinstance(out, Tensor) else list(out) if isinstance(out, list | tuple) else []
        if len(maps) == 1 and isinstance(maps[0], Tensor) and maps[0].ndim == 2:
            return Features(maps[0])
        if not maps or not all(isinstance(one, Tensor) and one.ndim == 4 for one in maps):
            shapes = [tuple(one.shape) if isinstance(one, Tensor) else type(one).__name__ for one in maps]
            raise ProtocolError(
                f"returns {shapes or type(out).__name__}", type(self.module).__name__,
                "A vector (B, D), a map (B, C, h, w), several maps, or Features; wrap it if it returns tokens.",
            )  # fmt: skip
        return Features(maps[-1].mean(dim=(2, 3)), tuple(maps))
