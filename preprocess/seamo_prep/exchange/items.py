"""Samples of a store as STAC items in Arrow: record batches in the columns of STAC-GeoParquet 1.0.

Source of the columns: https://radiantearth.github.io/stac-geoparquet-spec/; of their values: STAC 1.1.0 and its
extension Projection 2.0.0. An item needs a place and a date: samples without are counted and left out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from seamo.addresses import join
from seamo.store import format as fmt
from seamo.store.reader import Store
from seamo_prep.exchange.facts import whole_address

STAC_VERSION = "1.1.0"
PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
ZARR, TAR = "application/vnd.zarr; version=3", "application/x-tar"
WHOLE = "store.json"  # the asset that every item has: the store itself; no layer has a dot in its name
_MULTIPOLYGON = b"\x06"  # second byte of a WKB geometry
_NEVER = np.iinfo(np.int64).min
_DATE = pa.timestamp("ms", tz="UTC")
_TEXTS = pa.list_(pa.string())
_BOX = pa.struct([(name, pa.float64()) for name in ("xmin", "ymin", "xmax", "ymax")])
_LINKS = pa.list_(pa.struct([("href", pa.string()), ("rel", pa.string()), ("type", pa.string())]))
_FILE = [("href", pa.string()), ("type", pa.string()), ("roles", _TEXTS)]
_IMAGE = [*_FILE, ("proj:shape", pa.list_(pa.int64())), ("proj:transform", pa.list_(pa.float64()))]


@dataclass(slots=True)
class SeenItems:
    """What a store's items were, once they have been gone through.

    Args:
        items: How many there are.
        left_out: Reason -> samples that are no items.
        no_code: Items whose coordinate system has no code, so that `proj:code` is null.
        first, last: Of their dates, milliseconds since 1970 UTC.
        west, south, east, north: Of their boxes; -180 and 180 where one crosses the antimeridian.
        has_parts: Whether a geometry is a MultiPolygon.
    """

    items: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    no_code: int = 0
    first: int = np.iinfo(np.int64).max
    last: int = _NEVER
    west: float = 180.0
    south: float = 90.0
    east: float = -180.0
    north: float = -90.0
    has_parts: bool = False


def collection_id(store: Store) -> str:
    """Name of a store among collections: data set and build."""
    view = f"-{store.meta.view}" if store.meta.pixels_in else ""
    return f"{store.meta.id}-{store.meta.build}{view}"


def schema_of(stores: Sequence[Store]) -> Any:
    """The Arrow schema of the items of several stores: assets of all of them."""
    names = dict.fromkeys(name for store in stores for name in fmt.stored_ids(store.spec))
    assets = pa.struct([(WHOLE, pa.struct(_FILE)), *((name, pa.struct(_IMAGE)) for name in names)])
    return pa.schema(
        [
            ("type", pa.string()),
            ("stac_version", pa.string()),
            ("stac_extensions", _TEXTS),
            ("id", pa.string()),
            ("geometry", pa.binary()),
            ("bbox", _BOX),
            ("collection", pa.string()),
            ("links", _LINKS),
            ("assets", assets),
            ("datetime", _DATE),
            ("start_datetime", _DATE),
            ("end_datetime", _DATE),
            ("proj:code", pa.string()),
            ("seamo:row", pa.int64()),
            ("seamo:split", pa.string()),
            ("seamo:classes", _TEXTS),
        ]
    )


def items_of(store: Store, schema: Any, seen: SeenItems) -> Iterator[Any]:
    """The items of one store as record batches, in the order of its rows.

    Args:
        store: A store or a view.
        schema: By `schema_of`.
        seen: Filled on the way.

    Raises:
        StoreError: If the index cannot be read.
    """
    spec = store.spec
    layers, varying = fmt.stored_ids(spec), fmt.varying_layers(spec)
    columns = ["key", "split", "label", "footprint", "bbox", "crs", "transform", "readable", "height", "width", "shard"]
    columns += [f"{stack}.time" for stack in spec.stacks] + [f"{layer}.valid" for layer in layers]
    columns += [f"{layer}.{part}" for layer in layers if layer in varying for part in ("bucket", "height", "width")]
    start = 0
    for batch in store.read_batches(columns):
        rows = np.arange(start, start + batch.num_rows)
        start += batch.num_rows
        first, last = _span(batch, spec.stacks)
        is_item = _choose(batch, first, seen)
        if is_item.any():
            kept = batch.filter(pa.array(is_item))
            _look(kept, first[is_item], last[is_item], seen)
            yield _items(store, schema, kept, rows[is_item], (first[is_item], last[is_item]))


def _span(batch: Any, stacks: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last date of each row, milliseconds; `_NEVER` where there is none."""
    first = np.full(batch.num_rows, np.iinfo(np.int64).max)
    last = np.full(batch.num_rows, _NEVER)
    for stack in stacks:
        column = batch.column(f"{stack}.time")
        flat = column.flatten().cast(pa.int64())
        row = pc.list_parent_indices(column).to_numpy()
        there = np.asarray(flat.is_valid().to_numpy(zero_copy_only=False))
        dates = np.asarray(flat.fill_null(0).to_numpy())[there]
        np.minimum.at(first, row[there], dates)
        np.maximum.at(last, row[there], dates)
    return np.where(last == _NEVER, _NEVER, first), last


def _choose(batch: Any, first: NDArray[np.int64], seen: SeenItems) -> NDArray[np.bool_]:
    """Which rows are items; the others are counted, each under the first reason that it has."""
    chosen = np.ones(batch.num_rows, dtype=np.bool_)
    reasons = {
        "not readable": ~_truth(batch.column("readable")),
        "without a georeference": ~_truth(batch.column("footprint").is_valid()),
        "without a date": first == _NEVER,
    }
    for reason, applies in reasons.items():
        count = int((chosen & applies).sum())
        if count:
            seen.left_out[reason] = seen.left_out.get(reason, 0) + count
        chosen &= ~applies
    return chosen


def _truth(column: Any) -> NDArray[np.bool_]:
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.bool_)


def _look(kept: Any, first: NDArray[np.int64], last: NDArray[np.int64], seen: SeenItems) -> None:
    """Add the extent of a batch."""
    seen.items += kept.num_rows
    seen.first, seen.last = min(seen.first, int(first.min())), max(seen.last, int(last.max()))
    west, south, east, north = (_box_side(kept, name) for name in ("xmin", "ymin", "xmax", "ymax"))
    crosses = bool((west > east).any())
    seen.west = min(seen.west, -180.0 if crosses else float(west.min()))
    seen.east = max(seen.east, 180.0 if crosses else float(east.max()))
    seen.south, seen.north = min(seen.south, float(south.min())), max(seen.north, float(north.max()))
    kinds = pc.binary_slice(kept.column("footprint"), 1, 2)
    seen.has_parts |= bool(pc.any(pc.equal(kinds, _MULTIPOLYGON)).as_py())
    seen.no_code += kept.num_rows - int(pc.sum(_has_code(kept.column("crs"))).as_py() or 0)


def _box_side(kept: Any, name: str) -> NDArray[np.float64]:
    return np.asarray(pc.struct_field(kept.column("bbox"), name).to_numpy())


def _has_code(crs: Any) -> Any:
    return pc.fill_null(pc.match_substring_regex(crs, r"^[A-Z]+:[A-Za-z0-9]+$"), False)


def _items(
    store: Store, schema: Any, kept: Any, rows: NDArray[np.int64], span: tuple[NDArray[np.int64], NDArray[np.int64]]
) -> Any:
    num, name = kept.num_rows, collection_id(store)
    first, last = (pa.array(one).cast(pa.int64()).cast(_DATE) for one in span)
    crs = kept.column("crs")
    nothing = pa.nulls(num, pa.string())
    link = [{"href": f"./{name}.json", "rel": "collection", "type": "application/json"}]
    columns = {
        "type": _same("Feature", pa.string(), num),
        "stac_version": _same(STAC_VERSION, pa.string(), num),
        "stac_extensions": _same([PROJECTION], _TEXTS, num),
        "id": kept.column("key"),
        "geometry": kept.column("footprint"),
        "bbox": kept.column("bbox").cast(_BOX),
        "collection": _same(name, pa.string(), num),
        "links": _same(link, _LINKS, num),
        "assets": _assets(store, schema.field("assets").type, kept),
        "datetime": pc.if_else(pc.equal(first, last), first, pa.nulls(num, _DATE)),  # several: null, by STAC's rule
        "start_datetime": first,
        "end_datetime": last,
        "proj:code": pc.if_else(_has_code(crs), crs, nothing),
        "seamo:row": pa.array(rows),
        "seamo:split": pc.if_else(pc.equal(kept.column("split"), ""), nothing, kept.column("split")),
        "seamo:classes": _class_names(store, kept.column("label")),
    }
    return pa.record_batch([columns[one] for one in schema.names], schema=schema)


def _same(value: Any, kind: Any, num: int) -> Any:
    return pa.repeat(pa.scalar(value, kind), num)


def _class_names(store: Store, label: Any) -> Any:
    """Names of each sample's classes; null without a label, and where labels are masks."""
    if fmt.label_kind(store.spec) not in ("id", "set"):
        return pa.nulls(len(label), _TEXTS)
    names = pa.array(store.spec.label_space().names, pa.string())
    is_null = label.is_null()
    if pa.types.is_list(label.type):
        counts, ids = pc.fill_null(pc.list_value_length(label), 0).to_numpy(), label.flatten()
    else:
        counts, ids = (~_truth(is_null)).astype(np.int64), label.drop_null()
    offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32())
    return pa.ListArray.from_arrays(offsets, names.take(ids), mask=is_null)


def _assets(store: Store, kind: Any, kept: Any) -> Any:
    own = set(fmt.stored_ids(store.spec))
    columns = []
    for one in kind:
        if one.name == WHOLE:
            href = join(whole_address(store.url), fmt.META_NAME)
            same = {"href": href, "type": "application/json", "roles": ["metadata"]}
            columns.append(_same(same, one.type, kept.num_rows))
        elif one.name in own:
            columns.append(_image(store, one.name, one.type, kept))
        else:
            columns.append(pa.nulls(kept.num_rows, one.type))
    return pa.StructArray.from_arrays(columns, fields=list(kind))


def _image(store: Store, layer: str, kind: Any, kept: Any) -> Any:
    """The asset of one layer; null where a sample does not have it."""
    num, is_mask = kept.num_rows, layer == fmt.LABEL
    height, width = (np.asarray(kept.column(name).to_numpy(), dtype=np.int64) for name in ("height", "width"))
    grid = fmt.finest_layer(store.spec) if is_mask else store.spec.layer(layer)
    if layer in fmt.varying_layers(store.spec):
        rows, cols = (np.asarray(kept.column(f"{layer}.{side}").to_numpy()) for side in ("height", "width"))
    else:
        rows, cols = (np.full(num, side) for side in grid.size or (0, 0))
    shape = np.stack([rows, cols], axis=1).astype(np.int64)
    finest = np.asarray(kept.column("transform").flatten().to_numpy()).reshape(num, 6)
    # Pixels of a coarser layer start at the same corner and are larger: as many of them make the same side.
    across, down = width / np.maximum(shape[:, 1], 1), height / np.maximum(shape[:, 0], 1)
    one = np.ones(num)
    steps = finest * np.stack([across, down, one, across, down, one], axis=1)
    values = {
        "href": _hrefs(store, layer, kept),
        "type": _same(TAR if store.meta.layout == "webdataset" else ZARR, pa.string(), num),
        "roles": _same(["labels"] if is_mask else ["data"], _TEXTS, num),
        "proj:shape": _lists(shape),
        "proj:transform": _lists(steps),
    }
    absent = pc.invert(kept.column(f"{layer}.valid"))
    return pa.StructArray.from_arrays([values[part.name] for part in kind], fields=list(kind), mask=absent)


def _hrefs(store: Store, layer: str, kept: Any) -> Any:
    """The shard file of a tar; of zarr the array, of which the sample is row `seamo:row`."""
    pixels = whole_address(store.pixels_url)
    if store.meta.layout == "webdataset":
        number = np.asarray(kept.column("shard").to_numpy())
        name = {int(k): fmt.shard_file("webdataset", int(k)) for k in np.unique(number)}
    else:
        is_varying = layer in fmt.varying_layers(store.spec)
        number = np.asarray(kept.column(f"{layer}.bucket").to_numpy()) if is_varying else np.zeros(kept.num_rows)
        name = {int(k): f"{fmt.ZARR_NAME}/{fmt.array_name(layer, int(k))}" for k in np.unique(number)}
    _, place = np.unique(number, return_inverse=True)
    return pa.array([join(pixels, name[k]) for k in sorted(name)], pa.string()).take(pa.array(place))


def _lists(values: NDArray[Any]) -> Any:
    """(N, K) numbers as an Arrow list array."""
    offsets = np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values.reshape(-1)))
