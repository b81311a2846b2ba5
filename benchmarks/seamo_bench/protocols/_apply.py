"""What protocols share where trained modules of a record are applied to new images."""

import torch
from torch import nn

from seamo.errors import ProtocolError
from seamo_bench.protocol import Trained


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
