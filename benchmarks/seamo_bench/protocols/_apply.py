"""What protocols share where a record is applied to new images."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from seamo.errors import ProtocolError
from seamo_bench.protocol import Trained

if TYPE_CHECKING:
    from seamo_bench.protocol import Inputs, Scores


def affine(trained: Trained) -> "Scores":
    """Pooled features times a matrix; as in the run, features are never of half precision.

    Raises:
        ProtocolError: If the record's head is no `weight` and `bias`, or is of other features.
    """
    try:
        weight, bias = (torch.from_numpy(trained.state[name]).float().to(trained.device) for name in ("weight", "bias"))
    except KeyError as error:
        raise ProtocolError(f"its head has no {error.args[0]}", trained.where) from error

    def scores(dates: "Sequence[Inputs]") -> Tensor:
        pooled = trained.network.forward_features(dates[0]).pooled.float()
        if pooled.shape[1] != len(weight):
            raise ProtocolError(f"its head takes {len(weight)} features, the backbone gives {pooled.shape[1]}")
        return pooled @ weight + bias

    return scores


def filled(model: nn.Module, trained: Trained) -> nn.Module:
    """A module with the values that the run trained, on its device, in evaluation mode.

    Raises:
        ProtocolError: If they do not fit.
    """
    try:
        model.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in trained.state.items()})
    except RuntimeError as error:
        raise ProtocolError(f"its head does not fit the network ({error})", trained.where) from error
    return model.to(trained.device).eval()


def autocast(trained: Trained) -> torch.autocast:
    """The precision of the run."""
    return torch.autocast(trained.device.type, torch.bfloat16, enabled=trained.precision == "bf16")
