"""`samples.csv` of one's own imagery: which columns it has, and what each cell must be (see `folder`)."""

import re
import unicodedata
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import PurePosixPath, PureWindowsPath

import numpy as np
import pandas as pd

from seamo.errors import ArchiveError, SampleError
from seamo.manifest import DatasetSpec
from seamo.sample import check_key
from seamo.store.splits import SPLITS
from seamo_prep.strict_csv import TableRow, at_line, read_csv, utc_date

_PLAIN = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)*")
ABOUT = ("split", "scene", "country")  # what the index says of a sample beside its files


def cell_name(name: str, slot: int, times: int) -> str:
    """The column of one date: `s2`, or `s2.1` where there are several."""
    return name if times == 1 else f"{name}.{slot}"


def is_mask(spec: DatasetSpec) -> bool:
    """True if a label is the path of a mask."""
    return spec.task.kind in ("segmentation", "change")


def date_columns(spec: DatasetSpec) -> dict[str, list[str]]:
    """Column of a date -> columns of the files that it dates."""
    found = {}
    for stack in spec.stacks:
        times = spec.num_times(stack)
        for slot in range(times):
            files = [cell_name(layer.id, slot, times) for layer in spec.stack_layers(stack)]
            found[cell_name(f"{stack}.date", slot, times)] = files
    return found


def read_table(data: bytes, where: str, spec: DatasetSpec) -> pd.DataFrame:
    """One row a sample, sorted by key: `key`, columns of `ABOUT`, and `_<column>` of every other.

    Raises:
        ArchiveError: With file and line, for whatever is not as it must be.
    """
    rows = read_csv(data, where)
    columns = list(rows[0].cells)
    _check_columns(columns, spec, where)
    first: dict[str, int] = {}
    for row in rows:
        _check_row(row, spec, at_line(where, row.line))
        key = row.cells["key"]
        if key in first:
            raise ArchiveError(f"key {key!r} stands twice", at_line(where, row.line), f"First in line {first[key]}.")
        first[key] = row.line
    named = {name: name if name in ("key", *ABOUT) else f"_{name}" for name in columns}
    frame = pd.DataFrame({title: [row.cells[name] for row in rows] for name, title in named.items()})
    return frame.sort_values("key", ignore_index=True)


def _check_columns(columns: Sequence[str], spec: DatasetSpec, where: str) -> None:
    needed = [cell_name(layer.id, slot, layer.times) for layer in spec.layers for slot in range(layer.times)]
    optional = ["label", *ABOUT, *date_columns(spec)]
    missing = [name for name in ("key", *needed) if name not in columns]
    if missing:
        raise ArchiveError(f"has no column {missing[0]!r}", where, f"Needed: {', '.join(('key', *needed))}.")
    for name in columns:
        if name not in ("key", *needed, *optional):
            near = get_close_matches(name, (*needed, *optional), n=1)
            raise ArchiveError(
                f"unknown column {name!r}", where, f"Did you mean {near[0]!r}?" if near else "Take it out."
            )


def _check_row(row: TableRow, spec: DatasetSpec, here: str) -> None:
    cells = row.cells
    try:
        check_key(cells["key"])
    except SampleError as error:
        raise ArchiveError(error.what, here) from error
    for column in (cell_name(layer.id, slot, layer.times) for layer in spec.layers for slot in range(layer.times)):
        _check_path(cells[column], here)
    for column, files in date_columns(spec).items():
        if cells.get(column) and not any(cells[file] for file in files):
            raise ArchiveError(f"{column} is the date of no file", here, f"{files[0]} is empty.")
    for stack in spec.stacks:
        stack_dates({f"_{name}": text for name, text in cells.items()}, stack, spec, here)
    if cells.get("split", "") not in ("", "exclude", *SPLITS):
        raise ArchiveError(f"split {cells['split']!r} is not one of {', '.join(SPLITS)}", here)
    label = cells.get("label", "")
    if label and spec.task.label_space:
        if is_mask(spec):
            _check_path(label, here)
        else:
            class_ids(label, spec, here)


def class_ids(cell: str, spec: DatasetSpec, where: str) -> tuple[int, ...]:
    """Ids of the classes that a cell names, ascending.

    Raises:
        ArchiveError: If a name is no class or stands twice, or two stand where one belongs.
    """
    space = spec.label_space()
    if spec.task.kind != "multi-label" and cell in space.names:  # a name may hold a bar
        return (space.names.index(cell),)
    names = cell.split("|")
    unknown = [name for name in names if name not in space.names]
    if unknown:
        near = get_close_matches(unknown[0], space.names, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        if near and unicodedata.normalize("NFC", near[0]) == unicodedata.normalize("NFC", unknown[0]):
            hint = f"It looks like {near[0]!r}, and one of the two has its accents apart (NFD): copy the name. "
        raise ArchiveError(f"no class {unknown[0]!r}", where, f"{hint}Classes: {', '.join(space.names)}.")
    if spec.task.kind != "multi-label":
        raise ArchiveError(f"{len(names)} labels ({cell}) where one belongs", where, "The task is of one label.")
    if len(set(names)) != len(names):
        raise ArchiveError(f"a label stands twice in {cell}", where, "Take one out.")
    return tuple(sorted(space.names.index(name) for name in names))


def cell_label(cell: str, spec: DatasetSpec, where: str) -> int | tuple[int, ...] | None:
    """What a cell says of a sample whose label is no mask.

    An empty one is the empty set where the task takes images without any class for negatives, else no label.

    Raises:
        ArchiveError: See `class_ids`.
    """
    if not spec.task.label_space:
        return None
    if not cell:
        return () if spec.task.no_class == "negative" else None
    ids = class_ids(cell, spec, where)
    return ids if spec.task.kind == "multi-label" else ids[0]


def stack_dates(
    cells: dict[str, str], stack: str, spec: DatasetSpec, where: str
) -> tuple[list[int], list[np.datetime64]]:
    """The slots of a stack that are there, in order of time, and their dates; no dates if none is given.

    Args:
        cells: `_<column>` -> text.
        stack: Of the spec.
        spec: The data set.
        where: The table and the key, for messages.

    Raises:
        ArchiveError: If the stack's layers are there at different dates, or some dates are missing.
    """
    layers, times = spec.stack_layers(stack), spec.num_times(stack)
    there = [[slot for slot in range(times) if cells[f"_{cell_name(one.id, slot, times)}"]] for one in layers]
    if any(slots != there[0] for slots in there):
        raise ArchiveError(f"layers of {stack} have different dates", where)
    given = [cells.get(f"_{cell_name(f'{stack}.date', slot, times)}", "") for slot in there[0]]
    if not any(given):
        return there[0], []
    if not all(given):
        raise ArchiveError(f"some dates of {stack} are missing", where)
    dates = [utc_date(one, where) for one in given]
    order = sorted(range(len(dates)), key=lambda i: dates[i])
    return [there[0][i] for i in order], [dates[i] for i in order]


def _check_path(cell: str, here: str) -> None:
    if _PLAIN.fullmatch(cell):  # a tenth of the time of what follows
        return
    posix, windows = PurePosixPath(cell), PureWindowsPath(cell)
    if posix.is_absolute() or windows.drive or windows.root or ".." in windows.parts:
        raise ArchiveError(f"{cell!r} leaves the folder", here, "Give a path below the folder of the table.")
    if "\\" in cell:
        raise ArchiveError(f"{cell!r} holds a backslash", here, "Separate folders by '/'.")
