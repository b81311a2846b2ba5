"""Fine-tuning: the whole network and a linear head; AdamW, layer decay, warm-up and cosine, as MAE does it."""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from timm.layers.drop import DropPath
from torch import Tensor, nn
from torch.nn import functional

from seamo.data.crops import CropConfig, draw_views
from seamo.data.loader import Loader
from seamo.errors import ProtocolError, TrainingError
from seamo.inputs.adapter import Adapter
from seamo.inputs.check import check_range
from seamo_bench.network import Network
from seamo_bench.protocol import Context, Outcome, Rows, Split, Trained, number, numbers
from seamo_bench.protocols._apply import autocast, filled
from seamo_bench.protocols._choice import best, merit, predictions_of, rate_notes
from seamo_bench.protocols._layers import layer_ids

if TYPE_CHECKING:
    from seamo_bench.protocol import Inputs, Scores


def apply_classifier(trained: Trained) -> "Scores":
    """The fine-tuned network and its head."""
    width = trained.network.forward_features(trained.blank[0]).pooled.shape[1]
    model = filled(Classifier(trained.network, width, trained.num_classes), trained)

    def scores(dates: "Sequence[Inputs]") -> Tensor:
        with autocast(trained):
            logits: Tensor = model(dict(dates[0]))
        return logits

    return scores


class Classifier(nn.Module):
    """Backbone, pooled feature, linear head (weights N(0, 0.01), zero bias)."""

    def __init__(self, network: Network, width: int, num_classes: int) -> None:
        super().__init__()
        self.network = network
        self.head = nn.Linear(width, num_classes)

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        """Logits (B, K)."""
        logits: Tensor = self.head(self.network.forward_features(inputs).pooled)
        return logits


def run_seeds(context: Context) -> Iterator[Outcome]:
    """Seed by seed: train once per base learning rate, choose on validation, test the chosen one.

    Raises:
        ProtocolError: If the backbone has nothing to train.
        TrainingError: If no learning rate has a finite loss.
    """
    if not context.backbone.card.trainable:
        raise ProtocolError("has nothing to train", context.backbone.card.id)
    for seed in context.seeds:
        trial = context.splits[seed][0]
        rates = numbers(context.params, "base_lrs")
        merits: list[tuple[float, float]] = []
        scores: list[NDArray[np.float32]] = []
        head: dict[str, NDArray[Any]] = {}
        parameters = 0
        for rate in rates:
            model = train(context, trial, base_lr=rate, seed=seed)
            if model is None or not np.isfinite(seen := predict(context, model, trial.val)).all():
                merits.append((-1.0, 0.0))
                continue
            parameters = sum(one.numel() for one in model.parameters() if one.requires_grad)
            merits.append(merit(seen, context.labels[trial.val]))
            if best(merits) == len(merits) - 1:  # only the best so far is tested, and only its scores leave
                scores = [predict(context, model, trial.test)]
                head = state_of(model)
        if not scores:
            raise TrainingError(f"the loss is not finite at any learning rate (seed {seed})", context.backbone.card.id)
        chosen = best(merits)
        diverged = sum(one[0] < 0 for one in merits)
        yield Outcome(
            seed,
            predictions_of(context, [trial.test], scores, scale="logits"),
            chosen={"base_lr": rates[chosen], "validation": merits[chosen][0]},
            notes=rate_notes(rates, rates[chosen], diverged=diverged, of=len(rates), what="learning rates"),
            trainable_parameters=parameters,
            head=head,
        )


def train(context: Context, trial: Split, *, base_lr: float, seed: int) -> Classifier | None:
    """One training run; None if its loss did not stay finite."""
    p, device = context.params, context.device
    adapter = _adapter(context)
    batch_size = min(int(number(p, "batch")), len(trial.train))
    epochs = int(number(p, "epochs"))
    rng = np.random.default_rng([seed, 1])
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        model = _classifier(context, trial, seed).to(device)
        torch.manual_seed(seed)  # drop path draws from torch's own state, inside this fork only
        groups = parameter_groups(model, weight_decay=number(p, "weight_decay"), decay=number(p, "layer_decay"))
        lr = base_lr * batch_size / 256 if p["scale_lr"] else base_lr
        optimiser = torch.optim.AdamW(groups, lr=lr)
        steps = len(trial.train) // batch_size
        for epoch in range(epochs):
            model.train()
            for step, (inputs, rows) in enumerate(_batches(context, trial.train, batch_size, seed=seed, epoch=epoch)):
                at = epoch + step / steps
                for group in optimiser.param_groups:
                    group["lr"] = lr * float(group["scale"]) * factor(at, epochs, number(p, "warmup"))
                if epoch == 0 and step == 0:
                    check_range(inputs, adapter.wiring)
                target = soft_targets(_labels(context, rows).to(device), context, smoothing=number(p, "smoothing"))
                if p["crop"] is not None:
                    inputs = crop(inputs, boxes(rows, numbers(p, "crop"), seed=seed, epoch=epoch))
                inputs, target = augment(inputs, target, context, rng)
                with torch.autocast(device.type, torch.bfloat16, enabled=context.precision == "bf16"):
                    logits = model(inputs).float()
                loss = _loss(logits, target, context)
                if not bool(torch.isfinite(loss)):
                    return None
                optimiser.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
            context.progress(epoch + 1, epochs, f"epochs (seed {seed}, base lr {base_lr:g})")
    return model.eval()


def predict(context: Context, model: Classifier, rows: Rows) -> NDArray[np.float32]:
    """Logits (n, K) of rows, in their order."""
    adapter = _adapter(context)
    size = min(int(number(context.params, "batch")), 256)
    parts, order = [], []
    with (
        torch.inference_mode(),
        torch.autocast(context.device.type, torch.bfloat16, enabled=context.precision == "bf16"),
    ):
        for batch in Loader(context.store, rows, size, layers=adapter.wiring.layers, shuffle=False):
            logits = model(adapter(batch.to(context.device))).float().cpu()
            parts.append(logits[~batch.padding].numpy())
            order.append(batch.rows[~batch.padding].numpy())
    # Images that vary in size come in another order than that of the rows.
    place = {int(row): k for k, row in enumerate(np.concatenate(order))}
    found: NDArray[np.float32] = np.concatenate(parts)[[place[int(row)] for row in rows]]
    return found


def state_of(model: nn.Module) -> dict[str, NDArray[Any]]:
    """A module's parameters and buffers as arrays, for `Outcome.head`."""
    return {name: one.detach().cpu().numpy() for name, one in model.state_dict().items()}


def factor(at: float, epochs: int, warmup: float) -> float:
    """Share of the learning rate at a point in epochs: linear warm-up, then half a cosine to 0."""
    if at < warmup:
        return at / warmup
    return 0.5 * (1.0 + math.cos(math.pi * (at - warmup) / max(epochs - warmup, 1e-9)))


def parameter_groups(model: Classifier, *, weight_decay: float, decay: float) -> list[dict[str, object]]:
    """Groups of one layer each: `scale` = decay ** (layers above); no weight decay for vectors."""
    ids = layer_ids([name for name, _ in model.network.named_parameters()], model.network.fresh)
    top = max(ids.values(), default=0)
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        layer = top if name.startswith("head.") else ids[name.removeprefix("network.")]
        groups.setdefault((layer, parameter.ndim > 1), []).append(parameter)
    return [
        {"params": chosen, "scale": decay ** (top - layer), "weight_decay": weight_decay if decayed else 0.0}
        for (layer, decayed), chosen in sorted(groups.items(), key=lambda item: item[0])
    ]


def soft_targets(labels: Tensor, context: Context, *, smoothing: float) -> Tensor:
    """(B, K) targets: one-hot with label smoothing, or the classes of a multi-label task as they are."""
    if labels.ndim == 2:
        return labels.float()
    num_classes = len(context.task.classes)
    return functional.one_hot(labels, num_classes).float() * (1.0 - smoothing) + smoothing / num_classes


def boxes(rows: Tensor, share: tuple[float, ...], *, seed: int, epoch: int) -> Tensor:
    """Boxes as of `RandomResizedCrop` (Szegedy et al. 2015): those of a sample depend on (seed, epoch, row) alone.

    Args:
        rows: (B,) of the samples in their store.
        share: Smallest and largest share of the image's area; the aspect ratio is 3/4 to 4/3.
        seed: Of the run.
        epoch: Of the run.

    Returns:
        (B, 4) top, left, height, width as shares of the image's height and width.

    Raises:
        ProtocolError: If `share` is not two numbers.
    """
    if len(share) != 2:
        raise ProtocolError(f"is {share}, not the smallest and the largest share of the area", "parameter crop")
    config = CropConfig(rate=(share[0], share[1]), flip=False)
    return draw_views(config, rows, sensors=("all",), seasons=1, seed=seed, epoch=epoch)["all"].box[:, 0]


def crop(inputs: dict[str, Tensor], box: Tensor) -> dict[str, Tensor]:
    """Cut a box out of every image and enlarge it to the image's size, all sensors of a sample alike.

    The kernel is torch's bicubic one (a = -0.75). At the edge of the box it sees pixels beyond it, where there are any.

    Args:
        inputs: Sensor -> (B, C, H, W).
        box: (B, 4) top, left, height, width as shares of height and width, within the image.
    """
    top, left, height, width = box.float().unbind(dim=1)
    zero = torch.zeros_like(top)
    # From -1 .. 1 of the result to -1 .. 1 of the image.
    across = torch.stack([width, zero, 2 * left + width - 1], dim=1)
    down = torch.stack([zero, height, 2 * top + height - 1], dim=1)
    found = {}
    for sensor, x in inputs.items():
        grid = functional.affine_grid(torch.stack([across, down], dim=1), list(x.shape), align_corners=False)
        found[sensor] = functional.grid_sample(x, grid, "bicubic", "border", align_corners=False)
    return found


def augment(
    inputs: dict[str, Tensor], target: Tensor, context: Context, rng: np.random.Generator
) -> tuple[dict[str, Tensor], Tensor]:
    """Flips of single images, then mixup or cutmix of the batch with itself in reverse order; all sensors alike.

    Mixup (Zhang et al. 2018) and cutmix (Yun et al. 2019) take turns by a fair coin where both are on; neither is
    used for multi-label tasks.
    """
    p = context.params
    if p["flip"]:
        for axis in (2, 3):
            flipped = torch.from_numpy(rng.random(len(target)) < 0.5).to(target.device)[:, None, None, None]
            inputs = {sensor: torch.where(flipped, x.flip(axis), x) for sensor, x in inputs.items()}
    strengths = [(name, number(p, name)) for name in ("mixup", "cutmix") if number(p, name) > 0]
    if not strengths or context.task.kind != "single-label":
        return inputs, target
    name, alpha = strengths[int(rng.integers(len(strengths)))]
    share = float(rng.beta(alpha, alpha))
    if name == "mixup":
        inputs = {sensor: share * x + (1.0 - share) * x.flip(0) for sensor, x in inputs.items()}
    else:
        side = math.sqrt(1.0 - share)
        centre, mixed = rng.random(2), {}
        for sensor, x in inputs.items():
            height, width = x.shape[2:]
            rows = slice(max(0, round((centre[0] - side / 2) * height)), round((centre[0] + side / 2) * height))
            columns = slice(max(0, round((centre[1] - side / 2) * width)), round((centre[1] + side / 2) * width))
            mixed[sensor] = x.clone()
            mixed[sensor][:, :, rows, columns] = x.flip(0)[:, :, rows, columns]
            patch = x[0, 0, rows, columns].numel()
            share = 1.0 - patch / (height * width)  # what was really replaced
        inputs = mixed
    return inputs, share * target + (1.0 - share) * target.flip(0)


def set_drop_path(network: nn.Module, rate: float) -> None:
    """Stochastic depth of timm's blocks: rising linearly from 0 to `rate`."""
    blocks = [module for module in network.modules() if hasattr(module, "drop_path1") and hasattr(module, "drop_path2")]
    for index, block in enumerate(blocks):
        own = rate * index / max(len(blocks) - 1, 1)
        block.drop_path1 = DropPath(own) if own > 0 else nn.Identity()
        block.drop_path2 = DropPath(own) if own > 0 else nn.Identity()


def _classifier(context: Context, trial: Split, seed: int) -> Classifier:
    network = context.backbone.make(seed)
    set_drop_path(network, number(context.params, "drop_path"))
    adapter = _adapter(context)
    first = next(iter(Loader(context.store, trial.train[:1], 1, layers=adapter.wiring.layers)))
    with torch.no_grad():
        width = network.eval().forward_features(adapter(first)).pooled.shape[1]
    model = Classifier(network, width, len(context.task.classes))
    nn.init.normal_(model.head.weight, std=0.01, generator=torch.Generator().manual_seed(seed))
    nn.init.zeros_(model.head.bias)
    return model


def _adapter(context: Context) -> Adapter:
    adapter = context.backbone.adapter
    if adapter is None:
        raise ProtocolError("was not loaded for a store", context.backbone.card.id)
    return adapter


def _batches(
    context: Context, rows: Rows, size: int, *, seed: int, epoch: int
) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
    """What the network sees in each step of an epoch, and of which rows; what fills no batch at its end is left out.

    Images that vary in size are read in batches of one size each, most of them not full. Here they are of the network's
    size, so steps are filled across them: no size is too rare to be learned from.
    """
    adapter = _adapter(context)
    vary = any(layer.size is None for layer in context.store.spec.layers)
    loader = Loader(
        context.store, rows, size, layers=adapter.wiring.layers, seed=seed, epoch=epoch, shuffle=True,
        drop_last=not vary,
    )  # fmt: skip
    held: dict[str, Tensor] = {}
    held_rows = torch.empty(0, dtype=torch.int64, device=context.device)
    for batch in loader:
        moved = batch.to(context.device)
        inputs, mine = adapter(moved), moved.rows
        if len(held_rows):
            inputs = {sensor: torch.cat([held[sensor], images]) for sensor, images in inputs.items()}
            mine = torch.cat([held_rows, mine])
        full = (
            [({sensor: images[:size] for sensor, images in inputs.items()}, mine[:size])] if len(mine) >= size else []
        )
        first = size * len(full)
        held = {sensor: images[first:].clone() for sensor, images in inputs.items()}  # no view, which keeps all of it
        held_rows = mine[first:]
        del moved, inputs
        if full:
            yield full.pop()  # nothing here refers to images that are handed out


def _labels(context: Context, rows: Tensor) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(context.labels[rows.cpu().numpy()]))


def _loss(logits: Tensor, target: Tensor, context: Context) -> Tensor:
    if context.task.kind == "multi-label":
        return functional.binary_cross_entropy_with_logits(logits, target)
    return functional.cross_entropy(logits, target)
