"""Stores as STAC-GeoParquet: a row a sample, and a collection a store, in the file's metadata and as JSON beside it.

Sources: STAC 1.1.0 (https://github.com/radiantearth/stac-spec), its extensions EO 2.0.0, Raster 2.0.0 and
Scientific 1.0.0, and https://radiantearth.github.io/stac-geoparquet-spec/.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from seamo.bands import COMMON_NAMES
from seamo.disk import held, part_of, publish, write_output
from seamo.errors import StoreError, UsageError
from seamo.licences import spdx_of, terms_of
from seamo.store import format as fmt
from seamo.store.reader import Store
from seamo_prep.exchange.facts import description_of, stored_numbers, whole_address
from seamo_prep.exchange.items import STAC_VERSION, TAR, WHOLE, ZARR, SeenItems, collection_id, items_of, schema_of

EO = "https://stac-extensions.github.io/eo/v2.0.0/schema.json"
RASTER = "https://stac-extensions.github.io/raster/v2.0.0/schema.json"
SCIENTIFIC = "https://stac-extensions.github.io/scientific/v1.0.0/schema.json"
GEOPARQUET = "application/vnd.apache.parquet"
_NOT_OPTICAL = ("s1", "map")  # the extension EO is of optical bands


def write_stac(stores: Sequence[Store], out: Path) -> dict[str, SeenItems]:
    """Write the samples of stores as STAC items, and a collection of each store beside them.

    Args:
        stores: Of different names.
        out: FILE.parquet. Beside it comes `<id>-<build>.json` of every store that has an item.

    Returns:
        Id of the collection -> what became of its samples.

    Raises:
        StoreError: If a store cannot be read, or no sample of them has a place and a date.
        UsageError: If the file cannot be written.
    """
    ids = {collection_id(store): store for store in stores}
    seen = {name: SeenItems() for name in ids}
    part = part_of(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with held(part, folder=False, error=UsageError):
            try:
                collections = _write_items(ids, seen, part, out.name)
                publish(part, out)
            finally:
                part.unlink(missing_ok=True)
    except OSError as cause:
        raise UsageError(f"cannot be written ({cause.strerror})", str(out), "Make room, or choose another.") from cause
    for name, facts in collections.items():
        data = (json.dumps(facts, indent=1) + "\n").encode()
        write_output(out.with_name(f"{name}.json"), data, error=UsageError)
    return seen


def _write_items(
    stores: Mapping[str, Store], seen: Mapping[str, SeenItems], part: Path, file: str
) -> dict[str, dict[str, Any]]:
    schema = schema_of(list(stores.values()))
    # Without Arrow's own copy of the schema, readers take what is known at the end alone for the schema's metadata.
    with pq.ParquetWriter(part, schema, compression="zstd", compression_level=3, store_schema=False) as writer:
        for name, store in stores.items():
            for batch in items_of(store, schema, seen[name]):
                writer.write_batch(batch)
        there = {name: one for name, one in seen.items() if one.items}
        if not there:
            why = "; ".join(sorted({reason for one in seen.values() for reason in one.left_out})) or "no samples"
            fix = "STAC items need a place and a date; `--croissant` describes stores without."
            raise StoreError(f"no sample can be a STAC item ({why})", ", ".join(stores), fix)
        found = {name: collection(stores[name], one, file) for name, one in there.items()}
        stac = {"version": "1.0.0", "collections": found}
        writer.add_key_value_metadata({"geo": _geo(list(there.values())), "stac-geoparquet": json.dumps(stac)})
    return found


def _geo(seen: Sequence[SeenItems]) -> str:
    """The key `geo` of GeoParquet 1.1; without `crs` it is longitude and latitude on WGS84."""
    column = {
        "encoding": "WKB",
        "geometry_types": ["MultiPolygon", "Polygon"] if any(one.has_parts for one in seen) else ["Polygon"],
        "bbox": _box(seen),
        "covering": {"bbox": {name: ["bbox", name] for name in ("xmin", "ymin", "xmax", "ymax")}},
        "edges": "planar",
    }
    return json.dumps({"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}})


def _box(seen: Sequence[SeenItems]) -> list[float]:
    return [
        min(one.west for one in seen),
        min(one.south for one in seen),
        max(one.east for one in seen),
        max(one.north for one in seen),
    ]


def collection(store: Store, seen: SeenItems, file: str) -> dict[str, Any]:
    """The STAC collection of one store.

    Args:
        store: A store or a view.
        seen: Its items, of which there is at least one.
        file: Name of the GeoParquet file beside the collection.
    """
    meta, spec = store.meta, store.spec
    licence = spdx_of(spec.licence)
    terms = terms_of(spec)
    assets = _item_assets(store)
    is_packed = any("raster:scale" in one for one in assets.values())
    facts: dict[str, Any] = {
        "type": "Collection",
        "stac_version": STAC_VERSION,
        "stac_extensions": [EO, *([RASTER] if is_packed else []), SCIENTIFIC],
        "id": collection_id(store),
        "title": store.title,
        "description": description_of(store),
        "license": licence or "other",
        "extent": {
            "spatial": {"bbox": [_box([seen])]},
            "temporal": {"interval": [[_moment(seen.first), _moment(seen.last)]]},
        },
        "links": [{"rel": "about", "href": spec.homepage}] if spec.homepage else [],
        "assets": {
            "items": {
                "href": f"./{file}",
                "type": GEOPARQUET,
                "title": "Items of this collection as STAC-GeoParquet",
                "roles": ["collection-mirror"],
            }
        },
        "item_assets": assets,
        "sci:citation": spec.citation.strip(),
        "seamo:store": whole_address(store.url),
        "seamo:content": meta.content,
        "seamo:licence": terms["licence"],
        "seamo:attribution": terms["attribution"],
        "seamo:redistribution": terms["redistribution"],
        "seamo:synthetic": meta.synthetic is not None,
        "seamo:subset": meta.subset,
        "seamo:samples": meta.counts.samples,
        "seamo:left_out": dict(sorted(seen.left_out.items())),
    }
    return {name: value for name, value in facts.items() if value not in ("", {})}


def _item_assets(store: Store) -> dict[str, dict[str, Any]]:
    media = TAR if store.meta.layout == "webdataset" else ZARR
    found: dict[str, dict[str, Any]] = {
        WHOLE: {
            "title": "The store; `seamo.open_store` opens it by this address",
            "type": "application/json",
            "roles": ["metadata"],
        }
    }
    for layer in store.spec.layers:
        bands = [_band(store, layer.id, name) for name in layer.bands]
        stored = stored_numbers(store, layer)
        found[layer.id] = {
            "title": f"{layer.sensor} {layer.product}".strip(),
            "type": media,
            "roles": ["data"],
            "gsd": layer.gsd_m,
            "data_type": stored.dtype,
            "unit": str(layer.unit),
            **({} if stored.missing is None else {"nodata": stored.missing}),
            **({} if stored.scale is None else {"raster:scale": stored.scale, "raster:offset": stored.offset}),
            "bands": bands,
        }
    if fmt.LABEL in fmt.stored_ids(store.spec):
        found[fmt.LABEL] = {"title": "Mask of class ids", "type": media, "roles": ["labels"], "nodata": fmt.IGNORE_FILL}
    return found


def _band(store: Store, layer: str, name: str) -> dict[str, Any]:
    sensor = store.spec.layer(layer).sensor
    if sensor in _NOT_OPTICAL:
        return {"name": name}
    spectrum = store.meta.bands[layer][name]
    common = {band: said for said, band in COMMON_NAMES.get(sensor, {}).items()}
    facts = {
        "name": name,
        "eo:common_name": common.get(name),
        "eo:center_wavelength": _micrometres(spectrum.wavelength_nm),
        "eo:full_width_half_max": _micrometres(spectrum.width_nm),
    }
    return {key: value for key, value in facts.items() if value is not None}


def _micrometres(nanometres: float | None) -> float | None:
    return None if nanometres is None else round(nanometres / 1000, 6)


def _moment(milliseconds: int) -> str:
    when = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
