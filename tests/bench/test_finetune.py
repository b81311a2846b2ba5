"""Fine-tuning: random resized crop against cutting and resizing by hand; rates that diverge; where it draws from."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

import seamo_bench
from seamo.errors import ProtocolError, RecipeError, TrainingError
from seamo.sample import Sample
from seamo_bench.protocols.finetune import training as finetune
from seamo_bench.suites.suite import load_suite
from tests.bench.bench_store import build_store, toy_spec, toy_store

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


SIDES = (8, 40, 70)  # pixels; each has a bucket of its own


@pytest.fixture(scope="module")
def varied(tmp_path_factory):
    """A store of images of three sizes, in turn, and a network for it; a class is how bright its images are."""
    spec = toy_spec(bands=("B02", "B03", "B04"))
    spec = spec.model_copy(update={"layers": (spec.layers[0].model_copy(update={"size": None}),)})
    rng = np.random.default_rng(1)
    samples = []
    for i in range(54):
        side, label = SIDES[i % 3], i // 3 % 3
        pixels = rng.normal(1000 + 1500 * label, 50, (1, 3, side, side)).astype(np.uint16)
        samples.append(Sample(key=f"v{i:04d}", layers={"s2_10m": pixels}, label=label))
    store = build_store(tmp_path_factory.mktemp("varied"), spec, samples)
    return store, seamo_bench.load_backbone("resnet18", store=store, size=32)


def test_images_of_every_size_are_learned_from_in_whole_batches(varied, monkeypatch):
    store, backbone = varied
    seen: list[list[int]] = []
    real = finetune.boxes

    def spy(rows, share, **of):
        seen.append(rows.tolist())
        return real(rows, share, **of)

    monkeypatch.setattr(finetune, "boxes", spy)
    train = store.rows("train").tolist()
    size = len(train) // 2  # no size alone fills so many
    params = {**WEAK, "epochs": 2, "batch": size, "crop": (0.8, 1.0)}
    seamo_bench.evaluate(backbone, store, "finetune", params=params)
    assert [len(rows) for rows in seen] == [size] * 4
    for epoch in (seen[:2], seen[2:]):
        rows = [row for batch in epoch for row in batch]
        assert len(set(rows)) == len(rows)
        assert len(set(train) - set(rows)) <= 1
        assert {row % 3 for row in epoch[0]} | {row % 3 for row in epoch[1]} == {0, 1, 2}


def test_answers_are_those_of_their_own_images_where_sizes_vary(varied, monkeypatch):
    """A network that knows brightness: an answer that stands at another image is wrong two times in three."""

    class Bright(torch.nn.Module):
        def forward(self, inputs):
            level = inputs["s2"].mean(dim=(1, 2, 3))
            return torch.stack([-level - 0.6, torch.zeros_like(level), level - 0.6], dim=1)

    store, backbone = varied
    monkeypatch.setattr(finetune, "train", lambda *_, **__: Bright())
    (outcome,) = seamo_bench.evaluate(backbone, store, "finetune", params=WEAK)
    found = outcome.predictions
    assert {int(key[1:]) % 3 for key in found.keys} == {0, 1, 2}  # of every size
    assert found.labels.tolist() == [int(key[1:]) // 3 % 3 for key in found.keys]
    np.testing.assert_array_equal(found.scores.argmax(axis=1), found.labels)
