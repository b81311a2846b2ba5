"""The manifest: what it says, and what it refuses."""

import itertools
from pathlib import Path

import pytest
import yaml

from seamo.bands import S1, S2_L1C, S2_L2A
from seamo.errors import ManifestError
from seamo.manifest import load_manifest, parse_spec, shipped_manifest, shipped_manifest_path

# Typed from the papers and repositories of the data sets.
SAMPLES = {"ssl4eo-s12": 251_079, "eurosat": 27_000, "eurosat-sar": 27_000, "bigearthnet-v1": 590_326}
BANDS = {
    ("ssl4eo-s12", "s1"): S1,
    ("ssl4eo-s12", "s2a"): S2_L2A,
    ("ssl4eo-s12", "s2c"): S2_L1C,
    ("eurosat", "s2"): S2_L1C,
    ("eurosat-sar", "s1"): S1,
    ("bigearthnet-v1", "s1"): S1,
    ("bigearthnet-v1", "s2"): S2_L2A,
}
EUROSAT = "AnnualCrop Forest HerbaceousVegetation Highway Industrial Pasture PermanentCrop Residential River SeaLake"
# 19-class nomenclature of BigEarthNet-MM: which of the 43 CORINE classes (by name) each is made of.
BEN19 = {
    "Urban fabric": ["Continuous urban fabric", "Discontinuous urban fabric"],
    "Industrial or commercial units": ["Industrial or commercial units"],
    "Arable land": ["Non-irrigated arable land", "Permanently irrigated land", "Rice fields"],
    "Permanent crops": ["Vineyards", "Fruit trees and berry plantations", "Olive groves",
                        "Annual crops associated with permanent crops"],
    "Pastures": ["Pastures"],
    "Inland wetlands": ["Inland marshes", "Peatbogs"],
    "Coastal wetlands": ["Salt marshes", "Salines"],
    "Inland waters": ["Water courses", "Water bodies"],
    "Marine waters": ["Coastal lagoons", "Estuaries", "Sea and ocean"],
    "Moors, heathland and sclerophyllous vegetation": ["Moors and heathland", "Sclerophyllous vegetation"],
    "Natural grassland and sparsely vegetated areas": ["Natural grassland", "Sparsely vegetated areas"],
    "Transitional woodland, shrub": ["Transitional woodland/shrub"],
    "Beaches, dunes, sands": ["Beaches, dunes, sands"],
}  # fmt: skip
DROPPED = ["Road and rail networks and associated land", "Port areas", "Airports", "Mineral extraction sites",
           "Dump sites", "Construction sites", "Green urban areas", "Sport and leisure facilities", "Bare rock",
           "Burnt areas", "Intertidal flats"]  # fmt: skip


def test_counts_and_bands() -> None:
    specs = shipped_manifest()
    for dataset, samples in SAMPLES.items():
        assert specs[dataset].expected.samples == samples
    for (dataset, stack), bands in BANDS.items():
        spec = specs[dataset]
        held = list(itertools.chain.from_iterable(layer.bands for layer in spec.stack_layers(stack)))
        assert sorted(held) == sorted(bands)
        assert len(set(held)) == len(held)
    assert {layer.times for layer in specs["ssl4eo-s12"].layers} == {4}


def test_eurosat_classes_are_alphabetical_and_shared_with_its_sar_twin() -> None:
    specs = shipped_manifest()
    assert specs["eurosat"].label_space().names == tuple(EUROSAT.split())
    assert specs["eurosat-sar"].label_space() == specs["eurosat"].label_space()
    assert specs["eurosat-sar"].splits["official"].files == specs["eurosat"].splits["official"].files


def test_bigearthnet_19_classes_by_name() -> None:
    spec = shipped_manifest()["bigearthnet-v1"]
    fine, coarse = spec.label_space("bigearthnet-43"), spec.label_space("bigearthnet-19")
    assert (len(fine.classes), len(coarse.classes)) == (43, 19)
    assert coarse.source == "bigearthnet-43"
    for name, sources in BEN19.items():
        for source in sources:
            assert coarse.map_from_source((fine.names.index(source),)) == (coarse.names.index(name),)
    for name in DROPPED:
        assert coarse.map_from_source((fine.names.index(name),)) == ()
    assert 43 - sum(len(many) for many in coarse.derived.values()) == len(DROPPED)


@pytest.mark.parametrize("dataset", SAMPLES)
def test_entries_are_consistent(dataset: str) -> None:
    spec = shipped_manifest()[dataset]
    for archive in spec.archives:
        assert archive.urls or archive.how, archive.name
        assert (archive.bytes and (archive.md5 or archive.sha256)) or archive.unverified, archive.name
        assert archive.md5 is None or len(archive.md5) == 32
        assert archive.sha256 is None or len(archive.sha256) == 64
    names = [archive.name for archive in spec.archives]
    assert len(set(names)) == len(names)
    for space in spec.label_spaces.values():
        assert len(set(space.names)) == len(space.names)
        assert all(len(one.color) == 7 for one in space.classes)
        assert len({one.color for one in space.classes}) == len(space.classes)
        if space.source:
            ids = list(itertools.chain.from_iterable(space.derived.values()))
            assert len(set(ids)) == len(ids)
            assert max(ids) < len(spec.label_space(space.source).classes)
    for scheme, counts in spec.expected.splits.items():
        for one in spec.splits[scheme].files:
            is_untouched = all(other.split != "exclude" for other in spec.splits[scheme].files)
            if one.lines is not None and is_untouched:
                assert counts[one.split] == one.lines
    for statistics in spec.statistics.values():
        assert statistics.mean.keys() == statistics.std.keys()
        held = {band for layer in spec.layers for band in layer.bands if layer.unit == statistics.unit}
        assert statistics.mean.keys() <= held
        assert statistics.source


def test_every_ssl4eo_part_has_its_own_hash() -> None:
    archives = shipped_manifest()["ssl4eo-s12"].archives
    assert [sum(one.part == part for one in archives) for part in ("s1", "s2c", "s2a")] == [10, 12, 12]
    assert len({one.md5 for one in archives}) == 34


def _entry() -> dict[str, object]:
    document = yaml.safe_load(shipped_manifest_path().read_text(encoding="utf-8"))
    return {"id": "eurosat", **document["datasets"]["eurosat"]}


def test_unknown_key_names_the_nearest() -> None:
    entry = _entry()
    entry["lisence"] = "MIT"
    with pytest.raises(ManifestError, match=r"mine\.yaml.*unknown key 'lisence'.*'licence'"):
        parse_spec(entry, "mine.yaml: eurosat")
    entry = _entry()
    entry["layers"][0]["dtyp"] = "uint16"  # type: ignore[index]
    with pytest.raises(ManifestError, match=r"layers\.0\.dtyp: unknown key 'dtyp'.*'dtype'"):
        parse_spec(entry, "mine.yaml: eurosat")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": {"kind": "single-label", "label_space": "eurosta"}}, "eurosta"),
        ({"task": {"kind": "single"}}, "task.kind"),
        ({"layers": []}, ""),
    ],
)
def test_wrong_values_are_named(change: dict[str, object], message: str) -> None:
    entry = _entry() | change
    if change == {"layers": []}:
        entry["layers"] = [_entry()["layers"][0] | {"bands": ["B8a"]}]  # type: ignore[index]
        message = "Did you mean 'B8A'"
    with pytest.raises(ManifestError, match=message):
        parse_spec(entry, "mine.yaml")


def test_a_key_given_twice_and_broken_yaml_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text("datasets:\n  a: {}\n  a: {}\n")
    with pytest.raises(ManifestError, match="'a' stands twice"):
        load_manifest(path)
    path.write_text("datasets: [")
    with pytest.raises(ManifestError, match="is not YAML"):
        load_manifest(path)
    path.write_text("things: {}")
    with pytest.raises(ManifestError, match="datasets"):
        load_manifest(path)
    with pytest.raises(ManifestError, match="cannot be read"):
        load_manifest(tmp_path / "none.yaml")
