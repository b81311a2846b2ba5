"""Every way in which a value can differ in one place, by its fields as they are: a new field is varied unasked."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import Any

from pydantic import BaseModel


def variations(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(Path of the field, the value with that field changed) of every field of dataclasses and models, tuples included.

    Raises:
        ValueError: Where nothing can be varied: an example must have no empty field, or the field would go unseen.
    """
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            for where, new in variations(getattr(value, name), f"{path}.{name}"):
                yield where, value.model_copy(update={name: new})
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            for where, new in variations(getattr(value, field.name), f"{path}.{field.name}"):
                yield where, replace(value, **{field.name: new})
    elif isinstance(value, tuple) and value:
        for position, item in enumerate(value):
            for where, new in variations(item, f"{path}[{position}]"):
                yield where, (*value[:position], new, *value[position + 1 :])
        if not isinstance(value[0], int):  # a height without a width is no value
            yield f"{path} (one less)", value[:-1]
    elif isinstance(value, Enum):
        members = list(type(value))
        yield path, members[(members.index(value) + 1) % len(members)]
    elif isinstance(value, bool):
        yield path, not value
    elif isinstance(value, int | float):
        yield path, value + 1
    elif isinstance(value, str) and value:
        yield path, value + "x"
    else:
        raise ValueError(f"{path} is {value!r} in the example: fill it in, so that it is varied too")


def field_of(path: str) -> str:
    """The last field of a path, without positions: `.inputs[0].steps[1].a[2]` -> `a`."""
    return path.split(".")[-1].partition("[")[0].partition(" ")[0]
