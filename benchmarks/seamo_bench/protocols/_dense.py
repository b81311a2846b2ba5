"""What `dense` and `change` share: a head on the levels of a frozen or fine-tuned encoder, trained, chosen, tested.

Masks keep their own grid: logits are enlarged to it (bilinear) for the loss and for predictions, whatever size the
network sees. Pixels of class 255 change nothing. With a frozen encoder the heads of all learning rates are trained
side by side on the same batches, so that the encoder looks at each batch once.
"""

import importlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from seamo.data.batch import Batch
from seamo.data.loader import Loader
from seamo.errors import ProtocolError, TrainingError, UsageError
from seamo.sample import IGNORE
from seamo.store.format import finest_layer
from seamo_bench.adapter import Adapter, check_range
from seamo_bench.heads._parts import Level, enlarge
from seamo_bench.metrics import PRIMARY, compute
from seamo_bench.network import Network
from seamo_bench.predictions import Scoring, TilePredictions, tile_confusion
from seamo_bench.protocol import Context, Outcome, Params, Rows, Split, number, numbers
from seamo_bench.protocols._choice import best
from seamo_bench.protocols._layers import layer_ids
from seamo_bench.protocols.finetune import factor, state_of
from seamo_bench.stitch import Image, Scored, Tile, images_of, keeps_ids, stitch, tile_predictions

HEADS = ("linear", "upernet", "author")
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

Inputs = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class DenseTask:
    """One protocol's way from a batch to levels, and its loss.

    Args:
        context: Of the run.
        adapters: One a date; the first is the backbone's own.
        difference: `signed` (second date minus first) or `absolute`; empty with one date.
        class_weights: Training rows -> weight of each class in the loss, or None.
    """

    context: Context
    adapters: tuple[Adapter, ...]
    difference: str
    class_weights: Callable[[Rows], tuple[float, ...] | None]

    def inputs(self, batch: Batch) -> tuple[dict[str, Tensor], ...]:
        """Normalised images of every date."""
        return tuple(adapter(batch) for adapter in self.adapters)

    @property
    def layers(self) -> tuple[str, ...]:
        """Layers to read; the finest one of the store always, because the mask lies on its grid."""
        finest = finest_layer(self.context.store.spec).id
        return tuple(dict.fromkeys((*self.adapters[0].wiring.layers, finest)))

    @property
    def scoring(self) -> Scoring:
        """What metrics must know."""
        task = self.context.task
        return Scoring(task.kind, task.background, task.positive)


class Segmenter(nn.Module):
    """An encoder, the difference of its levels between dates if there are two, and a head."""

    def __init__(self, network: Network, head: nn.Module, difference: str) -> None:
        super().__init__()
        self.network = network
        self.head = head
        self.difference = difference

    def levels(self, dates: Sequence[Inputs]) -> tuple[Tensor, ...]:
        """Levels of the images, or their difference between the second and the first date."""
        return levels_of(self.network, dates, self.difference)

    def logits(self, levels: tuple[Tensor, ...], size: tuple[int, int]) -> Tensor:
        """(B, K, H, W) on the mask's grid."""
        return enlarge(self.head(levels).float(), size)


@dataclass(slots=True, eq=False)
class Candidate:
    """One base learning rate: its model, and whether its loss stayed finite."""

    rate: float
    model: Segmenter
    diverged: bool = False


def levels_of(network: Network, dates: Sequence[Inputs], difference: str) -> tuple[Tensor, ...]:
    """Levels of one date, or the difference of two, which pass the network as one batch."""
    if len(dates) == 1:
        return network.forward_features(dates[0]).levels
    joined = {sensor: torch.cat([one[sensor] for one in dates]) for sensor in dates[0]}
    pairs = [level.chunk(2) for level in network.forward_features(joined).levels]
    signed = tuple(after - before for before, after in pairs)
    return tuple(level.abs() for level in signed) if difference == "absolute" else signed


def run_task(task: DenseTask) -> Iterator[Outcome]:
    """Seed by seed: train every base learning rate, choose on validation, test the chosen one."""
    context = task.context
    if finest_layer(context.store.spec).size is None:
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
        yield Outcome(
            seed,
            test(task, chosen.model, trial.test),
            chosen={"base_lr": chosen.rate, "validation": merits[best(merits)][0]},
            notes=_notes(rates, chosen.rate, sum(merit[0] < 0 for merit in merits)),
            trainable_parameters=sum(one.numel() for one in _trained(chosen.model, context.params)),
            head={
                name: array
                for name, array in state_of(chosen.model).items()
                if name.startswith("head.") or not context.params["frozen"]
            },
        )


def _notes(rates: tuple[float, ...], chosen: float, diverged: int) -> tuple[str, ...]:
    notes: tuple[str, ...] = (f"{diverged} of {len(rates)} learning rates diverged",) if diverged else ()
    if len(rates) > 1 and chosen in (min(rates), max(rates)):
        notes += (f"the chosen learning rate {chosen:g} is the edge of the grid",)
    return notes


# Training ------------------------------------------------------------------------------------------------


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
                dates, mask = augment(dates, mask_of(moved), p, rng)
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


def mask_of(batch: Batch) -> Tensor:
    """The masks of a batch, (B, H, W) uint8.

    Raises:
        ProtocolError: If the store has none.
    """
    if batch.mask is None:
        raise ProtocolError("has no masks", batch.spec.id)
    return batch.mask


def augment(
    dates: Sequence[Inputs], mask: Tensor, params: Params, rng: np.random.Generator
) -> tuple[tuple[dict[str, Tensor], ...], Tensor]:
    """Flip (each axis, p 0.5) and, with `rotate`, turn by a random number of quarters: dates, sensors, mask alike."""
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
        straight = images
        for quarters in (1, 2, 3):
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
        network = context.backbone.network
    elif context.backbone.card.trainable:
        network = context.backbone.make(seed)
    else:
        raise ProtocolError("has nothing to train", context.backbone.card.id, "Use frozen: true.")
    network = network.to(context.device).eval()
    first = next(iter(Loader(context.store, trial.train[:1], 1, layers=task.layers))).to(context.device)
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


def head_for(params: Params, inputs: Inputs, maps: Sequence[Tensor], num_classes: int) -> nn.Module:
    """The head that the parameters name, for the levels that an encoder gave of these images."""
    side = max(x.shape[2] for x in inputs.values())
    levels = [Level(one.shape[1], one.shape[2], one.shape[3], max(1, round(side / one.shape[2]))) for one in maps]
    return make_head(params, levels, num_classes)


def make_head(params: Params, levels: Sequence[Level], num_classes: int) -> nn.Module:
    """The head that the parameters name.

    Raises:
        UsageError: If there is no such head.
    """
    if params["head"] not in HEADS:
        raise UsageError(f"no head {params['head']!r}", fix=f"There are {', '.join(HEADS)}.")
    module = importlib.import_module(f"seamo_bench.heads.{params['head']}")
    width = module.WIDTH if params["width"] is None else int(number(params, "width"))
    head: nn.Module = module.build(levels, num_classes, width=width)
    return head


def _trained(model: Segmenter, params: Params) -> list[nn.Parameter]:
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
        label_space=task.context.task.label_space,
        seed=seed,
        epoch=epoch,
        shuffle=True,
        drop_last=True,
    )


# Evaluation ----------------------------------------------------------------------------------------------


def probabilities_of(
    task: DenseTask, models: Sequence[Segmenter], rows: Rows
) -> Iterator[tuple[list[NDArray[np.float32]], NDArray[np.uint8]]]:
    """Tile by tile in the order of `rows`: the class probabilities (K, H, W) of each model, and the mask.

    The models share their encoder.
    """
    context = task.context
    size = min(int(number(context.params, "batch")), 64)
    loader = Loader(context.store, rows, size, layers=task.layers, label_space=context.task.label_space)
    autocast = torch.autocast(context.device.type, torch.bfloat16, enabled=context.precision == "bf16")
    for batch in loader:
        moved = batch.to(context.device)
        masks = mask_of(batch).numpy().copy()
        with torch.inference_mode(), autocast:
            levels = models[0].levels(task.inputs(moved))
            grid = (masks.shape[1], masks.shape[2])
            every = [model.logits(levels, grid).float().softmax(dim=1).cpu().numpy() for model in models]
        for position in range(len(batch)):
            if not bool(batch.padding[position]):
                yield [one[position] for one in every], masks[position]


def validate(task: DenseTask, candidates: Sequence[Candidate], rows: Rows) -> list[tuple[float, float]]:
    """(primary metric on tiles, minus the loss) of every candidate; (-1, 0) for one that diverged."""
    num_classes = len(task.context.task.classes)
    counts = np.zeros((len(candidates), num_classes, num_classes), dtype=np.int64)
    losses = np.zeros(len(candidates))
    finite = np.array([not one.diverged for one in candidates])
    pixels = 0
    for every, truth in probabilities_of(task, [one.model for one in candidates], rows):
        there = truth != IGNORE
        pixels += int(there.sum())
        for position, probabilities in enumerate(every):
            finite[position] &= bool(np.isfinite(probabilities).all())
            if finite[position]:
                counts[position] += tile_confusion(truth, probabilities.argmax(axis=0), num_classes)
                own = np.take_along_axis(probabilities, np.where(there, truth, 0)[None].astype(np.int64), axis=0)[0]
                losses[position] -= float(np.log(np.maximum(own[there], np.finfo(np.float32).tiny)).sum())
    if not pixels:
        raise ProtocolError("no validation pixel has a class", task.context.store.title, "Choose another split.")
    merits = []
    for position in range(len(candidates)):
        if not finite[position]:
            candidates[position].diverged = True
            merits.append((-1.0, 0.0))
            continue
        one = TilePredictions(np.array(["validation"]), counts[position : position + 1])
        value = float(compute(PRIMARY[task.scoring.kind], one, task.scoring)[0])
        merits.append((0.0 if np.isnan(value) else value, -float(losses[position]) / pixels))
    return merits


def test(task: DenseTask, model: Segmenter, rows: Rows) -> TilePredictions:
    """Predictions of the test tiles, stitched to scenes where their places are known; one scene at a time."""
    images = test_images(task, rows)
    num_classes = len(task.context.task.classes)
    ordered = np.concatenate([image.rows for image in images])
    tiles = (Tile(every[0], truth) for every, truth in probabilities_of(task, [model], ordered))
    keep = keeps_ids(images)
    done = itertools.accumulate(len(image.rows) for image in images)

    def scored() -> Iterator[Scored]:
        for image, count in zip(images, done, strict=True):
            yield stitch(image, itertools.islice(tiles, len(image.rows)), num_classes, keep=keep)
            task.context.progress(count, len(ordered), "test tiles")

    return tile_predictions(images, scored())


def test_images(task: DenseTask, rows: Rows) -> list[Image]:
    """What counts as one image of the test split."""
    store = task.context.store
    part = store.index.iloc[rows]
    size = finest_layer(store.spec).size
    return images_of(
        rows,
        keys=[str(key) for key in part["key"]],
        scenes=[str(scene) for scene in part["scene"].fillna("")],
        corners=part[["y0", "x0"]].to_numpy(dtype=np.int64),
        sizes=np.tile(np.array(size, dtype=np.int64), (len(rows), 1)),
    )
