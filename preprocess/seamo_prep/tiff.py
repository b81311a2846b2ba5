"""The plain kind of (Geo)TIFF, decoded and written here: opening a file through GDAL costs more than decoding it.

One image in strips, uncompressed or deflated, located by an EPSG code, a tie point and a scale. Everything else that
TIFF allows is left to `seamo_prep.rasters`, which asks GDAL. Both give the same arrays; the tests compare them on every
real sample. Format: TIFF 6.0 (Adobe, 1992), Technical Note 3 for the floating-point predictor, OGC GeoTIFF 1.1.
"""

import re
import struct
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from deflate import DeflateError, zlib_decompress
from numpy.typing import NDArray

from seamo.native.inflate import inflate_strips
from seamo_prep.outside import MOST_RATIO
from seamo_prep.tifftags import TYPES, CutShortError, Tags, Transform, Values, locate, read_tags

_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?|nan")  # as GDAL writes nodata
_KINDS = {1: "u", 2: "i", 3: "f"}  # SampleFormat -> numpy kind
_DTYPES = {"u1", "u2", "u4", "i1", "i2", "i4", "f4", "f8"}
# The layout of the image: whole numbers. Those that stand once, with what holds where they are not there.
_ONCE: dict[int, int] = {254: 0, 256: 0, 257: 0, 259: 1, 262: 1, 266: 1, 274: 1, 277: 1, 284: 1, 317: 1}
_LAYOUT_TAGS = (*_ONCE, 258, 278, 338, 339)
_COUNTS = frozenset({*_LAYOUT_TAGS, 273, 279})
# The above, where strips lie, descriptions, resolution, GeoTIFF's own, and GDAL's metadata and nodata.
_PLAIN_TAGS = _COUNTS | {269, 270, 282, 283, 296, 305, 306}
_PLAIN_TAGS |= {33550, 33922, 34735, 34736, 34737, 42112, 42113}


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


def decode_plain(data: bytes, out: NDArray[Any] | None = None) -> PlainImage | None:
    """The image, or None if the file uses something that is left to GDAL.

    What is taken is listed, not what is refused: a tag, a value or a combination that stands nowhere below is GDAL's.

    Args:
        data: The whole file.
        out: (C, H, W), C-contiguous: becomes `pixels` where shape and dtype are those of the file, and no predictor,
            order of bytes or of samples has to be undone. Else it may hold anything afterwards.

    Raises:
        struct.error, IndexError, zlib.error, CutShortError: If the bytes are cut short or damaged.
    """
    order = "<" if data[:2] == b"II" else ">"
    is_big = data[2:4] in (b"+\0", b"\0+")
    tags = read_tags(data, order, is_big=is_big)
    image = _plain_image(data, tags, order, out) if tags.is_all and not is_big else None
    if image is None:
        _check_blocks(tags.values)
    return image


def _plain_image(data: bytes, tags: Tags, order: str, out: NDArray[Any] | None) -> PlainImage | None:
    values = tags.values
    if 273 not in values or 279 not in values or not values.keys() <= _PLAIN_TAGS:
        return None  # tiles, palettes, sub-directories, rational polynomials, tags of other compressions, ...
    if not tags.count(_COUNTS):
        return None
    words = _words(values)
    layout = _layout(tuple([values.get(tag) for tag in _LAYOUT_TAGS]), order)
    located = locate(tags)
    if words is None or layout is None or located is None:
        return None
    pixels = _decode_strips(data, values[273], values[279], layout=layout, out=out)
    return None if pixels is None else PlainImage(pixels, *located, *words, values.get(262) == (2,))


def _words(values: dict[int, Values]) -> tuple[float | None] | None:
    """GDAL's nodata, if the file names one; None if the file says anything that only GDAL reads.

    Tag 42112 is GDAL's metadata, where `role` marks what is said of a band (offset, scale, description), 42113 its
    nodata.
    """
    if 42112 not in values and 42113 not in values:
        return (None,)
    if any(not isinstance(values[tag][0], bytes) for tag in (42112, 42113) if values.get(tag)):
        return None
    if b"role" in (values.get(42112) or (b"",))[0]:
        return None
    if not values.get(42113):
        return (None,)
    text = values[42113][0].rstrip(b"\0").decode("latin-1").strip()
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
def _layout(told: tuple[Values | None, ...], order: str) -> _Layout | None:
    tags = {tag: values for tag, values in zip(_LAYOUT_TAGS, told, strict=True) if values is not None}
    if not {256, 257, 258, 259, 262} <= tags.keys():
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
    data: bytes, offsets: Values, counts: Values, *, layout: _Layout, out: NDArray[Any] | None
) -> NDArray[Any] | None:
    count, height, width = layout.shape
    planes, per_pixel = (count, 1) if layout.is_planar else (1, count)  # samples that lie side by side in a row
    row_bytes = width * per_pixel * layout.dtype.itemsize
    strips, total = -(-height // layout.rows), planes * height * row_bytes
    if len(offsets) != strips * planes or len(counts) != len(offsets) or 0 in offsets or 0 in counts:
        return None  # sparse files have empty strips
    if not layout.is_deflated and sum(counts) < total:
        return None
    if total > MOST_RATIO * sum(counts):
        raise CutShortError  # before memory is asked for: no stream becomes as long as that
    kind = layout.dtype.newbyteorder("=")
    is_as_read = layout.predictor == 1 and layout.dtype.isnative and per_pixel == 1
    if not is_as_read:
        image: NDArray[Any] = np.empty(total, dtype=np.uint8)
    elif out is not None and (out.shape, out.dtype) == (layout.shape, kind) and out.flags.c_contiguous:
        image = out
    else:
        image = np.empty(layout.shape, dtype=kind)
    if not _read_strips(data, offsets, counts, layout=layout, row_bytes=row_bytes, image=image):
        return None
    if is_as_read:
        return image
    if layout.predictor == 3:
        image = _undo_float_predictor(image, (planes * height, width, per_pixel), layout.dtype)
    else:
        image = image.view(layout.dtype).reshape(planes * height, width, per_pixel)
        if layout.predictor == 2:
            image = np.cumsum(image, axis=1, dtype=kind)
    image = image.reshape(count, height, width) if layout.is_planar else image.transpose(2, 0, 1)
    return np.ascontiguousarray(image, dtype=kind)


def _read_strips(
    data: bytes, offsets: Values, counts: Values, *, layout: _Layout, row_bytes: int, image: NDArray[Any]
) -> bool:
    """Put the strips one after the other into the bytes of `image`; False if one has another length than its rows."""
    height, rows, flat = layout.shape[1], layout.rows, image.reshape(-1).view(np.uint8)
    each, last = -(-height // rows), (height - 1) % rows + 1  # strips of a band, rows of its last
    done = 0
    if layout.is_deflated and len(offsets) > 1:
        done = inflate_strips(data, offsets, counts, each=each, need=rows * row_bytes, last=last * row_bytes, out=flat)
    stored, target = memoryview(data), flat.data
    at = (done // each * height + done % each * rows) * row_bytes
    left = height - done % each * rows
    for offset, length in zip(offsets[done:], counts[done:], strict=True):
        block = stored[offset : offset + length]
        need = (rows if rows < left else left) * row_bytes
        if len(block) != length:
            raise CutShortError
        if layout.is_deflated:
            found = _inflate(block, need, rows * row_bytes)
            if len(found) != need:
                raise CutShortError
            target[at : at + need] = found
        elif length in (need, rows * row_bytes):  # the last of a band may be padded
            target[at : at + need] = block[:need]
        else:
            return False
        at += need
        left = left - rows if left > rows else height
    return True


def _inflate(block: memoryview, need: int, most: int) -> bytes | bytearray:
    """The first `need` bytes of a zlib stream that has at most `most`: a last strip may be padded to a whole one."""
    try:
        return zlib_decompress(block, need)  # twice as fast; refuses a stream that has more
    except DeflateError:
        return _inflate_exactly(block, need, most)


def _inflate_exactly(block: memoryview, need: int, most: int) -> bytes:
    """The same by zlib, which says what is wrong with damaged ones."""
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


def _undo_float_predictor(data: NDArray[np.uint8], shape: tuple[int, int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Rows hold the bytes of all samples, most significant first, as differences at a distance of one pixel."""
    rows, width, per_pixel = shape
    flat = data.reshape(rows, -1, per_pixel)
    summed = np.cumsum(flat, axis=1, dtype=np.uint8).reshape(rows, dtype.itemsize, width * per_pixel)
    joined = np.ascontiguousarray(summed.transpose(0, 2, 1))
    return joined.view(dtype.newbyteorder(">")).reshape(shape)


def _check_blocks(tags: dict[int, Values]) -> None:
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
        number = next(one for one, layout in TYPES.items() if layout == kind)
        where = packed.ljust(4, b"\0")
        if len(packed) > 4:
            where, beside = struct.pack("<I", start + len(beside)), beside + packed
        directory += struct.pack("<HHI", tag, number, len(values)) + where
    path.write_bytes(struct.pack("<2sHI", b"II", 42, 8) + directory + bytes(4) + beside + data)
