"""Segmentation: a head on the dense levels of a frozen or fine-tuned encoder, evaluated on stitched scenes."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from seamo_bench.protocol import Context, Outcome, Params, Protocol, Trained

if TYPE_CHECKING:
    from seamo_bench.protocol import Scores

DEFAULTS: Params = {
    "head": "upernet",
    "width": None,  # None = as published: 512 (upernet), 256 (author)
    "frozen": False,
    "epochs": 30,
    "warmup": 5,
    "batch": 64,
    "base_lrs": (1e-5, 5e-5, 2e-4, 5e-4, 1e-3),
    "scale_lr": True,
    "schedule": "cosine",
    "decay": 0.95,  # an epoch, where schedule is exponential
    "weight_decay": 0.05,
    "layer_decay": 0.75,
    "smoothing": 0.1,
    "flip": True,
    "rotate": False,
}
DEMO: Params = {"epochs": 2, "warmup": 0, "base_lrs": (1e-3,), "scale_lr": False, "batch": 8, "width": 16}


def apply_head(trained: Trained) -> "Scores":
    """The encoder of a run, as it was or as it was trained, and its head: logits on the grid of the masks."""
    from seamo_bench.protocols.dense.tiles import segment

    return segment(trained)


PROTOCOL = Protocol(
    id="dense",
    version=2,
    title="Segmentation: a head on dense levels; base learning rate chosen on validation, scored on stitched scenes",
    tasks=("segmentation",),
    needs="levels",
    defaults=DEFAULTS,
    demo=DEMO,
    num_seeds=3,
    apply=apply_head,
)


def run(context: Context) -> Iterator[Outcome]:
    """Seed by seed: train, choose, test; see `seamo_bench.protocols.dense.seeds`."""
    from seamo_bench.protocols.dense.seeds import run_dense

    return run_dense(context)
