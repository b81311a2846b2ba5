"""The example that asks a ridge head what pretraining gave: its interval, and which networks it compares."""

import sys
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from tests.conftest import ROOT


@pytest.fixture(scope="module")
def gain():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "examples"))
        yield import_module("ridge_gain")
    for name in ("ridge_gain", "real_folds"):
        sys.modules.pop(name, None)


def test_the_interval_is_over_images_and_pretrainings(gain):
    rng = np.random.default_rng(3)
    seeds = np.array([-0.3, 0.0, 0.3, 0.2, -0.2])
    alike = rng.normal(0.1, 0.5, (5, 400))
    middle, low, high = gain.interval([alike])
    assert middle == pytest.approx(alike.mean())
    assert (high - low) / 3.92 == pytest.approx(
        0.5 / np.sqrt(2000) * np.sqrt(2), rel=0.25
    )  # images, and runs that differ by them
    apart = np.repeat(seeds[:, None], 400, axis=1)  # every image alike: what is left is between the pretrainings
    middle, low, high = gain.interval([apart])
    assert (high - low) / 3.92 == pytest.approx(seeds.std() / np.sqrt(5), rel=0.1)
    middle, *ends = gain.interval([apart, apart + 1])
    assert middle == pytest.approx(0.5)
    assert (ends[1] - ends[0]) / 3.92 == pytest.approx(seeds.std() / np.sqrt(10), rel=0.1)


def test_each_run_is_held_against_the_weights_that_it_began_with(gain, monkeypatch, tmp_path):
    for number in (3, 5):
        (tmp_path / "runs" / f"a-seed{number}" / "final").mkdir(parents=True)
    (tmp_path / "runs" / "a-seed6").mkdir()  # did not end
    asked = []
    store = SimpleNamespace(index=pd.DataFrame({"label": [0, 1, 0, 1], "split": ["train", "train", "test", "test"]}))

    def features_of(backbone, _):
        asked.append(backbone.rpartition("/")[2])
        right = "random" not in backbone
        return np.array([[0.0], [1.0], [0.0], [1.0 if right else 0.0]])

    monkeypatch.setattr(gain, "open_store", lambda _: store)
    monkeypatch.setattr(gain, "load_recipe", lambda path: SimpleNamespace(seed=10 * int(path.split("a-seed")[1][0])))
    monkeypatch.setattr(gain, "features_of", features_of)
    pretrained, random = gain.gains_of(tmp_path, "look")
    assert asked == ["a-seed3@look", "a-seed3@look+random:30", "a-seed5@look", "a-seed5@look+random:50"]
    assert pretrained.tolist() == [[1, 1], [1, 1]]
    assert random.tolist() == [[1, 0], [1, 0]]
