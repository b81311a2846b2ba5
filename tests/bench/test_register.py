"""The register of a results repository, held against every data set: digests of samples that are read one by one."""

import hashlib

import numpy as np
import pytest

from seamo.errors import ProtocolError
from seamo.store.reader import open_store
from seamo_bench.runs.sharing import init_repository, register_store


def truth_by_hand(store, space_name):
    """Key -> label as its line has it, of the test split, read from the samples alone; masks laid into their scenes."""
    spec = store.spec
    space = spec.label_spaces[space_name]
    own = {one: mine for mine, ones in space.derived.items() for one in ones} if space.source else None
    count = len(space.classes) if not own else len(space.derived)
    layer = next((one for one, name in spec.maps.items() if name in (space_name, space.source)), "")
    lines, scenes = {}, {}
    for row in np.flatnonzero((store.index["split"] == "test") & store.index["readable"]):
        sample = store[int(row)]
        label = sample.layers[layer][0, 0] if layer else sample.label
        if isinstance(label, np.ndarray):
            table = np.full(256, 255)
            for one in range(256):
                table[one] = own.get(one, 255) if own is not None else one if one < count else 255
            scenes.setdefault(sample.scene or sample.key, []).append((*sample.offset, table[label]))
        elif isinstance(label, tuple):
            ids = sorted({own[one] for one in label if one in own} if own is not None else set(label))
            if ids or spec.task.no_class == "negative":
                lines[sample.key] = ",".join(map(str, ids))
        elif label is not None and (own is None or label in own):
            lines[sample.key] = str(label if own is None else own[label])
    for key, tiles in scenes.items():
        whole = np.full((max(y + m.shape[0] for y, _, m in tiles), max(x + m.shape[1] for _, x, m in tiles)), 255)
        for y, x, mask in tiles:
            part = whole[y : y + mask.shape[0], x : x + mask.shape[1]]
            part[mask != 255] = mask[mask != 255]
        ids, pixels = np.unique(whole[whole != 255], return_counts=True)
        lines[key] = ",".join(f"{one}:{n}" for one, n in zip(ids, pixels, strict=True))
    return lines


@pytest.mark.soak
def test_the_register_tells_the_truth_of_every_data_set(tmp_path):
    """Digests of every label space of every data set with labels, against the samples read one by one."""
    from seamo.manifest import shipped_manifest
    from seamo_prep.demo import write_demos
    from tests.prep.demo_stores import build_quietly

    init_repository(tmp_path / "repository")
    write_demos(tmp_path / "raw", workers=1, tell=lambda _id, _what: None)
    compared, unlabelled = {}, set()
    for dataset in shipped_manifest():
        built = build_quietly(dataset, tmp_path / "raw" / dataset, tmp_path / "stores")
        store = open_store(built.path)
        try:
            entry = register_store(tmp_path / "repository", [store.path], who="keeper")
        except ProtocolError:
            unlabelled.add(dataset)
            continue
        for test in entry.tests:
            if (test.scheme, test.budget) == (store.meta.split_scheme, "full"):
                lines = truth_by_hand(store, test.label_space)
                text = "\n".join(sorted(f"{key}\t{label}" for key, label in lines.items()))
                assert test.rows == len(lines), (dataset, test.label_space)
                assert test.labels == hashlib.sha256(text.encode()).hexdigest(), (dataset, test.label_space)
                compared.setdefault(dataset, []).append(test.label_space)
    assert {"dfc2020", "segmunich", "oscd", "eurosat"} <= set(compared)
    assert len(compared) + len(unlabelled) >= 14
    assert all(not shipped_manifest()[one].label_spaces for one in unlabelled)
