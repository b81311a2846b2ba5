"""What a plan foresees, against what torch counts and what is typed by hand; and runs that have so many hours."""

from dataclasses import replace

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from seamo.manifest import shipped_manifest
from seamo_bench.cli.plan_view import size
from seamo_bench.facts import BackboneFacts, Facts, ProtocolFacts, SplitFacts, StoreFacts, TaskFacts, run_key
from seamo_bench.protocols import find_protocol
from seamo_bench.protocols.dense.heads._parts import Level
from seamo_bench.protocols.dense.heads.upernet import build as upernet
from seamo_bench.records.record import About, Cost, Record
from seamo_bench.runs.estimate import (
    GPU,
    READ,
    Estimate,
    Size,
    Throughput,
    disk_bytes,
    estimate,
    image_bytes,
    measured_throughput,
    published_counts,
    shared_seconds,
)
from seamo_bench.runs.flops import head_flops, image_flops
from seamo_bench.suites.suite import load_suite, num_seeds, protocol_params
from seamo_bench.zoo.catalogue import cards, find_card
from seamo_bench.zoo.loading import load_network


def counted(name: str) -> tuple[float, float]:
    """FLOPs of one image: foreseen, and what torch counts, on tensors without memory."""
    found = find_card(name)
    inputs = found.card.inputs if found.card.joint else found.card.inputs[:1]
    fed = replace(found.card, inputs=tuple(replace(one, bands=one.bands or ("B02", "B03", "B04")) for one in inputs))
    side = found.card.size
    with torch.device("meta"):
        network = load_network(found.family, found.card, None, 0, fed=fed).to("meta")
        images = {one.sensor: torch.zeros(1, len(one.bands), side, side) for one in fed.inputs}
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        network.forward_features(images)
    return image_flops(found.card, side, sensors=len(inputs)), float(counter.get_total_flops())


@pytest.mark.parametrize(
    "name",
    ["resnet18", "resnet50-in1k", "vit-b16-in1k", "unet", "satlas-swinb-s2", "croma-base-joint", "satmae-vitb"],
)  # fmt: skip
def test_operations_are_those_that_torch_counts(name: str) -> None:
    foreseen, real = counted(name)
    assert foreseen == pytest.approx(real, rel=0.06)


def test_floors_without_a_network_cost_nothing_but_reading() -> None:
    assert image_flops(cards()["image-statistics"].card, 64) == 0
    assert image_flops(cards()["pixel-values"].card, 64) == 0


def test_a_head_costs_what_torch_counts() -> None:
    card = cards()["vit-b16-in1k"].card
    levels = [Level(channels, 14, 14, stride) for channels, stride in card.levels]
    with torch.device("meta"):
        head = upernet(levels, 8, width=512).eval()
        maps = [torch.zeros(1, one.channels, 14, 14) for one in levels]
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        head(maps)
    foreseen = head_flops(card, {"head": "upernet"}, 224)
    assert foreseen == pytest.approx(counter.get_total_flops(), rel=0.1)
    assert head_flops(card, {"head": "linear"}, 224) == 0


def record(protocol: str, *, seconds: float, passes: float) -> Record:
    """A run on 100, 20 and 30 images of 1 GFLOP, of two rates and ten epochs where it trains."""
    about = About(stores=("Toy",), backbone="Net", samples={"train": 100, "val": 20, "test": 30})
    facts = Facts(
        stores=(StoreFacts(id="toy", content="0"),),
        split=SplitFacts(scheme="official", lists={}, fraction=1.0),
        task=TaskFacts(kind="single-label", classes=("a", "b"), label_space="own"),
        backbone=BackboneFacts(id="net", card="0"),
        protocol=ProtocolFacts(id=protocol, version=1, params={"epochs": 10, "base_lrs": (0.1, 0.2)}),
    )
    cost = Cost(seconds=seconds, flops_per_sample=1e9, samples_per_second=passes)
    return Record(
        key=run_key(facts), status="ok", facts=facts, about=about, cost=cost, environment={"device": "cpu: of a test"}
    )


def test_the_throughput_of_earlier_records_is_that_of_their_trainings() -> None:
    assert measured_throughput([]) is None
    frozen = record("knn", seconds=1.0, passes=200.0)
    passed = measured_throughput([frozen])
    assert passed is not None
    assert passed.flops == 200 * 1e9
    # 2 x (3 x 10 x 100 + 20) + 30 passes of 1 GFLOP in 7 s.
    trained = measured_throughput([frozen, record("finetune", seconds=7.0, passes=500.0)])
    assert trained is not None
    assert trained.flops == pytest.approx((2 * (3 * 10 * 100 + 20) + 30) * 1e9 / 7)
    assert str(trained) == "0.867 TFLOP/s, measured here (cpu: of a test)"


def test_disk_is_features_once_and_records_each() -> None:
    knn, logreg = seconds("knn"), seconds("logreg")
    assert disk_bytes([("a", knn), ("a", logreg)]) == 1500 * 768 * 4 + 2 * 300 * (4 * 10 + 48)
    assert [size(number) for number in (6, 4321, 5.5e6, 2.25e9)] == ["1 kB", "4 kB", "6 MB", "2.2 GB"]


SIZE = Size({"train": 1000, "val": 200, "test": 300}, 1, 100_000, 224, 1, 10)
VIT = 34.7e9  # of a ViT-B/16 at 224 pixels: 12 blocks on 196 tokens of width 768


def seconds(protocol: str, *, seeds: int = 1, **params: object) -> Estimate:
    card = cards()["vit-b16-in1k"].card
    found = find_protocol(protocol)
    given = {**found.defaults, **params}
    return estimate(found, given, card, SIZE, seeds=seeds, speed=Throughput(1e12, "of a test"))  # type: ignore[arg-type]


def test_training_costs_three_passes_an_epoch_a_rate_and_a_seed() -> None:
    one = seconds("finetune", epochs=10, base_lrs=(1e-4, 1e-3))
    assert one.own == pytest.approx((2 * (3 * 10 * 1000 + 200) + 300) * VIT / 1e12 + 3, rel=0.01)
    three = seconds("finetune", seeds=3, epochs=10, base_lrs=(1e-4, 1e-3))
    assert three.own - 3 == pytest.approx(3 * (one.own - 3))
    assert three.own_bytes == 3 * 300 * (4 * 10 + 48)
    assert (one.features, one.features_bytes) == (0, 0)


def test_a_frozen_encoder_sees_each_epoch_once_for_all_rates() -> None:
    frozen = seconds("dense", frozen=True, head="linear", epochs=10)
    assert frozen.own == pytest.approx((10 * 1000 + 200 + 300) * VIT / 1e12 + 3, rel=0.01)
    assert seconds("dense", frozen=False, head="linear", epochs=10).own > 10 * frozen.own


def test_features_are_paid_once_a_group() -> None:
    knn, logreg = seconds("knn"), seconds("logreg")
    assert knn.features == pytest.approx(1500 * VIT / 1e12, rel=0.01)
    assert knn.features_bytes == 1500 * 768 * 4
    first, second, other = shared_seconds([("a", knn), ("a", logreg), ("b", logreg)])
    assert first == pytest.approx(knn.features + knn.own)
    assert second == pytest.approx(logreg.own)
    assert other == pytest.approx(logreg.features + logreg.own)


def test_frozen_heads_cost_what_their_steps_and_fits_cost() -> None:
    one = 2 * 768 * 10 / 1e11  # seconds of a sample through one linear layer
    linear = seconds("linear", steps=50, batch=512, lrs=(0.1, 1.0), weight_decays=(0.0,))
    assert linear.own == pytest.approx(3 + 3 * 50 * 512 * 2 * one)
    few = replace(SIZE, samples={"train": 100, "val": 200, "test": 300})
    found = find_protocol("linear")
    made = estimate(found, found.defaults, cards()["vit-b16-in1k"].card, few, seeds=1, speed=Throughput(1e12, "test"))
    assert made.own == pytest.approx(3 + 3 * 3000 * 100 * 24 * one)
    alone, chosen = seconds("logreg", C=1.0), seconds("logreg", C=(0.1, 1.0, 10.0))
    assert chosen.own - 3 == pytest.approx(4 * (alone.own - 3))


def test_what_is_cheap_to_compute_costs_what_reading_does() -> None:
    found = find_protocol("knn")
    made = estimate(found, found.defaults, cards()["image-statistics"].card, SIZE, seeds=1, speed=GPU)
    assert made.features == pytest.approx(1500 * 100_000 / READ)


def test_an_untrained_tokenizer_costs_a_product_a_pixel() -> None:
    card = cards()["tokenizer-statistics"].card
    fed = replace(card, inputs=(replace(card.inputs[0], bands=("B02", "B03", "B04")),))
    assert image_flops(fed, 64) == 2 * 64 * 64 * 3 * 96
    assert image_flops(card, 64) < 1e9


def test_the_core_suite_takes_a_vit_base_at_most_four_hours_of_one_gpu() -> None:
    manifest, suite = shipped_manifest(), load_suite("core")
    assert len({row.store for row in suite.rows}) <= 4
    for name in ("vit-b16-in1k", "seamo-random", "croma-base-s2", "satmae-vitb"):
        made = []
        for row in suite.rows:
            protocol, spec = find_protocol(row.protocol), manifest[row.store]
            params = protocol_params(protocol, row, "full")
            assert protocol.needs == "features" or params["frozen"]
            counts = published_counts(spec, row.split, row.fraction)
            assert counts is not None, row.store
            data = Size(counts, 1, image_bytes(spec, row.inputs), 0, 1, 20)
            seeds = num_seeds(protocol, row, "full")
            made.append((row.store, estimate(protocol, params, cards()[name].card, data, seeds=seeds, speed=GPU)))
        hours = sum(shared_seconds(made)) / 3600
        # Alone the features of the largest data set, 519,284 images of 35 GFLOPs at 10 TFLOP/s, take half an hour.
        assert 0.5 < hours < 4, name


def test_published_counts_of_two_splits_leave_a_tenth_for_validation() -> None:
    manifest = shipped_manifest()
    assert published_counts(manifest["eurosat"]) == {"train": 16200, "val": 5400, "test": 5400}
    assert published_counts(manifest["eurosat"], fraction=0.1) == {"train": 1620, "val": 5400, "test": 5400}
    assert published_counts(manifest["dfc2020"]) == {"train": 46152 - 4615, "val": 4615, "test": 8874}
    assert published_counts(manifest["segmunich"]) is None
    # 13 bands of 64 x 64 uint16; 2 of 64 x 64 float32
    assert image_bytes(manifest["eurosat"], ()) == 13 * 64 * 64 * 2
    assert image_bytes(manifest["eurosat-sar"], ("s1",)) == 2 * 64 * 64 * 4
