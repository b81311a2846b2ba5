"""Forgeries of a record and of its predictions: each is named, and what nothing contradicts stays plausible."""

import json
import shutil
import zipfile

import numpy as np
import pytest
import torch

from seamo_bench.predictions import predictions_from_bytes
from seamo_bench.records.layout import record_name
from seamo_bench.runs.repository import judge
from tests.bench.forging import forge, sealed, some
from tests.bench.referee.kinds import edit
from tests.bench.repository.contributions import RERUN, knn, place, refused, rewrite

torch.set_num_threads(1)

# Forgeries that a record's predictions carry


def answers(arrays):
    said = arrays["scores"].argmax(axis=1)
    said[0] = (arrays["labels"][0] + 1) % 3  # also where the network is right everywhere
    return {**arrays, "labels": said.astype(arrays["labels"].dtype)}


def dropped(arrays):
    return some(arrays, np.arange(1, len(arrays["keys"])))


def repeated(arrays):
    return some(arrays, np.concatenate([[1], np.arange(1, len(arrays["keys"]))]))


def renamed(arrays):
    return {**arrays, "keys": np.concatenate([["elsewhere"], arrays["keys"][1:].astype("U64")])}


def other_label_of_another(arrays):
    """A hard sample dropped, an easy one of another class in its place, under its name."""
    labels = arrays["labels"]
    easy = int(np.flatnonzero(labels != labels[0])[0])
    rows = np.concatenate([[easy], np.arange(1, len(labels))])
    return {**some(arrays, rows), "keys": arrays["keys"]}


def in_three_scenes(arrays):
    return {**arrays, "units": np.array([f"scene{k % 3}" for k in range(len(arrays["keys"]))])}


@pytest.mark.parametrize(
    ("arrays", "why"),
    [
        (answers, "the labels of its predictions are not the store's"),
        (dropped, "its predictions are of"),
        (renamed, "the samples of its predictions are not those of the test list"),
        (other_label_of_another, "the labels of its predictions are not the store's"),
        (in_three_scenes, "its units (scenes) are not the store's"),
    ],
)
def test_predictions_that_are_not_of_the_store(results, base, change, tmp_path, arrays, why):
    path = place(forge(results, knn(results).key, tmp_path / "forged", arrays=arrays), change)
    found = refused(change, base)
    assert set(found) == {path.relative_to(change).as_posix()}
    assert why in found[path.relative_to(change).as_posix()]


def test_samples_that_were_dropped_and_others_repeated(results, base, change, tmp_path):
    path = forge(results, knn(results).key, tmp_path / "forged")
    data = dict(np.load(path.with_suffix(".npz")))
    rewrite(path, lambda buffer: np.savez(buffer, **repeated(data)))
    name = place(path, change).relative_to(change).as_posix()
    assert "stands twice" in refused(change, base)[name]


def test_scores_that_were_made_up_stay_plausible(results, base, change, tmp_path):
    """One-hot of the labels: nothing that is at hand contradicts it."""

    def perfect(arrays):
        return {**arrays, "scores": np.eye(3, dtype=np.float32)[arrays["labels"]]}

    place(forge(results, knn(results).key, tmp_path / "forged", arrays=perfect), change, number=1)
    states = {one.name: one for one in judge(change, base=base) if one.name.startswith("records/")}
    first, second = record_name(knn(results).key), record_name(knn(results).key, 1)
    if knn(results).scores["balanced_accuracy"] == 1:  # it cannot be told from what is right anyhow
        assert states[second].state == "reproduced"
    else:
        assert states[second].state == states[first].state == "not reproduced"
        assert "eve (1.0000)" in " ".join(states[first].remarks)
    (change / first).unlink()
    (change / second).rename(change / first)
    assert next(one for one in judge(change) if one.name == first).state == RERUN


def bomb(buffer):
    """A few kilobytes that unpack to eight megabytes."""
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("keys.npy", bytes(2**23))


def test_a_bomb_is_not_unpacked(results, base, change, tmp_path, monkeypatch):
    path = forge(results, knn(results).key, tmp_path / "forged")
    rewrite(path, bomb)
    data = path.with_suffix(".npz").read_bytes()
    name = place(path, change).relative_to(change).as_posix()
    monkeypatch.setattr("seamo_bench.records.record.predictions_from_bytes", lambda asked: opened(asked, data))
    assert "unpack to 8,388,608 bytes, those of its samples have at most 1,1" in refused(change, base)[name]


def opened(data, bomb):
    assert data != bomb
    return predictions_from_bytes(data)


def test_pickles_are_not_opened(results, base, change, tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was opened",))

    path = forge(results, knn(results).key, tmp_path / "forged")
    rewrite(path, lambda buffer: np.savez(buffer, keys=np.array([Trap()], dtype=object)))
    name = place(path, change).relative_to(change).as_posix()
    assert "keys.npy is not what its header says" in refused(change, base)[name]


# Forgeries of what a record says


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (edit("facts", "stores", 0, "content", value="0" * 64), "is not in the register"),
        (edit("facts", "stores", 0, "id", value="eurosat"), "is not in the register"),
        (edit("facts", "stores", 0, "synthetic", value=False), "is not in the register"),
        (edit("facts", "split", "lists", "test", value="0" * 64), "its split lists are not the store's: test"),
        (edit("facts", "split", "lists", "train", value="0" * 64), "its split lists are not the store's: train"),
        (edit("facts", "split", "scheme", value="official"), "no test list of split official"),
        (edit("facts", "split", "salt", value=7), "its split is not the store's"),
        (edit("facts", "task", "classes", value=["class 0", "class 1", "sea"]), "its task"),
        (edit("facts", "protocol", "version", value=99), "version 99 of protocol knn is not in protocols/"),
        (edit("facts", "protocol", "params", "sharpness", value=3), "has no parameter 'sharpness'"),
        (edit("facts", "backbone", "card", value="0" * 64), "the card of backbone image-statistics"),
        (edit("facts", "backbone", "id", value="mine"), "its card is that of backbone image-statistics"),
        (edit("facts", "backbone", "weights", value="f" * 64), "the weights of backbone image-statistics"),
        (edit("about", "backbone", value="Prithvi-EO-2.0"), "of backbone image-statistics (backbone)"),
        (edit("about", "floor", value=""), "of backbone image-statistics (floor)"),
        (edit("about", "stores", value=["EuroSAT"]), "it calls its stores EuroSAT"),
        (edit("about", "samples", "test", value=9999), "it counts samples"),
    ],
)
def test_facts_that_are_not_registered(results, base, change, tmp_path, document, why):
    path = forge(results, knn(results).key, tmp_path / "forged", document=document)
    same = path.stem == knn(results).key
    name = place(path, change, number=1 if same else 0).relative_to(change).as_posix()
    found = refused(change, base)
    assert why in found[name]
    assert set(found) == {name}


def test_scores_that_the_predictions_do_not_give(results, base, change):
    path = change / record_name(knn(results).key)
    for text, why in ((0.999, "the predictions give"), ("NaN", "no JSON"), ("Infinity", "no JSON"), ("1e999", "")):
        told = json.loads((base / path.relative_to(change)).read_text())
        told["scores"]["top1"] = text
        data = json.dumps(sealed(told)).replace(f'"{text}"', str(text))
        path.write_text(data)
        said = refused(change, None)[path.relative_to(change).as_posix()]
        assert why in said
        assert said


def test_a_record_under_another_key(results, base, change):
    path = change / record_name(knn(results).key)
    other = path.with_name(f"{path.name[:10]}{'0' * 54}.json")
    shutil.copy(path, other)
    assert "which is not its name" in refused(change, base)[other.relative_to(change).as_posix()]
    told = json.loads(path.read_text())
    told["facts"]["seed"] = 5
    other.write_text(json.dumps(sealed(told)))
    assert "not the hash of its facts" in refused(change, base)[other.relative_to(change).as_posix()]


def test_flipped_bits_are_named_without_the_base(change):
    """Of records, predictions, cards and the register; protocols and what lies around are held by the base alone.

    What a machine says of itself decides no score: it is said, not refused.
    """

    def named():
        return any(one.problems or one.remarks for one in judge(change))

    rng = np.random.default_rng(0)
    assert not named()
    for folder in ("records", "predictions", "cards", "stores"):
        path = next(one for one in sorted((change / folder).rglob("*")) if one.suffix in (".json", ".npz"))
        data = path.read_bytes()
        for at in rng.integers(0, len(data), 6).tolist():
            path.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
            assert named(), (folder, at)
        path.write_bytes(data)
