"""Encoders by name: timm's own class with our weights, its head, its maps, and what is refused."""

import re

import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer

import seamo
from seamo.errors import BandError, RecipeError, UsageError
from seamo.model.config import stage_one
from seamo.pretrain.recipe import load_recipe
from seamo.use.timmform import create_transform, model_names
from tests.seamo.small_model import model_folder

CONFIG = stage_one(load_recipe("seamo-demo").model)
NAME = f"seamo_demo_patch{CONFIG.patch}"
S2 = CONFIG.bands["s2"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "final"
    return model_folder(folder, CONFIG), folder


def images(bands=S2, side=CONFIG.size):
    return torch.randn(2, len(bands), side, side, generator=torch.Generator().manual_seed(3))


def test_it_is_timms_class_with_the_features_of_the_folder(trained):
    model, folder = trained
    vit = seamo.create_model(NAME, folder)
    assert type(vit) is VisionTransformer
    x = images()
    with torch.no_grad():
        torch.testing.assert_close(vit(x), model.pool({"s2": x}), rtol=0, atol=1e-5)
        torch.testing.assert_close(vit.forward_features(x), model.encode({"s2": x}), rtol=0, atol=1e-5)
        torch.testing.assert_close(vit.forward_head(vit.forward_features(x)), vit(x), rtol=0, atol=0)
    assert (vit.num_features, vit.num_classes) == (CONFIG.dim, 0)
    facts = vit.pretrained_cfg
    assert facts["bands"] == S2
    assert facts["unit"] == "dn"
    assert facts["input_size"] == (len(S2), CONFIG.size, CONFIG.size)
    theirs = set(timm.create_model("vit_tiny_patch16_224").pretrained_cfg)
    assert {"architecture", "first_conv", "classifier", "num_classes", "input_size", "license"} <= set(facts) & theirs
    pixels = 1000 + 500 * images()
    mean = torch.tensor([1000.0 + i for i in range(len(S2))])[:, None, None]  # as the folder was made: std 500
    want = ((pixels - (mean - 1000)) / 2000).clamp(0, 1)  # mean - 2 std -> 0, mean + 2 std -> 1
    torch.testing.assert_close(create_transform(vit)(pixels), want, rtol=0, atol=1e-6)


def test_heads_follow_their_seed_and_leave_the_generator_alone(trained):
    state = torch.random.get_rng_state()
    first, again, other = (seamo.create_model(NAME, trained[1], num_classes=5, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(state, torch.random.get_rng_state())
    assert first(images()).shape == (2, 5)
    assert torch.equal(first.head.weight, again.head.weight)
    assert not torch.equal(first.head.weight, other.head.weight)
    first.reset_classifier(7)
    assert first(images()).shape == (2, 7)
    plain = seamo.create_model(NAME, trained[1])
    with torch.no_grad():  # the head is linear on the pooled feature
        want = plain(images()) @ again.head.weight.T + again.head.bias
        torch.testing.assert_close(again(images()), want, rtol=0, atol=1e-5)


def test_some_bands_keep_their_columns_in_the_order_wanted(trained):
    model, folder = trained
    names = ("B04", "B02")
    vit = seamo.create_model(NAME, folder, bands=names)
    whole = model.tokenizers["s2"].weight.view(CONFIG.dim, len(S2), CONFIG.patch, CONFIG.patch)
    assert torch.equal(vit.patch_embed.proj.weight, whole[:, [S2.index(name) for name in names]])
    assert vit(images(names)).shape == (2, CONFIG.dim)
    transform = create_transform(vit)
    assert [transform.how.mean[i] for i in (0, 1)] == [1000.0 + S2.index(name) for name in names]


def test_maps_are_those_of_the_blocks(trained):
    model, folder = trained
    maps = seamo.create_model(NAME, folder, features_only=True, out_indices=(0, CONFIG.depth - 1))
    x = images()
    side = CONFIG.grid
    with torch.no_grad():
        found = maps(x)
        tokens = model.encode({"s2": x}).transpose(1, 2).reshape(2, CONFIG.dim, side, side)
    assert [tuple(one.shape) for one in found] == [(2, CONFIG.dim, side, side)] * 2
    torch.testing.assert_close(found[1], tokens, rtol=0, atol=1e-5)
    assert maps.feature_info.channels() == [CONFIG.dim] * 2
    assert maps.feature_info.reduction() == [CONFIG.patch] * 2
    assert create_transform(maps).how.unit == "dn"


def test_another_size_and_random_weights(trained):
    side = 2 * CONFIG.size
    assert seamo.create_model(NAME, trained[1], img_size=side)(images(side=side)).shape == (2, CONFIG.dim)
    one, same, other = (seamo.create_model(NAME, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one(images()), same(images()))
    assert not torch.equal(one(images()), other(images()))
    assert seamo.create_model(f"seamo_demo_patch{CONFIG.size // 2}")(images()).shape == (2, CONFIG.dim)
    with pytest.raises(UsageError, match="random weights"):
        create_transform(one)


def test_every_name_is_a_recipe_of_ours():
    for name in model_names():
        match = re.fullmatch(r"seamo_(\w+)_patch(\d+)", name)
        assert load_recipe(f"seamo-{match[1].replace('_', '-')}").model.patch == int(match[2])
    with pytest.raises(UsageError, match=r"seamo_bse_patch8: is no model.*Did you mean seamo_base_patch8"):
        seamo.create_model("seamo_bse_patch8")
    with pytest.raises(UsageError, match="vit_base_patch16_224: is no model"):
        seamo.create_model("vit_base_patch16_224")


def test_what_does_not_fit_is_refused(trained):
    _, folder = trained
    with pytest.raises(UsageError, match="no weights are published"):
        seamo.create_model(NAME, pretrained=True)
    with pytest.raises(UsageError, match=rf"has dim {CONFIG.dim}, .*, and seamo_tiny_patch8 is dim 128"):
        seamo.create_model("seamo_tiny_patch8", folder)
    with pytest.raises(UsageError, match="no sensor 's3'"):
        seamo.create_model(NAME, folder, sensor="s3")
    for wrong in (("B99",), ("B10",)):  # no such band; one that the model never saw
        with pytest.raises(BandError):
            seamo.create_model(NAME, folder, bands=wrong)
    for wrong in ((), ("B02", "B02")):
        with pytest.raises(RecipeError, match="not a list of different bands"):
            seamo.create_model(NAME, folder, bands=wrong)
    with pytest.raises(UsageError, match="not names and a number"):
        seamo.create_model(NAME, folder, bands="B02")
    with pytest.raises(UsageError, match=rf"no block of \[99\].*0 to {CONFIG.depth - 1}"):
        seamo.create_model(NAME, folder, features_only=True, out_indices=(99,))
    with pytest.raises(UsageError, match="multiple of the patch"):
        seamo.create_model(NAME, folder, img_size=CONFIG.size + 1)
    with pytest.raises(RecipeError):
        seamo.create_model(
            f"seamo_demo_patch{CONFIG.size - 1}"
        )  # the recipe's image is no whole number of such patches
