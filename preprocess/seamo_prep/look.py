"""Contact sheets: samples as PNG, or as one self-contained HTML page."""

import base64
import html
import io
import textwrap
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from seamo.errors import UsageError
from seamo.identity import write_atomically
from seamo.store.pictures import ABSENT, Card, Panel, Picture, cards
from seamo.store.reader import Store

_PANEL = 168  # pixels; small images are enlarged by whole numbers up to about this size
_LARGEST = 384  # larger images are shrunk to this
_GAP, _MARGIN, _LINE = 6, 18, 16
_SHEET = 1720  # widest sheet
_BACK, _INK, _FAINT, _BOX = (250, 250, 248), (24, 24, 28), (110, 110, 118), (255, 255, 255)


def look(store: Store, output: Path, *, keys: tuple[str, ...] = (), num: int = 12) -> None:
    """Draw samples of a store.

    Args:
        store: An open store.
        output: `.png` or `.html`.
        keys: Samples to draw; without them `num` are chosen, the classes in turn.
        num: How many to choose.

    Raises:
        UsageError: If the file name ends otherwise.
        StoreError: If there is no sample of a key.
    """
    if output.suffix not in (".png", ".html"):
        raise UsageError(f"cannot write {output.suffix or 'a file without ending'}", str(output), "Use .png or .html.")
    rows = [store.row(key) for key in keys] if keys else choose(store, num)
    drawn = cards(store, rows)
    notes = [store.title, f"{len(rows)} of {len(store):,} samples", f"split scheme {store.meta.split_scheme}"]
    if store.meta.synthetic is not None:
        notes.append("SYNTHETIC: nothing here was measured")
    if store.spec.attribution:
        notes.append(store.spec.attribution)
    if output.suffix == ".html":
        data = page(drawn, notes).encode()
    else:
        buffer = io.BytesIO()
        sheet(drawn, notes).save(buffer, format="PNG", optimize=True)
        data = buffer.getvalue()
    output.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(output, data)


def choose(store: Store, num: int) -> list[int]:
    """Rows that show much: the classes in turn, within a class spread over the store."""
    rows = store.rows("all")
    groups: dict[object, list[int]] = defaultdict(list)
    for row in rows[:: max(1, len(rows) // 5000)].tolist():
        label = store.read_label(row) if store.spec.task.kind in ("single-label", "multi-label") else None
        groups[label].append(row)
    spread = [
        [group[i] for i in np.linspace(0, len(group) - 1, min(num, len(group))).astype(int)]
        for _, group in sorted(groups.items(), key=lambda item: repr(item[0]))
    ]
    turns = [group[i] for i in range(num) for group in spread if i < len(group)]
    return sorted(turns[:num])


def sheet(cards: list[Card], notes: list[str]) -> Image.Image:
    """All cards on one picture, in columns."""
    drawn = [_draw_card(one) for one in cards]
    width = max(one.width for one in drawn)
    columns = max(1, min(len(drawn), (_SHEET - _MARGIN) // (width + _MARGIN)))
    lines = [drawn[i : i + columns] for i in range(0, len(drawn), columns)]
    wide = _MARGIN + columns * (width + _MARGIN)
    said = _wrap("  |  ".join(notes[1:]), wide - 2 * _MARGIN, size=12)
    head = 42 + _LINE * len(said)
    total = (
        wide,
        head + sum(max(one.height for one in line) + _MARGIN for line in lines),
    )
    canvas = Image.new("RGB", total, _BACK)
    pen = ImageDraw.Draw(canvas)
    pen.text((_MARGIN, 12), notes[0], fill=_INK, font=_font(20))
    for i, text in enumerate(said):
        pen.text((_MARGIN, 37 + _LINE * i), text, fill=_FAINT, font=_font(12))
    top = head
    for line in lines:
        for i, one in enumerate(line):
            canvas.paste(one, (_MARGIN + i * (width + _MARGIN), top))
        top += max(one.height for one in line) + _MARGIN
    return canvas


def _draw_card(one: Card) -> Image.Image:
    strips = [[_panel_image(panel) for panel in strip.panels] for strip in one.strips]
    inner = max(max(sum(p.width + _GAP for p in panels) - _GAP for panels in strips), 300)
    # A short strip goes beside another where both fit: single-date samples take one row.
    rows: list[list[int]] = []
    used = inner + 1
    limit = max(inner, 3 * (_PANEL + 150)) if all(len(panels) == 1 for panels in strips) else inner
    for k, panels in enumerate(strips):
        wide = max(sum(p.width + _GAP for p in panels) - _GAP, 190 if limit > inner else 0)
        if used + _GAP + wide > limit or not rows:
            rows.append([])
            used = -_GAP
        rows[-1].append(k)
        used += _GAP + wide
    widths = [max(sum(p.width + _GAP for p in panels) - _GAP, 190 if limit > inner else 0) for panels in strips]
    inner = max([inner, *(sum(widths[k] + _GAP for k in row) - _GAP for row in rows)])
    captions = {k: _wrap(one.strips[k].caption, widths[k] if limit > inner or len(rows[0]) > 1 else inner)
                for k in range(len(strips))}  # fmt: skip
    about, key = _wrap(one.about, inner), _wrap(one.key, inner, size=13)
    legend = _legend_lines(one, inner)
    heights = [
        max(len(captions[k]) * 13 for k in row) + max(p.height for k in row for p in strips[k]) + _GAP for row in rows
    ]
    tall = 12 + len(key) * _LINE + len(about) * 14 + 6 + sum(heights) + len(legend) * _LINE + 8
    canvas = Image.new("RGB", (inner + 24, tall), _BOX)
    pen = ImageDraw.Draw(canvas)
    pen.rectangle((0, 0, canvas.width - 1, canvas.height - 1), outline=(215, 215, 212))
    top = 10
    for text in key:
        pen.text((12, top), text, fill=_INK, font=_font(13))
        top += _LINE
    for text in about:
        pen.text((12, top), text, fill=_FAINT, font=_font(11))
        top += 14
    top += 6
    for row, height in zip(rows, heights, strict=True):
        left = 12
        caption_lines = max(len(captions[k]) for k in row)
        for k in row:
            for i, text in enumerate(captions[k]):
                pen.text((left, top + i * 13), text, fill=_FAINT, font=_font(10))
            at = left
            for picture in strips[k]:
                canvas.paste(picture, (at, top + caption_lines * 13 + 2))
                at += picture.width + _GAP
            left += widths[k] + _GAP
        top += height
    for line in legend:
        left = 12
        for name, colour in line:
            pen.rectangle((left, top + 3, left + 10, top + 13), fill=colour)
            pen.text((left + 15, top), name, fill=_INK, font=_font(11))
            left += 27 + int(_font(11).getlength(name))
        top += _LINE
    return canvas


def _panel_image(panel: Panel) -> Image.Image:
    if panel.picture is None:
        image = Image.new("RGB", (_PANEL, _PANEL), ABSENT)
        ImageDraw.Draw(image).text((_PANEL // 2, _PANEL // 2), "not there", fill=(190, 190, 195), font=_font(12),
                                   anchor="mm")  # fmt: skip
    else:
        image = _sized(panel.picture)
    if panel.title:
        pen = ImageDraw.Draw(image)
        length = int(_font(11).getlength(panel.title))
        pen.rectangle((0, image.height - 16, length + 8, image.height), fill=(0, 0, 0))
        pen.text((4, image.height - 15), panel.title, fill=(255, 255, 255), font=_font(11))
    return image


def _sized(picture: Picture) -> Image.Image:
    image = Image.fromarray(picture)
    longest = max(image.size)
    if longest > _LARGEST:
        scale = _LARGEST / longest
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        return image.resize(size, Image.Resampling.BOX)
    factor = max(1, round(_PANEL / longest))
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def _legend_lines(one: Card, width: int) -> list[list[tuple[str, tuple[int, int, int]]]]:
    lines: list[list[tuple[str, tuple[int, int, int]]]] = []
    used = width
    for name, colour in one.legend:
        wide = 27 + int(_font(11).getlength(name))
        if not lines or used + wide > width:
            lines.append([])
            used = 0
        lines[-1].append((name, colour))
        used += wide
    return lines


def _wrap(text: str, width: int, size: int = 10) -> list[str]:
    letters = max(10, int(width / (0.56 * size)))
    return textwrap.wrap(text, letters) if text else []


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def page(cards: list[Card], notes: list[str]) -> str:
    """The same as one HTML page that needs no other file."""
    parts = [_HEAD.format(title=html.escape(notes[0]), notes=html.escape(" | ".join(notes[1:])))]
    for one in cards:
        parts.append(f"<section><h2>{html.escape(one.key)}</h2><p>{html.escape(one.about)}</p>")
        for strip in one.strips:
            parts.append(f"<figure><figcaption>{html.escape(strip.caption)}</figcaption>")
            for panel in strip.panels:
                buffer = io.BytesIO()
                _panel_image(panel).save(buffer, format="PNG")
                data = base64.b64encode(buffer.getvalue()).decode("ascii")
                name = html.escape(f"{one.key} {panel.title}", quote=True)
                parts.append(f'<img src="data:image/png;base64,{data}" alt="{name}">')
            parts.append("</figure>")
        for name, (red, green, blue) in one.legend:
            parts.append(f'<span><i style="background:rgb({red},{green},{blue})"></i>{html.escape(name)}</span>')
        parts.append("</section>")
    return "\n".join([*parts, "</main></html>\n"])


_HEAD = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>
body {{font: 14px/1.4 system-ui, sans-serif; margin: 1.5rem; background: #fafaf8; color: #18181c}}
main {{display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start}}
section {{background: #fff; border: 1px solid #d8d8d4; padding: .8rem; max-width: 100%}}
h2 {{font-size: 1rem; margin: 0}} p, figcaption {{color: #66666e; font-size: .8rem; margin: .1rem 0}}
figure {{margin: .4rem 0}} img {{margin-right: 4px; image-rendering: pixelated; max-width: 100%}}
span {{margin-right: 1rem; font-size: .8rem}} i {{display: inline-block; width: .8em; height: .8em; margin-right: .3em}}
</style><h1>{title}</h1><p>{notes}</p><main>"""
