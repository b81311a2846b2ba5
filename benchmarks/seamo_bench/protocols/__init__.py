"""The protocols, one module each: found by listing this folder and entry points, imported when one is asked for."""

import importlib
from typing import Any

import seamo_bench.protocols
from seamo.discovery import outside_modules, own_modules, unknown
from seamo.errors import ProtocolError
from seamo_bench.protocol import Protocol


def protocols() -> dict[str, str]:
    """Protocol id -> module. Ids are module names with `-` for `_`; nothing is imported."""
    modules = [*own_modules(seamo_bench.protocols), *outside_modules("seamo.protocols")]
    return {module.rsplit(".", 1)[-1].replace("_", "-"): module for module in modules}


def find_protocol(protocol_id: str) -> Protocol:
    """What a protocol is.

    Raises:
        UsageError: If there is none of that id; names the nearest.
        ProtocolError: If its module cannot be imported, or is not what it is called.
    """
    known = protocols()
    if protocol_id not in known:
        raise unknown("protocol", protocol_id, list(known))
    module = known[protocol_id]
    try:
        found = vars(importlib.import_module(module)).get("PROTOCOL")
    except ImportError as error:
        raise ProtocolError(f"cannot be imported ({error})", module, "Repair or uninstall the package.") from error
    if not isinstance(found, Protocol):
        raise ProtocolError("declares no protocol", module, "A protocol's module needs PROTOCOL and run.")
    if found.id != protocol_id:
        own = found.id.replace("-", "_")
        fix = f"Module name and id must agree: call the module {own}.py, or the protocol {protocol_id}."
        raise ProtocolError(f"calls itself {found.id!r}", module, fix)
    return found


def runner(protocol_id: str) -> Any:
    """The `run` function of a protocol (this loads torch)."""
    return importlib.import_module(protocols()[protocol_id]).run
