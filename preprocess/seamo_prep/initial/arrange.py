"""Samples, layers and labels of a folder: names and tables first, then what headers say for or against them."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from seamo.errors import ArchiveError
from seamo.rasterfacts import grids_apart
from seamo_prep.archives._folder_table import cell_name
from seamo_prep.initial.guess import LayerGuess, guess_layer
from seamo_prep.initial.known import hint_of, is_terramesh
from seamo_prep.initial.masks import LabelGuess, guess_classes, guess_masks
from seamo_prep.initial.paths import IMAGE, MASK, Grouped, group
from seamo_prep.initial.peek import Peek, peek
from seamo_prep.initial.tables import FoundTable, read_table_of, split_lists

HEADERS = 400  # files whose headers are read
PIXELS = 48  # of which pixels are read, too, of each part


@dataclass(frozen=True, slots=True)
class FoundSample:
    """One row of the table to be.

    Args:
        name: What its key is made of.
        files: Part -> its files by date (empty without one).
        mask: Path of its mask; empty without one.
        labels: Its classes.
        split, scene: Empty where nothing says so.
    """

    name: tuple[str, ...]
    files: Mapping[str, Mapping[str, str]]
    mask: str = ""
    labels: tuple[str, ...] = ()
    split: str = ""
    scene: str = ""


@dataclass(frozen=True, slots=True)
class Arranged:
    """A folder as data.

    Args:
        samples: In the order of their names.
        layers: One a part.
        slots: Stack -> number of dates.
        dated: Stacks whose files have dates.
        labels: What they are for.
        notes: What was understood.
        left_out: (path, reason).
        peeks: What was looked at.
        files: Number of GeoTIFFs.
    """

    samples: tuple[FoundSample, ...]
    layers: tuple[LayerGuess, ...]
    slots: Mapping[str, int]
    dated: frozenset[str]
    labels: LabelGuess
    notes: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]
    peeks: tuple[Peek, ...]
    files: int
    parts: Mapping[str, str] = field(default_factory=dict)
    """Layer -> the part that it is made of."""

    @property
    def headers(self) -> int:
        """Number of files whose header was read."""
        return len(self.peeks)

    @property
    def pixels(self) -> int:
        """Number of files of which pixels were read."""
        return sum(one.values is not None for one in self.peeks)

    @property
    def relax(self) -> frozenset[str]:
        """Words that `build --relax` needs."""
        return frozenset(word for layer in self.layers for word in layer.relax)

    @property
    def is_open(self) -> bool:
        """Whether something must be filled in."""
        return any(one.is_open for layer in self.layers for one in layer.said.values())

    def columns(self) -> list[str]:
        """Of layers and dates, as `samples.csv` has them."""
        found = [
            cell_name(one.id, slot, self.slots[one.stack])
            for one in self.layers
            for slot in range(self.slots[one.stack])
        ]
        for stack in sorted(self.dated):
            found += [cell_name(f"{stack}.date", slot, self.slots[stack]) for slot in range(self.slots[stack])]
        return found

    def cells(self, sample: FoundSample) -> Iterator[tuple[str, str]]:
        """(column, cell) of the files and dates of one sample; what is not there is left out."""
        for stack in dict.fromkeys(one.stack for one in self.layers):
            layers = [one for one in self.layers if one.stack == stack]
            days = sorted({day for one in layers for day in sample.files.get(self.parts[one.id], {})})
            for slot, day in enumerate(days):
                for one in layers:
                    if path := sample.files.get(self.parts[one.id], {}).get(day):
                        yield cell_name(one.id, slot, self.slots[stack]), path
                if stack in self.dated and day:
                    yield cell_name(f"{stack}.date", slot, self.slots[stack]), day


def arrange(root: Path, rasters: Sequence[str], texts: Mapping[str, str]) -> Arranged:
    """Everything that can be seen of a folder.

    Args:
        root: The folder.
        rasters: Its GeoTIFFs, paths below it.
        texts: Its csv and text files, path -> text.

    Raises:
        ArchiveError: If no layer can describe the images.
    """
    table = _best_table(texts, rasters)
    masks_named = {row["mask"] for row in table.rows if row.get("mask")} if table else set()
    named = [one for one in rasters if one not in masks_named]
    grouped = _grouped(named, table, with_dates=True)
    samples, more = _samples(grouped, table, texts, named)
    looked, broken = _look(root, samples)
    if _are_apart(samples, looked):
        grouped = _grouped(named, table, with_dates=False)
        samples, more = _samples(grouped, table, texts, named)
        more = (*more, "files that differ in their dates alone do not lie on one ground: each is a sample")
        looked, broken = _look(root, samples)
    elif any(len(files) > 1 for one in samples for files in one.files.values()):
        is_placed = any(one.facts.grid.is_placed for one in looked.values())
        more = (*more, "dates: files that differ in a date alone are dates of one place"
                       + ("" if is_placed else ", though no file says where it lies"))  # fmt: skip
    bad = {path for path, _ in broken}
    samples, whole = _whole_stacks([kept for one in samples if (kept := _without(one, bad)).files])
    lost = [*grouped.left_out, *(table.lost if table else ()), *broken, *whole]
    if not looked or not samples:
        path, why = (broken or lost or [(rasters[0], "belongs to no sample")])[0]
        raise ArchiveError(f"none of its {len(rasters)} files makes a sample", str(root), f"{path}: {why}.")
    masks = [looked[one.mask] for one in samples if one.mask in looked]
    labels = guess_masks(masks) if masks else guess_classes([one.labels for one in samples])
    if labels.kind == "none":
        samples = [replace(one, labels=(), mask="") for one in samples]
    layers, slots, parts = _layers(samples, looked, rasters)
    dated = {one.stack for one in layers if any(day for s in samples for day in s.files.get(parts[one.id], {}))}
    notes = [*(table.notes if table else ()), *grouped.notes, *more, *_ground_notes(samples, looked)]
    if masks and (bare := sum(not one.mask for one in samples)):
        notes.append(f"{bare:,} of {len(samples):,} samples have no mask")
    _one_folder_too_deep(root, rasters, labels, notes)
    used = {path for one in samples for path in _files_of(one)} | bad
    unnamed = sum(path not in used for path in named)
    if table and unnamed:
        lost.append((f"{unnamed:,} files", f"{table.name} does not name them"))
    return Arranged(tuple(samples), tuple(layers), slots, frozenset(dated), labels, tuple(notes), tuple(lost),
                    tuple(looked.values()), len(rasters), parts)  # fmt: skip


def _files_of(sample: FoundSample) -> Iterator[str]:
    """Paths of all files of a sample; its mask last."""
    for files in sample.files.values():
        yield from files.values()
    if sample.mask:
        yield sample.mask


def _ground_notes(samples: Sequence[FoundSample], looked: Mapping[str, Peek]) -> Iterator[str]:
    """What keeps parts of one sample from lying on one ground, of those that were looked at."""
    for one in samples:
        found = [looked[path] for path in _files_of(one) if path in looked]
        for other in found[1:]:
            if grids_apart(found[0].facts.grid, other.facts.grid):
                silent = other.facts.grid.is_placed != found[0].facts.grid.is_placed
                what = "only one of them says where it lies" if silent else "they lie elsewhere"
                fix = "if they lie together in truth, build with --relax grid"
                yield f"{other.path} and {found[0].path}: {what}; {fix}"
                return


def _best_table(texts: Mapping[str, str], rasters: Sequence[str]) -> FoundTable | None:
    """The csv that names most images; of several alike the first."""
    found = [
        table for name, text in sorted(texts.items()) if name.lower().endswith((".csv", ".tsv"))
        if (table := read_table_of(name, text, rasters))
    ]  # fmt: skip
    return max(found, key=lambda one: (len(one.rows), len(one.columns)), default=None)


def _grouped(rasters: Sequence[str], table: FoundTable | None, *, with_dates: bool) -> Grouped:
    """By names; by dates only where some sample has several, so that names stay as they are elsewhere."""
    is_told = table is not None and "label" in table.columns
    has_masks = table is None or "mask" not in table.columns
    if with_dates and not is_told:
        found = group(rasters, with_dates=True, with_masks=has_masks, classes=True)
        series = [[one.day for one in files if one.part == part] for files in found.samples.values()
                  for part in {one.part for one in files}]  # fmt: skip
        # A file without a date beside one that has one is no date of the same place.
        if any(len(days) > 1 for days in series) and not any("" in days and any(days) for days in series):
            return found
    return group(rasters, with_dates=False, with_masks=has_masks, classes=not is_told)


def _samples(
    grouped: Grouped, table: FoundTable | None, texts: Mapping[str, str], rasters: Sequence[str]
) -> tuple[list[FoundSample], tuple[str, ...]]:
    """The samples, with what tables and lists say of them; and what was understood."""
    row_of = (
        {row["image"]: (row, labels) for row, labels in zip(table.rows, table.labels, strict=True)} if table else {}
    )
    lists, notes = split_lists({name: text for name, text in texts.items() if name.lower().endswith(".txt")}, rasters)
    scenes = Counter(_scene(grouped, name) for name in grouped.samples)
    has_scenes = not grouped.label_of and any(count > 1 for scene, count in scenes.items() if scene) and len(scenes) > 1
    found = []
    for name in sorted(grouped.samples):
        files: dict[str, dict[str, str]] = {}
        mask, row = "", None
        labels: tuple[str, ...] = ()
        for one in grouped.samples[name]:
            if one.part == MASK:
                mask = mask or one.path
                continue
            files.setdefault(one.part, {})[one.day] = one.path
            if one.path in row_of:
                row, labels = row_of[one.path]
        if table is not None and row is None:
            continue
        row = row or {}
        if len(files) == 1 and row.get("day") and all(len(one) == 1 for one in files.values()):
            day = row["day"]
            files = {part: dict.fromkeys((day,), path) for part, one in files.items() for path in one.values()}
        first = grouped.samples[name][0]
        split = (
            row.get("split", "")
            or first.split
            or next((lists[one.path] for one in grouped.samples[name] if one.path in lists), "")
        )
        label = grouped.label_of.get(name, "")
        scene = row.get("scene", "") or (_scene(grouped, name) if has_scenes else "")
        found.append(
            FoundSample(name, files, row.get("mask", "") or mask, labels or ((label,) if label else ()), split, scene)
        )
    if has_scenes and not (table and "scene" in table.columns):
        notes = (*notes, f"scenes: the {len(scenes)} folders that hold the images")
    return found, notes


def _scene(grouped: Grouped, name: tuple[str, ...]) -> str:
    first = grouped.samples[name][0]
    return "/".join(first.folders if first.stem else first.folders[:-1])


def _look(root: Path, samples: Sequence[FoundSample]) -> tuple[dict[str, Peek], list[tuple[str, str]]]:
    """Look at whole samples, spread evenly, until `HEADERS` files were."""
    each = max((sum(map(len, one.files.values())) + bool(one.mask) for one in samples), default=1)
    step = max(1, -(-len(samples) * each // HEADERS))
    paths: dict[str, list[str]] = {}
    for one in samples[::step]:
        for part, files in one.files.items():
            paths.setdefault(part, []).extend(files.values())
        if one.mask:
            paths.setdefault(MASK, []).append(one.mask)
    looked: dict[str, Peek] = {}
    broken: list[tuple[str, str]] = []
    for part, chosen in paths.items():
        seen, bad = peek(root, chosen, pixels=len(chosen) if part == MASK else PIXELS)
        looked |= seen
        broken += bad
    return looked, broken


def _are_apart(samples: Sequence[FoundSample], looked: Mapping[str, Peek]) -> bool:
    """Whether files that would be dates of one sample lie elsewhere."""
    for one in samples:
        for files in one.files.values():
            grids = [looked[path].facts.grid for path in files.values() if path in looked]
            if any(grids_apart(grids[0], other) for other in grids[1:] if grids[0].is_placed or other.is_placed):
                return True
    return False


def _without(sample: FoundSample, bad: set[str]) -> FoundSample:
    """A sample without files that cannot be read."""
    if not bad:
        return sample
    files = {part: kept for part, found in sample.files.items()
             if (kept := {day: path for day, path in found.items() if path not in bad})}  # fmt: skip
    return replace(sample, files=files, mask="" if sample.mask in bad else sample.mask)


def _whole_stacks(samples: list[FoundSample]) -> tuple[list[FoundSample], list[tuple[str, str]]]:
    """Without samples that miss a band of a stack whose bands are files each."""
    bands = {part for one in samples for part in one.files if "_" in part}
    whole, lost = [], []
    for one in samples:
        missing = {band for band in bands for other in one.files if other.split("_")[0] == band.split("_")[0]} - set(
            one.files
        )
        if missing:
            lost.append(("/".join(one.name), f"has no {', '.join(sorted(missing))}"))
        else:
            whole.append(one)
    return whole, lost


def _layers(
    samples: Sequence[FoundSample], looked: Mapping[str, Peek], rasters: Sequence[str]
) -> tuple[list[LayerGuess], dict[str, int], dict[str, str]]:
    parts = sorted({part for one in samples for part in one.files})
    layers: list[LayerGuess] = []
    slots: dict[str, int] = {}
    made: dict[str, str] = {}
    labels = {label for one in samples for label in one.labels}
    for part in parts:
        files = [path for one in samples for path in one.files.get(part, {}).values()]
        peeks = [looked[path] for path in files if path in looked]
        if not peeks:
            continue
        stack = part.split("_")[0]
        counts = [len(one.files.get(part, {})) for one in samples]
        hint = hint_of(part, rasters if is_terramesh(rasters) else files, labels, peeks)
        beside = [other for other in parts if other.split("_")[0] == stack]
        paths = [path for one in samples for other in beside for path in one.files.get(other, {}).values()]
        of_stack = [looked[path] for path in paths if path in looked]
        layer = guess_layer(
            part, stack, peeks, hint, of_stack=of_stack, times=max(counts), need_fill=min(counts) < max(counts)
        )
        if part == IMAGE and not layer.said["sensor"].is_open:
            name = layer.said["sensor"].text
            layer = replace(layer, id=name, stack=name)
        layers.append(layer)
        slots[layer.stack] = max(slots.get(layer.stack, 0), max(counts))
        made[layer.id] = part
    return layers, slots, made


def _one_folder_too_deep(root: Path, rasters: Sequence[str], labels: LabelGuess, notes: list[str]) -> None:
    """Say where folders beside this one hold images, too, and nothing in it says what they are."""
    if labels.kind != "none" or any("/" in one for one in rasters):
        return
    beside = [one.name for one in root.parent.iterdir() if one.is_dir() and one != root and not one.name.startswith(".")
              and any(file.suffix.lower() in (".tif", ".tiff") for file in one.iterdir())]  # fmt: skip
    if beside:
        told = ", ".join(sorted(beside)[:4])
        fix = f"if they are classes, masks or splits, run `init` on {root.parent}"
        notes.append(f"the folders beside this one hold images, too ({told}): {fix}")
