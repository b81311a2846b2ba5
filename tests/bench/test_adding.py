"""The guides to adding a backbone and a protocol, taken at their word: installed as an outside package and run."""

import re
import sys

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestCentroid

import seamo_bench
from seamo.errors import ProtocolError
from seamo_bench.cli import main
from seamo_bench.protocols import find_protocol
from seamo_bench.zoo import catalogue
from tests.bench.bench_store import toy_store
from tests.conftest import ROOT

BLOCK = re.compile(r"^```(python|toml)(?: title=[^\n]*)?\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks_of(page: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for kind, text in BLOCK.findall((ROOT / "docs" / page).read_text("utf-8")):
        found.setdefault(kind, text)  # the first of each kind is the whole file
    return found


@pytest.fixture
def outside(tmp_path, monkeypatch):
    backbone, protocol = blocks_of("adding_a_backbone.md"), blocks_of("adding_a_protocol.md")
    package = tmp_path / "my_models"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "rgb_conv.py").write_text(backbone["python"])
    (package / "centroid.py").write_text(protocol["python"])
    info = tmp_path / "my_models-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-models\nVersion: 1.0\n")
    points = (backbone["toml"] + protocol["toml"]).replace("project.entry-points.", "").replace('"', "")
    (info / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(tmp_path)
    catalogue.cards.cache_clear()
    yield
    catalogue.cards.cache_clear()
    for name in [one for one in sys.modules if one.partition(".")[0] == "my_models"]:
        del sys.modules[name]


@pytest.mark.usefixtures("outside")
def test_both_are_found_and_do_what_the_guides_say(tmp_path):
    assert "rgb-conv" in catalogue.cards()
    assert find_protocol("centroid").title.startswith("Nearest class centre")
    store = toy_store(tmp_path / "stores", bands=("B02", "B03", "B04"), size=32, n=30)
    backbone = seamo_bench.load_backbone("rgb-conv", store=store, size=32)
    batch = next(iter(store.loader("all", 30)))
    pooled = backbone.features(batch).pooled
    bands = [list(store.spec.layer("s2_10m").bands).index(name) for name in ("B04", "B03", "B02")]
    pixels = np.clip(batch.layers["s2_10m"].numpy()[:, 0, bands].astype(np.float64) / 10_000, 0, 1)
    blocks = pixels.reshape(len(pixels), 3, 4, 8, 4, 8)  # 4 x 4 patches of 8 x 8 pixels
    weight = backbone.network.conv.weight.detach().double().numpy()
    level = np.einsum("bcyixj,dcij->bdyx", blocks, weight).clip(min=0)
    torch.testing.assert_close(pooled.double(), torch.from_numpy(level.mean(axis=(2, 3))), atol=1e-5, rtol=1e-4)

    simple = seamo_bench.load_backbone("image-statistics", store=store)
    (result,) = seamo_bench.evaluate(simple, store, "centroid")
    train, test = store.rows("train"), store.rows("test")
    features = simple.features(batch).pooled.numpy().astype(np.float64)
    labels = np.array([store.read_label(int(row)) for row in range(len(store))])
    scaled = (features - features[train].mean(axis=0)) / features[train].std(axis=0)
    want = NearestCentroid().fit(scaled[train], labels[train]).predict(scaled[test])
    assert result.scores["top1"] == pytest.approx((want == labels[test]).mean())


@pytest.mark.usefixtures("outside")
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("from my_models.centroid import PROTOCOL, run", "calls itself 'centroid'. Module name and id must agree"),
        ("import nothing_of_that_name", "cannot be imported"),
        ("run = None", "declares no protocol"),
    ],
)
def test_one_wrong_protocol_of_others_does_not_hide_the_rest(tmp_path, monkeypatch, capsys, text, says):
    (tmp_path / "my_models" / "misnamed.py").write_text(text)
    info = tmp_path / "my_models-1.0.dist-info" / "entry_points.txt"
    info.write_text(info.read_text() + "\n[seamo.protocols]\nmisnamed = my_models.misnamed\n")
    monkeypatch.setattr(sys, "argv", ["seamo-bench", "list", "protocols"])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    said = capsys.readouterr()
    assert "left out: my_models.misnamed" in said.err
    assert says in said.err
    assert {"linear", "knn"} <= {line.split()[0] for line in said.out.splitlines()[2:]}
    with pytest.raises(ProtocolError, match=says):
        find_protocol("misnamed")
