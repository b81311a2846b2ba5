"""A sheet of pictures of samples, with words below each: for looking, which no audit replaces."""

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from seamo.escapes import printable
from seamo.identity import write_atomically
from seamo.store.pictures import ABSENT, Picture, stack_strips
from seamo.store.samples import Samples

_SIDE, _GAP, _LINE, _COLUMNS = 176, 14, 14, 6
_LETTERS, _MOST = 28, 7  # letters of a line below a picture, and lines
_HEAD = 62
_BACK, _INK, _FAINT = (250, 250, 248), (24, 24, 28), (92, 92, 102)


@dataclass(frozen=True, slots=True)
class SheetCard:
    """A sample on a sheet: its row, and what stands below it, a text a line."""

    row: int
    words: tuple[str, ...]


def write_sheet(path: Path, store: Samples, shown: Sequence[SheetCard], *, title: str, total: int) -> None:
    """Draw samples in rows of six, whole or not at all.

    Args:
        path: A .png.
        store: Of the samples.
        shown: At least one.
        title: What they have in common.
        total: How many there are, of which these are the first.
    """
    columns = min(_COLUMNS, max(3, len(shown)))
    words = [[part for word in one.words for part in textwrap.wrap(printable(word), _LETTERS)][:_MOST] for one in shown]
    tall = _SIDE + _LINE * max(map(len, words)) + 2 * _GAP
    size = (_GAP + columns * (_SIDE + _GAP), _HEAD + -(-len(shown) // columns) * tall)
    sheet = Image.new("RGB", size, _BACK)
    pen = ImageDraw.Draw(sheet)
    pen.text((_GAP, 8), printable(store.title), fill=_INK, font=ImageFont.load_default(17))
    caption, bands = f"{len(shown)} of {total:,}: {title}", ""
    for at, one in enumerate(shown):
        left, top = _GAP + at % columns * (_SIDE + _GAP), _HEAD + at // columns * tall
        picture, bands = _picture(store, one.row)
        sheet.paste(_sized(picture), (left, top))
        for number, line in enumerate(words[at]):
            colour = _INK if number else _FAINT
            pen.text((left, top + _SIDE + 2 + number * _LINE), line, fill=colour, font=ImageFont.load_default(11))
    facts = [bands, store.spec.attribution] + (["SYNTHETIC"] if store.meta.synthetic is not None else [])
    for number, line in enumerate((caption, "  |  ".join(printable(one) for one in facts if one))):
        pen.text((_GAP, 29 + 15 * number), line, fill=_FAINT, font=ImageFont.load_default(11))
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG", optimize=True)
    write_atomically(path, buffer.getvalue())


def _picture(store: Samples, row: int) -> tuple[Picture | None, str]:
    """The most natural rendering that is there, its newest date, and its caption."""
    for stack in store.spec.stacks:
        for strip in stack_strips(store, row, stack):
            there = [panel.picture for panel in strip.panels if panel.picture is not None]
            if there:
                return there[-1], strip.caption
    return None, ""


def _sized(picture: Picture | None) -> Image.Image:
    if picture is None:
        return Image.new("RGB", (_SIDE, _SIDE), ABSENT)
    image = Image.fromarray(picture)
    scale = _SIDE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BOX)
