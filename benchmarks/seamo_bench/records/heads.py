"""What a run trained, kept beside its record for `predict`: `<key>.head.safetensors`.

What is small (`SMALL_BYTES`) is always kept: probes, most dense heads. Whole fine-tuned networks and heavy heads are
kept only where they are asked for, because a suite has hundreds of them.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from seamo.errors import ProtocolError, UsageError
from seamo.identity import write_atomically
from seamo.inputs.wiring import Wiring
from seamo.store.format import finest_layer
from seamo_bench.records.layout import beside_path
from seamo_bench.records.record import HeadFile, Record, read_record

if TYPE_CHECKING:
    from seamo.store.samples import Samples

SMALL_BYTES = 4 * 2**20
State = Mapping[str, NDArray[Any]]


def keep_head(
    results: Path, key: str, head: State, *, store: "Samples", wiring: Wiring, heavy: bool = False
) -> HeadFile | None:
    """Write what a run trained and say what a record needs to know of it.

    Args:
        results: Folder of the results.
        key: Of the record.
        head: Tensors by name; empty where nothing can be applied to a new image.
        store: What was read: its tiles are the windows of `predict`.
        wiring: Which band fed which channel.
        heavy: Keep what is larger than `SMALL_BYTES`, too.

    Returns:
        None if nothing is kept; an older file of this key is removed then.
    """
    path = results / f"{key}.head.safetensors"
    size = sum(one.nbytes for one in head.values())
    if not head or (size > SMALL_BYTES and not heavy):
        path.unlink(missing_ok=True)
        return None
    data = save({name: np.ascontiguousarray(head[name]) for name in sorted(head)})
    results.mkdir(parents=True, exist_ok=True)
    write_atomically(path, data)
    finest = finest_layer(store.spec)
    return HeadFile(
        name=path.name,
        sha256=hashlib.sha256(data).hexdigest(),
        tile=finest.size or (0, 0),
        gsd_m=finest.gsd_m,
        sources={one.source_sensor: tuple(channel.source for channel in one.channels) for one in wiring.sensors},
    )


def kept_record(path: Path) -> tuple[Record, HeadFile]:
    """A record that can be applied, and what it says of its head.

    Raises:
        UsageError: If there is no such file.
        ProtocolError: If it is damaged, not `ok`, or no head was kept.
    """
    if not path.is_file():
        raise UsageError("there is no such record", str(path), "Name a record's .json, with its head beside it.")
    record = read_record(path)
    if record.status != "ok":
        raise ProtocolError(f"is {record.status}: {record.reason}", str(path), "There is nothing to apply.")
    if record.head is None:
        raise ProtocolError(
            f"no trained head is kept beside this record of {record.facts.protocol.id}",
            where=record.key,
            fix=f"Neighbours and cross-validation have none. Else remove {path.name} and run its suite again with "
            f"--keep-models (what is over {SMALL_BYTES >> 20} MiB is not kept without it).",
        )
    return record, record.head


def load_head(head: HeadFile, results: Path) -> dict[str, NDArray[Any]]:
    """The tensors beside a record.

    Raises:
        ProtocolError: If the file is not there, or is not the one that the record names.
    """
    path = beside_path(results, head.name, head.sha256)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ProtocolError(
            f"the trained head of this record cannot be read ({error.strerror})",
            str(path),
            "Copy it beside the record.",
        ) from error
    if hashlib.sha256(data).hexdigest() != head.sha256:
        raise ProtocolError(
            "is not the file that the record describes (its sha256 differs)",
            str(path),
            "Remove the record's .json and run the cell again.",
        )
    try:
        tensors: dict[str, NDArray[Any]] = load(data)
    except SafetensorError as error:
        raise ProtocolError(f"is not a safetensors file ({error})", str(path)) from error
    return tensors
