"""Every switch of the model, as one frozen tree of plain values; illegal combinations are refused with the reason."""

import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from difflib import get_close_matches
from typing import Any, Literal, get_args, get_origin, get_type_hints

from seamo.bands import S1, S2_L2A, band
from seamo.errors import RecipeError


@dataclass(frozen=True, slots=True)
class MaskConfig:
    """Which patches are hidden.

    Args:
        ratio: Share of patches hidden; round(L * (1 - ratio)) stay visible.
        kind: `consistent`: the sensors of a season share one mask (paper 3.1.2); `independent`: each its own.
            Seasons never share.
    """

    ratio: float = 0.75
    kind: Literal["consistent", "independent"] = "consistent"

    def __post_init__(self) -> None:
        _check_types(self, "mask")


@dataclass(frozen=True, slots=True)
class FusionConfig:
    """The temporal-multimodal (TM) block, between encoder and decoders.

    Args:
        mode: `fuse`: one cross-attention over one fused context; `decouple`: one over the other sensor and
            one over the previous season; `none`: no block.
        variant: `text`: an image's own tokens are the query (paper 3.1.4); `algorithm1`: they are key and
            value, and the other tokens the query (the printed algorithm, without its overwriting).
        prev: What the previous season hands on: `F` its encoder output, `H` its fused output (recurrent).
        depth: Stacked blocks; each sees the same context.
        type_embed: Learned vectors that mark other-sensor and previous-season context.
        residual: `algorithm1` only: `value` adds the image's own tokens to the attention's output.
        merge: `decouple` only: `sum` of the two attentions, or `concat` and a linear layer 2D -> D.
    """

    mode: Literal["none", "fuse", "decouple"] = "fuse"
    variant: Literal["text", "algorithm1"] = "text"
    prev: Literal["F", "H"] = "F"
    depth: int = 1
    type_embed: bool = False
    residual: Literal["none", "value"] = "none"
    merge: Literal["sum", "concat"] = "sum"

    def __post_init__(self) -> None:
        _check_types(self, "tm")


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """One decoder per sensor, shared by the seasons."""

    depth: int = 4
    width: int = 512
    heads: int = 16

    def __post_init__(self) -> None:
        _check_types(self, "decoder")


@dataclass(frozen=True, slots=True)
class SeaMoConfig:
    """SeaMo, whole. The defaults are stage 2 of `seamo-base` at patch 8.

    Args:
        bands: Sensor -> its bands, in the order of the input channels. The sensors are its keys.
        size, patch: Image and patch side in pixels.
        dim, depth, heads: Encoder width, blocks, attention heads (also of the TM block).
        mask, tm, decoder: See there.
        norm_pix: Targets normalised per patch over all bands (`joint`), band by band (`per_channel`), or not.
        loss_weight: Sensor -> weight of its terms in the loss; 1 where none is named, as in the paper.
        pos: Position embedding, fixed sine-cosine or learned.
        strategy: `multimodal`: the sensors of a season make one sequence; `siamese`: the same encoder reads
            them one by one; `unimodal`: there is one sensor.
        temporal: Several seasons (stage 2) or one (stage 1).
        cls_token: A learned token in every encoder sequence, seen by the encoder alone.
        modality_embed: A learned vector per sensor, added to its tokens.

    Raises:
        RecipeError: For a wrong value or a combination that means nothing, with the reason.
    """

    bands: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"s2": S2_L2A, "s1": S1})
    size: int = 128
    patch: int = 8
    dim: int = 768
    depth: int = 12
    heads: int = 12
    mask: MaskConfig = field(default_factory=MaskConfig)
    norm_pix: Literal["none", "joint", "per_channel"] = "joint"
    loss_weight: Mapping[str, float] = field(default_factory=dict)
    pos: Literal["sincos", "learned"] = "sincos"
    strategy: Literal["unimodal", "siamese", "multimodal"] = "multimodal"
    temporal: bool = True
    tm: FusionConfig = field(default_factory=FusionConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    cls_token: bool = False
    modality_embed: bool = False

    def __post_init__(self) -> None:
        _check_types(self, "model")
        _check_shape(self)
        _check_loss_weight(self)
        _check_strategy(self)
        _check_fusion(self)

    @property
    def sensors(self) -> tuple[str, ...]:
        """Sensors in the order of the encoder's sequence."""
        return tuple(self.bands)

    @property
    def grid(self) -> int:
        """Patches along a side."""
        return self.size // self.patch

    @property
    def num_patches(self) -> int:
        """Patches of an image (L)."""
        return self.grid * self.grid

    @property
    def num_visible(self) -> int:
        """Visible patches of an image (N)."""
        return round(self.num_patches * (1 - self.mask.ratio))

    def patch_values(self, sensor: str) -> int:
        """Numbers in one patch of a sensor: bands x patch x patch (P)."""
        return len(self.bands[sensor]) * self.patch * self.patch

    def weight_of(self, sensor: str) -> float:
        """Weight of a sensor's terms in the loss."""
        return self.loss_weight.get(sensor, 1.0)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for YAML and JSON; `parse_config` reads them back."""
        plain = asdict(self)
        if not self.loss_weight:  # what is not asked for is not said, as before there was a choice
            del plain["loss_weight"]
        plain["bands"] = {sensor: list(names) for sensor, names in self.bands.items()}
        return plain


def parse_config(entry: Mapping[str, Any], where: str = "model") -> SeaMoConfig:
    """A configuration from plain values (a recipe, a card). Keys left out keep their defaults.

    Raises:
        RecipeError: For an unknown key (naming the nearest known one), a wrong value or an illegal combination.

    Example:
        >>> parse_config({"patch": 16, "mask": {"ratio": 0.9}}).num_visible
        6
    """
    _refuse_unknown(entry, SeaMoConfig, where)
    values = dict(entry)
    for name, part in (("mask", MaskConfig), ("tm", FusionConfig), ("decoder", DecoderConfig)):
        if name in values:
            _refuse_unknown(values[name], part, f"{where}.{name}")
            values[name] = part(**values[name])
    if isinstance(values.get("bands"), Mapping):
        values["bands"] = {
            sensor: tuple(names) if isinstance(names, list) else names for sensor, names in values["bands"].items()
        }
    return SeaMoConfig(**values)


def stage_one(config: SeaMoConfig, *, sensors: Collection[str] = ()) -> SeaMoConfig:
    """The configuration of stage 1 that `config` (stage 2) starts from: one season, no TM block.

    Args:
        config: That of stage 2.
        sensors: Those that stage 1 learns from; empty: all.
    """
    bands = {sensor: names for sensor, names in config.bands.items() if not sensors or sensor in sensors}
    weights = {sensor: weight for sensor, weight in config.loss_weight.items() if sensor in bands}
    strategy = config.strategy if len(bands) > 1 else "unimodal"
    alone = FusionConfig(mode="none")
    return replace(config, bands=bands, loss_weight=weights, strategy=strategy, temporal=False, tm=alone)


def _refuse_unknown(entry: Any, kind: type, where: str) -> None:
    if not isinstance(entry, Mapping):
        raise RecipeError(f"is {entry!r}, not a mapping", where)
    known = [item.name for item in fields(kind)]
    for key in entry:
        if key not in known:
            near = get_close_matches(str(key), known, n=1, cutoff=0.4)
            hint = f"Did you mean {near[0]!r}? " if near else ""
            raise RecipeError(f"unknown key {key!r}", where, f"{hint}Known: {', '.join(known)}.")


def _check_types(config: Any, where: str) -> None:
    hints = get_type_hints(type(config))
    for item in fields(config):
        value, hint, place = getattr(config, item.name), hints[item.name], f"{where}.{item.name}"
        if get_origin(hint) is Literal:
            if value not in get_args(hint):
                raise RecipeError(f"is {value!r}", place, f"Choose one of {', '.join(map(repr, get_args(hint)))}.")
        elif is_dataclass(hint) and isinstance(hint, type):
            if not isinstance(value, hint):
                raise RecipeError(f"is {value!r}, not a {hint.__name__}", place)
        elif hint is float:
            if type(value) not in (int, float):
                raise RecipeError(f"is {value!r}, not a number", place)
        elif hint in (int, bool) and type(value) is not hint:
            raise RecipeError(f"is {value!r}, not {'true or false' if hint is bool else 'a whole number'}", place)


def _check_shape(config: SeaMoConfig) -> None:
    if not isinstance(config.bands, Mapping) or not config.bands:
        raise RecipeError(f"is {config.bands!r}, not a mapping from sensor to bands", "model.bands")
    for sensor, names in config.bands.items():
        texts = isinstance(names, tuple) and all(isinstance(name, str) for name in (sensor, *names))
        if not texts or not names or len(set(names)) != len(names):
            raise RecipeError(f"is {names!r}, not a list of different bands", f"model.bands.{sensor}")
        for name in names:
            band(sensor, name)
    positive = {"size": config.size, "patch": config.patch, "dim": config.dim, "depth": config.depth}
    positive |= {"heads": config.heads, "tm.depth": config.tm.depth, "decoder.depth": config.decoder.depth}
    positive |= {"decoder.width": config.decoder.width, "decoder.heads": config.decoder.heads}
    for name, value in positive.items():
        if value < 1:
            raise RecipeError(f"is {value}, must be at least 1", f"model.{name}")
    if config.size % config.patch:
        raise RecipeError(f"size {config.size} is not a multiple of patch {config.patch}", "model.size")
    for name, width, heads in (
        ("dim", config.dim, config.heads),
        ("decoder.width", config.decoder.width, config.decoder.heads),
    ):
        if width % heads or width % 4:
            fix = f"It must be a multiple of its {heads} heads, and of 4 for the position embedding."
            raise RecipeError(f"is {width}", f"model.{name}", fix)
    if not 0 < config.mask.ratio < 1 or not 1 <= config.num_visible < config.num_patches:
        fix = "At least one patch must be visible and one hidden."
        raise RecipeError(f"is {config.mask.ratio} of {config.num_patches} patches", "model.mask.ratio", fix)


def _check_loss_weight(config: SeaMoConfig) -> None:
    where, weights = "model.loss_weight", config.loss_weight
    if not isinstance(weights, Mapping):
        raise RecipeError(f"is {weights!r}, not a mapping from sensor to weight", where)
    for sensor, weight in weights.items():
        if sensor not in config.bands:
            raise RecipeError(f"names {sensor!r}, the model's sensors are {', '.join(config.sensors)}", where)
        if type(weight) not in (int, float) or not 0 < weight < math.inf:
            raise RecipeError(
                f"is {weight!r}, not a number above 0", f"{where}.{sensor}", "To drop it, leave its bands."
            )


def _check_strategy(config: SeaMoConfig) -> None:
    where, sensors = "model.strategy", ", ".join(config.sensors)
    if config.strategy == "unimodal" and len(config.sensors) != 1:
        fix = "Train one model per sensor, or choose siamese or multimodal."
        raise RecipeError(f"unimodal has one sensor, bands names {sensors}", where, fix)
    if config.strategy != "unimodal" and len(config.sensors) != 2:
        fix = "Name two sensors in bands, or choose unimodal."
        raise RecipeError(f"{config.strategy} joins two sensors, bands names {sensors}", where, fix)


def _check_fusion(config: SeaMoConfig) -> None:
    tm = config.tm
    if tm.mode == "none":
        idle = [item.name for item in fields(tm) if item.name != "mode" and getattr(tm, item.name) != item.default]
        if idle:
            raise RecipeError("has no effect while tm.mode is none", f"model.tm.{idle[0]}", "Leave it out.")
        return
    if tm.variant == "algorithm1":
        _check_algorithm1(config)
    elif tm.residual != "none":
        raise RecipeError("belongs to algorithm1; text always adds the query", "model.tm.residual", "Leave it out.")
    if tm.merge != "sum" and tm.mode != "decouple":
        raise RecipeError("joins the two attentions of decouple; fuse has one", "model.tm.merge", "Leave it out.")
    if tm.type_embed and (tm.mode, tm.variant) != ("fuse", "text"):
        reason = "marks the two parts of one context, which only mode fuse of variant text has"
        raise RecipeError(reason, "model.tm.type_embed", "Leave it out.")
    if not config.temporal:
        _check_single_season(config)


def _check_algorithm1(config: SeaMoConfig) -> None:
    where = "model.tm.variant"
    if config.mask.kind == "independent":
        reason = "algorithm1 puts tokens at the other sensor's positions, which needs a shared mask"
        raise RecipeError(reason, where, "Set mask.kind consistent, or tm.variant text.")
    if config.strategy == "unimodal":
        raise RecipeError("algorithm1 queries with the other sensor, unimodal has none", where, "Set tm.variant text.")
    if config.tm.depth != 1:
        raise RecipeError("algorithm1 prints one cross-attention, it does not stack", where, "Set tm.depth 1.")


def _check_single_season(config: SeaMoConfig) -> None:
    # What sees only the previous season would be weights that never get a gradient.
    tm, where = config.tm, "model.tm"
    if config.strategy == "unimodal":
        raise RecipeError("one sensor and one season leave nothing to fuse", where, "Set tm.mode none, or temporal.")
    if tm.mode != "fuse" or tm.variant != "text" or tm.prev != "F" or tm.type_embed:
        reason = "has a part for the previous season, and temporal is off"
        raise RecipeError(reason, where, "Set tm.mode none, or temporal.")
