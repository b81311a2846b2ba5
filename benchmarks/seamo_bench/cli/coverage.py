"""How backbones meet stores, for people: a table of ways, how many cannot, and why."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from seamo.manifest import DatasetSpec, shipped_manifest
from seamo.terminal import table
from seamo_bench.records.reasons import Because, grouped
from seamo_bench.runs.cells import Cell, Planned
from seamo_bench.zoo.catalogue import find_card
from seamo_bench.zoo.meeting import Meeting, is_optical_card, is_optical_spec, meetings

WORDS = {
    "native": "native",
    "8-bit": "8-bit",
    "rgb": "rgb",
    "wavelength": "waves",
    "select": "select",
    "select-columns": "columns",
    "new-tokenizer": "new",
    "cannot": "-",
}
_LEGEND = (
    "native: as it was made to be; 8-bit: the store's bytes; rgb: red, green and blue; waves: any band by its "
    "wavelength;\nselect: the nearest band, within a limit; columns: the input layer without what is missing; new: a "
    "new input layer, only\nwhere the network is trained; -: cannot. All but the first are marked in tables and ranked "
    "apart (docs/coverage.md)."
)


def coverage(cells: Sequence[Cell]) -> dict[tuple[str, str], Meeting]:
    """(backbone, data set) -> how they meet, of every backbone and every single data set of a plan.

    What a store says of itself counts; where there is none yet, the manifest. Weights need not be there.
    """
    specs: dict[str, DatasetSpec] = {}
    for cell in cells:
        if len(cell.row.datasets) == 1:
            (name,) = cell.row.datasets
            known = cell.store.spec if isinstance(cell, Planned) else shipped_manifest().get(name)
            if known is not None and (isinstance(cell, Planned) or name not in specs):
                specs[name] = known
    found = [(name, find_card(name)) for name in dict.fromkeys(cell.backbone for cell in cells)]
    able = [(name, one.card, one.family) for name, one in found if one.card.availability in ("weights", "none needed")]
    return meetings(able, specs)


def coverage_text(met: Mapping[tuple[str, str], Meeting]) -> str:
    """The table, its counts, and why what cannot cannot."""
    names = list(dict.fromkeys(name for name, _ in met))
    places = list(dict.fromkeys(place for _, place in met))
    rows = [[name, *(WORDS.get(met[name, place].way, met[name, place].way) for place in places)] for name in names]
    keys = ", ".join(f"{number} {place}" for number, place in enumerate(places, 1))
    head = ["how they meet", *(str(number) for number in range(1, len(places) + 1))]
    lines = [table(head, rows), keys, _LEGEND, counts(met)]
    refused = [
        Because(one.why, name, place, (place,), (), True) for (name, place), one in met.items() if one.wiring is None
    ]
    if refused:
        lines += ["Cannot:", *grouped(refused)]
    return "\n".join(lines)


def counts(met: Mapping[tuple[str, str], Meeting]) -> str:
    """How many optical backbones with weights meet how many optical stores in which way.

    Floors and random networks are left out: they take any bands.
    """
    specs = shipped_manifest()
    cards = {name: find_card(name).card for name in dict.fromkeys(name for name, _ in met)}
    pairs = [
        one
        for (name, place), one in met.items()
        if place in specs and is_optical_spec(specs[place])
        if cards[name].availability == "weights" and is_optical_card(cards[name])
    ]
    if not pairs:
        return "No pretrained optical backbone, or no optical store, is among them."
    by_way = Counter(one.way for one in pairs)
    told = ", ".join(f"{way} {by_way[way]}" for way in WORDS if by_way[way])
    share = by_way["cannot"] / len(pairs)
    return f"{len(pairs)} pairs of a pretrained optical backbone and an optical store: {told} ({share:.1%} cannot)."


def coverage_rows(met: Mapping[tuple[str, str], Meeting]) -> list[dict[str, Any]]:
    """One plain row a pair, each with an `id`."""
    return [
        {"id": f"{name} | {place}", "backbone": name, "store": place, "way": one.way, "why": one.why}
        for (name, place), one in met.items()
    ]
