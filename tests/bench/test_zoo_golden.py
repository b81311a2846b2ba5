"""Our networks against reference outputs of the official codes, for all 27 shrunken models."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from seamo_bench.zoo.catalogue import cards
from seamo_bench.zoo.golden import compare, compare_model, shrunk_card
from seamo_bench.zoo.golden_rigs import RIGS
from seamo_bench.zoo.loading import load_network

MODELS = (
    "caco_r18",
    "caco_r50",
    "croma",
    "dino_mc_r50",
    "dino_mc_vit",
    "dino_mc_wrn50",
    "dino_mm",
    "dofa_v1",
    "fgmae_s1",
    "fgmae_s2",
    "galileo_nano",
    "gassl_r50",
    "ijepa",
    "presto",
    "satlas_swin_v2_b_s1",
    "satlas_swin_v2_b_s2_ms",
    "satmae",
    "satmaepp",
    "satvit_v1",
    "satvit_v2",
    "seco_r18",
    "seco_r50",
    "spectralgpt",
    "ssl4eo_dino",
    "ssl4eo_mae_s1",
    "ssl4eo_mae_s2",
    "ssl4eo_moco_r18",
)


@pytest.mark.parametrize("model", MODELS)
def test_every_field_of_every_case_is_within_tolerance(golden: Path, model: str) -> None:
    facts = json.loads((golden / "dev" / model / "card.json").read_text())
    rows = list(compare_model(golden / "dev" / model))
    assert [row for row in rows if row.verdict != "ok"] == []
    compared = {(row.case, row.field) for row in rows}
    # Every recorded block, stage, token and pooled field was compared, not skipped; likewise normalised inputs.
    for case in facts["cases"]:
        for field in case["fields"]:
            if field.startswith(("block.", "stage.", "tokens.", "pooled", "s1.", "s2.", "joint.", "diff", "merge.")):
                assert (case["name"], field) in compared
            if field.endswith(".norm") and f"{field.removesuffix('norm')}raw" in case["fields"]:
                assert (case["name"], field) in compared


def _copy(golden: Path, tmp_path: Path, model: str) -> Path:
    folder = tmp_path / model
    shutil.copytree(golden / "dev" / model, folder)
    for path in [folder, *folder.iterdir()]:
        path.chmod(0o755)
    return folder


def test_a_changed_weight_is_seen(golden: Path, tmp_path: Path) -> None:
    folder = _copy(golden, tmp_path, "satvit_v1")
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    state["encoder.layers.1.0.to_out.bias"][0] += 1e-3
    torch.save(state, folder / "checkpoint.pt")
    verdicts = {row.field: row.verdict for row in compare(folder) if row.case == "b"}
    assert verdicts["block.00"] == "ok"
    assert verdicts["block.01"] == "outside"
    assert verdicts["pooled"] == "outside"


def test_a_field_nobody_computes_is_named(golden: Path, tmp_path: Path) -> None:
    folder = _copy(golden, tmp_path, "ssl4eo_mae_s1")
    case = load_file(folder / "case_native.safetensors")
    case["block.77"] = torch.zeros(1)
    case["pooled"] = case["pooled"][:, 1:].contiguous()
    save_file(case, folder / "case_native.safetensors")
    rows = {(row.case, row.field): row for row in compare(folder)}
    assert rows["native", "block.77"].verdict == "unknown field"
    assert rows["native", "block.77"].max_abs is None
    assert rows["native", "pooled"].verdict.startswith("outside: shape")


def test_a_field_that_the_card_promises_is_missed(golden: Path, tmp_path: Path) -> None:
    folder = _copy(golden, tmp_path, "gassl_r50")
    case = load_file(folder / "case_size1.safetensors")
    del case["stage.3"]
    save_file(case, folder / "case_size1.safetensors")
    rows = {(row.case, row.field): row.verdict for row in compare(folder)}
    assert rows["size1", "stage.3"] == "outside: the file lacks this field"


def test_a_broken_checkpoint_is_one_row_that_says_why(golden: Path, tmp_path: Path) -> None:
    folder = _copy(golden, tmp_path, "seco_r18")
    whole = (folder / "checkpoint.pt").read_bytes()
    (folder / "checkpoint.pt").write_bytes(whole[: len(whole) // 2])
    (row,) = compare(folder)
    assert row.verdict.startswith("outside: ")
    assert "cut off or damaged" in row.verdict


def test_a_wrong_band_order_is_seen(golden: Path, tmp_path: Path) -> None:
    folder = _copy(golden, tmp_path, "ssl4eo_mae_s2")
    facts = json.loads((folder / "card.json").read_text())
    bands = facts["modalities"]["s2"]["raw_bands"]
    bands[7], bands[8] = bands[8], bands[7]  # B08 and B8A
    (folder / "card.json").write_text(json.dumps(facts))
    rows = {(row.case, row.field): row.verdict for row in compare(folder)}
    assert rows["native", "input.s2.norm"] == "outside"
    assert rows["native", "pooled"] == "ok"  # fed with the recorded input


@pytest.mark.parametrize("model", MODELS)
def test_features_have_the_shapes_that_the_card_promises(golden: Path, model: str) -> None:
    facts = json.loads((golden / "dev" / model / "card.json").read_text())
    rig = RIGS[model]
    card = shrunk_card(rig, facts)
    network = load_network(cards()[rig.backbone].family, card, None, 0)
    size = facts.get("native_image_size") or 64
    inputs = {spec.sensor: torch.rand(2, len(spec.bands), size, size) for spec in card.inputs}
    if len({spec.sensor for spec in card.inputs} & {"rgb", "s2"}) == 2:
        del inputs["s2"]  # two ways to feed one stem
    if model == "presto":
        inputs = {sensor: x[..., :6, :6] for sensor, x in inputs.items()}
        size = 6
    with torch.inference_mode():
        features = network.forward_features(inputs)
        alone = network.forward_features({sensor: x[1:] for sensor, x in inputs.items()})
    assert features.pooled.ndim == 2
    assert features.pooled.isfinite().all()
    assert len(features.levels) == len(card.levels)
    for level, (_, stride) in zip(features.levels, card.levels, strict=True):
        assert level.shape[0] == 2
        assert level.shape[2:] == (-(-size // stride),) * 2
    torch.testing.assert_close(alone.pooled, features.pooled[1:], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("model", ["ssl4eo_mae_s2", "ssl4eo_moco_r18", "satlas_swin_v2_b_s2_ms"])
def test_selected_columns_are_the_whole_network_with_zero_bands(golden: Path, model: str) -> None:
    # A linear first layer: leaving a band out and feeding zero after normalisation are the same thing.
    facts = json.loads((golden / "dev" / model / "card.json").read_text())
    rig = RIGS[model]
    card = shrunk_card(rig, facts)
    (spec,) = card.inputs
    kept = [index for index in range(len(spec.bands)) if index not in (1, 4)]
    fewer = replace(card, inputs=(replace(spec, bands=tuple(spec.bands[index] for index in kept)),))
    family = cards()[rig.backbone].family
    assert family.can_select
    path = golden / "dev" / model / "checkpoint.pt"
    whole, part = load_network(family, card, path, 0), load_network(family, card, path, 0, fed=fewer)
    x = torch.rand(1, len(spec.bands), 32, 32)
    blank = x.clone()
    blank[:, [1, 4]] = 0
    with torch.inference_mode():
        wanted = whole.forward_features({spec.sensor: blank}).pooled
        found = part.forward_features({spec.sensor: x[:, kept]}).pooled
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_one_sensor_of_two_is_zero_for_the_other(golden: Path) -> None:
    facts = json.loads((golden / "dev" / "dino_mm" / "card.json").read_text())
    card = shrunk_card(RIGS["dino_mm"], facts)
    optical = replace(card, inputs=tuple(spec for spec in card.inputs if spec.sensor == "s2"))  # as a store wires it
    network = load_network(cards()["dino-mm-vits8"].family, optical, golden / "dev" / "dino_mm" / "checkpoint.pt", 0)
    case = load_file(golden / "dev" / "dino_mm" / "case_s2_only.safetensors")
    with torch.inference_mode():
        pooled = network.forward_features({"s2": case["input.s2s1.norm"][:, :12]}).pooled
    torch.testing.assert_close(pooled, case["pooled"], atol=1e-5, rtol=1e-5)
