"""Pooled features, computed once per (store content, card and weights, adapter) and kept in parts on disk.

A part is two files, `<name>.rows.npy` and `<name>.npy` (float32, one row a sample), each written atomically; it
counts when both are there. Whoever asks for rows gets what is cached and computes the rest, so protocols, label
fractions and killed runs share one cache. What they get is a `FeatureTable`, which need not fit into memory.
"""

import hashlib
import io
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from seamo.data.loader import Loader
from seamo.errors import ProtocolError
from seamo.identity import digest, write_atomically
from seamo.inputs.check import check_range
from seamo.inputs.wiring import check_trained
from seamo_bench.facts import AdapterFacts, BackboneFacts, adapter_facts
from seamo_bench.features.table import FeatureTable, Floats, Part
from seamo_bench.network import Backbone
from seamo_bench.protocol import Progress, Rows, silent

if TYPE_CHECKING:
    from seamo.store.samples import Samples

log = logging.getLogger(__name__)

VERSION = 1  # raised when the way from pixels to features changes
PART_ROWS = 2048
FIRST = 64  # images that are looked at after normalisation, whatever the batch size
NOTES = "first-batch.json"


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
    """

    def __init__(self, root: Path, store: "Samples", backbone: Backbone, *, facts: BackboneFacts, work: Work) -> None:
        if backbone.adapter is None:
            raise ProtocolError("was not loaded for a store", backbone.card.id, "load_backbone(..., store=store)")
        self.folder = root / cache_name(store.content, facts, adapter_facts(backbone.adapter.wiring))
        self._store, self._backbone, self._work = store, backbone, work
        self._parts = read_parts(self.folder, len(store))

    def table(self, rows: Rows) -> FeatureTable:
        """Features of the given rows, in their order; what is not cached is computed first.

        Raises:
            ProtocolError: If the first batch is not normalised, or a feature is not finite.
        """
        self.fill(rows)
        parts = self._parts
        return FeatureTable(parts.files, parts.where[rows], parts.width)

    def fill(self, rows: Rows) -> None:
        """Compute and keep the features of those rows that are not cached."""
        missing = np.unique(rows[self._parts.where[rows, 0] < 0])
        if len(missing):
            self._compute(missing)
            self._parts = read_parts(self.folder, len(self._store))

    @property
    def notes(self) -> tuple[str, ...]:
        """What the first batch showed after normalisation."""
        path = self.folder / NOTES
        return tuple(json.loads(path.read_text())) if path.is_file() else ()

    def _compute(self, rows: Rows) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        work, adapter = self._work, self._backbone.adapter
        if adapter is None:  # cannot be: __init__ looked
            return
        check_trained(adapter.wiring)
        layers = adapter.wiring.layers
        if not (self.folder / NOTES).is_file():  # of the very first images: a resumed run says what the first one said
            batch = next(iter(Loader(self._store, rows[:FIRST], FIRST, layers=layers, shuffle=False)))
            notes = check_range(adapter(batch), adapter.wiring)
            write_atomically(self.folder / NOTES, json.dumps(notes).encode())
        network = self._backbone.network.to(work.device).eval()
        loader = Loader(self._store, rows, work.batch_size, layers=layers, workers=work.workers, shuffle=False)
        part = max(1, PART_ROWS // work.batch_size) * work.batch_size
        kept_rows: list[Rows] = []
        kept: list[Floats] = []
        done = 0
        with torch.inference_mode():
            for batch in loader:
                batch = batch.to(work.device)
                inputs = adapter(batch)
                real = ~batch.padding
                features = network.forward_features(inputs).pooled[real].float().cpu().numpy()
                if not np.isfinite(features).all():
                    first = int(np.flatnonzero(~np.isfinite(features).all(axis=1))[0])
                    raise ProtocolError(
                        f"gives features that are not finite, first for {batch.keys[first]}", self._backbone.card.id
                    )
                kept.append(features)
                kept_rows.append(batch.rows[real].cpu().numpy())
                done += len(features)
                work.progress(done, len(rows), f"features of {self._backbone.card.id}")
                if sum(len(one) for one in kept) >= part:
                    write_part(self.folder, np.concatenate(kept_rows), np.concatenate(kept))
                    kept_rows, kept = [], []
        if kept:
            write_part(self.folder, np.concatenate(kept_rows), np.concatenate(kept))


@dataclass(frozen=True, slots=True, eq=False)
class CachedParts:
    """What a cache's folder holds.

    Args:
        files: Every complete part.
        where: (rows of the store, 2): part and position in it of each, -1 where it is in none.
        width: D; 0 without any part.
    """

    files: tuple[Part, ...]
    where: NDArray[np.int64]
    width: int


def read_parts(folder: Path, num_rows: int) -> CachedParts:
    """Look which rows of a store a cache's folder has; of a row that is in two parts, the first one counts."""
    files: list[Part] = []
    where = np.full((num_rows, 2), -1, dtype=np.int64)
    width = 0
    for path in sorted(folder.glob("*.rows.npy")):
        features = path.with_name(path.name.removesuffix(".rows.npy") + ".npy")
        if features.is_file():
            try:
                rows, mapped = np.load(path), np.load(features, mmap_mode="r")
            except (OSError, ValueError, EOFError) as error:  # a disk that failed: computed and written again
                log.warning("%s is left out, it is damaged: %s", features, error)
                continue
            new = where[rows, 0] < 0
            where[rows[new], 0] = len(files)
            where[rows[new], 1] = np.flatnonzero(new)
            width = mapped.shape[1]
            files.append(Part(features, mapped.offset))
    return CachedParts(tuple(files), where, width)


def write_part(folder: Path, rows: Rows, features: Floats) -> None:
    """Keep the features (n, D) of n rows; the part counts when its second file is there."""
    name = hashlib.sha256(rows.tobytes()).hexdigest()[:16]
    write_atomically(folder / f"{name}.rows.npy", _npy(rows))
    write_atomically(folder / f"{name}.npy", _npy(features))


def cache_name(content: str, backbone: BackboneFacts, adapter: AdapterFacts) -> str:
    """Folder of a cache: the digest of everything that decides the features."""
    return digest(
        {
            "version": VERSION,
            "content": content,
            "backbone": backbone.model_dump(mode="json"),
            "adapter": adapter.model_dump(mode="json"),
        }
    )[:24]


def _npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


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
