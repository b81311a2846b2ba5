"""Checking a store: against itself, against the manifest and against physics; and statistics beside published ones.

An error is something that makes a number wrong; a warning may have an innocent cause (a subset without one class, a
coast without plants); a note is a fact worth knowing. What physics can see, and on how many samples:

* cirrus (L1C): B10 is dark, below 100 DN on average; B10 exchanged with B11 or any other band is not.
* B8A lies 32 nm above B08: correlated above 0.9, mean ratio 0.75 to 1.35. B11 in its place is not, nor is B09 in L1C,
  which water vapour darkens. (In L2A, B8A and B09 cannot be told apart, nor can neighbouring red-edge bands.)
* plants reflect more in B08 than in B04: exchanged, nothing in the store looks like a plant.
* offset: the darkest percent of the darkest band lies near 0 without the shift of +1000, at 900 or more with it.
* radar: VV between -25 and 0 dB on average, VV above VH.

Below `ENOUGH` samples a physical oddity is a warning: a few scenes may be all sea or all desert.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from seamo.bands import Unit
from seamo.errors import ManifestError, SampleError, StoreError
from seamo.manifest import LayerSpec
from seamo.sample import check_sample
from seamo.store import check
from seamo.store.format import label_kind
from seamo.store.reader import Store
from seamo_prep.leaks import find_leaks

Severity = Literal["error", "warning", "note"]
ENOUGH = 64  # samples from which on a physical oddity is an error
_SAMPLED = 256  # samples that physics looks at without --deep


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


def verify(store: Store, *, deep: bool, leaks: bool, say: Callable[[str], None]) -> Iterator[Finding]:
    """Check a store.

    Args:
        store: An open store.
        deep: Decode every sample: content hash, statistics, shapes; otherwise up to 256 samples are decoded.
        leaks: Also look for places and images that splits share.
        say: Called with the name of each check as it begins.
    """
    say("files: sizes and checksums")
    damaged = [Finding("files", "error", one.where, one.what) for one in check.differing_files(store, deep=True)]
    yield from damaged
    if any(one.where.endswith("index.parquet") for one in damaged):
        return  # nothing else can be read
    say("counts and classes")
    yield from _counts(store)
    yield from _classes(store)
    yield from _splits(store)
    say("samples: shapes, types, labels" + ("" if deep else f" (up to {_SAMPLED} of {len(store)})"))
    bad = list(_samples(store, deep=deep))
    yield from bad
    if any(one.severity == "error" for one in bad):
        return  # statistics of pixels that cannot be read mean nothing
    say("band physics")
    yield from physics(store, deep=deep)
    if deep:
        say("statistics and content")
        yield from _recomputed(store)
    if leaks:
        say("leaks between splits")
        for severity, where, what in find_leaks(store):
            yield Finding("leaks", severity, where, what)


def chosen_rows(store: Store, *, deep: bool) -> NDArray[np.int64]:
    """Readable rows: all of them, or some that are spread evenly."""
    rows = store.rows("all")
    if deep or len(rows) <= _SAMPLED:
        return rows
    return rows[np.linspace(0, len(rows) - 1, _SAMPLED).astype(np.int64)]


def _counts(store: Store) -> Iterator[Finding]:
    meta = store.meta
    table = store.read_index(["key", "split"])
    keys = [str(key) for key in table["key"]]
    if len(keys) != meta.counts.samples:
        yield Finding("counts", "error", "index.parquet", f"{len(keys)} rows instead of {meta.counts.samples}")
    for key, times in Counter(keys).items():
        if times > 1:
            yield Finding("counts", "error", key, f"the key stands {times} times")
    found = Counter(str(split) for split in table["split"])
    if {name: count for name, count in found.items() if count} != meta.counts.splits:
        yield Finding("counts", "error", "index.parquet", f"splits {dict(found)} instead of {meta.counts.splits}")
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


def _classes(store: Store) -> Iterator[Finding]:
    """Class histogram of image labels against the manifest."""
    kind = label_kind(store.spec)
    if kind not in ("id", "set"):
        return
    counts: Counter[int] = Counter()
    unlabelled = 0
    for row in store.rows("all"):
        label = store.read_label(int(row))
        if isinstance(label, int):
            counts[label] += 1
        elif isinstance(label, tuple):
            counts.update(label)
        else:
            unlabelled += 1
    names = store.spec.label_space().names
    outside = [one for one in counts if not 0 <= one < len(names)]
    if outside:
        yield Finding("classes", "error", store.spec.id, f"labels {outside} are outside 0..{len(names) - 1}")
    is_whole = store.meta.synthetic is None and not store.meta.subset
    if unlabelled:
        yield Finding("classes", "warning", store.spec.id, f"{unlabelled:,} samples have no label")
    absent = [name for i, name in enumerate(names) if not counts[i]]
    if absent:
        severity: Severity = "error" if is_whole or (kind == "id" and len(store) >= ENOUGH) else "warning"
        yield Finding("classes", severity, store.spec.id, f"no sample of class {', '.join(absent)}")
    limits = store.spec.expected.class_range
    if limits is not None and is_whole:
        for i, name in enumerate(names):
            if counts[i] and not limits[0] <= counts[i] <= limits[1]:
                what = f"{counts[i]:,} samples, published: {limits[0]:,} to {limits[1]:,}"
                yield Finding("classes", "error", name, what)


def _splits(store: Store) -> Iterator[Finding]:
    """Samples of identical content, and scenes, in more than one split."""
    table = store.read_index(["key", "split", "scene", "sha256", "readable"])
    table = table[(table["split"] != "") & table["readable"]]
    pixels: dict[bytes, dict[str, str]] = defaultdict(dict)
    scenes: dict[str, set[str]] = defaultdict(set)
    for key, split, scene, digest in zip(table["key"], table["split"], table["scene"], table["sha256"], strict=True):
        pixels[bytes(digest)][str(split)] = str(key)
        if scene:
            scenes[str(scene)].add(str(split))
    for owners in pixels.values():
        if len(owners) > 1:
            names = ", ".join(f"{key} ({split})" for split, key in sorted(owners.items()))
            yield Finding("splits", "error", names, "the same sample is in several splits")
    shared = sorted(scene for scene, splits in scenes.items() if len(splits) > 1)
    if shared:
        what = f"{len(shared)} of {len(scenes)} scenes have samples in several splits"
        yield Finding("splits", "note", shared[0], what)


def _samples(store: Store, *, deep: bool) -> Iterator[Finding]:
    for row in chosen_rows(store, deep=deep):
        try:
            check_sample(store[int(row)], store.spec)
        except (StoreError, SampleError) as error:
            yield Finding("samples", "error", error.where, error.what)


def physics(store: Store, *, deep: bool) -> Iterator[Finding]:
    """What the pixels of Sentinel-1 and Sentinel-2 must look like."""
    rows = chosen_rows(store, deep=deep)
    doubt: Severity = "error" if len(rows) >= ENOUGH else "warning"
    for stack in store.spec.stacks:
        layers = store.spec.stack_layers(stack)
        stats = {name: facts for one in layers for name, facts in check.band_statistics(store, one.id, rows).items()}
        stats = {name: facts for name, facts in stats.items() if facts["count"]}
        for name, facts in stats.items():
            if facts["min"] == facts["max"] and layers[0].unit is not Unit.CLASS:
                yield Finding("physics", "error", f"{stack} {name}", f"every pixel is {facts['min']:g}")
        if layers[0].sensor == "s1" and layers[0].unit in (Unit.DB, Unit.DB_X100):
            yield from _radar(stack, stats, layers[0].unit)
        elif layers[0].sensor == "s2" and layers[0].unit in (Unit.DN, Unit.DN_PLUS_1000):
            yield from _optical(stack, stats, layers[0], doubt)
            yield from _neighbours(store, stack, rows, doubt)


def _radar(stack: str, stats: dict[str, Any], unit: Unit) -> Iterator[Finding]:
    scale = 100.0 if unit is Unit.DB_X100 else 1.0
    mean = {name: facts["mean"] / scale for name, facts in stats.items()}
    if "VV" in mean and not -25 <= mean["VV"] <= 0:
        yield Finding("physics", "error", f"{stack} VV", f"mean {mean['VV']:.1f} dB is outside -25 to 0")
    if {"VV", "VH"} <= mean.keys() and mean["VV"] <= mean["VH"]:
        what = f"mean VV {mean['VV']:.1f} dB is not above VH {mean['VH']:.1f} dB: exchanged?"
        yield Finding("physics", "error", f"{stack} VV, VH", what)


def _optical(stack: str, stats: dict[str, Any], layer: LayerSpec, doubt: Severity) -> Iterator[Finding]:
    shift = 1000.0 if layer.unit is Unit.DN_PLUS_1000 else 0.0
    if "B10" in stats and stats["B10"]["mean"] - shift >= 100:
        what = f"mean {stats['B10']['mean'] - shift:.0f} DN, cirrus is below 100: another band?"
        yield Finding("physics", "error", f"{stack} B10", what)
    low = min(facts["percentiles"]["1"] for facts in stats.values())
    if shift and low < 900:
        yield Finding(
            "physics", doubt, stack, f"darkest percent is {low:.0f} DN, but the unit says +1000: not shifted?"
        )
    if not shift and low >= 900:
        yield Finding("physics", doubt, stack, f"darkest percent is {low:.0f} DN: shifted by +1000?")


def _neighbours(store: Store, stack: str, rows: NDArray[np.int64], doubt: Severity) -> Iterator[Finding]:
    """Bands against one another, on image means and on pixels averaged to the coarsest grid."""
    names = store.stack_bands(stack)
    found = [_coarse(store, int(row), stack) for row in rows]
    pixels = np.concatenate([one for one in found if one is not None] or [np.empty((len(names), 0))], axis=1)
    pixels = pixels[:, ~np.isnan(pixels).any(axis=0)]
    if pixels.shape[1] < 16:
        return
    shift = 1000.0 if store.spec.stack_layers(stack)[0].unit is Unit.DN_PLUS_1000 else 0.0
    band = {name: pixels[i] - shift for i, name in enumerate(names)}
    if {"B08", "B8A"} <= band.keys():
        ratio = float(band["B8A"].mean() / band["B08"].mean())
        correlation = float(np.corrcoef(band["B08"], band["B8A"])[0, 1])
        if not 0.75 <= ratio <= 1.35 or correlation < 0.9:
            what = f"mean ratio {ratio:.2f}, correlation {correlation:.2f}; they are neighbours: another band?"
            yield Finding("physics", doubt, f"{stack} B8A, B08", what)
    if {"B04", "B08"} <= band.keys():
        index = (band["B08"] - band["B04"]) / np.maximum(band["B08"] + band["B04"], 1)
        if float(np.quantile(index, 0.9)) < 0.1:
            what = f"NDVI is below {np.quantile(index, 0.9):.2f} nearly everywhere: no plants, or exchanged?"
            yield Finding("physics", doubt, f"{stack} B04, B08", what)


def _coarse(store: Store, row: int, stack: str) -> NDArray[np.float64] | None:
    """(C, n) means over an 8 x 8 grid of one image's first date there is, bands in canonical order."""
    parts: dict[str, NDArray[np.float64]] = {}
    for layer in store.spec.stack_layers(stack):
        if not store.is_valid(row, layer.id):
            return None
        pixels = store.read_layer(row, layer.id)[0].astype(np.float64)
        if layer.fill_value is not None:
            pixels[pixels == layer.fill_value] = np.nan
        height, width = (min(8, size) for size in pixels.shape[1:])
        rows = np.array_split(np.arange(pixels.shape[1]), height)
        cols = np.array_split(np.arange(pixels.shape[2]), width)
        grid = np.array([[pixels[:, r[0] : r[-1] + 1, c[0] : c[-1] + 1].mean(axis=(1, 2)) for c in cols] for r in rows])
        for i, name in enumerate(layer.bands):
            parts[name] = grid[:, :, i].ravel()
    sizes = {len(one) for one in parts.values()}
    return np.stack([parts[name] for name in store.stack_bands(stack)]) if len(sizes) == 1 else None


def _recomputed(store: Store) -> Iterator[Finding]:
    found = check.content_of(store, deep=True)
    if found != store.content:
        yield Finding("content", "error", "store.json", f"content is {found[:12]} instead of {store.content[:12]}")
        for one in check.differing_samples(store):
            yield Finding("content", "error", one.where, one.what)
    everything = np.flatnonzero(store.read_index(["readable"])["readable"].to_numpy())
    for layer in store.spec.layers:
        said = store.meta.statistics["all"][layer.id]
        for name, facts in check.band_statistics(store, layer.id, everything).items():
            for what in ("count", "mean", "std", "min", "max"):
                if not _close(facts[what], said[name][what]):
                    text = f"{what} is {facts[what]} instead of {said[name][what]}"
                    yield Finding("statistics", "error", f"{layer.id} {name}", text)


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
