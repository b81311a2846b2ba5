"""What a csv, or text lists of splits, say of the images in a folder."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from seamo_prep.initial.paths import day_of, named, split_word

_LABEL = ("label", "labels", "class", "classes", "class_name", "classname", "category", "categories", "landcover",
          "land_cover", "cover", "target", "y")  # fmt: skip
_SPLIT = ("split", "subset", "partition", "set", "fold")
_DAY = ("date", "datetime", "time", "timestamp", "acquired", "acquisition_date", "sensing_date")
_SCENE = ("scene", "site", "place", "location", "region")
_MASK = ("mask", "mask_path", "label_path", "labels_path", "annotation", "gt", "target_path", "segmentation")
_PATH = ("file", "filename", "file_name", "filepath", "file_path", "path", "image", "image_path", "img", "name", "id",
         "image_id", "tile", "tile_id", "patch", "patch_id", "key", "sample", "sample_id")  # fmt: skip
_FILES = 0.5  # share of the filled cells of a column of paths that must name files that are there
_LOOKED_AT = 500  # rows by which columns are known
_LIST = re.compile(r"(?i)(?<![a-z])(train|training|val|valid|validation|test|testing)(?![a-z])")
_SEPARATORS = ("|", ";", ",")


@dataclass(frozen=True, slots=True)
class FoundTable:
    """A csv that names images.

    Args:
        name: Its path below the folder.
        rows: One a line: `image` (path below the folder), `mask`, `label`, `split`, `day`, `scene`; empty if not said.
        columns: What each of these was read from.
        labels: Of a row: what its label is made of; several where it is a set.
        lost: (cell, reason) of rows that name no image.
        notes: What was understood, one sentence each.
    """

    name: str
    rows: tuple[Mapping[str, str], ...]
    columns: Mapping[str, str]
    labels: tuple[tuple[str, ...], ...]
    lost: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


def read_table_of(name: str, text: str, rasters: Sequence[str]) -> FoundTable | None:
    """What a csv says of the images; None if it names none of them.

    Args:
        name: Its path below the folder.
        text: Of it.
        rasters: Paths of the images below the folder.
    """
    head = text.partition("\n")[0]
    try:
        lines = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count)))
    except csv.Error:
        return None
    lines = [
        {(key or "").strip(): (cell or "").strip() for key, cell in one.items() if isinstance(cell, str)}
        for one in lines
    ]
    if not lines:
        return None
    finder = _Finder(rasters, name.rpartition("/")[0])
    heads = list(lines[0])
    paths = [head for head in heads if _names_files(lines[:_LOOKED_AT], head, finder)]
    if not paths:
        return None
    mask = next((head for head in paths if head.lower() in _MASK), "") if len(paths) > 1 else ""
    # Of several the one whose cells look most like paths: an id may be a name by chance.
    image = max((head for head in paths if head != mask), key=lambda head: _like_paths(lines, head))
    others = [head for head in heads if head not in paths]
    columns = {"image": image} | ({"mask": mask} if mask else {})
    for what, words in (("label", _LABEL), ("split", _SPLIT), ("day", _DAY), ("scene", _SCENE)):
        if what == "label" and mask:
            continue
        if head := _column(others, words, lines, what):
            columns[what] = head
    notes = [f"{name}: {', '.join(f'{what} from column {head!r}' for what, head in columns.items())}"]
    unused = [head for head in heads if head not in columns.values() and head]
    if unused:
        notes.append(f"{name}: the columns {', '.join(unused)} are not read")
    found, lost = [], []
    for line in lines:
        row = {what: " ".join(line.get(head, "").split()) for what, head in columns.items()}
        path, why = finder.find(row["image"])
        if why:
            lost.append((row["image"] or "(empty)", f"{name}: {why}"))
            continue
        row["image"] = path
        if mask and row["mask"]:
            row["mask"], why = finder.find(row["mask"])
            if why:
                lost.append((line[mask], f"{name}: {why}"))
        row["split"] = split_word(row.get("split", ""))
        row["day"] = day_of(row.get("day", ""))
        found.append(row)
    labels = _label_sets([row.get("label", "") for row in found], notes, name)
    return FoundTable(name, tuple(found), columns, labels, tuple(lost), tuple(notes)) if found else None


def split_lists(texts: Mapping[str, str], rasters: Sequence[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Splits by text lists such as `eurosat-train.txt`, a name a line with any ending.

    Args:
        texts: Path of a text file -> its text.
        rasters: Paths of the images below the folder.

    Returns:
        Path of an image -> split, and what was understood. Of several families of lists the one that names most.
    """
    families: dict[str, dict[str, str]] = {}
    for name in sorted(texts):
        word = _LIST.search(name.rpartition("/")[2])
        if word:
            family = name.replace(word[0], "*")
            for line in texts[name].splitlines():
                if line.strip():
                    families.setdefault(family, {})[named(line.strip()).stem] = split_word(word[0])
    stems = [named(one).stem for one in rasters]
    if len(set(stems)) != len(stems):
        return {}, ()
    hits = {family: sum(stem in listed for stem in stems) for family, listed in families.items()}
    best = max(sorted(hits, key=len), key=lambda one: hits[one], default="")
    if not best or len({families[best].get(stem) for stem in stems} - {None}) < 2:
        return {}, ()
    listed = families[best]
    notes = [f"splits: the lists {best} name {hits[best]:,} of the {len(stems):,} images"]
    more = [one for one in hits if one != best and hits[one]]
    notes += [f"other lists of splits are not read: {', '.join(more)}"] if more else []
    return {path: listed[stem] for path, stem in zip(rasters, stems, strict=True) if stem in listed}, tuple(notes)


class _Finder:
    """Paths of images by what a cell calls them: below the folder or the table's, or by a name that one alone has.

    Args:
        rasters: Paths below the folder.
        beside: The table's folder.
    """

    def __init__(self, rasters: Sequence[str], beside: str) -> None:
        self.there = set(rasters)
        self.lead = f"{beside}/" if beside else ""
        self.by_name: dict[str, list[str]] = {}
        for path in rasters:
            file = path.rpartition("/")[2]
            for name in {file, named(path).stem}:
                self.by_name.setdefault(name, []).append(path)

    def find(self, cell: str) -> tuple[str, str]:
        """The path, or why there is none."""
        plain = cell.replace("\\", "/").removeprefix("./")
        for path in (plain, self.lead + plain):
            if path in self.there:
                return path, ""
        for known in self.by_name.get(plain.rpartition("/")[2], ()), self.by_name.get(named(plain).stem, ()):
            ends = [one for one in known if one.endswith(plain)] or list(known)
            if len(ends) == 1:
                return ends[0], ""
            if ends:
                return "", f"{len(ends)} images are called so"
        return "", "there is no such image"


def _names_files(lines: Sequence[Mapping[str, str]], head: str, finder: _Finder) -> bool:
    cells = [line.get(head, "") for line in lines if line.get(head)]
    if head.lower() not in (*_PATH, *_MASK) and all(re.fullmatch(r"-?\d+(\.\d+)?", cell) for cell in cells):
        return False  # numbers, though images may be called by numbers, too
    return bool(cells) and sum(not finder.find(cell)[1] for cell in cells) > _FILES * len(cells)


def _like_paths(lines: Sequence[Mapping[str, str]], head: str) -> int:
    return sum(bool(re.search(r"[/.]", line.get(head, ""))) for line in lines[:_LOOKED_AT])


def _column(heads: Sequence[str], words: Sequence[str], lines: Sequence[Mapping[str, str]], what: str) -> str:
    """The column that is called by one of some words; of several labels, the one of names rather than of numbers."""
    known = [head for head in heads if head.lower() in words]
    if what == "split":
        known += [head for head in heads if head.lower().endswith("_split") and head not in known]
        known = [one for one in known if _are_splits(line.get(one, "") for line in lines)]
    if what == "day":
        known = [one for one in known if any(day_of(line.get(one, "")) for line in lines[:_LOOKED_AT])]
    texts = [one for one in known if any(re.search(r"[A-Za-z]", line.get(one, "")) for line in lines[:_LOOKED_AT])]
    return next(iter((texts or known) if what == "label" else known), "")


def _are_splits(cells: Iterable[str]) -> bool:
    values = {cell for cell in cells if cell}
    return len(values) > 1 and all(split_word(one) for one in values)


def _label_sets(cells: Sequence[str], notes: list[str], name: str) -> tuple[tuple[str, ...], ...]:
    """Labels of rows: one each, or sets where cells hold several names that others have alone."""
    if any(re.fullmatch(r"-?\d+\.\d+(e-?\d+)?", cell, re.IGNORECASE) for cell in cells):
        notes.append(
            f"{name}: its labels are measurements such as {next(one for one in cells if '.' in one)}, no classes"
        )
        return tuple(() for _ in cells)
    for mark in _SEPARATORS:
        several = [cell for cell in cells if mark in cell]
        if not several:
            continue
        words = Counter(word.strip(" []'\"") for cell in several for word in cell.split(mark))
        alone = {cell for cell in cells if mark not in cell}
        if len(words) <= len(several) * 2 or words.keys() & alone:
            notes.append(f"{name}: a label is a set of classes, joined by {mark!r}")
            return tuple(
                tuple(dict.fromkeys(w for one in cell.split(mark) if (w := one.strip(" []'\"")))) for cell in cells
            )
    return tuple((cell,) if cell else () for cell in cells)
