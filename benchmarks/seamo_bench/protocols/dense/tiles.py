"""What `dense` and `change` share: the task, and a head on the levels of a frozen or trained encoder.

Masks keep their own grid: logits are enlarged to it (bilinear) for the loss and for predictions, whatever size the
network sees. `training` trains, `evaluation` scores, `seeds` puts the two together.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from seamo.data.batch import Batch
from seamo.data.loader import Loader
from seamo.discovery import own_modules
from seamo.errors import ProtocolError, UsageError
from seamo.inputs.adapter import Adapter
from seamo.manifest import LayerSpec
from seamo.sample import IGNORE
from seamo.store.format import finest_layer
from seamo_bench.network import Network
from seamo_bench.predictions import Scoring
from seamo_bench.protocol import Context, Params, Rows, Trained, number
from seamo_bench.protocols._apply import autocast, filled
from seamo_bench.protocols.dense import heads
from seamo_bench.protocols.dense.heads._parts import Level, enlarge

if TYPE_CHECKING:
    from seamo_bench.protocol import Scores

Inputs = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class DenseTask:
    """One protocol's way from a batch to levels and masks, and its loss.

    Args:
        context: Of the run.
        adapters: One a date; the first is the backbone's own.
        difference: `signed` (second date minus first) or `absolute`; empty with one date.
        class_weights: Training rows -> weight of each class in the loss, or None.
    """

    context: Context
    adapters: tuple[Adapter, ...]
    difference: str
    class_weights: Callable[[Rows], tuple[float, ...] | None]

    def inputs(self, batch: Batch) -> tuple[dict[str, Tensor], ...]:
        """Normalised images of every date."""
        return tuple(adapter(batch) for adapter in self.adapters)

    def mask(self, batch: Batch) -> Tensor:
        """The masks of a batch, (B, H, W) uint8: its labels, or a layer of class ids.

        Raises:
            ProtocolError: If the store has none.
        """
        return self._of_layer(batch) if self._map else mask_of(batch)

    @property
    def mask_layer(self) -> LayerSpec:
        """The layer whose grid the masks have."""
        spec = self.context.store.spec
        return spec.layer(self._map) if self._map else finest_layer(spec)

    def loader(self, rows: Rows, size: int) -> Loader:
        """Batches of these rows, in their order."""
        return Loader(self.context.store, rows, size, layers=self.layers, label_space=self.label_space)

    @property
    def layers(self) -> tuple[str, ...]:
        """Layers to read: what the network sees, and the one whose grid the masks have."""
        return tuple(dict.fromkeys((*self.adapters[0].wiring.layers, self.mask_layer.id)))

    @property
    def label_space(self) -> str:
        """Label space that the loader reads labels in; the task's default where masks are a layer."""
        return "" if self._map else self.context.task.label_space

    @property
    def scoring(self) -> Scoring:
        """What metrics must know."""
        task = self.context.task
        return Scoring(task.kind, task.background, task.positive)

    @property
    def _map(self) -> str:
        return self.context.store.spec.map_of(self.context.task.label_space)

    def _of_layer(self, batch: Batch) -> Tensor:
        space = self.context.store.spec.label_space(self.context.task.label_space)
        table = torch.full((256,), IGNORE, dtype=torch.uint8)
        for own, theirs in space.derived.items() if space.source else ((k, (k,)) for k in range(len(space.classes))):
            table[list(theirs)] = own
        return table.to(batch.rows.device)[batch.layers[self._map][:, 0, 0].long()]


class Segmenter(nn.Module):
    """An encoder, the difference of its levels between dates if there are two, and a head."""

    def __init__(self, network: Network, head: nn.Module, difference: str) -> None:
        super().__init__()
        self.network = network
        self.head = head
        self.difference = difference

    def levels(self, dates: Sequence[Inputs]) -> tuple[Tensor, ...]:
        """Levels of the images, or their difference between the second and the first date."""
        return levels_of(self.network, dates, self.difference)

    def logits(self, levels: tuple[Tensor, ...], size: tuple[int, int]) -> Tensor:
        """(B, K, H, W) on the mask's grid."""
        return enlarge(self.head(levels).float(), size)


def segment(trained: Trained) -> "Scores":
    """The encoder of a run, as it was or as it was trained, and its head: logits on the grid of the masks."""
    network, params = trained.network, trained.params
    model = Segmenter(network, nn.Identity(), str(params.get("difference", "")))
    model.head = head_for(params, trained.blank[0], model.levels(trained.blank), trained.num_classes)
    frozen = {f"network.{name}": value.cpu().numpy() for name, value in network.state_dict().items()}
    state = {**(frozen if params["frozen"] else {}), **trained.state}
    filled(model, replace(trained, state=state))

    def scores(dates: Sequence[Inputs]) -> Tensor:
        with autocast(trained):
            return model.logits(model.levels(dates), trained.tile)

    return scores


@dataclass(slots=True, eq=False)
class Candidate:
    """One base learning rate: its model, and whether its loss stayed finite."""

    rate: float
    model: Segmenter
    diverged: bool = False


def levels_of(network: Network, dates: Sequence[Inputs], difference: str) -> tuple[Tensor, ...]:
    """Levels of one date, or the difference of two, which pass the network as one batch."""
    if len(dates) == 1:
        return network.forward_features(dates[0]).levels
    joined = {sensor: torch.cat([one[sensor] for one in dates]) for sensor in dates[0]}
    pairs = [level.chunk(2) for level in network.forward_features(joined).levels]
    signed = tuple(after - before for before, after in pairs)
    return tuple(level.abs() for level in signed) if difference == "absolute" else signed


def mask_of(batch: Batch) -> Tensor:
    """The masks of a batch, (B, H, W) uint8.

    Raises:
        ProtocolError: If the store has none.
    """
    if batch.mask is None:
        raise ProtocolError("has no masks", batch.spec.id)
    return batch.mask


def head_for(params: Params, inputs: Inputs, maps: Sequence[Tensor], num_classes: int) -> nn.Module:
    """The head that the parameters name, for the levels that an encoder gave of these images."""
    side = max(x.shape[2] for x in inputs.values())
    levels = [Level(one.shape[1], one.shape[2], one.shape[3], max(1, round(side / one.shape[2]))) for one in maps]
    return make_head(params, levels, num_classes)


def make_head(params: Params, levels: Sequence[Level], num_classes: int) -> nn.Module:
    """The head that the parameters name.

    Raises:
        UsageError: If there is no such head.
    """
    known = [module.rpartition(".")[2] for module in own_modules(heads)]
    if params["head"] not in known:
        raise UsageError(f"no head {params['head']!r}", fix=f"There are {', '.join(known)}.")
    module = importlib.import_module(f"seamo_bench.protocols.dense.heads.{params['head']}")
    width = module.WIDTH if params["width"] is None else int(number(params, "width"))
    head: nn.Module = module.build(levels, num_classes, width=width)
    return head
