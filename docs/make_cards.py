"""Write `docs/datasets/<id>.md`, a card for every data set of the manifest, and their list in `mkdocs.yml`.

`python docs/make_cards.py`
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from seamo.manifest import ArchiveFile, DatasetSpec, LabelSpace, shipped_manifest

FOLDER = Path(__file__).resolve().parent / "datasets"
SITE = FOLDER.parents[1] / "mkdocs.yml"
LIST = "  - Data sets: # written by docs/make_cards.py\n"  # the last part of the site's menu


def card(spec: DatasetSpec) -> str:
    """The card of one data set, as Markdown."""
    parts = [
        f"# {_text(spec.title)}",
        "<!-- Written by docs/make_cards.py from data_manifest.yaml; change it there. -->",
        f"{_text(spec.summary)}.",
        _table(("fact", "value"), _facts(spec)),
        "<!-- not run: archive -->\n```sh\n"
        f"seamo-prep fetch {spec.id} --to raw\nseamo-prep build {spec.id} --raw raw --store stores\n```",
        "## Files",
        _table(("file", "part", "bytes", "hash", "note"), (_file(one) for one in spec.archives)),
        "## Layers",
        _table(("layer", "sensor", "bands", "grid", "size", "dates", "pixels", "fill"), _layers(spec)),
        *(_labels(name, space, spec) for name, space in spec.label_spaces.items()),
        "## Splits",
        _table(("scheme", "from", "samples", "note"), _splits(spec)),
        *_statistics(spec),
        "## Traps",
        "\n".join(f"- {_text(one)}" for one in spec.traps) or "None known.",
        "## How to cite",
        _text(spec.citation.strip()),
    ]
    return "\n\n".join(parts) + "\n"


def _facts(spec: DatasetSpec) -> list[tuple[str, str]]:
    samples = spec.expected.samples
    sizes = [one.bytes for one in spec.archives if not one.same_as]
    known = sum(one for one in sizes if one is not None)
    total = f"{known:,}" + (" and what is not known" if None in sizes and known else "") if known else "not known"
    return [
        ("id", f"`{spec.id}`"),
        ("task", spec.task.kind),
        ("samples", f"{samples:,}" if samples is not None else "not known before the archive is read"),
        ("bytes to fetch", total),
        ("licence", _text(spec.licence)),
        ("attribution", _text(spec.attribution)),
        ("redistribution", _text(f"{spec.redistribution}: {spec.redistribution_why}")),
        *([("must be accepted before it is fetched", spec.accept)] if spec.accept else []),
        ("homepage", spec.homepage),
    ]


def _file(one: ArchiveFile) -> tuple[str, ...]:
    links = " ".join(f"[{number}]({url})" for number, url in enumerate(one.urls, start=1))
    hashes = f"sha256 `{one.sha256}`" if one.sha256 else f"md5 `{one.md5}`" if one.md5 else "not known"
    notes = [
        f"the same samples as {one.same_as}; fetched only when asked for" if one.same_as else "",
        one.how.strip(),
        one.unverified,
    ]
    size = f"{one.bytes:,}" if one.bytes is not None else "not known"
    return f"`{one.name}` {links}".strip(), one.part, size, hashes, _text("; ".join(note for note in notes if note))


def _layers(spec: DatasetSpec) -> Iterable[tuple[str, ...]]:
    for one in spec.layers:
        yield (
            f"`{one.id}`",
            f"{one.sensor} {one.product}".strip(),
            ", ".join(one.bands),
            f"{one.gsd_m:g} m",
            f"{one.size[0]} x {one.size[1]}" if one.size else "varies",
            str(one.times),
            f"{one.dtype}, {one.unit.value}",
            "none" if one.fill is None else str(one.fill),
        )


def _labels(name: str, space: LabelSpace, spec: DatasetSpec) -> str:
    values = {number: [raw for raw, own in space.raw.items() if own == number] for number in range(len(space.classes))}
    is_one_of_several = name == spec.task.label_space and len(spec.label_spaces) > 1
    heading = f"## Labels: {name}" + (" (default)" if is_one_of_several else "")
    rows: list[tuple[str, ...]] = []
    for number, one in enumerate(space.classes):
        published = ", ".join(str(value) for value in values[number])
        source = ", ".join(str(other) for other in space.derived.get(number, ()))
        rows.append((str(number), _text(one.name), f"`{one.color}`" if one.color else "", published or source))
    last = f"ids of {space.source}" if space.source else "published value"
    header: tuple[str, ...] = ("id", "class", "colour", last)
    if not any(row[3] for row in rows):
        header, rows = header[:3], [row[:3] for row in rows]
    notes = [_text(space.note)] if space.note else []
    ignored = [str(raw) for raw, own in space.raw.items() if own == 255]
    if ignored:
        notes.append(f"Ignored: published value {', '.join(ignored)}.")
    return "\n\n".join([heading, _table(header, rows), *notes])


def _splits(spec: DatasetSpec) -> Iterable[tuple[str, ...]]:
    for name, scheme in spec.splits.items():
        source = "the archive itself" if scheme.in_archive else ", ".join(f"`{one.file}`" for one in scheme.files)
        counts = ", ".join(f"{split} {count:,}" for split, count in spec.expected.splits.get(name, {}).items())
        notes = [scheme.note, "val is a tenth of the published train" if scheme.val_from_train else ""]
        default = " (default)" if name == spec.default_split else ""
        yield f"`{name}`{default}", source, counts or "not known", _text("; ".join(note for note in notes if note))
    if spec.default_split not in spec.splits:
        what = "every sample is train" if spec.default_split == "none" else "computed from keys"
        yield f"`{spec.default_split}` (default)", what, "", ""


def _statistics(spec: DatasetSpec) -> list[str]:
    if not spec.statistics:
        return []
    parts = ["## Published statistics", "Facts with a source; no model uses them unless its card says so."]
    for name, one in spec.statistics.items():
        note = f" {_text(one.note)}." if one.note else ""
        parts.append(f"`{name}`, in {one.unit.value}: {_text(one.source)}.{note}")
        rows = [(band, f"{one.mean[band]:g}", f"{one.std[band]:g}") for band in one.mean]
        parts.append(_table(("band", "mean", "std"), rows))
    return parts


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _text(words: str) -> str:
    """One line; outside of `code`, what Markdown or a browser would take for markup is shown as it is."""
    pieces = " ".join(words.split()).split("`")
    for number in range(0, len(pieces), 2):
        plain = pieces[number].replace("&", "&amp;").replace("<", "&lt;")
        pieces[number] = plain.replace("*", "\\*").replace("_", "\\_")
    return "`".join(pieces)


def menu(site: str) -> str:
    """`mkdocs.yml` with every card in the menu, by title."""
    before, mark, _ = site.partition(LIST)
    specs = sorted(shipped_manifest().values(), key=lambda spec: (spec.title.lower(), spec.id))
    return before + mark + "".join(f'      - "{spec.title}": datasets/{spec.id}.md\n' for spec in specs)


def main() -> None:
    """Write every card and the menu, and take away cards of data sets that are no more."""
    FOLDER.mkdir(exist_ok=True)
    cards = {FOLDER / f"{spec.id}.md": card(spec) for spec in shipped_manifest().values()}
    for path in set(FOLDER.glob("*.md")) - cards.keys():
        path.unlink()
    for path, text in cards.items():
        path.write_text(text, encoding="utf-8")
    SITE.write_text(menu(SITE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
