"""`seamo-bench weights`: list, fetch, convert, check, golden. Nothing heavy is imported before it is needed."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seamo.errors import CheckpointError, UsageError
from seamo.options import Json
from seamo.progress import Progress
from seamo.terminal import FAILED, remark, show
from seamo_bench.cli.arguments import WEIGHTS, Weights

if TYPE_CHECKING:
    from seamo_bench.zoo.catalogue import Found

app = typer.Typer(help="Published weights: fetched, converted, checked.", no_args_is_help=True)

Backbone = Annotated[str, typer.Argument(metavar="B", help="A backbone of `list`.")]


@app.command("list")
def list_weights(*, folder: Weights = WEIGHTS, as_json: Json = False) -> None:
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
    show(rows, json=as_json)


@app.command()
def fetch(
    backbone: Backbone,
    *,
    folder: Weights = WEIGHTS,
    accept: Annotated[str, typer.Option(help="Licence that you accept, where it is non-commercial.")] = "",
    as_json: Json = False,
) -> None:
    """Bring a published checkpoint; resumes, checks size and hash, shows the licence."""
    card = _find(backbone).card  # an unknown one is refused before torch is imported

    from seamo_bench.zoo.weights_files import fetch_weights

    if card.weights is not None:
        remark(f"{card.weights.filename}: licence {card.weights.licence}")
    progress = Progress(sys.stderr, title=backbone)

    def tell(have: int, of: int | None) -> None:
        progress.report(have, of, "bytes")

    path = fetch_weights(card, folder, accept=accept, on_progress=tell)
    progress.close()
    show([{"id": backbone, "file": str(path), "bytes": path.stat().st_size}], json=as_json)


@app.command()
def convert(
    backbone: Backbone,
    file: Annotated[Path | None, typer.Argument(help="The published file; without it, the one in the folder.")] = None,
    *,
    folder: Weights = WEIGHTS,
    as_json: Json = False,
) -> None:
    """Write the encoder of a published file as safetensors with a card; nothing of the file is run."""
    found = _find(backbone)

    from seamo_bench.zoo.weights_files import convert as write

    path = write(found, _file(found, file, folder), folder)
    show([{"id": backbone, "file": str(path), "card": str(path.with_suffix(".json"))}], json=as_json)


@app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A checkpoint, or a backbone whose file is fetched.")],
    *,
    backbone: Annotated[str, typer.Option("--backbone", help="Backbone that it should be.")] = "",
    folder: Weights = WEIGHTS,
    as_json: Json = False,
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
        if result.constant:
            listed = ", ".join(result.constant[:4]) + (", ..." if len(result.constant) > 4 else "")
            remark(f"{found.card.id}: {len(result.constant)} weights are constant: {listed}")
        rows.append(
            {
                "id": found.card.id,
                "file": str(file),
                "sha256": result.sha256,
                "published_hash": result.published,
                "consumed": len(result.coverage.consumed),
                "dropped": len(result.coverage.dropped),
                "initial": list(result.coverage.initial),
                "constant": list(result.constant),
                "fingerprint": list(result.fingerprint),
            }
        )
    show(rows, json=as_json)


@app.command()
def golden(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of reference outputs.")],
    *,
    as_json: Json = False,
) -> None:
    """Compare our networks with reference outputs of official codes; exit 1 if anything is outside its tolerance."""
    from dataclasses import asdict

    from seamo_bench.zoo.golden import compare

    rows = []
    model = ""
    for row in compare(folder):
        if row.model != model:
            model = row.model
            remark(model)
        rows.append(asdict(row))
    bad = sum(row["verdict"] != "ok" for row in rows)
    remark(f"{len(rows) - bad} of {len(rows)} fields agree")
    show(rows, json=as_json)
    if bad:
        raise typer.Exit(FAILED)


def _find(backbone: str) -> "Found":
    from seamo_bench.zoo.catalogue import find_card

    return find_card(backbone)


def _file(found: "Found", given: Path | None, folder: Path) -> Path:
    if given is not None:
        return given
    if found.card.weights is None:
        raise CheckpointError(f"has no weights ({found.card.availability})", found.card.id)
    return folder / found.card.weights.filename
