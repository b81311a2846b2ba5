"""figures: what is drawn is what stores and predictions hold, and what cannot be drawn says why."""

import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from seamo.errors import ProtocolError, StoreError
from seamo.manifest import parse_spec
from seamo.sample import IGNORE, Sample
from seamo.store.pictures import ABSENT, safe_colours, stack_strips
from seamo.store.reader import open_store
from seamo.store.writer import BuildPlan, StoreWriter
from seamo_bench.cli import main
from seamo_bench.paper import examples
from seamo_bench.paper.examples import best_column, models_of, places_of, stores_under
from seamo_bench.paper.figures import draw_figures
from seamo_bench.paper.sheet import Sheet, SheetCell, SheetRow, write_sheet
from seamo_bench.predictions import TilePredictions
from seamo_bench.records.record import load_predictions, read_records, write_record
from seamo_bench.tasks.truth import mask_of
from tests.bench.bench_store import build_store, toy_samples, toy_spec
from tests.bench.dense_store import SCENE, dense_store, scene
from tests.bench.test_run import quiet
from tests.bench.trained_heads import DENSE, FOUR, run

torch.set_num_threads(1)
CLASSES = """
id: classes
rows:
  - {store: toy, protocol: linear, params: {steps: 5}, seeds: 1}
  - {store: toy, protocol: knn}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Stores and results of a segmentation and of a single-label data set."""
    root = tmp_path_factory.mktemp("figures")
    dense_store(root / "stores")
    spec = toy_spec(bands=FOUR)
    build_store(root / "stores", spec, toy_samples(spec, 60))
    results, _ = run(root, DENSE, root / "stores", backbones=("pixel-values",))
    run(root, CLASSES, root / "stores", backbones=("image-statistics", "pixel-values"))
    return root / "stores", results


def draw(results, stores, out):
    return {one.id: one for one in draw_figures(results, stores, out, progress=quiet)}


def size(path):
    with Image.open(path) as picture:
        return picture.size


def test_everything_that_is_there_is_drawn_and_the_rest_says_why(made, tmp_path):
    stores, results = made
    drawn = draw(results, stores, tmp_path / "out")
    files = {path.stem for path in (tmp_path / "out").iterdir()}
    assert files == {"samples-scenes", "samples-toy", "predictions-scenes", "classes-toy"}
    assert {name for name, one in drawn.items() if one.file} == files
    assert drawn["figure05-ssl4eo-s12"].reason == "there is no store of ssl4eo-s12"
    assert drawn["figure08-oscd"].reason == "there is no record of oscd with a score"
    assert len(drawn) == 9 + len(files)
    (record,) = [one for one in read_records(results).records if one.facts.protocol.id == "dense"]
    assert drawn["predictions-scenes"].records == (record.key,)
    for name in files:
        assert min(size(tmp_path / "out" / f"{name}.png")) > 300


def test_places_show_the_scene_its_truth_and_the_stored_prediction(made):
    stores, results = made
    records = best_column(read_records(results).records, "scenes")
    models, total = models_of(records, results, 5)
    assert (len(models), total) == (1, 1)
    store = open_store(stores / "scenes")
    places = places_of(store, models, 9)
    own = load_predictions(models[0].record, results)
    assert {place.key for place in places} == set(own.keys.tolist())
    for place in places:
        pixels, mask = scene(int(place.key.removeprefix("scene")), "segmentation", 3)
        np.testing.assert_array_equal(place.truth, mask)
        ids = own.ids.reshape(-1, SCENE, SCENE)[own.keys.tolist().index(place.key)]
        np.testing.assert_array_equal(place.predicted[0], ids)
        (shown,) = place.pictures
        red = np.clip((pixels[0, 2] - 250.0) / 2350.0, 0, 1) ** (1 / 1.4) * 255  # L1C: 250..2600, gamma 1.4
        np.testing.assert_allclose(shown.picture[..., 0], red, atol=1)
        assert shown.stretch.startswith("s2 L1C true colour, DN B04 250..2600")


def test_large_scenes_are_cut_and_examples_do_not_overlap(made, monkeypatch):
    stores, results = made
    monkeypatch.setattr(examples, "CROP", 16)
    models, _ = models_of(best_column(read_records(results).records, "scenes"), results, 5)
    places = places_of(open_store(stores / "scenes"), models, 6)
    corners = {}
    for place in places:
        name, _, place_in_it = place.key.partition(" at ")
        top, left = json.loads(place_in_it.replace("(", "[").replace(")", "]"))
        _, mask = scene(int(name.removeprefix("scene")), "segmentation", 3)
        np.testing.assert_array_equal(place.truth, mask[top : top + 16, left : left + 16])
        for a, b in corners.get(name, []):
            assert abs(a - top) >= 16 or abs(b - left) >= 16
        corners.setdefault(name, []).append((top, left))
    assert len(corners) == 2  # both scenes of the test split


def test_masks_in_a_layer_of_class_ids(tmp_path):
    common = {"times": 1, "gsd_m": 10.0, "size": (4, 4)}
    entry = {
        "id": "maps", "title": "Maps", "summary": "synthetic, for tests", "licence": "none", "citation": "none",
        "layers": [
            {"id": "s2", "stack": "s2", "sensor": "s2", "bands": ["B02"], "dtype": "uint16", "unit": "dn",
             "fill": 65535, **common},
            {"id": "ground", "stack": "ground", "sensor": "map", "bands": ["CLC"], "dtype": "uint8", "unit": "class",
             "fill": 255, **common},
        ],
        "task": {"kind": "multi-label", "label_space": "two"},
        "maps": {"ground": "four"},
        "label_spaces": {
            "four": {"classes": [{"name": f"c{k}"} for k in range(4)]},
            "two": {"classes": [{"name": "a"}, {"name": "b"}], "source": "four", "derived": {0: [0, 2], 1: [3]}},
        },
    }  # fmt: skip
    spec = parse_spec(entry, "test")
    ground = np.array([[0, 1, 2, 3]] * 4, dtype=np.uint8)
    layers = {"s2": np.ones((1, 1, 4, 4), dtype=np.uint16), "ground": ground[None, None]}
    with StoreWriter(tmp_path, BuildPlan(spec, "none"), ["one"]) as writer:
        writer.write_shard(0, [Sample("one", layers, label=(0,))])
        store = open_store(writer.publish())
    assert mask_of(store, 0, "four")[0].tolist() == [0, 1, 2, 3]
    assert mask_of(store, 0, "two")[0].tolist() == [0, IGNORE, 0, 1]


def test_radar_of_eight_bits_is_not_shown_as_decibel(tmp_path):
    layer = {"id": "s1", "stack": "s1", "sensor": "s1", "bands": ["VV", "VH"], "dtype": "uint8", "unit": "uint8",
             "fill": None, "gsd_m": 10.0, "size": (8, 8)}  # fmt: skip
    entry = {"id": "radar", "title": "Radar", "summary": "-", "licence": "-", "citation": "-", "layers": [layer],
             "task": {"kind": "none"}}  # fmt: skip
    pixels = np.arange(128, dtype=np.uint8).reshape(1, 2, 8, 8)
    with StoreWriter(tmp_path, BuildPlan(parse_spec(entry, "test"), "none"), ["one"]) as writer:
        writer.write_shard(0, [Sample("one", {"s1": pixels})])
        store = open_store(writer.publish())
    (strip,) = stack_strips(store, 0, "s1")
    assert strip.caption == "s1, 2-98 %: VV 1..62, VH 65..126, VV-VH -64..-64"
    picture = strip.panels[0].picture
    assert picture[0, 0, 0] == 0
    assert picture[7, 7, 0] == 255
    assert picture[4, 0, 0] == round(255 * (32 - 1.26) / (61.74 - 1.26))


def test_predictions_of_other_images_or_without_ids_are_not_drawn(made, tmp_path):
    stores, results = made
    (record,) = [one for one in read_records(results).records if one.facts.protocol.id == "dense"]
    own = load_predictions(record, results)

    def again(folder, facts=record.facts, **changes):
        parts = {name: getattr(own, name) for name in ("keys", "confusion", "units", "ids", "shapes", "tilewise")}
        write_record(folder, facts, about=record.about, predictions=TilePredictions(**{**parts, **changes}))
        return draw(folder, stores, folder / "out")["predictions-scenes"]

    none = again(tmp_path / "ids", ids=np.empty(0, np.uint8), shapes=np.empty((0, 2), np.int32))
    assert "its class ids were not kept" in none.reason
    other = again(tmp_path / "keys", keys=own.keys[::-1])
    assert "its predictions are of other images than the store's test split" in other.reason
    content = record.facts.stores[0].content
    store = record.facts.stores[0].model_copy(update={"content": "0" * 64})
    moved = again(tmp_path / "store", record.facts.model_copy(update={"stores": (store,)}))
    assert f"no store of scenes with the content 000000000000, there is {content[:12]}" in moved.reason


def test_damaged_predictions_stop_one_figure_alone(made, tmp_path, caplog):
    stores, results = made
    folder = tmp_path / "results"
    folder.mkdir()
    for path in results.iterdir():
        if path.is_file():
            (folder / path.name).write_bytes(path.read_bytes())
    (record,) = [one for one in read_records(folder).records if one.facts.protocol.id == "dense"]
    (folder / record.predictions.name).write_bytes(b"nothing")
    drawn = draw(folder, stores, tmp_path / "out")
    assert "predictions-scenes" not in drawn
    assert f"left out: {record.predictions.name} is not the file that the record describes" in caplog.text
    assert drawn["classes-toy"].file


def test_the_question_with_the_most_models_is_shown_first_its_best_models(made):
    _, results = made
    records = read_records(results).records
    chosen = best_column(records, "toy")
    assert {one.facts.protocol.id for one in chosen} == {"linear"}  # as many models as knn, which trains nothing
    models, total = models_of(chosen, results, 1)
    assert (len(models), total) == (1, 2)
    assert best_column(records, "eurosat") == []


def test_a_sheet_shows_its_pictures_as_they_are(tmp_path):
    picture = np.zeros((2, 2, 3), dtype=np.uint8)
    picture[0, 0], picture[1, 1] = (255, 0, 0), (0, 0, 255)
    write_sheet(
        tmp_path / "one.png", Sheet("title", ("about",), (SheetRow("row", (SheetCell(picture), SheetCell(None))),))
    )
    with Image.open(tmp_path / "one.png") as file:
        pixels = np.asarray(file.convert("RGB"))
    red = np.argwhere((pixels == (255, 0, 0)).all(axis=2))
    blue = np.argwhere((pixels == (0, 0, 255)).all(axis=2))
    assert len(red) > 5000
    assert red.max(axis=0)[0] < blue.min(axis=0)[0]
    assert (pixels == ABSENT).all(axis=2).any()  # behind "not there"
    first = (tmp_path / "one.png").read_bytes()
    write_sheet(
        tmp_path / "one.png", Sheet("title", ("about",), (SheetRow("row", (SheetCell(picture), SheetCell(None))),))
    )
    assert (tmp_path / "one.png").read_bytes() == first


def test_colours_can_be_told_apart():
    assert len(set(safe_colours(40))) == 40


def test_from_the_command_line(made, tmp_path, monkeypatch, capsys):
    stores, results = made

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["seamo-bench", "figures", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        return stopped.value.code, capsys.readouterr()

    code, done = call(results, "--stores", stores, "-o", tmp_path / "out", "--json")
    rows = {row["id"]: row for row in json.loads(done.out)}
    assert code == 0
    assert rows["figure06-segmunich"]["status"] == "not drawn"
    assert rows["classes-toy"]["file"] == str(tmp_path / "out" / "classes-toy.png")
    code, done = call(results, "--stores", tmp_path, "-o", tmp_path / "out")
    assert code == 1
    assert "there is no store" in done.err


def test_folders_without_stores_or_results(made, tmp_path):
    stores, _ = made
    with pytest.raises(StoreError, match="there is no store"):
        stores_under(tmp_path)
    with pytest.raises(ProtocolError, match="is not a folder of results"):
        draw(tmp_path / "nothing", stores, tmp_path / "out")


def test_text_of_records_is_no_formula(tmp_path):
    plain, hostile = "Lakes", "$\\frac{$ \\input{x} \x1b[2J $\\badcommand$ _a^b"
    sizes = []
    for words in (plain, hostile):
        cell = SheetCell(np.zeros((4, 4, 3), np.uint8), words, (words,))
        path = tmp_path / "sheet.png"
        write_sheet(path, Sheet(words, (words,), (SheetRow(words, (cell,)),), ((words, (1, 2, 3)),), (words,)))
        sizes.append(path.stat().st_size)
    assert sizes[1] > sizes[0]  # drawn as it stands, sign by sign
