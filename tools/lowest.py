"""The oldest releases that pyproject.toml allows, as constraints for pip: `python tools/lowest.py > lowest.txt`.

Of the base and of every extra that users install; tools of tests, measurements and the site are as new as they come.
"""

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

NOT_USERS = ("dev", "docs", "perf")
_REQUIREMENT = re.compile(
    r"(?P<name>[A-Za-z0-9._-]+)(?P<extras>\[.*?\])?(?P<bound>>=(?P<low>[0-9][0-9.]*))?[^;]*(;.*)?"
)


def lowest(project: dict[str, Any]) -> list[str]:
    """`name==lower bound` of every direct dependency, sorted.

    Args:
        project: Table `project` of pyproject.toml.

    Raises:
        ValueError: If a dependency has no lower bound.
    """
    extras = project.get("optional-dependencies", {})
    users = [
        *project["dependencies"],
        *(line for name, lines in extras.items() if name not in NOT_USERS for line in lines),
    ]
    pins = set()
    for line in users:
        found = _REQUIREMENT.fullmatch(line)
        if found is not None and found["name"] == project["name"]:
            continue  # an extra that takes another one in
        if found is None or found["low"] is None:
            raise ValueError(f"pyproject.toml: {line!r} has no lower bound; write name>=version")
        pins.add(f"{found['name']}=={found['low']}")
    return sorted(pins)


if __name__ == "__main__":
    toml = Path(__file__).resolve().parent.parent / "pyproject.toml"
    try:
        print(*lowest(tomllib.loads(toml.read_text("utf-8"))["project"]), sep="\n")
    except ValueError as error:
        sys.exit(str(error))
