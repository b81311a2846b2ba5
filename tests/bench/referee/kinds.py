"""Every kind of task that a record may be of: the suite that makes them, and how each is found."""

from seamo.manifest import parse_spec
from seamo_bench.records.examine import verify
from seamo_bench.records.record import read_records
from seamo_bench.runs.referee import Referee
from tests.bench.bench_store import build_store, toy_samples, toy_spec

N = 60
DENSE = "{head: linear, frozen: true, epochs: 1, warmup: 0, batch: 8, base_lrs: [0.1], scale_lr: false}"
SUITE = f"""
id: kinds
rows:
  - {{store: toy, protocol: knn, backbones: [image-statistics]}}
  - {{store: toy, protocol: logreg, split: cv5x5, backbones: [image-statistics]}}
  - {{store: toy, protocol: linear, fraction: 0.5, seeds: 2, params: {{steps: 2}}, backbones: [image-statistics]}}
  - {{store: sets, protocol: knn, backbones: [image-statistics]}}
  - {{store: sets, protocol: knn, label_space: two, backbones: [image-statistics]}}
  - {{store: task-segmentation, protocol: dense, params: {DENSE}, seeds: 1, backbones: [pixel-values]}}
  - {{store: mapped, protocol: dense, label_space: two, params: {DENSE}, seeds: 1, backbones: [pixel-values]}}
  - {{store: scenes, protocol: dense, params: {DENSE}, seeds: 1, backbones: [pixel-values]}}
  - {{store: alone, protocol: dense, params: {DENSE}, seeds: 1, backbones: [pixel-values]}}
  - {{store: task-change, protocol: change, params: {DENSE}, seeds: 1, backbones: [pixel-values]}}
  - {{stores: [optical, radar], protocol: knn, backbones: [image-statistics]}}
"""


def sets_store(root):
    """Sets of classes, with a label space of two of the three."""
    plain = toy_spec(kind="multi-label").model_dump(exclude_defaults=True)
    names = plain["label_spaces"]["own"]["classes"]
    two = {"classes": names[:2], "source": "own", "derived": {0: [0], 1: [1]}}
    spec = parse_spec({**plain, "id": "sets", "label_spaces": {**plain["label_spaces"], "two": two}}, "test")
    return build_store(root, spec, toy_samples(spec, N))


def found(results, protocol, **about):
    """The first record of a protocol in a label space or of a store."""
    for record in read_records(results).records:
        if record.status != "ok":
            continue
        facts = record.facts
        known = {"store": facts.stores[0].id, "space": facts.task.label_space, "scheme": facts.split.scheme}
        if facts.protocol.id == protocol and all(known[name] == value for name, value in about.items()):
            return record
    raise AssertionError(f"no record of {protocol} {about}")


KINDS = {
    "single-label": ("knn", {"store": "toy"}),
    "folds": ("logreg", {"store": "toy"}),
    "fraction": ("linear", {"store": "toy"}),
    "sets": ("knn", {"store": "sets", "space": "own"}),
    "derived sets": ("knn", {"store": "sets", "space": "two"}),
    "masks": ("dense", {"store": "task-segmentation"}),
    "derived masks": ("dense", {"store": "mapped"}),
    "side by side": ("dense", {"store": "scenes"}),
    "alone": ("dense", {"store": "alone"}),
    "change": ("change", {}),
    "joined": ("knn", {"store": "optical"}),
}
CLASSES = ("single-label", "folds", "fraction", "sets", "derived sets", "joined")
MASKS = ("masks", "derived masks", "change")


def problems(path, root):
    """What is wrong with a forged record: nothing that it says of itself, and what the stores say."""
    (record,) = read_records(path.parent).records
    assert verify(record, path.parent) == ()
    return Referee(root).problems(record, path.parent)


def edit(*place, value):
    def change(document):
        inside = document
        for name in place[:-1]:
            inside = inside[name]
        inside[place[-1]] = value

    return change
