"""How each model of the reference outputs is fed, and where its intermediate results come from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from seamo.bands import positions
from seamo.inputs.normalise import apply_steps
from seamo_bench.backbones import galileo
from seamo_bench.backbones._inputs import OSCD_QUANTILES
from seamo_bench.backbones.dofa import WAVES_UM, steps_8bit
from seamo_bench.backbones.satlas import REST, REST_STEPS, TCI_STEPS
from seamo_bench.backbones.satvit import S1_FOUR_STEPS
from seamo_bench.backbones.spectralgpt import CUBE_ZSCORE, MINMAX
from seamo_bench.card import BackboneCard, InputSpec, Step
from seamo_bench.network import Network
from seamo_bench.networks.bare import alibi
from seamo_bench.networks.croma import CROMA
from seamo_bench.networks.dofa import DOFA
from seamo_bench.networks.galileo import S2_GROUPS, SPACE, SPACE_TIME, STATIC, TIME, Galileo
from seamo_bench.networks.presto import NO_CLASS, NUM_CHANNELS, Presto, cartesian, ndvi
from seamo_bench.networks.resnet import ResNet
from seamo_bench.networks.satmae import GroupViT
from seamo_bench.networks.satvit import SatViT
from seamo_bench.networks.spectral import SpectralViT
from seamo_bench.networks.swin import Swin
from seamo_bench.networks.vit import ViT, to_map

Fields = dict[str, Tensor]
RGB_NAMES = {"B04": "R", "B03": "G", "B02": "B"}


@dataclass(frozen=True, slots=True)
class Case:
    """One input case of one model.

    Args:
        name: Its name.
        fields: Every tensor of its file.
        info: Its entry in `card.json`.
        facts: The whole `card.json`.
    """

    name: str
    fields: Mapping[str, Tensor]
    info: Mapping[str, Any]
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rig:
    """How one reference model is built and fed.

    Args:
        backbone: Our card.
        feed: (network, card, case) -> every field that we can compute.
        alias: Variant name -> constructor name of the reference card, where they differ.
        given: Patterns of fields that are inputs of the case beside `input.*.raw`.
    """

    backbone: str
    feed: Callable[[Network, BackboneCard, Case], Fields]
    alias: Mapping[str, str] = field(default_factory=dict)
    given: tuple[str, ...] = ()


def spec_of(card: BackboneCard, sensor: str) -> InputSpec:
    """The card's input of one sensor."""
    return next(spec for spec in card.inputs if spec.sensor == sensor)


def normalised(spec: InputSpec, raw: Tensor, raw_bands: list[str]) -> Tensor:
    """Select bands by name and apply the published steps."""
    names = [RGB_NAMES.get(name, name) for name in raw_bands] if spec.sensor == "rgb" else raw_bands
    return apply_steps(raw[:, positions(names, spec.bands)].float(), spec.steps)


def raw_bands(case: Case, modality: str) -> list[str]:
    """Names of the raw bands of a case, of its own or its model's card."""
    bands = case.info.get("raw_bands") or case.facts["modalities"][modality]["raw_bands"]
    return list(bands)


def feed_vit(network: Network, card: BackboneCard, case: Case) -> Fields:
    """Plain ViTs: normalised input, tokens, poolings."""
    vit = cast(ViT, network)
    ours: Fields = {}
    for modality in ("s2", "s1", "rgb"):
        if f"input.{modality}.raw" in case.fields:
            spec = spec_of(card, modality)
            ours[modality] = normalised(spec, case.fields[f"input.{modality}.raw"], raw_bands(case, modality))
    zeroed = str(case.info.get("zeroed", "")).split(" ")[0].lower()
    seen = {sensor: x for sensor, x in ours.items() if sensor != zeroed}
    found = {f"input.{modality}.norm": x for modality, x in ours.items()} | {"input.s2s1.norm": vit.stack(seen)}
    x = next(tensor for name, tensor in case.fields.items() if name.endswith(".norm"))
    stream = vit.run(x, found)
    found["pooled"] = vit.pooled(stream, vit.pool)
    if vit.cls_token is not None:
        found["pooled.cls"] = vit.pooled(stream, "cls")
        found["pooled.cls1_avgpool"] = vit.pooled(stream, "cls-mean-interleaved")
    found["pooled.gap_fcnorm"] = vit.pooled(stream, "mean-norm")
    tokens = found["tokens.final"]
    found["tokens.target_layernorm"] = nn.functional.layer_norm(tokens, tokens.shape[-1:], eps=1e-5)
    return found


def feed_resnet(network: Network, card: BackboneCard, case: Case) -> Fields:
    """ResNets: stem, stages, pooled; pairs: absolute differences, the first of the raw convolution."""
    net = cast(ResNet, network)
    if "input.s2_a.raw" in case.fields:
        return _pair(net, card, case)
    modality = next(name.split(".")[1] for name in case.fields if name.endswith(".raw"))
    norm = normalised(spec_of(card, modality), case.fields[f"input.{modality}.raw"], raw_bands(case, modality))
    found = {f"input.{modality}.norm": norm}
    net.run(case.fields[f"input.{modality}.norm"], found)
    found["pooled"] = net.forward_features({modality: case.fields[f"input.{modality}.norm"]}).pooled
    return found


def _pair(net: ResNet, card: BackboneCard, case: Case) -> Fields:
    spec = card.inputs[0]
    if "OSCD quantiles" in str(case.info.get("normalisation")):
        spec = replace(spec, steps=OSCD_QUANTILES)
    found: Fields = {}
    sides: list[Fields] = []
    for side in ("a", "b"):
        found[f"input.s2_{side}.norm"] = normalised(spec, case.fields[f"input.s2_{side}.raw"], raw_bands(case, "s2"))
        taps: Fields = {"input": case.fields[f"input.s2_{side}.norm"]}
        net.run(taps["input"], taps)
        sides.append(taps)
    for index, name in enumerate(("input", "stem.conv1", "stage.1", "stage.2", "stage.3", "stage.4")):
        found[f"diff.{index}"] = (sides[0][name] - sides[1][name]).abs()
    return found


def feed_satmae(network: Network, card: BackboneCard, case: Case) -> Fields:
    """Group-channel ViTs: the class token is pooled too, with the other head of the official code."""
    net = cast(GroupViT, network)
    found = {"input.s2.norm": normalised(card.inputs[0], case.fields["input.s2.raw"], raw_bands(case, "s2"))}
    stream = net.run(case.fields["input.s2.norm"], found)
    found["pooled.mean_before_norm"] = net.mean_token(stream)
    found["pooled"] = net.fc_norm(net.mean_token(stream))
    found["pooled.cls"] = net.pooled(stream, "cls")
    return found


def feed_spectralgpt(network: Network, card: BackboneCard, case: Case) -> Fields:
    """SpectralGPT with the switches of the official code that the case names."""
    net = cast(SpectralViT, network)
    net.no_positions = case.info.get("sep_pos_embed") is False
    net.pool_without_first = True
    rule = str(case.info.get("normalisation", ""))
    steps = MINMAX if "min-max" in rule else CUBE_ZSCORE if "cube" in rule else card.inputs[0].steps
    spec = replace(card.inputs[0], steps=steps)
    if "input.s2_a.raw" in case.fields:
        return _spectral_pair(net, spec, case)
    found = {"input.s2.norm": normalised(spec, case.fields["input.s2.raw"], raw_bands(case, "s2"))}
    stream = net.run(case.fields["input.s2.norm"], found)
    found["pooled"] = net.pooled_mean(stream[-1])
    found["pooled.mean_all_prenorm"] = stream[-1].mean(1)
    found["pooled.mean_all_norm"] = found["tokens.final"].mean(1)
    return found


def _spectral_pair(net: SpectralViT, spec: InputSpec, case: Case) -> Fields:
    found: Fields = {}
    merged = []
    for side in ("a", "b"):
        raw, norm = f"input.s2_{side}.raw", f"input.s2_{side}.norm"
        found[norm] = normalised(spec, case.fields[raw], raw_bands(case, "s2"))
        taps: Fields = {}
        stream = net.run(case.fields[norm], taps)
        found |= {f"{side}.{name}": value for name, value in taps.items()}
        weight, bias = case.fields["fc.weight"], case.fields["fc.bias"]  # trained with the task, not in the checkpoint
        merged.append(torch.einsum("bgld,g->bld", net.per_group(stream[-1]), weight[0]) + bias)
        found[f"{side}.group_merge"] = merged[-1]
    found["diff"] = merged[0] - merged[1]
    found["diff.map"] = to_map(found["diff"], net.grid(case.fields["input.s2_a.norm"]))
    return found


def feed_croma(network: Network, card: BackboneCard, case: Case) -> Fields:
    """CROMA: normalised with the statistics of the case's own batch, as the fixture says."""
    net = cast(CROMA, network)
    found: Fields = {}
    inputs: Fields = {}
    for sensor in ("s1", "s2"):
        if f"input.{sensor}.raw" not in case.fields:
            continue
        raw = case.fields[f"input.{sensor}.raw"].double()
        mean, std = raw.mean((0, 2, 3)), raw.transpose(0, 1).flatten(1).std(dim=1)
        low, high = (mean - 2 * std).tolist(), (4 * std).tolist()
        spec = spec_of(card, sensor)
        steps = (Step("affine", tuple(low), tuple(high)), *(step for step in spec.steps if step.op != "store-2std"))
        found[f"input.{sensor}.norm"] = normalised(replace(spec, steps=steps), raw, raw_bands(case, sensor))
        inputs[sensor] = case.fields[f"input.{sensor}.norm"]
    _, _, grid = net.run(inputs, found)
    bias = alibi(grid, net.heads, torch.device("cpu"))
    for head in range(net.heads):
        found[f"attn_bias.head{head:02d}"] = bias[head : head + 1]
    return found


def feed_satvit(network: Network, card: BackboneCard, case: Case) -> Fields:
    """SatViT: twelve optical channels and the first three of four radar channels."""
    net = cast(SatViT, network)
    found: Fields = {}
    if "input.s2.raw" in case.fields:
        optical = normalised(spec_of(card, "s2"), case.fields["input.s2.raw"], raw_bands(case, "s2"))
        radar = apply_steps(case.fields["input.s1.raw"], S1_FOUR_STEPS)
        found["input.s1.norm"] = radar
        found["input.stack15.norm"] = torch.cat([optical, radar[:, :3]], dim=1)
    normed, _ = net.run(case.fields["input.stack15.norm"], found)
    found["pooled"] = normed[-1].mean(1)
    return found


def feed_dofa(network: Network, _card: BackboneCard, case: Case) -> Fields:
    """DOFA with the bands and wavelengths of the case."""
    net = cast(DOFA, network)
    sensor = "s2" if "input.s2.raw" in case.fields else "s1"
    bands = tuple(case.info["bands"])
    waves = [WAVES_UM[name] for name in bands]
    found = {
        f"input.{sensor}.norm": apply_steps(case.fields[f"input.{sensor}.raw"].float(), steps_8bit(bands)),
        "input.wavelengths_um": torch.tensor(waves),
    }
    stream = net.tokens(case.fields[f"input.{sensor}.norm"], waves, found)
    found["pooled"] = net.pooled_mean(stream)
    found["tokens.final"] = net.norm(stream[-1])
    found["pooled.cls"] = net.pooled(stream, "cls")
    return found


def feed_satlas(network: Network, card: BackboneCard, case: Case) -> Fields:
    """Swin: true colour is 8-bit in the fixture, the other bands are digital numbers."""
    net = cast(Swin, network)
    if "input.tci.raw" in case.fields:
        rest = case.fields["input.s2.raw"][:, positions(raw_bands(case, "s2"), REST)]
        colour = apply_steps(case.fields["input.tci.raw"].float(), TCI_STEPS)
        found = {"input.s2.norm": torch.cat([colour, apply_steps(rest.float(), REST_STEPS)], dim=1)}
        x = case.fields["input.s2.norm"]
    else:
        found = {"input.s1.norm": normalised(card.inputs[0], case.fields["input.s1.raw"], raw_bands(case, "s1"))}
        x = case.fields["input.s1.norm"]
    stages = net.run(x, found)
    found["pooled"] = stages[-1].mean((2, 3))
    return found


def feed_presto(network: Network, card: BackboneCard, case: Case) -> Fields:
    """Presto: series of 17 channels put together from whichever sensors the case has."""
    net = cast(Presto, network)
    size = tuple(case.fields["input.x.norm"].shape[:2])
    values = torch.zeros(*size, NUM_CHANNELS)  # what is missing is 0 before normalisation
    mask = torch.ones(*size, NUM_CHANNELS)
    if "input.s1.raw" in case.fields:
        values[..., :2], mask[..., :2] = case.fields["input.s1.raw"], 0
    if "input.s2.raw" in case.fields:
        names = [f"B{name[1:]:0>2}" for name in case.info["raw_bands"]["s2"]]
        for channel, name in enumerate(spec_of(card, "s2").bands, start=2):
            if name in names:
                values[..., channel], mask[..., channel] = case.fields["input.s2.raw"][..., names.index(name)], 0
    for modality, channels in (("era5", slice(12, 14)), ("srtm", slice(14, 16))):
        if f"input.{modality}.raw" in case.fields:
            values[..., channels], mask[..., channels] = case.fields[f"input.{modality}.raw"], 0
    shift = torch.tensor([25.0] * 2 + [0.0] * 10 + [-272.15] + [0.0] * 3 + [0.0])
    divide = torch.tensor([25.0] * 2 + [10000.0] * 10 + [35.0, 0.03, 2000.0, 50.0, 1.0])
    x = (values + shift) / divide
    x[..., 16] = ndvi(x[..., 8], x[..., 4])
    mask[..., 16] = torch.maximum(mask[..., 8], mask[..., 4])
    cover = case.fields.get("input.dw.raw", torch.full(size, NO_CLASS))
    found: Fields = {"input.x.norm": x, "input.mask": mask, "input.dynamic_world": cover}
    found["pooled"] = net.run(
        case.fields["input.x.norm"],
        case.fields["input.mask"],
        dynamic_world_BT=case.fields["input.dynamic_world"],
        latlon_B2=case.fields["input.latlons"],
        month_B=case.fields["input.month"],
        taps=found,
    )
    return found


def feed_galileo(network: Network, card: BackboneCard, case: Case) -> Fields:
    """Galileo, normalised as the official helper does (its own quirk)."""
    net = cast(Galileo, network)
    arrays, found = _galileo_arrays(galileo.FAMILY.quirks["helper-normalisation"](card), case)
    given = _galileo_given(case)
    groups: Fields = {}
    for kind, layout in (("space_time", SPACE_TIME), ("space", SPACE), ("time", TIME), ("static", STATIC)):
        fed = case.fields[f"input.{kind}_x.norm"]
        found[f"input.{kind}_x.norm"] = arrays[kind]
        shown = torch.tensor([float(name not in given) for name in layout])
        found[f"input.{kind}_mask"] = shown.expand(*fed.shape[:-1], -1)
        for name, channels in layout.items():
            if name in given:
                part = fed[..., list(channels)]
                last = {"space_time": (0, 3, 4, 1, 2), "space": (0, 3, 1, 2)}.get(kind)
                groups[name] = part.permute(last) if last else part
    patch, gsd_m = int(case.info["patch_size"]), float(case.info["input_resolution_m"])
    tokens = net.run(groups, case.fields["input.months"], patch=patch, gsd_m=gsd_m, taps=found)
    final = net.norm(tokens.stream[-1])
    found["pooled"] = final.mean(1)
    found["pooled.per_patch"] = net.per_patch(tokens, final)
    names = tokens.given[0]
    shape = (len(final), *tokens.grid, tokens.steps)
    out = net.norm.bias.expand(*shape, len(SPACE_TIME), -1).clone()  # the norm of a token that is not there
    mask = torch.ones(*shape, len(SPACE_TIME))
    places = [list(SPACE_TIME).index(name) for name in names]
    count = tokens.grid[0] * tokens.grid[1] * tokens.steps * len(names)
    out[..., places, :] = final[:, :count].reshape(*shape, len(names), -1)
    mask[..., places] = 0
    found["out.s_t_x"], found["out.s_t_m"] = out, mask
    return found


GALILEO_SOURCES = {
    "s1": ("S1",),
    "s2": S2_GROUPS,
    "srtm": ("SRTM",),
    "era5": ("ERA5",),
    "latlon": ("location",),
}


def _galileo_given(case: Case) -> set[str]:
    return {
        name for modality, names in GALILEO_SOURCES.items() if f"input.{modality}.raw" in case.fields for name in names
    }


def _galileo_arrays(card: BackboneCard, case: Case) -> tuple[Fields, Fields]:
    """The four normalised arrays; the helper's fixed numbers for what our card does not take."""
    arrays = {kind: torch.zeros_like(case.fields[f"input.{kind}_x.norm"]) for kind in ("space_time", "space", "time")}
    arrays["static"] = torch.zeros_like(case.fields["input.static_x.norm"])
    arrays["space_time"][..., :2] = -1.0  # 0 dB normalised
    arrays["time"][..., 0] = 272.15 / 35
    arrays["static"][..., 0] = -1.0
    for sensor, channels in (("s1", slice(0, 2)), ("s2", slice(2, 12))):
        if f"input.{sensor}.raw" in case.fields:
            raw = case.fields[f"input.{sensor}.raw"].float().permute(2, 3, 0, 1)  # T C H W
            arrays["space_time"][0, ..., channels] = apply_steps(raw, spec_of(card, sensor).steps).permute(2, 3, 0, 1)
    if "input.srtm.raw" in case.fields:
        arrays["space"][0, ..., :2] = case.fields["input.srtm.raw"] / torch.tensor([2000.0, 50.0])
    if "input.era5.raw" in case.fields:
        shifted = case.fields["input.era5.raw"] + torch.tensor([272.15, 0.0])
        arrays["time"][0, :, :2] = shifted / torch.tensor([35.0, 0.03])
    if "input.latlon.raw" in case.fields:
        arrays["static"][..., 1:4] = cartesian(case.fields["input.latlon.raw"][None])
    return arrays, {}


RESNET_ALIAS = {"bottleneck_factor": "bottleneck_width_factor"}
RIGS: dict[str, Rig] = {
    "ssl4eo_mae_s2": Rig("ssl4eo-mae-vits16-s2", feed_vit),
    "ssl4eo_mae_s1": Rig("ssl4eo-mae-vits16-s1", feed_vit),
    "fgmae_s2": Rig("fgmae-vits16-s2", feed_vit),
    "fgmae_s1": Rig("fgmae-vits16-s1", feed_vit),
    "ssl4eo_dino": Rig("ssl4eo-dino-vits16-s2", feed_vit),
    "dino_mc_vit": Rig("dino-mc-vits8", feed_vit),
    "dino_mm": Rig("dino-mm-vits8", feed_vit),
    "ijepa": Rig("ijepa-vith14-in1k", feed_vit),
    "gassl_r50": Rig("gassl-r50", feed_resnet, RESNET_ALIAS),
    "seco_r18": Rig("seco-r18", feed_resnet, RESNET_ALIAS),
    "seco_r50": Rig("seco-r50", feed_resnet, RESNET_ALIAS),
    "caco_r18": Rig("caco-r18", feed_resnet, RESNET_ALIAS),
    "caco_r50": Rig("caco-r50", feed_resnet, RESNET_ALIAS),
    "ssl4eo_moco_r18": Rig("ssl4eo-moco-r18-s2", feed_resnet, RESNET_ALIAS),
    "dino_mc_r50": Rig("dino-mc-r50", feed_resnet, RESNET_ALIAS),
    "dino_mc_wrn50": Rig("dino-mc-wrn50", feed_resnet, RESNET_ALIAS),
    "satmae": Rig("satmae-vitb", feed_satmae),
    "satmaepp": Rig("satmaepp-vitl", feed_satmae),
    "spectralgpt": Rig("spectralgpt", feed_spectralgpt, given=("fc.*",)),
    "croma": Rig("croma-base-joint", feed_croma),
    "satvit_v1": Rig("satvit-v1", feed_satvit, given=("input.stack15.norm",)),
    "satvit_v2": Rig("satvit-v2", feed_satvit, given=("input.stack15.norm",)),
    "dofa_v1": Rig("dofa-base-s2", feed_dofa),
    "satlas_swin_v2_b_s2_ms": Rig("satlas-swinb-s2", feed_satlas),
    "satlas_swin_v2_b_s1": Rig("satlas-swinb-s1", feed_satlas),
    "presto": Rig("presto", feed_presto, given=("input.latlons", "input.month")),
    "galileo_nano": Rig("galileo-nano", feed_galileo, given=("input.months",)),
}
