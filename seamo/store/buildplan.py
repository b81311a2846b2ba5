"""What is being built, and the two names that follow from it before the first byte: of the pixels, and of the view."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from seamo.identity import digest
from seamo.manifest import DatasetSpec
from seamo.store.format import CodecName, Layout, label_kind, shuffle_of
from seamo.store.packing import STEP


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """Everything that decides what a store will hold, known before the first byte.

    Args:
        spec: The spec with the layers and sizes that are built (`only_layers`, `with_sizes`).
        split_scheme: Name of the split scheme.
        layout: `zarr` or `webdataset`.
        codec: `lz4`, `compact` (zstd) or `none`; the webdataset layout is always uncompressed.
        limit: Build only the first so many samples.
        relax: What may differ from the manifest (`shape`, `dtype`, `seasons`, `names`, `grid`).
        on_bad: `raise`, or `skip` to put unreadable samples into the ledger.
        archive: Digest of what the pixels are read from: of a published archive, its file names and sizes.
        labels: Digest of what labels and splits are read from, where that is apart from the pixels (the table beside
            one's own imagery, the lists of a published scheme); empty where the archive's own digest covers them.
        synthetic: The declaration (`SYNTHETIC.json`) of a synthetic archive, or None for real data.
        pack: Layers of decibels that are stored in 16 bits (`seamo.store.packing`).
    """

    spec: DatasetSpec
    split_scheme: str
    layout: Layout = "zarr"
    codec: CodecName = "lz4"
    limit: int | None = None
    relax: tuple[str, ...] = ()
    on_bad: Literal["raise", "skip"] = "raise"
    archive: str = ""
    labels: str = ""
    synthetic: Mapping[str, Any] | None = None
    pack: tuple[str, ...] = ()

    @property
    def effective_codec(self) -> CodecName:
        """The codec in use: the webdataset layout has none."""
        return "none" if self.layout == "webdataset" else self.codec


def build8(plan: BuildPlan) -> str:
    """First 8 hex digits of what decides the bytes of the shards: the folder in which the store lands.

    Splits, label spaces and the labels of one's own table do not count: another one of them is another view of the same
    pixels. Masks are pixels, so the classes of their values count; and so do labels in the webdataset layout, whose
    members carry them. Texts of the spec (title, citation, published statistics, ...) do not count: correcting one must
    not make another store.
    """
    spec = plan.spec
    named: dict[str, Any] = {
        "id": spec.id,
        "layers": [layer.model_dump(mode="json") for layer in spec.layers],
        "labels": label_kind(spec),
        "layout": plan.layout,
        "codec": plan.effective_codec,
        "limit": plan.limit,
        "relax": sorted(plan.relax),
        "on_bad": plan.on_bad,
        "archive": plan.archive,
        "synthetic": None if plan.synthetic is None else dict(plan.synthetic),
        "maps": {layer: spec.label_space(space).model_dump(mode="json") for layer, space in spec.maps.items()},
    }
    floats = [layer.id for layer in spec.layers if shuffle_of(np.dtype(layer.dtype)) == "byte"]
    floats = [name for name in floats if name not in plan.pack]
    if plan.pack:
        named["packed"] = dict.fromkeys(sorted(plan.pack), STEP)
    if floats and plan.effective_codec != "none":
        named["byte_shuffled"] = floats  # once their bits were
    is_inside = label_kind(spec) == "mask" or plan.layout == "webdataset"
    if is_inside and spec.task.label_space:
        named["classes"] = _classes(spec)
    if plan.layout == "webdataset":
        named["own_labels"] = plan.labels
    return digest(named)[:8]


def view8(plan: BuildPlan) -> str:
    """First 8 hex digits of what decides splits, label spaces and labels: the name of the view."""
    spec = plan.spec
    scheme = spec.splits.get(plan.split_scheme)
    return digest(
        {
            "split_scheme": plan.split_scheme,
            "splits": None if scheme is None else scheme.model_dump(mode="json"),
            "task": spec.task.model_dump(mode="json"),
            "label_spaces": {name: space.model_dump(mode="json") for name, space in spec.label_spaces.items()},
            "labels": plan.labels,
        }
    )[:8]


def _classes(spec: DatasetSpec) -> dict[str, Any]:
    space = spec.label_space()
    return {"names": list(space.names), "raw": {str(value): number for value, number in space.raw.items()}}
