"""What may stand on either side: a record, one at an address, a published number, rows of two tables."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from seamo.errors import ProtocolError, UsageError
from seamo.files import open_files
from seamo_bench.board.explanations import kept_explanations
from seamo_bench.records.record import read_records, write_record
from seamo_bench.suites.suite import Row
from seamo_bench.why import sides
from seamo_bench.why.aspects import aspects_of
from seamo_bench.why.explained import Side, averaged, explain, side_of
from seamo_bench.why.kept import keep_explanation
from seamo_bench.why.sides import find_published, find_record, pairs_of, published_side

torch.set_num_threads(1)


def test_a_published_number_beside_a_record(demo):
    record = demo.made("image-statistics", store="eurosat")
    published = find_published("ELSEWHERE/image-statistics//eurosat-spatial/eurosat/logreg/top1/1")
    ours = side_of(record, demo.results)
    theirs, notes = published_side(published, ours, None)
    told = explain(ours, theirs, notes=notes)
    assert told.values == (record.scores["top1"], pytest.approx(0.8837))
    assert told.unexplained == pytest.approx(told.difference)  # nothing of theirs can be run
    assert any("eurosat-spatial" in note for note in told.notes)
    assert any(note.startswith("synthetic data") for note in told.notes)
    with pytest.raises(UsageError, match="Did you mean T1/SeaMo"):
        find_published("T1/SeaMo/ViT-B/eurosat/finetune")
    of_others = next(one for one in demo_published() if one.dataset == "bigearthnet-v1")
    with pytest.raises(ProtocolError, match="is of bigearthnet-v1, not eurosat"):
        published_side(of_others, side_of(record, demo.results), None)


def demo_published():
    from seamo_bench.suites.published import load_published

    return load_published()


def test_what_a_published_number_was_made_with_is_run_and_the_rest_stays_unexplained(demo, monkeypatch):
    record = demo.made("rgb-statistics", store="eurosat", params={"C": 0.001}, fraction=0.5)
    monkeypatch.setattr(sides, "recipe_of", lambda *_: Row(store="eurosat", protocol="logreg", params={"C": 1.0}))
    published = replace(find_published("T1/SeaMo/ViT-B//eurosat/finetune/top1/1"), metric="top1")
    ours = side_of(record, demo.results)
    theirs, notes = published_side(published, ours, demo.bench)
    told = explain(ours, theirs, bench=demo.bench, notes=notes)
    again = demo.made("rgb-statistics", store="eurosat").scores["top1"]  # the recipe, run by hand
    assert {one.aspects[0].name for one in told.moved} == {"parameter C", "label fraction"}
    assert sum(one.effect for one in told.moved) == pytest.approx(again - record.scores["top1"])
    assert told.unexplained == pytest.approx(0.9937 - again)
    assert f"B, run here by its facts, is {again:.4f}, not 0.9937" in told.notes

    elsewhere = find_published("elsewhere/image-statistics//eurosat-spatial/eurosat/logreg/top1/1")
    theirs, notes = published_side(elsewhere, side_of(record, demo.results), demo.bench)
    assert [one.name for one in aspects_of(record.facts, theirs.facts)] == ["label fraction"]
    assert notes[0] == "its split, eurosat-spatial, is not that of ours"


def test_rows_of_two_tables_are_paired_and_equal_ones_left_out(toy, tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    for folder, c in ((first, 1.0), (second, 0.01)):
        toy.made("image-statistics", store="toy", into=folder, params={"C": c})
        toy.made("image-statistics", store="toy", protocol="knn", into=folder)
        toy.made("image-statistics", store="toy", into=folder, fraction=0.5, seeds=2, params={"C": c})
    toy.made("pixel-values", store="toy", into=second)
    rows, alone = pairs_of(first, second, "nll")
    assert sorted(len(row) for row in rows) == [1, 2]
    assert {one.a.facts.protocol.id for row in rows for one in row} == {"logreg"}
    assert alone == ("only in B: pixel-values | toy | logreg, seed 0",)
    seeds = [explain(one.a, one.b) for one in max(rows, key=len)]
    mean = averaged(seeds)
    assert mean.a == "image-statistics | toy | logreg, mean of 2 seeds"
    assert mean.difference == pytest.approx(np.mean([one.difference for one in seeds]))
    assert [one.aspects[0].name for one in mean.moved] == ["parameter C"]
    assert mean.moved[0].effect == pytest.approx(mean.difference)
    assert averaged([seeds[0], replace(seeds[1], moved=())]) is None
    assert all(one.chance or one.no_chance for one in seeds)
    assert set(mean.records) == {key for one in seeds for key in one.keys}
    keep_explanation(first, mean, made_by="seamo-bench why first second --keep")
    records = read_records(first).records
    ((kept,),) = [one.rows for one in kept_explanations(first, records)]
    assert (kept.low, kept.no_interval) == (None, "it is the mean of 2 seeds, each of which has one of its own")
    gone = seeds[1].keys[0]  # the second seed is no less behind it than the first
    assert not kept_explanations(first, tuple(one for one in records if one.key != gone))
    with pytest.raises(UsageError, match="no record of it is there"):
        keep_explanation(tmp_path / "elsewhere", mean, made_by="seamo-bench why")


def test_records_are_named_by_their_addresses(toy, call, here, bucket):
    records = [toy.made("image-statistics", store="toy", params={"C": c}) for c in (1.0, 0.01)]
    files = open_files(f"{bucket}/results")
    for one in records:
        for name in (f"{one.key}.json", one.predictions.name):
            files.put_once(name, (toy.results / name).read_bytes())
    there = [f"{bucket}/results/{one.key}.json" for one in records]
    for a, b in (there, (toy.results / f"{records[0].key}.json", there[1])):
        status, said = call("why", a, b, "--metric", "nll")
        assert (status, "parameter C" in said) == (0, True), said
    status, said = call("why", f"{bucket}/results", toy.results)
    assert (status, said.startswith("no row differs")) == (0, True), said
    assert not list(here.glob("tmp/seamo-*"))


def test_a_side_is_a_record_with_a_score(toy, tmp_path):
    a = toy.made("image-statistics", store="toy")
    failed = write_record(tmp_path, a.facts, about=a.about, status="failed", reason="it rained")
    with pytest.raises(ProtocolError, match="has no score, it is failed: it rained"):
        side_of(failed, tmp_path)
    assert find_record(tmp_path / failed.key[:10])[0].key == failed.key
    assert find_record(tmp_path / "zzz") is None
    other = Side(
        "x", "f1_positive", a.facts.model_copy(update={"task": a.facts.task.model_copy(update={"kind": "change"})})
    )
    with pytest.raises(ProtocolError, match="are scores of different tasks"):
        explain(side_of(a, toy.results), other)


def test_the_nearest_rows_belong_together_whichever_key_comes_first(toy, tmp_path):
    """Half of the labels has no partner: the whole one takes the row of another C, though its key may come later."""
    places = [tmp_path / name for name in "ab"]
    toy.made("image-statistics", into=places[0], store="toy")
    toy.made("image-statistics", into=places[0], store="toy", fraction=0.5)
    toy.made("image-statistics", into=places[1], store="toy", params={"C": 0.002})
    rows, alone = pairs_of(*places)
    ((pair,),) = rows
    assert pair.a.facts.split.fraction == pair.b.facts.split.fraction == 1.0
    assert len(alone) == 1
    assert alone[0].startswith("only in A")
