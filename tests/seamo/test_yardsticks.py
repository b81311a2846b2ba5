"""Yardsticks: trivial predictors beside the loss, held against a slow reading in numpy; and what a run says of them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from seamo.model.config import DecoderConfig, FusionConfig, MaskConfig, SeaMoConfig
from seamo.model.masking import noise_shape
from seamo.model.seamo import SeaMo
from seamo.model.tokenizer import patchify, unpatchify
from seamo.pretrain.inputs import Inputs
from seamo.pretrain.journal import Journal, JournalRow
from seamo.pretrain.learnt import YARDSTICKS, in_words, what_was_learnt, yardstick_column
from seamo.pretrain.logs import LogSeal, read_curves
from seamo.pretrain.loop import pretrain
from seamo.pretrain.painting import paint
from seamo.pretrain.recipe import load_recipe
from seamo.pretrain.yardsticks import yardstick_sums
from seamo.store.reader import open_store
from seamo.testing.world import World
from seamo_prep.archives import load_archive
from tests.prep.demo_stores import build_quietly
from tests.seamo.small_store import build_small_store
from tests.seamo.test_pretrain_loop import recipe_of

CONFIG = SeaMoConfig(
    bands={"s2": ("B02", "B03", "B08"), "s1": ("VV", "VH")},
    size=20, patch=4, dim=16, depth=1, heads=2, decoder=DecoderConfig(depth=1, width=16, heads=2),
)  # fmt: skip
SINGLE = {"temporal": False, "tm": FusionConfig(mode="none")}
CASES = {
    "joint": CONFIG,
    "per channel, apart": replace(CONFIG, norm_pix="per_channel", mask=MaskConfig(0.7, "independent")),
    "plain, few visible": replace(CONFIG, norm_pix="none", mask=MaskConfig(0.9)),
    "algorithm 1": replace(CONFIG, tm=FusionConfig(variant="algorithm1")),
    "one date": replace(CONFIG, **SINGLE),
    "one sensor": replace(CONFIG, bands={"s1": ("VV", "VH")}, strategy="unimodal", tm=FusionConfig(mode="none")),
}


def make_inputs(config, *, whole):
    rng = torch.Generator().manual_seed(5)
    B, T, S = 3, 3 if config.temporal else 1, config.size
    images = {s: torch.rand(B, T, len(b), S, S, generator=rng) for s, b in config.bands.items()}
    noise = torch.rand(noise_shape(config, B, T), generator=rng)
    if whole:
        return Inputs(images, noise, None, None)
    valid = {s: torch.ones(B, T, dtype=torch.bool) for s in config.sensors}
    valid["s1"][1, -1] = valid["s1"][2, 0] = False  # the last and the first place lack a date of one sensor
    images["s1"][2, 0] = torch.nan
    measured = {s: torch.rand(x.shape, generator=rng) > 0.004 for s, x in images.items()}
    measured["s1"][0, 0] = False  # an image without a measurement: nothing visible, and nothing counts
    return Inputs(images, noise, valid, measured)


def slow(inputs, config):
    """The same, patch by patch."""
    p, g = config.patch, config.size // config.patch
    found = {}
    for m, s in enumerate(config.sensors):
        images = inputs.images[s].double().numpy()
        for t in range(images.shape[1]):
            sums = np.zeros(5)
            for b, image in enumerate(images[:, t]):
                noise = inputs.noise[b, t].numpy()
                order = np.argsort(noise if noise.ndim == 1 else noise[m], kind="stable")
                visible = sorted(order[: round(g * g * (1 - config.mask.ratio))].tolist())
                there = [True] if inputs.valid is None else [bool(one[b, t]) for one in inputs.valid.values()]
                mine = inputs.valid is None or bool(inputs.valid[s][b, t])
                if not (all(there) if config.tm.variant == "algorithm1" else mine):
                    continue
                sound = np.ones(image.shape, dtype=bool)
                if inputs.pixel_valid is not None:
                    sound = inputs.pixel_valid[s][b, t].numpy()

                def cut(array, k):
                    y, x = k // g * p, k % g * p
                    return array[:, y : y + p, x : x + p]

                targets, good = [], []
                for k in range(g * g):
                    values = cut(image, k)
                    if config.norm_pix == "joint":
                        values = (values - values.mean()) / np.sqrt(values.var(ddof=1) + 1e-6)
                    elif config.norm_pix == "per_channel":
                        values = np.stack([(v - v.mean()) / np.sqrt(v.var(ddof=1) + 1e-6) for v in values])
                    targets.append(values)
                    good.append(bool(cut(sound, k).all()))
                seen = [k for k in visible if good[k]]
                for k in range(g * g):
                    if k in visible or not good[k]:
                        continue
                    bands = [one.mean(axis=(1, 2)) for one in targets]
                    nought = np.zeros(len(image))
                    near = min(seen, key=lambda j: ((j // g - k // g) ** 2 + (j % g - k % g) ** 2, j), default=None)
                    answers = [
                        nought,
                        np.mean([bands[j] for j in seen], axis=0) if seen else nought,
                        nought if near is None else bands[near],
                        bands[k],
                    ]
                    for i, answer in enumerate(answers):
                        sums[i] += ((targets[k] - answer[:, None, None]) ** 2).mean()
                    sums[4] += 1
            found[s, t] = sums
    return found


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "with holes"])
@pytest.mark.parametrize("name", CASES)
def test_yardsticks_are_what_a_slow_reading_says(name, whole):
    config = CASES[name]
    inputs = make_inputs(config, whole=whole)
    found, slowly = yardstick_sums(inputs, config), slow(inputs, config)
    assert found.keys() == slowly.keys()
    for place, want in slowly.items():
        np.testing.assert_allclose(found[place].numpy(), want, rtol=2e-5, atol=2e-5)
    # The same patches as in the loss; and a network that answers 0 is as good as the yardstick that does.
    model = SeaMo(config, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for decoder in model.decoders.values():
            decoder.head.weight.zero_()
            decoder.head.bias.zero_()
        output = model(inputs.images, noise=inputs.noise, valid=inputs.valid, pixel_valid=inputs.pixel_valid)
    for place, (zero, *_, count) in found.items():
        assert output.counts[place] == count
        assert output.terms[place] * count == pytest.approx(zero.item(), rel=1e-5)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return build_small_store(tmp_path_factory.mktemp("store"), absent=(3, 7), holes=(1, 2, 12))


def test_a_run_is_the_same_with_and_without_them(store, tmp_path):
    short = ["stage1={epochs: 2, warmup_epochs: 1}", "stage2={epochs: 1, warmup_epochs: 0}"]  # 6 + 3 steps
    pretrain(recipe_of(*short, "machine.yardsticks=4"), store, tmp_path / "with")
    pretrain(recipe_of(*short, "machine.yardsticks=0"), store, tmp_path / "without")
    # In micro-batches.
    short[1] = "stage2.epochs=0"
    pretrain(recipe_of(*short, "machine.yardsticks=4", "machine.micro_batch=3"), store, tmp_path / "parts")
    curves, without, parts = (read_curves(tmp_path / name) for name in ("with", "without", "parts"))
    columns = [name for name in curves if name.partition(".")[0] in YARDSTICKS]
    assert len(columns) == 4 * 8
    for name in curves.keys() - set(columns):
        np.testing.assert_array_equal(curves[name], without[name])
    assert all(np.isnan(without[name]).all() for name in columns)
    weights = [(tmp_path / name / "final" / "model.safetensors").read_bytes() for name in ("with", "without")]
    assert weights[0] == weights[1]
    # Every fourth step, and the last one of each stage.
    measured = [step for step, value in zip(curves["step"], curves["mean.s2.0"], strict=True) if value == value]
    assert measured == [1, 5, 6, 9]
    measured = [step for step, value in zip(curves["step"], curves["oracle.s1.3"], strict=True) if value == value]
    assert measured == [9]
    for name in [name for name in columns if name.endswith(".0")]:
        np.testing.assert_allclose(parts[name], curves[name][:6], rtol=1e-6)


def curves_of(network, *, stage=1, sensor="s2", mean=0.5, nearest=0.45, zero=1.0, oracle=0.2):
    """Curves of one sensor in one date, measured in every step; the network's error as given."""
    n = len(network)
    columns = {"step": list(range(1, n + 1)), "stage": [float(stage)] * n, f"{sensor}_t0": list(network)}
    for name, value in {"zero": zero, "mean": mean, "nearest": nearest, "oracle": oracle}.items():
        columns[yardstick_column(name, sensor, 0)] = [value] * n
    return columns


def test_what_is_said_is_the_end_of_the_stage():
    # The last fifth of 100 steps: 20 steps at 0.40; before that it was worse than everything.
    (one,) = what_was_learnt(curves_of([1.2] * 80 + [0.4] * 20), 1)
    assert (one.loss, one.steps, one.beaten) == (pytest.approx(0.4), 20, ("zero", "mean", "nearest"))
    said = in_words(one)
    assert said.startswith("S2: better than the mean of what it saw and the nearest patch it saw (0.400 against 0.500 ")
    assert what_was_learnt(curves_of([0.4] * 100), 2) == []
    # Measured in every 30th step: the last five of them, more than a fifth.
    sparse = curves_of([float(step) for step in range(300)])
    for name in [name for name in sparse if "." in name]:
        sparse[name] = [value if i % 30 == 0 else np.nan for i, value in enumerate(sparse[name])]
    (one,) = what_was_learnt(sparse, 1)
    assert (one.steps, one.loss) == (5, pytest.approx(np.mean([150, 180, 210, 240, 270])))


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (1.01, "S2: no better than answering zero (1.010 against 1.000): it has learnt nothing beyond it"),
        (0.497, "S2: no better than the mean of what it saw (0.497 against 0.500): it has learnt nothing beyond that"),
        (0.47, "S2: better than the mean of what it saw, no better than the nearest patch it saw (0.470 against 0.450; "
               "a patch's own band means would give 0.200)"),
    ],
)  # fmt: skip
def test_what_is_no_better_is_said(loss, said):
    (one,) = what_was_learnt(curves_of([loss] * 10), 1)
    assert in_words(one) == said
    assert one.something == (loss < 0.49)


def test_a_gain_within_its_noise_is_none():
    noise = 0.05 * (-1.0) ** np.arange(10)
    (one,) = what_was_learnt(curves_of(0.47 + noise), 1)
    assert "mean" not in one.beaten  # 0.03 +- 2 * 0.05 / sqrt(9)
    (one,) = what_was_learnt(curves_of(0.46 + noise), 1)
    assert "mean" in one.beaten


def test_dates_count_alike_and_absent_ones_do_not():
    columns = curves_of([0.3] * 10)
    columns["s2_t1"] = [0.5] * 5 + [0.0] * 5  # nothing there in the later steps: the term is written as 0
    for name in YARDSTICKS:
        columns[yardstick_column(name, "s2", 1)] = [0.9] * 5 + [np.nan] * 5
    (one,) = what_was_learnt(columns, 1)
    assert (one.loss, one.yardsticks["mean"]) == (pytest.approx(0.3), pytest.approx(0.5))


def test_a_run_that_learns_nothing_is_warned_about(store, tmp_path, caplog):
    # A learning rate of next to nothing: the first weights answer worse than zero does.
    changes = ["stage1={epochs: 2, warmup_epochs: 1}", "stage2.epochs=0", "optimiser.base_lr=1e-9"]
    pretrain(recipe_of(*changes), store, tmp_path / "run")
    assert "stage 1, S2: no better than answering zero (" in caplog.text
    assert "stage 1, S1: no better than answering zero (" in caplog.text


@pytest.mark.parametrize("kind", ["joint", "per_channel", "none"])
def test_what_is_painted_alone_knows_nothing_of_what_is_hidden(kind):
    config = replace(CONFIG, norm_pix=kind)
    model = SeaMo(config, generator=torch.Generator().manual_seed(1))
    inputs = make_inputs(config, whole=True)
    with torch.no_grad():
        output = model(inputs.images, noise=inputs.noise)
        hidden = {s: unpatchify(one[..., None].expand(-1, -1, -1, config.patch_values(s)), 4) for s, one in
                  output.masked.items()}  # fmt: skip
        brighter = {s: torch.where(hidden[s], 0.4 * x + 0.5, x) for s, x in inputs.images.items()}
        again = model(brighter, noise=inputs.noise)
    found = paint(output, inputs, config)
    other = paint(again, replace(inputs, images=brighter), config)
    for s in config.sensors:
        image, mask = inputs.images[s].numpy(), hidden[s].numpy()
        assert torch.equal(found[s].alone[hidden[s]], other[s].alone[hidden[s]])
        assert torch.equal(found[s].mean_alone[hidden[s]], other[s].mean_alone[hidden[s]])
        assert torch.equal(found[s].helped[hidden[s]], other[s].helped[hidden[s]]) == (kind == "none")
        for one in found[s]:
            assert torch.equal(one[~hidden[s]], inputs.images[s][~hidden[s]])
        for b, t, c in np.ndindex(image.shape[:3]):
            mean = image[b, t, c][~mask[b, t, c]].mean()
            np.testing.assert_allclose(found[s].mean_alone[b, t, c].numpy()[mask[b, t, c]], mean, rtol=1e-5)
    if kind == "joint":  # by hand: mean and scale of the visible patches of one image, over both bands of each
        patches, seen = patchify(inputs.images["s1"], 4)[0, 0], ~output.masked["s1"][0, 0]
        mean, scale = patches[seen].mean(), (patches[seen].var(dim=1) + 1e-6).sqrt().mean()
        k = int((~seen).nonzero()[0, 0])
        painted = patchify(found["s1"].alone, 4)[0, 0, k]
        torch.testing.assert_close(painted, output.pred["s1"][0, 0, k] * scale + mean)
        own, helped = patches[k], patchify(found["s1"].helped, 4)[0, 0, k]  # and with its own
        torch.testing.assert_close(helped, output.pred["s1"][0, 0, k] * (own.var() + 1e-6).sqrt() + own.mean())


@pytest.mark.soak
def test_the_demo_s_recipe_of_before_learns_each_image_s_mean_spectrum(tmp_path, caplog):
    """World 7: trivial predictors as an implementation of its own measured them (November 2026), and no gain on S1."""
    raw = tmp_path / "raw" / "ssl4eo-s12"
    raw.mkdir(parents=True)
    load_archive("ssl4eo-s12").demo(raw, World(seed=7), "small")
    build_quietly("ssl4eo-s12", tmp_path / "raw", tmp_path / "stores")
    pretrain(load_recipe("seamo-demo-plain"), open_store(tmp_path / "stores" / "ssl4eo-s12"), tmp_path / "run")
    curves = read_curves(tmp_path / "run")
    measured = {
        "s2": {"zero": 0.985, "mean": 0.513, "nearest": 0.505, "oracle": 0.303},
        "s1": {"zero": 0.955, "mean": 0.898, "nearest": 0.916, "oracle": 0.855},
    }
    second = np.array(curves["stage"]) == 2
    for sensor, numbers in measured.items():
        for name, want in numbers.items():
            ours = np.array([curves[yardstick_column(name, sensor, t)] for t in range(4)])[:, second]
            assert np.nanmean(ours) == pytest.approx(want, abs=0.02)
    assert "stage 2, S1: no better than the mean of what it saw" in caplog.text
    optical, radar = what_was_learnt(curves, 2)
    assert (optical.sensor, optical.something) == ("s2", True)
    assert radar.loss == pytest.approx(0.903, abs=0.02)
    assert radar.loss > radar.yardsticks["mean"]


@pytest.mark.parametrize("sealed", [True, False])
def test_a_run_of_an_earlier_release_goes_on_with_the_columns_that_it_has(tmp_path, sealed):
    head = "step,stage,epoch,batch,locations,images,lr,loss,s1_t0"
    rows = ["1,1,0,0,8,8,0.1,0.9,0.9", "2,1,0,1,8,8,0.1,0.8,0.8"]
    begun = "\n".join([head, *rows, ""]).encode()
    (tmp_path / "curves.csv").write_bytes(begun + b"3,1,0,2,8,8,0.1,0.7,0.7\n")  # after the checkpoint
    logs = {"curves.csv": LogSeal(begun).sealed()} if sealed else None
    names = ["s1_t0", yardstick_column("mean", "s1", 0)]
    journal = Journal(tmp_path, names, done=2, total=3, logs=logs)
    journal.write(
        JournalRow(
            3, 1, 0, 2, 0.5, {"s1_t0": 0.5}, {"mean.s1.0": 0.6}, lr=0.1, locations=8, images=8, seconds=1.0, wait=0.0,
            mfu=None, memory_gib=0.0,
        )
    )  # fmt: skip
    journal.close()
    lines = (tmp_path / "curves.csv").read_text().splitlines()
    assert lines == [head, *rows, "3,1,0,2,8,8,0.1,0.5,0.5"]
