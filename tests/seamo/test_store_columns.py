"""What is read of the index: of a million rows, the columns that are asked for and no others."""

import io
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from seamo.data.loader import Loader
from seamo.errors import StoreError, UsageError
from seamo.store import columns
from seamo.store.columns import IndexColumns
from seamo.store.few import FewRows
from seamo.store.reader import open_store
from seamo.testing.stores import tiny_store


@pytest.fixture
def asked(monkeypatch):
    """Names of columns in the order in which they are read."""
    names: list[str] = []
    read = IndexColumns._read

    def told(self, columns, coded=()):
        names.extend(["everything"] if columns is None else columns)
        return read(self, columns, coded)

    monkeypatch.setattr(IndexColumns, "_read", told)
    return names


def test_rows_and_a_loader_read_few_columns(tmp_path, asked):
    store = open_store(tiny_store(tmp_path, samples=20).path)
    asked.clear()
    rows = store.rows("train")
    assert asked == ["split"]
    store.rows("all")
    assert asked == ["split", "readable"]
    Loader(store, rows, 4)
    assert asked == ["split", "readable", "key", "height", "width"]


@pytest.mark.parametrize("task", ["single-label", "multi-label"])
def test_labels_are_those_of_the_samples(task):
    store = tiny_store(samples=15, task=task)
    column = store.read_columns(["label"]).column("label").to_pylist()
    told = [tuple(one) if isinstance(one, list) else one for one in column]
    assert told == [store.read_label(row) for row in range(15)] == [store[row].label for row in range(15)]
    assert told == [store.class_of(row) for row in range(15)]


@pytest.mark.parametrize("task", ["single-label", "multi-label", "segmentation"])
def test_few_rows_are_those_of_the_store(task, tmp_path, monkeypatch):
    monkeypatch.setattr(columns, "_PIECE", 7)  # of 23 rows: pieces without a chosen row, too
    store = tiny_store(tmp_path, samples=23, task=task)
    rows = np.array([0, 1, 6, 16, 22])
    some = FewRows(store, rows)
    for one in (some, pickle.loads(pickle.dumps(some))):  # noqa: S301 - our own bytes
        assert len(one) == 5
        for i, row in enumerate(rows.tolist()):
            mine, theirs = one[i], store[row]
            assert (mine.key, mine.scene, mine.geo, mine.offset) == (
                theirs.key,
                theirs.scene,
                theirs.geo,
                theirs.offset,
            )
            assert np.array_equal(mine.label, theirs.label) if task == "segmentation" else mine.label == theirs.label
            assert mine.layers.keys() == theirs.layers.keys()
            assert all(np.array_equal(mine.layers[name], theirs.layers[name]) for name in mine.layers)
            assert all(np.array_equal(mine.time[name], theirs.time[name]) for name in theirs.time)
        assert one.row(store[16].key) == 3
    names = store.index_schema.names
    assert some.read_columns(names).equals(store.read_columns(names).take(rows))
    assert list(some.index["key"]) == list(store.index["key"].iloc[rows])
    assert some.read_rows(np.array([1, 4]), ["key"]).equals(store.read_columns(["key"]).take(rows[[1, 4]]))
    with pytest.raises(StoreError, match="has no column 'nothing'"):
        some.read_columns(["nothing"])
    with pytest.raises(UsageError, match="do not ascend"):
        FewRows(store, np.array([3, 3]))
    assert len(FewRows(store, rows[:0]).read_columns(["key", "crs"])) == 0


def test_codes_are_the_text(tmp_path, monkeypatch):
    store = tiny_store(tmp_path, samples=20)
    table = store.read_table()
    scenes = [None if row % 7 == 3 else f"scene {row // 6}" for row in range(20)]
    place = table.schema.get_field_index("scene")
    told = table.set_column(place, table.schema.field("scene"), pa.array(scenes, pa.string()))
    sink = io.BytesIO()
    pq.write_table(told, sink, row_group_size=5)  # every group has a dictionary of its own
    monkeypatch.setattr(IndexColumns, "_open", lambda _, coded=(): pq.ParquetFile(sink, read_dictionary=list(coded)))
    monkeypatch.setattr(IndexColumns, "_check_groups", lambda _: None)
    for name, want in (("scene", scenes), ("split", table.column("split").to_pylist())):
        codes, values = open_store(store.path).read_codes(name)
        assert [values[code] if code >= 0 else None for code in codes] == want
        assert len(set(values)) == len(values)
