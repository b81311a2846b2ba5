"""`Raw`: the same answers from folders, tars and zips, whole or in parts; nothing leads out of them."""

import io
import os
import pickle
import tarfile
import zipfile
from pathlib import Path

import pytest

from seamo.errors import ArchiveError, UsageError
from seamo.manifest import DatasetSpec, shipped_manifest
from seamo_prep.unpack import Raw

FILES = {
    "EuroSAT_MS/Forest/Forest_1.tif": b"one",
    "EuroSAT_MS/Forest/Forest_10.tif": b"ten" * 1000,
    "EuroSAT_MS/River/River_2.tif": b"",
    "EuroSAT_MS/River/River_3.tif": bytes(range(256)) * 40,
}


@pytest.fixture
def spec() -> DatasetSpec:
    return shipped_manifest()["eurosat"]


HIDDEN = "EuroSAT_MS/Forest/._Forest_1.tif", "__MACOSX/EuroSAT_MS/Forest/Forest_1.tif"


def write_tree(root: Path) -> None:
    for name, data in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)


def write_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in (FILES | dict.fromkeys(HIDDEN, b"not a TIFF")).items():
            file.writestr(name, data)


def write_tar(path: Path, mode: str) -> None:
    with tarfile.open(path, mode) as file:  # type: ignore[call-overload]
        # Not in sorted order, and with a file that some systems hide beside each.
        for name, data in reversed((FILES | dict.fromkeys(HIDDEN, b"not a TIFF")).items()):
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))


def split(path: Path, size: int) -> None:
    data = path.read_bytes()
    path.unlink()
    for number, start in enumerate(range(0, len(data), size)):
        path.with_name(f"{path.name}.parta{chr(97 + number)}").write_bytes(data[start : start + size])


def make(kind: str, root: Path) -> None:
    if kind == "tree":
        write_tree(root)
    elif kind.startswith("zip"):
        write_zip(root / "EuroSAT_MS.zip")
    elif kind.startswith("tar.gz"):
        write_tar(root / "copy.tar.gz", "w:gz")
    else:
        write_tar(root / "copy.tar", "w")
    if kind.endswith("parts"):
        (archive,) = root.iterdir()
        split(archive, archive.stat().st_size // 3 + 1)
        assert len(list(root.iterdir())) == 3


@pytest.mark.parametrize("kind", ["tree", "zip", "zip-parts", "tar", "tar-parts", "tar.gz", "tar.gz-parts"])
def test_same_files_from_every_form(tmp_path: Path, spec: DatasetSpec, kind: str) -> None:
    make(kind, tmp_path)
    for raw in (Raw(tmp_path, spec), pickle.loads(pickle.dumps(Raw(tmp_path, spec)))):  # noqa: S301 - our own bytes
        assert raw.tops == ("EuroSAT_MS",)
        assert raw.list_dir() == (["EuroSAT_MS"], raw.list_dir()[1])
        assert raw.list_dir("EuroSAT_MS") == (["Forest", "River"], [])
        assert raw.list_dir("EuroSAT_MS/River") == ([], ["River_2.tif", "River_3.tif"])
        assert raw.list_dir("EuroSAT_MS/None") == ([], [])
        assert list(raw.names("EuroSAT_MS")) == sorted(FILES)
        for name in [*FILES, *reversed(FILES)]:  # there and back: a compressed tar starts again
            assert raw.read(name) == FILES[name]
            assert raw.exists(name)
            assert (raw.path(name) is not None) == (kind == "tree")
        assert {name: raw.read(name) for name in raw.reading_order(FILES)} == FILES
        assert not raw.exists("EuroSAT_MS/River/River_4.tif")
        with pytest.raises(ArchiveError, match=r"River_4\.tif.*not there"):
            raw.read("EuroSAT_MS/River/River_4.tif")


def test_tree_wins_over_archive_and_archive_over_parts(tmp_path: Path, spec: DatasetSpec) -> None:
    write_zip(tmp_path / "EuroSAT_MS.zip")
    (tmp_path / "EuroSAT_MS.zip.partaa").write_bytes(b"never opened")
    raw = Raw(tmp_path, spec)
    assert len(raw.ignored) == 1
    assert raw.ignored[0].startswith("EuroSAT_MS.zip.partaa")
    assert raw.path("EuroSAT_MS/Forest/Forest_1.tif") is None
    write_tree(tmp_path)
    raw = Raw(tmp_path, spec)
    assert [line.split(" ")[0] for line in raw.ignored] == ["EuroSAT_MS.zip.partaa", "EuroSAT_MS.zip"]
    assert raw.path("EuroSAT_MS/Forest/Forest_1.tif") is not None


@pytest.mark.parametrize("name", ["../evil.tif", "EuroSAT_MS/../../evil.tif", "/evil.tif", "EuroSAT_MS\\..\\evil.tif"])
def test_member_that_leads_out_refuses_the_archive(tmp_path: Path, spec: DatasetSpec, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "EuroSAT_MS.zip", "w") as file:
        file.writestr("EuroSAT_MS/Forest/Forest_1.tif", b"")
        file.writestr(name, b"")
    with pytest.raises(ArchiveError, match="leads out of the archive"):
        Raw(tmp_path, spec).list_dir("EuroSAT_MS")
    (tmp_path / "EuroSAT_MS.zip").unlink()
    with tarfile.open(tmp_path / "copy.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo(name))
    with pytest.raises(ArchiveError, match="leads out of the archive"):
        Raw(tmp_path, spec)


def test_links_in_a_tar_are_left_out(tmp_path: Path, spec: DatasetSpec) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    with tarfile.open(tmp_path / "EuroSAT_MS.tar", "w") as file:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            info = tarfile.TarInfo(f"EuroSAT_MS/Forest/Forest_{kind.decode()}.tif")
            info.type, info.linkname = kind, str(secret)
            file.addfile(info)
    assert list(Raw(tmp_path, spec).names("EuroSAT_MS")) == []


def test_a_name_cannot_climb_out_of_a_tree(tmp_path: Path, spec: DatasetSpec) -> None:
    write_tree(tmp_path)
    (tmp_path / "secret").write_bytes(b"secret")
    with pytest.raises(ArchiveError, match="leads out"):
        Raw(tmp_path, spec).read("EuroSAT_MS/../secret")


def test_damaged_archives_name_themselves(tmp_path: Path, spec: DatasetSpec) -> None:
    (tmp_path / "EuroSAT_MS.zip").write_bytes(b"PK but no zip")
    with pytest.raises(ArchiveError, match=r"EuroSAT_MS\.zip: cannot be listed"):
        Raw(tmp_path, spec).list_dir("EuroSAT_MS")
    write_zip(tmp_path / "EuroSAT_MS.zip")
    data = bytearray((tmp_path / "EuroSAT_MS.zip").read_bytes())
    at = data.index(b"Forest_10.tif") + len("Forest_10.tif")
    data[at : at + 4] = b"\xff\xff\xff\xff"
    (tmp_path / "EuroSAT_MS.zip").write_bytes(data)
    with pytest.raises(ArchiveError, match=r"Forest_10\.tif: cannot be read"):
        Raw(tmp_path, spec).read("EuroSAT_MS/Forest/Forest_10.tif")
    (tmp_path / "EuroSAT_MS.zip").unlink()
    write_tar(tmp_path / "copy.tar.gz", "w:gz")
    data = bytearray((tmp_path / "copy.tar.gz").read_bytes())
    (tmp_path / "copy.tar.gz").write_bytes(data[: len(data) // 2])
    with pytest.raises(ArchiveError, match=r"copy\.tar\.gz: cannot be listed"):
        Raw(tmp_path, spec).list_dir("EuroSAT_MS")


def test_fingerprint_follows_names_and_sizes(tmp_path: Path, spec: DatasetSpec) -> None:
    write_tree(tmp_path)
    first = Raw(tmp_path, spec).fingerprint()
    assert Raw(tmp_path, spec).fingerprint() == first
    (tmp_path / "notes.txt").write_text("not part of the data set")
    assert Raw(tmp_path, spec).fingerprint() == first
    (tmp_path / "EuroSAT_MS/River/River_2.tif").write_bytes(b"more")
    second = Raw(tmp_path, spec).fingerprint()
    (tmp_path / "eurosat-train.txt").write_text("")
    third = Raw(tmp_path, spec).fingerprint()
    assert first != second
    assert second == third  # a split list decides no pixel


def test_relax_takes_five_words(tmp_path: Path, spec: DatasetSpec) -> None:
    with pytest.raises(UsageError, match=r"cannot relax sizes\. Known: shape, dtype, seasons, names, grid"):
        Raw(tmp_path, spec, ("sizes",))
    with pytest.raises(ArchiveError, match="no such folder"):
        Raw(tmp_path / "none", spec)


def test_a_pipe_in_place_of_a_file_is_not_waited_for(spec: DatasetSpec, tmp_path: Path) -> None:
    write_tree(tmp_path)
    name = "EuroSAT_MS/River/River_3.tif"
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    (tmp_path / "EuroSAT_MS/River/River_4.tif").symlink_to("/dev/zero")
    raw = Raw(tmp_path, spec)
    for one in (name, "EuroSAT_MS/River/River_4.tif"):
        with pytest.raises(ArchiveError, match="is a pipe or a device"):
            raw.read(one)


def test_the_published_folder_itself_is_recognised(
    tmp_path: Path, spec: DatasetSpec, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write_tree(tmp_path / "raw")
    right = Raw(tmp_path / "raw", spec)
    assert caplog.text == ""
    deep = Raw(tmp_path / "raw" / "EuroSAT_MS", spec)
    assert "EuroSAT_MS itself: RAW is taken to be the folder above" in caplog.text
    assert list(deep.names()) == list(right.names()) == sorted(FILES)
    assert deep.fingerprint() == right.fingerprint()
    assert pickle.loads(pickle.dumps(deep)).read("EuroSAT_MS/Forest/Forest_1.tif") == b"one"  # noqa: S301
    monkeypatch.chdir(tmp_path / "raw" / "EuroSAT_MS")
    assert list(Raw(".", spec).names()) == sorted(FILES)
    # A folder that is called so and holds the published folder is RAW as it is.
    write_tree(tmp_path / "EuroSAT_MS")
    assert list(Raw(tmp_path / "EuroSAT_MS", spec).names()) == sorted(FILES)
