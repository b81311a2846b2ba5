"""What a recipe says about crops and scaling. No torch: a wrong recipe is refused before that is imported."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any, Literal, get_args

from seamo.errors import RecipeError

Mode = Literal["partial", "same_full", "same_random", "none_overlap"]
RateMode = Literal["area", "side"]
Kind = Literal["two-sigma", "z-score"]


@dataclass(frozen=True, slots=True)
class CropConfig:
    """How views are drawn (method notes 4.2).

    Args:
        mode: `partial`: a box per season; `same_random`: one box for all seasons; `same_full`: the whole image;
            `none_overlap`: a quadrant per season, all different (at most 4 seasons).
        rate: Smallest and largest size of a box; used by partial and same_random.
        rate_mode: The size is a share of the area, with aspect ratio 3/4 to 4/3 (RandomResizedCrop), or of the
            side of a square.
        steps: Boxes begin and end at multiples of 1/steps of the image's side, so that a crop of whole pixels keeps
            them as they are; 0: anywhere, and pixels are interpolated. Only with `rate_mode: side`.
        share: The sensors of a season share the box (needed where they share a mask).
        flip: Half of the views, each season on its own, are mirrored left to right.
        share_flip: The sensors of a season share the flip (needed where they share a mask).
    """

    mode: Mode = "partial"
    rate: tuple[float, float] = (0.5, 1.0)
    rate_mode: RateMode = "area"
    steps: int = 0
    share: bool = True
    flip: bool = True
    share_flip: bool = True

    def __post_init__(self) -> None:
        for name, value, known in (("mode", self.mode, Mode), ("rate_mode", self.rate_mode, RateMode)):
            if value not in get_args(known):
                raise RecipeError(f"is {value!r}", f"crop.{name}", f"Choose one of {', '.join(get_args(known))}.")
        numbers = isinstance(self.rate, tuple) and all(type(one) in (int, float) for one in self.rate)
        if not numbers or len(self.rate) != 2 or not 0 < self.rate[0] <= self.rate[1] <= 1:
            raise RecipeError(f"is {self.rate}, not 0 < smallest <= largest <= 1", "crop.rate")
        if type(self.steps) is not int or self.steps < 0 or (self.steps and self.rate_mode != "side"):
            raise RecipeError(
                f"is {self.steps!r} with rate_mode {self.rate_mode}", "crop.steps", "0, or rate_mode side."
            )
        if self.steps and round(self.rate[0] * self.steps) < 1:
            raise RecipeError(
                f"a box of {self.rate[0]} has no step of 1/{self.steps}", "crop.steps", "Take more steps."
            )
        for name in ("share", "flip", "share_flip"):
            if not isinstance(getattr(self, name), bool):
                raise RecipeError(f"is {getattr(self, name)!r}, not true or false", f"crop.{name}")


def parse_crop(entry: Any, where: str = "crop") -> CropConfig:
    """Crops from plain values (a recipe, a card). Keys left out keep their defaults.

    Raises:
        RecipeError: For an unknown key (names the nearest known one) or a wrong value.
    """
    if not isinstance(entry, Mapping):
        raise RecipeError(f"is {entry!r}, not a mapping", where)
    known = [item.name for item in fields(CropConfig)]
    for key in entry:
        if key not in known:
            near = get_close_matches(str(key), known, n=1, cutoff=0.4)
            meant = f"Did you mean {near[0]!r}? " if near else ""
            raise RecipeError(f"unknown key {key!r}", where, f"{meant}Known: {', '.join(known)}.")
    values = dict(entry)
    if isinstance(values.get("rate"), list):
        values["rate"] = tuple(values["rate"])
    return CropConfig(**values)
