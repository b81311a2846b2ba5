"""Band statistics that stores keep of themselves, as normalisation uses them. No torch, no pixels."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from seamo.errors import StoreError
from seamo.manifest import Statistics

if TYPE_CHECKING:
    from seamo.store.mixed import MixedStore
    from seamo.store.samples import Samples


def store_statistics(store: "Samples", *, part: Literal["train", "all"] = "train") -> dict[str, Statistics]:
    """Stack -> mean and standard deviation of its bands, in the layers' unit.

    Args:
        store: The store.
        part: Of which samples. Whoever tests on a store takes `train`; `all` is for pretraining on a store that has
            no train split, and nobody else.

    Returns:
        One entry a stack that has numbers; bands without any are left out.
    """
    found: dict[str, Statistics] = {}
    of_part = store.meta.statistics.get(part, {})
    which = store.meta.split_scheme if part == "train" else "all samples"
    for stack in store.spec.stacks:
        layers = [layer for layer in store.spec.stack_layers(stack) if layer.id in of_part]
        units = {layer.unit for layer in layers}
        numbers = {
            band: entry
            for layer in layers
            for band, entry in of_part[layer.id].items()
            if entry["mean"] is not None and entry["std"] is not None
        }
        if len(units) == 1 and numbers:
            found[stack] = Statistics(
                source=f"{which}, {store.content[:12]}",
                unit=units.pop(),
                mean={band: float(entry["mean"]) for band, entry in numbers.items()},
                std={band: float(entry["std"]) for band, entry in numbers.items()},
            )
    return found


def mixed_statistics(mixed: "MixedStore", weights: Sequence[float]) -> dict[str, Statistics]:
    """Stack -> mean and standard deviation of its bands in what a mixture draws, from what its stores keep.

    A store counts by its weight and by how many valid pixels of the band its samples have on average: then the moments
    of all are those of one store that held what is drawn, and with weights by samples those of all pixels together.

    Args:
        mixed: The stores.
        weights: How often each is drawn from.

    Raises:
        StoreError: If a store keeps no numbers of a stack; names it.
    """
    found = {}
    for stack in mixed.spec.stacks:
        layers = mixed.spec.stack_layers(stack)
        mean: dict[str, float] = {}
        std: dict[str, float] = {}
        for layer in layers:
            for band in layer.bands:
                pieces = [_moments(part, layer.id, band) for part in mixed.parts]
                share = [weight * count for weight, (count, _, _) in zip(weights, pieces, strict=True)]
                total = math.fsum(share)
                mean[band] = math.fsum(w * one for w, (_, one, _) in zip(share, pieces, strict=True)) / total
                apart = (one_std**2 + (one - mean[band]) ** 2 for _, one, one_std in pieces)
                std[band] = math.sqrt(math.fsum(w * one for w, one in zip(share, apart, strict=True)) / total)
        whole = math.fsum(weights)
        said = (
            f"{weight / whole:.4g} x {part.title}, {pretraining_part(part)} samples, content {part.content[:12]}"
            for part, weight in zip(mixed.parts, weights, strict=True)
        )
        found[stack] = Statistics(source=" + ".join(said), unit=layers[0].unit, mean=mean, std=std)
    return found


def _moments(store: "Samples", layer: str, band: str) -> tuple[float, float, float]:
    """Valid pixels a sample, mean and standard deviation, as the store keeps them."""
    part = pretraining_part(store)
    entry = store.meta.statistics.get(part, {}).get(layer, {}).get(band, {})
    if not entry.get("count"):
        fix = "Name a published list that all stores have (data.statistics), or leave the store out."
        raise StoreError(f"keeps no statistics of {layer} {band} over its {part} samples", store.title, fix)
    counts = store.meta.counts
    samples = counts.splits["train"] if part == "train" else counts.samples - counts.bad
    return entry["count"] / samples, float(entry["mean"]), float(entry["std"])


def pretraining_part(store: "Samples") -> Literal["train", "all"]:
    """The samples that pretraining normalises with: those of the train split, or all where there is none."""
    return "train" if store.meta.counts.splits.get("train") else "all"
