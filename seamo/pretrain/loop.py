"""The training loop: two stages, resumable after any step, the same numbers on any number of ranks."""

import contextlib
import math
import signal
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, TextIO

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import seamo
from seamo.data.batch import Batch
from seamo.data.loader import Loader
from seamo.errors import TrainingError
from seamo.model.checkpoint import WEIGHTS, assign, save_model, transfer
from seamo.model.flops import pretraining_flops
from seamo.model.seamo import SeaMo
from seamo.pretrain.checkpoint import Checkpoint, Progress, checkpoints, latest_checkpoint, save_checkpoint
from seamo.pretrain.inputs import InputPlan, plan_inputs
from seamo.pretrain.journal import Journal, Row
from seamo.pretrain.optimise import Schedule, Tally, adamw, schedule_of, weighted_loss
from seamo.pretrain.ranks import Ranks
from seamo.pretrain.recipe import Recipe
from seamo.pretrain.run import RunFolder, StoreFacts, begin_run, code_digest, locked
from seamo.store.reader import Store
from seamo.store.remote import local_path


class Stopped(Exception):  # noqa: N818 - not an error: the run was asked to stop, and did
    """The run was asked to stop by a signal; its last checkpoint holds everything."""

    def __init__(self, checkpoint: Path) -> None:
        super().__init__(checkpoint)
        self.checkpoint = checkpoint


def pretrain(
    recipe: Recipe,
    store: Store,
    out: Path,
    *,
    resume: bool = False,
    ranks: Ranks | None = None,
    progress: TextIO | None = None,
) -> Path:
    """Train a SeaMo as a recipe says: stage 1 on single seasons, stage 2 on all of them.

    Args:
        recipe: What to do.
        store: On what.
        out: The run's folder.
        resume: Go on where a run in `out` stopped.
        ranks: The processes that train together; this one alone without it.
        progress: Where to show progress.

    Returns:
        The folder of the finished model, for `load_model`.

    Raises:
        TrainingError: If the loss is not finite, a checkpoint cannot be written, the store is too small or
            not the one that the run was begun with; names the last good checkpoint where there is one.
        Stopped: After SIGTERM or SIGUSR1, once a checkpoint is written.
    """
    ranks, out = ranks or Ranks(), local_path(out)
    if recipe.machine.threads is not None:
        torch.set_num_threads(recipe.machine.threads)
    with locked(out) if ranks.writes else contextlib.nullcontext(), _StopSignal() as stop:
        run = _Run.begin(recipe, store, out, resume=resume, ranks=ranks, stop=stop)
        if run.folder.final.is_dir():
            return run.folder.final
        start = latest_checkpoint(run.folder.checkpoints) if resume else None
        with run.open_journal(start, progress):
            return _train(run, start)


def _train(run: "_Run", start: Checkpoint | None) -> Path:
    recipe, weights = run.recipe, None
    model: SeaMo | None = None
    for stage in (1, 2):
        if recipe.stage(stage).epochs == 0 or (start and start.progress.stage > stage):
            continue
        model = SeaMo(recipe.config(stage), generator=torch.Generator().manual_seed(recipe.seed))
        before = Progress(stage, 0, 0, run.steps_before(stage))
        if start and start.progress.stage == stage:
            assign(model, load_file(start.path / WEIGHTS), where=str(start.path))
            before = start.progress
        elif weights is not None:
            transfer(weights, model)
        model.to(run.ranks.device)
        _Stage(run, stage, model).run(before, start.state if start and start.progress.stage == stage else None)
        weights = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
        start = None
    assert model is not None  # noqa: S101 - a recipe with no epochs at all is refused when it is read
    if run.ranks.writes:
        save_model(run.folder.final, model, run.card(2 if recipe.stage2.epochs else 1, run.total_steps))
    run.ranks.wait()
    return run.folder.final


@dataclass(slots=True, eq=False)
class _Run:
    """What both stages share."""

    recipe: Recipe
    store: Store
    rows: Any
    folder: RunFolder
    ranks: Ranks
    stop: "_StopSignal"
    plans: dict[int, InputPlan]
    peak_flops: float | None
    journal: Journal | None = None

    @classmethod
    def begin(
        cls, recipe: Recipe, store: Store, out: Path, *, resume: bool, ranks: Ranks, stop: "_StopSignal"
    ) -> "_Run":
        rows = store.rows(recipe.data.split)
        plans = {stage: plan_inputs(recipe, stage, store) for stage in (1, 2) if recipe.stage(stage).epochs}
        batch = recipe.optimiser.batch
        if len(rows) < batch:
            raise TrainingError(
                f"split {recipe.data.split} has {len(rows)} samples, fewer than one batch of {batch}",
                where=store.title,
                fix="Set optimiser.batch lower, or data.split all.",
            )
        if batch % ranks.world:
            raise TrainingError(f"a batch of {batch} cannot be shared by {ranks.world} ranks", "optimiser.batch")
        folder = RunFolder(out)
        if ranks.writes:
            facts = StoreFacts(store.spec.id, store.title, store.content, recipe.data.split, len(rows))
            folder = begin_run(out, recipe, facts, resume=resume)
        ranks.wait()
        return cls(recipe, store, rows, folder, ranks, stop, plans, _peak(recipe, ranks.device))

    @property
    def steps_per_epoch(self) -> int:
        return len(self.rows) // self.recipe.optimiser.batch

    @property
    def total_steps(self) -> int:
        return self.steps_before(2) + self.recipe.stage2.epochs * self.steps_per_epoch

    def steps_before(self, stage: int) -> int:
        return 0 if stage == 1 else self.recipe.stage1.epochs * self.steps_per_epoch

    @property
    def parts(self) -> int:
        """Micro-batches of a step on one rank: equal ones, none larger than the recipe allows."""
        share = self.recipe.optimiser.batch // self.ranks.world
        return next(n for n in range(1, share + 1) if share % n == 0 and share // n <= self.recipe.machine.micro_batch)

    @contextlib.contextmanager
    def open_journal(self, start: Checkpoint | None, progress: TextIO | None) -> Iterator[None]:
        if not self.ranks.writes:
            yield
            return
        seasons = max(plan.seasons for plan in self.plans.values())
        names = [f"{sensor}_t{t}" for t in range(seasons) for sensor in self.recipe.model.sensors]
        done = start.progress.step if start else 0
        self.journal = Journal(self.folder.path, names, done=done, total=self.total_steps, progress=progress)
        try:
            yield
        finally:
            self.journal.close()

    def card(self, stage: int, step: int) -> dict[str, Any]:
        numbers = {sensor: how.to_dict() for sensor, how in self.plans[stage].numbers.items()}
        meta = self.store.meta
        provenance = {
            "recipe": self.recipe.name,
            "stage": stage,
            "step": step,
            "seed": self.recipe.seed,
            "pretrained_on": self.store.spec.id,
            "store": {"title": self.store.title, "content": self.store.content, "synthetic": bool(meta.synthetic)},
            "stacks": dict(self.recipe.data.stacks),
            "crop": self.recipe.to_dict()["crop"],
            "products": {
                sensor: sorted({layer.product for layer in layers})
                for sensor, layers in self.plans[stage].layers.items()
            },
            "samples": len(self.rows),
            "seamo": seamo.__version__,
            "code": code_digest(),
        }
        return {"normalisation": numbers, "provenance": provenance}


class _Stage:
    """One stage of a run."""

    def __init__(self, run: _Run, stage: int, model: SeaMo) -> None:
        recipe, device = run.recipe, run.ranks.device
        self.run_, self.stage, self.model = run, stage, model
        self.plan = run.plans[stage]
        self.optimiser = adamw(model, recipe.optimiser, fused=True)
        self.schedule: Schedule = schedule_of(recipe.optimiser, recipe.stage(stage), run.steps_per_epoch)
        model.recompute_activations(on=recipe.machine.recompute)
        network: nn.Module = model
        if recipe.compute.compile:
            network = torch.compile(model)  # type: ignore[assignment]
        if run.ranks.world > 1:
            network = DistributedDataParallel(network, device_ids=[device.index] if device.type == "cuda" else None)
        self.network = network
        self.names = tuple((sensor, t) for t in range(self.plan.seasons) for sensor in model.config.sensors)
        self.hidden = model.config.num_patches - model.config.num_visible
        self.flops = pretraining_flops(model.config, seasons=self.plan.seasons).training
        self.losses: list[float] = []  # since the last checkpoint

    def run(self, progress: Progress, state: dict[str, Any] | None) -> None:
        """From `progress` to the stage's end."""
        recipe, run = self.run_.recipe, self.run_
        if state is not None:
            self.optimiser.load_state_dict(state["optimiser"])
        self.network.train()
        epochs, per_epoch = recipe.stage(self.stage).epochs, run.steps_per_epoch
        for epoch in range(progress.epoch, epochs):
            cursor = progress.batch if epoch == progress.epoch else 0
            with contextlib.closing(self._batches(epoch, cursor)) as batches:
                for batch in range(cursor, per_epoch):
                    step = run.steps_before(self.stage) + epoch * per_epoch + batch + 1
                    row, stop = self._step(batches, Progress(self.stage, epoch, batch, step))
                    after = Progress(self.stage, epoch, batch + 1, step)
                    if batch + 1 == per_epoch:
                        after = Progress(self.stage, epoch + 1, 0, step)
                    self._record(row, after, stop=stop, last=after.epoch == epochs)

    def _batches(self, epoch: int, cursor: int) -> Generator[Batch, None, None]:
        run = self.run_
        loader = Loader(
            run.store,
            run.rows,
            run.recipe.optimiser.batch,
            layers=self.plan.layer_ids,
            seed=run.recipe.seed,
            epoch=self._epoch(epoch),
            cursor=cursor,
            shuffle=True,
            drop_last=True,
            rank=run.ranks.rank,
            world=run.ranks.world,
            parts=run.parts,
            workers=run.recipe.machine.workers,
            pin=run.ranks.device.type == "cuda",
        )
        return iter(loader)

    def _epoch(self, epoch: int) -> int:
        # Counted over the whole run, so that the stages draw differently.
        return epoch + (self.run_.recipe.stage1.epochs if self.stage == 2 else 0)

    def _step(self, batches: Iterator[Batch], at: Progress) -> tuple[Row, bool]:
        run, recipe, device = self.run_, self.run_.recipe, self.run_.ranks.device
        began, waited = time.perf_counter(), 0.0
        lr = self.schedule(at.step - 1 - run.steps_before(self.stage))
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        tally = Tally(self.names, torch.zeros(len(self.names), 2, dtype=torch.float64, device=device))
        autocast = torch.autocast(device.type, torch.bfloat16, enabled=recipe.compute.precision == "bf16")
        places = recipe.optimiser.batch // run.ranks.world
        for part in range(run.parts):
            asked = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - asked
            first = at.epoch == 0 and at.batch == 0 and part == 0
            inputs = self.plan(batch, device, epoch=self._epoch(at.epoch), check=first)
            with self._sync(last=part == run.parts - 1):
                with autocast:
                    output = self.network(
                        inputs.images, noise=inputs.noise, valid=inputs.valid, pixel_valid=inputs.pixel_valid
                    )
                torch.autograd.backward(weighted_loss(output, hidden=self.hidden, places=places))
            tally.add(output)
        sums, stop = self._gather(tally)
        terms = {f"{s}_t{t}": total / max(count, 1.0) for (s, t), (total, count) in zip(self.names, sums, strict=True)}
        loss = math.fsum(terms.values())
        if not math.isfinite(loss):
            self._not_finite(at, terms)
        if recipe.optimiser.clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), recipe.optimiser.clip)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.losses.append(loss)
        seconds = time.perf_counter() - began
        done = self.flops * recipe.optimiser.batch / run.ranks.world / seconds
        row = Row(
            step=at.step,
            stage=self.stage,
            epoch=at.epoch,
            batch=at.batch,
            loss=loss,
            terms=terms,
            lr=lr,
            locations=recipe.optimiser.batch,
            images=round(sum(count for _, count in sums) / self.hidden),
            seconds=seconds,
            wait=waited,
            mfu=None if run.peak_flops is None else done / run.peak_flops,
            memory_gib=torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else 0.0,
        )
        return row, stop

    def _sync(self, *, last: bool) -> contextlib.AbstractContextManager[None]:
        if isinstance(self.network, DistributedDataParallel) and not last:
            return self.network.no_sync()
        return contextlib.nullcontext()

    def _gather(self, tally: Tally) -> tuple[list[list[float]], bool]:
        # One reduction a step: the terms, and whether any rank was asked to stop.
        flag = torch.full((1, 2), float(self.run_.stop.asked), dtype=torch.float64, device=tally.sums.device)
        together: Tensor = self.run_.ranks.total(torch.cat([tally.sums, flag]))
        *sums, stop = together.tolist()
        return sums, stop[0] > 0

    def _not_finite(self, at: Progress, terms: dict[str, float]) -> None:
        bad = ", ".join(name for name, value in terms.items() if not math.isfinite(value))
        found = checkpoints(self.run_.folder.checkpoints)
        good = f"The last good checkpoint is {found[-1]}." if found else "There is no checkpoint yet."
        raise TrainingError(
            f"the loss of step {at.step} is not finite ({bad})",
            where=str(self.run_.folder.path),
            fix=f"{good} Lower optimiser.base_lr or set optimiser.clip, in a new run.",
        )

    def _record(self, row: Row, after: Progress, *, stop: bool, last: bool) -> None:
        run = self.run_
        if run.journal is not None:
            run.journal.write(row)
        if not (stop or last or after.step % run.recipe.machine.checkpoint_every == 0):
            return
        path = run.folder.checkpoints
        if run.journal is not None:
            run.journal.flush()
            path = save_checkpoint(
                run.folder.checkpoints,
                after,
                {"optimiser": self.optimiser.state_dict()},
                loss=math.fsum(self.losses) / len(self.losses),
                keep=run.recipe.machine.keep,
                write_model=lambda folder: save_model(folder, self.model, run.card(self.stage, after.step)),
            )
        run.ranks.wait()
        self.losses.clear()
        if stop and after.step < run.total_steps:
            raise Stopped(path)


class _StopSignal:
    """While entered, SIGTERM and SIGUSR1 ask the loop to stop after the step that runs (main thread only)."""

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "_StopSignal":
        for number in (signal.SIGTERM, signal.SIGUSR1):
            # signal.signal raises outside the main thread; there the caller's own thread must stop the run.
            with contextlib.suppress(ValueError):
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the signature of handlers
        self.asked = True


def _peak(recipe: Recipe, device: torch.device) -> float | None:
    """The device's peak in FLOP/s: given, measured on a matrix product, or unknown."""
    given = recipe.machine.peak_tflops
    if given is None or given > 0:
        return None if given is None else given * 1e12
    dtype = torch.bfloat16 if recipe.compute.precision == "bf16" else torch.float32
    side = 8192 if device.type == "cuda" else 1024
    a = torch.ones(side, side, dtype=dtype, device=device)
    best = 0.0
    for _ in range(5):
        began = time.perf_counter()
        (a @ a)[0, 0].item()  # .item() waits for the device
        best = max(best, 2 * side**3 / (time.perf_counter() - began))
    return best
