"""Peers beyond the paper, for which there is a key list and no reference output: shrunken, random, but sound."""

from dataclasses import replace

import pytest
import torch

from seamo_bench.weights import load_exact
from seamo_bench.zoo.catalogue import cards
from seamo_bench.zoo.loading import load_network

SMALL = {"img_size": 56, "embed_dim": 48, "depth": 4, "num_heads": 4, "attn_dim": 96, "attn_heads": 4, "hidden": 64}


def _small(name: str, **changes: int):
    found = cards()[name]
    variant = tuple((key, SMALL.get(key, value)) for key, value in found.card.variant)
    patch = dict(variant)["patch_size"]
    variant = tuple((key, 4 * patch if key == "img_size" else value) for key, value in variant)
    card = replace(found.card, variant=variant, **changes)
    return found.family, card, 4 * patch


PEERS = (
    "scalemae-vitl",
    "prithvi-eo-v2-300m-tl",
    "terramind-v1-base",
    "panopticon-vitb14-s2",
    "panopticon-vitb14-s1",
    "copernicusfm-base-s2",
    "copernicusfm-base-s1",
    "vit-b16-in21k",
)


@pytest.mark.parametrize("name", PEERS)
def test_features_are_finite_have_their_shapes_and_see_the_image(name: str) -> None:
    family, card, size = _small(name)
    network = load_network(family, card, None, 0)
    spec = card.inputs[0]
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(3, len(spec.bands), size, size, generator=generator)
    x[2] = x[0]
    with torch.inference_mode():
        features = network.forward_features({spec.sensor: x})
    assert features.pooled.shape == (3, 48)
    assert [tuple(level.shape) for level in features.levels] == [(3, 48, 4, 4)] * 4
    assert features.pooled.isfinite().all()
    torch.testing.assert_close(features.pooled[0], features.pooled[2])
    assert not torch.allclose(features.pooled[0], features.pooled[1], atol=1e-6)


def test_the_plain_vit_is_timm_s() -> None:
    from timm.models.vision_transformer import VisionTransformer

    family, card, size = _small("vit-b16-in21k")
    theirs = VisionTransformer(
        img_size=size, patch_size=16, embed_dim=48, depth=4, num_heads=4, num_classes=5
    ).eval()  # fmt: skip
    torch.manual_seed(0)
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    ours = load_network(family, card, None, 0)
    load_exact(ours, theirs.state_dict(), rules=family.rules_of(card))
    x = torch.randn(2, 3, size, size)
    with torch.inference_mode():
        wanted = theirs.forward_features(x)
        found = ours.forward_features({"rgb": x})
    torch.testing.assert_close(found.pooled, wanted[:, 0], atol=1e-5, rtol=1e-4)
    last = wanted[:, 1:].transpose(1, 2).reshape(2, 48, 4, 4)
    torch.testing.assert_close(found.levels[-1], last, atol=1e-5, rtol=1e-4)


def test_the_resnet_is_torchvision_s_at_full_size() -> None:
    from torchvision.models import resnet18

    found = cards()["resnet18-in1k"]
    family = found.family
    theirs = resnet18(weights=None).eval()
    torch.manual_seed(0)
    for name, buffer in theirs.named_buffers():
        if "running" in name:
            buffer.uniform_(0.5, 1.5)
    ours = load_network(family, found.card, None, 0)
    load_exact(ours, theirs.state_dict(), rules=family.rules_of(found.card))
    x = torch.randn(1, 3, 64, 64)
    theirs.fc = torch.nn.Identity()
    with torch.inference_mode():
        torch.testing.assert_close(ours.forward_features({"rgb": x}).pooled, theirs(x))


def test_scale_mae_positions_are_metres() -> None:
    family, card, _ = _small("scalemae-vitl")
    network = load_network(family, card, None, 0)
    table = network.positions((2, 3))[0]
    assert table[0].abs().sum() == 0  # class token
    # Token 2 is row 0, column 1: 10 m east. The first frequency is 1: sin(10), and for rows sin(0), cos(0).
    assert table[2, 0].item() == pytest.approx(-0.5440211, abs=1e-5)
    assert table[2, 24].item() == 0
    assert table[2, 36].item() == 1


def test_panopticon_does_not_mind_the_order_of_channels() -> None:
    family, card, size = _small("panopticon-vitb14-s2")
    (spec,) = card.inputs
    order = torch.randperm(len(spec.bands), generator=torch.Generator().manual_seed(3)).tolist()
    shuffled = replace(card, inputs=(replace(spec, bands=tuple(spec.bands[index] for index in order)),))
    one, two = load_network(family, card, None, 0), load_network(family, shuffled, None, 0)
    x = torch.randn(1, len(spec.bands), size, size, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():  # the initial scales of 1e-5 would hide the difference
        for network in (one, two):
            for scale in (part for name, part in network.named_parameters() if name.endswith("gamma")):
                scale.fill_(1.0)
            network.patch_embed.chnfus.query.mul_(10.0)
    with torch.inference_mode():
        wanted = one.forward_features({"s2": x}).pooled
        found = two.forward_features({"s2": x[:, order]}).pooled
        wrong = one.forward_features({"s2": x[:, order]}).pooled
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)
    assert (wrong - wanted).abs().max() > 1e-3
