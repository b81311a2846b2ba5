"""Feed: the inputs of every step of a run, read and made ahead over the borders of epochs and stages."""

import contextlib
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from seamo.data.batch import Batch
from seamo.data.loader import Loader
from seamo.data.making import BatchSamples, Making
from seamo.pretrain.checkpoint import TrainingProgress
from seamo.pretrain.inputs import Inputs
from seamo.pretrain.job import Job


@dataclass(frozen=True, slots=True, eq=False)
class Portion:
    """What one micro-batch needs.

    Args:
        inputs: On the device.
        waited: Seconds that were spent waiting for the loader to have its batch ready.
    """

    inputs: Inputs
    waited: float


def feed(job: Job, start: TrainingProgress) -> Generator[Portion, None, None]:
    """The portions of every step from `start` to the end of the run, `job.parts` of them a step.

    Stages that read the same layers share a loader, and no epoch and no stage begins with a wait for its first batch.
    A stage 1 of fewer sensors has a loader of its own, so that nothing is read and decoded that it does not look at.
    Where the device is a CPU, the reading threads make the images; an accelerator gets the stored numbers, and makes
    them itself. Either way a stage of one season has one date of a place decoded.
    """
    portions = _portions(job, start)
    with contextlib.closing(portions):
        yield from _ahead(portions, job.ranks.device) if job.ranks.device.type == "cuda" else portions


def _portions(job: Job, start: TrainingProgress) -> Generator[Portion, None, None]:
    stages = [start, *(job.begin(stage) for stage in sorted(job.plans) if stage > start.stage)]
    alike = len({job.plans[stage.stage].layer_ids for stage in stages}) == 1
    for shared in [stages] if alike else [[stage] for stage in stages]:
        with contextlib.closing(iter(_loader(job, shared))) as batches:
            for at in (step for stage in shared for step in job.steps(stage)):
                for part in range(job.parts):
                    yield _portion(job, batches, at, part)


def _portion(job: Job, batches: Iterator[Batch], at: TrainingProgress, part: int) -> Portion:
    """One micro-batch of a step; the unit of the pixels is checked where a stage begins."""
    asked = time.perf_counter()
    batch = next(batches)
    waited = time.perf_counter() - asked
    plan, device, epoch = job.plans[at.stage], job.ranks.device, job.epoch(at)
    first = at.epoch == at.batch == part == 0
    if first and batch.images:  # normalised numbers do not show their unit
        plan(_as_stored(job, batch, at.stage), device, epoch=epoch, check=True)
    return Portion(plan(batch, device, epoch=epoch, check=first and not batch.images), waited)


def _as_stored(job: Job, batch: Batch, stage: int) -> Batch:
    """The same samples with the layers of a stage, read once more."""
    layers, rows = job.plans[stage].layer_ids, batch.rows.numpy()
    return next(iter(Loader(job.data.store, rows, len(rows), layers=layers, prefetch=1, find_holes=True)))


def _loader(job: Job, stages: Sequence[TrainingProgress]) -> Loader:
    """What reads for stages that follow each other, from the progress of the first to the end of the last."""
    recipe, ranks, start, last = job.recipe, job.ranks, stages[0], stages[-1].stage
    epoch, end = job.epoch(start), job.epoch(job.begin(last)) + recipe.stage(last).epochs
    images = StageImages(job, last) if ranks.device.type == "cpu" else None
    return Loader(
        job.data.store,
        job.data.rows,
        recipe.optimiser.batch,
        layers=job.plans[last].layer_ids,
        seed=recipe.seed,
        epoch=epoch,
        epochs=end - epoch,
        cursor=start.batch,
        shuffle=True,
        block=recipe.data.block,
        buffer=recipe.data.buffer,
        mix=job.data.mix,
        drop_last=True,
        rank=ranks.rank,
        world=ranks.world,
        parts=job.parts,
        workers=recipe.machine.workers,
        pin=ranks.device.type == "cuda",
        find_holes=images is None,
        dates=StageDates(job) if images is None else None,
        images=images,
    )


class StageImages:
    """The images of every epoch of a run, made as its stage has them: `seamo.data.making.ImageMaker`.

    Args:
        job: The run.
        last: The last stage that the loader reads for.
    """

    def __init__(self, job: Job, last: int) -> None:
        self._plans, self._first = job.plans, job.recipe.stage1.epochs
        self.layers = job.plans[last].layer_ids

    def draw(self, drawn: BatchSamples) -> Making:
        """See `seamo.data.making.ImageMaker`."""
        return self._plans[1 if drawn.epoch < self._first else 2].draw(drawn, epoch=drawn.epoch)


class StageDates:
    """The one date that a stage of single seasons learns from, of each place: `seamo.data.making.DateChoice`.

    Args:
        job: The run.
    """

    def __init__(self, job: Job) -> None:
        self._plans, self._first = job.plans, job.recipe.stage1.epochs

    def __call__(self, drawn: BatchSamples) -> NDArray[np.int64] | None:
        """See `seamo.data.making.DateChoice`."""
        return self._plans[1 if drawn.epoch < self._first else 2].only_date(drawn, epoch=drawn.epoch)


def _ahead(portions: Iterator[Portion], device: torch.device) -> Iterator[Portion]:
    """Copy and crop a portion on a stream of its own while the GPU computes on the one before it."""
    side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    made: deque[tuple[Portion, torch.cuda.Event]] = deque()

    def make_one() -> None:
        with torch.cuda.stream(side):
            portion = next(portions, None)
            if portion is not None:
                made.append((portion, side.record_event()))

    make_one()
    while made:
        make_one()
        portion, done = made.popleft()
        here = torch.cuda.current_stream(device)
        here.wait_event(done)
        for tensor in portion.inputs.tensors():
            tensor.record_stream(here)  # its memory is the side stream's, which must not use it again before `here` has
        yield portion
