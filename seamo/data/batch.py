"""Batch: what the loader hands out, in the store's own numbers; nothing is normalised here."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from seamo.manifest import DatasetSpec
from seamo.summary import Summary, cut, some

NAT = torch.iinfo(torch.int64).min
"""The date that is not there, as an int64 of seconds (numpy's NaT has the same bits)."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """B samples of one store, stacked.

    Args:
        spec: The store's data set, restricted to the layers that were read.
        rows: (B,) int64, rows of the store.
        keys: The samples' keys.
        layers: Layer id -> (B, T, C, H, W) in the stored dtype; a pixel that is not there holds the
            layer's fill value. (B, 1, C, H, W) where `dates` says which date that is.
        valid: Layer id -> (B, T) bool: this date of this layer is there. False = the whole image is fill.
        times: Stack id -> (B, T) int64 seconds since 1970 (UTC), `NAT` where there is no date.
        size: (B, 2) int64 true height and width on the finest grid; what lies beyond is padding.
        label: (B,) int64 class ids of a single-label set, (B, K) uint8 multi-hot of a multi-label one, or None.
        mask: (B, H, W) uint8 class ids of a segmentation set (255 = ignore), or None.
        padding: (B,) bool: a repeat that only keeps the ranks' batches equal; it counts nowhere.
        holes: Layers in which an image that is there holds the fill value somewhere; None: nobody looked. Unlike a
            tensor it can be asked without waiting for a device.
        turns: (B,) int64 of a mixture: passes through the sample's store that began since the epoch did, so that what
            is drawn for a sample that comes twice in an epoch differs; None: 0 for all.
        images: Name -> (B, T, C, S, S) float32, made in the reading threads of layers that `layers` then lacks
            (`seamo.data.making`).
        dates: (B,) int64, the only date of each sample that `layers` hold, while `valid` and `times` tell of all; None:
            they hold all.
        measured: Name -> (B, T, C, S, S) bool, False where a number of an image is no measurement; only of images of
            which some are none.
    """

    spec: DatasetSpec
    rows: Tensor
    keys: tuple[str, ...]
    layers: Mapping[str, Tensor]
    valid: Mapping[str, Tensor]
    times: Mapping[str, Tensor]
    size: Tensor
    label: Tensor | None
    mask: Tensor | None
    padding: Tensor
    holes: frozenset[str] | None = None
    turns: Tensor | None = None
    dates: Tensor | None = None
    images: Mapping[str, Tensor] = field(default_factory=dict)
    measured: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.keys)

    def __repr__(self) -> str:
        return self._shown().text()

    def _repr_html_(self) -> str:
        return self._shown().html()

    def _shown(self) -> Summary:
        arrays = {**self.layers, **{f"image {name}": one for name, one in self.images.items()}}
        lines = [(name, f"{tuple(one.shape)} {str(one.dtype).removeprefix('torch.')}") for name, one in arrays.items()]
        if self.label is not None:
            lines.append(("label", cut(str(self.label.tolist()), 60)))
        if self.mask is not None:
            lines.append(("mask", f"{tuple(self.mask.shape)} uint8"))
        lines.append(("keys", some(self.keys, 3)))
        return Summary(f"Batch of {len(self)} samples of {self.spec.id}", tuple(lines))

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch with its tensors on a device.

        Pinned batches are copied while the device goes on working; their memory is the host allocator's,
        which does not hand it out again before the copy has ended.
        """

        def move(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=True)

        return replace(
            self,
            rows=move(self.rows),
            layers={name: move(one) for name, one in self.layers.items()},
            valid={name: move(one) for name, one in self.valid.items()},
            times={name: move(one) for name, one in self.times.items()},
            size=move(self.size),
            label=None if self.label is None else move(self.label),
            mask=None if self.mask is None else move(self.mask),
            padding=move(self.padding),
            turns=None if self.turns is None else move(self.turns),
            dates=None if self.dates is None else move(self.dates),
            images={name: move(one) for name, one in self.images.items()},
            measured={name: move(one) for name, one in self.measured.items()},
        )
