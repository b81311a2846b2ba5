"""What is run, as data: suites, studies, and the published numbers that they are held against.

Their files are found here without reading one, so that a wrong name is refused before anything is imported.
"""

from collections.abc import Mapping
from pathlib import Path

from seamo.errors import UsageError

SUITES = Path(__file__).parent
STUDIES = SUITES / "studies"


def suites() -> dict[str, Path]:
    """Shipped suites: id -> file."""
    return {path.stem: path for path in sorted(SUITES.glob("*.yaml"))}


def studies() -> dict[str, Path]:
    """Shipped studies: id -> file."""
    return {path.stem: path for path in sorted(STUDIES.glob("*.yaml"))}


def find_suite(name_or_path: str) -> Path:
    """The file of a shipped suite by its id, or one's own.

    Raises:
        UsageError: If there is neither; names the nearest.
    """
    return _find("suite", name_or_path, suites())


def find_study(name_or_path: str) -> Path:
    """The file of a shipped study by its id, or one's own.

    Raises:
        UsageError: If there is neither; names the nearest.
    """
    return _find("study", name_or_path, studies())


def _find(kind: str, name_or_path: str, shipped: Mapping[str, Path]) -> Path:
    path = shipped.get(name_or_path, Path(name_or_path))
    if path.is_file():
        return path
    from difflib import get_close_matches

    near = get_close_matches(name_or_path, shipped, n=1)
    meant = f"Did you mean {near[0]}? " if near else ""
    raise UsageError(f"no {kind} {name_or_path!r}", fix=f"{meant}Shipped: {', '.join(shipped)}; or give a YAML file.")
