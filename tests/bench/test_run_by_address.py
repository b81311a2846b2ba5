"""Runs that write to an address: the records of a run on a disk, shared, and nothing kept here."""

import json
from functools import partial
from pathlib import Path

import pytest

from seamo.files import Files, open_files
from seamo.files.bucket import BucketFiles
from seamo_bench.features.cache import FeatureCache
from seamo_bench.predictions import predictions_bytes
from seamo_bench.records.put import REPRODUCTIONS
from seamo_bench.records.record import Record, load_predictions, read_records, write_record
from seamo_bench.records.there import put_there, whole_there
from seamo_bench.runs import run
from seamo_bench.runs.plan import Places, make_plan
from seamo_bench.runs.results import opened_results
from seamo_bench.suites.suite import load_suite
from tests import servers
from tests.bench.address_world import BACKBONES, SUITE, lay_out, make_world, of_address, of_disk, places_of, work
from tests.bench.test_records import make_facts
from tests.bench.test_shared_results import ABOUT, predictions_of


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("world"))


def test_a_run_at_an_address_leaves_what_one_on_a_disk_leaves(bucket: str, world: Path, here: Path, call) -> None:
    servers.upload(world / "stores", f"{bucket}/stores")
    address = f"{bucket}/results"
    words = ("--stores", f"{bucket}/stores", "--results", address, "--backbones", ",".join(BACKBONES))
    code, said = call("run", world / "suite.yaml", *words)
    assert (code, "records written: 6 ok" in said) == (0, True)
    assert of_address(address) == of_disk(world / "disk")
    assert "4 cells were done; records written: 0 ok" in call("run", world / "suite.yaml", *words)[1]
    assert "4 cells: 4 done, 0 will run, 0 impossible" in call("plan", world / "suite.yaml", *words)[1]
    for verb in ("table", "verify", "compare"):
        more = BACKBONES if verb == "compare" else ()
        assert call(verb, address, *more) == call(verb, world / "disk", *more)
    assert call("report", address, "-o", "a.html")[0] == 0
    assert call("submit", address, "repository")[1].startswith("6 copied")
    assert {path.name for path in here.iterdir()} == {"tmp", "a.html", "repository"}
    assert not list((here / "tmp").iterdir())


@pytest.mark.usefixtures("here")
def test_a_copy_of_an_address_is_read_as_it_is(bucket: str, world: Path, tmp_path: Path) -> None:
    """By another tool, with the names that files have there."""
    lay_out(world, bucket)
    files, copy = open_files(bucket), tmp_path / "copy"
    copy.mkdir()
    for name in [name for name in files.names() if "/" not in name]:
        (copy / name).write_bytes(files.read(name))
    ours, theirs = read_records(copy), read_records(world / "disk")
    assert [one.key for one in ours.records] == [one.key for one in theirs.records]
    for one in ours.records:
        assert predictions_bytes(load_predictions(one, copy)) == (world / "disk" / f"{one.key}.npz").read_bytes()
    assert not list(work(places_of(world, str(copy))))


@pytest.mark.usefixtures("here")
def test_two_runs_at_one_address_do_every_cell_once(bucket: str, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    own = run._run_cell
    monkeypatch.setattr(run, "_run_cell", lambda cell, *rest: done.append(cell.id) or own(cell, *rest))
    places = places_of(world, bucket)
    one, other = work(places), work(places)  # both plans are made before anything is there
    first = next(one)
    second = next(other)  # while the first one is at the second seed of a cell, or at the next one
    assert first.facts.backbone.id != second.facts.backbone.id
    records = [first, second, *other, *one]
    assert len(done) == len(set(done)) == 4
    assert len({record.key for record in records}) == len(records) == 6
    assert of_address(bucket) == of_disk(world / "disk")


@pytest.mark.usefixtures("here")
def test_a_run_goes_on_from_the_address_with_nothing_on_its_disk(
    bucket: str, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_out(world, bucket)
    files = open_files(bucket)
    there = [name for name in files.names() if "/" not in name and name.endswith(".json")]
    gone = [name for name in there if json.loads(files.read(name))["facts"]["backbone"]["id"] == "pixel-values"]
    assert len(gone) == len(there) / 2
    files.delete(gone)

    def fails(*_: object) -> None:
        raise AssertionError("features are computed again")

    monkeypatch.setattr(FeatureCache, "_compute", fails)
    monkeypatch.setattr(FeatureCache, "_look", fails)
    assert sorted(f"{record.key}.json" for record in work(places_of(world, bucket))) == sorted(gone)
    assert of_address(bucket) == of_disk(world / "disk")


@pytest.mark.usefixtures("here")
def test_damaged_features_at_an_address_are_computed_again_and_mended(
    bucket: str, world: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lay_out(world, bucket)
    files = open_files(bucket)
    names = [name for name in files.names("features") if name.endswith(".npy") and "rows" not in name]
    for name in names:
        data = bytearray(files.read(name))
        data[-1] ^= 1
        files.swap(name, lambda _, data=data: bytes(data))  # type: ignore[misc]
    files.delete([name for name in files.names() if "/" not in name and name.endswith(".json")])
    assert len(list(work(places_of(world, bucket)))) == 6
    assert "kept features are not what was kept" in caplog.text
    assert of_address(bucket) == of_disk(world / "disk")


@pytest.mark.usefixtures("here")
def test_a_blank_is_replaced_and_never_replaces(bucket: str, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places, files = places_of(world, bucket), open_files(bucket)
    with monkeypatch.context() as patch:
        patch.setattr(run, "runner", lambda _: 1 // 0)
        assert {record.status for record in work(places)} == {"failed"}
    late = work(places)  # planned before there is anything that ended well
    first = next(late)
    with monkeypatch.context() as patch:
        patch.setattr(run, "runner", lambda _: 1 // 0)
        cell = next(
            cell for cell in make_plan(load_suite(str(world / "suite.yaml")), BACKBONES, places) if not cell.todo
        )
        with opened_results(places.results) as results:
            again = run.replace(cell, todo=tuple(cell.facts))
            assert list(run.write_failure(again, results, "no memory", {})) == []
            assert results.put(first.key, None, lambda _: 1 // 0) == first  # type: ignore[arg-type, return-value]
    assert whole_there(files, first.key) == first
    list(late)
    found = of_address(bucket)
    assert found == of_disk(world / "disk")


@pytest.mark.usefixtures("here")
def test_an_impossible_cell_is_said_once_and_forgotten_when_it_runs(bucket: str, world: Path, tmp_path: Path) -> None:
    files = open_files(bucket)
    (tmp_path / "suite.yaml").write_text(SUITE.replace("toy", "eurosat"))
    places = Places(tmp_path / "stores", Path(bucket), tmp_path / "weights")
    assert {record.status for record in work(places)} == {"impossible"}
    before = {name: files.read(name) for name in files.names()}
    assert len(before) == 4
    assert len(list(work(places))) == 4
    assert {name: files.read(name) for name in files.names()} == before
    files.delete(before)
    for cell in make_plan(load_suite(str(world / "suite.yaml")), BACKBONES, places_of(world, bucket)):
        for blank in cell.blanks:
            write = partial(write_record, facts=blank, about=cell.about, status="impossible", reason="no weights")
            put_there(files, run.run_key(blank), is_blank=True, write=write, scratch=tmp_path)
    assert len(list(files.names())) == 8
    assert {record.status for record in work(places_of(world, bucket))} == {"ok"}
    assert of_address(bucket) == of_disk(world / "disk")


def put(files: Files, scratch: Path, shift: float | None) -> Record:
    facts = make_facts()
    blank = {"status": "failed", "reason": "no memory"} if shift is None else {"predictions": predictions_of(shift)}

    def write(folder: Path) -> Record:
        return write_record(folder, facts, about=ABOUT, **blank)  # type: ignore[arg-type]

    return put_there(files, run.run_key(facts), is_blank=shift is None, write=write, scratch=scratch)


def test_other_predictions_are_kept_below_reproductions(
    bucket: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = open_files(bucket)
    assert put(files, tmp_path, None).status == "failed"
    first = put(files, tmp_path, 0.0)
    before = {name: files.read(name) for name in files.names()}
    assert put(files, tmp_path, 0.0) == put(files, tmp_path, None) == first
    assert {name: files.read(name) for name in files.names()} == before
    assert put(files, tmp_path, 0.25) == put(files, tmp_path, 0.25) == first
    assert "the first stays, this one is kept beside it as a reproduction" in caplog.text
    beside = [name for name in files.names() if name not in before]
    assert len(beside) == 2
    assert all(name.startswith(f"{REPRODUCTIONS}/") for name in beside)
    below = open_files(f"{bucket}/{beside[0].rpartition('/')[0]}")
    other = whole_there(below, first.key)
    assert other is not None
    assert other.predictions != first.predictions
    assert not list(tmp_path.iterdir())
    # One whose predictions are gone is none.
    files.delete([name for name in before if name.endswith(".npz")])
    assert whole_there(files, first.key) is None
    assert put(files, tmp_path, 0.25).predictions == other.predictions


def test_a_record_that_comes_while_one_is_written_stays(bucket: str, tmp_path: Path) -> None:
    files, facts = open_files(bucket), make_facts()

    def late(folder: Path) -> Record:
        put(files, tmp_path, 0.25)
        return write_record(folder, facts, about=ABOUT, predictions=predictions_of(0.0))

    first = put_there(files, run.run_key(facts), is_blank=False, write=late, scratch=tmp_path)
    assert first == whole_there(files, first.key)
    assert first.predictions == put(open_files(f"{bucket}/other"), tmp_path, 0.25).predictions
    assert len([name for name in files.names(REPRODUCTIONS) if name.endswith(".json")]) == 1


class Killed(BaseException):
    """Stands for a kill: nobody catches it."""


def test_a_run_killed_at_any_write_leaves_no_record_without_predictions(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = BucketFiles._put
    for die_at in range(4):
        files = open_files(f"{bucket}/{die_at}")
        puts: list[str] = []

        def put_or_die(self, name, *rest, puts=puts, die_at=die_at, **named) -> None:
            if len(puts) == die_at:
                raise Killed
            puts.append(name)
            own(self, name, *rest, **named)

        with monkeypatch.context() as patch:
            patch.setattr(BucketFiles, "_put", put_or_die)
            if die_at < 2:
                with pytest.raises(Killed):
                    put(files, tmp_path, 0.0)
                assert [name for name in files.names() if name.endswith(".json")] == []
            else:
                put(files, tmp_path, 0.0)
        record = put(files, tmp_path, 0.0)
        assert whole_there(files, record.key) == record
        assert len(list(files.names())) == 2
