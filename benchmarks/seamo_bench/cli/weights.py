"""`seamo-bench weights`: list, fetch, convert, check, golden. Nothing heavy is imported before it is needed."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seamo.errors import CheckpointError, UsageError

if TYPE_CHECKING:
    from seamo_bench.zoo.catalogue import Found

app = typer.Typer(help="Published weights: fetched, converted, checked.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Folder = Annotated[Path, typer.Option("--weights", help="Folder of checkpoint files.")]
Backbone = Annotated[str, typer.Argument(metavar="B", help="A backbone of `list`.")]
WEIGHTS = Path("weights")


@app.command("list")
def list_weights(*, folder: Folder = WEIGHTS, as_json: AsJson = False) -> None:
    """Show every backbone's weights: availability, licence, what verifies them, whether the file is there."""
    from seamo_bench.zoo.catalogue import cards

    rows = []
    for name, found in cards().items():
        weights = found.card.weights
        rows.append(
            {
                "id": name,
                "title": found.card.title,
                "availability": found.card.availability,
                "licence": weights.licence if weights else "",
                "noncommercial": weights.noncommercial if weights else False,
                "verified_by": ", ".join(found.card.verified) or "unverified",
                "file": weights.filename if weights else "",
                "here": (folder / weights.filename).is_file() if weights else False,
                "get": ("link" if weights.urls else weights.how) if weights else "",
            }
        )
    _show(rows, as_json=as_json)


@app.command()
def fetch(
    backbone: Backbone,
    *,
    folder: Folder = WEIGHTS,
    accept: Annotated[str, typer.Option(help="Licence that you accept, where it is non-commercial.")] = "",
    as_json: AsJson = False,
) -> None:
    """Bring a published checkpoint; resumes, checks size and hash, shows the licence."""
    from seamo_bench.zoo.weights_files import fetch_weights

    card = _find(backbone).card
    if card.weights is not None:
        _remark(f"{card.weights.filename}: licence {card.weights.licence}")
    last = -1

    def tell(have: int, of: int | None) -> None:
        nonlocal last
        step = have // (64 * 2**20)  # a line every 64 MiB
        if step != last or have == of:
            last = step
            _remark(f"{have:,} of {f'{of:,}' if of else 'unknown'} bytes")

    path = fetch_weights(card, folder, accept=accept, on_progress=tell)
    _show([{"id": backbone, "file": str(path), "bytes": path.stat().st_size}], as_json=as_json)


@app.command()
def convert(
    backbone: Backbone,
    file: Annotated[Path | None, typer.Argument(help="The published file; without it, the one in the folder.")] = None,
    *,
    folder: Folder = WEIGHTS,
    as_json: AsJson = False,
) -> None:
    """Write the encoder of a published file as safetensors with a card; nothing of the file is run."""
    from seamo_bench.zoo.weights_files import convert as write

    found = _find(backbone)
    path = write(found, _file(found, file, folder), folder)
    _show([{"id": backbone, "file": str(path), "card": str(path.with_suffix(".json"))}], as_json=as_json)


@app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A checkpoint, or a backbone whose file is fetched.")],
    *,
    backbone: Annotated[str, typer.Option("--backbone", help="Backbone that it should be.")] = "",
    folder: Folder = WEIGHTS,
    as_json: AsJson = False,
) -> None:
    """Say what becomes of every key of a file, and print a fingerprint of its features."""
    from seamo_bench.zoo.catalogue import cards
    from seamo_bench.zoo.weights_files import check as examine
    from seamo_bench.zoo.weights_files import guess

    known = cards()
    if not file.exists() and str(file) in known:
        backbone, file = str(file), _file(known[str(file)], None, folder)
    choices = [_find(backbone)] if backbone else guess(file, known)
    if not choices:
        raise UsageError("its name is that of no published file", str(file), "Say which it is with --backbone.")
    rows: list[dict[str, Any]] = []
    for found in choices:
        result = examine(found, file)
        rows.append(
            {
                "id": found.card.id,
                "file": str(file),
                "sha256": result.sha256,
                "published_hash": result.published,
                "consumed": len(result.coverage.consumed),
                "dropped": len(result.coverage.dropped),
                "initial": list(result.coverage.initial),
                "fingerprint": list(result.fingerprint),
            }
        )
    _show(rows, as_json=as_json)


@app.command()
def golden(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of reference outputs.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Compare our networks with reference outputs of official codes; exit 1 if anything is outside its tolerance."""
    from dataclasses import asdict

    from seamo_bench.zoo.golden import compare

    rows = []
    model = ""
    for row in compare(folder):
        if row.model != model:
            model = row.model
            _remark(model)
        rows.append(asdict(row))
    bad = sum(row["verdict"] != "ok" for row in rows)
    _remark(f"{len(rows) - bad} of {len(rows)} fields agree")
    _show(rows, as_json=as_json)
    if bad:
        raise typer.Exit(1)


def _find(backbone: str) -> "Found":
    from seamo_bench.zoo.catalogue import find_card

    return find_card(backbone)


def _file(found: "Found", given: Path | None, folder: Path) -> Path:
    if given is not None:
        return given
    if found.card.weights is None:
        raise CheckpointError(f"has no weights ({found.card.availability})", found.card.id)
    return folder / found.card.weights.filename


def _show(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        import json

        typer.echo(json.dumps(rows, indent=1, allow_nan=False))
        return
    if not rows:
        return
    columns = list(rows[0])
    texts = [["" if row[column] is None else str(row[column]) for column in columns] for row in rows]
    widths = [max(len(column), *(len(text[index]) for text in texts)) for index, column in enumerate(columns)]
    for line in (columns, *texts):
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _remark(text: str) -> None:
    sys.stderr.write(f"{text}\n")
