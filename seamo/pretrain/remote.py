"""A run whose folder is at an address: trained in a scratch folder of this disk, put there checkpoint by checkpoint.

Everything there is put once, `checkpoint.json` behind the other files of its checkpoint and `checksums.json` behind all
of the run, so that what is there is whole. A checkpoint carries the logs as it sealed them; they are no file of the run
before it ends. A checkpoint is put beside training, and the next one waits for it.
"""

import hashlib
import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Thread

from seamo.addresses import address_of, last_name
from seamo.disk import is_own_folder, locked, remove
from seamo.errors import SeamoError, StoreError, TrainingError, UsageError
from seamo.files import open_files
from seamo.files.protocol import PROBE
from seamo.identity import digest
from seamo.model.files import WEIGHTS
from seamo.pretrain.board import FOLDER as BOARD
from seamo.pretrain.checkpoint import (
    FACTS,
    STATE,
    CheckpointFacts,
    checkpoints,
    kept_steps,
    latest_checkpoint,
    read_checkpoint_facts,
)
from seamo.pretrain.claim import NAME as CLAIM
from seamo.pretrain.claim import RunClaim
from seamo.pretrain.facts import read_run_facts
from seamo.pretrain.fetched import bring_checkpoint, bring_facts, newest_checkpoints, read_facts_at, read_seal_at
from seamo.pretrain.logs import CURVES, PROBES, SPEED
from seamo.pretrain.objects import bring_file, object_names, put_file
from seamo.pretrain.places import CHECKPOINTS, ENVIRONMENT, FINAL, LOCK, RECIPE, RUN
from seamo.pretrain.recipe import differences
from seamo.seal import MANIFEST, SealedFile, file_names, manifest_bytes, seal_files

log = logging.getLogger(__name__)

_THERE = "there"  # beside the folder of the run: what the address says of it
_AGAIN = "The same command with --resume goes on, on this machine with what is kept there."


@contextmanager
def training_at(address: str | Path, *, rank: int, resume: bool) -> Iterator["RemoteRun"]:
    """Claim a run and bring what is needed to go on; the scratch folder goes when the address holds all of it.

    Args:
        address: Of the run.
        rank: Of this process; 0 writes.
        resume: Go on with what is there.

    Raises:
        UsageError: If there is a run and `resume` is off, or something else.
        TrainingError: If another process trains there, or no checkpoint is whole.
        StoreError: If the address cannot be read or written.
    """
    address, writes = address_of(address), rank == 0
    root = _private_folder(f"seamo-run-{digest(address)[:16]}" + ("" if writes else f"-rank{rank}"))
    folder = root / (last_name(address) or "run")
    run = RemoteRun(address, folder, RunClaim(open_files(address), root / "claim") if writes else None)
    try:
        with locked(root / LOCK, error=TrainingError, what="another process is training there"):
            try:
                with run.claimed():
                    if writes:
                        run.look(resume=resume)
                    else:
                        remove(folder)
                    yield run
            finally:
                if not writes or run.is_safe:
                    remove(folder)
                else:
                    log.warning("%s keeps what is not at %s yet. %s", folder, address, _AGAIN)
    except SeamoError as error:  # what is wrong is wrong there, not here
        here = (str(folder), str(folder.with_name(_THERE)), str(root))
        where, fix = error.where, error.fix
        for one in here:
            where, fix = where.replace(one, address), fix.replace(one, address)
        raise type(error)(error.what, where, fix) from error
    finally:
        with suppress(OSError):
            root.rmdir()  # only if it is empty


def _private_folder(name: str) -> Path:
    """A folder that the same command finds again."""
    folder = Path(tempfile.gettempdir()) / name
    if not is_own_folder(folder):
        raise UsageError("is somebody else's", str(folder), "Set TMPDIR to another folder.")
    return folder


class RemoteRun:
    """A run at an address, and the folder of this disk that it is trained in.

    Args:
        address: Of the run.
        folder: Of this disk.
        claim: Of this process; None for one that only reads.
    """

    def __init__(self, address: str, folder: Path, claim: RunClaim | None) -> None:
        self.files = open_files(address)
        self.folder = folder
        self._claim = claim
        self._there: dict[str, CheckpointFacts] = {}  # whole checkpoints
        self._litter: set[str] = set()  # of killed uploads
        self._upload: _Upload | None = None
        self._keep = 1

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep other processes from training into it, if this one writes."""
        if self._claim is None:
            yield
            return
        self.files.probe()
        try:
            self._claim.take()
            yield
        finally:
            self._claim.give_back()

    @property
    def is_safe(self) -> bool:
        """Whether all that is worth keeping is at the address."""
        found = checkpoints(self.folder / CHECKPOINTS)
        return not found or found[-1].name in self._there

    def look(self, *, resume: bool) -> None:
        """Bring what a new process needs to go on, or see that there is room for a new run.

        Raises:
            UsageError: If there is a run and `resume` is off, or something else.
            TrainingError: If no checkpoint is whole.
            StoreError: If the address cannot be read.
        """
        files = self.files
        if not files.exists(RUN):
            begun = (CLAIM, ENVIRONMENT, RECIPE)  # by a process that was killed before there was a run
            there = [name for name in files.names() if name not in begun and not name.startswith(PROBE)]
            if there:
                raise UsageError(f"is not empty and holds no run ({there[0]})", files.url, "Give another --out.")
            remove(self.folder)
            return
        if not resume:
            raise UsageError("holds a run already", files.url, "Give --resume, or another --out.")
        self._bring_facts()
        if not self._bring_end():
            self._bring_newest()

    def bring_newest(self) -> None:
        """Bring the newest checkpoint, for a process that only reads."""
        for name in newest_checkpoints(self.files):
            facts = read_facts_at(self.files, name)
            if facts is not None:
                bring_checkpoint(self.files, name, facts, self.folder)
                return

    def begin(self, *, keep: int) -> None:
        """Put what the run says of itself, and a checkpoint that only this disk has.

        Args:
            keep: Latest checkpoints to keep, beside the best.

        Raises:
            StoreError: If it cannot be put.
        """
        self._keep = keep
        for name in (ENVIRONMENT, RECIPE, RUN):  # as on a disk: what may differ between machines may change
            data = (self.folder / name).read_bytes()
            self.files.swap(name, lambda _, data=data: data)  # type: ignore[misc]
        found = checkpoints(self.folder / CHECKPOINTS)
        if found and found[-1].name not in self._there:
            log.warning("%s is put to %s: an upload had failed", found[-1].name, self.files.url)
            self._put_checkpoint(found[-1])

    def put_beside(self, checkpoint: Path) -> None:
        """Begin to put a checkpoint, while training goes on."""
        self._upload = _Upload(partial(self._put_checkpoint, checkpoint))
        self._upload.start()

    def settle(self) -> None:
        """Wait for the checkpoint that is being put. One that could not be is said, and the next one tried.

        Raises:
            TrainingError: If another process trains into this run.
        """
        upload, self._upload = self._upload, None
        if upload is not None:
            upload.join()
            if isinstance(upload.error, StoreError):
                log.warning("a checkpoint could not be put, it stays in %s: %s", self.folder, upload.error)
            elif upload.error is not None:
                raise upload.error
        if self._claim is not None:
            self._claim.check()

    def finish(self) -> None:
        """Put the model and all else, sealed.

        Raises:
            StoreError: If it cannot be put.
            TrainingError: If another process has ended this run with another model.
        """
        run, files = self.folder, self.files
        self.settle()
        last = checkpoints(run / CHECKPOINTS)[-1]
        if last.name not in self._there:
            self._put_checkpoint(last)
        self._prune(self._there[last.name])  # one that was killed behind its last checkpoint may not have
        own = [name for name in file_names(run) if not name.startswith(f"{CHECKPOINTS}/") and name != MANIFEST]
        sealed = seal_files(run, own)
        for name, one in sealed.items():
            if name not in (RUN, RECIPE, ENVIRONMENT):
                put_file(files, name, run / name, one)
        for name, facts in self._there.items():
            below = f"{CHECKPOINTS}/{name}"
            sealed |= {f"{below}/{one}": said for one, said in (*facts.files.items(), *facts.logs.items())}
            data = files.read(f"{below}/{FACTS}")
            sealed[f"{below}/{FACTS}"] = _seal_of(data)
        theirs = files.put_once(MANIFEST, manifest_bytes(sealed))
        if theirs is not None:
            there = read_seal_at(files) or {}
            if there.get(f"{FINAL}/{WEIGHTS}") != sealed[f"{FINAL}/{WEIGHTS}"]:
                raise TrainingError("another process has ended this run, with another model", files.url, _ONE)
        known = {one for name, said in sealed.items() for one in object_names(name, said)}
        litter = [name for name in files.names() if name.startswith((f"{BOARD}/", PROBE)) and name not in known]
        files.delete(litter)  # of processes that were killed

    def _bring_facts(self) -> None:
        """Bring what the run says of itself; what this disk holds of another run goes."""
        mine = None
        with suppress(SeamoError):  # there is none, or it is damaged
            mine = read_run_facts(self.folder)
        if mine is not None:
            there = self.folder.with_name(_THERE)
            bring_facts(self.files, there)
            said = read_run_facts(there)
            remove(there)
            if (mine.store, mine.mix) != (said.store, said.mix) or differences(mine.recipe, said.recipe):
                mine = None
        if mine is None:
            remove(self.folder)
        bring_facts(self.files, self.folder)

    def _bring_end(self) -> bool:
        """Bring the model of a run that has ended; a damaged one is taken away, to be made again."""
        try:
            sealed = read_seal_at(self.files)
            if sealed is None:
                return False
            remove(self.folder / CHECKPOINTS)
            remove(self.folder / MANIFEST)
            for name, one in sealed.items():
                if name.startswith(f"{FINAL}/") or name in (CURVES, SPEED, PROBES):
                    bring_file(self.files, name, one, self.folder / name)
        except TrainingError as error:
            log.warning("%s %s: the end of the run is made again", error.where, error.what)
            ends = [name for name in self.files.names() if name.partition("/")[0] in (FINAL, CURVES, SPEED, PROBES)]
            self.files.delete([MANIFEST])
            self.files.delete(ends)
            remove(self.folder / FINAL)
            return False
        return True

    def _bring_newest(self) -> None:
        remove(self.folder / FINAL)  # of a process that was killed at its end: it is made again
        files, here = self.files, None
        with suppress(TrainingError):  # none of them is whole
            here = latest_checkpoint(self.folder / CHECKPOINTS)
        names = {name.split("/")[1] for name in files.names(CHECKPOINTS)}
        whole, damaged, first = newest_checkpoints(files), list[str](), ""
        newest = ""
        for name in whole:
            try:
                facts = read_facts_at(files, name)
                if facts is None:
                    continue
                if not newest and (here is None or here.path.name < name or not self._is_there(name)):
                    remove(self.folder / CHECKPOINTS)
                    here = None
                    bring_checkpoint(files, name, facts, self.folder)
                newest = newest or name
                self._there[name] = facts
            except TrainingError as error:
                log.warning("%s %s: the checkpoint before it is used", error.where, error.what)
                first = first or f"{name}: {error.what}"
                damaged.append(name)
        if damaged and not self._there and here is None:
            fix = "Copy the run again from where it is whole, or start anew at another address (--out)."
            raise TrainingError(f"no checkpoint is whole ({first})", files.url, fix)
        for name in damaged:
            self._remove_checkpoint(name)
        self._litter = {name for name in names if name not in whole and name <= newest}

    def _is_there(self, name: str) -> bool:
        """Whether a checkpoint of this disk is the one of its name at the address."""
        mine = self.folder / CHECKPOINTS / name / FACTS
        if not mine.is_file():  # this disk is ahead
            return True
        if mine.read_bytes() == self.files.find(f"{CHECKPOINTS}/{name}/{FACTS}"):
            return True
        log.warning("%s of this disk is another one than that of %s, which is used", name, self.files.url)
        return False

    def _put_checkpoint(self, checkpoint: Path) -> None:
        # Files that failed for long ask nothing any more, so each checkpoint asks anew.
        files, name = open_files(self.files.url), checkpoint.name
        facts, below = read_checkpoint_facts(checkpoint), f"{CHECKPOINTS}/{name}"
        for one, sealed in facts.files.items():
            put_file(files, f"{below}/{one}", checkpoint / one, sealed)
        for one, sealed in facts.logs.items():
            put_file(files, f"{below}/{one}", self.folder / one, sealed)
        if files.put_once(f"{below}/{FACTS}", (checkpoint / FACTS).read_bytes()) is not None:
            theirs = read_facts_at(files, name)
            if theirs is None or any(theirs.files.get(one) != facts.files[one] for one in (WEIGHTS, STATE)):
                raise TrainingError(f"{name} is there from another process, with other weights", files.url, _ONE)
            facts = theirs
        self._there[name] = facts
        self._prune(facts)

    def _prune(self, facts: CheckpointFacts) -> None:
        """Remove what a disk would not keep at a checkpoint, and what killed uploads and removals left before it."""
        so_far = {n: one for n, one in self._there.items() if one.progress.step <= facts.progress.step}
        stays = kept_steps(so_far.values(), self._keep)
        for gone in (*(n for n, one in so_far.items() if one.progress.step not in stays), *self._litter):
            self._remove_checkpoint(gone)
        self._litter = set()

    def _remove_checkpoint(self, name: str) -> None:
        files, below = open_files(self.files.url), f"{CHECKPOINTS}/{name}"
        files.delete([f"{below}/{FACTS}"])
        files.delete(files.names(below))
        self._there.pop(name, None)


_ONE = "Stop one of the two; --resume goes on with what is there."


class _Upload(Thread):
    """Work beside training, and what became of it. A process that is stopped does not wait for it."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__(name="seamo-upload", daemon=True)
        self._work = work
        self.error: BaseException | None = None

    def run(self) -> None:
        """Do it."""
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            self.error = error


def _seal_of(data: bytes) -> SealedFile:
    return SealedFile(len(data), hashlib.sha256(data).hexdigest())
