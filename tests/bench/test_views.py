"""Several stores of one data set: views and copies are found by what they hold, for a suite's rows and for records."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from seamo.errors import StoreError, UsageError
from seamo.manifest import parse_spec
from seamo.seal import seal_document
from seamo.store.buildplan import BuildPlan
from seamo.store.keeping import rebuild
from seamo.store.reader import Store, open_store
from seamo.store.roots import name_latest
from seamo_bench.paper.examples import store_of, stores_under
from seamo_bench.records.record import read_records
from seamo_bench.runs.plan import Places, make_plan
from seamo_bench.runs.referee import Referee
from seamo_bench.runs.run import Machine, run_plan
from seamo_bench.suites.suite import Suite
from seamo_bench.tasks.stores import find_build
from tests.bench.bench_store import toy_spec, toy_store
from tests.bench.forging import forge
from tests.bench.test_run import quiet
from tests.seamo.small_store import write_view

torch.set_num_threads(1)
SYNTHETIC = {"what": "synthetic, for tests"}
SCHEME = "hash-60-20-20"


def spaced():
    """The toy's spec with a label space of two of its three classes, too."""
    plain = toy_spec().model_dump(exclude_defaults=True)
    names = plain["label_spaces"]["own"]["classes"]
    two = {"classes": names[:2], "source": "own", "derived": {0: [0], 1: [1, 2]}}
    return parse_spec({**plain, "label_spaces": {**plain["label_spaces"], "two": two}}, "test")


@pytest.fixture
def stores(tmp_path: Path) -> dict[str, Store]:
    """A store and its views: another label space, corrected labels, other splits."""
    base = toy_store(tmp_path / "stores", n=60)
    plan = BuildPlan(base.spec, SCHEME, synthetic=SYNTHETIC)
    keys = [str(key) for key in base.index["key"]]
    turned = {key: (row + 1) % 3 for row, key in enumerate(keys)}
    made = {
        "space": write_view(base.path, replace(plan, spec=spaced())),
        "corrected": write_view(base.path, replace(plan, labels="l" * 64), labels=turned),
        "folds": write_view(base.path, replace(plan, split_scheme="cv5x5")),
    }
    return {"base": base} | {name: open_store(path) for name, path in made.items()}


def run(root: Path, *rows: dict[str, object]) -> Path:
    suite = Suite(id="x", rows=[{"store": "toy", "protocol": "knn", **row} for row in rows])
    places = Places(root / "stores", root / "results", root / "weights")
    cells = make_plan(suite, (), places)
    made = list(run_plan(cells, places, machine=Machine(), progress=quiet, inner=quiet))
    assert [one.status for one in made] == ["ok"] * len(rows), [one.reason for one in made]
    return places.results


def test_the_latest_store_is_meant_where_a_row_does_not_say(tmp_path, stores):
    folder = tmp_path / "stores" / "toy"
    rebuild(folder.parent)
    name_latest(folder.parent, stores["corrected"].path.relative_to(folder.parent).as_posix())
    for asked in ("", SCHEME):
        assert find_build(folder, asked).path == stores["corrected"].path
    assert find_build(folder, "cv5x5").path == stores["folds"].path  # it has not what is asked for
    assert find_build(folder, SCHEME, label_space="two").path == stores["space"].path
    assert find_build(folder, SCHEME, view=stores["base"].meta.view).path == stores["base"].path
    name_latest(folder.parent, stores["folds"].path.relative_to(folder.parent).as_posix())
    assert find_build(folder).path == stores["folds"].path


def test_a_row_says_which_of_several_stores_is_meant(tmp_path, stores):
    folder = tmp_path / "stores" / "toy"
    assert find_build(folder, "cv5x5").path == stores["folds"].path
    assert find_build(folder, SCHEME, label_space="two").path == stores["space"].path
    for name in ("base", "corrected"):
        view = stores[name].meta.view
        assert find_build(folder, SCHEME, view=view[:6]).path == stores[name].path
    with pytest.raises(StoreError, match=rf"4 stores.*view {view}.*3 of them have split") as error:
        find_build(folder, SCHEME)
    assert "view: ..." in error.value.fix
    with pytest.raises(StoreError, match="none of them has a view f00"):
        find_build(folder, view="f00")
    with pytest.raises(UsageError, match="3 of them have") as refusal:
        make_plan(
            Suite(id="x", rows=[{"store": "toy", "protocol": "knn"}]), (), Places(folder.parent, tmp_path, tmp_path)
        )
    assert "Say in the row of the suite which one is meant" in str(refusal.value)
    assert "seamo-prep build" not in str(refusal.value)


def test_views_of_one_content_are_one(tmp_path, stores):
    shutil.rmtree(stores["corrected"].path)
    assert stores["space"].content == stores["base"].content
    assert find_build(tmp_path / "stores" / "toy", SCHEME).path == stores["base"].path


def test_a_record_is_held_against_the_view_that_it_is_of(tmp_path, stores):
    corrected = stores["corrected"].meta.view
    results = run(
        tmp_path,
        {"view": stores["base"].meta.view, "protocol": "knn"},
        {"view": corrected},
        {"label_space": "two"},
        {"split": "cv5x5", "protocol": "logreg"},
    )
    records = read_records(results).records
    assert {one.about.identity[0]["view"] for one in records} == {store.meta.view for store in stores.values()}
    assert len({one.about.identity[0]["pixels"] for one in records}) == 1
    assert len(list((results / "features").iterdir())) == 1
    referee = Referee(tmp_path / "stores")
    everywhere = stores_under(tmp_path / "stores")
    assert len(everywhere) == 4
    for record in records:
        assert referee.problems(record, results) == ()
        assert store_of(record, everywhere).meta.view == record.about.identity[0]["view"]
    mine = next(one for one in records if one.about.identity[0]["view"] == corrected)
    shutil.rmtree(stores["corrected"].path)
    assert "has no store of content" in " ".join(Referee(tmp_path / "stores").problems(mine, results))


@pytest.mark.parametrize("honest", [True, False])
def test_a_record_of_the_format_before_is_held_against_the_copy(tmp_path, honest):
    """Its content hash was another one; the copy says which."""
    store = toy_store(tmp_path / "stores", n=60)
    results = run(tmp_path, {})
    (record,) = read_records(results).records
    old = "0ld" + "0" * 61

    def before(document):
        document["facts"]["stores"][0]["content"] = old
        document["about"]["identity"] = []

    def answers(arrays):
        return arrays if honest else {**arrays, "labels": arrays["scores"].argmax(1).astype(arrays["labels"].dtype)}

    path = forge(results, record.key, tmp_path / "old", document=before, arrays=answers)
    (forged,) = read_records(path.parent).records
    assert "has no store of content 0ld" in " ".join(Referee(tmp_path / "stores").problems(forged, path.parent))
    file = store.path / "store.json"
    told = json.loads(file.read_bytes())
    del told["digest"]
    told["provenance"] = {"was": {"format": "seamo-store/1", "build": "b", "content": old}}
    file.write_bytes(seal_document(told))
    found = " ".join(Referee(tmp_path / "stores").problems(forged, path.parent))
    assert found == "" if honest else "labels are not the store's" in found


def test_what_a_store_was_is_not_said_of_its_views(tmp_path):
    """Another split list of a copy never had that content."""
    store = toy_store(tmp_path, n=12)
    file = store.path / "store.json"
    told = json.loads(file.read_bytes())
    del told["digest"]
    told["provenance"] = {"was": {"content": "0" * 64}, "tops": ["x"]}
    file.write_bytes(seal_document(told))
    plan = BuildPlan(store.spec, "none", synthetic=SYNTHETIC)
    view = open_store(write_view(store.path, plan, provenance={"was": {"content": "1" * 64}}))
    assert view.meta.provenance == {"tops": ["x"], "was": {"content": "1" * 64}}
    other = open_store(write_view(store.path, replace(plan, split_scheme="cv5x5")))
    assert other.meta.provenance == {"tops": ["x"]}
