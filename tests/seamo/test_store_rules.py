"""Splits and subsets: pure functions of keys, by the letter of their rule."""

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seamo.errors import StoreError, UsageError
from seamo.store.reader import open_store
from seamo.store.splits import SampleFacts, assign, cv_folds, hash_split
from seamo.store.subsets import keys_sha256, strata, subset_name, take
from seamo.store.writer import BuildPlan
from tests.seamo.store_samples import build, mask_sample, masks_spec, seasons_samples, seasons_spec


def rule(dataset_id, keys, labels, p, salt):
    """The rule of subsets, written again in the plainest way."""
    chosen = []
    for label in set(labels):
        mine = [key for key, one in zip(keys, labels, strict=True) if one == label]
        mine.sort(key=lambda key: hashlib.sha256(f"{dataset_id}:{salt}:{key}".encode()).hexdigest())
        chosen += mine[: -((-p * len(mine)) // 100)]  # p in whole percent
    return sorted(chosen)


@pytest.mark.parametrize("percent", [1, 5, 10, 30, 100])
@pytest.mark.parametrize("salt", [0, 3])
def test_the_rule(percent, salt):
    keys = [f"k{i}" for i in range(330)]
    labels = [i % 7 if i > 40 else 9 for i in range(330)]
    got = take("toy", keys, strata("single-label", labels, [""] * 330), fraction=percent / 100, salt=salt)
    assert sorted(keys[i] for i in got) == rule("toy", keys, labels, percent, salt)


def test_a_tenth_of_thirty_is_three():
    assert math.ceil(0.1 * 30) == 3
    assert math.ceil(0.07 * 100) == 8  # what floating point would take
    assert len(take("toy", [f"k{i}" for i in range(100)], [0] * 100, fraction=0.07)) == 7


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=80), st.integers(0, 4), st.randoms(use_true_random=False))
def test_smaller_subsets_lie_inside_larger_ones_in_any_order(labels, salt, rng):
    keys = [f"k{i}" for i in range(len(labels))]
    inside: set[str] = set()
    for fraction in (0.01, 0.05, 0.1, 0.5, 1.0):
        taken = {keys[i] for i in take("toy", keys, labels, fraction=fraction, salt=salt)}
        assert inside <= taken
        inside = taken
        mixed = list(range(len(keys)))
        rng.shuffle(mixed)
        again = take("toy", [keys[i] for i in mixed], [labels[i] for i in mixed], fraction=fraction, salt=salt)
        assert {keys[mixed[i]] for i in again} == taken
    assert inside == set(keys)


def test_strata():
    sets = [(0, 1)] * 25 + [(1,)] * 19 + [(2,)] * 20 + [()] * 3
    got = strata("multi-label", sets, [""] * len(sets))
    assert got == [(0, 1)] * 25 + ["rare"] * 19 + [(2,)] * 20 + ["rare"] * 3
    assert strata("change", [1, 1], ["paris", "rome"]) == ["paris", "rome"]
    assert strata("segmentation", [4, None], ["a", "b"]) == [4, None]
    with pytest.raises(UsageError, match=r"0\.0"):
        take("toy", ["a"], [0], fraction=0.0)


def test_hash_split_is_the_keys_own():
    splits = [hash_split("toy", f"k{i}") for i in range(5000)]
    for name, share in (("train", 0.6), ("val", 0.2), ("test", 0.2)):
        # Five standard deviations of a binomial.
        assert abs(splits.count(name) / 5000 - share) < 5 * (share * (1 - share) / 5000) ** 0.5
    value = int.from_bytes(hashlib.sha256(b"toy:split:k7").digest()[:8], "big") / 2**64
    assert splits[7] == ("train" if value < 0.6 else "val" if value < 0.8 else "test")


def test_cross_validation_folds():
    keys = [f"k{i}" for i in range(203)]
    labels = [0] * 100 + [1] * 60 + [2] * 43
    folds = cv_folds("toy", keys, labels)
    assert folds.shape == (203, 5)
    for repeat in range(5):
        sizes = np.bincount(folds[:, repeat], minlength=5)
        assert sizes.max() - sizes.min() <= 1
        for label in range(3):
            inside = np.bincount(folds[np.array(labels) == label, repeat], minlength=5)
            assert inside.max() - inside.min() <= 1
    assert len({tuple(folds[:, r]) for r in range(5)}) == 5
    order = np.random.default_rng(0).permutation(203)
    mixed = cv_folds("toy", [keys[i] for i in order], [labels[i] for i in order])
    np.testing.assert_array_equal(mixed, folds[order])
    splits, same = assign(seasons_spec(), "cv5x5", SampleFacts(keys, labels, [""] * 203))
    np.testing.assert_array_equal(same, folds)
    assert [{0: "test", 1: "val"}.get(fold, "train") for fold in folds[:, 0]] == splits


SCHEMES = {"official": {"in_archive": True}, "two": {"in_archive": True, "val_from_train": True}}


def test_published_lists():
    spec = seasons_spec(splits=SCHEMES)
    keys = [f"k{i}" for i in range(100)]
    published = {key: "train" if i < 80 else "test" for i, key in enumerate(keys) if i not in (3, 4)}
    published["k4"] = "exclude"
    labels = [i % 2 for i in range(100)]
    splits, folds = assign(spec, "official", SampleFacts(keys, labels, [""] * 100), published=published)
    assert folds is None
    assert splits == ["" if i in (3, 4) else "train" if i < 80 else "test" for i in range(100)]
    splits, _ = assign(spec, "two", SampleFacts(keys, labels, [""] * 100), published=published)
    train = [keys[i] for i in range(80) if i not in (3, 4)]
    val = rule("toy", train, [labels[int(key[1:])] for key in train], 10, "val")
    assert sorted(key for key, split in zip(keys, splits, strict=True) if split == "val") == val
    assert len(val) == 8
    assert splits[80:] == ["test"] * 20
    with pytest.raises(StoreError, match="'training' is not one of"):
        assign(spec, "official", SampleFacts(["a"], [0], [""]), published={"a": "training"})
    with pytest.raises(StoreError, match="needs its published lists"):
        assign(spec, "official", SampleFacts(["a"], [0], [""]))
    with pytest.raises(StoreError, match="Schemes: official, two, hash-60-20-20"):
        assign(spec, "other", SampleFacts(["a"], [0], [""]))


def test_val_from_train_keeps_scenes_whole():
    spec = seasons_spec(splits=SCHEMES)
    keys = [f"k{i}" for i in range(200)]
    scenes = [f"city{i % 14}" for i in range(200)]
    published = {key: "test" if i % 14 > 9 else "train" for i, key in enumerate(keys)}
    splits, _ = assign(spec, "two", SampleFacts(keys, [None] * 200, scenes), published=published)
    of = {split: {scenes[i] for i in range(200) if splits[i] == split} for split in ("train", "val", "test")}
    assert not of["val"] & (of["train"] | of["test"])
    # 144 training samples, 14 or 15 in a city: the first city of 14 is not yet a tenth.
    order = sorted({f"city{i}" for i in range(10)}, key=lambda one: hashlib.sha256(f"toy:val:{one}".encode()).digest())
    assert order[0] in {"city4", "city5", "city6", "city7", "city8", "city9"}
    assert of["val"] == set(order[:2])
    assert len(of["train"]) == 8


def test_rows_of_a_store(tmp_path):
    spec = seasons_spec(splits=SCHEMES)
    samples = seasons_samples()
    published = {one.key: "train" if i % 4 else "test" for i, one in enumerate(samples)}
    store = open_store(build(tmp_path, BuildPlan(spec=spec, split_scheme="official"), samples, splits=published))
    assert store.rows("test").tolist() == [i for i in range(40) if i % 4 == 0 and i != 4]
    assert store.rows("all").tolist() == [i for i in range(40) if i != 4]
    train = [i for i in range(40) if i % 4]
    subset = store.subset("train", 0.1, salt=2)
    assert [samples[i].key for i in subset.rows] == sorted(
        rule("toy", [samples[i].key for i in train], [i % 3 for i in train], 10, 2),
        key=[one.key for one in samples].index,
    )
    assert subset.name == "train-10pct-salt2"
    assert subset.sha256 == hashlib.sha256("\n".join(samples[i].key for i in subset.rows).encode()).hexdigest()
    seco = store.rows("train", 0.5, salt="seco")
    drawn = np.random.default_rng(42).choice(range(30), size=15, replace=True)
    assert seco.tolist() == [train[i] for i in drawn]
    assert subset_name("train", 1.0, 0) == "train"
    assert subset_name("train", 0.015, "seco") == "train-1.5pct-seco"
    assert keys_sha256([]) == hashlib.sha256(b"").hexdigest()
    with pytest.raises(StoreError, match=r"no split 'val'.*Splits: test, train, all"):
        store.rows("val")


def test_masks_are_stratified_by_their_dominant_class(tmp_path):
    samples = [mask_sample(i) for i in range(30)]
    for i in range(10):
        samples[i].label[:] = 2
    samples[29].label[:] = 255
    store = open_store(build(tmp_path, BuildPlan(spec=masks_spec(), split_scheme="none"), samples))
    taken = store.rows("train", 0.2)
    classes = [2] * 10 + [1] * 19 + [None]
    assert [samples[i].key for i in taken] == sorted(
        rule("toy-masks", [one.key for one in samples], classes, 20, 0), key=[one.key for one in samples].index
    )
    assert 29 in taken


def test_folds_are_in_the_index(tmp_path):
    samples = seasons_samples()
    store = open_store(build(tmp_path, BuildPlan(spec=seasons_spec(), split_scheme="cv5x5"), samples))
    index = store.index
    folds = index[[f"fold{r}" for r in range(5)]].to_numpy()
    keys = [one.key for one in samples]
    labels = [None if i == 4 else i % 3 for i in range(40)]
    np.testing.assert_array_equal(folds, cv_folds("toy", keys, labels))
    assert index["split"][4] == ""
    assert store.meta.split_scheme == "cv5x5"
