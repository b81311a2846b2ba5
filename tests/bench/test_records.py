"""Records: what the key depends on, what is on disk, and what a referee finds."""

import hashlib
import json

import numpy as np
import pytest
from pydantic import BaseModel, ValidationError

from seamo.errors import ProtocolError
from seamo_bench import facts as f
from seamo_bench.predictions import ClassPredictions, TilePredictions
from seamo_bench.records import record as r
from seamo_bench.records.examine import verify
from seamo_bench.runs.results import OnDisk

CLASSES = ("Forest", "River", "Sea")


def make_facts(seed=0):
    steps = (f.StepFacts(op="affine", a=(1000.0, 900.0), b=(200.0, 250.0)),)
    return f.Facts(
        stores=(f.StoreFacts(id="eurosat", content="c" * 64, subset=True),),
        split=f.SplitFacts(scheme="official", lists={"train": "1" * 64, "test": "2" * 64}),
        task=f.TaskFacts(kind="single-label", classes=CLASSES, label_space="eurosat"),
        backbone=f.BackboneFacts(id="net", card="d" * 64, weights="e" * 64),
        adapter=f.AdapterFacts(
            inputs=(
                f.InputFacts(
                    sensor="s2", stack="s2", bands=("B02", "B03"), unit="dn", steps=steps, statistics="of the store"
                ),
            ),
            missing="fail",
            size=(64, 64),
        ),
        protocol=f.ProtocolFacts(id="linear", version=1, params={"epochs": 100, "lrs": (0.1, 0.01)}),
        seed=seed,
    )


ABOUT = r.About(stores=("EuroSAT subset (202 of 27,000)",), backbone="Net")


def make_predictions(n=30, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    scores = rng.normal(size=(n, 3)) + np.eye(3)[labels]
    return ClassPredictions(np.array([f"a/{i}" for i in range(n)]), labels, scores.astype(np.float32))


def paths(value, prefix=()):
    """Every leaf of the facts, as (path, value)."""
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from paths(getattr(value, name), (*prefix, name))
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from paths(item, (*prefix, name))
    elif isinstance(value, tuple) and value:
        for i, item in enumerate(value):
            yield from paths(item, (*prefix, i))
    else:
        yield prefix, value


def changed(facts, path, value):
    plain = facts.model_dump(mode="json")
    inner = plain
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = value
    return f.Facts.model_validate(plain)


def other(path, value):
    if path[-1] == "kind":
        return "multi-label"
    if path[-1] == "budget":
        return "demo"
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if value is None:
        return 1
    return "other" if isinstance(value, str) else ["B09"]


def test_the_key_changes_with_every_fact():
    facts = make_facts()
    keys = {(): f.run_key(facts)}
    for path, value in paths(facts):
        keys[path] = f.run_key(changed(facts, path, other(path, value)))
    assert len(keys) > 30
    assert len(set(keys.values())) == len(keys)


def test_facts_have_no_field_for_what_changes_nothing():
    names = {path[-1] for path, _ in paths(make_facts())}
    assert not names & {"device", "workers", "host", "revision", "eval_batch", "environment", "cost"}
    plain = make_facts().model_dump(mode="json") | {"device": "cuda"}
    with pytest.raises(ValidationError, match="device"):
        f.Facts.model_validate(plain)


def test_the_key_is_the_published_one():
    # A frozen value: if this fails, every record in the world has lost its key.
    small = f.Facts(
        stores=(f.StoreFacts(id="a", content="b"),),
        split=f.SplitFacts(scheme="official", lists={"test": "c"}),
        task=f.TaskFacts(kind="single-label", classes=("x", "y")),
        backbone=f.BackboneFacts(id="n", card="d"),
        protocol=f.ProtocolFacts(id="knn", version=1),
    )
    text = (
        '{"backbone":{"card":"d","id":"n"},"protocol":{"id":"knn","version":1},'
        '"split":{"lists":{"test":"c"},"scheme":"official"},"stores":[{"content":"b","id":"a"}],'
        '"task":{"classes":["x","y"],"kind":"single-label"}}'
    )
    assert f.run_key(small) == hashlib.sha256(text.encode()).hexdigest()


def test_write_read_verify(tmp_path):
    p = make_predictions()
    written = r.write_record(tmp_path, make_facts(), about=ABOUT, predictions=p)
    assert written.scores["top1"] == pytest.approx((p.scores.argmax(axis=1) == p.labels).mean())
    found = r.read_records(tmp_path)
    assert found == r.RecordSet((written,))
    assert OnDisk(tmp_path).record(f.run_key(make_facts())) == written
    assert OnDisk(tmp_path).record(f.run_key(make_facts(seed=1))) is None
    loaded = r.load_predictions(written, tmp_path)
    for name in ("keys", "labels", "scores", "units", "folds"):
        assert np.array_equal(getattr(loaded, name), getattr(p, name)), name
    assert loaded.scores.dtype == np.float32
    assert verify(written, tmp_path) == ()


def test_dense_and_multi_label_predictions_survive(tmp_path):
    confusion = np.random.default_rng(0).integers(0, 9, (4, 3, 3))
    tiles = TilePredictions(
        np.array(list("abcd")),
        confusion,
        np.array(["x", "x", "y", "y"]),
        ids=np.arange(12, dtype=np.uint8) % 3,
        shapes=np.array([[1, 3]] * 4),
    )
    facts = make_facts().model_copy(update={"task": f.TaskFacts(kind="segmentation", classes=CLASSES, positive=1)})
    record = r.write_record(tmp_path, facts, about=ABOUT, predictions=tiles)
    loaded = r.load_predictions(record, tmp_path)
    assert isinstance(loaded, TilePredictions)
    assert np.array_equal(loaded.confusion, confusion)
    assert loaded.units.tolist() == ["x", "x", "y", "y"]
    assert np.array_equal(loaded.ids, tiles.ids)
    labels = np.array([[1, 0, 0], [0, 1, 1]])
    many = ClassPredictions(np.array(["a", "b"]), labels, np.zeros((2, 3), np.float32), scale="probabilities")
    facts = make_facts().model_copy(
        update={
            "task": f.TaskFacts(kind="multi-label", classes=CLASSES),
            "protocol": f.ProtocolFacts(id="linear", version=1, params={"score_batches": (2,)}),
        }
    )
    record = r.write_record(tmp_path, facts, about=ABOUT, predictions=many)
    assert record.scores["micro_ap_per_batch_2"] == record.scores["micro_ap"] == 0.5
    loaded = r.load_predictions(record, tmp_path)
    assert loaded.scale == "probabilities"
    assert np.array_equal(loaded.labels, labels)
    assert all(verify(one, tmp_path) == () for one in r.read_records(tmp_path).records)


def test_the_same_run_gives_the_same_bytes_apart_from_cost_and_environment(tmp_path):
    for name, seconds, host in (("one", 1.5, "a"), ("two", 99.0, "b")):
        r.write_record(
            tmp_path / name,
            make_facts(),
            about=ABOUT,
            predictions=make_predictions(),
            cost=r.Cost(seconds=seconds),
            environment={"host": host},
        )
    one, two = sorted((tmp_path / "one").iterdir()), sorted((tmp_path / "two").iterdir())
    assert [path.name for path in one] == [path.name for path in two]
    plain = [json.loads(files[0].read_text()) for files in (one, two)]
    assert plain[0] != plain[1]
    for document in plain:
        del document["cost"], document["environment"]
    assert plain[0] == plain[1]
    assert one[1].read_bytes() == two[1].read_bytes()
    again = r.write_record(
        tmp_path / "one",
        make_facts(),
        about=ABOUT,
        predictions=make_predictions(),
        cost=r.Cost(seconds=1.5),
        environment={"host": "a"},
    )
    assert (tmp_path / "one" / f"{again.key}.json").read_bytes() == one[0].read_bytes()


def test_blanks_need_a_reason_and_have_no_scores(tmp_path):
    record = r.write_record(
        tmp_path, make_facts(), about=ABOUT, status="impossible", reason="needs B8A, the store has none"
    )
    assert r.read_records(tmp_path).records == (record,)
    assert verify(record, tmp_path) == ()
    with pytest.raises(ProtocolError, match="no predictions, it is impossible: needs B8A"):
        r.load_predictions(record, tmp_path)
    with pytest.raises(ProtocolError, match="needs a reason"):
        r.write_record(tmp_path, make_facts(), about=ABOUT, status="failed")
    with pytest.raises(ProtocolError, match="needs predictions"):
        r.write_record(tmp_path, make_facts(), about=ABOUT)


def test_damage_is_reported_with_its_reason(tmp_path):
    record = r.write_record(tmp_path, make_facts(), about=ABOUT, predictions=make_predictions())
    good = tmp_path / f"{record.key}.json"
    document = json.loads(good.read_text())
    (tmp_path / "a.json").write_text(good.read_text()[:100])
    (tmp_path / "b.json").write_text(json.dumps(document | {"unknown": 1}))
    document["facts"]["seed"] = 7
    (tmp_path / "c.json").write_text(json.dumps(document))
    (tmp_path / "d.json").write_text(good.read_text())
    (tmp_path / ".hidden.json.123.part").write_text("{")
    found = r.read_records(tmp_path)
    assert found.records == (record,)
    assert [one.path.name for one in found.damaged] == ["a.json", "b.json", "c.json", "d.json"]
    reasons = [one.reason for one in found.damaged]
    assert "not a record of format 1" in reasons[0]
    assert "unknown" in reasons[1]
    assert "facts were changed" in reasons[2]
    assert "not its name" in reasons[3]


def test_the_referee_finds_a_better_score_and_other_predictions(tmp_path):
    record = r.write_record(tmp_path, make_facts(), about=ABOUT, predictions=make_predictions())
    liar = record.model_copy(update={"scores": record.scores | {"top1": 0.99}})
    assert any(problem.startswith("top1 is 0.99") for problem in verify(liar, tmp_path))
    liar = record.model_copy(update={"scores": record.scores | {"top0": 1.0}})
    assert any("top0" in problem for problem in verify(liar, tmp_path))
    liar = record.model_copy(update={"scores": {}})
    assert verify(liar, tmp_path) == ("its main score top1 is missing",)
    older = {name: value for name, value in record.scores.items() if name != "nll"}  # than the metric
    assert verify(record.model_copy(update={"scores": older}), tmp_path) == ()
    liar = record.model_copy(update={"per_class": {"recall": (1.0, 1.0, 1.0)}})
    assert any("per-class recall" in problem for problem in verify(liar, tmp_path))
    liar = record.model_copy(update={"facts": make_facts(seed=3)})
    assert any("key" in problem for problem in verify(liar, tmp_path))
    file = tmp_path / f"{record.key}.npz"
    data = bytearray(file.read_bytes())
    data[200] ^= 1
    file.write_bytes(bytes(data))
    assert any("sha256" in problem for problem in verify(record, tmp_path))
    file.unlink()
    assert any("not there" in problem for problem in verify(record, tmp_path))


def test_a_predictions_name_cannot_leave_the_folder(tmp_path):
    record = r.write_record(tmp_path / "results", make_facts(), about=ABOUT, predictions=make_predictions())
    outside = tmp_path / record.predictions.name
    (tmp_path / "results" / record.predictions.name).rename(outside)
    climbing = record.model_copy(
        update={"predictions": r.PredictionsFile(name=f"../{outside.name}", sha256=record.predictions.sha256)}
    )
    with pytest.raises(ProtocolError, match="not there"):
        r.load_predictions(climbing, tmp_path / "results")


def test_a_full_disk_leaves_no_record(tmp_path, monkeypatch):
    def full(path, _data):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(r, "write_atomically", full)
    with pytest.raises(OSError, match="No space left"):
        r.write_record(tmp_path, make_facts(), about=ABOUT, predictions=make_predictions())
    assert r.read_records(tmp_path) == r.RecordSet(())


def test_a_record_of_another_format_says_which(tmp_path):
    facts = make_facts()
    record = r.write_record(tmp_path, facts, about=ABOUT, predictions=make_predictions())
    path = tmp_path / f"{record.key}.json"
    plain = json.loads(path.read_text()) | {"format": 2, "environment": {"seamo": "0.9"}}
    path.write_text(json.dumps(plain))
    (damage,) = r.read_records(tmp_path).damaged
    assert damage.reason == "is a record of format 2, written by seamo 0.9; this seamo reads format 1: use a newer one"
    path.write_text(json.dumps({"anything": 1}))
    (damage,) = r.read_records(tmp_path).damaged
    assert "is not a record of format 1" in damage.reason
