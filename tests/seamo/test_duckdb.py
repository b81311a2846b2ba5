"""DuckDB reads the index of a store as it is, on a disk and by address: the queries of the page, word for word."""

import re
from pathlib import Path
from typing import Any

import duckdb
import pytest

from seamo.store.reader import Store
from seamo.testing.stores import tiny_store
from tests import servers
from tests.conftest import ROOT

SECTION = (ROOT / "docs" / "buckets.md").read_text("utf-8").partition("## The index in DuckDB")[2].partition("\n## ")[0]
LOCAL, REMOTE = re.findall(r"^```python\n(.*?)^```$", SECTION, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return tiny_store(tmp_path_factory.mktemp("stores"))


def rows_of(code: str, example: str, address: str) -> list[tuple[Any, ...]]:
    """What a block of the page finds, of another store than its example."""
    assert code.count(example) == 1
    names: dict[str, Any] = {}
    exec(code.replace(example, address), names)  # noqa: S102 - our own page
    assert isinstance(names["found"], duckdb.DuckDBPyRelation)
    return names["found"].fetchall()


def counted(store: Store) -> list[tuple[Any, ...]]:
    """The same read by us, sample by sample."""
    index = store.read_index(["split", "time", "s1.length", "bbox"])
    found = []
    for split in sorted(set(index["split"])):
        part = index[index["split"] == split]
        east = min(box["xmin"] for box in part["bbox"])
        found.append((split, len(part), part["time"].min(), east, part["s1.length"].sum()))
    return found


def test_the_local_query_of_the_page_counts_what_the_store_holds(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rows_of(LOCAL, "stores/ssl4eo-s12/fadb8836", str(store.path)) == counted(store)
    assert "train" in capsys.readouterr().out


def test_the_query_of_a_bucket_gives_the_same(
    store: Store, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # nothing is downloaded into it: httpfs stays away
    servers.upload(store.path, f"{bucket}/tiny/one")
    assert rows_of(REMOTE, "s3://our-bucket/stores/ssl4eo-s12/fadb8836", f"{bucket}/tiny/one") == counted(store)
    assert not list(tmp_path.iterdir())
