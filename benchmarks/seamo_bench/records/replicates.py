"""Replicates kept beside the records, so that tables are made once and read after.

`<results>/intervals/<name>.npz` holds the replicates of one record's predictions under one metric: 32 bytes of sha256,
then an .npz that has it. The name is a hash of the predictions' sha256 and of everything that the numbers depend on; of
a difference of two splits, of the predictions of both.
The folder may be deleted at any time; what is damaged in it is made anew, and `verify` does not read it.
"""

import hashlib
import io
import logging
import os
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from seamo.errors import ProtocolError
from seamo.identity import digest
from seamo_bench.facts import scoring_of
from seamo_bench.records.layout import is_shared
from seamo_bench.records.record import Record, load_predictions, predictions_file
from seamo_bench.scores.blocks import in_units, scheme_km, with_unit
from seamo_bench.scores.replicates import RESAMPLES, VERSION, Replicates, replicate

FOLDER = "intervals"
_SEAL = hashlib.sha256().digest_size
_log = logging.getLogger(__name__)


def replicates_of(
    record: Record, results: Path, name: str, *, block_km: int | None = None, resamples: int = RESAMPLES
) -> Replicates:
    """The replicates of a record's score, from the folder `intervals` or made and kept there.

    Under a split scheme of whole blocks of land those blocks are resampled, or scenes where these are fewer: samples of
    one block are all in the test or none, and alike. Predictions that hold no places have their scenes or samples.

    Args:
        record: Of a run that is ok.
        results: Its folder.
        name: Metric.
        block_km: Side of the blocks; None: as the record's split scheme says, 0: none.
        resamples: Of the bootstrap.

    Raises:
        ProtocolError: If the predictions are missing or changed.
    """
    predictions_file(record, results)  # changed predictions are refused, kept or not
    side_km = scheme_km(record.facts.split.scheme) if block_km is None else block_km

    def make() -> Replicates:
        run, unit = in_units(load_predictions(record, results), side_km)
        return with_unit(replicate(run, name, scoring_of(record.facts), resamples=resamples), unit)

    parts = replicate_parts(record, name, resamples)
    return kept_replicates(results, [*parts, f"blocks of {side_km} km"] if side_km else parts, make)


def replicate_parts(record: Record, name: str, resamples: int) -> list[object]:
    """Everything that replicates of a record's score depend on but its units.

    Raises:
        ProtocolError: If the record has no predictions.
    """
    if record.predictions is None:
        raise ProtocolError(f"has no predictions, it is {record.status}: {record.reason}", where=record.key)
    task = record.facts.task
    return [record.predictions.sha256, name, task.kind, task.background, task.positive, resamples, VERSION]


def kept_replicates(results: Path, parts: Sequence[object], make: Callable[[], Replicates]) -> Replicates:
    """Replicates from the folder `intervals`, or made and kept there.

    In a results repository none are read or kept: whoever sends a record could send them, too.

    Args:
        results: Folder of the records.
        parts: Everything that the numbers depend on, as plain values.
        make: Makes them where they are not kept.
    """
    if is_shared(results):
        return make()
    path = results / FOLDER / f"{digest(list(parts))}.npz"
    found = _read(path)
    if found is None:
        found = make()
        try:
            path.parent.mkdir(exist_ok=True)
            # Renamed into place, but not flushed to the disk: what a crash damages is made anew.
            part = path.with_suffix(f".{os.getpid()}.part")
            part.write_bytes(_bytes(found))
            part.replace(path)
        except OSError as error:  # a folder that cannot be written to is no reason to show no table
            _log.info("replicates are not kept: %s", error)
    return found


def _bytes(one: Replicates) -> bytes:
    """The sha256 of an .npz, 32 bytes, and the .npz."""
    buffer = io.BytesIO()
    np.savez(
        buffer,
        value=np.array(one.value),
        values=one.values,
        words=np.array([one.kind, one.metric, one.unit, one.samples, one.truth]),
        counts=np.array([one.num_samples, one.num_units, one.folds]),
    )
    data = buffer.getvalue()
    return hashlib.sha256(data).digest() + data


def _read(path: Path) -> Replicates | None:
    try:
        kept = path.read_bytes()
        seal, data = kept[:_SEAL], kept[_SEAL:]
        if hashlib.sha256(data).digest() != seal:
            _log.info("%s is made anew: it is not what was kept", path)
            return None
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            kind, metric, unit, samples, truth = (str(word) for word in arrays["words"])
            num_samples, num_units, folds = (int(count) for count in arrays["counts"])
            value, values = float(arrays["value"]), arrays["values"]
    except FileNotFoundError:
        return None
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        _log.info("%s is made anew: %s", path, error)
        return None
    return Replicates(value, values, kind, metric, num_samples, num_units, unit, folds, samples, truth)  # type: ignore[arg-type]
