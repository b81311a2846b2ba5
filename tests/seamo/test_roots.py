"""The catalogue of a root: what is entered stays, whoever else writes; what is referred to cannot be removed."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType

import pytest

from seamo.errors import StoreError, UsageError
from seamo.seal import seal_document
from seamo.store import keeping
from seamo.store.buildplan import BuildPlan
from seamo.store.copy import copy_store
from seamo.store.keeping import orphans, rebuild, remove_store
from seamo.store.reader import Store, open_store
from seamo.store.roots import Catalogue, Listed, change_catalogue, latest_of, name_latest, read_catalogue
from seamo.store.writer import StoreWriter
from seamo.testing.stores import tiny_store


def forked(work: Callable[[], None]) -> int:
    """Another process that does this; its number. A new interpreter each would take half a second."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return pid


def ended(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def with_store(there: Catalogue | None, name: str) -> Catalogue:
    one = Listed(title="", samples=1, layout="", splits="", bytes=1, created="", content="", pixels="")
    there = there or Catalogue()
    return there.model_copy(update={"stores": {**there.stores, name: one}})


def said_by(root: Path) -> dict[str, dict[str, object]]:
    """The catalogue's stores, as anybody reads the file."""
    found: dict[str, dict[str, object]] = json.loads((root / "catalog.json").read_bytes())["stores"]
    return found


def with_view(store: Store) -> Store:
    """A view of a tiny store: other splits."""
    plan = BuildPlan(store.spec, "official", limit=len(store), synthetic={"what": "synthetic, tiny"})
    with StoreWriter(store.path.parents[1], replace(plan, split_scheme="hash-60-20-20"), list(store.index["key"])) as w:
        return open_store(w.publish())


def name_of(store: Store, root: Path) -> str:
    return store.path.relative_to(root).as_posix()


def test_what_is_published_is_in_the_catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tiny_store(tmp_path, samples=3)
    monkeypatch.setenv("SEAMO_WHO", "ada")
    view = with_view(store)
    copy = copy_store(store.path, tmp_path / "b", layout=None, progress=lambda *_: None)
    for root in (tmp_path, tmp_path / "b"):
        found = said_by(root)
        assert set(found) == {name_of(store, tmp_path), name_of(view, tmp_path)}
        one, other = found[name_of(store, tmp_path)], found[name_of(view, tmp_path)]
        files = [path for path in store.path.rglob("*") if path.is_file() and "views" not in path.parts]
        assert one["bytes"] == sum(path.stat().st_size for path in files)
        assert (one["title"], one["samples"], one["content"]) == (store.title, 3, store.content)
        assert other["refers"] == [name_of(store, tmp_path)]
        assert (one["who"], other["who"]) == (("", "ada") if root == tmp_path else ("ada", "ada"))
    assert open_store(copy).content == store.content


def test_eight_who_change_it_at_once_lose_nothing(tmp_path: Path) -> None:
    def write(me: int) -> None:
        for turn in range(20):
            name = f"toy/{me:04x}{turn:04x}"
            change_catalogue(tmp_path, lambda there, name=name: with_store(there, name))

    writers = [forked(lambda me=me: write(me)) for me in range(8)]
    assert [ended(pid) for pid in writers] == [0] * 8
    assert set(said_by(tmp_path)) == {f"toy/{i:04x}{turn:04x}" for i in range(8) for turn in range(20)}


def test_a_root_without_a_catalogue_keeps_its_stores_when_one_is_added(tmp_path: Path) -> None:
    first = tiny_store(tmp_path, samples=3)
    (tmp_path / "catalog.json").unlink()
    assert open_store(first.path).content == first.content
    second = tiny_store(tmp_path, samples=4)
    assert set(said_by(tmp_path)) == {name_of(first, tmp_path), name_of(second, tmp_path)}


def test_what_a_killed_copy_did_not_enter_the_next_one_does(tmp_path: Path) -> None:
    store = tiny_store(tmp_path / "a", samples=3)
    view = with_view(store)
    name = name_of(store, tmp_path / "a")
    for lost in ({name}, {name_of(view, tmp_path / "a")}, None):
        copy_store(store.path, tmp_path / "b", layout=None, progress=lambda *_: None)
        assert set(said_by(tmp_path / "b")) == {name, name_of(view, tmp_path / "a")}
        if lost is None:
            (tmp_path / "b" / "catalog.json").unlink()
        else:
            change_catalogue(tmp_path / "b", lambda there, lost=lost: without(there, lost))
    copy_store(store.path, tmp_path / "b", layout=None, progress=lambda *_: None)
    assert set(said_by(tmp_path / "b")) == {name, name_of(view, tmp_path / "a")}


def without(there: Catalogue | None, names: set[str]) -> Catalogue:
    assert there is not None
    return there.model_copy(update={"stores": {name: one for name, one in there.stores.items() if name not in names}})


def test_a_catalogue_that_cannot_be_written_undoes_no_store(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "catalog.json").write_bytes(seal_document({"format": "seamo-catalog/1", "stores": 3}))
    with caplog.at_level(logging.WARNING):
        store = tiny_store(tmp_path, samples=3)
    assert "ls ROOT --rebuild" in caplog.text
    assert len(open_store(store.path)) == 3
    with pytest.raises(StoreError, match="is no catalogue of stores"):
        read_catalogue(tmp_path)
    rebuild(tmp_path)
    assert set(said_by(tmp_path)) == {name_of(store, tmp_path)}


def test_a_byte_of_it_that_changes_is_noticed(tmp_path: Path) -> None:
    tiny_store(tmp_path, samples=3)
    file = tmp_path / "catalog.json"
    file.write_bytes(file.read_bytes().replace(b'"samples":3', b'"samples":4'))
    with pytest.raises(StoreError, match="not what was sealed"):
        read_catalogue(tmp_path)


def test_names_that_lead_out_of_the_root_are_refused(tmp_path: Path) -> None:
    tiny_store(tmp_path, samples=3)
    facts = json.loads((tmp_path / "catalog.json").read_bytes())
    del facts["digest"]
    for latest in ({"tiny": "../../0a1b2c3d"}, {"../x": "0a1b2c3d"}):
        (tmp_path / "catalog.json").write_bytes(seal_document({**facts, "latest": latest}))
        with pytest.raises(StoreError, match="no name of a store"):
            read_catalogue(tmp_path)


def test_what_is_entered_or_removed_while_it_is_rebuilt_stays_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tiny_store(tmp_path, samples=3), tiny_store(tmp_path, samples=4)
    name_latest(tmp_path, name_of(second, tmp_path))
    look = keeping._published

    def meanwhile(root: str | Path) -> list[str]:
        found = look(root)
        remove_store(tmp_path, name_of(first, tmp_path))
        change_catalogue(tmp_path, lambda there: with_store(there, "a/00000000"))
        return [name for name in found if name != name_of(first, tmp_path)]

    monkeypatch.setattr(keeping, "_published", meanwhile)
    rebuild(tmp_path)
    assert set(said_by(tmp_path)) == {name_of(second, tmp_path), "a/00000000"}
    assert latest_of(tmp_path / "tiny") == second.path.name


def test_latest_decides_among_several_stores(tmp_path: Path) -> None:
    first, second = tiny_store(tmp_path, samples=3), tiny_store(tmp_path, samples=4)
    with pytest.raises(StoreError, match=r"holds 2 stores .*seamo-prep latest ROOT ID/BUILD"):
        open_store(tmp_path / "tiny")
    for store in (first, second, with_view(first)):
        name_latest(tmp_path, name_of(store, tmp_path))
        assert open_store(tmp_path / "tiny").path == store.path
    with pytest.raises(StoreError, match=rf"has no tiny/0a1b2c3d\. Of tiny it has .*{first.path.name}"):
        name_latest(tmp_path, "tiny/0a1b2c3d")
    name_latest(tmp_path, "tiny")
    assert latest_of(tmp_path / "tiny") == ""


def test_only_what_nothing_refers_to_is_removed_and_by_its_whole_name(tmp_path: Path) -> None:
    store, other = tiny_store(tmp_path, samples=3), tiny_store(tmp_path, samples=4)
    view = with_view(store)
    base, seen = name_of(store, tmp_path), name_of(view, tmp_path)
    for part in ("tiny", base[:-1], f"{base}/views", f"{base}/../{other.path.name}", f"./{base}"):
        with pytest.raises(UsageError, match="no whole name"):
            remove_store(tmp_path, part)
    with pytest.raises(StoreError, match="the catalogue has no tiny/0a1b2c3d"):
        remove_store(tmp_path, "tiny/0a1b2c3d")
    with pytest.raises(StoreError, match=f"is referred to by {seen}"):
        remove_store(tmp_path, base)
    name_latest(tmp_path, base)
    assert remove_store(tmp_path, base, dry_run=True).refers == (seen, "latest")
    remove_store(tmp_path, seen)
    assert not view.path.parent.exists()
    with pytest.raises(StoreError, match="is referred to by latest"):
        remove_store(tmp_path, base)
    assert open_store(store.path).content == store.content
    name_latest(tmp_path, name_of(other, tmp_path))
    size = said_by(tmp_path)[base]["bytes"]
    assert remove_store(tmp_path, base).bytes == size
    assert sorted(path.name for path in (tmp_path / "tiny").iterdir() if not path.name.startswith(".")) == [
        other.path.name
    ]
    assert set(said_by(tmp_path)) == {name_of(other, tmp_path)}


def test_a_view_that_the_catalogue_does_not_have_keeps_its_store(tmp_path: Path) -> None:
    store = tiny_store(tmp_path, samples=3)
    seen = name_of(with_view(store), tmp_path)
    change_catalogue(tmp_path, lambda there: there.model_copy(update={
        "stores": {name: one for name, one in there.stores.items() if name != seen}
    }))  # fmt: skip
    assert [(one.name, one.what) for one in orphans(tmp_path)] == [(seen, keeping.UNLISTED)]
    with pytest.raises(StoreError, match=f"is referred to by {seen}"):
        remove_store(tmp_path, name_of(store, tmp_path))


def killed_at(step: int, root: Path, name: str) -> None:
    """Remove a store, and be killed at the so-manieth step that changes something."""
    steps = 0

    def count(frame: FrameType, event: str, _: object) -> None:
        nonlocal steps
        if event == "call" and frame.f_code.co_name in ("unlink", "rmdir", "rmtree", "replace", "change_catalogue"):
            steps += 1
            if steps > step:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count)
    remove_store(root, name)


def test_a_killed_removal_is_finished_by_the_next_one(tmp_path: Path) -> None:
    store = tiny_store(tmp_path / "made", samples=3, layers=["s2_20m"], times=1)
    name = name_of(store, tmp_path / "made")
    seen = set()
    for step in range(0, 100, 3):
        root = Path(shutil.copytree(tmp_path / "made", tmp_path / str(step)))
        status = ended(forked(lambda step=step, root=root: killed_at(step, root, name)))
        if status == 0:
            break
        assert status == -signal.SIGKILL
        there, entered = (root / name / "store.json").exists(), name in said_by(root)
        seen.add((there, entered))
        if not entered:
            assert {one.name for one in orphans(root)} <= {name}
        if (root / name).exists():
            remove_store(root, name)
        assert not list(root.glob("tiny/[!.]*"))
        assert said_by(root) == {}
    assert status == 0
    assert step > 15
    assert seen == {(True, True), (True, False), (False, False)}  # never a listed store without its store.json


def test_a_builder_at_work_is_not_robbed_of_its_store(tmp_path: Path) -> None:
    store = tiny_store(tmp_path, samples=3)
    lock = store.path.parent / f".{store.path.name}.lock"
    holder = subprocess.Popen(["flock", str(lock), "sleep", "20"], start_new_session=True)
    time.sleep(0.3)
    with pytest.raises(StoreError, match="another process is at work on it"):
        remove_store(tmp_path, name_of(store, tmp_path))
    os.killpg(holder.pid, signal.SIGKILL)
    holder.wait()
    assert set(said_by(tmp_path)) == {name_of(store, tmp_path)}
