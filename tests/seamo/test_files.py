"""Files below an address behave alike on a disk and in a bucket."""

import os
import pickle
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from seamo.errors import StoreError
from seamo.files import Files, open_files
from seamo.files.bucket import BucketFiles
from seamo.files.disk import DiskFiles
from seamo.files.protocol import BLOCK
from seamo.files.ranges import near

DATA = bytes(range(256)) * 40


@pytest.fixture(params=["disk", "bucket", "azure"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Files:
    if request.param == "disk":
        return open_files(tmp_path / "root")
    return open_files(request.getfixturevalue(request.param) + f"/a root {uuid.uuid4().hex}")


def test_what_was_put_is_read_whole_and_in_part(files: Files) -> None:
    files.put_once("a/b", DATA)
    assert files.read("a/b") == files.find("a/b") == b"".join(files.stream("a/b")) == DATA
    assert files.size("a/b") == len(DATA)
    assert files.exists("a/b")
    assert files.read_range("a/b", 10, 20) == DATA[10:30]
    assert files.read_range("a/b", 10, 0) == b""
    end = len(DATA)
    assert files.read_range("a/b", end - 5, 20) == DATA[-5:]
    assert files.read_range("a/b", end, 20) == files.read_range("a/b", end + 9, 20) == b""
    starts, lengths = [500, 0, end - 3, 7, end + 9], [40, 9, 10, 0, 5]
    parts = [DATA[start : start + length] for start, length in zip(starts, lengths, strict=True)]
    assert files.read_ranges("a/b", starts, lengths) == parts
    assert files.where("a/b") == f"{files.url}/a/b"


def test_an_empty_file_and_one_of_several_blocks_are_read(files: Files) -> None:
    large = b"0123456789abcdef" * (BLOCK // 16) + b"the end"
    for name, data in (("empty", b""), ("large", large)):
        assert files.put_once(name, data) is None
        assert files.read(name) == b"".join(files.stream(name)) == data
        assert files.size(name) == len(data)


def test_what_is_not_there_is_none_or_named(files: Files) -> None:
    assert files.find("a") is files.size("a") is None
    assert not files.exists("a")
    assert list(files.names()) == files.folders() == []
    for read in (files.read, lambda name: files.read_range(name, 0, 1), lambda name: list(files.stream(name))):
        with pytest.raises(StoreError) as found:
            read("a/b")
        assert found.value.where == f"{files.url}/a/b"
        assert "\n" not in str(found.value)


def test_a_name_is_given_once(files: Files) -> None:
    assert files.put_once("a/b", b"one") is None
    assert files.put_once("a/b", b"one") is None
    assert files.put_once("a/b", b"two") == b"one"
    assert files.read("a/b") == b"one"
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: files.put_once("c", b"%d" % i), range(8)))
    winner = files.read("c")
    assert found == [None if winner == b"%d" % i else winner for i in range(8)]


def test_no_change_of_one_object_is_lost(files: Files) -> None:
    def add(i: int) -> None:
        for k in range(4):
            line = b"%d-%d\n" % (i, k)
            files.swap("log", lambda old, line=line: old if old and line in old else (old or b"") + line)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(4)))
    assert sorted(files.read("log").split()) == [b"%d-%d" % (i, k) for i in range(4) for k in range(4)]
    assert files.swap("log", lambda old: old or b"") == files.read("log")
    assert list(files.names()) == ["log"]


def test_files_are_listed_and_deleted(files: Files) -> None:
    for name in ("a/b/c", "a/b/d", "a/e", "ab/f", "g"):
        files.put_once(name, b"")
    assert sorted(files.names()) == ["a/b/c", "a/b/d", "a/e", "ab/f", "g"]
    assert sorted(files.names("a")) == ["a/b/c", "a/b/d", "a/e"]
    assert (files.folders(), files.folders("a")) == (["a", "ab"], ["b"])
    files.delete(["a/b/c", "a/b/d", "g", "not there"])
    assert sorted(files.names()) == ["a/e", "ab/f"]
    assert files.folders("a") == []


def test_conditions_are_honoured_and_the_trial_leaves_nothing(files: Files) -> None:
    files.probe()
    assert list(files.names()) == []


def test_no_name_leads_out(files: Files) -> None:
    for name in ("../a", "/a", "a/../../b"):
        for write in (
            lambda n: files.put_once(n, b""),
            lambda n: files.swap(n, lambda _: b""),
            lambda n: files.delete([n]),
        ):
            with pytest.raises(StoreError, match="is no name of a file"):
                write(name)


def test_files_pickle_as_their_address(files: Files) -> None:
    files.put_once("a", b"one")  # after a client was made
    data = pickle.dumps(files)
    assert len(data) < 400
    assert pickle.loads(data).read("a") == b"one"  # noqa: S301
    assert files.url in repr(files)


def test_ranges_are_put_together_where_they_are_near() -> None:
    ranges = [(0, 10), (10, 10), (500, 5), (30, 0)]
    assert near(ranges, gap=100, longest=1000) == [(0, 20, [0, 1]), (500, 505, [2])]
    assert near([(100, 50), (0, 200)], gap=0, longest=1000) == [(0, 200, [1, 0])]  # one within another
    spans = near([(i * 10, 10) for i in range(20)], gap=0, longest=64)
    assert [len(members) for _, _, members in spans] == [6, 6, 6, 2]
    assert near([(0, 500), (500, 500)], gap=0, longest=64) == [(0, 500, [0]), (500, 1000, [1])]


def test_a_web_server_is_read_only() -> None:
    files = BucketFiles("https://host.invalid/stores")  # nothing is asked
    for write in (
        lambda: files.put_once("a", b""),
        lambda: files.swap("a", lambda _: b""),
        lambda: files.delete(["a"]),
    ):
        with pytest.raises(StoreError, match=r"https:// is read only"):
            write()
    for listing in (lambda: list(files.names()), files.folders):
        with pytest.raises(StoreError, match="lists no files"):
            listing()


def test_threads_wait_for_a_lock_of_the_disk(tmp_path: Path) -> None:
    files = open_files(tmp_path)
    inside = threading.Event()

    def slow(old: bytes | None) -> bytes:
        inside.set()
        return (old or b"") + b"1"

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(files.swap, "a", slow)
        inside.wait(5)
        assert files.swap("a", lambda old: (old or b"") + b"2") == b"12"
        assert first.result() == b"1"


def test_names_of_a_folder_are_those_of_a_walk(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    for name in ("a", "b/c/d", "b/c/e", "b/.f.part", "b/.g", "h.part"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (root / "empty").mkdir()
    elsewhere.mkdir()
    (elsewhere / "not_ours").touch()
    for name, target in (
        ("b/folder", elsewhere),
        ("b/c/up", root),
        ("b/file", elsewhere / "not_ours"),
        ("lost", root / "x"),
    ):
        (root / name).symlink_to(target)
    (root / "turn").symlink_to(root / "turn")
    files = DiskFiles(root)
    for below in ("", "b", "b/c", "nothing"):
        walked = {
            (Path(folder) / name).relative_to(root).as_posix()
            for folder, _, names in os.walk(root / below)
            for name in names
            if name != ".f.part"
        }
        assert sorted(files.names(below)) == sorted(walked)
    assert "b/file" in files.names()
    assert "b/folder/not_ours" not in files.names()
