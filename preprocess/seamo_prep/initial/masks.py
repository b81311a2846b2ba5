"""What the labels are for: classes by name, sets of them, or masks with the values that stand in them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from seamo.errors import ArchiveError
from seamo.sample import IGNORE
from seamo_prep.initial.peek import Peek

_GAPS = 64  # largest value of a mask up to which every value between is a class of its own
_FEW = 10  # samples below which a label of every sample alone may still be a class
_SOME = 6


@dataclass(frozen=True, slots=True)
class LabelGuess:
    """The task and its classes.

    Args:
        kind: `single-label`, `multi-label`, `segmentation` or `none`.
        classes: Names in the order of their ids; empty for `none`.
        why: How it was seen.
        raw: For masks: value -> id, where they differ or must be said.
        raw_why: How that was seen.
        names_why: What is not known of the classes.
    """

    kind: str
    classes: tuple[str, ...] = ()
    why: str = ""
    raw: Mapping[int, int] = field(default_factory=dict)
    raw_why: str = ""
    names_why: str = ""


def guess_classes(labels: Sequence[tuple[str, ...]]) -> LabelGuess:
    """The task of labels that are names.

    Args:
        labels: Of every sample, none, one or several.
    """
    names = sorted({name for one in labels for name in one}, key=_natural)
    given = sum(bool(one) for one in labels)
    if not names:
        return LabelGuess("none", why="no labels were found: no classes, no masks")
    if any(len(one) > 1 for one in labels):
        why = f"sets of {len(names)} classes: {', '.join(names[:_SOME])}{', ...' * (len(names) > _SOME)}"
        return LabelGuess("multi-label", tuple(names), why)
    if len(names) > given / 2 and given > _FEW:
        return LabelGuess("none", why=f"{len(names)} different labels of {given} samples are no classes: none is read")
    why = f"one of {len(names)} classes: {', '.join(names[:_SOME])}{', ...' * (len(names) > _SOME)}"
    if given < len(labels):
        why += f"; {len(labels) - given:,} samples have none"
    is_number = all(re.fullmatch(r"-?\d+", one) for one in names)
    return LabelGuess(
        "single-label", tuple(names), why, names_why="numbers stand for classes: their names" if is_number else ""
    )


def guess_masks(peeks: Sequence[Peek]) -> LabelGuess:
    """The task of masks.

    Raises:
        ArchiveError: With the first file that is none.
    """
    for one in peeks:
        types = {one.facts.dtypes[number] for number in one.facts.measured}
        if len(one.facts.measured) != 1:
            fix = "A mask holds class ids in one band; a picture of a mask must be drawn back to ids."
            raise ArchiveError(f"the mask has {len(one.facts.measured)} bands instead of 1", one.path, fix)
        if any(kind.startswith(("float", "complex")) for kind in types):
            raise ArchiveError(
                f"the mask is {', '.join(types)} instead of whole numbers", one.path, "Write it as uint8."
            )
    values = {value for one in peeks for value in one.ids}
    looked = sum(bool(one.ids) for one in peeks)
    missing = {int(value) for one in peeks for number in one.facts.measured
               if (value := one.facts.nodata[number]) is not None and float(value).is_integer()}  # fmt: skip
    told = f"masks; values seen in {looked} of {len(peeks)} that were looked at: {_listed(sorted(values))}"
    names_why = "what the values of the masks stand for"
    if values <= {0, IGNORE} and not missing:
        raw = {0: 0, IGNORE: 1}
        why = "guess: 255 is the one class of interest, as most programs draw it; it is ignored if 255: 255 stands here"
        return LabelGuess("segmentation", ("value 0", f"value {IGNORE}"), told, raw, why, names_why)
    classes = sorted(values - missing - {IGNORE})
    if not classes:
        return LabelGuess("none", why=f"{told}: no class is in them")
    if classes[0] >= 0 and classes[-1] <= _GAPS:
        classes = [value for value in range(classes[-1] + 1) if value not in missing]
    if len(classes) >= IGNORE or classes[0] < 0:
        what = f"the masks hold {len(classes)} values from {classes[0]} to {classes[-1]}, more than a mask has classes"
        raise ArchiveError(what, peeks[0].path, "Are they masks? Masks hold ids from 0 to 254.")
    raw = {value: number for number, value in enumerate(classes)}
    raw_why = ""
    unseen = [value for value in classes if value not in values]
    told += f"; {_listed(unseen)}, which were not, may stand in the others" if unseen else ""
    if missing & values or any(value != number for value, number in raw.items()):
        raw |= dict.fromkeys(sorted((missing & values) | ({IGNORE} & values)), IGNORE)
        raw_why = "value in the files: id of the class; 255 is ignored"
        raw_why += f" (the files declare {_listed(sorted(missing))} as nodata)" if missing & values else ""
    else:
        raw = {}
    return LabelGuess("segmentation", tuple(f"value {one}" for one in classes), told, raw, raw_why, names_why)


def _listed(values: Sequence[int]) -> str:
    return ", ".join(map(str, values[:20])) + (", ..." if len(values) > 20 else "")


def _natural(text: str) -> tuple[int, float, str]:
    return (0, float(text), text) if re.fullmatch(r"-?\d+", text) else (1, 0.0, text)
