"""Aggregates over data sets: ranges, interquartile mean, mean rank."""

import csv

import numpy as np
import pytest

from seamo_bench.scores import aggregate as ag
from seamo_bench.scores import intervals as iv
from seamo_bench.scores import metrics
from seamo_bench.suites.published import load_published
from tests.bench.worlds import SINGLE, hits, keys


def sampled(share, n, seed, prefix="k"):
    run = hits(np.random.default_rng(seed).random(n) < share)
    return iv.sampling([type(run)(np.char.add(prefix, keys(n)), run.labels, run.scores)], "top1", SINGLE)


def column(task, scores, low=0.5, high=1.0):
    return ag.Scored(task, ag.Range(low, high, "", ""), scores)


def test_interquartile_mean_by_hand():
    assert ag.interquartile_mean(np.array([9.0, 1, 2, 3])) == pytest.approx(2.5)
    # Thirds: the middle half takes 1/12 of the lowest, all 1/3 of the middle, 1/12 of the highest.
    assert ag.interquartile_mean(np.array([0.0, 1, 5])) == pytest.approx((0 / 12 + 1 / 3 + 5 / 12) / 0.5)
    rng = np.random.default_rng(0).normal(size=(5, 40))
    assert ag.interquartile_mean(rng) == pytest.approx(np.sort(rng)[:, 10:30].mean(axis=1))


def tasks():
    made = []
    for t, (best, worst) in enumerate([(0.9, 0.6), (0.8, 0.7), (0.95, 0.5)]):
        scores = {name: sampled(share, 400, [t, share > 0.75], f"t{t}") for name, share in (("a", best), ("b", worst))}
        made.append(column(f"t{t}", scores))
    return made


def test_aggregate_ranks_and_normalises():
    columns = tasks()
    found = ag.aggregate(columns)
    scaled = sorted((one.scores["a"].value - 0.5) / 0.5 for one in columns)
    assert found["a"].iqm.value == pytest.approx((scaled[0] / 12 + scaled[1] / 3 + scaled[2] / 12) / 0.5)
    assert found["a"].mean_rank.value == 1
    assert found["b"].mean_rank.value == 2
    assert found["a"].iqm.low < found["a"].iqm.value < found["a"].iqm.high
    assert found["a"].tasks == ("t0", "t1", "t2")
    assert ag.aggregate([]) == {}
    assert ag.aggregate(columns[:1]) == {}


def test_a_data_set_counts_once_however_many_columns_it_has():
    columns = tasks()
    once = ag.aggregate(columns)
    many = ag.aggregate([*columns, *([columns[2]] * 5)])
    assert many["a"].iqm.value == pytest.approx(once["a"].iqm.value)
    assert many["a"].tasks == once["a"].tasks
    assert many["a"].iqm.high - many["a"].iqm.low == pytest.approx(
        once["a"].iqm.high - once["a"].iqm.low
    )  # shared draws


def test_interval_of_the_mean_of_two_data_sets_by_hand():
    one, two = sampled(0.8, 500, 1, "x"), sampled(0.6, 800, 2, "y")
    found = ag.aggregate([column("x", {"a": one, "b": one}), column("y", {"a": two, "b": two})])
    half = 1.965 * np.hypot(one.error, two.error) / 2 / 0.5  # both scores over a range of 0.5
    assert found["a"].iqm.high - found["a"].iqm.low == pytest.approx(2 * half, rel=0.07)
    assert found["a"].mean_rank.value == 1.5  # ties share
    assert (found["a"].mean_rank.low, found["a"].mean_rank.high) == (1.5, 1.5)


def test_backbones_share_the_test_samples_in_every_draw():
    # b is right on 10 samples of 400 less, all else equal: unpaired, their intervals overlap by far.
    right = np.arange(400) % 5 > 0
    worse = right.copy()
    worse[np.flatnonzero(right)[:10]] = False
    scores = {"a": iv.sampling([hits(right)], "top1", SINGLE), "b": iv.sampling([hits(worse)], "top1", SINGLE)}
    found = ag.aggregate([column("x", scores), column("y", scores)])
    assert found["a"].mean_rank.high == 1
    apart = (scores["a"].error ** 2 + scores["b"].error ** 2) ** 0.5
    assert scores["a"].value - scores["b"].value < apart


def test_columns_that_few_rows_have_are_left_out():
    x, y = sampled(0.8, 300, 1, "x"), sampled(0.7, 300, 2, "y")
    columns = [
        column("x", dict.fromkeys("abc", x)),
        column("y", dict.fromkeys("ab", y)),
        column("z", {"a": y}),
    ]
    rows, kept = ag.rows_and_columns(columns)
    assert rows == ("a", "b")
    assert [one.task for one in kept] == ["x", "y"]


def test_ranges_are_frozen():
    # A change of a number changes every aggregate: bump RANGES_VERSION and these values together.
    known = ag.ranges()
    assert ag.RANGES_VERSION == "ranges version 1"
    total = sum(one.low + one.high for one in known.values())
    assert (len(known), round(total, 4)) == (21, 17.4354)
    assert known["eurosat", "top1"].low == 0.1
    assert known["fmow-sentinel", "top1"].low == pytest.approx(1 / 62, abs=1e-4)


def test_ranges_name_metrics_and_sources():
    with ag.RANGES.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    for line in lines:
        assert metrics.metric(line["metric"]).higher_is_better
        assert line["low_source"]
        assert line["high_source"]


def test_ceilings_from_the_paper_are_what_it_prints():
    printed = {
        (one.dataset, one.metric): one.value
        for one in load_published()
        if one.table in ("T1", "T5", "T6", "T9") and one.model == "SeaMo" and one.value is not None
    }
    checked = 0
    for (dataset, metric), one in ag.ranges().items():
        if "SeaMo" in one.high_source and (dataset, metric) in printed:
            assert one.high == pytest.approx(printed[dataset, metric] / 100)
            checked += 1
    assert checked == 9
