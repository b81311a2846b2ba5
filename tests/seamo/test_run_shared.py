"""Two processes at the address of one run, and those who read it there."""

import multiprocessing
import shutil
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from seamo.disk import drop_scratch
from seamo.errors import TrainingError, UsageError
from seamo.files import open_files
from seamo.identity import file_sha256
from seamo.pretrain import claim, objects
from seamo.pretrain.checkpoint import read_checkpoint_facts
from seamo.pretrain.fetched import bring_checkpoint, model_folder, newest_checkpoints, read_facts_at
from seamo.pretrain.loop import pretrain
from seamo.pretrain.remote import RemoteRun
from seamo.seal import SealedFile, seal_document
from seamo.store.reader import Store
from seamo.use.inputs import load_pretrained
from seamo_bench.backbones.seamo import card_of
from seamo_bench.zoo.catalogue import card_digest, card_document
from seamo_bench.zoo.loading import load_backbone
from tests import servers
from tests.seamo.runs_in_buckets import FINAL, kill_at, lies_there, make_home, make_store, recipe, train_on_disk


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def disk(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_on_disk(store, tmp_path_factory.mktemp("run"))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return make_home(tmp_path, monkeypatch)


def test_a_second_process_is_refused_while_the_first_lives(bucket: str, store: Store, home: Path) -> None:
    files = open_files(f"{bucket}/runs/one")
    first = claim.RunClaim(files, home / "first")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(claim, "RENEW_S", 0.05)
        patch.setattr(claim, "STALE_S", 20.0)
        first.take()
        with pytest.raises(TrainingError, match=r"runs/one: another process is training there\. Wait for it"):
            pretrain(recipe(), store, files.url)
        # A process of this disk that was killed is known by its claim, and not waited for.
        first._over.set()
        first._thread.join(10)  # one that was killed does not renew, either
        again = claim.RunClaim(files, home / "first")
        began = time.monotonic()
        again.take()
        assert time.monotonic() - began < 10
        first._over.clear()
        with pytest.raises(TrainingError):
            first._swap({})
        with pytest.raises(TrainingError, match="another process is training there"):
            first.check()
        again.give_back()
    assert list(files.names()) == []


def test_a_claim_that_nobody_renews_is_taken_over_by_ones_own_clock(
    bucket: str, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = open_files(bucket)
    for since in (0.0, 3600.0):  # of a machine whose clock is an hour ahead
        files.swap(claim.NAME, lambda _, at=since: seal_document({"id": "gone", "renewed": time.time() + at}))
        mine = claim.RunClaim(files, home / "mine")
        began = time.monotonic()
        mine.take()
        assert time.monotonic() - began >= 0.2
        assert "is claimed by another process: waiting to see whether it lives" in caplog.text
        mine.give_back()


def test_two_that_train_all_the_same_are_told_and_nothing_is_mixed(
    bucket: str, store: Store, disk: Path, home: Path, tmp_path: Path
) -> None:
    out = f"{bucket}/runs/one"
    kill_at(18, lambda: pretrain(recipe(), store, out))
    files = open_files(out)
    before = lies_there(out)
    name = newest_checkpoints(files)[0]
    other = pretrain(recipe("seed=4", "machine.keep=9"), store, tmp_path / "one").parent
    with pytest.raises(TrainingError, match=f"{name} is there from another process, with other weights"):
        RemoteRun(out, other, None)._put_checkpoint(other / "checkpoints" / name)
    there = lies_there(out)
    assert {key: there[key] for key in before} == before
    facts = read_facts_at(files, name)
    assert facts is not None
    bring_checkpoint(files, name, facts, tmp_path / "brought")
    # Of an equal step that nobody has finished, the one that is sealed is found among the files of both.
    unfinished = "step-00000004"
    files.put_once(f"checkpoints/{unfinished}/state.pt", b"of another process")
    run = RemoteRun(out, other, None)
    run._put_checkpoint(other / "checkpoints" / unfinished)
    assert files.read(f"checkpoints/{unfinished}/state.pt") == b"of another process"
    facts = read_facts_at(files, unfinished)
    assert facts == read_checkpoint_facts(other / "checkpoints" / unfinished)
    bring_checkpoint(files, unfinished, facts, tmp_path / "brought")
    for file in ("state.pt", "model.safetensors"):
        mine = tmp_path / "brought" / "checkpoints" / unfinished / file
        assert mine.read_bytes() == (other / "checkpoints" / unfinished / file).read_bytes()
    assert disk
    assert home


def test_the_benchmark_takes_a_run_of_an_address_as_of_a_disk(bucket: str, disk: Path, home: Path) -> None:
    servers.upload(disk, f"{bucket}/runs/one")
    for how in ("", "@pretrain", "@random:3"):
        far, near = card_of(f"{bucket}/runs/one{how}"), card_of(f"{disk}{how}")
        assert far is not None
        assert near is not None
        assert card_document(far) == card_document(near)
        assert card_digest(far) == card_digest(near)
    one, other = (load_backbone(f"{place}@pretrain") for place in (f"{bucket}/runs/one", str(disk)))
    weights = [dict(made.network.named_parameters()) for made in (one, other)]
    assert all(bool((weights[0][name] == value).all()) for name, value in weights[1].items())
    assert list(home.iterdir())
    drop_scratch()
    assert not list(home.iterdir())


def _bring(place: str, answers: Connection) -> None:
    answers.send(str(model_folder(place)))


@pytest.mark.soak
def test_a_worker_that_ends_leaves_nothing(bucket: str, disk: Path) -> None:
    """A process of multiprocessing runs no `atexit`; those of dask are some."""
    servers.upload(disk, f"{bucket}/one")
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    child = context.Process(target=_bring, args=(f"{bucket}/one", there))
    child.start()
    assert here.poll(300)
    folder = Path(here.recv())
    child.join()
    assert child.exitcode == 0
    assert folder.parts[-2:] == ("one", "final")
    assert not folder.exists()


def test_a_run_is_read_from_a_web_server(disk: Path, home: Path, tmp_path: Path) -> None:
    shutil.copytree(disk, tmp_path / "site" / "one")
    with servers.web(tmp_path / "site") as url:
        assert load_pretrained(f"{url}/one", device="cpu").identity == file_sha256(disk / FINAL)
        assert model_folder(f"{url}/one").parts[-2:] == ("one", "final")
        (tmp_path / "site" / "one" / "checksums.json").unlink()
        with pytest.raises(UsageError, match="has not ended, and a web server lists no files"):
            load_pretrained(f"{url}/one", device="cpu")
    drop_scratch()
    assert not list(home.iterdir())


def test_large_files_are_put_in_parts(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "PART", 1000)
    files, path = open_files(bucket), tmp_path / "state.pt"
    path.write_bytes(np.random.default_rng(0).bytes(2500))
    sealed = SealedFile(2500, file_sha256(path))
    files.put_once("a/state.pt.part-0001", b"of another")
    for _ in range(2):
        objects.put_file(files, "a/state.pt", path, sealed)
    sizes = {name: files.size(name) for name in files.names("a")}
    beside = f"a/state.pt.{sealed.sha256[:16]}"
    assert sizes == {
        "a/state.pt.part-0000": 1000, "a/state.pt.part-0001": 10,
        f"{beside}.part-0000": 1000, f"{beside}.part-0001": 1000, f"{beside}.part-0002": 500,
    }  # fmt: skip
    objects.bring_file(files, "a/state.pt", sealed, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == path.read_bytes()
    with path.open("ab") as log:  # what grew since it was sealed
        log.write(b"more")
    objects.put_file(files, "b/log", path, sealed)
    objects.bring_file(files, "b/log", sealed, tmp_path / "back")
    files.delete([f"{beside}.part-0002"])
    with pytest.raises(TrainingError, match=r"a/state.pt: is missing"):
        objects.bring_file(files, "a/state.pt", sealed, tmp_path / "back")
