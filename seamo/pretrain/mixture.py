"""What a run learns from: one store, or a mixture of several with their weights."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seamo.errors import RecipeError, StoreError
from seamo.licences import Terms, terms_of
from seamo.pretrain.facts import MixedPartFacts, TrainingStoreFacts
from seamo.pretrain.recipe import Recipe
from seamo.store.mixed import MixedStore
from seamo.store.plan import Mix
from seamo.store.reader import Store


@dataclass(frozen=True, slots=True, eq=False)
class TrainingData:
    """The samples of a run.

    Args:
        store: Their store; of a mixture, that of all.
        parts: The stores by themselves.
        rows: Of the split, in `store`; an epoch is as long.
        mix: Of a mixture: number of rows and share of every store; empty for one.
        split: What is read of them.
    """

    store: Store | MixedStore
    parts: tuple[Store, ...]
    rows: NDArray[np.int64]
    mix: Mix
    split: str

    @property
    def shares(self) -> tuple[float, ...]:
        """Of the samples that are drawn, each store's; 1 for one store."""
        return tuple(share for _, share in self.mix) or (1.0,)

    @property
    def facts(self) -> TrainingStoreFacts:
        """What the run remembers of all."""
        name = " + ".join(dict.fromkeys(part.spec.id for part in self.parts))
        return TrainingStoreFacts(name, self.store.title, self.store.content, self.split, len(self.rows))

    @property
    def part_facts(self) -> tuple[MixedPartFacts, ...]:
        """What it remembers of every store of a mixture."""
        return tuple(
            MixedPartFacts(part.spec.id, part.title, part.content, self.split, n, share)
            for part, (n, share) in zip(self.parts, self.mix, strict=False)
        )

    @property
    def terms(self) -> dict[str, Terms]:
        """Data set -> its terms; two stores of one that say different ones are told apart by their content."""
        found: dict[str, Terms] = {}
        for part in self.parts:
            terms, name = terms_of(part.spec), part.spec.id
            found[name if found.get(name, terms) == terms else f"{name} {part.content[:8]}"] = terms
        return found


def training_data(recipe: Recipe, stores: Sequence[Store]) -> TrainingData:
    """Check that stores have what a recipe uses, alike in all of them, and say how much of each is drawn.

    Raises:
        StoreError: If a store lacks the split, a stack or a layer, or two differ in what is used (names both).
        RecipeError: If `data.weights` are not one a store.
    """
    split, weights = recipe.data.split, recipe.data.weights
    if weights and len(weights) != len(stores):
        what = f"{len(weights)} weights for {len(stores)} stores"
        raise RecipeError(what, "data.weights", "Give one for each --store, in their order, or none.")
    for store in stores:
        _check_stacks(recipe, store)
    rows = [store.rows(split) for store in stores]
    if len(stores) == 1:
        return TrainingData(stores[0], tuple(stores), rows[0], (), split)
    for store, found in zip(stores, rows, strict=True):
        if not len(found):
            raise StoreError(f"split {split} has no samples", store.title, "Leave the store out, or set data.split.")
    spec = stores[0].spec
    layers = [
        layer.id
        for sensor, stack in recipe.data.stacks.items()
        for layer in spec.stack_layers(stack)
        if set(layer.bands) & set(recipe.model.bands[sensor])
    ]
    temporal = any(recipe.config(stage).temporal for stage in (1, 2) if recipe.stage(stage).epochs)
    mixed = MixedStore(stores, layers, same_dates=temporal)
    given = weights or tuple(float(len(one)) for one in rows)
    whole = math.fsum(given)
    mix = tuple((len(one), weight / whole) for one, weight in zip(rows, given, strict=True))
    begins = np.cumsum([0, *(len(store) for store in stores)])
    together = np.concatenate([begin + one for begin, one in zip(begins, rows, strict=False)])
    return TrainingData(mixed, tuple(stores), together, mix, split)


def in_words(data: TrainingData, recipe: Recipe) -> list[str]:
    """What is learned from, a line a store of a mixture."""
    if not data.mix:
        return [f"{recipe.name} on {data.store.title}, split {data.split}"]
    why = "data.weights" if recipe.data.weights else "by samples; data.weights sets others"
    whole = len(data.rows) // recipe.optimiser.batch * recipe.optimiser.batch
    epoch = f"{whole:,} samples an epoch ({why}):"
    lines = [f"{recipe.name} on {len(data.parts)} stores, split {data.split}, {epoch}"]
    return lines + [
        f"  {share:.4g} of {part.title} ({n:,} samples)" for part, (n, share) in zip(data.parts, data.mix, strict=True)
    ]


def _check_stacks(recipe: Recipe, store: Store) -> None:
    for stack in recipe.data.stacks.values():
        if stack not in store.spec.stacks:
            raise StoreError(
                f"no stack {stack!r}",
                where=store.title,
                fix=f"It has {', '.join(store.spec.stacks)}: set data.stacks, for example --set data.stacks.s2=s2a.",
            )
