"""Training of `dense` and `change`.

Pixels of class 255 change nothing. With a frozen encoder the heads of all learning rates are trained side by side on
the same batches, so that the encoder looks at each batch once.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from seamo.data.loader import Loader
from seamo.errors import ProtocolError
from seamo.inputs.check import check_range
from seamo.inputs.wiring import check_trained
from seamo.sample import IGNORE
from seamo_bench.protocol import Context, Params, Rows, Split, number
from seamo_bench.protocols._layers import layer_ids
from seamo_bench.protocols.dense.tiles import Candidate, DenseTask, Inputs, Segmenter, head_for, levels_of
from seamo_bench.protocols.finetune.training import factor


def train(task: DenseTask, trial: Split, rates: Sequence[float], *, seed: int) -> list[Candidate]:
    """Train one head a learning rate on a frozen encoder, or (one rate) head and encoder together.

    Raises:
        ProtocolError: If a parameter or the backbone does not fit.
    """
    context, p, device = task.context, task.context.params, task.context.device
    frozen = bool(p["frozen"])
    # Batch norm over one pooled image has no variance: a tile that is alone is shown twice a step.
    rows = np.repeat(trial.train, 2) if len(trial.train) == 1 else trial.train
    batch_size = min(int(number(p, "batch")), len(rows))
    if batch_size < 2:
        raise ProtocolError("is less than two tiles a step", "parameter batch")
    epochs, steps = int(number(p, "epochs")), len(rows) // batch_size
    scale = batch_size / 256 if p["scale_lr"] else 1.0
    weights = task.class_weights(trial.train)
    rng = np.random.default_rng([seed, 2])
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        candidates = _candidates(task, trial, rates, seed=seed)
        optimisers = [_optimiser(one.model, one.rate * scale, p) for one in candidates]
        torch.manual_seed(seed)  # dropout
        for epoch in range(epochs):
            for one in candidates:
                one.model.train()
            if frozen:
                candidates[0].model.network.eval()
            for step, batch in enumerate(_training_loader(task, rows, batch_size, seed=seed, epoch=epoch)):
                moved = batch.to(device)
                dates = task.inputs(moved)
                if epoch == 0 and step == 0:
                    check_range(dates[0], task.adapters[0].wiring)
                dates, mask = augment(dates, task.mask(moved), p, rng)
                share = _share(p, epoch + step / steps, epochs)
                _step(context, candidates, optimisers, dates, mask, share=share, weights=weights)
            context.progress(epoch + 1, epochs, f"epochs (seed {seed}, base lr {', '.join(f'{r:g}' for r in rates)})")
    for one in candidates:
        one.model.eval()
    return candidates


def _step(
    context: Context,
    candidates: Sequence[Candidate],
    optimisers: Sequence[torch.optim.Optimizer],
    dates: Sequence[Inputs],
    mask: Tensor,
    *,
    share: float,
    weights: tuple[float, ...] | None,
) -> None:
    p = context.params
    autocast = torch.autocast(context.device.type, torch.bfloat16, enabled=context.precision == "bf16")
    with torch.set_grad_enabled(not p["frozen"]), autocast:
        levels = candidates[0].model.levels(dates)
    for one, optimiser in zip(candidates, optimisers, strict=True):
        if one.diverged:
            continue
        for group in optimiser.param_groups:
            group["lr"] = group["base_lr"] * share
        with autocast:
            logits = one.model.logits(levels, (mask.shape[1], mask.shape[2]))
        loss = dense_loss(logits, mask, smoothing=number(p, "smoothing"), weights=weights)
        if not bool(torch.isfinite(loss)):
            one.diverged = True
            continue
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()


def dense_loss(
    logits: Tensor, mask: Tensor, *, smoothing: float = 0.0, weights: tuple[float, ...] | None = None
) -> Tensor:
    """Mean cross-entropy of the pixels that have a class; 0 where none has.

    Args:
        logits: (B, K, H, W).
        mask: (B, H, W) class ids, 255 = ignore.
        smoothing: Label smoothing; 0 is the negative log-likelihood of the log-softmax.
        weights: Of the classes; the mean is then weighted, as in `torch.nn.NLLLoss`.
    """
    target = mask.long()
    if not bool((target != IGNORE).any()):
        return logits.sum() * 0.0
    weight = None if weights is None else logits.new_tensor(weights)
    return functional.cross_entropy(logits, target, weight, ignore_index=IGNORE, label_smoothing=smoothing)


def augment(
    dates: Sequence[Inputs], mask: Tensor, params: Params, rng: np.random.Generator
) -> tuple[tuple[dict[str, Tensor], ...], Tensor]:
    """Flip (each axis, p 0.5) and, with `rotate`, turn by a random number of quarters: dates, sensors, mask alike.

    Where an image or the mask is not square, by half a turn or not at all: quarters would not fit on one another.
    """
    parts = [(date, sensor, x) for date, one in enumerate(dates) for sensor, x in one.items()]
    images = [*(x for _, _, x in parts), mask[:, None]]
    count = len(mask)

    def pick(flags: NDArray[np.bool_]) -> Tensor:
        return torch.from_numpy(flags).to(mask.device)[:, None, None, None]

    if params["flip"]:
        for axis in (2, 3):
            chosen = pick(rng.random(count) < 0.5)
            images = [torch.where(chosen, x.flip(axis), x) for x in images]
    if params["rotate"]:
        turns = rng.integers(4, size=count)
        is_square = all(x.shape[-2] == x.shape[-1] for x in images)
        turns = turns if is_square else turns // 2 * 2
        straight = images
        for quarters in (1, 2, 3) if is_square else (2,):
            chosen = pick(turns == quarters)
            images = [
                torch.where(chosen, torch.rot90(x, quarters, (2, 3)), y) for x, y in zip(straight, images, strict=True)
            ]
    out: tuple[dict[str, Tensor], ...] = tuple({} for _ in dates)
    for (date, sensor, _), x in zip(parts, images, strict=False):
        out[date][sensor] = x
    return out, images[-1][:, 0]


def _share(params: Params, at: float, epochs: int) -> float:
    """Share of the learning rate at a point in epochs."""
    if params["schedule"] == "cosine":
        return factor(at, epochs, number(params, "warmup"))
    if params["schedule"] == "exponential":
        return float(number(params, "decay") ** int(at))
    raise ProtocolError(f"is {params['schedule']!r}, not cosine or exponential", "parameter schedule")


def _candidates(task: DenseTask, trial: Split, rates: Sequence[float], *, seed: int) -> list[Candidate]:
    context, p = task.context, task.context.params
    if p["frozen"]:
        check_trained(task.adapters[0].wiring)
        network = context.backbone.network
    elif context.backbone.card.trainable:
        network = context.backbone.make(seed)
    else:
        raise ProtocolError("has nothing to train", context.backbone.card.id, "Use frozen: true.")
    network = network.to(context.device).eval()
    first = next(iter(task.loader(trial.train[:1], 1))).to(context.device)
    with torch.no_grad():
        dates = task.inputs(first)
        maps = levels_of(network, dates, task.difference)
    if not maps:
        raise ProtocolError("gives no dense levels", context.backbone.card.id)
    found = []
    for rate in rates:
        torch.manual_seed(seed)  # every rate starts from the same head
        head = head_for(p, dates[0], maps, len(context.task.classes)).to(context.device)
        found.append(Candidate(rate, Segmenter(network, head, task.difference)))
    return found


def trained_parameters(model: Segmenter, params: Params) -> list[nn.Parameter]:
    """The head's parameters, and the network's where it is not frozen."""
    parts = [model.head] if params["frozen"] else [model.network, model.head]
    return [one for part in parts for one in part.parameters() if one.requires_grad]


def _optimiser(model: Segmenter, lr: float, params: Params) -> torch.optim.Optimizer:
    """AdamW; layer decay towards the encoder's first layers, no weight decay for vectors."""
    decay, weight_decay = number(params, "layer_decay"), number(params, "weight_decay")
    names = [] if params["frozen"] else [name for name, _ in model.network.named_parameters()]
    ids = layer_ids(names, model.network.fresh)
    top = max(ids.values(), default=0)
    entries = [(top, one) for one in model.head.parameters()]
    if not params["frozen"]:
        entries += [(ids[name], one) for name, one in model.network.named_parameters()]
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for layer, parameter in entries:
        if parameter.requires_grad:
            groups.setdefault((layer, parameter.ndim > 1), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": chosen,
                "base_lr": lr * decay ** (top - layer),
                "weight_decay": weight_decay if decayed else 0.0,
            }
            for (layer, decayed), chosen in sorted(groups.items(), key=lambda item: item[0])
        ],
        lr=lr,
    )


def _training_loader(task: DenseTask, rows: Rows, size: int, *, seed: int, epoch: int) -> Loader:
    return Loader(
        task.context.store,
        rows,
        size,
        layers=task.layers,
        label_space=task.label_space,
        seed=seed,
        epoch=epoch,
        shuffle=True,
        drop_last=True,
    )
