"""timm's models by name: cards from timm's own configuration, features that are timm's, stems for other bands."""

from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from seamo.errors import CheckpointError, UsageError
from seamo_bench.backbones import timm_any
from seamo_bench.backbones.timm_any import TO_UNIT
from seamo_bench.card import BackboneCard, Step
from seamo_bench.network import Network
from seamo_bench.zoo.catalogue import cards, find_card
from seamo_bench.zoo.loading import load_network

torch.set_num_threads(1)


def load(card: BackboneCard, weights: Path | None = None, seed: int = 0) -> Network:
    return load_network(timm_any.FAMILY, card, weights, seed)


def test_a_card_says_what_timm_s_configuration_says() -> None:
    card = find_card("timm:vit_tiny_patch16_224.augreg_in21k").card
    rgb, s2 = card.inputs
    assert rgb.steps == (TO_UNIT, Step("affine", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)))
    assert s2.bands == ("B04", "B03", "B02")
    assert (card.size, card.multiple_of, card.embed_dim, card.any_size) == (224, 16, 192, True)
    assert card.levels == ((192, 16),) * 4
    assert card.weights is not None
    assert card.weights.licence == "apache-2.0"
    assert card.weights.urls[0].startswith("https://huggingface.co/timm/vit_tiny_patch16_224.augreg_in21k/")
    assert find_card("timm:resnet18.a1_in1k").card.inputs[0].steps[1].a == (0.485, 0.456, 0.406)


def test_a_name_without_a_tag_is_pinned_to_the_weights_that_timm_takes() -> None:
    card = find_card("timm:resnet18").card
    assert card.weights is not None
    assert dict(card.variant)["model"] == "resnet18.a1_in1k"
    assert card.weights.filename == "resnet18.a1_in1k.safetensors"


def test_the_listed_card_is_what_timm_says() -> None:
    listed = cards()["dinov3-sat-vitl16"].card
    made = find_card("timm:vit_large_patch16_dinov3.sat493m").card
    told = ("id", "title", "source", "pos_interp", "pretrained_on")
    assert replace(listed, **{name: getattr(made, name) for name in told}) == made


@pytest.mark.parametrize(
    ("name", "kind", "why"),
    [
        ("timm:resnet17", UsageError, "Did you mean resnet1"),
        ("timm:resnet18.in22k", UsageError, r"Did you mean resnet18\."),
        ("timm:resnet18@s3", UsageError, "Write s2, s1, random"),
        ("timm:test_vit.no_such", UsageError, "timm has no model"),
        ("timm:vit_small_patch8_224", CheckpointError, "@random"),
    ],
)
def test_wrong_names_say_what_to_write(name: str, kind: type[Exception], why: str) -> None:
    if kind is CheckpointError:
        name = f"timm:{next(m for m in timm.list_models('vit_*') if not timm.list_models(f'{m}.*', pretrained=True))}"
    with pytest.raises(kind, match=why):
        find_card(name)


@torch.inference_mode()
@pytest.mark.parametrize("model", ["test_vit.r160_in1k", "test_resnet.r160_in1k", "test_convnext.r160_in1k"])
def test_features_of_a_published_file_are_timm_s(model: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    theirs = timm.create_model(model, pretrained=False).eval()
    for name, buffer in theirs.named_buffers():
        if "running" in name:
            buffer.uniform_(0.5, 1.5)
    save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    card = find_card(f"timm:{model}").card
    found = load(card, tmp_path / "model.safetensors")
    x = torch.randn(2, 3, card.size, card.size)
    features = found.forward_features({"rgb": x})
    tokens = theirs.forward_features(x)
    torch.testing.assert_close(features.pooled, theirs.forward_head(tokens, pre_logits=True))
    assert features.pooled.shape[1] == card.embed_dim
    last = tokens[:, theirs.num_prefix_tokens :].mT.unflatten(2, (10, 10)) if tokens.ndim == 3 else tokens
    torch.testing.assert_close(features.levels[-1], last)
    torch.testing.assert_close(found.forward_features({"s2": x}).pooled, features.pooled)  # one stem, two ways to it
    assert [(one.shape[1], card.size // one.shape[2]) for one in features.levels] == list(card.levels)


def test_another_model_s_file_is_refused(tmp_path: Path) -> None:
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="Nothing was loaded"):
        load(find_card("timm:test_vit.r160_in1k").card, tmp_path / "model.safetensors")


def test_random_weights_are_a_floor_and_follow_the_seed() -> None:
    card = find_card("timm:test_resnet@s1+s2+random").card
    assert dict(card.variant)["floor"] == "random init"
    assert card.weights is None
    assert "random init" in card.title
    fed = replace(
        card,
        inputs=tuple(
            replace(one, bands=bands) for one, bands in zip(card.inputs, (("VV",), ("B02", "B03")), strict=True)
        ),
    )
    a, b, c = load(fed), load(fed), load(fed, seed=1)
    x = {"s1": torch.randn(1, 1, 64, 64), "s2": torch.randn(1, 2, 64, 64)}
    with torch.inference_mode():
        assert torch.equal(a.forward_features(x).pooled, b.forward_features(x).pooled)
        assert not torch.equal(a.forward_features(x).pooled, c.forward_features(x).pooled)


def test_a_stem_for_other_bands_repeats_the_rgb_weights(tmp_path: Path) -> None:
    theirs = timm.create_model("test_vit.r160_in1k", pretrained=False)
    save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    card = find_card("timm:test_vit.r160_in1k@s2").card
    (spec,) = card.inputs
    net = load(
        replace(card, inputs=(replace(spec, bands=("B02", "B03", "B04", "B08")),)), tmp_path / "model.safetensors"
    )
    stem = net.get_submodule("trunk.patch_embed.proj").weight
    rgb = theirs.patch_embed.proj.weight
    # R, G, B, R times 3/4, so that an image of equal bands gives what grey RGB gives.
    torch.testing.assert_close(stem, torch.cat([rgb, rgb[:, :1]], dim=1) * 0.75)
    assert net.forward_features({"s2": torch.randn(1, 4, 64, 64)}).pooled.shape == (1, card.embed_dim)


def test_softcon_is_timm_s_dinov2(tmp_path: Path) -> None:
    found = cards()["softcon-vits14-s1"]
    theirs = timm.create_model("vit_small_patch14_dinov2", in_chans=2, img_size=224, num_classes=0).eval()
    torch.nn.init.normal_(theirs.pos_embed, std=0.5)
    torch.save(theirs.state_dict(), tmp_path / "softcon.pth")
    net = load_network(found.family, found.card, tmp_path / "softcon.pth", 1)
    x = torch.randn(1, 2, 224, 224)
    with torch.inference_mode():
        torch.testing.assert_close(net.forward_features({"s1": x}).pooled, theirs(x))
