"""Every kind of TIFF that the plain path may meet or must leave alone: the same as rasterio reads."""

import itertools
import struct
from pathlib import Path

import numpy as np
import pytest
import rasterio
import tifffile
from rasterio.enums import ColorInterp

from seamo.errors import ArchiveError
from seamo_prep import tiff
from seamo_prep.initial.peek import peek
from seamo_prep.rasters import decode_tiff
from seamo_prep.tiff import write_tiff

UTM = (10.0, 0.0, 300000.0, 0.0, -10.0, 5000000.0)


def agree(path: Path) -> None:
    ours = decode_tiff(path.read_bytes(), str(path))
    with rasterio.open(path) as source:
        theirs, crs, transform = source.read(), source.crs, source.transform
    assert ours.pixels.dtype == theirs.dtype
    assert ours.pixels.flags.c_contiguous
    np.testing.assert_array_equal(ours.pixels, theirs)
    assert ours.crs == ("" if crs is None else f"EPSG:{crs.to_epsg()}" if crs.to_epsg() else crs.to_wkt())
    assert ours.transform == (None if transform.is_identity else tuple(transform)[:6])
    with rasterio.open(path) as source:
        # What the plain path says, GDAL says.
        np.testing.assert_array_equal(
            [whole(one, source) for one in ours.facts.nodata], [whole(one, source) for one in source.nodatavals]
        )
        assert (ours.facts.scales, ours.facts.offsets) == (source.scales, source.offsets)
        assert ours.facts.descriptions == tuple(text or "" for text in source.descriptions)
        assert ours.facts.colours == tuple(one.name for one in source.colorinterp)
        np.testing.assert_array_equal(ours.missing(), missing_by_gdal(source))


def whole(nodata: float | None, source: rasterio.io.DatasetReader) -> float | None:
    """GDAL hands out 0.1 as the nodata of integers, and masks zeros."""
    return nodata if nodata is None or source.dtypes[0].startswith("float") else int(nodata)


def missing_by_gdal(source: rasterio.io.DatasetReader) -> np.ndarray:
    """What rasterio masks, and what is not finite."""
    pixels = source.read(masked=True)
    return np.ma.getmaskarray(pixels) | ~np.isfinite(pixels.data)


DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")
LAYOUTS = (
    {},
    {"interleave": "band"},
    {"blockysize": 3},
    {"compress": "deflate"},
    {"compress": "deflate", "predictor": "p", "interleave": "pixel"},
    {"compress": "deflate", "predictor": "p", "interleave": "band", "blockysize": 4},
    {"compress": "lzw"},
    {"tiled": True, "blockxsize": 16, "blockysize": 16},
    {"endianness": "big"},
    {"endianness": "big", "compress": "deflate", "predictor": "p"},
    {"sparse_ok": True},
    {"BIGTIFF": "YES"},
    {"nodata": 0},
    {"nodata": 60, "compress": "deflate"},
    {"photometric": "RGB"},
)


@pytest.mark.parametrize(("dtype", "layout"), list(itertools.product(DTYPES, LAYOUTS)))
def test_layouts(tmp_path: Path, dtype: str, layout: dict[str, object]) -> None:
    rng = np.random.default_rng(0)
    options = dict(layout)
    if options.get("predictor") == "p":
        options["predictor"] = 3 if dtype.startswith("float") else 2
    for count in (1, 3):
        pixels = (rng.standard_normal((count, 19, 23)) * 60).astype(dtype)
        if "sparse_ok" in layout:
            pixels[:] = 0
        path = tmp_path / f"{count}.tif"
        with rasterio.open(
            path, "w", driver="GTiff", count=count, height=19, width=23, dtype=dtype, crs="EPSG:32733",
            transform=rasterio.Affine(*UTM), **options,
        ) as file:  # fmt: skip
            file.write(pixels)
        agree(path)


@pytest.mark.parametrize(
    ("crs", "transform", "tags"),
    [
        ("EPSG:4326", (0.1, 0, 5, 0, -0.2, 50), {}),
        ("EPSG:3035", UTM, {}),
        ("EPSG:32633", (10, 1, 5, 2, -10, 50), {}),  # rotated
        ("EPSG:32633", (10, 0, 5, 0, 10, 50), {}),  # south up
        ("EPSG:32633", UTM, {"AREA_OR_POINT": "Point"}),
        ("+proj=laea +lat_0=10 +lon_0=20 +ellps=WGS84", UTM, {}),
        ("EPSG:2263", UTM, {}),  # US feet
        (None, UTM, {}),
        ("EPSG:32633", None, {}),
        (None, None, {}),
    ],
)
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_places(tmp_path: Path, crs: str | None, transform: tuple[float, ...] | None, tags: dict[str, str]) -> None:
    path = tmp_path / "a.tif"
    extra = {} if transform is None else {"transform": rasterio.Affine(*transform)}
    with rasterio.open(path, "w", driver="GTiff", count=1, height=5, width=4, dtype="uint8", crs=crs, **extra) as file:
        file.update_tags(**tags)
        file.write(np.ones((1, 5, 4), np.uint8))
    agree(path)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
@pytest.mark.parametrize("count", [1, 2, 13])
def test_written_files_are_what_rasterio_reads(tmp_path: Path, dtype: str, count: int) -> None:
    pixels = (np.random.default_rng(1).random((count, 6, 9)) * 250).astype(dtype)
    write_tiff(tmp_path / "a.tif", pixels, epsg=32633, transform=UTM)
    with rasterio.open(tmp_path / "a.tif") as source:
        np.testing.assert_array_equal(source.read(), pixels)
        assert (source.dtypes[0], source.crs.to_epsg(), tuple(source.transform)[:6]) == (dtype, 32633, UTM)
    agree(tmp_path / "a.tif")


def test_any_damage_is_an_archive_error_or_no_damage(tmp_path: Path) -> None:
    """Every cut, and random changes of bytes: never another exception."""
    pixels = np.arange(3 * 8 * 8, dtype=np.uint16).reshape(3, 8, 8)
    write_tiff(tmp_path / "a.tif", pixels, epsg=32633, transform=UTM)
    data = (tmp_path / "a.tif").read_bytes()
    for size in range(len(data)):
        with pytest.raises(ArchiveError):
            decode_tiff(data[:size], "cut.tif")
    rng = np.random.default_rng(2)
    seen = set()
    for _ in range(2000):
        altered = bytearray(data)
        for position in rng.integers(4, 320, size=2):
            altered[position] = rng.integers(256)
        try:
            decode_tiff(bytes(altered), "altered.tif")
        except ArchiveError as error:
            seen.add(error.where)
    assert seen == {"altered.tif"}


def outcome(data: bytes) -> bytes | str:
    try:
        return decode_tiff(data, "a.tif").pixels.tobytes()
    except ArchiveError as error:
        return str(error)


def test_damaged_streams_are_what_zlib_makes_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Strips are inflated by libdeflate; whatever is wrong with one, its pixels or its error are those of zlib."""
    path = tmp_path / "a.tif"
    with rasterio.open(path, "w", count=1, dtype="uint16", compress="deflate", blockysize=4, **PLAIN) as file:
        file.write(sample("uint16", 1) % 50)
    data, rng = path.read_bytes(), np.random.default_rng(3)
    with tifffile.TiffFile(path) as image:
        first, length = image.pages[0].dataoffsets[0], sum(image.pages[0].databytecounts)
    cases = [data]
    for position, value in zip(rng.integers(first, first + length, 300), rng.integers(1, 256, 300), strict=True):
        altered = bytearray(data)
        altered[position] ^= value
        cases.append(bytes(altered))
    ours = [outcome(case) for case in cases]

    def refuse(*_: object) -> None:
        raise tiff.DeflateError

    monkeypatch.setattr(tiff, "zlib_decompress", refuse)
    assert ours == [outcome(case) for case in cases]
    assert sum(isinstance(one, str) for one in ours) > 250


@pytest.mark.parametrize("options", LAYOUTS)
def test_pixels_come_to_lie_in_an_array_that_is_given(tmp_path: Path, options: dict[str, object]) -> None:
    options = {key: 2 if value == "p" else value for key, value in options.items()}
    for count in (1, 3):
        values, path = sample("uint16", count), tmp_path / f"{count}.tif"
        with rasterio.open(path, "w", count=count, dtype="uint16", **PLAIN, **options) as file:
            file.write(values)
        out = np.empty_like(values)
        pixels = decode_tiff(path.read_bytes(), "a", out=out).pixels
        np.testing.assert_array_equal(pixels, values)
        is_plain = options.get("compress") != "lzw" and not {"predictor", "tiled", "BIGTIFF", "endianness"} & set(
            options
        )
        assert (pixels is out) == (is_plain and (count == 1 or options.get("interleave") == "band"))
        for other in (np.empty_like(values[:, 1:]), values.astype("int16"), np.empty_like(values[:, ::-1])[:, ::-1]):
            np.testing.assert_array_equal(decode_tiff(path.read_bytes(), "a", out=other).pixels, values)


PLAIN = {"driver": "GTiff", "height": 19, "width": 23, "crs": "EPSG:32733", "transform": rasterio.Affine(*UTM)}


def sample(dtype: str, count: int) -> np.ndarray:
    """Numbers with ties, so that every nodata value meets some pixels."""
    return np.random.default_rng(4).integers(0, 6, (count, 19, 23)).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("nodata", [0, 3, -9999, 0.1, np.nan, np.inf, 1e-45, -3.4028234663852886e38, 255, 65535])
def test_nodata_is_what_gdal_says(tmp_path: Path, dtype: str, nodata: float) -> None:
    pixels = sample(dtype, 2)
    with np.errstate(all="ignore"):
        pixels[0, :2] = np.array(nodata).astype(dtype)
    path = tmp_path / "a.tif"
    # rasterio refuses to write a nodata value that the dtype cannot hold; other programs do not.
    said = [(42113, "s", 0, repr(float(nodata)), True)]
    tifffile.imwrite(path, pixels, photometric="minisblack", planarconfig="separate", metadata=None, extratags=said)
    agree(path)


@pytest.mark.parametrize("count", [1, 3])
def test_masks_alpha_and_words_of_bands(tmp_path: Path, count: int) -> None:
    pixels = sample("uint16", count + 1)
    path = tmp_path / "a.tif"
    mask = np.where(pixels[0] == 2, 0, 255).astype(np.uint8)
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", count=count, dtype="uint16", **PLAIN) as file,
    ):
        file.write(pixels[:count])
        file.write_mask(mask)
    agree(path)
    assert np.array_equal(decode_tiff(path.read_bytes(), "a").missing()[0], mask == 0)
    with rasterio.open(path, "w", count=count + 1, dtype="uint16", nodata=5, **PLAIN) as file:
        file.descriptions = [f"band {n}" for n in range(count + 1)]
        file.scales, file.offsets = [0.5] * (count + 1), [-0.1] * (count + 1)
        file.colorinterp = [ColorInterp.gray] + [ColorInterp.undefined] * (count - 1) + [ColorInterp.alpha]
        file.write(pixels)
    ours = decode_tiff(path.read_bytes(), "a")
    assert ours.facts.alpha == (count,)
    assert ours.facts.descriptions == tuple(f"band {n}" for n in range(count + 1))
    assert (ours.facts.scales[0], ours.facts.offsets[0]) == (0.5, -0.1)
    # GDAL's mask heeds nodata alone where there is both; here both count.
    np.testing.assert_array_equal(ours.missing()[0], (pixels[0] == 5) | (pixels[-1] == 0))


def test_alpha_that_is_said_to_be_something_else(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with rasterio.open(path, "w", count=4, dtype="uint8", **PLAIN) as file:
        file.write(sample("uint8", 4))
        assert file.colorinterp[3] == ColorInterp.alpha  # GDAL's own idea of four bands of bytes
    assert decode_tiff(path.read_bytes(), "a").facts.alpha == (3,)


def test_words_that_are_not_text_are_an_archive_error(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with rasterio.open(path, "w", count=1, dtype="uint8", **PLAIN) as file:
        file.write(sample("uint8", 1))
        file.descriptions = ["marker"]
    data = path.read_bytes().replace(b"marker", b"m\xff\xfeker")
    try:
        decode_tiff(data, "a.tif")
    except ArchiveError as error:
        assert error.where == "a.tif"  # noqa: PT017 - some versions of GDAL read it in Latin-1


@pytest.mark.parametrize("says_more", [False, True])
@pytest.mark.parametrize("kind", ["NO", "YES"])
@pytest.mark.parametrize("blocks", [{"blockysize": 4}, {"tiled": True, "blockxsize": 16, "blockysize": 16}])
def test_fewer_blocks_than_the_image_takes_are_refused(
    tmp_path: Path, blocks: dict[str, object], kind: str, says_more: bool
) -> None:
    """GDAL gives what lies in memory, or zeros, for blocks that the header does not list."""
    path = tmp_path / "a.tif"
    with rasterio.open(path, "w", count=1, dtype="uint16", BIGTIFF=kind, **(PLAIN | blocks)) as file:
        file.write(sample("uint16", 1))
        if says_more:
            file.scales = [0.5]
    data = bytearray(path.read_bytes())
    agree(path)
    # Lists of offsets (273, 324) and lengths (279, 325) that are half as long: entries of (tag, type, count, value).
    first, step, layout = {"NO": (4, 12, "<HHI"), "YES": (8, 20, "<HHQ")}[kind]
    (start,) = struct.unpack_from("<I" if kind == "NO" else "<Q", data, first)
    (number,) = struct.unpack_from("<H" if kind == "NO" else "<Q", data, start)
    entries = range(start + (2 if kind == "NO" else 8), len(data), step)[:number]
    halved = 0
    for at in entries:
        tag, dtype, count = struct.unpack_from(layout, data, at)
        if tag in (273, 279, 324, 325):
            struct.pack_into(layout, data, at, tag, dtype, count // 2)
            halved += 1
    assert halved == 2
    with pytest.raises(ArchiveError, match="cut short"):
        decode_tiff(bytes(data), "a.tif")


def test_gdal_reads_without_asking_for_a_profile_of_aws(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    pixels = np.arange(16, dtype=np.int16).reshape(1, 4, 4)
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", width=4, height=4, count=1, dtype="int16", compress="packbits"
    ) as target:
        target.write(pixels)
    data = (tmp_path / "a.tif").read_bytes()
    assert tiff.decode_plain(data) is None, "GDAL would not be asked"
    request.getfixturevalue("no_such_profile")
    np.testing.assert_array_equal(decode_tiff(data, "a.tif").pixels, pixels)
    found, broken = peek(tmp_path, ["a.tif"], pixels=1)
    assert list(found) == ["a.tif"]
    assert broken == []
