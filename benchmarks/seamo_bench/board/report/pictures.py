"""PNG files inside the page."""

import re
from dataclasses import dataclass
from pathlib import Path

from seamo.errors import ProtocolError

_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG with its caption."""

    caption: str
    data: bytes


def read_pictures(folder: Path) -> tuple[Picture, ...]:
    """The PNG files of a folder and its folders, in the order of their names; the name is the caption.

    Raises:
        ProtocolError: If there is none, or a file is no PNG.
    """
    paths = sorted(folder.rglob("*.png"))
    if not paths:
        raise ProtocolError("holds no .png", where=str(folder), fix="`seamo-bench figures` writes them.")
    found = []
    for path in paths:
        data = path.read_bytes()
        if not data.startswith(_PNG):
            raise ProtocolError("is not a PNG", where=str(path), fix="Draw it again, or take it out.")
        name = path.relative_to(folder).with_suffix("").as_posix()
        words = name.replace("-", " ").replace("_", " ").replace("/", ": ")
        words = re.sub(r"\bfigure ?0*(?=\d)", "figure ", words)  # figure05 of `seamo-bench figures`
        found.append(Picture(words[:1].upper() + words[1:], data))
    return tuple(found)
