"""The six expectations: each met, partly met, not met and not known on planted records, cards and published numbers."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from seamo_bench import facts as f
from seamo_bench.backbones.seamo import _pretraining
from seamo_bench.board.expectations import EXPECTATIONS, Elsewhere, EvaluationPlace, Known, LicenceTerms, to_objects
from seamo_bench.board.judging import scorecard
from seamo_bench.board.leaderboard import build_table
from seamo_bench.board.report import write_report
from seamo_bench.paper.reproduce import TABLES, recipe_of
from seamo_bench.predictions import ClassPredictions
from seamo_bench.protocols import find_protocol
from seamo_bench.questions.expectations import judged_board, place_of, published_of, terms_of
from seamo_bench.records.record import About, read_records, write_record
from seamo_bench.suites.published import load_published
from seamo_bench.suites.suite import load_suite
from seamo_bench.zoo.catalogue import card_digest, cards, find_card

IDS = [one.id for one in EXPECTATIONS]
CORE = (EvaluationPlace("eurosat", "linear", 1.0), EvaluationPlace("bigearthnet-v1", "knn", 1.0, "s2"))
DRAWING = {"linear": True, "knn": False}
LICENSED = {"mine": LicenceTerms("MIT", "weights"), "other": LicenceTerms("MIT", "weights")}


def predictions(name: str, n: int = 120) -> ClassPredictions:
    labels = np.random.default_rng(1).integers(0, 4, n)
    rng = np.random.default_rng(sum(map(ord, name)))
    guess = np.where(rng.random(n) < 0.7, labels, (labels + 1) % 4)
    return ClassPredictions(np.array([f"k{i:03d}" for i in range(n)]), labels, np.eye(4, dtype=np.float32)[guess])


def put(folder: Path, name: str, *, store="eurosat", protocol="linear", seed=0, code="1.0", version=1, **more):
    """A record of a model; whatever else of its facts, and what tables print of it, as asked."""
    status = more.pop("status", "ok")
    made = f.Facts(
        stores=(f.StoreFacts(id=store, content=more.pop("content", "c" * 64), synthetic=more.pop("synthetic", False)),),
        split=f.SplitFacts(
            scheme=more.pop("scheme", "official"),
            lists={"train": "1" * 64, "test": "2" * 64},
            fraction=more.pop("fraction", 1.0),
        ),
        task=f.TaskFacts(kind="single-label", classes=("a", "b", "c", "d"), label_space=more.pop("label_space", store)),
        backbone=f.BackboneFacts(id=name, card=more.pop("card", "d" * 64), weights=more.pop("weights", "w")),
        protocol=f.ProtocolFacts(id=protocol, version=version, params=more.pop("params", {})),
        inputs=more.pop("inputs", ""),
        budget=more.pop("budget", "full"),
        seed=seed,
    )
    return write_record(
        folder,
        made,
        about=About(stores=(store.title(),), backbone=name.title(), **more),
        status=status,
        reason="" if status == "ok" else "the store lacks a band",
        predictions=predictions(f"{name}{seed}") if status == "ok" else None,
        environment={"seamo": code},
    )


def judged(folder: Path, *, terms=LICENSED, core=CORE, published=(), drawing=DRAWING, mixed=False):
    """(model -> expectation -> cell), the leaderboard's own under ``."""
    table = build_table(read_records(folder), folder, resamples=50, mixed=mixed)
    found = scorecard(table, Known(terms, core, published, drawing))
    cells = {one.name: dict(zip(IDS, one.cells, strict=True)) for one in found.models}
    assert all(list(one) == [cell.expectation for cell in one.values()] for one in cells.values())
    return cells | {"": dict(zip(IDS, found.board, strict=True))}


@pytest.mark.parametrize(
    ("terms", "met"),
    [
        ({"mine": LicenceTerms("MIT", "weights")}, "met"),
        ({"mine": LicenceTerms("", "nothing")}, "met"),
        ({"mine": LicenceTerms("GPL-3.0 (repository)", "code")}, "partly"),
        ({"mine": LicenceTerms("", "weights")}, "not met"),
        ({"mine": LicenceTerms("", "unknown")}, "not known"),
        ({"mine": LicenceTerms("", "changed")}, "not known"),
        ({}, "not known"),
    ],
)
def test_a_licence_is_named_or_it_is_not(tmp_path: Path, terms, met) -> None:
    record = put(tmp_path, "mine")
    cell = judged(tmp_path, terms=terms)["mine"]["licence"]
    assert cell.met == met
    assert cell.records == (record.key,)


@pytest.mark.parametrize(
    ("second", "met"),
    [
        (LicenceTerms("MIT", "weights"), "met"),
        (LicenceTerms("", "nothing"), "met"),
        (LicenceTerms("MIT", "code"), "partly"),
        (LicenceTerms("", "weights"), "not met"),
        (LicenceTerms("", "unknown"), "not known"),
        (None, "not known"),
    ],
)
def test_a_group_is_as_free_as_its_least(tmp_path: Path, second, met) -> None:
    for seed in range(2):
        put(tmp_path, f"net-{seed}", group="net", pretraining_seed=seed, pretraining={"a": "1"})
    terms = {"net-0": LicenceTerms("MIT", "weights")} | ({"net-1": second} if second else {})
    assert judged(tmp_path, terms=terms)["net"]["licence"].met == met


def test_an_untrained_network_needs_no_licence(tmp_path: Path) -> None:
    put(tmp_path, "mine")
    put(tmp_path, "twin", floor="random init")
    cells = judged(tmp_path, terms={})
    assert (cells["twin"]["licence"].met, cells["mine"]["licence"].met) == ("met", "not known")


def test_cards_say_what_they_say() -> None:
    """Read from the catalogue by hand: what is named, what is not, and what needs nothing."""
    listed = {name: found.card for name, found in cards().items()}
    for card in listed.values():
        terms = terms_of(card)
        if card.availability == "none needed":
            assert terms == LicenceTerms("", "nothing")
        elif card.weights is None:
            assert terms.scope == "unknown"
        elif card.weights.licence in ("MIT", "Apache-2.0", "CC-BY-4.0", "CC-BY-NC-4.0", "ODC-BY", "dinov3-license"):
            assert terms == LicenceTerms(card.weights.licence, "weights")
        elif "(repository)" in card.weights.licence:
            assert terms.scope == "code"
        elif card.weights.licence == "unknown: see the model's page (code: Apache-2.0)":
            assert terms == LicenceTerms("Apache-2.0", "code")
        else:
            assert card.weights.licence == "none stated"
            assert terms == LicenceTerms("", "weights")
    bare = replace(listed["softcon-vitb14-s2"].weights, licence="unknown: see the model's page")
    assert terms_of(replace(listed["softcon-vitb14-s2"], weights=bare)) == LicenceTerms("", "unknown")
    assert terms_of(listed["croma-base-s2"]) == LicenceTerms(listed["croma-base-s2"].weights.licence, "weights")


def test_the_core_is_whole_in_part_or_not_there(tmp_path: Path) -> None:
    put(tmp_path, "mine")
    put(tmp_path, "mine", store="bigearthnet-v1", protocol="knn", inputs="s2")
    put(tmp_path, "part")
    put(tmp_path, "part", store="bigearthnet-v1", protocol="knn", inputs="s1")  # another sensor's
    put(tmp_path, "told")
    put(tmp_path, "told", store="bigearthnet-v1", protocol="knn", inputs="s2", status="impossible")
    put(tmp_path, "broken")
    put(tmp_path, "broken", store="bigearthnet-v1", protocol="knn", inputs="s2", status="failed")
    put(tmp_path, "none", store="dfc2020")
    cells = judged(tmp_path)
    assert {name: cells[name]["core"].met for name in ("mine", "part", "told", "broken", "none")} == {
        "mine": "met",
        "part": "partly",
        "told": "partly",
        "broken": "partly",
        "none": "not met",
    }
    assert "not run: bigearthnet-v1 s2 knn" in cells["part"]["core"].evidence
    assert len(cells["mine"]["core"].records) == 2
    assert cells[""]["core"].met == "partly"
    assert cells[""]["core"].evidence[-1] == "0 of 2 core evaluations have a score of every model"


def test_synthetic_data_is_no_core_evaluation(tmp_path: Path) -> None:
    put(tmp_path, "mine", synthetic=True)
    cell = judged(tmp_path, core=CORE[:1])["mine"]["core"]
    assert cell.met == "partly"
    assert "synthetic" in cell.evidence[-1]


def test_stores_that_are_not_there_meet_nothing(tmp_path: Path) -> None:
    """A record that a cell cannot be run is written for want of a store, too."""
    put(tmp_path, "mine")
    put(tmp_path, "mine", store="bigearthnet-v1", protocol="knn", inputs="s2", status="impossible", content="")
    put(tmp_path, "none", status="impossible", content="")
    cells = judged(tmp_path, mixed=True)
    assert cells["mine"]["core"].met == "partly"
    assert any("cannot be run" in line and line.endswith(": 1") for line in cells["mine"]["core"].evidence)
    assert judged(tmp_path, core=CORE[:1], mixed=True)["none"]["core"].met == "not met"


@pytest.mark.parametrize(
    ("changed", "met"),
    [({}, "met"), ({"k": 7}, "not met"), ({"scheme": "hash-60-20-20"}, "not met"), ({"inputs": "s2:B02"}, "not met")],
)
def test_another_split_setting_or_input_is_another_question(tmp_path: Path, changed, met) -> None:
    core = (EvaluationPlace("eurosat", "linear", 1.0, scheme="official", params=(("full", '{"k": 5}'),)),)
    params = {"k": changed.pop("k", 5)}
    put(tmp_path, "mine", params=params, **changed)
    assert judged(tmp_path, core=core)["mine"]["core"].met == met


def test_a_row_of_the_core_asks_for_its_own_settings(tmp_path: Path) -> None:
    (row,) = [one for one in load_suite("core").rows if one.store == "dfc2020"]
    place = place_of(row)
    full = json.loads(dict(place.params)["full"])
    assert (full["head"], full["frozen"], full["base_lrs"]) == ("linear", True, [0.001, 0.01, 0.1])
    demo = json.loads(dict(place.params)["demo"])
    same = {"store": "dfc2020", "protocol": "dense", "inputs": "s2", "fraction": 0.1, "scheme": place.scheme}
    assert place.is_of(put(tmp_path, "mine", **same, params=full))
    assert not place.is_of(put(tmp_path, "mine", **same, params={**full, "epochs": 1}))
    assert not place.is_of(put(tmp_path, "mine", **same, params={**full, "epochs": 7}, budget="demo"))
    assert place.is_of(put(tmp_path, "mine", **same, params=demo, budget="demo"))


def test_published_numbers_are_run_again_or_stand_as_copied(tmp_path: Path) -> None:
    mine, other = put(tmp_path, "mine").key, put(tmp_path, "other", store="dfc2020").key
    here = Elsewhere("T1/x", frozenset({mine}), frozenset({mine}))
    there = Elsewhere("T1/y", frozenset({mine}), frozenset())
    assert judged(tmp_path, published=(here,))["mine"]["copied"].met == "met"
    some = judged(tmp_path, published=(here, there, Elsewhere("T2", frozenset({other}), frozenset())))
    assert some["mine"]["copied"].met == "partly"
    assert "1 of 2 published numbers" in some["mine"]["copied"].evidence[1]
    assert some["other"]["copied"].met == "partly"
    alone = judged(tmp_path, published=(here,))
    assert alone["other"]["copied"].met == "not known", "nothing is published of it"
    assert alone[""]["copied"].met == "partly"
    assert judged(tmp_path)[""]["copied"].met == "not known"


def test_what_counts_as_run_again(tmp_path: Path) -> None:
    """A real number of CROMA: on another selection, or with a quirk, it was not run again."""
    (number,) = [
        one
        for one in load_published("elsewhere")
        if (one.backbone, one.dataset, one.protocol, one.variant) == ("croma-base-s2", "eurosat", "knn", "m-eurosat")
    ]
    same = {"store": "eurosat", "protocol": "knn"}
    records = [
        put(tmp_path, "croma-base-s2", **same, scheme="m-eurosat"),
        put(tmp_path, "croma-base-s2", **same),
        put(tmp_path, "croma-base-s2", **same, scheme="m-eurosat", synthetic=True),
        put(tmp_path, "croma-base-s2", **same, scheme="m-eurosat", budget="demo"),
        put(tmp_path, "croma-base-s2+no-such-quirk", **same, scheme="m-eurosat"),
        put(tmp_path, "dofa-base-s2", **same, scheme="m-eurosat"),
    ]
    (found,) = [one for one in published_of(records) if one.id == number.id]
    assert found.again == {records[0].key}
    assert found.of == {one.key for one in records[:5]}, "with a quirk it is the model that the number is of"


def test_published_numbers_of_seamo_are_of_any_run_of_it(tmp_path: Path) -> None:
    run = put(tmp_path, "a-run-of-ours", protocol="linear", family="seamo", group="a-run")
    floor = put(tmp_path, "seamo-random", family="seamo", floor="random init")
    of_seamo = published_of([run, floor])
    wanted = {one.id for one in load_published() if one.backbone == "seamo" and one.table in TABLES and one.value}
    assert {one.id for one in of_seamo if one.of == {run.key}} >= wanted
    assert len(wanted) > 10
    assert not any(one.id.startswith(("T10", "T15", "F15")) for one in of_seamo)
    assert not any(one.again for one in of_seamo), "by settings that the paper does not print"
    row = recipe_of(next(one for one in load_published() if one.table == "T1" and one.backbone == "seamo"))
    assert row is not None
    again = put(
        tmp_path,
        "a-run-of-ours",
        store=row.store,
        protocol=row.protocol,
        params={**find_protocol(row.protocol).defaults, **row.params},
        fraction=row.fraction,
        inputs=row.asks,
        scheme=row.split or "official",
        label_space=row.label_space or row.store,
        family="seamo",
    )
    assert [one.id[:3] for one in published_of([again]) if one.again] == ["T1/"]


def test_variance_needs_seeds_where_a_run_draws(tmp_path: Path) -> None:
    put(tmp_path, "lone")
    for seed in range(2):
        put(tmp_path, "twice", seed=seed)
    put(tmp_path, "still", protocol="knn")
    put(tmp_path, "tenth", protocol="knn", fraction=0.1)
    cells = judged(tmp_path)
    met = {name: cells[name]["variance"].met for name in ("lone", "twice", "still", "tenth")}
    assert met == {"lone": "partly", "twice": "met", "still": "met", "tenth": "partly"}
    foreign = judged(tmp_path, drawing={"linear": True})
    assert foreign["still"]["variance"].met == "not known", "nobody here knows whether it draws"
    assert (foreign["tenth"]["variance"].met, foreign["twice"]["variance"].met) == ("partly", "met")


def test_one_harness_is_one_version_of_everything(tmp_path: Path) -> None:
    put(tmp_path, "mine")
    assert judged(tmp_path)[""]["harness"].met == "met"
    put(tmp_path, "mine", protocol="knn", code="2.0")
    cells = judged(tmp_path)
    assert (cells["mine"]["harness"].met, cells[""]["harness"].met) == ("partly", "partly")
    put(tmp_path, "other", params={"k": 5}, version=2)
    cells = judged(tmp_path)
    assert cells["other"]["harness"].met == "met"
    assert cells[""]["harness"].met == "not met", "two versions of a protocol in two columns"
    assert any("protocol linear: version 1, version 2" in line for line in cells[""]["harness"].evidence)


def controlled(folder: Path) -> None:
    put(folder, "mine", family="vit", pretraining={"data": "a", "loss": "x"})
    put(folder, "stats", floor="image statistics", family="statistics")
    put(folder, "twin", floor="random init", family="vit")
    put(folder, "scratch", floor="supervised", family="unet")
    put(folder, "sibling", family="vit", pretraining={"data": "b", "loss": "x"})


def test_controls_are_all_there(tmp_path: Path) -> None:
    controlled(tmp_path)
    cells = judged(tmp_path)
    assert cells["mine"]["controls"].met == "met"
    assert len(cells["mine"]["controls"].records) == 5
    assert cells["twin"]["controls"].evidence == ("is a control itself: random init",)


@pytest.mark.parametrize(
    ("instead", "lacks"),
    [
        ({"name": "twin", "floor": "random init", "family": "resnet"}, "untrained"),
        ({"name": "sibling", "family": "vit", "pretraining": {"data": "b", "loss": "y"}}, "another pretraining"),
        ({"name": "stats", "floor": "image statistics", "protocol": "knn"}, "image statistics"),
        ({"name": "scratch", "floor": "supervised", "store": "dfc2020"}, "labels alone"),
    ],
    ids=["another family", "two steps away", "another column", "another data set"],
)
def test_what_is_no_control_of_it_does_not_count(tmp_path: Path, instead, lacks) -> None:
    controlled(tmp_path)
    for path in tmp_path.glob("*.json"):
        if json.loads(path.read_text())["facts"]["backbone"]["id"] == instead["name"]:
            path.unlink()
    put(tmp_path, instead.pop("name"), **instead)
    cell = judged(tmp_path)["mine"]["controls"]
    assert cell.met == "partly"
    (missing,) = [line for line in cell.evidence if "in 0 of" in line]
    assert lacks in missing


SETTINGS = {"optimiser": {"base_lr": 0.1}, "model": {"dim": 96}}


@pytest.mark.parametrize(
    ("changed", "is_one"),
    [
        ({"store": {"content": "other"}, "samples": 9, "step": 16}, True),
        ({"settings": {"optimiser": {"base_lr": 0.2}, "model": {"dim": 96}}, "step": 16}, True),
        ({"step": 4}, False),
        ({"stage": 1, "step": 4}, False),
        ({"samples": 9}, False),
        ({}, False),
        ({"store": {"content": "other"}, "settings": {"optimiser": {"base_lr": 0.2}, "model": {"dim": 96}}}, False),
    ],
    ids=["data", "a setting", "longer", "an earlier stage", "samples", "nothing", "both"],
)
def test_another_pretraining_by_what_runs_tell(tmp_path: Path, changed, is_one) -> None:
    """By what our own cards tell of a run, where steps and samples follow from data and settings."""
    made = {"settings": SETTINGS, "stage": 2, "step": 8, "samples": 4, "store": {"content": "one"}}
    for name, told in (("mine", made), ("sibling", made | changed)):
        put(tmp_path, name, family="seamo", pretraining=dict(_pretraining({"config": {}, "provenance": told})))
    (said,) = [line for line in judged(tmp_path)["mine"]["controls"].evidence if line.startswith("another")]
    assert said.endswith("in 1 of 1 columns" if is_one else "in 0 of 1 columns")


def test_a_model_alone_has_no_controls_and_floors_are_no_models(tmp_path: Path) -> None:
    put(tmp_path, "mine")
    cells = judged(tmp_path)
    assert cells["mine"]["controls"].met == "not met"
    assert cells[""]["licence"].evidence[0] == "met by 1 of 1 models"
    put(tmp_path, "stats", floor="image statistics")
    assert judged(tmp_path)[""]["licence"].evidence[0] == "met by 1 of 1 models"


def test_many_models_are_named_a_few_and_counted(tmp_path: Path) -> None:
    for number in range(7):
        put(tmp_path, f"model{number}")
    said = judged(tmp_path, terms={})[""]["licence"]
    assert said.met == "not known"
    assert judged(tmp_path, terms={"model0": LicenceTerms("", "weights")})[""]["licence"].met == "not met"
    assert "and 3 more" in said.evidence[1]


def test_ours_is_asked_of_the_catalogue_the_suite_and_what_is_published(tmp_path: Path) -> None:
    (row,) = [one for one in load_suite("core").rows if (one.store, one.protocol) == ("eurosat", "logreg")]
    params = json.loads(dict(place_of(row).params)["full"])
    weights = cards()["croma-base-s2"].card.weights.sha256.ljust(64, "0")
    card = card_digest(find_card("croma-base-s2").card)
    put(
        tmp_path,
        "croma-base-s2",
        protocol="logreg",
        params=params,
        scheme=place_of(row).scheme,
        card=card,
        weights=weights,
    )
    put(tmp_path, "softcon-vitb14-s2", protocol="knn")
    put(tmp_path, "croma-base-s2+no-such-quirk", protocol="knn")
    put(tmp_path, "a-run-of-ours", protocol="knn")
    found = judged_board(build_table(read_records(tmp_path), tmp_path, resamples=50))
    cells = {one.name: dict(zip(IDS, one.cells, strict=True)) for one in found.models}
    assert cells["croma-base-s2"]["licence"].met == "met"
    assert cells["softcon-vitb14-s2"]["licence"].met == "not known", "its card is not the one that is listed"
    assert "another card or other weights" in cells["softcon-vitb14-s2"]["licence"].evidence[0]
    assert cells["croma-base-s2+no-such-quirk"]["licence"].met == "not known", "nor are its weights"
    assert cells["a-run-of-ours"]["licence"].met == "not known"
    rows = len({(row.store, row.protocol, row.fraction, row.inputs) for row in load_suite("core").rows})
    assert cells["croma-base-s2"]["core"].evidence[0] == f"1 of {rows} core evaluations have a score here"
    assert cells["croma-base-s2"]["variance"].met == "met"
    assert "published numbers of it" in cells["croma-base-s2"]["copied"].evidence[1]
    assert cells["croma-base-s2+no-such-quirk"]["copied"].met == "partly"
    plain = to_objects(found)
    assert len({row["id"] for row in plain}) == len(plain) == 6 * 5


def test_the_command_and_the_page(tmp_path: Path, call) -> None:
    results = tmp_path / "results"
    put(results, "mine", synthetic=True)
    status, said = call("expectations", results, "--json")
    assert status == 0
    rows, _ = json.JSONDecoder().raw_decode(said[said.index("[\n") :])
    assert {row["model"] for row in rows} == {"mine", "leaderboard"}
    assert rows[0]["notes"][0].startswith("SYNTHETIC")
    status, said = call("expectations", results)
    assert status == 0
    assert "The leaderboard" in said
    write_report(results, tmp_path / "without.html", resamples=50)
    assert "Six expectations" not in (tmp_path / "without.html").read_text()
    status, said = call("report", results, "-o", tmp_path / "r.html")
    assert status == 0, said
    assert "Six expectations, by what is here" in (tmp_path / "r.html").read_text()
