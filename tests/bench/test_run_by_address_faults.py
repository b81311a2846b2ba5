"""Runs at an address: their claims, what they refuse, and what servers do wrong while they run."""

import json
import pickle
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from seamo.errors import StoreError
from seamo.files import open_files
from seamo_bench.runs.claims import CLAIMS, OLD_S
from seamo_bench.runs.claims_there import ClaimsThere
from seamo_bench.runs.results import ResultsError, opened_results
from tests import servers
from tests.bench.address_world import BACKBONES, lay_out, make_world, of_address, of_disk, places_of, work
from tests.races_results import Looking, differences


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("world"))


class Killed(BaseException):
    """Stands for a kill: nobody catches it."""


def claim(age_s: float, who: str = "another") -> bytes:
    return json.dumps({"id": who, "time": (datetime.now(UTC) - timedelta(seconds=age_s)).isoformat()}).encode()


def test_claims_at_an_address(bucket: str) -> None:
    files = open_files(bucket)
    ours, theirs = ClaimsThere(files, "ours"), ClaimsThere(files, "theirs")
    with ours.claimed("k") as mine, theirs.claimed("k") as other:
        assert mine is not None
        assert other is None
        assert set(json.loads(files.read(f"{CLAIMS}/k"))) == {"id", "time"}
        assert theirs.states(["k", "j"]) == {"k": "held", "j": "free"}
        assert ours.states(["k"]) == {"k": "free"}  # of the run before this one, that was killed
        theirs.sweep()
        assert theirs.states(["k"]) == {"k": "held"}
    assert list(files.names()) == []


@pytest.mark.parametrize(
    "said",
    [(OLD_S + 1, "another"), (-OLD_S - 60, "another"), b"", b"[]", b'{"id": 1, "time": 2}', (5, "us")],
    ids=["old", "of a clock that is ahead", "empty", "no claim", "of other types", "ours"],
)
def test_claims_that_do_not_hold_are_taken_over(bucket: str, said: bytes | tuple[float, str]) -> None:
    """Old, of a clock that is wrong, no claim at all, one's own."""
    files = open_files(bucket)
    data = claim(*said) if isinstance(said, tuple) else said
    files.put_once(f"{CLAIMS}/k", data)
    claims = ClaimsThere(files, "us")
    assert claims.states(["k"]) == {"k": "free"}
    with claims.claimed("k") as mine:
        assert mine is not None
        assert ClaimsThere(files, "others").states(["k"]) == {"k": "held"}
    files.put_once(f"{CLAIMS}/k", data)
    claims.sweep()
    assert list(files.names()) == []


def test_a_claim_is_renewed(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    files = open_files(bucket)
    monkeypatch.setattr("seamo_bench.runs.claims_there.RENEW_S", 0.0)
    with ClaimsThere(files, "us").claimed("k") as mine:
        files.swap(f"{CLAIMS}/k", lambda _: claim(500, "us"))
        assert mine is not None
        mine.renew()
        age = datetime.now(UTC) - datetime.fromisoformat(json.loads(files.read(f"{CLAIMS}/k"))["time"])
        assert age < timedelta(seconds=100)
        files.swap(f"{CLAIMS}/k", lambda _: claim(5))  # another run took it over
        mine.renew()
        assert json.loads(files.read(f"{CLAIMS}/k"))["id"] == "another"


def test_the_same_command_after_a_kill_has_its_claims_and_its_folder(bucket: str, here: Path) -> None:
    place = Path(bucket)
    run = opened_results(place)
    with run.__enter__().claimed("k"):
        said = open_files(bucket).read(f"{CLAIMS}/k")
    assert not run.__exit__(Killed, Killed(), None)
    open_files(bucket).put_once(f"{CLAIMS}/k", said)
    with opened_results(place) as again, opened_results(place) as other:
        assert again.states(["k"]) == {"k": "free"}
        assert other.states(["k"]) == {"k": "held"}
        assert {path.stat().st_mode & 0o777 for path in (here / "tmp").iterdir()} == {0o700}
        assert len(list((here / "tmp").iterdir())) == 2
    assert not list((here / "tmp").iterdir())


# Refused before anything runs, and faults while it does.


@pytest.mark.usefixtures("here")
def test_what_runs_do_not_write_to_is_refused_by_name(proxy: servers.FaultProxy, world: Path, call) -> None:
    words = ("run", world / "suite.yaml", "--stores", world / "stores", "--backbones", BACKBONES[0], "--results")
    files = open_files(proxy.bucket)
    code, said = call(*words, "https://example.org/results")
    assert (code, "https://example.org/results: a web server is read only" in said) == (2, True)
    assert call("referee", "--init", f"{proxy.bucket}/repository")[0] == 0
    code, said = call(*words, f"{proxy.bucket}/repository")
    assert (code, "is a results repository" in said, "`seamo-bench submit`" in said) == (2, True, True)
    code, said = call(*words, proxy.bucket)
    assert (code, "holds something else (repository/)" in said) == (2, True)
    before = sorted(files.names())
    proxy.faults = [servers.Fault("condition ignored", "PUT", times=99)]
    code, said = call(*words, f"{proxy.bucket}/new")
    assert (code, "does not honour conditional writes" in said) == (1, True)
    assert sorted(files.names()) == before


PATHS = (".json", ".npz", "/claims/", "/features/")
WRITING = [servers.Fault(kind, "PUT", path) for path in PATHS for kind in ("503", "429", "reset", "lost", "409")]
READING = [
    servers.Fault(kind, "GET", path)
    for kind in ("503", "429", "reset", "short", "truncated", "wrong byte")
    for path in (".json", "/features/")
]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("faults", [WRITING, READING], ids=["writing", "reading"])
def test_faults_that_pass_change_nothing(proxy: servers.FaultProxy, world: Path, faults: list[servers.Fault]) -> None:
    """A run from nothing, and one that finds features and half of the records."""
    address = f"{proxy.bucket}/results"
    if faults is READING:
        lay_out(world, address)
        files = open_files(address)
        files.delete([name for name in files.names() if "/" not in name and name.endswith(".json")][::2])
    proxy.faults = [replace(fault) for fault in faults]
    assert {record.status for record in work(places_of(world, address))} == {"ok"}
    assert [fault for fault in proxy.faults if fault.times] == []
    assert of_address(address) == of_disk(world / "disk")


@pytest.mark.usefixtures("here")
def test_an_address_that_is_lost_is_one_message_and_no_record_says_failed(
    proxy: servers.FaultProxy, world: Path, call
) -> None:
    address = f"{proxy.bucket}/results"
    words = ("run", world / "suite.yaml", "--stores", world / "stores", "--backbones", "pixel-values")
    words = (*words, "--results", address)
    proxy.faults = [servers.Fault("403", "PUT", path=".npz", times=99)]  # a record that says so could be put
    code, said = call(*words)
    assert (code, said.count("may not be written")) == (1, 1)
    assert "Finished records are kept." in said
    assert "Traceback" not in said
    assert not [name for name in open_files(address).names() if name.endswith(".json") and "features" not in name]
    proxy.faults = []
    assert "records written: 3 ok, 0 impossible, 0 failed" in call(*words)[1]


@pytest.mark.usefixtures("here")
def test_features_that_cannot_be_kept_there_stop_nothing(
    proxy: servers.FaultProxy, world: Path, caplog: pytest.LogCaptureFixture
) -> None:
    address = f"{proxy.bucket}/results"
    proxy.faults = [servers.Fault("403", method, path="/features/", times=99) for method in ("PUT", "GET")]
    assert {record.status for record in work(places_of(world, address))} == {"ok"}
    assert caplog.text.count("features are not kept for other machines") == 1
    found, want = of_address(address), of_disk(world / "disk")
    assert found == {name: one for name, one in want.items() if not name.startswith("features")}


def test_a_race_sees_a_record_that_is_not_whole(bucket: str, world: Path) -> None:
    """What looks on in `tests.races` finds predictions that are missing, or another's."""
    lay_out(world, bucket)
    reader, files = Looking(bucket), open_files(bucket)
    reader.look()
    assert (reader.looks, reader.bad) == (1, [])
    one, other = sorted(name for name in files.names() if "/" not in name and name.endswith(".npz"))[:2]
    files.swap(one, lambda _: files.read(other))
    files.delete([other])
    reader.look()
    assert [text.rpartition(": ")[2] for text in reader.bad] == [
        "is not the file that the record describes (its sha256 differs)", "the predictions of this record are not there"
    ]  # fmt: skip
    assert differences(of_disk(world / "disk"), of_address(bucket)) == [f"{other} is not there", f"{one} is another"]


def test_an_error_of_the_address_travels() -> None:
    error = pickle.loads(pickle.dumps(ResultsError("is away", "s3://b", "Wait.")))  # noqa: S301
    assert isinstance(error, StoreError)
    assert str(error) == "s3://b: is away. Wait."
