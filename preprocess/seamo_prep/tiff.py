"""The plain kind of (Geo)TIFF, decoded and written here: opening a file through GDAL costs more than decoding it.

One image in strips, uncompressed or deflated, located by an EPSG code, a tie point and a scale. Everything else that
TIFF allows is left to `seamo_prep.rasters`, which asks GDAL. Both give the same arrays; the tests compare them on every
real sample. Format: TIFF 6.0 (Adobe, 1992), Technical Note 3 for the floating-point predictor, OGC GeoTIFF 1.1.
"""

import struct
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Transform = tuple[float, float, float, float, float, float]

_TYPES = {1: "B", 2: "c", 3: "H", 4: "I", 5: "II", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d"}  # TIFF type -> struct
_KINDS = {1: "u", 2: "i", 3: "f"}  # SampleFormat -> numpy kind
_DTYPES = {"u1", "u2", "u4", "i1", "i2", "i4", "f4", "f8"}
_WHOLE_TAGS = {256, 257, 258, 259, 273, 277, 278, 279, 284, 317, 339}  # the layout of the image, whole numbers
# The above, descriptions, resolution, GeoTIFF's own, and GDAL's metadata and nodata, which change no pixel.
_PLAIN_TAGS = _WHOLE_TAGS | {254, 262, 266, 269, 270, 274, 282, 283, 296, 305, 306, 338}
_PLAIN_TAGS |= {33550, 33922, 34735, 34736, 34737, 42112, 42113}
_PLAIN_KEYS = {1024, 1025, 1026, 2048, 2049, 2054, 2057, 2059, 3072, 3073, 3076}  # GeoKeys that change nothing else


class PlainImage(NamedTuple):
    """One decoded file.

    Args:
        pixels: (C, H, W) in the file's own dtype, native byte order.
        crs: `EPSG:32633`; empty if the file names none.
        transform: Affine (a, b, c, d, e, f); None if the file has none.
    """

    pixels: NDArray[Any]
    crs: str
    transform: Transform | None


class CutShortError(Exception):
    """Strips are shorter than the header says."""


def decode_plain(data: bytes) -> PlainImage | None:
    """The image, or None if the file uses something that is left to GDAL.

    Raises:
        struct.error, IndexError, zlib.error, CutShortError: If the bytes are cut short or damaged.
    """
    order = "<" if data[:2] == b"II" else ">"
    if data[2:4] not in (b"*\0", b"\0*"):
        return None
    tags = _read_tags(data, order)
    if tags is None:
        return None
    if not {256, 257, 258, 273, 279} <= tags.keys() or not tags.keys() <= _PLAIN_TAGS:
        return None  # tiles, palettes, rational polynomials, ...
    if any(not isinstance(value, int) for tag in tags.keys() & _WHOLE_TAGS for value in tags[tag]):
        return None
    width, height, count = tags[256][0], tags[257][0], tags.get(277, (1,))[0]
    bits, formats = set(tags[258]), set(tags.get(339, (1,)))
    if len(bits) != 1 or len(formats) != 1 or not formats <= _KINDS.keys() or width * height * count == 0:
        return None
    kind = f"{_KINDS[formats.pop()]}{bits.pop() // 8}"
    compression, predictor = tags.get(259, (1,))[0], tags.get(317, (1,))[0]
    if kind not in _DTYPES or compression not in (1, 8, 32946) or predictor not in (1, 2, 3):
        return None
    if (predictor == 2 and kind[0] == "f") or (predictor == 3 and kind[0] != "f"):
        return None
    located = _locate(tags)
    if located is None:
        return None
    planar = tags.get(284, (1,))[0] == 2
    dtype = np.dtype(order + kind)
    per_pixel = 1 if planar else count  # samples that lie side by side in a row
    row_bytes = width * per_pixel * dtype.itemsize
    rows = min(tags.get(278, (height,))[0], height)
    if rows < 1:
        return None
    planes = count if planar else 1
    strips = -(-height // rows)
    offsets, counts = tags[273], tags[279]
    if len(offsets) != strips * planes or len(counts) != len(offsets) or 0 in offsets:
        return None  # sparse files have empty strips
    blocks = []
    for number, (offset, length) in enumerate(zip(offsets, counts, strict=True)):
        block = data[offset : offset + length]
        if len(block) != length:
            raise CutShortError
        if compression != 1:
            block = zlib.decompress(block)
        need = min(rows, height - number % strips * rows) * row_bytes
        if len(block) < need:
            raise CutShortError
        blocks.append(block[:need])
    joined = b"".join(blocks)
    if predictor == 3:
        image = _undo_float_predictor(joined, (planes * height, width, per_pixel), dtype)
    else:
        image = np.frombuffer(joined, dtype).reshape(planes * height, width, per_pixel)
        if predictor == 2:
            image = np.cumsum(image, axis=1, dtype=dtype.newbyteorder("="))
    image = image.reshape(count, height, width) if planar else image.transpose(2, 0, 1)
    pixels = np.ascontiguousarray(image, dtype=dtype.newbyteorder("="))
    return PlainImage(pixels, *located)


def _undo_float_predictor(data: bytes, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Rows hold the bytes of all samples, most significant first, as differences at a distance of one pixel."""
    rows, width, per_pixel = shape
    flat = np.frombuffer(data, np.uint8).reshape(rows, -1, per_pixel)
    summed = np.cumsum(flat, axis=1, dtype=np.uint8).reshape(rows, dtype.itemsize, width * per_pixel)
    joined = np.ascontiguousarray(summed.transpose(0, 2, 1))
    return joined.view(dtype.newbyteorder(">")).reshape(shape)


def _read_tags(data: bytes, order: str) -> dict[int, tuple[Any, ...]] | None:
    (start,) = struct.unpack_from(order + "I", data, 4)
    (number,) = struct.unpack_from(order + "H", data, start)
    tags: dict[int, tuple[Any, ...]] = {}
    for at in range(start + 2, start + 2 + 12 * number, 12):
        tag, kind, count = struct.unpack_from(order + "HHI", data, at)
        if kind not in _TYPES:
            return None
        layout = f"{order}{count}{_TYPES[kind]}" if kind != 5 else f"{order}{2 * count}I"
        size = struct.calcsize(layout)
        (where,) = (at + 8,) if size <= 4 else struct.unpack_from(order + "I", data, at + 8)
        if where + size > len(data):
            raise CutShortError
        tags[tag] = struct.unpack_from(layout, data, where)
    return tags


def _locate(tags: dict[int, tuple[Any, ...]]) -> tuple[str, Transform | None] | None:
    """CRS and transform of the plain case; None if GDAL must work them out."""
    keys = tags.get(34735)
    scale, tie = tags.get(33550), tags.get(33922)
    if keys is None and scale is None and tie is None:
        return "", None
    if keys is None or scale is None or tie is None or len(scale) != 3 or len(tie) != 6 or len(keys) < 4:
        return None
    values = {keys[i]: keys[i + 3] for i in range(4, 4 * keys[3] + 4, 4) if keys[i + 1] == 0}
    listed = {keys[i] for i in range(4, 4 * keys[3] + 4, 4)}
    model = values.get(1024)
    code = {1: values.get(3072), 2: values.get(2048)}.get(model) if model is not None else None
    is_plain = listed <= _PLAIN_KEYS and (values.get(1025, 1), values.get(2054, 9102), values.get(3076, 9001)) == (
        1,
        9102,
        9001,
    )
    if not is_plain or code is None or not 1024 <= code < 32767 or scale[1] <= 0 or any(tie[:3]):
        return None
    return f"EPSG:{code}", (scale[0], 0.0, tie[3], 0.0, -scale[1], tie[4])


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
