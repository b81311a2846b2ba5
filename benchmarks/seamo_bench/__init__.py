"""seamo-bench: every backbone on every store under the same protocols.

What outsiders use is exported here, and imported when it is asked for: scores and tables load no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

__all__ = [
    "backbone",
    "build_table",
    "evaluate",
    "load_backbone",
    "per_class",
    "predictions_from_bytes",
    "read_records",
    "run_key",
    "sampling",
    "score",
    "scoring_of",
    "write_report",
]

if TYPE_CHECKING:
    from seamo_bench.board.leaderboard import build_table
    from seamo_bench.board.report import write_report
    from seamo_bench.facts import run_key, scoring_of
    from seamo_bench.predictions import predictions_from_bytes
    from seamo_bench.records.record import read_records
    from seamo_bench.runs.evaluation import evaluate
    from seamo_bench.scores.intervals import sampling
    from seamo_bench.scores.metrics import per_class, score
    from seamo_bench.zoo.given import backbone
    from seamo_bench.zoo.loading import load_backbone

_HOME = {
    "backbone": "zoo.given",
    "build_table": "board.leaderboard",
    "evaluate": "runs.evaluation",
    "load_backbone": "zoo.loading",
    "per_class": "scores.metrics",
    "predictions_from_bytes": "predictions",
    "read_records": "records.record",
    "run_key": "facts",
    "sampling": "scores.intervals",
    "score": "scores.metrics",
    "scoring_of": "facts",
    "write_report": "board.report",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'seamo_bench' has no attribute {name!r}")
    return getattr(importlib.import_module(f"seamo_bench.{_HOME[name]}"), name)
