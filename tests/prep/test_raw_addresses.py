"""RAW at an address: the store that is built from it is that of the same RAW on a disk, to the byte."""

import os
import pickle
import shutil
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio

from seamo.errors import ArchiveError, ManifestError, StoreError
from seamo.files import open_files
from seamo.manifest import shipped_manifest
from seamo.testing.world import World
from seamo_prep import far
from seamo_prep.archives import archive_ids, load_archive
from seamo_prep.archives._tiles import open_raster
from seamo_prep.build import Options, build
from seamo_prep.engines import Engine
from seamo_prep.far import FarFile, ScratchFolder, Shelf, folders_of
from seamo_prep.unpack import Raw
from tests import servers
from tests.dask_cluster import Cluster
from tests.prep.demo_stores import build_quietly
from tests.prep.packing import pack, packed


def bytes_below(store: Path) -> dict[str, bytes]:
    found = {one.relative_to(store).as_posix(): one.read_bytes() for one in store.rglob("*") if one.is_file()}
    del found["store.json"]  # it tells when it was built
    return found


def same_store(dataset: str, here: Path, there: str, folder: Path, **options: object) -> None:
    """Of RAW in a folder and at an address."""
    ours = build_quietly(dataset, here, folder / "ours", **options)
    theirs = build_quietly(dataset, there, folder / "theirs", **options)
    assert not theirs.was_there
    assert theirs.path.name == ours.path.name
    assert (theirs.samples, theirs.ledger) == (ours.samples, ours.ledger)
    assert bytes_below(theirs.path) == bytes_below(ours.path)


def demo_of(dataset: str, folder: Path) -> Path:
    folder.mkdir(parents=True)
    load_archive(dataset).demo(folder, World(7), "tiny")
    return folder


def every(*quick: str) -> list[object]:
    return [*quick, *(pytest.param(one, marks=pytest.mark.soak) for one in archive_ids() if one not in quick)]


@pytest.mark.parametrize("dataset", every("bigearthnet-v2", "dfc2020-croma"))
def test_of_published_archives(dataset: str, bucket: str, tmp_path: Path) -> None:
    here = pack(demo_of(dataset, tmp_path / "demo"), tmp_path / "raw", shipped_manifest()[dataset])
    servers.upload(here, f"{bucket}/raw")
    same_store(dataset, here, f"{bucket}/raw", tmp_path, limit=6)


@pytest.mark.parametrize("dataset", every())
def test_of_extracted_trees_in_a_folder_of_their_id(dataset: str, bucket: str, tmp_path: Path) -> None:
    here = demo_of(dataset, tmp_path / "raw" / dataset)
    servers.upload(here, f"{bucket}/raw/{dataset}")
    same_store(dataset, here, f"{bucket}/raw", tmp_path, limit=4)


@pytest.mark.parametrize("form", [".zip", ".tar", ".tar.gz"])
def test_a_raster_is_read_in_parts_from_a_copy(form: str, bucket: str, tmp_path: Path) -> None:
    pixels = np.random.default_rng(6).integers(0, 9000, (2, 300, 200)).astype(np.uint16)
    demo = tmp_path / "demo"
    (demo / "data").mkdir(parents=True)
    with rasterio.open(
        demo / "data" / "a.tif", "w", driver="COG", compress="deflate", width=200, height=300, count=2, dtype="uint16",
        blocksize=128, crs="EPSG:32633", transform=rasterio.Affine(9, 0, 500_000, 0, -9, 5_000_000),
    ) as file:  # fmt: skip
        file.write(pixels)
    spec = shipped_manifest()["s1s2-water-s1"]
    archive = spec.archives[0].model_copy(update={"name": f"any1{form}"})
    here = tmp_path / "raw"
    here.mkdir()
    (here / archive.name).write_bytes(packed([demo / "data"], demo, Path(archive.name)))
    servers.upload(here, bucket)
    raw = Raw(bucket, spec.model_copy(update={"archives": (archive,)}))
    for _ in range(2):
        with open_raster(raw, "data/a.tif") as opened:
            assert (opened.facts.height, opened.facts.width, opened.facts.crs) == (300, 200, "EPSG:32633")
            assert np.array_equal(opened.rows(90, 130), pixels[:, 90:220])
            assert np.array_equal(opened.rows(0, 10), pixels[:, :10])
    assert len(raw._scratch) == 1


@pytest.mark.soak
@pytest.mark.parametrize("form", [".zip", ".tar", ".tar.gz"])
def test_of_large_rasters_inside_an_archive(form: str, bucket: str, tmp_path: Path) -> None:
    """They are brought to this disk one by one, into files without a name."""
    spec = shipped_manifest()["s1s2-water-s1"]
    one_more = spec.archives[0].model_copy(update={"name": f"any1{form}"})
    demo = demo_of(spec.id, tmp_path / "demo")
    here = pack(demo, tmp_path / "raw", spec, form=form)
    (archive,) = here.glob(f"*{form}")
    archive.rename(here / one_more.name)
    spec = spec.model_copy(update={"archives": (*spec.archives, one_more)})
    servers.upload(here, bucket)
    read = []
    for root in (demo, here, bucket):
        raw = Raw(root, spec)
        rows = load_archive(spec.id).index(raw, spec)
        read.append(list(load_archive(spec.id).read(raw, rows.iloc[:5], spec)))
        assert len(raw._scratch) == (0 if root != bucket else min(far.SCRATCH, 3 * len(set(rows["scene"]))))
    for others in read[1:]:
        assert [one.key for one in others] == [one.key for one in read[0]]
        for one, two in zip(read[0], others, strict=True):
            assert one.layers["s1"].tobytes() == two.layers["s1"].tobytes()
            assert np.array_equal(one.label, two.label)


def own(folder: Path) -> Path:
    """One's own imagery; one image has its nodata in a file beside it, and its place in another."""
    load_archive("folder").demo(folder, World(7), "tiny")
    image = folder / "2_0.tif"
    with rasterio.open(image) as file:
        pixels, place = file.read(), {"crs": file.crs, "transform": file.transform}
    image.unlink()
    with rasterio.open(
        image, "w", driver="GTiff", width=48, height=48, count=4, dtype="uint16", tfw="YES", **place
    ) as file:
        file.write(pixels)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(image, "r+", driver="GTiff") as file:
        file.write_mask(np.kron([[0, 255], [255, 255]], np.ones((24, 24))).astype(np.uint8))
    assert {one.name for one in folder.glob("2_0.*")} > {"2_0.tif", "2_0.tif.msk"}
    return folder


def test_of_ones_own_imagery(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = own(tmp_path / "raw")
    servers.upload(here, f"{bucket}/raw")
    same_store("folder", here, f"{bucket}/raw", tmp_path)
    fetched: list[str] = []
    pieces = Shelf.pieces
    monkeypatch.setattr(Shelf, "pieces", lambda self, name: fetched.append(name) or pieces(self, name))
    build_quietly("folder", f"{bucket}/raw", tmp_path / "theirs")
    assert fetched == ["SYNTHETIC.json", "samples.csv"]  # hashes are kept


def test_own_imagery_that_changes_meanwhile_is_refused(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = own(tmp_path / "raw")
    servers.upload(here, f"{bucket}/raw")
    archive, files = load_archive("folder"), open_files(f"{bucket}/raw")
    read = archive.read

    def meanwhile(*arguments: object) -> Iterator[object]:
        data = bytearray(files.read("0_0.tif"))
        data[-1] ^= 1
        files.delete(["0_0.tif"])
        files.put_once("0_0.tif", bytes(data))
        return read(*arguments)

    monkeypatch.setattr(archive, "read", meanwhile)
    with pytest.raises(ArchiveError, match="was changed while it was built"):
        build_quietly("folder", f"{bucket}/raw", tmp_path / "stores")


def test_on_a_web_server_archives_are_read_and_trees_refused(tmp_path: Path) -> None:
    spec = shipped_manifest()["eurosat"]
    here = pack(demo_of("eurosat", tmp_path / "demo"), tmp_path / "raw", spec)
    with servers.web(tmp_path) as url:
        same_store("eurosat", here, f"{url}/raw", tmp_path, limit=3)
        with pytest.raises(ArchiveError, match=r"holds no EuroSAT_MS\.zip or .*a web server lists no files"):
            Raw(f"{url}/demo", spec)
        own(tmp_path / "own")
        with pytest.raises(ArchiveError, match="holds no published archive"):
            build_quietly("folder", f"{url}/own", tmp_path / "stores")
        with pytest.raises(ManifestError, match=r"/nowhere/seamo\.yaml: is not there"):
            build_quietly("folder", f"{url}/nowhere", tmp_path / "stores")


def many_members(path: Path, count: int, size: int) -> dict[str, bytes]:
    """A zip of incompressible members in sorted order."""
    draw = np.random.default_rng(5)
    members = {f"EuroSAT_MS/Forest/Forest_{number:04d}.tif": draw.bytes(size) for number in range(count)}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in members.items():
            out.writestr(name, data)
    return members


def test_neighbours_in_an_archive_are_one_request(proxy: servers.FaultProxy, tmp_path: Path) -> None:
    """800 members of 20 kB: 14 requests, where three a member are 2,400."""
    members = many_members(tmp_path / "EuroSAT_MS.zip", 800, 20_000)
    servers.upload(tmp_path, proxy.bucket)
    proxy.requests.clear()
    raw = Raw(proxy.bucket, shipped_manifest()["eurosat"])
    assert all(raw.read(name) == data for name, data in members.items())
    assert len(proxy.requests) <= 14, proxy.requests
    # One by one from all over, no more is fetched than is asked for.
    proxy.requests.clear()
    raw = Raw(proxy.bucket, shipped_manifest()["eurosat"])
    some = np.random.default_rng(1).permutation(sorted(members))[:20].tolist()
    assert all(raw.read(name) == members[name] for name in some)
    assert len(proxy.requests) <= 8 + 20, proxy.requests


def test_memory_is_bounded(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(far, "BLOCK", 50_000)
    monkeypatch.setattr(far, "KEPT", 200_000)
    members = many_members(tmp_path / "EuroSAT_MS.zip", 60, 20_000)
    servers.upload(tmp_path, bucket)
    shelf = Shelf(bucket)
    file = FarFile(shelf, "EuroSAT_MS.zip")
    data = (tmp_path / file.at).read_bytes()
    draw = np.random.default_rng(2)
    with file.open() as opened:
        for _ in range(60):
            start, length = int(draw.integers(len(data))), int(draw.choice((1, 700, 30_000, 99_000, 150_000)))
            opened.seek(start)
            assert opened.read(length) == data[start : start + length]
            assert sum(len(one.data) for one in shelf._spans) <= 200_000
    assert len(members) == 60


FAULTS = ("503", "wrong byte", *(pytest.param(one, marks=pytest.mark.soak) for one in ("reset", "short", "truncated")))


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("form", [".zip", pytest.param(".tar", marks=pytest.mark.soak)])
def test_a_fault_of_the_server_ends_in_the_right_bytes(
    kind: str, form: str, proxy: servers.FaultProxy, tmp_path: Path
) -> None:
    """One of every request; of a tar, whose members carry no checksum, a wrong byte is TLS's to notice."""
    if (form, kind) == (".tar", "wrong byte"):
        pytest.skip("nothing in a tar tells it")
    spec = shipped_manifest()["eurosat"]
    demo = tmp_path / "demo"
    (demo / "EuroSAT_MS" / "Forest").mkdir(parents=True)
    draw = np.random.default_rng(3)
    members = {f"EuroSAT_MS/Forest/Forest_{number}.tif": draw.bytes(9000) for number in range(9)}
    for name, data in members.items():
        (demo / name).write_bytes(data)
    here = pack(demo, tmp_path / "raw", spec, form=form)
    (archive,) = here.glob(f"*{form}")
    servers.upload(here, proxy.bucket)
    proxy.requests.clear()
    Raw(proxy.bucket, spec).read(next(iter(members)))
    for number in range(len([one for one in proxy.requests if archive.name in one])):
        proxy.faults = [servers.Fault("none", path=archive.name, times=number), servers.Fault(kind, path=archive.name)]
        raw = Raw(proxy.bucket, spec)
        assert all(raw.read(name) == data for name, data in members.items())
        assert not proxy.faults[1].times


def test_what_stays_wrong_is_one_message_with_its_address(proxy: servers.FaultProxy, tmp_path: Path) -> None:
    spec = shipped_manifest()["eurosat"]
    (name,) = many_members(tmp_path / "EuroSAT_MS.zip", 1, 5000)
    servers.upload(tmp_path, proxy.bucket)
    raw = Raw(proxy.bucket, spec)
    assert raw.exists(name)
    for one in raw._holders["EuroSAT_MS"].source.files:
        one.shelf.forget(one.at)
    proxy.faults = [servers.Fault("wrong byte", times=99)]
    with pytest.raises(ArchiveError, match=rf"{proxy.bucket}/EuroSAT_MS.zip!{name}: cannot be read \(.*CRC"):
        raw.read(name)
    proxy.faults = [servers.Fault("403", times=99)]
    with pytest.raises(StoreError, match=f"{proxy.bucket}.*may not be read"):
        Raw(proxy.bucket, spec)
    proxy.faults = []
    with pytest.raises(ArchiveError, match=f"{proxy.bucket}/typo: no file is there"):
        Raw(f"{proxy.bucket}/typo", spec)


def test_a_file_that_became_shorter_is_no_short_file(bucket: str) -> None:
    files = open_files(bucket)
    files.put_once("a.tif", bytes(1000))
    shelf = Shelf(bucket)
    files.delete(["a.tif"])
    files.put_once("a.tif", bytes(900))
    for read in (lambda: shelf.read_whole("a.tif"), FarFile(shelf, "a.tif").open().read):
        with pytest.raises(StoreError, match=rf"{bucket}/a\.tif: became shorter while it was read"):
            read()


def test_what_is_missing_is_named_by_its_address(bucket: str, tmp_path: Path) -> None:
    here = own(tmp_path / "raw")
    (here / "3_1.tif").unlink()
    servers.upload(here, bucket)
    with pytest.raises(ArchiveError, match=f"{bucket}/3_1.tif: the file is not there"):
        build_quietly("folder", bucket, tmp_path / "stores")


def test_it_travels_as_its_address_and_refuses_another_state(bucket: str, tmp_path: Path) -> None:
    spec = shipped_manifest()["eurosat"]
    members = many_members(tmp_path / "EuroSAT_MS.zip", 5, 1000)
    servers.upload(tmp_path, bucket)
    raw = Raw(bucket, spec)
    name, data = next(iter(members.items()))
    assert raw.read(name) == data
    sent = pickle.dumps(raw)
    assert len(sent) < 20_000
    assert pickle.loads(sent).read(name) == data  # noqa: S301 - our own bytes
    far._listed_again.cache_clear()
    open_files(bucket).put_once("one-more", b"1")
    with pytest.raises(ArchiveError, match="is not what lay there when the work began"):
        pickle.loads(sent)  # noqa: S301


def test_files_on_this_disk_are_few_and_have_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    scratch, made = ScratchFolder(), []

    def content(number: int) -> Iterator[bytes]:
        made.append(number)
        yield from (b"%d" % number, b"!")

    def fds() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = fds()
    held = scratch.bring("0", lambda: content(0))
    for number in range(3 * far.SCRATCH):
        file = scratch.bring(str(number), lambda number=number: content(number))
        assert Path(far.path_of(file)).read_bytes() == b"%d!" % number
        assert len(scratch) <= far.SCRATCH
    del file
    assert fds() - before == far.SCRATCH + 1  # and the one that is held
    assert Path(far.path_of(held)).read_bytes() == b"0!"
    assert made == list(range(3 * far.SCRATCH))
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_said() -> None:
    def full() -> Iterator[bytes]:
        yield b"1"
        raise OSError(28, os.strerror(28))

    with pytest.raises(ArchiveError, match=r"has no room for a\.tif\. Set TMPDIR"):
        ScratchFolder().bring("a.tif", full)


def test_folders_are_those_of_a_disk(tmp_path: Path) -> None:
    names = ["a/b/c", "a/b/d/e", "f", "a/g", "h/i/j/k"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    want = {
        one.relative_to(tmp_path).as_posix().removeprefix("."): (
            {inner.name for inner in one.iterdir() if inner.is_dir()},
            {inner.name for inner in one.iterdir() if not inner.is_dir()},
        )
        for one in (tmp_path, *(path for path in tmp_path.rglob("*") if path.is_dir()))
    }
    assert folders_of(names) == want


def test_hidden_files_and_marks_of_folders_are_none_of_it(bucket: str, tmp_path: Path) -> None:
    here = own(tmp_path / "raw")
    servers.upload(here, bucket)
    before = Raw(bucket, shipped_manifest()["eurosat"].model_copy(update={"archives": (), "id": "own"})).fingerprint()
    files = open_files(bucket)
    for name in (".DS_Store", "deep/.hidden/a.tif", ".git/config"):
        files.put_once(name, b"1")
    after = Raw(bucket, shipped_manifest()["eurosat"].model_copy(update={"archives": (), "id": "own"}))
    assert after.fingerprint() == before
    assert after.list_dir()[0] == []
    shutil.rmtree(here)


@pytest.mark.parametrize("form", [".zip", ".tar", ".tar.gz", ".tar.zst"])
def test_a_server_that_refuses_is_named_from_within_any_archive(
    form: str, proxy: servers.FaultProxy, tmp_path: Path
) -> None:
    """Also where another library reads the file for us."""
    spec = shipped_manifest()["eurosat"]
    demo = tmp_path / "demo"
    (demo / "EuroSAT_MS" / "Forest").mkdir(parents=True)
    name = "EuroSAT_MS/Forest/Forest_1.tif"
    (demo / name).write_bytes(np.random.default_rng(4).bytes(300_000))
    servers.upload(pack(demo, tmp_path / "raw", spec, form=form), proxy.bucket)
    raw = Raw(proxy.bucket, spec)
    assert raw.exists(name)
    (archive,) = raw._ground.shelf.found
    raw._ground.shelf.forget(archive)
    proxy.faults = [servers.Fault("403", times=99)]
    with pytest.raises(StoreError, match=f"{proxy.bucket}/{archive}: may not be read"):
        raw.read(name)


@pytest.mark.soak
def test_workers_of_a_scheduler_read_it_themselves(bucket: str, tmp_path: Path) -> None:
    here = pack(demo_of("eurosat", tmp_path / "demo"), tmp_path / "raw", shipped_manifest()["eurosat"])
    servers.upload(here, f"{bucket}/raw")
    ours = build_quietly("eurosat", here, tmp_path / "ours")
    with Cluster(tmp_path / "dask", seconds=0.3) as cluster:
        cluster.start_worker()
        cluster.start_worker()

        def kill_one() -> None:
            cluster.wait_for(1)
            cluster.workers[0].kill()

        side = threading.Thread(target=kill_one)
        side.start()
        theirs = build(
            "eurosat", raw=f"{bucket}/raw", root=tmp_path / "theirs", options=Options(),
            engine=Engine(scheduler=cluster.address), say=lambda _: None, progress=lambda _done, _total: None,
        )  # fmt: skip
        side.join()
    assert bytes_below(theirs.path) == bytes_below(ours.path)
