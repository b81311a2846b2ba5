"""From a batch of stored integers to what the model takes: season, crop, flip, resize, normalise; on the device."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seamo.data.batch import Batch
from seamo.data.crops import CropConfig, View, crop_stack, draw_views
from seamo.data.draws import MASKS, uniforms
from seamo.data.making import BatchSamples
from seamo.errors import RecipeError, StoreError
from seamo.inputs.check import check_unit
from seamo.inputs.clipped import clipped_statistics
from seamo.inputs.crops import Crops, ImageSpec
from seamo.inputs.normalise import Normalisation, normalisation_from, normalise
from seamo.inputs.statistics import mixed_statistics, pretraining_part, store_statistics
from seamo.manifest import LayerSpec, Statistics
from seamo.model.config import SeaMoConfig
from seamo.model.masking import noise_shape
from seamo.pretrain.mixture import TrainingData
from seamo.pretrain.recipe import Recipe
from seamo.store.mixed import MixedStore

_TURN = 40  # bits of a row
SEASONS = 4  # a stream of `seamo.data.draws`, beside its CROPS, QUADRANTS and MASKS


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """What one forward pass takes.

    Args:
        images: Sensor -> (B, T, C, S, S), normalised.
        noise: What decides the masks.
        valid: Sensor -> (B, T), False where an image is absent; None: all are there.
        pixel_valid: Sensor -> (B, T, C, S, S), False where a pixel is no measurement; None: all are.
    """

    images: dict[str, Tensor]
    noise: Tensor
    valid: dict[str, Tensor] | None
    pixel_valid: dict[str, Tensor] | None

    def tensors(self) -> Iterator[Tensor]:
        """All of them."""
        yield self.noise
        for group in (self.images, self.valid, self.pixel_valid):
            yield from (group or {}).values()


@dataclass(frozen=True, slots=True)
class InputPlan:
    """How batches become inputs. What is drawn for a sample depends on (seed, epoch, row, turn) alone.

    Args:
        config: The model.
        crop: How views are drawn.
        stacks: Sensor -> stack of the store.
        layers: Sensor -> the stack's layers.
        numbers: Sensor -> normalisation.
        seasons: T of the model's input; 1 takes one season of the store's.
        random_season: With one season: any that is there, not the first.
        seed: Of the run.
    """

    config: SeaMoConfig
    crop: CropConfig
    stacks: Mapping[str, str]
    layers: Mapping[str, tuple[LayerSpec, ...]]
    numbers: Mapping[str, Normalisation]
    seasons: int
    random_season: bool
    seed: int

    @property
    def layer_ids(self) -> tuple[str, ...]:
        """Layers to read: those that hold a band of the model."""
        return tuple(
            layer.id
            for sensor, layers in self.layers.items()
            for layer in layers
            if set(layer.bands) & set(self.config.bands[sensor])
        )

    def __call__(self, batch: Batch, device: torch.device, *, epoch: int, check: bool = False) -> Inputs:
        """Inputs on the device.

        Args:
            batch: On the CPU, as the loader gives it.
            device: Where to compute.
            epoch: Counted over the whole run.
            check: Refuse pixels that cannot be in the unit of the normalisation's numbers.

        Raises:
            UsageError: With `check`: names the bands.
        """
        drawn_by = _drawn_by(batch.rows, batch.turns)
        there, season = self._there(batch.valid), None
        if self.seasons == 1:
            season = self._season(drawn_by, there, epoch)
            there = {s: one.gather(1, season[:, None]) for s, one in there.items()}
        complete = all(bool(one.all()) for one in there.values())
        # From here on nothing waits for the device: what has to be known of the pixels, the batch knows.
        rows = _move(drawn_by, device)
        valid = None if complete else {s: _move(one, device) for s, one in there.items()}
        if batch.images:
            images = {s: _move(one, device) for s, one in batch.images.items()}
            masks = {s: _move(one, device) for s, one in batch.measured.items()}
        else:
            images, masks = self._cropped(batch, rows, season, valid if check else None, epoch=epoch, check=check)
        pixel_valid = None
        if masks:
            pixel_valid = {s: masks.get(s, torch.ones_like(image, dtype=torch.bool)) for s, image in images.items()}
        shape = noise_shape(self.config, len(batch), self.seasons)
        noise = uniforms(rows, math.prod(shape[1:]), seed=self.seed, epoch=epoch, stream=MASKS).reshape(shape)
        return Inputs(images, noise, valid, pixel_valid)

    def _cropped(
        self,
        batch: Batch,
        rows: Tensor,
        season: Tensor | None,
        valid: Mapping[str, Tensor] | None,
        *,
        epoch: int,
        check: bool,
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Images of a batch that has layers, and which of their numbers are measurements."""
        layers = {name: _move(batch.layers[name], rows.device) for name in self.layer_ids}
        if season is not None and batch.dates is None:
            layers = self._only(season, layers)
        views = self._views(rows, epoch)
        images, masks = {}, {}
        for sensor in self.config.sensors:
            bands, numbers, size = self.config.bands[sensor], self.numbers[sensor], self.config.size
            crop = crop_stack(layers, self._read(sensor), views[sensor], bands=bands, size=size, holes=batch.holes)
            if check:
                check_unit(crop.pixels, numbers, valid=_both(crop.valid, None if valid is None else valid[sensor]))
            images[sensor] = normalise(crop.pixels, numbers, valid=crop.valid)
            if crop.valid is not None:
                masks[sensor] = crop.valid
        return images, masks

    @property
    def images(self) -> tuple[ImageSpec, ...]:
        """What a batch's images are, a sensor each."""
        return tuple(
            ImageSpec(sensor, self._read(sensor), self.config.bands[sensor], self.config.size, self.numbers[sensor])
            for sensor in self.config.sensors
        )

    def draw(self, drawn: BatchSamples, *, epoch: int) -> Crops:
        """The same images as `__call__` makes of layers, to be made in the threads of a Loader."""
        rows, only = _rows_of(drawn), self.only_date(drawn, epoch=epoch)
        dates = np.broadcast_to(np.arange(self.seasons), (len(rows), self.seasons)) if only is None else only[:, None]
        return Crops(self.images, self._views(rows, epoch), dates, drawn.valid)

    def only_date(self, drawn: BatchSamples, *, epoch: int) -> NDArray[np.int64] | None:
        """The date (B,) of each sample that single-season training sees; None: all seasons are learned from."""
        if self.seasons > 1:
            return None
        there = self._there({name: torch.from_numpy(one) for name, one in drawn.valid.items()})
        return np.asarray(self._season(_rows_of(drawn), there, epoch).numpy(), dtype=np.int64)

    def _views(self, rows: Tensor, epoch: int) -> dict[str, View]:
        return draw_views(
            self.crop, rows, sensors=self.config.sensors, seasons=self.seasons, seed=self.seed, epoch=epoch
        )

    def _read(self, sensor: str) -> tuple[LayerSpec, ...]:
        wanted = set(self.config.bands[sensor])
        return tuple(layer for layer in self.layers[sensor] if set(layer.bands) & wanted)

    def _there(self, valid: Mapping[str, Tensor]) -> dict[str, Tensor]:
        # An image is there if all of its layers are.
        return {
            sensor: torch.stack([valid[layer.id] for layer in self._read(sensor)]).all(dim=0)
            for sensor in self.config.sensors
        }

    def _season(self, drawn_by: Tensor, there: Mapping[str, Tensor], epoch: int) -> Tensor:
        """The season (B,) that single-season training sees of each place."""
        if not self.random_season:
            return torch.zeros(len(drawn_by), dtype=torch.int64)
        any_there = torch.stack(list(there.values())).any(dim=0)
        u = uniforms(drawn_by, 1, seed=self.seed, epoch=epoch, stream=SEASONS)[:, 0]
        ranked = (~any_there).int().argsort(dim=1, stable=True)  # seasons that are there come first, in order
        pick = (u * any_there.sum(dim=1)).floor().long()
        return ranked.gather(1, pick[:, None])[:, 0]

    def _only(self, season: Tensor, layers: Mapping[str, Tensor]) -> dict[str, Tensor]:
        # On the device: a part of page-locked memory would have to be copied twice, and waited for.
        if not self.random_season:
            return {name: one[:, :1] for name, one in layers.items()}
        device = next(iter(layers.values())).device
        at, season = torch.arange(len(season), device=device), _move(season, device)
        return {name: _pick(one, at, season) for name, one in layers.items()}


def _drawn_by(rows: Tensor, turns: Tensor | None) -> Tensor:
    """The numbers by which is drawn for samples: their rows, and for one that comes again in an epoch another."""
    return rows if turns is None else rows + (turns << _TURN)


def _rows_of(drawn: BatchSamples) -> Tensor:
    return _drawn_by(torch.from_numpy(np.array(drawn.rows)), torch.from_numpy(np.array(drawn.turns)))


def _move(tensor: Tensor, device: torch.device) -> Tensor:
    return tensor.to(device, non_blocking=True)


def _pick(layer: Tensor, at: Tensor, season: Tensor) -> Tensor:
    # torch's index kernel for GPUs does not know unsigned 16-bit integers: the same bits, read as signed ones.
    bits = layer.view(torch.int16) if layer.dtype == torch.uint16 else layer
    return bits[at, season][:, None].view(layer.dtype)


def _both(pixel_valid: Tensor | None, image_valid: Tensor | None) -> Tensor | None:
    if image_valid is None:
        return pixel_valid
    there = image_valid[:, :, None, None, None]
    return there if pixel_valid is None else pixel_valid & there


def normalisations(recipe: Recipe, data: TrainingData) -> dict[str, Normalisation]:
    """Sensor of the model -> how its images are normalised in both stages; `store-clipped` reads pixels for it.

    Raises:
        RecipeError: If the statistics are unknown or in another unit than the layers.
        StoreError: If the store has none of them.
    """
    return {sensor: _numbers(recipe, sensor, data) for sensor in recipe.model.sensors}


def plan_inputs(
    recipe: Recipe, stage: int, data: TrainingData, numbers: Mapping[str, Normalisation] | None = None
) -> InputPlan:
    """The inputs of a stage.

    Args:
        recipe: Of the run.
        stage: 1 or 2.
        data: Of the run.
        numbers: What `normalisations` gave, where it was asked before.

    Raises:
        StoreError: If the store has too few seasons.
        BandError: If its layers lack a band.
        RecipeError: If the statistics are unknown or in another unit than the layers.
    """
    config, stacks, store = recipe.config(stage), recipe.data.stacks, data.store
    numbers = normalisations(recipe, data) if numbers is None else numbers
    times = {stack: store.spec.num_times(stack) for stack in stacks.values()}
    if len(set(times.values())) > 1:
        raise StoreError(f"stacks differ in their number of seasons ({times})", where=store.title)
    seasons = min(times.values()) if config.temporal else 1
    if config.temporal and seasons == 1:
        raise StoreError(
            f"has one season, stage {stage} of the recipe learns from several",
            where=store.title,
            fix="Give a store of several seasons, or --set stage2.epochs=0.",
        )
    return InputPlan(
        config=config,
        crop=recipe.crop,
        stacks=dict(stacks),
        layers={sensor: store.spec.stack_layers(stacks[sensor]) for sensor in config.sensors},
        numbers={sensor: numbers[sensor] for sensor in config.sensors},
        seasons=seasons,
        random_season=recipe.data.season_sampling == "random",
        seed=recipe.seed,
    )


def _numbers(recipe: Recipe, sensor: str, data: TrainingData) -> Normalisation:
    name, stack = recipe.data.statistics[sensor], recipe.data.stacks[sensor]
    layers = data.store.spec.stack_layers(stack)
    if name == "store":
        statistics = _own_statistics(data, stack)
    elif name == "store-clipped":
        if isinstance(data.store, MixedStore):
            raise RecipeError("'store-clipped' is of one store", f"data.statistics.{sensor}", "Take `store`.")
        statistics = clipped_statistics(data.store, stack)
    else:
        statistics = _published(data, name, sensor)
    units = {layer.unit for layer in layers}
    if units != {statistics.unit}:
        raise RecipeError(
            f"statistics {name!r} are in {statistics.unit.value}, the layers in {', '.join(sorted(units))}",
            f"data.statistics.{sensor}",
        )
    bands = recipe.model.bands[sensor]
    return normalisation_from(statistics, bands, kind=recipe.data.scaling, eight_bit=recipe.data.eight_bit)


def _own_statistics(data: TrainingData, stack: str) -> Statistics:
    """Of what is drawn: a store's, or those of a mixture."""
    store = data.store
    if isinstance(store, MixedStore):
        return mixed_statistics(store, data.shares)[stack]
    part = pretraining_part(store)
    own = store_statistics(store, part=part)
    if stack not in own:
        raise StoreError(f"has no statistics of {stack}", store.title)
    source = f"{store.title}, {part} samples, content {store.content[:12]}"
    return own[stack].model_copy(update={"source": source})


def _published(data: TrainingData, name: str, sensor: str) -> Statistics:
    """A list that the data set of a store publishes; of a mixture, any's, if no other has another of that name."""
    where = f"data.statistics.{sensor}"
    found = [part.spec.statistics[name] for part in data.parts if name in part.spec.statistics]
    if not found:
        known = ", ".join(
            dict.fromkeys(["store", "store-clipped", *(one for part in data.parts for one in part.spec.statistics)])
        )
        names = " + ".join(dict.fromkeys(part.spec.id for part in data.parts))
        raise RecipeError(f"no statistics {name!r}", where, f"{names} has {known}.")
    if any(one != found[0] for one in found):
        raise RecipeError(f"stores have different statistics of the name {name!r}", where, "Take `store`, or another.")
    return found[0]
