"""Damaged copies of small real files, for every reader of bytes from outside: read, or refused with one of our errors.

An input is named by its reader and a number, from which it is made again:

    python -m tests.prep.fuzz READER FIRST COUNT    # prints what is foreign; a crash leaves the number behind
"""

import gzip
import io
import itertools
import json
import sys
import tarfile
import tempfile
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numcodecs
import numpy as np
import pandas as pd
import pyarrow
import rasterio
from rasterio.io import MemoryFile

from seamo.errors import SeamoError
from seamo.manifest import shipped_manifest
from seamo_prep.archives.bigearthnet_v2 import read_table
from seamo_prep.containers import Joined
from seamo_prep.packed import open_container
from seamo_prep.rasters import decode_tiff
from seamo_prep.splits import official_lists
from seamo_prep.tiff import write_tiff
from seamo_prep.torchfile import open_tensors, write_tensors
from seamo_prep.unpack import SYNTHETIC, Raw
from seamo_prep.zarr2 import ZarrGroup, dates_of, open_zip, zip_group

_INTEGERS = (
    0,
    1,
    2,
    7,
    127,
    128,
    255,
    256,
    32767,
    32768,
    65535,
    65536,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**63 - 1,
    2**64 - 1,
)
_FOLDER = Path(tempfile.gettempdir())


@dataclass(frozen=True, slots=True)
class Reader:
    """One reader.

    Args:
        seeds: Small sound files.
        read: Reads all of a file; given the bytes and an empty folder.
        wrap: Put around the damaged bytes, where a checksum would stop them at the door.
    """

    seeds: Callable[[], tuple[bytes, ...]]
    read: Callable[[bytes, Path], None]
    wrap: Callable[[bytes], bytes] = bytes


def damaged(seeds: tuple[bytes, ...], rng: np.random.Generator) -> bytes:
    """One seed after one to four changes."""
    data = bytearray(seeds[rng.integers(len(seeds))])
    for _ in range(rng.integers(1, 5)):
        size = len(data)
        if size < 4:
            break
        at = int(rng.integers(size if rng.random() < 0.5 else min(size, 600)))  # headers are in front, or at the end
        at = size - 1 - at if rng.random() < 0.3 else at
        match rng.integers(8):
            case 0:
                data[at] ^= 1 << int(rng.integers(8))
            case 1:
                data[at] = int(rng.integers(256))
            case 2:
                width = int(rng.choice([1, 2, 4, 8]))
                value = _INTEGERS[rng.integers(len(_INTEGERS))] & (256**width - 1)
                data[at : at + width] = value.to_bytes(width, "little" if rng.random() < 0.7 else "big")
            case 3:
                del data[at:]
            case 4:
                del data[at : at + int(rng.integers(1, 600))]
            case 5:
                data[at:at] = data[at : at + int(rng.integers(1, 1200))]
            case 6:
                other = seeds[rng.integers(len(seeds))]
                start = int(rng.integers(len(other)))
                data[at : at + 64] = other[start : start + 64]
            case _:
                digits = b"%d" % _INTEGERS[rng.integers(len(_INTEGERS))]  # numbers in text: JSON, pax, octal sizes
                data[at : at + len(digits)] = digits
    return bytes(data)


def make(name: str, number: int) -> bytes:
    """The input of a number."""
    reader = READERS[name]
    rng = np.random.default_rng([zlib.crc32(name.encode()), number])
    return reader.wrap(damaged(_seeds(name), rng))


@cache
def _seeds(name: str) -> tuple[bytes, ...]:
    return READERS[name].seeds()


def outcome(name: str, data: bytes, folder: Path) -> str:
    """`read`, `refused`, or the foreign exception."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            READERS[name].read(data, folder)
    except SeamoError as error:
        return "refused" if error.what and error.where else f"says not what or where: {error!r}"
    except Exception as error:  # noqa: BLE001 - what is looked for
        return f"{type(error).__module__}.{type(error).__qualname__}: {error}"
    return "read"


def fuzz(name: str, numbers: range, folder: Path) -> Iterator[tuple[int, str, float]]:
    """(number, outcome, seconds) of each input."""
    for number in numbers:
        data = make(name, number)
        start = time.perf_counter()
        yield number, outcome(name, data, folder), time.perf_counter() - start


def _pixels(*shape: int, dtype: str = "uint16") -> np.ndarray:
    return (np.arange(np.prod(shape)).reshape(shape) * 7 % 251).astype(dtype)


def _gdal(**options: object) -> bytes:
    with MemoryFile() as memory:
        with memory.open(driver="GTiff", count=2, height=20, width=24, dtype="uint16", crs="EPSG:32633",
                         transform=rasterio.Affine(10, 0, 3e5, 0, -10, 5e6), **options) as file:  # fmt: skip
            file.write(_pixels(2, 20, 24))
        return bytes(memory.getbuffer())


def _tiffs() -> tuple[bytes, ...]:
    path = _FOLDER / f"seamo-fuzz-{id(_tiffs)}.tif"
    write_tiff(path, _pixels(2, 12, 10), epsg=32633, transform=(10.0, 0.0, 3e5, 0.0, -10.0, 5e6))
    plain = path.read_bytes()
    path.unlink()
    tiles = {"tiled": True, "blockxsize": 16, "blockysize": 16}
    options: tuple[dict[str, object], ...] = (
        {"compress": "deflate", "predictor": 2}, {"compress": "lzw", **tiles}, {"BIGTIFF": "YES", **tiles},
        {"compress": "zstd", "endianness": "big"}, {"nodata": 3, "compress": "packbits", "interleave": "pixel"},
        {"compress": "lerc"}, {"compress": "lzma", "blockysize": 4}, {"nbits": 12},
    )  # fmt: skip
    return (plain, *(_gdal(**one) for one in options))


def _read_tiff(data: bytes, folder: Path) -> None:
    del folder
    decode_tiff(data, "x.tif")


_MEMBERS = {"top/a/1.tif": b"one", "top/a/2.tif": bytes(range(256)) * 9, "top/b/3.json": b"{}", "top/b/none": b""}


def _zips() -> tuple[bytes, ...]:
    found = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        sink = io.BytesIO()
        with zipfile.ZipFile(sink, "w", method) as file:
            for name, data in _MEMBERS.items():
                with file.open(name, "w", force_zip64=name.endswith("json")) as member:
                    member.write(data)
            link = zipfile.ZipInfo("top/link")
            link.external_attr = 0o120777 << 16
            file.writestr(link, "a/1.tif")
        found.append(sink.getvalue())
    return tuple(found)


def _tars() -> tuple[bytes, ...]:
    found = []
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        sink = io.BytesIO()
        with tarfile.open(fileobj=sink, mode="w", format=form) as file:
            for name, data in _MEMBERS.items():
                info = tarfile.TarInfo(name if form == tarfile.USTAR_FORMAT else f"{name}/{'long' * 40}/{name}")
                info.size = len(data)
                file.addfile(info, io.BytesIO(data))
            for kind in (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.GNUTYPE_SPARSE):
                info = tarfile.TarInfo(f"top/{ord(kind)}")
                info.type, info.linkname = kind, "top/a/1.tif"
                file.addfile(info)
            end = file.offset + 1024  # of the zeros that follow, two blocks are the mark of the end
        found.append(sink.getvalue()[:end])
    sparse = tarfile.TarInfo("top/GNUSparseFile.0/x")
    sparse.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "top/x", "size": "3"}
    return (*found, found[0] + found[1], sparse.tobuf(tarfile.PAX_FORMAT) + bytes(1536))


def _read_archive(ending: str) -> Callable[[bytes, Path], None]:
    def read(data: bytes, folder: Path) -> None:
        path = folder / f"x{ending}"
        path.write_bytes(data)
        archive = open_container(Joined((path,)), path.name)
        for name in list(archive.names()):
            archive.read(name)
        list(archive.left_out())
        archive.list_dir("top")

    return read


def _zstd(data: bytes) -> bytes:
    return bytes(pyarrow.compress(data, "zstd", asbytes=True))


def _tensors() -> tuple[bytes, ...]:
    path = _FOLDER / f"seamo-fuzz-{id(_tensors)}.pt"
    write_tensors(
        path, {"a": _pixels(2, 3, 4, dtype="uint8"), "b": _pixels(5, dtype="float32"), "c": _pixels(0, dtype="int64")}
    )
    data = path.read_bytes()
    path.unlink()
    with zipfile.ZipFile(io.BytesIO(data)) as file:  # and its pickle alone, which `_read_pickle` puts back
        return data, file.read(next(one for one in file.namelist() if one.endswith("data.pkl")))


def _read_tensors(data: bytes, folder: Path) -> None:
    path = folder / "x.pt"
    path.write_bytes(data)
    for one in open_tensors(path).values():
        np.array(one)


def _read_pickle(data: bytes, folder: Path) -> None:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as file:
        for name, member in {"data.pkl": data, "data/0": bytes(24), "data/1": bytes(20), "data/2": b""}.items():
            file.writestr(zipfile.ZipInfo(f"x/{name}"), member)
    _read_tensors(sink.getvalue(), folder)


def _variables() -> Mapping[str, tuple[tuple[str, ...], np.ndarray, Mapping[str, object]]]:
    times = {"units": "seconds since 1970-01-01"}
    return {
        "bands": (("time", "band", "y", "x"), _pixels(2, 3, 8, 8), {}),
        "band": (("band",), np.array(["B2", "B3", "B4"]), {}),
        "time": (("time",), np.array([1, 2]), times),
    }


def _groups() -> tuple[bytes, ...]:
    return zip_group(_variables(), split_first=True), zip_group(_variables(), split_first=False)


def _read_group(group: ZarrGroup) -> None:
    for name in ("bands", "band", "time"):
        array = group.find(name)
        if array is not None:
            array.read()
            array.read(0)
            if name == "time":
                dates_of(array)


def _read_zarr_zip(data: bytes, folder: Path) -> None:
    del folder
    _read_group(open_zip(io.BytesIO(data), "x.zarr.zip"))


def _metadata() -> tuple[bytes, ...]:
    """An array of one chunk in the codecs that are on the list: its metadata, an empty line, the chunk."""
    codecs = (None, *({"id": one} for one in _CODECS[:-1]))
    filters: tuple[list[dict[str, object]], ...] = (
        [], [{"id": "delta", "dtype": "<u2", "astype": "<u2"}], [{"id": "shuffle", "elementsize": 2}],
        [{"id": "fixedscaleoffset", "scale": 2, "offset": 1, "dtype": "<u2", "astype": "<u4"}],
    )  # fmt: skip
    base = {"shape": [2, 6], "chunks": [2, 6], "dtype": "<u2", "fill_value": 0, "order": "C", "zarr_format": 2}
    found = []
    for codec, steps in itertools.product(codecs, filters):
        chunk: object = _pixels(2, 6)
        for step in (*steps, *([codec] if codec else [])):
            chunk = numcodecs.get_codec(dict(step)).encode(chunk)
        meta = {**base, "compressor": codec, "filters": steps or None}
        found.append(json.dumps(meta).encode() + b"\n\n" + np.ascontiguousarray(chunk).tobytes())
    return tuple(found)


def _read_metadata(data: bytes, folder: Path) -> None:
    del folder
    meta, _, chunk = data.partition(b"\n\n")
    array = ZarrGroup({".zgroup": b'{"zarr_format": 2}', "x/.zarray": meta, "x/0.0": chunk}.get, "x.zarr").array("x")
    array.read()
    array.read(0)


def _chunks() -> tuple[bytes, ...]:
    """Chunks in every codec, with a first byte that says in which."""
    plain = _pixels(2, 6).tobytes()
    found = [numcodecs.get_codec({"id": one}).encode(plain) for one in _CODECS[:-1]]
    texts = numcodecs.VLenUTF8().encode(np.array(["one", "", "zwei"] * 4, dtype=object))
    return tuple(bytes([number]) + bytes(one) for number, one in enumerate((*found, texts)))


_CODECS = ("blosc", "zstd", "zlib", "gzip", "bz2", "lzma", "lz4", "vlen-utf8")


def _read_chunk(data: bytes, folder: Path) -> None:
    del folder
    codec = _CODECS[data[0] % len(_CODECS)] if data else "zlib"
    meta: dict[str, object] = {"shape": [2, 6], "chunks": [2, 6], "dtype": "<u2", "fill_value": 0, "order": "C"}
    meta |= {"compressor": {"id": codec}, "filters": None}
    if codec == "vlen-utf8":
        meta |= {"dtype": "|O", "compressor": None, "filters": [{"id": codec}]}
    members = {".zgroup": b'{"zarr_format": 2}', "x/.zarray": json.dumps(meta).encode(), "x/0.0": data[1:]}
    ZarrGroup(members.get, "x.zarr").array("x").read()


def _lists() -> tuple[bytes, ...]:
    return (b"tif/River/River_1.tif   8\ntif/Forest/Forest_2.tif   1\n", b"Forest_1.jpg\r\nForest_3.jpg,2\n\n")


def _read_list(data: bytes, folder: Path) -> None:
    spec = shipped_manifest()["eurosat"]
    (folder / SYNTHETIC).write_text('{"synthetic": true, "what": "x", "sizes": {}}')
    (folder / "EuroSAT_MS").mkdir(exist_ok=True)
    scheme = next(name for name, one in spec.splits.items() if one.files)
    for number, one in enumerate(spec.splits[scheme].files):
        (folder / one.file).write_bytes(data if number == 0 else b"Sea_%d.jpg\n" % number)
    official_lists(Raw(folder, spec), spec, scheme)


def _declared() -> tuple[bytes, ...]:
    return (json.dumps({"synthetic": True, "what": "x", "sizes": {"s2": [48, 48]}}).encode(),)


def _read_declared(data: bytes, folder: Path) -> None:
    (folder / SYNTHETIC).write_bytes(data)
    Raw(folder, shipped_manifest()["eurosat"])


def _parquets() -> tuple[bytes, ...]:
    table = pd.DataFrame({"patch_id": ["a", "b"], "labels": [["x"], ["x", "y"]], "split": ["train", "test"]})
    found = []
    for compression in ("snappy", "zstd", "gzip", None):
        sink = io.BytesIO()
        table.to_parquet(sink, index=False, compression=compression)
        found.append(sink.getvalue())
    return tuple(found)


def _read_parquet(data: bytes, folder: Path) -> None:
    del folder
    read_table(data, "metadata.parquet")


READERS: dict[str, Reader] = {
    "tiff": Reader(_tiffs, _read_tiff),
    "zip": Reader(_zips, _read_archive(".zip")),
    "tar": Reader(_tars, _read_archive(".tar")),
    "tar.gz": Reader(lambda: tuple(gzip.compress(one) for one in _tars()), _read_archive(".tar.gz")),
    "tar in gz": Reader(_tars, _read_archive(".tar.gz"), wrap=lambda data: gzip.compress(data, 1)),
    "tar.zst": Reader(lambda: tuple(_zstd(one) for one in _tars()), _read_archive(".tar.zst")),
    "torch": Reader(lambda: _tensors()[:1], _read_tensors),
    "pickle": Reader(lambda: _tensors()[1:], _read_pickle),
    "zarr.zip": Reader(_groups, _read_zarr_zip),
    "zarray": Reader(_metadata, _read_metadata),
    "chunk": Reader(_chunks, _read_chunk),
    "list": Reader(_lists, _read_list),
    "synthetic": Reader(_declared, _read_declared),
    "parquet": Reader(_parquets, _read_parquet),
}


def main(name: str, first: str, count: str) -> None:
    """Print what is foreign, each kind once, and the slowest input."""
    seen: set[str] = set()
    worst = (0.0, -1)
    with tempfile.TemporaryDirectory() as folder:
        mark = _FOLDER / f"seamo-fuzz-{name}.at"
        for number in range(int(first), int(first) + int(count)):
            mark.write_text(str(number))
            for _, said, seconds in fuzz(name, range(number, number + 1), Path(folder)):
                worst = max(worst, (seconds, number))
                if said not in ("read", "refused") and said[:60] not in seen:
                    seen.add(said[:60])
                    print(f"{name} {number}: {said[:300]}", flush=True)  # noqa: T201
        mark.unlink()
    print(f"{name}: {count} inputs from {first}, {len(seen)} kinds foreign, slowest {worst}")  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
