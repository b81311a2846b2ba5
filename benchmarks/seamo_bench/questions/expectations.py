"""What the six expectations are held against beside the records: cards, suite `core` and published numbers."""

from seamo_bench.board.expectations import Elsewhere, Known, Place, Scorecard, Terms
from seamo_bench.board.judging import scorecard
from seamo_bench.board.leaderboard import Table
from seamo_bench.card import BackboneCard, owner_of
from seamo_bench.protocols import find_protocol, protocols
from seamo_bench.suites.published import load_published
from seamo_bench.suites.suite import load_suite
from seamo_bench.zoo.catalogue import cards

UNSTATED = ("none stated", "unknown")  # how a card begins that names no licence of weights


def judged_board(table: Table) -> Scorecard:
    """The scorecard of a leaderboard by what this installation knows.

    Args:
        table: The leaderboard.
    """
    ids = {record.facts.backbone.id for cell in table.cells.values() for record in cell.records}
    listed = cards()
    terms = {name: terms_of(listed[owner_of(name)].card) for name in sorted(ids) if owner_of(name) in listed}
    core = tuple(
        dict.fromkeys(Place(row.store, row.protocol, row.fraction, row.inputs) for row in load_suite("core").rows)
    )
    published = tuple(
        Elsewhere(one.id, one.backbone, Place(one.dataset, one.protocol, one.fraction, one.inputs))
        for name in ("seamo", "elsewhere")
        for one in load_published(name)
        if one.backbone and one.fraction is not None and one.value is not None
    )
    drawing = frozenset(name for name in protocols() if find_protocol(name).num_seeds > 1)
    return scorecard(table, Known(terms, core, published, drawing))


def terms_of(card: BackboneCard) -> Terms:
    """What a card says of the licence of its weights.

    Args:
        card: Of a listed backbone.
    """
    if card.availability == "none needed":
        return Terms("", "nothing")
    if card.weights is None:
        return Terms("", "unknown")
    licence = card.weights.licence
    if licence.startswith(UNSTATED):
        return Terms("", "weights")
    return Terms(licence, "code" if licence.endswith("(repository)") else "weights")
