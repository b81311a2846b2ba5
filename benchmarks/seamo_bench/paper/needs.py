"""What a printed row of the paper still needs before it can be run for real: store, weights, hours of one GPU."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from seamo.addresses import join
from seamo.errors import StoreError
from seamo.manifest import DatasetSpec, shipped_manifest
from seamo.store.meta import StoreMeta
from seamo.store.reader import open_store
from seamo.store.roots import store_urls
from seamo_bench.card import BackboneCard
from seamo_bench.paper.compute import ABOUT, HOUR
from seamo_bench.paper.identity import SEAMO
from seamo_bench.protocols import find_protocol
from seamo_bench.runs.estimate import GPU, Size, estimate, image_bytes, published_counts
from seamo_bench.suites.published import Published
from seamo_bench.suites.suite import Row, num_seeds, protocol_params
from seamo_bench.zoo.catalogue import cards

_LIKE_SEAMO = "seamo-random"  # the architecture of the paper, whose forward pass costs the same


@dataclass(frozen=True, slots=True)
class Needs:
    """What is missing.

    Args:
        missing: Sentences; empty where nothing but time is.
        gpu_hours: Of the row's recipe with all its seeds and learning rates, at the rate that `plan` states for one
            GPU; None where there is nothing to run, or nobody knows how many samples there are.
    """

    missing: tuple[str, ...]
    gpu_hours: float | None


Builds = Mapping[str, Sequence[StoreMeta | StoreError]]
"""Data set id -> what each of its builds says of itself, or why it cannot be read."""


def builds_there(root: str | Path, ids: Iterable[str]) -> Builds:
    """The builds of some data sets.

    Args:
        root: Folder of stores, or its address.
        ids: Of the data sets.
    """
    found: dict[str, list[StoreMeta | StoreError]] = {}
    for name in ids:
        for url in store_urls(join(root, name)):
            try:
                found.setdefault(name, []).append(open_store(url).meta)
            except StoreError as error:
                found.setdefault(name, []).append(error)
    return found


def needs_of(one: Published, recipe: Row | None, *, builds: Builds, weights: Path | None = None) -> Needs:
    """What one printed row needs.

    Args:
        one: The row.
        recipe: Its row of suite `paper`.
        builds: What is at hand.
        weights: Folder of checkpoint files to look into; None: none is at hand.
    """
    spec = shipped_manifest().get(one.dataset)
    if spec is None or recipe is None:
        return Needs(("a recipe: suite paper has no such row",), None)
    found = cards().get(_LIKE_SEAMO if one.backbone == SEAMO else one.backbone)
    missing = [_weights(one, found.card if found else None, weights), _store(spec, recipe, builds.get(spec.id, ()))]
    hours = None if found is None else _gpu_hours(found.card, recipe, spec)
    return Needs(tuple(text for text in missing if text), hours)


def _weights(one: Published, card: BackboneCard | None, folder: Path | None) -> str:
    if one.backbone == SEAMO:
        return "weights: none of the paper are public; pretrain seamo-base (Table 15) and name the run"
    if card is None:
        return "a network: the paper does not say which one this is"
    if card.availability == "quoted only":
        return "weights: not public"
    if card.availability == "no loader":
        return "weights: public, and nothing here loads them"
    if card.weights is None or (folder is not None and (folder / card.weights.filename).is_file()):
        return ""
    size = "" if card.weights.bytes is None else f", {card.weights.bytes / 1e6:,.0f} MB"
    by_hand = "" if card.weights.urls else ", by hand"
    return f"weights: {card.weights.filename}{size}{by_hand}"


def _store(spec: DatasetSpec, recipe: Row, builds: Sequence[StoreMeta | StoreError]) -> str:
    scheme, seen = recipe.split or spec.default_split, set[str]()
    for meta in builds:
        if isinstance(meta, StoreError):
            seen.add(f"one that cannot be read: {meta.what}")
        elif meta.synthetic is not None or meta.subset:
            seen.add("a synthetic one" if meta.synthetic is not None else "a subset")
        elif meta.split_scheme == scheme:
            return ""
        else:
            seen.add(f"split {meta.split_scheme}")
    there = f" (there: {', '.join(sorted(seen))})" if seen else ""
    return f"store: {spec.id}, real and whole, split {scheme}{there}"


def _gpu_hours(card: BackboneCard, recipe: Row, spec: DatasetSpec) -> float | None:
    protocol = find_protocol(recipe.protocol)
    counts: Mapping[str, int] | None = published_counts(spec, recipe.split, recipe.fraction)
    if counts is None and spec.id in ABOUT:
        counts = {"val": 0, **ABOUT[spec.id][0]}
    if counts is None or card.availability in ("quoted only", "no loader"):
        return None
    sensors = tuple(text.partition(":")[0] for text in recipe.inputs)
    tile = spec.layers[0].size
    side = recipe.size or (tile[0] if protocol.needs == "levels" and tile else 0)
    classes = len(spec.label_space(recipe.label_space).names)
    size = Size(counts, 1, image_bytes(spec, sensors), side, max(1, len(sensors)), classes)
    params = protocol_params(protocol, recipe, "full")
    made = estimate(protocol, params, card, size, seeds=num_seeds(protocol, recipe, "full"), speed=GPU)
    return made.seconds / HOUR
