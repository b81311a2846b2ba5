"""`seamo-bench list`."""

from typing import Annotated, Any

import typer

from seamo.errors import ProtocolError, UsageError
from seamo.options import Json
from seamo.terminal import remark, show


def list_things(
    kind: Annotated[str, typer.Argument(help="backbones | protocols | suites")], as_json: Json = False
) -> None:
    """What there is, with availability and licence."""
    if kind == "backbones":
        rows = _backbones()
    elif kind == "protocols":
        rows = _protocols()
    elif kind == "suites":
        rows = _suites()
    else:
        raise UsageError(f"cannot list {kind!r}", fix="Choose backbones, protocols or suites.")
    show(rows, json=as_json)


def _backbones() -> list[dict[str, Any]]:
    from seamo_bench.zoo.catalogue import cards

    return [
        {
            "id": card.id,
            "title": card.title,
            "family": card.family,
            "sensors": ("+" if card.joint else " | ").join(wanted.sensor for wanted in card.inputs),
            "size": card.size,
            "availability": card.availability,
            "licence": card.weights.licence if card.weights else "",
            "verified": ", ".join(card.verified) or "unverified",
        }
        for card in (listed.card for listed in cards().values())
    ]


def _protocols() -> list[dict[str, Any]]:
    from seamo_bench.protocols import find_protocol, protocols

    rows = []
    for name in protocols():
        try:
            found = find_protocol(name)
        except ProtocolError as error:  # of an outside package: the others are listed all the same
            remark(f"left out: {error}")
            continue
        rows.append({"id": name, "version": found.version, "title": found.title, "tasks": ", ".join(found.tasks)})
    return rows


def _suites() -> list[dict[str, Any]]:
    from seamo_bench.suites import suites
    from seamo_bench.suites.suite import load_suite

    return [{"id": suite.id, "title": suite.title, "rows": len(suite.rows)} for suite in map(load_suite, suites())]
