"""The site: the page of commands is that of the commands, and the tests that pages name exist."""

import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT

FILES = sorted((ROOT / "tests").rglob("test_*.py"))
TESTS = {path.name: "".join(one.read_text("utf-8") for one in FILES if one.name == path.name) for path in FILES}
SOAK = re.compile(r"\(soak: ([a-z0-9 ,]+)\)")


def test_the_page_of_commands_is_up_to_date():
    done = subprocess.run(
        [sys.executable, "docs/make_cli.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("page", "rows"), [("docs/traps.md", 60), ("docs/reliability.md", 60), ("SECURITY.md", 6)])
def test_tests_that_pages_name_exist(page: str, rows: int) -> None:
    text = (ROOT / page).read_text("utf-8")
    lines = [line for line in text.splitlines() if line.startswith("| ") and "`test_" in line]
    assert len(lines) >= rows
    for line in lines:
        found = re.findall(r"`(test_\w+\.py)`(?:: ([a-z0-9 ,]+))?((?: \(soak: [a-z0-9 ,]+\))?)", line)
        assert len(found) == line.count("`test_"), line
        for file, words, soak in found:
            assert file in TESTS, file
            for name in [*words.split(","), *",".join(SOAK.findall(soak)).split(",")]:
                wanted = f"def test_{name.strip().replace(' ', '_')}("
                assert not name.strip() or wanted in TESTS[file], f"{file}: {name}"


def test_every_kept_picture_is_in_the_gallery_with_what_makes_it():
    text = (ROOT / "docs/gallery.md").read_text("utf-8")
    pictures = {path.name for path in (ROOT / "docs/figures").glob("*.png")}
    assert set(re.findall(r"\(figures/([\w.-]+)\)", text)) == pictures
    for script in re.findall(r"`python (?:-m )?([\w./]+)", text):
        assert (ROOT / script).exists() or (ROOT / f"{script.replace('.', '/')}.py").exists()
    for part in text.split("\n## ")[1:]:
        assert re.search(r"`(seamo-|python |make )", part), part


def test_the_changelog_is_a_page_of_the_site():
    (name,) = re.findall(r'^--8<-- "(.+)"$', (ROOT / "docs/changelog.md").read_text("utf-8"), re.MULTILINE)
    assert (ROOT / name).read_text("utf-8").startswith("# Changelog")
    assert not re.findall(r"\]\((?!https?://)", (ROOT / name).read_text("utf-8"))  # links would point nowhere there
    nav = (ROOT / "mkdocs.yml").read_text("utf-8")
    assert all(f": {page.name}" in nav for page in (ROOT / "docs").glob("*.md"))
