"""YAML that a person wrote, read strictly: one mapping in UTF-8, of limited size and depth, every key once."""

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from seamo.errors import SeamoError

_LARGEST = 8 * 2**20  # bytes; the shipped manifest has a hundredth of that
_DEEPEST = 50
_NODES = 200_000  # aliases unfolded: a few hundred bytes of nested aliases stand for billions
_CORE = {"!", *(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "seq", "map"))}
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]")


class TextFault(NamedTuple):
    """Why bytes are no text.

    Args:
        line: Counted from 1; 0 where lines cannot be counted.
        what: Is wrong, as a sentence without a full stop.
    """

    line: int
    what: str


def read_mapping(path: Path, *, error: type[SeamoError], fix: str = "") -> dict[Any, Any]:
    """The one mapping of a YAML file.

    Args:
        path: The file.
        error: What is raised.
        fix: What to do about a file of this kind that is wrong.

    Raises:
        SeamoError: Of the class `error`, with file and line: if it cannot be read, is too large, is no UTF-8 (says what
            it looks like), is no YAML, is nested too deep, unfolds to too much, gives a key twice, holds a tag of
            another language, several documents, or something else than a mapping.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError as cause:
        raise error(f"cannot be read ({cause.strerror})", str(path), fix) from cause
    return parse_mapping(data, str(path), error=error, fix=fix)


def parse_mapping(data: bytes, where: str, *, error: type[SeamoError], fix: str = "") -> dict[Any, Any]:
    """The one mapping of the bytes of a YAML file; see `read_mapping`."""
    if len(data) > _LARGEST:
        raise error(f"has more than {_LARGEST:,} bytes, which no such file has", where, fix)
    text = decode_text(data)
    if isinstance(text, TextFault):
        raise error(text.what, _at(where, text.line), fix or "Save it as UTF-8.")
    document = parse_yaml(text, where, error=error, fix=fix)
    if document is None:
        raise error("is empty", where, fix)
    if not isinstance(document, dict):
        raise error("is not a mapping of keys to values", where, fix)
    return document


def parse_yaml(text: str, where: str, *, error: type[SeamoError], fix: str = "") -> Any:
    """The value that a YAML text says; see `read_mapping`.

    Example:
        >>> from seamo.errors import RecipeError
        >>> parse_yaml("[1, 0.5, two]", "--set a", error=RecipeError)
        [1, 0.5, 'two']
    """
    try:
        _check_shape(text)
        return yaml.load(text, Loader=_Strict)  # noqa: S506 - a safe loader
    except _Refused as cause:
        raise error(cause.args[1], _at(where, cause.args[0]), fix) from cause
    except yaml.MarkedYAMLError as cause:
        mark = cause.problem_mark or cause.context_mark
        line = mark.line + 1 if mark else 0
        said = "; ".join(part for part in (cause.context, cause.problem) if part)
        if line and any(one.lstrip(" ").startswith("\t") for one in text.splitlines()[line - 1 : line]):
            said = "a tab indents the line, where YAML takes spaces alone"
        raise error(f"is not YAML ({said})", _at(where, line), fix) from cause
    except yaml.YAMLError as cause:
        raise error(f"is not YAML ({cause})", where, fix) from cause


def decode_text(data: bytes) -> str | TextFault:
    r"""UTF-8 text without its byte order mark, or why it is none.

    Example:
        >>> decode_text("name: M\u00fcnchen".encode("cp1252"))
        TextFault(line=1, what='is not UTF-8; it looks like Windows-1252 or ISO 8859-1')
    """
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or (len(data) > 3 and b"\0" in (data[:1], data[1:2])):
        return TextFault(0, "is not UTF-8; it looks like UTF-16")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        return TextFault(data.count(b"\n", 0, cause.start) + 1, f"is not UTF-8; it looks like {_looks_like(data)}")
    control = _CONTROL.search(text)
    if control:
        name = f"U+{ord(control[0]):04X}"
        return TextFault(text.count("\n", 0, control.start()) + 1, f"holds the control character {name}")
    return text


def _looks_like(data: bytes) -> str:
    if re.search(rb"[\x00-\x08\x0e-\x1f]", data):
        return "no text at all"
    if sum(byte >= 0x80 for byte in data) > len(data) // 5:  # more than a western text has accents
        return "an encoding of another script (Windows-1251, GB 18030, Shift JIS, ...)"
    return "Windows-1252 or ISO 8859-1"


def _at(where: str, line: int) -> str:
    return f"{where}, line {line}" if line else where


class _Refused(Exception):  # noqa: N818 - carries (line, what) to the one place that raises
    """YAML that we do not take."""


def _check_shape(text: str) -> None:
    """Walk over the events, which needs neither recursion nor memory, before anything is built.

    Raises:
        _Refused: With line and reason.
        yaml.YAMLError: If it is no YAML.
    """
    documents = nodes = 0
    stands_for: dict[str, int] = {}  # anchor -> nodes, unfolded
    opened: list[tuple[str | None, int]] = []
    for event in yaml.parse(text, Loader=_Strict):
        refused = ""
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in stands_for:
                refused = f"alias *{event.anchor} has no anchor before it"
            nodes += stands_for.get(event.anchor or "", 0)
        elif isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent):
            nodes += 1
            if event.tag is not None and event.tag not in _CORE:
                refused = f"tag {event.tag} is not taken"
            if isinstance(event, yaml.CollectionStartEvent):
                opened.append((event.anchor, nodes - 1))
                if len(opened) > _DEEPEST:
                    refused = f"is nested more than {_DEEPEST} deep"
            elif event.anchor:
                stands_for[event.anchor] = 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = opened.pop()
            if anchor:
                stands_for[anchor] = nodes - before
        elif isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                refused = "holds a second document"
        if nodes > _NODES:
            refused = f"unfolds to more than {_NODES:,} values"
        if refused:
            raise _Refused(event.start_mark.line + 1 if event.start_mark else 0, refused)


class _Strict(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Safe YAML that refuses a key given twice (plain YAML keeps the last one, silently)."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """As PyYAML does, with its ValueErrors (2026-13-01, !!int x) under their line."""
        try:
            return super().construct_object(node, deep=deep)
        except (ValueError, TypeError, AttributeError, LookupError, OverflowError) as cause:
            raise yaml.constructor.ConstructorError(None, None, str(cause), node.start_mark) from cause


def _unique_mapping(loader: Any, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":
            continue
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, Hashable):
            raise yaml.constructor.ConstructorError(None, None, "a key is no plain value", key_node.start_mark)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"key {key!r} stands twice", key_node.start_mark)
        seen.add(key)
    loader.flatten_mapping(node)  # `<<` puts what it brings before the mapping's own keys, which win
    return {
        loader.construct_object(key, deep=True): loader.construct_object(value, deep=True) for key, value in node.value
    }


_Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)
