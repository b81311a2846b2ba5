"""Configurations: what is legal, what is refused and why, plain values there and back."""

from dataclasses import replace

import pytest
import yaml

from seamo.errors import BandError, RecipeError
from seamo.model.config import DecoderConfig, FusionConfig, MaskConfig, SeaMoConfig, parse_config, stage_one

ONE = {"s2": ("B02", "B03")}
NO_TM = FusionConfig(mode="none")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"tm": FusionConfig(variant="algorithm1"), "mask": MaskConfig(kind="independent")}, "needs a shared mask"),
        ({"tm": FusionConfig(variant="algorithm1"), "bands": ONE, "strategy": "unimodal"}, "unimodal has none"),
        ({"tm": FusionConfig(variant="algorithm1", depth=2)}, "one cross-attention"),
        ({"tm": FusionConfig(residual="value")}, "belongs to algorithm1"),
        ({"tm": FusionConfig(merge="concat")}, "two attentions of decouple"),
        ({"tm": FusionConfig(mode="decouple", type_embed=True)}, "only mode fuse of variant text has"),
        ({"tm": FusionConfig(mode="none", depth=2)}, "no effect while tm.mode is none"),
        ({"temporal": False, "tm": FusionConfig(mode="decouple")}, "part for the previous season"),
        ({"temporal": False, "tm": FusionConfig(prev="H")}, "part for the previous season"),
        ({"temporal": False, "bands": ONE, "strategy": "unimodal"}, "nothing to fuse"),
        ({"strategy": "unimodal"}, "unimodal has one sensor, bands names s2, s1"),
        ({"bands": ONE}, "multimodal joins two sensors, bands names s2"),
        ({"strategy": "siamese", "bands": ONE}, "siamese joins two sensors"),
        ({"size": 100}, "size 100 is not a multiple of patch 8"),
        ({"patch": 0}, "must be at least 1"),
        ({"dim": 100}, "multiple of its 12 heads"),
        ({"decoder": DecoderConfig(width=510)}, "multiple of its 16 heads"),
        ({"mask": MaskConfig(ratio=1.0)}, "one hidden"),
        ({"mask": MaskConfig(ratio=0.999)}, "must be visible"),
        ({"bands": {"s2": ("B02", "B02"), "s1": ("VV",)}}, "different bands"),
        ({"bands": {}}, "not a mapping"),
        ({"strategy": "both"}, "'multimodal'"),
        ({"depth": "12"}, "not a whole number"),
        ({"depth": True}, "not a whole number"),
        ({"temporal": 1}, "not true or false"),
        ({"mask": {"ratio": 0.5}}, "not a MaskConfig"),
        ({"loss_weight": {"dem": 0.5}}, "names 'dem', the model's sensors are s2, s1"),
        ({"loss_weight": {"s1": 0}}, "is 0, not a number above 0"),
        ({"loss_weight": {"s1": float("inf")}}, "is inf, not a number above 0"),
        ({"loss_weight": 0.5}, "not a mapping from sensor to weight"),
    ],
)
def test_illegal_combinations_are_refused_with_the_reason(changes: dict, reason: str):
    with pytest.raises(RecipeError, match=reason):
        replace(SeaMoConfig(), **changes)


def test_an_unknown_band_is_refused():
    with pytest.raises(BandError, match="B8A"):
        SeaMoConfig(bands={"s2": ("B8a",), "s1": ("VV",)})


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"pach": 8}, "model: unknown key 'pach'. Did you mean 'patch'"),
        ({"mask": {"ration": 0.5}}, "model.mask: unknown key 'ration'. Did you mean 'ratio'"),
        ({"tm": "fuse"}, "model.tm: is 'fuse', not a mapping"),
        ({"tm": {"mode": "fused"}}, "tm.mode: is 'fused'. Choose one of 'none', 'fuse', 'decouple'"),
        ({"mask": {"ratio": "0.5"}}, "mask.ratio: is '0.5', not a number"),
        ({"bands": {"s2": "B02", "s1": ["VV"]}}, "not a list of different bands"),
    ],
)
def test_parsing_refuses_what_it_does_not_know(entry: dict, message: str):
    with pytest.raises(RecipeError) as caught:
        parse_config(entry)
    assert message in str(caught.value)


def test_plain_values_there_and_back_through_yaml():
    config = SeaMoConfig(
        bands={"s1": ("VV",), "s2": ("B8A", "B02")},
        tm=FusionConfig(mode="decouple", merge="concat"),
        mask=MaskConfig(ratio=0.5),
    )
    again = parse_config(yaml.safe_load(yaml.safe_dump(config.to_dict(), sort_keys=False)))
    assert again == config
    assert again.sensors == ("s1", "s2")


def test_stage_one_has_one_season_and_no_fusion_and_is_otherwise_the_same():
    config = SeaMoConfig(patch=16, mask=MaskConfig(kind="independent"))
    assert stage_one(config) == replace(config, temporal=False, tm=NO_TM)


@pytest.mark.parametrize(("patch", "ratio", "visible"), [(8, 0.75, 64), (16, 0.75, 16), (8, 0.6, 102), (8, 0.9, 26)])
def test_visible_patches(patch: int, ratio: float, visible: int):
    assert SeaMoConfig(patch=patch, mask=MaskConfig(ratio=ratio)).num_visible == visible
