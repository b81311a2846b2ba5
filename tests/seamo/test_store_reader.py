"""What the reader promises beyond round trips: lazy, in threads, after a fork, with labels of every kind."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
import pytest

from seamo.errors import ManifestError, StoreError
from seamo.store.reader import Store, open_store
from seamo.store.writer import BuildPlan
from tests.seamo.store_samples import build, seasons_sample, seasons_samples, seasons_spec


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    plan = BuildPlan(spec=seasons_spec(), split_scheme="hash-60-20-20")
    return build(tmp_path_factory.mktemp("store"), plan, seasons_samples())


def test_opening_reads_store_json_only(path, tmp_path):
    (tmp_path / "store.json").write_bytes((path / "store.json").read_bytes())
    store = open_store(tmp_path)  # no index, no shards
    assert len(store) == 40
    assert store.title == "Toy subset (39 of 1,000)"
    with pytest.raises(StoreError, match=r"index\.parquet: cannot be read"):
        store.rows("train")
    (tmp_path / "index.parquet").write_bytes((path / "index.parquet").read_bytes()[:-100])
    with pytest.raises(StoreError, match=r"index\.parquet: is damaged: another sha256"):
        open_store(tmp_path).index  # noqa: B018


def test_an_index_of_another_store_is_refused(path, tmp_path):
    plan = BuildPlan(spec=seasons_spec(), split_scheme="none")
    other = build(tmp_path / "other", plan, seasons_samples()[:20])
    (other / "index.parquet").write_bytes((path / "index.parquet").read_bytes())
    with pytest.raises(StoreError, match=r"another sha256 than store\.json says"):
        open_store(other).rows("train")


def total(store: Store, i: int) -> int:
    return int(store.read_layer(i, "s2_10m").sum(dtype=np.int64))


def in_child(store: Store, queue) -> None:
    queue.put([total(store, i) for i in range(40)])


def test_threads_forks_and_pickles_read_the_same(path):
    samples = seasons_samples()
    samples[4] = replace(seasons_sample(4, seasons_spec()), layers={"s2_10m": np.full((4, 4, 24, 24), 65535)})
    want = [int(one.layers["s2_10m"].sum(dtype=np.int64)) for one in samples]
    store = open_store(path)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda i: total(store, i % 40), range(400))) == want * 10
    again = pickle.loads(pickle.dumps(store))  # noqa: S301 - our own bytes
    assert [total(again, i) for i in range(40)] == want
    for method in ("fork", "spawn"):
        context = get_context(method)
        queue = context.Queue()
        child = context.Process(target=in_child, args=(store, queue))
        child.start()
        assert queue.get(timeout=60) == want
        child.join()


def test_label_sets_and_missing_labels(tmp_path):
    spec = seasons_spec(task={"kind": "multi-label", "label_space": "toy"})
    labels = [(0, 2), (1,), None, (), (2, 1)] * 8
    samples = [replace(seasons_sample(i, spec), label=label) for i, label in enumerate(labels)]
    store = open_store(build(tmp_path, BuildPlan(spec=spec, split_scheme="none"), samples))
    want = [None if label is None else tuple(sorted(label)) for label in labels]
    assert [store.read_label(i) for i in range(40)] == want
    assert [store[i].label for i in range(40)] == want
    one = [replace(seasons_sample(i, seasons_spec()), label=i % 3 if i % 2 else None) for i in range(40)]
    store = open_store(build(tmp_path, BuildPlan(spec=seasons_spec(), split_scheme="none"), one))
    assert [store.read_label(i) for i in range(40)] == [i % 3 if i % 2 else None for i in range(40)]


def test_what_is_not_there_is_named(path):
    store = open_store(path)
    with pytest.raises(StoreError, match="no sample 'a/b'"):
        store.row("a/b")
    with pytest.raises(ManifestError, match="no layer 's2'"):
        store.read_layer(0, "s2")
    with pytest.raises(ManifestError, match="no stack 's3'"):
        store.read_stack(0, "s3")
    with pytest.raises(StoreError, match="not masks"):
        store.read_layer(0, "label")


def test_loader_reads_a_split(path):
    store = open_store(path)
    rows = store.rows("train")
    found = [row for batch in store.loader("train", 8) for row in batch.rows[~batch.padding].tolist()]
    assert sorted(found) == rows.tolist()
