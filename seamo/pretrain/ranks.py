"""The processes of a run: one, or several under torchrun, in plain torch.distributed."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType, TracebackType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among the others.

    Args:
        rank: 0 writes.
        world: Number of processes.
        device: Where this one computes.
    """

    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def writes(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def total(self, values: Tensor) -> Tensor:
        """Sum over the processes, in place."""
        if self.world > 1:
            dist.all_reduce(values)
        return values

    def wait(self) -> None:
        """Until every process is here."""
        if self.world > 1:
            dist.barrier()


@contextmanager
def joined(rank: int, world: int, local_rank: int, *, device: str = "") -> Iterator[Ranks]:
    """Join the process group (nccl on GPUs, gloo otherwise) and leave it at the end.

    Args:
        rank: Of this process.
        world: Number of processes.
        local_rank: Of this process on its machine: the GPU it takes.
        device: `cpu` or `cuda`; empty = cuda where there is one.
    """
    kind = device or ("cuda" if torch.cuda.is_available() else "cpu")
    place = torch.device("cuda", local_rank) if kind == "cuda" else torch.device(kind)
    if kind == "cuda":
        torch.cuda.set_device(place)
    if world == 1:
        yield Ranks(device=place)
        return
    dist.init_process_group("nccl" if kind == "cuda" else "gloo", rank=rank, world_size=world)
    try:
        yield Ranks(rank, world, place)
    finally:
        dist.destroy_process_group()


class StopSignal:
    """While entered, SIGTERM and SIGUSR1 ask the loop to stop after the step that runs (main thread only).

    Attributes:
        asked: Whether this process was asked to.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopSignal":
        for number in (signal.SIGTERM, signal.SIGUSR1):
            # signal.signal raises outside the main thread; there the caller's own thread must stop the run.
            with suppress(ValueError):
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the signature of handlers
        self.asked = True
