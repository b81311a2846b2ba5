"""`seamo-prep clean`."""

from pathlib import Path
from typing import Annotated

import typer

from seamo.options import Json
from seamo.terminal import remark, show


def clean(
    root: Annotated[Path, typer.Argument(help="Folder of stores.")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be swept.")] = False,
    unfinished: Annotated[bool, typer.Option("--unfinished", help="Also what a next build would go on with.")] = False,
    json: Json = False,
) -> None:
    """Sweep what killed builds left; published files and builds at work are not touched."""
    from seamo_prep.clean import clean as sweep

    found = sweep(root, unfinished=unfinished, dry_run=dry_run)
    rows = [{"path": str(one.path), "bytes": one.bytes, "what": one.what, "goes": one.goes} for one in found]
    show(rows, json=json)
    size, stays = (sum(one.bytes for one in found if one.goes is goes) for goes in (True, False))
    kept = f"; {stays:,} bytes of unfinished stores stay (--unfinished)" if stays else ""
    remark(f"{'would sweep' if dry_run else 'swept'} {size:,} bytes{kept}")
