"""How networks meet bands that they were not made for: planted pixels, distances by hand, keys that differ."""

from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from seamo.bands import SENSORS, Unit, is_optical
from seamo.data.batch import Batch
from seamo.errors import BandError, ProtocolError
from seamo.inputs.adapter import Adapter
from seamo.inputs.explain import explain
from seamo.inputs.spec import InputSpec, MissingPolicy
from seamo.inputs.ways import refusal, stand_in
from seamo.inputs.wiring import Wiring, wire
from seamo.manifest import DatasetSpec, shipped_manifest
from seamo_bench import facts as f
from seamo_bench.cli.coverage import counts, coverage_text
from seamo_bench.features.cache import cache_name
from seamo_bench.predict.applied import _same_adapter, _spec_of
from seamo_bench.records.record import HeadFile
from seamo_bench.runs.notes import flags_of, ways_told
from seamo_bench.zoo.catalogue import card_digest, cards
from seamo_bench.zoo.meeting import assumed_statistics, meet, meetings, way_of_facts
from tests.conftest import ROOT

MANIFEST = shipped_manifest()
STORES = {
    name: spec
    for name, spec in MANIFEST.items()
    if spec.task.kind != "pretrain" and any(is_optical(layer.sensor) for layer in spec.layers)
}
LOADED = [one for one in cards().values() if one.card.availability == "weights"]
OPTICAL = [one for one in LOADED if any(is_optical(want.sensor) for want in one.card.inputs)]
PRITHVI, SECO, GASSL, SOFTCON = "prithvi-eo-v2-300m-tl", "seco-r50", "gassl-r50", "softcon-vits14-s2"
_STORE = SimpleNamespace(spec=STORES["dfc2020-croma"])  # what flags ask of a store: whether it was seen before


def wired(name: str, store: str, missing: MissingPolicy | None, **card: object) -> Wiring:
    spec = STORES[store]
    network = replace(cards()[name].card, **card)  # type: ignore[arg-type]
    return wire(network.expects, spec, missing=missing, statistics=assumed_statistics(spec))


def planted(spec: DatasetSpec, value: dict[str, int]) -> Batch:
    """One image of a store: every band is its own number all over."""
    layers = {}
    for layer in spec.layers:
        side = (layer.size or (8, 8))[0]
        planes = np.array([value[name] for name in layer.bands], dtype=layer.dtype)
        layers[layer.id] = torch.from_numpy(np.broadcast_to(planes[:, None, None], (len(planes), side, side)).copy())
    return Batch(
        spec,
        torch.tensor([0]),
        ("k",),
        {name: pixels[None, None] for name, pixels in layers.items()},
        {layer.id: torch.ones(1, 1, dtype=torch.bool) for layer in spec.layers},
        {},
        torch.tensor([(side, side)]),
        None,
        None,
        torch.tensor([False]),
    )


def fed(wiring: Wiring, store: str, value: dict[str, int]) -> list[float]:
    """The first pixel of every channel."""
    (image,) = Adapter(wiring)(planted(STORES[store], value)).values()
    return image[0, :, 0, 0].tolist()


# --- select ---------------------------------------------------------------------------------------------------------


def test_the_nearest_band_stands_in_and_is_named() -> None:
    """Prithvi's narrow NIR (864.7 nm) is B08 (832.8 nm) where a store has no B8A: 31.9 nm, by ESA's table."""
    wiring = wired(PRITHVI, "s1s2-water-s2", "select")
    (sensor,) = wiring.sensors
    assert sensor.stand_ins() == (("s2:B8A", "s2:B08", 31.9),)
    assert (wiring.way, ways_told(wiring)) == ("select", "by select: s2:B8A from s2:B08 (31.9 nm)")
    value = {"B02": 1087, "B03": 1342, "B04": 1433, "B08": 2734 + 2 * 1850, "B11": 1958, "B12": 1363 + 1049}
    # The card's means, but for B08 two of the standard deviations of the band that it stands in for above it.
    np.testing.assert_allclose(fed(wiring, "s1s2-water-s2", value), [0, 0, 0, 2, 0, 1], atol=1e-5)
    (row,) = [one for one in explain(wiring, STORES["s1s2-water-s2"]) if one["id"] == "s2:B8A"]
    assert row["source"] == "s2:B08"
    assert row["note"] == "not in the store: select, 31.9 nm away; weights were made on L2A"


def test_beyond_the_limit_a_band_is_refused_with_its_distance() -> None:
    with pytest.raises(
        BandError, match=r"needs s2:B06, the nearest that .* has is s2:B04, 75.9 nm away \(limit 50 nm\)"
    ):
        wired("satmae-vitb", "s1s2-water-s2", "select")
    wider = wired("satmae-vitb", "s1s2-water-s2", "select", select_nm=75.9)
    pairs = {band: source for band, source, _ in wider.sensors[0].stand_ins()}
    assert pairs == {"s2:B05": "s2:B04", "s2:B06": "s2:B04", "s2:B07": "s2:B08", "s2:B8A": "s2:B08"}
    with pytest.raises(BandError, match=r"s2:B06.*75.9 nm away \(limit 75.8 nm\)"):
        wired("satmae-vitb", "s1s2-water-s2", "select", select_nm=75.8)


# --- rgb and 8 bit --------------------------------------------------------------------------------------------------


def test_red_green_and_blue_feed_a_network_of_bands_4_3_2() -> None:
    """SeCo takes 8-bit B04, B03, B02 in [0, 1]: of a picture R, G, B over 255, whatever its own quantiles."""
    wiring = wired(SECO, "glh-water", "rgb")
    np.testing.assert_allclose(fed(wiring, "glh-water", {"R": 51, "G": 102, "B": 204}), [0.2, 0.4, 0.8], rtol=1e-6)
    assert wiring.sensors[0].input.bands == ("B04", "B03", "B02")
    assert (
        ways_told(wiring)
        == "by rgb: s2:B04 from rgb:R (4.6 nm), s2:B03 from rgb:G (0.2 nm), s2:B02 from rgb:B (12.4 nm)"
    )
    with pytest.raises(BandError, match="does not take red, green and blue alone"):
        wired("satmae-vitb", "glh-water", "rgb")


def test_a_model_of_pictures_is_marked_where_the_picture_is_made_of_bands() -> None:
    """Its key stays what it was: the stretch is on its card. Of a picture it is fed natively."""
    assert wired(GASSL, "glh-water", None).way == "native"
    made = wired(GASSL, "eurosat", None)
    assert (made.way, made.missing) == ("rgb", "fail")
    value = dict.fromkeys(STORES["eurosat"].layers[0].bands, 0) | {"B04": 3558, "B03": 1779, "B02": 0}
    by_hand = [(1 - 0.485) / 0.229, (127 / 255 - 0.456) / 0.224, (0 - 0.406) / 0.225]
    np.testing.assert_allclose(fed(made, "eurosat", value), by_hand, rtol=1e-5)
    # Bytes of a store need no stretch, only ImageNet's numbers.
    bytes_ = wired(GASSL, "dfc2020-croma", "rgb")
    value = {name: 0 for layer in STORES["dfc2020-croma"].layers for name in layer.bands} | {"B04": 255, "B03": 127}
    np.testing.assert_allclose(fed(bytes_, "dfc2020-croma", value), by_hand, rtol=1e-5)


def test_bytes_of_a_store_enter_where_the_published_code_has_its_own() -> None:
    """CROMA's file of DFC2020 holds what its `normalize` makes, and is divided by 255 and nothing else."""
    names = STORES["dfc2020-croma"].layer("s2").bands
    value = {name: 5 * index for index, name in enumerate(names)} | {"VV": 0, "VH": 0}
    wiring = wired("croma-base-s2", "dfc2020-croma", "8-bit")
    np.testing.assert_allclose(fed(wiring, "dfc2020-croma", value), [value[n] / 255 for n in names], rtol=1e-6)
    assert (wiring.way, wiring.sensors[0].input.unit) == ("8-bit", Unit.UINT8)
    # DOFA publishes means and deviations of 8-bit bands.
    dofa = wired("dofa-base-s2", "dfc2020-croma", "8-bit")
    assert fed(dofa, "dfc2020-croma", value)[0] == pytest.approx((value["B04"] - 114.1099739) / 77.84352553)
    # Bands left out and bytes: both are said.
    told = flags_of(cards()["softcon-vits14-s2"].card, cut := wired(SOFTCON, "dfc2020-croma", "select-columns"), _STORE)
    assert cut.way == "select-columns"
    assert [flag.text for flag in told if flag.kind in ("other-input", "filled-bands")] == [
        "s2 is read in uint8, as the store has it",
        "B10 not in the store: input columns left out",
    ]
    with pytest.raises(ProtocolError, match="unit uint8 cannot become dn"):  # its numbers are reflectances
        wired("terramind-v1-base", "dfc2020-croma", "8-bit")
    with pytest.raises(ProtocolError, match="unit uint8 cannot become dn"):  # and nobody asked
        wired("satmae-vitb", "dfc2020-croma", None)


# --- wavelength -----------------------------------------------------------------------------------------------------


def test_bands_by_wavelength_are_those_that_there_are() -> None:
    """DOFA keeps its authors' numbers for what they cover; of another sensor it z-scores with the store's."""
    few = wired("dofa-base-s2", "s1s2-water-s2", "wavelength").sensors[0].input
    assert few.bands == ("B04", "B03", "B02", "B08", "B11", "B12")
    assert few.steps[-1].a == (114.1099739, 114.81779093, 126.63977424, 101.435633, 72.32804172, 56.66528851)
    other = wired("dofa-base-s2", "glh-water", "wavelength")
    (sensor,) = other.sensors
    assert (other.way, sensor.input.sensor, sensor.input.bands) == ("wavelength", "rgb", ("R", "G", "B"))
    assert (sensor.input.unit, [step.op for step in sensor.input.steps]) == (Unit.UINT8, ["affine"])
    assert sensor.statistics.startswith("train split of the store")


def test_every_optical_band_has_a_centre_and_a_width() -> None:
    for spec in MANIFEST.values():
        for layer in spec.layers:
            for band in SENSORS[layer.sensor] if is_optical(layer.sensor) else ():
                assert 300 < band.wavelength_nm < 3000
                assert band.width_nm is not None and 10 <= band.width_nm <= 200, band.id  # noqa: PT018
    assert [is_optical(name) for name in ("s2", "rgb", "s1", "map", "no such")] == [True, True, False, False, False]


# --- which way, and keys ----------------------------------------------------------------------------------------------


def test_the_way_that_changes_least_comes_first() -> None:
    expected = {
        ("softcon-vitb14-s2", "eurosat"): "native",
        ("softcon-vitb14-s2", "bigearthnet-v2"): "select-columns",  # no cirrus band, and none near it
        ("softcon-vitb14-s2", "glh-water"): "new-tokenizer",
        ("dofa-base-s2", "glh-water"): "wavelength",
        ("seco-r18", "glh-water"): "rgb",
        ("croma-base-s2", "dfc2020-croma"): "8-bit",
        (PRITHVI, "s1s2-water-s2"): "select",
        ("croma-base-s1", "segmunich"): "cannot",
    }
    for (name, place), way in expected.items():
        one, spec = cards()[name], MANIFEST[place]
        met = meet(one.card, one.family, spec, statistics=assumed_statistics(spec))
        assert met.way == way, (name, place)
        assert (met.why == "") == (way == "native")


def test_new_tokenizers_are_for_training_and_for_the_same_kind_of_sensor() -> None:
    one, spec = cards()["softcon-vitb14-s2"], MANIFEST["glh-water"]
    frozen = meet(one.card, one.family, spec, trains=False, statistics=assumed_statistics(spec))
    assert (frozen.way, "its tokenizer of rgb is new and untrained" in frozen.why) == ("cannot", True)
    radar = MANIFEST["eurosat-sar"]
    met = meet(one.card, one.family, radar, statistics=assumed_statistics(radar))
    assert (met.way, "was made for sunlight, s1 of eurosat-sar is none" in met.why) == ("cannot", True)
    with pytest.raises(BandError, match="needs s2"):  # nothing else may be tried: the refusal itself
        meet(one.card, one.family, radar, ways=(), statistics=assumed_statistics(radar))


def key_of(name: str, wiring: Wiring) -> str:
    backbone = f.BackboneFacts(id=name, card=card_digest(cards()[name].card))
    return f.run_key(
        f.Facts(
            stores=(f.StoreFacts(id="x", content="c"),),
            split=f.SplitFacts(scheme="official", lists={}),
            task=f.TaskFacts(kind="segmentation", classes=("a", "b")),
            backbone=backbone,
            protocol=f.ProtocolFacts(id="dense", version=1),
            adapter=f.adapter_facts(wiring),
        )
    )


@pytest.mark.parametrize("place", ["segmunich", "glh-water", "s1s2-water-s2", "dfc2020-croma", "eurosat"])
def test_no_two_ways_share_a_key_or_a_cache(place: str) -> None:
    pairs = 0
    for one in OPTICAL:
        spec = STORES[place]
        found: list[Wiring] = []
        for policy in (None, *one.family.ways_of(one.card)):
            met = _try(one.card.id, place, policy)
            if met is not None:
                found.append(met)
                assert way_of_facts(one.card, f.adapter_facts(met)) == met.way  # what a referee knows of it
        for a, b in combinations(found, 2):
            pairs += 1
            assert key_of(one.card.id, a) != key_of(one.card.id, b), (one.card.id, a.missing, b.missing)
            facts = f.BackboneFacts(id=one.card.id, card="c")
            assert cache_name("p", facts, a) != cache_name("p", facts, b)
        assert spec.id == place
    assert pairs


def _try(name: str, place: str, policy: MissingPolicy | None) -> Wiring | None:
    try:
        return wired(name, place, policy)
    except (BandError, ProtocolError):
        return None


def test_what_stands_in_is_part_of_the_key() -> None:
    """The same network and store, another band read: another run."""
    wiring = wired(PRITHVI, "s1s2-water-s2", "select")
    (sensor,) = wiring.sensors
    channels = tuple(replace(one, source="B04", index=2) if one.band == "B8A" else one for one in sensor.channels)
    other = replace(wiring, sensors=(replace(sensor, channels=channels),))
    assert key_of(PRITHVI, wiring) != key_of(PRITHVI, other)
    assert f.adapter_facts(wired(PRITHVI, "eurosat", None)).inputs[0].sources == ()  # keys of native runs stay


# --- the whole catalogue ----------------------------------------------------------------------------------------------


def test_few_pretrained_optical_backbones_cannot_read_an_optical_store() -> None:
    met = meetings([(one.card.id, one.card, one.family) for one in OPTICAL], STORES)
    cannot = [pair for pair, one in met.items() if one.wiring is None]
    assert len(met) == len(OPTICAL) * len(STORES) > 500
    assert len(cannot) <= 0.15 * len(met)
    assert f"{len(met)} pairs of a pretrained optical backbone and an optical store" in counts(met)
    text = coverage_text(met)
    assert text.count("\n") > len(OPTICAL)
    assert "(limit 50 nm)" in text


@pytest.mark.parametrize("place", ["segmunich", "glh-water", "s1s2-water-s2", "dfc2020", "dfc2020-croma"])
def test_seamo_reads_every_downstream_store_of_its_paper(place: str) -> None:
    """As a pretrained model would: `seamo-random` with weights that have learnt."""
    one = cards()["seamo-random"]
    card = replace(one.card, availability="weights")
    spec = STORES[place]
    met = meet(card, one.family, spec, statistics=assumed_statistics(spec))
    assert (
        met.way
        == {
            "segmunich": "select-columns",
            "s1s2-water-s2": "select-columns",
            "glh-water": "new-tokenizer",
            "dfc2020": "native",
            "dfc2020-croma": "8-bit",
        }[place]
    )


@pytest.mark.parametrize(
    ("name", "place", "policy"),
    [
        (SECO, "glh-water", "rgb"),
        (GASSL, "eurosat", None),
        (PRITHVI, "s1s2-water-s2", "select"),
        ("dofa-base-s2", "glh-water", "wavelength"),
        ("croma-base-s2", "dfc2020-croma", "8-bit"),
        ("satmae-vitb", "s1s2-water-s2", "select-columns"),
        ("softcon-vitb14-s2", "glh-water", "new-tokenizer"),
    ],
)
def test_a_trained_head_is_fed_with_new_images_as_with_the_store_s(
    name: str, place: str, policy: MissingPolicy
) -> None:
    wiring = wired(name, place, policy)
    adapter = f.adapter_facts(wiring)
    sources = {one.source_sensor: tuple(channel.source for channel in one.channels) for one in wiring.sensors}
    head = HeadFile(name="h", sha256="0", tile=(64, 64), gsd_m=10.0, sources=sources)
    spec = _spec_of(head, {one.source_sensor: one.layers[0].unit for one in wiring.sensors}, (64, 64))
    again = _same_adapter(cards()[name].card, spec, adapter).wiring
    assert [one.input.bands for one in again.sensors] == [one.input.bands for one in wiring.sensors]
    assert [channel.source for one in again.sensors for channel in one.channels] == [
        channel.source for one in wiring.sensors for channel in one.channels
    ]


def test_a_network_of_any_bands_is_never_fed_otherwise() -> None:
    free = InputSpec("rgb", (), Unit.UINT8, (), "any")
    card = replace(cards()["image-statistics"].card, inputs=(free,))
    assert wire(card.expects, STORES["glh-water"]).way == "native"
    # A floor of image statistics is of whatever there is; random weights stand beside those that were pretrained.
    floor = f.adapter_facts(wired("rgb-statistics", "eurosat", None))
    assert way_of_facts(cards()["rgb-statistics"].card, floor) == "native"
    assert wired("seamo-random", "dfc2020-croma", None).way == "8-bit"
    assert wired("seamo-random", "eurosat", None).way == "native"


def test_the_page_s_tables_are_those_of_today() -> None:
    found = spec_from_file_location("make_coverage", ROOT / "docs/make_coverage.py")
    assert found is not None and found.loader is not None  # noqa: PT018 (for the type)
    page = module_from_spec(found)
    found.loader.exec_module(page)
    text = (ROOT / "docs/coverage.md").read_text("utf-8")
    assert page.filled(text) == text, "run `python docs/make_coverage.py`"
    assert text.count("new-tokenizer") > 10


def test_a_radar_band_stands_in_for_no_other():
    """VV and VH have one wavelength: by distance alone either would do."""
    assert stand_in("select", "s1:VV", ["s1:VH"], limit_nm=50.0) == ""
    assert stand_in("select", "s1:VV", ["s1:VH", "s1:VV"], limit_nm=50.0) == "s1:VV"
    told = refusal(cards()["seamo-random"].card.expects, "select", ["s1:VV"], ["s1:VH"], "toy")
    assert "needs s1:VV, toy has VH" in str(told)
