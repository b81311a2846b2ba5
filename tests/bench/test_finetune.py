"""Fine-tuning: random resized crop against cutting and resizing by hand; rates that diverge; where it draws from."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

import seamo_bench
from seamo.errors import ProtocolError, RecipeError, TrainingError
from seamo_bench.protocols.finetune import training as finetune
from seamo_bench.suites.suite import load_suite
from tests.bench.bench_store import toy_store

torch.set_num_threads(1)
WEAK = {"epochs": 1, "warmup": 0, "batch": 8, "base_lrs": (1e-2,), "mixup": 0.0, "cutmix": 0.0, "flip": False}


def test_a_crop_is_what_cutting_and_resizing_gives():
    x = torch.randn(3, 2, 32, 48, generator=torch.Generator().manual_seed(0))
    box = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.25, 0.5, 0.5, 0.5], [0.5, 0.25, 0.25, 0.75]], dtype=torch.float64)
    got = finetune.crop({"s2": x}, box)["s2"]
    torch.testing.assert_close(got[0], x[0], atol=1e-5, rtol=0)
    for n, part in ((1, x[1:2, :, 8:24, 24:48]), (2, x[2:3, :, 16:24, 12:48])):
        want = functional.interpolate(part, size=(32, 48), mode="bicubic", align_corners=False)[0]
        inner = (slice(None), slice(8, -8), slice(6, -6))  # next to the box's edge the kernel sees beyond it
        torch.testing.assert_close(got[n][inner], want[inner], atol=2e-5, rtol=0)  # float32, kernels add in any order


def test_sensors_of_other_grids_are_cut_at_the_same_place():
    fine = torch.arange(64.0).view(1, 1, 1, 64).expand(2, 1, 64, 64)
    coarse = functional.avg_pool2d(fine, 2)
    box = torch.tensor([[0.25, 0.125, 0.5, 0.5]]).expand(2, 4)
    cut = finetune.crop({"s1": fine, "s2": coarse}, box)
    assert cut["s1"][0, 0, 0, 32] == pytest.approx(64 * (0.125 + 32.5 / 64 / 2) - 0.5, abs=0.1)  # centre of pixel 32
    # In pixels; half a pixel apart would be 0.25 and more, and the kernel bends a ramp by a tenth of a pixel at most.
    torch.testing.assert_close(functional.avg_pool2d(cut["s1"], 2), cut["s2"], atol=0.2, rtol=0)


def test_boxes_follow_seed_epoch_and_row_alone_and_stay_in_the_image():
    rows = torch.arange(5000)
    boxes = finetune.boxes(rows, (0.2, 1.0), seed=3, epoch=1)
    top, left, height, width = boxes.unbind(dim=1)
    area, ratio = height * width, width / height
    assert 0.2 <= area.min() < 0.21
    assert 0.9 < area.max() <= 1.0
    assert (ratio.min(), ratio.max()) == (pytest.approx(0.75, abs=0.01), pytest.approx(4 / 3, abs=0.01))
    assert (torch.stack([top, left]) >= 0).all()
    assert (torch.stack([top + height, left + width]) <= 1 + 1e-9).all()
    assert torch.equal(finetune.boxes(rows[[7, 4]], (0.2, 1.0), seed=3, epoch=1), boxes[[7, 4]])
    assert not torch.equal(finetune.boxes(rows, (0.2, 1.0), seed=3, epoch=2), boxes)
    with pytest.raises(ProtocolError, match="parameter crop"):
        finetune.boxes(rows, (0.5,), seed=0, epoch=0)
    with pytest.raises(RecipeError, match="smallest"):
        finetune.boxes(rows, (0.8, 0.2), seed=0, epoch=0)


def test_crops_are_trained_on_and_never_tested_on(tmp_path, monkeypatch):
    store = toy_store(tmp_path, 30)
    backbone = seamo_bench.load_backbone("resnet18", store=store, size=32)
    seen: list[int] = []
    real = finetune.crop

    def spy(inputs, box):
        seen.append(len(box))
        return real(inputs, box)

    monkeypatch.setattr(finetune, "crop", spy)
    (whole,) = seamo_bench.evaluate(backbone, store, "finetune", params={**WEAK, "crop": None})
    assert not seen
    (cut,) = seamo_bench.evaluate(backbone, store, "finetune", params={**WEAK, "crop": (0.2, 0.5)})
    assert seen == [8] * (len(store.rows("train")) // 8)
    assert not (cut.predictions.scores == whole.predictions.scores).all()


def test_recipes_crop_as_satmae_does_and_those_of_masks_do_not():
    rows = [row for name in ("paper", "uniform") for row in load_suite(name).rows]
    assert {row.params["crop"] for row in rows if row.protocol == "finetune"} == {(0.2, 1.0)}
    assert not [row for row in rows if row.protocol in ("dense", "change") and "crop" in row.params]


def test_a_rate_that_diverges_is_noted_and_never_chosen(tmp_path):
    store = toy_store(tmp_path, 30)
    backbone = seamo_bench.load_backbone("resnet18", store=store, size=32)
    params = {"epochs": 1, "warmup": 0, "batch": 16, "base_lrs": (math.inf, 0.001), "crop": None}
    result = seamo_bench.evaluate(backbone, store, "finetune", params=params)[0]
    assert result.chosen["base_lr"] == 0.001
    assert "1 of 2 learning rates diverged" in result.notes
    with pytest.raises(TrainingError, match="not finite"):
        seamo_bench.evaluate(backbone, store, "finetune", params={**params, "base_lrs": (math.inf,)})


def test_what_torch_drew_before_changes_nothing(tmp_path):
    store = toy_store(tmp_path, 30)
    backbone = seamo_bench.load_backbone("resnet18", store=store, size=32)
    params = {"epochs": 1, "warmup": 0, "batch": 16, "base_lrs": (0.001,)}
    first = seamo_bench.evaluate(backbone, store, "finetune", params=params)[0]
    torch.rand(7)
    backbone.make = lambda seed, make=backbone.make: (make(seed), torch.rand(3))[0]  # as other code may
    second = seamo_bench.evaluate(backbone, store, "finetune", params=params)[0]
    np.testing.assert_array_equal(first.predictions.scores, second.predictions.scores)
