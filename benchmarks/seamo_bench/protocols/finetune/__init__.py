"""Fine-tuning: the whole network and a linear head; AdamW, layer decay, warm-up and cosine, as MAE does it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from seamo_bench.protocol import Context, Outcome, Protocol, Trained

if TYPE_CHECKING:
    from seamo_bench.protocol import Scores


def _apply(trained: Trained) -> "Scores":
    """The fine-tuned network and its head."""
    from seamo_bench.protocols.finetune.training import apply_classifier

    return apply_classifier(trained)


PROTOCOL = Protocol(
    id="finetune",
    version=3,
    title="Fine-tuning: AdamW, layer decay, warm-up and cosine; base learning rate chosen on validation",
    tasks=("single-label", "multi-label"),
    needs="network",
    defaults={
        "epochs": 50,
        "warmup": 5,
        "batch": 256,
        "base_lrs": (1e-5, 5e-5, 2e-4, 5e-4, 1e-3),
        "scale_lr": True,
        "weight_decay": 0.05,
        "layer_decay": 0.75,
        "drop_path": 0.2,
        "smoothing": 0.1,
        "mixup": 0.8,
        "cutmix": 1.0,
        "crop": (0.2, 1.0),  # smallest and largest share of the area; None = whole images
        "flip": True,
    },
    demo={"epochs": 2, "warmup": 0, "base_lrs": (2e-4,), "batch": 32},
    num_seeds=3,
    apply=_apply,
)


def run(context: Context) -> Iterator[Outcome]:
    """Train once per base learning rate, choose, test, seed by seed: `seamo_bench.protocols.finetune.training`."""
    from seamo_bench.protocols.finetune.training import run_seeds

    return run_seeds(context)
