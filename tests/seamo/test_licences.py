"""Licence, attribution and redistribution: what is stated, what goes along, and what a public root refuses."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from seamo.errors import ManifestError, StoreError
from seamo.identity import digest
from seamo.licences import check_redistribution, joined_terms, terms_of
from seamo.manifest import load_manifest, shipped_manifest
from seamo.store.buildplan import BuildPlan, build8, view8
from seamo.store.reader import open_store
from tests.seamo.store_samples import build, seasons_samples, seasons_spec

STATED = {
    "licence": "CC-BY-4.0",
    "attribution": "Toy by A. Maker",
    "redistribution": "allowed",
    "redistribution_why": "its README",
}
# Licences that let everybody pass the data on, whatever for, as their texts say.
PERMISSIVE = ("CC-BY-4.0 (data);", "CC-BY-4.0;", "CDLA-Permissive-1.0", "MIT")


@pytest.mark.parametrize("dataset", sorted(shipped_manifest()))
def test_every_data_set_says_whether_it_may_be_passed_on_and_why(dataset: str) -> None:
    spec = shipped_manifest()[dataset]
    assert spec.attribution
    assert spec.redistribution_why
    assert (spec.redistribution == "allowed") == spec.licence.startswith(PERMISSIVE)


def test_non_commercial_licences_of_files_that_have_a_link_must_be_accepted() -> None:
    asked = {spec.id: spec.accept for spec in shipped_manifest().values() if spec.accept}
    assert asked == {"oscd": "CC-BY-NC-SA", "fmow-sentinel": "fMoW-Challenge-Public-License"}


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("redistribution", "yes"),  # a truth value to YAML
        ("redistribution", "'yes'"),
        ("redistribution", "Allowed"),
        ("redistribution", ""),
        ("accept", "two words"),
        ("accept", "'; rm'"),
    ],
)
def test_other_words_are_refused(tmp_path: Path, field: str, said: str) -> None:
    plain = seasons_spec().model_dump(mode="json", exclude={"id"})
    text = yaml.safe_dump({"datasets": {"toy": {**plain, field: "PUT"}}}).replace("PUT", said)
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(ManifestError, match=field):
        load_manifest(tmp_path / "own.yaml")


@pytest.mark.parametrize("state", ["forbidden", "unknown"])
def test_a_public_root_refuses_what_is_not_known_to_be_allowed(state: str) -> None:
    spec = seasons_spec(**STATED | {"redistribution": state, "redistribution_why": "no page says so"})
    with pytest.raises(StoreError, match=r"s3://open/stores: .*toy.*licence: CC-BY-4\.0; no page says so"):
        check_redistribution(spec, "s3://open/stores")


def test_a_public_root_takes_what_is_allowed_and_silence_is_not_consent() -> None:
    check_redistribution(seasons_spec(**STATED), "root")
    with pytest.raises(StoreError, match="is not known to be redistributable"):
        check_redistribution(seasons_spec(), "root")


@pytest.mark.parametrize("layout", ["zarr", "webdataset"])
def test_they_do_not_decide_where_a_store_lands(layout: str) -> None:
    before, after = (BuildPlan(spec=seasons_spec(**more), split_scheme="cv5x5", layout=layout) for more in ({}, STATED))
    assert (build8(before), view8(before)) == (build8(after), view8(after))


def test_they_go_along_into_store_view_and_cubes(tmp_path: Path) -> None:
    plan = BuildPlan(spec=seasons_spec(**STATED), split_scheme="hash-60-20-20")
    samples = seasons_samples(6)
    for one in (plan, replace(plan, split_scheme="cv5x5")):
        path = build(tmp_path, one, samples)
        said = json.loads((path / "store.json").read_bytes())["spec"]
        assert {name: said[name] for name in STATED} == STATED
        store = open_store(path)
        for made in (store.to_xarray("a0/sample_0000", time=0, stack="s1"), store.to_xarray(split="train")):
            assert (made.attrs["licence"], made.attrs["attribution"]) == ("CC-BY-4.0", "Toy by A. Maker")
            assert made.attrs["redistribution"] == "allowed"


def test_a_store_of_before_opens_and_nothing_is_known_of_it(tmp_path: Path) -> None:
    path = build(tmp_path, BuildPlan(spec=seasons_spec(), split_scheme="hash-60-20-20"), seasons_samples(6))
    facts = json.loads((path / "store.json").read_bytes())
    for name in ("attribution", "redistribution", "redistribution_why", "accept"):
        del facts["spec"][name]
    del facts["digest"]
    plain = {"separators": (",", ":"), "sort_keys": True}
    (path / "store.json").write_text(json.dumps({**facts, "digest": digest(facts)}, **plain))
    assert terms_of(open_store(path).spec) == {"licence": "none", "attribution": "", "redistribution": "unknown"}


def test_of_several_data_sets_each_one_s_terms_hold() -> None:
    specs = [seasons_spec(**STATED), seasons_spec(id="other", **STATED | {"attribution": "Other", "licence": "MIT"})]
    told = joined_terms(specs)
    assert told["licence"] == "toy: CC-BY-4.0; other: MIT"
    assert told["attribution"] == "toy: Toy by A. Maker; other: Other"
    assert told["redistribution"] == "allowed"
    assert told["redistribution_why"] == "its README"
    for state in ("unknown", "forbidden"):
        specs.append(seasons_spec(id=state, redistribution=state))
        assert joined_terms(specs)["redistribution"] == state
