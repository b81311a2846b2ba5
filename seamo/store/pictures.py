"""Pixels to pictures: colour composites with a stated stretch, masks laid over them, missing pixels in `MISSING`.

Stretches are fixed by unit, so that samples, dates and stores can be compared: reflectance (digital numbers, without a
declared shift of +1000) by `_LIMITS`, which leave out the atmosphere's share in L1C, with gamma 1.4; radar VV -25 to 0
dB, VH -32 to -5 dB, VV - VH 0 to 15 dB. Other numbers are stretched per channel, 2 to 98 % of the valid pixels of all
dates of the sample. Every caption states the numbers. Classes have the manifest's colours, else those of Okabe and Ito
(Color Universal Design, 2008), which can be told apart with any kind of colour vision.
"""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seamo.bands import Unit
from seamo.manifest import LabelSpace, LayerSpec
from seamo.sample import IGNORE
from seamo.store.format import label_kind
from seamo.store.samples import Images, Samples
from seamo.store.stacks import read_stack, stack_bands

Picture = NDArray[np.uint8]  # (H, W, 3)
MISSING = (236, 0, 140)  # colour of pixels that are not there, and of no class: no measured pixel is drawn in it
ABSENT = (38, 38, 46)  # behind images that are not there at all
_SAR_DB = ((-25.0, 0.0), (-32.0, -5.0), (0.0, 15.0))
_OPTICAL = {"true colour": ("B04", "B03", "B02"), "false colour": ("B08", "B04", "B03")}
_MASK_SHARE = 0.55
_GAMMA = 1.4
_SAFE = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167))
# Digital numbers shown as black and white.
_LIMITS = {
    "L1C": {"B02": (700, 2600), "B03": (450, 2600), "B04": (250, 2600), "B08": (0, 5000)},
    "": {"B02": (0, 2300), "B03": (0, 2300), "B04": (0, 2300), "B08": (0, 5000)},
}


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """One picture.

    Args:
        title: Short, shown above it (a date).
        picture: None where the image is not there.
    """

    title: str
    picture: Picture | None


@dataclass(frozen=True, slots=True, eq=False)
class Strip:
    """Pictures that belong together: the dates of one rendering.

    Args:
        caption: Rendering, bands and stretch.
        panels: In order of time.
    """

    caption: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Card:
    """Everything shown of one sample.

    Args:
        key: Of the sample.
        about: Label names, split.
        strips: One for each rendering.
        legend: Class name and colour, for masks.
    """

    key: str
    about: str
    strips: tuple[Strip, ...]
    legend: tuple[tuple[str, tuple[int, int, int]], ...] = ()


def cards(store: Samples, rows: Sequence[int]) -> list[Card]:
    """Draw samples."""
    table = store.read_columns(["key", "split"]).take(np.asarray(rows, dtype=np.int64))
    named = zip(rows, table.column("key").to_pylist(), table.column("split").to_pylist(), strict=True)
    return [_card(store, row, key=key, split=split) for row, key, split in named]


def _card(store: Samples, row: int, *, key: str, split: str) -> Card:
    strips: list[Strip] = []
    for stack in store.spec.stacks:
        strips += stack_strips(store, row, stack)
    has_holes = any(_has_holes(panel.picture) for strip in strips for panel in strip.panels)
    legend: tuple[tuple[str, tuple[int, int, int]], ...] = ()
    label = store.read_label(row)
    if isinstance(label, np.ndarray):
        space = store.spec.label_space()
        colours = class_colours(space)
        under = next((strip.panels[-1].picture for strip in strips if strip.panels[-1].picture is not None), None)
        panels = [Panel("classes", mask_picture(label, colours))]
        if under is not None and under.shape[:2] == label.shape:
            panels.append(Panel("over the image", mask_overlay(label, colours, under)))
        caption = "label; no class: in the colour of missing pixels" if (label == IGNORE).any() else "label"
        strips.append(Strip(caption, tuple(panels)))
        legend = tuple((space.names[i], colours[i]) for i in np.unique(label) if i != IGNORE)
    if has_holes:
        legend += (("missing", MISSING),)
    about = " | ".join(one for one in (_label_text(store, label), f"split {split}" if split else "") if one)
    return Card(key, about, tuple(strips), legend)


def _has_holes(picture: Picture | None) -> bool:
    return picture is not None and bool((picture == MISSING).all(axis=-1).any())


def stack_strips(store: Images, row: int, stack: str) -> list[Strip]:
    """Renderings of one stack of a sample, the most natural one first: every date, in order of time."""
    layers = store.spec.stack_layers(stack)
    unit, names = layers[0].unit, stack_bands(store.spec, stack)
    image = read_stack(store, row, stack, "nearest")
    dates = store.read_times(row).get(stack, np.full(len(image), np.datetime64("NaT"), dtype="datetime64[s]"))
    product = f" {layers[0].product}" if layers[0].product else ""
    strips = []
    if layers[0].sensor == "s1" and {"VV", "VH"} <= set(names):
        vv, vh = image[:, names.index("VV")], image[:, names.index("VH")]
        if unit in (Unit.DB, Unit.DB_X100):
            scale = 0.01 if unit is Unit.DB_X100 else 1.0
            pictures = to_rgb(np.stack([vv, vh, vv - vh], axis=1) * np.float32(scale), _SAR_DB)
            strips.append(_strip(f"{stack}{product}: VV -25..0, VH -32..-5, VV-VH 0..15 dB", image, pictures, dates))
        else:
            parts = np.stack([vv, vh, vv - vh], axis=1)
            strips.append(_optical(f"{stack}{product}", parts, ("VV", "VH", "VV-VH"), limits=None, dates=dates))
    elif layers[0].sensor == "s2":
        for title, bands in _OPTICAL.items():
            if set(bands) <= set(names):
                limits = _reflectance_limits(layers[0], bands)
                chosen = image[:, [names.index(one) for one in bands]]
                strips.append(_optical(f"{stack}{product} {title}", chosen, bands, limits=limits, dates=dates))
    elif layers[0].sensor == "rgb":
        pictures = to_rgb(image[:, [names.index(one) for one in ("R", "G", "B")]], ((0, 255),) * 3)
        strips.append(_strip(f"{stack}: 0..255", image, pictures, dates))
    elif unit is Unit.CLASS:
        hues = np.array([_hue(i) for i in range(256)], dtype=np.uint8)
        missing = ~np.isfinite(image[:, 0])
        pictures = [hues[ids] for ids in np.where(missing, 0, image[:, 0]).astype(np.uint8)]
        for picture, holes in zip(pictures, missing, strict=True):
            picture[holes] = MISSING
        strips.append(_strip(f"{stack}{product}: class ids, a hue each", image, pictures, dates))
    if not strips:  # a sensor with other bands: the first one in grey
        grey = image[:, [0, 0, 0]]
        strips.append(_optical(f"{stack}{product}", grey, (names[0],) * 3, limits=None, dates=dates))
    return strips


def _reflectance_limits(layer: LayerSpec, bands: tuple[str, ...]) -> tuple[tuple[float, float], ...] | None:
    if layer.unit not in (Unit.DN, Unit.DN_PLUS_1000, Unit.REFLECTANCE, Unit.REFLECTANCE_X10000):
        return None
    shift = 1000 if layer.unit is Unit.DN_PLUS_1000 else 0
    scale = 1e-4 if layer.unit is Unit.REFLECTANCE else 1
    limits = _LIMITS[layer.product if layer.product in _LIMITS else ""]
    return tuple((limits[one][0] * scale + shift, limits[one][1] * scale + shift) for one in bands)


def _optical(
    title: str,
    image: NDArray[np.float32],
    bands: tuple[str, ...],
    *,
    limits: tuple[tuple[float, float], ...] | None,
    dates: NDArray[Any],
) -> Strip:
    how = "DN" if limits else "2-98 %:"
    used = limits or tuple(stretch(image[:, i]) for i in range(3))
    shown = ", ".join(f"{name} {low:.0f}..{high:.0f}" for name, (low, high) in zip(bands, used, strict=True))
    if len(set(used)) == 1:
        shown = f"{' '.join(bands)} {used[0][0]:.0f}..{used[0][1]:.0f}"
    gamma = _GAMMA if limits else 1.0
    return _strip(f"{title}, {how} {shown}", image, to_rgb(image, used, gamma=gamma), dates)


def _strip(caption: str, image: NDArray[np.float32], pictures: list[Picture], dates: NDArray[Any]) -> Strip:
    panels = []
    for slot, picture in enumerate(pictures):
        is_there = bool(np.isfinite(image[slot]).any())
        day = "no date" if np.isnat(dates[slot]) else str(dates[slot].astype("datetime64[D]"))
        title = day if len(pictures) > 1 or not np.isnat(dates[slot]) else ""
        panels.append(Panel(title, picture if is_there else None))
    return Strip(caption, tuple(panels))


def stretch(values: NDArray[np.float32]) -> tuple[float, float]:
    """The 2nd and 98th percentile of the valid values; (0, 1) if there are none."""
    valid = values[np.isfinite(values)]
    if valid.size == 0:
        return 0.0, 1.0
    low, high = (float(one) for one in np.percentile(valid, (2, 98)))
    return low, max(high, low + 1e-6)


def to_rgb(image: NDArray[np.float32], limits: tuple[tuple[float, float], ...], *, gamma: float = 1.0) -> list[Picture]:
    """(T, 3, H, W) to one picture a date; missing pixels in the colour `MISSING`."""
    low = np.array([one for one, _ in limits], dtype=np.float32)[:, None, None]
    high = np.array([one for _, one in limits], dtype=np.float32)[:, None, None]
    scaled = np.clip((image - low) / np.maximum(high - low, 1e-6), 0, 1) ** (1 / gamma)
    missing = ~np.isfinite(image).all(axis=1)
    pictures = (np.nan_to_num(scaled) * 255 + 0.5).astype(np.uint8).transpose(0, 2, 3, 1)
    pictures[(pictures == MISSING).all(axis=-1)] = (MISSING[0] - 1, *MISSING[1:])
    pictures[missing] = MISSING
    return list(pictures)


def mask_picture(mask: NDArray[np.uint8], colours: list[tuple[int, int, int]]) -> Picture:
    """Classes in the colours of the legend; ignored pixels in the colour `MISSING`."""
    table = np.full((IGNORE + 1, 3), MISSING, dtype=np.uint8)
    table[: len(colours)] = colours
    return table[mask]


def mask_overlay(mask: NDArray[np.uint8], colours: list[tuple[int, int, int]], under: Picture | None) -> Picture:
    """Classes in their colours over a picture of the same size (else on grey); ignored pixels stay as they are."""
    base = np.full((*mask.shape, 3), 90, dtype=np.uint8)
    if under is not None and under.shape[:2] == mask.shape:
        base = under.copy()
    is_class = mask < len(colours)
    paint = np.array([*colours, (0, 0, 0)], dtype=np.float32)[np.where(is_class, mask, len(colours))]
    mixed = _MASK_SHARE * paint + (1 - _MASK_SHARE) * base
    base[is_class] = (mixed[is_class] + 0.5).astype(np.uint8)
    return base


def class_colours(space: LabelSpace) -> list[tuple[int, int, int]]:
    """The manifest's colours; classes without one get those of `safe_colours`."""
    colours = safe_colours(len(space.classes))
    for i, one in enumerate(space.classes):
        if one.color:
            red, green, blue = (int(one.color[k : k + 2], 16) for k in (1, 3, 5))
            colours[i] = red, green, blue
    return colours


def safe_colours(count: int) -> list[tuple[int, int, int]]:
    """The colours of Okabe and Ito without black, then hues a golden angle apart."""
    return [_SAFE[i] if i < len(_SAFE) else _hue(i) for i in range(count)]


def _hue(i: int) -> tuple[int, int, int]:
    red, green, blue = (int(255 * v) for v in colorsys.hsv_to_rgb(i * 0.618 % 1, 0.75, 0.95))
    return red, green, blue


def _label_text(store: Samples, label: Any) -> str:
    if label is None or isinstance(label, np.ndarray) or label_kind(store.spec) == "none":
        return ""
    names = store.spec.label_space().names
    return ", ".join(names[i] for i in (label if isinstance(label, tuple) else (label,)))
