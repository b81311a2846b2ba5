"""Whether labels can belong to their images: names, water, neighbours in feature space, and the geometry of masks.

Nobody can check a label from statistics, but whole sets of labels that were rotated, shuffled, inverted or transposed
leave traces. `docs/verify.md` says what each check sees and from how many samples on.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from seamo.bands import Unit
from seamo.manifest import LayerSpec
from seamo.sample import IGNORE, valid_pixels
from seamo.store.format import LABEL, finest_layer, label_kind
from seamo.store.reader import Store

Floats = NDArray[np.float64]

_WATER = re.compile(r"\b(sea|ocean|lakes?|open water|water bod(y|ies)|water)\b|^sealake$", re.IGNORECASE)
# Neither water nor surely brighter than it.
_UNSURE = re.compile(
    r"water|river|stream|wet|marsh|bog|moor|flood|tidal|lagoon|estuar|coast|harbor|harbour|port|ship|dam|aqua|rice|"
    r"snow|ice|shadow|cloud|burn|road|highway|asphalt|peat|background|change|unknown|other|bare|beach|salt",
    re.IGNORECASE,
)
_FEW = 5  # samples of a class below which nothing is said about it
_BELOW = 0.25  # share of pairs (water, other class) in which water is darker; right labels give nearly 1
_NEAREST = 5
_Z_CHANCE = 3.0  # standard deviations above chance that neighbours must agree by
_MIN_PIXELS = 20
_MIN_TILES = 16  # of several classes, below which the geometry of masks is not judged
_ONE_CLASS = 0.98  # share of a tile above which it says nothing about geometry
_SIDE = 128  # larger tiles are thinned out
_Z_TURNED = 4.0  # standard errors; right masks of five real sites (51 tiles) stand at -5 and below
_MOST = 0.8
_NEARLY_ALL = 0.9  # of the keys
_WORDS, _SOME = 4096, 4096  # words that are kept; keys that are looked at first
_TURNS: dict[str, tuple[bool, bool, bool]] = {  # transposed, then rows and columns reversed
    "transposed": (True, False, False),
    "mirrored left to right": (False, False, True),
    "mirrored top to bottom": (False, True, False),
    "turned by 180 degrees": (False, True, True),
    "turned by 90 degrees": (True, True, False),
    "turned by 270 degrees": (True, False, True),
    "transposed along the other diagonal": (True, True, True),
}


@dataclass(frozen=True, slots=True)
class LabelOddity:
    """Something about labels: `is_proof` if it cannot be innocent."""

    where: str
    what: str
    is_proof: bool


@dataclass(frozen=True, slots=True)
class MaskCounts:
    """What masks hold.

    Args:
        pixels: Class id -> pixels; `IGNORE` too.
        places: Class id -> scenes that have it; masks, where scenes are unknown.
        masks: Number of masks.
        ignored: Masks without any class.
    """

    pixels: Mapping[int, int]
    places: Mapping[int, int]
    masks: int
    ignored: int


def count_masks(store: Store, rows: Sequence[int] | NDArray[np.int64]) -> MaskCounts:
    """Count classes over the masks of some rows."""
    pixels: NDArray[np.int64] = np.zeros(IGNORE + 1, dtype=np.int64)
    places: dict[int, set[str]] = defaultdict(set)
    scenes = store.read_index(["scene"])["scene"]
    masks = ignored = 0
    for row in rows:
        if store.is_valid(int(row), LABEL):
            found = np.bincount(store.read_layer(int(row), LABEL).ravel(), minlength=IGNORE + 1)
            pixels += found
            for i in np.flatnonzero(found):
                places[int(i)].add(str(scenes.iloc[int(row)]) or f"row {row}")  # tiles of one scene are much alike
            masks += 1
            ignored += int(not found[:IGNORE].any())
    some = {int(i): int(pixels[i]) for i in np.flatnonzero(pixels)}
    return MaskCounts(some, {i: len(places[i]) for i in some}, masks, ignored)


def differing_names(store: Store, rows: Sequence[int] | NDArray[np.int64]) -> Iterator[LabelOddity]:
    """Keys that say one class (`Forest_12`) where the label says another; only where nearly all keys say a class."""
    if label_kind(store.spec) != "id":
        return
    names = store.spec.label_space().names
    by_name = _plain_names(names)
    plain = lru_cache(_WORDS)(_plain)  # names of folders and beginnings of file names come again and again
    rows = np.asarray(rows, dtype=np.int64)
    some = rows[:: max(1, len(rows) // _SOME)]  # of a large store it is plain to see whether its keys say classes
    keys = store.read_rows(some, ["key"]).column("key").to_pylist()
    if sum(_named_class(key, by_name, plain) is not None for key in keys) <= _MOST * len(some):
        return
    table = store.read_rows(rows, ["key", "label"])
    said = [
        (key, named, label)
        for key, label in zip(table.column("key").to_pylist(), table.column("label").to_pylist(), strict=True)
        if label is not None and label >= 0 and (named := _named_class(key, by_name, plain)) is not None
    ]
    wrong = [one for one in said if one[1] != one[2]]
    if len(said) > _NEARLY_ALL * len(rows) and wrong:
        key, named, label = wrong[0]
        example = f"a {names[named]} is labelled {names[label]}"
        what = f"{len(wrong):,} of {len(said):,} samples have the name of another class ({example})"
        yield LabelOddity(key, what, is_proof=True)


def _plain_names(names: Sequence[str]) -> dict[str, int]:
    """Class by what is left of its name in a key; not where that is nothing, or the same of several names.

    Keys are ASCII: a name with letters of another script stands in none of them.
    """
    plain = [_plain(name) if name.isascii() else "" for name in names]
    return {name: i for i, name in enumerate(plain) if name and plain.count(name) == 1}


def _named_class(key: str, by_name: Mapping[str, int], plain: Callable[[str], str]) -> int | None:
    words = (word for part in key.split("/") for word in (part, part.rpartition("_")[0]))
    found = {by_name[name] for name in map(plain, words) if name in by_name}
    return found.pop() if len(found) == 1 else None


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def unlike_images(store: Store, rows: Sequence[int] | NDArray[np.int64]) -> Iterator[LabelOddity]:
    """Labels against pixels: water is dark in the infrared and in radar, and images alike have labels alike."""
    kind = label_kind(store.spec)
    names = store.spec.label_space().names if kind != "none" else ()
    dark = _dark_band(store)
    values: dict[int, list[float]] = defaultdict(list)
    features, labels = [], []
    for row in rows:
        label = store.read_label(int(row))
        if label is None:
            continue
        if dark is not None:
            for i, value in _values_of_classes(store, int(row), label, dark=dark, names=names):
                values[i].append(value)
        if isinstance(label, int):
            found = _features(store, int(row))
            if found is not None:
                features.append(found)
                labels.append(label)
    if dark is not None:
        yield from _bright_water(names, values, dark[1])
    if kind == "id":
        yield from _no_better_than_chance(np.array(features), np.array(labels), store.spec.id)


def _dark_band(store: Store) -> tuple[LayerSpec, str] | None:
    """The layer of physical unit, and its band, in which water is darkest."""
    for name in ("B08", "B8A", "VH", "VV"):
        for layer in store.spec.layers:
            if name in layer.bands and layer.unit != Unit.UINT8:
                return layer, name
    return None


def _values_of_classes(
    store: Store,
    row: int,
    label: int | tuple[int, ...] | NDArray[np.uint8],
    *,
    dark: tuple[LayerSpec, str],
    names: Sequence[str],
) -> Iterator[tuple[int, float]]:
    layer, name = dark
    if not store.is_valid(row, layer.id):
        return
    pixels = store.read_layer(row, layer.id)
    image = pixels[0, layer.bands.index(name)].astype(np.float64)
    image[~valid_pixels(pixels, layer)[0, layer.bands.index(name)]] = np.nan
    if np.isnan(image).all():
        return
    if isinstance(label, np.ndarray):
        if label.shape == image.shape:
            for i in np.unique(label):
                inside = image[label == i]
                inside = inside[~np.isnan(inside)]
                if i != IGNORE and inside.size >= _MIN_PIXELS:
                    yield int(i), float(inside.mean())
        return
    ids = (label,) if isinstance(label, int) else label
    if len({bool(_WATER.search(names[i])) for i in ids}) == 1:  # a sample that is both says nothing
        for i in ids:
            yield i, float(np.nanmean(image))


def _bright_water(names: Sequence[str], values: Mapping[int, list[float]], band: str) -> Iterator[LabelOddity]:
    water = [i for i, name in enumerate(names) if _is_water(name)]
    others = [i for i, name in enumerate(names) if i not in water and not _UNSURE.search(_spaced(name))]
    for i in water:
        for j in others:
            if min(len(values.get(i, ())), len(values.get(j, ()))) < _FEW:
                continue
            share = float((np.array(values[i])[:, None] < np.array(values[j])[None]).mean())
            if share < _BELOW:
                what = f"darker than {names[j]} in {band} in only {share:.0%} of pairs; water is dark: other labels?"
                yield LabelOddity(f"{names[i]}, {names[j]}", what, is_proof=True)
                break  # one is enough to name the class


def _is_water(name: str) -> bool:
    plain = _spaced(name)
    return bool(_WATER.search(plain)) and not re.search(r"river|course|wet|stream|crop|treat|park|tower", plain, re.I)


def _spaced(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])|[_-]", " ", name)


def _features(store: Store, row: int) -> Floats | None:
    """Mean and deviation of every band at the first date; None if something is not there."""
    parts = []
    for layer in store.spec.layers:
        if not store.is_valid(row, layer.id):
            return None
        pixels = store.read_layer(row, layer.id)
        image = pixels[0].astype(np.float64).reshape(len(layer.bands), -1)
        image[~valid_pixels(pixels, layer)[0].reshape(image.shape)] = np.nan
        is_missing = np.isnan(image)
        if is_missing.all(axis=1).any():
            return None
        if is_missing.any():
            parts += [np.nanmean(image, axis=1), np.nanstd(image, axis=1)]
        else:  # the same numbers in half of the time
            parts += [image.mean(axis=1), image.std(axis=1)]
    return np.concatenate(parts)


def _no_better_than_chance(features: Floats, labels: NDArray[np.int64], where: str) -> Iterator[LabelOddity]:
    counts = np.bincount(labels) if len(labels) else np.zeros(1, dtype=np.int64)
    count, classes = len(labels), int((counts > 0).sum())
    if classes < 2 or count < 64 or count < _FEW * classes:
        return
    scaled = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-9)
    apart = (scaled**2).sum(axis=1)[:, None] + (scaled**2).sum(axis=1)[None] - 2 * scaled @ scaled.T
    np.fill_diagonal(apart, np.inf)
    near = labels[np.argsort(apart, axis=1)[:, :_NEAREST]]
    agreed = float((near == labels[:, None]).mean())
    chance = float((counts * (counts - 1)).sum() / (count * (count - 1)))
    above = (agreed - chance) / np.sqrt(chance * (1 - chance) / count)
    if above < _Z_CHANCE:
        what = f"the nearest images share the class in {agreed:.0%}, by chance {chance:.0%}: labels of other samples?"
        yield LabelOddity(where, what, is_proof=False)


def turned_masks(store: Store, rows: Sequence[int] | NDArray[np.int64]) -> Iterator[LabelOddity]:
    """Masks that fit their images better when they are transposed, mirrored or turned.

    The fit is the share of an image's variance that the classes of its mask explain; of the difference of the dates,
    in change detection. Tiles of one class say nothing.
    """
    layer = finest_layer(store.spec)
    is_change = store.spec.task.kind == "change"
    if is_change and layer.times < 2:
        return
    fits: list[list[float]] = []
    is_less: list[bool] = []
    for row in rows:
        if not (store.is_valid(int(row), LABEL) and store.is_valid(int(row), layer.id)):
            continue
        mask = store.read_layer(int(row), LABEL)
        image = _difference(store, int(row), layer) if is_change else _even(store.read_layer(int(row), layer.id)[0])
        step = -(-len(mask) // _SIDE)
        mask, image = mask[::step, ::step], image[:, ::step, ::step]
        if mask.shape[0] != mask.shape[1] or mask.shape != image.shape[1:] or not np.isfinite(image).all():
            continue
        counts = np.bincount(mask.ravel(), minlength=IGNORE + 1)[:IGNORE]
        if counts.max() >= _ONE_CLASS * counts.sum():
            continue
        fits.append([explained(image, one) for one in (mask, *(_turn(mask, how) for how in _TURNS.values()))])
        is_less.append(is_change and float(image[:, mask == 1].mean()) < float(image[:, mask == 0].mean()))
    if len(fits) < _MIN_TILES:
        return
    table = np.array(fits)
    better = table[:, 1:] - table[:, :1]
    above = better.mean(axis=0) / (better.std(axis=0) / np.sqrt(len(table)) + 1e-9)
    best = int(better.mean(axis=0).argmax())
    if above[best] > _Z_TURNED:
        name = list(_TURNS)[best]
        what = f"masks fit their images better when {name} ({above[best]:.0f} standard errors over {len(table)} tiles)"
        yield LabelOddity(LABEL, what, is_proof=True)
    if np.mean(is_less) > _MOST:
        yield LabelOddity(LABEL, "what is marked as changed differs less between the dates than the rest: inverted?",
                          is_proof=True)  # fmt: skip


def explained(image: Floats, mask: NDArray[np.uint8]) -> float:
    """Share of the variance of an image (C, H, W) that lies between the classes of a mask (H, W) with classes."""
    pixels = image[:, mask != IGNORE]
    classes = mask[mask != IGNORE]
    pixels = pixels - pixels.mean(axis=1, keepdims=True)
    between = sum(
        float((pixels[:, classes == i].mean(axis=1) ** 2).sum()) * int((classes == i).sum()) for i in np.unique(classes)
    )
    return between / max(float((pixels**2).sum()), 1e-9)


def _turn(mask: NDArray[np.uint8], how: tuple[bool, bool, bool]) -> NDArray[np.uint8]:
    is_transposed, rows, columns = how
    turned = mask.T if is_transposed else mask
    return turned[:: -1 if rows else 1, :: -1 if columns else 1]


def _difference(store: Store, row: int, layer: LayerSpec) -> Floats:
    """(1, H, W): how much the first two dates differ, summed over bands."""
    first, second = store.read_layer(row, layer.id)[:2]
    return np.asarray(np.abs(_even(second) - _even(first)).sum(axis=0, keepdims=True))


def _even(pixels: NDArray[np.generic]) -> Floats:
    """(C, H, W) with a mean of 0 and a deviation of 1 in every band."""
    image = pixels.astype(np.float64)
    spread = image.std(axis=(1, 2), keepdims=True)
    return np.asarray((image - image.mean(axis=(1, 2), keepdims=True)) / np.maximum(spread, 1e-9))
