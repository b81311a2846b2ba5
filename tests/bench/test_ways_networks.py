"""Networks on bands that they were not made for: what is new and what is loaded, reference outputs, slow references."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from seamo.bands import Unit, band
from seamo.errors import CheckpointError
from seamo.inputs.normalise import apply_steps
from seamo.inputs.spec import MissingPolicy
from seamo.inputs.wiring import wire
from seamo.manifest import DatasetSpec, shipped_manifest
from seamo_bench.card import BackboneCard
from seamo_bench.family import Family
from seamo_bench.network import Network
from seamo_bench.networks.satmae import GroupViT
from seamo_bench.networks.vit import to_map
from seamo_bench.zoo.catalogue import cards, check_selection
from seamo_bench.zoo.golden import shrunk_card
from seamo_bench.zoo.golden_rigs import RIGS
from seamo_bench.zoo.loading import load_network
from seamo_bench.zoo.meeting import assumed_statistics
from tests.bench.test_zoo_peers import _small

torch.set_num_threads(1)
MANIFEST = shipped_manifest()
Floats = NDArray[np.float64]


def fed_with(family: Family, card: BackboneCard, spec: DatasetSpec, missing: MissingPolicy) -> BackboneCard:
    wiring = wire(card.expects, spec, missing=missing, statistics=assumed_statistics(spec))
    check_selection(wiring, family)
    return card.fed(wiring)


def shrunk(golden: Path, model: str) -> tuple[Family, BackboneCard, Path]:
    facts = json.loads((golden / "dev" / model / "card.json").read_text())
    rig = RIGS[model]
    return (
        cards()[rig.backbone].family,
        shrunk_card(rig, facts),
        golden / "dev" / model / facts["checkpoint"][0]["file"],
    )


def side_of(card: BackboneCard) -> int:
    options = dict(card.variant)
    if "num_patches" in options:
        return math.isqrt(int(str(options["num_patches"]))) * int(str(options["patch_size"]))
    return int(str(options.get("img_size", 64)))


# --- new tokenizers --------------------------------------------------------------------------------------------------

ANEW = {  # reference model -> the layer that begins anew on pictures of red, green and blue
    "ssl4eo_mae_s2": "patch_embed.proj",
    "ssl4eo_moco_r18": "conv1",
    "satlas_swin_v2_b_s2_ms": "features.0.0",
    "satvit_v1": "linear_input",
    "dino_mm": "patch_embed.proj",
    "croma": "s2_encoder.linear_input",
    "prithvi-eo-v2-300m-tl": "patch_embed.proj",
    "terramind-v1-base": "encoder_embeddings.untok_sen2l2a@224.proj",
}


@pytest.fixture
def saved(request: pytest.FixtureRequest, tmp_path: Path, model: str) -> tuple[Family, BackboneCard, Path]:
    """A shrunken network of the official code; of those that have none, ours, saved."""
    golden = request.getfixturevalue("golden") if model in RIGS else tmp_path
    if model == "croma":  # one branch of the file of three
        family, card, path = shrunk(golden, model)
        own = tuple((name, "s2" if name == "branches" else value) for name, value in card.variant)
        return family, replace(card, id="croma-base-s2", inputs=card.inputs[1:], joint=False, variant=own), path
    if model in RIGS:
        return shrunk(golden, model)
    family, card, _ = _small(model)
    path = tmp_path / "saved.pt"
    torch.save(load_network(family, card, None, 5).state_dict(), path)
    return family, card, path


@pytest.mark.parametrize("model", ANEW)
def test_a_new_tokenizer_is_new_and_the_rest_is_loaded(saved: tuple[Family, BackboneCard, Path], model: str) -> None:
    family, card, path = saved
    fed = fed_with(family, card, MANIFEST["glh-water"], "new-tokenizer")
    assert [(one.sensor, one.bands) for one in fed.inputs] == [("rgb", ("R", "G", "B"))]
    made, again, other = (load_network(family, card, path, seed, fed=fed) for seed in (0, 0, 1))
    whole = load_network(family, card, path, 0).state_dict()
    new = f"{ANEW[model]}."
    assert made.fresh == (new,)
    loaded = 0
    for name, value in made.state_dict().items():
        if name.startswith(new):
            assert torch.equal(value, again.state_dict()[name])
            assert not torch.equal(value, other.state_dict()[name]), name
            assert value.shape != whole[name].shape or not torch.equal(value, whole[name])
        else:
            loaded += value.numel()
            assert torch.equal(value, whole[name]), name
    assert loaded == sum(value.numel() for name, value in whole.items() if not name.startswith(new)) > 0
    side = side_of(card)
    x = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        pooled = made.forward_features({"rgb": x}).pooled
    assert pooled.isfinite().all()
    assert not torch.allclose(pooled[0], pooled[1], atol=1e-6)


def test_a_sensor_whose_bands_are_all_there_keeps_its_tokenizer(golden: Path) -> None:
    """CROMA with radar as it was, and eleven optical bands, cirrus among them: only the optical projection is new."""
    family, card, path = shrunk(golden, "croma")
    dfc = MANIFEST["dfc2020"]
    layers = tuple(
        replace_bands(layer, [name for name in layer.bands if name not in ("B01", "B09")]) for layer in dfc.layers
    )
    spec = dfc.model_copy(update={"layers": layers})
    fed = fed_with(family, card, spec, "new-tokenizer")
    network = load_network(family, card, path, 0, fed=fed)
    whole = load_network(family, card, path, 0).state_dict()
    assert network.fresh == ("s2_encoder.linear_input.",)
    own = network.state_dict()
    assert torch.equal(own["s1_encoder.linear_input.weight"], whole["s1_encoder.linear_input.weight"])
    assert own["s2_encoder.linear_input.weight"].shape[1] == 11 * 64


def replace_bands(layer, bands):  # type: ignore[no-untyped-def]
    return layer.model_copy(update={"bands": tuple(bands)})


def test_a_file_without_the_layer_that_begins_anew_is_refused(golden: Path, tmp_path: Path) -> None:
    family, card, path = shrunk(golden, "seco_r18")
    state = torch.load(path, weights_only=False)
    for key in [key for key in state["state_dict"] if key in ("encoder_q.0.weight",)]:
        del state["state_dict"][key]
    torch.save(state, tmp_path / "without.ckpt")
    fed = fed_with(family, card, MANIFEST["glh-water"], "new-tokenizer")
    with pytest.raises(CheckpointError, match="has no conv1: what is to begin anew would be nothing new"):
        load_network(family, card, tmp_path / "without.ckpt", 0, fed=fed)


# --- columns left out -------------------------------------------------------------------------------------------------


def few_bands(network_bands: tuple[str, ...], x: Tensor, spec: DatasetSpec) -> tuple[Tensor, Tensor]:
    """(the image's bands that a store has, the image with zeros in the others)."""
    have = {name for layer in spec.layers for name in layer.bands}
    there = [index for index, name in enumerate(network_bands) if name in have]
    zeroed = torch.zeros_like(x)
    zeroed[:, there] = x[:, there]
    return x[:, there], zeroed


@pytest.mark.parametrize("model", ["satvit_v1", "ssl4eo_mae_s2", "prithvi-eo-v2-300m-tl"])
def test_columns_left_out_are_zeros_behind_the_normalisation(saved: tuple[Family, BackboneCard, Path]) -> None:
    family, card, path = saved
    spec = MANIFEST["s1s2-water-s2"]
    fed = fed_with(family, card, spec, "select-columns")
    side = side_of(card)
    x = torch.randn(2, len(card.inputs[0].bands), side, side, generator=torch.Generator().manual_seed(1))
    given, zeroed = few_bands(card.inputs[0].bands, x, spec)
    with torch.inference_mode():
        found = load_network(family, card, path, 0, fed=fed).forward_features({"s2": given}).pooled
        wanted = load_network(family, card, path, 0).forward_features({"s2": zeroed}).pooled
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


def test_a_band_group_of_satmae_without_any_band_gives_no_tokens(golden: Path) -> None:
    """The whole network on zeros, the tokens of red edge (group 1) taken out by hand before the first block."""
    family, card, path = shrunk(golden, "satmae")
    spec = MANIFEST["s1s2-water-s2"]
    fed = fed_with(family, card, spec, "select-columns")
    cut, whole = load_network(family, card, path, 0, fed=fed), load_network(family, card, path, 0)
    assert isinstance(whole, GroupViT)
    side = side_of(card)
    x = torch.randn(2, 10, side, side, generator=torch.Generator().manual_seed(1))
    given, zeroed = few_bands(card.inputs[0].bands, x, spec)
    with torch.inference_mode():
        tokens = whole.embed(zeroed)
        count = (tokens.shape[1] - 1) // 3
        tokens = torch.cat([tokens[:, : 1 + count], tokens[:, 1 + 2 * count :]], dim=1)
        for block in whole.blocks:
            tokens = block(tokens)
        features = cut.forward_features({"s2": given})
        torch.testing.assert_close(features.pooled, whole.fc_norm(tokens[:, 1:].mean(1)), atol=1e-5, rtol=1e-4)
        last = whole.norm(tokens)[:, 1:].reshape(2, 2, count, -1).mean(1)
        grid = (math.isqrt(count), math.isqrt(count))
        torch.testing.assert_close(features.levels[-1], to_map(last, grid), atol=1e-5, rtol=1e-4)


def test_galileo_and_presto_see_the_band_groups_that_are_whole(golden: Path) -> None:
    spec = MANIFEST["s1s2-water-s2"]  # B02 B03 B04, B08, B11 B12: no red edge, no narrow NIR
    x = torch.randn(2, 10, 8, 8, generator=torch.Generator().manual_seed(1))
    for model in ("galileo_nano", "presto"):
        family, card, path = shrunk(golden, model)
        fed = fed_with(family, card, spec, "select-columns")
        cut, whole = load_network(family, card, path, 0, fed=fed), load_network(family, card, path, 0)
        given, _ = few_bands(card.inputs[0].bands, x, spec)
        with torch.inference_mode():
            found = cut.forward_features({"s2": given}).pooled
            wanted = _by_groups(whole, x, model)
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


def _by_groups(network: Network, x: Tensor, model: str) -> Tensor:
    """Bands 2 3 4 5 6 7 8 8A 11 12: groups of the official code, taken by hand."""
    if model == "galileo_nano":
        groups = {"S2_RGB": x[:, None, 0:3], "S2_NIR_10m": x[:, None, 6:7], "S2_SWIR": x[:, None, 8:10]}
        tokens = network.run(groups, torch.full((2, 1), 5), patch=network.patch_size)  # type: ignore[operator]
        pooled: Tensor = network.norm(tokens.stream[-1]).mean(1)  # type: ignore[operator]
        return pooled
    values, mask = torch.zeros(2, 17, 8, 8), torch.ones(17)
    for own, channel in ((0, 2), (1, 3), (2, 4), (6, 8), (8, 10), (9, 11)):
        values[:, channel], mask[channel] = x[:, own], 0
    values[:, 16], mask[16] = (x[:, 6] - x[:, 2]) / (x[:, 6] + x[:, 2]), 0
    series = values.permute(0, 2, 3, 1).reshape(-1, 1, 17)
    count = len(series)
    pixels: Tensor = network.run(  # type: ignore[operator]
        series,
        mask.expand(count, 1, -1),
        dynamic_world_BT=torch.full((count, 1), 9),
        latlon_B2=torch.zeros(count, 2),
        month_B=torch.full((count,), 5),
    )
    return pixels.reshape(2, 64, -1).mean(1)


# --- wavelengths ------------------------------------------------------------------------------------------------------


def test_five_bands_of_dofa_are_those_of_its_code(golden: Path) -> None:
    """A band set that its card does not list, loaded as a store with these bands would load it, bytes included."""
    family, card, path = shrunk(golden, "dofa_v1")
    case = load_file(golden / "dev" / "dofa_v1" / "case_s2_5band.safetensors")
    names = ["B04", "B03", "B02", "B05", "B06"]
    layer = MANIFEST["dfc2020-croma"].layer("s2")
    few = MANIFEST["dfc2020-croma"].model_copy(update={"layers": (replace_bands(layer, names),)})
    assert few.layers[0].unit is Unit.UINT8
    wiring = wire(card.expects, few, missing="wavelength", statistics=assumed_statistics(few))
    (spec,) = wiring.network.inputs
    assert spec.bands == tuple(names)
    normed = apply_steps(case["input.s2.raw"].float(), spec.steps)
    torch.testing.assert_close(normed, case["input.s2.norm"], atol=1e-5, rtol=1e-5)
    network = load_network(family, card, path, 0, fed=card.fed(wiring))
    with torch.inference_mode():
        pooled = network.forward_features({"s2": normed}).pooled
    torch.testing.assert_close(pooled, case["pooled"], atol=1e-5, rtol=1e-4)


def test_copernicus_fm_s_kernels_of_a_picture_by_a_slow_reference() -> None:
    """Fourier codes of centre and width, two residual layers, one transformer layer, in float64 numpy."""
    family, card, size = _small("copernicusfm-base-s2")
    fed = fed_with(family, card, MANIFEST["glh-water"], "wavelength")
    network = load_network(family, card, None, 3, fed=fed)
    embed = network.patch_embed_spectral
    p = {name: value.detach().double().numpy() for name, value in embed.named_parameters()}  # type: ignore[union-attr]
    centres, widths = np.array([660.0, 560.0, 480.0]), np.array([60.0, 70.0, 60.0])
    assert [band("rgb", name).wavelength_nm for name in "RGB"] == centres.tolist()
    half = 64  # of wv_planes 128

    def code(x: Floats, low: float, high: float) -> Floats:
        waves = np.logspace(np.log10(low), np.log10(high), half)
        return np.concatenate([np.sin(2 * np.pi * x[:, None] / waves), np.cos(2 * np.pi * x[:, None] / waves)], axis=1)

    x = code(centres, 100, 1e9) + code(widths, 1, 1e9)
    hidden = np.maximum(x @ p["fclayer.w1.weight"].T + p["fclayer.w1.bias"], 0)
    x = x + np.maximum(hidden @ p["fclayer.w2.weight"].T + p["fclayer.w2.bias"], 0)
    g = "weight_generator."
    tokens = np.concatenate([p[f"{g}weight_tokens"], x, p[f"{g}bias_token"]])
    out = _transformer_layer(tokens, {k.removeprefix(f"{g}transformer_encoder.layers.0."): v for k, v in p.items()})
    kernels = (out[128:-1] + x) @ p[f"{g}fc_weight.weight"].T + p[f"{g}fc_weight.bias"]
    bias = (out[-1] @ p[f"{g}fc_bias.weight"].T + p[f"{g}fc_bias.bias"]) * 0.01
    patch, dim = 16, 48
    kernels = kernels.reshape(3, patch, patch, dim) * 0.01
    image = np.random.default_rng(4).normal(size=(3, size, size))
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1)))
    corner = np.einsum("chw,chwd->d", padded[:, :patch, :patch], kernels) + bias
    with torch.inference_mode():
        spectra = torch.tensor(network.spectra_nm["rgb"])  # type: ignore[union-attr,index]
        found = embed(torch.from_numpy(image)[None].float(), spectra[:, 0], spectra[:, 1])[0, :, 0, 0]  # type: ignore[operator]
    np.testing.assert_allclose(found.numpy(), corner, atol=2e-5, rtol=1e-3)


def _transformer_layer(x: Floats, p: dict[str, Floats], heads: int = 4) -> Floats:
    """Post-norm, four heads, exact GELU: what `torch.nn.TransformerEncoderLayer` says it does."""
    width = x.shape[1]
    q, k, v = np.split(x @ p["self_attn.in_proj_weight"].T + p["self_attn.in_proj_bias"], 3, axis=1)
    parts = []
    for head in range(heads):
        part = slice(head * width // heads, (head + 1) * width // heads)
        weights = np.exp(q[:, part] @ k[:, part].T / np.sqrt(width / heads))
        parts.append(weights / weights.sum(1, keepdims=True) @ v[:, part])
    attended = np.concatenate(parts, axis=1) @ p["self_attn.out_proj.weight"].T + p["self_attn.out_proj.bias"]
    x = _layer_norm(x + attended, p["norm1.weight"], p["norm1.bias"])
    hidden = x @ p["linear1.weight"].T + p["linear1.bias"]
    hidden = hidden * 0.5 * (1 + np.vectorize(math.erf)(hidden / np.sqrt(2)))
    return _layer_norm(x + hidden @ p["linear2.weight"].T + p["linear2.bias"], p["norm2.weight"], p["norm2.bias"])


def _layer_norm(x: Floats, weight: Floats, bias: Floats) -> Floats:
    centred = x - x.mean(1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5) * weight + bias


def test_panopticon_s_channels_of_a_picture_by_a_slow_reference() -> None:
    """Sine and cosine of whole nanometres beside each channel's patch, one query's attention over channels."""
    family, card, size = _small("panopticon-vitb14-s2")
    fed = fed_with(family, card, MANIFEST["glh-water"], "wavelength")
    network = load_network(family, card, None, 3, fed=fed)
    assert network.channels == {"rgb": [660.0, 560.0, 480.0]}
    embed = network.patch_embed
    p = {name: value.detach().double().numpy() for name, value in embed.named_parameters()}  # type: ignore[union-attr]
    image = np.random.default_rng(4).normal(size=(3, size, size))
    kernel = p["conv3d.conv3d.weight"][:, 0, 0]  # A 14 14
    planes = np.einsum("chw,ahw->ca", image[:, :14, :14], kernel) + p["conv3d.conv3d.bias"]
    width, heads = planes.shape[1], 4
    frequency = 1 / 10000 ** (np.arange(width // 2) / (width / 2))
    angles = np.array([660.0, 560.0, 480.0])[:, None] * frequency
    x = planes + np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
    keys, values = x @ p["chnfus.xattn.inproj_k.weight"].T, x @ p["chnfus.xattn.inproj_v.weight"].T
    fused = []
    for head in range(heads):
        part = slice(head * width // heads, (head + 1) * width // heads)
        weights = np.exp(keys[:, part] @ p["chnfus.query"][0, 0, part] / np.sqrt(width / heads))
        fused.append(weights / weights.sum() @ values[:, part])
    wanted = np.concatenate(fused) @ p["proj.weight"].T + p["proj.bias"]
    with torch.inference_mode():
        found = embed(torch.from_numpy(image)[None].float(), network.channels["rgb"])[0, 0]  # type: ignore[operator,index]
    np.testing.assert_allclose(found.numpy(), wanted, atol=2e-5, rtol=1e-3)
