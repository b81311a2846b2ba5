"""A saved model without training, for the tests of what comes after it."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from seamo.model.checkpoint import save_model
from seamo.model.config import SeaMoConfig
from seamo.model.seamo import SeaMo


def normalisation(config: SeaMoConfig) -> dict[str, Any]:
    return {
        s: {
            "kind": "two-sigma",
            "unit": "dn" if s == "s2" else "db",
            "mean": {name: 1000.0 + i for i, name in enumerate(names)},
            "std": dict.fromkeys(names, 500.0),
            "source": "typed in the test",
            "eight_bit": False,
        }
        for s, names in config.bands.items()
    }


def write_card(path: Path, card: Mapping[str, Any]) -> None:
    """Another card, under a seal that vouches for it."""
    (path / "card.json").write_text(json.dumps(card))
    seal_again(path)


def seal_again(path: Path) -> None:
    """`checksums.json` of the card and weights that are there now, written by hand."""
    files = {}
    for name in ("card.json", "model.safetensors"):
        data = (path / name).read_bytes()
        files[name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    plain = {"separators": (",", ":"), "sort_keys": True}
    digest = hashlib.sha256(json.dumps({"files": files}, **plain).encode()).hexdigest()
    (path / "checksums.json").write_text(json.dumps({"files": files, "digest": digest}, **plain))


def model_folder(path: Path, config: SeaMoConfig, seed: int = 0) -> SeaMo:
    model = SeaMo(config, generator=torch.Generator().manual_seed(seed))
    # Weights as after training: norms and biases are not ones and zeros, so that a wrong place shows.
    noise = torch.Generator().manual_seed(99)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=noise))
    save_model(path, model, {"normalisation": normalisation(config), "provenance": {"store": "none", "seed": seed}})
    return model.eval()
