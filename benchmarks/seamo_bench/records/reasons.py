"""Many reasons as a few: what differs in names only is told once, most frequent first, with whom it concerns."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from seamo.bands import SENSORS
from seamo.summary import some

_NAMED = 6  # names in a list before it says how many more
_BAND = rf"\b(?:{'|'.join([*SENSORS, *(band.name for bands in SENSORS.values() for band in bands)])})\b"
_BANDS = re.compile(rf"{_BAND}(?::{_BAND})?(?:(?:, | and | or ){_BAND}(?::{_BAND})?)*")
_POLICIES = "Choose a missing-band policy"  # what follows names one that is called as a sensor is, rgb
_WEIGHTS = re.compile(r"^weights \S+ are not there\. ")


@dataclass(frozen=True, slots=True)
class Because:
    """One reason, and what it is about.

    Args:
        text: The reason.
        backbone: Name of the backbone, which the text may hold.
        place: What is read, as lists name it (`eurosat+eurosat-sar`).
        datasets: Ids that the text may hold.
        titles: Titles of stores that the text may hold.
        bands: Whether lists of bands and of sensors are all alike here.
    """

    text: str
    backbone: str
    place: str
    datasets: tuple[str, ...] = ()
    titles: tuple[str, ...] = ()
    bands: bool = False


def grouped(found: Iterable[Because], *, most: int = 0) -> list[str]:
    """Two lines a reason: how often and what; who and where.

    Args:
        found: Reasons, one each time it holds.
        most: How many different ones are told, or one more; 0 = all. A last line counts the rest.
    """
    groups: dict[str, list[Because]] = {}
    for one in found:
        groups.setdefault(_general(one), []).append(one)
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    most += len(ordered) == most + 1  # one more takes no more room than to say that there is one
    lines = []
    for reason, those in ordered[: most or None]:
        who = some(list(dict.fromkeys(one.backbone for one in those)), _NAMED)
        where = some(list(dict.fromkeys(one.place for one in those)), _NAMED)
        lines += [f"  {len(those):>5,}  {reason}", f"         {who} | {where}"]
    rest = [one for _, those in ordered[most:] for one in those] if most else []
    if rest:
        lines.append(f"  {len(rest):>5,}  for {len(ordered) - most} other reasons")
    return lines


def _general(one: Because) -> str:
    """A reason without the names of its cell, for people: lists of bands and of sensors are BANDS."""
    text = one.text.removeprefix(f"{one.backbone}: ")
    for title in one.titles:
        text = text.replace(title, "STORE")
    for name in one.datasets:
        # In commands and after "store of" an id is meant, elsewhere the store.
        text = re.sub(rf"((?:store of|fetch|build) ){re.escape(name)}(?![\w-])", r"\1ID", text)
        text = text.replace(f" {name} ", " STORE ")
    text = text.replace(one.backbone, "BACKBONE")
    text, found = _WEIGHTS.subn("weights are not there. ", text)
    if found and "Save the file as" in text:
        text = "weights are not there, and have no direct link; --cells says how to get them"
    what, fix, policies = text.partition(_POLICIES)
    return (_BANDS.sub("BANDS", what) if one.bands else what) + fix + policies
