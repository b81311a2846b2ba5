"""Change detection: a head on the difference of two dates' dense levels (one encoder sees both), as `dense` else.

`difference: signed` is the second date minus the first, so that changing the order of the dates changes the sign;
`absolute` does not tell the dates apart. `class_weights: change-share` weighs the loss by 20 p for no change and
2 (1 - p) for change, p being the share of changed pixels in training (Daudt et al. 2018, arXiv 1810.08462, and codes
after it); `none` weighs both alike.
"""

from collections.abc import Iterator

from seamo_bench.protocol import Context, Outcome, Protocol
from seamo_bench.protocols.dense import DEFAULTS, DEMO, apply_head

PROTOCOL = Protocol(
    id="change",
    version=2,
    title="Change detection: a head on the difference of two dates' levels, scored on stitched scenes",
    tasks=("change",),
    needs="levels",
    defaults={
        **DEFAULTS,
        "epochs": 50,
        "warmup": 0,
        "smoothing": 0.0,
        "rotate": True,
        "difference": "signed",
        "class_weights": "change-share",
    },
    demo=DEMO,
    num_seeds=3,
    dates=2,
    apply=apply_head,
)


def run(context: Context) -> Iterator[Outcome]:
    """Seed by seed: train, choose, test; see `seamo_bench.protocols.dense.seeds`."""
    from seamo_bench.protocols.change.dates import run_change

    return run_change(context)
