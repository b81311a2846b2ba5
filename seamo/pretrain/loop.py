"""The training loop: two stages, resumable after any step, the same numbers on any number of ranks."""

import contextlib
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from seamo.addresses import disk_path, join
from seamo.disk import locked, remove
from seamo.errors import TrainingError
from seamo.model.checkpoint import assign, read_state, save_model, transfer
from seamo.model.files import WEIGHTS
from seamo.model.flops import pretraining_flops
from seamo.model.seamo import SeaMo
from seamo.pretrain.checkpoint import (
    STATE,
    Checkpoint,
    TrainingProgress,
    checkpoints,
    latest_checkpoint,
    save_checkpoint,
)
from seamo.pretrain.feed import Portion, feed
from seamo.pretrain.job import Job, begin_job
from seamo.pretrain.journal import Journal, JournalRow
from seamo.pretrain.learnt import YARDSTICKS, yardstick_column
from seamo.pretrain.optimise import Tally, adamw, schedule_of, weighted_loss
from seamo.pretrain.places import LOCK
from seamo.pretrain.ranks import Ranks, StopSignal
from seamo.pretrain.recipe import Recipe
from seamo.pretrain.remote import RemoteRun, training_at
from seamo.pretrain.run import end_run
from seamo.pretrain.watch import begin_probe, probe_after, say_what_was_learnt, yardstick_means
from seamo.pretrain.yardsticks import yardstick_sums
from seamo.seal import MANIFEST
from seamo.store.reader import Store


class Stopped(Exception):  # noqa: N818 - not an error: the run was asked to stop, and did
    """The run was asked to stop by a signal; its last checkpoint holds everything."""

    def __init__(self, checkpoint: Path) -> None:
        super().__init__(checkpoint)
        self.checkpoint = checkpoint


def pretrain(
    recipe: Recipe,
    store: Store | Sequence[Store],
    out: str | Path,
    *,
    resume: bool = False,
    ranks: Ranks | None = None,
    progress: TextIO | None = None,
) -> Path:
    """Train a SeaMo as a recipe says: stage 1 on single seasons, stage 2 on all of them.

    Args:
        recipe: What to do.
        store: On what; several are a mixture (`seamo.pretrain.mixture`).
        out: The run's folder, or its address in a bucket (`seamo.pretrain.remote`).
        resume: Go on where a run in `out` stopped.
        ranks: The processes that train together; this one alone without it.
        progress: Where to show progress.

    Returns:
        The folder of the finished model, for `load_model`; of a run at an address, its place as `address_of` reads it.

    Raises:
        TrainingError: If the loss is not finite, a checkpoint cannot be written, the store is too small or
            not the one that the run was begun with; names the last good checkpoint where there is one.
        StoreError: If the address of the run cannot be read or written.
        Stopped: After SIGTERM or SIGUSR1, once a checkpoint is written.
    """
    ranks = ranks or Ranks()
    if recipe.machine.threads is not None:
        torch.set_num_threads(recipe.machine.threads)
    with _folder_of(out, ranks, resume=resume) as (folder, remote), StopSignal() as stop:
        stores = [store] if isinstance(store, Store) else list(store)
        job = begin_job(recipe, stores, folder, resume=resume, ranks=ranks)
        final = job.folder.final if remote is None else Path(join(remote.files.url, job.folder.final.name))
        if job.ended:
            return final
        if remote is not None:
            if ranks.writes:
                remote.begin(keep=recipe.machine.keep)
            ranks.wait()
            if not ranks.writes:
                remote.bring_newest()
        start = latest_checkpoint(job.folder.checkpoints) if resume else None
        with _journal(job, start, progress) as journal:
            _train(job, start, stop, journal, remote)
        if ranks.writes and remote is not None:
            remote.finish()
        elif ranks.writes:
            end_run(job.folder)
        return final


@contextlib.contextmanager
def _folder_of(out: str | Path, ranks: Ranks, *, resume: bool) -> Iterator[tuple[Path, RemoteRun | None]]:
    """The folder on this disk that a run is trained in, with nobody else in it; and the run at an address."""
    path = disk_path(out)
    if path is None:
        with training_at(out, rank=ranks.rank, resume=resume) as remote:
            yield remote.folder, remote
        return
    with _alone_in(path) if ranks.writes else contextlib.nullcontext():
        yield path, None


@contextlib.contextmanager
def _alone_in(out: Path) -> Iterator[None]:
    """Keep a second process out of a run's folder; one that was not begun leaves no folder."""
    out.mkdir(parents=True, exist_ok=True)
    try:
        with locked(out / LOCK, error=TrainingError, what="another process is training there"):
            yield
    finally:
        with contextlib.suppress(OSError):
            out.rmdir()  # only if it is empty


def _train(
    job: Job, start: Checkpoint | None, stop: StopSignal, journal: Journal | None, remote: RemoteRun | None
) -> None:
    begin = start.progress if start else job.begin(min(job.plans))
    weights = None
    if journal is not None:
        begin_probe(job, journal)
    with contextlib.closing(feed(job, begin)) as portions:
        for number in (stage for stage in sorted(job.plans) if stage >= begin.stage):
            model = SeaMo(job.recipe.config(number), generator=torch.Generator().manual_seed(job.recipe.seed))
            resumed = start if number == begin.stage else None
            if resumed is not None:
                assign(model, read_state(resumed.path / WEIGHTS), where=str(resumed.path))
            elif weights is not None:
                transfer(weights, model)
            stage = _Stage(job, number, model.to(job.ranks.device), stop=stop, journal=journal, remote=remote)
            stage.run(portions, begin if number == begin.stage else job.begin(number), resumed)
            weights = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    if job.ranks.writes:
        remove(job.folder.path / MANIFEST)  # of a run that had ended, and was found damaged
        remove(job.folder.final)
        save_model(job.folder.final, model, job.card(number, job.total_steps))
    job.ranks.wait()


class _Stage:
    """One stage of a run: the model, its optimiser and its steps."""

    def __init__(
        self,
        job: Job,
        number: int,
        model: SeaMo,
        *,
        stop: StopSignal,
        journal: Journal | None,
        remote: RemoteRun | None,
    ) -> None:
        recipe, device = job.recipe, job.ranks.device
        self.remote = remote if job.ranks.writes else None
        self.job, self.number, self.model, self.stop, self.journal = job, number, model, stop, journal
        self.optimiser = adamw(model, recipe.optimiser, fused=True)
        self.schedule = schedule_of(recipe.optimiser, recipe.stage(number), job.steps_per_epoch)
        self.autocast = torch.autocast(device.type, torch.bfloat16, enabled=recipe.compute.precision == "bf16")
        model.recompute_activations(on=recipe.machine.recompute)
        network: nn.Module = model
        if recipe.compute.compile:
            network = torch.compile(model)  # type: ignore[assignment]
        if job.ranks.world > 1:
            network = DistributedDataParallel(network, device_ids=[device.index] if device.type == "cuda" else None)
        self.network = network
        seasons = job.plans[number].seasons
        self.names = tuple((sensor, t) for t in range(seasons) for sensor in model.config.sensors)
        self.hidden = model.config.num_patches - model.config.num_visible
        self.flops = pretraining_flops(model.config, seasons=seasons).training
        self.losses: list[float] = []  # since the last checkpoint

    def run(self, portions: Iterator[Portion], begin: TrainingProgress, resumed: Checkpoint | None) -> None:
        """From `begin` to the stage's end."""
        if resumed is not None:
            try:
                self.optimiser.load_state_dict(resumed.state["optimiser"])
            except (KeyError, TypeError, ValueError) as error:
                fix = "It is of another model: begin another run (--out)."
                raise TrainingError(f"does not fit the optimiser ({error})", str(resumed.path / STATE), fix) from error
        self.network.train()
        for at in self.job.steps(begin):
            row, stop = self._step(portions, at)
            if self.journal is not None:
                self.journal.write(row)
                probe_after(self.job, self.journal, self.model, self.job.after(at))
            self.losses.append(row.loss)
            self._checkpoint(self.job.after(at), stop=stop)
        if self.journal is not None:
            say_what_was_learnt(self.journal, self.job.folder.path, self.number)

    def _step(self, portions: Iterator[Portion], at: TrainingProgress) -> tuple[JournalRow, bool]:
        """One optimiser step on a global batch; the row for the journal, and whether any rank was asked to stop."""
        job, recipe, device = self.job, self.job.recipe, self.job.ranks.device
        began, waited = time.perf_counter(), 0.0
        lr = self.schedule(at.step - job.steps_before(self.number))
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        tally = Tally(self.names, torch.zeros(len(self.names), 2, dtype=torch.float64, device=device))
        yardsticks = None
        if job.is_measured(at):
            yardsticks = torch.zeros(len(self.names), len(YARDSTICKS) + 1, dtype=torch.float64, device=device)
        for part in range(job.parts):
            portion = next(portions)
            waited += portion.waited
            inputs = portion.inputs
            with self._sync(last=part == job.parts - 1):
                with self.autocast:
                    output = self.network(
                        inputs.images, noise=inputs.noise, valid=inputs.valid, pixel_valid=inputs.pixel_valid
                    )
                places, weight_of = recipe.optimiser.batch // job.ranks.world, recipe.model.weight_of
                loss = weighted_loss(output, hidden=self.hidden, places=places, weight_of=weight_of)
                torch.autograd.backward(loss)
            tally.add(output)
            if yardsticks is not None:
                found = yardstick_sums(inputs, self.model.config)
                yardsticks += torch.stack([found[name] for name in self.names])
        if recipe.optimiser.clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), recipe.optimiser.clip)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        # The only wait for the device in a step, after everything has been handed to it.
        told = tally.with_flag(self.stop.asked)
        parts = [told] if yardsticks is None else [told, yardsticks]
        numbers = job.ranks.total(torch.cat([part.flatten() for part in parts])).cpu()
        *sums, (asked, _) = numbers[: told.numel()].view_as(told).tolist()
        beside = {}
        if yardsticks is not None:
            beside = yardstick_means(self.names, numbers[told.numel() :].view(yardsticks.shape).tolist())
        terms = {f"{s}_t{t}": total / max(count, 1.0) for (s, t), (total, count) in zip(self.names, sums, strict=True)}
        if not all(math.isfinite(value) for value in terms.values()):
            bad = ", ".join(name for name, value in terms.items() if not math.isfinite(value))
            self._not_finite(f"the loss of step {at.step + 1} is not finite ({bad})")
        seconds = time.perf_counter() - began
        done = self.flops * recipe.optimiser.batch / job.ranks.world / seconds
        row = JournalRow(
            step=at.step + 1,
            stage=self.number,
            epoch=at.epoch,
            batch=at.batch,
            loss=math.fsum(recipe.model.weight_of(s) * terms[f"{s}_t{t}"] for s, t in self.names),
            terms=terms,
            yardsticks=beside,
            lr=lr,
            locations=recipe.optimiser.batch,
            images=round(sum(count for _, count in sums) / self.hidden),
            seconds=seconds,
            wait=waited,
            mfu=None if job.peak_flops is None else done / job.peak_flops,
            memory_gib=torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else 0.0,
        )
        return row, asked > 0

    def _sync(self, *, last: bool) -> contextlib.AbstractContextManager[None]:
        if isinstance(self.network, DistributedDataParallel) and not last:
            return self.network.no_sync()
        return contextlib.nullcontext()

    def _checkpoint(self, after: TrainingProgress, *, stop: bool) -> None:
        """Write a checkpoint where one is due: every so many steps, at the stage's end, when asked to stop."""
        job, last = self.job, after.epoch == self.job.recipe.stage(self.number).epochs
        if not (stop or last or after.step % job.recipe.machine.checkpoint_every == 0):
            return
        if not all(torch.stack([weight.isfinite().all() for weight in self.model.parameters()]).tolist()):
            self._not_finite(f"the weights after step {after.step} are not finite")
        path = job.folder.checkpoints
        if self.remote is not None:
            self.remote.settle()
        if self.journal is not None:
            logs = self.journal.flush()
            path = save_checkpoint(
                job.folder.checkpoints,
                after,
                {"optimiser": self.optimiser.state_dict()},
                loss=math.fsum(self.losses) / len(self.losses),
                keep=job.recipe.machine.keep,
                write_model=lambda folder: save_model(folder, self.model, job.card(self.number, after.step)),
                logs=logs,
            )
        if self.remote is not None:
            self.remote.put_beside(path)
        job.ranks.wait()
        self.losses.clear()
        if stop and after.step < job.total_steps:
            if self.remote is not None:
                self.remote.settle()
            raise Stopped(path)

    def _not_finite(self, what: str) -> None:
        found = checkpoints(self.job.folder.checkpoints)
        good = f"The last good checkpoint is {found[-1]}." if found else "There is no checkpoint yet."
        fix = f"{good} Lower optimiser.base_lr or set optimiser.clip, in a new run."
        raise TrainingError(what, where=str(self.job.folder.path), fix=fix)


@contextlib.contextmanager
def _journal(job: Job, start: Checkpoint | None, progress: TextIO | None) -> Iterator[Journal | None]:
    if not job.ranks.writes:
        yield None
        return
    seasons = max(plan.seasons for plan in job.plans.values())
    places = [(sensor, t) for t in range(seasons) for sensor in job.recipe.model.sensors]
    names = [f"{sensor}_t{t}" for sensor, t in places]
    names += [yardstick_column(name, *place) for name in YARDSTICKS for place in places]
    done = start.progress.step if start else 0
    logs = start.facts.logs if start else None
    with contextlib.closing(
        Journal(
            job.folder.path,
            names,
            done=done,
            total=job.total_steps,
            probe=job.probe is not None,
            logs=logs,
            progress=progress,
        )
    ) as journal:
        yield journal
