"""Several runs on one folder of results: cells claimed, records put once, what differs kept beside the first."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from seamo_bench.predictions import ClassPredictions
from seamo_bench.records.examine import examine
from seamo_bench.records.put import REPRODUCTIONS, put_once
from seamo_bench.records.record import About, Record, load_predictions, read_records, write_record
from seamo_bench.runs.claims import CLAIMS, OLD_S, claim_state, claimed, sweep_claims
from seamo_bench.runs.plan import Places, make_plan
from seamo_bench.runs.results import OnDisk
from seamo_bench.runs.run import Machine, run_plan
from seamo_bench.suites.suite import load_suite
from tests.bench.bench_store import toy_store
from tests.bench.test_kills import left
from tests.bench.test_records import make_facts

torch.set_num_threads(1)
SUITE = """
id: shared
rows:
  - {store: toy, protocol: knn}
  - {store: toy, protocol: logreg}
"""
BACKBONES = ("image-statistics", "pixel-values")


def quiet(_done: int, _total: int, _what: str) -> None:
    pass


@pytest.fixture
def places(tmp_path: Path) -> Places:
    toy_store(tmp_path / "stores", 30)
    (tmp_path / "suite.yaml").write_text(SUITE)
    return Places(tmp_path / "stores", tmp_path / "results", tmp_path / "weights")


def plan_of(places: Places) -> list:
    return make_plan(load_suite(str(places.stores.parent / "suite.yaml")), BACKBONES, places)


def work(places: Places, **options: object):
    return run_plan(plan_of(places), places, machine=Machine(), progress=quiet, inner=quiet, **options)


def names(records: list[Record]) -> list[tuple[str, str]]:
    return [(one.facts.backbone.id, one.facts.protocol.id) for one in records]


# Records put once.


def predictions_of(shift: float) -> ClassPredictions:
    scores = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]], dtype=np.float32) + np.float32(shift)
    return ClassPredictions(np.array(["a", "b", "c"]), np.array([0, 1, 2]), scores)


def put(results: Path, predictions: ClassPredictions | None, **rest: object) -> Record:
    facts = make_facts()
    key = write_record(results / "elsewhere", facts, about=ABOUT, status="failed", reason="for its key").key

    def write(folder: Path) -> Record:
        return write_record(folder, facts, about=ABOUT, predictions=predictions, **rest)  # type: ignore[arg-type]

    return put_once(results, key, predictions, write)


ABOUT = About(stores=("Toy",), backbone="Net")


def test_equal_predictions_are_written_once(tmp_path: Path) -> None:
    first = put(tmp_path, predictions_of(0.0), environment={"threads": "1"})
    before = (tmp_path / f"{first.key}.json").stat()
    assert put(tmp_path, predictions_of(0.0), environment={"threads": "8"}) == first
    assert (tmp_path / f"{first.key}.json").stat() == before
    assert not (tmp_path / REPRODUCTIONS).exists()


def test_other_predictions_are_kept_beside_the_first_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = put(tmp_path, predictions_of(0.0))
    assert put(tmp_path, predictions_of(0.25)) == first
    assert put(tmp_path, predictions_of(0.25)) == first
    (beside,) = (tmp_path / REPRODUCTIONS).iterdir()
    assert f"kept beside it as a reproduction, {REPRODUCTIONS}/{beside.name}" in caplog.text
    (second,) = read_records(beside).records
    assert second.key == first.key
    np.testing.assert_array_equal(load_predictions(second, beside).scores, predictions_of(0.25).scores)
    np.testing.assert_array_equal(load_predictions(first, tmp_path).scores, predictions_of(0.0).scores)
    assert read_records(tmp_path).records == (first,)
    assert [one.problems for one in (*examine(tmp_path), *examine(beside))] == [(), ()]


def test_what_failed_replaces_nothing_and_is_replaced(tmp_path: Path) -> None:
    assert put(tmp_path, None, status="failed", reason="no memory").status == "failed"
    good = put(tmp_path, predictions_of(0.0))
    assert put(tmp_path, None, status="failed", reason="no memory") == good
    assert read_records(tmp_path).records == (good,)


def test_a_pair_that_does_not_fit_is_replaced(tmp_path: Path) -> None:
    record = put(tmp_path, predictions_of(0.0))
    (tmp_path / f"{record.key}.npz").write_bytes(b"another run was killed here")
    again = put(tmp_path, predictions_of(0.25))
    np.testing.assert_array_equal(load_predictions(again, tmp_path).scores, predictions_of(0.25).scores)
    assert not (tmp_path / REPRODUCTIONS).exists()


# Claims.


def test_a_claim_is_one_run_s_and_names_nobody(tmp_path: Path) -> None:
    with claimed(tmp_path, "k") as claim, claimed(tmp_path, "k") as other:
        assert claim is not None
        assert other is None
        assert set(json.loads((tmp_path / CLAIMS / "k").read_bytes())) == {"id", "time"}
        sweep_claims(tmp_path)
        assert claim_state(tmp_path, "k") == "held"
    assert not (tmp_path / CLAIMS / "k").exists()
    with claimed(tmp_path, "k") as claim:
        assert claim is not None


def test_an_old_claim_is_taken_over(tmp_path: Path) -> None:
    with claimed(tmp_path, "k"):
        path = tmp_path / CLAIMS / "k"
        long_ago = time.time() - OLD_S - 1
        os.utime(path, (long_ago, long_ago))
        assert claim_state(tmp_path, "k") == "free"
        with claimed(tmp_path, "k") as mine:
            assert mine is not None


HOLDER = """
import sys, time
from pathlib import Path
from seamo_bench.runs import run
from seamo_bench.runs.claims import claimed
with claimed(Path(sys.argv[1]), "k"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_claim_of_a_killed_run_is_taken_at_once(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    assert claim_state(tmp_path, "k") == "held"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert claim_state(tmp_path, "k") == "left"
    with claimed(tmp_path, "k") as claim:
        assert claim is not None
    assert list((tmp_path / CLAIMS).iterdir()) == []


def test_a_run_takes_other_groups_first_and_waits_for_what_another_does(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OnDisk, "poll_s", 0.1)
    first = plan_of(places)[0]
    with claimed(places.results, first.claim):
        records = list(work(places, wait=False))
        assert names(records) == [("pixel-values", "knn"), ("pixel-values", "logreg"), ("image-statistics", "logreg")]
        more: list[Record] = []
        waiting = threading.Thread(target=lambda: more.extend(work(places)))
        waiting.start()
        waiting.join(0.5)
        assert waiting.is_alive()
    waiting.join()  # its owner went without a record: it is done here
    assert names(more) == [("image-statistics", "knn")]
    assert not list((places.results / CLAIMS).iterdir())


def test_a_claim_without_its_lock_is_done_last(places: Places) -> None:
    """It may be of another machine, where locks do not reach so far."""
    first = plan_of(places)[0]
    (places.results / CLAIMS).mkdir(parents=True)
    (places.results / CLAIMS / first.claim).touch()
    cells = [cell.claim for cell in plan_of(places)]
    order = [one.key for one in work(places)]
    assert order[-1] == first.claim
    assert sorted(order) == sorted(cells)


def test_what_another_run_has_done_meanwhile_is_not_done_again(places: Places) -> None:
    late = work(places)
    assert names([next(late)]) == [("image-statistics", "knn")]
    assert len(list(work(places))) == 3
    assert list(late) == []


# Two runs at once, as processes.

CHILD = """
import os, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
from seamo_bench.runs import run
from seamo_bench.runs.context import context_of
from seamo_bench.runs.plan import Places, make_plan
from seamo_bench.suites.suite import load_suite
root, backbones = Path(sys.argv[1]), sys.argv[2].split(",")

def noted(*arguments, **named):
    Path(root, "marks", f"{time.time_ns()}-{os.getpid()}").touch()
    time.sleep(0.3)
    return context_of(*arguments, **named)

def quiet(done, total, what):
    pass

run.context_of = noted
places = Places(root / "stores", root / "results", root / "weights")
cells = make_plan(load_suite(str(root / "suite.yaml")), backbones, places)
print("planned", flush=True)
sys.stdin.readline()
for record in run.run_plan(cells, places, machine=run.Machine(), progress=quiet, inner=quiet):
    assert record.status == "ok", record.reason
"""


def started(places: Places) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-c", CHILD, str(places.stores.parent), ",".join(BACKBONES)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    return child


def go(*children: "subprocess.Popen[bytes]") -> None:
    for child in children:
        assert child.stdin is not None
        child.stdin.write(b"\n")
        child.stdin.close()


@pytest.mark.soak
def test_two_runs_do_every_cell_once(places: Places) -> None:
    marks = places.stores.parent / "marks"
    marks.mkdir()
    calm = Places(places.stores, places.stores.parent / "calm", places.weights)
    list(work(calm))
    children = [started(places) for _ in range(2)]
    go(*children)
    assert [child.wait() for child in children] == [0, 0]
    assert len(list(marks.iterdir())) == 4
    assert len({path.name.partition("-")[2] for path in marks.iterdir()}) == 2
    assert left(places.results) == left(calm.results)


@pytest.mark.soak
def test_two_runs_of_which_one_is_killed_give_the_records_of_one(places: Places) -> None:
    marks = places.stores.parent / "marks"
    marks.mkdir()
    calm = Places(places.stores, places.stores.parent / "calm", places.weights)
    list(work(calm))
    for moment in np.random.default_rng(0).uniform(0.0, 1.5, 4):
        children = [started(places) for _ in range(2)]
        go(*children)
        time.sleep(moment)
        children[0].kill()
        children[0].wait()
        assert children[1].wait() == 0
        assert left(places.results) == left(calm.results)
        assert not list((places.results / CLAIMS).iterdir())
        shutil.rmtree(places.results)
