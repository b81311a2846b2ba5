"""Logistic regression: the linear probe's convex twin. Standardised features, the penalty chosen on validation."""

from collections.abc import Iterator

from seamo_bench.protocol import Context, Outcome, Protocol
from seamo_bench.protocols._affine import affine

PROTOCOL = Protocol(
    id="logreg",
    version=3,
    title="Logistic regression on standardised features (L-BFGS), C chosen on validation",
    tasks=("single-label", "multi-label"),
    needs="features",
    # `C: 1.0`, one number, is version 2: nothing is chosen, validation is not used.
    defaults={"C": (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0), "max_iter": 2000},
    cross_validation=True,
    tolerance=0.002,
    apply=affine,
)


def run(context: Context) -> Iterator[Outcome]:
    """Several fits a trial, one if C is one number: `seamo_bench.protocols.logreg.fits`."""
    from seamo_bench.protocols.logreg.fits import run_fits

    return run_fits(context)
