"""`seamo-prep clean`."""

from typing import Annotated

import typer

from seamo.addresses import disk_path, join
from seamo.options import Json
from seamo.terminal import remark, show


def clean(
    root: Annotated[str, typer.Argument(help="Folder of stores, or its address.")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be swept.")] = False,
    unfinished: Annotated[bool, typer.Option("--unfinished", help="Also what a next build would go on with.")] = False,
    json: Json = False,
) -> None:
    """Sweep what killed builds left; published files and builds at work are not touched."""
    from seamo.store.keeping import WORK, sweep_bucket
    from seamo_prep.clean import clean as sweep

    folder = disk_path(root)
    if folder is not None:
        found = [
            (str(one.path), one.bytes, one.what, one.goes)
            for one in sweep(folder, unfinished=unfinished, dry_run=dry_run)
        ]
    else:
        lying = sweep_bucket(root, unfinished=unfinished, dry_run=dry_run)
        found = [(join(root, one.name), one.bytes, one.what, unfinished or one.what == WORK) for one in lying]
    rows = [{"path": path, "bytes": size, "what": what, "goes": goes} for path, size, what, goes in found]
    show(rows, json=json)
    size, stays = (sum(one[1] for one in found if one[3] is goes) for goes in (True, False))
    kept = f"; {stays:,} bytes of unfinished stores stay (--unfinished)" if stays else ""
    remark(f"{'would sweep' if dry_run else 'swept'} {size:,} bytes{kept}")
