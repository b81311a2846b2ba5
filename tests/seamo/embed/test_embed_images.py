"""What an image says of itself is heeded or refused: bands, units, missing pixels, grids."""

import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401 - gives Datasets their `rio`
import torch
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp

from seamo.bands import Unit
from seamo.errors import BandError, ProtocolError, UsageError
from seamo.use.bands import select_columns
from seamo.use.dense import Source, embed_image
from seamo.use.imagery import open_imagery
from tests.seamo.embed.images import BANDS, NODATA, PLACE, read_map, scene, write_image


def test_bands_are_found_by_name(pretrained, tmp_path):
    pixels = scene(24, 24)
    straight = write_image(tmp_path / "a.tif", pixels)
    order = np.random.default_rng(1).permutation(12)
    extra = np.concatenate([pixels[order], pixels[:1]])
    names = [*(BANDS[i].replace("B0", "B") + ", central wavelength" for i in order), "B10"]
    described = write_image(tmp_path / "b.tif", extra, names=names)
    given = write_image(tmp_path / "c.tif", extra, described=False)
    embed_image(pretrained, Source(straight, Unit.DN), tmp_path / "1.tif")
    embed_image(pretrained, Source(described, Unit.DN), tmp_path / "2.tif")
    embed_image(pretrained, Source(given, Unit.DN, bands=(*(BANDS[i] for i in order), "-")), tmp_path / "3.tif")
    first = read_map(tmp_path / "1.tif")[0]
    for other in ("2.tif", "3.tif"):
        np.testing.assert_array_equal(read_map(tmp_path / other)[0], first)
    with pytest.raises(BandError, match="names none of its bands"):
        embed_image(pretrained, Source(given, Unit.DN), tmp_path / "4.tif")
    with pytest.raises(BandError, match="2 names for 13 bands"):
        embed_image(pretrained, Source(given, Unit.DN, bands=("B02", "B03")), tmp_path / "4.tif")
    with pytest.raises(BandError, match="stands twice"):
        embed_image(pretrained, Source(given, Unit.DN, bands=("B02",) * 13), tmp_path / "4.tif")


def test_units_are_converted_or_refused(pretrained, tmp_path):
    pixels = scene(24, 24)
    plain = write_image(tmp_path / "a.tif", pixels)
    offset = write_image(tmp_path / "b.tif", pixels + 1000)
    embed_image(pretrained, Source(plain, Unit.DN), tmp_path / "1.tif")
    embed_image(pretrained, Source(offset, Unit.DN_PLUS_1000), tmp_path / "2.tif")
    np.testing.assert_array_equal(read_map(tmp_path / "1.tif")[0], read_map(tmp_path / "2.tif")[0])
    with pytest.raises(ProtocolError, match="unit db cannot become dn"):
        embed_image(pretrained, Source(plain, Unit.DB), tmp_path / "3.tif")
    # Stated as digital numbers, but ten times as large.
    with pytest.raises(UsageError, match="more than 5 std"):
        embed_image(pretrained, Source(write_image(tmp_path / "d.tif", pixels * 10), Unit.DN), tmp_path / "3.tif")


def test_missing_bands(pretrained, tmp_path):
    pixels = scene(24, 24)
    some = [i for i, name in enumerate(BANDS) if name not in ("B01", "B09")]
    path = write_image(tmp_path / "a.tif", pixels[some], names=[BANDS[i] for i in some])
    with pytest.raises(BandError, match="needs s2:B01, s2:B09, image has B02"):
        embed_image(pretrained, Source(path, Unit.DN), tmp_path / "out.tif")
    x = np.clip((pixels - (np.arange(12)[:, None, None])) / 2000.0, 0, 1).astype(np.float32)
    zero, mean = x.copy(), x.copy()
    zero[[0, 9]] = 0
    mean[[0, 9]] = x[some].mean(axis=0)
    small = select_columns(pretrained.model, {"s2": [BANDS[i] for i in some], "s1": ["VV", "VH"]})
    for policy, model, image in (
        ("zero", pretrained.model, zero),
        ("mean", pretrained.model, mean),
        ("select-columns", small, x[some]),
    ):
        facts = embed_image(pretrained, Source(path, Unit.DN), tmp_path / f"{policy}.tif", missing=policy)
        with torch.no_grad():
            want = model.encode({"s2": torch.from_numpy(image)[None]}).reshape(6, 6, 16).numpy()
        np.testing.assert_allclose(read_map(tmp_path / f"{policy}.tif")[0], want, rtol=0, atol=2e-5)
        assert facts["inputs"][0]["made_up"] == (
            {} if policy == "select-columns" else {"bands": ["B01", "B09"], "how": policy}
        )


def test_pixels_that_are_not_there_are_nan(tmp_path):
    pixels = scene(20, 20, bands=2)
    pixels[0, 3, 4] = NODATA
    pixels[1, 5, 6] = 7
    path = write_image(tmp_path / "a.tif", pixels, names=("B02", "B03"))
    with open_imagery(path, unit=Unit.DN, nodata=7) as imagery:
        read = imagery.read(("B03", "B02"), top=2, left=2, height=30, width=6)
    want = np.full((2, 30, 6), np.nan, dtype=np.float32)
    want[:, :18] = pixels[::-1, 2:, 2:8]
    want[1, 1, 2] = want[0, 3, 4] = np.nan
    np.testing.assert_array_equal(read, want)


def test_a_mask_band_counts(tmp_path):
    path = write_image(tmp_path / "a.tif", scene(20, 20, bands=1), names=("B02",), nodata=None)
    mask = np.full((20, 20), 255, dtype=np.uint8)
    mask[4:6, 7] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as target:
        target.write_mask(mask)
    with open_imagery(path, unit=Unit.DN) as imagery:
        read = imagery.read(("B02",), top=0, left=0, height=20, width=20)[0]
    assert np.array_equal(np.isnan(read), mask == 0)


def with_words(path, pixels, **said):
    """An image with attributes of rasterio's file set before its pixels."""
    profile = {"driver": "GTiff", "dtype": pixels.dtype, "count": len(pixels), "crs": "EPSG:32633", "transform": PLACE}
    profile |= {"height": pixels.shape[1], "width": pixels.shape[2]} | said.pop("profile", {})
    with rasterio.open(path, "w", **{key: value for key, value in profile.items() if value is not None}) as target:
        for name, value in said.items():
            setattr(target, name, value)
        target.write(pixels)
    return path


def test_what_a_file_says_of_its_numbers_agrees_with_the_unit(pretrained, tmp_path):
    pixels = scene(24, 24)
    for scale, offset, unit, fits in (
        (1e-4, 0.0, Unit.DN, True),
        (1e-4, -0.1, Unit.DN_PLUS_1000, True),
        (1e-4, -0.1, Unit.DN, False),
        (1.0, -1000.0, Unit.DN, False),
        (1e-4, 0.0, Unit.DN_PLUS_1000, False),
    ):
        words = {"scales": [scale] * 12, "offsets": [offset] * 12, "descriptions": BANDS}
        path = with_words(tmp_path / "a.tif", pixels, **words)
        if fits:
            with open_imagery(path, unit=unit) as imagery:
                read = imagery.read(("B02",), top=0, left=0, height=24, width=24)
            np.testing.assert_array_equal(read[0], pixels[BANDS.index("B02")])
        else:
            with pytest.raises(UsageError, match=r"a\.tif: says of band 1 that value = .* which is not unit dn"):
                embed_image(pretrained, Source(path, unit), tmp_path / "out.tif")


def test_complex_colour_tables_and_control_points_are_refused(pretrained, tmp_path):
    path = with_words(tmp_path / "a.tif", scene(24, 24, bands=2).astype(np.complex64), descriptions=("VV", "VH"))
    with pytest.raises(UsageError, match="holds complex values"):
        embed_image(pretrained, Source(path, Unit.DB), tmp_path / "out.tif")
    with rasterio.open(path, "w", driver="GTiff", count=1, dtype="uint8", height=24, width=24) as target:
        target.write_colormap(1, {1: (255, 0, 0, 255)})
        target.write(np.ones((1, 24, 24), dtype=np.uint8))
    with pytest.raises(UsageError, match="indices into a colour table"):
        embed_image(pretrained, Source(path, Unit.DN, bands=("B02",)), tmp_path / "out.tif")
    points = [GroundControlPoint(r, c, 600000 + 10 * c, 5900040 - 10 * r) for r, c in ((0, 0), (0, 24), (24, 0))]
    placed = {"crs": None, "transform": None}
    path = with_words(tmp_path / "b.tif", scene(24, 24), descriptions=BANDS, profile=placed,
                      gcps=(points, rasterio.CRS.from_epsg(32633)))  # fmt: skip
    with pytest.raises(UsageError, match=r"3 ground control points alone and has no grid.*gdalwarp -tps"):
        embed_image(pretrained, Source(path, Unit.DN), tmp_path / "out.tif")


def test_alpha_and_nodata_both_count(tmp_path):
    pixels = scene(20, 20, bands=3)
    pixels[0, 1, 1] = 0
    pixels[2], pixels[2, 3, 4] = 255, 0
    colours = (ColorInterp.gray, ColorInterp.undefined, ColorInterp.alpha)
    words = {"descriptions": ("B02", "B03", ""), "colorinterp": colours, "profile": {"nodata": 0}}
    path = with_words(tmp_path / "a.tif", pixels, **words)
    with open_imagery(path, unit=Unit.DN) as imagery:
        read = imagery.read(("B02", "B03"), top=0, left=0, height=20, width=20)
    assert [list(map(int, place)) for place in np.argwhere(np.isnan(read))] == [[0, 1, 1], [0, 3, 4], [1, 3, 4]]
    with (
        pytest.raises(BandError, match="band 3 is alpha, not B04"),
        open_imagery(path, unit=Unit.DN, bands=("B02", "B03", "B04")),
    ):
        pass


def test_names_that_contradict_the_file_show_both_lists(tmp_path):
    path = write_image(tmp_path / "a.tif", scene(20, 20, bands=2), names=("B03", "B02"))
    for given in (("B02", "B03"), ("B03", "B04")):
        with (
            pytest.raises(BandError, match=f"describes its bands as B03, B02; given: {', '.join(given)}"),
            open_imagery(path, unit=Unit.DN, bands=given),
        ):
            pass
    with open_imagery(path, unit=Unit.DN, bands=("B03", "-")) as imagery:
        assert imagery.bands == ("B03",)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_no_grid_is_not_the_same_grid(pretrained, tmp_path):
    nowhere = {"crs": None, "transform": None}
    one = with_words(tmp_path / "a.tif", scene(24, 24), descriptions=BANDS, profile=nowhere)
    radar = scene(24, 24, bands=2).astype(np.float32)
    for profile in (nowhere, {}, {"crs": None}):
        two = with_words(tmp_path / "b.tif", radar, descriptions=("VV", "VH"), profile=profile)
        with pytest.raises(UsageError, match="does not say where it lies"):
            embed_image(pretrained, Source(one, Unit.DN), tmp_path / "out.tif", others=[Source(two, Unit.DB)])
    embed_image(pretrained, Source(one, Unit.DN), tmp_path / "out.tif")  # by itself it may lie nowhere


def test_an_image_of_this_disk_asks_for_no_profile_of_aws(pretrained, tmp_path, request):
    path = write_image(tmp_path / "a.tif", scene(24, 24))
    embed_image(pretrained, Source(path, Unit.DN), tmp_path / "with.tif", size=24)
    request.getfixturevalue("no_such_profile")
    embed_image(pretrained, Source(path, Unit.DN), tmp_path / "without.tif", size=24)
    assert (tmp_path / "without.tif").read_bytes() == (tmp_path / "with.tif").read_bytes()
