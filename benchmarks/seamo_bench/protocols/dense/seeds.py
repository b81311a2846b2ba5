"""A run of `dense` or `change`: train, choose, test."""

from collections.abc import Iterator

from seamo.errors import ProtocolError, TrainingError
from seamo_bench.protocol import Context, Outcome, numbers
from seamo_bench.protocols._choice import best, rate_notes
from seamo_bench.protocols.dense.evaluation import test, validate
from seamo_bench.protocols.dense.tiles import Candidate, DenseTask
from seamo_bench.protocols.dense.training import train, trained_parameters
from seamo_bench.protocols.finetune.training import state_of


def run_dense(context: Context) -> Iterator[Outcome]:
    """A run of `dense`."""
    adapter = context.backbone.adapter
    if adapter is None:
        raise ProtocolError("was not loaded for a store", context.backbone.card.id)
    yield from run_task(DenseTask(context, (adapter,), "", lambda _rows: None))


def run_task(task: DenseTask) -> Iterator[Outcome]:
    """Seed by seed: train every base learning rate, choose on validation, test the chosen one.

    Raises:
        ProtocolError: If images vary in size.
        TrainingError: If no learning rate has a finite loss.
    """
    context = task.context
    if task.mask_layer.size is None:
        raise ProtocolError("images of varying size are not supported by dense protocols", context.store.title)
    rates = numbers(context.params, "base_lrs")
    for seed in context.seeds:
        trial = context.splits[seed][0]
        merits: list[tuple[float, float]] = []
        chosen: Candidate | None = None
        groups = [rates] if context.params["frozen"] else [(rate,) for rate in rates]
        for group in groups:
            candidates = train(task, trial, group, seed=seed)
            for candidate, merit in zip(candidates, validate(task, candidates, trial.val), strict=True):
                merits.append(merit)
                if best(merits) == len(merits) - 1:
                    chosen = candidate
        if chosen is None or chosen.diverged:
            raise TrainingError(f"the loss is not finite at any learning rate (seed {seed})", context.backbone.card.id)
        diverged = sum(merit[0] < 0 for merit in merits)
        yield Outcome(
            seed,
            test(task, chosen.model, trial.test),
            chosen={"base_lr": chosen.rate, "validation": merits[best(merits)][0]},
            notes=rate_notes(rates, chosen.rate, diverged=diverged, of=len(rates), what="learning rates"),
            trainable_parameters=sum(one.numel() for one in trained_parameters(chosen.model, context.params)),
            head={
                name: array
                for name, array in state_of(chosen.model).items()
                if name.startswith("head.") or not context.params["frozen"]
            },
        )
