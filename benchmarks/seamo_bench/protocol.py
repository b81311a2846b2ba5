"""The contract of protocols: what one is, what it is given, what it gives back.

A protocol is a module with `PROTOCOL: Protocol` and `run(context: Context) -> Iterator[Outcome]`. It sees rows,
labels, features and a backbone; it never sees results folders, keys or records.
"""

import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from seamo.errors import ProtocolError
from seamo_bench.facts import Budget, Scalar, TaskFacts
from seamo_bench.predictions import Kind, Predictions

if TYPE_CHECKING:  # a protocol's card is listed without torch
    import torch

    from seamo.store.samples import Samples
    from seamo_bench.network import Backbone, Network

    Inputs = Mapping[str, torch.Tensor]  # sensor -> (B, C, H, W), normalised
    Scores = Callable[[Sequence[Inputs]], torch.Tensor]  # inputs of every date -> logits (B, K) or (B, K, H, W)

Rows = NDArray[np.int64]
Params = Mapping[str, Scalar | tuple[Scalar, ...]]


Progress = Callable[[int, int, str], None]
"""Called with (done, total, what) now and then."""


def silent(done: int, total: int, what: str) -> None:
    """Report no progress."""
    del done, total, what


@dataclass(frozen=True, slots=True)
class Protocol:
    """What a protocol is.

    Args:
        id: As in suites and on the leaderboard.
        version: Raised whenever the same facts would give another number.
        title: One line for `list protocols`.
        tasks: Kinds of task it can run.
        needs: `features`: cached pooled features are enough; `network`: it trains the network itself; `levels`: it
            needs dense levels, of a trained or (parameter `frozen`) an untouched network.
        defaults: Every parameter with its default; a suite may override these and no others.
        demo: Parameters that `--budget demo` sets.
        num_seeds: How many seeds it runs, one record each.
        together: All seeds are trained in one pass, so that they are always run together.
        cross_validation: Whether it can run a `cv...` split scheme.
        dates: How many dates of a place it looks at together.
        tolerance: By how much the main scores of two honest runs of the same facts may differ (another machine).
        apply: What a run trained -> scores of new images, for `predict`; None where nothing can be applied to them
            (neighbours).
    """

    id: str
    version: int
    title: str
    tasks: tuple[Kind, ...]
    needs: Literal["features", "network", "levels"]
    defaults: Params
    demo: Params = field(default_factory=dict)
    num_seeds: int = 1
    together: bool = False
    cross_validation: bool = False
    dates: int = 1
    tolerance: float = 0.01
    apply: "Callable[[Trained], Scores] | None" = None


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Rows of one trial.

    Args:
        train, val, test: Rows of the store; `val` is empty in cross-validation.
        repeat, fold: Which of a cross-validation scheme; -1 without.
    """

    train: Rows
    val: Rows
    test: Rows
    repeat: int = -1
    fold: int = -1


class PooledTable(typing.Protocol):
    """Pooled features (n, D) float32 of n rows, which need not fit into memory: `seamo_bench.features` has them."""

    @property
    def width(self) -> int:
        """D."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes of all of it in memory."""
        ...

    def __len__(self) -> int: ...

    def read(self) -> NDArray[np.float32]:
        """All of it, in memory: (n, D)."""
        ...

    def take(self, positions: Rows) -> NDArray[np.float32]:
        """Some rows of it, in the order asked: (len(positions), D)."""
        ...

    def blocks(self, size: int) -> Iterator[NDArray[np.float32]]:
        """All of it in order, `size` rows at a time."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """All that a protocol works on.

    Args:
        task: Kind of task and classes.
        backbone: Card, network and adapter, fitted to the store. Its network must be left as it was found.
        store: The open store, for protocols that need pixels.
        labels: One entry a row of the store: (N,) int64 class ids, or (N, K) uint8 multi-hot; of masks the
            dominant class.
        features: Rows -> their pooled features, cached on disk and read as they are needed.
        splits: Seed -> its trials: one, or one a fold and repeat of a cross-validation scheme.
        params: `PROTOCOL.defaults` with the suite's and the budget's changes.
        budget: `full` or `demo`.
        precision: `fp32` or `bf16` (what the record says).
        device: Where to compute.
        progress: Called with (done, total, what) now and then.
    """

    task: TaskFacts
    backbone: "Backbone"
    store: "Samples"
    labels: NDArray[Any]
    features: Callable[[Rows], PooledTable]
    splits: Mapping[int, tuple[Split, ...]]
    params: Params
    budget: Budget
    precision: str
    device: "torch.device"
    progress: Progress

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds to run, in order."""
        return tuple(self.splits)


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What one seed gave.

    Args:
        seed: Which.
        predictions: Of the test rows in the order of `Split.test`, or of all folds.
        chosen: What was chosen on validation, for readers.
        notes: Flags: what a reader must know.
        trainable_parameters: How many were trained.
        head: What was trained, by name, for `predict`: of frozen pooled features one affine map on the features as
            the backbone gives them, `weight` (D, K) and `bias` (K,), every standardisation folded in; of dense heads
            and fine-tuning the trained modules' states (`head.*`, `network.*`). Empty where nothing can be applied
            to a new image (neighbours, cross-validation).
    """

    seed: int
    predictions: Predictions
    chosen: Mapping[str, Scalar] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    trainable_parameters: int | None = None
    head: Mapping[str, NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """What a run trained, with the network that it belongs to: what `Protocol.apply` makes scores of images of.

    Args:
        network: In evaluation mode, on the device.
        state: `Outcome.head` of the run.
        params: Of the run.
        num_classes: Of the task.
        blank: Inputs of every date, without content: of the shapes that will come.
        tile: (H, W) of the masks; (0, 0) where they vary.
        precision: `fp32` or `bf16`.
        device: Where to compute.
        where: The record, for messages.
    """

    network: "Network"
    state: Mapping[str, NDArray[Any]]
    params: Params
    num_classes: int
    blank: "Sequence[Inputs]"
    tile: tuple[int, int]
    precision: str
    device: "torch.device"
    where: str


def number(params: Params, name: str) -> float:
    """A numeric parameter.

    Raises:
        ProtocolError: If it is not a number.
    """
    value = params[name]
    if isinstance(value, bool | str | tuple) or value is None:
        raise ProtocolError(f"is {value!r}, not a number", f"parameter {name}")
    return float(value)


def numbers(params: Params, name: str) -> tuple[float, ...]:
    """A parameter that lists numbers.

    Raises:
        ProtocolError: If it is not a list of numbers, or empty.
    """
    value = params[name]
    if not isinstance(value, tuple) or not value:
        raise ProtocolError(f"is {value!r}, not a list of numbers", f"parameter {name}")
    return tuple(number({name: one}, name) for one in value)
