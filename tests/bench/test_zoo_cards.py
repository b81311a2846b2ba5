"""Cards: what the leaderboard must know about every compared model, without loading a model."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from seamo.errors import CheckpointError, ProtocolError, UsageError
from seamo_bench.cli.plan_view import listing
from seamo_bench.family import Family
from seamo_bench.networks.floors import ImageStatistics
from seamo_bench.runs.plan import Places, make_plan
from seamo_bench.suites.suite import load_suite
from seamo_bench.zoo.catalogue import (
    Found,
    budget_card,
    cards,
    families,
    family,
    find_card,
    weights_digest,
    weights_path,
)
from seamo_bench.zoo.loading import load_network
from seamo_bench.zoo.weights_files import convert
from tests.bench.bench_store import toy_store
from tests.conftest import ROOT

# Rows of the paper's tables, and what a user of today expects beside them.
PAPER = {
    "gassl-r50", "seco-r50", "seco-r18", "caco-r50", "caco-r18", "ssl4eo-moco-r18-s2", "ssl4eo-dino-vits16-s2",
    "ssl4eo-mae-vits16-s2", "ssl4eo-mae-vits16-s1", "ijepa-vith14-in1k", "ijepa-vitb", "satmae-vitb", "satmae-vitl",
    "spectralgpt", "spectralgpt-plus", "satlas-swinb-s2", "satlas-swinb-s1", "croma-base-joint", "croma-base-s2",
    "croma-base-s1", "croma-large-joint", "dofa-base-s2", "dofa-large-s2", "dino-mc-vits8", "dino-mc-r50",
    "dino-mc-wrn50", "dino-mm-vits8", "fgmae-vits16-s2", "fgmae-vits16-s1", "satvit-v1", "satvit-v2", "presto",
    "galileo-nano", "satmaepp-vitl", "fusmae-vitb", "vit-b16-in21k", "vit-b16-in1k", "resnet50-in1k", "resnet18-in1k",
}  # fmt: skip


def test_the_paper_s_rows_are_there() -> None:
    assert set(cards()) >= PAPER


def test_rows_without_public_weights_are_quoted_only() -> None:
    quoted = {name for name, found in cards().items() if found.card.availability == "quoted only"}
    assert quoted == {"ijepa-vitb", "fusmae-vitb"}
    for name in quoted:
        found = cards()[name]
        assert found.card.weights is None
        with pytest.raises(ProtocolError, match="no public weights"):
            load_network(found.family, found.card, None, 0)


def test_rows_that_nothing_here_loads_say_why() -> None:
    listed = {name: found for name, found in cards().items() if found.card.availability == "no loader"}
    assert set(listed) == {"clay-v1.5", "olmoearth-base"}
    for found in listed.values():
        assert found.card.verified == ()
        with pytest.raises(ProtocolError, match=r"nothing here loads them\..*huggingface"):
            load_network(found.family, found.card, None, 0)
        with pytest.raises(ProtocolError, match=r"nothing here loads them\..*huggingface"):
            weights_path(found.card, None)


def test_every_row_is_in_the_documentation() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "zoo.md").read_text()
    rows = {line.split("|")[1].strip().strip("`"): line for line in page.splitlines() if line.startswith("| `")}
    for name, found in cards().items():
        assert name in rows, f"docs/zoo.md lacks {name}"
        card = found.card
        assert card.weights is None or card.weights.licence.split(":")[0] in rows[name], name
        assert (", ".join(card.verified) or "unverified") in rows[name], name
        for quirk in card.quirks:
            assert quirk.split(":")[0] in rows[name], (name, quirk)
    assert set(rows) - set(cards()) <= {"timm:<id>", "torchgeo:<weights>"}


def test_a_missing_file_names_the_command_and_a_converted_one_stands_for_it(golden: Path, tmp_path: Path) -> None:
    card = cards()["galileo-nano"].card
    published = tmp_path / "galileo_nano_encoder.pt"
    with pytest.raises(CheckpointError, match=r"`seamo-bench weights fetch galileo-nano` gets them"):
        weights_path(card, published)
    with pytest.raises(
        CheckpointError, match=r"weights fetch satmae-vitb --accept CC-BY-NC-4.0` .* not for commercial"
    ):
        weights_path(cards()["satmae-vitb"].card, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"Google Drive.*Save the file as "):
        weights_path(cards()["ssl4eo-dino-vits16-s2"].card, tmp_path / "x.pth")

    source = golden / "weights" / "galileo_nano" / "encoder.pt"
    made = convert(cards()["galileo-nano"], source, tmp_path)
    assert weights_path(card, published) == made
    quirky = find_card("galileo-nano+helper-normalisation").card
    assert weights_path(quirky, published) == made
    assert weights_digest(made) == weights_digest(source) == hashlib.sha256(source.read_bytes()).hexdigest()
    made.write_bytes(made.read_bytes()[:-1] + b"x")
    with pytest.raises(CheckpointError, match=r"is not the file that the card beside it describes.*weights convert"):
        weights_digest(made)


def test_a_row_shows_filled_bands_and_a_limited_licence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy_store(tmp_path / "stores")
    (tmp_path / "one.yaml").write_text("id: one\nrows: [{store: toy, protocol: knn, missing: zero}]")
    known = dict(cards())
    published = known["satmae-vitb"].card.weights
    assert published is not None
    (tmp_path / published.filename).write_bytes(b"a plan only hashes it")
    changed = replace(published, md5="", sha256=hashlib.sha256(b"a plan only hashes it").hexdigest())
    known["satmae-vitb"] = replace(known["satmae-vitb"], card=replace(known["satmae-vitb"].card, weights=changed))
    monkeypatch.setattr("seamo_bench.zoo.catalogue.cards", lambda: known)
    places = Places(tmp_path / "stores", tmp_path / "out", tmp_path)
    (cell,) = make_plan(load_suite(str(tmp_path / "one.yaml")), ["satmae-vitb"], places)
    texts = {flag.kind: flag.text for flag in cell.flags}
    assert cell.status == "will run"
    assert texts["licence"] == "weights are licensed CC-BY-NC-4.0: not for commercial use"
    assert texts["filled-bands"] == "B05, B06, B07, B8A, B12 not in the store: zero"
    assert texts["licence"] in listing([cell])[0]["checks"]


def test_non_commercial_weights_say_so() -> None:
    marked = {
        name.split("-")[0] for name, found in cards().items() if found.card.weights and found.card.weights.noncommercial
    }
    assert {"satmae", "ijepa"} <= marked
    for found in cards().values():
        weights = found.card.weights
        if weights is not None:
            assert weights.noncommercial == ("NC" in weights.licence.split("-"))
            assert weights.licence
            assert weights.urls or weights.how


def test_quirks_change_the_card_and_unknown_ones_are_refused() -> None:
    seen: dict[str, set[str]] = {}
    for name, found in cards().items():
        listed = [text.split(":")[0] for text in found.card.quirks]
        with pytest.raises(UsageError, match=f"has no quirk 'no-such-thing'.*{', '.join(listed) or 'none'}"):
            find_card(f"{name}+no-such-thing")
        for quirk in listed:
            changed = find_card(f"{name}+{quirk}").card
            told = {"id": name, "title": found.card.title}
            assert replace(changed, **told) != found.card
            assert (changed.inputs, changed.variant) != (found.card.inputs, found.card.variant)
        seen.setdefault(found.module, set()).update(listed)
    # A switch that no card lists could never be switched on.
    assert {module: set(family(module).quirks) for module in seen} == seen
    assert sum(map(len, seen.values())) > 10


def test_a_quirk_is_switched_on_by_name() -> None:
    found = find_card("spectralgpt+no-positions+pool-without-first")
    assert found.card.id == "spectralgpt+no-positions+pool-without-first"
    assert dict(found.card.variant)["no_positions"] is True
    assert dict(found.card.variant)["pool_without_first"] is True
    assert found.card.weights == cards()["spectralgpt"].card.weights
    with pytest.raises(UsageError, match="has no quirk 'wrong'"):
        find_card("spectralgpt+wrong")


def test_a_card_with_a_quirk_loads_the_same_weights(golden: Path) -> None:
    found = find_card("galileo-nano+helper-normalisation")
    network = load_network(found.family, found.card, golden / "weights" / "galileo_nano" / "encoder.pt", 0)
    assert sum(parameter.numel() for parameter in network.parameters()) == 1_037_856  # as its key list counts


def test_listing_imports_no_torch_and_no_timm() -> None:
    code = (
        "import sys, json; from seamo_bench.zoo.catalogue import cards; cards();"
        "print(json.dumps([m for m in ('torch', 'timm', 'torchvision', 'torchgeo') if m in sys.modules]))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(found.stdout) == []
    assert len(families()) > 15


def test_a_plain_module_of_another_package_is_a_family(monkeypatch: pytest.MonkeyPatch) -> None:
    card, seen = replace(cards()["presto"].card, weights=None, availability="none needed"), []
    made = ImageStatistics(("s2",))
    plain = ModuleType("plain_models")
    plain.CARDS, plain.load = (card,), lambda *given: seen.append(given) or made
    plain.SELECTS_COLUMNS = False  # saying no is no yes
    plain.demo_card = lambda one: replace(one, embed_dim=1)
    plain.card_of = lambda name: replace(card, id=name) if name == "by-name" else None
    plain.HELPERS = 3  # of no concern
    monkeypatch.setitem(sys.modules, "plain_models", plain)
    found = Found(card, "plain_models")
    assert found.family.cards == (card,)
    assert not found.family.can_select
    assert found.family.card_of("by-name").id == "by-name"
    assert (budget_card(found, "demo").embed_dim, budget_card(found, "full").embed_dim) == (1, 128)
    assert load_network(found.family, card, None, 3) is made
    assert seen == [(card, None, 3)]
    del plain.load
    with pytest.raises(ProtocolError, match=r"plain_models: declares no family\. .*FAMILY, or CARDS and load"):
        family("plain_models")


def test_families_are_values_and_nobody_asks_a_module_for_a_hook() -> None:
    package = ROOT / "benchmarks" / "seamo_bench"
    own = [path.stem for path in (package / "backbones").glob("[!_]*.py")]
    assert sorted(own) == sorted(name.rpartition(".")[2] for name in families() if name.startswith("seamo_bench."))
    for name in own:
        assert isinstance(import_module(f"seamo_bench.backbones.{name}").FAMILY, Family), name
    asking = {path.relative_to(package).as_posix() for path in package.rglob("*.py") if "hasattr(" in path.read_text()}
    assert asking == {"board/compare.py", "protocols/finetune/training.py"}  # a pydantic value; a block with drop path
