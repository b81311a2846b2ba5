"""Claims at an address: which cells the runs that write there are at.

A claim is `<address>/claims/<key>` with the id of its run and a time, renewed by compare-and-swap. There are no locks,
so that of a killed run stands until it is old; the same command again has the same id and takes its own at once. As in
a folder it is a hint, and no record depends on it. Times are those of whoever wrote them: a machine whose clock is
wrong by more than `OLD_S` has its claims overlooked, or overlooks others', and cells are done twice.
"""

import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from seamo.errors import StoreError
from seamo.files import Files
from seamo_bench.runs.claims import CLAIMS, OLD_S, RENEW_S, State, claim_bytes

_AT_ONCE = 8  # claims that are asked for


class ClaimsThere:
    """The claims at one address.

    Args:
        files: At the address.
        who: Random id of this run.
    """

    def __init__(self, files: Files, who: str) -> None:
        self._files, self._who = files, who

    def states(self, keys: Sequence[str]) -> dict[str, State]:
        """Key -> whether another run is at this cell and gets on, or none is."""
        if len(keys) == 1:
            return {keys[0]: self._state(keys[0])}
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return dict(zip(keys, pool.map(self._state, keys), strict=True))

    @contextmanager
    def claimed(self, key: str) -> "Iterator[ClaimThere | None]":
        """Claim a cell for as long as what is inside takes; None if another run is at it."""
        claim = ClaimThere(self._files, f"{CLAIMS}/{key}", self._who)
        if not claim.take():
            yield None
            return
        try:
            yield claim
        finally:
            with suppress(StoreError):  # it gets old
                self._files.delete([f"{CLAIMS}/{key}"])

    def sweep(self) -> None:
        """Remove claims that are old. One listing."""
        keys = [name.removeprefix(f"{CLAIMS}/") for name in self._files.names(CLAIMS)]
        free = [key for key, state in self.states(keys).items() if state == "free"]
        if free:
            self._files.delete([f"{CLAIMS}/{key}" for key in free])

    def _state(self, key: str) -> State:
        return "held" if is_held(self._files.find(f"{CLAIMS}/{key}"), self._who) else "free"


class ClaimThere:
    """A cell that this run is at.

    Args:
        files: At the address.
        name: Of the claim there.
        who: Random id of this run.
    """

    def __init__(self, files: Files, name: str, who: str) -> None:
        self._files, self._name, self._who, self._renewed = files, name, who, time.monotonic()

    def take(self) -> bool:
        """Say that this run is at the cell, unless another one is."""
        said = claim_bytes(self._who)
        return (
            self._files.swap(self._name, lambda there: there if there and is_held(there, self._who) else said) == said
        )

    def renew(self) -> None:
        """Say that the work gets on; cheap enough for every step of it."""
        if time.monotonic() - self._renewed >= RENEW_S:
            self._renewed = time.monotonic()
            with suppress(StoreError):
                self.take()


def is_held(claim: bytes | None, who: str) -> bool:
    """Whether a claim is that of another run, and not old; what is no claim is none."""
    try:
        said = json.loads(claim or b"")
        age = abs((datetime.now(UTC) - datetime.fromisoformat(said["time"])).total_seconds())
        return bool(said["id"] != who) and age < OLD_S
    except (ValueError, TypeError, KeyError):
        return False
