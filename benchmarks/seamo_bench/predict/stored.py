"""A record made to work again on the store that it is of: on any date of it.

`applied` is for images from outside; here bands, units and grids are the store's own, so that what is computed is
bit for bit what the run computed, and features that the run kept are read.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seamo.data.loader import Loader
from seamo.errors import BandError, ProtocolError
from seamo.inputs.adapter import Adapter
from seamo.inputs.statistics import store_statistics
from seamo.inputs.wiring import Wiring, wire
from seamo.store.samples import Samples
from seamo_bench.facts import adapter_facts, asked_of
from seamo_bench.features.cache import FeatureCache, Work
from seamo_bench.features.table import Floats, Rows
from seamo_bench.network import Backbone, Features, Network
from seamo_bench.predict.applied import apply_of, same_backbone
from seamo_bench.protocol import Trained
from seamo_bench.protocols import find_protocol
from seamo_bench.records.heads import kept_record, load_head
from seamo_bench.records.record import Record
from seamo_bench.zoo.catalogue import BackboneSource
from seamo_bench.zoo.loading import load_source

if TYPE_CHECKING:
    from seamo_bench.protocol import Scores

_GIVEN = "features"  # under which features that are known take the place of images


@dataclass(frozen=True, slots=True, eq=False)
class RecordOnStore:
    """The backbone of a record, fitted to its store as in the run.

    Args:
        record: The record.
        store: Its store.
        backbone: Loaded.
        wiring: As in the run.
        features: Folder of the feature caches.
        work: Where to compute.
    """

    record: Record
    store: Samples
    backbone: Backbone
    wiring: Wiring
    features: Path
    work: Work

    @property
    def date(self) -> int:
        """Which date the run looked at."""
        return self.wiring.dates[0]

    @property
    def times(self) -> int:
        """Dates that every stack that is read has."""
        return min(sensor.layers[0].times for sensor in self.wiring.sensors)

    def pooled(self, rows: Rows, date: int) -> Floats:
        """(n, D) pooled features of some rows on one date, from the cache or computed and kept there.

        Raises:
            ProtocolError: If features are not finite, or the encoder is new and untrained.
        """
        backbone = replace(self.backbone, adapter=Adapter(self.on(date)))
        facts = self.record.facts.backbone
        return FeatureCache(self.features, self.store, backbone, facts=facts, work=self.work).table(rows).read()

    def on(self, date: int) -> Wiring:
        """The wiring of another date; everything else is the run's."""
        return replace(self.wiring, dates=(date,))


def wiring_again(record: Record, store: Samples, source: BackboneSource) -> Wiring:
    """How the run read its store, from the record's facts.

    Raises:
        ProtocolError: If the record says nothing about it.
        BandError: If the store cannot be read as the record says.
    """
    facts = record.facts
    if facts.adapter is None:
        raise ProtocolError("says nothing about its inputs", record.key)
    dated = re.match(r"dates? (\d+)", facts.adapter.resize)
    made = wire(
        source.card.expects,
        store.spec,
        statistics=store_statistics(store),
        missing=facts.adapter.missing,  # type: ignore[arg-type]
        size=facts.adapter.size[0] or None,
        date=int(dated[1]) if dated else 0,
        inputs=asked_of(facts.inputs).inputs,
    )
    if adapter_facts(made) != facts.adapter:
        raise BandError("reads this store in another way than the record says", source.card.id, "Run the cell again.")
    return made


def stored(
    record: Record, store: Samples, features: Path, work: Work, *, name: str = "", weights: Path = Path("weights")
) -> RecordOnStore:
    """Load the backbone of a record for its store.

    Args:
        record: Of a run that is ok.
        store: That it names.
        features: Folder of the feature caches: that of its results.
        work: Where to compute.
        name: By which the backbone is found, where its id is not enough: the folder of a run.
        weights: Folder of checkpoint files.

    Raises:
        CheckpointError, UsageError: If the backbone at hand is not the record's, or nobody knows it.
        BandError, ProtocolError: If it reads the store in another way than the record says.
    """
    found, card, file = same_backbone(record, name, weights)
    source = BackboneSource(found.family, card, file)
    wiring = wiring_again(record, store, source)
    return RecordOnStore(record, store, load_source(source, wiring), wiring, features, work)


def features_on(one: RecordOnStore, rows: Rows, there: NDArray[np.bool_]) -> Floats:
    """Pooled features of some rows on every date.

    Args:
        one: Of the record.
        rows: Of the store.
        there: (n, T) whether a row has an image on a date.

    Returns:
        (n, T, D) float32, NaN where there is no image.
    """
    found: Floats | None = None
    for date in range(there.shape[1]):
        if there[:, date].any():
            pooled = one.pooled(rows[there[:, date]], date)
            if found is None:
                found = np.full((*there.shape, pooled.shape[1]), np.nan, dtype=np.float32)
            found[there[:, date], date] = pooled
    return np.full((*there.shape, 1), np.nan, dtype=np.float32) if found is None else found


def scores_on(one: RecordOnStore, path: Path, rows: Rows, there: NDArray[np.bool_]) -> Floats:
    """What a record's head says of some rows on every date.

    Args:
        one: Of the record, or of another seed of its cell.
        path: The record's JSON, with its head beside it.
        rows: Ascending.
        there: (n, T) whether a row has an image on a date.

    Returns:
        (n, T, K) logits, NaN where there is no image.

    Raises:
        ProtocolError: If no head was kept, or it does not fit.
    """
    record, head = kept_record(path)
    protocol = find_protocol(record.facts.protocol.id)
    if protocol.version != record.facts.protocol.version:
        here, theirs = protocol.version, record.facts.protocol.version
        raise ProtocolError(f"is of version {theirs} of {protocol.id}, here is version {here}", record.key)
    state = load_head(head, path.parent)
    apply = apply_of(protocol, state, record.key)
    on_features, device = protocol.needs == "features", one.work.device
    known = features_on(one, rows, there) if on_features else None
    first = {_GIVEN: torch.zeros(1, known.shape[2])} if known is not None else _first(one, rows)
    trained = Trained(
        network=_Known() if on_features else one.backbone.make(0).to(device),
        state=state,
        params=record.facts.protocol.params,
        num_classes=len(record.facts.task.classes),
        blank=[{name: x.to(device) for name, x in first.items()}],
        tile=head.tile,
        precision=record.facts.precision,
        device=device,
        where=record.key,
    )
    with torch.inference_mode():
        scores = apply(trained)
        found = np.full((*there.shape, len(record.facts.task.classes)), np.nan, dtype=np.float32)
        if known is not None:
            found[there] = scores([{_GIVEN: torch.from_numpy(known[there]).to(device)}]).float().cpu().numpy()
            return found
        for at, date, logits in _of_images(one, scores, rows, there.shape[1]):
            found[at, date] = logits
    found[~there] = np.nan
    return found


class _Known(Network):
    """Stands for a backbone whose features are known."""

    def forward_features(self, inputs: Mapping[str, Tensor]) -> Features:
        return Features(inputs[_GIVEN])


def _first(one: RecordOnStore, rows: Rows) -> Mapping[str, Tensor]:
    loader = Loader(one.store, rows[:1], 1, layers=one.wiring.layers, shuffle=False)
    return one.backbone.adapter(next(iter(loader))) if one.backbone.adapter else {}


def _of_images(one: RecordOnStore, scores: "Scores", rows: Rows, times: int) -> Iterator[tuple[Rows, int, Floats]]:
    """(positions in `rows`, date, logits), until every row was there on every date."""
    adapter, done = Adapter(one.wiring), 0
    for batch in Loader(
        one.store, rows, one.work.batch_size, layers=one.wiring.layers, workers=one.work.workers, shuffle=False
    ):
        moved, real = batch.to(one.work.device), ~batch.padding.numpy()
        at = np.searchsorted(rows, batch.rows.numpy()[real])
        for date in range(times):
            yield at, date, scores([adapter(moved, date=date)]).float().cpu().numpy()[real]
        done += len(at)
        one.work.progress(done, len(rows), f"{one.backbone.card.id} on {times} dates")
