"""Where a backbone was pretrained: footprints from a list, or from the very store; else that it is not known."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from seamo.addresses import join
from seamo.errors import StoreError, UsageError
from seamo.store.placelist import Footprints, footprints_of, read_footprints
from seamo.store.reader import Store, open_store
from seamo.store.roots import dataset_ids, store_urls
from seamo_bench.board.overlap import SeenData
from seamo_bench.card import owner_of
from seamo_bench.questions.corpora import corpus_of
from seamo_bench.records.record import Record
from seamo_bench.tasks.stores import find_build
from seamo_bench.zoo.catalogue import cards, find_card

_UNLEARNT = ("image statistics", "random init")
_CONTENT, _SPLIT = "pretrained_on.content", "data.split"  # of a SeaMo run, as its records tell them


@dataclass(frozen=True, slots=True, eq=False)
class SeenPlaces:
    """A corpus and its footprints; None where there are none to compare with."""

    corpus: SeenData
    footprints: Footprints | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SeenShelf:
    """Where footprints are looked for, and those that were read.

    Args:
        root: Address of a folder of stores.
        lists: Folder of files named by corpus id; None: there is none.
        named: Backbone id -> the name that it is called by here (a SeaMo run's folder).
    """

    root: Path
    lists: Path | None = None
    named: Mapping[str, str] = field(default_factory=dict)
    read: dict[tuple[str, ...], SeenPlaces] = field(default_factory=dict)
    opened: list[Store] = field(default_factory=list)


def seen_by(shelf: SeenShelf, record: Record) -> tuple[SeenPlaces, ...]:
    """What the backbone of a record was pretrained on; empty if it has learnt nothing from images.

    Raises:
        UsageError: If a list is none.
    """
    if record.about.floor in _UNLEARNT:
        return ()
    own = _own_store(shelf, record)
    if own is not None:
        return (own,)
    name = record.facts.backbone.id
    if name not in shelf.named and owner_of(name) not in cards():
        fix = "is no listed backbone, and the store that it was pretrained on is not here: name its run by --backbones"
        return (_unknown(name, fix),)
    card = find_card(shelf.named.get(name, owner_of(name))).card
    if card.availability == "none needed":
        return ()
    if not card.pretrained_on:
        return (_unknown(name, "its card does not say what it was pretrained on"),)
    is_ours = _CONTENT in record.about.pretraining
    return tuple(_of_corpus(shelf, one, is_ours=is_ours) for one in card.pretrained_on)


def _unknown(name: str, note: str) -> SeenPlaces:
    return SeenPlaces(SeenData(id=name, origin="unknown", note=note))


def _own_store(shelf: SeenShelf, record: Record) -> SeenPlaces | None:
    """The very store that a run of ours was pretrained on, by its content, and the split of it that was used."""
    told = record.about.pretraining
    if _CONTENT not in told:
        return None
    content, split = json.loads(told[_CONTENT]), json.loads(told.get(_SPLIT, '"all"'))
    known = ("content", str(content), str(split))
    if known not in shelf.read:
        store = next((one for one in _stores(shelf) if one.content == content), None)
        if store is None:
            return None
        shelf.read[known] = _of_store(store, store.spec.id, str(split))
    return shelf.read[known]


def _stores(shelf: SeenShelf) -> list[Store]:
    """All stores of the root that can be opened."""
    if not shelf.opened:
        for name in sorted(dataset_ids(shelf.root)):
            for url in store_urls(join(shelf.root, name)):
                try:
                    shelf.opened.append(open_store(url))
                except StoreError:  # a damaged one is no reason not to look at the others
                    continue
    return shelf.opened


def _of_store(store: Store, name: str, split: str) -> SeenPlaces:
    rows = store.rows(split)
    found, placed = footprints_of(store, rows)
    said = [store.title + ("" if split == "all" else f", split {split}")]
    if len(placed) < len(rows):
        said.append(f"{len(rows) - len(placed):,} of {len(rows):,} samples have no place")
    if not len(found):
        return _unknown(name, f"no sample of {store.title} has a place")
    facts = SeenData(id=name, origin="store", footprints=len(found), dated=found.num_dated, note="; ".join(said))
    return SeenPlaces(facts, found)


def _of_corpus(shelf: SeenShelf, name: str, *, is_ours: bool) -> SeenPlaces:
    if ("corpus", name) not in shelf.read:
        shelf.read["corpus", name] = _listed(shelf, name) or _elsewhere(shelf, name, is_ours=is_ours)
    return shelf.read["corpus", name]


def _listed(shelf: SeenShelf, name: str) -> SeenPlaces | None:
    if shelf.lists is None:
        return None
    for end in ("parquet", "csv"):
        path = shelf.lists / f"{name}.{end}"
        if path.is_file():
            found = read_footprints(path)
            if not len(found):
                raise UsageError("holds no footprint", str(path), "Leave the file out: its places are then unknown.")
            facts = SeenData(id=name, origin="list", footprints=len(found), dated=found.num_dated, note=path.name)
            return SeenPlaces(facts, found)
    return None


def _elsewhere(shelf: SeenShelf, name: str, *, is_ours: bool) -> SeenPlaces:
    known = corpus_of(name)
    if known.places == "photographs":
        return SeenPlaces(SeenData(id=name, origin="photographs", note=known.where))
    if is_ours:
        return _unknown(name, "the store that it was pretrained on is not here")
    there = dataset_ids(shelf.root)
    for dataset in (name, *known.stores):
        if dataset not in there:
            continue
        try:
            store = find_build(join(shelf.root, dataset))
        except StoreError as error:
            return _unknown(name, f"{error.what}: its store cannot be chosen or read")
        if store.meta.synthetic is not None or store.meta.subset:
            what = "synthetic" if store.meta.synthetic is not None else "a subset"
            return _unknown(name, f"the store of {dataset} here is {what}: not what it was pretrained on")
        return _of_store(store, name, "all")
    return _unknown(name, f"no list {name}.parquet and no store of it here; {known.where}")
