"""The contract of backbones: held by every listed card, broken by every fault that is made here."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from seamo.bands import Unit
from seamo.errors import ProtocolError
from seamo.inputs.spec import InputSpec, Step
from seamo.testing.backbones import check_backbone, check_card
from seamo_bench.card import BackboneCard
from seamo_bench.family import Family
from seamo_bench.network import Features, Network
from seamo_bench.zoo.catalogue import budget_card, cards

LARGE = ("vitl", "vith", "vitg", "large")  # the same code as their smaller siblings
FAST = 2_000_000  # parameters of networks whose values `make test` computes; soak: all that fit into memory
SLOW = 120_000_000


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def listed() -> list[Any]:
    """Every card; in `make test` no large ones, and of cards that differ in their weights alone the first."""
    seen: set[Any] = set()
    marked = []
    for name, found in cards().items():
        bands = tuple((spec.sensor, spec.bands) for spec in found.card.inputs)
        shape = (found.module, found.card.variant, bands, found.card.size, found.card.availability)
        slow = shape in seen or (any(part in name for part in LARGE) and name != "dinov3-sat-vitl16")
        seen.add(shape)
        marked.append(pytest.param(name, marks=pytest.mark.soak if slow else ()))
    return marked


@pytest.mark.parametrize("name", listed())
def test_every_card_keeps_the_contract(name: str) -> None:
    found = cards()[name]
    check_backbone(found.family, budget_card(found, "demo"), max_parameters=FAST)


@pytest.mark.soak
@pytest.mark.parametrize("name", sorted(cards()))
def test_every_network_that_fits_computes_as_the_contract_says(name: str) -> None:
    found = cards()[name]
    check_backbone(found.family, found.card, max_parameters=SLOW)


def test_what_every_card_says_is_consistent() -> None:
    for found in cards().values():
        check_card(found.card)
        assert found.module.endswith(found.card.family), found.card.id


# A small network, and what can be wrong with one -------------------------------------------------------------

STEPS = (Step("affine", (0.0, 0.0, 0.0), (1e4, 1e4, 1e4)),)
INPUT = InputSpec("s2", ("B04", "B03", "B02"), Unit.DN, STEPS, "this test")
CARD = BackboneCard(
    id="small",
    family="test",
    title="Small",
    inputs=(INPUT,),
    embed_dim=8,
    size=16,
    multiple_of=4,
    levels=((8, 4),),
    code_licence="Apache-2.0",
    source="this test",
    availability="none needed",
)


class Small(Network):
    """One convolution of stride 4, and what a test puts before and behind it."""

    def __init__(self, card: BackboneCard, after: Callable[[nn.Module, Tensor], Tensor] = lambda _, x: x) -> None:
        super().__init__()
        self.conv = nn.Conv2d(len(card.inputs[0].bands), 8, 4, stride=4)
        self.drop = nn.Dropout(0.5)
        self.norm = nn.BatchNorm2d(8, track_running_stats=False)
        self.after = after

    def forward_features(self, inputs: Mapping[str, Tensor]) -> Features:
        level = self.after(self, self.conv(inputs["s2"]))
        return Features(level.mean(dim=(2, 3)), (level,))


def family(make: Callable[[BackboneCard], Network] = Small) -> Family:
    return Family(cards=(CARD,), build=make)


def seedless(card: BackboneCard, _weights: Path | None, _seed: int) -> Network:
    torch.manual_seed(int(torch.randint(1000, ()) + torch.initial_seed()) % 1000)
    return Small(card)


def with_(after: Callable[[Any, Tensor], Tensor]) -> Family:
    return family(lambda card: Small(card, after))


def only_16(_: nn.Module, x: Tensor) -> Tensor:
    if x.shape[-1] != 4:
        raise ProtocolError("takes 16 x 16")
    return x


class Deaf(Small):
    """Does not look at B02."""

    def forward_features(self, inputs: Mapping[str, Tensor]) -> Features:
        return super().forward_features({"s2": inputs["s2"] * torch.tensor([1.0, 1.0, 0.0])[:, None, None]})


class Restless(Small):
    """Its dropout stays on."""

    def train(self, mode: bool = True) -> "Restless":
        super().train(mode)
        self.drop.training = True
        return self


def seeded(card: BackboneCard) -> Network:
    torch.manual_seed(3)
    return Small(card)


NETWORKS = [
    (family(), {"embed_dim": 9}, r"pooled features are \(3, 8\), the card says \(3, 9\)"),
    (family(), {"levels": ((8, 8),)}, r"levels are \[\(3, 8, 4, 4\)\], the card says \[\(3, 8, 2, 2\)\]"),
    (family(), {"levels": ((9, 4),)}, "levels are"),
    (family(), {"levels": ()}, "1 levels, the card lists 0"),
    (with_(only_16), {}, None),
    (family(), {"any_size": False}, "takes another size, and the card says only 16"),
    (family(Restless), {}, "is in training mode"),
    (family(), {"trainable": False}, "trainable is False, and parameters to train: True"),
    (Family(cards=(CARD,), load=seedless), {}, "one seed gives two networks"),
    (Family(cards=(CARD,), load=lambda card, _weights, _seed: seeded(card)), {}, "two seeds give one network"),
    (with_(lambda _, x: nn.functional.dropout(x, 0.5)), {}, "two passes differ"),
    (with_(lambda self, x: self.norm(x)), {}, "follows the rest of the batch"),
    (with_(lambda _, x: x + torch.arange(len(x))[:, None, None, None]), {}, "follows the order of the batch"),
    (with_(lambda _, x: x * torch.nan), {}, "is not finite"),
    (family(Deaf), {}, "s2:B02 changes no feature"),
]


def test_the_small_network_keeps_the_contract() -> None:
    check_backbone(family(), CARD)
    check_backbone(with_(only_16), replace(CARD, any_size=False))
    follows = replace(CARD, inputs=(replace(INPUT, bands=(), steps=()),))
    check_backbone(family(), follows)


@pytest.mark.parametrize(("broken", "changes", "words"), NETWORKS)
def test_every_fault_of_a_network_is_seen(broken: Family, changes: dict[str, Any], words: str | None) -> None:
    expected = (AssertionError, rf"^small.*{words}") if words else (ProtocolError, "takes 16 x 16")
    with pytest.raises(expected[0], match=expected[1]):
        check_backbone(broken, replace(CARD, **changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"inputs": ()}, "takes no input"),
        ({"inputs": (replace(INPUT, sensor="s9"),)}, "s9: is no sensor"),
        ({"inputs": (replace(INPUT, bands=("B04", "B03", "B99")),)}, r"has no bands \['B99'\]"),
        ({"inputs": (replace(INPUT, bands=("B04", "B04", "B02")),)}, "a band stands twice"),
        ({"inputs": (replace(INPUT, source=""),)}, "does not say where its normalisation is from"),
        ({"inputs": (replace(INPUT, bands=("B04", "B03")),)}, r"affine has \[3\] numbers"),
        ({"size": 15}, "size 15 is no multiple of 4"),
        ({"quirks": ("odd",)}, "quirk 'odd' says nothing"),
    ],
)
def test_every_fault_of_a_card_is_seen(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(AssertionError, match=rf"^small.*{words}"):
        check_card(replace(CARD, **changes))


def test_a_card_without_weights_must_say_why() -> None:
    check_backbone(Family(cards=()), replace(CARD, inputs=(), availability="quoted only"))


def test_values_of_large_networks_are_not_computed() -> None:
    broken = with_(lambda _, x: x * torch.nan)
    check_backbone(broken, CARD, max_parameters=100)
    with pytest.raises(AssertionError, match="not finite"):
        check_backbone(broken, CARD, max_parameters=500)
