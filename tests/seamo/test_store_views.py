"""Views: other splits, label spaces and labels of published pixels; the truth that store.json tells."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from seamo.errors import StoreError
from seamo.manifest import parse_spec
from seamo.seal import open_document
from seamo.store.buildplan import BuildPlan
from seamo.store.catalog import list_stores
from seamo.store.check import band_statistics, content_of, differing_files, strange_files
from seamo.store.reader import Store, open_store
from seamo.store.writer import StoreWriter
from tests.seamo.store_samples import build, mask_sample, masks_spec, seasons_samples, seasons_spec

SAMPLES = seasons_samples()[:20]
KEYS = [one.key for one in SAMPLES]
PLAN = BuildPlan(spec=seasons_spec(), split_scheme="hash-60-20-20")


def files_of(folder: Path) -> dict[str, tuple[int, str]]:
    """Every file: inode and sha256."""
    return {
        str(path.relative_to(folder)): (path.stat().st_ino, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def add_view(root: Path, plan: BuildPlan, **options) -> Store:
    with StoreWriter(root, plan, KEYS) as writer:
        assert writer.published
        assert all(writer.is_done(k) for k in range(writer.num_shards))
        return open_store(writer.publish(**options))


def test_another_scheme_costs_a_view_and_no_byte_of_the_store(tmp_path):
    path = build(tmp_path, PLAN, SAMPLES)
    store, before = open_store(path), files_of(path)
    view = add_view(tmp_path, replace(PLAN, split_scheme="cv5x5"))
    after = files_of(path)
    assert {name: after[name] for name in before} == before
    assert {name.partition("/")[0] for name in set(after) - set(before)} == {"views"}
    assert not any("data.zarr" in name for name in set(after) - set(before))
    assert view.path.parent.parent == path
    assert (view.pixels, view.meta.build) == (store.pixels, store.meta.build)
    assert view.content != store.content
    assert view.meta.split_scheme == "cv5x5"
    # The same as if it had been built with that scheme.
    whole = open_store(build(tmp_path / "anew", replace(PLAN, split_scheme="cv5x5"), SAMPLES))
    assert (view.content, view.pixels, view.meta.view) == (whole.content, whole.pixels, whole.meta.view)
    assert view.meta.truth == whole.meta.truth
    assert view.meta.statistics == whole.meta.statistics
    assert view.meta.counts == whole.meta.counts
    assert view.index[whole.index.columns].equals(whole.index)
    for i in (0, 3, 19):
        for name, pixels in SAMPLES[i].layers.items():
            assert_array_equal(view[i].layers[name], pixels)
    assert content_of(view) == view.content
    assert list(differing_files(view, deep=True)) == []
    assert list(strange_files(store)) == []
    # Again: nothing to do.
    assert add_view(tmp_path, replace(PLAN, split_scheme="cv5x5")).path == view.path
    assert files_of(path) == after
    assert [one.build for one in list_stores(tmp_path)] == [f"{path.name}/views/{view.path.name}", path.name] or [
        one.build for one in list_stores(tmp_path)
    ] == [path.name, f"{path.name}/views/{view.path.name}"]
    with pytest.raises(StoreError, match="holds 2 stores"):
        open_store(path.parent)
    assert open_store(path).meta.split_scheme == "hash-60-20-20"


def test_corrected_labels_and_another_label_space(tmp_path):
    path = build(tmp_path, PLAN, SAMPLES)
    before = files_of(path)
    labels = {one.key: getattr(one, "label", None) for one in SAMPLES}  # one could not be read
    labels[KEYS[2]] = (labels[KEYS[2]] + 1) % 3
    view = add_view(tmp_path, replace(PLAN, labels="corrected"), labels=labels)
    assert {name: one for name, one in files_of(path).items() if name in before} == before
    assert [view.read_label(i) for i in range(20)] == [labels[key] for key in KEYS]
    assert open_store(path).read_label(2) == SAMPLES[2].label
    own = seasons_spec().task.label_space
    spaces = seasons_spec().model_dump()["label_spaces"]
    spaces["wet"] = {"classes": [{"name": "wet"}], "source": own, "derived": {0: [0]}}
    derived = add_view(tmp_path, replace(PLAN, spec=seasons_spec(label_spaces=spaces)))
    assert {name: one for name, one in files_of(path).items() if name in before} == before
    assert set(derived.meta.truth["train"].labels) == {own, "wet"}
    assert derived.pixels == view.pixels == open_store(path).pixels


def test_truth_is_what_its_definition_says(tmp_path):
    store = open_store(build(tmp_path, PLAN, SAMPLES))
    frame = store.index
    for split, said in store.meta.truth.items():
        rows = [i for i in range(20) if (frame["readable"][i] if split == "all" else frame["split"][i] == split)]
        keys = sorted(KEYS[i] for i in rows)
        lines = sorted(f"{KEYS[i]}\t{'-' if SAMPLES[i].label is None else SAMPLES[i].label}" for i in rows)
        assert said.rows == len(rows)
        assert said.keys == hashlib.sha256("\n".join(keys).encode()).hexdigest()
        assert list(said.labels.values()) == [hashlib.sha256("\n".join(lines).encode()).hexdigest()]
    assert set(store.meta.truth) == {"all", *(name for name in store.meta.counts.splits if name)}


def test_truth_of_masks_counts_pixels(tmp_path):
    samples = [mask_sample(i, ((32, 32),)) for i in range(20)]
    store = open_store(build(tmp_path, BuildPlan(spec=masks_spec((32, 32)), split_scheme="none"), samples))
    lines = []
    for one in samples:
        ids, counts = np.unique(one.label[one.label != 255], return_counts=True)
        lines.append(one.key + "\t" + ",".join(f"{i}:{n}" for i, n in zip(ids, counts, strict=True)))
    want = hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()
    assert list(store.meta.truth["train"].labels.values()) == [want]


def test_truth_of_masks_in_a_space_that_derives(tmp_path):
    samples = [mask_sample(i, ((32, 32),)) for i in range(20)]
    spec = masks_spec((32, 32))
    spaces = {name: space.model_dump() for name, space in spec.label_spaces.items()}
    spaces["one"] = {"classes": [{"name": "any"}], "source": spec.task.label_space, "derived": {0: [0, 1]}}
    spec = parse_spec({**spec.model_dump(mode="json"), "label_spaces": spaces}, "test")
    store = open_store(build(tmp_path, BuildPlan(spec=spec, split_scheme="none"), samples))
    counted = [(one.key, int(np.isin(one.label, (0, 1)).sum())) for one in samples]
    lines = sorted(f"{key}\t{f'0:{count}' if count else ''}" for key, count in counted)
    want = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    assert store.meta.truth["train"].labels["one"] == want


def test_statistics_of_a_view_are_those_of_its_pixels(tmp_path):
    build(tmp_path, PLAN, SAMPLES)
    view = add_view(tmp_path, replace(PLAN, split_scheme="cv5x5"))
    for layer in ("s2_20m", "s1"):
        found = band_statistics(view, layer, view.rows("train"))
        for name, facts in view.meta.statistics["train"][layer].items():
            for what, value in facts.items():
                assert found[name][what] == pytest.approx(value, rel=1e-9), (layer, name, what)


def test_a_view_of_other_pixels_is_seen(tmp_path):
    path = build(tmp_path, PLAN, SAMPLES)
    view = add_view(tmp_path, replace(PLAN, split_scheme="cv5x5"))
    changed = list(SAMPLES)
    one = changed[0]
    one = replace(one, layers={**one.layers, "s2_60m": one.layers["s2_60m"] + 1})
    other = build(tmp_path / "other", PLAN, [one, *changed[1:]])
    assert other.name == path.name
    moved = other / "views" / view.path.name
    view.path.parent.rename(moved.parent)
    found = [str(one.what) for one in differing_files(open_store(moved))]
    assert any("other pixels" in what for what in found)


def test_store_json_is_canonical_and_sealed(tmp_path):
    path = build(tmp_path, PLAN, SAMPLES)
    data = (path / "store.json").read_bytes()
    facts = open_document(data, "store.json", error=StoreError, fix="")
    plain = json.loads(data)
    assert json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode() == data
    without = {name: value for name, value in plain.items() if name != "digest"}
    text = json.dumps(without, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
    assert plain["digest"] == hashlib.sha256(text).hexdigest()
    assert facts["seal"] == json.loads((path / "checksums.json").read_bytes())["digest"]
    manifest = json.loads((path / "checksums.json").read_bytes())["files"]
    there = {str(one.relative_to(path)) for one in path.rglob("*") if one.is_file()}
    assert set(manifest) == there - {"store.json", "checksums.json"}
    for name, said in manifest.items():
        raw = (path / name).read_bytes()
        assert said == {"bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
    for change in ('"limit":null', '"limit":7 '), ('"subset":"', '"subset":"x'):
        (path / "store.json").write_bytes(data.replace(change[0].encode(), change[1].encode()))
        with pytest.raises(StoreError, match=r"store\.json: is not what was sealed"):
            open_store(path)
