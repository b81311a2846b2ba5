"""README.md: its figures are the kept ones, its claims follow from them, and it stays short."""

import json
import re
from importlib.util import module_from_spec, spec_from_file_location

import pytest

from tests.conftest import ROOT

README = (ROOT / "README.md").read_text("utf-8")


@pytest.fixture(scope="module")
def maker():
    spec = spec_from_file_location("make_readme", ROOT / "docs/make_readme.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def kept():
    return json.loads((ROOT / "docs/figures/demo.json").read_text("utf-8"))


def test_the_figures_are_the_kept_ones(maker, kept):
    assert maker.written(README, kept) == README
    assert set(kept["worlds"]) == {str(world) for world in maker.WORLDS}
    assert kept["seeds"] == list(maker.SEEDS)
    world = kept["worlds"]["505"]
    value, low, high = world["scores"]["image-statistics"]["logreg"]
    row = next(line for line in README.splitlines() if line.startswith("| image statistics"))
    assert f"| {100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}] |" in row
    assert low <= value <= high


def test_a_changed_figure_changes_the_text(maker, kept):
    other = json.loads(json.dumps(kept))
    other["worlds"]["606"]["gains"]["mean"]["knn"] = [0.5, 0.4, 0.6, 0.001]
    assert "| +50.0 [+40.0, +60.0] |" in maker.written(README, other)


def test_what_the_text_claims_follows_from_the_figures(kept):
    assert "gain over random weights under nearest neighbours, in both worlds and with both poolings" in README
    assert "with the mean of the tokens no further than image statistics" in README
    assert "under `logreg` no gain shows" in README
    assert "better than the mean and the nearest of what was visible" in README
    assert "Texture statistics, which nobody trained, stay ahead of every SeaMo" in README
    for world in kept["worlds"].values():
        assert all(gains["knn"][1] > 0 for gains in world["gains"].values())
        assert all(gains["logreg"][1] <= 0 for gains in world["gains"].values())
        assert all(run["loss"] < 0.95 * min(run["mean"], run["nearest"]) for run in world["learnt"].values())
        networks = {name: score for name, score in world["scores"].items() if name.startswith("seamo-demo")}
        assert len(networks) == 4
        statistics = world["scores"]["image-statistics"]["knn"][0]
        assert networks["seamo-demo-pretrain-statistics-tiles"]["knn"][0] <= statistics
        floor = world["scores"]["texture-statistics"]
        assert all(floor[protocol][0] > score[protocol][0] for score in networks.values() for protocol in score)


def test_the_pretraining_of_the_demo_is_what_the_text_says():
    from seamo.model.seamo import SeaMo
    from seamo.pretrain.recipe import load_recipe

    recipe = load_recipe("seamo-demo")
    assert recipe.stage2.epochs == 0
    steps = recipe.stage1.epochs * (256 // recipe.optimiser.batch)
    count = sum(weight.numel() for weight in SeaMo(recipe.config(1)).parameters())
    assert f"stage 1 of a tiny SeaMo ({count / 1e6:.1f} M parameters, {steps:,} steps, single optical dates" in README


def test_it_is_short_and_its_make_targets_are_there():
    assert len(README.splitlines()) < 120
    targets = re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    for target in re.findall(r"\bmake ([a-z][a-z-]*)", README):
        assert target in targets
