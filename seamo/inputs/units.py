"""Which units of pixels can become which, and how: everything else is refused. No torch here."""

from seamo.bands import Unit
from seamo.errors import ProtocolError

# (from, to) -> (scale, offset): value_to = value_from * scale + offset.
_OF_REFLECTANCE = {  # unit -> (scale, offset): value = reflectance * scale + offset
    Unit.REFLECTANCE: (1.0, 0.0),
    Unit.REFLECTANCE_X10000: (1e4, 0.0),
    Unit.DN: (1e4, 0.0),
    Unit.DN_PLUS_1000: (1e4, 1000.0),
}
CONVERSIONS: dict[tuple[Unit, Unit], tuple[float, float]] = {
    **{
        (have, want): (scale / own, offset - base * scale / own)
        for have, (own, base) in _OF_REFLECTANCE.items()
        for want, (scale, offset) in _OF_REFLECTANCE.items()
        if have != want
    },
    (Unit.DB_X100, Unit.DB): (0.01, 0.0),
    (Unit.DB, Unit.DB_X100): (100.0, 0.0),
}


def conversion(have: Unit, want: Unit, where: str = "") -> tuple[float, float]:
    """Scale and offset that turn values of one unit into another.

    Raises:
        ProtocolError: If the two do not say the same thing about the ground.
    """
    if not is_convertible(have, want):
        raise ProtocolError(f"unit {have.value} cannot become {want.value}", where)
    return CONVERSIONS.get((have, want), (1.0, 0.0))


def is_convertible(have: Unit, want: Unit) -> bool:
    """Whether values of one unit can be turned into another."""
    return have == want or (have, want) in CONVERSIONS
