"""A store of a million rows that is made in a minute: its index, moments and seals are whole, its pixels are shared.

Every row has a key, scene, place, footprint, dates, digest and split of its own; labels and pixels are those of fifteen
small samples in turn (synthetic). Every shard is one file under many names, so a million rows take some 300 MB of disk,
nearly all of them index and moments. Digests of pixels are invented: `verify --deep` would say so.
"""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from seamo import stats
from seamo.identity import write_atomically
from seamo.store import format as fmt
from seamo.store.check import read_meaning
from seamo.store.content import pixels_hash
from seamo.store.footprints import ImageGrid, footprints, geo_metadata
from seamo.store.meaning import Meaning, read_moments
from seamo.store.meta import Counts
from seamo.store.moments import moments_bytes
from seamo.store.publish import seal
from seamo.store.reader import Store, open_store
from seamo.store.shards import ABSENT
from seamo.store.table import row_groups, table_bytes
from seamo.store.zarrmeta import write_zarr_metadata
from seamo.testing.stores import TinyTask, tiny_store

PIXELS = 15  # samples whose pixels all rows share: a whole number of rounds of classes (3) and of splits (5)
_PIECE = 65536
_SIDE = 24


def made_store(root: Path, rows: int, task: TinyTask) -> Store:
    """A store of `rows` samples of two layers and two dates, in a root of its own.

    Args:
        root: Of stores.
        rows: How many.
        task: Kind of the labels: `single-label` or `multi-label`.
    """
    small = tiny_store(root / "small", samples=PIXELS, task=task, layers=["s2"])
    per_shard = fmt.rows_per_shard(small.spec, "zarr", rows)
    folder = root / "stores" / small.spec.id / small.meta.build
    keys = [f"S2_T33UUP_20210105T102030_{row:07d}" for row in range(rows)]
    turn = np.arange(rows) % PIXELS
    _write_shards(small, folder, rows, per_shard)
    pieces = [_piece(small, keys, np.arange(start, min(start + _PIECE, rows)), per_shard)
              for start in range(0, rows, _PIECE)]  # fmt: skip
    table = pa.concat_tables(pieces).combine_chunks()
    boxes, polygons = table.column("bbox").slice(0, 1).to_pylist(), table.column("footprint").slice(0, 1).to_pylist()
    table = table.replace_schema_metadata({"geo": geo_metadata(boxes, polygons)})
    dates = np.stack([small.read_times(i)["s2"].astype(np.int64) for i in range(PIXELS)])[turn]
    write_zarr_metadata(folder / fmt.ZARR_NAME, small.spec, codec="lz4", rows_per_shard=per_shard, keys=keys,
                        dates={"s2": dates}, buckets={})  # fmt: skip
    moments = {layer.id: stats.select(read_moments(small).layer(small.spec, layer.id), turn)
               for layer in small.spec.layers}  # fmt: skip
    index = table_bytes(table)
    for name, data in {
        fmt.INDEX_NAME: index,
        fmt.MOMENTS_NAME: moments_bytes(moments, None),
        fmt.LEDGER_NAME: json.dumps([]).encode(),
    }.items():
        write_atomically(folder / name, data)
    told = read_meaning(small)
    meaning = Meaning(
        keys=keys,
        digests=table.column("sha256").to_pylist(),
        labels=[told.labels[i] for i in turn],
        splits=[told.splits[i] for i in turn],
        folds=None,
        readable=np.ones(rows, dtype=np.bool_),
        masks=[None] * rows,
    )
    seal(folder, small.meta.model_copy(update={
        "title": fmt.title_of(small.spec, readable=rows, synthetic=True, subset=False),
        "rows_per_shard": per_shard,
        "num_shards": -(-rows // per_shard),
        "limit": rows,
        "counts": Counts(samples=rows, bad=0, published=None, splits=meaning.split_counts(), without={}),
        "pixels": pixels_hash(small.spec, keys, meaning.digests),
        "content": meaning.content(small.spec),
        "truth": meaning.truth(small.spec),
        "index": row_groups(index),
    }), known={})  # fmt: skip
    return open_store(folder)


def _write_shards(small: Store, folder: Path, rows: int, per_shard: int) -> None:
    """Shards hold the small store's chunks once, and an index in which rows take them in turn; equal ones are links."""
    for layer in small.spec.layers:
        places = [_place(small, i, layer.id) for i in range(PIXELS)]
        source = small.path / fmt.shard_file("zarr", 0, layer.id)
        chunks = source.read_bytes()[: max(offset + length for offset, length, _ in places) + fmt.CRC_BYTES]
        for k in range(-(-rows // per_shard)):
            path = folder / fmt.shard_file("zarr", k, layer.id)
            path.parent.mkdir(parents=True, exist_ok=True)
            here = min(per_shard, rows - k * per_shard)
            if k >= PIXELS and here == per_shard:
                os.link(folder / fmt.shard_file("zarr", k - PIXELS, layer.id), path)
                continue
            table = np.full((per_shard, 2), ABSENT, dtype="<u8")
            for row in range(here):
                offset, length, _ = places[(k * per_shard + row) % PIXELS]
                table[row] = offset, length + fmt.CRC_BYTES
            checksum = np.array(fmt.crc32c(table.tobytes()), dtype="<u4")
            path.write_bytes(chunks + table.tobytes() + checksum.tobytes())


def _place(small: Store, row: int, layer: str) -> tuple[int, int, int]:
    """Offset, length and checksum of a chunk."""
    names = [f"{layer}.{part}" for part in ("offset", "length", "crc32c")]
    offset, length, checksum = (int(number) for number in small.read_index(names).iloc[row])
    return offset, length, checksum


def _piece(small: Store, keys: list[str], rows: NDArray[np.int64], per_shard: int) -> pa.Table:
    """Rows of the index: those of the small store in turn, with what is each row's own in their place."""
    table = small.read_table().take(pa.array(rows % PIXELS))
    names = [keys[row] for row in rows]
    rng = np.random.default_rng(rows[0])
    east, north = 300_000 + rng.integers(0, 40_000, len(rows)) * 10.0, rng.integers(100_000, 900_000, len(rows)) * 10.0
    grids = [(10.0, 0.0, x, 0.0, -10.0, y) for x, y in zip(east.tolist(), north.tolist(), strict=True)]
    boxes, polygons = footprints(
        [ImageGrid(key, "EPSG:32633", grid, _SIDE, _SIDE) for key, grid in zip(names, grids, strict=True)]
    )
    own = {
        "key": names,
        "footprint": polygons,
        "bbox": boxes,
        "scene": [f"scene_{row // 50:05d}" for row in rows],
        "shard": (rows // per_shard).tolist(),
        "transform": grids,
        "sha256": [hashlib.sha256(key.encode()).digest() for key in names],
    }
    for name, values in own.items():
        at = table.schema.get_field_index(name)
        table = table.set_column(at, table.schema.field(name), pa.array(values, table.schema.field(name).type))
    return table
