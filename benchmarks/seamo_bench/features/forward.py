"""What one forward pass of a backbone costs: operations of an image, and images a second."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median_low
from time import perf_counter

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from seamo.data.loader import Loader
from seamo.store.samples import Samples
from seamo_bench.network import Backbone, Network
from seamo_bench.protocol import Rows

_SECONDS = 1.0  # about what a measurement may take
_PASSES = 10  # at most


@dataclass(frozen=True, slots=True)
class Forward:
    """Cost of the way through the network in inference, of images that are read and normalised.

    Args:
        flops: Of one image: matrix products and convolutions, attention included; a multiply-add is 2. None for what
            has no parameters (image statistics).
        images_per_second: Median over a few passes of one batch.
    """

    flops: float | None
    images_per_second: float


def measure_forward(
    backbone: Backbone, store: Samples, rows: Rows, *, device: torch.device, batch_size: int
) -> Forward | None:
    """Count and time forward passes of real images.

    Args:
        backbone: Loaded for the store; its network is moved to the device.
        store: Where the images are from.
        rows: The first of them are taken.
        device: Where to compute.
        batch_size: Images at a time; fewer where a pass of so many would take longer than the measurement may.

    Returns:
        None if the backbone was not loaded for a store.
    """
    if backbone.adapter is None:
        return None
    network = backbone.network.to(device)
    first = _inputs(backbone, store, rows[:1], device)
    flops = _flops(network, first) if next(network.parameters(), None) is not None else None
    with torch.inference_mode():
        one = min(_seconds(network, first), _seconds(network, first))
        batch = max(1, min(batch_size, len(rows), int(_SECONDS / 2 / one)))
        inputs = _inputs(backbone, store, rows[:batch], device) if batch > 1 else first
        batch = len(next(iter(inputs.values())))  # fewer, where images vary in size and are read a size at a time
        taken = [_seconds(network, inputs)]
        while len(taken) < _PASSES and sum(taken) < _SECONDS / 2:
            taken.append(_seconds(network, inputs))
    return Forward(flops, batch / median_low(taken))


def _inputs(backbone: Backbone, store: Samples, rows: Rows, device: torch.device) -> Mapping[str, Tensor]:
    if backbone.adapter is None:
        raise RuntimeError("measure_forward looked")
    layers = backbone.adapter.wiring.layers
    batch = next(iter(Loader(store, rows, len(rows), layers=layers, shuffle=False)))
    return backbone.adapter(batch.to(device))


def _flops(network: Network, inputs: Mapping[str, Tensor]) -> float:
    # Fused attention of the CPU is not in torch's counter: the plain form does the same products.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        network.forward_features(inputs)
    return float(counter.get_total_flops())


def _seconds(network: Network, inputs: Mapping[str, Tensor]) -> float:
    device = next(iter(inputs.values())).device
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = perf_counter()
    network.forward_features(inputs)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return max(perf_counter() - start, 1e-9)
