"""`seamo-bench explain`."""

from pathlib import Path
from typing import Annotated

import typer

from seamo.errors import ProtocolError
from seamo.options import Json
from seamo.terminal import say, show


def explain(
    backbone: Annotated[str, typer.Argument(help="Card id, or a SeaMo run.")],
    store: Annotated[Path, typer.Argument(help="A store.")],
    missing: Annotated[str, typer.Option(help="Missing-band policy; default: the card's, then what works.")] = "",
    size: Annotated[int, typer.Option(help="Image size; default: the card's.")] = 0,
    date: Annotated[int, typer.Option(help="Which date of every stack.")] = 0,
    as_json: Json = False,
) -> None:
    """What happens to each channel, from the store's layer, band and unit to the network's input slot."""
    from seamo_bench.zoo.catalogue import find_card

    found = find_card(backbone)  # before a store is opened

    from seamo.inputs.explain import explain as rows_of
    from seamo.inputs.statistics import store_statistics
    from seamo.store.reader import open_store
    from seamo_bench.zoo.meeting import meet

    opened = open_store(store)
    met = meet(
        found.card,
        found.family,
        opened.spec,
        missing=missing or None,  # type: ignore[arg-type]
        statistics=store_statistics(opened),
        size=size or None,
        date=date,
    )
    if (wiring := met.wiring) is None:
        raise ProtocolError(met.why, found.card.id)
    rows = rows_of(wiring, opened.spec)
    if as_json:
        show(rows, json=True)
        return
    say(f"{opened.title} -> {found.card.title}: {wiring.resampling()}; missing bands: {wiring.missing}\n")
    if met.refused:
        (_, first), *others = met.refused
        told = [f"  not by {way}: {reason}" for way, reason in others if reason != first]
        how = f"Not as it was made to be: {first}. By {wiring.way} instead, a row of its own kind."
        say("\n".join([how, *told, ""]))
    every = [column for column in rows[0] if len(rows) > 1 and len({row[column] for row in rows}) == 1]
    show([{column: row[column] for column in row if column not in every} for row in rows], json=False)
    told = [f"{column} {rows[0][column]}" for column in every if rows[0][column] != ""]
    say(f"\nEvery channel: {'; '.join(told)}" if told else "")
