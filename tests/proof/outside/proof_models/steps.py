"""Tiny random networks whose cards use every kind of normalisation step, unit conversion and fill.

Backbones with published weights normalise so; their weights are not at hand everywhere, their way of pixels is.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from seamo.bands import Unit
from seamo_bench.card import BackboneCard, InputSpec, Step

if TYPE_CHECKING:
    from seamo_bench.network import Network

RGB = ("B04", "B03", "B02")
TEN = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
SOURCE = "the proof of same numbers"


def _s2(bands: tuple[str, ...], *steps: Step, unit: Unit = Unit.DN, fill: float = 0.0) -> InputSpec:
    return InputSpec("s2", bands, unit, steps, SOURCE, product="L2A", fill=fill)


def _s1(*steps: Step, unit: Unit = Unit.DB, fill: float = 0.0) -> InputSpec:
    return InputSpec("s1", ("VV", "VH"), unit, steps, SOURCE, product="GRD", fill=fill)


def _card(name: str, *inputs: InputSpec, joint: bool = False) -> BackboneCard:
    return BackboneCard(
        id=name,
        family="proof_steps",
        title=f"Random convolution ({name})",
        inputs=inputs,
        embed_dim=24,
        size=48,
        multiple_of=8,
        joint=joint,
        pooling="mean over space",
        levels=((12, 4), (24, 8)),
        code_licence="Apache-2.0",
        availability="none needed",
        source=SOURCE,
        variant=(("floor", "random init"),),
    )


_BYTES = (Step("affine", (0.0,), (2000.0 / 255,)),)
CARDS = (
    _card("proof-clip", _s2(RGB, Step("scale", (1e-4,)), Step("clip", (0.0,), (0.3,)), fill=0.1)),
    _card("proof-bytes", _s2(RGB, *_BYTES, Step("truncate-uint8"), Step("scale", (1 / 255,)))),
    _card("proof-wrap", _s2(RGB, *_BYTES, Step("wrap-uint8"), Step("affine", (90.0, 95.0, 100.0), (60.0, 55.0, 50.0)))),
    _card("proof-quantiles", _s2(TEN, Step("image-quantile-clip", (0.02,), (0.98,)), Step("image-minmax", (1e-6,)))),
    _card("proof-image", _s2(TEN, Step("image-zscore"))),
    _card("proof-offset", _s2(TEN, Step("store-zscore"), unit=Unit.DN_PLUS_1000)),
    _card("proof-radar", _s1(Step("store-2std"), unit=Unit.DB_X100, fill=0.5)),
    _card(
        "proof-joint",
        _s2(TEN, Step("store-2std"), fill=0.5),
        _s1(Step("affine", (-12.0, -20.0), (5.0, 6.0)), Step("clip", (-2.0,), (2.0,))),
        joint=True,
    ),
    replace(_card("proof-whole", _s2(RGB, Step("store-zscore"))), any_size=False, multiple_of=48),
)


def load(card: BackboneCard, weights: Path | None, seed: int) -> "Network":
    """Two convolutions on the channels of all sensors, random from `seed`."""
    import torch
    from torch import Tensor, nn

    from seamo.errors import ProtocolError
    from seamo_bench.network import Features, Network

    class Small(Network):
        """Strides 4 and 8."""

        def __init__(self) -> None:
            super().__init__()
            channels = sum(len(spec.bands) for spec in card.inputs)
            self.shallow = nn.Conv2d(channels, 12, kernel_size=4, stride=4)
            self.deep = nn.Conv2d(12, card.embed_dim, kernel_size=2, stride=2)
            generator = torch.Generator().manual_seed(seed)
            with torch.no_grad():
                for parameter in self.parameters():
                    parameter.normal_(0, parameter[0].numel() ** -0.5, generator=generator)

        def forward_features(self, inputs: Mapping[str, Tensor]) -> Features:
            image = torch.cat([inputs[spec.sensor] for spec in card.inputs], dim=1)
            shallow = self.shallow(image).relu()
            deep = self.deep(shallow).relu()
            return Features(deep.mean(dim=(2, 3)), (shallow, deep))

    if weights is not None:
        raise ProtocolError("has no weights", where=card.id)
    return Small().eval()
