"""The whole of `init`: what is in a folder, what is written for it, what was guessed and what is not known."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from seamo.errors import ArchiveError
from seamo.identity import write_atomically
from seamo.manifest import parse_manifest
from seamo.yamlfile import TextFault, decode_text
from seamo_prep.archives import archive_ids
from seamo_prep.archives.folder import SPEC, TABLE
from seamo_prep.initial.arrange import Arranged, arrange
from seamo_prep.initial.guess import LayerGuess
from seamo_prep.initial.known import is_terramesh, published_as
from seamo_prep.initial.masks import LabelGuess
from seamo_prep.initial.paths import make_keys
from seamo_prep.initial.text import Reasoned, comment, is_own, lines_of, scalar, sealed, table_text
from seamo_prep.links import missing_target
from seamo_prep.trees import Tree

_TIFF = (".tif", ".tiff")
_OTHER = (
    ".jp2",
    ".png",
    ".jpg",
    ".jpeg",
    ".img",
    ".vrt",
    ".nc",
    ".h5",
    ".hdf",
    ".npy",
    ".npz",
    ".pt",
    ".zip",
    ".tar",
    ".gz",
)
_LARGEST_TEXT = 64 * 2**20
_TERRAMESH = (
    "These are TerraMesh's folders as they are published, zarr arrays in shards, which are not read: write each array "
    "as a GeoTIFF by the sample's name in its folder (S2L2A/NAME.tif), which `init` knows."
)
_LARGE = 2_048  # pixels from which on an image is a scene rather than a sample


@dataclass(frozen=True, slots=True)
class Noted:
    """One thing that a person should read.

    Args:
        kind: `found`, `guess`, `unknown`, `fill in`, `left out`.
        where: The field, file or column.
        what: As a sentence without a full stop.
    """

    kind: str
    where: str
    what: str


@dataclass(frozen=True, slots=True)
class Initiated:
    """What `init` wrote.

    Args:
        folder: Where.
        samples: Rows of `samples.csv`.
        notes: What was understood, guessed and left out.
        build: The command that comes next.
        is_ready: Whether nothing must be filled in first.
    """

    folder: Path
    samples: int
    notes: tuple[Noted, ...]
    build: str
    is_ready: bool


def init(folder: Path) -> Initiated:
    """Write `samples.csv` and `seamo.yaml` for the images in a folder, with a comment for every guess.

    Args:
        folder: That is there, with GeoTIFFs in it, however deep.

    Raises:
        ArchiveError: If the files are there already, or the folder is a published archive, cannot be written to, holds
            no GeoTIFF, or images that no layer can describe; says what to do.
    """
    root = Path(os.path.abspath(folder))  # noqa: PTH100 - links in it stay as they are named
    _check_free(root)
    published = published_as(root)
    if published is not None:
        dataset, raw = published
        deep = "" if raw == root else f", {len(root.relative_to(raw).parts)} folders too deep"
        raise ArchiveError(
            f"is the published {dataset}{deep}, which needs no table", str(folder),
            f"Run `seamo-prep build {dataset} --raw {quote(str(raw))} --store ...`; if it is your own, "
            "rename the folder that is called as the published one.",
        )  # fmt: skip
    if not os.access(root, os.W_OK):
        fix = f"Make a folder of your own with a link to it: mkdir mine && ln -s {quote(str(root))} mine/images."
        raise ArchiveError("cannot be written to, and the two files belong beside the images", str(root), fix)
    rasters, texts, left_out = _files(root)
    found = arrange(root, rasters, texts)
    spec_id = _id(root)
    table = _table(found)
    spec = _spec(found, spec_id, root)
    if not found.is_open:
        parse_manifest(spec.encode("utf-8"), str(root / SPEC))  # what is written is read
    write_atomically(root / SPEC, sealed(spec, table))
    write_atomically(root / TABLE, table.encode("utf-8"))
    relax = ",".join(sorted(found.relax))
    build = f"seamo-prep build folder --raw {quote(str(folder))} --store stores" + (
        f" --relax {relax}" if relax else ""
    )
    notes = (*_notes(found, (root / SPEC).read_text("utf-8")), *(Noted("left out", *one) for one in left_out))
    return Initiated(folder, len(found.samples), notes, build, not found.is_open)


def _check_free(root: Path) -> None:
    """Refuse to write over what a person wrote."""
    spec, table = root / SPEC, root / TABLE
    there = [one.name for one in (spec, table) if one.exists() or one.is_symlink()]
    if not there or (len(there) == 2 and is_own(spec.read_bytes(), table.read_bytes())):
        return
    if there == [TABLE]:
        fix = f"Rename it: `init` reads a table by any other name, and writes {TABLE} itself."
    elif there == [SPEC]:
        fix = "Move it away to begin anew."
    else:
        fix = "They were written or changed by hand: build with them, or move them away to begin anew."
    raise ArchiveError(f"{' and '.join(there)} {'are' if len(there) > 1 else 'is'} there already", str(root), fix)


def _files(root: Path) -> tuple[list[str], dict[str, str], list[tuple[str, str]]]:
    """GeoTIFFs, texts (csv and lists) and what is left out, of all files below a folder."""
    rasters: list[str] = []
    texts: dict[str, str] = {}
    left_out: list[tuple[str, str]] = []
    others: Counter[str] = Counter()
    packed: list[str] = []
    for name in _names(Tree(root, ""), ""):
        ending = Path(name).suffix.lower()
        if name in (SPEC, TABLE):
            continue
        if ending in _TIFF:
            why = _unusable(root, name)
            left_out += [(name, why)] if why else []
            rasters += [] if why else [name]
        elif ending in (".csv", ".tsv", ".txt"):
            text = _text(root / name)
            if isinstance(text, str):
                texts[name] = text
            else:
                left_out.append((name, text.what))
        elif ending in _OTHER or ".zarr" in name:
            others[".zarr" if ".zarr" in name else ending] += 1
            packed.append(name)
    told = ", ".join(f"{count:,} {ending}" for ending, count in others.most_common(4))
    if not rasters:
        fix = _TERRAMESH if is_terramesh(packed) else _what_instead(others, left_out)
        raise ArchiveError(f"holds no GeoTIFF{f', but {told}' if told else ''}", str(root), fix)
    if others:
        left_out.append((told, "only GeoTIFFs (.tif, .tiff) are read"))
    return rasters, texts, left_out


def _names(tree: Tree, folder: str) -> Iterator[str]:
    """Every file, in a fixed order; links that lead back are not followed."""
    folders, files = tree.list_dir(folder)
    lead = f"{folder}/" if folder else ""
    yield from (lead + one for one in files)
    for one in folders:
        yield from _names(tree, lead + one)


def _what_instead(others: Mapping[str, int], left_out: Sequence[tuple[str, str]]) -> str:
    if left_out:
        return f"{left_out[0][0]}: {left_out[0][1]}."
    if ".zarr" in others:
        return (
            "Write each sample of the zarr arrays as a GeoTIFF (rioxarray: array.rio.to_raster), one a part and date."
        )
    if {".zip", ".tar", ".gz"} & set(others):
        return "Unpack it first."
    if others:
        return "Convert them, with the place where they lie: gdal_translate image.jp2 image.tif."
    return "Give the folder that holds your images."


def _unusable(root: Path, name: str) -> str:
    """Why a file cannot stand in a table; empty if it can."""
    if target := missing_target(root / name):
        return f"is a link to {target}, which is not there"
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return "its name is not UTF-8: rename it"
    if not name.isprintable() or "\\" in name or name != name.strip():
        return "its name holds a backslash, a control character, or space at an end: rename it"
    return ""


def _text(file: Path) -> "str | TextFault":
    if file.is_symlink() and not file.exists():
        return TextFault(0, "is a link to nothing")
    if file.stat().st_size > _LARGEST_TEXT:
        return TextFault(0, f"is larger than {_LARGEST_TEXT:,} bytes")
    return decode_text(file.read_bytes())


def _id(root: Path) -> str:
    """An id of the data set: the folder's name, unless another has it."""
    (slug,) = make_keys([(root.name,)])
    slug = re.sub(r"[^a-z0-9]+", "-", slug.lower()).strip("-") or "images"
    inside = {one.name for one in root.iterdir()}
    return f"my-{slug}" if slug in (*archive_ids(), "folder") or slug in inside else slug


def _table(found: Arranged) -> str:
    rows = []
    for key, one in zip(make_keys([sample.name for sample in found.samples]), found.samples, strict=True):
        row = {"key": key, "label": one.mask or "|".join(one.labels), "split": one.split, "scene": one.scene}
        rows.append(row | dict(found.cells(one)))
    wanted = [column for column in ("label", "split", "scene") if any(row[column] for row in rows)]
    columns = ["key", *found.columns(), *wanted]
    return table_text(columns, [{name: row.get(name, "") for name in columns} for row in rows])


def _spec(found: Arranged, spec_id: str, root: Path) -> str:
    """The body of `seamo.yaml`."""
    count = len(found.samples)
    lines = [
        "# Guesses say so: correct them where they are wrong. FILL-IN stands where only you know: `build` refuses it.",
        '# The guide "Your own data in ten minutes" has the form. Once one of the files was changed, both are yours.',
        *comment(f"Looked at: headers of {found.headers:,} of {found.files:,} files, pixels of {found.pixels:,}. "
                 "The others are read by `build`, which refuses what differs.", 0),
        *(line for note in found.notes for line in comment(note, 0)),
        "datasets:",
        f"  {scalar(spec_id)}:",
        f"    title: {scalar(root.name)}",
        f"    summary: {scalar(f'{count:,} samples of {root.name}')}",
        *lines_of({"licence": Reasoned("unknown", "not known: under which terms the images may be used"),
                   "citation": Reasoned("none", "not known: what to cite")}, 4),
        "    layers:",
    ]  # fmt: skip
    for layer in found.layers:
        lines += [f"      - id: {layer.id}", f"        stack: {layer.stack}", *lines_of(layer.said, 8)]
    lines += _task_lines(found.labels)
    splits = {one.split for one in found.samples if one.split}
    if len(splits) > 1:
        scheme = ["      own:", "        in_archive: true"]
        if splits == {"train", "test"}:
            scheme += [*comment("there is no val: a tenth of train becomes it", 8), "        val_from_train: true"]
        lines += ["    splits:", *scheme, "    default_split: own"]
    else:
        why = "no splits were found: 60, 20 and 20 % by a hash of the scene, or of the key where it has none; "
        why += "`verify --leaks` looks for places that several splits share"
        lines += [*comment(why, 4), "    default_split: hash-60-20-20"]
    return "\n".join(lines) + "\n"


def _task_lines(labels: LabelGuess) -> list[str]:
    if not labels.classes:
        return [*comment(labels.why, 4), f"    task: {{kind: {labels.kind}}}"]
    found = [*comment(labels.why, 4), f"    task: {{kind: {labels.kind}, label_space: classes}}", "    label_spaces:",
             "      classes:"]  # fmt: skip
    if labels.raw:
        pairs = ", ".join(f"{value}: {number}" for value, number in labels.raw.items())
        found += [*comment(labels.raw_why, 8), f"        raw: {{{pairs}}}"]
    found += [*comment(labels.names_why, 8), "        classes:"]
    return found + [f"          - {{name: {scalar(name)}}}" for name in labels.classes]


def _notes(found: Arranged, text: str) -> Iterable[Noted]:
    looked = f"headers of {found.headers:,} of them, pixels of {found.pixels:,}"
    yield Noted("found", "", f"{len(found.samples):,} samples, {found.files:,} GeoTIFFs; looked at: {looked}")
    for note in found.notes:
        yield Noted("guess", TABLE, note)
    for layer in found.layers:
        yield from _layer_notes(layer, text)
    labels = found.labels
    yield Noted("guess", "task", f"{labels.kind}: {labels.why}")
    if labels.raw_why:
        yield Noted("guess", "raw", labels.raw_why.removeprefix("guess: "))
    if labels.names_why:
        yield Noted("unknown", "classes", labels.names_why)
    yield Noted("unknown", "licence", "under which terms the images may be used")
    if any(max(one.facts.grid.height, one.facts.grid.width) > _LARGE for one in found.peeks):
        yield Noted(
            "unknown",
            "samples",
            f"images of more than {_LARGE:,} pixels, each of which becomes one sample: cut scenes into tiles",
        )
    if not any(one.facts.grid.is_placed for one in found.peeks):
        yield Noted("unknown", "place", "no file says where it lies")
    for path, why in found.left_out:
        yield Noted("left out", path, why)


def _layer_notes(layer: LayerGuess, text: str) -> Iterable[Noted]:
    start = text.index(f"- id: {layer.id}\n")
    for name, one in layer.said.items():
        if one.is_open:
            line = text.count("\n", 0, text.index(f"        {name}: ", start)) + 1
            yield Noted("fill in", f"line {line}, {layer.id}.{name}", one.why)
        elif one.is_guess:
            yield Noted("guess", f"{layer.id}.{name} {one.text}", one.why.removeprefix("guess: "))
        else:
            yield Noted("found", f"{layer.id}.{name} {one.text}", one.why)
    for note in layer.notes:
        yield Noted("unknown", layer.id, note)
