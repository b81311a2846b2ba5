"""Every variant of `tiff_variants`: the numbers and the place that GDAL reads, or refused with our error."""

import logging
import warnings
from collections import Counter
from collections.abc import Iterable

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import MemoryFile

from seamo.errors import ArchiveError
from seamo_prep.rasters import Raster, decode_tiff
from seamo_prep.tiff import decode_plain
from tests.prep.tiff_variants import Variant, hand_made, variants

Reading = tuple[np.ndarray, str, tuple[float, ...] | None]


def by_gdal(data: bytes) -> Reading | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with MemoryFile(data) as memory, memory.open(driver="GTiff") as source:
                code = source.crs.to_epsg() if source.crs else None
                crs = f"EPSG:{code}" if code else source.crs.to_wkt() if source.crs else ""
                is_placed = source.transform != rasterio.Affine.identity()
                return source.read(), crs, tuple(source.transform)[:6] if is_placed else None
    except (RasterioError, TypeError):
        return None


def decode(data: bytes) -> tuple[Raster | None, str]:
    try:
        return decode_tiff(data, "x.tif"), ""
    except ArchiveError as error:
        return None, str(error)


def compare(chosen: Iterable[Variant]) -> Counter[str]:
    """Counts; asserts that nothing differs."""
    counts: Counter[str] = Counter()
    logging.getLogger("rasterio").setLevel(logging.CRITICAL)
    for variant in chosen:
        data, written = variant.make()
        counts["variants"] += 1
        theirs = by_gdal(data)
        ours, refusal = decode(data)
        if ours is None:
            counts["refused"] += 1
            counts["refused, though GDAL reads them"] += theirs is not None
            # What is sound must be read: only the hand-made ones lie about themselves.
            assert theirs is None or variant.name.startswith("hand "), f"{variant.name}: {refusal}"
            continue
        assert theirs is not None, f"{variant.name}: read here, refused by GDAL"
        assert ours.pixels.dtype == theirs[0].dtype, variant.name
        np.testing.assert_array_equal(ours.pixels, theirs[0], err_msg=variant.name)
        assert ours.crs == theirs[1], variant.name
        np.testing.assert_equal(ours.transform, theirs[2], err_msg=variant.name)
        if written is not None:
            np.testing.assert_array_equal(ours.pixels, written, err_msg=variant.name)
            counts["equal to what was written"] += 1
        counts["decoded here"] += decode_plain(data) is not None
        counts["equal to GDAL"] += 1
    return counts


def test_one_in_twenty_five() -> None:
    chosen = list(variants())[::25]
    counts = compare(chosen)
    print(counts)  # noqa: T201 - `pytest -s` shows it
    assert counts["variants"] == len(chosen) > 200
    assert counts["decoded here"] > 15
    assert counts["refused"] < counts["variants"] / 8


def test_the_hand_made_ones_that_lie() -> None:
    """Tags of other compressions, odd strips, keys that contradict: where readers part."""
    counts = compare(one for one in variants() if one.name.startswith(("hand tag", "hand strip")))
    print(counts)  # noqa: T201 - `pytest -s` shows it
    # Streams that are longer than their strip, and strips that are not there: GDAL gives what is in memory.
    assert counts["refused, though GDAL reads them"] <= 24


@pytest.mark.soak
def test_all() -> None:
    counts = compare(variants())
    print(counts)  # noqa: T201 - `pytest -s` shows it
    assert counts["variants"] > 3000
    assert counts["equal to GDAL"] + counts["refused"] == counts["variants"]


def test_names_are_distinct() -> None:
    names = Counter(one.name for one in variants())
    assert max(names.values()) == 1
    assert len(names) > 3000


@pytest.mark.parametrize("packing", [1, 8])
def test_a_last_strip_may_be_padded_and_a_checksum_is_held(packing: int) -> None:
    rows = np.arange(19 * 23, dtype=np.uint8).tobytes()
    data = hand_made(rows, "<", count=1, packing=packing, tags={258: (8,)})
    image = np.frombuffer(rows, np.uint8).reshape(1, 19, 23)
    np.testing.assert_array_equal(decode_tiff(data, "x.tif").pixels, image)
    if packing == 8:
        damaged = data[:-1] + bytes([data[-1] ^ 1])  # of the Adler-32 at the end of the stream
        with pytest.raises(ArchiveError, match=r"x\.tif: is cut short or damaged"):
            decode_tiff(damaged, "x.tif")
