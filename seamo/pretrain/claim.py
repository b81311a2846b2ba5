"""Who trains into a run at an address: a claim that is renewed while somebody does.

It keeps a second process from training the same for nothing, and nothing else depends on it: where two train all the
same, what they put stays consistent (`seamo.pretrain.objects`), and who comes second to a checkpoint is told.
"""

import logging
import secrets
import time
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

from seamo.errors import StoreError, TrainingError
from seamo.files import Files
from seamo.identity import write_atomically
from seamo.seal import open_document, seal_document

log = logging.getLogger(__name__)

NAME = "claim.json"
RENEW_S = 20.0  # between two renewals
STALE_S = 90.0  # without one, after which a claim is taken over
_LOOK_S = 1.0
_LEAVE_S = 10.0  # for a renewal that is under way when the claim is given back
_WAIT = "Wait for it, or stop it; a killed one's claim is taken over by --resume after a minute and a half."


class RunClaim:
    """A claim of this process.

    Args:
        files: The run.
        mine: A file of this disk that remembers who claimed from here: a killed process's claim is known by it.
    """

    def __init__(self, files: Files, mine: Path) -> None:
        self._files, self._mine = files, mine
        self._id = secrets.token_hex(8)
        self._over = Event()
        self._thread = Thread(target=self._renew, name="seamo-claim", daemon=True)
        self.is_lost = False
        """Whether another process has taken it over."""

    def take(self) -> None:
        """Claim the run, where nobody else does, and begin to renew that.

        Who finds a claim waits for a sign of life.

        Raises:
            TrainingError: If another process trains into it.
            StoreError: If it cannot be claimed.
        """
        known = self._mine.read_text(encoding="utf-8") if self._mine.is_file() else ""
        write_atomically(self._mine, self._id.encode())
        first, since = self._read(), time.monotonic()
        if first and first["id"] != known and _age(first) < STALE_S:
            log.warning("%s is claimed by another process: waiting to see whether it lives", self._files.url)
            while time.monotonic() - since < STALE_S and _age(first) < STALE_S:
                time.sleep(_LOOK_S)
                now = self._read()
                if not now:
                    first = now
                    break
                if now != first:
                    raise self._taken()
        self._swap(first)
        self._thread.start()

    def give_back(self) -> None:
        """Renew it no more, and remove it if it is still ours."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(_LEAVE_S)
        with suppress(StoreError):  # it becomes stale
            if self._read().get("id") == self._id:
                self._files.delete([NAME])
        self._mine.unlink(missing_ok=True)

    def check(self) -> None:
        """Refuse to go on where another process has taken over.

        Raises:
            TrainingError: If one has.
        """
        if self.is_lost:
            raise self._taken()

    def _swap(self, expected: dict[str, Any]) -> None:
        def claimed(data: bytes | None) -> bytes:
            there = self._parse(data)
            if data is not None and there not in (expected, {}) and there.get("id") != self._id:
                self.is_lost = True
                return data
            return seal_document({"id": self._id, "renewed": time.time()})

        self._files.swap(NAME, claimed)
        self.check()

    def _renew(self) -> None:
        while not self._over.wait(RENEW_S):
            try:
                self._swap({})
            except StoreError as error:
                log.info("the claim was not renewed: %s", error)
            except TrainingError:
                return

    def _read(self) -> dict[str, Any]:
        return self._parse(self._files.find(NAME))

    def _parse(self, data: bytes | None) -> dict[str, Any]:
        """What a claim says; nothing for one that is not there, or is none."""
        if data is None:
            return {}
        try:
            found = open_document(data, self._files.where(NAME), error=StoreError, fix="")
        except StoreError:
            return {}
        return found if isinstance(found.get("renewed"), float) and isinstance(found.get("id"), str) else {}

    def _taken(self) -> TrainingError:
        return TrainingError("another process is training there", self._files.url, _WAIT)


def _age(claim: dict[str, Any]) -> float:
    return time.time() - float(claim["renewed"])
