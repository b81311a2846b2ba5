"""Published key lists against our networks at full size, on the meta device."""

import json
import os
from pathlib import Path

import pytest
import torch
from torch import Tensor

from seamo.errors import CheckpointError
from seamo_bench.weights import match

MANIFESTS = {
    "caco_resnet50": "caco-r50",
    "copernicusfm_base": "copernicusfm-base-s2",
    "croma_base": "croma-base-joint",
    "dino_mm_vits8": "dino-mm-vits8",
    "dofa_base": "dofa-base-s2",
    "galileo_nano": "galileo-nano",
    "gassl_resnet50_moco": "gassl-r50",
    "panopticon_vitb14": "panopticon-vitb14-s2",
    "presto": "presto",
    "prithvi_eo_v2_300_tl_encoder": "prithvi-eo-v2-300m-tl",
    "satlas_swin_v2_b_s2_ms": "satlas-swinb-s2",
    "satmae_base_pretrain": "satmae-vitb",
    "satmae_large_pretrain": "satmae-vitl",
    "satvit_v1": "satvit-v1",
    "satvit_v2": "satvit-v2",
    "scalemae_large": "scalemae-vitl",
    "seco_resnet50_lightning": "seco-r50",
    "spectralgpt_base_96": "spectralgpt",
    "spectralgpt_plus_base_128": "spectralgpt-plus",
    "ssl4eo_mae_vits16_s1_enc": "ssl4eo-mae-vits16-s1",
    "terramind_v1_base_s2l2a_s1grd": "terramind-v1-base",
}
# Parameters that no published file has, with the initial value that the official code gives them.
ABSENT = {
    "dofa-base-s2": {"norm.weight", "norm.bias"},  # this list is of torchgeo's copy, which has fc_norm instead
    "satmae-vitb": {"channel_cls_embed", "fc_norm.weight", "fc_norm.bias"},
    "satmae-vitl": {"channel_cls_embed", "fc_norm.weight", "fc_norm.bias"},
}


def _state(golden: Path, name: str) -> dict[str, Tensor]:
    folder = Path(os.environ.get("SEAMO_MANIFESTS", golden.parent / "reference" / "zoo_manifests"))
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there (set SEAMO_MANIFESTS)")
    keys = json.loads((folder / f"{name}.json").read_text())["keys"]
    if name == "satlas_swin_v2_b_s2_ms":  # its note: the list is torchvision's, the file's stem has 9 channels
        keys["features.0.0.weight"][1][1] = 9
    return {key: torch.empty(shape, device="meta") for key, (_, shape) in keys.items()}


def _match(name: str, state: dict[str, Tensor]):
    from seamo_bench.zoo.catalogue import cards

    found = cards()[MANIFESTS[name]]
    with torch.device("meta"):
        network = found.family.build(found.card)
    return match(network.state_dict(), state, found.family.rules_of(found.card), where=name)


def test_no_key_list_is_left_out(golden: Path) -> None:
    _state(golden, "presto")  # skips where the lists are not there
    folder = Path(os.environ.get("SEAMO_MANIFESTS", golden.parent / "reference" / "zoo_manifests"))
    assert {path.stem for path in folder.glob("*.json")} == set(MANIFESTS)


@pytest.mark.parametrize("name", MANIFESTS)
def test_every_key_is_consumed_or_dropped_and_every_parameter_filled_or_initial(golden: Path, name: str) -> None:
    state = _state(golden, name)
    coverage = _match(name, state)
    assert set(coverage.consumed) | set(coverage.dropped) == set(state)
    assert set(coverage.initial) == ABSENT.get(MANIFESTS[name], set())
    assert len(coverage.consumed) > 45


@pytest.mark.parametrize("name", MANIFESTS)
def test_one_key_less_one_more_or_another_shape_is_refused(golden: Path, name: str) -> None:
    state = _state(golden, name)
    key = next(key for key in _match(name, state).consumed if key.endswith("proj.weight") or "conv1.weight" in key
               or "to_out.weight" in key or key == "0.weight")  # fmt: skip
    with pytest.raises(CheckpointError, match="have no value in the file"):
        _match(name, {other: tensor for other, tensor in state.items() if other != key})
    with pytest.raises(CheckpointError, match=r"have no use: blocks\.99"):
        _match(name, {**state, "blocks.99.attn": state[key]})
    with pytest.raises(CheckpointError, match="shapes differ"):
        _match(name, {**state, key: torch.empty((*state[key].shape, 2), device="meta")})
