"""FusMAE (Chan-To-Hing and Veeravalli 2024, arXiv 2401.02764): no code and no weights are public."""

from seamo_bench.card import BackboneCard
from seamo_bench.family import Family

FAMILY = Family(
    cards=(
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
)
