"""Pooled features, computed once per (pixels of the store, card and weights, wiring) and kept in parts on disk.

Whoever asks for rows gets what is kept and whole (`seamo_bench.features.parts`) and computes the rest, so protocols,
label fractions, views of one store and killed runs share one cache. What they get is a `FeatureTable`, which need not
fit into memory.
"""

import itertools
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from seamo.data.batch import Batch
from seamo.data.loader import Loader
from seamo.errors import ProtocolError
from seamo.identity import digest
from seamo.inputs.check import check_range
from seamo.inputs.wiring import Wiring, check_trained
from seamo_bench.facts import BackboneFacts, adapter_facts
from seamo_bench.features.parts import (
    PART_ROWS,
    CachedParts,
    notes_file,
    read_notes,
    read_parts,
    sweep,
    write_notes,
    write_part,
)
from seamo_bench.features.shared import SharedCaches
from seamo_bench.features.table import FeatureTable, Floats
from seamo_bench.network import Backbone
from seamo_bench.protocol import Progress, Rows, silent

if TYPE_CHECKING:
    from seamo.store.samples import Samples

VERSION = 1  # raised when the way from pixels to features changes
FIRST = 64  # images that are looked at after normalisation, whatever the batch size
_TRIES = 3  # to keep features that are whole when they are read again


@dataclass(frozen=True, slots=True)
class Work:
    """How features are computed; nothing here changes a number beyond rounding.

    Args:
        device: Where.
        batch_size: Images at a time.
        workers: Reading threads.
        progress: Called with (done, total, what).
    """

    device: torch.device
    batch_size: int = 64
    workers: int = 2
    progress: Progress = silent


class FeatureCache:
    """Features of one backbone on one store.

    Args:
        root: Folder of all feature caches.
        store: The store.
        backbone: Loaded for that store.
        facts: Of the backbone, as the record has them.
        work: How to compute.
        shared: Caches of other machines; None: there are none.
    """

    def __init__(
        self,
        root: Path,
        store: "Samples",
        backbone: Backbone,
        *,
        facts: BackboneFacts,
        work: Work,
        shared: SharedCaches | None = None,
    ) -> None:
        if backbone.adapter is None:
            raise ProtocolError("was not loaded for a store", backbone.card.id, "load_backbone(..., store=store)")
        self.folder = root / cache_name(store.pixels, facts, backbone.adapter.wiring)
        self._store, self._backbone, self._work, self._adapter = store, backbone, work, backbone.adapter
        self._shared = shared
        self._parts: CachedParts | None = None  # read when the first features are asked for, which not every cell does
        self._notes: tuple[str, ...] = ()

    def table(self, rows: Rows) -> FeatureTable:
        """Features of the given rows, in their order; what is not cached is computed first.

        Raises:
            ProtocolError: If the first batch is not normalised, a feature is not finite, or what is kept is not there
                when it is read again.
        """
        parts = self._whole(rows)
        return FeatureTable(parts.files, parts.where[rows], parts.width)

    def fill(self, rows: Rows) -> None:
        """Compute and keep the features of those rows that are not cached, or not as they were kept.

        Raises:
            ProtocolError: As `table`.
        """
        self._whole(rows)

    def _whole(self, rows: Rows) -> CachedParts:
        """What is kept, all of `rows` among it."""
        check_trained(self._adapter.wiring)
        parts = self._parts
        if parts is None:
            if self._shared is not None:
                self._shared.fetch(self.folder)
            parts = read_parts(self.folder, len(self._store))
            notes = read_notes(self.folder, self._store.content)
            # Of the very first images: a resumed run says what the first one said, a run of another view its own.
            self._notes = self._look(np.unique(rows)[:FIRST]) if notes is None and len(rows) else notes or ()
        for _ in range(_TRIES):
            if not len(_missing(parts, rows)):
                break
            parts = sweep(self.folder, len(self._store))
            missing = _missing(parts, rows)
            if len(missing):
                self._compute(missing)
                parts = read_parts(self.folder, len(self._store))
        self._parts = parts
        if len(_missing(parts, rows)):
            raise ProtocolError(
                "keeps no features: what was written is not what is read", str(self.folder), "Is the disk sound?"
            )
        return parts

    @property
    def notes(self) -> tuple[str, ...]:
        """What the first batch showed after normalisation."""
        return self._notes if self._parts is not None else read_notes(self.folder, self._store.content) or ()

    def _look(self, rows: Rows) -> tuple[str, ...]:
        wiring = self._adapter.wiring
        batch = next(iter(Loader(self._store, rows, FIRST, layers=wiring.layers, shuffle=False)))
        notes = tuple(check_range(self._adapter(batch), wiring))
        self.folder.mkdir(parents=True, exist_ok=True)
        write_notes(self.folder, self._store.content, notes)
        if self._shared is not None:
            self._shared.put(self.folder, [notes_file(self.folder, self._store.content).name])
        return notes

    def _compute(self, rows: Rows) -> None:
        work, adapter = self._work, self._adapter
        layers = adapter.wiring.layers
        network = self._backbone.network.to(work.device).eval()
        loader = Loader(self._store, rows, work.batch_size, layers=layers, workers=work.workers, shuffle=False)
        keeper = _Keeper(self._keep, max(1, PART_ROWS // work.batch_size) * work.batch_size)
        done = 0
        with torch.inference_mode(), keeper:
            waiting: tuple[Batch, Tensor] | None = None  # computed while the next batch is handed to the device
            for batch in itertools.chain(loader, [None]):
                computed = None
                if batch is not None:
                    computed = batch, network.forward_features(adapter(batch.to(work.device))).pooled.float()
                if waiting is not None:
                    rows_there, features = self._arrived(*waiting)
                    keeper.add(rows_there, features)
                    done += len(features)
                    work.progress(done, len(rows), f"features of {self._backbone.card.id}")
                waiting = computed

    def _arrived(self, batch: Batch, pooled: Tensor) -> tuple[Rows, Floats]:
        """Rows and features of a batch on the host.

        Raises:
            ProtocolError: If a feature is not finite.
        """
        real = ~batch.padding.numpy()
        features = pooled.cpu().numpy()[real]
        if not np.isfinite(features).all():
            first = int(np.flatnonzero(~np.isfinite(features).all(axis=1))[0])
            raise ProtocolError(
                f"gives features that are not finite, first for {batch.keys[first]}", self._backbone.card.id
            )
        return batch.rows.numpy()[real], features

    def _keep(self, rows: Rows, features: Floats) -> None:
        names = write_part(self.folder, rows, features)
        if self._shared is not None:
            self._shared.put(self.folder, names)


class _Keeper:
    """Parts are written, sealed and synced by a thread, one at a time, while the next ones are computed.

    Args:
        keep: Rows and features of a part -> kept.
        size: Rows of a part.
    """

    def __init__(self, keep: Callable[[Rows, Floats], None], size: int) -> None:
        self._keep, self._size = keep, size
        self._rows: list[Rows] = []
        self._features: list[Floats] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="seamo-features")
        self._last: Future[None] | None = None

    def add(self, rows: Rows, features: Floats) -> None:
        """Features of some more rows; raises what went wrong with the part before."""
        self._rows.append(rows)
        self._features.append(features)
        if sum(map(len, self._rows)) >= self._size:
            self._begin()

    def _begin(self) -> None:
        if self._last is not None:
            self._last.result()  # no more than two parts are in memory
        rows, features = np.concatenate(self._rows), np.concatenate(self._features)
        self._rows, self._features = [], []
        self._last = self._thread.submit(self._keep, rows, features)

    def __enter__(self) -> "_Keeper":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                if self._rows:
                    self._begin()
                if self._last is not None:
                    self._last.result()
        finally:
            self._thread.shutdown(wait=True)


def _missing(parts: CachedParts, rows: Rows) -> Rows:
    return np.unique(rows[parts.where[rows, 0] < 0])


def cache_name(pixels: str, backbone: BackboneFacts, wiring: Wiring) -> str:
    """Folder of a cache: the digest of everything that decides the features.

    That is the pixels of the store with their keys, dates and places, whatever their labels and splits are (rows are
    the same in every view of them); what the record says of the backbone and of the way to it, the numbers of a store's
    statistics included, the words of where they come from not; and, where a missing band is replaced by its neighbour,
    which one that is.
    """
    facts: dict[str, Any] = {
        "version": VERSION,
        "pixels": pixels,
        "backbone": backbone.model_dump(mode="json"),
        "adapter": adapter_facts(wiring).model_dump(mode="json", exclude={"inputs": {"__all__": {"statistics"}}}),
    }
    for one in facts["adapter"]["inputs"]:
        if not one["sources"]:  # names that were given before there was the field stay
            del one["sources"]
    channels = [channel for sensor in wiring.sensors for channel in sensor.channels]
    neighbours = [
        [channel.band, f"{channel.sensor}:{channel.source}" if channel.sensor else channel.source]
        for channel in channels
        if channel.filled and channel.source
    ]
    if neighbours:
        facts["neighbours"] = neighbours
    return digest(facts)[:24]


def degenerate(features: Floats) -> str:
    """Why features cannot tell samples apart; empty if nothing is suspicious.

    Looked at are the share of dimensions that never change, and the effective rank: exp of the entropy of the
    singular values' shares (Roy and Vetterli 2007), after every dimension was standardised.

    Args:
        features: (N, D), N of a thousand is plenty.
    """
    if len(features) < 3:
        return ""
    x = features.astype(np.float64)
    scale = x.std(axis=0)
    alive = scale > 1e-6 * np.maximum(np.abs(x).max(axis=0), 1e-12)
    if not alive.any():
        return "all features are constant"
    constant = 1.0 - alive.mean()
    if constant > 0.5:
        return f"{constant:.0%} of the features are constant"
    x = (x[:, alive] - x[:, alive].mean(axis=0)) / scale[alive]
    values = np.linalg.svd(x, compute_uv=False)
    share = values[values > 0] / values.sum()
    effective = float(np.exp(-(share * np.log(share)).sum()))
    if effective < 2.0 and min(x.shape) > 4:
        return f"effective rank of the features is {effective:.1f} of {min(x.shape)}"
    return ""
