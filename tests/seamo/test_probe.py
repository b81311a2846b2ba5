"""The probe of a run that trains: heads against slow readings, the run untouched, the same start after a kill."""

import csv
import os
import shutil
import socket
import subprocess
import sys

import numpy as np
import pytest
import yaml
from sklearn.linear_model import Ridge
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from seamo.errors import RecipeError, StoreError, TrainingError
from seamo.files import open_files
from seamo.pretrain import figures_curves, frozen
from seamo.pretrain.describe import describe
from seamo.pretrain.journal import Journal
from seamo.pretrain.logs import read_curves
from seamo.pretrain.loop import pretrain
from seamo.pretrain.probed import read_probes
from seamo.store.reader import Store
from seamo.testing.stores import tiny_store
from seamo.use.inputs import load_pretrained
from seamo.use.pooled import Reading, embed_store
from tests.seamo.small_store import build_small_store
from tests.seamo.test_pretrain_loop import recipe_of

BANDS = "model.bands={s2: [B02, B03, B04, B08], s1: [VV, VH]}"


def blobs(n, *, seed, spread=1.6):
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, 3, n) * 2 + 1  # ids 1, 3 and 5
    centres = np.random.default_rng(1).normal(size=(6, 7))
    features = centres[classes] + spread * rng.normal(size=(n, 7))
    features[:, 6] = 4.0  # a feature that says nothing
    return features, classes


def slow_ridge(train, classes, other):
    """Every penalty, every image left out, fitted anew by another library."""
    mean, scale = train.mean(0), np.where(train.std(0) > 0, train.std(0), 1)
    x, z = (train - mean) / scale, (other - mean) / scale
    known = sorted(set(classes.tolist()))
    y = np.stack([np.where(classes == one, 1.0, 0.0) for one in known], axis=1)
    length = (x**2).sum() / len(x)
    errors = {}
    for k in range(-4, 5):
        ridge, missed = 10.0**k * length, 0.0
        for i in range(len(x)):
            rest = np.arange(len(x)) != i
            # The centre stays that of all images: it is a scaling of the features, not the intercept.
            missed += ((Ridge(alpha=ridge, solver="svd").fit(x[rest], y[rest]).predict(x[i : i + 1]) - y[i]) ** 2).sum()
        errors[ridge] = missed
    best = min(errors, key=errors.get)
    return np.array(known)[Ridge(alpha=best, solver="svd").fit(x, y).predict(z).argmax(1)]


def slow_neighbours(train, classes, other):
    mean, found = train.mean(0), []
    for one in other:
        cosines = [((a - mean) @ (one - mean)) / np.linalg.norm(a - mean) / np.linalg.norm(one - mean) for a in train]
        votes = dict.fromkeys(sorted(set(classes.tolist())), 0.0)
        for i in sorted(range(len(train)), key=lambda i: -cosines[i])[:20]:
            votes[int(classes[i])] += np.exp(cosines[i] / 0.07)
        found.append(max(votes, key=votes.get))
    return np.array(found)


@pytest.mark.parametrize(("n", "spread"), [(12, 1.6), (26, 3.0)])
def test_heads_are_what_slow_ones_are(n, spread):
    train, classes = blobs(n, seed=2, spread=spread)
    other, _ = blobs(60, seed=3, spread=spread)
    ridge = frozen.ridge_classes(train, classes, other)
    np.testing.assert_array_equal(ridge, slow_ridge(train, classes, other))
    np.testing.assert_array_equal(
        frozen.neighbour_classes(train, classes, other), slow_neighbours(train, classes, other)
    )
    assert len(set(ridge.tolist())) == 3


def test_features_that_say_nothing_give_the_largest_class():
    classes = np.array([4, 4, 2])
    assert frozen.ridge_classes(np.ones((3, 2)), classes, np.zeros((2, 2))).tolist() == [4, 4]
    assert frozen.neighbour_classes(np.ones((3, 2)), classes, np.ones((2, 2))).tolist() == [4, 4]


def test_the_interval_by_hand_and_its_coverage():
    now = np.array([True] * 14 + [False] * 6)
    then = np.array([True] * 10 + [False] * 4 + [True] * 1 + [False] * 5)
    gain, low, high = frozen.paired_interval(now, then)
    # 4 better, 1 worse of 20: (5 - 2) / 22 +- 1.96 sqrt((7/22 - (3/22)^2) / 22)
    assert gain == pytest.approx(0.15)
    assert (low, high) == (pytest.approx(0.1364 - 0.2286, abs=2e-4), pytest.approx(0.1364 + 0.2286, abs=2e-4))
    rng, inside = np.random.default_rng(0), 0
    for _ in range(2000):  # 12 % better, 4 % worse, 60 images
        drawn = rng.choice(4, size=60, p=[0.12, 0.04, 0.5, 0.34])
        _, low, high = frozen.paired_interval((drawn == 0) | (drawn == 2), (drawn == 1) | (drawn == 2))
        inside += low <= 0.08 <= high
    assert 0.935 <= inside / 2000 <= 0.985


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return build_small_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    return tiny_store(tmp_path_factory.mktemp("labelled"), samples=60)


def probed(labelled, *changes):
    probe = f"probe={{store: {labelled.path}, every: 2, samples: 20}}"
    return recipe_of(BANDS, "stage1.epochs=3", "stage2.epochs=2", probe, *changes)  # 9 + 6 steps


@pytest.fixture(scope="module")
def run(store, labelled, tmp_path_factory):
    out, seen = tmp_path_factory.mktemp("run") / "probed", set()
    read = Store.read_layer

    def spy(self, i, layer, out=None, **part):
        if self.content == labelled.content:
            seen.add(int(i))
        return read(self, i, layer, out, **part)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "read_layer", spy)
        pretrain(probed(labelled), store, out)
    assert seen
    assert not seen & set(labelled.rows("test").tolist())
    return out


def test_a_run_is_the_same_with_and_without_a_probe(run, store, tmp_path):
    pretrain(recipe_of(BANDS, "stage1.epochs=3", "stage2.epochs=2"), store, tmp_path / "run")
    for name in ("curves.csv", "final/model.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (run / name).read_bytes()
    assert not (tmp_path / "run" / "probe.csv").exists()


def test_rows_are_of_the_epochs_asked_for_and_of_each_stage_s_end(run):
    with (run / "probe.csv").open() as file:
        rows = list(csv.DictReader(file))
    # Every second epoch of three steps: 2 and 4; the stages end after 3 and 5.
    places = [(int(row["step"]), int(row["stage"]), int(row["epochs"])) for row in rows]
    assert places == [(0, 1, 0), (6, 1, 2), (9, 1, 3), (12, 2, 4), (15, 2, 5)]
    assert rows[0]["ridge_gain"] == ""
    seen = EventAccumulator(str(run / "tensorboard")).Reload()
    assert [one.step for one in seen.Scalars("probe/knn")] == [0, 6, 9, 12, 15]
    assert [one.step for one in seen.Scalars("probe/ridge_low")] == [6, 9, 12, 15]
    found = read_probes(run)
    for row, one in zip(rows[1:], found[1:], strict=True):
        for head in ("ridge", "knn"):
            now, then = one.right[head], found[0].right[head]
            assert float(row[head]) == now.mean()
            assert float(row[f"{head}_gain"]) == pytest.approx(now.mean() - then.mean())
            assert float(row[f"{head}_low"]) <= float(row[f"{head}_gain"]) <= float(row[f"{head}_high"])


def test_the_last_row_is_what_embed_and_slow_heads_say(run, labelled, tmp_path):
    """Another way to the same number: features as `seamo embed` writes them, classes as the store has them."""
    about = embed_store(load_pretrained(run, device="cpu"), labelled, Reading(statistics="store"), tmp_path / "f.npz")
    assert about["samples"] == 60
    features = np.load(tmp_path / "f.npz")["features"][:, 0].astype(np.float64)
    train, val = (labelled.rows(split, min(1.0, 20 / len(labelled.rows(split)))) for split in ("train", "val"))
    classes = np.array([labelled.read_label(int(row)) for row in (*train, *val)])
    last = read_probes(run)[-1]
    assert (last.train, len(last.right["ridge"])) == (len(train), 12)
    for head, slow in {"ridge": slow_ridge, "knn": slow_neighbours}.items():
        said = slow(features[train], classes[: len(train)], features[val])
        np.testing.assert_array_equal(last.right[head], said == classes[len(train) :])


@pytest.mark.parametrize("step", [5, pytest.param(13, marks=pytest.mark.soak)])
def test_stopped_and_gone_on_with_it_is_held_against_the_same_start(run, store, labelled, tmp_path, monkeypatch, step):
    out = tmp_path / "run"
    _until(step, monkeypatch, probed(labelled), store, out)
    pretrain(probed(labelled), store, out, resume=True)
    for name in ("curves.csv", "probe.csv", "final/model.safetensors"):
        assert (out / name).read_bytes() == (run / name).read_bytes()
    elsewhere = tmp_path / "elsewhere"  # of a run that has ended the store may have moved
    shutil.copytree(run, elsewhere)
    moved = probed(labelled, f"probe.store={tmp_path / 'moved'}")
    assert pretrain(moved, store, elsewhere, resume=True) == elsewhere / "final"


def test_a_probe_may_begin_later_and_not_be_another_one(run, store, labelled, tmp_path, monkeypatch):
    out = tmp_path / "run"
    _until(8, monkeypatch, probed(labelled, "probe.store=''"), store, out)
    _until(11, monkeypatch, probed(labelled), store, out)
    rows, whole = read_probes(out), read_probes(run)
    assert [row.step for row in rows] == [0, 9]  # the first weights follow from the seed
    for row, other in zip(rows, (whole[0], whole[2]), strict=True):
        np.testing.assert_array_equal(row.right["ridge"], other.right["ridge"])
    with pytest.raises(TrainingError, match="probed on another store, on other images of it, or otherwise"):
        pretrain(probed(labelled, "probe.samples=10"), store, out, resume=True)


def _until(step, monkeypatch, recipe, store, out):
    """Train, and lose the process in the middle of a step."""
    write = Journal.write

    def stop(self, row):
        if row.step == step:
            raise KeyboardInterrupt
        write(self, row)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "write", stop)
        with pytest.raises(KeyboardInterrupt):
            pretrain(recipe, store, out, resume=True)


def test_stores_that_cannot_be_probed_are_refused_before_there_is_a_run(store, tmp_path):
    many = tiny_store(tmp_path / "many", task="multi-label")
    with pytest.raises(RecipeError, match="is of the task multi-label, a probe needs one class a sample"):
        pretrain(probed(many), store, tmp_path / "run")
    few = tiny_store(tmp_path / "few", samples=3)
    with pytest.raises(StoreError, match="val"):
        pretrain(probed(few), store, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_no_gain_is_warned_of_at_the_end_of_a_stage(store, labelled, tmp_path, caplog):
    still = ["stage1={epochs: 2, warmup_epochs: 1}", "stage2.epochs=0", "optimiser.base_lr=1e-9"]
    pretrain(probed(labelled, *still), store, tmp_path / "run")
    assert "stage 1 shows no gain over the first weights on the probe's images" in caplog.text


def test_info_and_the_curves_show_what_the_logs_hold(run, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(figures_curves, "save_figure", lambda figure, _: drawn.append(figure))
    figures_curves.draw_curves(run, tmp_path / "x.png")
    optical, radar, probe = drawn[0].axes
    curves, rows = read_curves(run), read_probes(run)
    second = np.array(curves["stage"]) == 2
    lines = {line.get_label(): line for line in optical.lines}
    first = lines["the network"].get_ydata()  # 15 steps: a fiftieth of them is one
    np.testing.assert_allclose(first, np.array(curves["s2_t0"])[~second])
    shown = [line.get_ydata() for line in radar.lines if len(line.get_ydata()) == second.sum()]
    dates = np.mean([np.array(curves[f"s1_t{t}"])[second] for t in range(4)], axis=0)
    np.testing.assert_allclose(shown[-1], dates)
    zero = lines["zero"].get_xydata()  # measured in steps 1 and 9
    np.testing.assert_allclose(zero, [[step, np.nanmean([curves["zero.s2.0"][i] for i in (0, 8)])] for step in (1, 9)])
    ridge = next(line for line in probe.lines if line.get_label() == "ridge")
    want = [100 * (row.right["ridge"].mean() - rows[0].right["ridge"].mean()) for row in rows[1:]]
    np.testing.assert_allclose(ridge.get_ydata(), want)
    facts = describe(run)
    assert facts["probe"]["step"] == 15
    assert facts["probe"]["ridge"]["share"] == rows[-1].right["ridge"].mean()
    assert facts["learnt"]["s1"].startswith("S1: ")


@pytest.mark.soak
def test_two_ranks_and_a_bucket_probe_as_one_process_on_a_disk(run, store, labelled, tmp_path, bucket, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(probed(labelled).to_dict(), sort_keys=False))
    command = [sys.executable, "-m", "seamo.cli", "pretrain", str(recipe), "--store", str(store.path)]
    command += ["--out", str(tmp_path / "two"), "--device", "cpu"]
    ranks = []
    for rank in "01":
        around = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        ranks.append(subprocess.Popen(command, env={**os.environ, **around}, stderr=subprocess.PIPE))
    for process in ranks:
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors.decode()
    # Sums of two halves differ in their last digits; what is right of 12 images hardly does.
    for row, other in zip(read_probes(tmp_path / "two"), read_probes(run), strict=True):
        assert (row.step, row.stage, row.epochs, row.on) == (other.step, other.stage, other.epochs, other.on)
        assert abs(row.share("ridge") - other.share("ridge")) <= 1 / 12
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    _until(8, monkeypatch, probed(labelled), store, f"{bucket}/runs/probed")
    shutil.rmtree(tmp_path / "home", ignore_errors=True)  # on another machine, nothing is there
    pretrain(probed(labelled), store, f"{bucket}/runs/probed", resume=True)
    assert open_files(f"{bucket}/runs/probed").read("probe.csv") == (run / "probe.csv").read_bytes()


def test_a_cut_cell_and_rows_of_two_probes_are_refused(run, tmp_path):
    text = (run / "probe.csv").read_text()
    head, first, *others = text.splitlines(keepends=True)
    bits = first.rstrip().split(",")[-1]
    (tmp_path / "probe.csv").write_text(head + first.replace(bits, bits[:-2]) + "".join(others))
    with pytest.raises(TrainingError, match=r"line 2: is no row of a probe.*images are missing"):
        read_probes(tmp_path)
    on = first.split(",")[3]
    (tmp_path / "probe.csv").write_text(head + first.replace(on, "0" * len(on)) + "".join(others))
    with pytest.raises(TrainingError, match="rows of different probes"):
        read_probes(tmp_path)
