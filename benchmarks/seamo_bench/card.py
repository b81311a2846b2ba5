"""The backbone card: what a checkpoint expects, as frozen values. No torch here."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from seamo.inputs.spec import SELECT_NM, Expects, InputSpec, MissingPolicy, Resize, Step

if TYPE_CHECKING:  # an unknown backbone is refused before the manifest is imported
    from seamo.inputs.wiring import Wiring

__all__ = ["Availability", "BackboneCard", "InputSpec", "MissingPolicy", "Option", "Step", "Weights"]

Option = str | int | float | bool | tuple[int, ...] | tuple[tuple[int, ...], ...]
Availability = Literal["weights", "none needed", "quoted only", "no loader"]


@dataclass(frozen=True, slots=True)
class Weights:
    """One published checkpoint file.

    Args:
        urls: Direct links, tried in order.
        filename: Name under which it is kept.
        licence: Licence of the weights.
        noncommercial: Whether the licence forbids commercial use; must then be accepted once.
        sha256: Hex digest, or as many of its first digits as are published.
        md5: Hex digest, where only that is published.
        bytes: Size, where it is published.
        how: Instructions where no direct link exists.
    """

    urls: tuple[str, ...]
    filename: str
    licence: str
    noncommercial: bool = False
    sha256: str = ""
    md5: str = ""
    bytes: int | None = None
    how: str = ""


@dataclass(frozen=True, slots=True)
class BackboneCard:
    """Everything that decides what a backbone does with pixels.

    Args:
        id: Kebab-case id, as on the leaderboard.
        family: Module in `seamo_bench.backbones`.
        title: As tables print it.
        inputs: One per sensor that the network can take.
        joint: True if every sensor in `inputs` must be there; False: whichever of them the store has.
        embed_dim: Width of the pooled feature; 0 = follows from the bands.
        size: Native image size in pixels; 0 = images are taken as the store has them, never resized.
        multiple_of: Image sizes must be multiples of this (patch or total stride).
        any_size: False if only `size` is accepted.
        pos_interp: How position embeddings are interpolated to another grid, in words.
        pooling: How tokens become one vector, in words.
        levels: (channels, stride) of each dense feature level, shallow to deep.
        code_licence: Licence of the reference code.
        availability: Whether weights can be had; `no loader`: they are public, and nothing here loads them.
        weights: The checkpoint, if there is one.
        pretrained_on: Data set ids seen in pretraining.
        source: Paper or repository.
        quirks: Deviations of the official code that are switches here, off by default.
        verified: What proves the implementation: `golden`, `manifest`, `package`; empty = "unverified".
        trainable: False where there is nothing to fine-tune (image statistics).
        variant: Free options of the family's loader, such as depth or width.
        resize: How an image gets to the network's size.
        pretraining: What decided its pretraining but the seed: name -> value as text. Told in records, and no part of
            the card's digest: the weights have their own.
        select_nm: How far, in nanometres, the centre of a store's band may be from the one that it stands in for
            (`select`).
    """

    id: str
    family: str
    title: str
    inputs: tuple[InputSpec, ...]
    embed_dim: int
    size: int
    multiple_of: int
    code_licence: str
    source: str
    any_size: bool = True
    joint: bool = False
    pos_interp: str = ""
    pooling: str = ""
    levels: tuple[tuple[int, int], ...] = ()
    availability: Availability = "weights"
    weights: Weights | None = None
    pretrained_on: tuple[str, ...] = ()
    quirks: tuple[str, ...] = ()
    verified: tuple[str, ...] = ()
    missing: MissingPolicy = "fail"
    trainable: bool = True
    variant: tuple[tuple[str, Option], ...] = ()
    resize: Resize = "bilinear"
    pretraining: tuple[tuple[str, str], ...] = ()
    select_nm: float = SELECT_NM

    @property
    def owner(self) -> str:
        """Id of the listed card behind it, whose weights it has: see `owner_of`."""
        return owner_of(self.id)

    @property
    def expects(self) -> Expects:
        """What its network expects of the input."""
        return Expects(
            id=self.id,
            inputs=self.inputs,
            size=self.size,
            multiple_of=self.multiple_of,
            any_size=self.any_size,
            joint=self.joint,
            resize=self.resize,
            missing=self.missing,
            learnt=self.availability != "none needed",
            select_nm=self.select_nm,
        )

    def fed(self, wiring: "Wiring") -> "BackboneCard":
        """The same card, its inputs those that are really fed and its policy the one that made them so."""
        return replace(self, inputs=wiring.network.inputs, missing=wiring.missing)


def owner_of(card_id: str) -> str:
    """Id of the listed card behind one with quirks.

    Example:
        >>> owner_of("spectralgpt+no-positions")
        'spectralgpt'
    """
    return card_id.partition("+")[0]
