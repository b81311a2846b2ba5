"""The adapter: bands by name, units, grids, sizes and missing pixels, compared with numbers worked out by hand."""

import math

import numpy as np
import pytest
import torch

from seamo.bands import Unit
from seamo.data.batch import Batch
from seamo.errors import BandError, ProtocolError, UsageError
from seamo.inputs.adapter import Adapter
from seamo.inputs.check import check_range
from seamo.inputs.explain import explain
from seamo.inputs.resize import resize
from seamo.inputs.wiring import wire
from seamo.manifest import Statistics
from seamo.resample import resize as resize_numpy
from seamo_bench.card import BackboneCard, InputSpec, Step
from seamo_bench.facts import adapter_facts
from tests.bench.bench_store import toy_spec


def make_card(bands=("B04", "B02"), *, steps=(), unit=Unit.DN, size=0, fill=0.0, **changes):
    spec = InputSpec("s2", tuple(bands), unit, tuple(steps), "by hand", fill=fill)
    options = {"embed_dim": 1, "size": size, "multiple_of": 1, "code_licence": "none", "source": "test"}
    return BackboneCard("card", "test", "Card", (spec,), **{**options, **changes})


def make_batch(spec, planes, *, valid=True, size=None):
    """`planes`: band -> (T, h, w) or (h, w) array."""
    layers = {}
    for layer in spec.layers:
        stacked = np.stack([np.asarray(planes[name], dtype=np.int64) for name in layer.bands])
        stacked = stacked[None] if stacked.ndim == 3 else stacked.swapaxes(0, 1)
        layers[layer.id] = torch.from_numpy(stacked.astype(layer.dtype))[None]
    height, width = next(iter(layers.values())).shape[-2:]
    times = spec.layers[0].times
    return Batch(
        spec,
        torch.tensor([0]),
        ("k",),
        layers,
        {layer.id: torch.full((1, times), valid) for layer in spec.layers},
        {},
        torch.tensor([size or (height, width)]),
        None,
        None,
        torch.tensor([False]),
    )


SPEC = toy_spec(bands=("B02", "B03", "B04"), size=2)
PLANES = {"B02": [[1, 2], [3, 4]], "B03": [[10, 20], [30, 40]], "B04": [[100, 200], [300, 400]]}


def test_bands_come_by_name_in_the_cards_order():
    got = Adapter(wire(make_card().expects, SPEC))(make_batch(SPEC, PLANES))["s2"]
    assert got.tolist() == [[[[100.0, 200.0], [300.0, 400.0]], [[1.0, 2.0], [3.0, 4.0]]]]


def test_the_order_of_bands_in_the_store_changes_nothing():
    turned = toy_spec(bands=("B04", "B02", "B03"), size=2)
    card = make_card(("B03", "B04", "B02"), steps=(Step("affine", (1.0, 2.0, 3.0), (4.0, 5.0, 6.0)),))
    a = Adapter(wire(card.expects, SPEC))(make_batch(SPEC, PLANES))["s2"]
    b = Adapter(wire(card.expects, turned))(make_batch(turned, PLANES))["s2"]
    assert torch.equal(a, b)
    assert a[0, :, 0, 0].tolist() == pytest.approx([(10 - 1) / 4, (100 - 2) / 5, (1 - 3) / 6])


@pytest.mark.parametrize(
    "other", [{"bands": ("B04", "B03", "B02")}, {"unit": "dn+1000"}, {"bands": ("B02", "B03")}], ids=str
)
def test_a_batch_of_a_store_that_was_not_wired_is_refused(other):
    """Else its B04 would be taken for B02, and its numbers for ones without ESA's 1,000."""
    adapter = Adapter(wire(make_card().expects, SPEC))
    adapter(make_batch(SPEC, PLANES))
    spec = toy_spec(**({"bands": ("B02", "B03", "B04"), "size": 2} | other))
    with pytest.raises(ProtocolError, match="another one than in the store that this network was loaded for"):
        adapter(make_batch(spec, PLANES))


def test_units_are_converted_or_refused():
    spec = toy_spec(bands=("B02", "B03", "B04"), size=2, unit="dn+1000")
    planes = {name: np.array(values) + 1000 for name, values in PLANES.items()}
    got = Adapter(wire(make_card().expects, spec))(make_batch(spec, planes))["s2"]
    assert got[0, 0].tolist() == [[100.0, 200.0], [300.0, 400.0]]
    with pytest.raises(ProtocolError, match="unit dn cannot become uint8"):
        Adapter(wire(make_card(unit=Unit.UINT8).expects, SPEC))


def test_store_statistics_are_converted_with_the_pixels():
    spec = toy_spec(bands=("B02", "B03", "B04"), size=2, unit="dn+1000")
    numbers = {"mean": {"B02": 1002.5, "B03": 1025.0, "B04": 1250.0}, "std": {"B02": 2.0, "B03": 20.0, "B04": 50.0}}
    known = {"s2": Statistics(source="test", unit=Unit.DN_PLUS_1000, **numbers)}
    batch = make_batch(spec, {name: np.array(values) + 1000 for name, values in PLANES.items()})
    z = Adapter(wire(make_card(steps=(Step("store-zscore"),)).expects, spec, statistics=known))(batch)["s2"]
    assert z[0, 0].tolist() == [[-3.0, -1.0], [1.0, 3.0]]  # (B04 - 250) / 50
    two = Adapter(wire(make_card(steps=(Step("store-2std"),)).expects, spec, statistics=known))(batch)["s2"]
    assert two[0, 0].tolist() == [[0.0, 0.25], [0.75, 1.0]]  # 150..350 -> 0..1, clipped
    with pytest.raises(ProtocolError, match="own statistics"):
        Adapter(wire(make_card(steps=(Step("store-zscore"),)).expects, spec))


def test_layers_meet_on_the_finest_grid():
    spec = toy_spec(bands=("B02", "B11"), size=4)
    planes = {"B02": np.arange(16).reshape(4, 4), "B11": [[0, 4], [8, 12]]}
    kept = Adapter(wire(make_card(("B11", "B02")).expects, spec))(make_batch(spec, planes))["s2"]
    assert kept[0, 0].tolist() == [[0, 0, 4, 4], [0, 0, 4, 4], [8, 8, 12, 12], [8, 8, 12, 12]]  # repeated, not smoothed
    smooth = Adapter(wire(make_card(("B11", "B02"), size=4).expects, spec))(make_batch(spec, planes))["s2"]
    # Half-pixel centres: columns at 0.25, 0.75, 1.25, 1.75 of two pixels -> 0, 1/4, 3/4, 1 of the way.
    assert smooth[0, 0, 0].tolist() == [0.0, 1.0, 3.0, 4.0]
    assert smooth[0, 0, :, 0].tolist() == [0.0, 2.0, 6.0, 8.0]
    assert torch.equal(smooth[0, 1], torch.arange(16.0).view(4, 4))


def test_missing_pixels_do_not_spread_and_end_at_the_cards_fill():
    planes = {**PLANES, "B04": [[100, 65535], [300, 400]]}
    card = make_card(steps=(Step("affine", (0.0,), (100.0,)),), fill=-7.0)
    got = Adapter(wire(card.expects, SPEC))(make_batch(SPEC, planes))["s2"]
    assert got[0, 0].tolist() == [[1.0, -7.0], [3.0, 4.0]]
    gone = Adapter(wire(card.expects, SPEC))(make_batch(SPEC, PLANES, valid=False))["s2"]
    assert (gone == -7.0).all()


@pytest.mark.parametrize("size", [(3, 5), (16, 9), (8, 8)])
def test_resizing_agrees_with_the_one_definition(size):
    pixels = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
    pixels[0, 1, 2:5, 3] = np.nan
    np.testing.assert_allclose(resize(torch.from_numpy(pixels), size).numpy(), resize_numpy(pixels, size), atol=1e-5)


def test_padding_of_size_buckets_is_no_part_of_the_image():
    planes = {name: np.where([[True, False], [False, False]], values, 65535) for name, values in PLANES.items()}
    got = Adapter(wire(make_card(size=4).expects, SPEC))(make_batch(SPEC, planes, size=(1, 1)))["s2"]
    assert (got[0, 0] == 100.0).all()


def test_the_date_is_explicit():
    spec = toy_spec(bands=("B02", "B03", "B04"), size=2, times=2)
    planes = {name: [values, np.array(values) + 5] for name, values in PLANES.items()}
    assert Adapter(wire(make_card().expects, spec, date=1))(make_batch(spec, planes))["s2"][0, 0, 0, 0] == 105.0
    assert "date 1" in Adapter(wire(make_card().expects, spec, date=1)).wiring.resampling()
    with pytest.raises(ProtocolError, match="no date 2"):
        Adapter(wire(make_card().expects, spec, date=2))


def test_missing_bands_fail_unless_a_policy_is_named():
    wanted = make_card(("B02", "B05", "B04"), steps=(Step("affine", (1.0, 2.0, 3.0), (1.0, 2.0, 4.0)),))
    with pytest.raises(BandError, match="needs s2:B05"):
        Adapter(wire(wanted.expects, SPEC))
    batch = make_batch(SPEC, PLANES)

    def pixel(policy):
        return Adapter(wire(wanted.expects, SPEC, missing=policy))(batch)["s2"][0, :, 0, 0].tolist()

    assert pixel("zero") == [0.0, (0 - 2) / 2, 97 / 4]
    assert pixel("mean") == [0.0, 97 / 8, 97 / 4]  # of the bands that are there, after normalisation
    assert pixel("nearest-wavelength") == [0.0, (100 - 2) / 2, 97 / 4]  # B04 (665 nm) stands in for B05 (704 nm)
    assert pixel("select-columns") == [0.0, 97 / 4]
    facts = adapter_facts(Adapter(wire(wanted.expects, SPEC, missing="zero")).wiring)
    assert (facts.missing, facts.inputs[0].filled) == ("zero", ("B05",))
    with pytest.raises(UsageError):
        Adapter(wire(wanted.expects, SPEC, missing="guess"))


def test_sizes_follow_the_card():
    with pytest.raises(ProtocolError, match="multiples of 8"):
        Adapter(wire(make_card(size=16, multiple_of=8).expects, SPEC, size=20))
    with pytest.raises(ProtocolError, match="only 16"):
        Adapter(wire(make_card(size=16, multiple_of=8, any_size=False).expects, SPEC, size=24))
    assert Adapter(wire(make_card(size=16, multiple_of=8).expects, SPEC, size=24)).wiring.size == (24, 24)


def test_raw_numbers_are_refused_and_flat_ones_flagged():
    def check(scale):
        adapter = Adapter(wire(make_card(steps=(Step("scale", (scale,)),)).expects, SPEC))
        return check_range(adapter(make_batch(SPEC, PLANES)), adapter.wiring)

    with pytest.raises(ProtocolError, match="after normalisation"):
        check(1.0)
    assert check(0.005) == []  # mean 0.63, std 0.70
    assert "hardly vary" in check(0.0001)[0]
    with pytest.raises(ProtocolError):
        check(0.0)
    raw = Adapter(wire(make_card().expects, SPEC))
    assert check_range(raw(make_batch(SPEC, PLANES)), raw.wiring) == []  # no steps: raw on purpose


def test_explain_names_every_number():
    spec = toy_spec(bands=("B02", "B03", "B04"), size=2, unit="dn+1000")
    card = make_card(("B04", "B02"), steps=(Step("affine", (7.0, 8.0), (2.0, 4.0)), Step("clip", (0.0,), (1.0,))))
    rows = explain(Adapter(wire(card.expects, spec)).wiring, spec)
    assert [(row["id"], row["slot"], row["layer"], row["unit"]) for row in rows] == [
        ("s2:B04", 0, "s2_10m", "dn+1000"),
        ("s2:B02", 1, "s2_10m", "dn+1000"),
    ]
    assert rows[1]["conversion"] == "dn+1000 -> dn: x * 1 + -1000"
    assert rows[1]["steps"] == "(x - 8) / 4; clip to [0, 1]"
    assert not math.isnan(float(rows[0]["fill"]))
