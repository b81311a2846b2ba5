"""The plain kind of (Geo)TIFF, decoded and written here: opening a file through GDAL costs more than decoding it.

One image in strips, uncompressed or deflated, located by an EPSG code, a tie point and a scale. Everything else that
TIFF allows is left to `seamo_prep.rasters`, which asks GDAL. Both give the same arrays; the tests compare them on every
real sample. Format: TIFF 6.0 (Adobe, 1992), Technical Note 3 for the floating-point predictor, OGC GeoTIFF 1.1.
"""

import math
import re
import struct
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.errors import CRSError

Transform = tuple[float, float, float, float, float, float]

_TYPES = {1: "B", 2: "s", 3: "H", 4: "I", 5: "II", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d"}  # TIFF type -> struct
_BIG_TYPES = _TYPES | {16: "Q", 17: "q"}
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?|nan")  # as GDAL writes nodata
_KINDS = {1: "u", 2: "i", 3: "f"}  # SampleFormat -> numpy kind
_DTYPES = {"u1", "u2", "u4", "i1", "i2", "i4", "f4", "f8"}
# The layout of the image: whole numbers. Those that stand once, with what holds where they are not there.
_ONCE: dict[int, int] = {254: 0, 256: 0, 257: 0, 259: 1, 262: 1, 266: 1, 274: 1, 277: 1, 284: 1, 317: 1}
_LAYOUT_TAGS = frozenset({*_ONCE, 258, 278, 338, 339})
# The above, where strips lie, descriptions, resolution, GeoTIFF's own, and GDAL's metadata and nodata.
_PLAIN_TAGS = _LAYOUT_TAGS | {269, 270, 273, 279, 282, 283, 296, 305, 306}
_PLAIN_TAGS |= {33550, 33922, 34735, 34736, 34737, 42112, 42113}
_PLAIN_KEYS = {1024, 1025, 1026, 2048, 2049, 2054, 2057, 2059, 3072, 3073, 3076}  # GeoKeys that change nothing else


class PlainImage(NamedTuple):
    """One decoded file.

    Args:
        pixels: (C, H, W) in the file's own dtype, native byte order.
        crs: `EPSG:32633`; empty if the file names none.
        transform: Affine (a, b, c, d, e, f); None if the file has none.
        nodata: Value that is no measurement, as it is written; None if the file names none.
        is_rgb: Whether the first three bands are colours.
    """

    pixels: NDArray[Any]
    crs: str
    transform: Transform | None
    nodata: float | None
    is_rgb: bool


class CutShortError(Exception):
    """Strips are not as long as the header says."""


def decode_plain(data: bytes) -> PlainImage | None:
    """The image, or None if the file uses something that is left to GDAL.

    What is taken is listed, not what is refused: a tag, a value or a combination that stands nowhere below is GDAL's.

    Raises:
        struct.error, IndexError, zlib.error, CutShortError: If the bytes are cut short or damaged.
    """
    order = "<" if data[:2] == b"II" else ">"
    is_big = data[2:4] in (b"+\0", b"\0+")
    tags, is_all = _read_tags(data, order, is_big=is_big)
    image = _plain_image(data, tags, order) if is_all and not is_big else None
    if image is None:
        _check_blocks(tags)
    return image


def _plain_image(data: bytes, tags: dict[int, tuple[Any, ...]], order: str) -> PlainImage | None:
    if 273 not in tags or 279 not in tags or not tags.keys() <= _PLAIN_TAGS:
        return None  # tiles, palettes, sub-directories, rational polynomials, tags of other compressions, ...
    words = _words(tags)
    # Archives hold millions of files whose headers differ in offsets and places alone.
    layout = _layout(tuple((tag, tags[tag]) for tag in tags if tag in _LAYOUT_TAGS), order)
    located = _locate(tags)
    if words is None or layout is None or located is None:
        return None
    if any(not isinstance(value, int) or value < 0 for tag in (273, 279) for value in tags[tag]):
        return None
    pixels = _decode_strips(data, tags[273], tags[279], layout)
    return None if pixels is None else PlainImage(pixels, *located, *words, tags.get(262) == (2,))


def _words(tags: dict[int, tuple[Any, ...]]) -> tuple[float | None] | None:
    """GDAL's nodata, if the file names one; None if the file says anything that only GDAL reads.

    Tag 42112 is GDAL's metadata, where `role` marks what is said of a band (offset, scale, description), 42113 its
    nodata.
    """
    if any(not isinstance(tags[tag][0], bytes) for tag in (42112, 42113) if tags.get(tag)):
        return None
    if b"role" in (tags.get(42112) or (b"",))[0]:
        return None
    if not tags.get(42113):
        return (None,)
    text = tags[42113][0].rstrip(b"\0").decode("latin-1").strip()
    return (float(text),) if _NUMBER.fullmatch(text) else None  # else a hexadecimal float, an infinity, ...


class _Layout(NamedTuple):
    """How pixels lie in the strips.

    Args:
        shape: (C, H, W).
        dtype: In the file's byte order.
        is_deflated: By zlib; otherwise as they are.
        predictor: 1, 2 or 3.
        is_planar: Bands one after the other, not pixel by pixel.
        rows: Of a strip; the last one of a band may have fewer.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    is_deflated: bool
    predictor: int
    is_planar: bool
    rows: int


@lru_cache(maxsize=256)
def _layout(told: tuple[tuple[int, tuple[Any, ...]], ...], order: str) -> _Layout | None:
    tags = dict(told)
    if not {256, 257, 258, 259, 262} <= tags.keys():
        return None
    if any(not isinstance(value, int) or value < 0 for values in tags.values() for value in values):
        return None
    one = {tag: tags.get(tag, (usual,)) for tag, usual in _ONCE.items()}
    if any(len(values) != 1 for values in one.values()):
        return None
    width, height, count, compression, predictor = (one[tag][0] for tag in (256, 257, 277, 259, 317))
    # A full page, bits from the top, first row on top, samples that are numbers and no colours, in the usual order.
    if (one[254], one[266], one[274]) != ((0,), (1,), (1,)) or one[284][0] not in (1, 2):
        return None
    if one[262] != (1,) and (one[262] != (2,) or count < 3):
        return None
    colours = 3 if one[262] == (2,) else 1
    if width < 1 or height < 1 or count < 1 or tags.get(338, (0,) * (count - colours)) != (0,) * (count - colours):
        return None  # alpha
    bits, formats = tags[258], tags.get(339, (1,) * count)
    if bits != (bits[0],) * count or formats != (formats[0],) * count or formats[0] not in _KINDS or bits[0] % 8:
        return None
    kind = f"{_KINDS[formats[0]]}{bits[0] // 8}"
    if kind not in _DTYPES or compression not in (1, 8, 32946):
        return None
    # Without compression the predictor is not looked at; 2 is for whole numbers, 3 for floats.
    if predictor != 1 and (compression == 1 or predictor != {"u": 2, "i": 2, "f": 3}[kind[0]]):
        return None
    rows = tags.get(278, (height,))
    if len(rows) != 1 or rows[0] < 1:
        return None
    return _Layout(
        (count, height, width),
        np.dtype(order + kind),
        compression != 1,
        predictor,
        one[284] == (2,),
        min(rows[0], height),
    )


def _decode_strips(
    data: bytes, offsets: tuple[int, ...], counts: tuple[int, ...], layout: _Layout
) -> NDArray[Any] | None:
    count, height, width = layout.shape
    planes, per_pixel = (count, 1) if layout.is_planar else (1, count)  # samples that lie side by side in a row
    row_bytes = width * per_pixel * layout.dtype.itemsize
    strips = -(-height // layout.rows)
    if len(offsets) != strips * planes or len(counts) != len(offsets) or 0 in offsets or 0 in counts:
        return None  # sparse files have empty strips
    if not layout.is_deflated and sum(counts) < planes * height * row_bytes:
        return None
    blocks = []
    for number, (offset, length) in enumerate(zip(offsets, counts, strict=True)):
        block = data[offset : offset + length]
        if len(block) != length:
            raise CutShortError
        need = min(layout.rows, height - number % strips * layout.rows) * row_bytes
        if layout.is_deflated:
            block = _inflate(block, need, layout.rows * row_bytes)
        elif length not in (need, layout.rows * row_bytes):
            return None
        if len(block) < need:
            raise CutShortError
        blocks.append(block[:need])
    joined = b"".join(blocks)
    if layout.predictor == 3:
        image = _undo_float_predictor(joined, (planes * height, width, per_pixel), layout.dtype)
    else:
        image = np.frombuffer(joined, layout.dtype).reshape(planes * height, width, per_pixel)
        if layout.predictor == 2:
            image = np.cumsum(image, axis=1, dtype=layout.dtype.newbyteorder("="))
    image = image.reshape(count, height, width) if layout.is_planar else image.transpose(2, 0, 1)
    return np.ascontiguousarray(image, dtype=layout.dtype.newbyteorder("="))


def _inflate(block: bytes, need: int, most: int) -> bytes:
    """The first `need` bytes of a zlib stream that has at most `most`: a last strip may be padded to a whole one."""
    stream = zlib.decompressobj()
    found = stream.decompress(block, need)
    more = 0
    while not stream.eof and more <= most - need:  # to its end, where its checksum is
        step = stream.decompress(stream.unconsumed_tail, min(most - need - more + 1, 1 << 20))
        more += len(step)
        if not step and not stream.eof:
            break
    if not stream.eof or more > most - need:
        raise CutShortError
    return found


def _undo_float_predictor(data: bytes, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Rows hold the bytes of all samples, most significant first, as differences at a distance of one pixel."""
    rows, width, per_pixel = shape
    flat = np.frombuffer(data, np.uint8).reshape(rows, -1, per_pixel)
    summed = np.cumsum(flat, axis=1, dtype=np.uint8).reshape(rows, dtype.itemsize, width * per_pixel)
    joined = np.ascontiguousarray(summed.transpose(0, 2, 1))
    return joined.view(dtype.newbyteorder(">")).reshape(shape)


def _read_tags(data: bytes, order: str, *, is_big: bool) -> tuple[dict[int, tuple[Any, ...]], bool]:
    """The tags of the first directory, and whether that is all: no further one, no tag twice, no other type."""
    head, word, counter, types = (8, "Q", "Q", _BIG_TYPES) if is_big else (4, "I", "H", _TYPES)
    wide = struct.calcsize(word)
    entry, first = struct.Struct(f"{order}HH{word}"), struct.calcsize(counter)
    (start,) = struct.unpack_from(order + word, data, head)
    (number,) = struct.unpack_from(order + counter, data, start)
    step, start = 4 + 2 * wide, start + first
    (further,) = struct.unpack_from(order + word, data, start + step * number)  # masks, overviews, pages
    tags: dict[int, tuple[Any, ...]] = {}
    is_all = further == 0
    for at in range(start, start + step * number, step):
        tag, kind, count = entry.unpack_from(data, at)
        if kind not in types or tag in tags:
            is_all = False
            continue
        layout = f"{order}{count}{types[kind]}" if kind != 5 else f"{order}{2 * count}I"
        size = struct.calcsize(layout)
        (where,) = (at + 4 + wide,) if size <= wide else struct.unpack_from(order + word, data, at + 4 + wide)
        if where + size > len(data):
            raise CutShortError
        tags[tag] = struct.unpack_from(layout, data, where)
    return tags, is_all


def _check_blocks(tags: dict[int, tuple[Any, ...]]) -> None:
    """Refuse an image of fewer strips or tiles than its size takes, for which GDAL gives whatever is in memory."""
    known = {256, 257, 324, 322, 323} if 324 in tags else {256, 257, 273}
    sizes = {tag: next(iter(tags.get(tag, ())), 0) for tag in known}
    sizes |= {tag: next(iter(tags.get(tag, ())), 1) for tag in (277, 284)}
    if any(not isinstance(size, int) or (size < 1 and tag not in (273, 324)) for tag, size in sizes.items()):
        return  # GDAL refuses it
    if 324 in tags:
        blocks, where = -(-sizes[256] // sizes[322]) * -(-sizes[257] // sizes[323]), 324
    else:
        rows = next(iter(tags.get(278, ())), 0)
        blocks, where = -(-sizes[257] // (rows if isinstance(rows, int) and rows > 0 else sizes[257])), 273
    if len(tags.get(where, ())) < blocks * (sizes[277] if sizes[284] == 2 else 1):
        raise CutShortError


def _locate(tags: dict[int, tuple[Any, ...]]) -> tuple[str, Transform | None] | None:
    """CRS and transform of the plain case; None if GDAL must work them out."""
    keys = tags.get(34735)
    scale, tie = tags.get(33550), tags.get(33922)
    if keys is None and scale is None and tie is None:
        return "", None
    if keys is None or scale is None or tie is None or len(scale) != 3 or len(tie) != 6 or len(keys) < 4:
        return None
    if any(not isinstance(one, int) for one in keys) or any(not isinstance(one, float) for one in (*scale, *tie)):
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


def write_tiff(path: Path, pixels: NDArray[Any], *, epsg: int, transform: Transform) -> None:
    """Write the plain kind of GeoTIFF that the archives hold: one strip, uncompressed, pixels interleaved.

    Args:
        path: The file; its folder exists.
        pixels: (C, H, W) of uint8, uint16, int16, int32, float32 or float64.
        epsg: Code of a geographic (4326) or a projected CRS.
        transform: Affine (a, 0, c, 0, e, f) of a north-up image.
    """
    count, height, width = pixels.shape
    data = np.ascontiguousarray(pixels.transpose(1, 2, 0)).astype(pixels.dtype.newbyteorder("<"), copy=False).tobytes()
    code = next(number for number, kind in _KINDS.items() if kind == pixels.dtype.kind)
    is_geographic = epsg == 4326
    keys = (
        1,
        1,
        0,
        3,
        1024,
        0,
        1,
        2 if is_geographic else 1,
        1025,
        0,
        1,
        1,
        2048 if is_geographic else 3072,
        0,
        1,
        epsg,
    )
    a, _, c, _, e, f = transform
    tags: list[tuple[int, str, tuple[Any, ...]]] = [
        (256, "H", (width,)),
        (257, "H", (height,)),
        (258, "H", (8 * pixels.dtype.itemsize,) * count),
        (259, "H", (1,)),
        (262, "H", (1,)),
        (273, "I", (0,)),  # set below
        (277, "H", (count,)),
        (278, "H", (height,)),
        (279, "I", (len(data),)),
        (284, "H", (1,)),
        (338, "H", (0,) * (count - 1)),
        (339, "H", (code,) * count),
        (33550, "d", (a, -e, 0.0)),
        (33922, "d", (0.0, 0.0, 0.0, c, f, 0.0)),
        (34735, "H", keys),
    ]
    tags = [one for one in tags if one[2]]
    start = 8 + 2 + 12 * len(tags) + 4
    extra = sum(struct.calcsize(f"<{len(v)}{kind}") for _, kind, v in tags if struct.calcsize(f"<{len(v)}{kind}") > 4)
    directory, beside = struct.pack("<H", len(tags)), b""
    for tag, kind, values in tags:
        packed = struct.pack(f"<{len(values)}{kind}", *((start + extra,) if tag == 273 else values))
        number = next(one for one, layout in _TYPES.items() if layout == kind)
        where = packed.ljust(4, b"\0")
        if len(packed) > 4:
            where, beside = struct.pack("<I", start + len(beside)), beside + packed
        directory += struct.pack("<HHI", tag, number, len(values)) + where
    path.write_bytes(struct.pack("<2sHI", b"II", 42, 8) + directory + bytes(4) + beside + data)
