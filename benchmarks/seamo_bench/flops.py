"""Floating-point operations of a backbone, counted while one image passes; a multiply-add is 2."""

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from seamo.data.loader import Loader
from seamo.store.reader import Store
from seamo_bench.backbone import Backbone
from seamo_bench.protocol import Rows


def forward_flops(backbone: Backbone, store: Store, rows: Rows) -> float | None:
    """FLOPs of one image's way through the network: matrix products and convolutions, attention included.

    Args:
        backbone: Loaded for the store.
        store: Where the image is from.
        rows: The first of them is looked at.

    Returns:
        None for what has no parameters (image statistics).
    """
    adapter = backbone.adapter
    parameter = next(backbone.network.parameters(), None)
    if adapter is None or parameter is None:
        return None
    batch = next(iter(Loader(store, rows[:1], 1, layers=adapter.wiring.layers, shuffle=False)))
    inputs = adapter(batch.to(parameter.device))
    # Fused attention of the CPU is not in torch's counter: the plain form does the same products.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        backbone.network.forward_features(inputs)
    return float(counter.get_total_flops())
