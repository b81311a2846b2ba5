"""A record made to work again: its backbone, its normalisation and what it trained, for pixels of any image.

Nothing is taken from a store: bands, normalisation, image size and head are the record's own, and a backbone or a
head that is not the one of the record is refused.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from seamo.bands import Unit
from seamo.data.batch import Batch
from seamo.errors import BandError, CheckpointError, ProtocolError, UsageError
from seamo.inputs.adapter import Adapter
from seamo.inputs.images import image_batch, image_spec
from seamo.inputs.units import conversion
from seamo.inputs.wiring import wire
from seamo.manifest import DatasetSpec
from seamo_bench.card import BackboneCard, Step
from seamo_bench.facts import AdapterFacts, adapter_facts
from seamo_bench.protocol import Protocol, Trained
from seamo_bench.protocols import find_protocol
from seamo_bench.protocols._affine import affine
from seamo_bench.records.heads import kept_record, load_head
from seamo_bench.records.record import HeadFile, Record
from seamo_bench.zoo.catalogue import (
    Found,
    budget_card,
    card_digest,
    find_card,
    weights_digest,
    weights_path,
)
from seamo_bench.zoo.loading import load_network

if TYPE_CHECKING:
    from seamo_bench.protocol import Scores

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Applied:
    """A record's network and head, ready for pixels.

    Args:
        record: The record.
        sources: Sensor -> bands that are read.
        spec: The images as a data set of one layer a sensor.
        adapter: The record's own normalisation.
        scores: Inputs of every date -> logits (B, K), or (B, K, H, W) on the grid of the window.
        window: (H, W) of the pixels that it looks at together.
        device: Where it computes.
    """

    record: Record
    sources: Mapping[str, tuple[str, ...]]
    spec: DatasetSpec
    adapter: Adapter
    scores: "Scores"
    window: tuple[int, int]
    device: torch.device

    @property
    def dense(self) -> bool:
        """Whether it gives a class a pixel, or one a window."""
        return self.record.facts.task.kind in ("segmentation", "change")

    def batch(self, pixels: Mapping[str, NDArray[np.float32]]) -> Batch:
        """Windows as a batch: sensor -> (B, C, H, W) of `sources`, NaN where there is no measurement."""
        return image_batch(self.spec, pixels).to(self.device)

    def probabilities(self, dates: Sequence[Batch]) -> NDArray[np.float32]:
        """Class probabilities of a batch of windows, (B, K) or (B, K, H, W)."""
        with torch.inference_mode():
            logits = self.scores([self.adapter(batch) for batch in dates]).float()
            multi = self.record.facts.task.kind == "multi-label"
            found: NDArray[np.float32] = (logits.sigmoid() if multi else logits.softmax(dim=1)).cpu().numpy()
        return found


def load_applied(
    path: Path,
    units: Mapping[str, Unit],
    *,
    backbone: str = "",
    weights: Path = Path("weights"),
    window: int = 0,
    device: str = "",
) -> Applied:
    """Build what a record describes.

    Args:
        path: The record's JSON, with its head beside it.
        units: Sensor -> what the numbers of its image mean.
        backbone: Name by which the backbone is found, where its id is not enough: the folder of a run.
        weights: Folder of checkpoint files.
        window: Side of a window in pixels, for data sets whose images vary in size; 0 = the record's tile.
        device: `cpu`, `cuda`, ...; without it cuda where there is one.

    Raises:
        ProtocolError: If the record is not `ok`, no head was kept, or it does not fit.
        CheckpointError: If the backbone at hand is not the record's.
        UsageError: If the window is not known, or a unit is missing.
    """
    record, head = kept_record(path)
    state, facts = load_head(head, path.parent), record.facts
    if facts.adapter is None:
        raise ProtocolError("says nothing about its inputs", str(path))
    found, card, file = same_backbone(record, backbone, weights)
    side = _window(head, window, record)
    spec = _spec_of(head, units, side)
    adapter = _same_adapter(card, spec, facts.adapter)
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    protocol = find_protocol(facts.protocol.id)
    applied = apply_of(protocol, state, record.key)  # before anything is loaded
    network = load_network(found.family, card, file, 0, fed=card.fed(adapter.wiring)).to(where)
    if protocol.version != facts.protocol.version:
        log.warning(
            "the record is of version %d of %s, this is version %d",
            facts.protocol.version, protocol.id, protocol.version,
        )  # fmt: skip
    sources = {layer.sensor: layer.bands for layer in spec.layers}
    blank = {sensor: np.zeros((1, len(names), *side), dtype=np.float32) for sensor, names in sources.items()}
    with torch.inference_mode():
        trained = Trained(
            network=network,
            state=state,
            params=facts.protocol.params,
            num_classes=len(facts.task.classes),
            blank=[adapter(image_batch(spec, blank).to(where))] * protocol.dates,
            tile=head.tile,
            precision=facts.precision,
            device=where,
            where=record.key,
        )
        return Applied(record, sources, spec, adapter, applied(trained), side, where)


def apply_of(protocol: Protocol, state: Mapping[str, NDArray[Any]], where: str) -> "Callable[[Trained], Scores]":
    """How what a run trained is applied; a protocol on features that does not say trained a matrix, if it has one.

    Raises:
        ProtocolError: If it did not.
    """
    if protocol.apply is not None:
        return protocol.apply
    if protocol.needs == "features" and {"weight", "bias"} <= set(state):
        return affine
    raise ProtocolError(f"what {protocol.id} trains cannot be applied to new images", where)


def same_backbone(record: Record, name: str, weights: Path) -> tuple[Found, BackboneCard, Path | None]:
    """The backbone of a record, its card and its weights, by their digests.

    Raises:
        UsageError: If nothing here has its name.
        CheckpointError: If card or weights are not those of the record.
    """
    wanted = record.facts.backbone
    try:
        found = find_card(name or wanted.id)
    except UsageError as error:
        fix = "A SeaMo run is named as `run` was given it: --backbone RUN@pretrain."
        raise UsageError(f"the backbone {wanted.id!r} of the record is not known here", record.key, fix) from error
    card = budget_card(found, record.facts.budget)
    if card_digest(card) != wanted.card:
        raise CheckpointError(
            f"is not the backbone of the record: its card has the digest {card_digest(card)[:12]}, "
            f"the record's {wanted.card[:12]}",
            card.id,
            f"Name the one that it was made with: {wanted.id}."
            if card.id != wanted.id
            else "Use the version of seamo that made it.",
        )
    needs = card.weights is not None and not Path(card.weights.filename).is_absolute()
    file = weights_path(card, weights / card.weights.filename if needs and card.weights else None)
    if weights_digest(file) != wanted.weights:
        raise CheckpointError(
            f"its weights have the digest {weights_digest(file)[:12] or 'of nothing'}, "
            f"the record's {wanted.weights[:12] or 'were none'}",
            card.id,
            "Give the file that the record was made with.",
        )
    return found, card, file


def _window(head: HeadFile, given: int, record: Record) -> tuple[int, int]:
    known = head.tile != (0, 0)
    if not known and not given:
        fix = "Give --window: the side in pixels of what the network is to see at once."
        raise UsageError("the images of its data set vary in size", record.key, fix)
    if known and given and (given, given) != head.tile:
        raise UsageError(
            f"the record was made on tiles of {head.tile[0]} x {head.tile[1]}", "--window", "Leave it out."
        )
    return head.tile if known else (given, given)


def _spec_of(head: HeadFile, units: Mapping[str, Unit], window: tuple[int, int]) -> DatasetSpec:
    """Images that have the bands that were read, each sensor's in one layer."""
    unstated = [sensor for sensor in head.sources if sensor not in units]
    if unstated:
        raise UsageError(f"the unit of {unstated[0]} is not stated", "--unit")
    bands = {sensor: tuple(dict.fromkeys(name for name in names if name)) for sensor, names in head.sources.items()}
    return image_spec(bands, units, window, gsd_m=head.gsd_m)


def _same_adapter(card: BackboneCard, spec: DatasetSpec, facts: AdapterFacts) -> Adapter:
    """The record's own inputs on this image, and a check that nothing else came out."""
    for one in facts.inputs:  # a head has learnt its unit, also where the network knows none
        for layer in spec.stack_layers(one.sources[0].partition(":")[0] if one.sources else one.sensor):
            conversion(layer.unit, Unit(one.unit), card.id)
    listed = {one.sensor: one for one in card.inputs}
    inputs = tuple(
        replace(
            listed.get(one.sensor, card.inputs[0]),
            sensor=one.sensor,
            bands=one.bands,
            unit=Unit(one.unit),
            steps=tuple(Step(step.op, step.a, step.b) for step in one.steps),  # type: ignore[arg-type]
            product="",
        )
        for one in facts.inputs
    )
    fitted = replace(card, inputs=inputs)
    wiring = wire(fitted.expects, spec, missing=facts.missing, size=facts.size[0] or None)  # type: ignore[arg-type]
    for made, wanted in zip(adapter_facts(wiring).inputs, facts.inputs, strict=True):
        same = made.model_copy(update={"stack": wanted.stack, "statistics": wanted.statistics})
        if same != wanted:
            raise BandError(f"{wanted.sensor} cannot be fed as in the record", card.id, "Use the seamo that made it.")
    return Adapter(wiring)
