"""Exported encoders: the same features in timm, as a plain module, in the benchmark; other bands by hand."""

import hashlib
import itertools
import json
import re
from pathlib import Path

import pytest
import timm
import torch
import yaml
from safetensors.torch import load_file
from torch.nn import functional

from seamo.errors import BandError, CheckpointError, RecipeError, UsageError
from seamo.model.checkpoint import load_model, save_model
from seamo.model.config import SeaMoConfig
from seamo.model.seamo import SeaMo
from seamo.use.bands import new_tokenizer, select_columns
from seamo.use.export import export, load_module, to_timm
from seamo.use.modelcard import model_card
from seamo.use.timmform import export_timm
from tests.seamo.small_model import model_folder, normalisation
from tests.seamo.test_cli_seamo import seamo

CONFIG = SeaMoConfig(size=32, patch=8, dim=48, depth=3, heads=4)
DOCS = Path(__file__).resolve().parents[2] / "docs" / "use.md"


def images(config, sensor, *, side, batch=2):
    return torch.rand(batch, len(config.bands[sensor]), side, side, generator=torch.Generator().manual_seed(5))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    root = tmp_path_factory.mktemp("export")
    model = model_folder(root / "model", CONFIG)
    return model, export(root / "model", root / "out", licence="CC-BY-4.0")


def test_the_folder_holds_the_encoder_and_nothing_else(exported):
    model, folder = exported
    names = ["README.md", "card.json", "checksums.json", "model.safetensors"]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert len({path.stat().st_mode for path in folder.iterdir()}) == 1  # who may read one may read the other
    names = set(load_file(folder / "model.safetensors"))
    assert names == {name for name in model.state_dict() if name.split(".")[0] in ("tokenizers", "encoder")}
    card = json.loads((folder / "card.json").read_text())
    assert card["format"] == "seamo-encoder/2"
    assert card["licence"] == "CC-BY-4.0"
    assert card["provenance"]["seed"] == 0
    assert card["normalisation"] == normalisation(CONFIG)
    # Two fifths of a model of this shape are decoders and TM block; the encoder alone must be smaller.
    whole = sum(p.numel() for p in model.parameters())
    assert (folder / "model.safetensors").stat().st_size < 4 * whole


def test_the_model_card_says_what_the_card_says(exported):
    _, folder = exported
    _, front, body = (folder / "README.md").read_text().split("---\n", 2)
    said = {"license": "cc-by-4.0", "library_name": "seamo", "tags": ["remote-sensing", *CONFIG.bands]}
    assert yaml.safe_load(front) == said
    assert "| s2 | B03 | dn | two-sigma | 1002.0 | 500.0 |" in body
    assert hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest() in body
    card = json.loads((folder / "card.json").read_text())
    terms = {"licence": "MIT; and more", "attribution": "", "redistribution": "allowed"}
    card["provenance"] = {"data": {"eurosat": terms}, "store": {"title": "EuroSAT synthetic", "synthetic": True}}
    _, front, body = model_card("mine", card).split("---\n", 2)
    assert yaml.safe_load(front)["datasets"] == ["eurosat"]
    assert "| eurosat | MIT; and more | not stated |" in body
    assert "trained on synthetic images" in body


def test_it_loads_and_encodes_as_the_whole_model(exported):
    model, folder = exported
    loaded, _ = load_model(folder)
    loaded.eval()
    both = {s: images(CONFIG, s, side=32) for s in CONFIG.sensors}
    with torch.no_grad():
        torch.testing.assert_close(loaded.encode(both), model.encode(both), rtol=0, atol=0)
        with pytest.raises(UsageError, match="has no decoders"):
            loaded({s: x[:, None].expand(-1, 4, -1, -1, -1) for s, x in both.items()})


def test_damage_and_existing_folders_are_refused(exported, tmp_path):
    _, folder = exported
    with pytest.raises(CheckpointError, match="exists already"):
        export(folder, folder)
    again = export(folder, tmp_path / "again")  # an exported folder is a model
    assert load_file(again / "model.safetensors").keys() == load_file(folder / "model.safetensors").keys()
    data = bytearray((again / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (again / "model.safetensors").write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match="another sha256"):
        to_timm(again, "s2")
    with pytest.raises(UsageError, match="has no sensor 'rgb'"):
        to_timm(folder, "rgb")
    with pytest.raises(UsageError, match="multiple of the patch"):
        to_timm(folder, "s2", size=36)


SWITCHED: dict[str, object] = {"cls_token": True, "modality_embed": True, "pos": "learned"}


@pytest.mark.parametrize(
    ("sensor", "side", "switches"),
    [
        ("s2", 56, {}),
        ("s1", 32, SWITCHED),
        *(
            pytest.param(sensor, side, switches, marks=pytest.mark.soak)
            for sensor, side, switches in itertools.product(("s2", "s1"), (32, 56), ({}, SWITCHED))
        ),
    ],
)
def test_timm_gives_the_same_features(tmp_path, sensor, side, switches):
    config = SeaMoConfig(size=32, patch=8, dim=48, depth=3, heads=4, **switches)
    model = model_folder(tmp_path / "model", config)
    vit = to_timm(export(tmp_path / "model", tmp_path / "out"), sensor, size=side)
    x = images(config, sensor, side=side)
    with torch.no_grad():
        tokens = vit.forward_features(x)[:, vit.num_prefix_tokens :]
        torch.testing.assert_close(tokens, model.encode({sensor: x}), rtol=0, atol=1e-5)
        torch.testing.assert_close(vit(x), model.pool({sensor: x}), rtol=0, atol=1e-5)


def test_the_module_says_what_it_wants(exported):
    model, folder = exported
    module = load_module(folder, "s1")
    meta = module.meta
    assert (meta.sensor, meta.bands, meta.unit, meta.in_chans) == ("s1", ("VV", "VH"), "db", 2)
    assert (meta.size, meta.patch, meta.embed_dim, meta.licence) == (32, 8, 48, "CC-BY-4.0")
    # mean 1000 (VV) and 1001 (VH), std 500: mean - 2 std -> 0, mean -> 0.5, mean + 2 std -> 1, NaN -> 0.5.
    pixels = torch.tensor([[0.0, 1000.0, 2000.0, 9000.0], [1.0, 1001.0, float("nan"), 501.0]])[:, None]
    want = torch.tensor([[0.0, 0.5, 1.0, 1.0], [0.0, 0.5, 0.5, 0.25]])[:, None]
    torch.testing.assert_close(meta.transforms(pixels), want, rtol=0, atol=1e-6)
    x = images(CONFIG, "s1", side=40)
    with torch.no_grad():
        dense = module.forward_features(x)
        tokens = model.encode({"s1": x})
        torch.testing.assert_close(module(x), model.pool({"s1": x}), rtol=0, atol=1e-5)
    assert dense.shape == (2, 48, 5, 5)
    for row in range(5):
        for column in range(5):
            torch.testing.assert_close(dense[:, :, row, column], tokens[:, 5 * row + column], rtol=0, atol=1e-5)


def test_the_lines_in_the_docs_work_without_seamo(exported, tmp_path, monkeypatch):
    model, folder = exported
    (lines,) = re.findall(r"^```python\n(# where only timm is\n.*?)^```", DOCS.read_text(), re.DOTALL | re.MULTILINE)
    assert "import seamo" not in lines
    monkeypatch.chdir(tmp_path)
    seamo("export", folder, "-o", "vit-s2", "--timm", "s2")
    alone = {}
    exec(lines, alone)  # noqa: S102 - our own documentation
    x = images(CONFIG, "s2", side=32)
    with torch.no_grad():
        torch.testing.assert_close(alone["vit"](x), model.pool({"s2": x}), rtol=0, atol=1e-5)
        more = timm.create_model("local-dir:vit-s2", pretrained=True, num_classes=3, img_size=48).eval()
        assert more(images(CONFIG, "s2", side=48)).shape == (len(x), 3)
    told, card = alone["config"], json.loads((folder / "card.json").read_text())
    assert tuple(told["bands"]) == CONFIG.bands["s2"]
    pixels = torch.full((1, len(told["bands"]), 1, 1), 1234.0)
    by_hand = pixels.clone()
    for step in told["steps"]:
        a, b = (torch.tensor(step[name]).reshape(1, -1, 1, 1) for name in ("a", "b"))
        assert step["op"] in ("affine", "clip")
        by_hand = (by_hand - a) / b if step["op"] == "affine" else by_hand.clip(a, b)
    torch.testing.assert_close(by_hand, load_module(folder, "s2").meta.transforms(pixels), rtol=0, atol=1e-6)
    assert told["unit"] == card["normalisation"]["s2"]["unit"]
    assert list(alone["vit"].pretrained_cfg["mean"]) == told["steps"][0]["a"]
    with pytest.raises(CheckpointError, match="exists already"):
        export_timm(folder, "s2", tmp_path / "vit-s2")
    with pytest.raises(UsageError, match="no sensor 'rgb'"):
        export_timm(folder, "rgb", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_the_benchmark_loads_it(exported):
    from seamo_bench.backbones.seamo import card_of, load

    model, folder = exported
    card = card_of(f"{folder}@pretrain")
    network = load(card, Path(card.weights.filename), 0)
    both = {s: images(CONFIG, s, side=32) for s in CONFIG.sensors}
    with torch.no_grad():
        features = network.forward_features(both)
        torch.testing.assert_close(features.pooled, model.pool(both), rtol=0, atol=1e-5)
    assert [tuple(level.shape) for level in features.levels] == [(2, 48, 4, 4)] * 3


def test_selected_columns_are_a_convolution_over_the_chosen_bands():
    model = SeaMo(CONFIG, generator=torch.Generator().manual_seed(1)).eval()
    chosen = ("B08", "B04", "B02")  # another order than the model's
    small = select_columns(model, {"s2": chosen})
    assert small.config.bands == {"s2": chosen}
    assert (small.config.strategy, small.config.temporal, small.fusion) == ("unimodal", False, None)
    x = images(CONFIG, "s2", side=32)
    at = [CONFIG.bands["s2"].index(name) for name in chosen]
    kernel = model.tokenizers["s2"].weight.view(48, 12, 8, 8)
    want = functional.conv2d(x[:, at], kernel[:, at], model.tokenizers["s2"].bias, stride=8).flatten(2).transpose(1, 2)
    from seamo.model.tokenizer import patchify

    got = small.tokenizers["s2"](patchify(x[:, None, at], 8)[:, 0])
    torch.testing.assert_close(got, want, rtol=0, atol=1e-5)
    # Zero pixels in the left-out bands give the whole model the same tokens.
    zeroed = torch.zeros_like(x)
    zeroed[:, at] = x[:, at]
    with torch.no_grad():
        torch.testing.assert_close(small.encode({"s2": x[:, at]}), model.encode({"s2": zeroed}), rtol=0, atol=1e-5)
    # The decoder predicts the same numbers for the bands that are left.
    tokens, kept = torch.rand(2, 16, 48), torch.arange(16).expand(2, -1)
    with torch.no_grad():
        whole = model.decoders["s2"](tokens, kept).view(2, 16, 12, 64)[:, :, at]
        torch.testing.assert_close(small.decoders["s2"](tokens, kept).view(2, 16, 3, 64), whole, rtol=0, atol=1e-5)
    assert model.config == CONFIG
    assert model.tokenizers["s2"].weight.shape == (48, 12 * 64)


def test_both_sensors_may_stay():
    model = SeaMo(CONFIG, generator=torch.Generator().manual_seed(1)).eval()
    small = select_columns(model, {"s2": ["B02", "B03"], "s1": ["VV", "VH"]})
    assert small.config.strategy == "multimodal"
    assert torch.equal(small.tokenizers["s1"].weight, model.tokenizers["s1"].weight)


def test_a_new_tokenizer_keeps_the_encoder_only(tmp_path):
    model = SeaMo(CONFIG, generator=torch.Generator().manual_seed(1)).eval()
    made = new_tokenizer(model, {"rgb": ["R", "G", "B"]}, torch.Generator().manual_seed(2))
    again = new_tokenizer(model, {"rgb": ["R", "G", "B"]}, torch.Generator().manual_seed(2))
    for name, tensor in model.encoder.state_dict().items():
        assert torch.equal(made.encoder.state_dict()[name], tensor)
    weight = made.tokenizers["rgb"].weight
    assert weight.shape == (48, 3 * 64)
    assert torch.equal(weight, again.tokenizers["rgb"].weight)
    # Xavier: uniform in +- sqrt(6 / (192 + 48)), so its standard deviation is that over sqrt(3).
    assert weight.std().item() == pytest.approx((6 / 240) ** 0.5 / 3**0.5, rel=0.05)
    assert weight.abs().max().item() <= (6 / 240) ** 0.5
    assert made.encode({"rgb": torch.rand(1, 3, 24, 24)}).shape == (1, 9, 48)
    # It is a model like any other, and is saved as one.
    save_model(tmp_path / "m", made, {"normalisation": normalisation(made.config), "provenance": {}})
    assert load_model(tmp_path / "m")[0].config == made.config


def test_an_exported_encoder_takes_other_bands_too(exported):
    model, folder = exported
    encoder = load_model(folder)[0].eval()
    x = images(CONFIG, "s2", side=32)[:, [3, 2]]
    with torch.no_grad():
        want = select_columns(model, {"s2": ["B04", "B03"]}).encode({"s2": x})
        torch.testing.assert_close(select_columns(encoder, {"s2": ["B04", "B03"]}).encode({"s2": x}), want)
    made = new_tokenizer(encoder, {"rgb": ["R", "G", "B"]}, torch.Generator().manual_seed(2))
    assert not len(made.decoders)
    assert torch.equal(made.encoder.blocks[0].mlp.fc1.weight, model.encoder.blocks[0].mlp.fc1.weight)


def test_a_sensor_with_its_own_bands_keeps_its_tokenizer():
    model = SeaMo(CONFIG, generator=torch.Generator().manual_seed(1)).eval()
    ten = [name for name in CONFIG.bands["s2"] if name not in ("B01", "B09")]
    made = new_tokenizer(model, {"s2": ten, "s1": ["VV", "VH"]}, torch.Generator().manual_seed(2))
    assert torch.equal(made.tokenizers["s1"].weight, model.tokenizers["s1"].weight)
    columns = model.tokenizers["s2"].weight.view(48, 12, 64)[:, [1, *range(2, 9), 10, 11]].flatten(1)
    assert made.tokenizers["s2"].weight.shape == columns.shape
    assert (made.tokenizers["s2"].weight - columns).abs().mean() > 0.01


def test_wrong_bands_are_named():
    model = SeaMo(CONFIG)
    with pytest.raises(BandError, match="needs B10"):
        select_columns(model, {"s2": ["B02", "B10"]})
    with pytest.raises(BandError, match="no sensor rgb"):
        select_columns(model, {"rgb": ["R"]})
    with pytest.raises(BandError, match="no sensor named"):
        select_columns(model, {})
    with pytest.raises(BandError, match="no band 'B99'"):
        new_tokenizer(model, {"s2": ["B99"]}, torch.Generator())
    with pytest.raises(RecipeError, match="joins two sensors"):
        new_tokenizer(model, {"s2": ["B02"], "s1": ["VV"], "rgb": ["R"]}, torch.Generator())


def test_the_data_s_licence_goes_along(tmp_path):
    made = {"data": {"lakes": {"licence": "CC-BY-4.0", "attribution": "Lakes by A.", "redistribution": "allowed"}}}
    card = {"normalisation": normalisation(CONFIG), "provenance": made}
    save_model(tmp_path / "model", SeaMo(CONFIG), card)
    done = seamo("export", tmp_path / "model", "-o", tmp_path / "out")
    assert "trained on lakes, licence: CC-BY-4.0; attribution: Lakes by A." in done.stderr
    assert json.loads((tmp_path / "out" / "card.json").read_text())["provenance"] == made
    assert load_module(tmp_path / "out", "s2").meta.provenance == made
    del made["data"]["lakes"]["attribution"]
    with pytest.raises(CheckpointError, match=r"provenance\.data\.lakes does not say licence, attribution"):
        save_model(tmp_path / "other", SeaMo(CONFIG), card)


def test_the_command(exported, tmp_path):
    _, folder = exported
    done = seamo("export", folder, "-o", tmp_path / "out", "--licence", "MIT")
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'out'}\n")
    assert json.loads((tmp_path / "out" / "card.json").read_text())["licence"] == "MIT"
    assert "tokenizers and encoder" in seamo("info", tmp_path / "out").stdout
    assert seamo("export", folder, "-o", tmp_path / "out").returncode == 1
    assert seamo("export", tmp_path, "-o", tmp_path / "new").returncode == 2
