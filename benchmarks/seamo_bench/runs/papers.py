"""Papers of a results repository: the backbone cards and the protocols that its records name, as files.

A card is canonical JSON whose sha256 is the digest in the record's facts. Whoever has the file can hold a record
against it without the network, the weights, or the version of seamo that made it.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from seamo.errors import ProtocolError, SeamoError
from seamo.identity import canonical_json
from seamo.seal import parse_json
from seamo_bench.card import BackboneCard, owner_of
from seamo_bench.facts import Scalar, Value
from seamo_bench.predictions import Kind
from seamo_bench.protocol import Protocol
from seamo_bench.protocols import find_protocol, protocols
from seamo_bench.records.layout import CARDS, PROTOCOLS
from seamo_bench.records.record import Record
from seamo_bench.runs.notes import told_of
from seamo_bench.zoo.catalogue import budget_card, card_digest, card_document, cards, find_card

Paper = TypeVar("Paper", bound=BaseModel)
_OURS = "Update seamo in requirements.txt, or let a maintainer add it."


class ProtocolPaper(Value):
    """What a protocol is, without the code that runs it: fields of `seamo_bench.protocol.Protocol`."""

    id: str
    version: int
    title: str
    tasks: tuple[Kind, ...]
    needs: str
    defaults: dict[str, Scalar | tuple[Scalar, ...]]
    demo: dict[str, Scalar | tuple[Scalar, ...]] = Field(default_factory=dict)
    num_seeds: int = 1
    cross_validation: bool = False
    dates: int = 1
    tolerance: float = Field(ge=0, le=1)


class _Read(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class CardWeights(_Read):
    """What a card's paper says of its weights."""

    sha256: str = ""


class CardPaper(_Read):
    """What is read of a card's paper: fields of `seamo_bench.card.BackboneCard`."""

    id: str
    family: str
    title: str
    weights: CardWeights | None = None
    pretrained_on: tuple[str, ...] = ()
    variant: tuple[tuple[str, Any], ...] = ()

    def told(self) -> dict[str, Any]:
        """What records say of the backbone beside their facts (`seamo_bench.runs.notes.told_of`)."""
        return told_of(self.title, self.family, dict(self.variant))


def card_name(digest: str) -> str:
    """Where a card lies in a results repository."""
    return f"{CARDS}/{digest}.json"


def protocol_name(protocol_id: str, version: int) -> str:
    """Where a protocol lies in a results repository."""
    return f"{PROTOCOLS}/{protocol_id}-{version}.json"


def protocol_paper(protocol: Protocol) -> ProtocolPaper:
    """The paper of a protocol of this package."""
    return ProtocolPaper(**{name: getattr(protocol, name) for name in ProtocolPaper.model_fields})


def all_protocols() -> dict[str, bytes]:
    """The papers of every protocol that is installed, by name (this loads torch)."""
    papers = [protocol_paper(find_protocol(name)) for name in protocols()]
    return {protocol_name(one.id, one.version): _bytes(one) for one in papers}


def _bytes(paper: ProtocolPaper) -> bytes:
    return canonical_json(paper.model_dump(mode="json"))


def papers_of(record: Record, own: Mapping[str, BackboneCard]) -> Mapping[str, bytes]:
    """The papers that belong beside a record, by name; without torch that of its protocol is left out.

    Args:
        record: To hand in.
        own: Cards of runs of one's own, by their digest.

    Raises:
        ProtocolError: If its card is not known here.
    """
    facts = record.facts
    try:
        wanted = facts.backbone.card
        card = own[wanted] if wanted in own else budget_card(find_card(facts.backbone.id), facts.budget)
    except SeamoError as error:
        card, reason = None, f": {error.what}"
    if card is None or card_digest(card) != facts.backbone.card:
        reason = reason if card is None else ""
        raise ProtocolError(
            f"its card is missing, and a referee asks for it{reason}",
            where=facts.backbone.id,
            fix="Name the run or the backbone with --backbones, with the version of seamo that it ran with.",
        )
    papers = {card_name(facts.backbone.card): canonical_json(card_document(card))}
    with suppress(ImportError, SeamoError):  # a referee says so where it is not there already
        protocol = protocol_paper(find_protocol(facts.protocol.id))
        papers[protocol_name(protocol.id, protocol.version)] = _bytes(protocol)
    return papers


def own_cards(names: Sequence[str]) -> dict[str, BackboneCard]:
    """Cards of backbones that are named, in every budget, by their digest.

    Raises:
        UsageError: If one is not known.
    """
    found = [budget_card(find_card(name), budget) for name in names for budget in ("full", "demo")]
    return {card_digest(card): card for card in found}


def read_card(data: bytes, name: str) -> CardPaper:
    """A card's paper.

    Raises:
        ProtocolError: If it is none.
    """
    return _parsed(CardPaper, data, name)


def read_protocol(data: bytes, name: str) -> ProtocolPaper:
    """A protocol's paper.

    Raises:
        ProtocolError: If it is none, or has another name.
    """
    paper = _parsed(ProtocolPaper, data, name)
    if protocol_name(paper.id, paper.version) != name:
        raise ProtocolError(f"is {paper.id} of version {paper.version}, which is not its name", name)
    return paper


def stranger(paper: CardPaper | ProtocolPaper, data: bytes) -> str:
    """Why a paper may not be brought along with records; empty if it may.

    What this package has must be as it has it; a card of somebody's own run must not bear the title of another one.

    Args:
        paper: Read from `data`.
        data: All bytes of the file.
    """
    if isinstance(paper, ProtocolPaper):
        try:
            known = protocol_paper(find_protocol(paper.id))
        except SeamoError as error:
            return f"{error.what}. {_OURS}"
        except ImportError:  # protocols need torch, and a check of pull requests has none
            return "cannot be held against the package here: a maintainer adds it (`seamo-bench referee --init`)"
        return (
            ""
            if _bytes(known) == data
            else f"is not protocol {known.id} of version {known.version} as it is here. {_OURS}"
        )
    if owner_of(paper.id) not in cards():
        theirs = [name for name, found in cards().items() if found.card.title == paper.title]
        return f"calls backbone {paper.id} {paper.title}, as {theirs[0]} is called" if theirs else ""
    try:
        listed = find_card(paper.id)
        ours = [canonical_json(card_document(budget_card(listed, budget))) for budget in ("full", "demo")]
    except SeamoError as error:
        return f"{error.what}. {_OURS}"
    return "" if data in ours else f"is not the card of backbone {paper.id} as it is listed here. {_OURS}"


def _parsed(kind: type[Paper], data: bytes, name: str) -> Paper:
    parse_json(data, name, error=ProtocolError, fix="")
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ProtocolError(f"is not what lies there ({place}: {first['msg']})", name) from error
