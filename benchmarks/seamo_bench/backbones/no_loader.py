"""Models whose weights are public and that nothing here loads: listed with the reason, never run.

Own code would have no reference output, key list or importable package to be proved against.
"""

from seamo_bench.card import BackboneCard
from seamo_bench.family import Family


def _card(name: str, title: str, *, dim: int, size: int, patch: int, licence: str, why: str) -> BackboneCard:
    return BackboneCard(
        id=name,
        family="no_loader",
        title=title,
        inputs=(),
        embed_dim=dim,
        size=size,
        multiple_of=patch,
        code_licence=licence,
        source=why,
        availability="no loader",
    )


FAMILY = Family(
    cards=(
        _card(
            "clay-v1.5",
            "Clay v1.5 ViT-L/8",
            dim=1024,
            size=256,
            patch=8,
            licence="Apache-2.0",
            why="huggingface.co/made-with-clay/Clay, v1.5/clay-v1.5.ckpt; its package pins torch 2.4.0.",
        ),
        _card(
            "olmoearth-base",
            "OlmoEarth Base",
            dim=768,
            size=128,
            patch=8,
            licence="OlmoEarth Artifact License",
            why="huggingface.co/allenai/OlmoEarth-v1_2-Base; torchgeo has it from 0.9 (Python 3.12); use restricted.",
        ),
    )
)
