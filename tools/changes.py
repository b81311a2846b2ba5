"""The fragments of `changes/`: checked by `make check`, put together into CHANGELOG.md at a release.

python tools/changes.py check
python tools/changes.py draft                          # what the next release would say
python tools/changes.py assemble 0.2.0 2027-01-31      # writes CHANGELOG.md and removes the fragments
"""

import re
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADINGS = {
    "data": "Numbers and data",
    "feature": "Added",
    "fix": "Fixed",
    "removal": "Removed",
    "docs": "Documentation",
}
USAGE = "tools/changes.py check | draft | assemble X.Y.Z YYYY-MM-DD"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*\.(?P<kind>[a-z]+)\.md")
_OPEN = "## [Unreleased]"


class ChangesError(Exception):
    """What is wrong with a fragment or with the changelog, and what to do."""


def read_fragments(folder: Path) -> dict[str, list[str]]:
    """Kind -> its fragments, each a line, in the order of the files' names.

    Raises:
        ChangesError: Naming the first file that is no fragment.
    """
    fragments: dict[str, list[str]] = {kind: [] for kind in HEADINGS}
    for path in sorted(folder.iterdir()):
        if path.name == "README.md":
            continue
        name = _NAME.fullmatch(path.name)
        if name is None or name["kind"] not in HEADINGS:
            kinds = ", ".join(HEADINGS)
            raise ChangesError(f"{path}: call it <number or name>.<kind>.md, of the kinds {kinds}")
        text = path.read_text(encoding="utf-8").strip()
        if not text or "\n\n" in text or text.startswith(("#", "-", "*")):
            raise ChangesError(f"{path}: write one paragraph, without heading or bullet")
        fragments[name["kind"]].append(" ".join(text.split()))
    return fragments


def assemble(changelog: str, fragments: Mapping[str, list[str]], version: str, date: str) -> str:
    """The changelog with a section of a new version on top; what stood under `Unreleased` becomes part of it.

    Raises:
        ChangesError: If the version or the date is none, the version is there already, or nothing changed.
    """
    if not re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", version) or not re.fullmatch(r"\d{4}-\d\d-\d\d", date):
        raise ChangesError(f"{version} {date}: expected a version and a day, as in 0.2.0 2027-01-31")
    if f"## [{version}]" in changelog:
        raise ChangesError(f"CHANGELOG.md: has a section {version} already; choose the next version")
    head, *sections = re.split(r"(?m)^(?=## \[)", changelog)
    parts: dict[str, str] = {}
    if sections and sections[0].startswith(_OPEN):
        _, *blocks = re.split(r"(?m)^### ", sections.pop(0))
        parts = {name: text.strip() for name, text in (block.split("\n", 1) for block in blocks)}
    for kind, heading in HEADINGS.items():
        lines = "\n".join(f"- {text}" for text in fragments[kind])
        if lines:
            parts[heading] = f"{parts[heading]}\n{lines}" if heading in parts else lines
    if not parts:
        raise ChangesError("changes: no fragment, so there is nothing to release")
    body = "\n\n".join(f"### {heading}\n\n{text}" for heading, text in parts.items())
    return f"{head}## [{version}] - {date}\n\n{body}\n\n{''.join(sections)}".rstrip() + "\n"


def main(arguments: list[str]) -> None:
    """Do what the command line says.

    Raises:
        ChangesError: For wrong usage too.
    """
    folder, changelog = ROOT / "changes", ROOT / "CHANGELOG.md"
    fragments = read_fragments(folder)
    match arguments:
        case ["check"]:
            pass
        case ["draft"]:
            for kind, heading in HEADINGS.items():
                print(
                    *[f"{heading}: {text}" for text in fragments[kind]], sep="\n", end="\n" if fragments[kind] else ""
                )
        case ["assemble", version, date]:
            changelog.write_text(assemble(changelog.read_text("utf-8"), fragments, version, date), encoding="utf-8")
            for path in folder.glob("*.*.md"):
                path.unlink()
        case _:
            raise ChangesError(USAGE)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except ChangesError as error:
        sys.exit(str(error))
