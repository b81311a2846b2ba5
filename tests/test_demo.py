"""The demo: what it plants, what it keeps, what it says at the end, and (soak) its first act from end to end."""

import json
import re
import subprocess
import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
import rasterio

from seamo.testing.world import World
from seamo_prep.archives import load_archive
from tests.conftest import ROOT
from tests.prep.demo_stores import build_quietly


def script(path: str):
    spec = spec_from_file_location(path.replace("/", "_").removesuffix(".py"), ROOT / path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def demo():
    """The modules of examples/demo, which find one another as the folder is run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "examples/demo"))
        main = script("examples/demo/__main__.py")
        main.steps = import_module("steps")
        yield main
        for name in ("steps", "page"):
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    raw = tmp_path_factory.mktemp("raw") / "eurosat"
    raw.mkdir()
    load_archive("eurosat").demo(raw, World(seed=7), "tiny")
    return raw


def pixels(folder: Path) -> dict[str, np.ndarray]:
    found = {}
    for path in sorted(folder.rglob("*.tif")):
        with rasterio.open(path) as tile:
            found[path.stem] = tile.read()
    return found


def plant(*words: object) -> str:
    done = subprocess.run(
        [sys.executable, ROOT / "examples/plant_fault.py", *map(str, words)], capture_output=True, text=True, check=True
    )
    return done.stdout


# What is planted ----------------------------------------------------------------------------------------------


def test_bands_and_shifts_change_what_they_say_and_nothing_else(archive, tmp_path):
    whole = pixels(archive)
    assert "B08 and B11 exchanged in 30 tiles" in plant("bands", archive, tmp_path / "bands", "--per-class", 3)
    assert "1,000 added to every pixel in 20 tiles" in plant("shift", archive, tmp_path / "shift", "--per-class", 2)
    exchanged, shifted = pixels(tmp_path / "bands"), pixels(tmp_path / "shift")
    assert (len(exchanged), len(shifted)) == (30, 20)
    order = [0, 1, 2, 3, 4, 5, 6, 10, 8, 9, 7, 11, 12]  # B08 is the file's eighth band, B11 its eleventh
    for name, tile in exchanged.items():
        np.testing.assert_array_equal(tile, whole[name][order])
    for name, tile in shifted.items():
        np.testing.assert_array_equal(tile, whole[name].astype(int) + 1000)
    lists = [(tmp_path / "shift" / f"eurosat-{split}.txt").read_text().split() for split in ("train", "val", "test")]
    assert sorted(name.removesuffix(".jpg") for names in lists for name in names) == sorted(shifted)
    assert pixels(archive).keys() == whole.keys()
    assert "is kept" in plant("shift", archive, tmp_path / "bands")


def test_copies_put_a_test_image_of_each_class_into_train(archive, tmp_path):
    build_quietly("eurosat", archive, tmp_path)
    said = plant("copies", archive, tmp_path / "copies", "--store", tmp_path / "eurosat", "--per-class", 6)
    assert "of 60 tiles, 10 train tiles now hold a test image" in said
    whole, planted = pixels(archive), pixels(tmp_path / "copies")
    test, train = ((archive / f"eurosat-{split}.txt").read_text().split() for split in ("test", "train"))
    changed = [name for name in whole if not np.array_equal(whole[name], planted[name])]
    assert len(changed) == 10
    for name in changed:
        assert f"{name}.jpg" in train
        of = next(one for one in whole if np.array_equal(whole[one], planted[name]))
        assert f"{of}.jpg" in test
        assert of.rpartition("_")[0] == name.rpartition("_")[0]


def test_labels_of_a_record_become_what_was_predicted(tmp_path):
    results = tmp_path / "results"
    results.mkdir()
    (results / "a.json").write_text(json.dumps({"predictions": {"name": "a.npz"}, "scores": {"top1": 0.5}}))
    (results / "0-no-predictions.json").write_text("{}")
    np.savez(results / "a.npz", labels=np.int32([0, 1]), scores=np.float32([[0.1, 0.9], [0.2, 0.8]]), keys=["x", "y"])
    assert "1 labels changed in a copy of a.json" in plant("labels", results, tmp_path / "copy")
    with np.load(tmp_path / "copy/a.npz") as found:
        assert found["labels"].tolist() == [1, 1]
        assert found["keys"].tolist() == ["x", "y"]
    assert (tmp_path / "copy/a.json").read_bytes() == (results / "a.json").read_bytes()


# How it runs --------------------------------------------------------------------------------------------------


def step_of(demo, name: str, line: str, **fields):
    return demo.steps.Step(name, f"the step {name}", (f"python -c {json.dumps(line)}",), 1.0, **fields)


def test_what_was_done_is_kept_and_what_shows_results_runs_again(demo, tmp_path, capfd):
    made = tmp_path / "made"
    steps = [
        step_of(demo, "one", f"open('{made}', 'a').write('x'); print('one said this')", makes=made),
        step_of(demo, "two", "print('the table')", again=True),
    ]
    demo.Demo(tmp_path, steps).run(steps)
    assert "one said this" in capfd.readouterr().out
    again = demo.Demo(tmp_path, steps)
    again.run(steps)
    out = capfd.readouterr().out
    assert made.read_text() == "x"
    assert (again.reused, "one said this" in out, "  the table" in out) == (1, False, True)
    assert "[2/2] 0:00 passed, about 0:01 left: the step two" in out
    assert "one said this" in (tmp_path / "steps/one.txt").read_text()
    made.unlink()  # then the file of what was said is no proof
    demo.Demo(tmp_path, steps).run(steps)
    assert made.read_text() == "x"
    changed = [step_of(demo, "one", f"open('{made}', 'a').write('y')", makes=made), steps[1]]
    demo.Demo(tmp_path, changed).run(changed)
    assert made.read_text() == "xy"


@pytest.mark.parametrize(
    ("line", "finds", "said"),
    [
        ("raise SystemExit(1)", "", "exit status 1"),
        ("print('no errors')", "exchanged", "was NOT named"),
        ("print('exchanged')", "exchanged", "was NOT named"),  # named, and passed all the same
        ("print('shifted'); raise SystemExit(1)", "exchanged", "was NOT named"),
        ("print('exchanged'); raise SystemExit(2)", "exchanged", "was NOT named"),
    ],
)
def test_a_fault_that_no_check_names_ends_the_demo(demo, tmp_path, line, finds, said):
    steps = [step_of(demo, "check", line, finds=finds)]
    with pytest.raises(demo.DemoError, match=said):
        demo.Demo(tmp_path, steps).run(steps)
    assert not (tmp_path / "steps").exists()  # it is run again


@pytest.mark.parametrize("status", [75, 130])  # by a scheduler's signal, by Ctrl-C
def test_a_stopped_command_stops_the_demo(demo, tmp_path, status):
    steps = [step_of(demo, "slow", f"raise SystemExit({status})")]
    with pytest.raises(KeyboardInterrupt):
        demo.Demo(tmp_path, steps).run(steps)


def test_time_left_follows_the_machine(demo):
    steps = [step_of(demo, name, "pass") for name in "abcd"]
    assert demo.page.time_left(steps, {}, steps) == 4
    assert demo.page.time_left(steps[2:], {"a": 5.0, "b": 1.0}, steps) == 6  # twice three times as slow
    assert demo.page.time_left([], {"a": 5.0}, steps) == 0


def test_every_act_plants_four_faults_and_ends_with_results(demo, tmp_path):
    first, real = demo.first_act(tmp_path, 3), demo.real_act(tmp_path, tmp_path / "tiles")
    for act in (first, real):
        assert [bool(step.finds) for step in act[-4:]] == [True] * 4
        assert not any(step.finds for step in act[:-4])
        assert all(step.makes is not None for step in act if step.finds)
    second = demo.second_act(tmp_path, 3, 5)
    assert second[-1].again
    names = [step.name for act in (first, real, second) for step in act]
    assert len(set(names)) == len(names)
    lines = [line for step in (*first, *second) for line in step.commands]
    assert any(re.search(r"--set seed=5 .*--out \S+/seamo-demo-seed5$", line) for line in lines)
    assert all(f"--seed {3}" in line for line in lines if line.startswith("seamo-prep demo"))


def test_the_closing_page_says_what_the_records_say(demo, tmp_path):
    scores = {
        ("a", "logreg"): ("A floor", 0.75, 0.7, 0.8),
        ("b", "logreg"): ("Another", 0.5, 0.4, 0.6),
        ("c", "logreg"): ("A third", 0.6, 0.5, 0.7),
        ("a", "knn"): ("A floor", 0.25, 0.2, 0.3),
    }
    gains = {"knn": (0.02, -0.01, 0.05), "logreg": (-0.04, -0.06, -0.02)}
    text = demo.page.closing(
        demo.page.Results(scores, gains, real=False), tmp_path, Path(sys.executable).parent, seconds=83.4
    )
    assert "in 1:23" in text
    assert "A floor 75.0 [70.0, 80.0]; A third 60.0 [50.0, 70.0]." in text
    assert "knn: +2.0 points [-1.0, +5.0]: not told apart" in text
    assert "logreg: -4.0 points [-6.0, -2.0]: a loss" in text
    assert 15 <= len(text.splitlines()) <= 25
    assert "gain" not in demo.page.closing(demo.page.Results(scores, {}, real=True), tmp_path, tmp_path, seconds=1)


def test_the_acts_come_in_order_and_the_page_last(demo, tmp_path, monkeypatch, capfd):
    """With steps that only say their names; what the records say is put in their place."""
    row = {"backbone": "a", "protocol": "logreg", "title": "A floor", "value": 0.5, "low": 0.4, "high": 0.6}
    pair = {"id": "eurosat/logreg/1/7a72cc", "difference": 0.1, "low": 0.05, "high": 0.15}
    asked = {"table": [row | {"status": "ok"}, {"status": "impossible"}], "compare": [pair]}
    for act in ("first", "real", "second"):
        steps = [step_of(demo, act, f"print('said by {act}')")]
        monkeypatch.setattr(demo, f"{act}_act", lambda *_, steps=steps: steps)
    monkeypatch.setattr(demo, "asked", lambda line: asked[line.split()[1]])
    (tmp_path / "eurosat_ms").mkdir()
    monkeypatch.setattr(sys, "argv", ["demo", str(tmp_path), "--samples", str(tmp_path)])
    demo.main()
    out = capfd.readouterr().out
    order = ["ACT 1:", "said by first", "first result after", "ACT 1 AGAIN", "said by real", "ACT 2", "said by second"]
    order += [
        "WHAT WAS SHOWN",
        "A floor 50.0 [40.0, 60.0]",
        "named, on real tiles too:",
        "+10.0 points",
        "WHAT WAS NOT",
        "NEXT",
    ]
    places = [out.index(text) for text in order]
    assert places == sorted(places)
    monkeypatch.setattr(sys, "argv", ["demo", str(tmp_path), "--act", "1"])
    demo.main()
    out = capfd.readouterr().out
    assert "(1 of 1 steps were done before)" in out
    assert "ACT 2" not in out
    assert "+10.0 points" not in out


@pytest.mark.soak
def test_act_one_ends_with_its_first_result_and_is_quick_when_it_is_there(tmp_path):
    command = [sys.executable, "examples/demo", str(tmp_path / "d"), "--act", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert re.search(r"^first result after \d+ s$", done.stdout, re.MULTILINE)
    for cause in ("explained if B08 and B11 are exchanged", "shifted by \\+1000", "the same image in several splits"):
        assert re.search(cause, done.stdout)
    assert (tmp_path / "d/report.html").stat().st_size > 10_000
    assert done.stdout.count("labels, samples and split lists are the store's") == 8  # four floors, two probes
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "(9 of 10 steps were done before)" in again.stdout
    told = [
        next(line for line in one.stdout.splitlines() if "Image statistics [floor" in line) for one in (done, again)
    ]
    assert told[0] == told[1]


# The installation ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("Collecting torch==2.13.0 (from -c constraints.txt (line 9))", ""),
        ("  Downloading numpy-2.4.6-cp311-cp311-manylinux_2_27_x86_64.whl (16.9 MB)", ""),
        ("  Downloading torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl (866.2 MB)", "downloading torch (866 MB)"),
        ("Downloading https://x.example/nvidia_cublas-13.1.0.3-py3-none-manylinux.whl (1.2 GB)",
         "downloading nvidia_cublas (1200 MB)"),
        ("  Using cached scipy-1.16.0-cp311.whl (41 MB)", "taking from pip's cache: scipy (41 MB)"),
        ("Installing collected packages: a, b, c", "unpacking 3 packages"),
    ],
)  # fmt: skip
def test_an_installation_tells_large_downloads_and_phases(line, told):
    assert script("tools/install.py").news(line) == told


def test_a_failed_installation_shows_what_pip_said(tmp_path):
    command = [sys.executable, ROOT / "tools/install.py", "--no-index", "no-such-package-of-anybody"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "No matching distribution found for no-such-package-of-anybody" in done.stderr
    assert [line.split(maxsplit=1)[1] for line in done.stdout.splitlines()] == [
        "finding out what is needed",
        "pip failed",
    ]
