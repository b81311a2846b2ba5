"""`seamo-prep fetch`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from seamo.options import Json
from seamo.progress import Progress
from seamo.terminal import names, remark, show


def fetch(
    dataset: Annotated[str, typer.Argument(metavar="ID")],
    *,
    to: Annotated[Path, typer.Option("--to", help="RAW: where the files go.")],
    only: Annotated[str, typer.Option(help="Parts or files, separated by commas.")] = "",
    accept: Annotated[str, typer.Option(help="Licence that you accept, where one must be.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what there is and its size, bring nothing.")] = False,
    json: Json = False,
) -> None:
    """Bring a data set's published files; resumes, checks bytes and hash, shows the licence."""
    from seamo_prep import fetch as fetching
    from seamo_prep.archives import find_spec

    spec = find_spec(dataset)
    chosen = fetching.items(spec, names(only))
    rows = [
        {"id": item.file.name, "part": item.part, "bytes": item.file.size, "by_hand": item.how, "note": item.note}
        for item in chosen
    ]
    if json or dry_run:
        show(rows, json=json, title=spec.title)
    remark(f"licence: {spec.licence}")
    if spec.attribution:
        remark(f"attribution: {spec.attribution}")
    why = f" ({spec.redistribution_why})" if spec.redistribution_why else ""
    remark(f"redistribution: {spec.redistribution}{why}")
    if dry_run:
        return
    for item in chosen:
        size = "unknown size" if item.file.size is None else f"{item.file.size:,} bytes"
        remark(f"{item.file.name}: {item.how or size}")
    progress = Progress(sys.stderr)

    def tell(name: str, have: int, of: int | None) -> None:
        if name != progress.title:
            progress.title = name
            progress.begin("bytes", of, done=have)
        progress.at(have, of)

    by_hand = fetching.fetch(spec, to, only=names(only), accept=accept, on_progress=tell)
    progress.close()
    for item in by_hand:
        remark(f"by hand: {item.file.name}: {item.how}")
