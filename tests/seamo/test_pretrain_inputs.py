"""From stored integers to the model's inputs: seasons, normalisation, holes, against the arrays that were written."""

import contextlib
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch

from seamo.data import crops
from seamo.data.loader import Loader
from seamo.data.making import BatchSamples, Making
from seamo.errors import UsageError
from seamo.inputs import crops as made_crops
from seamo.pretrain.feed import _loader, _portions
from seamo.pretrain.inputs import InputPlan, Inputs, plan_inputs
from seamo.pretrain.job import begin_job
from seamo.pretrain.mixture import training_data
from seamo.pretrain.ranks import Ranks
from seamo.pretrain.recipe import load_recipe
from seamo.store.reader import Store
from tests.seamo.small_store import build_small_store, make_sample, small_spec

CPU = torch.device("cpu")
# Whole images at the side of the finest layers: those of 10 m go through untouched.
WHOLE = ["crop={mode: same_full, flip: false}", "model.size=24", "model.patch=4", "data.stacks={s2: s2a, s1: s1}"]
WHOLE += ["model.bands={s2: [B04, B02], s1: [VH, VV]}", "data.split=all", "data.statistics={s2: store, s1: store}"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return build_small_store(tmp_path_factory.mktemp("store"), 12, absent=(3,), holes=(5,))


def plan_of(store: Store, stage: int, *changes: str) -> InputPlan:
    recipe = load_recipe("seamo-base", [*WHOLE, *changes])
    return plan_inputs(recipe, stage, training_data(recipe, [store]))


def inputs_of(plan: InputPlan, store: Store, rows: list[int], *, epoch: int = 0, find_holes: bool = True) -> Inputs:
    loader = Loader(store, np.array(rows), len(rows), layers=plan.layer_ids, find_holes=find_holes)
    return plan(next(iter(loader)), CPU, epoch=epoch)


@lru_cache
def written(row: int, layer: str, band: str) -> np.ndarray:
    """(T, H, W) of one band, as it was given to the writer."""
    spec = small_spec()
    at = spec.layer(layer).bands.index(band)
    return make_sample(spec, row, absent=0).layers[layer][:, at].astype(np.float64)


@lru_cache
def numbers_of(layer: str, band: str) -> tuple[float, float]:
    """Mean and standard deviation of what was written, over all images that are there."""
    values = []
    for row in range(12):
        images = written(row, layer, band)
        values.append(images[: 2 if row == 3 else 4].ravel())
    everything = np.concatenate(values)
    return everything.mean(), everything.std()


@pytest.mark.parametrize("scaling", ["z-score", "two-sigma"])
def test_pixels_are_scaled_with_the_stores_own_numbers(store: Store, scaling: str):
    images = inputs_of(plan_of(store, 2, f"data.scaling={scaling}"), store, [0, 7]).images
    for sensor, layer, bands in (("s2", "s2a_10m", ("B04", "B02")), ("s1", "s1", ("VH", "VV"))):
        assert images[sensor].shape == (2, 4, 2, 24, 24)
        for channel, band in enumerate(bands):
            mean, std = numbers_of(layer, band)
            for at, row in enumerate((0, 7)):
                wanted = (written(row, layer, band) - mean) / std
                if scaling == "two-sigma":
                    wanted = np.clip(wanted / 4 + 0.5, 0, 1)
                np.testing.assert_allclose(images[sensor][at, :, channel], wanted, atol=2e-4)


def test_eight_bit_inputs_are_multiples_of_255ths(store: Store):
    images = inputs_of(plan_of(store, 2, "data.eight_bit=true"), store, [0]).images
    steps = images["s2"].double() * 255
    torch.testing.assert_close(steps, steps.round(), atol=1e-4, rtol=0)
    assert len(images["s2"].unique()) > 50


def test_a_published_list_of_numbers_is_used(store: Store):
    plan = plan_of(store, 2, "data.scaling=z-score", "data.statistics={s2: store, s1: s1}")
    image = inputs_of(plan, store, [2]).images["s1"]
    # Published for SSL4EO-S12: VV -12.548 and 5.257 dB (method notes, 4.1).
    np.testing.assert_allclose(image[0, :, 1], (written(2, "s1", "VV") + 12.548) / 5.257, atol=2e-3)


class TestSeason:
    def season_of(self, image: torch.Tensor, row: int) -> int:
        """Which written season a z-scored image is."""
        mean, std = numbers_of("s2a_10m", "B04")
        apart = np.abs((written(row, "s2a_10m", "B04") - mean) / std - image.numpy()).max(axis=(1, 2))
        assert apart.min() < 1e-3
        return int(apart.argmin())

    def test_the_first_one(self, store: Store):
        inputs = inputs_of(plan_of(store, 1, "data.scaling=z-score"), store, [0, 3, 8])
        assert inputs.images["s2"].shape == (3, 1, 2, 24, 24)
        assert [self.season_of(inputs.images["s2"][i, 0, 0], row) for i, row in enumerate((0, 3, 8))] == [0] * 3
        assert inputs.valid is None  # what is absent later in the year does not matter

    def test_a_random_one_that_is_there(self, store: Store):
        plan = plan_of(store, 1, "data.scaling=z-score", "data.season_sampling=random")
        rows, seen = [0, 3, 8], []
        for epoch in range(40):
            inputs = inputs_of(plan, store, rows, epoch=epoch)
            assert inputs.valid is None
            seen.append([self.season_of(inputs.images["s2"][i, 0, 0], row) for i, row in enumerate(rows)])
            # Both sensors show the same season.
            mean, std = numbers_of("s1", "VH")
            wanted = (written(0, "s1", "VH")[seen[-1][0]] - mean) / std
            np.testing.assert_allclose(inputs.images["s1"][0, 0, 0], wanted, atol=1e-3)
        counts = [np.bincount([seasons[i] for seasons in seen], minlength=4) for i in range(3)]
        assert (counts[1] > 10).tolist() == [True, True, False, False]  # place 3 lacks the last two
        assert counts[1][2:].tolist() == [0, 0]
        assert min(counts[0].min(), counts[2].min()) >= 3  # 10 of 40 expected, standard deviation 2.7
        assert [seasons[0] for seasons in seen] != [seasons[2] for seasons in seen]

    def test_it_depends_on_seed_epoch_and_place_alone(self, store: Store):
        plan = plan_of(store, 1, "data.season_sampling=random")
        together = inputs_of(plan, store, [0, 1, 2, 4], epoch=7).images["s2"]
        alone = inputs_of(plan, store, [2], epoch=7).images["s2"]
        assert torch.equal(together[2], alone[0])


class TestHoles:
    BANDS = "model.bands={s2: [B02, B8A, B05], s1: [VV, VH]}"

    def test_a_hole_hides_what_leans_on_it_in_its_band_alone(self, store: Store):
        inputs = inputs_of(plan_of(store, 2, self.BANDS), store, [4, 5])
        valid = inputs.pixel_valid
        assert valid["s1"].all()
        assert valid["s2"][0].all()
        assert valid["s2"][1, 1:].all()
        missing = ~valid["s2"][1, 0]
        # Band 3 of 20 m is B8A; its pixel (5, 6) lies under (10..11, 12..13) of 24, and the kernel reaches 3 pixels on.
        assert (missing.flatten(1).sum(1) > 0).tolist() == [False, True, False]
        rows, columns = missing[1].nonzero().T
        assert (rows.min(), rows.max(), columns.min(), columns.max()) == (7, 14, 9, 16)

    def test_who_looked_does_not_matter(self, store: Store):
        plan = plan_of(store, 2, self.BANDS)
        known, looked = (inputs_of(plan, store, [4, 5, 6], find_holes=told) for told in (True, False))
        for s in ("s1", "s2"):
            assert torch.equal(known.images[s], looked.images[s])
            assert torch.equal(known.pixel_valid[s], looked.pixel_valid[s])

    def test_absent_images_are_no_holes(self, store: Store):
        inputs = inputs_of(plan_of(store, 2), store, [3, 4])
        assert inputs.pixel_valid is None
        assert inputs.valid["s1"].tolist() == [[True, True, False, False], [True] * 4]
        assert inputs.valid["s2"].tolist() == inputs.valid["s1"].tolist()


def test_the_check_of_the_unit_does_not_mind_absent_images(store: Store):
    plan = plan_of(store, 2)
    batch = next(iter(Loader(store, np.array([3]), 1, layers=plan.layer_ids, find_holes=True)))
    plan(batch, CPU, epoch=0, check=True)  # half of the images is nothing but fill
    optical = plan.numbers["s2"]
    small = replace(optical, mean=tuple(x / 10000 for x in optical.mean), std=tuple(x / 10000 for x in optical.std))
    with pytest.raises(UsageError, match="most pixels of B04, B02"):  # reflectance instead of digital numbers
        replace(plan, numbers={**plan.numbers, "s2": small})(batch, CPU, epoch=0, check=True)


class InThreads:
    """What a run's `StageImages` is, of one plan."""

    def __init__(self, plan: InputPlan) -> None:
        self.plan, self.layers = plan, plan.layer_ids

    def draw(self, drawn: BatchSamples) -> Making:
        return self.plan.draw(drawn, epoch=drawn.epoch)


@pytest.mark.parametrize("has_library", [True, False], ids=["compiled", "torch"])
@pytest.mark.parametrize(
    ("stage", "changes"),
    [(2, []), (1, ["data.season_sampling=random"]), (1, []), (2, ["crop={mode: none_overlap}", "data.eight_bit=true"])],
    ids=["all seasons", "any season", "first season", "quadrants"],
)
def test_images_made_while_reading_are_those_of_the_batch(
    store: Store, monkeypatch: pytest.MonkeyPatch, stage: int, changes: list[str], has_library: bool
):
    crop = "crop={mode: partial, rate: [0.2, 0.9]}"
    bands = "model.bands={s2: [B8A, B04, B02, B05], s1: [VV, VH]}"
    plan = plan_of(store, stage, crop, bands, "model.size=20", "model.patch=4", *changes)
    rows, shape = [0, 3, 5, 8], {"rank": 0, "world": 1, "epoch": 3}
    with monkeypatch.context() as torch_alone:
        torch_alone.setattr(crops, "can_crop", lambda *_: False)
        raw = Loader(store, np.array(rows), 4, layers=plan.layer_ids, find_holes=True, **shape)
        want = plan(next(iter(raw)), CPU, epoch=3)
    if not has_library:
        monkeypatch.setattr(crops, "can_crop", lambda *_: False)
        monkeypatch.setattr(made_crops, "can_crop", lambda *_: False)
    batch = next(iter(Loader(store, np.array(rows), 4, layers=plan.layer_ids, images=InThreads(plan), **shape)))
    assert batch.layers == {}
    got = plan(batch, CPU, epoch=3)
    assert torch.equal(got.noise, want.noise)
    assert (got.valid is None) == (want.valid is None)
    for sensor, image in want.images.items():
        there = torch.ones(image.shape, dtype=torch.bool)
        if want.valid is not None:
            assert torch.equal(got.valid[sensor], want.valid[sensor])
            there = want.valid[sensor][:, :, None, None, None].expand(image.shape)
        step = 1 / 255 if "data.eight_bit=true" in changes else 2e-6  # a half may fall to either side by the last bit
        assert (got.images[sensor] - image)[there].abs().max() <= step * 1.001
        known = [torch.ones_like(there) if one.pixel_valid is None else one.pixel_valid[sensor] for one in (got, want)]
        assert torch.equal(known[0][there], known[1][there])
    assert stage == 1 or want.pixel_valid is not None  # there was a hole


@pytest.mark.parametrize("changes", [[], ["data.season_sampling=random"]], ids=["first season", "any season"])
def test_an_accelerator_gets_the_one_date_that_is_learned_from(store: Store, changes: list[str]):
    """Rows with absent images (3) and a hole (5): the same inputs, bit by bit, of a quarter of the pixels."""
    plan = plan_of(store, 1, "crop={mode: partial, rate: [0.2, 0.9]}", *changes)
    rows, epoch = np.array([0, 3, 5, 8, 9, 10, 11]), 4
    shape = {"layers": plan.layer_ids, "find_holes": True, "epoch": epoch}
    whole = next(iter(Loader(store, rows, len(rows), **shape)))
    one = next(iter(Loader(store, rows, len(rows), dates=lambda drawn: plan.only_date(drawn, epoch=epoch), **shape)))
    assert (whole.dates, len(set(one.dates.tolist())) > 1) == (None, bool(changes))
    for name, layer in one.layers.items():
        for i, date in enumerate(one.dates.tolist()):
            assert torch.equal(layer[i], whole.layers[name][i, date : date + 1])
        assert torch.equal(one.valid[name], whole.valid[name])  # of all dates
    got, want = plan(one, CPU, epoch=epoch), plan(whole, CPU, epoch=epoch)
    assert (got.valid is None) == (want.valid is None)
    for sensor, image in want.images.items():
        assert torch.equal(got.images[sensor], image)
    assert torch.equal(got.noise, want.noise)
    moved = one.to("meta")
    assert (moved.dates.device.type, moved.layers["s1"].shape[1]) == ("meta", 1)


def test_a_run_on_an_accelerator_decodes_one_date_in_stage_one_and_all_in_stage_two(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """`meta` plays the accelerator: its portions have shapes, which is all that is looked at."""
    more = ["optimiser.batch=6", "stage1={epochs: 1, warmup_epochs: 0}", "stage2={epochs: 1, warmup_epochs: 0}"]
    recipe = load_recipe("seamo-base", [*WHOLE, *more, "machine.workers=1"])
    begun = begin_job(recipe, [store], tmp_path / "run", resume=False, ranks=Ranks())
    job = replace(begun, ranks=Ranks(device=torch.device("meta")))
    asked: list[int | None] = []
    read = Store.read_layer

    def counting(self: Store, i: int, layer: str, out: np.ndarray | None = None, *, date: int | None = None):
        asked.append(date)
        return read(self, i, layer, out, date=date)

    monkeypatch.setattr(Store, "read_layer", counting)
    portions = _portions(job, job.begin(1))
    monkeypatch.setattr(InputPlan, "__call__", lambda _, batch, *__, **___: batch)  # what the loader gave
    made = [portion.inputs for portion in portions]
    assert [{layer.shape[1] for layer in batch.layers.values()} for batch in made] == [{1}, {1}, {4}, {4}]
    assert [batch.dates is None for batch in made] == [False, False, True, True]
    layers = len(job.plans[2].layer_ids)
    assert asked.count(0) == asked.count(None) == 12 * layers


def test_a_stage_of_one_sensor_reads_nothing_of_the_other_and_learns_from_the_same_images(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Rows with absent images and a hole; against one loader for both stages, which reads all layers, bit by bit."""
    stages = ["stage1={epochs: 2, warmup_epochs: 0, sensors: [s2]}", "stage2={epochs: 1, warmup_epochs: 0}"]
    more = ["optimiser.batch=5", "data.season_sampling=random", "machine={micro_batch: 3, workers: 1}"]
    recipe = load_recipe("seamo-base", [*WHOLE, *stages, *more, "crop={mode: partial, rate: [0.2, 0.9]}"])
    job = begin_job(recipe, [store], tmp_path / "run", resume=False, ranks=Ranks())
    steps = [at for stage in (1, 2) for at in job.steps(job.begin(stage)) for _ in range(job.parts)]
    shared = _loader(job, [job.begin(1), job.begin(2)])
    want = [job.plans[at.stage](one, CPU, epoch=job.epoch(at)) for at, one in zip(steps, shared, strict=True)]
    asked: list[str] = []
    read = Store.read_layer

    def noting(self: Store, i: int, layer: str, out: np.ndarray | None = None, *, date: int | None = None):
        asked.append(layer)
        return read(self, i, layer, out, date=date)

    monkeypatch.setattr(Store, "read_layer", noting)
    got, read_in = [], {1: set[str](), 2: set[str]()}
    with contextlib.closing(_portions(job, job.begin(1))) as portions:
        for at, portion in zip(steps, portions, strict=True):
            got.append(portion.inputs)
            read_in[at.stage].update(asked)
            asked.clear()
    assert {name for name in read_in[1] if name.startswith("s1")} == set()
    assert read_in[1] == set(job.plans[1].layer_ids)
    assert read_in[2] == set(job.plans[2].layer_ids) > read_in[1]
    for one, other in zip(got, want, strict=True):
        assert torch.equal(one.noise, other.noise)
        assert (one.valid is None) == (other.valid is None)
        assert set(one.images) == set(other.images)
        for sensor, image in other.images.items():
            there = torch.ones(image.shape[:2], dtype=torch.bool) if other.valid is None else other.valid[sensor]
            assert one.valid is None or torch.equal(one.valid[sensor], there)
            assert torch.equal(one.images[sensor][there], image[there])  # an absent image is any number
            known = [torch.ones_like(image) if x.pixel_valid is None else x.pixel_valid[sensor] for x in (one, other)]
            assert torch.equal(known[0].bool()[there], known[1].bool()[there])
    # Gone on with in the middle of the first stage, and where it has just ended.
    later = next(at for at in steps if (at.stage, at.epoch, at.batch) == (1, 1, 1))
    for start, first in ((later, steps.index(later)), (job.after(steps[4 * job.parts - 1]), 4 * job.parts)):
        again = [portion.inputs.noise for portion in _portions(job, start)]
        assert all(torch.equal(a, b.noise) for a, b in zip(again, want[first:], strict=True))
