"""The one place in which a protocol's context is made."""

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from seamo.store.samples import Samples
from seamo_bench.facts import Budget, TaskFacts
from seamo_bench.features.cache import FeatureCache, Work
from seamo_bench.network import Backbone
from seamo_bench.protocol import Context, Params, Split


def context_of(
    backbone: Backbone,
    store: Samples,
    cache: FeatureCache,
    *,
    task: TaskFacts,
    labels: NDArray[Any],
    splits: Mapping[int, tuple[Split, ...]],
    params: Params,
    work: Work,
    budget: Budget = "full",
    precision: str = "fp32",
) -> Context:
    """What a protocol works on.

    Args:
        backbone: Fitted to the store.
        store: The open store.
        cache: Where the backbone's features come from.
        task: Kind of task and classes.
        labels: One entry a row of the store, see `seamo_bench.protocol.Context`.
        splits: Seed -> its trials.
        params: The protocol's.
        work: Where it computes, and whom it tells.
        budget: `full` or `demo`.
        precision: `fp32` or `bf16`.
    """
    return Context(
        task=task,
        backbone=backbone,
        store=store,
        labels=labels,
        features=cache.table,
        splits=splits,
        params=params,
        budget=budget,
        precision=precision,
        device=work.device,
        progress=work.progress,
    )
