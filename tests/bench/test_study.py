"""Studies: controls matched by hand arithmetic, shared runs, and a whole small study, resumed and recomputed."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from seamo.disk import drop_scratch
from seamo.errors import ProtocolError, UsageError
from seamo.files import open_files
from seamo.pretrain.recipe import differences
from seamo.store.reader import open_store
from seamo_bench.cli import main
from seamo_bench.paper.study import report_of, run_study, tasks_of, to_objects
from seamo_bench.paper.study_cluster import run_study_on_cluster
from seamo_bench.paper.study_report import to_markdown, write_report
from seamo_bench.runs.plan import Places
from seamo_bench.runs.run import Machine
from seamo_bench.suites import studies
from seamo_bench.suites.published import load_published
from seamo_bench.suites.study_file import load_study, only_sensor, pretrainings
from tests.bench.bench_store import toy_store
from tests.dask_cluster import scheduler_here
from tests.seamo.small_store import build_small_store

torch.set_num_threads(1)
SEASONS, SITES = 4, 250_000


def runs_of(study, row, **changes):
    options = {"seasons": SEASONS, "places": SITES, "content": "c", "budget": "full", **changes}
    return pretrainings(study, study.row(row), **options)


def test_flops_and_images_of_the_published_schedule():
    # GFLOP a place: 111.0 in stage 1, 472.1 in stage 2, 443.9 without TM (arithmetic of shapes, method notes), less 0.8
    # a date for the embedding of hidden patches, which is left out: 3 * 2 * 192 patches * 14 * 64 values * 768.
    one, two, without = 111.0 - 0.8, 472.1 - 3.2, 443.9 - 3.2
    (default,) = runs_of(load_study("table11"), "default")
    assert default.flops == pytest.approx(250e12 * (20 * one + 200 * two), rel=1e-3)
    assert default.images == 250_000 * (20 * 2 + 200 * 8)
    (same,) = runs_of(load_study("table11"), "none-flops")
    assert same.stage2_epochs == round(200 * two / without) == 213
    assert same.recipe.stage2.warmup_epochs == pytest.approx(21.3)
    assert same.flops == pytest.approx(default.flops, rel=0.5 * without / (200 * two))


def test_controls_without_seasons_see_as_many_images():
    study = load_study("table12")
    (plain,), (control,) = runs_of(study, "multimodal"), runs_of(study, "multimodal-images")
    assert plain.images == 250_000 * 2 * (20 + 200)
    assert control.stage2_epochs == 800  # 2 * 20 + 2 * 800 = 2 * 20 + 8 * 200
    assert control.recipe.data.season_sampling == "random"
    assert control.images == runs_of(study, "multimodal-temporal")[0].images


def test_a_unimodal_row_is_one_model_a_sensor():
    s2, s1 = runs_of(load_study("table12"), "unimodal")
    assert (s2.sensors, s1.sensors) == (("s2",), ("s1",))
    assert s1.recipe.data.stacks == {"s1": "s1"}
    assert (s1.recipe.model.strategy, s1.recipe.model.temporal) == ("unimodal", False)
    data = {"stacks": {"s2": "s2a", "s1": "s1"}, "statistics": {"s2": "store", "s1": "store"}, "split": "all"}
    entry = {"model": {"bands": {"s2": ["B02"], "s1": ["VV"]}, "dim": 8}, "data": data}
    assert only_sensor(entry, "s1")["data"] == {"stacks": {"s1": "s1"}, "statistics": {"s1": "store"}, "split": "all"}


def test_the_same_recipe_is_one_run_in_every_study_and_another_store_another():
    paper = [study for study in map(load_study, studies()) if study.table]
    assert (len(paper), len({runs_of(study, "default")[0].name for study in paper})) == (5, 1)
    table11, table12 = load_study("table11"), load_study("table12")
    assert runs_of(table11, "none")[0].name == runs_of(table12, "multimodal-temporal")[0].name
    assert runs_of(table11, "none", content="d")[0].name != runs_of(table11, "none")[0].name
    every = [one.name for study in map(load_study, studies()) for row in study.rows for one in runs_of(study, row.id)]
    assert len(set(every)) > 35


@pytest.mark.parametrize("name", sorted(studies()))
def test_every_row_of_the_paper_is_in_its_study(name):
    study = load_study(name)
    published = {one.variant for one in load_published() if one.table == study.table}
    assert published <= {row.id for row in study.rows}
    assert tasks_of(study)
    for row in study.rows:
        assert runs_of(study, row.id, budget="demo", places=20)


def test_what_a_real_run_should_know_first_costs_a_tenth_a_row_and_changes_what_it_says():
    study = load_study("before-real")
    runs = {row.id: runs_of(study, row.id)[0] for row in study.rows}
    whole = runs_of(load_study("table13"), "default")[0]
    assert [one.flops for one in runs.values()] == pytest.approx([whole.flops / 10] * 7)
    recipes = {name: one.recipe for name, one in runs.items()}
    changed = {name: differences(recipes["default"].to_dict(), one.to_dict()) for name, one in recipes.items()}
    assert changed["per-channel"] == ["model.norm_pix: 'joint' -> 'per_channel'"]
    assert changed["s1-quarter"] == ["model.loss_weight.s1: None -> 0.25"]
    assert changed["near-native"] == ["crop.rate: [0.5, 1.0] -> [0.25, 1.0]"]
    assert changed["together"] == sorted(changed["per-channel"] + changed["s1-quarter"] + changed["near-native"])
    # The smallest crop of 264 pixels is 132, the native resolution of 128; the largest of `native` is 12 m a pixel.
    low, high = recipes["native"].crop.rate
    assert (264 * low**0.5 / 128, 264 * high**0.5 / 128) == (
        pytest.approx(1.03, abs=0.01),
        pytest.approx(1.22, abs=0.01),
    )


def test_wrong_studies_say_what_is_wrong(tmp_path):
    path = tmp_path / "bad.yaml"
    row = "{id: default, label: x}"
    for text, message in (
        (f"id: a\nrecipe: seamo-tiny\nrows: [{row}, {row}]", "one id"),
        ("id: a\nrecipe: seamo-tiny\nrows: [{id: other, label: x}]", "is no row"),
        (f"id: a\nrecipe: seamo-tiny\nrows: [{row}, {{id: b, label: b, match: {{to: c, by: flops}}}}]", "no other row"),
        (f"id: a\nrecipe: seamo-tiny\nrows: [{row}]\nseed: 3", "seed"),
    ):
        path.write_text(text)
        with pytest.raises(ProtocolError, match=message):
            load_study(str(path))
    with pytest.raises(UsageError, match="no study 'table9'"):
        load_study("table9")


RECIPE = {
    "name": "mite",
    "model": {
        "bands": {"s2": ["B02", "B03", "B04", "B08", "B11"], "s1": ["VV", "VH"]},
        "size": 16, "patch": 8, "dim": 16, "depth": 1, "heads": 2, "decoder": {"depth": 1, "width": 16, "heads": 2},
    },
    "crop": {},
    "data": {"stacks": {"s2": "s2a", "s1": "s1"}, "statistics": {"s2": "store", "s1": "store"}},
    "stage1": {"epochs": 1, "warmup_epochs": 0},
    "stage2": {"epochs": 2, "warmup_epochs": 0},
    "optimiser": {"batch": 8, "base_lr": 0.01},
    "compute": {"precision": "fp32"},
    "machine": {"micro_batch": 8, "threads": 1, "workers": 1},
}  # fmt: skip


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A study of four rows on small synthetic stores: one is a model a sensor, one diverges."""
    root = tmp_path_factory.mktemp("study")
    store = build_small_store(root / "pretrain")
    toy_store(root / "stores")
    (root / "mite.yaml").write_text(yaml.safe_dump(RECIPE))
    (root / "down.yaml").write_text(
        "id: down\nrows:\n- {store: toy, protocol: linear, inputs: [s2], seeds: 2, params: {steps: 5}}\n"
    )
    study = {
        "id": "small",
        "recipe": str(root / "mite.yaml"),
        "suite": str(root / "down.yaml"),
        "rows": [
            {"id": "default", "label": "as it is"},
            {"id": "none", "label": "no block", "set": ["model.tm={mode: none}"]},
            {"id": "unimodal", "label": "one sensor", "each_sensor": True, "set": ["model.tm={mode: none}"]},
            {"id": "diverges", "label": "too fast", "set": ["optimiser.base_lr=1.0e+30"]},
        ],
    }
    (root / "small.yaml").write_text(yaml.safe_dump(study))
    return root, load_study(str(root / "small.yaml")), open_store(store.path)


def go(small, places=None):
    root, study, store = small
    places = places or Places(root / "stores", root / "results", root / "weights")
    said = []

    def quiet(done, total, what):
        del done, total, what

    lines = run_study(
        study, store, places, budget="full", machine=Machine(), say=said.append, progress=quiet, inner=quiet
    )
    return report_of(study, lines, places, budget="full", store=store.title), places, said


def test_a_whole_study_and_again_and_on_a_scheduler(small):
    root, study, store = small
    report, places, said = go(small)
    rows = {row["id"]: row for row in report["rows"]}
    assert set(rows) == {"default", "none", "unimodal", "diverges", "random init"}
    task = "toy s2"
    assert "not finite" in rows["diverges"]["reason"]
    assert "value" not in rows["diverges"]["scores"][task]
    assert any("failed" in text for text in said)
    assert [len(row["runs"]) for row in report["rows"]] == [1, 1, 2, 1, 0]

    def top1(keys):
        found = []
        for key in keys:
            with np.load(places.results / f"{key}.npz") as file:
                found.append(float((file["scores"].argmax(axis=1) == file["labels"]).mean()))
        return float(np.mean(found))

    default = top1(rows["default"]["scores"][task]["records"])
    for name in ("default", "none", "unimodal", "random init"):
        cell = rows[name]["scores"][task]
        assert len(cell["records"]) == 2  # of `unimodal` the model of s2 alone
        assert cell["value"] == pytest.approx(top1(cell["records"]))
        if name != "default":
            assert cell["difference"] == pytest.approx(cell["value"] - default)
            told = not cell["difference_low"] <= 0 <= cell["difference_high"]
            assert cell["verdict"] == "not told apart" or told  # no claim beyond the interval
    path = Path(write_report(report, places.results))
    text = path.read_text()
    assert "One pretraining a row" in text
    assert "SYNTHETIC" in text
    assert json.loads(path.with_suffix(".json").read_text())["reference"] == "default"
    assert to_markdown(report) == text

    with scheduler_here() as address:  # the same study, from nothing
        there = Places(root / "stores", root / "there", root / "weights")
        lines = run_study_on_cluster(
            study, store, there, scheduler=address, budget="full", machine=Machine(), threads=1, say=said.append,
            progress=lambda _done, _total, _what: None,
        )  # fmt: skip
    again = to_objects(study, lines, there, budget="full", store=store.title)["rows"]
    assert json.dumps(again).replace(str(there.results), str(places.results)) == json.dumps(report["rows"])

    kept = {one: one.stat().st_mtime_ns for one in places.results.rglob("*") if one.suffix in (".npz", ".safetensors")}
    again = go(small)[0]
    assert again["rows"][0] == report["rows"][0]
    assert kept.items() <= {one: one.stat().st_mtime_ns for one in kept}.items()


@pytest.mark.soak
def test_a_study_whose_results_lie_at_an_address(small, bucket: str, tmp_path: Path, monkeypatch, capsys) -> None:
    root, study, store = small
    report, places, said = go(small)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    there = Places(root / "stores", Path(bucket), root / "weights")
    with scheduler_here() as address:
        lines = run_study_on_cluster(
            study, store, there, scheduler=address, budget="full", machine=Machine(), threads=1, say=said.append,
            progress=lambda _done, _total, _what: None,
        )  # fmt: skip
    made = report_of(study, lines, there, budget="full", store=store.title)
    assert json.dumps(made).replace(bucket, str(places.results)) == json.dumps(report)  # reasons name places
    again, _, _ = go(small, there)
    assert again == made
    words = ["seamo-bench", "study", str(root / "small.yaml"), "--store", store.url, "--stores", str(root / "stores")]
    monkeypatch.setattr("sys.argv", [*words, "--results", bucket, "--device", "cpu"])
    with pytest.raises(SystemExit) as end:
        main()
    assert (end.value.code, capsys.readouterr().out) == (1, f"{bucket}/studies/small.md\n")  # one row diverges
    assert open_files(bucket).read("studies/small.md").decode() == to_markdown(made)
    drop_scratch()
    assert not list(tmp_path.glob("seamo-*"))
    sealed = {name for name in open_files(bucket).names("runs") if name.endswith("/checksums.json")}
    assert len({name.split("/")[1] for name in sealed}) == len(list((places.results / "runs").glob("*/final")))
