"""Which cells the runs on one folder of results are at, so that two of them share the work.

A claim is a file `<results>/claims/<key>` with a random id and a time, locked while its run is at that cell. It is a
hint: whoever overlooks one does a cell twice, and records are put once. Without its lock a claim is what a killed run
left, or that of a machine whose locks are not seen here: it is taken, but last. A claim that has not been renewed for a
while is old, whoever has it. At an address it is the same file without a lock (`seamo_bench.runs.claims_there`).
"""

import fcntl
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Protocol

from seamo.disk import hold
from seamo_bench.protocol import Progress
from seamo_bench.runs.cells import Planned

CLAIMS = "claims"  # folder in a folder of results
OLD_S = 900.0  # without a sign of progress
RENEW_S = 30.0
_TRIES, _PAUSE_S = 5, 0.02
State = Literal["free", "left", "held"]


class Claimed(Protocol):
    """A cell that this run is at."""

    def renew(self) -> None:
        """Say that the work gets on; cheap enough for every step of it."""


class Claim:
    """A cell that this run is at, in a folder.

    Args:
        handle: The open file, locked.
    """

    def __init__(self, handle: int) -> None:
        self._handle, self._renewed = handle, time.monotonic()

    def renew(self) -> None:
        """Say that the work gets on; cheap enough for every step of it."""
        if time.monotonic() - self._renewed >= RENEW_S:
            self._renewed = time.monotonic()
            with suppress(OSError):
                os.utime(self._handle)


def claim_state(results: Path, key: str) -> State:
    """Whether a run is at this cell and gets on, perhaps is (there is a claim that nobody holds), or none is."""
    try:
        handle = os.open(results / CLAIMS / key, os.O_RDONLY)
    except OSError:
        return "free"
    try:
        if time.time() - os.fstat(handle).st_mtime >= OLD_S:
            return "free"
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return "held"
        except OSError:  # there are no locks here
            pass
        return "left"
    finally:
        os.close(handle)


@contextmanager
def claimed(results: Path, key: str) -> Iterator[Claim | None]:
    """Claim a cell for as long as what is inside takes; None if another run is at it.

    An old claim is taken over, though its run may still hold the lock.
    """
    path = results / CLAIMS / key
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = None
    for _ in range(_TRIES):
        if claim_state(results, key) == "held":
            yield None
            return
        handle = hold(path, folder=False)
        if handle is not None:
            break
        time.sleep(_PAUSE_S)  # somebody only looked, which takes the lock for a moment; or the claim is old
    if handle is None:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, claim_bytes(secrets.token_hex(8)), 0)
        yield Claim(handle)
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def claim_bytes(who: str) -> bytes:
    """What a claim says now.

    Args:
        who: A random id, which names nobody.
    """
    return json.dumps({"id": who, "time": datetime.now(UTC).isoformat(timespec="seconds")}).encode()


def renewing(claim: Claimed, inner: Progress) -> Progress:
    """A callback that says that the work gets on, here and in the claim."""

    def tell(done: int, total: int, what: str) -> None:
        claim.renew()
        inner(done, total, what)

    return tell


def sweep_claims(results: Path) -> None:
    """Remove claims that say nothing any more: old ones, and those of cells that have a record."""
    folder = results / CLAIMS
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        state = claim_state(results, path.name)
        if state == "free" or (state == "left" and (results / f"{path.name}.json").is_file()):
            path.unlink(missing_ok=True)


def next_cell(
    left: Sequence[Planned], states_of: Callable[[Sequence[str]], Mapping[str, State]], *, after: str
) -> Planned | None:
    """What to do next: on with the present group, then a group that no run is at, then what is free in those of others.

    Args:
        left: Cells that have no record yet, in the order of the plan.
        states_of: Claims -> their states.
        after: The present group.

    Returns:
        None if other runs are at all of them.
    """
    for cell in left:  # most often it is the first one: nobody asks for the others then
        if cell.group == after and states_of([cell.claim])[cell.claim] == "free":
            return cell
    states = states_of([cell.claim for cell in left])
    busy = {cell.group for cell in left if states[cell.claim] != "free"} - {after}
    open_cells = [cell for cell in left if states[cell.claim] != "held"]
    return min(
        open_cells,
        key=lambda cell: (states[cell.claim] == "left", cell.group in busy, cell.group != after),
        default=None,
    )
