"""Segmentation: a head on the dense levels of a frozen or fine-tuned encoder, evaluated on stitched scenes."""

from collections.abc import Iterator

from seamo.errors import ProtocolError
from seamo_bench.protocol import Context, Outcome, Protocol
from seamo_bench.protocols.dense.seeds import run_task
from seamo_bench.protocols.dense.tiles import DEFAULTS, DEMO, DenseTask, apply_head

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
    adapter = context.backbone.adapter
    if adapter is None:
        raise ProtocolError("was not loaded for a store", context.backbone.card.id)
    yield from run_task(DenseTask(context, (adapter,), "", lambda _rows: None))
