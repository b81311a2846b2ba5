"""Planted differences are named first and explained, on the demo's data and on real EuroSAT tiles."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml

from seamo_bench.records.record import load_predictions
from seamo_bench.why.shown import to_text
from seamo_prep.demo import write_demos
from tests.bench.why.planted import PLANTED, World, check_planted
from tests.conftest import ROOT
from tests.prep.demo_stores import build_quietly

torch.set_num_threads(1)


@pytest.mark.parametrize("fact", PLANTED)
def test_a_planted_fact_is_named_first_and_explains_the_difference(demo, fact):
    check_planted(demo, fact, metric="nll", size=32)


@pytest.mark.soak
@pytest.mark.parametrize("metric", ["nll", "top1"])
@pytest.mark.parametrize("fact", PLANTED)
def test_planted_facts_on_the_real_eurosat_subset(real, fact, metric):
    planted = {"split": "cv5x5"} if fact == "split" else None  # the subset has no other lists
    check_planted(real, fact, metric=metric, size=96, planted=planted)


@pytest.mark.soak
def test_the_averaging_on_the_real_eurosat_subset(real):
    """Of one label a sample, micro is the share of samples that are right, and macro the mean recall of classes."""
    a = real.made(store="eurosat", size=96)
    b = real.made(store="eurosat", size=96, params={"max_iter": 1999})
    told = real.why(a, b, "top1", metric_b="balanced_accuracy", runs=False)
    p = load_predictions(b, real.results)
    right = p.scores.argmax(axis=1) == p.labels
    assert told.values[1] == pytest.approx(np.mean([right[p.labels == k].mean() for k in np.unique(p.labels)]))
    assert told.moved[0].aspects[0].name == "metric"
    assert told.explained >= 0.95


@pytest.mark.soak
def test_all_at_once_on_the_real_eurosat_subset(real):
    """Seven facts: one order and its reverse, twelve runs; what they move adds up to the difference."""
    card = replace(PLANTED["normalisation"]()["card"], resize="bicubic-native")
    card = replace(card, inputs=tuple(replace(one, bands=one.bands[::-1]) for one in card.inputs))
    a = real.made(store="eurosat", size=96)
    b = real.made(store="eurosat", size=112, card=card, fraction=0.4, params={"C": 0.003})
    told = real.why(a, b, "top1", metric_b="balanced_accuracy")
    names = {"label fraction", "bands", "normalisation", "size", "kernel", "parameter C", "metric"}
    assert {one.aspects[0].name for one in told.moved} == names
    assert told.values == (a.scores["top1"], b.scores["balanced_accuracy"])
    assert sum(one.effect for one in told.moved) == pytest.approx(told.difference)
    assert told.explained == pytest.approx(1.0)
    assert told.how == "mean of the stated order and its reverse"


@pytest.mark.soak
def test_the_page_says_what_comes_out(tmp_path):
    page = (ROOT / "docs" / "why.md").read_text()
    world = World(tmp_path)
    write_demos(tmp_path / "raw", only=["eurosat"], size="small", workers=1, tell=lambda *_: None)
    build_quietly("eurosat", tmp_path / "raw" / "eurosat", world.stores)
    rows = yaml.safe_load(page.partition("<<'END'\n")[2].partition("END")[0])["rows"]
    a, b = (world.made("texture-statistics", **row) for row in rows)
    for runs in (False, True):
        said = to_text(world.why(a, b, runs=runs)).splitlines()
        lines = [line for line in said if line and not line.startswith(("A  ", "B  "))]
        assert lines
        assert [line for line in lines if line not in page] == []
