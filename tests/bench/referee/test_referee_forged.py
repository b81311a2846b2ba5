"""Forged records of every kind of task do not pass, whatever they agree with."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from seamo_bench.records.record import read_records
from seamo_bench.runs.referee import Referee
from seamo_bench.runs.register import Register, read_entry
from seamo_bench.zoo.catalogue import card_digest, cards
from tests.bench.forging import forge, some
from tests.bench.referee.kinds import CLASSES, KINDS, MASKS, edit, found, problems

torch.set_num_threads(1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_register_sees_other_truth_of_every_kind(repository, results, tmp_path, kind):
    """One label, count or sample that is another one; the rest is made to fit."""
    protocol, about = KINDS[kind]
    record = found(results, protocol, **about)
    entries = sorted((repository / "stores").glob("*.json"))
    register = Register(tuple(read_entry(path.read_bytes(), f"stores/{path.name}") for path in entries))

    def truth(arrays):
        if "confusion" in arrays:
            counts = arrays["confusion"].copy()
            counts[0, 0, 0] += 1
            return {**arrays, "confusion": counts}
        labels = arrays["labels"].copy()
        labels[0] = (labels[0] + 1) % 3 if labels.ndim == 1 else 1 - labels[0]
        return {**arrays, "labels": labels}

    def fewer(arrays):
        return some(arrays, np.arange(1, len(arrays["keys"])))

    for name, change, word in (("truth", truth, "labels of"), ("fewer", fewer, "predictions are of")):
        path = forge(results, record.key, tmp_path / name, arrays=change)
        (forged,) = read_records(path.parent).records
        assert word in " ".join(register.problems(forged, path.parent)), name
    (honest,) = read_records(forge(results, record.key, tmp_path / "honest").parent).records
    assert register.problems(honest, tmp_path / "honest") == ()


@pytest.mark.parametrize("kind", CLASSES)
def test_labels_that_are_the_answers(results, root, tmp_path, kind):
    protocol, about = KINDS[kind]
    record = found(results, protocol, **about)

    def answers(arrays):
        scores = arrays["scores"]
        labels = arrays["labels"]
        # The first sample is turned in any case: a network that is right everywhere has nothing to hide.
        said = scores.argmax(axis=1) if labels.ndim == 1 else (scores >= np.median(scores)).astype(np.uint8)
        said[0] = (labels[0] + 1) % scores.shape[1] if labels.ndim == 1 else 1 - labels[0]
        return {**arrays, "labels": said.astype(labels.dtype)}

    (problem,) = problems(forge(results, record.key, tmp_path / "forged", arrays=answers), root)
    assert "labels are not the store's" in problem


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["dropped", "renamed", "repeated"])
def test_samples_that_are_not_the_test_split(results, root, tmp_path, kind, how):
    protocol, about = KINDS[kind]
    record = found(results, protocol, **about)

    def changed(arrays):
        n = len(arrays["keys"])
        if how == "dropped":
            return some(arrays, np.arange(1, n))
        keys = arrays["keys"].astype("U64")
        if how == "renamed":
            return {**arrays, "keys": np.concatenate([["elsewhere"], keys[1:]])}
        rows = np.concatenate([[1], np.arange(1, n)])  # an easy one instead of a hard one, under the hard one's name
        return {**some(arrays, rows), "keys": keys}

    def counts(document):
        if how == "dropped" and "test" in document["about"]["samples"]:
            document["about"]["samples"]["test"] -= 1

    path = forge(results, record.key, tmp_path / "forged", arrays=changed, document=counts)
    told = " ".join(problems(path, root))
    expected = {"dropped": "not in its predictions", "renamed": "elsewhere", "repeated": ""}[how]
    if how != "repeated":
        assert expected in told
        assert len(told) > 0
    elif kind in MASKS:
        assert "are missing" in told or "not the store's" in told  # class ids cannot be repeated with the counts


@pytest.mark.parametrize("kind", MASKS)
def test_counts_that_are_not_of_the_masks(results, root, tmp_path, kind):
    protocol, about = KINDS[kind]
    record = found(results, protocol, **about)

    def perfect(arrays):
        """Every pixel right: the columns' sums as if they were the truth, and one more where all were right anyhow."""
        diagonal = np.zeros_like(arrays["confusion"])
        k = np.arange(diagonal.shape[1])
        diagonal[:, k, k] = arrays["confusion"].sum(axis=1)
        diagonal[0, 0, 0] += 1
        return {**arrays, "confusion": diagonal}

    told = " ".join(problems(forge(results, record.key, tmp_path / "a", arrays=perfect), root))
    assert "labels are not the store's" in told

    def others(arrays):
        """Other counts with the true rows' sums; the class ids stay."""
        turned = np.zeros_like(arrays["confusion"])
        k = np.arange(turned.shape[1])
        turned[:, k, (arrays["confusion"].argmax(axis=2)[0, k] + 1) % len(k)] = arrays["confusion"].sum(axis=2)
        return {**arrays, "confusion": turned}

    told = " ".join(problems(forge(results, record.key, tmp_path / "b", arrays=others), root))
    assert "class ids" in told

    def without_ids(arrays):
        return {**others(arrays), "ids": arrays["ids"][:0], "shapes": arrays["shapes"][:0]}

    told = " ".join(problems(forge(results, record.key, tmp_path / "c", arrays=without_ids), root))
    assert "class ids are missing" in told


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (edit("facts", "stores", 0, "content", value="0" * 64), "has no store of content 000000000000"),
        (edit("facts", "stores", 0, "id", value="sets"), "has no store of content"),
        (edit("facts", "stores", 0, "id", value="../toy"), "has no store of content"),
        (edit("facts", "stores", 0, "synthetic", value=False), "synthetic, subset"),
        (edit("facts", "protocol", "version", value=99), "version 99 of protocol knn"),
        (edit("facts", "protocol", "params", "sharpness", value=3), "has no parameter 'sharpness'"),
        (edit("facts", "protocol", "id", value="nearest"), "no protocol 'nearest'"),
        (edit("facts", "split", "lists", "train", value="0" * 64), "split lists are not the store's: train"),
        (edit("facts", "split", "lists", "test", value="0" * 64), "split lists are not the store's: test"),
        (edit("facts", "split", "fraction", value=0.5), "split lists are not the store's: train"),
        (edit("facts", "split", "scheme", value="cv5x5"), "split lists are not the store's"),
        (edit("facts", "split", "scheme", value="official"), "has split scheme hash-60-20-20"),
        (edit("facts", "budget", value="demo"), "knn"),
        (edit("facts", "task", "classes", value=["class 0", "class 1", "sea"]), "its task"),
        (edit("facts", "task", "label_space", value="other"), "no label space 'other'"),
        (edit("facts", "backbone", "card", value="0" * 64), "the card of backbone image-statistics"),
        (edit("about", "stores", value=["Toy"]), "it calls its stores Toy"),
        (edit("about", "samples", "test", value=9999), "it counts samples"),
        (edit("about", "identity", value=[{"pixels": "0" * 64}]), "the pixels that it names"),
        (edit("about", "backbone", value="Prithvi-EO-2.0"), "of backbone image-statistics (backbone)"),
        (edit("about", "floor", value=""), "of backbone image-statistics (floor)"),
        (edit("about", "way", value="select"), "was fed by way select, its facts say native"),
        (edit("about", "group", value="base"), "of backbone image-statistics (group)"),
        (edit("facts", "backbone", "id", value="mine"), "it calls backbone mine Image statistics"),
        (edit("facts", "backbone", "weights", value="f" * 64), "the weights of backbone image-statistics"),
        (edit("facts", "seed", value=-1), "such that no run has"),
        (edit("facts", "split", "fraction", value=7.0), "such that no run has"),
        (edit("facts", "precision", value="fp4"), "such that no run has"),
        (edit("facts", "adapter", value=None), "such that no run has"),
        (edit("facts", "stores", value=[]), "names no store"),
        *(
            (edit("facts", "stores", 0, "id", value=one), "has no store of content")
            for one in ("", "..", "*", "a" * 999)
        ),
    ],
)
def test_facts_that_are_not_the_store_s(results, root, tmp_path, change, what):
    record = found(results, "knn", store="toy")
    if what == "knn":  # the demo budget takes at most 64 samples of a split, which this store does not have
        what = "" if max(record.about.samples.values()) <= 64 else "split lists"
    path = forge(results, record.key, tmp_path / "forged", document=change)
    assert what in " ".join(problems(path, root))


def test_a_store_that_was_seen_in_pretraining_is_said_to_be(results, root, tmp_path, monkeypatch):
    record = found(results, "knn", store="toy")
    listed = cards()["image-statistics"]
    seen = replace(listed, card=replace(listed.card, pretrained_on=("toy",)))
    monkeypatch.setattr("seamo_bench.runs.referee.cards", lambda: {"image-statistics": seen})
    monkeypatch.setattr("seamo_bench.runs.referee.find_card", lambda _name: seen)
    card = edit("facts", "backbone", "card", value=card_digest(seen.card))
    path = forge(results, record.key, tmp_path / "silent", document=card)
    assert "saw its store in pretraining" in " ".join(problems(path, root))

    def said(document):
        card(document)
        document["flags"] += [{"kind": "seen-in-pretraining", "text": "pretrained on toy"}]

    assert problems(forge(results, record.key, tmp_path / "said", document=said), root) == ()


@pytest.mark.parametrize(("kind", "what"), [("alone", "of no stitched image"), ("side by side", "are not of the")])
def test_tile_wise_counts_that_class_ids_contradict(results, root, tmp_path, kind, what):
    """Of images that are one tile there are none; where no tiles overlap, they are the image's own counts."""
    protocol, about = KINDS[kind]
    record = found(results, protocol, **about)

    def perfect(arrays):
        """The rows' sums are the masks'."""
        return {**arrays, "tilewise": np.stack([np.diag(counts.sum(axis=1)) for counts in arrays["confusion"]])}

    told = " ".join(problems(forge(results, record.key, tmp_path / "forged", arrays=perfect), root))
    assert "tile-wise counts" in told
    assert what in told


def test_scenes_that_intervals_rest_on(results, root, tmp_path):
    record = found(results, "knn", store="toy")

    def alone(arrays):
        return {**arrays, "units": np.array([f"scene{k % 3}" for k in range(len(arrays["keys"]))])}

    assert "units" in " ".join(problems(forge(results, record.key, tmp_path / "forged", arrays=alone), root))


def test_a_damaged_store_holds_nothing(results, root, tmp_path):
    shutil.copytree(root / "toy", tmp_path / "toy")
    next((tmp_path / "toy").glob("*/ledger.json")).write_bytes(b"{}")
    record = found(results, "knn", store="toy")
    assert "is damaged" in " ".join(Referee(tmp_path).problems(record, results))
