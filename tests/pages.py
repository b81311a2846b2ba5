"""Runs a page of the site as it stands: its commands, its Python, and what it says that they say.

Blocks are `sh` (a command a line; one that must fail ends in `# refused`), `python` (one namespace a page), and `text`:
lines that what ran last must have said, each its beginning. What nobody promises stands in no block.
"""

import contextlib
import io
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from seamo.cli import main as seamo
from seamo_bench.cli import main as seamo_bench
from seamo_prep.cli import main as seamo_prep
from tests.conftest import ROOT

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
MAINS = {"seamo": seamo, "seamo-prep": seamo_prep, "seamo-bench": seamo_bench}


def lines_of(text: str) -> list[str]:
    """Lines, each stripped, with those that progress wrote over one another."""
    return [" ".join(line.split()) for line in text.replace("\r", "\n").splitlines() if line.strip()]


def called(line: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit status of a command; ours run in this process."""
    words = shlex.split(line, comments=True)
    if words[0] not in MAINS:
        words = [sys.executable if words[0] == "python" else words[0], *words[1:]]
        return subprocess.run(words, check=False).returncode
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as stop:
        MAINS[words[0]]()
    return int(stop.value.code or 0)


def work_in(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder that has what a checkout would: the examples."""
    monkeypatch.chdir(place)
    shutil.copytree(ROOT / "examples", place / "examples")


def run_blocks(
    blocks: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> tuple[int, int]:
    """How many commands and pieces of Python ran, and how many lines of output were found."""
    said, ran, found = "", 0, 0
    names: dict[str, Any] = {}
    for kind, text in blocks:
        if kind == "sh":
            capfd.readouterr()
            for line in text.splitlines():
                assert bool(called(line, monkeypatch)) == line.endswith("# refused"), (line, *capfd.readouterr())
                ran += 1
            said = "".join(capfd.readouterr())
        elif kind == "python":
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compile(text, "<page>", "exec"), names)  # noqa: S102 - our own pages
            said, ran = out.getvalue(), ran + 1
        else:
            assert kind == "text", f"a block of a tutorial is sh, python or text, not {kind!r}"
            for line in lines_of(text):
                assert any(one.startswith(line) for one in lines_of(said)), (line, said)
                found += 1
    return ran, found
