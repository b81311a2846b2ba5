"""Job: everything that the stages of one run share, and the order of its steps."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

import seamo
from seamo.data.price import DEAR, order_price
from seamo.errors import TrainingError
from seamo.pretrain.checkpoint import TrainingProgress
from seamo.pretrain.inputs import InputPlan, normalisations, plan_inputs
from seamo.pretrain.mixture import TrainingData, training_data
from seamo.pretrain.places import RunFolder
from seamo.pretrain.probe import TrainingProbe, plan_probe
from seamo.pretrain.ranks import Ranks
from seamo.pretrain.recipe import Recipe
from seamo.pretrain.run import begin_run, code_digest
from seamo.store.plan import mix_quotas
from seamo.store.reader import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One run: what is trained, on what, by whom.

    Args:
        recipe: What to do.
        data: On what.
        folder: Where it is written down.
        ranks: The processes.
        plans: Stage -> how its batches become inputs.
        probe: What it is probed on while it trains, if on anything; of the process that writes, if it has not ended.
        ended: Whether the run was ended before, and is whole.
        peak_flops: FLOP/s that a utilisation of 1 means; None: no utilisation is reported.
    """

    recipe: Recipe
    data: TrainingData
    folder: RunFolder
    ranks: Ranks
    plans: Mapping[int, InputPlan]
    probe: TrainingProbe | None
    ended: bool
    peak_flops: float | None

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps of an epoch; what does not fill a batch is left out."""
        return len(self.data.rows) // self.recipe.optimiser.batch

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole run."""
        return self.steps_before(2) + self.recipe.stage2.epochs * self.steps_per_epoch

    def steps_before(self, stage: int) -> int:
        """Optimiser steps before a stage begins."""
        return 0 if stage == 1 else self.recipe.stage1.epochs * self.steps_per_epoch

    def begin(self, stage: int) -> TrainingProgress:
        """Where a stage begins."""
        return TrainingProgress(stage, 0, 0, self.steps_before(stage))

    def steps(self, start: TrainingProgress) -> Iterator[TrainingProgress]:
        """What is done before each step of a stage, from `start` to the stage's end."""
        for epoch in range(start.epoch, self.recipe.stage(start.stage).epochs):
            for batch in range(start.batch if epoch == start.epoch else 0, self.steps_per_epoch):
                done = self.steps_before(start.stage) + epoch * self.steps_per_epoch + batch
                yield TrainingProgress(start.stage, epoch, batch, done)

    def after(self, at: TrainingProgress) -> TrainingProgress:
        """What is done after the step that `at` stands before."""
        if at.batch + 1 == self.steps_per_epoch:
            return TrainingProgress(at.stage, at.epoch + 1, 0, at.step + 1)
        return TrainingProgress(at.stage, at.epoch, at.batch + 1, at.step + 1)

    def is_measured(self, at: TrainingProgress) -> bool:
        """Whether the step after `at` is one of those that yardsticks are measured in."""
        every = self.recipe.machine.yardsticks
        return every > 0 and (at.step % every == 0 or self.after(at).epoch == self.recipe.stage(at.stage).epochs)

    def is_probed(self, after: TrainingProgress) -> bool:
        """Whether the network is probed where it stands: every so many epochs, and at the end of a stage."""
        last = after.epoch == self.recipe.stage(after.stage).epochs
        return after.batch == 0 and (last or self.epoch(after) % self.recipe.probe.every == 0)

    def epoch(self, at: TrainingProgress) -> int:
        """The epoch counted over the whole run, so that the stages draw differently."""
        return at.epoch + (self.recipe.stage1.epochs if at.stage == 2 else 0)

    @property
    def parts(self) -> int:
        """Micro-batches of a step on one rank: equal ones, none larger than the recipe allows."""
        share = self.recipe.optimiser.batch // self.ranks.world
        return next(n for n in range(1, share + 1) if share % n == 0 and share // n <= self.recipe.machine.micro_batch)

    def card(self, stage: int, step: int) -> dict[str, Any]:
        """What a model says of its making (`seamo.model.checkpoint.save_model`)."""
        plan, store = self.plans[stage], self.data.store
        ids = list(dict.fromkeys(part.spec.id for part in self.data.parts))
        provenance = {
            "recipe": self.recipe.name,
            "settings": self.recipe.settings(),
            "stage": stage,
            "step": step,
            "seed": self.recipe.seed,
            "pretrained_on": ids if self.data.mix else ids[0],
            "store": {"title": store.title, "content": store.content, "synthetic": bool(store.meta.synthetic)},
            "data": self.data.terms,
            "stacks": dict(self.recipe.data.stacks),
            "crop": self.recipe.to_dict()["crop"],
            "products": _products(plan),
            "samples": len(self.data.rows),
            "seamo": seamo.__version__,
            "code": code_digest(),
        }
        if self.data.mix:
            provenance["mix"] = [asdict(one) for one in self.data.part_facts]
        return {"normalisation": _normalisation(plan), "provenance": provenance}


def begin_job(recipe: Recipe, stores: Sequence[Store], out: Path, *, resume: bool, ranks: Ranks) -> Job:
    """Check that recipe, stores and ranks fit, and make the run's folder (or check that it may go on).

    Raises:
        TrainingError: If the store is too small, the batch cannot be shared, or the run was begun otherwise.
        StoreError, RecipeError: See `training_data` and `plan_inputs`; of the probe, `plan_probe`.
    """
    data = training_data(recipe, stores)
    rows = data.rows
    numbers = normalisations(recipe, data)
    plans = {stage: plan_inputs(recipe, stage, data, numbers) for stage in (1, 2) if recipe.stage(stage).epochs}
    batch = recipe.optimiser.batch
    if len(rows) < batch:
        raise TrainingError(
            f"split {recipe.data.split} has {len(rows)} samples, fewer than one batch of {batch}",
            where=data.store.title,
            fix="Set optimiser.batch lower, or data.split all.",
        )
    if batch % ranks.world:
        raise TrainingError(f"a batch of {batch} cannot be shared by {ranks.world} ranks", "optimiser.batch")
    mix_quotas(data.mix, len(rows) // batch * batch)  # a weight that is too small is refused before a folder is made
    if ranks.writes and recipe.data.block > 1:
        _say_price(recipe, data)
    folder, ended, probe = RunFolder(out), False, None
    if ranks.writes and not folder.final.exists():  # one that cannot be read is refused before a folder is made
        probe = _probe_of(recipe, plans[min(plans)])
    if ranks.writes:
        ended = begin_run(out, recipe, data.facts, mix=data.part_facts, resume=resume)
        if not ended and probe is None:
            probe = _probe_of(recipe, plans[min(plans)])
    ended = bool(ranks.total(torch.tensor(float(ended), device=ranks.device)).item())  # waits for the writer, too
    given = recipe.machine.peak_tflops
    peak = None
    if given is not None:
        dtype = torch.bfloat16 if recipe.compute.precision == "bf16" else torch.float32
        peak = given * 1e12 if given > 0 else matmul_rate(dtype, ranks.device)
    return Job(recipe, data, folder, ranks, plans, probe, ended, peak)


def _normalisation(plan: InputPlan) -> dict[str, Any]:
    return {s: how.to_dict() for s, how in plan.numbers.items()}


def _products(plan: InputPlan) -> dict[str, list[str]]:
    return {s: sorted({layer.product for layer in layers}) for s, layers in plan.layers.items()}


def _probe_of(recipe: Recipe, plan: InputPlan) -> TrainingProbe | None:
    if not recipe.probe.store:
        return None
    described = {"config": plan.config.to_dict(), "normalisation": _normalisation(plan)}
    return plan_probe(recipe.probe, {**described, "provenance": {"products": _products(plan)}})


def _say_price(recipe: Recipe, data: TrainingData) -> None:
    block, buffer, batch = recipe.data.block, recipe.data.buffer, recipe.optimiser.batch
    for part, share in zip(data.parts, data.shares, strict=True):
        # Within a store: its share of a batch, mixed over its share of the window.
        window, own = max(block, round(share * buffer)), max(1, round(share * batch))
        price = order_price(part, part.rows(data.split), block=block, buffer=window, batch=own)
        if price is not None and price > DEAR:
            log.warning(
                "%s: in blocks of %d, mixed over %d, the class shares of a batch vary %.2f times as much as in a full "
                "shuffle: a larger data.buffer or a smaller data.block lowers that",
                part.title, block, window, price,
            )  # fmt: skip


def matmul_rate(dtype: torch.dtype, device: torch.device) -> float:
    """FLOP/s of one large matrix product, the best of several: the peak that a program can reach."""
    side = 8192 if device.type == "cuda" else 1024
    a = torch.ones(side, side, dtype=dtype, device=device)
    best = 0.0
    for _ in range(20 if device.type == "cuda" else 5):
        began = time.perf_counter()
        (a @ a)[0, 0].item()  # .item() waits for the device
        best = max(best, 2 * side**3 / (time.perf_counter() - began))
    return best
