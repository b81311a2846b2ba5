"""Where a backbone was pretrained: footprints from a list, or from the very store; else that it is not known."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seamo.addresses import join
from seamo.errors import StoreError, UsageError
from seamo.identity import file_sha256
from seamo.store.check import differing_files
from seamo.store.placelist import Footprints, footprints_of, read_footprints
from seamo.store.reader import Store, open_store
from seamo.store.roots import dataset_ids, store_urls
from seamo_bench.board.overlap import Origin, SeenData
from seamo_bench.card import BackboneCard, owner_of
from seamo_bench.questions.corpora import corpus_of
from seamo_bench.records.record import Record
from seamo_bench.tasks.stores import find_build
from seamo_bench.zoo.catalogue import cards, find_card

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
        digests: Name of a list that was read -> the first digits of its sha256.
    """

    root: Path
    lists: Path | None = None
    named: Mapping[str, str] = field(default_factory=dict)
    read: dict[tuple[str, ...], SeenPlaces] = field(default_factory=dict)
    opened: list[Store] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)


def seen_by(shelf: SeenShelf, record: Record) -> tuple[SeenPlaces, ...]:
    """What the backbone of a record was pretrained on; empty if its card says that it has learnt nothing.

    Where a card is here, it alone decides: what a record tells beside its facts is in no key, so anybody may have
    written it. Without one, the record is believed which store it was pretrained on, and that is said; that it is a
    floor, it is not.

    Raises:
        UsageError: If a list is none.
    """
    name = record.facts.backbone.id
    card = _card_of(shelf, name)
    if card is not None and card.availability == "none needed":
        if record.facts.backbone.weights:
            return (_unknown(name, "it began from weights, and what those saw is not known"),)
        return ()
    told = record.about.pretraining if card is None else dict(card.pretraining)
    own = _own_store(shelf, name, told, "" if card is not None else "; by the word of its record, its card is not here")
    if own is not None:
        return (own,)
    if card is None:
        fix = "is no listed backbone, and the store that it was pretrained on is not here: name its run by --backbones"
        return (_unknown(name, fix),)
    if not card.pretrained_on:
        return (_unknown(name, "its card does not say what it was pretrained on"),)
    return tuple(_of_corpus(shelf, one, is_ours=_CONTENT in told) for one in card.pretrained_on)


def _card_of(shelf: SeenShelf, name: str) -> BackboneCard | None:
    """The listed card (quirks unsee nothing), or that of a run that was named."""
    if owner_of(name) in cards():
        return find_card(owner_of(name)).card
    return find_card(shelf.named[name]).card if name in shelf.named else None


def _unknown(name: str, note: str) -> SeenPlaces:
    return SeenPlaces(SeenData(id=name, origin="unknown", note=note))


def _own_store(shelf: SeenShelf, name: str, told: Mapping[str, str], whose: str) -> SeenPlaces | None:
    """The very store that a run of ours was pretrained on, by its content, and the split of it that was used.

    Args:
        shelf: Where stores are.
        name: Of the run.
        told: Of its pretraining.
        whose: Word that is, for the note.
    """
    if _CONTENT not in told:
        return None
    try:
        content, split = json.loads(told[_CONTENT]), json.loads(told.get(_SPLIT, '"all"'))
    except (ValueError, RecursionError):
        return _unknown(name, "what it says of its pretraining cannot be read")
    known = ("content", str(content), str(split), whose)
    if known not in shelf.read:
        same = [one for one in _stores(shelf) if one.content == content]
        if not same:
            return None
        store = next((one for one in same if not _damage(one)), None)
        if store is None:
            return _unknown(name, f"{same[0].title} is damaged: {_damage(same[0])}")
        if split not in ("all", *filter(None, store.meta.counts.splits)):
            return _unknown(name, f"{store.title} has no split {split}")
        shelf.read[known] = _of_store(store, store.spec.id, str(split), store.rows(str(split)), whose)
    return shelf.read[known]


def _damage(store: Store) -> str:
    """What is wrong with the files of a store that places are read from; empty if nothing is."""
    wrong = next(differing_files(store), None)
    return f"{wrong.where} {wrong.what}" if wrong is not None else ""


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


def _of_store(store: Store, name: str, split: str, rows: NDArray[np.int64], whose: str = "") -> SeenPlaces:
    found, _ = footprints_of(store, rows)
    if not len(found):
        return _unknown(name, f"no sample of {store.title} has a place")
    return _known(name, "store", found, store.title + ("" if split == "all" else f", split {split}") + whose)


def _known(name: str, origin: Origin, found: Footprints, note: str) -> SeenPlaces:
    if found.unplaced:
        note += f"; {found.unplaced:,} of {len(found) + found.unplaced:,} images have no place"
    facts = SeenData(
        id=name, origin=origin, footprints=len(found), dated=found.num_dated, unplaced=found.unplaced, note=note
    )
    return SeenPlaces(facts, found)


def _of_corpus(shelf: SeenShelf, name: str, *, is_ours: bool) -> SeenPlaces:
    known = ("corpus", name, str(is_ours))  # a run of ours saw its own store of it, not the published data
    if known not in shelf.read:
        shelf.read[known] = _listed(shelf, name) or _elsewhere(shelf, name, is_ours=is_ours)
    return shelf.read[known]


def _listed(shelf: SeenShelf, name: str) -> SeenPlaces | None:
    if shelf.lists is None:
        return None
    for end in ("parquet", "csv"):
        path = shelf.lists / f"{name}.{end}"
        if path.is_file():
            found = read_footprints(path)
            if not len(found):
                raise UsageError("holds no footprint", str(path), "Leave the file out: its places are then unknown.")
            shelf.digests[path.name] = file_sha256(path)[:16]
            return _known(name, "list", found, path.name)
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
        if damage := _damage(store):
            return _unknown(name, f"the store of {dataset} here is damaged: {damage}")
        # Those that could not be read here may have been seen all the same.
        return _of_store(store, name, "all", np.arange(len(store)))
    return _unknown(name, f"no list {name}.parquet and no store of it here; {known.where}")
