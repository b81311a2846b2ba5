"""The paper's figures: every number in them follows the recipe, crops are where training would draw them."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from matplotlib.patches import Rectangle
from PIL import Image

from seamo.errors import UsageError
from seamo.pretrain.drawing import FigurePage, new_page
from seamo.pretrain.figures_paper import FIGURES, draw_all, shapes_of
from seamo.pretrain.recipe import load_recipe

# 6 x 6 patches of 8 pixels, whatever else the recipe is.
SIZES = ["size=48", "patch=8", "dim=128", "depth=4", "heads=4", "decoder={depth: 2, width: 64, heads: 4}"]


def recipe(*changes):
    return load_recipe("seamo-tiny", [*(f"model.{one}" for one in SIZES), *changes])


@pytest.fixture(scope="module")
def pages():
    """Figure -> (texts, orange frames as (left, bottom, right, top)) for a small model: 48 px, patch 8, width 128."""
    found = {}

    def keep(page, path):
        frames = [one for one in page.axes.patches if isinstance(one, Rectangle) and not one.get_fill()]
        boxes = [(*one.get_xy(), one.get_x() + one.get_width(), one.get_y() + one.get_height()) for one in frames]
        found[path.stem] = ("\n".join(one.get_text() for one in page.axes.texts), boxes)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FigurePage, "save", keep)
        paths = draw_all(Path("nowhere"), recipe())
    assert [path.stem for path in paths] == list(FIGURES)
    return found


def test_numbers_are_the_recipe_s(pages):
    # 6 x 6 patches, a quarter of 36 visible.
    for text in (
        "visible: 9 of 36",
        "2 x 9 = 18",
        "seen of an image: 9 x 128",
        "48 px",
        "4 blocks, width 128",
        "F: 4 x 9 x 128 a sensor",
    ):
        assert text in pages["figure-01-workflow"][0], text
    # 12 bands x 8 x 8 values in an optical patch, 2 x 8 x 8 in a radar one.
    assert "s2: 36 x 768, s1: 36 x 128" in pages["figure-01-workflow"][0]
    # The context is the other sensor and the season before: 2 x 9 tokens.
    assert "tokens, 9 x 128" in pages["figure-03-tm-block"][0]
    assert "(dashed), 18 x 128" in pages["figure-03-tm-block"][0]
    # Siamese: two sequences of 9; stage 1: one of 18; stage 2: one for each of the four seasons.
    for text in ("encoder: 2 x 9 x 128", "encoder: 1 x 18 x 128", "encoder: 4 x 18 x 128"):
        assert text in pages["figure-04-strategies"][0]


def test_parameters_by_hand(pages):
    D = 128
    attention, mlp, norm = 4 * D * D + 4 * D, 8 * D * D + 5 * D, 2 * D
    fuse = (D * D + D) + attention + mlp + 3 * norm  # own, fused, before the MLP
    decouple = 2 * attention + mlp + 4 * norm  # own, other, previous, before the MLP
    text = pages["figure-14-fusion"][0]
    assert f"{fuse:,} parameters" in text
    assert f"{decouple:,} parameters" in text


def test_crops_are_of_their_mode(pages):
    boxes = pages["figure-02-crops"][1]
    assert len(boxes) == 12  # three modes, four seasons
    side, gap = 1.42, 0.1
    seen = []
    for i, (left, bottom, right, top) in enumerate(boxes):
        x, y = 1.76 + (side + gap) * (i % 4), 4.82 - side - (side + gap) * (i // 4)
        seen.append(np.array([(left - x) / side, (bottom - y) / side, (right - x) / side, (top - y) / side]))
        assert seen[-1].min() > -1e-9
        assert seen[-1].max() < 1 + 1e-9
    same, partial, apart = seen[:4], seen[4:8], seen[8:]
    for one in same[1:]:
        np.testing.assert_allclose(one, same[0], atol=1e-9)
    for one in partial:  # half of the area or more, so any two meet
        assert (one[2] - one[0]) * (one[3] - one[1]) >= 0.5 - 1e-9
    assert len({tuple(one.round(6)) for one in partial}) == 4
    for one in apart:
        np.testing.assert_allclose(one[2:] - one[:2], 0.5)
    for one, other in itertools.combinations(apart, 2):
        assert (np.maximum(one[:2], other[:2]) >= np.minimum(one[2:], other[2:]) - 1e-9).any()


def test_shapes_are_seen_not_computed():
    config = recipe().model
    shapes = shapes_of(config, seasons=3)
    assert shapes.outputs["tokenizers.s1"] == (1, 3, 9, 128)  # of what is seen
    assert shapes.inputs["encoder"] == (3, 18, 128)
    assert shapes.outputs["decoders.s2"] == (3, 36, 768)
    assert shapes.parameters["tokenizers.s2"] == 12 * 64 * 128 + 128


def test_a_page_is_a_small_png(tmp_path):
    page = new_page(2, 1)
    page.box((0.1, 0.1), (0.8, 0.5), "a box", color="#c4661f")
    page.image((1.1, 0.1), 0.5, np.ones((4, 4, 3)) * (1.0, 0.0, 0.0))
    page.save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert pixels.shape == (110, 220, 3)
    # From (1.1, 0.1) to (1.6, 0.6) inches at 110 dots an inch, counted from below.
    assert pixels[110 - 40, 150].tolist() == [255, 0, 0]
    assert pixels[110 - 90, 150].tolist() == [255, 255, 255]


def test_other_models_are_not_drawn_as_if_they_were_the_paper_s(tmp_path):
    with pytest.raises(UsageError, match="TM block"):
        draw_all(tmp_path, recipe("model.tm={mode: fuse, variant: algorithm1}"))
