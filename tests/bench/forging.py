"""What a forger does to a results folder, who has all our code: scores, hashes, seals and names are made to fit."""

import hashlib
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from seamo_bench.facts import Facts, run_key, scoring_of
from seamo_bench.predictions import predictions_from_bytes
from seamo_bench.scores.metrics import per_class, score

Document = dict[str, Any]
Arrays = dict[str, np.ndarray]


def sealed(document: Document) -> Document:
    """The document with seals that fit, by the words of their documentation."""

    def digest(value: Any) -> str:
        return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")).hexdigest()

    told = {name: text for name, text in document["environment"].items() if name != "seal"}
    document["environment"] = {**told, "seal": digest({"cost": document["cost"], "environment": told})}
    apart = ("predictions", "cost", "environment", "seal")
    document["seal"] = digest({name: value for name, value in document.items() if name not in apart})
    return document


def forge(
    results: Path,
    key: str,
    into: Path,
    *,
    arrays: Callable[[Arrays], Arrays] = lambda arrays: arrays,
    document: Callable[[Document], None] = lambda _document: None,
    seal: bool = True,
) -> Path:
    """A copy of one record after changes of its predictions and its text, with all that follows from them; its file."""
    told = json.loads((results / f"{key}.json").read_text())
    changed = arrays(dict(np.load(results / f"{key}.npz")))
    buffer = io.BytesIO()
    np.savez(buffer, **changed)
    data = buffer.getvalue()
    document(told)
    facts = Facts.model_validate(told["facts"])
    predictions, scoring = predictions_from_bytes(data), scoring_of(facts)
    told["key"] = run_key(facts)
    told["scores"] = score(predictions, scoring)
    told["per_class"] = {name: list(values) for name, values in per_class(predictions, scoring).items()}
    told["predictions"] = {"name": f"{told['key']}.npz", "sha256": hashlib.sha256(data).hexdigest()}
    told["head"] = None
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    (into / f"{told['key']}.npz").write_bytes(data)
    path = into / f"{told['key']}.json"
    path.write_text(json.dumps(sealed(told) if seal else told))
    return path


def some(arrays: Arrays, rows: np.ndarray) -> Arrays:
    """The arrays of some samples or images, without class ids."""
    n = len(arrays["keys"])
    taken = {name: array[rows] if array.ndim and len(array) == n else array for name, array in arrays.items()}
    if "ids" in arrays:
        taken |= {"ids": arrays["ids"][:0], "shapes": arrays["shapes"][:0]}
    return taken
