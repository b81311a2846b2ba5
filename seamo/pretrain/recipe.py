"""A pretraining recipe: everything that decides what a run computes, typed, checked and written into the run."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, InstanceOf, ValidationError

from seamo.data.settings import CropConfig, Kind, parse_crop
from seamo.errors import RecipeError
from seamo.model.config import SeaMoConfig, parse_config, stage_one
from seamo.yamlfile import parse_yaml, read_mapping

_APART = ("name", "about", "machine", "probe")  # decide nothing of what is computed


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataPart(_Part):
    """Which pixels are learned from, and how they are scaled.

    Args:
        stacks: The model's sensor -> the store's stack (SSL4EO-S12 has two products of Sentinel-2, s2a and s2c).
        split: Split of the store; `all` = every sample.
        statistics: Sensor -> `store` (the store's own statistics of its train split), `store-clipped` (the same without
            outliers, as clouds are: `seamo.inputs.clipped`) or the name of a published list in the data set's manifest
            entry. There is no default.
        scaling: See `seamo.inputs.normalise.Normalisation`.
        eight_bit: Round to 8 bits, as reference pipelines that store 8-bit images do.
        season_sampling: Single-season training sees the `first` season of every place, or a `random` one.
        block: Neighbours in the store that are shuffled as one, for stores behind a network that are too large for
            memory (`seamo.store.plan.ShardPlan`); 0 shuffles every place by itself.
        buffer: With `block`: places in the window that mixes them.
        weights: How often each of several stores is drawn from, in their order; none: by its number of samples.
    """

    stacks: dict[str, str]
    split: str = "train"
    statistics: dict[str, str]
    scaling: Kind = "two-sigma"
    eight_bit: bool = False
    season_sampling: Literal["first", "random"] = "first"
    block: int = Field(default=0, ge=0)
    buffer: int = Field(default=0, ge=0)
    weights: tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...] = ()


class StagePart(_Part):
    """One stage; 0 epochs leave it out.

    Args:
        epochs: Passes over the places.
        warmup_epochs: Of them, how many the learning rate takes to rise.
        sensors: Stage 1 only: those of the model's sensors that it learns from; empty: all. The tokenizers and decoders
            of the others are new when stage 2 begins.
    """

    epochs: int = Field(ge=0)
    warmup_epochs: float = Field(ge=0)
    sensors: tuple[str, ...] = ()


class OptimiserPart(_Part):
    """AdamW. The learning rate is base_lr * batch / 256 (Goyal et al. 2017), the batch counted in places."""

    batch: int = Field(ge=1)
    base_lr: float = Field(gt=0)
    weight_decay: float = Field(default=0.05, ge=0)
    betas: tuple[float, float] = (0.9, 0.95)
    clip: float | None = Field(default=None, gt=0)  # largest norm of the gradient

    @property
    def lr(self) -> float:
        """Peak learning rate."""
        return self.base_lr * self.batch / 256


class ComputePart(_Part):
    """How the numbers are computed; it changes their last digits."""

    precision: Literal["fp32", "bf16"] = "bf16"
    compile: bool = False


class MachinePart(_Part):
    """What may differ between machines, and when a run is resumed: it does not change the results.

    Args:
        micro_batch: Most places a forward pass of one device.
        recompute: Recompute activations in the backward pass, to save memory.
        workers: Reading threads a rank.
        threads: Torch's computing threads a rank; None = torch's own choice. Results are repeated bit by bit
            with the same number only.
        checkpoint_every: Optimiser steps between checkpoints.
        keep: Latest checkpoints to keep, beside the best.
        yardsticks: Optimiser steps between those in which trivial predictors are measured beside the loss
            (`seamo.pretrain.yardsticks`); 0 measures none.
        peak_tflops: The device's peak in the recipe's precision, for the model-FLOPs utilisation; 0 = measure
            a matrix product at the start; None = no utilisation is reported.
    """

    micro_batch: int = Field(default=64, ge=1)
    recompute: bool = False
    workers: int = Field(default=2, ge=1)
    threads: int | None = Field(default=None, ge=1)
    checkpoint_every: int = Field(default=500, ge=1)
    keep: int = Field(default=2, ge=1)
    yardsticks: int = Field(default=10, ge=0)
    peak_tflops: float | None = Field(default=None, ge=0)


class ProbePart(_Part):
    """A probe while it trains (`seamo.pretrain.probe`); it does not change what is learnt.

    Args:
        store: A labelled store, its folder or address: one class a sample, with the splits train and val. Empty: no
            probe.
        every: Epochs, counted over the whole run, between probes; the first weights and the end of a stage are probed
            in any case.
        samples: Most images of each of the two splits, class by class (rounded up in each).
        statistics: What normalises the probe's images: its `store`'s own train split, or the numbers of `pretrain`ing.
        size: Side in pixels to which they are resized; 0: that of pretraining.
    """

    store: str = ""
    every: int = Field(default=5, ge=1)
    samples: int = Field(default=500, ge=2)
    statistics: Literal["store", "pretrain"] = "store"
    size: int = Field(default=0, ge=0)


class Recipe(_Part):
    """A whole recipe; see the parts."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    about: str = ""
    seed: int = Field(default=0, ge=0)
    model: InstanceOf[SeaMoConfig]
    crop: InstanceOf[CropConfig]
    data: DataPart
    stage1: StagePart
    stage2: StagePart
    optimiser: OptimiserPart
    compute: ComputePart = ComputePart()
    machine: MachinePart = MachinePart()
    probe: ProbePart = ProbePart()

    def stage(self, number: int) -> StagePart:
        """Stage 1 or 2."""
        return self.stage1 if number == 1 else self.stage2

    def config(self, stage: int) -> SeaMoConfig:
        """The model of a stage."""
        return stage_one(self.model, sensors=self.stage1.sensors) if stage == 1 else self.model

    def to_dict(self) -> dict[str, Any]:
        """Plain values; `parse_recipe` reads them back."""
        plain = self.model_dump(mode="json", exclude={"model", "crop"})
        for name in ("block", "buffer", "weights"):  # what is not asked for is not said, as before there was a choice
            if not plain["data"][name]:
                del plain["data"][name]
        if not self.probe.store:
            del plain["probe"]
        for stage in ("stage1", "stage2"):
            if not plain[stage]["sensors"]:
                del plain[stage]["sensors"]
        crop = {**asdict(self.crop), "rate": list(self.crop.rate)}
        if not crop["steps"]:
            del crop["steps"]
        return {**plain, "model": self.model.to_dict(), "crop": crop}

    def settings(self) -> dict[str, Any]:
        """What decides a pretraining but its seed, as plain values: runs that agree in them differ in their seed."""
        return {name: value for name, value in self.to_dict().items() if name not in (*_APART, "seed")}


def load_recipe(name: str, changes: Sequence[str] = ()) -> Recipe:
    """Read a recipe and apply changes.

    Args:
        name: A shipped recipe (`seamo-base`) or the path of a YAML file.
        changes: `dotted.key=value`, the value as YAML.

    Raises:
        RecipeError: If there is no such recipe, a key is unknown (names the nearest one) or a value is wrong.
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        shipped = shipped_recipes()
        if name not in shipped:
            raise RecipeError(f"no recipe {name!r}", fix=f"{_hint(name, list(shipped))} Or give a .yaml file.")
        path = shipped[name]
    return parse_recipe(apply_changes(read_yaml(path), changes), where=path.name)


def shipped_recipes() -> dict[str, Path]:
    """Name -> file of the recipes that come with seamo."""
    folder = Path(str(files("seamo.pretrain"))) / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file that holds a mapping.

    Raises:
        RecipeError: If it cannot be read or is not one.
    """
    return read_mapping(path, error=RecipeError)


def apply_changes(entry: Mapping[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """A copy of a recipe's plain values with `dotted.key=value` changes.

    Raises:
        RecipeError: If a change is not of that form, or goes below a value that is no mapping.
    """
    result = _copy(entry)
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals or not key:
            raise RecipeError(f"{change!r} is not key=value", where="--set", fix="For example optimiser.batch=64.")
        *parents, last = key.split(".")
        inside = result
        for parent in parents:
            inside = inside.setdefault(parent, {})
            if not isinstance(inside, dict):
                raise RecipeError(f"{parent!r} holds a value, not keys", where=f"--set {key}")
        try:
            inside[last] = parse_yaml(text, "", error=RecipeError)
        except RecipeError as error:
            raise RecipeError(f"{text[:80]!r} is not a YAML value ({error.what})", where=f"--set {key}") from error
    return result


def parse_recipe(entry: Mapping[str, Any], where: str) -> Recipe:
    """A recipe from plain values.

    Raises:
        RecipeError: For an unknown key (names the nearest one), a missing or a wrong value, an illegal model.
    """
    values = dict(entry)
    values["model"] = parse_config(values.get("model", {}), where=f"{where}: model")
    values["crop"] = parse_crop(values.get("crop", {}), where=f"{where}: crop")
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        raise _explain(error, where) from error
    _check(recipe, where)
    return recipe


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Where two recipes' plain values differ, as `key: one -> other`; `machine` and `probe` may differ."""
    flat, flat_other = dict(_flatten(one)), dict(_flatten(other))
    return [
        f"{key}: {flat.get(key)!r} -> {flat_other.get(key)!r}"
        for key in sorted(flat.keys() | flat_other.keys())
        if flat.get(key) != flat_other.get(key) and key.partition(".")[0] not in _APART
    ]


def _hint(unknown: str, known: Sequence[str]) -> str:
    near = get_close_matches(unknown, known, n=1, cutoff=0.4)
    meant = f"Did you mean {near[0]!r}? " if near else ""
    return f"{meant}Known: {', '.join(known)}."


def _check(recipe: Recipe, where: str) -> None:
    if recipe.data.block > 1 and recipe.data.buffer < recipe.data.block:
        raise RecipeError(
            f"a buffer of {recipe.data.buffer} places for blocks of {recipe.data.block}",
            where=f"{where}: data.buffer",
            fix="Take 32 times the batch or more.",
        )
    sensors = set(recipe.model.sensors)
    for name, given in (("stacks", recipe.data.stacks), ("statistics", recipe.data.statistics)):
        if set(given) != sensors:
            raise RecipeError(
                f"names {', '.join(given)}, the model's sensors are {', '.join(recipe.model.sensors)}",
                where=f"{where}: data.{name}",
            )
    if (
        len(sensors) > 1
        and recipe.model.mask.kind == "consistent"
        and not (recipe.crop.share and recipe.crop.share_flip)
    ):
        raise RecipeError(
            "the sensors of a season share their mask, so they must look at the same ground",
            where=f"{where}: crop.share",
            fix="Set crop.share and crop.share_flip true, or model.mask.kind independent.",
        )
    if not set(recipe.stage1.sensors) <= sensors:
        known = ", ".join(recipe.model.sensors)
        raise RecipeError(
            f"names {', '.join(recipe.stage1.sensors)}", f"{where}: stage1.sensors", f"There are {known}."
        )
    if recipe.stage2.sensors:
        raise RecipeError("stage 2 learns from all sensors", f"{where}: stage2.sensors", "Leave it out.")
    if recipe.stage1.epochs + recipe.stage2.epochs == 0:
        raise RecipeError("both stages have 0 epochs", where=f"{where}: stage2.epochs")
    for number in (1, 2):
        stage = recipe.stage(number)
        if stage.epochs and stage.warmup_epochs >= stage.epochs:
            raise RecipeError(
                f"{stage.warmup_epochs:g} epochs of warm-up in {stage.epochs}", f"{where}: stage{number}.warmup_epochs"
            )


def _explain(error: ValidationError, where: str) -> RecipeError:
    first = error.errors()[0]
    location = [str(part) for part in first["loc"]]
    if first["type"] == "extra_forbidden":
        kind: type[BaseModel] = Recipe
        for part in location[:-1]:
            annotation = kind.model_fields[part].annotation
            kind = annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else kind
        known = list(kind.model_fields)
        place = ".".join(location[:-1])
        place = f"{where}: {place}" if place else where
        return RecipeError(f"unknown key {location[-1]!r}", place, _hint(location[-1], known))
    return RecipeError(str(first["msg"]).removeprefix("Value error, "), where=f"{where}: {'.'.join(location)}")


def _copy(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, Mapping) else value for key, value in entry.items()}


def _flatten(entry: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in entry.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", list(value) if isinstance(value, tuple) else value
