"""A cell's way from plan to record, traced: how many rooms of the benchmark a reader has to enter to follow it."""

import inspect
import sys
import threading
from pathlib import Path

import pytest
import torch

import seamo_bench
from seamo_bench.runs.plan import Places, make_plan
from seamo_bench.runs.run import Machine, run_plan
from seamo_bench.suites.suite import Row, Suite
from tests.bench.bench_store import toy_store

# A room is a folder of the package, or a file at its root. Two more since features are sealed (`features.parts`) and
# cards are kept whole, so that a card makes the one that is fed; three since runs share the work of a folder of results
# (`runs.claims`, what it asks of `runs.cells`, `records.put`); one since they may lie at an address (`runs.results`);
# one since a plan loads no torch (a protocol's card, and what works with torch, are two files); one since the names of
# what lies beside a record are said once (`records.layout`).
ROOMS, FILES = 15, 34
ROOT = Path(seamo_bench.__file__).parent

torch.set_num_threads(1)


def quiet(done: int, total: int, what: str) -> None:
    del done, total, what


def entered(work) -> set[str]:
    """Modules of seamo_bench of which some function ran, however often."""
    files: set[str] = set()

    def look(frame, event, _arg) -> None:
        # Not modules and classes, whose bodies run when they are imported.
        if event == "call" and frame.f_code.co_flags & inspect.CO_NEWLOCALS:
            files.add(frame.f_code.co_filename)

    sys.setprofile(look)
    threading.setprofile(look)
    try:
        work()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    own = [Path(name) for name in files if Path(name).is_relative_to(ROOT)]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in own}


@pytest.mark.parametrize(("protocol", "params"), [("knn", {}), ("linear", {"steps": 2})])
def test_a_cell_enters_few_rooms_on_its_way_to_a_record(tmp_path, protocol, params):
    toy_store(tmp_path / "stores")
    suite = Suite(id="one", rows=(Row(store="toy", protocol=protocol, params=params),))
    places = Places(tmp_path / "stores", tmp_path / "results", tmp_path / "weights")
    cells = make_plan(suite, ["image-statistics"], places)
    records = []

    def work() -> None:
        records.extend(run_plan(cells, places, machine=Machine(), progress=quiet, inner=quiet))

    modules = entered(work)
    assert {record.status for record in records} == {"ok"}
    rooms = {module.partition(".")[0] for module in modules}
    assert len(rooms) <= ROOMS, f"{len(rooms)} rooms: {', '.join(sorted(rooms))}"
    assert len(modules) <= FILES, f"{len(modules)} files: {', '.join(sorted(modules))}"
