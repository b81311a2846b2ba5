"""Whose a record is, by what it says of itself and never by a title."""

from seamo_bench.card import owner_of
from seamo_bench.records.record import Record
from seamo_bench.zoo.catalogue import cards

SEAMO = "seamo"


def family_of(record: Record) -> str:
    """The family of a record's backbone; empty where nobody knows it any more.

    Records of before there was the field are of the family whose card has their id. The runs that no list holds are
    SeaMo's: only its cards have ever named a group.
    """
    if record.about.family:
        return record.about.family
    listed = cards().get(owner_of(record.facts.backbone.id))
    if listed is not None:
        return listed.card.family
    return SEAMO if record.about.group else ""


def is_seamo(record: Record) -> bool:
    """Whether its backbone is a pretrained SeaMo."""
    return family_of(record) == SEAMO and not record.about.floor
