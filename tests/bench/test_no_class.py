"""Images without any class: negatives where the data set says so, else left out and counted, never without a word.

So are tested images without any pixel.
"""

import numpy as np
import pytest
import torch

import seamo_bench
from seamo.errors import ManifestError
from seamo.manifest import TaskSpec, parse_spec, shipped_manifest
from seamo.sample import Sample
from seamo.store.buildplan import BuildPlan, view8
from seamo_bench.cli.plan_view import listing, overview
from seamo_bench.records.record import load_predictions, read_records
from seamo_bench.runs.plan import Places, make_plan
from seamo_bench.runs.referee import Referee
from seamo_bench.runs.run import Machine, run_plan
from seamo_bench.suites.suite import load_suite
from tests.bench.bench_store import build_store, toy_samples, toy_spec
from tests.bench.dense_store import dense_samples, dense_spec, write_store
from tests.bench.test_run import quiet

torch.set_num_threads(1)
N = 60
SUITE = """
id: sets
rows:
  - {store: sets, protocol: knn}
  - {store: sets, protocol: knn, label_space: two}
  - {store: sets, protocol: logreg, split: cv5x5}
"""


def truth(i):
    """Set of classes of sample i: of twelve one has none, one no label, and one only the class that `two` lacks."""
    special = {0: (), 5: None, 7: (2,)}
    return special.get(i % 12, ((0,), (0, 1), (1, 2))[i % 3])


def spec_of(no_class):
    plain = toy_spec(kind="multi-label").model_dump(exclude_defaults=True)
    names = plain["label_spaces"]["own"]["classes"]
    two = {"classes": names[:2], "source": "own", "derived": {0: [0], 1: [1]}}
    task = {"kind": "multi-label", "label_space": "own", **({"no_class": no_class} if no_class else {})}
    spaces = {**plain["label_spaces"], "two": two}
    return parse_spec({**plain, "id": "sets", "task": task, "label_spaces": spaces}, "test")


def made(root, no_class):
    spec = spec_of(no_class)
    samples = [
        Sample(one.key, one.layers, label=truth(i))
        for i, one in enumerate(toy_samples(toy_spec(kind="multi-label"), N))
    ]
    return build_store(root, spec, samples)


@pytest.fixture(scope="module", params=["", "negative"])
def world(request, tmp_path_factory):
    root, results = tmp_path_factory.mktemp("stores"), tmp_path_factory.mktemp("results")
    store = made(root, request.param)
    suite = tmp_path_factory.mktemp("suite") / "sets.yaml"
    suite.write_text(SUITE)
    places = Places(root, results, results / "weights")
    cells = make_plan(load_suite(str(suite)), ("image-statistics",), places)
    list(run_plan(cells, places, machine=Machine(), progress=quiet, inner=quiet))
    return request.param, store, results, cells


def expected(store, splits, *, space, negative):
    """Split -> keys that count and keys that are left out, by hand."""
    counted, out = {name: set() for name in splits}, dict.fromkeys(splits, 0)
    for i in range(N):
        split = store.index["split"][i] if "all" not in splits else "all"
        label = truth(i)
        classes = None if label is None else [k for k in label if k < (2 if space == "two" else 3)]
        if classes or (negative and classes is not None):
            counted[split].add(f"s{i:04d}")
        else:
            out[split] += 1
    return counted, {name: count for name, count in out.items() if count}


@pytest.mark.parametrize("space", ["own", "two"])
def test_who_counts_and_who_is_left_out(world, space):
    no_class, store, results, cells = world
    negative = no_class == "negative"
    counted, out = expected(store, ("train", "val", "test"), space=space, negative=negative)
    (record,) = [
        one for one in read_records(results).records
        if one.facts.task.label_space == space and one.facts.protocol.id == "knn"
    ]  # fmt: skip
    assert record.about.samples == {name: len(keys) for name, keys in counted.items()}
    predictions = load_predictions(record, results)
    assert set(predictions.keys.tolist()) == counted["test"]
    (none,) = [np.flatnonzero(~predictions.labels.any(axis=1))]
    empty = {key for key in counted["test"] if not [k for k in truth(int(key[1:])) if k < (2 if space == "two" else 3)]}
    assert set(predictions.keys[none].tolist()) == empty
    assert bool(len(empty)) == negative
    told = ", ".join(f"{name} {count}" for name, count in out.items())
    want = f"left out: {sum(out.values())} samples without any class of {space} ({told})"
    assert [flag.text for flag in record.flags if "left out" in flag.text] == [want]
    assert want in overview(cells)
    assert any(want in row["checks"] for row in listing(cells))


def test_folds_count_them_too(world):
    no_class, store, results, _ = world
    counted, out = expected(store, ("all",), space="own", negative=no_class == "negative")
    (record,) = [one for one in read_records(results).records if one.facts.protocol.id == "logreg"]
    assert record.about.samples == {"all": len(counted["all"])}
    assert any(
        f"{out['all']} samples without any class of own (all {out['all']})" in flag.text for flag in record.flags
    )


def test_scores_with_negatives_are_scikit_learn_s(world):
    _, _, results, _ = world
    metrics = pytest.importorskip("sklearn.metrics")
    for record in read_records(results).records:
        if record.facts.protocol.id == "knn":
            one = load_predictions(record, results)
            assert record.scores["micro_ap"] == pytest.approx(
                metrics.average_precision_score(one.labels, one.scores, average="micro")
            )
            assert record.scores["macro_ap"] == pytest.approx(
                metrics.average_precision_score(one.labels, one.scores, average="macro")
            )


def test_the_referee_counts_as_the_run_did(world):
    _, store, results, _ = world
    referee = Referee(store.path.parent.parent)
    for record in read_records(results).records:
        assert referee.problems(record, results) == ()


def test_evaluate_says_it(world):
    no_class, store, _, _ = world
    backbone = seamo_bench.load_backbone("image-statistics", store=store)
    (one,) = seamo_bench.evaluate(backbone, store, "knn")
    count = sum(truth(i) is None or (not truth(i) and no_class != "negative") for i in range(N))
    assert any(f"left out: {count} samples" in note for note in one.notes)


def test_tiles_whose_pixels_are_all_ignored_are_counted(tmp_path):
    spec = dense_spec()
    samples, splits = dense_samples(spec, 4)
    blank = next(one.key for one in samples if splits[one.key] == "test")
    samples = [
        Sample(one.key, one.layers, label=np.full_like(one.label, 255), scene=one.scene, offset=one.offset)
        if one.key == blank else one
        for one in samples
    ]  # fmt: skip
    write_store(tmp_path / "stores", spec, samples, splits)
    suite = tmp_path / "suite.yaml"
    suite.write_text("id: d\nrows:\n  - {store: scenes, protocol: dense, params: {frozen: true}}\n")
    places = Places(tmp_path / "stores", tmp_path / "results", tmp_path / "weights")
    (cell,) = make_plan(load_suite(str(suite)), ("pixel-values",), places)
    assert any(flag.text == "left out: 1 sample without any class of own (test 1)" for flag in cell.flags)


def test_tested_images_without_any_pixel_are_counted(tmp_path):
    spec = toy_spec()
    root, suite = tmp_path / "stores", tmp_path / "suite.yaml"
    store = build_store(tmp_path / "whole", spec, toy_samples(spec, N))
    tested = set(store.index["key"][store.rows("test")][:2])
    fills = {layer.id: layer.fill_value for layer in spec.layers}
    blank = [
        Sample(one.key, {k: np.full_like(v, fills[k]) for k, v in one.layers.items()}, label=one.label)
        if one.key in tested else one
        for one in toy_samples(spec, N)
    ]  # fmt: skip
    build_store(root, spec, blank)
    row = f"store: {spec.id}, protocol: knn"
    suite.write_text(f"id: b\nrows:\n  - {{{row}}}\n  - {{{row}, split: cv5x5}}\n")
    for stores, count in ((tmp_path / "whole", 0), (root, 2)):
        places = Places(stores, tmp_path / "results", tmp_path / "weights")
        for cell in make_plan(load_suite(str(suite)), ("image-statistics",), places):
            total = N if cell.row.split == "cv5x5" else len(store.rows("test"))
            want = f"{count} of {total} test samples hold no measured pixel: what is said of them is a guess"
            assert [flag.text for flag in cell.flags if "measured" in flag.text] == [want] * bool(count)


def test_the_field_is_of_multi_label_tasks_and_moves_no_address():
    assert TaskSpec(kind="multi-label", label_space="a").model_dump() == {"kind": "multi-label", "label_space": "a"}
    plain, told = (view8(BuildPlan(spec_of(value), "official")) for value in ("", "left out"))
    assert plain == told
    assert view8(BuildPlan(spec_of("negative"), "official")) != plain
    assert parse_spec(spec_of("negative").model_dump(mode="json"), "again").task.no_class == "negative"
    entry = {**toy_spec().model_dump(exclude_defaults=True), "task": {"kind": "single-label", "no_class": "negative"}}
    with pytest.raises(ManifestError, match="multi-label"):
        parse_spec(entry, "test")
    # BigEarthNet's authors leave patches without a class of the nineteen out of every list.
    assert {spec.task.no_class for spec in shipped_manifest().values()} == {"left out"}
