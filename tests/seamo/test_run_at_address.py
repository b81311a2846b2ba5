"""A run whose folder is in a bucket: the bytes of one on a disk, through any kill; read back by all who read runs."""

import json
import logging
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from seamo.cli import main as seamo
from seamo.disk import drop_scratch
from seamo.errors import StoreError, TrainingError, UsageError
from seamo.files import open_files
from seamo.identity import file_sha256
from seamo.pretrain import claim
from seamo.pretrain.checkpoint import checkpoints
from seamo.pretrain.fetched import bring_checkpoint, newest_checkpoints, read_facts_at
from seamo.pretrain.journal import Journal, JournalRow
from seamo.pretrain.logs import read_curves
from seamo.pretrain.loop import Stopped, pretrain
from seamo.pretrain.recipe import apply_changes, load_recipe, parse_recipe
from seamo.store.reader import Store, open_store
from seamo.use.inputs import load_pretrained
from seamo_bench.backbones.seamo import card_of
from tests import servers
from tests.seamo.runs_in_buckets import (
    FEW,
    FINAL,
    kill_at,
    lies_there,
    make_home,
    make_store,
    move_out,
    recipe,
    same_as_disk,
    train_on_disk,
)
from tests.seamo.small_store import build_small_store
from tests.seamo.test_pretrain_loop import RECIPE
from tests.test_team import PLANTED


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def disk(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_on_disk(store, tmp_path_factory.mktemp("run"))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return make_home(tmp_path, monkeypatch)


def test_a_run_in_a_bucket_is_the_run_of_a_disk(
    bucket: str, store: Store, disk: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """From a store in the bucket, with secrets in the environment; by the command line, and read by its verbs."""
    for name, text in PLANTED.items():
        monkeypatch.setenv(name, text)
    servers.upload(store.path, f"{bucket}/stores/small/one")
    file, out = tmp_path / "recipe.yaml", f"{bucket}/runs/one"
    file.write_text(yaml.safe_dump(apply_changes(RECIPE, FEW), sort_keys=False))

    def run(*words: object) -> str:
        monkeypatch.setattr(sys, "argv", ["seamo", *map(str, words), "--debug"])
        with pytest.raises(SystemExit) as end:
            seamo()
        said = capfd.readouterr()
        assert end.value.code == 0, said.err
        heard.append(said.out + said.err)
        return said.out.strip()

    heard: list[str] = []
    capfd.readouterr()
    address = f"{bucket}/stores/small/one"
    assert run("pretrain", file, "--store", address, "--out", out, "--device", "cpu") == f"{out}/final"
    assert not list(home.iterdir())
    same_as_disk(out, disk)
    assert run("pretrain", file, "--store", address, "--out", out, "--device", "cpu", "--resume") == f"{out}/final"
    there, here = json.loads(run("info", out, "--json"))[0], json.loads(run("info", disk, "--json"))[0]
    assert there["model"].pop("path") == f"{out}/final"
    assert there["id"] == here["id"] == "one"
    assert here["model"].pop("path") == f"{disk}/final"
    assert there == here
    for name, place in (("far", out), ("near", disk)):
        run("export", place, "-o", tmp_path / name / "model")
        run("embed", place, store.path, "--device", "cpu", "-o", tmp_path / name / "features.npz")
        run("reconstruct", place, "--store", store.path, "-o", tmp_path / name / "picture.png")
        run("embed", f"{place}/checkpoints/step-00000003", address, "--device", "cpu", "-o", tmp_path / name / "c.npz")
    far, near = ({p.name: file_sha256(p) for p in (tmp_path / n).rglob("*") if p.is_file()} for n in ("far", "near"))
    assert far == near
    assert not list(home.iterdir())
    heard += [json.dumps({name: data.decode("latin-1") for name, data in lies_there(out).items()})]
    for secret in PLANTED.values():
        assert not [said for said in heard if secret in said]


def test_killed_at_any_write_it_goes_on_from_an_empty_disk(bucket: str, store: Store, disk: Path, home: Path) -> None:
    writes = kill_at(10**9, lambda: pretrain(recipe(), store, f"{bucket}/runs/whole"))
    for moment in (writes // 2, writes - 2):
        _kill_once(f"{bucket}/runs/killed-{moment}", moment, store, disk, home)


@pytest.mark.soak
def test_killed_at_every_write(bucket: str, store: Store, disk: Path, home: Path) -> None:
    writes = kill_at(10**9, lambda: pretrain(recipe(), store, f"{bucket}/runs/whole"))
    for moment in range(1, writes + 1):
        _kill_once(f"{bucket}/runs/killed-{moment}", moment, store, disk, home)


def _kill_once(out: str, moment: int, store: Store, disk: Path, home: Path) -> None:
    kill_at(moment, lambda: pretrain(recipe(), store, out))
    move_out(home)
    whole = newest_checkpoints(open_files(out))
    if whole:  # whatever is there can be read in between
        facts = read_facts_at(open_files(out), whole[0])
        assert facts is not None
        bring_checkpoint(open_files(out), whole[0], facts, home / "look")
        assert read_curves(home / "look")["step"] == list(range(1, facts.progress.step + 1))
        move_out(home)
    pretrain(recipe(), store, out, resume=True)
    assert not list(home.iterdir()), moment
    same_as_disk(out, disk)
    assert load_pretrained(out, device="cpu").identity == file_sha256(disk / FINAL)
    drop_scratch()


@pytest.mark.parametrize("kinds", [("503", "reset", "lost"), ("403", "403", "403")], ids=["passing", "final"])
def test_a_fault_in_an_upload_costs_no_step(
    kinds: tuple[str, ...], proxy: servers.FaultProxy, store: Store, disk: Path, home: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """403 is not tried again: one message, and the next checkpoint is put."""
    out = f"{proxy.bucket}/runs/one"
    files = ("step-00000002/state.pt", "step-00000003/model", "step-00000003/checkpoint.json")
    proxy.faults = [servers.Fault(kind, "PUT", file) for kind, file in zip(kinds, files, strict=True)]
    with caplog.at_level(logging.WARNING):
        pretrain(recipe(), store, out)
    passing = "403" not in kinds
    assert [fault.times for fault in proxy.faults] == [0, 0, 0 if passing else 1]
    assert caplog.text.count("a checkpoint could not be put, it stays in") == (0 if passing else 2)
    if passing:
        same_as_disk(out, disk)
    assert open_files(out).read(FINAL) == (disk / FINAL).read_bytes()
    assert not list(home.iterdir())


def test_what_could_not_be_put_stays_here_and_is_put_by_the_next_try(
    proxy: servers.FaultProxy, store: Store, disk: Path, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = f"{proxy.bucket}/runs/one"
    proxy.faults = [servers.Fault("403", "PUT", f"step-0000000{n}/", times=99) for n in (2, 3, 4)]
    with pytest.raises(StoreError, match="may not be written"):
        pretrain(recipe(), store, out)
    assert newest_checkpoints(open_files(out)) == ["step-00000001"]
    assert [path.name for path in home.glob("*/one/checkpoints/*")] != []
    proxy.faults = []
    proxy.requests.clear()
    pretrain(recipe(), store, out, resume=True)
    assert "step-00000004 is put to" in caplog.text
    assert not [one for one in proxy.requests if one.startswith("GET") and "state.pt" in one]
    assert open_files(out).read(FINAL) == (disk / FINAL).read_bytes()
    assert not list(home.iterdir())


def test_a_signal_stops_it_when_its_checkpoint_is_there(
    bucket: str, store: Store, disk: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, write = f"{bucket}/runs/one", Journal.write

    def asking(self: Journal, row: JournalRow) -> None:
        write(self, row)
        if row.step == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Journal, "write", asking)
    with pytest.raises(Stopped):
        pretrain(recipe("machine.checkpoint_every=1000"), store, out)
    assert newest_checkpoints(open_files(out))[0] == "step-00000002"
    assert claim.NAME not in lies_there(out)
    assert not list(home.iterdir())
    pretrain(recipe(), store, out, resume=True)
    assert open_files(out).read(FINAL) == (disk / FINAL).read_bytes()


def _command(file: Path, stores: list[str], out: str) -> list[str]:
    """`seamo pretrain`, for which claims become stale at once."""
    code = "from seamo.pretrain import claim; claim.STALE_S = 0.5; from seamo.cli import main; main()"
    given = [word for store in stores for word in ("--store", store)]
    return [sys.executable, "-c", code, "pretrain", str(file), *given, "--out", out, "--resume"]


@pytest.mark.soak
def test_killed_for_good_again_and_again_on_machines_that_are_empty(bucket: str, store: Store, tmp_path: Path) -> None:
    file, out = tmp_path / "recipe.yaml", f"{bucket}/runs/one"
    more = [*FEW, "stage1={epochs: 6, warmup_epochs: 0}", "stage2={epochs: 10, warmup_epochs: 0}"]
    file.write_text(yaml.safe_dump(apply_changes(RECIPE, more), sort_keys=False))
    wanted = pretrain(parse_recipe(apply_changes(RECIPE, more), "test"), store, tmp_path / "one").parent
    rng, kills = random.Random(11), 0  # noqa: S311 - moments, the same every time
    for attempt in range(40):
        home = tmp_path / f"machine-{attempt}"
        home.mkdir()
        process = subprocess.Popen(
            _command(file, [store.url], out), env={**os.environ, "TMPDIR": str(home)}, stderr=subprocess.PIPE
        )
        begun = {name for name in open_files(out).names() if "checkpoints/" in name}
        while process.poll() is None and {n for n in open_files(out).names() if "checkpoints/" in n} <= begun:
            time.sleep(0.02)
        if attempt % 5 < 4:
            time.sleep(rng.uniform(0, 0.6))
            process.kill()
        _, errors = process.communicate()
        if process.returncode == 0:
            assert not list(home.iterdir())
            break
        assert process.returncode == -signal.SIGKILL, errors.decode()
        kills += 1
    assert kills >= 4
    same_as_disk(out, wanted)


def test_a_damaged_checkpoint_or_model_there_is_made_again(
    bucket: str, store: Store, disk: Path, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = f"{bucket}/runs/one"
    pretrain(recipe(), store, out)
    files = open_files(out)
    files.delete(["checksums.json", *(name for name in files.names() if name.startswith("final/"))])
    newest = newest_checkpoints(files)[0]
    state = files.read(f"checkpoints/{newest}/state.pt")
    files.delete([f"checkpoints/{newest}/state.pt"])
    files.put_once(f"checkpoints/{newest}/state.pt", state[:-1] + bytes([state[-1] ^ 1]))
    pretrain(recipe(), store, out, resume=True)
    assert "state.pt has another sha256 than its manifest says: the checkpoint before it is used" in caplog.text
    same_as_disk(out, disk)
    files.delete([FINAL])
    with pytest.raises(TrainingError, match=rf"{out}/{FINAL}: is missing"):
        load_pretrained(out, device="cpu")
    pretrain(recipe(), store, out, resume=True)
    same_as_disk(out, disk)
    drop_scratch()
    assert not list(home.iterdir())


def test_other_recipes_and_other_things_are_refused_there_as_on_a_disk(
    bucket: str, store: Store, home: Path, tmp_path: Path
) -> None:
    out = f"{bucket}/runs/one"
    kill_at(20, lambda: pretrain(recipe(), store, out))
    move_out(home)
    with pytest.raises(UsageError, match=rf"{out}: holds a run already\. Give --resume"):
        pretrain(recipe(), store, out)
    with pytest.raises(TrainingError, match=rf"^{out}: the run was begun with another recipe \(seed: 3 -> 4\)"):
        pretrain(recipe("seed=4"), store, out, resume=True)
    open_files(f"{bucket}/data").put_once("photo.tif", b"1")
    with pytest.raises(UsageError, match=rf"{bucket}/data: is not empty and holds no run \(photo.tif\)"):
        pretrain(recipe(), store, f"{bucket}/data")
    with pytest.raises(UsageError, match="is neither a run nor a model"):
        card_of(f"{bucket}/data@pretrain")
    assert list(open_files(f"{bucket}/data").names()) == ["photo.tif"]
    with servers.web(tmp_path) as url, pytest.raises(StoreError, match="https:// is read only"):
        pretrain(recipe(), store, f"{url}/one")
    assert not list(home.iterdir())


def _start_ranks(world: int, file: Path, stores: list[str], out: str, home: Path) -> "list[subprocess.Popen[bytes]]":
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    around = {**os.environ, "TMPDIR": str(home), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    around |= {"WORLD_SIZE": str(world)}
    command = _command(file, stores, out)
    return [
        subprocess.Popen(command, env={**around, "RANK": str(k), "LOCAL_RANK": str(k)}, stderr=subprocess.PIPE)
        for k in range(world)
    ]


def _ends_as_on_a_disk(processes: "list[subprocess.Popen[bytes]]", out: str, disk: Path, tmp_path: Path) -> None:
    for process in processes:
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors.decode()
    (tmp_path / "curves.csv").write_bytes(open_files(out).read("curves.csv"))
    there, here = read_curves(tmp_path), read_curves(disk)
    np.testing.assert_allclose(there["loss"], here["loss"], rtol=1e-5)
    assert there["images"] == here["images"]


@pytest.fixture
def mixture(bucket: str, store: Store, tmp_path: Path) -> tuple[Path, list[str], Path]:
    """A recipe that mixes two stores of the bucket, their addresses, and its run on a disk."""
    other = build_small_store(tmp_path / "other", n=12, absent=(5,))
    file, addresses = tmp_path / "recipe.yaml", [f"{bucket}/stores/one", f"{bucket}/stores/other"]
    mixed = apply_changes(RECIPE, [*FEW, "data.weights=[0.6, 0.4]"])
    file.write_text(yaml.safe_dump(mixed, sort_keys=False))
    for one, address in zip((store, other), addresses, strict=True):
        servers.upload(one.path, address)
    return file, addresses, pretrain(parse_recipe(mixed, "test"), [store, other], tmp_path / "one").parent


@pytest.mark.soak
def test_two_ranks_go_on_at_an_address_where_one_was_killed(
    mixture: tuple[Path, list[str], Path], bucket: str, home: Path, tmp_path: Path
) -> None:
    """On a mixture of two stores."""
    (file, addresses, wanted), out = mixture, f"{bucket}/runs/one"
    stores = [open_store(address) for address in addresses]
    kill_at(22, lambda: pretrain(load_recipe(str(file)), stores, out))
    assert newest_checkpoints(open_files(out))[0] < checkpoints(wanted / "checkpoints")[-1].name
    move_out(home)
    _ends_as_on_a_disk(_start_ranks(2, file, addresses, out, home), out, wanted, tmp_path)
    assert not list(home.iterdir())


@pytest.mark.soak
def test_one_rank_goes_on_at_an_address_where_two_were_killed(
    mixture: tuple[Path, list[str], Path], bucket: str, home: Path, tmp_path: Path
) -> None:
    (file, addresses, wanted), out = mixture, f"{bucket}/runs/one"
    started = _start_ranks(2, file, addresses, out, home)
    while not [name for name in open_files(out).names() if name.endswith("/checkpoint.json")]:
        assert all(process.poll() is None for process in started)
        time.sleep(0.02)
    for process in started:
        process.kill()
        process.communicate()
    move_out(home)
    _ends_as_on_a_disk(_start_ranks(1, file, addresses, out, home), out, wanted, tmp_path)
    assert not list(home.iterdir())
