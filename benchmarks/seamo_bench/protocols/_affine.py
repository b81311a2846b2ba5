"""How a head on pooled features is applied to new images; a protocol names it without loading torch."""

from typing import TYPE_CHECKING

from seamo.errors import ProtocolError
from seamo_bench.protocol import Trained

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from seamo_bench.protocol import Inputs, Scores


def affine(trained: Trained) -> "Scores":
    """Pooled features times a matrix; as in the run, features are never of half precision.

    Raises:
        ProtocolError: If the record's head is no `weight` and `bias`, or is of other features.
    """
    import torch

    try:
        weight, bias = (torch.from_numpy(trained.state[name]).float().to(trained.device) for name in ("weight", "bias"))
    except KeyError as error:
        raise ProtocolError(f"its head has no {error.args[0]}", trained.where) from error

    def scores(dates: "Sequence[Inputs]") -> "Tensor":
        pooled = trained.network.forward_features(dates[0]).pooled.float()
        if pooled.shape[1] != len(weight):
            raise ProtocolError(f"its head takes {len(weight)} features, the backbone gives {pooled.shape[1]}")
        return pooled @ weight + bias

    return scores
