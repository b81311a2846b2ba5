"""New tokenizers: for bands and sensors that a model has not seen; who may have them, and how they are trained."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import seamo_bench
from seamo.bands import Unit
from seamo.errors import BandError, ProtocolError
from seamo.inputs.explain import explain
from seamo.inputs.wiring import check_trained, wire
from seamo.manifest import DatasetSpec, Statistics, shipped_manifest
from seamo.model.checkpoint import save_model
from seamo.model.config import DecoderConfig, FusionConfig, SeaMoConfig
from seamo.model.seamo import SeaMo
from seamo.store.reader import open_store
from seamo_bench.facts import adapter_facts, run_key
from seamo_bench.protocols.finetune import training as finetune
from seamo_bench.runs.plan import Places, make_plan
from seamo_bench.suites.suite import Row, Suite, expand, load_suite
from seamo_bench.zoo.catalogue import check_selection, find_card
from tests.bench.bench_store import BANDS, toy_store

torch.set_num_threads(1)
RGB = shipped_manifest()["glh-water"]
FEW = shipped_manifest()["s1s2-water-s2"]
MAPS = {"bigearthnet-v2": shipped_manifest()["bigearthnet-v2"]}
CARD = find_card("seamo-random").card
TRAINS = {"epochs": 1, "warmup": 0, "batch": 8, "base_lrs": (1e-3,)}


def statistics(spec: DatasetSpec) -> dict[str, Statistics]:
    """Means 100, 200, ... and standard deviations 10, 20, ... in the order of the bands."""
    names = [name for layer in spec.layers for name in layer.bands]
    mean = {name: 100.0 * (n + 1) for n, name in enumerate(names)}
    std = {name: 10.0 * (n + 1) for n, name in enumerate(names)}
    return {spec.stacks[0]: Statistics(source="typed in", unit=spec.layers[0].unit, mean=mean, std=std)}


def test_an_unknown_sensor_gets_a_tokenizer_of_the_store_s_bands_and_statistics():
    with pytest.raises(BandError, match="needs s2 or s1, glh-water has rgb"):
        wire(CARD.expects, RGB, statistics=statistics(RGB))
    (one,) = (wiring := wire(CARD.expects, RGB, statistics=statistics(RGB), missing="new-tokenizer")).sensors
    assert (one.new, one.input.sensor, one.input.bands, one.input.unit) == (True, "rgb", ("R", "G", "B"), Unit.UINT8)
    scaled = one.input.steps[0]  # mean - 2 std .. mean + 2 std becomes 0 .. 1
    assert (scaled.op, scaled.a, scaled.b) == ("affine", (80.0, 160.0, 240.0), (40.0, 80.0, 120.0))
    assert all(row["note"] == "new tokenizer, to be trained" for row in explain(wiring, RGB))
    assert wiring.missing == "new-tokenizer"
    assert adapter_facts(wiring).inputs[0].filled == ()
    asked = wire(CARD.expects, RGB, statistics=statistics(RGB), missing="new-tokenizer", inputs=["rgb:R+G"])
    assert asked.sensors[0].input.bands == ("R", "G")
    with pytest.raises(BandError, match="has no s2"):
        wire(CARD.expects, RGB, statistics=statistics(RGB), missing="new-tokenizer", inputs=["s2"])


def test_a_known_sensor_gets_one_only_where_bands_are_missing():
    (one,) = wire(CARD.expects, FEW, statistics=statistics(FEW), missing="new-tokenizer").sensors
    assert (one.new, one.input.bands, one.dropped) == (True, ("B02", "B03", "B04", "B08", "B11", "B12"), ())
    whole = shipped_manifest()["oscd"]  # all twelve bands, and B10
    (one,) = wire(CARD.expects, whole, statistics=statistics(whole), missing="new-tokenizer").sensors
    assert (one.new, one.input.bands) == (False, CARD.inputs[0].bands)


def test_numbers_of_pretraining_are_taken_by_band_or_refused():
    bands = CARD.inputs[0].bands
    step = replace(CARD.inputs[0].steps[0], op="affine", a=tuple(range(12)), b=tuple(range(1, 13)))
    own = replace(CARD, inputs=(replace(CARD.inputs[0], steps=(step,)),))
    (one,) = wire(own.expects, FEW, missing="new-tokenizer").sensors
    assert one.input.steps[0].a == tuple(bands.index(name) for name in one.input.bands)
    (one,) = wire(own.expects, RGB, statistics=statistics(RGB), missing="new-tokenizer").sensors
    assert [(step.op, step.a, step.b) for step in one.input.steps] == [
        ("affine", (100.0, 200.0, 300.0), (10.0, 20.0, 30.0))
    ]  # there are none for red, green and blue: the store's


def test_a_family_that_cannot_is_refused_and_a_frozen_encoder_too():
    wiring = wire(CARD.expects, RGB, statistics=statistics(RGB), missing="new-tokenizer")
    check_selection(wiring, find_card("seamo-random").family)
    with pytest.raises(ProtocolError, match="cannot begin anew"):
        check_selection(wiring, find_card("resnet18").family)
    with pytest.raises(ProtocolError, match=r"rgb is new and untrained.*frozen"):
        check_trained(wiring)
    check_trained(wire(CARD.expects, FEW, statistics=statistics(FEW), missing="select-columns"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that was pretrained on three bands of which the toy store has two, beside others."""
    bands = {"s2": ("B01", "B02", "B03"), "s1": ("VV", "VH")}
    config = SeaMoConfig(
        bands=bands, size=16, patch=8, dim=16, depth=2, heads=2, temporal=False, modality_embed=True,
        tm=FusionConfig(mode="none"), decoder=DecoderConfig(depth=1, width=16, heads=2),
    )  # fmt: skip
    numbers = {
        sensor: {
            "kind": "two-sigma", "unit": "dn" if sensor == "s2" else "db", "mean": dict.fromkeys(names, 1.0),
            "std": dict.fromkeys(names, 1.0), "source": "typed in", "eight_bit": False,
        }
        for sensor, names in bands.items()
    }  # fmt: skip
    folder = tmp_path_factory.mktemp("runs") / "night"
    model = SeaMo(config, generator=torch.Generator().manual_seed(0))
    save_model(folder / "final", model, {"normalisation": numbers, "provenance": {"seed": 3}})
    return str(folder), model


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    root = tmp_path_factory.mktemp("stores")
    toy_store(root, 30)
    return root


def test_the_encoder_is_kept_and_the_tokenizer_drawn_by_the_seed(run, stores):
    name, model = run
    store = open_store(stores / "toy")
    backbone = seamo_bench.load_backbone(name, store=store, missing="new-tokenizer")
    networks = [backbone.make(seed).model for seed in (0, 0, 1)]
    first, again, other = (one.tokenizers["s2"].weight for one in networks)
    assert first.shape == (16, len(BANDS) * 64)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    kept = {key: value for key, value in model.state_dict().items() if key.startswith("encoder.")}
    assert kept
    assert all(torch.equal(networks[2].state_dict()[key], value) for key, value in kept.items())
    whole = seamo_bench.load_backbone(name, store=store, missing="select-columns")
    assert whole.network.fresh == ()
    assert torch.equal(whole.network.model.tokenizers["s2"].weight, model.tokenizers["s2"].weight[:, 64:])


def test_a_new_tokenizer_is_trained_at_the_rate_of_the_head(run, stores):
    name, _ = run
    store = open_store(stores / "toy")
    network = seamo_bench.load_backbone(name, store=store, missing="new-tokenizer").make(0)
    groups = finetune.parameter_groups(finetune.Classifier(network, 16, 3), weight_decay=0.05, decay=0.5)
    scales = {id(one): group["scale"] for group in groups for one in group["params"]}
    assert scales[id(network.model.tokenizers["s2"].weight)] == 1.0
    assert scales[id(network.model.modality["s2"])] == 1.0
    assert scales[id(network.model.encoder.blocks[0].attn.qkv.weight)] == 0.25
    backbone = seamo_bench.load_backbone(name, store=store, missing="new-tokenizer")
    (result,) = seamo_bench.evaluate(backbone, store, "finetune", params=TRAINS)
    assert np.isfinite(result.predictions.scores).all()
    with pytest.raises(ProtocolError, match="frozen"):
        seamo_bench.evaluate(backbone, store, "knn")
    batch = next(iter(store.loader("train", 4)))
    network.forward_features(backbone.adapter(batch)).pooled.square().sum().backward()
    assert network.model.tokenizers["s2"].weight.grad.abs().sum() > 0


def test_plan_says_which_rows_can_have_one(run, stores, tmp_path):
    name, _ = run
    rows = tuple(
        Row(store="toy", protocol=protocol, missing=missing)
        for protocol, missing in (
            ("finetune", "new-tokenizer"),
            ("finetune", "select-columns"),
            ("knn", "new-tokenizer"),
        )
    )
    suite = Suite(id="x", rows=rows)
    places = Places(stores, tmp_path, tmp_path)
    anew, cut, frozen = make_plan(suite, [name], places)
    assert (anew.status, cut.status, frozen.status) == ("will run", "will run", "impossible")
    assert "frozen" in frozen.reason
    assert [flag.text for flag in anew.flags if "tokenizer" in flag.text] == [
        "a new tokenizer for s2:B02+B03+B04+B08+B11"
    ]
    assert anew.facts[0].inputs == "new-tokenizer"  # a column of its own: nothing else in it selects columns
    assert run_key(anew.facts[0]) != run_key(cut.facts[0])
    (resnet,) = make_plan(Suite(id="x", rows=rows[:1]), ["resnet18"], places)
    assert not [flag for flag in resnet.flags if "tokenizer" in flag.text]  # takes whatever bands there are
    (other,) = make_plan(Suite(id="x", rows=rows[:1]), ["seco-r50"], places)
    assert other.status == "impossible"


def test_suites_begin_new_tokenizers_where_the_paper_did():
    paper = [row for row in load_suite("paper").rows if row.missing == "new-tokenizer"]
    assert {(row.published, row.store) for row in paper} == {
        ("T4", "segmunich"), ("T9", "glh-water"), ("T9", "s1s2-water-s2"),
    }  # fmt: skip
    ablations = [row for row in load_suite("ablations").rows if row.missing == "new-tokenizer"]
    assert [(row.published, row.inputs[0].count("B"), row.size) for row in ablations] == [
        ("T14", 9, 128), ("T14", 4, 128), ("T14", 9, 224),
    ]  # fmt: skip
    assert all(not row.params.get("frozen", False) for row in (*paper, *ablations))


def test_maps_of_class_ids_are_fed_to_nobody():
    ways = {row.inputs for row in expand(Suite(id="x", rows=(Row(task="multi-label", protocol="knn"),)), MAPS)}
    assert ways == {("s1",), ("s2",), ("s1", "s2")}
    spec = MAPS["bigearthnet-v2"]
    fed = wire(find_card("image-statistics").card.expects, spec).sensors
    assert [one.input.sensor for one in fed] == ["s2", "s1"]


def test_networks_that_learnt_no_unit_take_8_bit_as_well_and_others_do_not():
    eight = shipped_manifest()["dfc2020-croma"]
    known = {
        stack: Statistics(
            source="typed in", unit=Unit.UINT8, mean=dict.fromkeys(names, 90.0), std=dict.fromkeys(names, 20.0)
        )
        for stack, names in {one.stack: one.bands for one in eight.layers}.items()
    }
    (one,) = wire(find_card("resnet18").card.expects, eight, statistics=known, inputs=["s2"]).sensors
    assert one.input.unit == Unit.UINT8
    assert {(channel.scale, channel.offset) for channel in one.channels} == {(1.0, 0.0)}
    assert {(step.op, step.a[0], step.b[0]) for step in one.input.steps} == {("affine", 90.0, 20.0)}
    (plain,) = wire(find_card("image-statistics").card.expects, eight, statistics=known, inputs=["s1"]).sensors
    assert plain.input.unit == Unit.UINT8
    with pytest.raises(ProtocolError, match="unit uint8 cannot become dn"):
        wire(find_card("croma-base-s2").card.expects, eight, statistics=known)
