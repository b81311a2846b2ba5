"""k nearest neighbours: cosine similarity, votes weighted by exp(similarity / temperature), as in DINO and its kin."""

from collections.abc import Iterator

from seamo_bench.protocol import Context, Outcome, Protocol

PROTOCOL = Protocol(
    id="knn",
    version=2,
    title="Nearest neighbours (k = 20, cosine, weighted)",
    tasks=("single-label", "multi-label"),
    needs="features",
    defaults={"k": 20, "temperature": 0.07, "centre": True},
    cross_validation=True,
    tolerance=0.002,
)


def run(context: Context) -> Iterator[Outcome]:
    """Neighbours and votes of every trial: `seamo_bench.protocols.knn.votes`."""
    from seamo_bench.protocols.knn.votes import run_trials

    return run_trials(context)
