"""The guide to one's own data: every command of it, what it says they say, and its pictures."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT
from tests.pages import BLOCK, called, work_in

PAGE = (ROOT / "docs" / "guide-own-data.md").read_text("utf-8")
PICTURES = {"my-fields.png": "own-data-classes.png", "my-rivers.png": "own-data-masks.png"}


def plain(text: str) -> list[str]:
    """Lines without the progress that stands in their place."""
    return [line.strip() for line in text.replace("\r", "\n").splitlines() if line.strip()]


@pytest.mark.parametrize(
    ("end", "least"), [("## Benchmark", (10, 25)), pytest.param(None, (15, 30), marks=pytest.mark.soak)]
)
def test_the_page_runs_as_it_stands(
    end: str | None,
    least: tuple[int, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    work_in(tmp_path, monkeypatch)
    said, commands, checked = "", 0, 0
    for kind, text in BLOCK.findall(PAGE[: PAGE.index(end) if end else None]):
        if kind == "sh":
            capfd.readouterr()
            for line in text.splitlines():
                assert bool(called(line, monkeypatch)) == line.endswith("# refused"), (line, *capfd.readouterr())
                commands += 1
            said = "".join(capfd.readouterr())
            said += "".join(path.read_text("utf-8") for path in tmp_path.glob("*/seamo.yaml"))
        elif kind == "yaml":
            (tmp_path / "own.yaml").write_text(text, "utf-8")
        else:
            assert kind == "text"
            for line in plain(text):
                assert any(one.startswith(line) for one in plain(said)), (line, said)
                checked += 1
    assert commands >= least[0]
    assert checked >= least[1]
    for drawn, kept in PICTURES.items():
        if not (tmp_path / drawn).exists():
            assert end
            continue
        assert f"(figures/{kept})" in PAGE
        ours, theirs = (np.asarray(Image.open(path)) for path in (tmp_path / drawn, ROOT / "docs" / "figures" / kept))
        assert ours.shape == theirs.shape, "draw the pictures anew: python docs/make_own_data.py"
        assert np.abs(ours.astype(int) - theirs).mean() < 1, "draw the pictures anew: python docs/make_own_data.py"


def test_the_page_names_every_unit_and_kind_of_file() -> None:
    from seamo.bands import Unit

    for unit in Unit:
        assert f"`{unit}`" in PAGE
    assert "guide-own-data.md" in (ROOT / "mkdocs.yml").read_text("utf-8")
