"""A store's data card: the front matter as YAML reads it, and the facts of the store."""

from pathlib import Path

import yaml
from typer.testing import CliRunner

from seamo.testing.stores import tiny_store
from seamo_prep.cli.program import app
from seamo_prep.exchange.card import data_card
from tests.prep.exchange_stores import packed_store


def test_the_card_says_what_the_store_says(tmp_path: Path) -> None:
    store = tiny_store(tmp_path / "stores")
    out = tmp_path / "stores" / "README.md"
    ran = CliRunner().invoke(app, ["export", str(store.path), "--card", "-o", str(out)])
    assert ran.exit_code == 0, ran.output
    _, front, body = out.read_text().split("---\n", 2)
    assert yaml.safe_load(front) == {
        "license": "other",
        "pretty_name": "Tiny synthetic (12 samples)",
        "tags": ["remote-sensing", "seamo", "synthetic"],
        "size_categories": ["n<1K"],
        "task_categories": ["image-classification"],
    }
    assert "| Splits | test 2, train 8, val 2 |" in body
    assert "| s2_20m | s2 | B11 | dn | uint16 | 20 | 2 |" in body.replace("\\_", "_")
    assert f"sha256 {store.content}" in body
    assert "| 2 | crop |" in body
    assert "Homepage" not in body  # which the store does not know


def test_a_store_moved_with_its_card_opens_by_path(tmp_path: Path) -> None:
    store = tiny_store(tmp_path / "stores")
    assert (
        CliRunner().invoke(app, ["export", store.url, "--card", "-o", str(tmp_path / "stores/README.md")]).exit_code
        == 0
    )
    there = (tmp_path / "stores").rename(tmp_path / "downloaded")
    ran = CliRunner().invoke(app, ["verify", str(there / "tiny" / store.meta.build), "--json"])
    assert ran.exit_code == 0, ran.output
    assert "README" not in ran.output


def test_the_card_of_a_packed_store_says_what_lies_on_the_disk(tmp_path: Path) -> None:
    card = data_card(packed_store(tmp_path)).replace("\\_", "_")
    assert "| s1 | s1 | VV, VH | db | float32 (stored: int16 x 0.01) | 10 | 2 |" in card
    assert "| s2_20m | s2 | B11 | dn | uint16 | 20 | 2 |" in card
