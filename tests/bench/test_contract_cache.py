"""A cache key holds everything that changes a feature: each field of card, wiring, numbers, size and date in turn."""

import hashlib
import json
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from seamo.bands import Unit
from seamo.inputs.adapter import Adapter
from seamo.inputs.spec import Expects, InputSpec, Step
from seamo.inputs.wiring import Channel, SensorWiring, Wiring, wire
from seamo.manifest import Statistics
from seamo.store.reader import Store
from seamo.testing.protocols import tiny_backbone
from seamo.testing.tasks import task_store
from seamo_bench.card import BackboneCard, Weights
from seamo_bench.facts import AdapterFacts, BackboneFacts, InputFacts, StepFacts, adapter_facts
from seamo_bench.features.cache import FeatureCache, Work, cache_name
from seamo_bench.network import Backbone
from seamo_bench.zoo.catalogue import card_digest
from tests.bench.bench_store import toy_store
from tests.bench.variations import field_of, variations

BACKBONE = BackboneFacts(id="net", card="c" * 64, weights="w" * 64)
ADAPTER = AdapterFacts(
    inputs=(
        InputFacts(
            sensor="s2",
            stack="s2",
            bands=("B02", "B03"),
            unit="dn",
            steps=(StepFacts(op="affine", a=(1.0, 2.0), b=(3.0, 4.0)), StepFacts(op="clip", a=(0.0,), b=(1.0,))),
            filled=("B03",),
            statistics="train split of the store",
            sources=("s2:B02", "rgb:G"),
        ),
        InputFacts(
            sensor="s1",
            stack="s1",
            bands=("VV",),
            unit="db",
            steps=(StepFacts(op="scale", a=(0.5,), b=(1.0,)),),
            filled=("VV",),
            statistics="the card",
            sources=("s1:VH",),
        ),
    ),
    missing="zero",
    size=(224, 224),
    resize="date 0, then bilinear antialiased to 224 x 224",
)
CARD = BackboneCard(
    id="net",
    family="nets",
    title="Net",
    inputs=(InputSpec("s2", ("B02", "B03"), Unit.DN, (Step("affine", (1.0, 2.0), (3.0, 4.0)),), "here", "L2A", 0.5),),
    embed_dim=8,
    size=16,
    multiple_of=4,
    code_licence="MIT",
    source="here",
    any_size=True,
    joint=False,
    pos_interp="bicubic",
    pooling="mean",
    levels=((8, 4),),
    availability="weights",
    weights=Weights(("https://example.org/a",), "a.pt", "MIT", False, "a" * 64, "b" * 32, 3, "by hand"),
    pretrained_on=("eurosat",),
    pretraining=(("model.dim", "96"),),
    quirks=("odd: does it otherwise",),
    verified=("golden",),
    missing="fail",
    trainable=True,
    variant=(("depth", 12),),
    resize="bicubic-native",
)
# Where the weights lie changes no feature: what is in them is `BackboneFacts.weights`.
PLACES = {"urls", "filename", "noncommercial", "md5", "bytes", "how"}


def test_every_fact_of_backbone_and_adapter_changes_the_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wiring = wire(CARD.expects, toy_store(tmp_path, n=6).spec)

    def name(pixels: str = "s" * 64, backbone: BackboneFacts = BACKBONE, adapter: AdapterFacts = ADAPTER) -> str:
        monkeypatch.setattr("seamo_bench.features.cache.adapter_facts", lambda _: adapter)
        return cache_name(pixels, backbone, wiring)

    names = {"as it is": name(), "store": name("t" * 64)}
    names |= {f"backbone{where}": name(backbone=new) for where, new in variations(BACKBONE)}
    others = {where: name(adapter=new) for where, new in variations(ADAPTER)}
    told = {where for where in others if field_of(where) == "statistics"}  # where the numbers come from, in words
    assert told
    assert {others.pop(where) for where in told} == {name()}
    names |= {f"adapter{where}": one for where, one in others.items()}
    assert len(names) > 40
    assert len(set(names.values())) == len(names), "two of them share a cache"
    assert name() == names["as it is"]


def test_which_neighbour_is_read_changes_the_name_and_nothing_else_does(tmp_path: Path) -> None:
    """A record says that B05 was filled, not from which band; every other name is what it was before that counted."""
    store = toy_store(tmp_path, n=6)
    inputs = (InputSpec("s2", ("B02", "B05"), Unit.DN, (Step("scale", (1e-4,)),), "here"),)
    card = replace(CARD, inputs=inputs)
    nearest = wire(card.expects, store.spec, missing="nearest-wavelength")
    (sensor,) = nearest.sensors
    names = set()
    for source in ("B04", "B08"):
        other = replace(sensor, channels=(sensor.channels[0], replace(sensor.channels[1], source=source)))
        names.add(cache_name("s" * 64, BACKBONE, replace(nearest, sensors=(other,))))
    assert len(names) == 2
    for wiring in (wire(card.expects, store.spec, missing="zero"), wire(CARD.expects, store.spec)):
        facts = {
            "version": 1,
            "pixels": "s" * 64,
            "backbone": BACKBONE.model_dump(mode="json"),
            "adapter": adapter_facts(wiring).model_dump(mode="json"),
        }
        for one in facts["adapter"]["inputs"]:
            del one["statistics"]  # the numbers are in the steps
            assert one.pop("sources") == []  # names of before there was the field are those of today
        text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
        assert cache_name("s" * 64, BACKBONE, wiring) == hashlib.sha256(text.encode()).hexdigest()[:24]


def test_every_field_of_a_card_changes_its_digest_but_where_the_weights_lie() -> None:
    own = card_digest(CARD)
    digests = {where: card_digest(new) for where, new in variations(CARD)}
    assert {field_of(where) for where in digests} >= {field.name for field in fields(BackboneCard)} - {
        "inputs", "levels", "weights", "variant",
    }  # fmt: skip
    for where, digest in digests.items():
        of_weights = where.startswith(".weights.") and field_of(where) in PLACES
        # How a network was pretrained is told to tables; what came of it is in its weights.
        assert (digest == own) == (of_weights or where.startswith(".pretraining")), where


def test_a_field_that_the_example_leaves_empty_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\.weights is None in the example"):
        list(variations(replace(CARD, weights=None)))


# What of a wiring the facts need not say, and why.
FOLLOWS = {
    "Wiring.network": "the card's: `expects` below",
    "Wiring.sensors": "field by field below",
    "SensorWiring.input": "sensor, bands, unit and steps are in the facts, fill, product and source on the card",
    "SensorWiring.layers": "those of the stack: the store's content",
    "SensorWiring.channels": "field by field below",
    "SensorWiring.dropped": "the card's bands without those that are fed",
    "SensorWiring.new": "the policy, the bands, and the card's own",
    "SensorWiring.way": "the policy, and what was fed",
    "Channel.sensor": "in the facts' `sources`, by the policies that read another sensor's bands",
    "Channel.layer": "where the store has the band: its content",
    "Channel.index": "where the store has the band: its content",
    "Channel.scale": "from the store's unit to the card's",
    "Channel.offset": "from the store's unit to the card's",
}


def test_every_part_of_a_wiring_is_in_the_facts_or_follows_from_them(tmp_path: Path) -> None:
    store = toy_store(tmp_path, n=6, times=2)
    inputs = (InputSpec("s2", ("B02", "B05"), Unit.DN, (Step("scale", (1e-4,)),), "here"),)
    wiring = wire(replace(CARD, inputs=inputs).expects, store.spec, missing="zero", size=16, date=1)
    (sensor,) = wiring.sensors
    channel = sensor.channels[1]
    assert channel.filled
    changes = {
        "Wiring": {"missing": "mean", "size": (32, 32), "dates": (0,)},
        "SensorWiring": {"stack": "other", "statistics": "other"},
        "Channel": {"band": "B06", "source": "B05"},
    }
    for kind in (Wiring, SensorWiring, Channel):
        for field in fields(kind):
            name = f"{kind.__name__}.{field.name}"
            if name in FOLLOWS:
                continue
            assert field.name in changes[kind.__name__], f"{name}: is it in the facts? Say in FOLLOWS why not."
            new = {field.name: changes[kind.__name__][field.name]}
            if kind is Wiring:
                changed = replace(wiring, **new)
            elif kind is SensorWiring:
                changed = replace(wiring, sensors=(replace(sensor, **new),))
            else:
                channels = (sensor.channels[0], replace(channel, **new))
                changed = replace(wiring, sensors=(replace(sensor, channels=channels),))
            assert adapter_facts(changed) != adapter_facts(wiring), name


def test_what_a_network_expects_is_the_card_s() -> None:
    """So that the card's digest holds it: nothing of `Expects` can differ where the cards do not."""
    expected = CARD.expects
    told = {"learnt": "availability", **{field.name: field.name for field in fields(Expects) if field.name != "learnt"}}
    for field in fields(Expects):
        others = {"learnt": "none needed", "missing": "zero", "joint": True, "any_size": False, "inputs": ()}
        other = others.get(field.name, 3 if isinstance(getattr(expected, field.name), int) else "other")
        changed = replace(CARD, **{told[field.name]: other})
        assert getattr(changed.expects, field.name) != getattr(expected, field.name), field.name
        assert card_digest(changed) != card_digest(CARD)


def folder_of(root: Path, store: Store, card: BackboneCard, facts: BackboneFacts = BACKBONE, **adapter: object) -> str:
    made = Adapter(wire(card.expects, store.spec, **adapter))
    plain = tiny_backbone(task_store(root / "any", "single-label"))
    backbone = Backbone(card, plain.network, made, plain.make)
    return FeatureCache(root, store, backbone, facts=facts, work=Work(torch.device("cpu"))).folder.name


def test_adapters_that_differ_in_one_thing_never_share_a_folder(tmp_path: Path) -> None:
    """With the same facts of the backbone, so that the adapter's own are enough."""
    store, other = toy_store(tmp_path, n=6, times=2), toy_store(tmp_path / "other", n=7, times=2)

    def card(*steps: Step, bands: tuple[str, ...] = ("B02", "B03", "B04", "B08"), **changes: object) -> BackboneCard:
        return replace(CARD, inputs=(InputSpec("s2", bands, Unit.DN, steps, "here"),), **changes)

    def statistics(mean: float, std: float) -> dict[str, Statistics]:
        numbers = dict.fromkeys(("B02", "B03", "B04", "B08"), mean)
        return {"s2": Statistics(source="x", unit=Unit.DN, mean=numbers, std=dict.fromkeys(numbers, std))}

    plain, own = card(Step("scale", (1e-4,))), card(Step("store-zscore"))
    lacking = card(Step("scale", (1e-4,)), bands=("B02", "B05"))
    folders = {
        "as it is": folder_of(tmp_path, store, plain),
        "store": folder_of(tmp_path, other, plain),
        "weights": folder_of(tmp_path, store, plain, BACKBONE.model_copy(update={"weights": "v" * 64})),
        "card": folder_of(tmp_path, store, plain, BACKBONE.model_copy(update={"card": "d" * 64})),
        "a number of the normalisation": folder_of(tmp_path, store, card(Step("scale", (2e-4,)))),
        "a step of the normalisation": folder_of(tmp_path, store, card(Step("affine", (1e-4,), (1.0,)))),
        "one step more": folder_of(tmp_path, store, card(Step("scale", (1e-4,)), Step("clip", (0.0,), (1.0,)))),
        "statistics": folder_of(tmp_path, store, own, statistics=statistics(1.0, 2.0)),
        "mean of the statistics": folder_of(tmp_path, store, own, statistics=statistics(1.5, 2.0)),
        "std of the statistics": folder_of(tmp_path, store, own, statistics=statistics(1.0, 2.5)),
        "order of the bands": folder_of(tmp_path, store, card(*plain.inputs[0].steps, bands=("B03", "B02"))),
        "fewer bands": folder_of(tmp_path, store, card(*plain.inputs[0].steps, bands=("B02", "B03"))),
        "size": folder_of(tmp_path, store, plain, size=32),
        "never resized": folder_of(tmp_path, store, replace(plain, size=0)),
        "date": folder_of(tmp_path, store, plain, date=1),
        "zero for what is missing": folder_of(tmp_path, store, lacking, missing="zero"),
        "mean for what is missing": folder_of(tmp_path, store, lacking, missing="mean"),
        "a neighbour for what is missing": folder_of(tmp_path, store, lacking, missing="nearest-wavelength"),
        "columns left out": folder_of(tmp_path, store, lacking, missing="select-columns"),
    }
    asked = card(Step("scale", (1e-4,)), missing="select-columns")
    folders["bands asked for"] = folder_of(tmp_path, store, asked, inputs=("s2:B02+B08",))
    folders["other bands asked for"] = folder_of(tmp_path, store, asked, inputs=("s2:B02+B04",))
    shared = [sorted(names) for names in _by_value(folders).values() if len(names) > 1]
    assert not shared
    assert folder_of(tmp_path, store, plain) == folders["as it is"]


def _by_value(folders: dict[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, folder in folders.items():
        found.setdefault(folder, []).append(name)
    return found
