"""Pictures: colours worked out by hand, and files that hold what they say."""

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seamo.errors import StoreError, UsageError
from seamo.manifest import DatasetSpec, LabelClass, LabelSpace
from seamo.sample import Sample
from seamo.store.pictures import MISSING, cards, class_colours, mask_overlay, stretch, to_rgb
from seamo.store.reader import open_store
from seamo.store.writer import BuildPlan, StoreWriter
from seamo_prep.look import choose, look


def test_stretch_and_missing_pixels() -> None:
    image = np.zeros((1, 3, 1, 3), dtype=np.float32)
    image[0, :, 0, 1] = 50
    image[0, 1, 0, 2] = np.nan
    (picture,) = to_rgb(image, ((0, 100),) * 3)
    assert picture[0].tolist() == [[0, 0, 0], [128, 128, 128], list(MISSING)]
    low, high = stretch(np.array([np.nan, *range(101)], dtype=np.float32))
    assert (low, high) == (2.0, 98.0)


def test_no_measured_pixel_has_the_colour_of_missing_ones() -> None:
    image = np.array(MISSING, dtype=np.float32).reshape(1, 3, 1, 1) * np.ones((1, 3, 1, 2), dtype=np.float32)
    image[0, 0, 0, 1] = np.nan
    (picture,) = to_rgb(image, ((0, 255),) * 3)
    assert picture[0, 1].tolist() == list(MISSING)
    assert picture[0, 0].tolist() == [MISSING[0] - 1, *MISSING[1:]]
    assert min(abs(int(one) - 40) for one in MISSING) > 30  # far from black sea, in each channel


def test_the_legend_names_missing_pixels_where_there_are_some(tmp_path: Path) -> None:
    layer = {"id": "s2", "stack": "s2", "sensor": "s2", "product": "L2A", "bands": ["B02", "B03", "B04"], "gsd_m": 10.0,
             "size": (8, 8), "dtype": "uint16", "unit": "dn", "fill": 65535}  # fmt: skip
    spec = DatasetSpec.model_validate({
        "id": "sea", "title": "Sea", "summary": "-", "licence": "-", "citation": "-", "layers": [layer],
        "task": {"kind": "none"},
    })  # fmt: skip
    whole, holed = np.zeros((1, 3, 8, 8), dtype=np.uint16), np.zeros((1, 3, 8, 8), dtype=np.uint16)
    holed[0, :, 2] = 65535
    with StoreWriter(tmp_path, BuildPlan(spec=spec, split_scheme="none"), ["a", "b"]) as writer:
        writer.write_shard(0, [Sample("a", {"s2": whole}), Sample("b", {"s2": holed})])
        store = open_store(writer.publish())
    sea, holes = cards(store, [0, 1])
    assert sea.legend == ()
    assert holes.legend == (("missing", MISSING),)
    assert sea.strips[0].panels[0].picture[2, 0].tolist() == [0, 0, 0]
    assert holes.strips[0].panels[0].picture[2, 0].tolist() == list(MISSING)


def test_masks_are_mixed_over_the_picture() -> None:
    space = LabelSpace(classes=(LabelClass(name="a", color="#ff0000"), LabelClass(name="b")))
    colours = class_colours(space)
    assert colours[0] == (255, 0, 0)
    under = np.full((1, 2, 3), 100, dtype=np.uint8)
    mixed = mask_overlay(np.array([[0, 255]], dtype=np.uint8), colours, under)
    assert mixed[0, 0].tolist() == [int(0.55 * 255 + 0.45 * 100), 45, 45]
    assert mixed[0, 1].tolist() == [100, 100, 100]  # ignored


def test_masks_are_shown_in_the_colours_of_the_legend(tmp_path: Path) -> None:
    space = LabelSpace(classes=(LabelClass(name="land", color="#102030"), LabelClass(name="water", color="#0000ff")))
    layer = {"id": "s2", "stack": "s2", "sensor": "s2", "product": "L2A", "bands": ["B02", "B03", "B04"], "gsd_m": 10,
             "dtype": "uint16", "unit": "dn", "fill": 65535, "size": [16, 16], "times": 2}  # fmt: skip
    spec = DatasetSpec.model_validate({
        "id": "ponds", "title": "Ponds", "summary": "-", "licence": "-", "citation": "-", "layers": [layer],
        "task": {"kind": "segmentation", "label_space": "cover"}, "label_spaces": {"cover": space},
    })  # fmt: skip
    mask = np.zeros((16, 16), dtype=np.uint8)
    mask[:4], mask[4] = 1, 255
    pixels = np.full((2, 3, 16, 16), 1150, dtype=np.uint16)  # half of 0..2300
    dates = {"s2": np.array(["2020-01-02", "2020-03-04"], dtype="datetime64[s]")}
    with StoreWriter(tmp_path, BuildPlan(spec=spec, split_scheme="none"), ["pond"]) as writer:
        writer.write_shard(0, [Sample("pond", {"s2": pixels}, time=dates, label=mask)])
        store = open_store(writer.publish())
    drawn = cards(store, [0])[0]
    assert [panel.title for panel in drawn.strips[0].panels] == ["2020-01-02", "2020-03-04"]
    assert drawn.legend == (("land", (16, 32, 48)), ("water", (0, 0, 255)))
    classes, over = (panel.picture for panel in drawn.strips[-1].panels)
    assert classes[0, 0].tolist() == [0, 0, 255]
    assert classes[4, 0].tolist() == list(MISSING)  # ignored
    assert classes[9, 9].tolist() == [16, 32, 48]
    grey = int(255 * 0.5 ** (1 / 1.4) + 0.5)
    assert over[4, 0].tolist() == [grey] * 3
    assert abs(int(over[0, 0, 2]) - (0.55 * 255 + 0.45 * grey)) <= 1
    look(store, tmp_path / "ponds.png")
    with Image.open(tmp_path / "ponds.png") as image:
        assert (0, 0, 255) in {colour for _, colour in image.convert("RGB").getcolors(1 << 20)}


def test_true_colour_is_red_green_blue(demo_root: Path) -> None:
    store = open_store(demo_root / "eurosat")
    strip = next(one for one in cards(store, [0])[0].strips if "true colour" in one.caption)
    assert strip.caption == "s2 L1C true colour, DN B04 250..2600, B03 450..2600, B02 700..2600"
    bands = store.spec.layer("s2").bands
    pixel = store.read_layer(0, "s2")[0, :, 5, 7].astype(float)
    for channel, (name, low) in enumerate((("B04", 250), ("B03", 450), ("B02", 700))):
        share = np.clip((pixel[bands.index(name)] - low) / (2600 - low), 0, 1)
        assert abs(int(strip.panels[0].picture[5, 7, channel]) - 255 * share ** (1 / 1.4)) <= 1


def test_choice_shows_every_class(demo_root: Path) -> None:
    store = open_store(demo_root / "eurosat")
    assert {store.read_label(row) for row in choose(store, 10)} == set(range(10))
    assert len(choose(store, 500)) == 60


@pytest.mark.parametrize("dataset", ["ssl4eo-s12", "bigearthnet-v1", "eurosat-sar"])
def test_sheets_are_written(dataset: str, demo_root: Path, tmp_path: Path) -> None:
    store = open_store(demo_root / dataset)
    look(store, tmp_path / "a.png", num=2)
    with Image.open(tmp_path / "a.png") as image:
        assert min(image.size) > 200


def test_page_is_self_contained(demo_root: Path, tmp_path: Path) -> None:
    store = open_store(demo_root / "ssl4eo-s12")
    key = str(store.index["key"].iloc[1])
    look(store, tmp_path / "a.html", keys=(key,))
    sources: list[str] = []

    class Parser(HTMLParser):
        def handle_starttag(self, _tag, attrs):
            sources.extend(value for name, value in attrs if name in ("src", "href"))

    text = (tmp_path / "a.html").read_text()
    Parser().feed(text)
    assert len(sources) == 5 * 4  # radar, true and false colour of both products; four dates each
    assert all(one.startswith("data:image/png;base64,") for one in sources)
    assert "SYNTHETIC" in text
    assert "SSL4EO-S12 by Y. Wang et al., CC-BY-4.0; contains modified Copernicus Sentinel data 2019-2021" in text
    assert str(store.read_times(1)["s1"][0].astype("datetime64[D]")) in text


def test_wrong_requests_are_refused(demo_root: Path, tmp_path: Path) -> None:
    store = open_store(demo_root / "eurosat")
    with pytest.raises(UsageError, match=r"cannot write \.gif"):
        look(store, tmp_path / "a.gif")
    with pytest.raises(StoreError, match="no sample 'Forest_999'"):
        look(store, tmp_path / "a.png", keys=("Forest_999",))
