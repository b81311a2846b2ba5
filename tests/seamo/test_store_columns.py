"""What is read of the index: of a million rows, the columns that are asked for and no others."""

import pytest

from seamo.data.loader import Loader
from seamo.store.columns import IndexColumns
from seamo.store.reader import open_store
from seamo.testing.stores import tiny_store


@pytest.fixture
def asked(monkeypatch):
    """Names of columns in the order in which they are read."""
    names: list[str] = []
    read = IndexColumns._read

    def told(self, columns):
        names.extend(["everything"] if columns is None else columns)
        return read(self, columns)

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
