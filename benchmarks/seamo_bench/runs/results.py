"""Where a run's results go: a folder of this disk, or an address that runs of several machines write to.

At an address nothing is kept here but features, in a scratch folder that the same command finds again and that is gone
when a run has ended well: the address is the truth.
"""

import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Protocol

from seamo.addresses import address_of, disk_path
from seamo.disk import hold, is_own_folder
from seamo.errors import StoreError
from seamo.files import Files, open_files
from seamo.identity import digest
from seamo_bench.features.shared import SharedCaches
from seamo_bench.predictions import Predictions
from seamo_bench.records.put import put_once, whole_record
from seamo_bench.records.record import Record, read_record
from seamo_bench.records.there import put_there, record_there, whole_there
from seamo_bench.runs.claims import Claimed, State, claim_state, claimed, sweep_claims
from seamo_bench.runs.claims_there import ClaimsThere

FEATURES = "features"  # folder of the caches, inside the results
Write = Callable[[Path], Record]
"""Writes record, predictions and head into the folder that it is given."""


class ResultsError(StoreError):
    """The address of the results cannot be read or written: no fault of the cell that a run is at."""


class Results(Protocol):
    """What a run asks of where its results go.

    Args:
        where: The folder or address, for messages.
        is_here: On a disk, where looking for what others have written costs nothing.
        poll_s: Between looks at the cells of other runs.
        features: Folder of feature caches, of this disk.
        shared: Caches of other machines.
    """

    where: str
    is_here: bool
    poll_s: float
    features: Path
    shared: SharedCaches | None

    def record(self, key: str) -> Record | None:
        """The record of this key, however it ended; None if it is not there."""

    def whole(self, key: str) -> Record | None:
        """The record of a run that ended well, if it is there with its predictions; None else."""

    def put(self, key: str, predictions: Predictions | None, write: Write) -> Record:
        """Have a record written, unless a run with this key has ended well; the record that is there then.

        Args:
            key: Of the record.
            predictions: None of one that failed or is impossible.
            write: Writes it.
        """

    def forget(self, keys: Sequence[str]) -> None:
        """Remove blanks of cells that are not impossible any more."""

    def states(self, keys: Sequence[str]) -> Mapping[str, State]:
        """Claim -> whether a run is at its cell."""

    def claimed(self, key: str) -> AbstractContextManager[Claimed | None]:
        """Claim a cell for as long as what is inside takes; None if another run is at it."""

    def sweep(self) -> None:
        """Remove claims that say nothing any more."""


class OnDisk:
    """Results in a folder.

    Args:
        folder: Made when the first record is written.
    """

    is_here, poll_s = True, 1.0
    shared: SharedCaches | None = None

    def __init__(self, folder: Path) -> None:
        self._folder, self.where, self.features = folder, str(folder), folder / FEATURES

    def record(self, key: str) -> Record | None:
        """As `Results` says; a damaged one is an error."""
        path = self._folder / f"{key}.json"
        return read_record(path) if path.is_file() else None

    def whole(self, key: str) -> Record | None:
        """As `Results` says."""
        return whole_record(self._folder, key)

    def put(self, key: str, predictions: Predictions | None, write: Write) -> Record:
        """As `Results` says."""
        return put_once(self._folder, key, predictions, write)

    def forget(self, keys: Sequence[str]) -> None:
        """As `Results` says."""
        for key in keys:
            (self._folder / f"{key}.json").unlink(missing_ok=True)

    def states(self, keys: Sequence[str]) -> Mapping[str, State]:
        """As `Results` says."""
        return {key: claim_state(self._folder, key) for key in keys}

    def claimed(self, key: str) -> AbstractContextManager[Claimed | None]:
        """As `Results` says."""
        return claimed(self._folder, key)

    def sweep(self) -> None:
        """As `Results` says."""
        sweep_claims(self._folder)


class AtAddress:
    """Results at an address.

    Args:
        files: At the address.
        scratch: A folder of this run alone.
    """

    is_here, poll_s = False, 5.0

    def __init__(self, files: Files, scratch: Path) -> None:
        self._files, self._scratch, self.where = files, scratch, files.url
        self.features = scratch / FEATURES
        self.shared: SharedCaches | None = SharedCaches(files, FEATURES)
        self._claims = ClaimsThere(files, _id_of(scratch))

    def record(self, key: str) -> Record | None:
        """As `Results` says; a damaged one is none."""
        with _reached():
            return record_there(self._files, key)

    def whole(self, key: str) -> Record | None:
        """As `Results` says."""
        with _reached():
            return whole_there(self._files, key)

    def put(self, key: str, predictions: Predictions | None, write: Write) -> Record:
        """As `Results` says."""
        with _reached():
            return put_there(self._files, key, is_blank=predictions is None, write=write, scratch=self._scratch)

    def forget(self, keys: Sequence[str]) -> None:
        """As `Results` says."""
        with _reached():
            self._files.delete([f"{key}.json" for key in keys])

    def states(self, keys: Sequence[str]) -> Mapping[str, State]:
        """As `Results` says."""
        with _reached():
            return self._claims.states(keys)

    @contextmanager
    def claimed(self, key: str) -> Iterator[Claimed | None]:
        """As `Results` says."""
        with ExitStack() as stack:
            with _reached():
                claim = stack.enter_context(self._claims.claimed(key))
            yield claim

    def sweep(self) -> None:
        """As `Results` says; all records are there by now, so it is no error if it cannot."""
        with suppress(StoreError):
            self._claims.sweep()


@contextmanager
def opened_results(place: Path) -> Iterator[Results]:
    """Where results go, for as long as a run takes.

    Args:
        place: A folder, or an address.

    Raises:
        StoreError: If there can be no scratch folder.
    """
    folder = disk_path(place)
    if folder is not None:
        yield OnDisk(folder)
        return
    with _scratch(place) as made:
        yield AtAddress(open_files(place), made)


@contextmanager
def _reached() -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        raise ResultsError(error.what, error.where, f"{error.fix} Finished records are kept.".strip()) from error


@contextmanager
def _scratch(place: Path) -> Iterator[Path]:
    """A private folder that the same command finds again after a kill, and that no two runs have at once."""
    root = Path(tempfile.gettempdir())
    stem = f"seamo-run-{digest(address_of(place))[:16]}"
    tried = ((one, _held(one)) for one in (root / f"{stem}-{number}" for number in count()))
    folder, handle = next((one, handle) for one, handle in tried if handle is not None)
    try:
        yield folder
        shutil.rmtree(folder, ignore_errors=True)
        for left in root.glob(f"{stem}-*"):  # of runs that were killed and not given again
            other = _held(left)
            if other is not None:
                shutil.rmtree(left, ignore_errors=True)
                os.close(other)
    finally:
        os.close(handle)


def _held(folder: Path) -> int | None:
    """An open handle that holds a folder of one's own, made if it is not there; None if others have it."""
    try:
        if not is_own_folder(folder):
            return None
        handle = hold(folder, folder=True)
        if handle is not None:
            os.fchmod(handle, 0o700)
        return handle
    except OSError as error:
        raise StoreError(
            f"cannot be made ({error.strerror})", str(folder), "Set TMPDIR to a folder with room."
        ) from error


def _id_of(scratch: Path) -> str:
    """The random id of the run that has this scratch folder, and of those before it that were killed."""
    path = scratch / "id"
    if not path.is_file() or not path.read_text():
        path.write_text(secrets.token_hex(8))
    return path.read_text()
