"""Saved models: exact there and back, and every kind of damage refused by name."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from seamo import __version__
from seamo.errors import CheckpointError
from seamo.identity import file_sha256
from seamo.model.checkpoint import load_model, save_model, transfer
from seamo.model.config import DecoderConfig, SeaMoConfig, stage_one
from seamo.model.seamo import SeaMo
from tests.seamo.small_model import write_card

TINY = SeaMoConfig(
    bands={"s2": ("B02", "B8A"), "s1": ("VV",)},
    size=8,
    patch=4,
    dim=8,
    depth=1,
    heads=2,
    decoder=DecoderConfig(depth=1, width=8, heads=2),
)
CARD = {
    "normalisation": {
        "s2": {
            "kind": "two-sigma",
            "unit": "dn",
            "mean": {"B02": 900.0, "B8A": 2300.0},
            "std": {"B02": 1000.0, "B8A": 1100.5},
            "source": "made up for this test",
        },
        "s1": {"kind": "z-score", "unit": "db", "mean": {"VV": -12.5}, "std": {"VV": 5.25}, "source": "this test"},
    },
    "provenance": {"recipe": "none", "synthetic": True},
    "note": "a further key",
}


def model(config: SeaMoConfig = TINY, seed: int = 0) -> SeaMo:
    return SeaMo(config, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_model(tmp_path / "model", model(), CARD)
    return tmp_path / "model"


def edit_card(path: Path, **changes: object) -> None:
    """Another card under a seal of its own, so that only what it says can be wrong."""
    card = json.loads((path / "card.json").read_text())
    write_card(path, {**card, **changes})


def replace_weights(path: Path, state: dict[str, torch.Tensor]) -> None:
    """Other weights with a card that vouches for them, so that only the fit can be wrong."""
    weights = path / "model.safetensors"
    save_file(state, weights)
    edit_card(path, weights={"sha256": file_sha256(weights), "bytes": weights.stat().st_size})


def test_there_and_back_is_exact(saved: Path):
    loaded, card = load_model(saved)
    original = model()
    assert loaded.config == TINY
    for name, tensor in original.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
    images = {"s2": torch.rand(1, 2, 2, 8, 8), "s1": torch.rand(1, 2, 1, 8, 8)}
    noise = torch.rand(1, 2, 4)
    assert torch.equal(loaded(images, noise=noise).loss, original(images, noise=noise).loss)
    assert {key: card[key] for key in CARD} == CARD
    assert (card["format"], card["seamo"], card["config"]["bands"]["s2"]) == (
        "seamo-model/2",
        __version__,
        ["B02", "B8A"],
    )
    assert sorted(path.name for path in saved.parent.iterdir()) == ["model"]
    assert sorted(path.name for path in saved.iterdir()) == ["card.json", "checksums.json", "model.safetensors"]


def test_drop_path_at_loading(saved: Path):
    loaded, _ = load_model(saved, drop_path=0.3)
    assert set(loaded.state_dict()) == set(model().state_dict())


def test_an_existing_folder_is_not_overwritten(saved: Path):
    before = file_sha256(saved / "model.safetensors")
    with pytest.raises(CheckpointError, match="exists already"):
        save_model(saved, model(seed=1), CARD)
    assert file_sha256(saved / "model.safetensors") == before


def test_a_failed_save_leaves_nothing(tmp_path: Path):
    with pytest.raises(CheckpointError, match="card: cannot be written as JSON"):
        save_model(tmp_path / "model", model(), {**CARD, "score": float("nan")})
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_model(tmp_path / "file" / "model", model(), CARD)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"provenance": None}, "provenance is not a mapping"),
        ({"normalisation": {"s2": CARD["normalisation"]["s2"]}}, "does not cover s2, s1"),
        ({"normalisation": {**CARD["normalisation"], "s1": {"kind": "z-score"}}}, "normalisation of s1 has no kind"),
        (
            {"normalisation": {**CARD["normalisation"], "s1": {**CARD["normalisation"]["s1"], "std": {"VH": 5.0}}}},
            "std of s1 is not given for exactly VV",
        ),
        ({"config": {}}, "'config' is written by save_model"),
    ],
)
def test_a_card_must_say_how_pixels_were_normalised(tmp_path: Path, change: dict, message: str):
    with pytest.raises(CheckpointError, match=message):
        save_model(tmp_path / "model", model(), {**CARD, **change})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("keep", [0, 7, 200, -1])
def test_truncated_weights(saved: Path, keep: int):
    weights = saved / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"model.safetensors: has [\d,]+ bytes instead of [\d,]+. It is damaged"):
        load_model(saved)


def test_a_flipped_bit(saved: Path):
    weights = saved / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-3] ^= 1
    weights.write_bytes(data)
    with pytest.raises(CheckpointError, match="another sha256"):
        load_model(saved)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: (path / "model.safetensors").unlink(), "model.safetensors: is missing"),
        (lambda path: (path / "card.json").unlink(), "card.json: cannot be read"),
        (lambda path: (path / "card.json").write_text('{"format":'), r"card\.json: has 10 bytes instead of"),
        (lambda path: (path / "checksums.json").write_text("[]"), r"checksums\.json: is not one JSON object"),
        (lambda path: (path / "checksums.json").unlink(), r"checksums\.json: is missing"),
        (lambda path: edit_card(path, format="seamo-model/9"), "is not a card of format seamo-model/2"),
        (lambda path: edit_card(path, weights=None), "says nothing about 'weights'"),
        (lambda path: edit_card(path, config={"dimm": 8}), "unknown key 'dimm'. Did you mean 'dim'"),
        (lambda path: edit_card(path, normalisation={}), "normalisation does not cover"),
    ],
)
def test_damaged_folders(saved: Path, damage, message: str):
    damage(saved)
    with pytest.raises(CheckpointError, match=message):
        load_model(saved)


def test_weights_that_do_not_fit(saved: Path):
    state = load_file(saved / "model.safetensors")
    name = "encoder.norm.weight"
    replace_weights(saved, {key: tensor for key, tensor in state.items() if key != name})
    with pytest.raises(CheckpointError, match=r"missing: encoder\.norm\.weight"):
        load_model(saved)
    replace_weights(saved, {**state, "encoder.extra": torch.zeros(1)})
    with pytest.raises(CheckpointError, match=r"unexpected: encoder\.extra"):
        load_model(saved)
    replace_weights(saved, {**state, name: torch.zeros(9)})
    with pytest.raises(CheckpointError, match=r"encoder.norm.weight is \(9,\) instead of \(8,\)"):
        load_model(saved)
    replace_weights(saved, {**state, name: state[name].half()})
    with pytest.raises(CheckpointError, match=r"norm\.weight is torch\.float16 instead of torch\.float32"):
        load_model(saved)


def test_stage_two_starts_from_stage_one_and_its_fusion_stays_fresh():
    one, two = model(stage_one(TINY), seed=1), model(TINY, seed=2)
    fresh = {name: tensor.clone() for name, tensor in two.state_dict().items()}
    transfer(one.state_dict(), two)
    for name, tensor in two.state_dict().items():
        source = fresh if name.startswith("fusion.") else one.state_dict()
        assert torch.equal(tensor, source[name]), name
    assert sum(name.startswith("fusion.") for name in fresh) > 10


def test_a_sensor_that_stage_one_did_not_see_stays_fresh():
    one, two = model(stage_one(TINY, sensors=("s2",)), seed=1), model(TINY, seed=2)
    fresh = {name: tensor.clone() for name, tensor in two.state_dict().items()}
    assert (one.config.sensors, one.config.strategy) == (("s2",), "unimodal")
    transfer(one.state_dict(), two)
    kept = {name for name in fresh if torch.equal(two.state_dict()[name], fresh[name]) and "norm" not in name}
    new = {name for name in fresh if name not in one.state_dict()}
    assert {name for name in new if "fusion" not in name and "norm" not in name} <= kept
    assert {name.partition(".")[0] for name in new} == {"fusion", "tokenizers", "decoders"}
    assert all(torch.equal(two.state_dict()[name], tensor) for name, tensor in one.state_dict().items())


def test_transfer_refuses_what_does_not_fit_and_touches_nothing():
    state, two = model(stage_one(TINY), seed=1).state_dict(), model(TINY, seed=2)
    before = {name: tensor.clone() for name, tensor in two.state_dict().items()}
    lacking = {name: tensor for name, tensor in state.items() if name != "decoders.s1.mask_token"}
    wider = model(stage_one(replace(TINY, dim=12)), seed=1).state_dict()
    for wrong, message in (
        (lacking, "missing: decoders.s1.mask_token"),
        (model(TINY, seed=1).state_dict(), "unexpected: fusion"),
        (wider, "instead of"),
    ):
        with pytest.raises(CheckpointError, match=message):
            transfer(wrong, two)
    assert all(torch.equal(tensor, before[name]) for name, tensor in two.state_dict().items())
