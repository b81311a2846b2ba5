"""Figures 1 to 4 and 14 of the paper (arXiv 2412.19237), drawn anew from this code.

    python -m seamo.pretrain.figures_paper docs/figures [RECIPE]

Sizes in the drawings are those of tensors in a forward pass without memory (torch's meta device), parameter counts
those of the modules, crops and masks those that training draws. The landscape is synthetic (`seamo.testing.world`).
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seamo.data.crops import CropConfig, Mode, crop_stack, draw_views, whole_view
from seamo.errors import UsageError
from seamo.manifest import LayerSpec, shipped_manifest
from seamo.model.config import FusionConfig, SeaMoConfig
from seamo.model.masking import draw_masks, noise_shape
from seamo.model.seamo import SeaMo
from seamo.pretrain.drawing import FUSION, GREY, INK, OPTICAL, RADAR, SOFT, FigurePage, new_page
from seamo.pretrain.recipe import Recipe, load_recipe
from seamo.testing.world import World

SEASONS = ("2021-01-20", "2021-04-25", "2021-07-15", "2021-10-20")
_SIZE = 264  # pixels of a location in SSL4EO-S12
_WORLD = 16
_SHOWN = 88  # pixels in which they are drawn
_COLORS = {"s2": OPTICAL, "s1": RADAR}
_NAMES = {"s2": "optical", "s1": "radar"}


@dataclass(frozen=True, slots=True)
class TokenShapes:
    """What a forward pass of one location showed.

    Args:
        inputs: Module name -> shape of the first tensor that went in; the last call counts (a later season).
        outputs: Module name -> shape of what came out.
        parameters: Module name -> number of its parameters.
    """

    inputs: Mapping[str, tuple[int, ...]]
    outputs: Mapping[str, tuple[int, ...]]
    parameters: Mapping[str, int]


def shapes_of(config: SeaMoConfig, *, seasons: int) -> TokenShapes:
    """Run the model on one location, without computing anything, and note every module's shapes."""
    inputs: dict[str, tuple[int, ...]] = {}
    outputs: dict[str, tuple[int, ...]] = {}

    def note(name: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        def hook(module: nn.Module, given: tuple[Any, ...], made: Any) -> None:  # noqa: ARG001 - torch's signature
            if given and isinstance(given[0], Tensor):
                # The context of cross-attention is its second argument.
                shape = given[1].shape if name.endswith("attention_context") else given[0].shape
                inputs[name] = tuple(shape)
            if isinstance(made, Tensor):
                outputs[name] = tuple(made.shape)

        return hook

    with torch.device("meta"), torch.no_grad():
        model = SeaMo(config)
        for name, module in model.named_modules():
            module.register_forward_hook(note(name))
            if name.rpartition(".")[2].startswith("attention"):
                module.register_forward_hook(note(f"{name}.attention_context"))
        images = {s: torch.empty(1, seasons, len(b), config.size, config.size) for s, b in config.bands.items()}
        model(images, noise=torch.empty(noise_shape(config, 1, seasons)))
    parameters = {name: sum(p.numel() for p in module.parameters()) for name, module in model.named_modules()}
    return TokenShapes(inputs, outputs, parameters)


def draw_workflow(recipe: Recipe, out: Path) -> None:
    """Figure 1: from the seasons of a place to the reconstruction."""
    config, T = recipe.model, len(SEASONS)
    shapes = shapes_of(config, seasons=T)
    crops, masks = _views(config, recipe.crop), _masks(config)
    page = new_page(10.75, 5.0)
    N, L, D, M = config.num_visible, config.num_patches, config.dim, len(config.sensors)
    row, side = 1.02, 0.56
    tops = [4.5 - row * (t + 1) for t in range(T)]
    for x, title, note in (
        (1.37, "crops", f"{_SIZE} px, {recipe.crop.mode}\n-> {config.size} px"),
        (3.27, "masks", f"{config.mask.ratio:.0%} hidden, shared\nby the sensors"),
        (5.06, "encoder", f"{config.depth} blocks, width {D}"),
        (7.05, "TM block", f"{config.tm.mode}, {config.tm.variant}"),
        (8.81, "decoders", f"{config.decoder.depth} blocks,\nwidth {config.decoder.width}"),
        (9.97, "targets", "the loss counts\nwhat was hidden"),
    ):
        page.text((x, 4.82), title, bold=True, fontsize=10)
        page.text((x, 4.55), note, color=SOFT, fontsize=7.5)
    for t, y in enumerate(tops):
        page.text((0.12, y + 0.4), f"season {t + 1}", across="left", fontsize=7.5, color=SOFT)
        for m, sensor in enumerate(config.sensors):
            x, color, picture = 0.78 + 0.62 * m, _COLORS[sensor], crops[sensor][t]
            hidden = np.kron(masks[t].reshape(config.grid, -1), np.ones((config.patch, config.patch)))[..., None]
            page.image((x, y + 0.12), side, picture, edge=color)
            page.image((x + 1.9, y + 0.12), side, np.where(hidden > 0, 0.84, picture), edge=color)
            page.image((x + 8.6, y + 0.12), side, picture, edge=color)
            for x_tokens in (5.86, 7.76):
                page.tokens((x_tokens, y + 0.53 - 0.36 * m), count=4, color=color, side=0.1)
            page.box((8.52, y + 0.44 - 0.34 * m), (0.58, 0.27), _NAMES[sensor], color=color, fontsize=6.5)
        for x_frame, letter in ((5.81, "F"), (7.71, "H")):  # the tokens of both sensors
            page.frame((x_frame, y + 0.1), (0.59, 0.6), color=GREY)
            page.text((x_frame + 0.295, y + 0.4), letter, color=SOFT)
        steps = ((2.02, 2.6), (3.9, 4.48), (5.6, 5.81), (6.4, 6.6), (7.5, 7.71), (8.3, 8.5), (9.12, 9.34))
        for start, end in steps:
            page.arrow((start, y + 0.4), (end, y + 0.4))
        page.box((4.52, y + 0.1), (1.08, 0.6), f"sequence\n{M} x {N} = {shapes.inputs['encoder'][1]}", fontsize=7)
        if t and config.tm.prev == "F":  # the encoder's output of the season before
            page.path([(6.11, tops[t - 1] + 0.1), (6.11, y + 0.86), (6.8, y + 0.86), (6.8, y + 0.72)], color=FUSION)
        elif t:
            page.arrow((7.05, tops[t - 1] + 0.1), (7.05, y + 0.7), color=FUSION)
        page.box(
            (6.62, y + 0.1),
            (0.87, 0.6),
            "both sensors,\nseason before" if t else "both sensors",
            color=FUSION,
            fontsize=6.5,
        )
    facts = [
        f"seen of an image: {_shape(shapes.outputs['tokenizers.s2'][2:])}",
        f"visible: {N} of {L}",
        f"F: {_shape((T, N, D))} a sensor",
        f"H: {_shape((T, N, D))} a sensor",
        ", ".join(f"{s}: {_shape(shapes.outputs[f'decoders.{s}'][1:])}" for s in config.sensors),
    ]
    for x, text in zip((1.37, 3.27, 5.3, 7.25, 9.5), facts, strict=True):
        page.text((x, 0.2), text, fontsize=7, color=INK)
    page.save(out)


def draw_crop_modes(recipe: Recipe, out: Path) -> None:
    """Figure 2: boxes as training draws them, over the whole images of a place."""
    sensor = recipe.model.sensors[0]
    whole = _pictures()[sensor]
    modes: tuple[tuple[Mode, str], ...] = (
        ("same_random", "(a) the same part\n(same_random)"),
        ("partial", "(b) parts that overlap\n(partial, default)"),
        ("none_overlap", "(c) parts without overlap\n(none_overlap)"),
    )
    page, side = new_page(7.9, 5.1), 1.42
    for r, (mode, title) in enumerate(modes):
        crop = replace(recipe.crop, mode=mode)
        view = draw_views(crop, torch.tensor([5]), sensors=[sensor], seasons=len(SEASONS), seed=0, epoch=0)[sensor]
        y = 4.82 - side - (side + 0.1) * r
        page.text((1.62, y + side / 2), title, across="right", fontsize=8.5)
        for t, picture in enumerate(whole):
            x = 1.76 + (side + 0.1) * t
            top, left, height, width = view.box[0, t].tolist()
            shown = 0.45 * picture + 0.55
            rows, columns = (
                slice(round(a * len(picture)), round((a + b) * len(picture))) for a, b in ((top, height), (left, width))
            )
            shown[rows, columns] = picture[rows, columns]
            page.image((x, y), side, shown)
            corner = (x + left * side, y + (1 - top - height) * side)
            page.frame(corner, (width * side, height * side), color="#e0a100")
            if r == 0:
                page.text((x + side / 2, 4.96), f"season {t + 1}", fontsize=8.5)
    low, high = recipe.crop.rate
    note = f"boxes of (a) and (b): {low:.0%} to {high:.0%} of the {recipe.crop.rate_mode}; synthetic landscape"
    page.text((1.76, 0.1), note, across="left", fontsize=7.5, color=SOFT)
    page.save(out)


def draw_tm_block(recipe: Recipe, out: Path) -> None:
    """Figure 3: which tokens ask which, over three seasons."""
    config = recipe.model
    shapes = shapes_of(config, seasons=len(SEASONS))
    page = new_page(8.6, 4.9)
    lanes = {"s2": (3.45, 1), "s1": (1.75, -1)}  # height of a sensor's lane, and where its outside is
    for i, name in enumerate(("t - 1", "t", "t + 1")):
        x = 0.45 + 2.8 * i
        page.text((x + 1.0, 4.72), f"season {name}", bold=True, fontsize=9.5)
        for s, (y, up) in lanes.items():
            color, edge = _COLORS[s], y + 0.18 * up
            page.box((x, y - 0.18), (0.78, 0.36), f"F, {_NAMES[s]}", color=color, fontsize=7.5)
            page.box((x + 1.22, y - 0.18), (0.95, 0.36), "TM block", color=FUSION, fontsize=8)
            page.arrow((x + 0.78, y), (x + 1.2, y), color=color)
            page.text((x + 0.99, y + 0.12 * up), "query", fontsize=7, color=color)
            page.arrow((x + 1.95, edge), (x + 1.95, edge + 0.3 * up), color=color)
            page.text((x + 1.95, edge + 0.42 * up), f"H, {_NAMES[s]}", fontsize=8, color=color)
            opposite, away = next(lane for one, lane in lanes.items() if one != s)
            start = (x + 0.55, opposite - 0.18 * away)
            page.arrow(start, (x + 1.45, y - 0.2 * up), color=_COLORS["s1" if s == "s2" else "s2"])
            if i < 2:
                rise = edge + (0.62 + 0.2 * i) * up
                end = x + 2.8 + 1.45
                corners = [(x + 0.35, edge), (x + 0.35, rise), (end, rise), (end, edge + 0.02 * up)]
                page.path(corners, color=color, dashed=True)
    attention = "fusion.blocks.s2.0.attention"
    query, context = shapes.inputs[attention], shapes.inputs[f"{attention}.attention_context"]
    page.text(
        (4.3, 0.28),
        f"query: the image's own tokens, {_shape(query[1:])};  key and value: the other sensor (solid) and "
        f"{config.tm.prev} of the season before (dashed), {_shape(context[1:])}",
        fontsize=8,
    )
    page.save(out)


def draw_strategies(recipe: Recipe, out: Path) -> None:
    """Figure 4: siamese; multimodal, one season (stage 1); multimodal, several seasons (stage 2)."""
    stage2 = recipe.config(2)
    siamese = replace(stage2, strategy="siamese", temporal=False, tm=FusionConfig(mode="none"))
    page = new_page(10.5, 4.7)
    panels: list[tuple[float, str, SeaMoConfig, int]] = [
        (0.2, "siamese, one season", siamese, 1),
        (2.95, "multimodal, one season\n(stage 1)", recipe.config(1), 1),
        (5.75, f"multimodal, {len(SEASONS)} seasons\n(stage 2)", stage2, len(SEASONS)),
    ]
    for x, title, config, seasons in panels:
        shapes = shapes_of(config, seasons=seasons)
        wide = 4.55 if seasons > 1 else 2.4
        page.frame((x, 0.15), (wide, 4.4), color=GREY)
        page.text((x + wide / 2, 4.27), title, bold=True, fontsize=9)
        sequences, length, width = shapes.outputs["encoder"]
        shown = 2 if seasons > 1 else 1
        step = 1.62
        for k in range(shown):
            left = x + 0.3 + (step + 0.67) * k
            if seasons > 1:
                page.text((left + 0.8, 3.92), "season t - 1" if k == 0 else "season t", fontsize=7.5, color=SOFT)
            for m, s in enumerate(config.sensors):
                spot = left + 0.95 * m
                page.tokens((spot, 0.62), count=4, color=_COLORS[s])
                page.text((spot + 0.3, 0.42), f"{_NAMES[s]}, {config.num_visible}", fontsize=7, color=_COLORS[s])
                page.arrow((spot + 0.3, 0.8), (spot + 0.3, 1.1), color=_COLORS[s])
                if config.strategy == "siamese":
                    page.box((spot - 0.12, 1.12), (0.84, 0.62), "encoder\n(shared)", fontsize=7)
                if seasons > 1:
                    page.arrow((spot + 0.3, 1.74), (spot + 0.3, 2.02), color=_COLORS[s])
                    page.arrow((spot + 0.3, 2.52), (spot + 0.3, 2.8), color=_COLORS[s])
                else:
                    page.arrow((spot + 0.3, 1.74), (spot + 0.3, 2.8), color=_COLORS[s])
                page.box((spot - 0.12, 2.82), (0.84, 0.46), "decoder", color=_COLORS[s], fontsize=7)
                page.arrow((spot + 0.3, 3.28), (spot + 0.3, 3.55), color=_COLORS[s])
                page.text((spot + 0.3, 3.66), "reconstruction", fontsize=6.5, color=_COLORS[s])
            if config.strategy == "multimodal":
                page.box((left - 0.12, 1.12), (1.79, 0.62), "encoder\none sequence of both", fontsize=7)
            if seasons > 1:
                page.box((left - 0.12, 2.04), (1.79, 0.48), "TM block", color=FUSION, fontsize=7.5)
        if seasons > 1 and config.tm.prev == "F":  # the encoder's output of the season before
            page.path([(x + 1.55, 1.92), (x + 2.1, 1.92), (x + 2.1, 2.36), (x + 2.45, 2.36)], color=RADAR)
            page.path([(x + 0.6, 1.83), (x + 2.22, 1.83), (x + 2.22, 2.2), (x + 2.45, 2.2)], color=OPTICAL)
        elif seasons > 1:
            page.arrow((x + 1.97, 2.28), (x + 2.45, 2.28), color=FUSION)
        page.text((x + wide / 2, 0.27), f"encoder: {sequences} x {_shape((length, width))}", fontsize=7.5)
    page.save(out)


def draw_fusion_variants(recipe: Recipe, out: Path) -> None:
    """Figure 14: fuse and decouple, with the parameters of either block."""
    page = new_page(8.6, 4.5)
    for x, mode, title in ((0.2, "fuse", "(a) fuse"), (4.4, "decouple", "(b) decouple")):
        config = replace(recipe.model, tm=FusionConfig(mode="fuse" if mode == "fuse" else "decouple"))
        shapes = shapes_of(config, seasons=len(SEASONS))
        block = "fusion.blocks.s2.0"
        page.frame((x, 0.15), (4.0, 4.2), color=GREY)
        page.text((x + 2.0, 4.12), title, bold=True, fontsize=9.5)
        for place, text, color in (
            (0.72, "own image\n(optical, t)", OPTICAL),
            (2.0, "other sensor\n(radar, t)", RADAR),
            (3.28, "season before\n(optical, t - 1)", OPTICAL),
        ):
            page.text((x + place, 0.42), text, fontsize=7, color=color)
            page.tokens((x + place - 0.3, 0.68), count=4, color=color)
        if mode == "fuse":
            _draw_fuse(page, x, shapes, block)
        else:
            _draw_decouple(page, x, shapes, block)
        page.path([(x + 0.72, 0.85), (x + 0.72, 2.62)], color=OPTICAL)
        page.box((x + 0.52, 2.64), (0.4, 0.26), "+", color=FUSION, fontsize=9)
        page.arrow((x + 0.72, 2.9), (x + 0.72, 3.1), color=OPTICAL)
        page.box((x + 0.2, 3.12), (1.04, 0.34), "norm, MLP, +", color=FUSION, fontsize=7.5)
        page.arrow((x + 0.72, 3.46), (x + 0.72, 3.7), color=OPTICAL)
        page.text((x + 0.72, 3.82), f"H  {_shape(shapes.outputs[block][1:])}", fontsize=7.5, color=OPTICAL)
        page.text((x + 3.85, 3.82), f"{shapes.parameters[block]:,} parameters", across="right", fontsize=7.5)
    page.save(out)


def _draw_fuse(page: FigurePage, x: float, shapes: TokenShapes, block: str) -> None:
    context = shapes.inputs[f"{block}.fuse"]
    page.box(
        (x + 1.55, 1.15),
        (2.2, 0.44),
        f"joined along the tokens, linear\n{_shape(context[1:])}",
        color=FUSION,
        fontsize=7,
    )
    page.arrow((x + 2.0, 0.85), (x + 2.0, 1.13), color=RADAR)
    page.arrow((x + 3.28, 0.85), (x + 3.28, 1.13), color=OPTICAL)
    page.box((x + 1.55, 2.02), (2.2, 0.5), "cross-attention", color=FUSION)
    page.arrow((x + 2.9, 1.59), (x + 2.9, 2.0))
    page.text((x + 3.0, 1.8), "key, value", across="left", fontsize=7, color=SOFT)
    page.path([(x + 0.72, 1.8), (x + 1.9, 1.8), (x + 1.9, 2.0)], color=OPTICAL)
    page.text((x + 1.2, 1.9), "query", fontsize=7, color=OPTICAL)
    page.path([(x + 2.65, 2.52), (x + 2.65, 2.77), (x + 0.94, 2.77)], color=FUSION)


def _draw_decouple(page: FigurePage, x: float, shapes: TokenShapes, block: str) -> None:
    for place, part, color in ((1.42, "attention_other", RADAR), (2.7, "attention_previous", OPTICAL)):
        context = shapes.inputs[f"{block}.{part}.attention_context"]
        page.box((x + place, 2.02), (1.15, 0.5), f"cross-attention\n{_shape(context[1:])}", color=FUSION, fontsize=7)
        page.arrow((x + place + 0.58, 0.85), (x + place + 0.58, 2.0), color=color)
        page.text((x + place + 0.64, 1.3), "key, value", across="left", fontsize=6.5, color=SOFT)
    page.path([(x + 0.72, 1.72), (x + 1.62, 1.72), (x + 1.62, 2.0)], color=OPTICAL)
    page.path([(x + 1.62, 1.72), (x + 2.9, 1.72), (x + 2.9, 2.0)], color=OPTICAL)
    page.text((x + 1.15, 1.82), "query", fontsize=7, color=OPTICAL)
    page.text((x + 1.4, 2.87), "sum", fontsize=7, color=FUSION)
    for place in (2.0, 3.28):
        page.path([(x + place, 2.52), (x + place, 2.77), (x + 0.94, 2.77)], color=FUSION)


FIGURES: dict[str, Callable[[Recipe, Path], None]] = {
    "figure-01-workflow": draw_workflow,
    "figure-02-crops": draw_crop_modes,
    "figure-03-tm-block": draw_tm_block,
    "figure-04-strategies": draw_strategies,
    "figure-14-fusion": draw_fusion_variants,
}


def draw_all(folder: Path, recipe: Recipe) -> list[Path]:
    """Write all of them as PNG and return where.

    Raises:
        UsageError: If the recipe is not the paper's kind of model, which is all that is drawn.
    """
    model = recipe.model
    if set(model.sensors) != {"s2", "s1"} or (model.strategy, model.tm.variant) != ("multimodal", "text"):
        raise UsageError("the figures show a multimodal model of s2 and s1 with a TM block (text)", recipe.name)
    made = []
    for name, draw in FIGURES.items():
        made.append(folder / f"{name}.png")
        draw(recipe, made[-1])
    return made


def _layers() -> dict[str, LayerSpec]:
    spec = shipped_manifest()["ssl4eo-s12"]
    return {"s2": spec.layer("s2a_10m"), "s1": spec.layer("s1")}


def _stored() -> dict[str, Tensor]:
    """Layer id -> (1, T, C, H, W) of a synthetic place."""
    scene = World(seed=_WORLD).scene("figure", _SIZE)
    found = {}
    for layer in _layers().values():
        dates = []
        for day in SEASONS:
            date = np.datetime64(day)
            bands: Mapping[str, NDArray[Any]] = (
                scene.s1(date) if layer.sensor == "s1" else scene.s2(date, "L2A", clouds=False)
            )
            dates.append(np.stack([bands[name] for name in layer.bands]))
        found[layer.id] = torch.from_numpy(np.stack(dates)[None].astype(np.float32))
    return found


def _views(config: SeaMoConfig, crop: CropConfig) -> dict[str, list[NDArray[Any]]]:
    """Sensor -> the seasons' crops as pictures."""
    stored, views = (
        _stored(),
        draw_views(crop, torch.tensor([5]), sensors=config.sensors, seasons=len(SEASONS), seed=0, epoch=0),
    )
    return {
        s: _to_pictures(crop_stack(stored, [layer], views[s], bands=layer.bands, size=config.size).pixels, s)
        for s, layer in _layers().items()
    }


def _pictures() -> dict[str, list[NDArray[Any]]]:
    """Sensor -> the seasons' whole images as pictures."""
    stored, view = _stored(), whole_view(1, len(SEASONS), device=torch.device("cpu"))
    return {
        s: _to_pictures(crop_stack(stored, [layer], view, bands=layer.bands, size=_SHOWN).pixels, s)
        for s, layer in _layers().items()
    }


def _masks(config: SeaMoConfig) -> NDArray[Any]:
    """(T, L), True where a patch is hidden."""
    noise = torch.rand(noise_shape(config, 1, len(SEASONS)), generator=torch.Generator().manual_seed(1))
    hidden: NDArray[Any] = draw_masks(noise, config).masked[0, :, 0].numpy()
    return hidden


def _to_pictures(pixels: Tensor, sensor: str) -> list[NDArray[Any]]:
    """True colour, stretched to 0..3000 digital numbers; or VV from -25 to 0 dB in grey."""
    images = pixels[0].permute(0, 2, 3, 1).numpy()
    if sensor == "s2":
        bands = [_layers()["s2"].bands.index(name) for name in ("B04", "B03", "B02")]
        return [np.clip(one[..., bands] / 2200, 0, 1) ** 0.7 for one in images]
    return [np.repeat(np.clip((one[..., :1] + 25) / 25, 0, 1), 3, axis=2) for one in images]


def _shape(numbers: tuple[int, ...]) -> str:
    return " x ".join(f"{number:,}" for number in numbers)


if __name__ == "__main__":
    for path in draw_all(Path(sys.argv[1]), load_recipe(sys.argv[2] if len(sys.argv) > 2 else "seamo-base")):
        sys.stdout.write(f"{path}\n")
