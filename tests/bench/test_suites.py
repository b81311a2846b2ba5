"""Suites: rows by task, by sensors and bands; the paper's recipes against typed-in numbers; the demo budget."""

import pytest

from seamo.errors import BandError, ProtocolError, StoreError, UsageError
from seamo.inputs.wiring import parse_inputs, wire
from seamo.manifest import shipped_manifest
from seamo_bench.facts import run_key
from seamo_bench.protocols import find_protocol, protocols
from seamo_bench.runs.plan import Places, make_plan
from seamo_bench.suites.published import load_published
from seamo_bench.suites.suite import Row, Suite, expand, load_suite, names_of, protocol_params
from seamo_bench.tasks.stores import find_build
from seamo_bench.tasks.trials import DEMO_SAMPLES
from seamo_bench.zoo import catalogue
from seamo_bench.zoo.loading import load_network
from tests.bench.bench_store import build_store, toy_samples, toy_spec, toy_store


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    root = tmp_path_factory.mktemp("stores")
    toy_store(root, 240)
    return root


def places(stores):
    return Places(stores, stores / "no-results", stores / "no-weights")


def test_a_row_by_task_becomes_every_data_set_of_that_task_and_every_way_to_feed_it():
    manifest = shipped_manifest()
    suite = Suite(id="x", rows=(Row(task="multi-label", protocol="knn"), Row(store="oscd", protocol="change")))
    rows = expand(suite, {name: manifest[name] for name in ("eurosat", "bigearthnet-v1", "oscd")})
    assert [(row.store, row.inputs) for row in rows] == [
        ("bigearthnet-v1", ("s1",)),
        ("bigearthnet-v1", ("s2",)),
        ("bigearthnet-v1", ("s1", "s2")),
        ("oscd", ()),
    ]


def test_uniform_covers_every_task_and_both_fractions_of_every_row():
    rows = load_suite("uniform").rows
    kinds = {spec.task.kind for spec in shipped_manifest().values()} - {"pretrain", "none"}
    assert {row.task for row in rows if row.task} == kinds
    whole = [row for row in rows if row.fraction == 1.0]
    tenth = [row.model_copy(update={"fraction": 1.0}) for row in rows if row.fraction == 0.1]
    assert whole == tenth
    grid = (1e-5, 5e-5, 2e-4, 5e-4, 1e-3)
    assert {row.params["base_lrs"] for row in rows if row.protocol == "finetune"} == {grid}


def test_a_store_that_is_in_no_manifest_is_found_by_its_task(stores):
    cells = make_plan(load_suite("uniform"), ["image-statistics"], places(stores), "demo")
    mine = [cell for cell in cells if cell.row.store == "toy"]
    assert {cell.row.protocol for cell in mine if cell.status == "will run"} == {"knn", "logreg", "linear"}
    other = next(cell for cell in cells if cell.row.store == "eurosat")
    assert "no store of eurosat" in other.reason
    assert "seamo-prep fetch eurosat" in other.reason
    assert str(stores) not in other.reason


def test_a_users_file_in_the_documented_form(tmp_path, stores):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "id: mine\nrows:\n- {store: toy, protocol: knn, split: hash-60-20-20, fraction: 0.5, params: {k: 3}}\n"
    )
    (cell,) = make_plan(load_suite(str(path)), ["image-statistics"], places(stores))
    assert cell.status == "will run"
    assert cell.facts[0].protocol.params["k"] == 3
    path.write_text("id: mine\nrows: [{store: toy, task: change, protocol: knn}]")
    with pytest.raises(ProtocolError, match="a store or a task"):
        load_suite(str(path))


def test_inputs_choose_sensors_and_bands():
    spec = shipped_manifest()["bigearthnet-v1"]
    card = catalogue.find_card("image-statistics").card

    def fed(*inputs):
        wiring = wire(card.expects, spec, statistics={}, inputs=inputs)
        return {one.input.sensor: one.input.bands for one in wiring.sensors}

    assert fed("s1") == {"s1": ("VV", "VH")}
    assert fed("s2:B02+B11") == {"s2": ("B02", "B11")}
    assert set(fed()) == {"s1", "s2"}
    with pytest.raises(BandError, match="s2:B10"):
        fed("s2:B10")
    with pytest.raises(BandError, match=r"takes s2; s1 is asked for"):
        wire(catalogue.find_card("seco-r50").card.expects, spec, inputs=("s1",))
    with pytest.raises(BandError, match="eurosat: has no s1"):
        wire(card.expects, shipped_manifest()["eurosat"], inputs=("s1",))
    for wrong in (("s2", "s2"), ("s2:",), ("s2:B02+",), ("s2:B02+B02",)):
        with pytest.raises(UsageError, match="is no input"):
            parse_inputs(wrong)


def test_what_a_row_asks_of_the_input_is_part_of_the_key_and_nothing_else_changes(stores):
    rows = (
        Row(store="toy", protocol="knn"),
        Row(store="toy", protocol="knn", inputs=("s2",)),
        Row(store="toy", protocol="knn", inputs=("s2:B02+B03",)),
        Row(store="toy", protocol="knn", published="T1", basis={"k": "P: 20"}, flag="odd"),
    )
    cells = make_plan(Suite(id="x", rows=rows), ["image-statistics"], places(stores))
    keys = [run_key(cell.facts[0]) for cell in cells]
    assert len(set(keys)) == len(keys) == 3  # the last row is the first one again, and its flag goes along
    assert [[flag.text for flag in cell.flags if flag.kind == "recipe"] for cell in cells] == [["odd"], [], []]
    assert "inputs" not in cells[0].facts[0].model_dump(exclude_defaults=True)


def test_backbones_of_a_row():
    rows = (Row(store="toy", protocol="knn", backbones=("a", "b")), Row(store="toy", protocol="logreg"))
    suite = Suite(id="x", backbones=("floor",), rows=rows)
    assert names_of(suite, rows[0], ()) == ("floor", "a", "b")
    assert names_of(suite, rows[1], ()) == ("floor",)
    assert names_of(suite, rows[0], ("run", "a")) == ("run", "a")
    assert names_of(suite, rows[1], ("run", "a")) == ("run",)  # `a` belongs to the rows that name it


def test_demo_budget_is_small_narrow_and_part_of_the_key(stores):
    for name in protocols():
        protocol = find_protocol(name)
        params = protocol_params(protocol, Row(store="toy", protocol=name), "demo")
        assert int(params.get("epochs", 0)) <= 2
    suite = Suite(id="x", rows=(Row(store="toy", protocol="finetune"),))
    (demo,) = make_plan(suite, ["seamo-random"], places(stores), "demo")
    assert demo.status == "impossible"  # its bands are not all there
    found = catalogue.find_card("seamo-random")
    narrow = catalogue.budget_card(found, "demo")
    assert (found.card.embed_dim, narrow.embed_dim) == (768, 64)
    assert catalogue.card_digest(narrow) != catalogue.card_digest(found.card)
    network = load_network(found.family, narrow, None, 0)
    assert sum(one.numel() for one in network.parameters()) < 1_000_000
    (full,) = make_plan(suite, ["resnet18"], places(stores))
    (demo,) = make_plan(suite, ["resnet18"], places(stores), "demo")
    assert run_key(full.facts[0]) != run_key(demo.facts[0])
    assert len(full.trials[0][0].train) > DEMO_SAMPLES == len(demo.trials[0][0].train)
    assert list(demo.facts) == [0]


def test_rows_that_the_demo_budget_makes_alike_are_one_cell_and_it_bears_no_flag_of_what_was_replaced(stores):
    printed = Row(store="toy", protocol="finetune", params={"base_lrs": (0.01,)}, flag="odd")
    swept = Row(store="toy", protocol="finetune", params={"base_lrs": (0.001, 0.01)})
    suite = Suite(id="x", rows=(printed, swept, Row(store="toy", protocol="linear")))

    def planned(budget):
        cells = make_plan(suite, ["resnet18"], places(stores), budget)
        flags = [flag.text for cell in cells if cell.status == "will run" for flag in cell.flags]
        return [cell.id.removeprefix("resnet18 | toy | ") for cell in cells], "odd" in flags

    assert planned("full") == (["finetune base_lrs=0.01", "finetune base_lrs=0.001/0.01", "linear"], True)
    assert planned("demo") == (["finetune", "linear"], False)


# Printed in arXiv 2412.19237v1, sections 4.1-4.4: epochs, warm-up, batch, base learning rate.
PRINTED = {
    ("T1", "eurosat"): (150, 20, 512, 1e-2),
    ("T1", "fmow-sentinel"): (80, 20, 512, 2e-4),
    ("T1", "bigearthnet-v1"): (50, 10, 512, 1e-5),
    ("T3", "dfc2020"): (30, 5, 64, 1e-4),
    ("T4", "segmunich"): (100, 5, 128, 1e-4),
    ("T5", "oscd"): (50, 0, 128, 1e-4),
    ("T6", "eurosat-sar"): (150, 20, 512, 1e-2),
    ("T7", "bigearthnet-v1"): (50, 10, 512, 8e-5),
    ("T8", "dfc2020"): (30, 5, 64, 1e-4),
    ("T9", "glh-water"): (30, 5, 24, 1e-4),
    ("T9", "s1s2-water-s1"): (30, 5, 24, 1e-4),
    ("T9", "s1s2-water-s2"): (30, 5, 24, 1e-4),
}


def test_paper_has_the_printed_recipes_and_a_row_for_every_published_value():
    rows = load_suite("paper").rows
    first = {}
    for row in rows:
        first.setdefault((row.published, row.store), row)
    for place, (epochs, warmup, batch, rate) in PRINTED.items():
        params = first[place].params
        assert (params["epochs"], params["warmup"], params["batch"], params["base_lrs"]) == (
            epochs,
            warmup,
            batch,
            (rate,),
        )
    assert first["T1", "eurosat"].flag
    assert first["T5", "oscd"].params["scale_lr"] is False
    for value in load_published():
        if value.table in {f"T{number}" for number in range(1, 10)} and value.backbone not in ("", "seamo"):
            fitting = [
                row
                for row in rows
                if (row.published, row.store, row.fraction) == (value.table, value.dataset, value.fraction)
                and row.protocol == value.protocol
                and (not value.inputs or row.inputs == value.inputs)
                and value.backbone in row.backbones
            ]
            assert fitting, value.id


def test_demo_takes_the_stores_own_split_and_says_so(stores):
    row = Row(store="toy", protocol="knn", split="spectralgpt-2way")
    (full,) = make_plan(Suite(id="x", rows=(row,)), ["image-statistics"], places(stores))
    assert "not spectralgpt-2way" in full.reason
    (demo,) = make_plan(Suite(id="x", rows=(row,)), ["image-statistics"], places(stores), "demo")
    assert demo.facts[0].split.scheme == "hash-60-20-20"
    assert any("instead of spectralgpt-2way" in flag.text for flag in demo.flags)


def test_of_several_builds_the_one_with_the_split_is_read(tmp_path):
    spec = toy_spec()
    samples = toy_samples(spec, 30)
    one = build_store(tmp_path, spec, samples)
    two = build_store(tmp_path, spec, samples, scheme="none")
    assert find_build(tmp_path / "toy", "none").path == two.path
    assert find_build(tmp_path / "toy", "hash-60-20-20").path == one.path
    with pytest.raises(StoreError, match=r"2 stores.*none of them has split scheme official"):
        find_build(tmp_path / "toy", "official")
