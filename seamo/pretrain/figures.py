"""Pictures of a pretrained model: what it saw, what was hidden, what it painted; and how crops are drawn."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from torch import Tensor

from seamo.data.batch import Batch
from seamo.data.crops import CropConfig, Mode, View, crop_stack, draw_views, whole_view
from seamo.data.loader import Loader
from seamo.data.settings import parse_crop
from seamo.disk import write_output
from seamo.errors import UsageError
from seamo.inputs.normalise import Normalisation, normalise, parse_normalisation
from seamo.model.checkpoint import load_model
from seamo.model.seamo import SeaMo
from seamo.pretrain.fetched import model_folder
from seamo.pretrain.inputs import InputPlan, Inputs
from seamo.pretrain.learnt import YARDSTICKS
from seamo.pretrain.painting import paint
from seamo.pretrain.yardsticks import yardstick_sums
from seamo.store.reader import Store

_WHOLE = 128  # pixels in which whole images are shown
_GREY = 0.35  # hidden patches and absent images
# Title of a reconstruction, and the fields of `Painted` that are the network's and that of the visible mean.
_WAYS = (
    ("the network alone", "alone", "mean_alone"),
    ("with own mean and scale", "helped", "mean_helped"),
)


@dataclass(frozen=True, slots=True, eq=False)
class _Shown:
    model: SeaMo
    plan: InputPlan
    batch: Batch
    title: str


def draw_reconstruction(path: str | Path, store: Store, out: Path, *, key: str = "", seed: int = 0) -> None:
    """Draw input | masked | reconstructions | target of one sample, per season and sensor.

    The input is the whole stored image with the crop that the model saw; the others are that crop. There are two
    reconstructions where targets are normalised: what the network says alone, and with each hidden patch's own mean and
    scale (`seamo.pretrain.painting`). Dates that are not there have no row. The caption says the loss and, for each
    sensor, the peak signal-to-noise ratio over all bands of the hidden pixels (`psnr`), beside those of the mean of
    what was visible.

    Args:
        path: A run or a model, or its address.
        store: Where the sample is.
        out: PNG (or another format that matplotlib knows by its ending).
        key: Of the sample; the first of `val` (of all samples where there is no val) without it.
        seed: Of crop and mask.

    Raises:
        UsageError: If the sample has no image of the model's sensors, or the file's ending is no picture's.
    """
    shown = _show(path, store, key, seed)
    plan, device = shown.plan, torch.device("cpu")
    inputs = plan(shown.batch, device, epoch=0)
    with torch.no_grad():
        output = shown.model(inputs.images, noise=inputs.noise, valid=inputs.valid, pixel_valid=inputs.pixel_valid)
    painted = paint(output, inputs, plan.config)
    ways = _WAYS if plan.config.norm_pix != "none" else _WAYS[:1]
    views = draw_views(
        plan.crop, shown.batch.rows, sensors=plan.config.sensors, seasons=plan.seasons, seed=seed, epoch=0
    )
    whole = _whole_images(shown)
    sensors, patch = plan.config.sensors, plan.config.patch
    there = [
        (t, sensor)
        for t in range(plan.seasons)
        for sensor in sensors
        if inputs.valid is None or bool(inputs.valid[sensor][0, t])
    ]
    if not there:
        raise UsageError("has no image of the model's sensors", shown.batch.keys[0], "Choose another --key.")
    titles = ["input, crop outlined", "masked", *(title for title, *_ in ways), "target"]
    figure = Figure(figsize=(0.2 + 2.1 * len(titles), 2.05 * len(there) + 0.9), layout="constrained")
    axes: NDArray[Any] = np.asarray(figure.subplots(len(there), len(titles), squeeze=False))
    for place, name in enumerate(titles):
        axes[0, place].set_title(name, fontsize=9)
    counted: dict[str, list[tuple[int, NDArray[np.bool_]]]] = {}
    for row, (t, sensor) in zip(axes, there, strict=True):
        how = plan.numbers[sensor]
        hidden = _patches_to_pixels(output.masked[sensor][0, t], plan.config.grid, patch)
        target = _picture(inputs.images[sensor][0, t], how)
        masked = np.where(hidden[..., None], _GREY, target)
        drawn = [_picture(getattr(painted[sensor], name)[0, t], how) for _, name, _ in ways]
        pictures = [_picture(whole[sensor][0, t], how), masked, *drawn, target]
        row[0].set_ylabel(f"season {t + 1}, {sensor}", fontsize=8)
        for axis, picture in zip(row, pictures, strict=True):
            _place(axis, picture, note="")
        _outline(row[0], views[sensor], t, pictures[0].shape)
        if inputs.pixel_valid is not None:
            hidden = hidden & inputs.pixel_valid[sensor][0, t].reshape(-1, *hidden.shape).all(dim=0).numpy()
        counted.setdefault(sensor, []).append((t, hidden))
    absent = plan.seasons * len(sensors) - len(there)
    lines = [f"{shown.title}: {shown.batch.keys[0]}{f'; {absent} images are not there' if absent else ''}"]
    lines.append(
        f"loss {float(output.loss):.4f}, of the mean of what was visible {_loss_of_the_mean(inputs, plan):.4f}"
    )
    for title, *names in ways:
        ratios = []
        for sensor, found in counted.items():
            ours, theirs = (
                psnr(
                    [(getattr(painted[sensor], name)[0, t], inputs.images[sensor][0, t], where) for t, where in found],
                    plan.numbers[sensor].kind,
                )
                for name in names
            )
            ratios.append(f"{sensor} {ours:.1f} dB ({theirs:.1f})")
        lines.append(f"PSNR of hidden pixels, all bands, {title} (of that mean): {', '.join(ratios)}")
    figure.suptitle("\n".join(lines), fontsize=9)
    save_figure(figure, out)


def _loss_of_the_mean(inputs: Inputs, plan: InputPlan) -> float:
    """The loss of an image whose hidden patches are the mean of what was visible."""
    free = YARDSTICKS.index("mean")
    return sum(
        plan.config.weight_of(sensor) * float(one[free] / one[-1].clamp(min=1))
        for (sensor, _), one in yardstick_sums(inputs, plan.config).items()
    )


def psnr(images: Sequence[tuple[Tensor, Tensor, NDArray[np.bool_]]], kind: str) -> float:
    """Peak signal-to-noise ratio in dB: 10 log10(peak^2 / mean squared error), of normalised values.

    Args:
        images: (painted (C, S, S), target (C, S, S), pixels that count (S, S)) of each.
        kind: Of the normalisation. The peak is 1, the range of what is clipped to [0, 1]; of z-scores it is 4, the
            range of -2 to 2 that is drawn.

    Returns:
        NaN where no pixel counts, infinity where there is no error.
    """
    errors = [((one - other) ** 2).double().numpy()[:, where] for one, other, where in images]
    squared = np.concatenate([one.ravel() for one in errors])
    if not squared.size:
        return math.nan
    error, peak = float(squared.mean()), 4.0 if kind == "z-score" else 1.0
    return 10.0 * math.log10(peak**2 / error) if error else math.inf


def draw_crops(path: str | Path, store: Store, out: Path, *, key: str = "", seed: int = 0) -> None:
    """Draw the crop modes over one sample's seasons (Figure 2 of the paper); arguments as `draw_reconstruction`."""
    shown = _show(path, store, key, seed)
    plan = shown.plan
    sensor = plan.config.sensors[0]
    whole = _whole_images(shown)[sensor]
    modes: tuple[Mode, ...] = get_args(Mode)
    figure = Figure(figsize=(2.1 * plan.seasons + 0.5, 2.15 * len(modes) + 0.4), layout="constrained")
    axes: NDArray[Any] = np.asarray(figure.subplots(len(modes), plan.seasons, squeeze=False))
    for row, mode in zip(axes, modes, strict=True):
        crop = CropConfig(mode=mode, rate=plan.crop.rate, rate_mode=plan.crop.rate_mode)
        views = draw_views(crop, shown.batch.rows, sensors=[sensor], seasons=plan.seasons, seed=seed, epoch=0)
        for t, axis in enumerate(row):
            picture = _picture(whole[0, t], plan.numbers[sensor])
            mirrored = bool(views[sensor].flip[0, t])
            _place(axis, picture, note="mirrored" if mirrored else "")
            _outline(axis, views[sensor], t, picture.shape)
        row[0].set_ylabel(mode, fontsize=9)
    for t, axis in enumerate(axes[0]):
        axis.set_title(f"season {t + 1}", fontsize=9)
    figure.suptitle(f"{shown.title}: {shown.batch.keys[0]}", fontsize=9)
    save_figure(figure, out)


def _show(path: str | Path, store: Store, key: str, seed: int) -> _Shown:
    model, card = load_model(model_folder(path))
    model.eval()
    config, made = model.config, card["provenance"]
    stacks = made.get("stacks", {})
    missing = [sensor for sensor in config.sensors if stacks.get(sensor) not in store.spec.stacks]
    if missing:
        raise UsageError(f"has no stack for {', '.join(missing)}; the model learned from {stacks}", where=store.title)
    numbers: dict[str, Normalisation] = {
        sensor: parse_normalisation(card["normalisation"][sensor], config.bands[sensor]) for sensor in config.sensors
    }
    plan = InputPlan(
        config=config,
        crop=parse_crop(made.get("crop", {}), where="card: provenance.crop"),
        stacks=stacks,
        layers={sensor: store.spec.stack_layers(stacks[sensor]) for sensor in config.sensors},
        numbers=numbers,
        seasons=store.spec.num_times(stacks[config.sensors[0]]) if config.temporal else 1,
        random_season=False,
        seed=seed,
    )
    if key:
        row = store.row(key)
    else:
        split = "val" if store.meta.counts.splits.get("val") else "all"
        row = int(store.rows(split)[0])
    batch = next(iter(Loader(store, np.array([row]), 1, layers=plan.layer_ids)))
    return _Shown(model, plan, batch, store.title)


def _whole_images(shown: _Shown) -> dict[str, Tensor]:
    plan, batch = shown.plan, shown.batch
    if plan.seasons == 1:
        batch = replace(batch, layers={name: one[:, :1] for name, one in batch.layers.items()})
    view = whole_view(1, plan.seasons, device=torch.device("cpu"))
    images = {}
    for sensor in plan.config.sensors:
        crop = crop_stack(batch.layers, plan.layers[sensor], view, bands=plan.config.bands[sensor], size=_WHOLE)
        images[sensor] = normalise(crop.pixels, plan.numbers[sensor], valid=crop.valid)
    return images


def _picture(image: Tensor, how: Normalisation) -> NDArray[np.float32]:
    """(C, H, W) normalised -> (H, W, 3) in [0, 1]: true colour where there is one, else the first band in grey."""
    colour = [how.bands.index(name) for name in ("B04", "B03", "B02") if name in how.bands]
    chosen = image[colour] if len(colour) == 3 else image[:1].expand(3, -1, -1)
    if how.kind == "z-score":
        chosen = (chosen + 2) / 4
    picture: NDArray[np.float32] = chosen.clamp(0, 1).permute(1, 2, 0).float().numpy()
    return picture


def _patches_to_pixels(hidden: Tensor, grid: int, patch: int) -> NDArray[np.bool_]:
    pixels: NDArray[np.bool_] = np.kron(hidden.reshape(grid, grid).numpy(), np.ones((patch, patch), dtype=np.bool_))
    return pixels


def _outline(axis: Axes, view: View, t: int, shape: tuple[int, ...]) -> None:
    top, left, height, width = (float(value) for value in view.box[0, t])
    h, w = shape[:2]
    corner, extent = (left * w - 0.5, top * h - 0.5), (width * w, height * h)
    axis.add_patch(Rectangle(corner, *extent, fill=False, edgecolor="#ffcc00", linewidth=1.6))


def _place(axis: Axes, picture: NDArray[Any], *, note: str) -> None:
    axis.imshow(picture, interpolation="nearest")
    axis.set_xticks([])
    axis.set_yticks([])
    if note:
        axis.text(0.04, 0.05, note, transform=axis.transAxes, fontsize=7, color="white", backgroundcolor="black")


def save_figure(figure: Figure, out: Path) -> None:
    """Write a figure in the format of the file's ending.

    Raises:
        UsageError: If matplotlib draws no such kind.
    """
    buffer = io.BytesIO()
    kind = out.suffix[1:].lower() or "png"
    if kind not in figure.canvas.get_supported_filetypes():
        raise UsageError(f"is no kind of picture that can be drawn ({kind})", str(out), "Name it .png, .svg or .pdf.")
    with mpl.rc_context({"svg.hashsalt": "seamo"}):
        figure.savefig(buffer, dpi=130, format=kind)
    write_output(out, buffer.getvalue(), error=UsageError)
