"""seamo-bench: every backbone on every store under the same protocols."""

from typing import TYPE_CHECKING, Any

__all__ = ["evaluate", "load_backbone"]

if TYPE_CHECKING:
    from seamo_bench.runs.evaluation import evaluate
    from seamo_bench.zoo.loading import load_backbone


def __getattr__(name: str) -> Any:
    # Scores and tables must not load torch.
    if name == "load_backbone":
        from seamo_bench.zoo.loading import load_backbone

        return load_backbone
    if name == "evaluate":
        from seamo_bench.runs.evaluation import evaluate

        return evaluate
    raise AttributeError(f"module 'seamo_bench' has no attribute {name!r}")
