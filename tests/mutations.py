"""The tests' own test: faults that a leaderboard must not have are put into a copy of the tree, and a test must fail.

Each mutation names one or a few places by text that stands there exactly once, and the fast tests that must see it.
Nothing is changed in the checkout. `make soak` runs this (`tests/test_mutations.py`).

    python -m tests.mutations [NAME ...]     all, or those whose names contain one of the words

Exit 1: a mutation survived, is not to be found any more, or its tests fail without it.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.mutants.edits import Edit, Mutation
from tests.mutants.evaluation import EVALUATION
from tests.mutants.sharing import SHARING

ROOT = Path(__file__).resolve().parent.parent
COPIED = ("seamo", "preprocess", "benchmarks", "tests", "docs", "data_manifest.yaml", "pyproject.toml")
MUTATIONS = EVALUATION + SHARING


def mutated(text: str, edit: Edit) -> str:
    """The text with one edit.

    Raises:
        ValueError: If what is to be changed does not stand there exactly once.
    """
    count = text.count(edit.old)
    if count != 1:
        raise ValueError(f"{edit.path}: {edit.old!r} stands there {count} times; mend the mutation")
    return text.replace(edit.old, edit.new)


def check_found(root: Path, mutations: Sequence[Mutation] = MUTATIONS) -> list[str]:
    """Mutations whose text is not to be found exactly once in a tree, with the reason."""
    problems = []
    for mutation in mutations:
        texts = {edit.path: (root / edit.path).read_text("utf-8") for edit in mutation.edits}
        try:
            for edit in mutation.edits:
                texts[edit.path] = mutated(texts[edit.path], edit)
        except ValueError as error:
            problems.append(f"{mutation.name}: {error}")
    return problems


def copy_of(root: Path, folder: Path) -> Path:
    """A copy of the tree to break."""
    target = folder / "tree"
    target.mkdir()
    unneeded = shutil.ignore_patterns("__pycache__", ".*", "*.pyc")
    for name in COPIED:
        if (root / name).is_dir():
            shutil.copytree(root / name, target / name, ignore=unneeded)
        else:
            shutil.copy(root / name, target / name)
    return target


def run_tests(tree: Path, tests: Sequence[str]) -> tuple[int, str]:
    """Exit status of pytest in a tree, and the first test that failed."""
    places = os.pathsep.join(str(tree / part) for part in ("", "preprocess", "benchmarks"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "--tb=line", "-p", "no:cacheprovider", *tests],
        cwd=tree, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": places, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    failed = re.search(r"^FAILED (\S+)", done.stdout, re.MULTILINE)
    return done.returncode, failed.group(1) if failed else done.stdout[-2000:]


def say(text: str) -> None:
    """Write a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(words: Sequence[str]) -> int:
    """Run mutations and print a line for each; see the module."""
    chosen = [one for one in MUTATIONS if not words or any(word in one.name for word in words)]
    problems = check_found(ROOT, chosen)
    if problems or not chosen:
        say("\n".join(problems or ["no such mutation"]))
        return 1
    with tempfile.TemporaryDirectory(prefix="seamo-mutations-") as folder:
        tree = copy_of(ROOT, Path(folder))
        status, first = run_tests(tree, sorted({test for one in chosen for test in one.tests}))
        if status:
            say(f"the tests fail without any mutation: {first}")
            return 1
        survived = 0
        for mutation in chosen:
            begun = time.monotonic()
            whole = {edit.path: (tree / edit.path).read_text("utf-8") for edit in mutation.edits}
            for edit in mutation.edits:
                (tree / edit.path).write_text(mutated((tree / edit.path).read_text("utf-8"), edit), "utf-8")
            status, first = run_tests(tree, mutation.tests)
            for path, text in whole.items():
                (tree / path).write_text(text, "utf-8")
            # Any status but "a test failed" says that the mutation broke more than it should have.
            verdict = {0: "SURVIVED", 1: "killed"}.get(status, f"BROKEN ({status})")
            survived += status != 1
            say(f"{verdict}  {mutation.name}  ({time.monotonic() - begun:.0f} s)  {first if status else ''}")
        say(f"{len(chosen) - survived} of {len(chosen)} mutations killed")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
