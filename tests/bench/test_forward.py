"""What a forward pass costs, against a network whose cost is known: operations by hand, time by a clock of its own."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import seamo_bench
from seamo.store.reader import Store
from seamo_bench.features.forward import measure_forward
from seamo_bench.network import Features, Network
from tests.bench.bench_store import toy_store

CPU = torch.device("cpu")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return toy_store(tmp_path, 30)


class Slow(Network):
    """A convolution; by its own clock it takes 4 ms an image, and 2 ms a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(5, 7, kernel_size=3, bias=False)
        self.batches: list[int] = []

    def now(self) -> float:
        return sum(0.002 + 0.004 * size for size in self.batches)

    def forward_features(self, inputs: dict[str, Tensor]) -> Features:
        self.batches.append(len(inputs["s2"]))
        return Features(self.conv(inputs["s2"]).mean(dim=(2, 3)))


def test_operations_and_rate_of_a_known_network(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = seamo_bench.load_backbone("resnet18", store=store)
    assert backbone.adapter is not None
    height, width = backbone.adapter.wiring.size
    for seconds, batch in ((1.0, 8), (0.05, 4), (0.001, 1)):  # half of it is for passes of whole batches
        network = Slow()
        backbone.network = network
        monkeypatch.setattr("seamo_bench.features.forward.perf_counter", network.now)
        monkeypatch.setattr("seamo_bench.features.forward._SECONDS", seconds)
        cost = measure_forward(backbone, store, np.arange(20), device=CPU, batch_size=8)
        assert cost is not None
        assert cost.flops == 2 * 5 * 3 * 3 * 7 * (height - 2) * (width - 2)
        assert cost.images_per_second == pytest.approx(batch / (0.002 + 0.004 * batch))
        assert max(network.batches) == batch
        assert network.now() < seconds + 0.05


def test_what_has_no_parameters_has_no_operations_but_a_rate(store: Store) -> None:
    backbone = seamo_bench.load_backbone("image-statistics", store=store)
    cost = measure_forward(backbone, store, np.arange(20), device=CPU, batch_size=8)
    assert cost is not None
    assert cost.flops is None
    assert cost.images_per_second > 0
    backbone.adapter = None
    assert measure_forward(backbone, store, np.arange(20), device=CPU, batch_size=8) is None
