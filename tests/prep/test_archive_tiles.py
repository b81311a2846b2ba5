"""Cutting scenes into tiles: positions worked out by hand, and properties."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seamo.sample import GeoRef, check_key
from seamo_prep.archives._tiles import anchored_starts, key_part, starts, tile_geo, tile_name


@pytest.mark.parametrize(("length", "tile", "stride", "expected"), [
    (12_800, 512, 512, [512 * i for i in range(25)]),
    (600, 256, 256, [0, 256]),
    (255, 256, 256, []),
])  # fmt: skip
def test_whole_tiles(length: int, tile: int, stride: int, expected: list[int]) -> None:
    assert starts(length, tile, stride) == expected


@pytest.mark.parametrize(("length", "expected"), [
    (128, [0]), (129, [0, 1]), (191, [0, 63]), (192, [0, 64]), (193, [0, 64, 65]), (256, [0, 64, 128]),
])  # fmt: skip
def test_the_last_tile_ends_at_the_far_edge(length: int, expected: list[int]) -> None:
    assert anchored_starts(length, 128, 64) == expected


@given(st.integers(1, 500), st.integers(1, 200), st.data())
def test_anchored_tiles_cover_every_pixel(length: int, tile: int, data: st.DataObject) -> None:
    tile = min(tile, length)
    stride = data.draw(st.integers(1, tile))
    found = anchored_starts(length, tile, stride)
    assert {pixel for start in found for pixel in range(start, start + tile)} == set(range(length))
    assert found == sorted(set(found))
    assert found[-1] == length - tile


def test_a_scene_of_10980_pixels_gives_1764_tiles() -> None:
    assert len(starts(10_980, 256, 256)) ** 2 == 1764
    assert 10_980 - (starts(10_980, 256, 256)[-1] + 256) == 228


@given(st.text(min_size=1))
def test_every_name_can_be_part_of_a_key(name: str) -> None:
    check_key(key_part(name))


def test_names_sort_by_row_then_column() -> None:
    places = [(y, x) for y in (0, 512, 9728, 10240) for x in (0, 512, 9728, 10240)]
    assert sorted(tile_name(*place) for place in places) == [tile_name(*place) for place in places]


def test_a_tile_lies_where_its_corner_is() -> None:
    assert tile_geo("EPSG:32633", (10.0, 0.0, 500000.0, 0.0, -10.0, 6000000.0), 3, 7) == GeoRef(
        "EPSG:32633", (10.0, 0.0, 500070.0, 0.0, -10.0, 5999970.0)
    )
    assert tile_geo("", None, 3, 7) is None
