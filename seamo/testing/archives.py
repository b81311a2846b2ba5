"""What every archive must hold, as one call: `check_archive(archive, spec, folder)`.

An archive's own demo is its first test: it writes the published layout, small and declared synthetic, and is read back
here. That the layout *is* the published one, and that pixels are the file's, stays for tests of the archive's own.
"""

import pickle
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np

from seamo.errors import SeamoError
from seamo.manifest import DatasetSpec
from seamo.sample import Sample, check_key, check_sample
from seamo.testing.expect import expect
from seamo.testing.world import World

if TYPE_CHECKING:
    import pandas as pd

    from seamo_prep.archives import Archive
    from seamo_prep.unpack import Raw

SEED = 3


def check_archive(archive: "Archive", spec: DatasetSpec, folder: Path, *, size: str = "tiny") -> "Raw":
    """Check one archive on its own demo.

    * `demo` writes the layout and declares it synthetic.
    * `index` has one row a sample, sorted by key, keys that both store layouts can hold, and a ledger; it reads no
      images (a file or two for a size or a date are none), writes nothing and gives the same again.
    * `read` gives the samples of the rows it is given, in their order, in the shapes, dtypes and classes of the spec;
      a sample is the same in whatever company, in a copy of the rows and of `Raw` that travelled to another process.
    * What the index says of a sample (label, scene, place) is what the sample says.
    * Split lists in the archive, or beside it, name a split for every sample, and all three splits.
    * What a store is named by (the fingerprint of the files) stays when the archive is opened again.

    Args:
        archive: A module with `index`, `read` and `demo`.
        spec: Its entry in a manifest.
        folder: An empty folder for the demo.
        size: Of the demo: `tiny` or `small`.

    Returns:
        The demo, for further tests.

    Raises:
        AssertionError: Saying what does not hold and where.
    """
    from seamo_prep.unpack import SYNTHETIC, Raw

    archive.demo(folder, World(seed=SEED), size)
    expect((folder / SYNTHETIC).is_file(), spec.id, f"demo writes no {SYNTHETIC}", "End with `declare_synthetic`.")
    raw = Raw(folder, spec)
    before, fingerprint = _files(folder), raw.fingerprint()
    rows = _check_index(archive, raw, spec)
    samples = _check_read(archive, raw, rows, spec=spec)
    _check_agreement(rows, samples, spec)
    _check_splits(raw, rows, spec)
    expect(_files(folder) == before, spec.id, "index or read changes the files", "Never write into RAW.")
    again = Raw(folder, spec).fingerprint()
    expect(again == fingerprint, spec.id, "the fingerprint changes", "A second build would not find the first.")
    return raw


def _files(folder: Path) -> dict[str, tuple[int, int]]:
    """Name -> size and time of change of every file."""
    found = {path.relative_to(folder).as_posix(): path.stat() for path in folder.rglob("*") if path.is_file()}
    return {name: (facts.st_size, facts.st_mtime_ns) for name, facts in found.items()}


# The index ------------------------------------------------------------------------------------------------


def _check_index(archive: "Archive", raw: "Raw", spec: DatasetSpec) -> "pd.DataFrame":
    where = f"{spec.id}: index"
    with _decoded() as images:
        rows = archive.index(raw, spec)
    expect(len(rows), where, "is empty", "The demo must hold samples, and the index find them.")
    fix = "What is known of a sample before its pixels stands in names and lists; pixels are for `read`."
    expect(2 * len(images) <= len(rows), where, f"decodes {len(images)} images for {len(rows)} samples", fix)
    keys = [str(key) for key in rows["key"]]
    expect(keys == sorted(keys), where, "is not sorted by key", "End with sort_values('key', ignore_index=True).")
    expect(len(set(keys)) == len(keys), where, "has a key twice", "One row a sample.")
    expect(list(rows.index) == list(range(len(rows))), where, "is not numbered 0 to n - 1", "Use ignore_index=True.")
    for key in keys:
        try:
            check_key(key)
        except SeamoError as error:
            raise AssertionError(f"{where}: {error}") from error
    known = {"key", "scene", "country", "y0", "x0", "height", "width", "split", "label"}
    strange = [name for name in rows.columns if name not in known and not name.startswith("_")]
    expect(not strange, where, f"has columns {strange}", "Columns that `read` needs start with '_'.")
    expect({"y0", "x0"} <= set(rows) or not {"y0", "x0"} & set(rows), where, "has one of y0 and x0 alone")
    ledger = rows.attrs.get("ledger")
    fine = isinstance(ledger, list) and all(len(entry) == 2 and all(map(str, entry)) for entry in ledger)
    expect(fine, where, "has no ledger", "attrs['ledger'] lists (name, reason) of what was left out; [] if nothing.")
    again = archive.index(type(raw)(raw.root, spec, raw.relax), spec)
    same = again.equals(rows) and again.attrs == rows.attrs
    expect(same, where, "differs when it is made again", "It may follow names and lists alone, in a fixed order.")
    return rows


@contextmanager
def _decoded() -> Generator[set[str]]:
    """The images that are decoded meanwhile, by whichever of the ways that `seamo_prep` has."""
    from PIL import ImageFile
    from rasterio.io import DatasetReader

    from seamo_prep import rasters

    found: set[str] = set()

    def watched(real: Any, name_of: Callable[..., str]) -> Any:
        def decode(*args: Any, **options: Any) -> Any:
            found.add(name_of(*args))
            return real(*args, **options)

        return decode

    picture = ImageFile.ImageFile
    with (
        patch.object(rasters, "decode_tiff", watched(rasters.decode_tiff, lambda _data, where: where)),
        patch.object(DatasetReader, "read", watched(DatasetReader.read, lambda file, *_: file.name)),
        patch.object(picture, "load", watched(picture.load, lambda file: str(file.filename or id(file)))),
    ):
        yield found


# Samples --------------------------------------------------------------------------------------------------


def _check_read(archive: "Archive", raw: "Raw", rows: "pd.DataFrame", *, spec: DatasetSpec) -> dict[str, Sample]:
    from seamo_prep.archives import sized_spec

    where = f"{spec.id}: read"
    sized = sized_spec(archive, raw, rows, spec=spec)
    given = rows.copy()
    samples = list(archive.read(raw, rows, sized))
    expect(rows.equals(given), where, "changes the rows that it is given", "Work on a copy.")
    said = [sample.key for sample in samples]
    fix = "Yield one sample a row, in the order of the rows."
    expect(said == list(rows["key"]), where, "does not follow the rows", fix)
    for sample in samples:
        try:
            check_sample(sample, sized)
        except SeamoError as error:
            raise AssertionError(f"{where}: {error}") from error
        expect(sample.layers, f"{where} {sample.key}", "the sample has no layer", "Leave it out, into the ledger.")
    every = {layer.id for layer in spec.layers}
    seen = {name for sample in samples for name in sample.layers}
    expect(seen == every, where, f"no sample has the layers {sorted(every - seen)}", "The demo shows every layer.")
    whole = {sample.key: sample for sample in samples}
    mixed = rows.iloc[np.random.default_rng(SEED).permutation(len(rows))[: max(1, len(rows) // 2)]]
    travelled = pickle.loads(pickle.dumps((raw, mixed)))  # noqa: S301 - as between processes, and our own bytes
    for what, source, part in (
        ("by itself", raw, rows.iloc[-1:]),
        ("among half of the rows in another order, in another process", *travelled),
    ):
        read = list(archive.read(source, part, sized))
        fix = "Yield one sample a row, in the order of the rows."
        expect([sample.key for sample in read] == list(part["key"]), where, f"does not follow rows {what}", fix)
        for sample in read:
            differing = _difference(sample, whole[sample.key])
            fix = "A sample follows from its row and the files alone."
            expect(not differing, f"{where} {sample.key}", f"{differing} differs when it is read {what}", fix)
    return whole


def _difference(one: Sample, two: Sample) -> str:
    """The first part in which two samples differ; empty if they are equal, bit by bit."""
    plain = [replace(sample, layers={}, time={}, label=None) for sample in (one, two)]
    for name in ("key", "geo", "scene", "offset"):
        if getattr(plain[0], name) != getattr(plain[1], name):
            return name
    if not np.array_equal(np.asarray(one.label, dtype=object), np.asarray(two.label, dtype=object)):
        return "label"
    for what, ours, theirs in (("layer", one.layers, two.layers), ("dates of", one.time, two.time)):
        if ours.keys() != theirs.keys():
            return f"the list of {what}"
        for name, array in ours.items():
            if array.dtype != theirs[name].dtype or array.tobytes() != theirs[name].tobytes():
                return f"{what} {name}"
    return ""


def _check_agreement(rows: "pd.DataFrame", samples: dict[str, Sample], spec: DatasetSpec) -> None:
    """What the index says of a sample is what the sample says."""
    fix = "Say it once, in the row, and take it from there."
    for row in rows.to_dict("records"):
        sample = samples[str(row["key"])]
        where = f"{spec.id} {sample.key}"
        if "label" in row:
            same = np.array_equal(np.asarray(row["label"]), np.asarray(sample.label))
            expect(same, where, f"label is {row['label']} in the index and {sample.label} in the sample", fix)
        if "scene" in row:
            expect(str(row["scene"]) == sample.scene, where, "scene differs between index and sample", fix)
        if "y0" in row:
            place = (int(row["y0"]), int(row["x0"]))
            expect(place == sample.offset, where, f"is at {place} in the index and {sample.offset} in itself", fix)
        if "height" in row:
            finest = min(spec.layers, key=lambda layer: layer.gsd_m)
            if finest.id in sample.layers:
                size, said = sample.layers[finest.id].shape[2:], (int(row["height"]), int(row["width"]))
                expect(size == said, where, f"has {size} pixels, {said} in the index", fix)


def _check_splits(raw: "Raw", rows: "pd.DataFrame", spec: DatasetSpec) -> None:
    from seamo_prep.splits import has_lists, official_lists

    scheme = spec.splits.get(spec.default_split)
    if scheme is None:
        return
    where = f"{spec.id}: splits {spec.default_split}"
    keys = [str(key) for key in rows["key"]]
    if scheme.in_archive:
        expect("split" in rows, where, "are in the archive, and the index has no column `split`")
        names = [str(name) for name in rows["split"]]
    else:
        listed = has_lists(raw, spec, spec.default_split)
        expect(listed, where, "their lists are not in the demo", "Let `demo` write them as they are published.")
        found = official_lists(raw, spec, spec.default_split, keys)
        names = [found.get(key, "") for key in keys]
    needed = {"train"} if spec.task.kind == "pretrain" else {"train", "test"}
    expect(needed <= set(names), where, f"only {sorted(set(names))} in the demo", "Show every split.")
    strange = sorted(set(names) - {"train", "val", "test", ""})
    expect(not strange, where, f"there are splits {strange}", "Splits are train, val and test.")
