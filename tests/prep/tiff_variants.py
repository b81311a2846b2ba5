"""Variants of TIFF with the numbers that are in them: written by GDAL, by tifffile, and by hand from bits and tags.

By hand is what neither library writes: odd depths in either fill order, both byte orders, strips that lie about
themselves, tags that belong to another compression. The writer below shares nothing with `seamo_prep.tiff`.
"""

import itertools
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
import rasterio
import tifffile
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.io import MemoryFile

SIDE = (19, 23)
UTM = rasterio.Affine(10.0, 0.0, 300000.0, 0.0, -10.0, 5000000.0)
_LOSSLESS = ("deflate", "lzw", "packbits", "zstd", "lzma", "lerc", "lerc_deflate", "lerc_zstd")
_TILES = {"tiled": True, "blockxsize": 16, "blockysize": 16}
_TAGS: tuple[tuple[int, tuple[Any, ...]], ...] = (
    (254, (4,)), (254, (2,)), (254, (1,)), (258, (16, 16, 8)), (258, (16,)), (262, (0,)), (262, (2,)), (262, (3,)),
    (262, (5,)), (262, (6,)), (262, (8,)), (266, (2,)), (266, (0,)), (274, (2,)), (274, (6,)), (278, (0,)), (278, (7,)),
    (278, (2**32 - 1,)), (284, (2,)), (284, (3,)), (292, (1,)), (293, (1,)), (317, (2,)), (317, (3,)), (317, (9,)),
    (338, (1, 0)), (338, (2, 2)), (338, (0,)), (338, (0, 0)), (339, (1, 1, 2)), (339, (4,) * 3), (339, (5,) * 3),
    (339, (1,)), (347, (1, 2, 3)), (512, (1,)), (530, (2, 2)), (320, tuple(range(768))), (322, (16,)), (330, (8,)),
    (259, (2,)), (259, (5,)), (259, (7,)), (259, (32773,)), (259, (34712,)), (259, (50000,)), (277, (2,)), (277, (4,)),
    (280, (3,)), (297, (0, 2)), (532, (0, 255)), (32997, (2,)), (32995, (1,)), (32996, (2,)),
    (256, (24,)), (257, (20,)), (256, (0,)), (257, (60000,)), (273, (0,)), (279, (5,)), (37724, (1,)),
    (50839, (1,)), (65000, (7,)),
)  # fmt: skip
_WGS84, _UTM33 = ((1024, 2), (1025, 1), (2048, 4326)), ((1024, 1), (1025, 1), (3072, 32633))
_GEO_KEYS: tuple[tuple[tuple[int, int], ...], ...] = (
    _WGS84, _UTM33, ((1024, 1), (1025, 2), (3072, 32633)), (*_UTM33, (4096, 5773)), (*_UTM33, (3076, 9002)),
    (*_WGS84, (2054, 9101)), (*_WGS84, (3072, 32633)), ((1024, 1), (2048, 4258), (3072, 32633)),
    ((1024, 3), (2048, 4978)),
    *(((1024, 1), (3072, code)) for code in (4326, 1025, 32599, 2263, 32767, 3857, 27700, 3035, 2154, 31370, 900)),
    *(((1024, 2), (2048, code)) for code in (32633, 4979, 4267, 4258, 4269, 4978, 32767, 0)),
)  # fmt: skip
_PLACES: tuple[tuple[tuple[float, ...], tuple[float, ...]], ...] = (
    ((10.0, 10.0, 0.0), (0.0, 0.0, 0.0, 3e5, 5e6, 0.0)), ((10.0, 0.0, 0.0), (0.0,) * 6),
    ((-10.0, 10.0, 0.0), (0.0,) * 6),
    ((1.0, 1.0, 0.0), (0.5, 0.5, 0.0, 3e5, 5e6, 0.0)), ((float("nan"), 1.0, 0.0), (0.0,) * 6), ((1.0, 2.0), (0.0,) * 6),
)  # fmt: skip


class Variant(NamedTuple):
    """One file.

    Args:
        name: What it is, unlike all others.
        make: Gives its bytes, and the pixels (C, H, W) that were written: None where the form does not keep them,
            or what they are is GDAL's to say.
    """

    name: str
    make: Callable[[], tuple[bytes, np.ndarray | None]]


def variants() -> Iterator[Variant]:
    """All of them, each with a name of its own, in a fixed order."""
    yield from of_gdal()
    yield from of_depths()
    yield from of_statements()
    yield from of_tifffile()
    yield from by_hand()


def _values(name: str, dtype: str, count: int, bits: int = 0) -> np.ndarray:
    rng, kind, shape = np.random.default_rng(zlib.crc32(name.encode())), np.dtype(dtype), (count, *SIDE)
    if kind.kind == "c":
        return (rng.standard_normal(shape) * 50 + 1j * rng.standard_normal(shape)).astype(kind)
    if kind.kind == "f":
        return (rng.standard_normal(shape) * 60).astype(kind)
    low = np.iinfo(kind).min if kind.kind == "i" else 0
    return rng.integers(low, 2**bits - 1 if bits else np.iinfo(kind).max, size=shape, endpoint=True, dtype=kind)


def _written(pixels: np.ndarray, **options: Any) -> bytes:
    with MemoryFile() as memory:
        with memory.open(driver="GTiff", count=len(pixels), height=SIDE[0], width=SIDE[1], dtype=pixels.dtype.name,
                         crs="EPSG:32633", transform=UTM, **options) as file:  # fmt: skip
            file.write(pixels)
        return bytes(memory.getbuffer())


def _by_gdal(
    name: str, dtype: str, count: int, *, bits: int = 0, is_exact: bool = True, **options: Any
) -> tuple[bytes, np.ndarray | None]:
    pixels = _values(name, dtype, count, bits)
    return _written(pixels, **options), pixels if is_exact else None


def of_gdal() -> Iterator[Variant]:
    """Types, compressions, predictors, interleavings, strips and tiles, byte orders, BigTIFF."""
    types = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64",
             "complex64", "complex128")  # fmt: skip
    orders: tuple[dict[str, Any], ...] = ({}, {"endianness": "big"}, {"BIGTIFF": "YES"},
                                          {"endianness": "big", "BIGTIFF": "YES"})  # fmt: skip
    blocks: tuple[dict[str, Any], ...] = ({}, {"blockysize": 4}, _TILES)
    for dtype, packing, block, order, interleave, count in itertools.product(
        types, (None, *_LOSSLESS), blocks, orders, ("pixel", "band"), (1, 4)
    ):
        is_lerc = (packing or "").startswith("lerc")
        if (is_lerc and dtype in ("uint64", "int64", "complex64", "complex128")) or (count, interleave) == (1, "band"):
            continue
        kind = np.dtype(dtype).kind
        has_predictor = packing in ("deflate", "lzw", "zstd") and dtype not in ("uint64", "int64") and kind != "c"
        for predictor in (1, 3 if kind == "f" else 2) if has_predictor else (1,):
            options = {**block, **order, "interleave": interleave} | ({"compress": packing} if packing else {})
            options |= {"predictor": predictor} if predictor != 1 else {}
            name = f"gdal {dtype} x{count} {packing} p{predictor} {block} {order} {interleave}"
            is_exact = not (is_lerc and order and kind == "f")  # GDAL itself reads these otherwise than it wrote them
            yield Variant(name, partial(_by_gdal, name, dtype, count, is_exact=is_exact, **options))


def of_depths() -> Iterator[Variant]:
    """Whole numbers of 1 to 31 bits, by GDAL's NBITS."""
    for bits, packing, count, is_tiled in itertools.product(
        range(1, 32), (None, "deflate", "lzw"), (1, 3), (False, True)
    ):
        if bits not in (8, 16):
            dtype = "uint8" if bits < 8 else "uint16" if bits < 16 else "uint32"
            options = {"nbits": bits, "interleave": "pixel"} | ({"compress": packing} if packing else {})
            name = f"gdal {bits} bits x{count} {packing} {is_tiled}"
            yield Variant(
                name, partial(_by_gdal, name, dtype, count, bits=bits, **options, **(_TILES if is_tiled else {}))
            )


def of_statements() -> Iterator[Variant]:
    """Masks, alpha, scale and offset, nodata, GCPs, colours, overviews, half floats: what is said beside the pixels."""
    for dtype, packing in itertools.product(("uint8", "uint16", "int16", "float32"), (None, "deflate")):
        options = {"compress": packing} if packing else {}
        for nodata in (0, 1, 255):
            name = f"nodata {nodata} {dtype} {packing}"
            yield Variant(name, partial(_by_gdal, name, dtype, 2, nodata=nodata, **options))
        for what in ("mask", "scale", "descriptions", "gcps", "alpha", "overviews", "point", "colours"):
            name = f"{what} {dtype} {packing}"
            yield Variant(name, partial(_stating, name, what, dtype, options))
        for photometric, count in (("MINISWHITE", 1), ("RGB", 3), ("CMYK", 4), ("CIELAB", 3)):
            if dtype in ("uint8", "uint16"):
                name = f"photometric {photometric} {dtype} {packing}"
                said = {**options, "photometric": photometric, "interleave": "pixel"}
                yield Variant(name, partial(_by_gdal, name, dtype, count, is_exact=False, **said))
    for packing in ({"compress": "jpeg"}, {"compress": "jpeg", "photometric": "YCBCR"}):
        for interleave in ("pixel", "band") if len(packing) == 1 else ("pixel",):
            name = f"{packing} {interleave}"
            yield Variant(name, partial(_by_gdal, name, "uint8", 3, is_exact=False, interleave=interleave, **packing))
    for packing in ("ccittrle", "ccittfax3", "ccittfax4"):
        yield Variant(packing, partial(_by_gdal, packing, "uint8", 1, bits=1, nbits=1, compress=packing))
    for packing in ({}, {"compress": "deflate"}):
        name = f"half floats {packing}"
        yield Variant(name, partial(_by_gdal, name, "float32", 2, is_exact=False, nbits=16, **packing))


def _stating(name: str, what: str, dtype: str, options: dict[str, Any]) -> tuple[bytes, np.ndarray]:
    pixels = _values(name, dtype, 4)
    profile: dict[str, Any] = {"driver": "GTiff", "count": 4, "height": SIDE[0], "width": SIDE[1], "dtype": dtype,
                               "crs": "EPSG:32633", **options}  # fmt: skip
    points = [GroundControlPoint(row, col, 10 * col, -10 * row) for row, col in ((0, 0), (0, 23), (19, 0))]
    profile |= {"gcps": points} if what == "gcps" else {"transform": UTM}
    profile |= {"alpha": "premultiplied", "photometric": "RGB"} if what == "alpha" else {}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), MemoryFile() as memory:
        with memory.open(**profile) as file:
            file.write(pixels)
            if what == "mask":
                file.write_mask(np.arange(SIDE[0] * SIDE[1]).reshape(SIDE) % 3 > 0)
            elif what == "scale":
                file.scales, file.offsets = (0.5,) * 4, (-3.0,) * 4
            elif what == "descriptions":
                file.descriptions = ("B02", "B03", "B04", "B08")
            elif what == "overviews":
                file.build_overviews([2])
            elif what == "point":
                file.update_tags(AREA_OR_POINT="Point")
            elif what == "colours":
                file.colorinterp = [ColorInterp.gray, ColorInterp.undefined, ColorInterp.undefined, ColorInterp.alpha]
        return bytes(memory.getbuffer()), pixels


def of_tifffile() -> Iterator[Variant]:
    """By another library, which has its own habits: order of tags, place of strips, software and description."""
    types = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64",
             "complex64", "complex128")  # fmt: skip
    for dtype, order, planar, packing, rows, big in itertools.product(
        types, "<>", ("contig", "separate"), (None, "zlib"), (None, 5), (False, True)
    ):
        name = f"tifffile {dtype} {order} {planar} {packing} {rows} {big}"
        options = {"byteorder": order, "planarconfig": planar, "bigtiff": big, "compression": packing}
        yield Variant(name, partial(_by_tifffile, name, dtype, rowsperstrip=rows, **options))


def _by_tifffile(name: str, dtype: str, **options: Any) -> tuple[bytes, np.ndarray | None]:
    pixels, sink = _values(name, dtype, 3), BytesIO()
    image = pixels if options["planarconfig"] == "separate" else pixels.transpose(1, 2, 0)
    tifffile.imwrite(sink, image, photometric="minisblack", **options)
    return sink.getvalue(), None if dtype == "float16" else pixels  # GDAL gives halves as floats


def by_hand() -> Iterator[Variant]:
    """From bits and tags: odd depths, tags of other kinds of image, strips and keys that lie."""
    for bits, order, fill, count, packing in itertools.product(range(1, 65), "<>", (1, 2), (1, 3), (1, 8)):
        name = f"hand {bits} bits {order} fill {fill} x{count} packed {packing}"
        yield Variant(name, partial(_of_bits, name, bits, order, fill, count, packing))
    for order, packing in itertools.product("<>", (1, 8)):
        for tag, values in _TAGS:
            name = f"hand tag {tag} {values} {order} packed {packing}"
            yield Variant(name, partial(_with_tags, name, order, packing, {tag: values}, 0))
        for change in (-2, -1, 1, 2, 400):  # strips that are shorter or longer than the header says
            name = f"hand strip {change:+} {order} packed {packing}"
            yield Variant(name, partial(_with_tags, name, order, packing, {}, change))
    for keys, (scale, tie) in itertools.product(_GEO_KEYS, _PLACES):
        entries = [entry for key, value in keys for entry in (key, 0, 1, value)]
        tags = {258: (8,), 33550: scale, 33922: tie, 34735: (1, 1, 0, len(keys), *entries)}
        data = partial(hand_made, bytes(SIDE[0] * SIDE[1]), "<", count=1, packing=1, tags=tags)
        yield Variant(f"hand keys {keys} {scale} {tie}", partial(_without_pixels, data))


def _without_pixels(make: Callable[[], bytes]) -> tuple[bytes, None]:
    return make(), None


def _of_bits(name: str, bits: int, order: str, fill: int, count: int, packing: int) -> tuple[bytes, None]:
    values = np.random.default_rng(zlib.crc32(name.encode())).integers(
        0, 2**bits - 1, size=(*SIDE, count), dtype=np.uint64, endpoint=True
    )
    tags = {258: (bits,) * count} | ({266: (fill,)} if fill != 1 else {})
    return hand_made(_packed_rows(values, bits, order, fill), order, count=count, packing=packing, tags=tags), None


def _with_tags(
    name: str, order: str, packing: int, tags: dict[int, tuple[Any, ...]], change: int
) -> tuple[bytes, None]:
    rows = _packed_rows(_values(name, "uint16", 3).transpose(1, 2, 0).astype(np.uint64), 16, order, 1)
    rows = rows + bytes(change) if change >= 0 else rows[:change]
    return hand_made(rows, order, count=3, packing=packing, tags={258: (16,) * 3, **tags}), None


def _packed_rows(values: np.ndarray, bits: int, order: str, fill: int) -> bytes:
    """(H, W, C) as rows of samples that follow each other without gaps; whole bytes in the file's byte order."""
    if bits in (8, 16, 32):
        data = values.astype(f"{order}u{bits // 8}").tobytes()
    else:
        places = np.arange(bits - 1, -1, -1, dtype=np.uint64)
        rows = ((values[..., None] >> places) & np.uint64(1)).astype(np.uint8).reshape(len(values), -1)
        data = np.packbits(rows, axis=1).tobytes()
    if fill == 2:
        return np.packbits(np.unpackbits(np.frombuffer(data, np.uint8)).reshape(-1, 8)[:, ::-1], axis=1).tobytes()
    return data


def hand_made(strip: bytes, order: str, *, count: int, packing: int, tags: dict[int, tuple[Any, ...]]) -> bytes:
    """A TIFF of one strip, of the usual tags and these (number -> values; floats become doubles)."""
    stored = zlib.compress(strip) if packing == 8 else strip
    usual = {256: (SIDE[1],), 257: (SIDE[0],), 259: (packing,), 262: (1,), 277: (count,), 278: (SIDE[0],)}
    found = {**usual, 273: (0,), 279: (len(stored),), **tags}
    start, beside, directory = 8 + 2 + 12 * len(found) + 4, b"", struct.pack(order + "H", len(found))
    for tag, values in sorted(found.items()):
        layout = "d" if isinstance(values[0], float) else "I" if max(values) > 65535 or tag in (273, 279) else "H"
        packed = struct.pack(f"{order}{len(values)}{layout}", *values) if tag != 273 else b"STRP"
        where = packed.ljust(4, b"\0")
        if len(packed) > 4:
            where, beside = struct.pack(order + "I", start + len(beside)), beside + packed + bytes(len(packed) % 2)
        directory += struct.pack(order + "HHI", tag, {"H": 3, "I": 4, "d": 12}[layout], len(values)) + where
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", 8)
    data = head + directory + bytes(4) + beside
    return data.replace(b"STRP", struct.pack(order + "I", len(data)), 1) + stored
