"""Stitching against brute force: pixel by pixel, with every tile in memory."""

import tracemalloc
from collections import defaultdict

import numpy as np
import pytest

from seamo.errors import ProtocolError
from seamo_bench.predictions import Scoring, predictions_bytes, predictions_from_bytes
from seamo_bench.scores.metrics import score
from seamo_bench.tasks.stitch import StitchedImage, Tile, images_of, stitch, tile_predictions

K = 3


def tiles_of(seed, corners, size=(5, 4), scene=(14, 12)):
    """Random probabilities of tiles of one scene, and its truth, some of it ignored."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, K, scene).astype(np.uint8)
    truth[rng.random(scene) < 0.1] = 255
    height, width = size
    return [
        Tile(rng.dirichlet(np.ones(K), size).transpose(2, 0, 1), truth[y : y + height, x : x + width])
        for y, x in corners
    ]


def group(corners, size=(5, 4), scenes=None):
    n = len(corners)
    return images_of(
        np.arange(n),
        keys=[f"k{i}" for i in range(n)],
        scenes=scenes or ["a"] * n,
        corners=np.array(corners),
        sizes=np.tile(size, (n, 1)),
    )


def brute_force(corners, tiles):
    """Pixel -> list of probabilities and its truth; then means, best classes, counts."""
    seen, truth = defaultdict(list), {}
    tilewise = np.zeros((K, K), int)
    for (y0, x0), tile in zip(corners, tiles, strict=True):
        for y in range(tile.truth.shape[0]):
            for x in range(tile.truth.shape[1]):
                seen[y0 + y, x0 + x].append(tile.probabilities[:, y, x])
                truth[y0 + y, x0 + x] = tile.truth[y, x]
                if tile.truth[y, x] != 255:
                    tilewise[tile.truth[y, x], np.argmax(tile.probabilities[:, y, x])] += 1
    best = {pixel: int(np.argmax(np.mean(many, axis=0))) for pixel, many in seen.items()}
    once = np.zeros((K, K), int)
    for pixel, predicted in best.items():
        if truth[pixel] != 255:
            once[truth[pixel], predicted] += 1
    return best, once, tilewise


@pytest.mark.parametrize("seed", range(4))
def test_every_pixel_counts_once_with_its_mean_probability(seed):
    rng = np.random.default_rng(seed)
    corners = sorted({(int(y), int(x)) for y, x in rng.integers(0, (10, 9), (9, 2))} | {(0, 0)})
    rng.shuffle(corners)
    tiles = tiles_of(seed, corners)
    (image,) = group(corners)
    got = stitch(image, [tiles[row] for row in image.rows], K)
    best, once, tilewise = brute_force(corners, tiles)
    np.testing.assert_array_equal(got.confusion, once)
    np.testing.assert_array_equal(got.tilewise, tilewise)
    want = np.full(image.size, 255)
    for (y, x), predicted in best.items():
        want[y, x] = predicted
    np.testing.assert_array_equal(got.ids, want)
    assert got.confusion.sum() < got.tilewise.sum()  # these tiles do overlap


def test_a_scene_starts_where_its_first_tile_does():
    (image,) = group([(30, 7), (32, 9)])
    assert image.size == (7, 6)
    assert image.y0.tolist() == [0, 2]
    assert image.x0.tolist() == [0, 2]


def test_tiles_without_a_known_place_are_images():
    images = group([(0, 0), (0, 0), (0, 0), (5, 0)], scenes=["", "b", "b", "c"])
    assert [(one.key, one.unit, one.rows.tolist()) for one in images] == [
        ("k0", "", [0]),
        ("k1", "b", [1]),
        ("k2", "b", [2]),
        ("c", "c", [3]),
    ]


def test_tiles_that_disagree_about_the_truth_are_refused():
    tiles = tiles_of(0, [(0, 0), (2, 0)])
    wrong = Tile(tiles[1].probabilities, (tiles[1].truth + 1).astype(np.uint8) % K)
    (image,) = group([(0, 0), (2, 0)])
    with pytest.raises(ProtocolError, match=r"disagree .* scene a|scene a.*disagree"):
        stitch(image, [tiles[0], wrong], K)


def test_a_tile_that_ignores_a_pixel_does_not_hide_another_s_truth():
    tiles = tiles_of(1, [(0, 0), (0, 2)])
    blind = Tile(tiles[0].probabilities, np.full_like(tiles[0].truth, 255))
    (image,) = group([(0, 0), (0, 2)])
    assert stitch(image, [blind, tiles[1]], K).confusion.sum() == (tiles[1].truth != 255).sum()


def test_memory_holds_a_strip_not_a_scene():
    corners = [(y, 0) for y in range(0, 40_000, 50)]
    (image,) = group(corners, size=(100, 16))
    chance = np.full((10, 100, 16), 0.1, np.float32)
    tiles = (Tile(chance, np.zeros((100, 16), np.uint8)) for _ in corners)
    tracemalloc.start()
    got = stitch(image, tiles, 10, keep=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert got.confusion.sum() == 40_050 * 16
    assert got.ids.size == 0
    assert peak < 2e6  # the scene's probabilities alone would be 25 MB


def test_predictions_hold_scenes_counts_and_ids_through_a_file():
    corners = [(0, 0), (0, 2), (0, 0)]
    tiles = tiles_of(2, corners[:2]) + tiles_of(3, corners[2:])
    images = group(corners, scenes=["a", "a", "b"])
    scored = (stitch(image, [tiles[row] for row in image.rows], K) for image in images)
    found = predictions_from_bytes(predictions_bytes(tile_predictions(images, scored)))
    assert found.keys.tolist() == found.units.tolist() == ["a", "b"]
    assert found.shapes.tolist() == [[5, 6], [5, 4]]
    np.testing.assert_array_equal(found.confusion.sum(axis=0), sum_of(corners, tiles)[0])
    values = score(found, Scoring("segmentation", positive=1))
    once, twice = sum_of(corners, tiles)
    assert values["iou_positive"] == pytest.approx(iou(once, 1))
    assert values["iou_positive_tilewise"] == pytest.approx(iou(twice, 1))


def test_single_tiles_have_no_tilewise_counts_of_their_own():
    tiles = tiles_of(4, [(0, 0)])
    image = StitchedImage("k", "", np.zeros(1, int), np.zeros(1, int), np.zeros(1, int), (5, 4))
    found = tile_predictions([image], iter([stitch(image, tiles, K)]))
    assert len(found.tilewise) == 0
    assert len(found.units) == 0
    values = score(found, Scoring("segmentation", positive=1))
    assert values["miou_present"] == values["miou_present_tilewise"]


def sum_of(corners, tiles):
    parts = [brute_force(corners[:2], tiles[:2]), brute_force(corners[2:], tiles[2:])]
    return parts[0][1] + parts[1][1], parts[0][2] + parts[1][2]


def iou(confusion, k):
    hit = confusion[k, k]
    return hit / (confusion[k].sum() + confusion[:, k].sum() - hit)
