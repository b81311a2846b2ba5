"""Leaks: searches without all pairs give what all pairs give; real images are not taken for one another."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from seamo.store.alike import MAX_BITS, is_copy, signature, similar
from seamo.store.reader import open_store
from seamo_prep.leaks import overlaps
from tests.prep.demo_stores import build_quietly


def brute_overlaps(boxes: np.ndarray, splits: np.ndarray) -> list[tuple[int, int]]:
    found = []
    for i, j in combinations(range(len(boxes)), 2):
        wide = min(boxes[i, 2], boxes[j, 2]) - max(boxes[i, 0], boxes[j, 0])
        high = min(boxes[i, 3], boxes[j, 3]) - max(boxes[i, 1], boxes[j, 1])
        areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (boxes[i], boxes[j])]
        if splits[i] != splits[j] and wide > 0 and high > 0 and wide * high > 0.2 * min(areas):
            found.append((i, j))
    return found


@pytest.mark.parametrize("seed", range(4))
def test_overlapping_boxes_are_those_of_all_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 3, (300, 2))
    size = rng.choice([0.02, 0.1, 0.5], (300, 1)) * rng.uniform(0.5, 2, (300, 2))  # small ones and large ones
    boxes = np.concatenate([corner, corner + size], axis=1)
    boxes[:20] = boxes[20:40]  # the same places
    splits = rng.integers(0, 3, 300)
    expected = brute_overlaps(boxes, splits)
    assert len(expected) > 50
    assert [tuple(pair) for pair in overlaps(boxes, splits)] == expected


def test_no_boxes() -> None:
    assert overlaps(np.empty((0, 4)), np.empty(0, dtype=np.int64)).shape == (0, 2)


def test_no_image_large_enough_for_a_signature() -> None:
    assert similar(np.empty((0, 18), dtype=np.uint8), np.empty(0, dtype=np.int64)).pairs.shape == (0, 2)


def test_similar_signatures_are_those_of_all_pairs() -> None:
    rng = np.random.default_rng(5)
    packed = rng.integers(0, 256, (400, 18), dtype=np.uint8)
    for number in range(120):  # copies with up to six bits turned, in any quarter
        packed[200 + number] = packed[number]
        for bit in rng.choice(144, number % 7, replace=False):
            packed[200 + number, bit // 8] ^= 1 << (bit % 8)
    splits = rng.integers(0, 2, 400)
    expected = [
        (i, j)
        for i, j in combinations(range(400), 2)
        if splits[i] != splits[j] and np.unpackbits(packed[i] ^ packed[j]).sum() <= MAX_BITS
    ]
    assert len(expected) > 20
    found = similar(packed, splits)
    assert [tuple(pair) for pair in found.pairs] == expected
    assert not found.is_cut


def test_many_equal_signatures_do_not_explode() -> None:
    packed = np.zeros((3_000, 18), dtype=np.uint8)
    found = similar(packed, np.arange(3_000) % 2)
    assert 0 < len(found.pairs) <= 4 * 3_000 * 256
    assert found.is_cut
    assert not similar(packed[:257], np.arange(257) % 2).is_cut  # each has met each other one
    assert similar(packed[:258], np.arange(258) % 2).is_cut


def test_signature_is_about_cells() -> None:
    ramp = np.tile(np.arange(18, dtype=np.float32), (18, 1))
    bits = np.unpackbits(signature(ramp))
    assert bits.sum() == 72  # each cell is brighter than its left neighbour, none than the upper one
    assert signature(np.ones((64, 64), dtype=np.float32)) is None
    noisy = ramp + np.random.default_rng(0).normal(0, 0.1, ramp.shape).astype(np.float32)
    assert np.unpackbits(signature(noisy * 3 + 7)).sum() >= 72


def test_real_images_are_not_taken_for_one_another(samples: Path, tmp_path: Path) -> None:
    store = open_store(build_quietly("eurosat", samples / "eurosat_ms", tmp_path).path)
    rows = [row for row in range(len(store)) if store.read_label(row) == 9][:12]  # calm water looks alike
    assert all(is_copy(store, row, row) for row in rows)
    assert not any(is_copy(store, a, b) for a, b in combinations(rows, 2))


@pytest.mark.parametrize("seed", range(3))
def test_boxes_across_the_antimeridian_overlap_as_elsewhere(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corner = np.stack([rng.uniform(178.5, 181.5, 200), rng.uniform(0, 3, 200)], axis=1)
    straight = np.concatenate([corner, corner + rng.uniform(0.05, 0.6, (200, 2))], axis=1)
    splits = rng.integers(0, 3, 200)
    expected = brute_overlaps(straight, splits)
    boxes = straight.copy()
    boxes[:, [0, 2]] = (boxes[:, [0, 2]] + 180) % 360 - 180
    assert (boxes[:, 0] > boxes[:, 2]).sum() > 10
    assert [tuple(pair) for pair in overlaps(boxes, splits)] == expected
    belt = np.array([[-180.0, 0.0, 180.0, 90.0]])  # around a pole
    assert [tuple(pair) for pair in overlaps(np.concatenate([boxes, belt]), np.append(splits, 7))] == expected
