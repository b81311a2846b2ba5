"""The tools of a release: fragments become a changelog, lower bounds become constraints."""

import importlib.util
import re
import tomllib

import pytest
import yaml

from tests.conftest import ROOT


def load(name):
    spec = importlib.util.spec_from_file_location(f"tools_{name}", ROOT / f"tools/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


changes, lowest = load("changes"), load("lowest")
NONE = {kind: [] for kind in changes.HEADINGS}
OLD = "# Changelog\n\nForm.\n\n## [0.1.0] - 2026-12-01\n\n### Added\n\n- Everything.\n"


def test_the_fragments_of_this_tree_are_in_order():
    assert set(changes.read_fragments(ROOT / "changes")) == set(changes.HEADINGS)


def test_fragments_become_a_section_on_top(tmp_path):
    (tmp_path / "README.md").write_text("# no fragment\n")
    (tmp_path / "12.fix.md").write_text("Masks keep\ntheir grid.\n")
    (tmp_path / "11.fix.md").write_text("Dates are sorted.\n")
    (tmp_path / "linear-version.data.md").write_text("`linear` is version 3.\n")
    made = changes.assemble(OLD, changes.read_fragments(tmp_path), "0.2.0", "2027-01-31")
    head, tail = OLD.split("## [0.1.0]")
    assert made == (
        head + "## [0.2.0] - 2027-01-31\n\n### Numbers and data\n\n- `linear` is version 3.\n\n"
        "### Fixed\n\n- Dates are sorted.\n- Masks keep their grid.\n\n## [0.1.0]" + tail
    )


def test_what_is_unreleased_joins_the_section():
    open_ = OLD.replace("[0.1.0] - 2026-12-01", "[Unreleased] - 0.1.0") + "\n### Not yet\n\n- Buckets.\n"
    made = changes.assemble(open_, NONE | {"feature": ["A tab."]}, "0.1.0", "2026-12-01")
    assert made == OLD + "- A tab.\n\n### Not yet\n\n- Buckets.\n"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("12.bug.md", "x", "kinds data, feature"),
        ("Notes.txt", "x", "call it"),
        ("12.fix.md", " \n", "one paragraph"),
        ("12.fix.md", "a\n\nb", "one paragraph"),
        ("12.fix.md", "- a", "without heading or bullet"),
    ],
)
def test_a_bad_fragment_is_named(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(changes.ChangesError, match=said) as error:
        changes.read_fragments(tmp_path)
    assert name in str(error.value)


@pytest.mark.parametrize(
    ("version", "date", "said"),
    [("0.1.0", "2027-01-31", "already"), ("v2", "2027-01-31", "expected"), ("0.2.0", "soon", "expected"),
     ("0.2.0", "2027-01-31", "no fragment")],
)  # fmt: skip
def test_no_empty_or_double_section(version, date, said):
    with pytest.raises(changes.ChangesError, match=said):
        changes.assemble(OLD, NONE, version, date)


def test_the_changelog_of_this_tree_can_be_assembled():
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    made = changes.assemble(text, NONE | {"fix": ["A fix of this test."]}, "99.0.0", "2099-01-01")
    assert "[Unreleased]" not in made
    lines = {line for line in text.splitlines() if line and "[Unreleased]" not in line}
    assert lines <= set(made.splitlines())  # nothing is lost


def test_lower_bounds_are_what_pip_is_held_to():
    project = {"name": "seamo", "dependencies": ["numpy>=2.1", "zarr[remote]>=3.1,<5"],
               "optional-dependencies": {"zoo": ["seamo[torch]", "timm>=1.0"], "dev": ["pytest>=8"]}}  # fmt: skip
    assert lowest.lowest(project) == ["numpy==2.1", "timm==1.0", "zarr==3.1"]
    with pytest.raises(ValueError, match="'scipy' has no lower bound"):
        lowest.lowest(project | {"dependencies": ["scipy"]})


def numbers(version):
    return [int(part) for part in re.findall(r"\d+", version)]


def test_tested_versions_are_within_the_bounds():
    """constraints.txt, which `make test` installs, holds nothing that pyproject.toml forbids."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
    ]
    pins = [re.split("=+", line) for line in (ROOT / "constraints.txt").read_text("utf-8").split()]
    tested = {name.lower().replace("_", "-"): version for name, version in pins}
    bounds = [line.split(">=") for line in wanted if not line.startswith("seamo[")]
    assert len(bounds) > 30
    for name, low in bounds:
        assert numbers(tested[name.partition("[")[0].lower()]) >= numbers(low), name


@pytest.mark.parametrize("path", sorted((ROOT / ".github").rglob("*.yml")) + [ROOT / ".pre-commit-config.yaml"])
def test_forms_and_hooks_are_yaml_of_their_kind(path):
    form = yaml.safe_load(path.read_text("utf-8"))
    if path.name == ".pre-commit-config.yaml":
        assert {repo["repo"] for repo in form["repos"]} == {"local"}
        assert all(hook["language"] == "system" for repo in form["repos"] for hook in repo["hooks"])
    elif path.name == "config.yml":
        assert form == {"blank_issues_enabled": True}
    else:
        assert {"name", "description", "body"} <= set(form)
        ids = [field["id"] for field in form["body"] if field["type"] != "markdown"]
        assert len(ids) == len(set(ids)) > 2
        assert all(field["attributes"]["label"] for field in form["body"] if field["type"] != "markdown")


def test_the_citation_names_the_paper_as_it_is_printed():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert {"cff-version", "message", "title", "authors", "license", "type"} <= set(cited)
    assert cited["version"] == (ROOT / "seamo/__init__.py").read_text("utf-8").split('__version__ = "')[1].split('"')[0]
    (paper,) = cited["references"]
    assert paper["title"] == "SeaMo: A Multi-Seasonal and Multimodal Remote Sensing Foundation Model"
    assert [f"{one['given-names']} {one['family-names']}" for one in paper["authors"]] == [
        "Xuyang Li", "Danfeng Hong", "Chenyu Li", "Jocelyn Chanussot",
    ]  # fmt: skip
