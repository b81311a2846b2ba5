"""What the six expectations are held against beside the records: cards, suite `core` and published numbers."""

import json
import re
from collections.abc import Sequence

from seamo.errors import UsageError
from seamo.manifest import shipped_manifest
from seamo_bench.board.expectations import Elsewhere, EvaluationPlace, Known, LicenceTerms, Scorecard
from seamo_bench.board.judging import scorecard
from seamo_bench.board.leaderboard import Table
from seamo_bench.card import BackboneCard, owner_of
from seamo_bench.facts import ProtocolFacts
from seamo_bench.paper.identity import SEAMO, is_seamo
from seamo_bench.paper.reproduce import ELSEWHERE, TABLES, is_run_again
from seamo_bench.protocols import find_protocol, protocols
from seamo_bench.records.record import Record
from seamo_bench.suites.published import load_published
from seamo_bench.suites.suite import Row, load_suite, protocol_params
from seamo_bench.zoo.catalogue import Found, budget_card, card_digest, cards, find_card

_CODE = re.compile(r"\(code: ([^)]+)\)")  # whose licence a card names that does not know that of the weights


def judged_board(table: Table) -> Scorecard:
    """The scorecard of a leaderboard by what this installation knows.

    Args:
        table: The leaderboard.
    """
    records = [record for cell in table.cells.values() for record in cell.records]
    core = tuple(dict.fromkeys(place_of(row) for row in load_suite("core").rows))
    drawing = {name: find_protocol(name).num_seeds > 1 for name in protocols()}
    return scorecard(table, Known(_terms(records), core, published_of(records), drawing))


def place_of(row: Row) -> EvaluationPlace:
    """The column that a row of a suite makes in either budget, on the store that the manifest describes.

    Args:
        row: That names a store of the manifest.
    """
    protocol = find_protocol(row.protocol)
    params = []
    for budget in ("full", "demo"):
        made = ProtocolFacts(id=protocol.id, version=1, params=dict(protocol_params(protocol, row, budget)))
        params.append((budget, json.dumps(made.model_dump(mode="json")["params"], sort_keys=True)))
    scheme = row.split or shipped_manifest()[row.datasets[0]].default_split
    return EvaluationPlace(row.store, row.protocol, row.fraction, row.asks, scheme, tuple(params))


def published_of(records: Sequence[Record]) -> tuple[Elsewhere, ...]:
    """The published numbers of the backbones of records, and which records ran them again.

    Of SeaMo's paper Tables 1 to 9: the later ones are of variants of it.

    Args:
        records: Scored or not.
    """
    whose: dict[str, list[Record]] = {}
    for record in records:
        name = SEAMO if is_seamo(record) else owner_of(record.facts.backbone.id)
        whose.setdefault(name, []).append(record)
    found = []
    for one in (*load_published(), *load_published(ELSEWHERE)):
        mine = whose.get(one.backbone, [])
        if mine and one.table in (*TABLES, ELSEWHERE) and one.fraction is not None and one.value is not None:
            again = frozenset(record.key for record in mine if is_run_again(one, record))
            found.append(Elsewhere(one.id, frozenset(record.key for record in mine), again))
    return tuple(found)


def _terms(records: Sequence[Record]) -> dict[str, LicenceTerms]:
    listed = cards()
    found: dict[str, LicenceTerms] = {}
    for record in records:
        name = record.facts.backbone.id
        owner = listed.get(owner_of(name))
        if owner is not None and found.get(name) != LicenceTerms("", "changed"):
            found[name] = terms_of(owner.card) if _is_listed(record, owner) else LicenceTerms("", "changed")
    return found


def _is_listed(record: Record, owner: Found) -> bool:
    """Whether a run had the weights that are listed: by their published hash, else by the whole card."""
    facts = record.facts
    weights = owner.card.weights
    if weights is not None and weights.sha256 and facts.backbone.weights:
        return facts.backbone.weights.startswith(weights.sha256)
    try:
        card = budget_card(find_card(facts.backbone.id), facts.budget)
    except UsageError:  # a quirk that there is none of
        return False
    return card_digest(card) == facts.backbone.card and (weights is not None or not facts.backbone.weights)


def terms_of(card: BackboneCard) -> LicenceTerms:
    """What a card says of the licence of its weights.

    Args:
        card: Of a listed backbone.
    """
    if card.availability == "none needed":
        return LicenceTerms("", "nothing")
    if card.weights is None:
        return LicenceTerms("", "unknown")
    licence = card.weights.licence
    if licence.startswith("none stated"):
        return LicenceTerms("", "weights")
    if licence.startswith("unknown"):
        code = _CODE.search(licence)
        return LicenceTerms(code[1], "code") if code else LicenceTerms("", "unknown")
    return LicenceTerms(licence, "code" if licence.endswith("(repository)") else "weights")
