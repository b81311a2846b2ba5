"""The comparison of `tests/same_numbers.py`: what it must see, and what it may let pass."""

import copy

import numpy as np
import pytest
import yaml

from tests.same_numbers import compare, show, unequal
from tests.same_numbers_recording import PROOF, SUITES, cell_id, hash_of


def row(backbone, key, *, protocol="knn", score=0.5, arrays="a1", seed=0):
    facts = {
        "backbone": {"id": backbone, "card": f"card of {key}"},
        "stores": [{"id": "eurosat"}, {"id": "eurosat-sar"}],
        "protocol": {"id": protocol, "params": {"k": 20}},
        "split": {"scheme": "official", "fraction": 1.0},
        "task": {"label_space": "eurosat"},
        "adapter": {"missing": "fail", "size": [64, 64]},
        "inputs": "s2 s1",
        "precision": "fp32",
        "budget": "full",
        "seed": seed,
    }
    written = {
        "facts": facts,
        "status": "ok",
        "reason": "",
        "scores": {"top1": score, "f1_positive": None},
        "per_class": {"recall": [score, None]},
    }
    seamo = backbone.startswith(("proof-seed0", "seamo-random"))
    return {
        "key": key,
        "id": cell_id(written),
        "seamo": seamo,
        "protocol": protocol,
        "arrays": arrays,
        "trained": "t1",
        "record": written,
    }


@pytest.fixture
def before():
    return {
        "only": [],
        "code": {"seamo": "s1"},
        "machine": {"processor": "this one"},
        "stores": {"eurosat": {"content": "c1", "splits": {"train": 30}}},
        "weights": {"norm.weight": "w1"},
        "records": [row("resnet18", "k1"), row("resnet18", "k2", protocol="linear"), row("proof-seed0", "k3")],
        "features": {"eurosat": {"hash": "e1", "first": [0.25, 0.5]}},
        "maps": {"resnet18 dense": "m1"},
        "tables": {"full resnet18/eurosat top1": {"value": 0.5, "low": 0.25, "metric": "top1", "p_worse": None}},
    }


@pytest.fixture
def after(before):
    return {**copy.deepcopy(before), "code": {"seamo": "s2"}}


def test_equal_recordings_have_no_difference(before, after):
    report = compare(before, after)
    assert (report.differences, report.notes) == ([], [])
    assert report.counts == {"knn": [1, 1, 1], "linear": [1, 1, 0]}
    assert "DIFFERENCES: 0" in show(report, before, after)
    assert compare(before, before).notes == ["code: both recordings are of the same modules"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda one: one["records"][0].update(arrays="a2"), "predictions a1 -> a2"),
        (lambda one: one["records"][1].update(trained=""), "trained weights t1 -> none"),
        (lambda one: one["records"][0]["record"]["scores"].update(top1=0.500002), "scores.top1 0.5 -> 0.500002"),
        (lambda one: one["records"][0]["record"]["scores"].update(top1=None), "scores.top1 0.5 -> None"),
        (lambda one: one["records"][0]["record"]["scores"].pop("f1_positive"), "scores.f1_positive None -> '(none)'"),
        (lambda one: one["records"][0]["record"]["scores"].update(top1=float("nan")), "scores.top1 0.5 -> nan"),
        (lambda one: one["records"][0]["record"]["per_class"]["recall"].append(0.1), "per_class.recall"),
        (lambda one: one["records"][0]["record"].update(status="failed"), "status 'ok' -> 'failed'"),
        (lambda one: one["records"][0].update(key="k9"), "key k1 -> k9: facts are equal"),
        (lambda one: one["records"].pop(1), "| fp32 full ok seed 0: is there only before (k2)"),
        (lambda one: one["records"].append(row("unet", "k4")), "is there only after (k4)"),
        (lambda one: one["records"].pop(2), "proof-seed0 | eurosat+eurosat-sar"),
        (lambda one: one["records"].append(row("proof-seed0", "k5", seed=1)), "seed 1: is there only after"),
        (lambda one: one["stores"]["eurosat"].update(content="c2"), "store eurosat: content 'c1' -> 'c2'"),
        (lambda one: one["stores"].update(oscd={}), "store oscd: is there only after"),
        (lambda one: one["weights"].update({"norm.weight": "w2"}), "norm.weight"),
        (lambda one: one["features"]["eurosat"].update(first=[0.25, 0.50002]), "seamo embed eurosat: differs by 2e-05"),
        (lambda one: one["features"]["eurosat"].update(first=[0.25, float("nan")]), "differs by nan"),
        (lambda one: one["features"].pop("eurosat"), "2 -> 0 numbers"),
        (lambda one: one["maps"].update({"resnet18 dense": "m2"}), "map: resnet18 dense"),
        (lambda one: one["tables"]["full resnet18/eurosat top1"].update(low=0.2501), "low 0.25 -> 0.2501"),
        (lambda one: one["tables"].clear(), "table: full resnet18/eurosat top1: is there only before"),
    ],
)
def test_every_kind_of_difference_is_seen(before, after, change, told):
    change(after)
    report = compare(before, after)
    assert len(report.differences) == 1
    assert told in report.differences[0]


def test_a_moved_key_names_the_facts_that_moved_it(before, after):
    after["records"][0] = row("resnet18", "k9")
    (told,) = compare(before, after).differences
    assert told.endswith("key k1 -> k9: backbone.card 'card of k1' -> 'card of k9'")


def test_what_may_change_is_told_and_no_difference(before, after):
    after["records"][2] = row("proof-seed0", "k7", score=0.75, arrays="a7")  # another card, another key, other numbers
    after["records"][0]["record"]["reason"] = "in other words"
    after["records"][1]["record"]["scores"]["top1"] += 5e-7
    after["features"]["eurosat"] = {"hash": "e2", "first": [0.25, 0.500001]}
    after["machine"]["processor"] = "another"
    report = compare(before, after)
    assert report.differences == []
    (told,) = report.seamo
    assert told.endswith("other key, other predictions; top1 0.5000 -> 0.7500, f1_positive none -> none")
    assert [text.partition(":")[0] for text in report.notes] == [
        "machine",
        report.notes[1].partition(":")[0],
        "seamo embed eurosat",
    ]
    assert "reason '' -> 'in other words'" in report.notes[1]


def test_parts_are_compared_with_parts(before, after):
    after["only"] = ["knn"]
    after["records"] = [one for one in after["records"] if one["protocol"] == "knn"]
    after["tables"] = {}
    assert compare(before, after).differences == []
    after["records"][0]["arrays"] = "a2"
    assert len(compare(before, after).differences) == 1


def test_the_hash_of_arrays_is_of_what_they_hold():
    plain = {"scores": np.arange(6, dtype=np.float32).reshape(2, 3), "keys": np.array(["a", "b"])}
    turned = {"keys": plain["keys"], "scores": np.asfortranarray(plain["scores"])}
    assert hash_of(turned) == hash_of(plain)
    for other in (
        {**plain, "scores": np.nextafter(plain["scores"], np.float32(9))},
        {**plain, "scores": plain["scores"].reshape(3, 2)},
        {**plain, "scores": plain["scores"].view(np.int32)},
        {"scores": plain["scores"], "names": plain["keys"]},
        {"scores": plain["scores"]},
    ):
        assert hash_of(other) != hash_of(plain)


def test_truth_is_no_number():
    assert list(unequal({"best": True}, {"best": 1})) == ["best True -> 1"]


def test_the_suites_ask_every_way_there_is():
    suites = [yaml.safe_load(path.read_text("utf-8")) for path in SUITES.values()]
    rows = [one for suite in suites for one in suite["rows"]]
    assert {one["protocol"] for one in rows} >= {"linear", "logreg", "knn", "finetune", "dense", "change"}
    dense = [one["params"] for one in rows if one["protocol"] in ("dense", "change") and one.get("params")]
    assert {(one["head"], one.get("frozen", False)) for one in dense} >= {
        ("linear", True), ("upernet", False), ("author", False), ("author", True),
    }  # fmt: skip
    assert {one.get("missing") for one in rows} >= {
        None, "zero", "mean", "nearest-wavelength", "select-columns", "new-tokenizer",
    }  # fmt: skip
    assert any(one.get("split") == "cv5x5" for one in rows)
    assert {path.name for path in PROOF.iterdir()} == {"full.yaml", "demo.yaml", "outside"}
