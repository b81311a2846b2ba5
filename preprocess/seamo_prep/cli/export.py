"""`seamo-prep export`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from seamo.errors import UsageError
from seamo.options import Json
from seamo.terminal import remark, show


def export(
    place: Annotated[str, typer.Argument(metavar="STORE|ROOT", help="A store or a folder of stores, or its address.")],
    *,
    croissant: Annotated[bool, typer.Option("--croissant", help="One store as Croissant 1.0 (JSON-LD).")] = False,
    stac: Annotated[bool, typer.Option("--stac", help="All samples as STAC-GeoParquet.")] = False,
    footprints: Annotated[
        bool, typer.Option("--footprints", help="One store's places and days, a row a sample.")
    ] = False,
    card: Annotated[bool, typer.Option("--card", help="One store's data card for Hugging Face.")] = False,
    output: Annotated[Path, typer.Option("-o", "--output", help="FILE.json, FILE.parquet or README.md.")],
    json: Json = False,
) -> None:
    """Describe stores in the forms that catalogues and other tools read."""
    if croissant + stac + footprints + card != 1:
        raise UsageError("one form at a time", fix="Say --croissant, --stac, --footprints or --card.")
    if stac:
        rows = _stac(place, output)
    else:
        rows = _footprints(place, output) if footprints else _one(place, output, card=card)
    show(rows, json=json, text=lambda: str(output))


def _footprints(place: str, output: Path) -> list[dict[str, Any]]:
    from dataclasses import replace

    import numpy as np

    from seamo.store.placelist import footprints_of, write_footprints
    from seamo_prep.exchange.facts import one_store_at

    if output.suffix != ".parquet":
        raise UsageError("is no .parquet", str(output), "Footprints are written as Parquet.")
    store = one_store_at(place)
    found, _ = footprints_of(store, np.arange(len(store)))
    if not len(found):
        raise UsageError("no sample has a place, so there is no footprint", store.title)
    if store.meta.subset:  # of one sample at least the place is not known
        missing = max(1, (store.meta.counts.published or 0) - len(store))
        found = replace(found, unplaced=found.unplaced + missing)
    if found.unplaced:
        remark(f"{store.title}: of {found.unplaced:,} samples no place is known, which the list says")
    write_footprints(output, found)
    counts = {"footprints": len(found), "dated": found.num_dated, "unplaced": found.unplaced}
    return [{"id": store.title, "file": str(output), **counts}]


def _one(place: str, output: Path, *, card: bool) -> list[dict[str, Any]]:
    from seamo.disk import write_output
    from seamo_prep.exchange.card import data_card
    from seamo_prep.exchange.croissant import croissant_bytes
    from seamo_prep.exchange.facts import one_store_at

    store = one_store_at(place)
    data = data_card(store).encode() if card else croissant_bytes(store, output.parent)
    write_output(output, data, error=UsageError)
    return [{"id": store.title, "file": str(output), "samples": len(store)}]


def _stac(place: str, output: Path) -> list[dict[str, Any]]:
    from seamo_prep.exchange.facts import stores_at
    from seamo_prep.exchange.stac import write_stac

    seen = write_stac(stores_at(place), output)
    for name, one in seen.items():
        for reason, count in one.left_out.items():
            remark(f"{name}: {count:,} samples left out, {reason}")
        if one.no_code:
            remark(f"{name}: {one.no_code:,} items in a coordinate system without a code: their proj:code is null")
    return [
        {"id": name, "file": str(output), "items": one.items, "left_out": sum(one.left_out.values())}
        for name, one in seen.items()
    ]
