"""Our trunks against torchgeo's with the same random weights, and torchgeo's weights by name. Needs the extra `zoo`."""

from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch
from torch import Tensor, nn

from seamo.bands import band
from seamo.errors import BandError, UsageError
from seamo.inputs.steps import Step
from seamo_bench.backbones.copernicusfm import SPECTRA_NM
from seamo_bench.backbones.dofa import WAVES_UM
from seamo_bench.backbones.torchgeo_any import _read_transforms
from seamo_bench.network import Network
from seamo_bench.weights import load_exact
from seamo_bench.zoo.catalogue import cards, find_card
from seamo_bench.zoo.loading import load_network

HERE = find_spec("torchgeo") is not None and find_spec("requests") is not None
needs_torchgeo = pytest.mark.skipif(not HERE, reason="torchgeo is not installed (pip install 'seamo[zoo]')")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def randomised(network: nn.Module) -> nn.Module:
    """Every parameter and statistic drawn at random, so that no part can be left out unseen."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if not value.is_floating_point() or name == "attn_bias":
                continue
            noise = torch.empty_like(value).normal_(0.0, 0.06, generator=generator)
            norm = value.ndim == 1 and name.endswith("weight")
            value.copy_(noise.abs() + 0.5 if "running_var" in name else noise + 1 if norm else noise)
    return network.eval()


def ours(name: str, state: dict[str, Tensor], **variant: object) -> Network:
    found = cards()[name]
    merged = {**dict(found.card.variant), **variant}
    card = replace(found.card, variant=tuple(merged.items()))
    network = load_network(found.family, card, None, 1)
    load_exact(network, state, rules=found.family.rules_of(card))
    return network


def picture(channels: int, size: int) -> Tensor:
    return torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(7))


def same(found: Tensor, wanted: Tensor) -> None:
    assert wanted.std() > 1e-3  # a constant would agree with anything
    torch.testing.assert_close(found, wanted, atol=2e-5, rtol=1e-4)


@needs_torchgeo
@torch.inference_mode()
def test_dofa_is_torchgeo_s() -> None:
    from torchgeo.models import DOFA

    theirs = randomised(DOFA(img_size=64, embed_dim=48, depth=2, num_heads=4, num_classes=3))
    for sensor, bands in (("s2", cards()["dofa-base-s2"].card.inputs[0].bands), ("s1", ("VH", "VV"))):
        net = ours(f"dofa-base-{sensor}", theirs.state_dict(), img_size=64, embed_dim=48, depth=2, num_heads=4)
        x = picture(len(bands), 64)
        wanted = theirs.forward_features(x, [WAVES_UM[band] for band in bands])
        same(net.forward_features({sensor: x}).pooled, wanted)


@needs_torchgeo
@torch.inference_mode()
def test_croma_is_torchgeo_s() -> None:
    from torchgeo.models import CROMA

    theirs = randomised(CROMA(encoder_dim=64, encoder_depth=2, image_size=48))
    state = {name: value for name, value in theirs.state_dict().items() if name != "attn_bias"}
    sizes = {"encoder_dim": 64, "encoder_depth": 2, "s1_depth": 1, "joint_depth": 1}
    radar, optical = picture(2, 48), picture(12, 48)
    wanted = theirs(x_sar=radar, x_optical=optical)
    joint = ours("croma-base-joint", state, **sizes).forward_features({"s1": radar, "s2": optical})
    same(joint.pooled, wanted["joint_GAP"])
    same(joint.levels[-1].flatten(2).transpose(1, 2), wanted["joint_encodings"])
    same(ours("croma-base-s2", state, **sizes).forward_features({"s2": optical}).pooled, wanted["optical_GAP"])
    same(ours("croma-base-s1", state, **sizes).forward_features({"s1": radar}).pooled, wanted["sar_GAP"])


@needs_torchgeo
@torch.inference_mode()
def test_scale_mae_is_torchgeo_s() -> None:
    from torchgeo.models import ScaleMAE

    theirs = randomised(
        ScaleMAE(res=10.0, img_size=64, patch_size=16, embed_dim=48, depth=2, num_heads=4, num_classes=0)
    )
    net = ours("scalemae-vitl", theirs.state_dict(), img_size=64, embed_dim=48, depth=2, num_heads=4)
    x = picture(3, 64)
    tokens = theirs.forward_features(x)
    found = net.forward_features({"rgb": x})
    same(found.pooled, tokens[:, 0])
    same(found.levels[-1].flatten(2).transpose(1, 2), tokens[:, 1:])


@needs_torchgeo
@torch.inference_mode()
@pytest.mark.parametrize("sensor", ["s2", "s1"])
def test_copernicus_fm_is_torchgeo_s(sensor: str) -> None:
    from functools import partial

    from torchgeo.models import CopernicusFM

    norm = partial(nn.LayerNorm, eps=1e-6)
    theirs = randomised(CopernicusFM(img_size=64, embed_dim=48, depth=2, num_heads=4, norm_layer=norm))
    name = f"copernicusfm-base-{sensor}"
    bands = cards()[name].card.inputs[0].bands
    net = ours(name, theirs.state_dict(), img_size=64, embed_dim=48, depth=2, num_heads=4)
    x = picture(len(bands), 64)
    spectra = [SPECTRA_NM[band] for band in bands]
    unknown = torch.full((2, 4), torch.nan)
    wanted = theirs.forward_features(x, unknown, [wave for wave, _ in spectra], [width for _, width in spectra])
    same(net.forward_features({sensor: x}).pooled, wanted)


@needs_torchgeo
@torch.inference_mode()
def test_panopticon_is_torchgeo_s_at_full_size() -> None:
    from torchgeo.models import panopticon_vitb14

    theirs = randomised(panopticon_vitb14(img_size=28))
    state = theirs.state_dict()
    for sensor, bands in (("s2", cards()["panopticon-vitb14-s2"].card.inputs[0].bands), ("s1", ("VV", "VH"))):
        net = ours(f"panopticon-vitb14-{sensor}", state, img_size=28)
        x = picture(len(bands), 28)
        codes = [{"VV": -1.0, "VH": -2.0}.get(name) or band(sensor, name).wavelength_nm for name in bands]
        wanted = theirs({"imgs": x, "chn_ids": torch.tensor([codes, codes])})
        same(net.forward_features({sensor: x}).pooled, wanted)


@needs_torchgeo
@torch.inference_mode()
@pytest.mark.parametrize(
    ("name", "builder", "channels"),
    [
        ("ssl4eo-mae-vits16-s2", "vit_small_patch16_224", 13),
        ("fgmae-vits16-s1", "vit_small_patch16_224", 2),
        ("ssl4eo-dino-vits16-s2", "vit_small_patch16_224", 13),
        ("ssl4eo-moco-r18-s2", "resnet18", 13),
        ("seco-r18", "resnet18", 3),
        ("gassl-r50", "resnet50", 3),
        ("satlas-swinb-s2", "swin_v2_b", 9),
    ],
)
def test_the_trunk_is_the_one_that_torchgeo_loads_these_weights_into(name: str, builder: str, channels: int) -> None:
    from torchgeo import models

    size = 64 if builder.startswith(("res", "swin")) else 224
    if builder == "swin_v2_b":
        theirs = models.swin_v2_b()
        theirs.features[0][0] = nn.Conv2d(channels, 128, 4, 4)
    else:
        theirs = getattr(models, builder)(in_chans=channels, num_classes=0)
    randomised(theirs)
    heads = ("head.", "norm.") if builder == "swin_v2_b" else ("head.", "fc.")
    net = ours(name, {key: value for key, value in theirs.state_dict().items() if not key.startswith(heads)})
    x = picture(channels, size)
    found = net.forward_features({cards()[name].card.inputs[0].sensor: x})
    if builder == "swin_v2_b":
        same(found.levels[-1], theirs.features(x).permute(0, 3, 1, 2))
    elif builder.startswith("res"):
        same(found.levels[-1], theirs.forward_features(x))
    else:
        tokens = theirs.forward_features(x)
        same(found.levels[-1].flatten(2).transpose(1, 2), tokens[:, 1:])
        assert (found.pooled[:, -384:] - tokens[:, 0]).abs().max() < 1e-4


@needs_torchgeo
def test_a_card_is_read_from_the_enum() -> None:
    from torchgeo.models import ResNet50_Weights

    card = find_card("torchgeo:ResNet50_Weights.SENTINEL2_ALL_SOFTCON").card
    (spec,) = card.inputs
    enum = ResNet50_Weights.SENTINEL2_ALL_SOFTCON
    assert spec.bands == ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
    assert spec.steps[0].a == tuple(enum.transforms[2].mean)
    assert card.weights is not None
    assert card.weights.urls == (enum.url,)
    assert (card.size, card.levels) == (224, ((256, 4), (512, 8), (1024, 16), (2048, 32)))
    assert card.verified == ()  # the row is flagged


@needs_torchgeo
@torch.inference_mode()
def test_weights_of_an_enum_go_the_way_that_torchgeo_loads_them(tmp_path) -> None:
    from torchgeo.models import resnet18

    theirs = randomised(resnet18(in_chans=13, num_classes=7))
    torch.save(theirs.state_dict(), tmp_path / "resnet18.pth")
    found = find_card("torchgeo:ResNet18_Weights.SENTINEL2_ALL_MOCO")
    net = load_network(found.family, found.card, tmp_path / "resnet18.pth", 0)
    x = picture(13, 64)
    features = net.forward_features({"s2": x})
    same(features.pooled, theirs.forward_head(theirs.forward_features(x), pre_logits=True))
    assert [tuple(level.shape[1:]) for level in features.levels] == [
        (64, 16, 16),
        (128, 8, 8),
        (256, 4, 4),
        (512, 2, 2),
    ]


@needs_torchgeo
@pytest.mark.parametrize(
    ("name", "error", "why"),
    [
        ("ResNet50_Weights.NOTHING", UsageError, "no weights"),
        ("CROMABase_Weights.CROMA_VIT", UsageError, "croma-base-joint"),
        ("Unet_Weights.SENTINEL2_2CLASS_FTW", UsageError, "Only its ResNets and ViTs"),
        ("ResNet18_Weights.LANDSAT_TM_TOA_MOCO", BandError, "no sensor that stores have"),
        ("ResNet50_Weights.SENTINEL2_RGB_SECO", UsageError, "8-bit pictures"),
        ("ResNet50_Weights.SENTINEL1_GRD_CLOSP", UsageError, "transforms cannot be read"),
    ],
)
def test_what_cannot_be_used_says_why(name: str, error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        find_card(f"torchgeo:{name}")


def test_without_the_extra_the_name_says_what_to_install(monkeypatch) -> None:
    from seamo_bench.backbones import torchgeo_any

    monkeypatch.setattr(torchgeo_any, "find_spec", lambda _: None)
    torchgeo_any.card_of.cache_clear()
    with pytest.raises(UsageError, match=r"torchgeo and requests not installed.*pip install 'seamo\[zoo\]'"):
        find_card("torchgeo:ResNet50_Weights.SENTINEL2_ALL_MOCO")


class Normalize(nn.Module):
    """Named as kornia's, with its fields."""

    mean, std = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])


def test_a_transform_that_does_nothing_is_no_step() -> None:
    assert _read_transforms(nn.Identity(), "weights") == ((), 224)
    steps, size = _read_transforms(nn.Sequential(nn.Identity(), Normalize()), "weights")
    assert steps == (Step("affine", (1.0, 2.0), (3.0, 4.0)),)
    assert size == 224
    with pytest.raises(UsageError, match="cannot be read"):
        _read_transforms(nn.Sequential(nn.Identity(), nn.Flatten()), "weights")
