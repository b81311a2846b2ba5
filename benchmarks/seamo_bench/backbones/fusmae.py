"""FusMAE (Chan-To-Hing and Veeravalli 2024, arXiv 2401.02764): no code and no weights are public."""

from pathlib import Path
from typing import TYPE_CHECKING

from seamo.errors import CheckpointError
from seamo_bench.card import BackboneCard

if TYPE_CHECKING:
    from seamo_bench.network import Network

CARDS = (
    BackboneCard(
        id="fusmae-vitb",
        family="fusmae",
        title="FusMAE ViT-B",
        inputs=(),
        embed_dim=768,
        size=224,
        multiple_of=16,
        code_licence="none",
        source="SeaMo paper; arXiv 2401.02764",
        availability="quoted only",
    ),
)


def load(card: BackboneCard, _weights: Path | None, _seed: int) -> "Network":
    """Nothing to load.

    Raises:
        CheckpointError: Always.
    """
    raise CheckpointError("has no public weights: its numbers can be quoted, not recomputed", card.id)
