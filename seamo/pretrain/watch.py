"""What a run is told about itself while it trains: what it learnt beyond its yardsticks, what its probe found."""

import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from seamo.errors import TrainingError
from seamo.model.seamo import SeaMo
from seamo.pretrain import learnt, probed
from seamo.pretrain.checkpoint import TrainingProgress
from seamo.pretrain.job import Job
from seamo.pretrain.journal import Journal
from seamo.pretrain.learnt import YARDSTICKS, yardstick_column
from seamo.pretrain.logs import PROBES, read_curves
from seamo.pretrain.probe import measure

log = logging.getLogger(__name__)


def yardstick_means(names: Sequence[tuple[str, int]], sums: Sequence[Sequence[float]]) -> dict[str, float]:
    """Column of curves.csv -> mean error; what no place of the batch has is left out.

    Args:
        names: (sensor, season) of each row.
        sums: As of `seamo.pretrain.yardsticks.yardstick_sums`, over the whole batch.
    """
    return {
        yardstick_column(name, sensor, t): total / count
        for (sensor, t), (*totals, count) in zip(names, sums, strict=True)
        for name, total in zip(YARDSTICKS, totals, strict=True)
        if count
    }


def say_what_was_learnt(journal: Journal, run: Path, stage: int) -> None:
    """At the end of a stage: a sentence a sensor, a warning where it is nothing."""
    for one in learnt.what_was_learnt(read_curves(run), stage):
        _say(journal, f"stage {stage}, {learnt.in_words(one)}", warn=not one.something)


def begin_probe(job: Job, journal: Journal) -> None:
    """Probe the first weights, where the run has not done so; they follow from the recipe's seed.

    Raises:
        TrainingError: If the run was probed on something else before.
    """
    if job.probe is None:
        return
    if any(row.on != job.probe.on for row in journal.probes):
        raise TrainingError(
            "the run was probed on another store, on other images of it, or otherwise",
            where=str(job.folder.path / PROBES),
            fix="Give the probe that it was begun with, or go on without one (--set probe.store='').",
        )
    if probed.first_of(journal.probes) is None:
        stage = min(job.plans)
        model = SeaMo(job.recipe.config(stage), generator=torch.Generator().manual_seed(job.recipe.seed))
        _probe(job, journal, model.to(job.ranks.device), job.begin(stage))


def probe_after(job: Job, journal: Journal, model: SeaMo, after: TrainingProgress) -> None:
    """Probe where an epoch has ended after which it is due; a warning where a stage ends without a gain."""
    if job.probe is None or not job.is_probed(after):
        return
    row = _probe(job, journal, model, after)
    start = probed.first_of(journal.probes)
    if start is None or after.epoch < job.recipe.stage(after.stage).epochs:
        return
    if not probed.shows_gain(probed.gains(row, start)):
        text = f"stage {after.stage} shows no gain over the first weights on the probe's images"
        log.warning("%s: look at the yardsticks and at `seamo reconstruct` before you go on", text)


def _probe(job: Job, journal: Journal, model: SeaMo, at: TrainingProgress) -> probed.ProbeRow:
    assert job.probe is not None  # noqa: S101 - asked by both callers
    row = measure(job.probe, model, step=at.step, stage=at.stage, epochs=job.epoch(at))
    journal.add_probe(row)
    start = probed.first_of(journal.probes) or row
    _say(journal, probed.in_words(row, start, job.probe.store.title), warn=False)
    return row


def _say(journal: Journal, text: str, *, warn: bool) -> None:
    if warn:
        log.warning("%s", text)
    else:
        journal.tell(text)
