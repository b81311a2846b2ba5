"""A store in Croissant 1.0 (MLCommons): JSON-LD that says which files there are and what the columns of its index mean.

Source of names and required fields: https://docs.mlcommons.org/croissant/docs/croissant-spec.html, version 1.0.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from seamo.addresses import disk_path, join
from seamo.store import format as fmt
from seamo.store.meta import folds_of
from seamo.store.reader import Store
from seamo_prep.exchange.facts import description_of, stored_numbers, whole_address

VERSION = "http://mlcommons.org/croissant/1.0"
# The context that the specification prescribes.
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{
        name: f"cr:{name}"
        for name in (
            "citeAs", "column", "equivalentProperty", "extract", "field", "fileObject", "fileProperty", "fileSet",
            "format", "includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet",
            "references", "regex", "repeated", "replace", "samplingRate", "separator", "source", "subField",
            "transform",
        )
    },
}  # fmt: skip
_PARQUET = "application/x-parquet"  # of the specification's examples; mlcroissant reads no other name of it
_MEANINGS = {
    "key": "Name of the sample.",
    "split": "Split; empty for samples of no split and for unreadable ones.",
    "dominant": "Most frequent class of the mask; null if all is ignored.",
    "time": "Earliest date of the sample, UTC.",
    "scene": "What the sample was cut from.",
    "country": "Country, as the archive names it.",
    "y0": "Row of the upper left pixel within the scene, of the finest grid.",
    "x0": "Column of the upper left pixel within the scene, of the finest grid.",
    "height": "Height in pixels of the finest grid.",
    "width": "Width in pixels of the finest grid.",
    "shard": "Number of the shard.",
    "crs": "Coordinate system of `transform`.",
    "transform": "Finest grid: x = a*col + b*row + c, y = d*col + e*row + f.",
    "readable": "Whether the sample could be read when the store was built.",
}
_OF_LAYERS = {
    "offset": "First byte of layer {layer} in its shard file.",
    "length": "Bytes of layer {layer} there; 0 if it is not stored.",
    "crc32c": "Checksum of these bytes.",
    "valid": "Whether the sample has layer {layer}.",
    "bucket": "Side to which layer {layer} is padded.",
    "height": "True height of layer {layer} in pixels.",
    "width": "True width of layer {layer} in pixels.",
}


def croissant(store: Store, beside: Path | None = None) -> dict[str, Any]:
    """The description of one store.

    Args:
        store: A store or a view.
        beside: Folder in which the description will lie. If the store is this folder or below it, files are named
            relative to it, so that all of it can be moved; else by their whole addresses.

    Returns:
        JSON-LD as plain data. What the store does not say is not in it.

    Example:
        >>> from seamo.testing.stores import tiny_store
        >>> croissant(tiny_store())["name"]
        'Tiny synthetic (12 samples)'
    """
    meta, spec = store.meta, store.spec
    facts: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": VERSION,
        "name": store.title,
        "alternateName": f"{meta.id}-{meta.build}" + (f"-{meta.view}" if meta.pixels_in else ""),
        "description": description_of(store),
        "license": spec.licence,
        "citeAs": spec.citation.strip(),
        "url": spec.homepage,
        "dateCreated": meta.created,
        "keywords": ["remote sensing", *dict.fromkeys(layer.sensor for layer in spec.layers), spec.task.kind],
        "isLiveDataset": False,
        "distribution": _files(store, beside),
        "recordSet": [_index(store), _bands(store), *_classes(store)],
    }
    return {name: value for name, value in facts.items() if value != ""}


def croissant_bytes(store: Store, beside: Path | None = None) -> bytes:
    """`croissant` as the bytes of a file: the same for the same store."""
    return (json.dumps(croissant(store, beside), indent=1) + "\n").encode()


def _files(store: Store, beside: Path | None) -> list[dict[str, Any]]:
    own = _address(store.url, beside)
    pixels = _address(store.pixels_url, beside)
    sealed = {name: (one.bytes, one.sha256) for name, one in store.read_manifest().items()}
    for name in (fmt.META_NAME, fmt.CHECKSUMS_NAME):  # which vouch for the rest, and stand in no list themselves
        data = store.read_file(name)
        sealed[name] = len(data), hashlib.sha256(data).hexdigest()
    said = {
        fmt.META_NAME: "What the store says of itself: layers, units, labels, splits, statistics, licence.",
        fmt.INDEX_NAME: "GeoParquet, one row a sample.",
        fmt.MOMENTS_NAME: "Statistics of every sample.",
        fmt.CHECKSUMS_NAME: "Size and sha256 of every other file, those of the pixels too.",
        fmt.LEDGER_NAME: "What could not be read or was left out, with the reason.",
    }
    objects = [
        {
            "@type": "cr:FileObject",
            "@id": name,
            "name": name,
            "description": text,
            "contentUrl": join(own, name) if own else name,
            "contentSize": f"{sealed[name][0]} B",
            "encodingFormat": _PARQUET if name.endswith(".parquet") else "application/json",
            "sha256": sealed[name][1],
        }
        for name, text in said.items()
        if name in sealed
    ]
    is_tar = store.meta.layout == "webdataset"
    below = f"{fmt.TAR_FOLDER}/*.tar" if is_tar else f"{fmt.ZARR_NAME}/**"
    kind = "TAR files of the webdataset layout" if is_tar else "Zarr v3 group, an array a layer"
    pixel_set = {
        "@type": "cr:FileSet",
        "@id": "pixels",
        "name": "pixels",
        "description": f"{kind}; sizes and sha256 stand in {fmt.CHECKSUMS_NAME}.",
        "encodingFormat": "application/x-tar" if is_tar else "application/vnd.zarr",
        "includes": f"{pixels}/{below}" if pixels else below,
    }
    return [*objects, pixel_set]


def _address(url: str, beside: Path | None) -> str:
    """Of a store: relative to the description where it lies below it, empty if it is the same folder."""
    path = disk_path(url)
    if path is None or beside is None:
        return whole_address(url)
    folder = beside.resolve()
    if not path.resolve().is_relative_to(folder):
        return whole_address(url)
    found = path.resolve().relative_to(folder).as_posix()
    return "" if found == "." else found


def _index(store: Store) -> dict[str, Any]:
    folds = folds_of(store.index_schema.names)
    fields = []
    for column in store.index_schema:
        repeated = pa.types.is_list(column.type)
        kind = _data_type(column.type.value_type if repeated else column.type)
        if kind is None:  # geometry, its box and digests are bytes and structures: GeoParquet says what they are
            continue
        said = f"Fold in repetition {column.name[4:]}." if column.name in folds else _meaning(store, column.name)
        name = f"index/{column.name}"
        fields.append(
            {
                "@type": "cr:Field",
                "@id": name,
                "name": name,
                "description": said,
                "dataType": ["sc:Text", "cr:Split"] if column.name == "split" else kind,
                **({"repeated": True} if repeated else {}),
                "source": {"fileObject": {"@id": fmt.INDEX_NAME}, "extract": {"column": column.name}},
            }
        )
    return {
        "@type": "cr:RecordSet",
        "@id": "index",
        "name": "index",
        "description": f"One record a sample: {len(store):,}.",
        "key": {"@id": "index/key"},
        "field": fields,
    }


def _meaning(store: Store, column: str) -> str:
    if column == "label":
        space = store.spec.task.label_space
        return f"Class id of label space {space} (record set `classes`)." if space else "No labels."
    layer, _, part = column.rpartition(".")
    if part == "time" and layer:
        return f"All dates of {layer} in slot order, UTC; null where there is none."
    return _OF_LAYERS[part].format(layer=layer) if layer else _MEANINGS.get(column, column)


def _data_type(kind: Any) -> str | None:
    known: list[tuple[Any, str]] = [
        (pa.types.is_string, "sc:Text"),
        (pa.types.is_integer, "sc:Integer"),
        (pa.types.is_floating, "sc:Float"),
        (pa.types.is_boolean, "sc:Boolean"),
        (pa.types.is_timestamp, "sc:DateTime"),
    ]
    return next((name for matches, name in known if matches(kind)), None)


def _bands(store: Store) -> dict[str, Any]:
    rows = []
    for layer in store.spec.layers:
        stored = stored_numbers(store, layer)
        for position, band in enumerate(layer.bands):
            spectrum = store.meta.bands[layer.id][band]
            row = {
                "layer": layer.id,
                "position": position,
                "sensor": layer.sensor,
                "product": layer.product,
                "band": band,
                "gsd_m": layer.gsd_m,
                "unit": str(layer.unit),
                "dtype": stored.dtype,
                # The format has no properties for these: columns of ours, where a layer is packed.
                "scale": stored.scale,
                "offset": stored.offset,
                "missing": None if stored.scale is None else stored.missing,
                "dates": layer.times,
                "wavelength_nm": spectrum.wavelength_nm,
                "width_nm": spectrum.width_nm,
            }
            rows.append(row)
    kinds = dict.fromkeys(("position", "dates", "missing"), "sc:Integer") | dict.fromkeys(
        ("gsd_m", "scale", "offset", "wavelength_nm", "width_nm"), "sc:Float"
    )
    names = [name for name in rows[0] if any(row[name] not in (None, "") for row in rows)]
    return _inline(
        "bands", "One record a band, in stored order.", {name: kinds.get(name, "sc:Text") for name in names}, rows
    )


def _classes(store: Store) -> list[dict[str, Any]]:
    if not store.spec.task.label_space:
        return []
    space = store.spec.label_space()
    rows = [{"id": i, "name": one.name} for i, one in enumerate(space.classes)]
    found = _inline("classes", "Classes of the labels.", {"id": "sc:Integer", "name": "sc:Text"}, rows)
    return [{**found, "dataType": "sc:Enumeration", "key": {"@id": "classes/id"}}]


def _inline(name: str, what: str, kinds: Mapping[str, str], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """A record set whose records stand in the description."""
    fields = [
        {"@type": "cr:Field", "@id": f"{name}/{one}", "name": f"{name}/{one}", "dataType": kind}
        for one, kind in kinds.items()
    ]
    data = [{f"{name}/{one}": row[one] for one in kinds} for row in rows]  # null too: every record has every field
    return {"@type": "cr:RecordSet", "@id": name, "name": name, "description": what, "field": fields, "data": data}
