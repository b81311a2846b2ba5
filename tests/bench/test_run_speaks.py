"""What `run` and `table` say of a large suite on one small store, from the real command line."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from seamo_bench.cli.cells import Cells
from seamo_bench.runs.limit import TimeLimit
from seamo_bench.runs.plan import Places, make_plan
from seamo_bench.suites.suite import Suite
from tests.bench.bench_store import toy_store

Call = Callable[..., tuple[int, str]]
SCORE = re.compile(r"\d+\.\d\d \[\d+\.\d\d, \d+\.\d\d\]")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stores")
    toy_store(folder, 30)
    return folder


def command(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "seamo_bench.cli", *map(str, words)], capture_output=True, text=True, timeout=300
    )


def test_a_large_suite_on_one_store_is_told_in_forty_lines_and_its_table_begins_with_scores(
    call: Call, root: Path, tmp_path: Path
) -> None:
    words = ("run", "uniform", "--stores", root, "--results", tmp_path / "out", "--budget", "demo", "--threads", 1)
    done = command(*words, "--backbones", "image-statistics,pixel-values")
    assert done.returncode == 0, done.stderr
    lines = (done.stderr + done.stdout).splitlines()
    assert len(lines) <= 40
    opening = next(line for line in lines if " will run, " in line)
    planned, possible, not_possible = (
        int(one.replace(",", "")) for one in re.findall(r"([\d,]+) (?:cells|will|impo)", opening)
    )
    assert planned == possible + not_possible
    told = [line for line in lines if re.match(rf"\[\d+/{possible}\] ", line)]
    assert len(told) == possible == 12  # three frozen protocols, two shares of the labels, two backbones
    assert all(re.search(r": top1 \d+\.\d\d.*, \d+(\.\d)? s$", line) for line in told), told
    (reason,) = [line for line in lines if "no store of ID" in line]
    assert "`seamo-prep build ID`" in reason
    assert f"records written: {possible} ok, {not_possible} impossible, 0 failed" in done.stdout

    status, text = call("table", tmp_path / "out")
    table = text.splitlines()
    assert status == 0
    assert any(SCORE.search(line) for line in table[:10]), table[:10]
    assert len(table) < 60
    (note,) = [line for line in table if line.startswith("No score in ")]
    assert "--blanks" in note
    assert any(line.startswith("SYNTHETIC data") for line in table)
    blanks = call("table", tmp_path / "out", "--blanks")[1]
    assert blanks.count("impossible: ") == not_possible
    assert call("table", tmp_path / "out", "--blanks", "--json")[0] == 2


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("empty", "holds no store. Give the folder that `seamo-prep build --store` wrote to"),
        ("nowhere", "holds no store"),
        ("store", "is a store, not a folder of stores. Give the folder above: "),
        ("toy", "is a store, not a folder of stores"),
    ],
)
def test_a_root_without_stores_is_an_error_and_leaves_no_records(
    call: Call, here: Path, root: Path, what: str, says: str
) -> None:
    (here / "empty").mkdir()
    (store,) = [path for path in (root / "toy").iterdir() if (path / "store.json").is_file()]
    given = {"store": store, "toy": root / "toy"}.get(what, here / what)
    code, said = call("run", "uniform", "--stores", given, "--results", "out")
    assert (code, says in said) == (1, True), said
    assert not list(here.glob("out/*.json"))
    if what == "store":
        assert f"Give the folder above: {root}." in said


def test_a_run_in_which_nothing_could_run_is_an_error_that_says_why(call: Call, here: Path, root: Path) -> None:
    words = ("--stores", root, "--results", "out", "--backbones")
    (here / "one.yaml").write_text("id: one\nrows: [{store: toy, protocol: knn}]")
    code, said = call("run", "one.yaml", *words, "seco-r50")
    assert code == 1
    assert "1  weights are not there. `seamo-bench weights fetch BACKBONE`" in said
    assert said.splitlines()[-1].startswith("seamo-bench: one.yaml: nothing could be run. The reasons stand above")
    # What was there stays, and is no reason to fail.
    assert call("run", "one.yaml", *words, "image-statistics")[0] == 0
    kept = {path.name: path.read_bytes() for path in here.glob("out/*.json")}
    code, said = call("run", "one.yaml", *words, "seco-r50,image-statistics")
    assert (code, "1 cells were done" in said) == (0, True)
    assert {name: (here / "out" / name).read_bytes() for name in kept} == kept


def test_every_cell_of_one_name_is_told(call: Call, here: Path, root: Path) -> None:
    row = "{store: toy, protocol: knn"
    rows = f"{row}}}, {row}, precision: bf16}}, {row}, params: {{k: 3}}}}"
    (here / "three.yaml").write_text(f"id: three\nrows: [{rows}]")
    code, said = call("run", "three.yaml", "--stores", root, "--results", "out", "--backbones", "image-statistics")
    assert code == 0, said
    begun = [line.partition(": top1")[0] for line in said.splitlines() if line.startswith("[")]
    name = "image-statistics | toy | knn k"
    assert begun == [f"[1/3] {name}=20", f"[2/3] {name}=20", f"[3/3] {name}=3"]


def test_hours_are_spent_on_what_is_cheap_and_the_same_command_goes_on(call: Call, here: Path, root: Path) -> None:
    (here / "two.yaml").write_text(
        "id: two\nrows: [{store: toy, protocol: finetune, params: {epochs: 1, warmup: 0, base_lrs: [0.001]}, seeds: 1},"
        " {store: toy, protocol: knn}]"
    )
    words = ("run", "two.yaml", "--stores", root, "--results", "out", "--backbones", "image-statistics,resnet18")
    code, said = call(*words, "--max-hours", 0.0001)
    assert (code, "no cell fits into 0.0001 h. The cheapest takes about " in said) == (1, True), said
    # At a thousand FLOPs a second the training would take years, the neighbours of image statistics seconds.
    code, said = call(*words, "--max-hours", 0.1, "--tflops", 1e-9)
    assert code == 0, said
    assert "[1/2] image-statistics | toy | knn: top1" in said
    assert "1 cells of about " in said
    assert "were not begun within 0.1 h. Give the same command again" in said
    code, said = call(*words)
    assert (code, "[1/1] resnet18 | toy | finetune: top1" in said) == (0, True)
    assert call(*words, "--max-hours", 1, "--scheduler", "tcp://x:1")[0] == 2


def test_a_limit_takes_cheap_cells_first_and_learns_from_what_they_took(root: Path, tmp_path: Path) -> None:
    rows = [{"store": "toy", "protocol": name} for name in ("linear", "logreg", "knn")]
    suite = Suite.model_validate({"id": "three", "rows": rows})
    cells = make_plan(suite, ["image-statistics"], Places(root, tmp_path, tmp_path))
    now = 0.0
    limit = TimeLimit(1 / 60, clock=lambda: now)  # a minute
    ordered = limit.ordered(cells)
    costs = [cell.cost.seconds for cell in ordered]
    assert costs == sorted(costs)
    assert all(limit.allows(cell) for cell in ordered)
    limit.took(ordered[0], 50.0)  # instead of about three
    now = 20.0
    assert not limit.allows(ordered[1])


def test_where_no_terminal_is_long_cells_say_how_far_they_are_and_short_ones_do_not(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("seamo_bench.cli.cells.time.monotonic", lambda: now)
    shown = Cells(quiet_s=600.0)
    shown.cell(0, 2, "a | b")
    shown.inner(1, 50, "epochs")
    assert capsys.readouterr().err == ""
    now = 601.0
    shown.inner(2, 50, "epochs")
    assert capsys.readouterr().err.startswith("[1/2] a | b: 2/50 epochs")
    now = 700.0
    shown.inner(3, 50, "epochs")
    assert capsys.readouterr().err == ""
