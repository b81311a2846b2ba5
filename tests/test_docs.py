"""The site: the page of commands is that of the commands, and the tests that pages name exist."""

import re
import subprocess
import sys

from tests.conftest import ROOT

FILES = sorted((ROOT / "tests").rglob("test_*.py"))
TESTS = {path.name: "".join(one.read_text("utf-8") for one in FILES if one.name == path.name) for path in FILES}


def test_the_page_of_commands_is_up_to_date():
    done = subprocess.run(
        [sys.executable, "docs/make_cli.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_tests_that_guard_traps_exist():
    page = (ROOT / "docs/traps.md").read_text("utf-8")
    cells = [line.split("|")[-2] for line in page.splitlines() if line.startswith("| ") and "test_" in line]
    assert len(cells) > 40
    for cell in cells:
        for file, words in re.findall(r"`(test_\w+\.py)`(?:: ([a-z0-9 ]+))?", cell):
            assert file in TESTS, file
            name = f"def test_{words.strip().replace(' ', '_')}("
            assert not words or name in TESTS[file], f"{file}: {words}"
