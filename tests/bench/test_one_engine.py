"""`seamo embed` and the benchmark feed a network through one engine: the same run and store give the same vectors."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch

import seamo_bench
from seamo.bands import Unit
from seamo.data.loader import Loader
from seamo.inputs.check import normalisation_in
from seamo.inputs.normalise import Normalisation, apply_steps, normalise, steps_of
from seamo.inputs.spec import Expects
from seamo.inputs.wiring import wire
from seamo.manifest import Statistics
from seamo.model.config import DecoderConfig, SeaMoConfig
from seamo.store.reader import Store
from seamo.use.dense import Source, embed_image
from seamo.use.inputs import load_pretrained
from seamo.use.pooled import Reading, embed_store
from seamo_bench.card import BackboneCard
from seamo_bench.facts import adapter_facts
from seamo_bench.zoo.catalogue import card_digest, cards
from tests.seamo.small_model import model_folder, write_card
from tests.seamo.small_store import build_small_store

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return build_small_store(tmp_path_factory.mktemp("st"), n=6, absent=(2,), holes=(1, 4))


@pytest.fixture(scope="module")
def run_of(tmp_path_factory):
    """Side of the network's image -> folder of a model of that size."""
    root, made = tmp_path_factory.mktemp("runs"), dict[int, Path]()

    def folder(side: int) -> Path:
        if side not in made:
            made[side] = root / str(side)
            small = DecoderConfig(width=16, depth=1, heads=2)
            model_folder(made[side], SeaMoConfig(size=side, patch=4, dim=16, depth=2, heads=2, decoder=small))
            card = json.loads((made[side] / "card.json").read_text())  # radar is in decibels
            card["normalisation"]["s1"] |= {"mean": {"VV": -14, "VH": -14}, "std": {"VV": 4, "VH": 4}}
            write_card(made[side], card)
        return made[side]

    return folder


def benchmark_features(run, store: Store, *, how: str = "", **options) -> np.ndarray:
    backbone = seamo_bench.load_backbone(f"{run}{how}", store=store, **options)
    loader = Loader(store, np.arange(len(store)), 4, layers=backbone.adapter.wiring.layers, shuffle=False)
    found = [backbone.features(batch).pooled[~batch.padding].numpy() for batch in loader]
    return np.concatenate(found)


# The network's size, in pixels of a store of 24 x 24 at 10 m: smaller, the same, larger.
@pytest.mark.parametrize("side", [16, 24, 32])
@pytest.mark.parametrize(
    ("sensors", "layers"), [(("s1",), "one layer"), (("s2",), "native layers"), (("s2", "s1"), "both")]
)
@pytest.mark.parametrize("statistics", ["card", "store"])
def test_embed_and_the_benchmark_give_the_same_vectors(store, run_of, tmp_path, side, sensors, layers, statistics):
    run = run_of(side)
    reading = Reading(sensors=sensors if len(sensors) == 1 else (), statistics=statistics, batch=4)
    embed_store(load_pretrained(run, device="cpu"), store, reading, tmp_path / "out.npz")
    embedded = np.load(tmp_path / "out.npz")["features"][:, 0]
    how = "@pretrain" if statistics == "card" else ""
    features = benchmark_features(run, store, how=how, inputs=sensors)
    assert np.nanmax(embedded, axis=0).max() - np.nanmin(embedded, axis=0).min() > 1e-3, (
        f"{layers}: all vectors are alike"
    )
    np.testing.assert_allclose(features, embedded, rtol=0, atol=TOLERANCE)


def test_every_date_is_read_alike(store, run_of, tmp_path):
    run = run_of(16)
    reading = Reading(sensors=("s2",), statistics="store")
    embed_store(load_pretrained(run, device="cpu"), store, reading, tmp_path / "out.npz")
    embedded = np.load(tmp_path / "out.npz")["features"]
    features = benchmark_features(run, store, inputs=("s2",), date=1)
    np.testing.assert_allclose(features, embedded[:, 1], rtol=0, atol=TOLERANCE)


def test_a_whole_image_of_the_networks_size_is_a_tile(store, run_of, tmp_path):
    run = run_of(24)
    pixels = store.read_layer(0, "s1")[0]
    profile = {"driver": "GTiff", "dtype": "float32", "count": 2, "height": 24, "width": 24, "crs": "EPSG:32633"}
    place = rasterio.Affine(10.0, 0.0, 600000.0, 0.0, -10.0, 5900040.0)
    with rasterio.open(tmp_path / "s1.tif", "w", transform=place, **profile) as target:
        target.write(pixels)
        target.descriptions = ("VV", "VH")
    backbone = seamo_bench.load_backbone(str(run), store=store, inputs=("s1",))
    numbers = normalisation_in(backbone.adapter.wiring.sensors[0])
    statistics = {"source": "store", "unit": Unit.DB, "mean": dict(zip(numbers.bands, numbers.mean, strict=True))}
    statistics["std"] = dict(zip(numbers.bands, numbers.std, strict=True))
    source = Source(tmp_path / "s1.tif", Unit.DB, statistics=Statistics(**statistics))
    embed_image(load_pretrained(run, device="cpu"), source, tmp_path / "map.tif")
    with rasterio.open(tmp_path / "map.tif") as source:
        mean_of_patches = source.read().mean(axis=(1, 2))
    features = benchmark_features(run, store, inputs=("s1",))
    np.testing.assert_allclose(features[0], mean_of_patches, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(("kind", "eight_bit"), [("two-sigma", False), ("two-sigma", True), ("z-score", False)])
def test_training_and_the_adapter_normalise_alike(kind, eight_bit):
    how = Normalisation(kind, ("VV", "VH"), (-12.0, -19.0), (4.0, 5.0), Unit.DB, "by hand", eight_bit)
    pixels = -15 + 8 * torch.randn(3, 2, 9, 9, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(apply_steps(pixels, steps_of(how)), normalise(pixels, how), rtol=0, atol=2e-6)


def test_the_kernel_is_part_of_seamos_cards_and_keys_and_of_no_other():
    known = {card_id: found.card for card_id, found in cards().items()}
    assert {card_id for card_id, card in known.items() if card.resize != "bilinear"} == {"seamo-random"}
    card = known["resnet18"]
    assert card_digest(dataclasses.replace(card, resize="bicubic-native")) != card_digest(card)


def test_a_card_says_all_that_the_engine_is_told():
    """Every field of `Expects` is the card's field of that name: what a network expects is said once."""
    shared = {field.name for field in dataclasses.fields(Expects)} - {"learnt"}
    assert shared <= {field.name for field in dataclasses.fields(BackboneCard)}
    card = cards()["seamo-random"].card
    assert {name: getattr(card.expects, name) for name in shared} == {name: getattr(card, name) for name in shared}


def test_what_a_record_says_of_the_way(store, run_of):
    run = run_of(16)
    backbone = seamo_bench.load_backbone(str(run), store=store)
    said = adapter_facts(backbone.adapter.wiring)
    assert said.resize == "date 0, then bicubic antialiased from every layer's own grid to 16 x 16"
    other = wire(
        dataclasses.replace(backbone.card.expects, resize="bilinear"),
        store.spec,
        statistics={},
        size=None,
    )
    assert (
        adapter_facts(other).resize == "date 0, then bilinear to the finest grid, then bilinear antialiased to 16 x 16"
    )
