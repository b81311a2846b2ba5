"""The published numbers, ours beside them, Table 15 and submissions; values typed in from the paper."""

import json
import re

import numpy as np
import pytest

from seamo.errors import ProtocolError, UsageError
from seamo_bench.facts import (
    AdapterFacts,
    BackboneFacts,
    Facts,
    InputFacts,
    ProtocolFacts,
    SplitFacts,
    StoreFacts,
    TaskFacts,
)
from seamo_bench.paper.compute import compute_table, network_table
from seamo_bench.paper.compute import to_markdown as compute_markdown
from seamo_bench.paper.identity import family_of, is_seamo
from seamo_bench.paper.reproduce import reproduce, to_csv, to_markdown
from seamo_bench.predictions import ClassPredictions
from seamo_bench.records.record import About, Cost, read_records, write_record
from seamo_bench.records.submit import submit
from seamo_bench.suites.published import load_published
from seamo_bench.suites.suite import load_suite
from seamo_bench.zoo.catalogue import cards
from tests.bench.bench_store import build_store, toy_samples, toy_spec


def test_values_typed_in_from_the_paper():
    found = {(one.table, one.model, one.dataset, one.inputs, one.metric): one.value for one in load_published()}
    assert found["T1", "SeaMo", "eurosat", (), "top1"] == 99.37
    assert found["T1", "SeaMo", "fmow-sentinel", (), "top1"] == 58.25
    assert found["T1", "SeaMo", "bigearthnet-v1", ("s2",), "micro_ap"] == 88.54
    assert found["T2", "CROMA", "bigearthnet-v1", ("s2",), "micro_ap"] == 83.41
    assert found["T3", "SeaMo", "dfc2020", ("s2",), "miou_present_tilewise"] == 49.79
    assert found["T5", "SeaMo", "oscd", (), "f1_positive_tilewise"] == 54.54
    assert found["T6", "SeaMo", "eurosat-sar", (), "top1"] == 89.69
    assert found["T7", "SeaMo", "bigearthnet-v1", ("s1",), "micro_ap"] == 82.23
    count = {table: sum(one.table == table for one in load_published()) for table in ("T1", "T2", "T5", "T9", "T15")}
    assert count == {"T1": 33, "T2": 33, "T5": 9, "T9": 24, "T15": 8}
    ids = [one.id for one in load_published()]
    assert len(set(ids)) == len(ids)


def test_values_of_others_typed_in_from_their_pages():
    found = {(o.model, o.arch, o.dataset, o.variant, o.protocol): o.value for o in load_published("elsewhere")}
    assert len(found) == 68
    assert found["SatMAE", "ViT-L", "fmow-sentinel", "", "finetune"] == 63.84
    assert found["SSL4EO-MAE", "ViT-S/16", "eurosat", "random 80/20", "finetune"] == 98.7
    assert found["CROMA", "ViT-B", "eurosat", "m-eurosat", "logreg"] == 93.1
    assert found["Image statistics", "", "eurosat", "eurosat-spatial", "logreg"] == 88.37
    assert found["DOFA", "ViT-L", "bigearthnet-v2", "benv2", "knn"] == 66.63
    assert all(one.source.startswith("github.com/") and one.fraction == 1.0 for one in load_published("elsewhere"))
    known = {one.backbone for one in load_published("elsewhere")}
    assert {name for name in known if not name.startswith("torchgeo:")} - {""} <= set(cards())


def test_pairs_of_iou_and_f1_that_cannot_be_are_marked_and_no_others():
    pairs = {}
    for one in load_published():
        if one.table == "T9":
            pairs.setdefault((one.model, one.dataset), {})[one.metric] = one
    for pair in pairs.values():
        iou, f1 = pair["iou_positive"], pair["f1_positive"]
        gap = abs(200 * iou.value / (100 + iou.value) - f1.value)
        assert (gap > 0.7) == ("do not fit" in f1.note), f1.id


def test_the_last_row_of_table_12_is_the_headline_and_deltas_add_up():
    twelve = {(one.variant, one.dataset, one.inputs): one.value for one in load_published() if one.table == "T12"}
    ben, sar = ("bigearthnet-v1", ("s2",)), ("bigearthnet-v1", ("s1",))
    assert twelve["unimodal", *ben] == pytest.approx(88.54 - 1.23)
    assert twelve["siamese-temporal", *sar] == pytest.approx(82.23 + 0.45)


CLASSES = tuple(f"class {k}" for k in range(10))


def facts_of(backbone="run", *, budget="full", subset=False, **params):
    """As a record of suite `paper`'s first row, EuroSAT with the printed recipe, would have them."""
    row = load_suite("paper").rows[0]
    return Facts(
        stores=(StoreFacts(id="eurosat", content="c" * 64, subset=subset),),
        split=SplitFacts(scheme="spectralgpt-2way", lists={"test": "t"}),
        task=TaskFacts(kind="single-label", classes=CLASSES),
        backbone=BackboneFacts(id=backbone, card="card"),
        protocol=ProtocolFacts(id="finetune", version=1, params={**row.params, **params}),
        adapter=AdapterFacts(
            inputs=(InputFacts(sensor="s2", stack="s2", bands=("B02",), unit="dn", steps=()),),
            missing="fail",
            size=(8, 8),
        ),
        budget=budget,
    )


def write(folder, facts, *, title="A run", family="seamo", wrong=0, status="ok", **options):
    labels = np.arange(40) % 10
    scores = np.eye(10, dtype=np.float32)[labels]
    scores[:wrong] = np.roll(scores[:wrong], 1, axis=1)
    keys = np.array([f"k{i}" for i in range(40)])
    given = {"predictions": ClassPredictions(keys, labels, scores)} if status == "ok" else {"reason": "needs B10"}
    samples = {"train": 100, "val": 20, "test": 40}
    about = About(stores=("EuroSAT",), backbone=title, family=family, samples=samples)
    return write_record(folder, facts, about=about, status=status, **given, **options)


def row_of(folder, model="SeaMo", **options):
    records = read_records(folder).records
    rows = [
        one for one in reproduce(records, folder, table="T1", resamples=200, **options) if one.published.model == model
    ]
    return next(one for one in rows if one.published.dataset == "eurosat")


def test_the_printed_recipe_is_the_same_protocol(tmp_path):
    write(tmp_path, facts_of(), wrong=10)
    found = row_of(tmp_path)
    assert (found.verdict, found.why) == ("same protocol", ())
    assert found.difference == pytest.approx(75.0 - 99.37)
    assert found.ours.low < 0.75 < found.ours.high
    assert any("not stated" in text for text in found.decided)
    assert any(text.startswith("smoothing") for text in found.decided)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"epochs": 100}, "epochs: 100 instead of 150 (printed)"),
        ({"base_lrs": (2e-4, 1e-2)}, "base_lrs: 0.0002, 0.01 instead of 0.01 (printed)"),
        ({"budget": "demo"}, "demo budget"),
        ({"subset": True}, "a subset: EuroSAT"),
    ],
)
def test_what_differs_is_named(tmp_path, changes, why):
    write(tmp_path, facts_of(**changes))
    found = row_of(tmp_path)
    assert (found.verdict, found.why) == ("different", (why,))


def test_what_is_decided_here_makes_no_difference(tmp_path):
    write(tmp_path, facts_of(smoothing=0.0))
    found = row_of(tmp_path)
    assert found.verdict == "same protocol"
    assert "smoothing: 0.0 instead of 0.1" in found.decided


def test_the_closest_run_is_taken_or_the_named_one(tmp_path):
    write(tmp_path, facts_of("far", epochs=3))
    write(tmp_path, facts_of("near"))
    write(tmp_path, facts_of("random"), title="SeaMo, a copy", family="theirs")
    assert row_of(tmp_path).backbone == "near"
    assert row_of(tmp_path, backbone="far").verdict == "different"


@pytest.mark.parametrize(
    ("backbone", "about", "family"),
    [
        ("night-seed3", {"family": "seamo"}, "seamo"),
        ("night-seed3", {"group": "night"}, "seamo"),  # of before there was the field: only our runs named a group
        ("seamo-random", {"floor": "random init"}, "seamo"),
        ("galileo-nano+helper-normalisation", {}, "galileo"),
        ("gone", {}, ""),
    ],
)
def test_whose_a_record_is_does_not_depend_on_its_title(tmp_path, backbone, about, family):
    told = About(stores=("EuroSAT",), backbone="SeaMo of somebody", **about)
    record = write_record(tmp_path, facts_of(backbone), about=told, status="failed", reason="for a test")
    assert family_of(record) == family
    assert is_seamo(record) == (backbone == "night-seed3")


def test_why_there_is_nothing_of_ours(tmp_path):
    tmp_path.joinpath("x").mkdir()
    write(tmp_path, facts_of("croma-base-s2"), title="CROMA", family="croma", status="impossible")
    assert row_of(tmp_path, "CROMA").why == ("impossible: needs B10",)
    assert row_of(tmp_path, "CROMA").verdict == "cannot be run"
    assert row_of(tmp_path, "I-JEPA").why == ("its weights are not public",)
    assert row_of(tmp_path, "DOFA").verdict == "not run"
    assert row_of(tmp_path).verdict == "not run"
    with pytest.raises(UsageError, match="Tables 1 to 9"):
        reproduce((), tmp_path, table="T10")


def test_every_published_row_is_listed_once(tmp_path):
    rows = reproduce((), tmp_path)
    assert len(rows) == sum(one.table in {f"T{n}" for n in range(1, 10)} for one in load_published())
    assert len(to_csv(rows).splitlines()) == len(rows) + 1
    assert to_markdown(rows).count("\n## Table") == 9


def test_every_row_of_the_paper_says_what_is_missing_to_run_it(tmp_path):
    rows = reproduce((), tmp_path)
    assert all(row.missing for row in rows)
    assert all(any("store: " in text for text in row.missing) for row in rows)
    told = {(row.published.table, row.published.model, row.published.dataset): row for row in rows}
    seamo, theirs = told["T1", "SeaMo", "eurosat"], told["T1", "GASSL", "eurosat"]
    assert seamo.missing[0] == "weights: none of the paper are public; pretrain seamo-base (Table 15) and name the run"
    assert theirs.missing == ("weights: moco_geo+tp.pth.tar", "store: eurosat, real and whole, split spectralgpt-2way")
    assert told["T1", "I-JEPA", "eurosat"].missing[0] == "weights: not public"
    assert told["T1", "I-JEPA", "eurosat"].gpu_hours is None
    # Three seeds of 150 epochs of 14,580 images, three passes each, a ViT-B on 256 tokens (44 GFLOPs), 10 TFLOP/s.
    assert seamo.gpu_hours == pytest.approx(3 * 3 * 150 * 14_580 * 44e9 / 10e12 / 3600, rel=0.1)
    text = to_markdown(rows)
    assert "| to run it | GPU h | note |" in text
    assert re.search(r"\| 5,8\d\d \|", text)  # U-Net on GLH-Water; hours are read by people
    assert "e+0" not in text
    (tmp_path / "moco_geo+tp.pth.tar").write_bytes(b"")
    found = {row.published.id: row for row in reproduce((), tmp_path, table="T1", weights=tmp_path)}
    assert found[theirs.published.id].missing == theirs.missing[1:]


def test_a_synthetic_store_is_not_the_one_that_is_missing(tmp_path):
    spec = toy_spec().model_copy(update={"id": "eurosat"})
    store = build_store(tmp_path, spec, toy_samples(spec, 6))
    row = next(one for one in reproduce((), tmp_path, table="T1", stores=tmp_path) if one.published.model == "SeaMo")
    assert store.meta.synthetic is not None
    assert row.missing[1] == "store: eurosat, real and whole, split spectralgpt-2way (there: a synthetic one)"


def test_what_others_published_is_shown_where_we_have_the_model_and_never_as_the_same(tmp_path):
    assert len(reproduce((), tmp_path, table="elsewhere")) == 68
    facts = facts_of("image-statistics")
    protocol = ProtocolFacts(id="logreg", version=1)
    spatial = SplitFacts(scheme="eurosat-spatial", lists={"test": "t"})
    write(tmp_path, facts.model_copy(update={"protocol": protocol, "split": spatial}))
    rows = [row for row in reproduce(read_records(tmp_path).records, tmp_path) if row.published.table == "elsewhere"]
    assert {(row.published.variant, row.verdict) for row in rows} == {
        ("eurosat-spatial", "different"), ("m-eurosat", "different"),
    }  # fmt: skip
    why = {row.published.variant: row.why for row in rows}
    assert why["m-eurosat"] == (
        "split: eurosat-spatial instead of m-eurosat",
        "theirs: L-BFGS; 2,000 train, 1,000 test; 224 px, all bands, z-score",
    )
    assert why["eurosat-spatial"] == ("theirs: L-BFGS; 16,200 train, 5,400 test; 224 px, all bands, z-score",)
    text = to_markdown(rows)
    assert "## Published elsewhere" in text
    assert "| Image statistics | eurosat top1, logreg | 88.37 |" in text
    assert "github.com/torchgeo/torchgeo-bench" in text


def test_table_15_measures_what_ran_and_estimates_the_rest(tmp_path):
    # 2 h for one learning rate: 1e9 FLOPs x (3 x 150 x 100 + 20 + 40) images / 7200 s.
    cost = Cost(seconds=7200.0, flops_per_sample=1e9)
    write(tmp_path, facts_of(), cost=cost, environment={"device": "cuda: some GPU"})
    rows = {(one.task, one.dataset): one for one in compute_table(read_records(tmp_path).records, tmp_path)}
    assert len(rows) == 8
    ours = rows["classification", "eurosat+eurosat-sar"]
    assert (ours.kind, ours.hours, ours.trainings, ours.paper_hours) == ("measured", 2.0, 1, 6.0)
    rate = 1e9 * (3 * 150 * 100 + 20 + 40) / 7200
    pretraining = rows["pretraining", "ssl4eo-s12"]
    assert pretraining.kind == "estimate"
    flops = 250e3 * (20 * 110.2e9 + 200 * 468.9e9)  # the notes' 2.42e19 without the embedding of hidden patches
    assert pretraining.hours == pytest.approx(flops / rate / 3600, rel=0.001)
    assert "some GPU" in pretraining.note
    for task, dataset in (("change-detection", "oscd"), ("segmentation", "segmunich")):
        assert "about " in rows[task, dataset].note  # of a number of samples that nobody published


def test_table_15_has_no_blanks_before_anything_ran(tmp_path):
    rows = {one.dataset: one for one in compute_table((), tmp_path) if one.task != "ablations"}
    assert all(one.kind == "estimate" and one.hours > 0 for one in rows.values())
    assert all("10 TFLOP/s, stated for one GPU" in one.note for one in rows.values())
    flops = 250e3 * (20 * 110.2e9 + 200 * 468.9e9)  # hidden patches are not embedded
    assert rows["ssl4eo-s12"].hours == pytest.approx(flops / 10e12 / 3600, rel=0.001)
    # A ViT-B on 256 tokens is about 2 x 86 M x 256 = 44 GFLOPs, times 3 passes x 50 epochs x 1,134 tiles, two dates.
    assert rows["oscd"].hours == pytest.approx(2 * (3 * 50 * 1134 + 810) * 44e9 / 10e12 / 3600, rel=0.3)


def test_networks_are_listed_by_what_an_image_costs(tmp_path):
    gpu = {"device": "cuda: some GPU"}
    for seed, rate in enumerate((90.0, 100.0, 500.0)):
        cost = Cost(seconds=1.0, flops_per_sample=2e9, samples_per_second=rate, parameters=1_000_000)
        write(tmp_path, facts_of(seed=seed), cost=cost, environment=gpu)
    write(tmp_path, facts_of("unmeasured"), cost=Cost(seconds=1.0))
    (row,) = network_table(read_records(tmp_path).records)
    assert (row.images_per_second, row.records, row.flops, row.device) == (100.0, 3, 2e9, "cuda: some GPU")
    text = compute_markdown((), (row,))
    assert "| 1,000,000 | 2 | 100 | cuda: some GPU |" in text


def test_submit_copies_what_holds_and_refuses_the_rest(tmp_path):
    good, bad = write(tmp_path / "a", facts_of("one")), write(tmp_path / "a", facts_of("two"))
    blank = write(tmp_path / "a", facts_of("three"), status="impossible")
    text = json.loads((tmp_path / "a" / f"{bad.key}.json").read_text())
    text["scores"]["top1"] = 0.5
    (tmp_path / "a" / f"{bad.key}.json").write_text(json.dumps(text))
    there = tmp_path / "b"
    first = {one.key: one for one in submit(tmp_path / "a", there)}
    assert {key: one.outcome for key, one in first.items()} == {
        good.key: "copied", blank.key: "copied", bad.key: "refused",
    }  # fmt: skip
    assert "scores" in first[bad.key].reason
    assert {one.key for one in read_records(there).records} == {good.key, blank.key}
    assert (there / f"{good.key}.npz").read_bytes() == (tmp_path / "a" / f"{good.key}.npz").read_bytes()
    assert {one.outcome for one in submit(tmp_path / "a", there)} == {"there already", "refused"}
    write(tmp_path / "c", facts_of("one"), wrong=4)
    (other,) = submit(tmp_path / "c", there)
    assert (other.outcome, "other predictions" in other.reason) == ("refused", True)
    with pytest.raises(ProtocolError, match="own folder"):
        list(submit(there, there))
