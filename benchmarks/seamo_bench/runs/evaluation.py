"""`evaluate(backbone, store, protocol)`: one protocol on one store from Python, without suites, records or keys."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from seamo.errors import ProtocolError
from seamo.inputs.adapter import Adapter
from seamo.inputs.statistics import store_statistics
from seamo.inputs.wiring import wire
from seamo.store.samples import Samples
from seamo_bench.facts import BackboneFacts, Scalar
from seamo_bench.features.cache import FeatureCache, Work
from seamo_bench.network import Backbone
from seamo_bench.predictions import Predictions, Scoring
from seamo_bench.protocols import find_protocol, runner
from seamo_bench.runs.context import context_of
from seamo_bench.runs.notes import left_out_flags
from seamo_bench.scores.metrics import score
from seamo_bench.suites.suite import Row, protocol_params
from seamo_bench.tasks.trials import labels_of, make_trials, task_facts
from seamo_bench.zoo.catalogue import card_digest


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """What one seed gave.

    Args:
        seed: Which.
        scores: Metric -> value on the test split.
        predictions: Of the test split.
        chosen: What was chosen on validation.
        notes: What a reader must know.
    """

    seed: int
    scores: Mapping[str, float | None]
    predictions: Predictions
    chosen: Mapping[str, Scalar]
    notes: tuple[str, ...]


def evaluate(
    backbone: Backbone,
    store: Samples,
    protocol: str,
    *,
    split: str = "",
    fraction: float = 1.0,
    seeds: int = 1,
    device: str = "cpu",
    params: Mapping[str, Scalar | tuple[Scalar, ...]] | None = None,
) -> list[Evaluation]:
    """Evaluate a backbone on a store; `seamo-bench run` does the same with records.

    Args:
        backbone: From `load_backbone(..., store=store)`, or of one's own (`seamo_bench.backbone`).
        store: An open store.
        protocol: `linear`, `logreg`, `knn`, `finetune`, `dense`, `change`, ...
        split: Split scheme; empty = the store's own.
        fraction: Share of the training labels.
        seeds: Number of seeds.
        device: Where to compute.
        params: Overrides of the protocol's defaults.

    Returns:
        One entry a seed.

    Raises:
        UsageError, ProtocolError: If the protocol is unknown or cannot run here, or the backbone was loaded for a store
            with other bands or units.
        BandError: If the store lacks bands that the backbone must have.
    """
    if backbone.adapter is None:
        wiring = wire(backbone.card.expects, store.spec, statistics=store_statistics(store))
        fed = backbone.card.fed(wiring)
        if fed.inputs != backbone.card.inputs:  # the network was made for other inputs than it would get
            raise ProtocolError("was not loaded for a store", backbone.card.id, "load_backbone(..., store=store)")
        backbone = replace(backbone, card=fed, adapter=Adapter(wiring))
    found = find_protocol(protocol)
    row = Row(store=store.spec.id, protocol=protocol, fraction=fraction, params=dict(params or {}))
    scheme = split or store.meta.split_scheme
    task = task_facts(store, scheme)
    labels = labels_of(store, task)
    splits = {
        seed: make_trials(
            store, labels, scheme=scheme, fraction=fraction, salt=seed if fraction < 1 else 0, budget="full"
        )
        for seed in range(seeds)
    }
    with tempfile.TemporaryDirectory(prefix="seamo-features-") as folder:
        facts = BackboneFacts(id=backbone.card.id, card=card_digest(backbone.card))
        work = Work(torch.device(device))
        cache = FeatureCache(Path(folder), store, backbone, facts=facts, work=work)
        context = context_of(
            backbone,
            store,
            cache,
            task=task,
            labels=labels,
            splits=splits,
            params=protocol_params(found, row, "full"),
            work=work,
        )
        unused = tuple(flag.text for flag in left_out_flags(store, labels, task, scheme))
        scoring = Scoring(task.kind, task.background, task.positive)
        return [
            Evaluation(one.seed, score(one.predictions, scoring), one.predictions, one.chosen, one.notes + unused)
            for one in runner(protocol)(context)
        ]
