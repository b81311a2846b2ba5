"""`seamo-prep rm`."""

from typing import Annotated

import typer

from seamo.options import Json
from seamo.terminal import remark, show


def remove(
    root: Annotated[str, typer.Argument(help="Folder of stores, or its address.")],
    name: Annotated[str, typer.Argument(metavar="ID/BUILD", help="The store's whole name, as `ls` has it.")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go, and what keeps it.")] = False,
    json: Json = False,
) -> None:
    """Remove one store that nothing refers to; goes on where a removal was interrupted."""
    from seamo.store.keeping import remove_store

    gone = remove_store(root, name, dry_run=dry_run)
    show([{"id": gone.name, "bytes": gone.bytes, "refers": list(gone.refers)}], json=json, text=lambda: gone.name)
    kept = f"; kept by {', '.join(gone.refers)}" if gone.refers else ""
    remark(f"{'would remove' if dry_run else 'removed'} {gone.bytes:,} bytes{kept}")
