"""Logistic regression: the linear probe's convex twin. Standardised features, C fixed, one seed, nothing to choose."""

from collections.abc import Iterator

from seamo_bench.protocol import Context, Outcome, Protocol
from seamo_bench.protocols._affine import affine

PROTOCOL = Protocol(
    id="logreg",
    version=2,
    title="Logistic regression on standardised features (L-BFGS, C = 1)",
    tasks=("single-label", "multi-label"),
    needs="features",
    defaults={"C": 1.0, "max_iter": 2000},
    cross_validation=True,
    tolerance=0.002,
    apply=affine,
)


def run(context: Context) -> Iterator[Outcome]:
    """One fit a trial, 25 with `cv5x5`: `seamo_bench.protocols.logreg.fits`."""
    from seamo_bench.protocols.logreg.fits import run_fits

    return run_fits(context)
