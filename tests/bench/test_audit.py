"""The label audit: planted errors are found, clean labels are left in peace, and no store changes a byte."""

import csv
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from seamo.errors import ProtocolError, UsageError
from seamo_bench import facts as f
from seamo_bench.board.audit import (
    audit_labels,
    change_without,
    ranking,
    row_of_audit,
    swaps_of,
)
from seamo_bench.board.audit_asked import find_asked
from seamo_bench.board.audit_rows import KIND, VERSION, AuditRow, Suspect, duplicates_text, estimate_text, headline
from seamo_bench.board.report import write_report
from seamo_bench.predictions import ClassPredictions, Scoring, TilePredictions, fold_parts, take
from seamo_bench.protocol import silent
from seamo_bench.questions.audit import alike_with_other_labels
from seamo_bench.records import record as r
from seamo_bench.records.answers import read_answers, write_answer
from seamo_bench.runs.estimate import CPU
from seamo_bench.runs.notes import NOTHING
from seamo_bench.runs.plan import Places, make_plan
from seamo_bench.runs.run import Machine, run_plan
from seamo_bench.scores.metrics import compute
from seamo_bench.scores.replicates import replicate
from seamo_bench.suites.suite import Row, Suite
from seamo_bench.tasks.trials import task_facts
from tests.bench.bench_store import build_store, toy_samples, toy_spec
from tests.bench.test_report import HOSTILE, Page
from tests.conftest import ROOT
from tests.pages import blocks_of, run_guide

torch.set_num_threads(1)
NAMES = ("Forest", "River", "Highway", "Pasture")
N, K = 600, 4


def predicted(
    labels: np.ndarray, truth: np.ndarray, seed: int, *, repeats: int = 2, skill: float = 4.0, units: bool = False
) -> ClassPredictions:
    """A model that knows the truth somewhat and never saw these labels: scores of every sample, in folds."""
    rng = np.random.default_rng(seed)
    n = len(labels)
    logits = rng.normal(size=(repeats, n, K)) + skill * (np.eye(K)[truth] if truth.ndim == 1 else truth - 0.5)
    keys = np.array([f"k{i:04d}" for i in range(n)])
    scenes = np.array([f"scene {i // 10}" for i in range(n)]) if units else np.empty(0, dtype=np.str_)
    split = np.random.default_rng(99)  # the same for every model
    folds = [split.permutation(np.arange(n) % 5) for _ in range(repeats)]
    return ClassPredictions(
        np.tile(keys, repeats),
        np.concatenate([labels] * repeats),
        logits.reshape(-1, K).astype(np.float32),
        units=np.tile(scenes, repeats),
        repeats=np.repeat(np.arange(repeats), n),
        folds=np.concatenate(folds),
    )


def unfolded(run: ClassPredictions) -> ClassPredictions:
    """The first repeat as an ordinary test split."""
    part = take(run, np.flatnonzero(run.repeats == 0))
    assert isinstance(part, ClassPredictions)
    return part


def put(folder: Path, name: str, run: ClassPredictions | TilePredictions, **changes: object) -> r.Record:
    """Write a record of predictions."""
    several = isinstance(run, ClassPredictions) and run.labels.ndim == 2
    kind = "segmentation" if isinstance(run, TilePredictions) else "multi-label" if several else "single-label"
    folded = isinstance(run, ClassPredictions) and len(run.folds) > 0
    count = len(np.unique(run.keys))
    facts = f.Facts(
        stores=(f.StoreFacts(id=str(changes.get("dataset", "fields")), content="c" * 64, synthetic=True),),
        split=f.SplitFacts(
            scheme="cv5x5" if folded else "official",
            lists={"all": "1" * 64, "folds": "2" * 64} if folded else {"test": "3" * 64},
            fraction=float(changes.get("fraction", 1.0)),  # type: ignore[arg-type]
        ),
        task=f.TaskFacts(kind=kind, classes=NAMES, label_space=str(changes.get("space", ""))),
        backbone=f.BackboneFacts(id=name, card="d" * 64, weights=str(changes.get("weights", ""))),
        protocol=f.ProtocolFacts(id=str(changes.get("protocol", "linear")), version=1),
        seed=int(changes.get("seed", 0)),  # type: ignore[call-overload]
    )
    group = str(changes.get("group", ""))
    about = r.About(stores=("Fields",), backbone=name, group=group, samples={"all" if folded else "test": count})
    return r.write_record(folder, facts, about=about, predictions=run)


def planted(seed: int, *, share: float = 0.05, several: bool = False) -> tuple[np.ndarray, np.ndarray, set[str]]:
    """Truth, labels of which a share is wrong, and the keys of those."""
    rng = np.random.default_rng(seed)
    truth = (rng.random((N, K)) < 0.4).astype(np.uint8) if several else rng.integers(0, K, N)
    labels = truth.copy()
    bad = rng.choice(N, int(share * N), replace=False)
    for i in bad:
        if several:
            labels[i, rng.integers(K)] ^= 1
        else:
            labels[i] = (truth[i] + rng.integers(1, K)) % K
    return truth, labels, {f"k{i:04d}" for i in bad}


def audited(folder: Path):
    (asked,), _ = find_asked(r.read_records(folder).records)
    return audit_labels(asked, folder)


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("folded", [True, False])
def test_planted_errors_stand_first(tmp_path: Path, several: bool, folded: bool) -> None:
    truth, labels, bad = planted(1, several=several)
    for seed, name in enumerate(("a", "b", "c")):
        run = predicted(labels, truth, seed, skill=4 + seed)
        put(tmp_path, name, run if folded else unfolded(run))
    judged = audited(tmp_path)
    first = [one.key for one, _ in ranking(judged)][: N // 10]
    assert len(bad & set(first)) >= 0.7 * len(bad)
    suspects = set(judged.keys[judged.is_suspect].tolist())
    assert len(bad & suspects) >= 0.7 * len(bad)
    assert len(suspects - bad) <= 0.01 * N
    assert judged.wrong.low is not None
    assert judged.wrong.high is not None
    assert 0.5 * len(bad) < judged.wrong.low < judged.wrong.value < judged.wrong.high < 2 * len(bad)
    row = row_of_audit(judged)
    marks = f" of {4 * N:,} marks, one a sample and class"
    assert (marks in estimate_text(row)) == several
    assert row.covers == ("every sample" if folded else "the test split alone")
    assert all(one.difference.low is not None and one.difference.low > 0 for one in row.without)  # it flatters all
    for one, is_suspect in list(ranking(judged))[: len(suspects)]:
        if is_suspect and one.key in bad:
            at = int(one.key[1:])
            true = [NAMES[k] for k in range(K) if truth[at, k]] if several else [NAMES[truth[at]]]
            assert one.suggested == (", ".join(true) or "none")


@pytest.mark.parametrize("several", [False, True])
def test_clean_labels_are_left_in_peace(tmp_path: Path, several: bool) -> None:
    truth, labels, bad = planted(2, share=0.0, several=several)
    assert not bad
    for seed in range(3):
        put(tmp_path, f"m{seed}", predicted(labels, truth, seed, skill=6.0))
    judged = audited(tmp_path)
    marks = N * (K if several else 1)
    assert judged.is_suspect.sum() <= 0.005 * N
    assert judged.wrong.value <= 0.01 * marks
    assert not [one for one in swaps_of(judged) if one.p is not None and one.p < 0.05]


def test_classes_that_swap_are_found_and_no_others(tmp_path: Path) -> None:
    truth, labels, _ = planted(3)
    rivers = np.flatnonzero(truth == 1)[:20]
    labels[rivers] = 2  # rivers called highways, by a rule
    for seed in range(3):
        put(tmp_path, f"m{seed}", predicted(labels, truth, seed, skill=5.0))
    found = [(one.given, one.suggested) for one in swaps_of(audited(tmp_path)) if one.p is not None and one.p < 0.05]
    assert found == [("Highway", "River")]


def test_who_guesses_does_not_vote_and_order_does_not_matter(tmp_path: Path) -> None:
    truth, labels, _ = planted(4)
    runs = {"good": predicted(labels, truth, 1), "fair": predicted(labels, truth, 2, skill=3.0)}
    runs["guess"] = predicted(labels, truth, 3, skill=0.0)
    wrong = (truth + 1) % K
    runs["contrary"] = predicted(labels, wrong, 4, skill=4.0)
    for name, run in runs.items():
        put(tmp_path / "a", name, run)
    for name, run in reversed(runs.items()):
        order = np.random.default_rng(0).permutation(len(run.keys))
        put(tmp_path / "b", name, replace(run, **{
            one: getattr(run, one)[order] for one in ("keys", "labels", "scores", "repeats", "folds")
        }))  # fmt: skip
    judged, again = audited(tmp_path / "a"), audited(tmp_path / "b")
    assert judged.models == ("fair", "good")
    assert [line.split(" ")[0] for line in judged.left_out] == ["contrary", "guess"]
    assert [one[0].key for one in ranking(judged)] == [one[0].key for one in ranking(again)]
    put(tmp_path / "c", "guess", runs["guess"])
    with pytest.raises(ProtocolError, match="no model is better than chance"):
        audited(tmp_path / "c")


def test_seeds_and_protocols_of_one_model_have_one_vote(tmp_path: Path) -> None:
    truth, labels, _ = planted(5)
    for seed in range(3):
        put(tmp_path, "many", predicted(labels, (truth + 1) % K, seed, skill=2.0), seed=seed)  # always wrong
        put(tmp_path, "many", predicted(labels, truth, 10 + seed), seed=seed, protocol="knn")
    put(tmp_path, "one", predicted(labels, truth, 20))
    judged = audited(tmp_path)
    assert judged.models == ("many", "one")
    assert judged.votes.against.max() <= 2
    assert len(judged.without) == 3
    assert list(judged.left_out) == ["many with linear is not better than chance and does not vote"]


def test_the_change_is_that_of_scoring_the_rest() -> None:
    truth, labels, bad = planted(7)
    run, scoring = predicted(labels, truth, 1, units=True), Scoring("single-label")
    suspects = np.array(sorted(bad))
    made = change_without(run, suspects, replicate(run, "balanced_accuracy", scoring), scoring)
    each = []
    for part in fold_parts(run):
        rest = take(part, np.flatnonzero([key not in bad for key in part.keys]))
        each.append([compute("balanced_accuracy", one, scoring)[0] for one in (part, rest)])
    whole, rest_scores = np.array(each).T
    np.testing.assert_allclose(made.values, rest_scores - whole)
    assert made.value == pytest.approx((rest_scores - whole).mean())
    assert made.value > 0
    few = take(unfolded(run), np.arange(120))  # 12 scenes: one left out at a time
    assert isinstance(few, ClassPredictions)
    made = change_without(few, suspects, replicate(few, "top1", scoring), scoring)
    hit, keep = few.scores.argmax(axis=1) == few.labels, np.array([key not in bad for key in few.keys])
    for scene, value in zip(np.unique(few.units), made.values, strict=True):
        left = few.units != scene
        assert value == pytest.approx(hit[left & keep].mean() - hit[left].mean())
    one = unfolded(run)
    nothing = change_without(one, suspects[:0], replicate(one, "top1", scoring), scoring)
    assert nothing.value == 0
    assert not nothing.values.any()


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    truth, labels, _ = planted(8)
    run = predicted(labels, truth, 1)
    put(tmp_path, "a", run)
    put(tmp_path, "a", unfolded(run))
    put(tmp_path, "few", predicted(labels, truth, 2), fraction=0.5)
    put(tmp_path, "maps", TilePredictions(np.array(["t"]), np.ones((1, K, K), dtype=np.int64)), dataset="munich")
    (asked,), notes = find_asked(r.read_records(tmp_path).records)
    assert asked.scheme == "cv5x5"
    assert [one.facts.backbone.id for one in asked.records] == ["a"]
    assert sorted(note.split(";")[0] for note in notes) == [
        "fields: 1 record(s) of split official are left out",
        "fields: 1 record(s) with fewer training labels do not vote.",
        "munich: masks are not audited",
    ]
    with pytest.raises(UsageError, match="nowhere"):
        find_asked(r.read_records(tmp_path).records, ["nowhere"])


# With stores ---------------------------------------------------------------------------------------------


def bytes_of(folder: Path) -> str:
    known = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        known.update(str(path.relative_to(folder)).encode() + (path.read_bytes() if path.is_file() else b""))
    return known.hexdigest()


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[str]]:
    """A synthetic store of 120 samples with 6 wrong labels, two copies among them, and cross-validated records."""
    folder = tmp_path_factory.mktemp("toy")
    spec = toy_spec(size=16)
    samples = toy_samples(spec, 120)
    rng = np.random.default_rng(1)
    bad = set(rng.choice(np.arange(20, 120), 6, replace=False).tolist())
    for i in bad:
        samples[i] = replace(samples[i], label=(samples[i].label + 1 + int(rng.integers(2))) % 3)
    for copy, source in ((3, 0), (7, 2)):  # of the same class, and of another one
        layers = {name: np.where(np.arange(1) == 0, layer + 1, layer) for name, layer in samples[source].layers.items()}
        samples[copy] = replace(samples[copy], layers={name: one.astype("uint16") for name, one in layers.items()})
    build_store(folder / "stores", spec, samples)
    row = Row(store="toy", protocol="logreg", seeds=1, split="cv5x5", params={"C": 1.0})
    places = Places(folder / "stores", folder / "results", folder)
    names = ["image-statistics", "tokenizer-statistics"]
    plan = make_plan(Suite(id="one", rows=(row,)), names, places, past=NOTHING, speed=CPU)
    assert all(done.status == "ok" for done in run_plan(plan, places, machine=Machine(), progress=silent, inner=silent))
    return folder, {samples[i].key for i in bad} | {samples[7].key}


def lines_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_command_lists_draws_and_alters_nothing(
    toy: tuple[Path, set[str]], here: Path, call: Callable[..., tuple[int, str]]
) -> None:
    folder, bad = toy
    before = bytes_of(folder / "stores")
    code, said = call("audit", folder / "results", "--stores", folder / "stores", "-o", "found", "--json")
    assert code == 0, said
    (one,) = json.loads(said[said.index("[") : said.rindex("]") + 1])
    assert bytes_of(folder / "stores") == before
    listed = lines_of(here / "found/toy/ranking.csv")
    assert len(listed) == one["samples"] == 120
    assert len(bad & {line["key"] for line in listed[:12]}) >= 0.7 * len(bad)
    suspects = lines_of(here / "found/toy/suspects.csv")
    assert [line for line in listed if line["suspect"] == "True"] == suspects
    assert len(suspects) == one["suspects"] > 0
    assert one["id"] == "toy"
    assert one["synthetic"]
    assert one["models"] == sorted(one["models"])
    assert one["models"]
    (pair,) = lines_of(here / "found/toy/near-duplicates.csv")
    assert (pair["key_a"], pair["key_b"]) == ("s0002", "s0007")
    assert pair["label_a"] != pair["label_b"]
    near = {line["key"]: line["near_duplicate"] for line in listed}
    assert near["s0002"] == "s0007"
    assert near["s0007"] == "s0002"
    assert near["s0000"] == near["s0003"] == ""
    assert one["near_duplicates"] == 1
    sheet = Image.open(here / "found/toy/suspects.png")
    assert sheet.width > 500
    assert np.asarray(sheet).std() > 20
    assert Path("found/toy/near-duplicates.png").is_file()
    first = {path.name: path.read_bytes() for path in (here / "found/toy").iterdir()}
    code, said = call("audit", folder / "results", "--stores", folder / "stores", "-o", "found", "--data", "toy")
    assert code == 0, said
    assert {path.name: path.read_bytes() for path in (here / "found/toy").iterdir()} == first
    assert "SYNTHETIC" in said
    assert "flatters every model" in said
    assert "(95 % interval over samples" in said
    (here / "bare/toy").mkdir(parents=True)
    (here / "bare/toy/suspects.png").write_bytes(first["suspects.png"])  # of an audit with stores
    (here / "bare/toy/near-duplicates.csv").write_bytes(first["near-duplicates.csv"])
    code, said = call("audit", folder / "results", "-o", "bare")
    assert code == 0
    assert "Without --stores" in said
    assert {path.name for path in (here / "bare/toy").iterdir()} == {"ranking.csv", "suspects.csv"}
    code, said = call("audit", folder / "results", "-o", "bare", "--data", "nowhere")
    assert code == 2
    assert "There are toy" in said


def test_the_report_shows_what_was_found(
    toy: tuple[Path, set[str]], tmp_path: Path, call: Callable[..., tuple[int, str]]
) -> None:
    folder, _ = toy
    results = tmp_path / "results"
    results.mkdir()
    for path in (folder / "results").iterdir():
        if path.suffix in (".json", ".npz"):
            (results / path.name).write_bytes(path.read_bytes())
    write_report(results, tmp_path / "none.html", resamples=50)
    assert "Labels that most models contradict" not in (tmp_path / "none.html").read_text("utf-8")
    assert call("audit", results, "-o", tmp_path / "found")[0] == 0
    (answer,) = read_answers(results, KIND, AuditRow, version=VERSION)
    row = answer.rows[0].model_copy(
        update={"listed": (Suspect(key=HOSTILE, given=HOSTILE, suggested="x", margin=-1.0, against=3),)}
    )
    write_report(results, tmp_path / "plain.html", resamples=50)
    assert "not looked for" in (tmp_path / "plain.html").read_text("utf-8")
    write_answer(results, replace(answer, rows=(row,)))
    write_report(results, tmp_path / "page.html", resamples=50)
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "Labels that most models contradict" in page
    assert "flatters every model" in page
    assert f"{row.suspects:,} of 120 samples" in page
    assert "SYNTHETIC" in page
    assert "<script>alert" not in page
    parsed = Page(page)  # whose tags close
    assert all(attrs.get("scope") in ("col", "row") for tag, attrs in parsed.tags if tag == "th")
    assert headline(row) in parsed.text
    assert "Few models (2)" in parsed.text
    assert ("details", {"class": "col", "data-col": "0", "open": None}) in parsed.tags
    assert "&lt;script&gt;alert" in page
    next(path for path in results.glob("*.npz")).unlink()  # a record that is gone: the answer is out of date
    write_report(results, tmp_path / "less.html", resamples=50)
    assert "Labels that most models contradict" not in (tmp_path / "less.html").read_text("utf-8")


def test_copies_with_other_labels_are_looked_for_in_sets_of_labels(tmp_path: Path) -> None:
    spec = toy_spec(size=16, kind="multi-label")
    samples = toy_samples(spec, 12)
    samples[5] = replace(samples[5], layers=samples[1].layers)  # (1, 2), and (0, 1)
    samples[9] = replace(samples[9], layers=samples[6].layers)  # (0,) both
    store = build_store(tmp_path, spec, samples)
    found = alike_with_other_labels(store, task_facts(store, "hash-60-20-20"))
    (pair,) = found.pairs
    assert not found.is_cut
    assert pair.keys == ("s0001", "s0005")
    assert pair.labels == ("class 0, class 1", "class 1, class 2")


def test_a_count_that_was_cut_is_a_lower_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth, labels, _ = planted(14)
    put(tmp_path / "results", "a", predicted(labels, truth, 1))
    judged = audited(tmp_path / "results")
    assert duplicates_text(row_of_audit(judged, pairs=3)).endswith("different labels: 3.")
    assert "different labels: at least 3." in duplicates_text(row_of_audit(judged, pairs=3, is_cut=True))
    spec = toy_spec(size=16)
    samples = toy_samples(spec, 12)
    samples = [replace(one, layers=samples[0].layers) for one in samples]
    store = build_store(tmp_path, spec, samples)
    task = task_facts(store, "hash-60-20-20")
    everything = alike_with_other_labels(store, task)
    monkeypatch.setattr("seamo.store.alike._MAX_CHECKED", 5)
    few = alike_with_other_labels(store, task)
    assert (len(few.pairs), few.is_cut) == (5, True)
    assert len(everything.pairs) > 5
    assert not everything.is_cut


@pytest.mark.soak
def test_the_page_runs_and_finds_what_it_planted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """5 % of the labels of a synthetic EuroSAT change places: 70 % of them stand in the first tenth of the list."""
    monkeypatch.chdir(tmp_path)
    blocks = blocks_of((ROOT / "docs" / "audit.md").read_text("utf-8"))
    assert run_guide([one for one in blocks if "RESULTS" not in one.text], monkeypatch, capfd) == 6
    found, planted_there = map(int, capfd.readouterr().out.strip().splitlines()[-1].split(" of "))
    assert planted_there > 40
    assert found >= 0.7 * planted_there
