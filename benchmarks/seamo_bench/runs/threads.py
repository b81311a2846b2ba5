"""How many CPU threads a run takes."""

import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]


def limit_threads(threads: int) -> None:
    """Bind torch, numpy and scikit-learn to a number of CPU threads, for the rest of the process; 0: do not."""
    if threads:
        torch.set_num_threads(threads)
        threadpool_limits(threads)
