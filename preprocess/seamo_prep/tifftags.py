"""The first directory of a TIFF: its tags, read once a form, and the place that GeoTIFF's tags give.

Archives hold millions of files whose headers differ in offsets and places alone: what a directory's own bytes say is
worked out once and kept. Format: TIFF 6.0 (Adobe, 1992), OGC GeoTIFF 1.1.
"""

import math
import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from rasterio.crs import CRS
from rasterio.errors import CRSError

Transform = tuple[float, float, float, float, float, float]
Values = tuple[Any, ...]

TYPES = {1: "B", 2: "s", 3: "H", 4: "I", 5: "II", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d"}  # TIFF type -> struct
_BIG_TYPES = TYPES | {16: "Q", 17: "q"}
_COUNTING = frozenset({1, 3, 4, 16})  # types that hold whole numbers from 0
_REAL = frozenset({11, 12})
_WHOLE = frozenset(_BIG_TYPES) - _REAL - {2}  # and those of either sign
_KEPT_BYTES = 1024  # of the longest directory that is kept; one of forty tags has half of that
_PLAIN_KEYS = {1024, 1025, 1026, 2048, 2049, 2054, 2057, 2059, 3072, 3073, 3076}  # GeoKeys that change nothing else


class CutShortError(Exception):
    """Tags or strips are not as long as the file says."""


class Tags(NamedTuple):
    """What a directory holds.

    Args:
        values: Tag -> its values; text is one value of bytes.
        kinds: Tag -> the TIFF type of its values.
        odd: Tags of a type that holds other things than whole numbers from 0.
        is_all: No further directory follows, no tag stands twice and none is of another type.
    """

    values: dict[int, Values]
    kinds: Mapping[int, int]
    odd: frozenset[int]
    is_all: bool

    def count(self, tags: frozenset[int]) -> bool:
        """Whether those of some tags that are there hold whole numbers from 0 only."""
        return all(isinstance(value, int) and value >= 0 for tag in tags & self.odd for value in self.values[tag])


class _Directory(NamedTuple):
    """What its bytes alone say: values that stand in it, and the form and the place of all others."""

    inside: dict[int, Values]
    elsewhere: tuple[tuple[int, struct.Struct, int], ...]
    kinds: Mapping[int, int]
    odd: frozenset[int]
    is_all: bool


def read_tags(data: bytes, order: str, *, is_big: bool) -> Tags:
    """The tags of the first directory.

    Args:
        data: The whole file.
        order: `<` or `>`.
        is_big: Whether it is a BigTIFF.

    Raises:
        struct.error, CutShortError: If the bytes are cut short.
    """
    head, word, counter, step = (8, "Q", "Q", 20) if is_big else (4, "I", "H", 12)
    (start,) = struct.unpack_from(order + word, data, head)
    (number,) = struct.unpack_from(order + counter, data, start)
    start += struct.calcsize(counter)
    end = start + step * number
    (further,) = struct.unpack_from(order + word, data, end)  # masks, overviews, pages
    entries = data[start:end]
    read = _directory if len(entries) <= _KEPT_BYTES else _directory.__wrapped__
    found = read(entries, order, is_big)
    values = dict(found.inside)
    for tag, form, where in found.elsewhere:
        if where + form.size > len(data):
            raise CutShortError
        values[tag] = form.unpack_from(data, where)
    return Tags(values, found.kinds, found.odd, found.is_all and further == 0)


@lru_cache(maxsize=256)
def _directory(entries: bytes, order: str, is_big: bool) -> _Directory:
    word, types, step = ("Q", _BIG_TYPES, 20) if is_big else ("I", TYPES, 12)
    entry, pointer = struct.Struct(f"{order}HH{word}"), struct.Struct(order + word)
    inside: dict[int, Values] = {}
    elsewhere: list[tuple[int, struct.Struct, int]] = []
    kinds: dict[int, int] = {}
    is_all = True
    for at in range(0, len(entries), step):
        tag, kind, count = entry.unpack_from(entries, at)
        if kind not in types or tag in kinds:
            is_all = False
            continue
        form = struct.Struct(f"{order}{count}{types[kind]}" if kind != 5 else f"{order}{2 * count}I")
        kinds[tag] = kind
        if form.size <= pointer.size:
            inside[tag] = form.unpack_from(entries, at + entry.size)
        else:
            elsewhere.append((tag, form, *pointer.unpack_from(entries, at + entry.size)))
    odd = frozenset(tag for tag, kind in kinds.items() if kind not in _COUNTING)
    return _Directory(inside, tuple(elsewhere), kinds, odd, is_all)


def locate(tags: Tags) -> tuple[str, Transform | None] | None:
    """CRS (`EPSG:32633`) and transform of the plain case; None if GDAL must work them out."""
    keys, scale, tie = (tags.values.get(tag) for tag in (34735, 33550, 33922))
    if keys is None and scale is None and tie is None:
        return "", None
    if keys is None or scale is None or tie is None or len(scale) != 3 or len(tie) != 6 or len(keys) < 4:
        return None
    if not {tags.kinds[33550], tags.kinds[33922]} <= _REAL or tags.kinds[34735] not in _WHOLE:
        return None
    if any(tie[:3]) or not all(map(math.isfinite, (*scale, *tie))) or scale[0] <= 0 or scale[1] <= 0:
        return None  # a tie point inside the image, rows that run upwards
    crs = _crs(keys)
    return None if crs is None else (crs, (scale[0], 0.0, tie[3], 0.0, -scale[1], tie[4]))


@lru_cache(maxsize=256)
def _crs(keys: tuple[int, ...]) -> str | None:
    """The CRS that GeoKeys name by its code; None if GDAL must work it out."""
    if len(keys) != 4 * keys[3] + 4 or keys[:2] != (1, 1):
        return None
    entries = [keys[i : i + 4] for i in range(4, len(keys), 4)]
    values = {key: value for key, place, _, value in entries if place == 0}
    if len({entry[0] for entry in entries}) != len(entries) or not {entry[0] for entry in entries} <= _PLAIN_KEYS:
        return None
    if (values.get(1025, 1), values.get(2054, 9102), values.get(3076, 9001)) != (1, 9102, 9001):
        return None  # pixels are points, other units
    is_projected = values.get(1024) == 1
    if is_projected and {2048, 2057, 2059} & {entry[0] for entry in entries}:
        return None  # a datum beside the projection, which may be another than its own
    code = values.get(3072 if is_projected else 2048)
    if values.get(1024) not in (1, 2) or code is None or not _is_code(code, is_projected):
        return None
    return f"EPSG:{code}"


def _is_code(code: int, is_projected: bool) -> bool:
    """Whether PROJ knows a CRS of that EPSG code and kind, and calls it by the same code."""
    try:
        crs = CRS.from_epsg(code)
    except CRSError:
        return False
    return bool(crs.is_projected == is_projected and crs.to_epsg() == code and 1024 <= code < 32767)
