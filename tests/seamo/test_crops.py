"""Crops: drawn per sample, placed by hand, resized like Pillow, aware of nodata."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from seamo.bands import Unit
from seamo.data.crops import (
    Crop,
    CropConfig,
    View,
    _by_matrices,
    _by_rows,
    bicubic,
    crop_stack,
    draw_views,
    resize_taps,
    whole_view,
)
from seamo.data.draws import CROPS, MASKS, uniforms
from seamo.errors import BandError, RecipeError, UsageError
from seamo.manifest import LayerSpec
from seamo.pretrain.recipe import load_recipe
from seamo.resample import resize_matrix as numpy_matrix

CPU = torch.device("cpu")


def layer(name: str, bands: tuple[str, ...], *, gsd: float = 10.0, fill: int | str | None = -32768) -> LayerSpec:
    dtype = {"nan": "float32", None: "uint8", 65535: "uint16"}.get(fill, "int16")
    return LayerSpec(
        id=name, stack="s2", sensor="s2", bands=bands, gsd_m=gsd, dtype=dtype, unit=Unit.DN, fill=fill, size=None
    )


FINE = layer("s2_10m", ("B02", "B03"))
COARSE = layer("s2_20m", ("B05",), gsd=20.0)


def view(top: float, left: float, height: float, width: float, *, flip: bool = False) -> View:
    box = torch.tensor([[[top, left, height, width]]], dtype=torch.float64)
    return View(box, torch.tensor([[flip]]))


def crop_one(image: np.ndarray, at: View, size: int, *, fill: int | str | None = -32768) -> Crop:
    """One band, one location, one season; returns (S, S) arrays."""
    spec = layer("one", ("B02",), fill=fill)
    got = crop_stack({"one": torch.from_numpy(image)[None, None, None]}, [spec], at, bands=["B02"], size=size)
    return Crop(got.pixels[0, 0, 0], None if got.valid is None else got.valid[0, 0, 0])


def drawn(config: CropConfig, *, rows: int = 20_000, seasons: int = 2, epoch: int = 0) -> View:
    return draw_views(config, torch.arange(rows), sensors=["s2"], seasons=seasons, seed=1, epoch=epoch)["s2"]


def overlap(view_: View) -> tuple[np.ndarray, np.ndarray]:
    """IoU of the first two seasons' boxes, and the share of the first that the second covers."""
    (t0, l0, h0, w0), (t1, l1, h1, w1) = (view_.box[:, t].T.numpy() for t in (0, 1))
    down = np.clip(np.minimum(t0 + h0, t1 + h1) - np.maximum(t0, t1), 0, None)
    across = np.clip(np.minimum(l0 + w0, l1 + w1) - np.maximum(l0, l1), 0, None)
    both = down * across
    return both / (h0 * w0 + h1 * w1 - both), both / (h0 * w0)


class TestDraws:
    def test_splitmix64_against_plain_integers(self):
        def mix(x: int) -> int:
            x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
            x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) % 2**64
            return x ^ (x >> 31)

        golden = 0x9E3779B97F4A7C15
        # Published test vector of the generator itself: the first outputs of seed 1234567.
        vector = [mix((1234567 + i * golden) % 2**64) for i in (1, 2, 3)]
        assert vector == [6457827717110365317, 3203168211198807973, 9817491932198370423]

        seed, epoch, stream, row = 42, 7, CROPS, 123_456
        key = 0
        for part in (seed, epoch, stream):
            key = mix((key + part * golden + 1) % 2**64)
        state = mix(mix((row + golden) % 2**64) ^ key)
        wanted = [(mix((state + i * golden) % 2**64) >> 11) / 2**53 for i in (1, 2, 3)]
        assert uniforms(torch.tensor([row]), 3, seed=seed, epoch=epoch, stream=stream)[0].tolist() == wanted

    def test_numbers_depend_on_the_sample_alone(self):
        rows = torch.tensor([5, 900, 17, 5])
        batch = uniforms(rows, 6, seed=3, epoch=2, stream=CROPS)
        alone = uniforms(torch.tensor([17]), 4, seed=3, epoch=2, stream=CROPS)
        assert torch.equal(batch[2, :4], alone[0])
        assert torch.equal(batch[0], batch[3])

    def test_seed_epoch_stream_and_row_all_matter(self):
        base = {"seed": 3, "epoch": 2, "stream": CROPS}
        first = uniforms(torch.tensor([8]), 50, **base)
        others = [{**base, "seed": 4}, {**base, "epoch": 3}, {**base, "stream": MASKS}, {**base, "seed": 2, "epoch": 3}]
        for other in others:
            assert not torch.isclose(first, uniforms(torch.tensor([8]), 50, **other)).any()
        assert not torch.isclose(first, uniforms(torch.tensor([9]), 50, **base)).any()

    def test_they_are_uniform_and_uncorrelated(self):
        u = uniforms(torch.arange(20_000), 4, seed=0, epoch=0, stream=MASKS).numpy()
        counts = np.histogram(u, bins=50, range=(0, 1))[0]
        expected = u.size / 50
        assert ((counts - expected) ** 2 / expected).sum() < 85.4  # chi-square, 49 degrees of freedom, p = 0.001
        between = np.corrcoef(np.concatenate([u[:-1], u[1:]], axis=1).T)
        assert np.abs(between - np.eye(8)).max() < 0.035  # 5 standard errors of 20,000 pairs
        assert u.min() >= 0
        assert u.max() < 1


class TestBoxes:
    # Mean overlap of independent crops, worked out for the method notes (4.2).
    @pytest.mark.parametrize(
        ("low", "mode", "iou"),
        [(0.75, "area", 0.83), (0.5, "area", 0.69), (0.25, "area", 0.54), (0.5, "side", 0.54), (0.25, "side", 0.35)],
    )
    def test_mean_iou_of_independent_crops(self, low: float, mode: str, iou: float):
        found, _ = overlap(drawn(CropConfig(rate=(low, 1.0), rate_mode=mode)))
        assert found.mean() == pytest.approx(iou, abs=0.01)

    def test_coverage_and_disjoint_crops(self):
        _, coverage = overlap(drawn(CropConfig()))
        assert coverage.mean() == pytest.approx(0.82, abs=0.01)
        assert coverage.min() > 0.35
        assert (overlap(drawn(CropConfig(rate=(0.25, 1.0), rate_mode="side")))[0] == 0).mean() == pytest.approx(
            0.04, abs=0.01
        )

    @pytest.mark.parametrize("mode", ["area", "side"])
    def test_boxes_lie_inside_and_have_the_asked_for_size(self, mode: str):
        box = drawn(CropConfig(rate=(0.3, 0.6), rate_mode=mode)).box
        top, left, height, width = box.unbind(-1)
        assert (box >= 0).all()
        assert (top + height <= 1 + 1e-12).all()
        assert (left + width <= 1 + 1e-12).all()
        size, ratio = (height * width, width / height) if mode == "area" else (height, width / height)
        # uniform between 0.3 and 0.6; tries that stick out are rare at these sizes
        assert (size.min(), size.max(), size.mean()) == pytest.approx((0.3, 0.6, 0.45), abs=0.004)
        if mode == "area":
            assert (ratio.min(), ratio.max()) == pytest.approx((3 / 4, 4 / 3), abs=0.002)
            assert ratio.log().mean() == pytest.approx(0.0, abs=0.005)
        else:
            assert (ratio == 1).all()
        free = top / (1 - height)
        assert (free.mean(), free.std()) == pytest.approx((0.5, 12**-0.5), abs=0.01)

    def test_a_try_that_never_fits_gives_the_whole_image(self):
        # At area 1 a box fits only if it is exactly square.
        box = drawn(CropConfig(rate=(1.0, 1.0)), rows=100).box
        assert torch.equal(box, torch.tensor([0.0, 0.0, 1.0, 1.0]).double().expand(100, 2, 4))

    def test_modes(self):
        same = drawn(CropConfig(mode="same_random"), rows=500, seasons=4).box
        assert torch.equal(same, same[:, :1].expand_as(same))
        assert len(same[:, 0].unique(dim=0)) == 500
        # the control draws from the distribution of `partial`: its boxes are those of partial's first season
        assert torch.equal(same[:, 0], drawn(CropConfig(), rows=500, seasons=4).box[:, 0])
        full = drawn(CropConfig(mode="same_full"), rows=3).box
        assert full.unique(dim=0).reshape(-1, 4)[0].tolist() == [0, 0, 1, 1]
        quadrants = drawn(CropConfig(mode="none_overlap"), rows=2000, seasons=4).box
        assert (quadrants[..., 2:] == 0.5).all()
        corner = (quadrants[..., 0] * 4 + quadrants[..., 1] * 2).int()
        assert (corner.sort(dim=1).values == torch.arange(4)).all()  # all four, each once
        assert len(corner.unique(dim=0)) == 24  # in every order
        with pytest.raises(RecipeError, match="four quadrants, there are 5 seasons"):
            drawn(CropConfig(mode="none_overlap"), rows=1, seasons=5)

    def test_flips(self):
        flip = drawn(CropConfig(), seasons=2).flip
        assert flip.float().mean() == pytest.approx(0.5, abs=0.01)
        assert (flip[:, 0] == flip[:, 1]).float().mean() == pytest.approx(0.5, abs=0.02)  # seasons on their own
        assert not drawn(CropConfig(flip=False), rows=100).flip.any()

    def test_sensors_share_box_and_flip_unless_told_otherwise(self):
        def both(config: CropConfig) -> tuple[View, View]:
            views = draw_views(config, torch.arange(50), sensors=["s2", "s1"], seasons=3, seed=0, epoch=0)
            return views["s2"], views["s1"]

        optical, radar = both(CropConfig())
        assert torch.equal(optical.box, radar.box)
        assert torch.equal(optical.flip, radar.flip)
        optical, radar = both(CropConfig(share=False))
        assert not torch.isclose(optical.box, radar.box).all(dim=-1).any()
        assert torch.equal(optical.flip, radar.flip)
        optical, radar = both(CropConfig(share_flip=False))
        assert torch.equal(optical.box, radar.box)
        assert 0.3 < (optical.flip == radar.flip).float().mean() < 0.7

    def test_a_view_does_not_depend_on_the_batch(self):
        config = CropConfig()
        many = draw_views(config, torch.arange(64), sensors=["s2", "s1"], seasons=4, seed=5, epoch=9)["s1"]
        one = draw_views(config, torch.tensor([33]), sensors=["s2", "s1"], seasons=4, seed=5, epoch=9)["s1"]
        assert torch.equal(many.box[33], one.box[0])
        assert torch.equal(many.flip[33], one.flip[0])

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"mode": "partly"}, "Choose one of partial, same_full, same_random, none_overlap"),
            ({"rate_mode": "volume"}, "Choose one of area, side"),
            ({"rate": (0.0, 1.0)}, "smallest"),
            ({"rate": (0.8, 0.5)}, "smallest"),
            ({"rate": (0.5, 1.5)}, "smallest"),
        ],
    )
    def test_illegal_settings(self, changes: dict, message: str):
        with pytest.raises(RecipeError, match=message):
            replace(CropConfig(), **changes)


class TestResize:
    def test_kernel_by_hand(self):
        # a = -0.5: 1 - 2.5 x^2 + 1.5 x^3, then 2 - 4 x + 2.5 x^2 - 0.5 x^3
        x = torch.tensor([0.0, 0.5, -0.5, 1.0, 1.5, 2.0, 7.0])
        torch.testing.assert_close(bicubic(x), torch.tensor([1, 0.5625, 0.5625, 0, -0.0625, 0, 0]))

    def test_doubling_by_hand(self):
        # Output 2 of 8 lies at source 1.25 (centres 0.5, 1.5, ..): distances 0.75, 0.25, 1.25 and 2.25.
        one = torch.zeros(1, dtype=torch.float64)
        matrix = resize_taps(one, one + 4, source=4, size=8).matrix()[0]
        weights = np.array([0.2265625, 0.8671875, -0.0703125])
        np.testing.assert_allclose(matrix[2].numpy(), [*(weights / weights.sum()), 0.0], atol=1e-6)

    @pytest.mark.parametrize(("source", "size"), [(264, 128), (44, 128), (132, 128), (10, 7)])
    def test_whole_images_as_in_numpy(self, source: int, size: int):
        zero = torch.zeros(1, dtype=torch.float64)
        ours = resize_taps(zero, zero + source, source=source, size=size).matrix()[0].numpy()
        np.testing.assert_allclose(ours, numpy_matrix(source, size, kernel="bicubic"), atol=1e-6)

    def test_same_size_is_the_identity_and_flip_turns_it(self):
        start, extent = torch.tensor([3.0, 3.0]).double(), torch.tensor([5.0, 5.0]).double()
        matrix = resize_taps(start, extent, source=10, size=5, flip=torch.tensor([False, True])).matrix()
        eye = torch.nn.functional.pad(torch.eye(5), (3, 2))
        torch.testing.assert_close(matrix, torch.stack([eye, eye.flip(0)]))

    @pytest.mark.parametrize("flip", [False, True])
    @pytest.mark.parametrize(
        ("side", "box", "size"),
        [
            (40, (0, 0, 40, 40), 16),  # shrink
            (40, (7, 11, 29, 23), 16),  # an inner box that is not square
            (20, (3, 2, 9, 14), 16),  # one axis grows, the other almost stays
            (12, (0, 0, 12, 12), 31),  # grow
            (264, (31, 60, 187, 203), 128),  # as in pretraining
        ],
    )
    def test_like_pillow_on_the_cropped_image(self, side: int, box: tuple[int, int, int, int], size: int, flip: bool):
        image = np.random.default_rng(0).normal(2000, 500, (side, side)).astype(np.float32)
        top, left, height, width = box
        cut = Image.fromarray(image[top : top + height, left : left + width])
        wanted = np.asarray(cut.resize((size, size), Image.Resampling.BICUBIC))
        wanted = wanted[:, ::-1] if flip else wanted
        at = view(top / side, left / side, height / side, width / side, flip=flip)
        np.testing.assert_allclose(crop_one(image, at, size, fill="nan").pixels.numpy(), wanted, atol=0.01)

    def test_like_torchvision(self):
        from torchvision.transforms.functional import InterpolationMode, resized_crop

        image = torch.rand(1, 60, 60, generator=torch.Generator().manual_seed(0))
        wanted = resized_crop(image, 5, 9, 41, 33, [24, 24], InterpolationMode.BICUBIC, antialias=True)[0]
        got = crop_one(image[0].numpy(), view(5 / 60, 9 / 60, 41 / 60, 33 / 60), 24, fill="nan").pixels
        torch.testing.assert_close(got, wanted, atol=1e-5, rtol=0)

    def test_a_constant_stays_and_a_ramp_is_read_at_the_right_place(self):
        constant = np.full((17, 17), 1234, dtype=np.int16)
        got = crop_one(constant, view(0.13, 0.21, 0.5, 0.61), 9).pixels
        torch.testing.assert_close(got, torch.full((9, 9), 1234.0))
        ramp = np.tile(np.arange(100, dtype=np.float32) + 0.5, (100, 1))  # the value is the position in pixels
        got = crop_one(ramp, view(0, 0.103, 1, 0.4), 40, fill="nan").pixels
        # a fractional box: output i has its centre at 10.3 + (i + 0.5) * 40 / 40
        torch.testing.assert_close(got[5, 5:-5], 10.3 + torch.arange(5, 35) + 0.5, atol=0.02, rtol=0)

    def test_all_resolutions_see_the_same_ground(self):
        # A ramp in metres: 60 m of ground a side, read at 1 m and at 2 m.
        fine = (torch.arange(60).float() + 0.5).expand(1, 1, 2, 60, 60)
        coarse = (torch.arange(30).float() * 2 + 1).expand(1, 1, 1, 30, 30)
        specs = [FINE.model_copy(update={"fill": None}), COARSE.model_copy(update={"fill": None})]
        got = crop_stack(
            {"s2_10m": fine, "s2_20m": coarse},
            specs,
            view(0.2, 0.3, 0.5, 0.5, flip=True),
            bands=["B05", "B03", "B02"],
            size=20,
        ).pixels[0, 0]
        wanted = (18 + (torch.arange(20) + 0.5) * 1.5).flip(0)
        inner = slice(3, -3)  # kernels are cut at the crop's edge
        for channel in got:
            torch.testing.assert_close(channel[4, inner], wanted[inner], atol=0.03, rtol=0)

    def test_bands_come_by_name_in_the_asked_for_order(self):
        fine = torch.tensor([2, 3], dtype=torch.int16)[:, None, None].expand(1, 1, 2, 8, 8)
        coarse = torch.full((1, 1, 1, 4, 4), 5, dtype=torch.int16)
        layers = {"s2_10m": fine, "s2_20m": coarse}
        at = whole_view(1, 1, device=CPU)
        for bands, values in (
            (["B05", "B03", "B02"], [5, 3, 2]),
            (["B02", "B03", "B05"], [2, 3, 5]),
            (["B03"], [3]),
        ):
            got = crop_stack(layers, [FINE, COARSE], at, bands=bands, size=4)
            assert got.pixels[0, 0, :, 1, 1].tolist() == pytest.approx(values)
            assert got.valid is None
        with pytest.raises(BandError, match="needs B11"):
            crop_stack(layers, [FINE, COARSE], at, bands=["B02", "B11"], size=4)
        with pytest.raises(UsageError, match="no layer s2_20m"):
            crop_stack({"s2_10m": fine}, [FINE, COARSE], at, bands=["B02", "B05"], size=4)
        with pytest.raises(UsageError, match="layer s2_10m is"):
            crop_stack({**layers, "s2_10m": fine[:, :, :1]}, [FINE, COARSE], at, bands=["B02"], size=4)

    def test_every_sample_and_season_has_its_own_view(self):
        pixels = torch.rand(3, 2, 1, 30, 30, generator=torch.Generator().manual_seed(0))
        spec = layer("one", ("B02",), fill=None)
        at = drawn(CropConfig(), rows=3)
        together = crop_stack({"one": pixels}, [spec], at, bands=["B02"], size=12).pixels
        for b in range(3):
            for t in range(2):
                own = View(at.box[b : b + 1, t : t + 1], at.flip[b : b + 1, t : t + 1])
                alone = crop_stack({"one": pixels[b : b + 1, t : t + 1]}, [spec], own, bands=["B02"], size=12).pixels
                torch.testing.assert_close(together[b, t], alone[0, 0], atol=1e-6, rtol=0)

    def test_matrices_and_sums_of_rows_are_the_same(self):
        # What an accelerator does against what a CPU does.
        at = drawn(CropConfig(), rows=3, seasons=4)
        top, left, height, width = at.box.reshape(12, 4).unbind(1)
        images = 3000 * torch.rand(12, 3, 50, 40, generator=torch.Generator().manual_seed(0))
        rows = resize_taps(top * 50, height * 50, source=50, size=32)
        cols = resize_taps(left * 40, width * 40, source=40, size=32, flip=at.flip.reshape(12))
        torch.testing.assert_close(_by_rows(rows, cols, images), _by_matrices(rows, cols, images), atol=2e-3, rtol=0)

    def test_a_large_batch_is_resized_in_blocks(self):
        # 20 locations of 3 seasons and 2 bands at 200 pixels: two and a half million pixels, more than a block.
        pixels = torch.rand(20, 3, 2, 200, 200, generator=torch.Generator().manual_seed(0))
        spec = layer("one", ("B02", "B03"), fill="nan")
        pixels[11, 2, 1, 100, 100] = math.nan
        at = whole_view(20, 3, device=CPU)
        got = crop_stack({"one": pixels}, [spec], at, bands=["B03", "B02"], size=8)
        assert got.valid is not None
        # Centres 87.5 and 112.5 are near: weights of 0.024 an axis. One further, 0.024 * 0.0025 is below the tolerance.
        assert got.valid.sum() == got.valid.numel() - 4
        alone = crop_stack({"one": pixels[17:18]}, [spec], View(at.box[:1], at.flip[:1]), bands=["B02"], size=8)
        torch.testing.assert_close(got.pixels[17, :, 1], alone.pixels[0, :, 0])


class TestNodata:
    @pytest.mark.parametrize(("fill", "dtype"), [(-32768, np.int16), (65535, np.uint16), ("nan", np.float32)])
    def test_a_hole_spreads_as_far_as_the_kernel_and_no_further(self, fill: int | str, dtype: type):
        clean = np.random.default_rng(1).integers(500, 1500, (16, 16)).astype(dtype)
        holed = clean.copy()
        holed[5, 9] = math.nan if fill == "nan" else fill
        at = whole_view(1, 1, device=CPU)
        got, wanted = crop_one(holed, at, 8, fill=fill), crop_one(clean, at, 8, fill=fill)
        assert wanted.valid is None
        # Halving: output i spans source centres closer than 4 to 2 i + 1, so 5.5 touches 1..4 and 9.5 touches 3..6.
        hole = torch.zeros(8, 8, dtype=torch.bool)
        hole[1:5, 3:7] = True
        assert torch.equal(got.valid, ~hole)
        torch.testing.assert_close(got.pixels[~hole], wanted.pixels[~hole], atol=0.2, rtol=0)
        assert got.pixels[hole].min() >= 500  # nothing of the fill value is left
        assert got.pixels[hole].max() <= 1500

    def test_holes_outside_the_crop_do_not_matter(self):
        image = np.full((20, 20), 700, dtype=np.int16)
        image[:, :5] = -32768
        got = crop_one(image, view(0, 0.25, 1, 0.75), 10)
        assert got.valid is None or got.valid.all()
        torch.testing.assert_close(got.pixels, torch.full((10, 10), 700.0))

    def test_only_the_band_with_the_hole_is_invalid_and_absent_images_are_all_invalid(self):
        pixels = torch.full((2, 1, 2, 8, 8), 900, dtype=torch.int16)
        pixels[0, 0, 1, 4, 4] = -32768
        pixels[1] = -32768
        coarse = torch.full((2, 1, 1, 4, 4), 50, dtype=torch.int16)
        at = whole_view(2, 1, device=CPU)
        layers = {"s2_10m": pixels, "s2_20m": coarse}
        got = crop_stack(layers, [FINE, COARSE], at, bands=["B02", "B03", "B05"], size=8)
        assert got.valid[0, 0, 0].all()
        assert got.valid[0, 0, 1].sum() == 63
        assert not got.valid[1, 0, :2].any()
        assert got.valid[:, 0, 2].all()
        assert got.pixels.isfinite().all()
        assert got.pixels[1, 0, :2].unique().tolist() == [0.0]

    def test_no_look_when_told_there_are_no_holes(self):
        pixels = torch.full((1, 1, 2, 8, 8), 900, dtype=torch.int16)
        at = whole_view(1, 1, device=CPU)
        told = crop_stack({"s2_10m": pixels}, [FINE], at, bands=["B02"], size=4, holes=())
        looked = crop_stack({"s2_10m": pixels}, [FINE], at, bands=["B02"], size=4)
        assert torch.equal(told.pixels, looked.pixels)
        assert told.valid is None
        assert looked.valid is None


def test_boxes_in_steps_keep_whole_pixels_as_they_are():
    config = CropConfig(rate=(0.3333, 0.3334), rate_mode="side", steps=48)
    box = drawn(config, rows=4000, seasons=1).box[:, 0].numpy()
    corners = np.concatenate([box[:, :2], box[:, :2] + box[:, 2:]], axis=1) * 96
    np.testing.assert_allclose(corners, 2 * np.round(corners / 2), atol=1e-9)
    np.testing.assert_allclose(corners[:, 2:] - corners[:, :2], 32, atol=1e-9)
    counts = [np.bincount(np.round(corners[:, axis] / 2).astype(int), minlength=33) for axis in (0, 1)]
    assert all(len(one) == 33 and one.min() > 70 for one in counts)  # 121 each on average
    image = np.random.default_rng(0).integers(1, 9000, (96, 96)).astype(np.int16)
    for top, left, height, width in box[:20]:
        at = round(top * 96), round(left * 96)
        got = crop_one(image, view(top, left, height, width), 32).pixels.numpy()
        np.testing.assert_allclose(got, image[at[0] : at[0] + 32, at[1] : at[1] + 32], atol=0.01)


@pytest.mark.parametrize("wrong", [{"steps": -1, "rate_mode": "side"}, {"steps": 8}, {"steps": 1, "rate_mode": "side"}])
def test_steps_that_mean_nothing_are_refused(wrong):
    with pytest.raises(RecipeError, match=r"crop\.steps"):
        CropConfig(rate=(0.3, 0.4), **wrong)


def test_a_recipe_without_steps_does_not_speak_of_them():
    assert "steps" not in load_recipe("seamo-tiny").to_dict()["crop"]
    assert load_recipe("seamo-demo").to_dict()["crop"]["steps"] == 48
