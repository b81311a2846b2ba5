"""`seamo-prep init`."""

from typing import Annotated

import typer

from seamo.addresses import disk_path
from seamo.errors import UsageError
from seamo.options import Json
from seamo.terminal import remark, show

_HEADS = {"guess": "guessed; the reasons stand in seamo.yaml", "unknown": "not known", "left out": "left out",
          "fill in": "to fill in before `build`"}  # fmt: skip
_MOST = 12  # lines of one kind


def init(
    folder: Annotated[str, typer.Argument(help="Folder with your GeoTIFFs, however deep.")],
    *,
    json: Json = False,
) -> None:
    """Look at your own images; write samples.csv and seamo.yaml for `build folder`, with a comment for every guess."""
    path = disk_path(folder)
    if path is None:
        raise UsageError(
            "is no folder of this disk", folder, "Bring it here, or write samples.csv and seamo.yaml by hand."
        )
    if not path.is_dir():
        raise UsageError("there is no such folder", folder, "Give the folder that holds your images.")

    from seamo_prep.initial.begin import init as begin

    made = begin(path)
    rows = [{"id": one.where, "kind": one.kind, "what": one.what} for one in made.notes]

    def text() -> str:
        lines = [f"{one.where}: {one.what}" if one.where else one.what for one in made.notes if one.kind == "found"]
        for kind, head in _HEADS.items():
            found = [f"  {one.where}: {one.what}" for one in made.notes if one.kind == kind]
            more = [f"  and {len(found) - _MOST} more"] if len(found) > _MOST else []
            lines += [f"{head}:", *found[:_MOST], *more] if found else []
        return "\n".join(lines)

    show(rows, json=json, text=text)
    remark(f"wrote {path / 'samples.csv'} ({made.samples:,} samples) and {path / 'seamo.yaml'}")
    remark(f"next: {'' if made.is_ready else 'fill in, then '}{made.build}")
