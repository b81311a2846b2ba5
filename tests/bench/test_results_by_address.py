"""Results handed in to a bucket, and judged and tabled from there: the same words as of a folder, no copy left."""

import json
import re
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from seamo.errors import StoreError, UsageError
from seamo.files import open_files
from seamo.store.reader import open_store
from seamo_bench.cli import main
from seamo_bench.facts import Value
from seamo_bench.records.answers import Answer, read_answers, write_answer
from seamo_bench.records.fetched import check_results, results_on_disk
from seamo_bench.records.layout import predictions_name, record_name
from seamo_bench.records.record import read_records
from seamo_bench.records.submit import submit
from tests import servers
from tests.bench.bench_store import toy_store
from tests.bench.forging import forge
from tests.races_results import Looking

SUITE = "id: small\nrows:\n  - {store: toy, protocol: knn}\n"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store, and a run's folder with two records."""
    folder = tmp_path_factory.mktemp("world")
    toy_store(folder / "stores", 90)
    (folder / "suite.yaml").write_text(SUITE)
    before, sys.argv = sys.argv, ["seamo-bench", "run", f"{folder}/suite.yaml"]
    sys.argv += ["--stores", f"{folder}/stores", "--results", f"{folder}/mine"]
    sys.argv += ["--backbones", "image-statistics,pixel-values"]
    with pytest.raises(SystemExit) as end:
        main()
    sys.argv = before
    assert not end.value.code
    assert len(read_records(folder / "mine").records) == 2
    return folder


def files_below(place: str | Path) -> dict[str, bytes]:
    files = open_files(place)
    return {name: files.read(name) for name in files.names()}


def test_a_repository_in_a_bucket_is_that_of_a_folder(bucket: str, world: Path, here: Path, call) -> None:
    address = f"{bucket}/results"
    store = open_store(world / "stores" / "toy").path
    for place in ("here", address):
        assert call("referee", "--init", place)[0] == 0
        assert call("referee", place, "--register", store, "--as", "keeper")[0] == 0
        assert call("submit", world / "mine", place, "--as", "Ada") == (
            0,
            "2 copied, 0 there already, 0 refused\nThe records were not held against the data (--stores).\n",
        )
        again = call("submit", world / "mine", place, "--as", "Ada")
        assert again[1].startswith("0 copied, 2 there already, 0 refused")
    ours = files_below(address)
    theirs = {name: data for name, data in files_below("here").items() if name in ours}
    entry = next(name for name in ours if name.startswith("stores/"))
    told = [json.loads(one.pop(entry)) for one in (ours, theirs)]
    assert [one["tests"] for one in told] == [told[0]["tests"]] * 2  # the entries differ in when they were made
    assert ours == theirs
    assert len([name for name in ours if name.startswith(("records/", "predictions/"))]) == 4
    for verb in ("table", "referee", "verify", "compare"):
        more = ("image-statistics", "pixel-values") if verb == "compare" else ()
        assert call(verb, address, *more) == call(verb, "here", *more)
    code, said = call("referee", address)
    assert (code, said.count("plausible, not rerun")) == (0, 2)
    for place, page in ((address, "a.html"), ("here", "h.html")):
        assert call("report", place, "-o", page)[0] == 0
    # Its check commands name the place as it was given; the day of the newest record is known of a folder alone.
    there, same = Path("a.html").read_text("utf-8"), Path("h.html").read_text("utf-8")
    assert there.count(f"seamo-bench verify {address}/") == same.count("seamo-bench verify here/") == 2
    assert there.replace(address, "here") == re.sub(r"\s*Newest record: [^.]*\.", "", same)
    key = read_records(world / "mine").records[0].key
    for root, name in ((address, record_name(key)), ("here", record_name(key))):
        assert call("verify", f"{root}/{name}")[1].startswith(f"{key}.json: key, predictions and scores agree")
    assert {path.name for path in here.iterdir()} == {"tmp", "here", "a.html", "h.html"}
    assert not list((here / "tmp").iterdir())


def test_a_folder_of_a_run_is_read_in_a_bucket(bucket: str, world: Path, here: Path, call) -> None:
    servers.upload(world / "mine", f"{bucket}/mine")
    assert call("table", f"{bucket}/mine") == call("table", world / "mine")
    assert call("verify", f"{bucket}/mine") == call("verify", world / "mine")
    first = read_records(world / "mine").records[0]
    assert call("verify", f"{bucket}/mine/{first.key}.json")[0] == 0
    assert call("submit", f"{bucket}/mine", "other")[1].startswith("2 copied")
    for words in (("submit", world / "mine"), ("referee", "--init")):
        code, said = call(*words, bucket)
        assert (code, f"{bucket}: is no results repository" in said) == (1, True)
    assert not list((here / "tmp").iterdir())


class Told(Value):
    words: str


def test_answers_come_with_a_folder_and_runs_go_on_in_it(bucket: str, world: Path, tmp_path: Path) -> None:
    mine = Path(shutil.copytree(world / "mine", tmp_path / "mine"))
    key = read_records(mine).records[0].key
    write_answer(mine, Answer("told", 1, "seamo-bench told results", {}, (key,), (Told(words="so"),)))
    (mine / "features").mkdir(exist_ok=True)
    (mine / "features" / "no-answer.json").write_text("{}")
    servers.upload(mine, f"{bucket}/mine")
    with results_on_disk(Path(f"{bucket}/mine")) as folder:
        (found,) = read_answers(folder, "told", Told, version=1, known=[key])
        assert not (folder / "features").exists()
    assert [row.words for row in found.rows] == ["so"]
    check_results(Path(f"{bucket}/mine"))  # answers are nothing strange
    servers.upload(mine / "answers", f"{bucket}/strange/others")
    with pytest.raises(UsageError, match="holds something else"):
        check_results(Path(f"{bucket}/strange"))


def test_one_record_of_a_web_server_is_verified(world: Path, here: Path, call) -> None:
    first = read_records(world / "mine").records[0]
    with servers.web(world / "mine") as url:
        assert call("verify", f"{url}/{first.key}.json") == call("verify", world / "mine" / f"{first.key}.json")
        code, said = call("table", url)
    assert (code, "a web server lists no files" in said) == (1, True)
    assert not list((here / "tmp").iterdir())


@pytest.mark.usefixtures("here")
def test_what_is_wrong_is_named_by_its_address(bucket: str, world: Path, call) -> None:
    address = f"{bucket}/results"
    assert call("table", address) == (
        1,
        f"seamo-bench: {address}: there are no results. Run a suite, and hand its results in there.\n",
    )
    mine = Path(shutil.copytree(world / "mine", "mine"))
    first = read_records(mine).records[0]
    assert call("submit", mine, address)[0] == 0
    files = open_files(address)
    name = predictions_name(first.predictions.sha256 if first.predictions else "")
    data = files.read(name)
    files.delete([name])
    code, said = call("verify", f"{address}/{record_name(first.key)}")
    missing = (
        f"{address}/{record_name(first.key)}: {name.rpartition('/')[2]}: the predictions of this record are not there"
    )
    assert (code, missing in said) == (1, True)
    files.put_once(name, data[:-1])
    code, said = call("verify", address)
    assert code == 1
    assert f"{first.key}.npz: WRONG: is not the file that the record describes" in said
    assert "seamo-results-" not in said
    assert call("submit", mine, address)[1].splitlines()[1].endswith(f"other bytes are there as {name}")
    assert files.read(name) == data[:-1]


@pytest.mark.usefixtures("here")
def test_a_server_that_ignores_conditions_gets_no_results(proxy: servers.FaultProxy, world: Path, call) -> None:
    proxy.faults = [servers.Fault("condition ignored", "PUT", times=99)]
    code, said = call("submit", world / "mine", f"{proxy.bucket}/results")
    assert (code, "does not honour conditional writes" in said) == (1, True)
    assert not list(open_files(proxy.bucket).names())


def near(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What another machine gives: the same but for rounding."""
    return {**arrays, "scores": arrays["scores"] * np.float32(1 + 1e-6)}


def test_two_who_submit_to_one_bucket_at_once_leave_one_first_record(bucket: str, world: Path, tmp_path: Path) -> None:
    key = read_records(world / "mine").records[0].key
    folders = {
        "Ada": forge(world / "mine", key, tmp_path / "mine").parent,
        "Ben": forge(world / "mine", key, tmp_path / "theirs", arrays=near).parent,
    }

    def hand_in(who: str) -> list[str]:
        return [one.outcome for n in range(5) for one in submit(folders[who], Path(f"{bucket}/{n}"), submitter=who)]

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(hand_in, folders)) == [["copied"] * 5] * 2
    for n in range(5):
        there = files_below(f"{bucket}/{n}")
        records = [json.loads(there[record_name(key, number)]) for number in (0, 1)]
        assert {one["environment"]["submitter"] for one in records} == {"Ada", "Ben"}
        assert {name for name in there if name.startswith("predictions/")} == {
            predictions_name(one["predictions"]["sha256"]) for one in records
        }
        assert len(there) == 4


def test_a_submit_that_is_broken_off_leaves_no_record_without_predictions(
    proxy: servers.FaultProxy, world: Path
) -> None:
    address = Path(f"{proxy.bucket}/results")
    proxy.faults = [servers.Fault("403", "PUT", path="/records/", times=99)]
    with pytest.raises(StoreError, match="may not be written"):
        list(submit(world / "mine", address))
    assert {name.partition("/")[0] for name in files_below(proxy.bucket)} == {"results"}
    assert [name.split("/")[1] for name in files_below(proxy.bucket)] == ["predictions"]
    proxy.faults = [servers.Fault("lost", "PUT", path=f"/{name}/") for name in ("records", "predictions")]
    proxy.faults += [servers.Fault("503", "PUT", path="/records/"), servers.Fault("409", "PUT", path="/records/")]
    assert [one.outcome for one in submit(world / "mine", address)] == ["copied", "copied"]
    assert [fault.times for fault in proxy.faults] == [0] * 4
    assert [one.outcome for one in submit(world / "mine", address)] == ["there already", "there already"]
    assert len(files_below(str(address))) == 4


def test_a_race_of_submits_sees_a_record_that_is_not_whole(bucket: str, world: Path) -> None:
    list(submit(world / "mine", Path(f"{bucket}/results")))
    reader, files = Looking(f"{bucket}/results"), open_files(f"{bucket}/results")
    reader.look()
    files.delete([next(files.names("predictions"))])
    reader.look()
    assert (reader.looks, len(reader.bad)) == (2, 1)
    assert reader.bad[0].endswith("the predictions of this record are not there")
