"""`seamo-prep bench`: a row a step, one table, one sentence; a damaged store is an error."""

import json
import math
from pathlib import Path

import pytest

from seamo.errors import StoreError
from seamo.files import Files
from seamo.store.format import Layout
from seamo.store.reader import open_store
from seamo.testing.stores import tiny_store
from seamo_prep import speed
from seamo_prep.cli.bench import bench


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "_cores", lambda: 2)


@pytest.mark.parametrize("layout", ["zarr", "webdataset"])
def test_every_step_has_a_row(layout: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tiny_store(tmp_path, layout=layout, task="segmentation")
    bench(store.path, json=True)
    *rows, limit = json.loads(capsys.readouterr().out)
    found = {(row["id"], row["threads"]): row for row in rows}
    decode = "lz4 decode" if layout == "zarr" else "copy (not compressed)"
    steps = {("page cache", 1), ("checksum", 1), (decode, 1), ("memcpy of the pixels", 1), ("crop", 1)}
    loaders = {("Loader", 1), ("Loader", 2), ("Loader and crop", 2)}
    assert set(found) - {("disk, cold", 1)} == steps | loaders
    decoded = 2 * (4 * 24 * 24 * 2 + 12 * 12 * 2 + 2 * 24 * 24 * 4) + 24 * 24  # of one sample; two dates, one mask
    row = found["memcpy of the pixels", 1]
    assert row["mb_s"] == pytest.approx(row["samples_s"] * decoded / 1e6, abs=1)
    assert limit["id"] == "limit"
    assert limit["what"].partition(":")[0] in {row["id"] for row in rows} | {speed.REST}

    bench(store.path)
    told = capsys.readouterr()
    lines = told.out.splitlines()
    assert len(lines) <= 20
    cold = {"disk, cold"}  # where the page cache lets go of a file, which it may do once and not the next time
    shown = [line.split("  ")[0] for line in lines[3:-1]]
    assert [one for one in shown if one not in cold] == [row["id"] for row in rows if row["id"] not in cold]
    assert "too few to go by" in told.err


def test_what_limits_is_the_largest_share_or_a_disk_that_is_slower() -> None:
    store = tiny_store()
    cost = {("page cache", 1): 1e-3, ("checksum", 1): 1e-3, ("lz4 decode", 1): 5e-3, ("crop", 1): 2e-3,
            ("Loader", 1): 8e-3, ("Loader", 2): 4e-3}  # fmt: skip
    assert speed._limit(store, cost) == "lz4 decode: 50% of the 10.00 ms that a sample costs one thread."
    assert "first epoch" not in speed._limit(store, cost | {("disk, cold", 1): 3e-3})
    assert speed._limit(store, cost | {("disk, cold", 1): 2e-2}).endswith(
        "; in a first epoch the disk gives one thread 50 samples/s, the Loader takes 250."
    )
    cost["Loader", 1] = 27e-3
    assert speed._limit(store, cost).startswith("labels, dates, handing over: 69%")


@pytest.mark.parametrize("layout", ["zarr", "webdataset"])
def test_a_damaged_shard_is_an_error(layout: Layout, tmp_path: Path) -> None:
    store = tiny_store(tmp_path, layout=layout)
    shard = max(store.path.rglob("c/*/0/0/0/0" if layout == "zarr" else "*.tar"), key=lambda path: path.stat().st_size)
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 255
    shard.write_bytes(data)
    with pytest.raises(StoreError, match=r"sample tiny_0.* layer"):
        speed.measure(open_store(store.path))


def test_without_torch_the_steps_are_measured_and_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(speed, "_loads", missing)
    found = speed.measure(tiny_store())
    assert {row.threads for row in found.rows} == {1}
    assert "crop" not in {row.step for row in found.rows}
    assert any("pip install 'seamo[torch]'" in one for one in found.remarks)


class Far:
    """Files that do not lie on a disk, for all that the reader knows."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def __getattr__(self, name: str) -> object:
        return getattr(self._files, name)


def test_a_store_at_an_address_has_no_page_cache() -> None:
    store = tiny_store()
    steps = {row.step for row in speed.measure(store.reading_from(Far(store.files))).rows}
    assert "from the address" in steps
    assert not steps & {"disk, cold", "page cache"}


def test_dropped_pages_are_gone_or_it_is_not_known(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(2**22))
    share = speed.drop_from_cache([path])
    assert math.isnan(share) or 0 <= share <= 1
