"""`seamo-prep ls`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from seamo.addresses import disk_path, join
from seamo.errors import StoreError, UsageError
from seamo.options import Json
from seamo.terminal import show

if TYPE_CHECKING:
    from seamo.store.roots import Catalogue


def list_stores(
    root: Annotated[str, typer.Argument(help="Folder of stores, or its address.")],
    *,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Look at every store, write the catalogue anew.")] = False,
    orphans: Annotated[bool, typer.Option("--orphans", help="What lies there and is in no catalogue.")] = False,
    json: Json = False,
) -> None:
    """Show the stores under a root, as its catalogue has them; of a root without one, as they lie there."""
    from seamo.store import keeping
    from seamo.store.roots import read_catalogue

    if rebuild and orphans:
        raise UsageError("--rebuild and --orphans are two questions", fix="Ask one after the other.")
    if orphans:
        show([{"id": one.name, "bytes": one.bytes, "what": one.what} for one in keeping.orphans(root)], json=json)
        return
    catalogue = keeping.rebuild(root) if rebuild else read_catalogue(root)
    if catalogue is None and disk_path(root) is None:
        raise StoreError("has no catalogue", root, f"`seamo-prep ls {root} --rebuild` lists it once, and writes one.")
    show(_scanned(root) if catalogue is None else _listed(root, catalogue), json=json)


def _listed(root: str, catalogue: "Catalogue") -> list[dict[str, Any]]:
    from seamo.store.keeping import is_gone

    names = sorted(catalogue.stores, key=lambda name: catalogue.stores[name].created, reverse=True)
    rows = []
    for name in sorted(names, key=lambda name: name.partition("/")[0]):  # newest first in each data set
        one = catalogue.stores[name]
        dataset, _, build = name.partition("/")
        rows.append(
            {
                "id": dataset,
                "build": build,
                "state": "gone" if is_gone(root, name) else "published",
                "latest": catalogue.latest.get(dataset) == build,
                "title": one.title,
                "samples": one.samples,
                "layout": one.layout,
                "splits": one.splits,
                "content": one.content[:12],
                "licence": one.licence,
                "redistribution": one.redistribution,
                "created": one.created,
                "bytes": one.bytes,
                "who": one.who,
                "path": join(root, name),
            }
        )
    return rows


def _scanned(root: str) -> list[dict[str, Any]]:
    from seamo.store.catalog import list_stores as entries

    return [
        {
            "id": entry.id,
            "build": entry.build,
            "state": entry.state,
            "title": entry.title or entry.problem,
            "samples": entry.meta.counts.samples if entry.meta else None,
            "layout": entry.meta.layout if entry.meta else "",
            "splits": entry.meta.split_scheme if entry.meta else "",
            "content": entry.meta.content[:12] if entry.meta else "",
            "licence": entry.meta.spec.licence if entry.meta else "",
            "redistribution": entry.meta.spec.redistribution if entry.meta else "",
            "created": entry.created,
            "path": str(entry.path),
        }
        for entry in entries(root)
    ]
