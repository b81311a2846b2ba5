"""Pretraining from several stores: the order against a slow one, the numbers against all pixels, one store as ever."""

import hashlib
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seamo.data.loader import Loader
from seamo.errors import RecipeError, SeamoError, StoreError, TrainingError, UsageError
from seamo.model.card import read_card
from seamo.pretrain.checkpoint import checkpoints
from seamo.pretrain.facts import read_run
from seamo.pretrain.inputs import plan_inputs
from seamo.pretrain.logs import read_curves
from seamo.pretrain.loop import pretrain
from seamo.pretrain.mixture import in_words, training_data
from seamo.pretrain.recipe import Recipe, apply_changes, parse_recipe
from seamo.store.mixed import MixedStore
from seamo.store.plan import Mix, ShardPlan, mix_quotas, random_order
from seamo.store.reader import Store, open_store
from seamo.testing.stores import tiny_store
from tests import servers
from tests.seamo.small_store import build_small_store
from tests.seamo.test_pretrain_loop import RECIPE

SHORT = ("stage1={epochs: 1, warmup_epochs: 0}", "stage2={epochs: 2, warmup_epochs: 0}", "machine.keep=3")
RADAR = ("model.strategy=unimodal", "model.bands={s1: [VV, VH]}", "data={stacks: {s1: s1}, statistics: {s1: store}}")
# Of the order that one store alone has had since there are plans: nothing that was trained is repeated without it.
ONE_STORE = {
    (7, 0): [1, 2, 0, 6, 3, 4, 5],
    (7, 1): [1, 5, 4, 2, 3, 6, 0],
}


def recipe(*changes: str) -> Recipe:
    return parse_recipe(apply_changes(RECIPE, [*SHORT, *changes]), "test")


@pytest.fixture(scope="module", params=["zarr", "webdataset"])
def stores(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Store]:
    """Twenty and nine places: one of them has absent dates."""
    root = tmp_path_factory.mktemp("stores")
    first = build_small_store(root / "a", n=20, absent=(3,), layout=request.param)
    return [first, build_small_store(root / "b", n=9, layout=request.param)]


def endless(n: int, seed: int, store: int, count: int, skip: int) -> list[int]:
    """A store's own order, sample by sample: one shuffled pass behind the other."""
    found: list[int] = []
    one_pass = 0
    while len(found) < skip + count:
        words = np.random.Philox(key=seed, counter=[0, 2 * store, one_pass, 0x5EA0_0001]).random_raw(n)
        found += sorted(range(n), key=lambda i: (int(words[i]), i))
        one_pass += 1
    return found[skip : skip + count]


def slow_order(mix: Mix, length: int, seed: int, epoch: int) -> list[int]:
    """The order of one epoch by the rule as the page has it, without arrays."""
    total = sum(weight for _, weight in mix)
    quotas = [int(weight / total * length) for _, weight in mix]
    rest = [weight / total * length - quota for (_, weight), quota in zip(mix, quotas, strict=True)]
    for k in sorted(range(len(mix)), key=lambda k: (-rest[k], k))[: length - sum(quotas)]:
        quotas[k] += 1
    turns = [k for k, quota in enumerate(quotas) for _ in range(quota)]
    words = np.random.Philox(key=seed, counter=[0, 2**32, epoch, 0x5EA0_0001]).random_raw(length)
    whose = [turns[i] for i in sorted(range(length), key=lambda i: (int(words[i]), i))]
    queues, begin = [], 0
    for k, (n, _) in enumerate(mix):
        queues.append([begin + one for one in endless(n, seed, k, quotas[k], epoch * quotas[k])])
        begin += n
    return [queues[k].pop(0) for k in whose]


mixes = st.lists(st.tuples(st.integers(1, 30), st.sampled_from([1.0, 0.3, 2.0, 7.0])), min_size=2, max_size=4)


def plan_of(mix: Mix, batch: int, **options: Any) -> ShardPlan:
    rows = np.arange(sum(n for n, _ in mix))
    return ShardPlan(rows, batch, mix=tuple(mix), shuffle=True, drop_last=True, **options)


@settings(max_examples=60, deadline=None)
@given(mixes, st.integers(1, 6), st.integers(0, 2**63), st.integers(0, 5), st.integers(1, 4))
def test_the_order_is_the_slow_one_on_any_number_of_ranks(
    mix: list[tuple[int, float]], batch: int, seed: int, epoch: int, world: int
) -> None:
    length = sum(n for n, _ in mix) // batch * batch
    try:
        plan = plan_of(tuple(mix), batch, seed=seed, epoch=epoch)
    except UsageError:
        assert min(weight for _, weight in mix) / sum(weight for _, weight in mix) * length < 1
        return
    want = slow_order(tuple(mix), length, seed, epoch)
    assert [row for i in range(len(plan)) for row in plan.batch_rows(i).tolist()] == want
    shares = [[plan.share(i, rank, world) for rank in range(world)] for i in range(len(plan))]
    assert [row for batch in shares for one in batch for row in one.rows[~one.padding].tolist()] == want


@settings(max_examples=40, deadline=None)
@given(mixes, st.integers(1, 4), st.integers(0, 2**63), st.integers(0, 1))
def test_no_sample_comes_again_before_the_others_of_its_store(
    mix: list[tuple[int, float]], batch: int, seed: int, blocks: int
) -> None:
    options = {"block": 3, "buffer": 9} if blocks else {}
    begins = np.cumsum([0, *(n for n, _ in mix)])
    drawn: list[list[int]] = [[] for _ in mix]
    drawn_by = set()
    try:
        for epoch in range(6):
            plan = plan_of(tuple(mix), batch, seed=seed, epoch=epoch, **options)
            for share in plan.shares():
                for row, turn in zip(share.rows.tolist(), share.turns.tolist(), strict=True):
                    drawn[int(np.searchsorted(begins, row, side="right")) - 1].append(row)
                    assert (epoch, row, turn) not in drawn_by  # crops and masks of a repeat are others
                    drawn_by.add((epoch, row, turn))
    except UsageError:
        return
    for (n, _), rows in zip(mix, drawn, strict=True):
        for start in range(0, len(rows) - n + 1, n):
            assert len(set(rows[start : start + n])) == n
        assert max(Counter(rows).values()) - min(len(rows) // n, min(Counter(rows).values())) <= 1


def test_a_window_of_blocks_holds_them_together() -> None:
    mix = ((4000, 3.0), (1000, 1.0))
    plan = plan_of(mix, 8, seed=1, block=16, buffer=256)
    first = [row for i in range(8) for row in plan.batch_rows(i).tolist()]  # 64 samples of a window of 256
    assert len({row // 16 for row in first}) <= 3 * 256 / 16
    assert sum(row < 4000 for row in first) == pytest.approx(48, abs=14)


def test_one_store_has_the_order_that_it_always_had() -> None:
    for (n, epoch), order in ONE_STORE.items():
        plan = ShardPlan(np.arange(n), n, seed=3, epoch=epoch, shuffle=True)
        assert plan.batch_rows(0).tolist() == order == random_order(n, 3, epoch).tolist()
        assert plan.share(0).turns.tolist() == [0] * n


def test_a_weight_without_a_sample_is_refused() -> None:
    with pytest.raises(UsageError, match="so small that its store gives none of the 20 samples"):
        mix_quotas(((10, 1000.0), (10, 1.0)), 20)


def test_batches_hold_what_the_stores_hold(stores: list[Store]) -> None:
    mixed = MixedStore(stores, ["s1", "s2a_10m"])
    mix = ((20, 0.5), (9, 0.5))
    seen = 0
    for batch in Loader(mixed, np.arange(29), 4, shuffle=True, mix=mix, drop_last=True, epochs=2, find_holes=True):
        assert batch.turns is not None
        for n, row in enumerate(batch.rows.tolist()):
            store, own = (stores[0], row) if row < 20 else (stores[1], row - 20)
            assert batch.keys[n] == store.index["key"][own]
            for layer in ("s1", "s2a_10m"):
                np.testing.assert_array_equal(batch.layers[layer][n].numpy(), store.read_layer(own, layer))
            assert batch.valid["s1"][n].tolist() == [True, True, store is stores[1] or own != 3] + (
                [True] if store is stores[1] or own != 3 else [False]
            )
            seen += 1
    assert seen == 56
    assert batch.label is None


def test_the_numbers_are_those_of_all_pixels_that_are_drawn(stores: list[Store]) -> None:
    """Weighted: every sample of a store counts its share; by samples: all pixels together."""
    for weights in ((), (0.25, 0.75)):
        data = training_data(recipe(*RADAR, *([f"data.weights={list(weights)}"] if weights else [])), stores)
        plan = plan_inputs(recipe(*RADAR), 2, data)
        pixels = [[], []]
        for which, store in enumerate(stores):
            for i in range(len(store)):
                values = store.read_layer(i, "s1").astype(np.float64)
                pixels[which].append(values[np.isfinite(values[:, :1].repeat(2, 1)).all(axis=(1, 2, 3))])
        for band in range(2):
            flat = [np.concatenate([one[:, band].ravel() for one in each]) for each in pixels]
            # A pixel of a store stands for (share of the store) / (its samples).
            share = weights or (20 / 29, 9 / 29)
            w = [np.full(len(one), s / n) for one, s, n in zip(flat, share, (20, 9), strict=True)]
            mean = np.average(np.concatenate(flat), weights=np.concatenate(w))
            std = np.sqrt(np.average((np.concatenate(flat) - mean) ** 2, weights=np.concatenate(w)))
            how = plan.numbers["s1"]
            assert (how.mean[band], how.std[band]) == (pytest.approx(mean, rel=1e-9), pytest.approx(std, rel=1e-9))
        assert " + " in how.source
        assert all(store.content[:12] in how.source for store in stores)


def test_a_sample_that_comes_twice_in_an_epoch_is_cropped_and_masked_anew(stores: list[Store]) -> None:
    data = training_data(recipe(*RADAR), stores)
    plan = plan_inputs(recipe(*RADAR), 2, data)
    batch = next(iter(Loader(data.store, np.array([21, 21, 21]), 3, layers=plan.layer_ids)))
    cpu = torch.device("cpu")
    once, again = (replace(batch, turns=torch.tensor(turns)) for turns in ([0, 0, 0], [0, 1, 0]))
    plain, same, other = (plan(one, cpu, epoch=2) for one in (batch, once, again))
    assert torch.equal(plain.noise, same.noise)
    assert torch.equal(other.noise[0], plain.noise[0])
    assert not torch.equal(other.noise[1], plain.noise[1])
    assert not torch.equal(other.images["s1"][1], plain.images["s1"][1])


def test_a_mixture_is_trained_and_says_what_it_is(stores: list[Store], tmp_path: Path) -> None:
    weighted = recipe("data.weights=[1, 3]")
    pretrain(weighted, stores, tmp_path / "run")
    curves = read_curves(tmp_path / "run")
    assert len(curves["step"]) == 9  # 29 // 8 = 3 steps an epoch
    assert np.isfinite(curves["loss"]).all()
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert [(one["content"], one["split"], one["samples"], one["weight"]) for one in facts["mix"]] == [
        (stores[0].content, "train", 20, 0.25),
        (stores[1].content, "train", 9, 0.75),
    ]
    made = read_card(tmp_path / "run" / "final")["provenance"]
    assert made["mix"] == facts["mix"] == read_run(tmp_path / "run")["mix"]
    assert made["pretrained_on"] == ["ssl4eo-s12"]
    assert made["data"]["ssl4eo-s12"]["licence"] == stores[0].spec.licence
    assert in_words(training_data(weighted, stores), weighted) == [
        "test on 2 stores, split train, 24 samples an epoch (data.weights):",
        f"  0.25 of {stores[0].title} (20 samples)",
        f"  0.75 of {stores[1].title} (9 samples)",
    ]
    # Stopped behind step 4, it goes on to the same bytes.
    names = [path.name for path in checkpoints(tmp_path / "run" / "checkpoints")]
    again = tmp_path / "again"
    _stop_at(weighted, stores, again, 4)
    pretrain(weighted, stores, again, resume=True)
    assert (again / "curves.csv").read_bytes() == (tmp_path / "run" / "curves.csv").read_bytes()
    final = Path("final") / "model.safetensors"
    assert _sha(again / final) == _sha(tmp_path / "run" / final)
    assert [path.name for path in checkpoints(again / "checkpoints")] == names
    # Another order, other weights, another list: refused, naming the difference.
    with pytest.raises(
        TrainingError, match=r"other stores, or in another order \(.*20 of train x 0.25.*->.*9 of train"
    ):
        pretrain(weighted, stores[::-1], again, resume=True)
    with pytest.raises(TrainingError, match=r"data.weights: \[1.0, 3.0\] -> \[2.0, 3.0\]"):
        pretrain(recipe("data.weights=[2, 3]"), stores, again, resume=True)
    with pytest.raises(TrainingError, match=r"data\.weights: \[1.0, 3.0\] -> None"):
        pretrain(recipe(), stores[:1], again, resume=True)


def _sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class _Enough(Exception):  # noqa: N818 - a kill
    pass


def _stop_at(recipe: Recipe, stores: list[Store], out: Path, step: int) -> None:
    """Train until a step, and die there."""
    with pytest.MonkeyPatch.context() as patch:
        from seamo.pretrain import journal

        write = journal.Journal.write

        def dying(self: Any, row: Any) -> None:
            write(self, row)
            if row.step == step:
                raise _Enough

        patch.setattr(journal.Journal, "write", dying)
        with pytest.raises(_Enough):
            pretrain(recipe, stores, out)


def test_a_mixture_of_a_bucket_and_a_disk_is_that_of_disks(bucket: str, stores: list[Store]) -> None:
    servers.upload(stores[1].path, f"{bucket}/b")
    far = [stores[0], open_store(f"{bucket}/b")]
    for block, buffer in ((0, 0), (2, 6)):
        options: Any = {"shuffle": True, "mix": ((20, 1.0), (9, 2.0)), "block": block, "buffer": buffer, "epochs": 2}
        near = Loader(MixedStore(stores, ["s1"]), np.arange(29), 8, **options)
        for one, other in zip(near, Loader(MixedStore(far, ["s1"]), np.arange(29), 8, **options), strict=True):
            assert one.keys == other.keys
            assert torch.equal(one.layers["s1"].nan_to_num(), other.layers["s1"].nan_to_num())


def test_stores_of_other_numbers_of_dates_mix_where_single_dates_are_learned(tmp_path: Path) -> None:
    few, many = tiny_store(tmp_path / "a", times=1), tiny_store(tmp_path / "b", times=3)
    mixed = MixedStore([few, many], ["s2_10m"], same_dates=False)
    batch = next(iter(Loader(mixed, np.array([0, 12]), 2)))
    assert batch.layers["s2_10m"].shape[1] == 3
    assert batch.valid["s2_10m"].tolist() == [[True, False, False], [True, True, True]]
    np.testing.assert_array_equal(batch.layers["s2_10m"][0, 0].numpy(), few.read_layer(0, "s2_10m")[0])
    assert (batch.layers["s2_10m"][0, 1:] == 65535).all()
    with pytest.raises(StoreError, match=r"layer s2_10m differs in times: 1 and 3"):
        MixedStore([few, many], ["s2_10m"])


def _changed(store: Store, **changes: Any) -> Store:
    layers = tuple(one.model_copy(update=changes if one.id == "s1" else {}) for one in store.spec.layers)
    spec = store.spec.model_copy(update={"layers": layers})
    other = open_store(store.path)
    other.meta = store.meta.model_copy(update={"spec": spec, "pixels": "another"})
    return other


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"gsd_m": 20.0}, "gsd_m: 10.0 and 20.0"),
        ({"unit": "dn"}, "unit: db and dn"),
        ({"bands": ("VH", "VV")}, "bands: VV VH and VH VV"),
        ({"size": (32, 32)}, r"size: \(24, 24\) and \(32, 32\)"),
        ({"times": 3}, "times: 4 and 3"),
        ({"id": "radar"}, "only the first has layer s1, the second has radar, s2a_10m, s2a_20m"),
        ({"stack": "s1asc"}, "no stack 's1'"),
    ],
)
def test_what_differs_is_said_with_both_stores(stores: list[Store], changes: dict[str, Any], said: str) -> None:
    other = _changed(stores[1], **changes)
    with pytest.raises(SeamoError, match=said) as caught:
        training_data(recipe(*RADAR), [stores[0], other])
    if "stack" not in changes:
        assert all(store.url in caught.value.where for store in (stores[0], other))


def test_what_is_no_mixture_is_refused(stores: list[Store]) -> None:
    with pytest.raises(StoreError, match="hold the same samples"):
        training_data(recipe(), [stores[0], stores[0]])
    with pytest.raises(RecipeError, match="3 weights for 2 stores"):
        training_data(recipe("data.weights=[1, 2, 3]"), stores)
    with pytest.raises(RecipeError, match="greater than 0"):
        recipe("data.weights=[1, 0]")
    first, second = (_published(store, mean) for store, mean in zip(stores, (1.0, 2.0), strict=True))
    named = recipe(*RADAR, "data.statistics.s1=listed")
    with pytest.raises(RecipeError, match="stores have different statistics of the name 'listed'"):
        plan_inputs(named, 2, training_data(named, [first, second]))
    assert plan_inputs(named, 2, training_data(named, [first, stores[1]])).numbers["s1"].mean == (1.0, 1.0)
    with pytest.raises(RecipeError, match="no statistics 'other'"):
        plan_inputs(recipe(*RADAR, "data.statistics.s1=other"), 2, training_data(named, [first, second]))


def _published(store: Store, mean: float) -> Store:
    from seamo.manifest import Statistics

    numbers = {"VV": mean, "VH": mean}
    other = open_store(store.path)
    listed = Statistics(source="a paper", unit="db", mean=numbers, std=numbers)
    spec = store.spec.model_copy(update={"statistics": {"listed": listed}})
    other.meta = store.meta.model_copy(update={"spec": spec})
    return other
