"""What zips and tars may hold beside plain files: built as GNU tar and unzip would, named, or refused by name."""

import gzip
import io
import os
import pickle
import shutil
import struct
import subprocess
import tarfile
import threading
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seamo.errors import ArchiveError
from seamo.manifest import shipped_manifest
from seamo_prep.containers import Joined, OpenArchive
from seamo_prep.packed import open_container
from seamo_prep.unpack import Raw
from tests.prep.fuzz import _zstd

ENDINGS = (".tar", ".tar.gz", ".tar.zst")


def tar(*members: tuple[str, object], form: int = tarfile.GNU_FORMAT) -> bytes:
    """Members: (name, bytes) of a file, or (name, TarInfo) of something else, which gets the name."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=form) as file:
        for name, what in members:
            info = what if isinstance(what, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.name = name
            data = what if isinstance(what, bytes) else b""
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return sink.getvalue()


def special(kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo()
    info.type, info.linkname = kind, target
    return info


def opened(path: Path, data: bytes) -> OpenArchive:
    """A tar of these bytes in the form of the name."""
    packed = {"tar": bytes, "gz": gzip.compress, "zst": _zstd}[path.name.rpartition(".")[2]](data)
    path.write_bytes(packed)
    return open_container(Joined((path,)), path.name)


def contents(archive: OpenArchive) -> dict[str, bytes]:
    return {name: archive.read(name) for name in archive.names()}


@pytest.mark.parametrize("ending", ENDINGS)
def test_joined_tars_are_read_to_the_last(tmp_path: Path, ending: str) -> None:
    one, two = tar(("t/a", b"1")), tar(("t/b", b"22"), ("t/c", b"333"))
    archive = opened(tmp_path / f"x{ending}", one + two)
    assert contents(archive) == {"t/a": b"1", "t/b": b"22", "t/c": b"333"}
    assert list(archive.left_out()) == []


def test_gzipped_tars_joined_by_cat_are_what_gnu_tar_unpacks(tmp_path: Path) -> None:
    one, two = (gzip.compress(tar((f"t/{name}", name.encode() * 700))) for name in "ab")
    (tmp_path / "x.tar.gz").write_bytes(one + two)
    (tmp_path / "out").mkdir()
    if subprocess.run(["tar", "--version"], capture_output=True, text=True, check=False).stdout.startswith("tar (GNU"):
        subprocess.run(["tar", "-xizf", "../x.tar.gz"], cwd=tmp_path / "out", check=True)
        assert sorted(one.name for one in (tmp_path / "out" / "t").iterdir()) == ["a", "b"]
    archive = open_container(Joined((tmp_path / "x.tar.gz",)), "x.tar.gz")
    assert contents(archive) == {"t/a": b"a" * 700, "t/b": b"b" * 700}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_hard_link_is_its_member_and_other_kinds_are_named(tmp_path: Path, ending: str) -> None:
    data = tar(
        ("t/a", b"data"), ("t/hard", special(tarfile.LNKTYPE, "./t/a")),
        ("t/again", special(tarfile.LNKTYPE, "t/hard")),
        ("t/none", special(tarfile.LNKTYPE, "t/z")), ("t/out", special(tarfile.LNKTYPE, "/etc/passwd")),
        ("t/soft", special(tarfile.SYMTYPE, "a")), ("t/dev", special(tarfile.CHRTYPE)),
        ("t/pipe", special(tarfile.FIFOTYPE)),
        ("t/sparse", special(tarfile.GNUTYPE_SPARSE)), ("t/folder", special(tarfile.DIRTYPE)), ("t/b", b"more"),
    )  # fmt: skip
    archive = opened(tmp_path / f"x{ending}", data)
    assert contents(archive) == {"t/a": b"data", "t/hard": b"data", "t/again": b"data", "t/b": b"more"}
    reasons = {name.partition("!")[2]: why for name, why in archive.left_out()}
    assert set(reasons) == {"t/none", "t/out", "t/soft", "t/dev", "t/pipe", "t/sparse"}
    assert "symbolic link to 'a'" in reasons["t/soft"]
    assert all("/" + tmp_path.name not in name for name, _ in archive.left_out())  # it is kept with the store
    with pytest.raises(ArchiveError, match=r"t/sparse: is a sparse file.*Unpack the archive"):
        archive.read("t/sparse")


@pytest.mark.parametrize("is_posix", [False, True])
def test_sparse_files_of_gnu_tar_are_named(tmp_path: Path, is_posix: bool) -> None:
    if not subprocess.run(["tar", "--version"], capture_output=True, text=True, check=False).stdout.startswith(
        "tar (GNU"
    ):
        pytest.skip("needs GNU tar")
    (tmp_path / "t").mkdir()
    with (tmp_path / "t" / "holes").open("wb") as file:
        for number in range(30):
            file.seek(number * 100_000)
            file.write(b"x")
    (tmp_path / "t" / "plain").write_bytes(b"plain")
    form = "--format=posix" if is_posix else "--format=gnu"
    subprocess.run(["tar", form, "-Scf", "x.tar", "t/holes", "t/plain"], cwd=tmp_path, check=True)
    archive = open_container(Joined((tmp_path / "x.tar",)), "x.tar")
    assert contents(archive) == {"t/plain": b"plain"}
    assert [name for name, _ in archive.left_out()] == ["x.tar!t/holes"]


def test_doubles_are_named_and_the_last_one_is_read(tmp_path: Path) -> None:
    archive = opened(tmp_path / "x.tar", tar(("t/a", b"old"), ("./t//a", b"new")))
    assert contents(archive) == {"t/a": b"new"}
    assert list(archive.left_out()) == [("x.tar!t/a", "stands twice; the last one is read")]
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.writestr("t/a", b"old")
        with pytest.warns(UserWarning, match="Duplicate"):
            file.writestr("t/a", b"new")
    zipped = open_container(Joined((tmp_path / "x.zip",)), "x.zip")
    assert contents(zipped) == {"t/a": b"new"}
    assert list(zipped.left_out()) == [("x.zip!t/a", "stands twice; the last one is read")]
    assert zipped.gdal_path("t/a") is None


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_cut_of_a_tar_is_refused_or_said(tmp_path: Path, ending: str) -> None:
    """Behind a member a cut looks like the end; the missing mark of the end gives it away."""
    data = tar(("t/a", b"1" * 600), ("t/b", b"2" * 600))
    mark, refused = 2 * (512 + 1024), []
    for size in (
        0,
        1,
        511,
        512,
        513,
        600,
        1100,
        1112,
        1535,
        1536,
        1700,
        2048,
        2600,
        mark - 1,
        mark,
        mark + 512,
        mark + 1024,
    ):
        archive = opened(tmp_path / f"x{ending}", data[:size])
        try:
            found = contents(archive)
        except ArchiveError as error:
            refused.append(error.where)
            continue
        said = "no end mark" in str(list(archive.left_out()))
        assert said or (size == mark + 1024 and len(found) == 2), size
    assert len(refused) >= 8
    assert all(str(tmp_path) in where for where in refused)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda data: data.replace(b"t/a", b"/ta", 1), "leads out"),
        (lambda data: data.replace(b"t/a", b"t/\xff", 1), "not UTF-8"),
        (lambda data: data[:1024] + b"garbage" * 100, "no header at byte 1,024"),
    ],
)
def test_bad_headers_refuse_the_archive(tmp_path: Path, change, what: str) -> None:
    data = change(tar(("t/a", b"x")))
    head = bytearray(data[:512])
    head[148:156] = b"%06o\0 " % (sum(head[:148]) + sum(head[156:]) + 8 * 32)
    archive = opened(tmp_path / "x.tar", bytes(head) + data[512:])
    with pytest.raises(ArchiveError, match=what):
        list(archive.names())


def patched(data: bytes, central: int, local: int | None, value: bytes) -> bytes:
    """The second member's entry in the directory, and in front of its data, with other bytes."""
    found = bytearray(data)
    at = found.index(b"PK\1\2", found.index(b"PK\1\2") + 4)
    found[at + central : at + central + len(value)] = value
    if local is not None:
        at = found.index(b"PK\3\4", 4)
        found[at + local : at + local + len(value)] = value
    return bytes(found)


@pytest.mark.parametrize(
    ("central", "local", "value", "what"),
    [
        (8, 6, b"\1\0", r"t/b: is encrypted\. Unpack"),
        (10, 8, b"\x63\0", r"t/b: is packed by method 99 \(encryption\)\. Unpack"),
        (10, 8, b"\x0c\0", r"t/b: is packed by method 12 bzip2"),
        (10, 8, b"\x5d\0", r"t/b: is packed by method 93"),
        (8, 6, b"\x20\0", r"t/b: cannot be read \(compressed patched data"),
        (8, 6, b"\x40\0", r"t/b: cannot be read \(strong encryption"),
        (46, 30, b"\0", r"x\.zip: holds the name '\\x00/b'"),
        (20, None, b"\xff\xff\xff\x0f", r"x\.zip: .*(overlap|cannot be listed)"),
        (24, None, b"\xff\xff\xff\x0f", r"t/b: promises 268,435,455 bytes"),
        (24, None, b"\xff\xff\0\0", r"t/b: (ends too early|cannot be read)"),
        (42, None, b"\0\0\0\0", r"x\.zip: its members .* overlap"),
        (16, None, b"\0\0\0\0", r"t/b: cannot be read \(Bad CRC"),
    ],
)
def test_zips_that_nobody_can_read_name_the_member(
    tmp_path: Path, central: int, local: int | None, value: bytes, what: str
) -> None:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as file:
        for name in "abc":
            file.writestr(f"t/{name}", name * 500)
    (tmp_path / "x.zip").write_bytes(patched(sink.getvalue(), central, local, value))
    archive = open_container(Joined((tmp_path / "x.zip",)), "x.zip")
    with pytest.raises(ArchiveError, match=what):
        contents(archive)


def test_links_and_devices_in_a_zip_are_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.writestr("t/a", b"data")
        for name, mode in (("t/link", 0o120777), ("t/device", 0o020644)):
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            file.writestr(info, b"a")
    archive = open_container(Joined((tmp_path / "x.zip",)), "x.zip")
    assert contents(archive) == {"t/a": b"data"}
    assert dict(archive.left_out()) == {
        "x.zip!t/link": "is a symbolic link in the zip",
        "x.zip!t/device": "is a device in the zip",
    }


names = st.lists(
    st.text("abcé -_.0", min_size=1, max_size=9).filter(lambda one: one.strip(".")), min_size=1, max_size=3
).map(lambda parts: "t/" + "/".join(part.strip(". ") or "x" for part in parts) + "/f")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(
    st.lists(st.tuples(names, st.binary(max_size=1500)), max_size=6, unique_by=lambda one: one[0]),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]), st.sampled_from(ENDINGS), st.integers(0, 2),
)  # fmt: skip
def test_tars_hold_what_was_put_into_them(
    tmp_path: Path, files: list[tuple[str, bytes]], form: int, ending: str, copies: int
) -> None:
    data = tar(*((f"{'long' * 30 * copies}{name}", one) for name, one in files), form=form)
    archive = opened(tmp_path / f"x{ending}", data)
    with tarfile.open(fileobj=io.BytesIO(data)) as file:
        theirs = {info.name: file.extractfile(info).read() for info in file}  # type: ignore[union-attr]
    assert contents(archive) == {"/".join(one for one in name.split("/") if one): data for name, data in theirs.items()}
    assert contents(pickle.loads(pickle.dumps(archive))) == contents(archive)  # noqa: S301 - our own bytes


@pytest.mark.parametrize("ending", [".tar", ".tar.gz", ".zip"])
def test_threads_read_one_archive(tmp_path: Path, ending: str) -> None:
    files = {f"t/{number:03d}": struct.pack("<I", number) * 400 for number in range(200)}
    path = tmp_path / f"x{ending}"
    if ending == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for name, data in files.items():
                file.writestr(name, data)
        archive = open_container(Joined((path,)), path.name)
    else:
        archive = opened(path, tar(*files.items()))
    wrong: list[str] = []

    def read(first: int) -> None:
        wrong.extend(name for name in list(files)[first::4] if archive.read(name) != files[name])

    threads = [threading.Thread(target=read, args=(number,)) for number in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert wrong == []


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "EuroSAT_MS" / "River").mkdir(parents=True)
    (tmp_path / "EuroSAT_MS" / "River" / "River_1.tif").write_bytes(b"one")
    return tmp_path


def test_links_that_lead_nowhere_or_back_do_not_stop_a_tree(tree: Path) -> None:
    spec = shipped_manifest()["eurosat"]
    before, fingerprint = list(Raw(tree, spec).names("EuroSAT_MS")), Raw(tree, spec).fingerprint()
    folder = tree / "EuroSAT_MS" / "River"
    (folder / "nowhere.txt").symlink_to("/nowhere/x")
    (folder / "self.txt").symlink_to("self.txt")
    (folder / "loop").symlink_to(".")
    (folder / "up").symlink_to("..")
    (folder / "root").symlink_to("/")
    (tree / "EuroSAT_MS" / "other").mkdir()
    (tree / "EuroSAT_MS" / "other" / "back").symlink_to("../River")
    (folder / "there").symlink_to("../other")
    raw = Raw(tree, spec)
    found = list(raw.names("EuroSAT_MS"))
    assert set(before) < set(found)
    assert len(found) < 12
    with pytest.raises(ArchiveError, match=r"nowhere\.txt: is a link to /nowhere/x, which is not there\. Bring what"):
        raw.read("EuroSAT_MS/River/nowhere.txt")
    with pytest.raises(ArchiveError, match="is a link to self"):
        raw.read("EuroSAT_MS/River/self.txt")
    for link in ("loop", "up", "root", "there", "nowhere.txt", "self.txt"):
        (folder / link).unlink()
    shutil.rmtree(tree / "EuroSAT_MS" / "other")
    assert Raw(tree, spec).fingerprint() == fingerprint


def test_links_to_other_places_are_followed(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("blobs")
    (elsewhere / "Sea_1.tif").write_bytes(b"sea")
    (tree / "EuroSAT_MS" / "Sea").symlink_to(elsewhere)
    (tree / "EuroSAT_MS" / "River" / "River_2.tif").symlink_to(elsewhere / "Sea_1.tif")
    raw = Raw(tree, shipped_manifest()["eurosat"])
    assert raw.read("EuroSAT_MS/Sea/Sea_1.tif") == raw.read("EuroSAT_MS/River/River_2.tif") == b"sea"
    assert len(list(raw.names("EuroSAT_MS"))) == 3


def test_an_archive_that_is_a_dangling_link_is_named(tmp_path: Path) -> None:
    (tmp_path / "EuroSAT_MS.zip").symlink_to("/nowhere/x.zip")
    raw = Raw(tmp_path, shipped_manifest()["eurosat"])
    assert raw.ignored == ("EuroSAT_MS.zip (a link to /nowhere/x.zip, which is not there)",)
    assert "a link to /nowhere/x.zip" in str(raw.missing("samples"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_a_folder_that_may_not_be_listed_is_named(tree: Path) -> None:
    (tree / "EuroSAT_MS" / "River").chmod(0)
    try:
        with pytest.raises(ArchiveError, match="River: cannot be listed"):
            list(Raw(tree, shipped_manifest()["eurosat"]).names("EuroSAT_MS"))
    finally:
        (tree / "EuroSAT_MS" / "River").chmod(0o755)
