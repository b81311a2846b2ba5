"""A store's own band statistics, as normalisation uses them. No torch, no pixels."""

from typing import TYPE_CHECKING, Literal

from seamo.manifest import Statistics

if TYPE_CHECKING:
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


def pretraining_part(store: "Samples") -> Literal["train", "all"]:
    """The samples that pretraining normalises with: those of the train split, or all where there is none."""
    return "train" if store.meta.counts.splits.get("train") else "all"
