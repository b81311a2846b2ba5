"""The model against a slow reference in plain Python numbers, for every value of every switch."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from seamo.model.config import DecoderConfig, FusionConfig, MaskConfig, SeaMoConfig
from seamo.model.masking import draw_masks, noise_shape
from seamo.model.seamo import SeaMo
from seamo.pretrain.optimise import weighted_loss

_spec = importlib.util.spec_from_file_location("slow_seamo", Path(__file__).with_name("slow_seamo.py"))
slow_seamo = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(slow_seamo)

BANDS = {"s2": ("B02", "B03", "B04"), "s1": ("VV", "VH")}
TINY = SeaMoConfig(
    bands=BANDS, size=6, patch=2, dim=8, depth=2, heads=2, decoder=DecoderConfig(depth=1, width=8, heads=4)
)
ALGORITHM1 = FusionConfig(variant="algorithm1")
DECOUPLE = FusionConfig(mode="decouple")
ONE = {"s2": BANDS["s2"]}

# name -> (configuration, seasons)
SWITCHES = {
    "default": (TINY, 3),
    "stage one": (replace(TINY, temporal=False, tm=FusionConfig(mode="none")), 1),
    "one season, fused": (replace(TINY, temporal=False), 1),
    "patch 3": (replace(TINY, patch=3), 2),
    "width 12, 3 heads": (replace(TINY, dim=12, heads=3), 2),
    "depth 1": (replace(TINY, depth=1), 2),
    "ratio 0.5": (replace(TINY, mask=MaskConfig(ratio=0.5)), 2),
    "ratio 0.6": (replace(TINY, mask=MaskConfig(ratio=0.6)), 2),
    "ratio 0.9": (replace(TINY, mask=MaskConfig(ratio=0.9)), 2),
    "independent masks": (replace(TINY, mask=MaskConfig(kind="independent")), 2),
    "targets as they are": (replace(TINY, norm_pix="none"), 2),
    "targets per band": (replace(TINY, norm_pix="per_channel"), 2),
    "radar counts a quarter": (replace(TINY, loss_weight={"s1": 0.25}), 2),
    "learned positions": (replace(TINY, pos="learned"), 2),
    "radar first": (replace(TINY, bands={"s1": BANDS["s1"], "s2": BANDS["s2"]}), 2),
    "CLS token": (replace(TINY, cls_token=True), 2),
    "modality embedding": (replace(TINY, modality_embed=True), 2),
    "decoder": (replace(TINY, decoder=DecoderConfig(depth=2, width=12, heads=3)), 2),
    "unimodal, no fusion": (replace(TINY, bands=ONE, strategy="unimodal", tm=FusionConfig(mode="none")), 2),
    "unimodal, fuse": (replace(TINY, bands=ONE, strategy="unimodal"), 3),
    "unimodal, fuse H": (replace(TINY, bands=ONE, strategy="unimodal", tm=FusionConfig(prev="H")), 3),
    "unimodal, decouple": (replace(TINY, bands=ONE, strategy="unimodal", tm=DECOUPLE), 3),
    "siamese, no fusion": (replace(TINY, strategy="siamese", tm=FusionConfig(mode="none")), 2),
    "siamese, fuse": (replace(TINY, strategy="siamese"), 3),
    "siamese, CLS token": (replace(TINY, strategy="siamese", cls_token=True), 2),
    "siamese, independent masks": (replace(TINY, strategy="siamese", mask=MaskConfig(kind="independent")), 2),
    "seasons without fusion": (replace(TINY, tm=FusionConfig(mode="none")), 3),
    "fuse H": (replace(TINY, tm=FusionConfig(prev="H")), 3),
    "fuse depth 2": (replace(TINY, tm=FusionConfig(depth=2)), 3),
    "fuse depth 2, H": (replace(TINY, tm=FusionConfig(depth=2, prev="H")), 3),
    "fuse type embedding": (replace(TINY, tm=FusionConfig(type_embed=True)), 3),
    "decouple": (replace(TINY, tm=DECOUPLE), 3),
    "decouple H": (replace(TINY, tm=replace(DECOUPLE, prev="H")), 3),
    "decouple concat": (replace(TINY, tm=replace(DECOUPLE, merge="concat")), 3),
    "decouple depth 2": (replace(TINY, tm=replace(DECOUPLE, depth=2)), 2),
    "algorithm1": (replace(TINY, tm=ALGORITHM1), 3),
    "algorithm1 H": (replace(TINY, tm=replace(ALGORITHM1, prev="H")), 3),
    "algorithm1 value": (replace(TINY, tm=replace(ALGORITHM1, residual="value")), 3),
    "algorithm1 decouple": (replace(TINY, tm=replace(ALGORITHM1, mode="decouple")), 3),
    "algorithm1 decouple concat": (replace(TINY, tm=replace(ALGORITHM1, mode="decouple", merge="concat")), 3),
    "algorithm1 decouple value": (replace(TINY, tm=replace(ALGORITHM1, mode="decouple", residual="value")), 3),
}


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the tensors are too small to share
    yield
    torch.set_num_threads(threads)


def build(config: SeaMoConfig) -> tuple[SeaMo, "slow_seamo.SlowSeaMo"]:
    """A model in double precision whose every parameter is random (biases and norms too), and its slow twin."""
    generator = torch.Generator().manual_seed(7)
    model = SeaMo(config, generator=generator).double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(mean=1.0 if "norm" in name and "weight" in name else 0.0, std=0.3, generator=generator)
    weights = {name: tensor.tolist() for name, tensor in model.state_dict().items()}
    return model, slow_seamo.SlowSeaMo(config.to_dict(), weights)


def draw(config: SeaMoConfig, seasons: int, batch: int = 2) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    generator = torch.Generator().manual_seed(11)
    images = {
        s: torch.rand(batch, seasons, len(names), config.size, config.size, generator=generator, dtype=torch.float64)
        for s, names in config.bands.items()
    }
    return images, torch.rand(noise_shape(config, batch, seasons), generator=generator, dtype=torch.float64)


def as_lists(images: dict[str, torch.Tensor], valid: dict[str, torch.Tensor] | None = None) -> list[dict]:
    B, T = next(iter(images.values())).shape[:2]
    there = valid or {s: torch.ones(B, T, dtype=torch.bool) for s in images}
    return [
        {s: [x[b, t].tolist() if there[s][b, t] else None for t in range(T)] for s, x in images.items()}
        for b in range(B)
    ]


@pytest.mark.parametrize("name", SWITCHES)
def test_forward_loss_and_masks_agree_with_the_slow_reference(name: str):
    config, seasons = SWITCHES[name]
    model, slow = build(config)
    images, noise = draw(config, seasons)
    output = model(images, noise=noise)
    loss, terms, results = slow.batch(as_lists(images), noise.tolist(), set())
    assert output.loss.item() == pytest.approx(loss, abs=1e-5)
    assert {key: value.item() for key, value in output.terms.items()} == pytest.approx(terms, abs=1e-5)
    for b, (kept, predictions, _) in enumerate(results):
        for (sensor, t), predicted in predictions.items():
            torch.testing.assert_close(output.pred[sensor][b, t], torch.tensor(predicted).double(), atol=1e-5, rtol=0)
            hidden = [index not in kept[sensor][t] for index in range(config.num_patches)]
            assert output.masked[sensor][b, t].tolist() == hidden


def test_a_global_batch_of_one_part_has_the_loss_of_the_model():
    config, seasons = SWITCHES["radar counts a quarter"]
    model, _ = build(config)
    images, noise = draw(config, seasons)
    output = model(images, noise=noise)
    hidden = config.num_patches - config.num_visible
    loss = weighted_loss(output, hidden=hidden, places=2, weight_of=config.weight_of)
    torch.testing.assert_close(loss, output.loss, rtol=1e-12, atol=0)


# Season 2 of location 0 has no radar, season 1 of location 1 nothing at all, the last of location 1 no optical image.
ABSENT = {
    "s2": torch.tensor([[True, True, True], [True, False, False]]),
    "s1": torch.tensor([[True, False, True], [True, False, True]]),
}


@pytest.mark.parametrize(
    "name",
    [
        "default",
        "seasons without fusion",
        "unimodal, fuse",
        "unimodal, decouple",
        "siamese, fuse",
        "fuse H",
        "fuse depth 2",
        "fuse type embedding",
        "decouple",
        "decouple concat",
        "algorithm1",
        "algorithm1 H",
        "algorithm1 decouple",
    ],
)
def test_absent_images_are_as_if_they_were_not_there(name: str):
    config, seasons = SWITCHES[name]
    model, slow = build(config)
    images, noise = draw(config, seasons)
    valid = {s: ABSENT[s] for s in config.sensors}
    for s in config.sensors:
        images[s][~valid[s]] = torch.nan  # whatever is there must not matter
    output = model(images, noise=noise, valid=valid)
    loss, terms, _ = slow.batch(as_lists(images, valid), noise.tolist(), set())
    assert {key: value.item() for key, value in output.terms.items()} == pytest.approx(terms, abs=1e-5)
    assert output.loss.item() == pytest.approx(loss, abs=1e-5)
    output.loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_a_patch_with_an_invalid_pixel_does_not_count():
    model, slow = build(TINY)
    images, noise = draw(TINY, 3)
    pixel_valid = {"s2": torch.ones(2, 3, 3, 6, 6, dtype=torch.bool), "s1": torch.ones(2, 3, 1, 6, 6, dtype=torch.bool)}
    pixel_valid["s2"][0, 1, 2, 3, 5] = False  # row 3, column 5 in the third band: patch 1 * 3 + 2 = 5
    pixel_valid["s1"][1, 2, 0, 0:2, :] = False  # both pixel rows of the first row of patches: 0, 1, 2
    output = model(images, noise=noise, pixel_valid=pixel_valid)
    bad = {(0, "s2", 1, 5), (1, "s1", 2, 0), (1, "s1", 2, 1), (1, "s1", 2, 2)}
    _, terms, _ = slow.batch(as_lists(images), noise.tolist(), bad)
    assert {key: value.item() for key, value in output.terms.items()} == pytest.approx(terms, abs=1e-5)
    hidden = output.masked["s1"]
    assert output.counts["s1", 2] == hidden[0, 2].sum() + hidden[1, 2, 3:].sum()


def test_all_valid_gives_the_numbers_of_the_fast_path():
    model, _ = build(TINY)
    images, noise = draw(TINY, 3)
    everything = {s: torch.ones(2, 3, dtype=torch.bool) for s in TINY.sensors}
    masked = model(images, noise=noise, valid=everything)
    torch.testing.assert_close(masked.loss, model(images, noise=noise).loss, atol=1e-12, rtol=0)


def test_nothing_valid_gives_a_loss_of_zero():
    model, _ = build(TINY)
    images, noise = draw(TINY, 3)
    nothing = {s: torch.zeros(2, 3, dtype=torch.bool) for s in TINY.sensors}
    output = model(images, noise=noise, valid=nothing)
    assert output.loss.item() == 0.0
    assert all(count == 0 for count in output.counts.values())


@pytest.mark.parametrize("name", ["default", "fuse H", "decouple"])
def test_an_absent_last_season_changes_nothing_in_the_terms_of_the_others(name: str):
    model, _ = build(SWITCHES[name][0])
    images, noise = draw(TINY, 3)
    valid = {s: torch.tensor([[True, True, False]] * 2) for s in TINY.sensors}
    three = model(images, noise=noise, valid=valid)
    two = model({s: x[:, :2] for s, x in images.items()}, noise=noise[:, :2])
    for key, term in two.terms.items():
        torch.testing.assert_close(three.terms[key], term, atol=1e-12, rtol=0)
    torch.testing.assert_close(three.loss, two.loss, atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", ["default", "siamese, fuse", "unimodal, fuse", "CLS token", "modality embedding"])
@pytest.mark.parametrize("size", [(6, 6), (4, 8)])
def test_encode_agrees_with_the_slow_reference(name: str, size: tuple[int, int]):
    config, _ = SWITCHES[name]
    model, slow = build(config)
    generator = torch.Generator().manual_seed(3)
    images = {
        s: torch.rand(2, len(names), *size, generator=generator, dtype=torch.float64)
        for s, names in config.bands.items()
    }
    for chosen in [list(config.sensors), *([s] for s in config.sensors)]:
        given = {s: images[s] for s in chosen}
        tokens = model.encode(given)
        for b in range(2):
            wanted = slow.encode({s: x[b].tolist() for s, x in given.items()})
            torch.testing.assert_close(tokens[b], torch.tensor(wanted).double(), atol=1e-5, rtol=0)
        torch.testing.assert_close(model.pool(given), tokens.mean(dim=1))


def test_masks_by_hand():
    config = replace(TINY, mask=MaskConfig(ratio=0.6))  # 9 patches, round(3.6) = 4 visible
    noise = torch.tensor([[[0.9, 0.1, 0.8, 0.2, 0.7, 0.3, 0.6, 0.4, 0.5]]])
    masks = draw_masks(noise, config)
    assert masks.kept.tolist() == [[[[1, 3, 5, 7]] * 2]]
    assert masks.masked[0, 0, 0].tolist() == [True, False, True, False, True, False, True, False, True]
