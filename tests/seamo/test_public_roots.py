"""A public root takes only what may be redistributed, and nothing of anything else."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from seamo.errors import StoreError
from seamo.store.buildplan import BuildPlan
from seamo.store.copy import copy_store
from seamo.store.keeping import rebuild
from seamo.store.roots import mark_public, read_catalogue
from tests.seamo.store_samples import build, seasons_samples, seasons_spec

OPEN = {"licence": "CC-BY-4.0", "attribution": "Toy by A. Maker", "redistribution": "allowed"}
SAMPLES = seasons_samples(6)


def plan_of(**terms: str) -> BuildPlan:
    return BuildPlan(spec=seasons_spec(**terms), split_scheme="hash-60-20-20")


def test_the_catalogue_says_the_terms_of_every_store(tmp_path: Path) -> None:
    build(tmp_path, plan_of(**OPEN), SAMPLES)
    (one,) = read_catalogue(tmp_path).stores.values()
    assert (one.licence, one.attribution, one.redistribution) == tuple(OPEN.values())


@pytest.mark.parametrize("state", ["forbidden", "unknown"])
def test_builds_and_copies_are_refused_before_the_first_byte(tmp_path: Path, state: str) -> None:
    root, plan = tmp_path / "public", plan_of(**OPEN | {"redistribution": state})
    root.mkdir()
    mark_public(root, public=True)
    private = build(tmp_path / "private", plan, SAMPLES)
    with pytest.raises(StoreError, match="is a public root"):
        build(root, plan, SAMPLES)
    for layout in (None, "webdataset"):
        with pytest.raises(StoreError, match="is a public root"):
            copy_store(private, root, layout=layout, progress=lambda *_: None)
    assert list(root.rglob("*.json")) == [root / "catalog.json"]
    assert not list(root.rglob("c/0*"))


def test_what_is_allowed_is_built_and_copied_and_the_mark_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for root in (tmp_path / "a", tmp_path / "b"):
        root.mkdir()
        mark_public(root, public=True)
    made = build(tmp_path / "a", plan_of(**OPEN), SAMPLES)
    build(tmp_path / "a", replace(plan_of(**OPEN), split_scheme="cv5x5"), SAMPLES)
    copy_store(made, tmp_path / "b", layout=None, progress=lambda *_: None)
    for root in (tmp_path / "a", tmp_path / "b"):
        assert rebuild(root).public
        assert len(read_catalogue(root).stores) == 2
    (tmp_path / "b" / "catalog.json").write_bytes(b"{}")
    with caplog.at_level(logging.WARNING):
        assert not rebuild(tmp_path / "b").public
    assert "if it is public, say so again" in caplog.text


def test_a_root_that_holds_other_stores_cannot_be_made_public(tmp_path: Path) -> None:
    build(tmp_path, plan_of(), SAMPLES)
    with pytest.raises(StoreError, match=r"holds 1 stores .*toy/"):
        mark_public(tmp_path, public=True)
    assert not read_catalogue(tmp_path).public
