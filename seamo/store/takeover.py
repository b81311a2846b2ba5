"""A file of a shard that another builder was first with: where its chunks lie, once they decode to one's own pixels.

Builders with compressors of other versions write other bytes of the same pixels. Who comes second keeps what is there
and tells its offsets, lengths and checksums; a mixture of both would have wrong checksums.
"""

import io
import json
import struct
import tarfile
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from seamo.errors import StoreError
from seamo.store.format import CRC_BYTES, CodecName, array_name, crc32c, decompress, shard_file
from seamo.store.shards import ABSENT, Place
from seamo.store.sidecar import PARSING, ShardJob, Sidecar

At = tuple[int, str]
"""Position within a shard, and layer; `json` of what a tar says about the sample."""

_NO_SHARD = (ValueError, RuntimeError, LookupError, struct.error, tarfile.TarError)
_JSON = "json"


class _Chunk(NamedTuple):
    """A part of a file, and what is said of it beside its bytes."""

    place: Place
    about: Any


def taken_over(job: ShardJob, made: Sidecar, name: str, *, ours: bytes, theirs: bytes) -> dict[At, Place] | None:
    """Where the chunks of one's own shard lie in another builder's file; None if that is no such shard, or damaged.

    Args:
        job: The shard.
        made: What one has made of it.
        name: Of the file, within the store.
        ours: All bytes of one's own.
        theirs: All bytes of the other one.

    Raises:
        StoreError: If it holds other pixels or facts; names shard, sample and layer.
    """
    read = _tar_chunks if job.plan.layout == "webdataset" else _zarr_chunks
    own, codec = dict(read(ours, job, made, name)), job.plan.effective_codec
    try:
        there = dict(read(theirs, job, made, name))
        differs = [
            at
            for at in sorted({*own, *there})
            if at not in own
            or at not in there
            or own[at].about != there[at].about
            or (at[1] != _JSON and not _same(ours, own[at].place, theirs, there[at].place, codec))
        ]
    except _NO_SHARD:
        return None
    if differs:
        position, layer = differs[0]
        where = f"{job.plan.spec.id} shard {job.index} sample {job.keys[position]} layer {layer}"
        fix = "Compare the two archives; `seamo-prep clean ROOT --unfinished` takes away what lies there."
        raise StoreError(f"another builder has put other pixels or facts there ({name})", where, fix)
    return {at: chunk.place for at, chunk in there.items() if at[1] != _JSON}


def _zarr_chunks(data: bytes, job: ShardJob, made: Sidecar, name: str) -> Iterator[tuple[At, _Chunk]]:
    """The chunks of one array's shard, by the index at its end."""
    layer, bucket = next(
        (layer, place.bucket)
        for row in made.rows
        for layer, place in row.places.items()
        if shard_file("zarr", job.index, array_name(layer, place.bucket)) == name
    )
    end = len(data) - CRC_BYTES - 16 * job.rows_per_shard
    index = data[end:-CRC_BYTES]
    table = np.frombuffer(index, dtype="<u8").reshape(job.rows_per_shard, 2)
    if crc32c(index) != struct.unpack("<I", data[-CRC_BYTES:])[0]:
        raise ValueError("the index is damaged")
    for position, (start, length) in enumerate(table.tolist()):
        if start == ABSENT:
            continue
        stop = start + length - CRC_BYTES
        checksum = crc32c(data[start:stop])
        if stop + CRC_BYTES > end or data[stop : stop + CRC_BYTES] != struct.pack("<I", checksum):
            raise ValueError("a chunk is damaged")
        yield (position, layer), _Chunk(Place(start, length - CRC_BYTES, checksum, bucket), None)


def _tar_chunks(data: bytes, _: ShardJob, made: Sidecar, __: str) -> Iterator[tuple[At, _Chunk]]:
    """The pixels in a tar with type and shape, and what it says about each sample."""
    positions = {row.key: i for i, row in enumerate(made.rows)}
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
        for member in tar:
            start, stop = member.offset_data, member.offset_data + member.size
            stem, kind = member.name.rsplit(".", 1)
            if kind == _JSON:
                yield (positions[stem], _JSON), _Chunk(Place(start, member.size, 0), json.loads(data[start:stop]))
                continue
            key, layer = stem.rsplit(".", 1)
            with io.BytesIO(data[start:stop]) as file, PARSING:
                np.lib.format.read_magic(file)
                about = np.lib.format.read_array_header_1_0(file)
                start += file.tell()
            yield (positions[key], layer), _Chunk(Place(start, stop - start, crc32c(data[start:stop])), about)


def _same(ours: bytes, mine: Place, theirs: bytes, other: Place, codec: CodecName) -> bool:
    one = ours[mine.offset : mine.offset + mine.length]
    two = theirs[other.offset : other.offset + other.length]
    if codec == "none" or one == two:
        return one == two
    (size,) = struct.unpack_from("<I", one, 4)  # as blosc's header has it
    if struct.unpack_from("<I", two, 4) != (size,):
        return False
    pixels = np.empty((2, size), dtype=np.uint8)
    decompress(one, codec, pixels[0])
    decompress(two, codec, pixels[1])
    return bool((pixels[0] == pixels[1]).all())
