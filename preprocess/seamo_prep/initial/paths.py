"""What the names of files say: splits, parts of a sample, dates, classes. No file is opened here."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date

from seamo.rasterfacts import band_said

IMAGE = "image"
MASK = "mask"
SPLIT_WORDS = {
    "train": "train", "training": "train", "trn": "train", "val": "val", "valid": "val", "validation": "val",
    "dev": "val", "test": "test", "testing": "test", "tst": "test",
}  # fmt: skip
MASK_WORDS = (
    "mask", "masks", "label", "labels", "annotation", "annotations", "gt", "groundtruth", "ground_truth", "target",
    "targets", "msk", "seg", "segmentation", "lbl", "lulc", "labels_tif", "annots",
)  # fmt: skip
IMAGE_WORDS = ("image", "images", "img", "imgs", "input", "inputs", "scene", "scenes", "tile", "tiles", "sat", "data")
# Names of products that folders and files are called by -> (part, sensor, product).
PRODUCTS = {
    "s2": ("s2", "s2", ""), "s2l1c": ("s2l1c", "s2", "L1C"), "s2l2a": ("s2l2a", "s2", "L2A"),
    "sentinel2": ("s2", "s2", ""), "sentinel-2": ("s2", "s2", ""), "sentinel_2": ("s2", "s2", ""),
    "s1": ("s1", "s1", ""), "s1grd": ("s1grd", "s1", "GRD"), "s1rtc": ("s1rtc", "s1", "RTC"),
    "sentinel1": ("s1", "s1", ""), "sentinel-1": ("s1", "s1", ""), "sentinel_1": ("s1", "s1", ""),
    "rgb": ("rgb", "rgb", ""), "s2rgb": ("s2rgb", "rgb", ""),
}  # fmt: skip
UNUSED = {
    "dem": "elevation",
    "ndvi": "an index",
    "coords": "coordinates",
    "cloudmask": "clouds",
    "scl": "scene classes",
}
_DATE = re.compile(
    r"(?<!\d)((?:19|20)\d\d)([-_.]?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])"
    r"(?:[T_ ]([01]\d|2[0-3])([0-5]\d)([0-5]\d)Z?)?(?!\d)"
)
_EDGE = re.compile(r"^[-_. ]+|[-_. ]+$")
_STRAYS = 0.1  # share of files that may lie beside the folders of all others
_ENOUGH = 0.5  # share of masks that need an image of their name to be taken for its masks


@dataclass(frozen=True, slots=True)
class NamedFile:
    """One raster by its name.

    Args:
        path: Below the folder.
        folders: What is left of its folders after what was understood was taken out.
        stem: The same of its name without the ending.
        split: Of the sample; empty if the name says nothing.
        part: `image`, `mask`, a product (`s2l2a`), or `s2_b02` for a file of one band.
        day: Date as ISO 8601; empty without one.
    """

    path: str
    folders: tuple[str, ...]
    stem: str
    split: str = ""
    part: str = IMAGE
    day: str = ""


@dataclass(frozen=True, slots=True)
class Grouped:
    """Samples as the names have them.

    Args:
        samples: Name -> its files.
        label_of: Name -> class; empty without classes.
        notes: What was understood, one sentence each; all of it is guessed from names.
        left_out: (path or folder, reason).
    """

    samples: dict[tuple[str, ...], list[NamedFile]]
    label_of: dict[tuple[str, ...], str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()


def named(path: str) -> NamedFile:
    """A path as folders and stem."""
    *folders, file = path.split("/")
    return NamedFile(path, tuple(folders), file.rpartition(".")[0] or file)


def group(paths: Sequence[str], *, with_dates: bool, with_masks: bool = True, classes: bool = True) -> Grouped:
    """What files belong together, by their names alone.

    Args:
        paths: Of the rasters.
        with_dates: Files that differ in a date alone are dates of one sample.
        with_masks: Folders and endings that name masks are believed.
        classes: Folders may be classes.
    """
    notes: list[str] = []
    left_out: list[tuple[str, str]] = []
    files = _strip_common(_without_strays([named(one) for one in paths], left_out))
    files = _take_splits(files, notes)
    files = _take_parts(files, notes, left_out, with_masks=with_masks)
    files = _take_endings(files, notes, with_masks=with_masks)
    files = [_take_date(one) if with_dates else _only_date(one) for one in files]
    samples: dict[tuple[str, ...], list[NamedFile]] = defaultdict(list)
    seen: set[tuple[tuple[str, ...], str, str]] = set()
    for one in files:
        name = (*((one.split,) if one.split else ()), *one.folders, *((one.stem,) if one.stem else ()))
        again = 1
        while (name, one.part, one.day) in seen:  # a.tif and a.tiff, or two dates that read alike
            again += 1
            name = (*name[:-1], f"{name[-1].removesuffix(f'-{again - 1}')}-{again}") if name else (f"{again}",)
        seen.add((name, one.part, one.day))
        samples[name].append(one)
    masked = any(one.part == MASK for one in files)
    if masked:
        for name in [name for name, parts in samples.items() if all(one.part == MASK for one in parts)]:
            left_out += [(one.path, "a mask without an image of its name") for one in samples.pop(name)]
    label_of = _classes(samples, notes) if classes and not masked else {}
    return Grouped(dict(samples), label_of, tuple(notes), tuple(left_out))


def day_of(text: str) -> str:
    """The first date in a text, as ISO 8601; empty without one.

    Example:
        >>> day_of("S2A_MSIL2A_20170613T101031_87_48"), day_of("tile_2021-08-02"), day_of("patch_12345678")
        ('2017-06-13T10:10:31', '2021-08-02', '')
    """
    found = _find_date(text)
    return _iso(found) if found else ""


def make_keys(names: Sequence[tuple[str, ...]]) -> list[str]:
    """A key of `samples.csv` for each name: parts of [A-Za-z0-9_-]; names that become alike get a number.

    Example:
        >>> make_keys([("Fl\u00fcsse", "a b"), ("Flusse", "a-b")])
        ['Flusse/a-b', 'Flusse/a-b-2']
    """
    import unicodedata

    taken: Counter[str] = Counter()
    used: set[str] = set()
    keys = []
    for name in names:
        parts = []
        for part in name:
            plain = unicodedata.normalize("NFKD", part).encode("ascii", "ignore").decode("ascii")
            parts.append(re.sub(r"[^A-Za-z0-9_-]+", "-", plain).strip("-") or "x")
        key = "/".join(parts) or "x"
        taken[key] += 1
        made = key if taken[key] == 1 else f"{key}-{taken[key]}"
        while made in used:
            taken[key] += 1
            made = f"{key}-{taken[key]}"
        used.add(made)
        keys.append(made)
    return keys


def split_word(text: str) -> str:
    """`train`, `val` or `test` for the words in use; empty for another."""
    return SPLIT_WORDS.get(text.strip().lower(), "")


def _strip_common(files: list[NamedFile]) -> list[NamedFile]:
    """Without the folders that all share."""
    while files and all(one.folders for one in files) and len({one.folders[0] for one in files}) == 1:
        files = [replace(one, folders=one.folders[1:]) for one in files]
    return files


def _without_strays(files: list[NamedFile], left_out: list[tuple[str, str]]) -> list[NamedFile]:
    """Without the few files that lie beside the folders in which all others lie."""
    loose = [one for one in files if not one.folders]
    if not loose or len(loose) > _STRAYS * len(files):
        return files
    left_out += [(one.path, "lies beside the folders that hold all other images") for one in loose]
    return [one for one in files if one.folders]


def _drop(one: NamedFile, depth: int) -> tuple[str, ...]:
    return one.folders[:depth] + one.folders[depth + 1 :]


def _at(files: Sequence[NamedFile], depth: int) -> list[str]:
    """Names of the folders at one depth; empty if a file has none there."""
    return sorted({one.folders[depth] for one in files}) if all(len(one.folders) > depth for one in files) else []


def _take_splits(files: list[NamedFile], notes: list[str]) -> list[NamedFile]:
    for depth in range(3):
        found = _at(files, depth)
        splits = [split_word(one) for one in found]
        if len(found) > 1 and all(splits) and len(set(splits)) == len(found):
            notes.append(f"splits: the folders {', '.join(found)}")
            files = [replace(one, split=split_word(one.folders[depth]), folders=_drop(one, depth)) for one in files]
            return _strip_common(files)
    return files


def _part_of(name: str, *, with_masks: bool) -> str:
    plain = name.lower()
    if plain in MASK_WORDS:
        return MASK if with_masks else ""
    if plain in PRODUCTS:
        return PRODUCTS[plain][0]
    if plain in UNUSED:
        return f"-{plain}"
    return IMAGE if plain in IMAGE_WORDS else ""


def _take_parts(
    files: list[NamedFile], notes: list[str], left_out: list[tuple[str, str]], *, with_masks: bool
) -> list[NamedFile]:
    for depth in range(4):
        found = _at(files, depth)
        parts = {one: _part_of(one, with_masks=with_masks) or f"-{one}" for one in found}
        known = [part for part in parts.values() if not part.startswith("-")]
        if len(known) < 2 or len(set(known)) != len(known):
            continue
        taken = [replace(one, part=parts[one.folders[depth]], folders=_drop(one, depth)) for one in files]
        for folder, part in parts.items():
            if part.startswith("-"):
                count = sum(one.part == part for one in taken)
                why = UNUSED.get(part[1:], "")
                why = f"{why}: no sensor of seamo holds it" if why else "its name is that of neither image nor mask"
                left_out.append((f"{folder}/ ({count} files)", why))
        used = [f"{folder} ({part})" for folder, part in parts.items() if not part.startswith("-")]
        notes.append(f"parts of a sample: the folders {', '.join(used)}")
        return _strip_common([one for one in taken if not one.part.startswith("-")])
    return files


def _take_endings(files: list[NamedFile], notes: list[str], *, with_masks: bool) -> list[NamedFile]:
    """Parts that ends of names tell: `_mask`, `_B02`, `_S1`."""
    if {one.part for one in files} != {IMAGE}:
        return files
    for take in (_band_ending, _product_ending):
        taken = [take(one) for one in files]
        if all(taken) and len({one.part for one in taken if one}) > 1:
            parts = sorted({one.part for one in taken if one})
            notes.append(f"parts of a sample: what names end, or files are called, by ({', '.join(parts)})")
            return [one for one in taken if one]
    if not with_masks:
        return files
    split = [(_cut(one.stem, MASK_WORDS), _cut(one.stem, IMAGE_WORDS)) for one in files]
    masks = {(one.folders, cut[0]) for one, cut in zip(files, split, strict=True) if cut[0]}
    images = {(one.folders, cut[1] or one.stem) for one, cut in zip(files, split, strict=True) if not cut[0]}
    if not masks or len(masks & images) < _ENOUGH * len(masks):
        return files
    notes.append("masks: the files whose names end in a word for one")
    return [
        replace(one, part=MASK, stem=cut[0]) if cut[0] else replace(one, stem=cut[1] or one.stem)
        for one, cut in zip(files, split, strict=True)
    ]


def _cut(stem: str, words: Sequence[str]) -> str:
    """A stem without the word at its end or beginning; empty if there is none."""
    plain = stem.lower()
    for word in sorted(words, key=len, reverse=True):
        for mark in "_-.":
            if plain.endswith(mark + word):
                return stem[: -len(word) - 1]
            if plain.startswith(word + mark):
                return stem[len(word) + 1 :]
    return ""


def _band_ending(one: NamedFile) -> NamedFile | None:
    """`x_B02.tif` or `B02.tif`: a file a band."""
    lead, _, last = one.stem.replace("-", "_").rpartition("_")
    for sensor in ("s2", "s1"):
        band = band_said(last, [sensor]) if re.fullmatch(r"(?i)B\d{1,2}A?|VV|VH", last) else ""
        if band:
            return replace(one, part=f"{sensor}_{band.lower()}", stem=one.stem[: len(lead)])
    return None


def _product_ending(one: NamedFile) -> NamedFile | None:
    for mark in "_-":
        lead, _, last = one.stem.rpartition(mark)
        if lead and last.lower() in PRODUCTS:
            return replace(one, part=PRODUCTS[last.lower()][0], stem=lead)
        first, _, rest = one.stem.partition(mark)
        if rest and first.lower() in PRODUCTS:
            return replace(one, part=PRODUCTS[first.lower()][0], stem=rest)
    return None


def _find_date(text: str) -> "re.Match[str] | None":
    for found in _DATE.finditer(text):
        try:
            date(int(found[1]), int(found[3]), int(found[4]))
        except ValueError:
            continue
        return found
    return None


def _iso(found: "re.Match[str]") -> str:
    day = f"{found[1]}-{found[3]}-{found[4]}"
    return f"{day}T{found[5]}:{found[6]}:{found[7]}" if found[5] else day


def _only_date(one: NamedFile) -> NamedFile:
    """With its date, and its names as they are."""
    for text in (one.stem, *reversed(one.folders)):
        if day := day_of(text):
            return replace(one, day=day)
    return one


def _take_date(one: NamedFile) -> NamedFile:
    """With its date, taken out of its name or of the folder that has it."""
    if found := _find_date(one.stem):
        # Of products with two times (sensing and processing) both are gone, so that dates of one place meet.
        rest = _DATE.sub("", one.stem)
        return replace(one, day=_iso(found), stem=_tidy(rest))
    for depth in reversed(range(len(one.folders))):
        if found := _find_date(one.folders[depth]):
            rest = _tidy(_DATE.sub("", one.folders[depth]))
            folders = (*one.folders[:depth], *((rest,) if rest else ()), *one.folders[depth + 1 :])
            return replace(one, day=_iso(found), folders=folders)
    return one


def _tidy(text: str) -> str:
    return _EDGE.sub("", re.sub(r"([-_. ])[-_. ]+", r"\1", text))


def _classes(samples: dict[tuple[str, ...], list[NamedFile]], notes: list[str]) -> dict[tuple[str, ...], str]:
    """Name -> the folder that looks like its class: each of several folders holds several samples."""
    inside: dict[tuple[str, ...], tuple[str, ...]] = {}
    for name, files in samples.items():
        folders = {one.folders if one.stem else one.folders[:-1] for one in files}  # the last one is the sample itself
        if len(folders) != 1:
            return {}
        inside[name] = folders.pop()
    shallow = min((len(one) for one in inside.values()), default=0)
    for depth in range(shallow):
        counts = Counter(one[depth] for one in inside.values())
        if len(counts) > 1:
            is_classes = min(counts.values()) > 1 and len(counts) <= len(inside) / 2
            if not is_classes or any(_find_date(one) for one in counts) or max(map(len, inside.values())) > depth + 1:
                return {}
            notes.append(f"classes: the {len(counts)} folders {_some(sorted(counts))}")
            return {name: one[depth] for name, one in inside.items()}
    return {}


def _some(names: Sequence[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
