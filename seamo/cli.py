"""`seamo`: pretrain, look at what was learned, describe runs."""

import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from seamo.errors import RecipeError, SeamoError, UsageError

STOPPED = 75  # exit status after SIGTERM or SIGUSR1: a checkpoint is written, go on with --resume (EX_TEMPFAIL)

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

StoreOption = Annotated[str, typer.Option("--store", help="A store (folder of `seamo-prep build`).", metavar="STORE")]


@app.callback()
def _global(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Pretrain SeaMo and look at what it learned.

    Exit status: 0 done, 1 the work failed, 2 wrong usage, 75 stopped by SIGTERM or SIGUSR1 after a checkpoint
    (go on with --resume).
    """
    del debug  # `main` has taken it out, wherever it stood


@app.command()
def pretrain(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe (seamo-tiny, seamo-base, ...) or a YAML file.")],
    store: StoreOption,
    out: Annotated[Path, typer.Option("--out", help="Folder of the run.", metavar="RUN")],
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="Change the recipe: dotted.key=value.", metavar="KEY=VALUE")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the run stopped (or begin it).")] = False,
    device: Annotated[str, typer.Option("--device", help="cpu or cuda; cuda where there is one.")] = "",
) -> None:
    """Pretrain from a store; under torchrun on several devices."""
    from seamo.pretrain.loop import Stopped
    from seamo.pretrain.loop import pretrain as train
    from seamo.pretrain.ranks import joined
    from seamo.pretrain.recipe import load_recipe
    from seamo.store.reader import open_store

    resolved = load_recipe(recipe, changes or [])
    opened = open_store(store)
    rank, world, local = (int(os.environ.get(name, default)) for name, default in _TORCHRUN)
    if rank == 0:
        typer.echo(f"{resolved.name} on {opened.title}, split {resolved.data.split}", err=True)
    with joined(rank, world, local, device=device) as ranks:
        try:
            final = train(resolved, opened, out, resume=resume, ranks=ranks, progress=sys.stderr)
        except Stopped as stopped:
            typer.echo(f"stopped as asked; go on with --resume (checkpoint {stopped.checkpoint})", err=True)
            raise typer.Exit(STOPPED) from None
    if rank == 0:
        typer.echo(str(final))


_TORCHRUN = (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))


@app.command()
def reconstruct(
    run: Annotated[Path, typer.Argument(help="A run, or a folder with a model.")],
    store: StoreOption,
    out: Annotated[Path, typer.Option("-o", "--out", help="Picture to write.", metavar="FILE.png")],
    key: Annotated[str, typer.Option("--key", help="Sample; the first of val without it.")] = "",
    seed: Annotated[int, typer.Option("--seed", help="Of crop and mask.")] = 0,
    crops: Annotated[bool, typer.Option("--crops", help="Draw the crop modes instead.")] = False,
) -> None:
    """Draw input, masked input, reconstruction and target of one sample, per season and sensor."""
    from seamo.pretrain.figures import draw_crops, draw_reconstruction
    from seamo.store.reader import open_store

    draw = draw_crops if crops else draw_reconstruction
    draw(run, open_store(store), out, key=key, seed=seed)
    typer.echo(str(out))


ModelArgument = Annotated[Path, typer.Argument(help="A run, a checkpoint or a folder with a model.")]
DeviceOption = Annotated[str, typer.Option("--device", help="cpu or cuda; cuda where there is one.")]


@app.command()
def embed(
    path: ModelArgument,
    what: Annotated[str, typer.Argument(help="A GeoTIFF of any size, or a store.", metavar="IMAGE|STORE")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Image: .tif or .zarr; store: .parquet or .npz.")],
    sensor: Annotated[str, typer.Option("--sensor", help="s2, s1, ...; of a store all that it has.")] = "",
    others: Annotated[
        list[str] | None, typer.Option("--with", help="Image: another sensor's on the same grid, s1=IMAGE.")
    ] = None,
    bands: Annotated[
        list[str] | None, typer.Option("--bands", help="Image: its bands in order, B02,B03,-,...; s1=... of --with.")
    ] = None,
    unit: Annotated[
        list[str] | None,
        typer.Option("--unit", help="Image: what its numbers are: dn, dn+1000, db, db*100; s1=... of --with."),
    ] = None,
    nodata: Annotated[
        list[str] | None, typer.Option("--nodata", help="Image: also this value is none; s1=... of --with.")
    ] = None,
    missing: Annotated[
        str, typer.Option("--missing", help="Bands not there: fail, zero, mean, nearest-wavelength or select-columns.")
    ] = "fail",
    statistics: Annotated[
        str, typer.Option("--statistics", help="To normalise: card, store, or (image) a YAML file.")
    ] = "card",
    size: Annotated[int, typer.Option("--size", help="Pixels of a window or image; as pretrained without it.")] = 0,
    overlap: Annotated[float, typer.Option("--overlap", help="Image: share that windows overlap.")] = 0.5,
    stack: Annotated[list[str] | None, typer.Option("--stack", help="Store: sensor=stack.")] = None,
    split: Annotated[str, typer.Option("--split", help="Store: train, val, test or all.")] = "all",
    batch: Annotated[int, typer.Option("--batch", min=1, help="Windows or samples at once.")] = 16,
    device: DeviceOption = "",
) -> None:
    """Write features: a georeferenced map of an image, or a vector a sample and date of a store."""
    from seamo.use.command import Asked, embed_anything, in_words

    asked = Asked(
        sensor, tuple(others or ()), tuple(bands or ()), tuple(unit or ()), tuple(nodata or ()), missing, statistics,
        size, overlap, tuple(stack or ()), split, batch, device,
    )  # fmt: skip
    facts = embed_anything(path, what, out, asked=asked, progress=sys.stderr)
    for line in in_words(facts):
        typer.echo(line, err=True)
    typer.echo(facts["out"])


@app.command("export")
def export_encoder(
    path: ModelArgument,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to write.", metavar="DIR")],
    licence: Annotated[str, typer.Option("--licence", help="Of the weights, for the card.")] = "not stated",
) -> None:
    """Write tokenizers and encoder, for timm, torchgeo users and the benchmark."""
    from seamo.use.export import export

    typer.echo(str(export(path, out, licence=licence)))


@app.command()
def info(
    path: ModelArgument,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
    store: Annotated[
        str, typer.Option("--store", help="Also measure how the features depend on the season.", metavar="STORE")
    ] = "",
    split: Annotated[str, typer.Option("--split", help="Of that store.")] = "all",
    sensor: Annotated[str, typer.Option("--sensor", help="Of the model; all that the store has without it.")] = "",
    places: Annotated[int, typer.Option("--places", min=2, help="At most so many, drawn at random.")] = 2000,
    device: DeviceOption = "",
) -> None:
    """Say what a run or a model is, and with --store how far its features depend on the season."""
    from seamo.pretrain.describe import describe

    facts, table = describe(path), list[str]()
    if store:
        from seamo.store.reader import open_store
        from seamo.use.diagnose import diagnose, in_words
        from seamo.use.inputs import load_pretrained
        from seamo.use.pooled import Reading

        reading = Reading(sensors=(sensor,) if sensor else (), split=split)
        pretrained = load_pretrained(path, device=device)
        measured = diagnose(pretrained, open_store(store), reading, places=places, progress=sys.stderr)
        table = [f"seasons of {measured[0]['store']}", *in_words(measured)]
        if as_json:
            facts["seasons"] = {one.pop("id"): one for one in measured}
    if as_json:
        typer.echo(json.dumps([{"id": path.name, **facts}], indent=1))
        return
    for name, value in _lines(facts):
        typer.echo(f"{name:34} {_short(value)}")
    for line in table:
        typer.echo(line)


def _lines(facts: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in facts.items():
        inside = isinstance(value, dict)
        found += _lines(value, f"{prefix}{name}.") if inside else [(f"{prefix}{name}", value)]
    return found


def _short(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return " ".join(_short(one) for one in value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def main() -> None:
    """Run a command; an error is one message, with `--debug` (anywhere) also its traceback."""
    arguments = [one for one in sys.argv[1:] if one != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    logging.basicConfig(level=logging.INFO if debug else logging.WARNING, format="%(levelname)s %(message)s")
    try:
        app(arguments)
    except SeamoError as error:
        if debug:
            raise
        typer.echo(f"error: {error}", err=True)
        sys.exit(2 if isinstance(error, UsageError | RecipeError) else 1)


if __name__ == "__main__":
    main()
