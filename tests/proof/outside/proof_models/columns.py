"""The same tiny networks, of a family whose input layer can lose columns."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from proof_models import steps
from seamo_bench.card import BackboneCard

if TYPE_CHECKING:
    from seamo_bench.network import Network

SELECTS_COLUMNS = True
_LIKE = next(card for card in steps.CARDS if card.id == "proof-wrap")
CARDS = (replace(_LIKE, id="proof-columns", family="proof_columns", missing="select-columns"),)


def load(card: BackboneCard, weights: Path | None, seed: int) -> "Network":
    """The network for the bands that are there: it is random, so that there are no columns to look for."""
    return steps.load(card, weights, seed)
