"""Contested numbers: readings against scikit-learn or a plain loop, planted differences, and what must not differ."""

import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, jaccard_score

from seamo.seal import seal_document
from seamo_bench import facts as f
from seamo_bench.board import contested
from seamo_bench.board.contested import between_records, contest, contests_of, from_answers, seeds_of
from seamo_bench.board.contested_text import spread_text, to_objects, to_text
from seamo_bench.board.leaderboard import build_table
from seamo_bench.board.report import write_report
from seamo_bench.predictions import ClassPredictions, Scoring, TilePredictions, tile_confusion
from seamo_bench.protocol import silent
from seamo_bench.questions.contested import DRAWS, can_be_drawn, drawn_otherwise
from seamo_bench.records.answers import write_answer
from seamo_bench.records.record import About, Record, read_records, write_record
from seamo_bench.runs.estimate import CPU
from seamo_bench.runs.notes import NOTHING
from seamo_bench.runs.plan import Places, make_plan
from seamo_bench.runs.run import Machine, run_plan
from seamo_bench.scores.metrics import PRIMARY
from seamo_bench.scores.readings import READINGS
from seamo_bench.suites.suite import Row, Suite, load_suite
from seamo_bench.why.between import Bench
from tests.bench.bench_store import toy_store

LISTED = {one.id: one for one in READINGS}
RNG = np.random.default_rng


def many_labels(n: int = 80, k: int = 6, *, seed: int = 0) -> ClassPredictions:
    rng = RNG(seed)
    labels = (rng.random((n, k)) < np.linspace(0.08, 0.6, k)).astype(np.uint8)
    labels[:, 0] |= ~labels.any(axis=1)  # every sample has a class
    scores = (labels * 1.2 + rng.normal(0, 1.0, (n, k)) - 0.5).astype(np.float32)
    return ClassPredictions(np.array([f"k{i:03d}" for i in range(n)]), labels, scores)


def one_label(n: int = 80, k: int = 5, *, seed: int = 0, right: float = 0.6) -> ClassPredictions:
    rng = RNG(seed)
    labels = np.minimum(rng.geometric(0.4, n) - 1, k - 1)
    guess = np.where(rng.random(n) < right, labels, (labels + 1) % k)
    return ClassPredictions(np.array([f"k{i:03d}" for i in range(n)]), labels, np.eye(k, dtype=np.float32)[guess])


def masks(n: int = 40, k: int = 2, *, seed: int = 0) -> tuple[list[np.ndarray], list[np.ndarray], TilePredictions]:
    """Truth and prediction of images of several sizes, some of them without the last class, and their predictions."""
    rng = RNG(seed)
    truth, guess = [], []
    for i in range(n):
        share = 0.0 if i % 4 == 0 else rng.random() * 0.5
        shape = (int(rng.integers(3, 9)), 7)
        true = np.where(rng.random(shape) < share, k - 1, rng.integers(0, k - 1, shape) if k > 2 else 0)
        wrong = rng.random(shape) < (0.0 if i % 8 == 0 else 0.15)
        truth.append(true)
        guess.append(np.where(wrong, (true + 1) % k, true))
    counts = np.stack([tile_confusion(a, b, k) for a, b in zip(truth, guess, strict=True)])
    return truth, guess, TilePredictions(np.array([f"t{i:03d}" for i in range(n)]), counts)


def value(name, predictions, scoring) -> float:
    return float(LISTED[name].prepare(predictions, scoring)(np.ones((1, len(predictions.keys))))[0])


def test_averages_of_many_labels_are_scikit_learns() -> None:
    p, scoring = many_labels(), Scoring("multi-label")
    said = p.scores > 0
    assert value("ap_weighted", p, scoring) == pytest.approx(
        average_precision_score(p.labels, p.scores, average="weighted")
    )
    assert value("ap_samples", p, scoring) == pytest.approx(
        average_precision_score(p.labels, p.scores, average="samples")
    )
    for name, average in (("f1_weighted", "weighted"), ("f1_samples", "samples")):
        assert value(name, p, scoring) == pytest.approx(f1_score(p.labels, said, average=average, zero_division=0))


def test_averages_of_one_label_are_scikit_learns() -> None:
    p = one_label()
    guess = p.scores.argmax(axis=1)
    assert value("f1_weighted", p, Scoring("single-label")) == pytest.approx(
        f1_score(p.labels, guess, average="weighted")
    )
    # What the page calls micro F1 is the share of right samples.
    assert f1_score(p.labels, guess, average="micro") == pytest.approx(np.mean(p.labels == guess))


@pytest.mark.parametrize("k", [2, 4])
def test_averages_of_pixels_are_scikit_learns(k: int) -> None:
    truth, guess, p = masks(k=k)
    scoring = Scoring("segmentation")
    a, b = np.concatenate([one.ravel() for one in truth]), np.concatenate([one.ravel() for one in guess])
    assert value("f1_macro_pixels", p, scoring) == pytest.approx(f1_score(a, b, average="macro"))
    assert value("f1_weighted_pixels", p, scoring) == pytest.approx(f1_score(a, b, average="weighted"))
    assert value("iou_micro_pixels", p, scoring) == pytest.approx(jaccard_score(a, b, average="micro"))
    assert f1_score(a, b, average="micro") == pytest.approx(np.mean(a == b))
    own = []
    for x, y in zip(truth, guess, strict=True):
        there = sorted(set(x.ravel()) | set(y.ravel()))
        own.append(np.mean([((x == c) & (y == c)).sum() / ((x == c) | (y == c)).sum() for c in there]))
    assert value("miou_per_image", p, scoring) == pytest.approx(np.mean(own))


def test_images_without_change_count_as_each_reading_says() -> None:
    truth, guess, p = masks()
    scoring = Scoring("change", positive=1)
    own = {name: [] for name in ("out", "zero", "one")}
    for x, y in zip(truth, guess, strict=True):
        for name, empty in (("zero", 0.0), ("one", 1.0)):
            own[name].append(f1_score(x.ravel(), y.ravel(), pos_label=1, zero_division=empty))
        if x.any() or y.any():
            own["out"].append(own["zero"][-1])
    assert len(own["out"]) < len(truth), "no image is empty, so that nothing is told apart"
    assert value("f1_per_image_zero", p, scoring) == pytest.approx(np.mean(own["zero"]))
    assert value("f1_per_image_one", p, scoring) == pytest.approx(np.mean(own["one"]))
    named = {one.id: one.value for one in averages(p, "change")}
    assert named["f1_positive_per_image"] == pytest.approx(np.mean(own["out"]))
    every = f1_score(np.concatenate([x.ravel() for x in truth]), np.concatenate([y.ravel() for y in guess]))
    assert named["f1_positive"] == pytest.approx(every)


@pytest.mark.parametrize("named", READINGS, ids=lambda one: one.id)
def test_a_weight_of_two_is_a_sample_twice(named) -> None:
    kind = named.kinds[0]
    p = {"single-label": one_label, "multi-label": many_labels}.get(kind, lambda: masks()[2])()
    scoring = Scoring(kind, positive=1)
    weights = RNG(3).integers(0, 3, len(p.keys))
    rows = np.repeat(np.arange(len(p.keys)), weights)
    if isinstance(p, ClassPredictions):
        twice = ClassPredictions(p.keys[rows], p.labels[rows], p.scores[rows])
    else:
        twice = TilePredictions(p.keys[rows], p.confusion[rows])
    weighted = named.prepare(p, scoring)(weights[None].astype(np.float64))[0]
    assert weighted == pytest.approx(value(named.id, twice, scoring))


# Contests of one record ----------------------------------------------------------------------------------


def facts(kind: str, k: int, *, salt: int = 0, scheme: str = "official", fraction: float = 1.0, **rest) -> f.Facts:
    lists = {"train": f"{salt}" * 64, "test": rest.pop("test", "2" * 64)}
    return f.Facts(
        stores=(f.StoreFacts(id="toy", content="c" * 64, synthetic=True),),
        split=f.SplitFacts(scheme=scheme, lists=lists, fraction=fraction, salt=salt),
        task=f.TaskFacts(
            kind=kind,
            classes=tuple(f"class {i}" for i in range(k)),
            positive=1 if kind == "change" else None,
        ),
        backbone=f.BackboneFacts(id=rest.pop("backbone", "mine"), card="d" * 64),
        protocol=f.ProtocolFacts(id="logreg", version=3, params=rest.pop("params", {})),
        **rest,
    )


def record_of(p, kind: str) -> Record:
    k = p.confusion.shape[1] if isinstance(p, TilePredictions) else p.scores.shape[1]
    about = About(stores=("Toy (synthetic)",), backbone="Mine")
    return Record(key="a" * 64, status="ok", facts=facts(kind, k), about=about)


def averages(p, kind: str):
    return [one for c in contests_of(record_of(p, kind), p) if c.question == "average" for one in c.readings]


@pytest.mark.parametrize(
    ("kind", "p"),
    [
        ("single-label", one_label()),
        ("multi-label", many_labels()),
        ("change", masks()[2]),
        ("segmentation", masks(k=3)[2]),
    ],
    ids=["one", "many", "change", "masks"],
)
def test_every_reading_has_a_number_between_its_ends_and_one_is_ours(kind, p) -> None:
    made = contests_of(record_of(p, kind), p)
    assert {one.question for one in made} == {"average", "test list"}
    for one in made:
        assert sum(reading.ours for reading in one.readings) <= 1
        for reading in one.readings:
            assert reading.value is not None
            if reading.low is None:
                assert "no interval" in reading.note
            else:
                assert 0 <= reading.low <= reading.value <= reading.high <= 1
    ours = [reading.id for one in made if one.question == "average" for reading in one.readings if reading.ours]
    assert set(ours) == {PRIMARY[kind]}


def test_a_large_image_and_many_small_ones_are_worlds_apart() -> None:
    """Pooled: the large image that is all right decides; per image: the many small ones that are all wrong."""
    large = np.array([[0, 0], [0, 10_000]])
    small = np.array([[0, 5], [5, 0]])
    p = TilePredictions(np.array([f"t{i:02d}" for i in range(51)]), np.stack([large] + [small] * 50))
    named = {one.id: one.value for one in averages(p, "change")}
    assert named["f1_positive"] == pytest.approx(20_000 / 20_500)
    assert named["f1_positive_per_image"] == pytest.approx(1 / 51)
    (found,) = [one for one in contests_of(record_of(p, "change"), p) if one.question == "average"]
    assert found.ends == pytest.approx((named["f1_positive_per_image"], named["f1_positive"]))
    assert found.spread > 0.9
    assert "points apart" in spread_text(found)


def test_overlaps_that_count_twice_are_a_reading() -> None:
    """Tiles that show the missed half twice: 2 x 8 hits of 16 + 8 once, of 16 + 16 tile by tile."""
    stitched = np.array([[[100, 0], [8, 8]]] * 2)
    tiles = np.array([[[100, 0], [16, 8]]] * 2)
    p = TilePredictions(np.array(["a", "b"]), stitched, tilewise=tiles)
    named = {one.id: one.value for one in averages(p, "change")}
    assert named["f1_positive"] == pytest.approx(2 * 8 / (2 * 8 + 8))
    assert named["f1_positive_tilewise"] == pytest.approx(2 * 8 / (2 * 8 + 16))


@pytest.mark.parametrize("kind", ["single-label", "multi-label", "change"])
def test_where_all_is_right_no_reading_differs(kind: str) -> None:
    if kind == "change":
        truth, _, _ = masks()
        some = [one for one in truth if one.any()]
        counts = np.stack([tile_confusion(one, one, 2) for one in some])
        p = TilePredictions(np.array([f"t{i:03d}" for i in range(len(some))]), counts)
    else:
        p = many_labels() if kind == "multi-label" else one_label(right=1.0)
        p = replace(p, scores=(p.labels * 2.0 - 1).astype(np.float32)) if kind == "multi-label" else p
    made = [one for one in contests_of(record_of(p, kind), p) if one.question == "average"]
    assert all(one.spread == 0 for one in made)
    assert all(reading.value == 1 for one in made for reading in one.readings)
    assert "left out; --json has them" in to_text(made)


def test_halves_and_tenths_of_the_test_list() -> None:
    p = one_label(n=200, right=0.5)
    p = replace(p, keys=p.keys[RNG(1).permutation(200)])
    right = dict(zip(p.keys.tolist(), (p.scores.argmax(axis=1) == p.labels).tolist(), strict=True))
    (lists,) = [one for one in contests_of(record_of(p, "single-label"), p) if one.question == "test list"]
    named = {one.id: one.value for one in lists.readings}
    ordered = sorted(right)
    assert named["all"] == pytest.approx(np.mean(list(right.values())))
    assert named["first half"] == pytest.approx(np.mean([right[key] for key in ordered[:100]]))
    assert named["second half"] == pytest.approx(np.mean([right[key] for key in ordered[100:]]))
    tenths = []
    for draw in range(20):
        marks = {hashlib.sha256(f"contested:{draw}:{key}".encode()).hexdigest(): key for key in right}
        tenths.append(np.mean([right[marks[mark]] for mark in sorted(marks)[:20]]))
    assert named["lowest tenth"] == pytest.approx(min(tenths))
    assert named["highest tenth"] == pytest.approx(max(tenths))
    assert min(tenths) < max(tenths)


def test_folds_and_few_samples_are_not_cut() -> None:
    p = one_label(n=20)
    folded = replace(p, repeats=np.zeros(20, np.int16), folds=(np.arange(20) % 2).astype(np.int16))
    for one in (p, folded):
        (lists,) = [c for c in contests_of(record_of(one, "single-label"), one) if c.question == "test list"]
        assert [reading.id for reading in lists.readings] == ["all"]


# Between records -----------------------------------------------------------------------------------------


def put(folder: Path, *, seed: int = 0, right: float = 0.6, **rest) -> Record:
    about = About(stores=("Toy (synthetic)",), backbone="Mine")
    p = one_label(seed=1, right=right)
    return write_record(folder, facts("single-label", 5, seed=seed, **rest), about=about, predictions=p)


def test_records_that_differ_in_their_draw_alone_are_one_contest(tmp_path: Path) -> None:
    for salt in range(3):
        put(tmp_path, salt=salt, seed=salt, fraction=0.1, right=0.4 + 0.2 * salt)
    put(tmp_path, fraction=0.1, backbone="another")
    put(tmp_path, fraction=0.1, salt=1, params={"C": 2.0})
    records = read_records(tmp_path).records
    (found,) = between_records(records, tmp_path, resamples=50)
    assert (found.question, len(found.readings), len(found.records)) == ("labels", 3, 3)
    mine = sorted((one for one in records if one.key in found.records), key=lambda one: one.facts.split.salt)
    assert [one.value for one in found.readings] == [one.scores["top1"] for one in mine]
    assert found.ends == (min(one.scores["top1"] for one in mine), max(one.scores["top1"] for one in mine))
    assert not any(one.ours for one in found.readings)  # tables print the mean of the three
    assert found.synthetic


def test_records_that_differ_in_their_split_alone_are_one_contest(tmp_path: Path) -> None:
    put(tmp_path)
    put(tmp_path, scheme="hash-60-20-20", test="3" * 64, right=0.8)
    put(tmp_path, scheme="cv5x5", test="4" * 64, precision="bf16")  # another precision, too
    (found,) = between_records(read_records(tmp_path).records, tmp_path, resamples=50)
    assert (found.question, [one.id for one in found.readings]) == ("split", ["official", "hash-60-20-20"])


def test_whole_labels_with_several_seeds_are_no_contest(tmp_path: Path) -> None:
    put(tmp_path, seed=0)
    put(tmp_path, seed=1, right=0.9)
    assert between_records(read_records(tmp_path).records, tmp_path, resamples=50) == ()


def test_a_star_is_what_the_table_prints(tmp_path: Path) -> None:
    """One record a cell: its number. Several: their mean, which no reading of one of them is."""
    put(tmp_path, backbone="lone")
    for seed in range(2):
        put(tmp_path, backbone="several", seed=seed, right=0.5 + 0.2 * seed)
    found = read_records(tmp_path)
    cells = {row: cell for (row, _), cell in build_table(found, tmp_path, resamples=50).cells.items()}
    seeds = seeds_of(found.records)
    for record in found.records:
        name = record.facts.backbone.id
        made = contested.of_record(record, tmp_path, seeds=seeds[record.key], resamples=50)
        stars = {one.value for block in made for one in block.readings if one.ours}
        assert stars == ({cells["lone"].interval.value} if name == "lone" else set())
        assert all(("alone of the 2 records" in block.title) == (name == "several") for block in made)
    assert "* is what a table here prints" in to_text(contests_of(record_of(one_label(), "single-label"), one_label()))


def test_notes_stand_once_and_say_of_what() -> None:
    p = replace(many_labels(), units=np.full(80, "only"))
    (made, *_) = contests_of(record_of(p, "multi-label"), p)
    said = to_text([made])
    assert said.count("one of scenes alone: no interval") == 1
    assert "note: micro mAP a batch: follows the order of the samples: no interval" in said


def test_folds_have_no_batches_and_tiles_without_overlaps_no_reading_of_their_own() -> None:
    p = many_labels()
    folded = replace(p, repeats=np.zeros(80, np.int16), folds=(np.arange(80) % 2).astype(np.int16))
    assert "f1_micro" in {one.id for one in averages(folded, "multi-label")}
    assert contested.PER_BATCH in {one.id for one in averages(p, "multi-label")}
    assert contested.PER_BATCH not in {one.id for one in averages(folded, "multi-label")}
    assert "f1_positive_tilewise" not in {one.id for one in averages(masks()[2], "change")}


def test_rounding_is_no_spread() -> None:
    made = [contested.ReadAs(id=str(value), title="", value=value) for value in (0.1 + 0.2, 0.3)]
    assert contest("split", record_of(one_label(), "single-label"), made).spread == 0


# Labels drawn otherwise ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory):
    """A toy store, its records with all labels and with a fifth of them, and the answer of the one with all."""
    folder = tmp_path_factory.mktemp("drawn")
    toy = toy_store(folder / "stores", n=90)
    places = Places(folder / "stores", folder / "results", folder)
    common = {"store": "toy", "protocol": "logreg", "params": {"C": 1.0}}
    suite = Suite(id="test", rows=(Row(**common), Row(**common, fraction=0.2, seeds=2)))
    cells = make_plan(suite, ["image-statistics"], places, "full", past=NOTHING, speed=CPU)
    made = list(run_plan(cells, places, machine=Machine(), progress=silent, inner=silent))
    whole = next(one for one in made if one.facts.split.fraction == 1)
    assert can_be_drawn(whole)
    answer = drawn_otherwise(whole, Bench(places), fraction=0.2)
    write_answer(folder / "results", answer)
    return toy, folder / "results", made, answer


def test_our_rule_gives_what_our_runs_give(drawn) -> None:
    _, _, made, answer = drawn
    ours = {one.draw: one for one in answer.rows if one.rule == "ours"}
    assert sorted(ours) == list(range(DRAWS))
    for record in made:
        if record.facts.split.fraction < 1:
            assert ours[record.facts.split.salt].value == pytest.approx(record.scores["top1"], abs=1e-9)
            assert ours[record.facts.split.salt].train == record.about.samples["train"]


def test_every_rule_draws_what_it_says(drawn) -> None:
    toy, _, made, answer = drawn
    train = toy.rows("train")
    count = math.floor(0.2 * len(train))
    by_rule = {
        rule: [one for one in answer.rows if one.rule == rule] for rule in ("random", "class-equal", "first", "seco")
    }
    assert [len(rows) for rows in by_rule.values()] == [DRAWS, DRAWS, 1, 1]
    assert {one.train for one in by_rule["random"] + by_rule["first"]} == {count}
    assert {one.distinct for one in by_rule["random"] + by_rule["first"]} == {count}
    assert {one.train for one in by_rule["class-equal"]} == {3 * round(count / 3)}
    chosen = np.random.default_rng(42).choice(range(len(train)), size=count)
    assert by_rule["seco"][0].distinct == len(set(chosen.tolist()))
    for one in answer.rows:
        assert one.low is None or one.low <= one.value <= one.high
    assert answer.records == (next(one.key for one in made if one.facts.split.fraction == 1),)


def test_what_draws_by_itself_or_has_no_training_list_is_not_drawn(drawn) -> None:
    _, _, made, _ = drawn
    whole = next(one for one in made if one.facts.split.fraction == 1)

    def changed(**update) -> Record:
        return whole.model_copy(update={"facts": whole.facts.model_copy(update=update)})

    protocol = whole.facts.protocol.model_copy(update={"id": "linear"})
    split = whole.facts.split.model_copy(update={"scheme": "cv5x5"})
    assert not can_be_drawn(changed(protocol=protocol))
    assert not can_be_drawn(changed(split=split))
    assert not can_be_drawn(changed(budget="demo"))
    assert not any(can_be_drawn(one) for one in made if one.facts.split.fraction < 1)


def from_answers_of(folder: Path, made, answer):
    """Of another folder with one answer."""
    write_answer(folder, answer)
    return from_answers(made, folder)


def test_an_answer_that_is_odd_is_left_out(drawn, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _, _, made, answer = drawn
    assert len(from_answers_of(tmp_path / "good", made, answer)) == 1
    plain = [one.model_dump() for one in answer.rows]
    odd = {
        "no fraction": [{name: value for name, value in one.items() if name != "fraction"} for one in plain],
        "all": [one | {"fraction": 1.0} for one in plain],
        "no number": [one | {"value": "high"} for one in plain],
    }
    for name, rows in odd.items():
        path = write_answer(tmp_path / name, answer)
        document = json.loads(path.read_bytes()) | {"rows": rows}
        path.write_bytes(seal_document({key: value for key, value in document.items() if key != "digest"}))
        assert not from_answers(made, tmp_path / name)
    assert not from_answers_of(tmp_path / "of none", made, replace(answer, records=()))
    assert caplog.text.count("is no answer") == len(odd)
    assert caplog.text.count("is of no record") == 1


def test_records_of_a_protocol_that_is_gone_are_said_and_left(drawn, call, tmp_path: Path) -> None:
    toy, _, made, _ = drawn
    whole = next(one for one in made if one.facts.split.fraction == 1)
    strange = whole.facts.model_copy(update={"protocol": whole.facts.protocol.model_copy(update={"id": "gone"})})
    write_record(tmp_path, strange, about=whole.about, predictions=one_label(k=3))
    status, said = call("contested", tmp_path, "--stores", Path(toy.path).parents[1])
    assert status == 0, said
    assert "not drawn: image-statistics" in said
    status, said = call("contested", tmp_path, "--backbones", "mine")
    assert (status, "which need --stores" in said) == (2, True)


def test_the_command_and_the_page_show_them(drawn, call, tmp_path: Path) -> None:
    _, results, made, answer = drawn
    status, said = call("contested", results, "--json")
    assert status == 0
    rows, _ = json.JSONDecoder().raw_decode(said[said.index("[\n") :])
    assert {row["question"] for row in rows} == {"average", "labels"}
    assert len({row["id"] for row in rows}) == len(rows)
    assert all(row["synthetic"] for row in rows)
    whole = next(one for one in made if one.facts.split.fraction == 1)
    (found,) = from_answers(read_records(results).records, results)
    assert [one.value for one in found.readings] == [one.value for one in answer.rows]
    assert not any(one.ours for one in found.readings)
    more = [one.model_copy(update={"fraction": 0.5}) for one in answer.rows]
    tenths = replace(answer, asked={"fraction": 0.5}, rows=tuple(more))
    rows = to_objects([found, *from_answers_of(tmp_path / "two", made, tenths)])
    assert len({row["id"] for row in rows}) == len(rows) == 2 * len(answer.rows)
    assert found.records == (whole.key,)
    status, said = call("contested", results, "--question", "labels")
    assert status == 0
    assert "with replacement, seed 42" in said
    assert "SYNTHETIC" in said
    write_report(results, tmp_path / "r.html", resamples=50)
    page = (tmp_path / "r.html").read_text()
    assert "What the same predictions may be printed as" in page
    assert "the first of the list in the order of its keys" in page


def test_what_is_asked_wrongly_is_refused(drawn, call) -> None:
    _, results, _, _ = drawn
    for words in (["--question", "colour"], ["--fraction", "1"]):
        status, said = call("contested", results, *words)
        assert status == 2
        assert words[0] in said


def test_the_page_has_no_tab_where_every_reading_is_the_same(tmp_path: Path) -> None:
    for right, there in ((1.0, False), (0.6, True)):
        folder = tmp_path / f"{right}"
        put(folder, right=right)
        write_report(folder, tmp_path / "r.html", resamples=50)
        assert ("What the same predictions may be printed as" in (tmp_path / "r.html").read_text()) == there


def test_objects_hold_everything() -> None:
    p = many_labels()
    (row, *_) = to_objects(contests_of(record_of(p, "multi-label"), p))
    assert row["question"] == "average"
    assert row["printed_as"] == "mAP"
    assert row["ours"]


def test_the_suite_asks_for_splits_and_tenths() -> None:
    rows = load_suite("contested").rows
    assert {(row.store, row.fraction) for row in rows} >= {("eurosat", 0.1), ("bigearthnet-v1", 0.1), ("oscd", 1.0)}
    assert {row.split for row in rows if row.store == "eurosat"} == {"", "hash-60-20-20"}
