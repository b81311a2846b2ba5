"""Frozen features on their way to a device: held where they fit, read as they are needed where they do not."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from seamo_bench.protocol import PooledTable, Rows

T = TypeVar("T")
MEMORY = 2**30  # bytes of features that a protocol holds on a CPU
BLOCK = 4096  # rows read at a time


@dataclass(frozen=True, slots=True, eq=False)
class FeatureSource:
    """Features (n, D) float32 as tensors on one device.

    Args:
        table: Where they are.
        device: Where they go.
        held: All of them on the device, or None: they are read each time.
    """

    table: PooledTable
    device: torch.device
    held: Tensor | None = None

    def take(self, positions: Rows) -> Tensor:
        """Some rows, in the order asked."""
        if self.held is None:
            return torch.from_numpy(self.table.take(positions)).to(self.device)
        return self.held[torch.from_numpy(positions).to(self.device)]

    def blocks(self, size: int = BLOCK) -> Iterator[Tensor]:
        """All rows in order, `size` at a time, read one block ahead."""
        if self.held is not None:
            yield from torch.split(self.held, size)
        elif len(self.table) <= size:
            yield torch.from_numpy(self.table.read()).to(self.device)
        else:
            yield from ahead(torch.from_numpy(block).to(self.device) for block in self.table.blocks(size))


def memory_of(device: torch.device) -> int:
    """Bytes of features that a protocol may hold: 1 GiB on a CPU, half of the free memory of a GPU."""
    return torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else MEMORY


def held(table: PooledTable, device: torch.device) -> FeatureSource:
    """A source of features that are asked for many times: on the device if they fit (`memory_of`)."""
    if table.nbytes > memory_of(device):
        return FeatureSource(table, device)
    whole = torch.empty((len(table), table.width), device=device)
    for number, block in enumerate(table.blocks(BLOCK)):
        whole[number * BLOCK : number * BLOCK + len(block)] = torch.from_numpy(block)
    return FeatureSource(table, device, whole)


def ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items; the next one is made on another thread while the last one is worked on."""
    end = object()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(next, items, end)
        while (item := waiting.result()) is not end:
            waiting = pool.submit(next, items, end)
            yield item  # type: ignore[misc]


def moments(blocks: Iterator[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and population standard deviation (D,) float64 of rows that come in blocks.

    Blocks are merged by the formula of Chan, Golub and LeVeque (1979), so that large means cost no digits.
    """
    count, mean, squares = 0, torch.zeros(()), torch.zeros(())
    for block in blocks:
        x = block.double()
        own = x.mean(dim=0)
        total = count + len(x)
        if not count:
            mean, squares = torch.zeros_like(own), torch.zeros_like(own)
        apart = own - mean
        mean = mean + apart * (len(x) / total)
        squares = squares + (x - own).square().sum(dim=0) + apart.square() * (count * len(x) / total)
        count = total
    return mean, (squares / max(count, 1)).sqrt()


def spread(mean: Tensor, std: Tensor) -> Tensor:
    """The standard deviation to divide by: 1 where a feature varies less than float32 can tell from its mean."""
    return torch.where(std > torch.finfo(torch.float32).eps * mean.abs(), std, torch.ones_like(std))
