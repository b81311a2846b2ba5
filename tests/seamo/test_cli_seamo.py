"""The `seamo` command: exit status, messages, pictures."""

import contextlib
import io
import json
import re
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from seamo.cli import main
from seamo.model.checkpoint import load_model
from tests.seamo.small_store import build_small_store

TINY = [
    "--set", "model.size=16", "--set", "model.patch=4", "--set", "model.dim=32", "--set", "model.depth=1",
    "--set", "model.decoder={depth: 1, width: 32, heads: 4}", "--set", "stage1={epochs: 1, warmup_epochs: 0}",
    "--set", "stage2={epochs: 2, warmup_epochs: 1}", "--set", "optimiser.batch=8", "--set", "machine.threads=1",
]  # fmt: skip


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


def seamo(*arguments):
    """The command in this process: importing torch anew for every message would take most of the test's time."""
    out, errors, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["seamo", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            main()
        status = 0
    except SystemExit as exit_:
        status = int(exit_.code or 0)
    finally:
        sys.argv = before
    return Done(status, out.getvalue(), errors.getvalue())


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return build_small_store(tmp_path_factory.mktemp("store"), n=16, absent=(0,))


@pytest.fixture(scope="module")
def run(store, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    done = seamo("pretrain", "seamo-tiny", "--store", store.path, "--out", out, *TINY)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{out / 'final'}\n"
    assert "synthetic" in done.stderr
    assert "6/6 steps (100%)" in done.stderr
    return out


def test_help_is_quick():
    # Processor time: the machine that runs the tests does other things, too.
    fastest = 9.0
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-m", "seamo.cli", "--help"], capture_output=True, text=True, timeout=60)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        fastest = min(fastest, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert done.returncode == 0
    assert "pretrain" in done.stdout
    assert "75" in done.stdout
    assert fastest < 0.4


def test_help_imports_no_torch():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "seamo.cli", "--help"], capture_output=True, text=True, timeout=60
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "typer" in imported
    assert not imported & {"torch", "numpy", "pandas", "matplotlib", "pydantic", "yaml"}


def test_a_run_can_be_described(run, store):
    done = seamo("info", run, "--json")
    (facts,) = json.loads(done.stdout)
    assert facts["id"] == "run"
    assert facts["finished"]
    assert facts["store"]["content"] == store.content
    assert facts["last"]["step"] == 6
    assert facts["model"]["size"] == 16
    assert "than" in facts["learnt"]["s2"]
    text = seamo("info", run / "final")
    assert text.returncode == 0
    assert "provenance.recipe" in text.stdout


def test_reconstructions_show_what_was_hidden(run, store, tmp_path):
    from seamo.pretrain.figures import draw_reconstruction

    key = "0000000"  # lacks its last two dates
    draw_reconstruction(run, store, tmp_path / "one.png", key=key)
    picture = np.asarray(Image.open(tmp_path / "one.png").convert("RGB"))
    assert picture.std() > 20
    other = tmp_path / "other.png"
    draw_reconstruction(run, store, other, key="0000001")
    assert not np.array_equal(picture, np.asarray(Image.open(other).convert("RGB")))
    # The same key and seed draw the same picture.
    draw_reconstruction(run / "final", store, tmp_path / "again.png", key=key)
    np.testing.assert_array_equal(picture, np.asarray(Image.open(tmp_path / "again.png").convert("RGB")))


def test_absent_dates_have_no_row_and_the_caption_says_loss_and_psnr(run, store, tmp_path, monkeypatch):
    from seamo.pretrain import figures

    drawn = []
    monkeypatch.setattr(figures, "save_figure", lambda figure, _: drawn.append(figure))
    for key in ("0000000", "0000001"):  # the first lacks its last two dates
        figures.draw_reconstruction(run, store, tmp_path / "x.png", key=key)
    rows = [[axis.get_ylabel() for axis in figure.axes[::5]] for figure in drawn]
    assert rows[0] == [f"season {t}, {sensor}" for t in (1, 2) for sensor in ("s2", "s1")]
    assert rows[1] == [f"season {t}, {sensor}" for t in (1, 2, 3, 4) for sensor in ("s2", "s1")]
    first, second = (figure.get_suptitle() for figure in drawn)
    numbers = r"s2 \d+\.\d dB \(\d+\.\d\), s1 \d+\.\d dB \(\d+\.\d\)"
    pattern = (
        r"loss \d+\.\d{4}, of the mean of what was visible \d+\.\d{4}\n"
        rf"PSNR of hidden pixels, all bands, the network alone \(of that mean\): {numbers}\n"
        rf"PSNR of hidden pixels, all bands, with own mean and scale \(of that mean\): {numbers}$"
    )
    assert re.search(rf": 0000000; 4 images are not there\n{pattern}", first)
    assert re.search(rf": 0000001\n{pattern}", second)


def test_psnr_of_numbers_by_hand():
    from seamo.pretrain.figures import psnr

    target, where = torch.zeros(2, 2, 2), np.array([[True, True], [False, False]])
    painted = target.clone()
    painted[:, 0, 0], painted[:, 1] = 0.2, 9.0  # the second row does not count
    # Mean squared error 0.02: of four values that count two are 0.2 off.
    assert psnr([(painted, target, where)], "min-max") == pytest.approx(16.9897, abs=1e-3)
    assert psnr([(painted, target, where)], "z-score") == pytest.approx(16.9897 + 12.0412, abs=1e-3)
    assert psnr([(target, target, where)], "min-max") == float("inf")
    assert np.isnan(psnr([(painted, target, where & False)], "min-max"))


def test_the_commands_draw(run, store, tmp_path):
    done = seamo("reconstruct", run, "--store", store.path, "-o", tmp_path / "crops.png", "--crops")
    assert done.returncode == 0, done.stderr
    assert Image.open(tmp_path / "crops.png").width > 500
    done = seamo("info", run, "--curves", tmp_path / "curves.png")
    assert done.returncode == 0, done.stderr
    assert Image.open(tmp_path / "curves.png").width > 500


def test_errors_are_one_message_and_a_status(run, store, tmp_path):
    for arguments, status, words in (
        (("pretrain", "seamo-tiny", "--store", store.path, "--out", run, *TINY), 2, "holds a run already"),
        (("pretrain", "seamo-tiny", "--store", tmp_path, "--out", tmp_path / "x"), 1, "no store"),
        (("pretrain", "seamo-tiny", "--store", store.path, "--out", tmp_path / "y", "--set", "sead=1"), 2, "'seed'"),
        (("info", tmp_path), 2, "neither a run nor a model"),
        (("info", store.path), 2, "is a store, not a run or a model. `seamo-prep stats "),
        (("pretrain", "seamo-tiny"), 2, "--store"),
    ):
        done = seamo(*arguments)
        assert done.returncode == status, done.stderr
        assert words in done.stderr
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
    done = seamo("info", tmp_path, "--debug")
    assert done.returncode == 2
    assert "Traceback" in done.stderr


def test_the_finished_model_loads(run):
    model, card = load_model(Path(run) / "final")
    assert set(card["normalisation"]) == {"s2", "s1"}
    assert card["provenance"]["stacks"] == {"s2": "s2a", "s1": "s1"}
    assert model.config.temporal
