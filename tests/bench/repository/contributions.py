"""Contributions to a results repository: honest ones, and forged ones that are put there by hand."""

import hashlib
import io
import json

import numpy as np

from seamo.identity import canonical_json
from seamo_bench.records.layout import predictions_name, record_name
from seamo_bench.records.record import read_records
from seamo_bench.runs.repository import judge
from tests.bench.forging import sealed

SUITE = """
id: small
rows:
  - {store: toy, protocol: knn, backbones: [image-statistics]}
  - {store: toy, protocol: logreg, backbones: [image-statistics]}
"""
RERUN = "plausible, not rerun"


def knn(results):
    return next(record for record in read_records(results).records if record.facts.protocol.id == "knn")


def place(path, folder, *, number=1, who="Eve"):
    """Put a forged record into a repository by hand, as somebody who does not ask `submit`."""
    told = json.loads(path.read_text())
    told["environment"]["submitter"] = who
    told = sealed(told)
    data = path.with_suffix(".npz").read_bytes()
    file = folder / predictions_name(hashlib.sha256(data).hexdigest())
    file.write_bytes(data)
    there = folder / record_name(told["key"], number)
    there.parent.mkdir(exist_ok=True)
    there.write_text(json.dumps(told))
    return there


def refused(folder, base, **options):
    """What is refused of a contribution: name -> why."""
    verdicts = judge(folder, base=base, **options)
    return {one.name: "; ".join(one.problems) for one in verdicts if one.problems}


def resealed(entry):
    """The bytes of a register's entry with a seal that fits."""
    facts = {name: value for name, value in entry.items() if name != "digest"}
    return canonical_json({**facts, "digest": hashlib.sha256(canonical_json(facts)).hexdigest()})


def near(arrays):
    """What another machine gives: the same but for rounding."""
    return {**arrays, "scores": arrays["scores"] * np.float32(1 + 1e-6)}


def rewrite(path, write):
    """Other bytes as a record's predictions; the text names them."""
    buffer = io.BytesIO()
    write(buffer)
    told = json.loads(path.read_text())
    told["predictions"]["sha256"] = hashlib.sha256(buffer.getvalue()).hexdigest()
    path.with_suffix(".npz").write_bytes(buffer.getvalue())
    path.write_text(json.dumps(sealed(told)))
