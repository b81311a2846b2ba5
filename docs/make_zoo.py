"""Writes the table of docs/zoo.md from the cards: `python docs/make_zoo.py`."""

from pathlib import Path

from seamo_bench.card import BackboneCard
from seamo_bench.zoo.catalogue import cards

PAGE = Path(__file__).with_name("zoo.md")
MARK = "## All rows\n"
HEAD = """
| Row | Title | Sensors | Size | Availability | Licence of the weights | Proved by | Switches, notes |
|---|---|---|---|---|---|---|---|
"""
BY_NAME = """\
| `timm:<id>` | any model of timm | rgb, s2, s1 | its own | weights, or none needed | as timm states | package | `@random`, `@s2`, `@s1+s2` |
| `torchgeo:<weights>` | ResNets and ViTs of torchgeo | s2, s1, rgb | its own | weights | as the enum states, if it does | unverified | extra `zoo` |
"""  # noqa: E501 (rows of a table)


def row(card: BackboneCard) -> str:
    """One line of the table."""
    weights = card.weights
    size = f"{card.size}, multiples of {card.multiple_of}" if card.any_size else f"{card.size} only"
    limited = " (not for commercial use)" if weights is not None and weights.noncommercial else ""
    by_hand = " (by hand)" if weights is not None and not weights.urls else ""
    cells = (
        f"`{card.id}`",
        card.title,
        ("+" if card.joint else ", ").join(one.sensor for one in card.inputs) or "-",
        size if card.size else "as it is",
        card.availability + by_hand,
        f"{weights.licence}{limited}" if weights is not None else "-",
        ", ".join(card.verified) or "unverified",
        card.source if card.availability == "no loader" else "; ".join(one.split(":")[0] for one in card.quirks),
    )
    return f"| {' | '.join(cells)} |\n"


def main() -> None:
    """Rewrite what follows the heading."""
    before, _, _ = PAGE.read_text(encoding="utf-8").partition(MARK)
    table = "".join(row(found.card) for found in cards().values())
    PAGE.write_text(before + MARK + HEAD + table + BY_NAME, encoding="utf-8")


if __name__ == "__main__":
    main()
