"""A family of another package: cards by name, a stem that is cut, switches it lacks, files dead or published."""

import hashlib
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from seamo.bands import Unit
from seamo.errors import CheckpointError, UsageError
from seamo.inputs.spec import InputSpec, Step
from seamo_bench.card import BackboneCard, Weights
from seamo_bench.cli.weights import app
from seamo_bench.family import Family
from seamo_bench.network import Features, Network
from seamo_bench.runs.plan import Places, make_plan
from seamo_bench.runs.run import Machine, run_plan
from seamo_bench.suites.suite import load_suite
from seamo_bench.zoo import catalogue
from seamo_bench.zoo.catalogue import Found, cards, family, find_card
from seamo_bench.zoo.loading import load_backbone, load_network
from seamo_bench.zoo.weights_files import check, convert
from tests.bench.bench_store import toy_store

torch.set_num_threads(1)
BANDS = ("B02", "B03", "B04", "B08", "B11", "B12")  # the toy store has no B12
SUITE = """
id: stem
title: stem
backbones: [stem:one, stem:two]
rows:
  - {store: toy, protocol: knn, missing: select-columns}
"""


class Stem(Network):
    """A convolution and its means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 5, 3, padding=1)
        self.out = nn.Linear(5, 8)

    def forward_features(self, inputs: Mapping[str, Tensor]) -> Features:
        return Features(self.out(self.stem(inputs["s2"]).square().mean(dim=(2, 3))))


def card(name: str = "stem:one", fill: float = 0.0, **weights: object) -> BackboneCard:
    return BackboneCard(
        id=name,
        family="stems",
        title=name,
        inputs=(InputSpec("s2", BANDS, Unit.DN, (Step("scale", (1e-3,)),), "typed here", fill=fill),),
        embed_dim=8,
        size=8,
        multiple_of=1,
        code_licence="MIT",
        source="here",
        availability="weights" if weights else "none needed",
        weights=Weights((), "stem.pt", "MIT", **weights) if weights else None,
    )


@pytest.fixture
def stems(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module that lists no card and makes them of names, installed as an outside family."""
    module = ModuleType("stems")
    module.FAMILY = Family(
        cards=(),
        build=lambda one: Stem(len(one.inputs[0].bands)),
        stem="stem",
        card_of=lambda name: {
            "stem:one": card("stem:one"),
            "stem:two": card("stem:two"),
            "stem:saved": card("stem:saved", sha256="a" * 64),
        }.get(name),
    )
    monkeypatch.setitem(sys.modules, "stems", module)
    ours = catalogue.families()
    monkeypatch.setattr(catalogue, "families", lambda: [*ours, "stems"])
    return module


@pytest.mark.usefixtures("stems")
def test_a_stem_of_a_card_by_name_is_cut_and_runs_in_a_suite(tmp_path: Path) -> None:
    """The columns of what is not fed go; the others stay those of the whole network."""
    store = toy_store(tmp_path / "stores", n=30)
    backbone = load_backbone("stem:one", store=store, missing="select-columns")
    whole = load_network(family("stems"), card(), None, 0)
    assert backbone.card.inputs[0].bands == BANDS[:5]
    torch.testing.assert_close(backbone.network.stem.weight, whole.stem.weight[:, :5], rtol=0, atol=0)
    again = backbone.make(3)
    torch.testing.assert_close(
        again.stem.weight, load_network(family("stems"), card(), None, 3).stem.weight[:, :5], rtol=0, atol=0
    )
    path = tmp_path / "suite.yaml"
    path.write_text(SUITE)
    places = Places(tmp_path / "stores", tmp_path / "results", tmp_path)
    cells = make_plan(load_suite(path), (), places)
    records = list(run_plan(cells, places, machine=Machine(), progress=_quiet, inner=_quiet))
    assert [(one.facts.backbone.id, one.status, one.reason) for one in records] == [
        ("stem:one", "ok", ""),
        ("stem:two", "ok", ""),
    ]


def _quiet(_done: int, _total: int, _what: str) -> None:
    pass


def test_cells_whose_cards_fill_with_nan_share_a_network(
    stems: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NaN is not equal to itself: each cell would load its own."""
    made = []

    def build(one: BackboneCard) -> Stem:
        made.append(one.id)
        return Stem(len(one.inputs[0].bands))

    def card_of(name: str) -> BackboneCard | None:
        return card(name, fill=float("nan")) if name == "stem:one" else None

    monkeypatch.setattr(stems, "FAMILY", replace(stems.FAMILY, build=build, card_of=card_of))
    toy_store(tmp_path / "stores", n=30)
    path = tmp_path / "suite.yaml"
    path.write_text(SUITE.replace(", stem:two", "") + "  - {store: toy, protocol: logreg, missing: select-columns}\n")
    places = Places(tmp_path / "stores", tmp_path / "results", tmp_path)
    cells = make_plan(load_suite(path), (), places)
    records = list(run_plan(cells, places, machine=Machine(), progress=_quiet, inner=_quiet))
    assert [one.status for one in records] == ["ok", "ok"]
    assert made == ["stem:one"]


def test_a_quirk_that_no_switch_of_the_family_makes_is_an_error_of_use(
    stems: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = replace(card("stem"), quirks=("odd: does it otherwise", "new: as well"))
    quirks = {"new": lambda one: replace(one, embed_dim=9)}
    monkeypatch.setattr(stems, "FAMILY", replace(stems.FAMILY, cards=(listed,), quirks=quirks))
    cards.cache_clear()
    try:
        assert find_card("stem+new").card.embed_dim == 9
        assert find_card("stem+new").card.owner == "stem"
        with pytest.raises(UsageError, match=r"has no quirk 'odd'\. Its quirks: new\."):
            find_card("stem+odd")
    finally:
        cards.cache_clear()


def test_a_plain_module_may_list_its_cards_in_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = ModuleType("plain_models")
    plain.CARDS, plain.load = [card()], lambda *_: Stem(6)
    monkeypatch.setitem(sys.modules, "plain_models", plain)
    assert family("plain_models").cards == (card(),)


def saved(path: Path, change: object = None) -> Path:
    torch.manual_seed(1)
    state = Stem(6).state_dict()
    if callable(change):
        state = {key: change(key, tensor) for key, tensor in state.items()}
    torch.save(state, path)
    return path


@pytest.mark.usefixtures("stems")
@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (lambda _, w: torch.zeros_like(w), "all 2 weights are zero, as stem.weight, out.weight"),
        (lambda _, w: torch.full_like(w, 0.5), "all 2 weights are constant"),
        (lambda key, w: w if key == "stem.bias" else torch.zeros_like(w), "all 2 weights are zero"),
        (lambda _, w: torch.full_like(w, torch.nan), "NaN or infinity"),
        (lambda key, w: torch.zeros_like(w) if key == "stem.weight" else w, "the same features for every image"),
        (lambda key, w: w * 1e30 if key == "stem.weight" else w, "features that are not finite"),
    ],
)
def test_dead_weights_are_refused_where_they_are_checked(change: object, wanted: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "stem.pt", change)
    with pytest.raises(CheckpointError, match=wanted):
        check(Found(card(sha256="a" * 64), "stems"), path)
    if "features" not in wanted:  # what can be seen without an image is refused by whoever loads it
        with pytest.raises(CheckpointError, match=wanted):
            load_network(family("stems"), card(), path, 0)
        with pytest.raises(CheckpointError, match=wanted):
            convert(Found(card(sha256="a" * 64), "stems"), path, tmp_path / "converted")
        assert not (tmp_path / "converted").exists()


def test_dead_weights_are_refused_where_a_family_loads_them_itself(stems: ModuleType, tmp_path: Path) -> None:
    def load(_card: BackboneCard, path: Path | None, _seed: int) -> Stem:
        network = Stem(6)
        if path is not None:
            network.load_state_dict(torch.load(path, weights_only=True))
        return network

    own = replace(stems.FAMILY, build=None, load=load)
    with pytest.raises(CheckpointError, match="all 2 weights are zero"):
        load_network(own, card(), saved(tmp_path / "zero.pt", lambda _, w: torch.zeros_like(w)), 0)
    assert load_network(own, card(), saved(tmp_path / "sound.pt"), 0).stem.weight.any()


@pytest.mark.usefixtures("stems")
def test_a_single_constant_weight_is_named(tmp_path: Path) -> None:
    def half(key: str, weight: Tensor) -> Tensor:
        return torch.full_like(weight, 0.25) if key == "stem.weight" else weight

    path = saved(tmp_path / "stem.pt", half)
    assert check(Found(card(sha256="a" * 64), "stems"), path).constant == ("stem.weight",)
    shown = CliRunner().invoke(app, ["check", str(path), "--backbone", "stem:saved"])
    assert shown.exit_code == 0
    assert "stem:saved: 1 weights are constant: stem.weight" in shown.stderr


@pytest.mark.usefixtures("stems")
def test_what_is_published_is_compared_with_all_that_is_known(tmp_path: Path) -> None:
    path = saved(tmp_path / "stem.pt")
    data = path.read_bytes()
    sha, md5 = hashlib.sha256(data).hexdigest(), hashlib.md5(data, usedforsecurity=False).hexdigest()
    for facts, wanted in (
        ({"sha256": sha}, "matches"),
        ({"sha256": sha[:8]}, "matches"),
        ({"md5": md5}, "matches"),
        ({"md5": md5, "bytes": len(data)}, "matches"),
        ({"md5": md5, "bytes": len(data) + 1}, "differs"),
        ({"md5": "0" * 32}, "differs"),
        ({"sha256": "0" * 64}, "differs"),
        ({"bytes": len(data)}, "unknown"),
        ({"how": "by hand"}, "unknown"),
    ):
        assert check(Found(card(**facts), "stems"), path).published == wanted, facts
