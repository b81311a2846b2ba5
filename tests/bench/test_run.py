"""Plans and runs: keys, blanks, failures, resume after kills, caches, and backbones of other packages."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import seamo_bench
from seamo.errors import ProtocolError, UsageError
from seamo.store.reader import open_store
from seamo_bench.backbones import seamo as seamo_family
from seamo_bench.cli.plan_view import listing
from seamo_bench.protocols import find_protocol
from seamo_bench.records.record import read_records
from seamo_bench.runs.plan import Places, make_plan
from seamo_bench.runs.run import Machine, run_plan
from seamo_bench.suites import suites
from seamo_bench.suites.suite import load_suite
from seamo_bench.zoo import catalogue
from tests.bench.bench_store import toy_store

torch.set_num_threads(1)
ROOT = Path(__file__).resolve().parents[2]
SUITE = """
id: small
rows:
  - {store: toy, protocol: knn}
  - {store: toy, protocol: logreg, split: cv5x5}
  - {store: toy, protocol: linear, fraction: 0.5, params: {steps: 3}}
  - {store: toy, protocol: finetune, size: 32, seeds: 2,
     params: {epochs: 1, warmup: 0, batch: 16, base_lrs: [0.01], layer_decay: 1.0}}
  - {store: eurosat, protocol: knn}
"""
BACKBONES = ("image-statistics", "resnet18")
BANDS = '"s2:B02+B03"'  # no red, which the network below is made for


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    root = tmp_path_factory.mktemp("stores")
    toy_store(root)
    return root


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    path = tmp_path_factory.mktemp("suite") / "small.yaml"
    path.write_text(SUITE)
    return str(path)


def quiet(done, total, what):
    del done, total, what


def run(suite, places, backbones=BACKBONES, budget="full", **machine):
    cells = make_plan(load_suite(suite), backbones, places, budget)
    return list(run_plan(cells, places, machine=Machine(**machine), progress=quiet, inner=quiet))


def same(folder):
    """Name -> content of every record and prediction, without cost and environment."""
    found = {}
    for path in sorted(folder.iterdir()):
        if path.suffix == ".json":
            plain = json.loads(path.read_text())
            found[path.name] = json.dumps({key: plain[key] for key in plain if key not in ("cost", "environment")})
        elif path.suffix == ".npz":
            found[path.name] = path.read_bytes()
    return found


@pytest.fixture(scope="module")
def results(tmp_path_factory, stores, suite):
    folder = tmp_path_factory.mktemp("results")
    run(suite, Places(stores, folder, folder / "weights"))
    return folder


def test_every_cell_is_a_record(results, stores):
    records = read_records(results).records
    by_status = {}
    for record in records:
        by_status.setdefault(record.status, []).append(record)
    assert set(by_status) == {"ok", "impossible"}
    ok = {(r.facts.backbone.id, r.facts.protocol.id, r.facts.seed) for r in by_status["ok"]}
    assert ok == {
        ("image-statistics", "knn", 0),
        ("image-statistics", "logreg", 0),
        *(("image-statistics", "linear", seed) for seed in range(3)),
        *(("resnet18", "finetune", seed) for seed in range(2)),
    }
    reasons = {
        (r.facts.backbone.id, r.facts.stores[0].id, r.facts.protocol.id): r.reason for r in by_status["impossible"]
    }
    assert "nothing to train" in reasons["image-statistics", "toy", "finetune"]
    assert "no store of eurosat" in reasons["resnet18", "eurosat", "knn"]
    assert not any(str(stores) in path.read_text() for path in results.glob("*.json"))


def test_a_blank_of_one_row_stands_beside_what_another_row_ran(stores, tmp_path):
    """The key of a blank says no policy for missing bands, and a cell that runs removes the blank that it was."""
    suite = tmp_path / "two.yaml"
    rows = [f"{{store: toy, protocol: knn, inputs: [{BANDS}], missing: {policy}}}" for policy in ("null", "zero")]
    suite.write_text("id: two\nrows:\n" + "".join(f"  - {row}\n" for row in rows))
    places = Places(stores, tmp_path / "results", tmp_path / "weights")
    for _ in range(2):  # and so it stays
        run(str(suite), places, ("timm:test_vit@random",))
        found = {record.status: record for record in read_records(places.results).records}
        assert set(found) == {"ok", "impossible"}
        assert "Choose a missing-band policy" in found["impossible"].reason


def test_what_is_done_is_skipped(results, stores, suite):
    before = {path: path.stat().st_mtime_ns for path in results.glob("*.npz")}
    written = run(suite, Places(stores, results, results / "weights"))
    assert {record.status for record in written} == {"impossible"}
    assert before == {path: path.stat().st_mtime_ns for path in results.glob("*.npz")}
    rows = listing(make_plan(load_suite(suite), BACKBONES, Places(stores, results, results / "weights")))
    assert {row["status"] for row in rows} == {"done", "impossible"}


def test_keys_ignore_the_machine_and_nothing_else(tmp_path, results, stores, suite):
    places = Places(stores, tmp_path, tmp_path / "weights")
    run(suite, places, ("image-statistics",), batch_size=7, workers=1)
    ours = {r.key for r in read_records(tmp_path).records}
    theirs = {r.key for r in read_records(results).records if r.facts.backbone.id == "image-statistics"}
    assert ours == theirs
    cells = make_plan(load_suite(suite), ("image-statistics",), places, "demo")
    demo = {key for row in listing(cells) for key in row["keys"]}
    assert not demo & ours


def test_fraction_takes_another_half_for_each_seed(results):
    linear = [r for r in read_records(results).records if r.facts.protocol.id == "linear" and r.status == "ok"]
    assert len({r.facts.split.lists["train"] for r in linear}) == 3
    assert len({r.facts.split.lists["test"] for r in linear}) == 1
    assert sorted(r.facts.split.salt for r in linear) == [0, 1, 2]


KILLED = """
import sys, torch
from pathlib import Path
from seamo_bench.runs.plan import Places, make_plan
from seamo_bench.runs.run import Machine, run_plan
from seamo_bench.suites.suite import load_suite
torch.set_num_threads(1)
def quiet(done, total, what):
    pass
suite, stores, results = sys.argv[1:]
places = Places(Path(stores), Path(results), Path(results) / "weights")
print("planned", flush=True)
cells = make_plan(load_suite(suite), ("image-statistics", "resnet18"), places)
for record in run_plan(cells, places, machine=Machine(), progress=quiet, inner=quiet):
    print(record.key, flush=True)
"""


def kill_at(moments, suite, stores, folder):
    command = [sys.executable, "-c", KILLED, suite, str(stores), str(folder)]
    for moment in moments:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)
        child.stdout.readline()
        time.sleep(moment)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)


@pytest.mark.soak
def test_killed_and_started_again_gives_the_same_records(tmp_path, results, stores, suite):
    kill_at([0.3, 1.2], suite, stores, tmp_path)
    assert same(tmp_path) == same(results)


@pytest.mark.soak
def test_killed_at_ten_moments(tmp_path, results, stores, suite):
    moments = np.random.default_rng(0).uniform(0.0, 6.0, 10)
    kill_at(moments, suite, stores, tmp_path)
    assert same(tmp_path) == same(results)


OUTSIDE = """
from seamo.bands import Unit
from seamo_bench.card import BackboneCard, InputSpec

def card(name):
    spec = InputSpec("s2", ("B02", "B03"), Unit.DN, (), "raw")
    return BackboneCard(name, "outside", name, (spec,), embed_dim=2, size=0, multiple_of=1, code_licence="MIT",
                        source="a test", availability="none needed", trainable=False)

CARDS = (card("outside-mean"), card("outside-broken"))

def load(card, weights, seed):
    from seamo_bench.network import Features, Network
    class Mean(Network):
        def forward_features(self, inputs):
            if card.id == "outside-broken":
                raise KeyError("a bug of somebody else")
            return Features(inputs["s2"].mean(dim=(2, 3)))
    return Mean()
"""


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A distribution of somebody else, with a backbone family behind an entry point."""
    (tmp_path / "outside_family.py").write_text(OUTSIDE)
    info = tmp_path / "outside-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[seamo.backbones]\noutside = outside_family\n")
    monkeypatch.syspath_prepend(tmp_path)
    catalogue.cards.cache_clear()
    yield
    catalogue.cards.cache_clear()
    sys.modules.pop("outside_family", None)


@pytest.mark.usefixtures("outside")
def test_another_package_adds_a_backbone_and_a_broken_one_stops_nothing(tmp_path, stores, suite):
    places = Places(stores, tmp_path / "results", tmp_path / "weights")
    written = run(suite, places, ("outside-broken", "outside-mean"))
    status = {(r.facts.backbone.id, r.facts.protocol.id, r.facts.stores[0].id): r.status for r in written}
    assert status["outside-broken", "knn", "toy"] == "failed"
    assert status["outside-mean", "knn", "toy"] == "ok"
    failed = next(r for r in written if r.status == "failed")
    assert "a bug of somebody else" in failed.reason
    assert any(flag.kind == "unverified-card" for flag in failed.flags)
    again = run(suite, places, ("outside-broken",))
    assert {r.status for r in again} == {"failed", "impossible"}  # a failure is tried again


def test_a_seamo_run_is_a_backbone(tmp_path, stores, monkeypatch):
    from seamo.model.checkpoint import save_model
    from seamo.model.config import FusionConfig, SeaMoConfig
    from seamo.model.seamo import SeaMo

    bands = {"s2": ("B02", "B03", "B04", "B08"), "s1": ("VV", "VH")}
    tiny = FusionConfig(mode="none")
    config = SeaMoConfig(bands=bands, size=16, patch=8, dim=16, depth=2, heads=2, temporal=False, tm=tiny)
    model = SeaMo(config, generator=torch.Generator().manual_seed(0))
    numbers = {
        sensor: {
            "kind": "two-sigma",
            "unit": "dn" if sensor == "s2" else "db",
            "mean": dict.fromkeys(names, 1400.0),
            "std": dict.fromkeys(names, 400.0),
            "source": "typed in by a test",
            "eight_bit": False,
        }
        for sensor, names in bands.items()
    }
    made = {"seed": 3, "pretrained_on": "toy", "products": {"s2": ["L2A"], "s1": ["GRD"]}}
    save_model(tmp_path / "night-seed3" / "final", model, {"normalisation": numbers, "provenance": made})
    store = open_store(stores / "toy")
    batch = next(iter(store.loader("test", 4)))
    run_name = str(tmp_path / "night-seed3")
    card = seamo_family.card_of(run_name)
    assert (card.pretrained_on, card.inputs[0].product) == (("toy",), "L2A")
    assert (card.id, dict(card.variant)) == ("night-seed3", {"group": "night", "pretraining_seed": 3})

    monkeypatch.chdir(tmp_path)  # a run named by a relative path is not looked for among downloaded weights
    assert seamo_family.card_of("night-seed3").weights.filename == card.weights.filename

    own = seamo_bench.load_backbone(f"{run_name}@pretrain", store=store)
    x = (batch.layers["s2_10m"][:, 0].float() - 600.0) / 1600.0  # mean - 2 std .. mean + 2 std
    bands = [[Image.fromarray(band).resize((16, 16), Image.Resampling.BICUBIC) for band in one] for one in x.numpy()]
    x = torch.tensor(np.array([[np.asarray(band) for band in one] for one in bands])).clamp(0, 1)  # as its crops
    torch.testing.assert_close(own.features(batch).pooled, model.eval().pool({"s2": x}), rtol=1e-4, atol=1e-4)
    assert [tuple(level.shape) for level in own.features(batch).levels] == [(4, 16, 2, 2)] * 2

    random = [seamo_bench.load_backbone(f"{run_name}@random:{seed}", store=store) for seed in (0, 0, 1)]
    first, again, other = (one.features(batch).pooled for one in random)
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
    both = seamo_family.card_of(f"{run_name}@pretrain+random:1")
    assert both.inputs == seamo_family.card_of(f"{run_name}@pretrain").inputs
    assert both.weights is None
    names = [dict(seamo_family.card_of(run_name + how).variant)["group"] for how in ("", "@pretrain", "@random:1")]
    assert [*names, dict(both.variant)["group"]] == [
        "night",
        "night-pretrain-statistics",
        "night-random",
        "night-pretrain-statistics-random",
    ]
    tiled = seamo_family.card_of(f"{run_name}@pretrain+tiles+std+random:1")
    assert (tiled.id, tiled.size, tiled.multiple_of) == (
        "night-seed3-pretrain-statistics-tiles-mean-std-random-1",
        0,
        16,
    )
    assert tiled.embed_dim == 2 * both.embed_dim
    assert dict(tiled.variant)["group"] == "night-pretrain-statistics-tiles-mean-std-random"
    with pytest.raises(UsageError, match="8 x 8 pixels are not made of tiles of 16"):
        seamo_bench.load_backbone(f"{run_name}@pretrain+tiles", store=store).features(batch)
    with pytest.raises(UsageError, match="neither pretrain, tiles, std nor random"):
        seamo_family.card_of(f"{run_name}@imagenet")


def test_tiles_are_looked_at_one_by_one_and_std_says_how_tokens_vary():
    from seamo.model.config import FusionConfig, SeaMoConfig
    from seamo.model.seamo import SeaMo
    from seamo_bench.networks.seamo import SeaMoNetwork

    bands = {"s2": ("B02", "B03"), "s1": ("VV",)}
    config = SeaMoConfig(
        bands=bands, size=16, patch=8, dim=16, depth=2, heads=2, temporal=False, tm=FusionConfig(mode="none")
    )
    model = SeaMo(config, generator=torch.Generator().manual_seed(0)).eval()
    network = SeaMoNetwork(model, bands, num_levels=2, tiled=True, spread=True).eval()
    images = {"s2": torch.rand(2, 2, 32, 48), "s1": torch.rand(2, 1, 32, 48)}
    whole = SeaMoNetwork(model, bands, num_levels=2).eval()
    with torch.no_grad():
        found = network.forward_features(images)
        tiles = [
            [{s: one[..., r : r + 16, c : c + 16] for s, one in images.items()} for c in (0, 16, 32)] for r in (0, 16)
        ]
        each = [[whole.forward_features(tile) for tile in row] for row in tiles]
        tokens = [model.encoder.norm(model.encode_levels(tile, (1,))[-1]) for row in tiles for tile in row]
    mean = torch.stack([one.pooled for row in each for one in row]).mean(dim=0)
    std = torch.from_numpy(torch.cat(tokens, dim=1).numpy().std(axis=1))
    torch.testing.assert_close(found.pooled, torch.cat([mean, std], dim=1), rtol=1e-4, atol=1e-5)
    for level, mine in enumerate(found.levels):
        rows = [torch.cat([one.levels[level] for one in row], dim=3) for row in each]
        torch.testing.assert_close(mine, torch.cat(rows, dim=2), rtol=1e-4, atol=1e-5)


def test_columns_of_missing_bands_are_cut_out_of_the_tokenizer():
    from seamo.model.config import FusionConfig, SeaMoConfig
    from seamo.model.seamo import SeaMo
    from seamo_bench.networks.seamo import SeaMoNetwork

    config = SeaMoConfig(
        bands={"s2": ("B02", "B03", "B04"), "s1": ("VV",)},
        size=16, patch=8, dim=16, depth=1, heads=2, temporal=False, tm=FusionConfig(mode="none"),
    )  # fmt: skip
    model = SeaMo(config, generator=torch.Generator().manual_seed(0)).eval()
    x = torch.rand(2, 2, 16, 16)
    with_zero = torch.stack([x[:, 0], torch.zeros(2, 16, 16), x[:, 1]], dim=1)
    with torch.no_grad():
        want = model.pool({"s2": with_zero})  # zero times a column = no column
        got = SeaMoNetwork(model, {"s2": ("B02", "B04")}, num_levels=1).forward_features({"s2": x}).pooled
    torch.testing.assert_close(got, want)


def test_wrong_suites_say_what_is_wrong(tmp_path):
    path = tmp_path / "bad.yaml"
    for text, message in (
        ("id: x\nrows: [{store: toy, protcol: knn}]", "protcol|protocol"),
        ("id: x\nrows: []", "rows"),
        ("[", "not YAML"),
    ):
        path.write_text(text)
        with pytest.raises(ProtocolError, match=message):
            load_suite(str(path))
    path.write_text("id: x\nrows: [{store: toy, protocol: knn, params: {kk: 3}}]")
    with pytest.raises(ProtocolError, match="no parameter 'kk'"):
        make_plan(load_suite(str(path)), ("image-statistics",), Places(tmp_path, tmp_path, tmp_path))
    with pytest.raises(UsageError, match=r"no backbone 'image-statistic'.*Did you mean image-statistics"):
        catalogue.find_card("image-statistic")
    with pytest.raises(UsageError, match=r"no suite.*Did you mean uniform"):
        load_suite("unifrom")


@pytest.mark.parametrize("name", sorted(suites()))
def test_shipped_suites_are_valid(name):
    from seamo_bench.suites.suite import protocol_params

    for row in load_suite(name).rows:
        protocol_params(find_protocol(row.protocol), row, "full")
