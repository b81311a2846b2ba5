"""The training loop: the same curve on any number of ranks, in any micro-batches, through any kill."""

import csv
import json
import logging
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from seamo.errors import RecipeError, StoreError, TrainingError, UsageError
from seamo.model.checkpoint import load_model
from seamo.model.flops import pretraining_flops
from seamo.pretrain import inputs
from seamo.pretrain.checkpoint import TrainingProgress, checkpoints, latest_checkpoint, save_checkpoint
from seamo.pretrain.logs import read_curves
from seamo.pretrain.loop import pretrain
from seamo.pretrain.optimise import Schedule
from seamo.pretrain.recipe import apply_changes, parse_recipe
from seamo.store.reader import Store
from tests.seamo.small_store import build_small_store

RECIPE = {
    "name": "test",
    "seed": 3,
    "model": {
        "size": 16,
        "patch": 4,
        "dim": 32,
        "depth": 2,
        "heads": 4,
        "decoder": {"depth": 1, "width": 32, "heads": 4},
    },
    "data": {"stacks": {"s2": "s2a", "s1": "s1"}, "statistics": {"s2": "store", "s1": "store"}},
    "stage1": {"epochs": 3, "warmup_epochs": 1},
    "stage2": {"epochs": 5, "warmup_epochs": 1},
    "optimiser": {"batch": 8, "base_lr": 0.05},
    "compute": {"precision": "fp32"},
    "machine": {"micro_batch": 8, "threads": 1, "checkpoint_every": 2, "workers": 1},
}
STEPS = 24  # 24 places / 8 = 3 steps an epoch, 3 + 5 epochs


def recipe_of(*changes):
    return parse_recipe(apply_changes(RECIPE, changes), "test")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return build_small_store(tmp_path_factory.mktemp("store"), absent=(3, 7))


@pytest.fixture(scope="module")
def undisturbed(store, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "undisturbed"
    pretrain(recipe_of(), store, out)
    return out


def start(store, out, *changes, **environment):
    """The same run as its own process."""
    recipe = out.with_suffix(".yaml")
    recipe.write_text(yaml.safe_dump(RECIPE))
    command = [sys.executable, "-m", "seamo.cli", "pretrain", str(recipe), "--store", str(store.path)]
    command += ["--out", str(out), "--resume", *(part for one in changes for part in ("--set", one))]
    return subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for_step(out, step):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if (out / "curves.csv").is_file() and (out / "curves.csv").read_text().count("\n") > step:
            return
        time.sleep(0.005)
    raise AssertionError(f"step {step} was not reached")


def test_a_run_learns_and_its_folder_says_everything(undisturbed, store):
    curves = read_curves(undisturbed)
    assert curves["step"] == list(range(1, STEPS + 1))
    assert curves["stage"] == [1.0] * 9 + [2.0] * 15
    assert curves["loss"][8] < 0.9 * curves["loss"][0]
    # A loss is the sum of its terms: two images in stage 1, eight in stage 2.
    terms = [name for name in curves if "_t" in name]
    assert terms == [f"{sensor}_t{t}" for t in range(4) for sensor in ("s2", "s1")]
    for i in (0, STEPS - 1):
        assert curves["loss"][i] == pytest.approx(np.nansum([curves[name][i] for name in terms]), rel=1e-6)
    assert np.isnan(curves["s2_t1"][0])
    # 24 places, two of which lack two dates of two sensors: 24 * 8 - 8 images an epoch, counted by hand.
    assert sum(curves["images"][9:12]) == 184
    assert sum(curves["images"][:3]) == 48
    facts = json.loads((undisturbed / "run.json").read_text())
    assert facts["store"]["content"] == store.content
    around = json.loads((undisturbed / "environment.json").read_text())
    assert around["packages"]["numpy"] == np.__version__
    host = os.uname().nodename
    for path in undisturbed.rglob("*"):  # neither in a name nor in a file
        assert host not in path.name
        assert path.suffix not in (".json", ".yaml", ".csv") or host not in path.read_text()
    assert not list(undisturbed.rglob(".*"))
    assert parse_recipe(yaml.safe_load((undisturbed / "recipe.yaml").read_text()), "run") == recipe_of()
    model, card = load_model(undisturbed / "final")
    assert model.config.temporal
    assert card["provenance"]["store"] == {"title": store.title, "content": store.content, "synthetic": True}
    assert card["provenance"]["data"][store.spec.id] == {
        "licence": store.spec.licence,
        "attribution": store.spec.attribution,
        "redistribution": store.spec.redistribution,
    }
    seen = EventAccumulator(str(undisturbed / "tensorboard")).Reload()  # TensorBoard's own reader
    assert [one.step for one in seen.Scalars("loss/total")] == list(range(1, STEPS + 1))
    np.testing.assert_allclose([one.value for one in seen.Scalars("loss/total")], curves["loss"], rtol=1e-6)
    assert len(seen.Scalars("loss/s2_t1")) == 15  # of stage 2 alone
    assert [one.step for one in seen.Scalars("yardsticks/mean.s2.0")] == [1, 9, 11, 21, 24]


def test_stage_two_starts_from_stage_one(undisturbed):
    # Stage 1's last checkpoint (step 9) is the best of its stage or among the last: its encoder goes on in stage 2,
    # so the first loss of stage 2 per image is far below that of an untrained model.
    curves = read_curves(undisturbed)
    assert curves["s1_t0"][9] < 0.95 * curves["s1_t0"][0]


def test_schedule_by_hand():
    schedule = Schedule(peak=1.0, warmup=4, total=12)
    assert [schedule(i) for i in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert schedule(4) == 1.0
    assert schedule(8) == pytest.approx(0.5)  # half of the cosine
    assert schedule(12) == pytest.approx(0.0)


def test_micro_batches_do_not_change_the_numbers(store, tmp_path):
    pretrain(recipe_of("machine.micro_batch=3", "stage2.epochs=2"), store, tmp_path / "run")  # 2 a time: 4 parts
    pretrain(recipe_of("stage2.epochs=2"), store, tmp_path / "whole")
    split, whole = read_curves(tmp_path / "run")["loss"], read_curves(tmp_path / "whole")["loss"]
    np.testing.assert_allclose(split, whole, rtol=2e-5)


def test_two_ranks_equal_one(undisturbed, store, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    ranks = [
        start(store, tmp_path / "run", RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2",
              MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
        for rank in range(2)
    ]  # fmt: skip
    for process in ranks:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()
    one, two = read_curves(undisturbed), read_curves(tmp_path / "run")
    assert len(two["loss"]) == STEPS
    for name in ("loss", "s2_t0", "s1_t0"):
        np.testing.assert_allclose(two[name][:20], one[name][:20], rtol=1e-5)
    assert two["images"] == one["images"]
    for name in ("mean.s1.0", "nearest.s2.0", "oracle.s2.3"):  # of all ranks' patches, as the loss
        np.testing.assert_allclose(two[name], one[name], rtol=1e-9)


def _kill_and_resume(store, out, undisturbed, kills):
    for step in kills:
        process = start(store, out)
        wait_for_step(out, step)
        time.sleep(random.uniform(0, 0.08))  # noqa: S311 - anywhere within a step or a checkpoint
        process.kill()
        process.communicate()
    process = start(store, out)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors.decode()
    assert (out / "curves.csv").read_bytes() == (undisturbed / "curves.csv").read_bytes()
    final = Path("final") / "model.safetensors"
    assert (out / final).read_bytes() == (undisturbed / final).read_bytes()
    assert not list(out.rglob(".*"))  # no litter


@pytest.mark.soak
def test_killed_anywhere_it_resumes_to_the_same_curve(undisturbed, store, tmp_path):
    _kill_and_resume(store, tmp_path / "run", undisturbed, kills=(5, 13))


@pytest.mark.soak
def test_killed_ten_times(undisturbed, store, tmp_path):
    _kill_and_resume(store, tmp_path / "run", undisturbed, kills=(1, 3, 6, 8, 9, 10, 14, 17, 20, 22))


def test_a_signal_stops_it_with_a_checkpoint(undisturbed, store, tmp_path):
    out = tmp_path / "run"
    process = start(store, out, "machine.checkpoint_every=1000")
    wait_for_step(out, 11)
    process.send_signal(signal.SIGUSR1)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 75, errors.decode()
    assert b"--resume" in errors
    stopped = latest_checkpoint(out / "checkpoints").progress.step
    assert 11 <= stopped < STEPS
    assert read_curves(out)["step"][-1] == stopped
    pretrain(recipe_of(), store, out, resume=True)
    assert (out / "curves.csv").read_bytes() == (undisturbed / "curves.csv").read_bytes()


def test_a_damaged_checkpoint_is_passed_over(undisturbed, store, tmp_path, caplog):
    out = tmp_path / "run"
    pretrain(recipe_of(), store, out)
    newest = checkpoints(out / "checkpoints")[-1]
    data = bytearray((newest / "model.safetensors").read_bytes())
    data[-3] ^= 1
    (newest / "model.safetensors").write_bytes(data)
    for file in (out / "final").iterdir():
        file.unlink()
    (out / "final").rmdir()
    with caplog.at_level(logging.WARNING):
        pretrain(recipe_of(), store, out, resume=True)
    assert f"{newest} is damaged (model.safetensors has another sha256 than its manifest says)" in caplog.text
    assert (out / "curves.csv").read_bytes() == (undisturbed / "curves.csv").read_bytes()


def test_a_loss_that_is_not_finite_stops_with_the_last_good_checkpoint(store, tmp_path):
    # The warm-up's first steps are harmless; then the learning rate explodes the weights.
    recipe = recipe_of("optimiser.base_lr=1e30", "machine.checkpoint_every=1")
    with pytest.raises(TrainingError, match=r"loss of step \d+ is not finite .*last good checkpoint is .*step-0000000"):
        pretrain(recipe, store, tmp_path / "run")
    model, _ = load_model(checkpoints(tmp_path / "run" / "checkpoints")[-1])
    assert all(bool(parameter.isfinite().all()) for parameter in model.parameters())


def test_weights_that_are_not_finite_are_no_checkpoint(store, tmp_path):
    # A learning rate beyond float32: the loss of step 1 is that of the first weights, those after it are infinite.
    recipe = recipe_of("optimiser.base_lr=1e42", "machine.checkpoint_every=1")
    with pytest.raises(TrainingError, match=r"weights after step 1 are not finite.*There is no checkpoint yet"):
        pretrain(recipe, store, tmp_path / "run")
    assert checkpoints(tmp_path / "run" / "checkpoints") == []


RADAR = ["model.strategy=unimodal", "model.bands={s1: [VV, VH]}"]
RADAR += ["data={stacks: {s1: s1}, statistics: {s1: store}}"]


@pytest.mark.parametrize(
    ("changes", "terms", "images"),
    [
        (RADAR, ["s1_t0", "s1_t1", "s1_t2", "s1_t3"], 92),  # one sensor of 24 places, two of which lack two dates
        (["model.strategy=siamese", "compute.precision=bf16"], ["s2_t0", "s1_t3"], 184),
        pytest.param(
            ["model.temporal=false", "model.tm={mode: none}", "data.season_sampling=random"],
            ["s2_t0", "s1_t0"],
            48,
            marks=pytest.mark.soak,
        ),
    ],
    ids=["radar alone", "siamese in bf16", "single seasons"],
)
def test_stage_two_alone_on_other_strategies(store, tmp_path, changes, terms, images):
    alone = ["stage1={epochs: 0, warmup_epochs: 0}", "stage2={epochs: 6, warmup_epochs: 1}"]
    recipe = recipe_of(*alone, *changes)
    pretrain(recipe, store, tmp_path / "run")
    curves = read_curves(tmp_path / "run")
    assert curves["stage"] == [2.0] * 18
    assert sum(curves["images"][:3]) == images
    assert all(np.isfinite(curves[name]).all() for name in terms)
    assert np.mean(curves["loss"][-3:]) < 0.95 * np.mean(curves["loss"][:3])


def test_a_sensor_of_less_weight_counts_less_and_its_terms_are_logged_whole(store, tmp_path):
    changes = ("stage1.epochs=0", "stage1.warmup_epochs=0", "stage2={epochs: 1, warmup_epochs: 0}")
    pretrain(recipe_of(*changes), store, tmp_path / "even")
    pretrain(recipe_of(*changes, "model.loss_weight={s1: 0.25}"), store, tmp_path / "quarter")
    even, quarter = read_curves(tmp_path / "even"), read_curves(tmp_path / "quarter")
    terms = [name for name in even if "_t" in name]
    assert [quarter[name][0] for name in terms] == [even[name][0] for name in terms]  # before the first step
    for i in range(3):
        parts = [quarter[name][i] * (0.25 if name.startswith("s1") else 1) for name in terms]
        assert quarter["loss"][i] == pytest.approx(sum(parts), rel=1e-6)
    assert quarter["s2_t0"][2] != even["s2_t0"][2]  # other gradients
    assert load_model(tmp_path / "quarter" / "final")[0].config.loss_weight == {"s1": 0.25}


def test_stage_one_learns_from_one_sensor_and_stage_two_from_both(store, tmp_path):
    stages = ("stage1={epochs: 2, warmup_epochs: 0, sensors: [s2]}", "stage2={epochs: 1, warmup_epochs: 0}")
    recipe = recipe_of(*stages, "machine.keep=9")
    out = tmp_path / "run"
    pretrain(recipe, store, out)
    curves = read_curves(out)
    first = [stage == 1 for stage in curves["stage"]]
    assert sum(first) == 6
    radar = np.array(curves["s1_t0"])
    assert np.isnan(radar[first]).all()
    assert np.isfinite(radar[6:]).all()
    assert load_model(out / "final")[0].config.sensors == ("s2", "s1")
    steps = {path.name: load_model(path)[0].config.sensors for path in checkpoints(out / "checkpoints")}
    assert {sensors for name, sensors in steps.items() if int(name[-8:]) <= 6} == {("s2",)}
    # From a checkpoint of either stage it goes on to the same curve and the same weights.
    for at in (4, 8):
        other = tmp_path / f"from-{at}"
        shutil.copytree(out, other)
        shutil.rmtree(other / "final")
        (other / "checksums.json").unlink()
        for path in checkpoints(other / "checkpoints"):
            if int(path.name[-8:]) > at:
                shutil.rmtree(path)
        pretrain(recipe, store, other, resume=True)
        for file in ("curves.csv", "final/model.safetensors"):
            assert (other / file).read_bytes() == (out / file).read_bytes()


def test_speed_says_rate_utilisation_and_waiting(store, tmp_path):
    class Slow(Store):
        def read_layer(self, i, layer, out=None, **part):
            time.sleep(0.05 if layer == "s1" else 0)
            return super().read_layer(i, layer, out, **part)

    alone = ["stage1={epochs: 0, warmup_epochs: 0}", "stage2={epochs: 2, warmup_epochs: 1}"]
    recipe = recipe_of(*alone, "machine.peak_tflops=0.0001", "machine.checkpoint_every=1000")
    pretrain(recipe, Slow(store.path), tmp_path / "run")
    with (tmp_path / "run" / "speed.csv").open() as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    flops = pretraining_flops(recipe.model, seasons=4).training
    assert len(rows) == 6
    for row in rows:
        assert row["locations_per_s"] == pytest.approx(8 / row["seconds"], rel=0.01)
        assert row["mfu"] == pytest.approx(8 * flops / row["seconds"] / 1e8, rel=0.01)
    # One thread reads 48 samples in at least 2.4 s: what is not spent on steps in this time is spent on waiting.
    waited = sum(row["seconds"] * row["data_wait_share"] for row in rows)
    worked = sum(row["seconds"] for row in rows) - waited
    assert worked > 0
    assert waited > 48 * 0.05 - worked - 0.5  # between the steps there is the journal


def test_another_recipe_or_store_is_refused_by_name(undisturbed, store, tmp_path):
    with pytest.raises(TrainingError, match=r"optimiser.base_lr: 0.05 -> 0.01"):
        pretrain(recipe_of("optimiser.base_lr=0.01"), store, undisturbed, resume=True)
    other = build_small_store(tmp_path, absent=(4, 7))
    with pytest.raises(TrainingError, match=f"content: {store.content} -> {other.content}"):
        pretrain(recipe_of(), other, undisturbed, resume=True)
    with pytest.raises(UsageError, match="--resume"):
        pretrain(recipe_of(), store, undisturbed)
    # What only concerns the machine may differ.
    copy = tmp_path / "copy"
    shutil.copytree(undisturbed, copy)
    assert pretrain(recipe_of("machine.workers=2"), store, copy, resume=True) == copy / "final"


def test_stores_that_do_not_fit_are_refused(store, tmp_path):
    with pytest.raises(TrainingError, match="24 samples, fewer than one batch of 64"):
        pretrain(recipe_of("optimiser.batch=64"), store, tmp_path / "a")
    with pytest.raises(StoreError, match="no stack 's2c'"):
        pretrain(recipe_of("data.stacks.s2=s2c"), store, tmp_path / "b")
    with pytest.raises(RecipeError, match="no statistics 'bigearth'"):
        pretrain(recipe_of("data.statistics.s2=bigearth"), store, tmp_path / "c")
    assert not (tmp_path / "a").exists() or not (tmp_path / "a" / "run.json").exists()


def _save(folder, step, loss, keep=2, stage=1):
    def write_model(part):
        part.mkdir()
        (part / "model.safetensors").write_bytes(b"x" * 100_000)

    return save_checkpoint(
        folder,
        TrainingProgress(stage, 0, step, step),
        {"optimiser": {"state": torch.arange(3)}},
        loss=loss,
        keep=keep,
        write_model=write_model,
    )


def test_the_last_ones_and_the_best_of_each_stage_stay(tmp_path):
    for step, loss in enumerate([5.0, 1.0, 4.0, 3.0, 2.0], start=1):
        _save(tmp_path, step, loss)
    for step, loss in enumerate([50.0, 40.0, 45.0, 46.0], start=6):
        _save(tmp_path, step, loss, stage=2)
    assert [int(path.name[-2:]) for path in checkpoints(tmp_path)] == [2, 7, 8, 9]


def test_a_full_disk_keeps_the_last_good_checkpoint(tmp_path):
    code = f"""
import resource, sys
sys.path.insert(0, {str(Path(__file__).resolve().parents[2])!r})
from pathlib import Path
from tests.seamo.test_pretrain_loop import _save
from seamo.errors import TrainingError
_save(Path({str(tmp_path)!r}), 1, 1.0)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))  # no file may grow beyond: a write fails half-way
try:
    _save(Path({str(tmp_path)!r}), 2, 1.0)
except TrainingError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "checkpoint of step 2 could not be written" in run.stdout, run.stderr
    assert f"The last good checkpoint is {tmp_path}/step-00000001" in run.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    assert latest_checkpoint(tmp_path).progress == TrainingProgress(1, 0, 1, 1)


def test_a_run_refuses_pixels_that_its_numbers_are_not_for(store, tmp_path, monkeypatch):
    own = inputs._numbers

    def of_reflectances(recipe, sensor, data):
        how = own(recipe, sensor, data)
        return replace(how, mean=tuple(1e-4 * one for one in how.mean), std=tuple(1e-4 * one for one in how.std))

    monkeypatch.setattr(inputs, "_numbers", of_reflectances)
    with pytest.raises(UsageError, match="most pixels of"):
        pretrain(recipe_of(), store, tmp_path / "run")
