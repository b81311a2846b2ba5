"""What the tests of single archives share."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import rasterio

from seamo.manifest import shipped_manifest
from seamo.sample import Sample, check_sample
from seamo.store.check import content_of
from seamo.store.reader import Store, open_store
from seamo_prep.archives import load_archive, sized_spec
from seamo_prep.unpack import Raw
from seamo_prep.verify import verify
from tests.prep.demo_stores import build_quietly


def read_all(dataset: str, root: Path, *relax: str) -> dict[str, Sample]:
    """Key -> sample, in the order of the index; each checked against the spec."""
    spec = shipped_manifest()[dataset]
    archive, raw = load_archive(dataset), Raw(root, spec, relax)
    rows = archive.index(raw, spec)
    sized = sized_spec(archive, raw, rows, spec=spec)
    found = {}
    for sample in archive.read(raw, rows, sized):
        check_sample(sample, sized)
        found[sample.key] = sample
    assert list(found) == sorted(rows["key"])
    return found


def rows_of(dataset: str, root: Path, *relax: str):
    spec = shipped_manifest()[dataset]
    return load_archive(dataset).index(Raw(root, spec, relax), spec)


def built_twice(dataset: str, root: Path, folder: Path) -> Store:
    """The store in layout zarr, after both layouts were built, compared and verified."""
    stores = [
        open_store(build_quietly(dataset, root, folder / layout, layout=layout).path)
        for layout in ("zarr", "webdataset")
    ]
    assert stores[0].content == stores[1].content == content_of(stores[1])
    for store in stores:
        findings = list(verify(store, deep=True, leaks=True, say=lambda _: None))
        assert [one for one in findings if one.severity != "note"] == []
    return stores[0]


def same_samples(ours: dict[str, Sample], theirs: dict[str, Sample]) -> None:
    assert list(ours) == list(theirs)
    for key, one in ours.items():
        two = theirs[key]
        assert (one.geo, one.scene, one.offset) == (two.geo, two.scene, two.offset)
        assert all(np.array_equal(one.time[stack], two.time[stack]) for stack in two.time)
        assert np.array_equal(one.label, two.label)
        assert one.layers.keys() == two.layers.keys()
        assert all(one.layers[name].tobytes() == two.layers[name].tobytes() for name in two.layers)


def paths_match(root: Path, patterns: Iterable[str]) -> None:
    """Every file below `root` matches one pattern, and every pattern a file."""
    seen = dict.fromkeys(patterns, 0)
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_dir() or name == "SYNTHETIC.json":
            continue
        hits = [one for one in seen if re.fullmatch(one, name)]
        assert len(hits) == 1, name
        seen[hits[0]] += 1
    assert all(seen.values()), seen


def rewrite(path: Path, change: Callable[[np.ndarray], np.ndarray], **profile: object) -> None:
    """A TIFF again as a plain one, with other pixels (C, H, W)."""
    with rasterio.open(path) as file:
        pixels, transform, crs = change(file.read()), file.transform, file.crs
    path.unlink()
    with rasterio.open(
        path, "w", driver="GTiff", width=pixels.shape[2], height=pixels.shape[1], count=pixels.shape[0],
        dtype=pixels.dtype, **{"transform": transform, "crs": crs, **profile},
    ) as file:  # fmt: skip
        file.write(pixels)
