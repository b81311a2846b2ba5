"""Checking a store: against itself, against the manifest and against physics; and statistics beside published ones.

An error is something that makes a number wrong; a warning may have an innocent cause (a subset without one class); a
note is a fact worth knowing. What physics sees is an error from `ENOUGH` samples on; in fewer it is a warning, in very
few a note, because a scene may be all sea, desert or cloud. `docs/verify.md` explains every check and its limits.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from seamo.errors import ManifestError, SampleError, StoreError
from seamo.sample import IGNORE, check_sample, settle_missing
from seamo.store import check
from seamo.store.content import pixels_hash
from seamo.store.few import FewRows
from seamo.store.format import TAR_FOLDER, ZARR_NAME, finest_layer, label_kind
from seamo.store.reader import Store
from seamo_prep import labels
from seamo_prep.ground import pixel_sizes
from seamo_prep.leaks import find_leaks, same_images
from seamo_prep.physics import doubtful_values, explain, observe, oddities

Severity = Literal["error", "warning", "note"]
ENOUGH = 64  # samples from which on a physical oddity is an error
VERY_FEW = 16  # samples below which it is a note
_IGNORED = 0.5  # share of mask pixels
_FAR_SIZE = 1.5
_SAMPLED = 256  # samples that are decoded without --deep
_LOOKED_AT = 2048  # samples that physics and labels look at with --deep


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that verify found.

    Args:
        check: Name of the check.
        severity: `error`, `warning` or `note`.
        where: File, sample, layer or split.
        what: What is the matter.
    """

    check: str
    severity: Severity
    where: str
    what: str


def verify(
    store: Store, *, deep: bool, leaks: bool, say: Callable[[str], None], spread: check.Spread = check.here
) -> Iterator[Finding]:
    """Check a store.

    Args:
        store: An open store.
        deep: Decode every sample: content hash, statistics, shapes; otherwise up to 256 samples are decoded.
        leaks: Also look for places and images that splits share.
        say: Called with the name of each check as it begins.
        spread: Who reads files and decodes samples; what looks at some of them, or at the index alone, is done here.
    """
    say("files: sizes and checksums")
    differing = check.differing_files(store, deep=True, spread=spread)
    damaged = [Finding("files", "error", one.where, one.what) for one in differing]
    yield from damaged
    if any(one.where in ("index.parquet", "store.json", "checksums.json") for one in damaged):
        return  # nothing else can be read
    yield from _strangers(store)
    say("counts and classes")
    yield from _counts(store)
    yield from _classes(store)
    yield from _splits(store)
    say("samples: shapes, types, labels" + ("" if deep else f" (up to {_SAMPLED} of {len(store)})"))
    yield from (Finding("samples", "note", where, what) for where, what in check.infinite_pixels(store))
    rows = chosen_rows(store, _LOOKED_AT if deep else _SAMPLED)
    some = FewRows(store, rows)
    if deep:
        bad = list(_samples(store, store.rows("all").tolist(), spread))
    elif len(rows) and rows[-1] >= len(store):  # more rows than store.json counts: the store names each
        bad = list(_samples(store, rows.tolist()))
    else:
        bad = list(_samples(some, range(len(some))))
    yield from bad
    if any(one.severity == "error" for one in bad):
        return  # statistics of pixels that cannot be read mean nothing
    yield from _pixel_sizes(some)
    say("band physics")
    yield from physics(some)
    if label_kind(store.spec) != "none":
        say("labels and images")
        yield from _labels(store, some)
    if deep:
        say("statistics and content")
        yield from _recomputed(store, spread)
    if leaks:
        say("leaks between splits")
        for severity, where, what in find_leaks(store, say):
            yield Finding("leaks", severity, where, what)


def chosen_rows(store: Store, most: int) -> NDArray[np.int64]:
    """Readable rows, ascending: all of them, or `most` that are spread evenly."""
    rows = store.rows("all")
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]


def _counts(store: Store) -> Iterator[Finding]:
    meta = store.meta
    rows, is_ascending = _keys(store)
    if rows != meta.counts.samples:
        yield Finding("counts", "error", "index.parquet", f"{rows} rows instead of {meta.counts.samples}")
    if not is_ascending:
        for key, times in _counted(store.read_columns(["key"]).column("key")).items():
            if times > 1:
                yield Finding("counts", "error", key, f"the key stands {times} times")
    found = _counted(store.read_columns(["split"]).column("split"))
    if {name: count for name, count in found.items() if count} != meta.counts.splits:
        yield Finding("counts", "error", "index.parquet", f"splits {found} instead of {meta.counts.splits}")
    expected = meta.spec.expected
    is_whole = meta.synthetic is None and not meta.subset
    if is_whole and expected.samples is not None and meta.counts.samples != expected.samples:
        yield Finding("counts", "error", meta.id, f"{meta.counts.samples:,} samples, published: {expected.samples:,}")
    published = expected.splits.get(meta.split_scheme, {})
    scheme = meta.spec.splits.get(meta.split_scheme)
    for split, count in published.items():
        have = meta.counts.splits.get(split, 0)
        if split == "train" and scheme is not None and scheme.val_from_train:
            have += meta.counts.splits.get("val", 0)  # was taken out of it
        if is_whole and have != count:
            yield Finding("counts", "error", split, f"{have:,} samples, published: {count:,}")
    if meta.counts.bad:
        yield Finding("counts", "warning", "ledger.json", f"{meta.counts.bad} samples could not be read at build time")
    for layer, count in meta.counts.without.items():
        yield Finding("counts", "note", layer, f"{count:,} samples do not have it")
    if meta.subset:
        yield Finding("counts", "note", meta.id, f"a subset: {meta.subset}")
    if meta.synthetic is not None:
        yield Finding("counts", "note", meta.id, "synthetic: counts are not held against the manifest")


def _keys(store: Store) -> tuple[int, bool]:
    """How many keys there are, and whether they ascend: then none stands twice."""
    rows, is_ascending, last = 0, True, None
    for piece in store.read_batches(["key"]):
        keys = piece.column(0)
        if last is not None and not pc.less(last, keys[0]).as_py():
            is_ascending = False
        is_ascending &= pc.all(pc.less(keys[:-1], keys[1:]), min_count=0).as_py()  # of one row, too
        rows, last = rows + len(keys), keys[-1]
    return rows, is_ascending


def _counted(values: Any) -> dict[Any, int]:
    """Value -> how often it stands in an Arrow array, in order of first appearance; nulls are left out."""
    pairs = pc.value_counts(values).to_pylist()
    return {pair["values"]: pair["counts"] for pair in pairs if pair["values"] is not None}


def _classes(store: Store) -> Iterator[Finding]:
    """Class histogram of image labels against the manifest, and names in keys against labels."""
    kind = label_kind(store.spec)
    if kind not in ("id", "set"):
        return
    table = store.read_columns(["label", "readable"])
    column = table.filter(table.column("readable")).column("label").combine_chunks()
    counts = _counted(pc.list_flatten(column) if kind == "set" else column)
    unlabelled = column.null_count
    names = store.spec.label_space().names
    outside = [one for one in counts if not 0 <= one < len(names)]
    if outside:
        yield Finding("classes", "error", store.spec.id, f"labels {outside} are outside 0..{len(names) - 1}")
    is_whole = store.meta.synthetic is None and not store.meta.subset
    if unlabelled:
        yield Finding("classes", "warning", store.spec.id, f"{unlabelled:,} samples have no label")
    yield from _absent(store, counts, is_whole=is_whole and store.spec.expected.samples is not None)
    limits = store.spec.expected.class_range
    if limits is not None and is_whole:
        for i, name in enumerate(names):
            if counts.get(i) and not limits[0] <= counts[i] <= limits[1]:
                what = f"{counts[i]:,} samples, published: {limits[0]:,} to {limits[1]:,}"
                yield Finding("classes", "error", name, what)


def _absent(store: Store, counts: Mapping[int, int], *, is_whole: bool) -> Iterator[Finding]:
    """Classes without a sample; an error where so many samples of the others make chance unlikely."""
    names = store.spec.label_space().names
    absent = [name for i, name in enumerate(names) if not counts.get(i)]
    there = sorted(count for i, count in counts.items() if 0 <= i < len(names) and count)
    if not absent:
        return
    # With at least three of each and five of most, a class of the same frequency would be there.
    is_sure = len(store) >= ENOUGH and bool(there) and there[0] >= 3 and there[len(there) // 2] >= 5
    is_sure = is_sure and len(absent) <= len(names) / 4
    severity: Severity = "error" if is_whole or is_sure else "note"
    some = ", ".join(absent[:8]) + (f" and {len(absent) - 8} more" if len(absent) > 8 else "")
    yield Finding("classes", severity, store.spec.id, f"no sample of class {some}")


def _labels(store: Store, some: FewRows) -> Iterator[Finding]:
    """Labels against names and images; masks against their images."""
    rows = range(len(some))
    doubt = _doubt(len(some))
    found = [*labels.differing_names(store, store.rows("all")), *labels.unlike_images(some, rows)]
    if label_kind(store.spec) == "mask":
        counts = labels.count_masks(some, rows)
        yield from _mask_counts(store, counts, is_all=len(some) == len(store))
        found += labels.turned_masks(some, rows)
    for one in found:
        yield Finding("labels", doubt if one.is_proof else _milder(doubt), one.where, one.what)


def _mask_counts(store: Store, counts: labels.MaskCounts, *, is_all: bool) -> Iterator[Finding]:
    if counts.masks < len(store.rows("all")) and is_all:
        missing = len(store.rows("all")) - counts.masks
        yield Finding("classes", "warning", store.spec.id, f"{missing:,} samples have no mask")
    yield from _absent(store, {i: n for i, n in counts.places.items() if i != IGNORE}, is_whole=False)
    total = sum(counts.pixels.values())
    ignored = counts.pixels.get(IGNORE, 0) / max(total, 1)
    if ignored > _IGNORED:
        yield Finding("classes", "warning", store.spec.id, f"{ignored:.0%} of all mask pixels are ignored")
    elif ignored:
        yield Finding("classes", "note", store.spec.id, f"{ignored:.1%} of all mask pixels are ignored")
    if counts.ignored:
        yield Finding("classes", "note", store.spec.id, f"{counts.ignored:,} of {counts.masks:,} masks hold no class")


def _doubt(samples: int) -> Severity:
    return "error" if samples >= ENOUGH else "warning" if samples >= VERY_FEW else "note"


def _milder(severity: Severity) -> Severity:
    return "warning" if severity == "error" else "note"


def _splits(store: Store) -> Iterator[Finding]:
    """Images of identical pixels, and scenes, in more than one split."""
    for severity, where, what in same_images(store):
        yield Finding("splits", severity, where, what)
    (splits, names), (scenes, scene_names) = store.read_codes("split"), store.read_codes("scene")
    is_told = np.isin(splits, _told(names)) & np.isin(scenes, _told(scene_names))
    is_told &= store.read_columns(["readable"]).column("readable").to_numpy()
    codes = scenes[is_told] * len(names) + splits[is_told]
    seen = np.bincount(codes, minlength=len(scene_names) * len(names)).reshape(len(scene_names), -1) > 0
    in_several = np.flatnonzero(seen.sum(axis=1) > 1)
    if len(in_several):
        first = min(scene_names[scene] for scene in in_several)
        what = f"{len(in_several)} of {seen.any(axis=1).sum()} scenes have samples in several splits"
        yield Finding("splits", "note", first, what)


def _told(names: Sequence[str]) -> list[int]:
    """Codes that say something."""
    return [code for code, name in enumerate(names) if name]


def _samples(store: Store, rows: Sequence[int], spread: check.Spread = check.here) -> Iterator[Finding]:
    """Samples that cannot be read, or break a rule; and bands with infinite pixels."""
    infinite: Counter[str] = Counter()
    for found, counts in spread(store, _looked_at, rows, each=check.rows_each(store)):
        yield from found
        infinite.update(counts)
    for where, count in infinite.items():  # of a store that another tool, or an older builder, wrote
        what = f"{count:,} pixels are infinite and count as missing; readers of other projects may take them"
        yield Finding("samples", "warning", where, what)


def _pixel_sizes(store: Store) -> Iterator[Finding]:
    """Pixels on the ground against the layer's `gsd_m`, by which records are applied to other images."""
    layer = finest_layer(store.spec)
    sizes = pixel_sizes(store)
    size, tall = np.median(sizes, axis=0).tolist() if len(sizes) else (layer.gsd_m, layer.gsd_m)
    if not any(1 / _FAR_SIZE <= one / layer.gsd_m <= _FAR_SIZE for one in (size, tall)):
        what = f"pixels of {size:.3g} m by what the files say, and gsd_m is {layer.gsd_m:g}: correct it and build again"
        yield Finding("samples", "warning", layer.id, what)


def _looked_at(store: Store, rows: Sequence[int]) -> tuple[list[Finding], Counter[str]]:
    """Samples that cannot be read, or break a rule; and how many pixels of each band are infinite."""
    found, infinite = [], Counter[str]()
    for row in rows:
        try:
            sample = store[row]
            check_sample(sample, store.spec)
        except (StoreError, SampleError) as error:
            found.append(Finding("samples", "error", error.where, error.what))
            continue
        for layer in store.spec.layers:
            if layer.is_float and layer.id in sample.layers:
                counts = settle_missing(sample.layers[layer.id], layer)[1].tolist()
                infinite.update({f"{layer.id} {band}": n for band, n in zip(layer.bands, counts, strict=True) if n})
    return found, infinite


def physics(store: Store) -> Iterator[Finding]:
    """What the pixels of Sentinel-1 and Sentinel-2 must look like, and which exchange of bands explains it if not."""
    rows = np.arange(len(store))
    for where, what, fix in doubtful_values(store, rows):
        yield Finding("physics", "error", where, f"{what}: {fix}")
    for stack in store.spec.stacks:
        layer = store.spec.stack_layers(stack)[0]
        seen = observe(store, stack, rows) if layer.sensor != "map" else None
        if seen is None:
            continue
        doubt = _doubt(len(seen.means))
        for name, (low, high) in zip(seen.bands, seen.spans, strict=True):
            if low == high:
                yield Finding("physics", doubt, f"{stack} {name}", f"every pixel is {low:g}")
        found = oddities(seen, layer)
        if found:
            names = explain(seen, layer)
            cause = f" [explained if {names} are exchanged]" if names else ""
            for one in found:
                severity: Severity = "error" if one.is_sure and len(seen.means) >= VERY_FEW else doubt
                yield Finding("physics", severity, f"{stack} {one.bands}", f"{one.what}{cause}")


def _strangers(store: Store) -> Iterator[Finding]:
    """Files that nobody vouches for; beside the shards, other libraries would read them."""
    for name in check.strange_files(store):
        is_beside = name.partition("/")[0] in (ZARR_NAME, TAR_FOLDER)
        yield Finding("files", "error" if is_beside else "warning", name, "is no file of this store")


def _recomputed(store: Store, spread: check.Spread) -> Iterator[Finding]:
    meaning = check.read_meaning(store, deep=True, spread=spread)
    pixels, content = pixels_hash(store.spec, meaning.keys, meaning.digests), meaning.content(store.spec)
    for what, found, said in (("pixels", pixels, store.pixels), ("content", content, store.content)):
        if found != said:
            yield Finding("content", "error", "store.json", f"{what} is {found[:12]} instead of {said[:12]}")
    if pixels != store.pixels:
        for one in check.differing_samples(store, spread=spread):
            yield Finding("content", "error", one.where, one.what)
    if meaning.truth(store.spec) != store.meta.truth:
        yield Finding("content", "error", "store.json", "truth is not what keys, splits and labels give")
    layers = [(part, layer.id) for part in ("all", "train") for layer in store.spec.layers]
    for findings in spread(store, _statistics, layers, each=1):
        yield from findings


def _statistics(store: Store, layers: Sequence[tuple[str, str]]) -> list[Finding]:
    """Of layers of a part: `all`, or `train` where there is one."""
    wrong = []
    readable = np.flatnonzero(store.read_index(["readable"])["readable"].to_numpy())
    train = store.rows("train") if "train" in store.meta.counts.splits else readable[:0]
    for part, layer in layers:
        said = store.meta.statistics[part][layer]
        for name, facts in check.band_statistics(store, layer, train if part == "train" else readable).items():
            entry = said.get(name, {})
            for what in ("count", "mean", "std", "min", "max"):
                if not _close(facts[what], entry.get(what)):
                    text = f"{what} of {part} is {facts[what]} instead of {entry.get(what)}"
                    wrong.append(Finding("statistics", "error", f"{layer} {name}", text))
            if part == "all" and facts["percentiles"] != entry.get("percentiles"):
                wrong.append(
                    Finding("statistics", "error", f"{layer} {name}", "percentiles are not those of the pixels")
                )
    return wrong


def _close(found: float | None, said: float | None) -> bool:
    if found is None or said is None:
        return found is said
    return bool(np.isclose(found, said, rtol=1e-9, atol=1e-9))


def statistics_rows(store: Store, compare: str = "") -> list[dict[str, Any]]:
    """One row a band: what store.json holds, with published numbers beside it if asked for.

    Args:
        store: An open store.
        compare: Name of published statistics in the manifest's entry.

    Raises:
        ManifestError: If there are none of that name, or they are in another unit.
    """
    published = None
    if compare:
        if compare not in store.spec.statistics:
            names = ", ".join(store.spec.statistics) or "none"
            raise ManifestError(f"no published statistics {compare!r}", store.spec.id, f"There are: {names}.")
        published = store.spec.statistics[compare]
    rows = []
    for layer in store.spec.layers:
        if published is not None and (published.unit != layer.unit or not set(layer.bands) & set(published.mean)):
            continue
        if published is not None and published.product and layer.product and published.product != layer.product:
            continue
        for name, facts in store.meta.statistics["all"][layer.id].items():
            row: dict[str, Any] = {"id": f"{layer.id}:{name}", "unit": str(layer.unit), "pixels": facts["count"]}
            row |= {key: facts[key] for key in ("mean", "std", "min", "max")}
            row |= {f"p{q}": value for q, value in facts["percentiles"].items() if q in ("1", "50", "99")}
            if published is not None:
                mean, std = published.mean.get(name), published.std.get(name)
                row |= {"published_mean": mean, "published_std": std}
                is_there = mean is not None and facts["mean"] is not None
                row["difference_in_std"] = (facts["mean"] - mean) / std if is_there and std else None
            rows.append(row)
    if not rows:
        raise ManifestError(f"statistics {compare!r} are of other bands or units", store.spec.id)
    return rows
