"""`seamo pretrain`."""

import os
import sys
from typing import Annotated

import typer

from seamo.addresses import address_of, last_name
from seamo.cli.arguments import Device
from seamo.options import Json
from seamo.terminal import goes_on, remark, say, show

_TORCHRUN = (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))


def pretrain(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe (seamo-tiny, seamo-base, ...) or a YAML file.")],
    stores: Annotated[
        list[str],
        typer.Option("--store", help="A store: its folder or address; several are mixed.", metavar="STORE"),
    ],
    out: Annotated[str, typer.Option("--out", help="Folder of the run, or its address in a bucket.", metavar="RUN")],
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="Change the recipe: dotted.key=value.", metavar="KEY=VALUE")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the run stopped (or begin it).")] = False,
    device: Device = "",
    as_json: Json = False,
) -> None:
    """Pretrain from a store, or a mixture of several; under torchrun on several devices.

    SIGTERM and SIGUSR1 stop it after a checkpoint, with exit status 75: go on with --resume.
    """
    from seamo.pretrain.recipe import load_recipe

    resolved = load_recipe(recipe, changes or [])  # a wrong one is refused before torch is imported

    from seamo.pretrain.loop import Stopped
    from seamo.pretrain.loop import pretrain as train
    from seamo.pretrain.mixture import in_words, training_data
    from seamo.pretrain.ranks import joined
    from seamo.store.reader import open_store

    opened = [open_store(store) for store in stores]
    rank, world, local = (int(os.environ.get(name, default)) for name, default in _TORCHRUN)
    if rank == 0:
        for line in in_words(training_data(resolved, opened), resolved):
            remark(line)
    with (
        goes_on("Go on with --resume: the last checkpoint holds everything.", Stopped),
        joined(rank, world, local, device=device) as ranks,
    ):
        final = train(resolved, opened, out, resume=resume, ranks=ranks, progress=sys.stderr)
    if rank == 0:
        if as_json:
            show([{"id": last_name(out), "model": address_of(final)}], json=True)
        else:
            say(address_of(final))
