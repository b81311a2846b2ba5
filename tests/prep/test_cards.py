"""Data cards are what the manifest says now."""

from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType

import pytest
import yaml

from seamo.manifest import shipped_manifest
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def cards() -> ModuleType:
    found = spec_from_file_location("make_cards", ROOT / "docs/make_cards.py")
    module = module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.mark.parametrize("dataset", sorted(shipped_manifest()))
def test_the_committed_card_is_up_to_date(cards: ModuleType, dataset: str) -> None:
    written = (ROOT / "docs/datasets" / f"{dataset}.md").read_text(encoding="utf-8")
    assert written == cards.card(shipped_manifest()[dataset]), "run `python docs/make_cards.py`"


def test_the_menu_of_the_site_lists_every_card(cards: ModuleType) -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert text == cards.menu(text), "run `python docs/make_cards.py`"
    listed = [one for part in yaml.safe_load(text)["nav"] for one in part.get("Data sets", [])]
    assert {page for one in listed for page in one.values()} == {f"datasets/{name}.md" for name in shipped_manifest()}


def test_there_is_no_card_of_anything_else() -> None:
    assert {path.stem for path in (ROOT / "docs/datasets").glob("*.md")} == set(shipped_manifest())


def test_a_card_says_what_a_person_needs(cards: ModuleType) -> None:
    text = cards.card(shipped_manifest()["oscd"])
    for fact in (
        "c50d4a2941da64e03a47ac4dec63d915",  # md5 of the images
        "| B10 | 14.856 | 9.418 |",
        "| 1 | change | `#e0483c` | 2 |",
        "| `official` (default) | the archive itself |",
        "&lt;city>-cm.tif holds 1 and 2",
        "R. Caye Daudt",
        "seamo-prep build oscd --raw raw --store stores",
    ):
        assert fact in text
    assert "<city>" not in text  # a browser would drop it


def test_every_band_label_split_and_trap_is_on_the_card(cards: ModuleType) -> None:
    for spec in shipped_manifest().values():
        text = cards.card(spec)
        assert all(", ".join(layer.bands) in text for layer in spec.layers)
        assert all(f"`{name}`" in text for name in spec.splits)
        assert text.count("\n- ") == len(spec.traps)
        for space in spec.label_spaces.values():
            assert text.count("\n| ") >= len(space.classes)
