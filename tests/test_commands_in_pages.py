"""Every command of ours in a fenced block of the site or the README is one that exists, with options that it has.

Pages that run whole are tested elsewhere (`test_tutorials.py`, `test_guide_own_data.py`, `test_team.py`). Here nothing
runs: each line is parsed by the command's own parser, so a renamed option or verb does not stay in a guide.
"""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.conftest import ROOT

FENCE = re.compile(r"^```[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
NAMES = ("seamo", "seamo-prep", "seamo-bench")
PAGES = sorted(path for path in (ROOT / "docs").rglob("*.md") if path.name != "cli.md") + [ROOT / "README.md"]


def apps() -> dict[str, Any]:
    from seamo.cli.program import app as seamo
    from seamo_bench.cli.program import app as seamo_bench
    from seamo_prep.cli.program import app as seamo_prep

    return {
        name: typer.main.get_command(app) for name, app in zip(NAMES, (seamo, seamo_prep, seamo_bench), strict=True)
    }


def commands_in(text: str) -> list[list[str]]:
    """Words of every command of ours: prompts, variables before it and what launches it are left out."""
    found = []
    for block in FENCE.findall(text):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            line = re.sub(r"^\s*(\$|>)\s+", "", line)
            for part in re.split(r"\s+(?:&&|\|\||\||;)\s+|;\s", line):
                words = _words(part)
                while words and re.fullmatch(r"\w+=.*", words[0]):
                    words = words[1:]
                if "seamo.cli" in words:  # torchrun -m seamo.cli pretrain ...
                    words = ["seamo", *words[words.index("seamo.cli") + 1 :]]
                launcher = next((i for i, word in enumerate(words) if Path(word).name in NAMES), None)
                if launcher is None or (launcher and words[0] not in ("srun", "exec", "for", "do", "then", "time")):
                    continue
                words = [Path(words[launcher]).name, *words[launcher + 1 :]]
                if len(words) > 1 and not words[1].startswith(("#", ":")):
                    found.append(words)
    return found


def _words(part: str) -> list[str]:
    try:
        return shlex.split(part, comments=True)
    except ValueError:  # prose or output with an apostrophe
        return []


def fault(words: list[str], groups: dict[str, Any]) -> str:
    """Why a command cannot be; empty if it can."""
    command, rest = groups[words[0]], words[1:]
    while getattr(command, "commands", None):
        if not rest or rest[0].startswith("-"):
            return ""
        if rest[0] not in command.commands:
            return f"no verb {rest[0]!r}"
        command, rest = command.commands[rest[0]], rest[1:]
    if rest and (">" in rest or "..." in rest):
        rest = rest[: min(rest.index(mark) for mark in (">", "...") if mark in rest)]
    options = {flag: one for one in command.params for flag in (*one.opts, *one.secondary_opts)}
    skip = False
    for word in rest:
        if skip:
            skip = False
            continue
        if re.fullmatch(r"--?[A-Za-z][\w-]*(=.*)?", word):
            flag = word.partition("=")[0]
            if flag not in options and flag != "--help":
                return f"{' '.join(words[:2])} has no option {flag}"
            skip = "=" not in word and flag in options and not getattr(options[flag], "is_flag", False)
    return ""


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_exist(page: Path) -> None:
    groups = apps()
    faults = [
        f"{' '.join(words)}: {why}" for words in commands_in(page.read_text("utf-8")) if (why := fault(words, groups))
    ]
    assert not faults


def test_the_check_sees_what_is_wrong_and_enough_of_the_pages() -> None:
    groups = apps()
    assert sum(len(commands_in(page.read_text("utf-8"))) for page in PAGES) > 150
    wrong = "```\n$ seamo-prep bild x\nseamo-prep build x --stores y\nX=1 seamo-bench run s \\\n  --result r\n```\n"
    assert [bool(fault(words, groups)) for words in commands_in(wrong)] == [True, True, True]
    right = "```sh\nsrun seamo pretrain r --store s --out o --set a=b # --no\nseamo-bench table r | head\n```\n"
    assert [fault(words, groups) for words in commands_in(right)] == ["", ""]
