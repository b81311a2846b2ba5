"""`seamo info`."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from seamo.addresses import last_name
from seamo.cli.arguments import Device, Model
from seamo.options import Json
from seamo.terminal import say, show


def info(
    path: Model,
    as_json: Json = False,
    store: Annotated[
        str, typer.Option("--store", help="Also measure how the features depend on the season.", metavar="STORE")
    ] = "",
    split: Annotated[str, typer.Option("--split", help="Of that store.")] = "all",
    sensor: Annotated[str, typer.Option("--sensor", help="Of the model; all that the store has without it.")] = "",
    places: Annotated[int, typer.Option("--places", min=2, help="At most so many, drawn at random.")] = 2000,
    device: Device = "",
    curves: Annotated[
        Path | None,
        typer.Option("--curves", help="Also draw the run's loss among its yardsticks.", metavar="FILE.png"),
    ] = None,
) -> None:
    """Say what a run or a model is and has learnt, and with --store how far its features depend on the season."""
    from seamo.pretrain.places import check_model

    check_model(path)

    from seamo.pretrain.describe import describe

    facts, seasons = describe(path), list[str]()
    if curves is not None:
        from seamo.pretrain.figures_curves import draw_curves

        draw_curves(path, curves)
        facts["curves"] = str(curves)
    if store:
        from seamo.store.reader import open_store
        from seamo.use.diagnose import diagnose, in_words
        from seamo.use.inputs import load_pretrained
        from seamo.use.pooled import Reading

        reading = Reading(sensors=(sensor,) if sensor else (), split=split)
        pretrained = load_pretrained(path, device=device)
        measured = diagnose(pretrained, open_store(store), reading, places=places, progress=sys.stderr)
        seasons = [f"seasons of {measured[0]['store']}", *in_words(measured)]
        if as_json:
            facts["seasons"] = {row.pop("id"): row for row in measured}
    if as_json:
        show([{"id": last_name(path), **facts}], json=True)
        return
    for name, value in _flat(facts):
        say(f"{name:34} {_short(value)}")
    for line in seasons:
        say(line)


def _flat(facts: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    lines: list[tuple[str, Any]] = []
    for name, value in facts.items():
        inside = isinstance(value, dict)
        lines += _flat(value, f"{prefix}{name}.") if inside else [(f"{prefix}{name}", value)]
    return lines


def _short(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return " ".join(_short(item) for item in value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)
