"""The tutorials: every command and every line of Python runs, and says what the page says that it says."""

import json
import re
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.pages import BLOCK, run_blocks, work_in

DOCS = ROOT / "docs"
# Page -> at least so many commands and pieces of Python, so many lines of output.
PAGES = {
    "tutorial-first-result.md": (12, 8),
    "tutorial-leaderboard.md": (7, 5),
    "tutorial-share.md": (11, 3),
    "tutorial-pretrain.md": (7, 4),
}


@pytest.mark.soak
@pytest.mark.parametrize("page", PAGES)
def test_a_tutorial_runs_as_it_stands(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    blocks = BLOCK.findall((DOCS / page).read_text("utf-8"))
    work_in(tmp_path, monkeypatch)
    ran, found = run_blocks(blocks, monkeypatch, capfd)
    assert (ran, found) >= PAGES[page]
    assert found >= PAGES[page][1]


def test_the_notebook_runs_and_shows_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    notebook = json.loads((DOCS / "tutorial-python.ipynb").read_text("utf-8"))
    blocks: list[tuple[str, str]] = []
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        source = "".join(cell["source"])
        shell = [line.removeprefix("!") for line in source.splitlines() if line.startswith("!")]
        blocks.append(("sh", "\n".join(shell)) if shell else ("python", source))
        for output in cell["outputs"]:
            if output["output_type"] == "stream":
                # Of a score its beginning: on another processor one tile of 20 may fall the other way.
                blocks.append(("text", re.sub(r"(top-1) \d+ %.*", r"\1", "".join(output["text"]))))
    work_in(tmp_path, monkeypatch)
    ran, found = run_blocks(blocks, monkeypatch, capfd)
    assert ran >= 7
    assert found >= 15


def test_links_of_front_page_and_questions_lead_somewhere() -> None:
    for page in ("index.md", "faq.md"):
        text = (DOCS / page).read_text("utf-8")
        targets = re.findall(r"\]\(([\w./-]+\.(?:md|png|ipynb))(?:#([\w-]+))?\)", text)
        assert len(targets) > 10
        for target, anchor in targets:
            assert (DOCS / target).exists(), f"{page}: {target}"
            if anchor:
                heads = re.findall(r"^#+ (.*)$", (DOCS / target).read_text("utf-8"), re.MULTILINE)
                names = {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", head.lower())).strip("-") for head in heads}
                assert anchor in names, f"{page}: {anchor}"


def test_tutorials_are_on_the_site_and_lead_on() -> None:
    nav = (ROOT / "mkdocs.yml").read_text("utf-8")
    for page in PAGES:
        assert page in nav
        text = (DOCS / page).read_text("utf-8")
        assert text.rstrip().splitlines()[-1].startswith("Next: ")
        for target in re.findall(r"\]\(([\w./-]+\.(?:md|png|ipynb))", text):
            assert (DOCS / target).exists(), f"{page}: {target}"
