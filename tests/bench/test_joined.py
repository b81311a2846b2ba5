"""Two stores joined by key: whose rows, labels and splits hold, what is read from where, and a run of a joint row."""

import pickle

import numpy as np
import pytest
import torch

import seamo_bench
from seamo.errors import StoreError
from seamo.manifest import parse_spec
from seamo.sample import Sample
from seamo.store.joined import JoinedStore
from seamo.store.reader import open_store
from seamo.store.writer import BuildPlan, StoreWriter
from seamo_bench.records.record import read_records
from seamo_bench.runs.plan import Places, make_plan
from seamo_bench.runs.run import Machine, run_plan
from seamo_bench.suites.suite import Row, load_suite
from tests.bench.test_run import quiet

torch.set_num_threads(1)
N = 60
LAYERS = {
    "optical": {"id": "s2", "stack": "s2", "sensor": "s2", "bands": ["B02", "B03"], "dtype": "uint16", "unit": "dn",
                "fill": 65535},
    "radar": {"id": "s1", "stack": "s1", "sensor": "s1", "bands": ["VV", "VH"], "dtype": "float32", "unit": "db",
              "fill": "nan"},
}  # fmt: skip


def label_of(i):
    return i % 4


def build(root, name, keys, *, dataset="", scheme="official", wrong=()):
    """Optical pixels tell class 0 and 1 from 2 and 3, radar pixels odd classes from even ones."""
    entry = {
        "id": dataset or name,
        "title": name.capitalize(),
        "summary": "synthetic, for tests",
        "licence": "none",
        "attribution": f"{name} by its makers",
        "redistribution": "allowed" if name == "optical" else "forbidden",
        "citation": "none",
        "layers": [{**LAYERS[name], "gsd_m": 10.0, "size": (8, 8)}],
        "task": {"kind": "single-label", "label_space": "own"},
        "label_spaces": {"own": {"classes": [{"name": f"class {k}"} for k in range(4)]}},
        "splits": {"official": {"in_archive": True}},
    }
    spec = parse_spec(entry, "test")
    rng = np.random.default_rng(0 if name == "optical" else 1)
    samples = []
    for i in keys:
        bit = label_of(i) // 2 if name == "optical" else label_of(i) % 2
        level = 1000 + 800 * bit if name == "optical" else -15 + 6 * bit
        pixels = rng.normal(level, abs(level) / 50, (1, 2, 8, 8)).astype(LAYERS[name]["dtype"])
        label = label_of(i) if i not in wrong else (label_of(i) + 1) % 4
        samples.append(Sample(f"place{i:03d}", {LAYERS[name]["id"]: pixels}, label=label))
    splits = {one.key: ("train", "train", "val", "test", "test")[int(one.key[-3:]) % 5] for one in samples}
    plan = BuildPlan(spec, scheme, synthetic={"what": "synthetic, for tests"})
    with StoreWriter(root, plan, [one.key for one in samples]) as writer:
        for k in range(writer.num_shards):
            writer.write_shard(k, [samples[row] for row in writer.rows_of(k)])
        return open_store(writer.publish(splits=splits))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("stores")
    build(root, "optical", range(N))
    build(root, "radar", reversed(range(5, N + 5)))  # another order, five places missing, five more
    return root


@pytest.fixture(scope="module")
def joined(root):
    return JoinedStore([open_store(root / name) for name in ("optical", "radar")])


def test_the_terms_are_those_of_all_stores(joined):
    assert joined.spec.attribution == "optical: optical by its makers; radar: radar by its makers"
    assert joined.spec.redistribution == "forbidden"


def test_rows_labels_and_splits_are_the_first_store_s(joined):
    first, second = joined.parts
    assert joined.index["key"].tolist() == [f"place{i:03d}" for i in range(5, N)]
    assert len(joined) == N - 5
    assert joined.title == "Optical synthetic (60 samples) + Radar synthetic (60 samples)"
    assert "55 samples are in all of them" in joined.meta.subset
    for i in (0, 17, N - 6):
        key = joined.index["key"][i]
        assert joined.row(key) == i
        assert joined.read_label(i) == label_of(int(key[-3:]))
        np.testing.assert_array_equal(joined.read_layer(i, "s2"), first.read_layer(first.row(key), "s2"))
        np.testing.assert_array_equal(joined.read_layer(i, "s1"), second.read_layer(second.row(key), "s1"))
    assert joined.spec.stacks == ("s2", "s1")
    for split in ("train", "val", "test"):
        there = {first.index["key"][row] for row in first.rows(split)} & set(second.index["key"])
        assert {joined.index["key"][row] for row in joined.rows(split)} == there


def test_a_subset_is_the_first_store_s_where_all_keys_are_common(tmp_path):
    stores = [build(tmp_path, name, range(N)) for name in ("optical", "radar")]
    for fraction, salt in ((1.0, 0), (0.25, 0), (0.25, 3)):
        ours = JoinedStore(stores).subset("train", fraction, salt)
        theirs = stores[0].subset("train", fraction, salt)
        assert ours.sha256 == theirs.sha256
        assert ours.name == theirs.name
        np.testing.assert_array_equal(ours.rows, theirs.rows)


def test_batches_hold_both_sensors_of_one_place_and_stores_pickle(joined):
    again = pickle.loads(pickle.dumps(joined))  # noqa: S301 - our own bytes
    for store in (joined, again):
        batch = next(iter(store.loader("test", 8)))
        for position, key in enumerate(batch.keys):
            bits = (
                int(batch.layers["s2"][position].float().mean() > 1400),
                int(batch.layers["s1"][position].mean() > -12),
            )
            assert bits == divmod(label_of(int(key[-3:])), 2)
            assert batch.label[position] == label_of(int(key[-3:]))


def test_what_does_not_fit_is_refused(root, tmp_path):
    optical, radar = (open_store(root / name) for name in ("optical", "radar"))
    with pytest.raises(StoreError, match="layer s2 is in more than one"):
        JoinedStore([optical, optical])
    with pytest.raises(StoreError, match="no sample in common"):
        JoinedStore([optical, build(tmp_path / "a", "radar", range(500, 520))])
    with pytest.raises(StoreError, match="labels of 2 samples"):
        JoinedStore([optical, build(tmp_path / "b", "radar", range(N), wrong=(7, 9))])
    assert JoinedStore([optical, radar]).content != JoinedStore([radar, optical]).content


SUITE = """
id: joint
rows:
  - {stores: [optical, radar], protocol: linear, inputs: [s2, s1], seeds: 1, params: {steps: 30}}
  - {store: optical, protocol: linear, seeds: 1, params: {steps: 30}}
  - {stores: [eurosat, eurosat-sar], protocol: linear, inputs: [s2, s1]}
"""


def test_a_joint_row_runs_and_knows_more_than_one_sensor(tmp_path, root):
    path = tmp_path / "joint.yaml"
    path.write_text(SUITE)
    places = Places(root, tmp_path / "results", tmp_path / "weights")
    for _ in range(2):
        cells = make_plan(load_suite(str(path)), ("image-statistics",), places)
        for _ in run_plan(cells, places, machine=Machine(), progress=quiet, inner=quiet):
            pass
    records = {"+".join(s.id for s in one.facts.stores): one for one in read_records(places.results).records}
    assert set(records) == {"optical+radar", "optical", "eurosat+eurosat-sar"}
    assert [cell.status for cell in cells] == ["done", "done", "impossible"]
    assert "no store of eurosat" in records["eurosat+eurosat-sar"].reason
    assert records["eurosat+eurosat-sar"].about.stores == ("EuroSAT", "EuroSAT-SAR")
    joint, alone = records["optical+radar"], records["optical"]
    assert [one.sensor for one in joint.facts.adapter.inputs] == ["s2", "s1"]
    assert len({one.content for one in joint.facts.stores}) == 2
    assert joint.scores["top1"] > 0.9
    assert alone.scores["top1"] < 0.75  # two classes of four look alike to it


def test_joint_rows_from_python(joined):
    backbone = seamo_bench.load_backbone("image-statistics", store=joined)
    found = seamo_bench.evaluate(backbone, joined, "knn")[0]
    assert found.scores["top1"] > 0.9


@pytest.mark.parametrize(
    "wrong", [{"stores": "a", "protocol": "knn"}, {"stores": ["a"], "store": "b", "protocol": "knn"}]
)
def test_stores_is_a_list_instead_of_a_store(wrong):
    with pytest.raises(ValueError, match="list of data set ids"):
        Row.model_validate(wrong)
