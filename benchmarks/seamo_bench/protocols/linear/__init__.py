"""Linear probe: frozen features, BatchNorm without affine, one linear layer; a grid of settings trained at once."""

from collections.abc import Iterator

from seamo_bench.protocol import Context, Outcome, Protocol
from seamo_bench.protocols._affine import affine

PROTOCOL = Protocol(
    id="linear",
    version=2,
    title="Linear probe: frozen features, batch norm + linear, settings chosen on validation",
    tasks=("single-label", "multi-label"),
    needs="features",
    defaults={
        "steps": 3000,  # 100 passes over EuroSAT; the same for fewer labels
        "batch": 512,
        "lrs": (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
        "weight_decays": (0.0, 1e-4, 1e-3),
        "momentum": 0.9,
    },
    demo={"steps": 20},
    num_seeds=3,
    together=True,
    apply=affine,
)


def run(context: Context) -> Iterator[Outcome]:
    """Train the grid for all seeds, choose on validation, test once: `seamo_bench.protocols.linear.grid`."""
    from seamo_bench.protocols.linear.grid import run_grid

    return run_grid(context)
