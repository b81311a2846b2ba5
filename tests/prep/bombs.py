"""Small files that ask for much memory, each beside a sound twin of the same reader.

python -m tests.prep.bombs FOLDER NAME...      # reads the twin, then the bomb: MiB that the bomb took more
"""

import bz2
import gzip
import io
import json
import lzma
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numcodecs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import rasterio
from rasterio.io import MemoryFile

from seamo.errors import SeamoError
from tests.prep.fuzz import READERS
from tests.prep.tiff_variants import hand_made

MIB = 1 << 20
SIZE = 192 * MIB  # three times what a reader may take beyond what was promised
Bomb = tuple[str, bytes, bytes]
"""Reader, sound twin, bomb."""


def zeros(size: int = SIZE) -> Iterator[bytes]:
    return (bytes(MIB) for _ in range(size // MIB))


def deflated(head: bytes = b"", *, wbits: int = 15) -> bytes:
    packer = zlib.compressobj(1, wbits=wbits)
    return b"".join([packer.compress(head), *(packer.compress(one) for one in zeros()), packer.flush()])


def _twin(name: str, number: int = 0) -> bytes:
    reader = READERS[name]
    return reader.wrap(reader.seeds()[number])


def strip() -> Bomb:
    """16 x 16 pixels whose strip inflates to 192 MiB."""
    plain = hand_made(bytes(19 * 23), "<", count=1, packing=8, tags={258: (8,)})
    small, large = zlib.compress(bytes(19 * 23)), deflated()
    start = len(plain) - len(small)
    count = len(small).to_bytes(4, "little")
    at = plain.index(count, 8)
    return "tiff", plain, plain[:at] + len(large).to_bytes(4, "little") + plain[at + 4 : start] + large


def _empty_image(**options: object) -> bytes:
    with MemoryFile() as memory:
        with memory.open(driver="GTiff", dtype="uint8", sparse_ok=True, tiled=True, blockxsize=4096, blockysize=4096,
                         crs="EPSG:32633", transform=rasterio.Affine(10, 0, 0, 0, -10, 0), **options):  # fmt: skip
            pass
        return bytes(memory.getbuffer())


def empty_image() -> Bomb:
    """Some kilobytes that promise 200 bands of 60,000 x 60,000 pixels."""
    return (
        "tiff",
        _twin("tiff", 3),
        _empty_image(width=60000, height=60000, count=200, BIGTIFF="YES", interleave="pixel"),
    )


def large_image() -> Bomb:
    """The same with 190 MiB, which would fit into memory."""
    return "tiff", _twin("tiff", 2), _empty_image(width=14000, height=14000, count=1)


def _zip(data: Iterator[bytes], method: int = zipfile.ZIP_DEFLATED, *, says: int | None = None) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", method, compresslevel=1) as file, file.open("top/a/1.tif", "w") as member:
        for one in data:
            member.write(one)
    found = bytearray(sink.getvalue())
    if says is not None:
        at = found.index(b"PK\1\2")
        found[at + 24 : at + 28] = says.to_bytes(4, "little")
        found[22:26] = says.to_bytes(4, "little")
    return bytes(found)


def member() -> Bomb:
    """A member that says its size."""
    return "zip", _twin("zip", 1), _zip(zeros())


def member_that_lies() -> Bomb:
    """A member that says it has a hundred bytes."""
    return "zip", _twin("zip", 1), _zip(zeros(), says=100)


def member_of_bzip2() -> Bomb:
    """The same by a method that zipfile inflates without a bound."""
    return "zip", _twin("zip", 1), _zip(zeros(), zipfile.ZIP_BZIP2, says=100)


def _tar(parts: list[tuple[str, int]], *, long_name: bool = False) -> Iterator[bytes]:
    for name, size in parts:
        info = tarfile.TarInfo(name)
        info.size, info.type = size, tarfile.GNUTYPE_LONGNAME if long_name else tarfile.REGTYPE
        yield info.tobuf(tarfile.GNU_FORMAT)
        yield from zeros(size) if size >= MIB else iter([bytes(512)])
    yield bytes(1024)


def _gz(chunks: Iterator[bytes]) -> bytes:
    sink = io.BytesIO()
    with gzip.GzipFile(fileobj=sink, mode="wb", compresslevel=1) as file:
        for one in chunks:
            file.write(one)
    return sink.getvalue()


def packed_member() -> Bomb:
    """A tar.gz of one small file, a large one and another small one."""
    return "tar.gz", _twin("tar.gz"), _gz(_tar([("a", 5), ("b", SIZE), ("c", 5)]))


def packed_members() -> Bomb:
    """A tar.gz of many files that are read one after the other."""
    return "tar.gz", _twin("tar.gz"), _gz(_tar([(f"{number}", 2 * MIB) for number in range(SIZE // MIB // 2)]))


def packed_header() -> Bomb:
    """A tar.gz whose first name has 192 MiB."""
    return "tar.gz", _twin("tar.gz"), _gz(_tar([("a", SIZE)], long_name=True))


def zstd_member() -> Bomb:
    """The first in Zstandard."""
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as file:
        for one in _tar([("a", 5), ("b", SIZE), ("c", 5)]):
            file.write(one)
    return "tar.zst", _twin("tar.zst"), sink.getvalue().to_pybytes()


def _chunk(codec: str, encode: Callable[[], bytes]) -> Bomb:
    number = ("blosc", "zstd", "zlib", "gzip", "bz2", "lzma", "lz4").index(codec)
    return "chunk", READERS["chunk"].seeds()[number], bytes([number]) + encode()


def chunk_of_zlib() -> Bomb:
    """A chunk of 24 bytes that inflates to 192 MiB."""
    return _chunk("zlib", deflated)


def chunk_of_gzip() -> Bomb:
    """In gzip."""
    return _chunk("gzip", lambda: deflated(wbits=31))


def chunk_of_zstd() -> Bomb:
    """In Zstandard."""
    return _chunk("zstd", lambda: bytes(numcodecs.Zstd().encode(bytes(SIZE))))


def chunk_of_lz4() -> Bomb:
    """In LZ4."""
    return _chunk("lz4", lambda: bytes(numcodecs.LZ4().encode(bytes(SIZE))))


def chunk_of_blosc() -> Bomb:
    """In blosc."""
    return _chunk("blosc", lambda: bytes(numcodecs.Blosc().encode(np.zeros(SIZE, np.uint8))))


def chunk_of_bz2() -> Bomb:
    """In bzip2."""
    return _chunk("bz2", lambda: bz2.compress(bytes(SIZE)))


def chunk_of_lzma() -> Bomb:
    """In LZMA, whose decoder is also asked for a dictionary of 1 GiB."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 30}]
    packer = lzma.LZMACompressor(filters=[{"id": lzma.FILTER_LZMA2, "preset": 0}])
    del filters
    return _chunk("lzma", lambda: b"".join([*(packer.compress(one) for one in zeros()), packer.flush()]))


def shape_without_chunks() -> Bomb:
    """An array of 2 TB without a chunk."""
    meta = {"shape": [10**6, 10**6], "chunks": [1000, 1000], "dtype": "<u2", "fill_value": 3, "order": "C",
            "compressor": None, "filters": None}  # fmt: skip
    return "zarray", _twin("zarray"), json.dumps(meta).encode() + b"\n\n"


def list_of_names() -> Bomb:
    """A split list in gzip."""
    return "list.gz", gzip.compress(b"River_1.jpg\n"), deflated(b"River_1.jpg\n", wbits=31)


def rows() -> Bomb:
    """A parquet file of many equal rows."""
    table = pa.table(
        {"patch_id": pa.array(["x" * 60]).take(pa.array(np.zeros(4_000_000, np.int64))).dictionary_encode()}
    )
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return "parquet", _twin("parquet"), sink.getvalue()


def pickle_of_torch() -> Bomb:
    """A torch file whose description inflates to 192 MiB and says it has a hundred bytes."""
    data = _zip(zeros(), says=100).replace(b"top/a/1.tif", b"xx/data.pkl")
    return "torch", _twin("torch"), data


CHEAP = (strip, empty_image, large_image, member, member_that_lies, packed_member, packed_members, packed_header,
         chunk_of_zlib, chunk_of_zstd, shape_without_chunks, list_of_names, pickle_of_torch)  # fmt: skip
DEAR = (member_of_bzip2, zstd_member, chunk_of_gzip, chunk_of_lz4, chunk_of_blosc, chunk_of_bz2, chunk_of_lzma, rows)


def _memory(field: str) -> float:
    """MiB of this process: `VmRSS` now, `VmHWM` at its highest (getrusage also counts the process that started it)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


def _read(name: str, data: bytes, folder: Path) -> str:
    try:
        if name == "list.gz":
            _read_packed_list(data, folder)
        else:
            READERS[name].read(data, folder)
    except SeamoError as error:
        return str(error)
    return "read"


def _read_packed_list(data: bytes, folder: Path) -> None:
    from seamo.manifest import SplitFile, shipped_manifest
    from seamo_prep.splits import _names
    from seamo_prep.unpack import SYNTHETIC, Raw

    (folder / SYNTHETIC).write_text('{"synthetic": true, "what": "x", "sizes": {}}')
    (folder / "EuroSAT_MS").mkdir(exist_ok=True)
    (folder / "names.txt.gz").write_bytes(data)
    one = next(file for scheme in shipped_manifest()["eurosat"].splits.values() for file in scheme.files)
    assert isinstance(one, SplitFile)
    _names(Raw(folder, shipped_manifest()["eurosat"]), one.model_copy(update={"file": "names.txt.gz"}))


def main(folder: Path, names: list[str]) -> None:
    """One line a bomb: its name, MiB, what was said."""
    for name in names:
        reader, twin, bomb = (folder / f"{name}.{part}" for part in ("reader", "twin", "bomb"))
        kind = reader.read_text()
        work = folder / f"{name}.work"
        work.mkdir()
        said = _read(kind, twin.read_bytes(), work)
        assert said == "read", f"the twin of {name}: {said}"
        data = bomb.read_bytes()
        Path("/proc/self/clear_refs").write_text("5")  # the highest begins anew
        before = _memory("VmRSS")
        said = _read(kind, data, work)
        print(json.dumps([name, round(_memory("VmHWM") - before), said]), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
