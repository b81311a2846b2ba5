"""Reading and building archives in tests."""

from pathlib import Path

from seamo.manifest import shipped_manifest
from seamo.sample import Sample, check_sample
from seamo.store.reader import Store
from seamo_prep.archives import load_archive, sized_spec
from seamo_prep.unpack import Raw
from tests.prep.demo_stores import build_quietly


def read_samples(dataset: str, root: Path, *relax: str, layers: tuple[str, ...] = ()) -> list[Sample]:
    """Every sample, checked against the spec; the index must be sorted and the reader follow it."""
    spec = shipped_manifest()[dataset]
    spec = spec.only_layers(layers) if layers else spec
    archive, raw = load_archive(dataset), Raw(root, spec, relax)
    rows = archive.index(raw, spec)
    assert list(rows["key"]) == sorted(rows["key"])
    sized = sized_spec(archive, raw, rows, spec=spec)
    found = list(archive.read(raw, rows, sized))
    for sample in found:
        check_sample(sample, sized)
    assert [sample.key for sample in found] == list(rows["key"])
    return found


def ledger_of(dataset: str, root: Path, *relax: str) -> list[tuple[str, str]]:
    """What the index leaves out."""
    spec = shipped_manifest()[dataset]
    return list(load_archive(dataset).index(Raw(root, spec, relax), spec).attrs["ledger"])


def built(dataset: str, raw: Path, root: Path, **options) -> Store:
    """An open store of an archive."""
    from seamo.store.reader import open_store

    return open_store(str(build_quietly(dataset, raw, root, **options).path))


def assert_equal_samples(one: Sample, two: Sample) -> None:
    """The same in every respect."""
    assert (one.key, one.scene, one.offset, one.geo) == (two.key, two.scene, two.offset, two.geo)
    assert one.layers.keys() == two.layers.keys()
    assert one.time.keys() == two.time.keys()
    assert all(one.layers[name].tobytes() == two.layers[name].tobytes() for name in two.layers)
    assert all(one.time[stack].tobytes() == two.time[stack].tobytes() for stack in two.time)
    assert type(one.label) is type(two.label)
    assert one.label is None or str(one.label) == str(two.label)
