"""Runs a page of the site as it stands: its commands, its Python, and what it says that they say.

Blocks are

* `sh`, a command a line; one that must fail ends in `# refused`;
* `console`, commands behind `$ ` and what each says; one that must fail says so by its first line (`seamo-prep: ...`);
* `python`, one namespace a page;
* any with a `title`, the file that it is;
* `text`: what is shown. In a tutorial, lines that what ran last must have said, each its beginning.

What a test cannot run has `<!-- not run: REASON -->` on the line above, with a reason of `NOT_RUN`.
"""

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from seamo.cli import main as seamo
from seamo_bench.cli import main as seamo_bench
from seamo_prep.cli import main as seamo_prep
from tests.conftest import ROOT

BLOCK = re.compile(r"^```(\w*)(?: title=\"[^\"\n]*\")?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_FENCE = re.compile(r"^(?:<!-- not run: ([^\n]+) -->\n)?```([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_INFO = re.compile(r"(\w+)(?: title=\"([^\"]+)\")?")
MAINS = {"seamo": seamo, "seamo-prep": seamo_prep, "seamo-bench": seamo_bench}
NOT_RUN = {
    "archive": "needs the internet, and gigabytes of a published archive",
    "cluster": "needs a scheduler of jobs, or several machines; what was rehearsed stands on the page",
    "docker": "needs Docker, which no machine of the tests has",
    "extra": "needs a package that only users of it bring; its own test runs where that is installed",
    "gpu": "needs a GPU, or several",
    "install": "installs packages, or works on a whole checkout",
    "long": "computes for half an hour or more, or on real samples",
}


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its kind, the file that it is, its lines, and the reason why it is not run."""

    kind: str
    file: str
    text: str
    reason: str


@dataclass(frozen=True, slots=True)
class Step:
    """A command, what it is shown to say, and whether it must fail."""

    command: str
    said: tuple[str, ...]
    is_refused: bool


def blocks_of(page: str) -> list[Block]:
    """The fenced blocks of a page."""
    found = []
    for reason, info, text in _FENCE.findall(page):
        kind = _INFO.fullmatch(info)
        assert kind, f'a block is ```KIND or ```KIND title="FILE", not {info!r}: {text[:60]!r}'
        found.append(Block(kind[1], kind[2] or "", text, reason))
    return found


def steps_of(block: Block) -> list[Step]:
    """The commands of a block of `sh` or `console`."""
    lines = re.sub(r"\\\n\s*", "", block.text).splitlines()
    if block.kind == "sh":
        return [Step(line, (), line.endswith("# refused")) for line in lines if line.strip()]
    found: list[Step] = []
    for line in lines:
        if line.startswith("$ "):
            found.append(Step(line[2:], (), False))
        else:
            one = found[-1]
            is_refused = one.is_refused or (
                not one.said and line.split(":")[0] in MAINS and "; echo" not in one.command
            )
            found[-1] = Step(one.command, (*one.said, line), is_refused)
    return found


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


def run_guide(
    blocks: Sequence[Block],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    real: Callable[[str], str] = lambda text: text,
) -> int:
    """How many commands and pieces of Python ran; `real` gives what stands for the examples of the page."""
    ran = 0
    names: dict[str, Any] = {}
    for block in blocks:
        if block.reason or block.kind == "text":
            continue
        if block.file:
            Path(block.file).parent.mkdir(parents=True, exist_ok=True)
            Path(block.file).write_text(block.text, "utf-8")
        elif block.kind == "python":
            exec(compile(real(block.text), "<page>", "exec"), names)  # noqa: S102 - our own pages
            ran += 1
        else:
            assert block.kind in ("sh", "console"), f"a block of {block.kind!r} is a file: give it a title"
            steps = steps_of(block)
            if any(one.command.endswith("&") for one in steps):
                lines = [
                    line
                    for one in steps
                    for line in (one.command, *(['begun+=" $!"'] if one.command.endswith("&") else []))
                ]
                steps = [Step("\n".join(["set -e", *lines, "for one in $begun; do wait $one; done"]), (), False)]
            for one in steps:
                _check_step(one, real(one.command), monkeypatch, capfd)
                ran += 1
    return ran


def _check_step(step: Step, command: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    set_here = re.fullmatch(r"export (\w+)=(\w+)", command)
    if set_here:
        monkeypatch.setenv(set_here[1], set_here[2])
        return
    plain = re.sub(r"\s+#.*", "", command)
    if re.search(r"[&;|<>$]", plain) or plain.split()[0] not in (*MAINS, "python"):
        env = {**os.environ, "PATH": f"{_programs()}:{os.environ['PATH']}"}
        code = subprocess.run(["bash", "-c", plain], env=env, check=False).returncode
    else:
        code = called(plain, monkeypatch)
    said = "".join(capfd.readouterr())
    assert bool(code) == step.is_refused, (command, code, said)
    for line in step.said:
        begins = _beginning(line)
        assert any(one.startswith(begins) for one in lines_of(said)), (command, line, said)


def _beginning(line: str) -> str:
    """What another machine, and another synthetic world, says too: a line up to its first number or `...`."""
    if not line.strip("- "):
        return ""
    return " ".join(re.split(r"\d|\.\.\.|\[", line)[0].split())


def _programs() -> Path:
    """A folder of our programs, for a shell."""
    folder = Path("programs").resolve()
    folder.mkdir(exist_ok=True)
    for name, module in (("seamo", "seamo.cli"), ("seamo-prep", "seamo_prep.cli"), ("seamo-bench", "seamo_bench.cli")):
        program = folder / name
        program.write_text(f'#!/bin/bash\nexec {sys.executable} -m {module} "$@"\n')
        program.chmod(0o755)
    return folder
