"""Symbolic links in unpacked folders: followed, unless they lead back to a folder above them or to nothing."""

import os
from pathlib import Path


def leads_back(entry: str) -> bool:
    """Whether a link to a folder points to one that was passed on the way to it, so that following it never ends.

    Args:
        entry: The path of the link, by which it was reached.
    """
    target = os.path.realpath(entry)
    folder = Path(entry).parent
    passed = {os.path.realpath(one) for one in (folder, *folder.parents)}
    return any(one == target or one.startswith(target.rstrip("/") + "/") for one in passed)


def missing_target(path: str | Path) -> str:
    """Where a link points that leads to nothing; empty for anything else, and for what is not there."""
    at = Path(path)
    return os.readlink(at) if at.is_symlink() and not at.exists() else ""  # noqa: PTH115 - as it is written


def broken_link(target: str) -> tuple[str, str]:
    """What is wrong with a needed link that leads to nothing, and what to do."""
    return (
        f"is a link to {target}, which is not there",
        "Bring what it points to (dvc pull, git annex get, the download it came from), or put the file itself here.",
    )
