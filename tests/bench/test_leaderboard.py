"""The leaderboard: what shares a column, what is marked, what is refused, and the exports."""

import io
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from seamo.errors import ProtocolError
from seamo_bench import facts as f
from seamo_bench.board import tables
from seamo_bench.board.compare import compare, paired_group_difference, row_of
from seamo_bench.board.leaderboard import build_table
from seamo_bench.board.report.headline import findings
from seamo_bench.predictions import ClassPredictions, TilePredictions
from seamo_bench.records import record as r

CLASSES = ("Forest", "River", "Sea", "Town")
TITLE = "EuroSAT subset (202 of 27,000)"


def facts(backbone, *, seed=0, dataset="eurosat", content="c" * 64, version=1, params=None, weights="w", **rest):
    return f.Facts(
        stores=(f.StoreFacts(id=dataset, content=content, subset=True),),
        split=f.SplitFacts(scheme="official", lists={"train": "1" * 64, "test": rest.pop("test", "2" * 64)}),
        task=f.TaskFacts(kind="single-label", classes=CLASSES, label_space=dataset),
        backbone=f.BackboneFacts(id=backbone, card="d" * 64, weights=weights),
        protocol=f.ProtocolFacts(id="linear", version=version, params=params or {}),
        seed=seed,
        **rest,
    )


def predictions(share, seed, n=400):
    """Right with probability `share`; labels the same for every seed."""
    labels = np.random.default_rng(1).integers(0, 4, n)
    rng = np.random.default_rng([2, seed])
    guess = np.where(rng.random(n) < share, labels, (labels + 1) % 4)
    keys = np.array([f"k{i:04d}" for i in range(n)])
    return ClassPredictions(keys, labels, (3 * np.eye(4)[guess]).astype(np.float32))


def put(folder, backbone, share, *, seed=0, about=None, flags=(), pseed=0, **rest):
    about = r.About(stores=(TITLE,), backbone=backbone.title(), **(about or {}))
    return r.write_record(
        folder,
        facts(backbone, seed=seed, **rest),
        about=about,
        predictions=predictions(share, 100 * pseed + seed + sum(map(ord, backbone))),
        flags=flags,
    )


@pytest.fixture
def results(tmp_path):
    for seed in range(3):
        put(tmp_path, "strong", 0.90, seed=seed)
        put(tmp_path, "equal", 0.895, seed=seed)
        put(tmp_path, "weak", 0.60, seed=seed)
    put(tmp_path, "imagestats", 0.5, about={"floor": "image statistics"})
    reason = "needs B8A, the store has none"
    about = r.About(stores=(TITLE,), backbone="Blind")
    r.write_record(tmp_path, facts("blind"), about=about, status="impossible", reason=reason)
    return tmp_path


def build(folder, **options):
    return build_table(r.read_records(folder), folder, resamples=400, **options)


def test_values_marks_and_blanks(results):
    table = build(results)
    (head,) = table.heads
    assert head.dataset == TITLE
    cells = {row: cell for (row, _), cell in table.cells.items()}
    strong = [one for one in r.read_records(results).records if one.facts.backbone.id == "strong"]
    assert cells["strong"].interval.value == pytest.approx(np.mean([one.scores["top1"] for one in strong]))
    assert cells["strong"].interval.num_seeds == 3
    assert cells["strong"].num_test == 400
    assert cells["strong"].best
    assert cells["equal"].best
    assert not cells["weak"].best
    assert cells["weak"].p_worse < 0.05
    assert (cells["blind"].status, cells["blind"].reason) == ("impossible", "needs B8A, the store has none")
    order = [row.id for row in table.rows]
    assert set(order[:2]) == {"strong", "equal"}
    assert order[-1] == "imagestats"  # a floor stands last, however good
    assert any(TITLE in note for note in table.notes)
    assert any("random init, supervised" in note for note in table.notes)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"content": "x" * 64}, "the store's content"),
        ({"version": 2}, "the protocol's version"),
        ({"test": "3" * 64}, "the test list"),
        ({"precision": "bf16"}, "precision"),
    ],
)
def test_records_that_differ_in_a_fact_are_refused(results, change, what):
    put(results, "other", 0.8, **change)
    with pytest.raises(ProtocolError, match=what):
        build(results)
    table = build(results, mixed=True)
    assert any("MIXED" in note and what in note for note in table.notes)
    assert all(cell.p_worse is None for cell in table.cells.values())


def test_two_weights_under_one_name_are_not_seeds(results):
    put(results, "strong", 0.9, seed=9, weights="other")
    with pytest.raises(ProtocolError, match="the weights or the card of strong"):
        build(results)


def test_parameters_budget_and_fraction_make_columns(results):
    put(results, "strong", 0.8, params={"head": "upernet"})
    put(results, "strong", 0.8, budget="demo")
    table = build(results)
    assert len(table.heads) == 3
    titles = [head.protocol for head in table.heads]
    assert any("head=upernet" in title for title in titles)
    assert any("demo budget" in title for title in titles)
    assert any("DEMO BUDGET" in note for note in table.notes)


@pytest.mark.parametrize("how", ["changed", "gone", "a folder"])
def test_records_without_their_predictions_are_left_out_by_name(results, how):
    record = next(one for one in r.read_records(results).records if one.facts.backbone.id == "imagestats")
    file = results / record.predictions.name
    file.unlink()
    if how == "changed":
        file.write_bytes(b"x")
    elif how == "a folder":
        file.mkdir()
    table = build(results)
    assert {row.id for row in table.rows} == {"strong", "equal", "weak", "blind"}
    assert [one.path for one in table.damaged] == [file]
    (note,) = [note for note in table.notes if "DAMAGED" in note]
    assert file.name in note
    assert ("sha256 differs" if how == "changed" else "not there") in note


def test_damaged_files_are_named(results):
    (results / "broken.json").write_text("{")
    table = build(results)
    assert any("broken.json" in note for note in table.notes)


def test_a_blank_that_knows_less_of_the_task_spoils_no_column(tmp_path):
    # Blanks are planned without a look into the store: whether a class is positive is not in them.
    task = f.TaskFacts(kind="change", classes=("same", "changed"), positive=1)
    tiles = TilePredictions(np.array(["a", "b", "c"]), np.array([[[5, 1], [1, 3]], [[6, 0], [2, 2]], [[4, 4], [0, 2]]]))
    about = r.About(stores=(TITLE,), backbone="Any")
    for number in range(6):  # the order is that of the keys: some blank comes first
        blank = facts(f"blind{number}").model_copy(update={"task": task.model_copy(update={"positive": None})})
        r.write_record(tmp_path, blank, about=about, status="impossible", reason="has nothing to train")
    seeing = facts("seeing").model_copy(update={"task": task})
    r.write_record(tmp_path, seeing, about=about, predictions=tiles)
    assert r.read_records(tmp_path).records[0].status == "impossible"
    cell = next(cell for (row, _), cell in build(tmp_path).cells.items() if row == "seeing")
    assert cell.interval.value == pytest.approx(2 * 7 / (2 * 7 + 5 + 3))


def test_empty_results(tmp_path):
    with pytest.raises(ProtocolError, match="no record"):
        build(tmp_path)


def more(folder, dataset, rows, **rest):
    for name, share in rows:
        put(folder, name, share, dataset=dataset, **rest)


def test_aggregate_over_two_data_sets(results):
    more(results, "eurosat-sar", (("strong", 0.9), ("equal", 0.9), ("weak", 0.5), ("imagestats", 0.4)))
    table = build(results)
    assert set(table.aggregates) == {"strong", "equal", "weak", "imagestats"}
    assert table.aggregates["imagestats"].mean_rank.value == 4
    assert table.aggregates["strong"].tasks == ("eurosat", "eurosat-sar")
    cells = {(row, column.dataset): cell for (row, column), cell in table.cells.items()}
    # published/ranges.csv: chance 0.1; SeaMo's 99.37 and 89.69. Two data sets: the IQM is their mean.
    expected = np.mean(
        [
            (cells["weak", "eurosat"].interval.value - 0.1) / (0.9937 - 0.1),
            (cells["weak", "eurosat-sar"].interval.value - 0.1) / (0.8969 - 0.1),
        ]
    )
    assert table.aggregates["weak"].iqm.value == pytest.approx(expected)


def test_a_column_without_a_range_is_left_out_and_named(results):
    rows = (("strong", 0.9), ("equal", 0.9), ("weak", 0.5), ("imagestats", 0.4))
    more(results, "eurosat-sar", rows)
    before = build(results).aggregates["weak"].iqm.value
    more(results, "someones-own", rows)
    table = build(results)
    assert table.aggregates["weak"].iqm.value == pytest.approx(before)
    assert any("no range in ranges version 1" in note and "Top-1" in note for note in table.notes)


def test_demo_columns_never_join_real_ones(results):
    rows = (("strong", 0.9), ("equal", 0.9), ("weak", 0.5), ("imagestats", 0.4))
    more(results, "eurosat-sar", rows)
    before = build(results)
    more(results, "fmow-sentinel", rows, budget="demo")
    table = build(results)
    assert table.aggregates["weak"].iqm.value == before.aggregates["weak"].iqm.value
    assert any("leave demo and synthetic columns out" in note for note in table.notes)


def test_demo_columns_alone_are_marked(tmp_path):
    for dataset in ("eurosat", "eurosat-sar"):
        more(tmp_path, dataset, (("strong", 0.9), ("weak", 0.5)), budget="demo")
    table = build(tmp_path)
    assert set(table.aggregates) == {"strong", "weak"}
    assert any("over demo or synthetic columns and rank nothing" in note for note in table.notes)


def test_a_row_without_every_column_has_no_aggregate(results):
    more(results, "eurosat-sar", (("strong", 0.9), ("equal", 0.9), ("weak", 0.5)))
    table = build(results)
    assert set(table.aggregates) == {"strong", "equal", "weak"}
    assert "No IQM or mean rank, a column is missing: imagestats." in table.notes


def test_replicates_are_kept_and_never_trusted_blindly(results):
    first = build(results)
    kept = sorted((results / "intervals").iterdir())
    assert len(kept) == 10  # ok records
    for path in kept:
        path.write_bytes(b"damaged")
    again = build(results)  # made anew
    assert {key: cell.interval for key, cell in first.cells.items()} == {
        key: cell.interval for key, cell in again.cells.items()
    }
    assert all(path.read_bytes() != b"damaged" for path in kept)
    assert not r.read_records(results).damaged
    found = r.read_records(results)
    record = next(one for one in found.records if one.status == "ok")
    (results / record.predictions.name).write_bytes(b"x")
    with pytest.raises(ProtocolError, match="sha256"):
        build_table(found, results, resamples=400)  # though its replicates are kept


def test_replicates_of_other_values_are_made_anew(results):
    """A file that can be read is not trusted for that: here every replicate is moved."""
    first = build(results)
    for path in (results / "intervals").iterdir():
        data = path.read_bytes()
        with np.load(io.BytesIO(data[32:])) as arrays:
            moved = {name: array + 0.1 if name == "values" else array for name, array in arrays.items()}
        buffer = io.BytesIO()
        np.savez(buffer, **moved)
        path.write_bytes(data[:32] + buffer.getvalue())
    assert {key: cell.interval for key, cell in build(results).cells.items()} == {
        key: cell.interval for key, cell in first.cells.items()
    }


def test_kept_replicates_are_those_of_the_metric_and_the_task(results):
    build(results)
    once = {path.name for path in (results / "intervals").iterdir()}
    build(results, metric_name="nll")
    assert len({path.name for path in (results / "intervals").iterdir()} - once) == 10
    before = {path: path.stat().st_mtime_ns for path in (results / "intervals").iterdir()}
    build(results)
    assert {path: path.stat().st_mtime_ns for path in (results / "intervals").iterdir()} == before


def test_groups_of_pretraining_seeds(results):
    for pseed in range(3):
        for name, share in (("seamo", 0.88), ("seamo-random", 0.7)):
            for seed in range(2):
                put(
                    results,
                    f"{name}-{pseed}",
                    share,
                    seed=seed,
                    pseed=pseed + 1,
                    weights=f"{name}{pseed}",
                    about={"group": name, "pretraining_seed": pseed},
                )
    found = r.read_records(results)
    sides = [[one for one in found.records if row_of(one) == name] for name in ("seamo", "seamo-random")]
    diff = paired_group_difference(*sides, results)
    means = [np.mean([one.scores["top1"] for one in side]) for side in sides]
    assert diff.interval.value == pytest.approx(means[0] - means[1])
    assert diff.interval.low > 0
    assert "3 and 3 seeds" in diff.interval.method  # pretrainings, not the six runs
    (one,) = compare(found.records, results, "seamo", "seamo-random")
    assert one.difference.interval.value == pytest.approx(means[0] - means[1])
    cell = next(cell for (row, _), cell in build(results).cells.items() if row == "seamo")
    assert cell.interval.num_seeds == 3
    assert len(cell.records) == 6
    with pytest.raises(ProtocolError, match="no score of 'nobody'"):
        compare(found.records, results, "seamo", "nobody")


def test_flags_become_footnotes_in_every_export(results):
    flag = r.Flag(kind="filled-bands", text="B10 | made up & 100 % of it_")
    put(results, "filled", 0.8, flags=(flag,))
    table = build(results)
    text, markdown, latex = tables.to_text(table), tables.to_markdown(table), tables.to_latex(table)
    for export in (text, markdown, latex, tables.to_csv(table)):
        assert "202 of 27,000" in export
        assert "needs B8A" in export
    assert "(a) filled-bands: B10 | made up" in text
    assert r"B10 \| made up" in markdown
    widths = {line.replace(r"\|", "").count("|") for line in markdown.splitlines() if line.startswith("|")}
    assert widths == {3}
    assert r"made up \& 100 \% of it\_" in latex
    assert "[floor: image statistics]" in text


def test_csv_and_json_hold_the_same_cells(results):
    table = build(results)
    objects = json.loads(json.dumps(tables.to_objects(table), allow_nan=False))
    frame = pd.read_csv(io.StringIO(tables.to_csv(table)))
    assert [one["id"] for one in objects] == frame["id"].tolist()
    assert len({one["id"] for one in objects}) == len(objects)
    strong = frame[frame["backbone"] == "strong"].iloc[0]
    assert strong["low"] < strong["value"] < strong["high"]
    assert strong["num_test"] == 400
    blind = next(one for one in objects if one["backbone"] == "blind")
    assert (blind["value"], blind["status"]) == (None, "impossible")


def test_an_error_metric_prefers_small_values(results):
    table = build(results, metric_name="nll")
    best = [row.id for row in table.rows if table.cells[(row.id, table.heads[0].column)].best]
    assert "weak" not in best
    assert "imagestats" not in best
    assert table.rows[0].id in ("strong", "equal")


def put_one_class(folder, backbone, right):
    labels = np.full(20, 2)
    scores = np.eye(4)[np.where(np.arange(20) < right, 2, 1)].astype(np.float32)
    made = ClassPredictions(np.array([f"k{i:02d}" for i in range(20)]), labels, scores)
    return r.write_record(
        folder, facts(backbone), about=r.About(stores=(TITLE,), backbone=backbone.title()), predictions=made
    )


@pytest.mark.parametrize("is_old", [False, True])
def test_a_test_split_of_one_class_has_a_flag_and_no_star(tmp_path, is_old):
    for backbone, right in (("all", 20), ("most", 15)):
        record = put_one_class(tmp_path, backbone, right)
        assert r.ONE_CLASS in record.flags
        path = tmp_path / f"{record.key}.json"
        if is_old:  # written before there was the flag
            plain = json.loads(path.read_text())
            plain["flags"] = []
            path.write_text(json.dumps({name: value for name, value in plain.items() if name != "seal"}))
    text = tables.to_text(build_table(r.read_records(tmp_path), tmp_path))
    assert "100.00" in text
    assert "*" not in text.split("Values with")[0]
    assert "the test split holds one class" in text


def test_what_cannot_be_tested_is_not_told_apart_from_the_best(tmp_path):
    """All test images are of one scene: there is no error to measure with, and so nobody is worse."""
    for backbone, share in (("strong", 0.9), ("weak", 0.6)):
        made = replace(predictions(share, 1), units=np.full(400, "only"))
        about = r.About(stores=(TITLE,), backbone=backbone.title())
        r.write_record(tmp_path, facts(backbone), about=about, predictions=made)
    table = build(tmp_path)
    cells = {row: cell for (row, _), cell in table.cells.items()}
    assert cells["strong"].interval.value > cells["weak"].interval.value + 0.2
    assert (cells["strong"].interval.low, cells["strong"].p_worse, cells["weak"].p_worse) == (None, None, 1.0)
    assert cells["strong"].best
    assert cells["weak"].best
    assert "not told apart from it: Weak" in findings(table)[0]
    (pair,) = compare(r.read_records(tmp_path).records, tmp_path, "strong", "weak")
    assert (pair.difference.p, pair.difference.test) == (None, "no test: there is no error to measure with")


def surely(kind, seed, right):
    """A record of a model that is right on all tiles or samples, or on none."""
    if kind == "top1":
        labels = np.arange(40) % 4
        made = ClassPredictions(
            np.array([f"k{i:02d}" for i in range(40)]), labels, np.eye(4, dtype=np.float32)[(labels + 1 - right) % 4]
        )
        return made, facts(f"right{int(right)}", seed=seed)
    hit = [[6, 0], [0, 4]] if right else [[0, 6], [4, 0]]
    made = TilePredictions(np.array([f"t{i:02d}" for i in range(12)]), np.array([hit] * 12))
    task = f.TaskFacts(kind=kind, classes=("same", "changed"), positive=1 if kind == "change" else None)
    return made, facts(f"right{int(right)}", seed=seed).model_copy(update={"task": task})


@pytest.mark.parametrize(("kind", "seeds"), [("change", 1), ("segmentation", 1), ("top1", 2)])
def test_who_is_wrong_everywhere_is_not_the_best(tmp_path, kind, seeds):
    """Every resample gives the same difference: no error, and yet nothing is surer."""
    for right in (True, False):
        for seed in range(seeds):
            made, its = surely(kind, seed, right)
            r.write_record(tmp_path, its, about=r.About(stores=(TITLE,), backbone="Any"), predictions=made)
    cells = {row: cell for (row, _), cell in build(tmp_path).cells.items()}
    assert (cells["right1"].interval.value, cells["right0"].interval.value) == (1, 0)
    assert (cells["right1"].best, cells["right0"].best) == (True, False)
    assert cells["right0"].p_worse == pytest.approx(2 / 2 ** (40 if kind == "top1" else 12))


def test_two_classes_have_no_such_flag(results):
    found = r.read_records(results).records
    assert not any(r.is_of_one_class(one) for one in found)


def test_hostile_titles_in_every_format(tmp_path):
    title = "=cmd|' /C calc'!A0 <img src=x> a|b\x1b[2J $x$ _y_ `z` \u202e \\input{x}"
    put(tmp_path, "@strong", 0.9, about={"group": title})
    made = build_table(r.read_records(tmp_path), tmp_path)
    for write in (tables.to_text, tables.to_markdown, tables.to_latex, tables.to_csv):
        text = write(made)
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "calc" in text
    assert "<" not in tables.to_markdown(made).replace("&lt;", "")
    assert r"\input" not in tables.to_latex(made)
    rows = pd.read_csv(io.StringIO(tables.to_csv(made)))
    assert rows["title"][0].startswith("'=cmd")
    assert rows["backbone"][0].startswith("'=cmd")
    assert rows["value"][0] == pytest.approx(0.9, abs=0.05)
