"""Which footprints share area, pair by pair against shapely."""

import dataclasses
import time

import numpy as np
import pytest
import shapely

from seamo.store.placelist import Footprints, of_boxes
from seamo_bench.predictions import Scoring
from seamo_bench.questions.touching import touching

SINGLE = Scoring("single-label")
UTM = "EPSG:32633"


def boxes(*sides: tuple[float, float, float, float], days: list[str] | None = None) -> Footprints:
    dates = None if days is None else np.array(days, dtype="datetime64[D]")
    return of_boxes([f"b{i}" for i in range(len(sides))], np.array(sides), dates, dates)


def lattice(rng: np.random.Generator, n: int, *, reach: float, size: int) -> Footprints:
    """Boxes whose edges lie on quarters of a degree, so that many have edges in common; some cross the antimeridian."""
    west, south = (np.round(rng.uniform(-reach, reach, n) * 4) / 4 for _ in range(2))
    wide, tall = (rng.integers(1, size, n) / 4 for _ in range(2))
    west = (west + 360) % 360 - 180  # around the antimeridian
    east = west + wide
    return of_boxes(
        [str(i) for i in range(n)],
        np.stack([west, south, np.where(east > 180, east - 360, east), south + tall], axis=1),
    )


def turned(known: Footprints, rng: np.random.Generator) -> Footprints:
    """The same, turned around their centres."""
    angle = rng.uniform(-np.pi, np.pi, len(known))
    turn = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], axis=1).reshape(-1, 2, 2)
    middle = known.corners.mean(axis=1, keepdims=True)
    return dataclasses.replace(known, corners=np.einsum("nij,ncj->nci", turn, known.corners - middle) + middle)


def by_hand(tested: Footprints, seen: Footprints) -> np.ndarray:
    """(N, M) whether two polygons share area, one pair after the other, by another library."""
    shapes = [[shapely.Polygon(corners) for corners in known.corners] for known in (tested, seen)]
    around = [[shapely.affinity.translate(one, 360 * k) for k in (-1, 0, 1)] for one in shapes[1]]
    return np.array([[max(a.intersection(b).area for b in turns) > 1e-9 for turns in around] for a in shapes[0]])


@pytest.mark.parametrize("seed", range(6))
def test_what_touches_is_what_shares_area(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tested = lattice(rng, 60, reach=4, size=(3, 30)[seed % 2])
    seen = lattice(rng, 40, reach=4, size=(30, 3, 9)[seed % 3])
    if seed > 3:
        tested, seen = turned(tested, rng), turned(seen, rng)
    truth = by_hand(tested, seen)
    found = touching(tested, seen)
    assert 0 < truth.sum() < truth.size
    np.testing.assert_array_equal(found >= 0, truth.any(axis=1))
    hit = np.flatnonzero(found >= 0)
    assert truth[hit, found[hit]].all()
    alone = [touching(tested, dataclasses.replace(seen, **only(seen, k)))[:] >= 0 for k in range(len(seen))]
    np.testing.assert_array_equal(np.stack(alone, axis=1), truth)


def only(known: Footprints, k: int) -> dict[str, np.ndarray]:
    return {name: getattr(known, name)[k : k + 1] for name in ("ids", "corners", "begin", "end")}


def test_edges_corners_and_sizes() -> None:
    here = boxes((10, 50, 11, 51))
    cases = {
        "the same": ((10, 50, 11, 51), True),
        "an edge": ((11, 50, 12, 51), False),
        "a corner": ((11, 51, 12, 52), False),
        "tiny, within": ((10.5, 50.5, 10.50001, 50.50001), True),
        "the globe": ((-180, -90, 180, 90), True),
        "around the other side": ((11, 50, 10, 51), False),
        "around it, across 180": ((170, 40, 20, 60), True),
        "the pole's cap": ((-180, 50.5, 180, 90), True),
    }
    for name, (box, truth) in cases.items():
        assert (touching(here, boxes(box))[0] >= 0) == truth, name
        assert (touching(boxes(box), here)[0] >= 0) == truth, name
    across = boxes((179.9, -16, -179.9, -15.9))
    assert touching(across, boxes((-180, -16, -179.95, -15.9)))[0] == 0
    assert touching(across, boxes((179.95, -16, 180, -15.9)))[0] == 0
    assert touching(across, boxes((-179.9, -16, -179.8, -15.9)))[0] == -1  # an edge
    assert touching(across, across)[0] == 0
    assert touching(boxes(), across).shape == (0,)
    assert touching(across, boxes()).tolist() == [-1]


def test_days_count_where_they_are_known_and_asked_for() -> None:
    place = (10, 50, 11, 51)
    tested = boxes(place, place, place, days=["2020-01-01", "2020-06-01", "NaT"])
    seen = boxes(place, (20, 50, 21, 51), days=["2020-01-11", "2020-06-01"])
    for days, truth in ((None, [0, 0, 0]), (9, [-1, -1, 0]), (10, [0, -1, 0]), (142, [0, 0, 0])):
        assert touching(tested, seen, days=days).tolist() == truth, days
    assert touching(tested, boxes(place), days=0).tolist() == [0, 0, 0]  # without a day the place decides


def random_boxes(rng: np.random.Generator, n: int, size: float) -> Footprints:
    west, south = rng.uniform(-180, 180, n), rng.uniform(40, 60, n)
    east = west + size * rng.uniform(0.5, 2, n)
    sides = np.stack([west, south, np.where(east > 180, east - 360, east), south + size], axis=1)
    return of_boxes([str(i) for i in range(n)], sides)


@pytest.mark.soak
@pytest.mark.parametrize("size", [0.02, 0.2, 2.0])
def test_a_hundred_thousand_by_a_hundred_thousand_within_a_minute(size: float) -> None:
    rng = np.random.default_rng(7)
    tested, seen = random_boxes(rng, 100_000, 0.02), random_boxes(rng, 100_000, size)
    begin = time.monotonic()
    found = touching(tested, seen)
    assert time.monotonic() - begin < 60
    own, sides, turn = tested.boxes, seen.boxes, np.array([360, 0, 360, 0])
    theirs = np.concatenate([sides, sides - turn, sides + turn])
    for row in rng.integers(0, 100_000, 300):
        mine = own[row]
        deep = np.minimum(mine[2:], theirs[:, 2:]) - np.maximum(mine[:2], theirs[:, :2])
        assert (found[row] >= 0) == (deep > 0).all(axis=1).any()
