"""Under a split of whole blocks of land tables resample blocks, and differences of splits are made once and kept."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm, t

from seamo.errors import ProtocolError
from seamo_bench import facts as f
from seamo_bench.board import compare as c
from seamo_bench.board.audit import _in_units, change_without
from seamo_bench.board.contested import of_record
from seamo_bench.board.leaderboard import build_table
from seamo_bench.board.spatial import spatial_gaps
from seamo_bench.board.tables import to_objects, to_text
from seamo_bench.facts import scoring_of
from seamo_bench.predictions import ClassPredictions
from seamo_bench.protocol import Split
from seamo_bench.questions.contested import _RULES, _row
from seamo_bench.records.record import About, load_predictions, read_records, write_record
from seamo_bench.scores import blocks
from seamo_bench.scores.blocks import block_names
from seamo_bench.why.explained import _chance, side_of

SPATIAL, OTHER = "spatial-20km-2km", "hash-60-20-20"
HOMES = np.random.default_rng(1).uniform([5, 45], [12, 50], (60, 2))


def run_of(*, right, alike, seed=0, n=600, placed=True, scenes=False):
    """Synthetic predictions of samples around 60 places; where they are alike a place is all right or all wrong."""
    rng = np.random.default_rng(seed)
    home = np.arange(n) % len(HOMES)
    places = (HOMES[home] + np.random.default_rng(2).uniform(-0.02, 0.02, (n, 2))).astype(np.float32)
    sure = (rng.random(len(HOMES)) < right)[home] if alike else rng.random(n) < right
    labels = np.arange(n) % 3
    guess = np.where(sure, labels, (labels + 1) % 3)
    more = {"places": places} if placed else {}
    more |= {"units": np.array([f"scene {one // 20}" for one in home])} if scenes else {}
    return ClassPredictions(
        np.array([f"k{i:04d}" for i in range(n)]), labels, np.eye(3, dtype=np.float32)[guess], **more
    )


def put(folder, name, scheme, predictions, *, seed=0):
    facts = f.Facts(
        stores=(f.StoreFacts(id="villages", content="c" * 64, synthetic=True),),
        split=f.SplitFacts(scheme=scheme, lists={"test": ("1" if scheme == SPATIAL else "2") * 64}),
        task=f.TaskFacts(kind="single-label", classes=("a", "b", "c")),
        backbone=f.BackboneFacts(id=name, card="d" * 64),
        protocol=f.ProtocolFacts(id="knn", version=1),
        seed=seed,
    )
    counts = {"train": 1800, "test": len(predictions.keys)}
    about = About(stores=("Villages (synthetic)",), backbone=name, samples=counts)
    return write_record(folder, facts, about=about, predictions=predictions)


def widths(folder):
    """(row, scheme) -> width of the interval that the table prints, and what it is over."""
    cells = to_objects(build_table(read_records(folder), folder))
    return {(one["backbone"], one["split"]): (one["high"] - one["low"], one["unit"]) for one in cells}


@pytest.mark.parametrize(("alike", "least", "most"), [(True, 2.0, 4.0), (False, 0.75, 1.3)])
def test_blocks_are_resampled_and_wider_where_land_is_alike(tmp_path, alike, least, most):
    predictions = run_of(right=0.7, alike=alike)
    for scheme in (OTHER, SPATIAL):
        put(tmp_path, "one", scheme, predictions)
    found = widths(tmp_path)
    assert {key[1]: unit for key, (_, unit) in found.items()} == {OTHER: "samples", SPATIAL: "blocks"}
    ratio = found["one", SPATIAL][0] / found["one", OTHER][0]
    assert least < ratio < most  # ten samples that are one: 3.2 times


def test_the_interval_is_that_of_a_slow_reading(tmp_path):
    put(tmp_path, "one", SPATIAL, run_of(right=0.7, alike=True))
    (record,) = read_records(tmp_path).records
    run = load_predictions(record, tmp_path)
    right = (run.scores.argmax(axis=1) == run.labels).astype(float)
    names, code = np.unique(block_names(run, 20), return_inverse=True)
    parts = np.bincount(code, right - right.mean()) / len(right)
    error = np.sqrt((parts**2).sum() * len(names) / (len(names) - 1))
    (cell,) = to_objects(build_table(read_records(tmp_path), tmp_path))
    assert cell["num_units"] == len(names) < 600
    half = t.ppf(0.975, len(names) - 1) * error / (right.mean() * (1 - right.mean()))
    ends = [1 / (1 + np.exp(-(np.log(right.mean() / (1 - right.mean())) + sign * half))) for sign in (-1, 1)]
    assert [cell["low"], cell["high"]] == pytest.approx(ends, abs=0.012)


def test_a_paired_difference_resamples_the_same_blocks(tmp_path):
    for scheme in (OTHER, SPATIAL):
        put(tmp_path, "one", scheme, run_of(right=0.75, alike=True))
        put(tmp_path, "other", scheme, run_of(right=0.7, alike=True, seed=5))
    found = {
        one.column.scheme: one.difference for one in c.compare(read_records(tmp_path).records, tmp_path, "one", "other")
    }
    assert found[OTHER].interval.value == found[SPATIAL].interval.value
    width = {scheme: one.interval.high - one.interval.low for scheme, one in found.items()}
    assert width[SPATIAL] > 2 * width[OTHER]
    assert (found[OTHER].test, found[SPATIAL].interval.unit) == ("exact McNemar", "blocks")
    assert found[SPATIAL].test.startswith("t test")  # McNemar's takes samples for independent
    assert found[SPATIAL].p > found[OTHER].p


def test_what_is_resampled_under_a_spatial_scheme_is_said(tmp_path):
    put(tmp_path / "land", "one", SPATIAL, run_of(right=0.7, alike=True))
    said = "Intervals under spatial-20km-2km resample blocks of land."
    assert said in to_text(build_table(read_records(tmp_path / "land"), tmp_path / "land"))
    put(tmp_path / "nowhere", "one", SPATIAL, run_of(right=0.7, alike=True, placed=False))
    table = build_table(read_records(tmp_path / "nowhere"), tmp_path / "nowhere")
    assert "Intervals under spatial-20km-2km resample samples." in table.notes
    put(tmp_path / "scenes", "one", SPATIAL, run_of(right=0.7, alike=True, scenes=True))
    table = build_table(read_records(tmp_path / "scenes"), tmp_path / "scenes")
    assert "Intervals under spatial-20km-2km resample scenes." in table.notes  # three scenes are fewer than the blocks
    put(tmp_path / "other", "one", OTHER, run_of(right=0.7, alike=True))
    assert "resample" not in " ".join(build_table(read_records(tmp_path / "other"), tmp_path / "other").notes)


def test_the_score_beside_a_difference_is_that_of_the_table(tmp_path):
    for scheme, right in ((OTHER, 0.8), (SPATIAL, 0.7)):
        put(tmp_path, "one", scheme, run_of(right=right, alike=True))
    records = read_records(tmp_path)
    (gap,) = spatial_gaps(records.records, tmp_path).gaps
    (cell,) = [one for one in to_objects(build_table(records, tmp_path)) if one["split"] == SPATIAL]
    assert (gap.scores[1].low, gap.scores[1].high) == (cell["low"], cell["high"])
    assert gap.scores[0].unit == gap.scores[1].unit == "blocks"


def test_the_reading_with_the_star_has_the_interval_of_the_table(tmp_path):
    """The interval is over blocks there, too, and few of them are called what they are."""
    few = run_of(right=0.7, alike=True)
    put(tmp_path, "one", SPATIAL, replace(few, places=(HOMES[np.arange(600) % 12]).astype(np.float32)))
    (record,) = read_records(tmp_path).records
    (cell,) = to_objects(build_table(read_records(tmp_path), tmp_path, resamples=300))
    assert (cell["unit"], cell["num_units"]) == ("blocks", 12)
    ours = [one for made in of_record(record, tmp_path, resamples=300) for one in made.readings if one.ours]
    assert ours
    for one in ours:
        assert (one.value, one.low, one.high) == (cell["value"], cell["low"], cell["high"])
        assert "only 12 blocks" in one.note


def test_why_has_the_interval_of_compare(tmp_path):
    for name, right, seed in (("one", 0.75, 0), ("other", 0.7, 5)):
        put(tmp_path, name, SPATIAL, run_of(right=right, alike=True, seed=seed))
    records = read_records(tmp_path).records
    (wanted,) = c.compare(records, tmp_path, "other", "one")
    sides = {one.facts.backbone.id: side_of(one, tmp_path) for one in records}
    ends, reason = _chance(sides["one"], sides["other"])
    assert (ends, reason) == ((wanted.difference.interval.low, wanted.difference.interval.high), "")


def test_labels_drawn_otherwise_have_an_interval_over_blocks(tmp_path):
    run = run_of(right=0.7, alike=True)
    put(tmp_path, "one", SPATIAL, run)
    (record,) = read_records(tmp_path).records
    labels = np.arange(900) % 3
    split = Split(train=np.arange(300), val=np.arange(0), test=np.arange(300, 900))
    drawn = _row(record, 0.1, _RULES[0], 0, split=split, predictions=run, labels=labels)
    (cell,) = to_objects(build_table(read_records(tmp_path), tmp_path))
    assert drawn.high - drawn.low == pytest.approx(cell["high"] - cell["low"], rel=0.1)


def test_what_an_audit_leaves_out_is_weighed_over_blocks(tmp_path):
    run = run_of(right=0.7, alike=True)
    put(tmp_path, "one", SPATIAL, run)
    (record,) = read_records(tmp_path).records
    whole = c.cell_runs([record], tmp_path, "top1").replicates[0]
    suspects = run.keys[:: len(HOMES)]  # all of one place
    change = change_without(_in_units(run, record), suspects, whole, scoring_of(record.facts))
    assert (change.samples, change.num_units) == (whole.samples, whole.num_units)


def test_a_perfect_score_has_an_interval_over_blocks(tmp_path):
    put(tmp_path, "one", SPATIAL, run_of(right=1.0, alike=True))
    (cell,) = to_objects(build_table(read_records(tmp_path), tmp_path))
    blocks_there = cell["num_units"]
    z = norm.ppf(0.975)
    assert (cell["value"], cell["high"]) == (1.0, pytest.approx(1.0))
    assert cell["low"] == pytest.approx(blocks_there / (blocks_there + z**2))  # Wilson's lower end where all are right


def test_records_with_and_without_places_are_named(tmp_path):
    put(tmp_path, "one", SPATIAL, run_of(right=0.7, alike=True))
    put(tmp_path, "other", SPATIAL, run_of(right=0.6, alike=True, seed=3, placed=False))
    with pytest.raises(ProtocolError, match="not all predictions hold places"):
        build_table(read_records(tmp_path), tmp_path)


@pytest.fixture
def drawn(monkeypatch):
    """Counts how often replicates of a difference or a score are computed."""
    counted = []
    slow = blocks._Drawing.replicates
    monkeypatch.setattr(blocks._Drawing, "replicates", lambda *given: counted.append("difference") or slow(*given))
    import seamo_bench.records.replicates as kept

    score = kept.replicate
    monkeypatch.setattr(kept, "replicate", lambda *given, **more: counted.append("score") or score(*given, **more))
    return counted


def test_differences_are_made_once_and_anew_where_a_record_changed(tmp_path, drawn):
    folder = tmp_path / "results"

    def fill(where, right):
        for seed in (0, 1):
            put(where, "one", OTHER, run_of(right=0.8, alike=True, seed=seed), seed=seed)
            put(where, "one", SPATIAL, run_of(right=right, alike=True, seed=9 + seed), seed=seed)

    fill(folder, 0.6)
    before = spatial_gaps(read_records(folder).records, folder)
    # Two runs a side: their scores, their difference, and that on the samples that both tested.
    assert (drawn.count("score"), drawn.count("difference")) == (4, 8)
    drawn.clear()
    assert spatial_gaps(read_records(folder).records, folder) == before
    assert drawn == []
    shutil.copytree(folder / "intervals", tmp_path / "kept")
    shutil.rmtree(folder)
    fill(folder, 0.5)  # the same keys, other predictions
    shutil.copytree(tmp_path / "kept", folder / "intervals")
    drawn.clear()
    after = spatial_gaps(read_records(folder).records, folder)
    assert (drawn.count("score"), drawn.count("difference")) == (2, 8)  # what is drawn depends on both sides
    fill(tmp_path / "fresh", 0.5)
    assert after == spatial_gaps(read_records(tmp_path / "fresh").records, tmp_path / "fresh")
    assert after != before


def test_damaged_replicates_of_a_difference_are_made_anew(tmp_path, drawn):
    for scheme, right in ((OTHER, 0.8), (SPATIAL, 0.7)):
        put(tmp_path, "one", scheme, run_of(right=right, alike=True))
    before = spatial_gaps(read_records(tmp_path).records, tmp_path)
    for path in (tmp_path / "intervals").iterdir():
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    drawn.clear()
    assert spatial_gaps(read_records(tmp_path).records, tmp_path) == before
    assert len(drawn) == 6
