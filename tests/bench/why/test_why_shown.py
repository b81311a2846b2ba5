"""How an explanation is told: the command, what is kept, the waterfall, whether chance may make the difference."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from seamo.seal import seal_document
from seamo_bench.board.compare import compare
from seamo_bench.board.explanations import KIND, VERSION, KeptExplanation, kept_explanations
from seamo_bench.board.report import write_report
from seamo_bench.records.answers import Answer, write_answer
from seamo_bench.records.record import About, load_predictions, read_record, write_record
from seamo_bench.why.explained import explain, side_of
from seamo_bench.why.shown import to_text
from seamo_bench.why.waterfall import levels
from tests.bench.test_records import make_facts
from tests.bench.test_shared_results import predictions_of

torch.set_num_threads(1)


def test_a_number_without_a_paired_interval_says_why(toy, tmp_path):
    a, b = (toy.made("image-statistics", store="toy", params={"C": c}) for c in (1.0, 0.01))
    assert toy.why(a, b, runs=False).no_chance == ""
    assert toy.why(a, b, "top1", metric_b="nll", runs=False).no_chance == "the two are of different metrics"
    alone = replace(load_predictions(a, toy.results), units=np.full(len(load_predictions(a, toy.results).keys), "only"))
    for one, right in ((a, alone), (b, replace(alone, scores=1 - alone.scores))):
        write_record(tmp_path, one.facts, about=one.about, predictions=right)
    told = explain(*(side_of(read_record(tmp_path / f"{one.key}.json"), tmp_path) for one in (a, b)))
    assert told.no_chance == "one of scenes alone: no interval"
    assert "No paired interval of the difference: one of scenes alone" in to_text(told)


def test_a_kept_explanation_that_is_odd_is_left_out(tmp_path, caplog):
    whole = {
        "a": "A", "b": "B", "a_metric": "top1", "b_metric": "top1", "a_value": 0.5, "b_value": 0.6,
        "changes": [{"name": "unexplained", "effect": 0.1}], "explained": 0.0, "low": None, "high": None,
        "no_interval": "one scene", "how": "", "runs": 0, "would_run": ["A with B's split"], "notes": [],
    }  # fmt: skip
    record = write_record(
        tmp_path, make_facts(), about=About(stores=("Toy (synthetic)",), backbone="Mine"), predictions=predictions_of(1)
    )
    path = write_answer(
        tmp_path, Answer(KIND, VERSION, "seamo-bench why", {}, (record.key,), (KeptExplanation(**whole),))
    )
    assert kept_explanations(tmp_path, (record,))
    write_report(tmp_path, tmp_path / "r.html", resamples=50)
    page = (tmp_path / "r.html").read_text()
    assert "No paired interval of the difference: one scene." in page
    assert "Nothing was run for it; 1 run between the two would tell more" in page
    document = {key: value for key, value in json.loads(path.read_bytes()).items() if key != "digest"}
    for odd in (
        {"low": 0.1}, {"a_value": "high"}, {"more": 1}, {"changes": [{"name": "C"}]}, {"a_metric": "gone"}
    ):  # fmt: skip
        path.write_bytes(seal_document(document | {"rows": [whole | odd]}))
        assert not kept_explanations(tmp_path, (record,)), odd
    write_report(tmp_path, tmp_path / "r.html", resamples=50)
    assert "Why two numbers differ</h2>" not in (tmp_path / "r.html").read_text()
    assert caplog.text.count(f"{path.name}: is no answer") == 6, caplog.text


def test_the_command(toy, call, here):
    a = toy.made("image-statistics", store="toy", params={"C": 1.0})
    b = toy.made("image-statistics", store="toy", params={"C": 0.01, "max_iter": 1500})
    paths = [toy.results / f"{one.key}.json" for one in (a, b)]
    status, said = call("why", *paths, "--metric", "nll", "--json")
    assert status == 0, said
    (told,) = json.loads(said)
    assert told["difference"] == pytest.approx(b.scores["nll"] - a.scores["nll"])
    assert told["would_run"]
    words = ["--metric", "nll", "--stores", toy.stores, "-o", here / "why.png", "--threads", "1", "--device", "cpu"]
    status, said = call("why", str(paths[0])[:-50], paths[1], *words)
    assert status == 0, said
    assert "parameter C" in said
    assert "explain 100 % of the difference" in said
    assert (here / "why.png").read_bytes().startswith(b"\x89PNG")
    for arguments, message in (
        ((paths[0], "nothing"), "no record, no folder of results and no published number"),
        ((here / "nothing", paths[1]), "is no record and no folder of results"),
        ((paths[0], toy.results), "so B must be one, or a published number"),
        ((toy.results, paths[1]), "so B must be one, too"),
        ((*paths, "--results", here / "x"), "which need --stores"),
        ((*paths, "--stores", toy.stores, "--results", toy.results), "Name a folder of its own"),
        ((*paths, "-o", "why.svg"), "is no .png"),
    ):
        status, said = call("why", *arguments)
        assert (status, message in said) == (2, True), said


def test_a_kept_explanation_is_a_waterfall_of_the_report(toy, call, here):
    a = toy.made("image-statistics", store="toy", params={"C": 1.0})
    b = toy.made("image-statistics", store="toy", params={"C": 0.01, "max_iter": 1500})
    for one in (a, b):
        for name in (f"{one.key}.json", one.predictions.name):
            (here / "r").mkdir(exist_ok=True)
            (here / "r" / name).write_bytes((toy.results / name).read_bytes())
    words = ["why", f"r/{a.key}.json", f"r/{b.key}.json", "--metric", "nll", "--keep"]
    status, said = call(*words, "--stores", toy.stores, "--threads", "1", "--device", "cpu")
    assert status == 0, said
    ((kept,),) = [one.rows for one in kept_explanations(here / "r", (a, b))]
    assert kept.a_value + sum(one.effect for one in kept.changes) == pytest.approx(kept.b_value)
    assert (kept.a_value, kept.b_value) == (a.scores["nll"], b.scores["nll"])
    assert kept.changes[0].name == "parameter C"
    assert call("report", "r", "-o", "page.html")[0] == 0
    page = (here / "page.html").read_text("utf-8")
    told = page[page.index("Why two numbers differ</h2>") :]
    assert f"{b.scores['nll'] - a.scores['nll']:+.4f}" in told
    assert "1 -&gt; 0.01" in told or "1 -> 0.01" in told
    (here / "r" / f"{b.key}.json").unlink()  # it rests on a record that is gone
    assert call("report", "r", "-o", "page.html")[0] == 0
    assert "Why two numbers differ</h2>" not in (here / "page.html").read_text("utf-8")


def test_a_waterfall_begins_and_ends_at_the_numbers(toy):
    a = toy.made("image-statistics", store="toy", params={"C": 1.0})
    told = toy.why(a, toy.made("image-statistics", store="toy", params={"C": 0.01}), "nll", runs=False)
    steps = levels(told)
    assert steps[0][2] == told.values[0]
    assert steps[-2][2] == pytest.approx(told.values[1])
    assert [end for _, _, end in steps[:-2]] == pytest.approx([begin for _, begin, _ in steps[1:-1]])


def test_whether_chance_may_make_the_difference_is_what_compare_says(toy, tmp_path):
    c = {"image-statistics": 1.0, "pixel-values": 1.0}
    a, b = (toy.made(name, store="toy", into=tmp_path, params={"C": value}) for name, value in c.items())
    told = explain(side_of(a, tmp_path), side_of(b, tmp_path))
    (known,) = compare([a, b], tmp_path, *c)
    assert told.chance == pytest.approx((-known.difference.interval.high, -known.difference.interval.low))
    other = explain(side_of(a, tmp_path), side_of(b, tmp_path, "nll"))
    assert other.chance is None
