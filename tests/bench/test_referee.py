"""Records held against stores: honest ones of every kind of task pass, forged ones do not, whatever they agree with."""

import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from seamo.errors import ProtocolError
from seamo.manifest import parse_spec
from seamo.store.reader import open_store
from seamo.testing.tasks import task_store
from seamo_bench.cli import main
from seamo_bench.predictions import ClassPredictions, TilePredictions
from seamo_bench.records.examine import HELD, NOT_HELD, examine, verify
from seamo_bench.records.record import load_predictions, read_records
from seamo_bench.records.submit import submit
from seamo_bench.runs.papers import papers_of
from seamo_bench.runs.plan import Places, make_plan
from seamo_bench.runs.referee import Referee
from seamo_bench.runs.register import Register, read_entry
from seamo_bench.runs.repository import judge
from seamo_bench.runs.run import Machine, run_plan
from seamo_bench.runs.sharing import init_repository, register_store
from seamo_bench.suites.suite import load_suite
from seamo_bench.tasks.truth import digests, lines_of_predictions
from seamo_bench.zoo.catalogue import card_digest, cards
from tests.bench.bench_store import build_store, toy_samples, toy_spec, toy_store
from tests.bench.dense_store import TILE, dense_samples, dense_spec, map_store, write_store
from tests.bench.forging import forge, sealed, some
from tests.bench.test_joined import build
from tests.bench.test_run import quiet

torch.set_num_threads(1)
N = 60
DENSE = "{head: linear, frozen: true, epochs: 1, warmup: 0, batch: 8, base_lrs: [0.1], scale_lr: false}"
SUITE = f"""
id: kinds
rows:
  - {{store: toy, protocol: knn, backbones: [image-statistics]}}
  - {{store: toy, protocol: logreg, split: cv5x5, backbones: [image-statistics]}}
  - {{store: toy, protocol: linear, fraction: 0.5, seeds: 2, params: {{steps: 2}}, backbones: [image-statistics]}}
  - {{store: sets, protocol: knn, backbones: [image-statistics]}}
  - {{store: sets, protocol: knn, label_space: two, backbones: [image-statistics]}}
  - {{store: task-segmentation, protocol: dense, params: {DENSE}, seeds: 1, backbones: [pixel-values]}}
  - {{store: mapped, protocol: dense, label_space: two, params: {DENSE}, seeds: 1, backbones: [pixel-values]}}
  - {{store: scenes, protocol: dense, params: {DENSE}, seeds: 1, backbones: [pixel-values]}}
  - {{store: alone, protocol: dense, params: {DENSE}, seeds: 1, backbones: [pixel-values]}}
  - {{store: task-change, protocol: change, params: {DENSE}, seeds: 1, backbones: [pixel-values]}}
  - {{stores: [optical, radar], protocol: knn, backbones: [image-statistics]}}
"""


def sets_store(root):
    """Sets of classes, with a label space of two of the three."""
    plain = toy_spec(kind="multi-label").model_dump(exclude_defaults=True)
    names = plain["label_spaces"]["own"]["classes"]
    two = {"classes": names[:2], "source": "own", "derived": {0: [0], 1: [1]}}
    spec = parse_spec({**plain, "id": "sets", "label_spaces": {**plain["label_spaces"], "two": two}}, "test")
    return build_store(root, spec, toy_samples(spec, N))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("stores")
    toy_store(root)
    sets_store(root)
    map_store(root)
    scenes = dense_spec()
    samples, splits = dense_samples(scenes, stride=TILE)
    write_store(root, scenes, samples, splits)
    samples, splits = dense_samples(scenes, 5, stride=TILE)  # places are no part of a content hash, and this is another
    nowhere = [replace(sample, scene="", offset=(0, 0)) for sample in samples]
    write_store(root, scenes.model_copy(update={"id": "alone"}), nowhere, splits)
    build(root, "optical", range(N))
    build(root, "radar", reversed(range(5, N + 5)))
    for kind in ("segmentation", "change"):
        store = task_store(root / "apart", kind)
        shutil.copytree(store.path, root / store.spec.id / store.path.name)
    return root


@pytest.fixture(scope="module")
def results(tmp_path_factory, root):
    folder = tmp_path_factory.mktemp("results")
    suite = folder / "suite.yaml"
    suite.write_text(SUITE)
    places = Places(root, folder, folder / "weights")
    cells = make_plan(load_suite(str(suite)), (), places)
    made = list(run_plan(cells, places, machine=Machine(), progress=quiet, inner=quiet))
    assert [record.reason for record in made if record.status == "failed"] == []
    suite.unlink()
    return folder


def found(results, protocol, **about):
    """The first record of a protocol in a label space or of a store."""
    for record in read_records(results).records:
        if record.status != "ok":
            continue
        facts = record.facts
        known = {"store": facts.stores[0].id, "space": facts.task.label_space, "scheme": facts.split.scheme}
        if facts.protocol.id == protocol and all(known[name] == value for name, value in about.items()):
            return record
    raise AssertionError(f"no record of {protocol} {about}")


KINDS = {
    "single-label": ("knn", {"store": "toy"}),
    "folds": ("logreg", {"store": "toy"}),
    "fraction": ("linear", {"store": "toy"}),
    "sets": ("knn", {"store": "sets", "space": "own"}),
    "derived sets": ("knn", {"store": "sets", "space": "two"}),
    "masks": ("dense", {"store": "task-segmentation"}),
    "derived masks": ("dense", {"store": "mapped"}),
    "side by side": ("dense", {"store": "scenes"}),
    "alone": ("dense", {"store": "alone"}),
    "change": ("change", {}),
    "joined": ("knn", {"store": "optical"}),
}
CLASSES = ("single-label", "folds", "fraction", "sets", "derived sets", "joined")
MASKS = ("masks", "derived masks", "change")


def problems(path, root):
    """What is wrong with a forged record: nothing that it says of itself, and what the stores say."""
    (record,) = read_records(path.parent).records
    assert verify(record, path.parent) == ()
    return Referee(root).problems(record, path.parent)


def test_honest_records_of_every_kind_pass(results, root):
    checked = examine(results, Referee(root).problems)
    assert [one for one in checked if one.problems] == []
    assert sum(one.held and HELD in one.verdict for one in checked) == 12  # the fraction has two seeds
    assert all(one.held or "no score" in one.verdict for one in checked)
    alone = examine(results)
    assert sum(NOT_HELD in one.verdict for one in alone) == 12
    assert not any(one.held for one in alone)


@pytest.fixture(scope="module")
def repository(tmp_path_factory, results, root):
    """A results repository whose register knows all stores, with all records."""
    folder = tmp_path_factory.mktemp("repository")
    init_repository(folder)
    for store in ([one] for one in root.glob("*/") if one.name not in ("apart", "optical", "radar")):
        register_store(folder, [open_store(path).path for path in store], who="maintainer")
    register_store(folder, [open_store(root / name).path for name in ("optical", "radar")], who="maintainer")
    sent = list(submit(results, folder, papers=lambda record: papers_of(record, {})))
    assert {one.outcome for one in sent} == {"copied"}
    assert {one.reason for one in sent} == {""}
    return folder


def test_a_register_holds_honest_records_of_every_kind_without_the_stores(repository):
    verdicts = judge(repository)
    assert [(one.name, one.problems) for one in verdicts if one.problems] == []
    assert sum(one.state == "plausible, not rerun" for one in verdicts) == 12


def test_a_register_says_what_the_stores_say_of_themselves(repository, root):
    """Held against store.json, which the builder wrote, wherever no sample is left out."""
    compared = set()
    for path in (repository / "stores").glob("*.json"):
        entry = json.loads(path.read_text())
        if len(entry["stores"]) > 1:
            continue
        (told,) = (root / entry["stores"][0]["id"]).glob("*/store.json")
        meta = json.loads(told.read_text())
        for test in entry["tests"]:
            truth = meta["truth"].get("test", {"labels": {}})
            tiles = test["task"]["kind"] not in ("segmentation", "change") or not test["tilewise"]
            whole = test["samples"].get("test") == truth.get("rows")
            space = test["label_space"]
            if test["scheme"] == meta["split_scheme"] and whole and tiles and space in truth["labels"]:
                assert (test["rows"], test["keys"]) == (truth["rows"], truth["keys"])
                assert test["labels"] == truth["labels"][space]
                compared.add((entry["stores"][0]["id"], space))
    assert {("toy", "own"), ("sets", "own"), ("alone", "own")} <= compared


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


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_alone_and_written_anew_passes(results, root, tmp_path, kind):
    protocol, about = KINDS[kind]
    record = found(results, protocol, **about)
    path = forge(results, record.key, tmp_path / "copy")
    assert path.stem == record.key
    assert problems(path, root) == ()


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
    # A repeated sample of the same class under another name is the same line: scores made up are not seen here.


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


def edit(*place, value):
    def change(document):
        inside = document
        for name in place[:-1]:
            inside = inside[name]
        inside[place[-1]] = value

    return change


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


def test_lines_are_those_of_the_documentation(results):
    record = found(results, "knn", store="toy")
    table = {f"s{i:04d}": i % 3 for i in range(90)}  # as the toy store is made
    lines = lines_of_predictions(load_predictions(record, results))
    assert lines == {key: str(table[key]) for key in lines}
    text = "\n".join(sorted(f"{key}\t{table[key]}" for key in lines))
    assert digests(lines).labels == hashlib.sha256(text.encode()).hexdigest()
    assert digests(lines).rows == record.about.samples["test"]


@pytest.mark.parametrize("kind", ["single-label", "sets", "derived sets"])
def test_store_json_tells_the_truth_of_a_record(results, root, kind):
    """Whoever has store.json alone can judge a record of a whole test split."""
    protocol, about = KINDS[kind]
    record = found(results, protocol, **about)
    told = json.loads(next((root / about["store"]).glob("*/store.json")).read_text())["truth"]["test"]
    mine = digests(lines_of_predictions(load_predictions(record, results)))
    if kind != "derived sets":  # where samples without a class are left out, its lines are fewer
        assert (mine.rows, mine.keys) == (told["rows"], told["keys"])
        assert mine.labels == told["labels"][record.facts.task.label_space]
    else:
        assert mine.rows <= told["rows"]


def test_lines_of_sets_and_masks():
    sets = ClassPredictions(np.array(["b", "a"]), np.array([[1, 0, 1], [0, 0, 0]]), np.zeros((2, 3), np.float32))
    assert lines_of_predictions(sets) == {"b": "0,2", "a": ""}
    tiles = TilePredictions(np.array(["t"]), np.array([[[3, 1], [2, 5]]]))
    assert lines_of_predictions(tiles) == {"t": "0:4,1:7"}
    folds = ClassPredictions(
        np.array(["a", "a"]), np.array([1, 1]), np.zeros((2, 2), np.float32),
        repeats=np.array([0, 1]), folds=np.array([2, 0]),
    )  # fmt: skip
    assert lines_of_predictions(folds) == {"a repeat 0 fold 2": "1", "a repeat 1 fold 0": "1"}


def test_the_command_line_says_what_was_held_and_refuses(results, root, tmp_path, capsys, monkeypatch):
    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["seamo-bench", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        return end.value.code or 0, said.out + said.err

    record = found(results, "knn", store="toy")
    code, said = run("verify", results / f"{record.key}.json")
    assert code == 0
    assert NOT_HELD in said
    code, said = run("verify", results, "--stores", root)
    assert code == 0
    scored = [path for path in results.glob("*.json") if json.loads(path.read_bytes())["status"] == "ok"]
    assert said.count(HELD) == len(scored) >= 10
    code, said = run("verify", results / f"{record.key}.json", "--stores", tmp_path)
    assert code == 1
    assert "has no store of content" in said
    code, said = run("verify", results, "--stores", tmp_path / "nowhere")
    assert code == 2

    def turned(arrays):
        return {**arrays, "labels": (arrays["labels"] + 1) % 3}

    path = forge(results, record.key, tmp_path / "forged", arrays=turned)
    assert run("verify", path)[0] == 0  # it agrees with itself
    for asked in (path, path.parent):
        code, said = run("verify", asked, "--stores", root)
        assert code == 1
        assert "labels are not the store's" in said
    code, said = run("submit", path.parent, tmp_path / "dest", "--stores", root)
    assert code == 1
    assert "labels are not the store's" in said
    assert [one for one in (tmp_path / "dest").rglob("*") if one.is_file()] == []
    code, said = run("submit", path.parent, tmp_path / "dest")
    assert code == 0
    assert NOT_HELD in said
    code, said = run("verify", results, "--stores", root, "--json")
    rows = json.loads(said)
    assert sum(row["held"] for row in rows) == len(scored)
    assert all(row["problems"] == [] for row in rows)


def test_submit_holds_what_only_says_another_cost(results, root, tmp_path):
    """Another machine's cost is no forgery, and no cover for one."""
    record = found(results, "knn", store="toy")

    def costly(document):
        document["cost"]["seconds"] = 999.0

    path = forge(results, record.key, tmp_path / "honest", document=costly)
    told = sealed(json.loads(path.read_text()))
    told["cost"]["seconds"] = 1.0
    path.write_text(json.dumps(told))
    (sent,) = submit(path.parent, tmp_path / "dest", Referee(root).problems)
    assert (sent.outcome, "cost or environment" in sent.reason) == ("copied", True)

    def turned(arrays):
        return {**arrays, "labels": (arrays["labels"] + 1) % 3}

    path = forge(results, record.key, tmp_path / "forged", arrays=turned)
    told = json.loads(path.read_text())
    told["cost"]["seconds"] = 1.0
    path.write_text(json.dumps(told))
    (sent,) = submit(path.parent, tmp_path / "other", Referee(root).problems)
    assert sent.outcome == "refused"
    assert "labels" in sent.reason


def test_a_record_never_writes_over_another_s_predictions(results, tmp_path):
    one, other = (found(results, "knn", store=name) for name in ("toy", "sets"))
    path = forge(results, one.key, tmp_path / "forged")
    told = json.loads(path.read_text())
    path.with_suffix(".npz").rename(path.parent / f"{other.key}.npz")
    told["predictions"]["name"] = f"{other.key}.npz"
    path.write_text(json.dumps(sealed(told)))
    (sent,) = submit(path.parent, tmp_path / "dest")
    assert sent.outcome == "refused"
    assert "not named by its key" in sent.reason


def test_nothing_to_examine(tmp_path):
    with pytest.raises(ProtocolError, match="there is no record"):
        examine(tmp_path)
    with pytest.raises(ProtocolError, match="cannot be read"):
        examine(tmp_path / "none.json")
