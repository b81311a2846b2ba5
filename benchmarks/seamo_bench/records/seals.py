"""The bytes of a record, and the two seals in them: over what it says of the run, and of the machine."""

import json
from collections.abc import Mapping
from typing import Any

from seamo.identity import digest

SEAL = "seal"
LAID_OUT = b'{\n "'  # how a record begins that nobody laid out anew
SUBMITTER = "submitter"  # in the environment: who handed a record in
_NOT_SEALED = ("predictions", "cost", "environment", SEAL)


def record_bytes(document: Mapping[str, Any]) -> bytes:
    """The bytes of a record's JSON document."""
    return (json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n").encode("utf-8")


def run_seal(document: Mapping[str, Any]) -> str:
    """Digest of what a record's JSON document says of the run; predictions and facts have digests of their own."""
    return digest({name: value for name, value in document.items() if name not in _NOT_SEALED})


def machine_seal(document: Mapping[str, Any]) -> str:
    """Digest of `cost` and `environment` of a record's JSON document, the seal itself left out."""
    told = {name: value for name, value in document["environment"].items() if name != SEAL}
    return digest({"cost": document["cost"], "environment": told})


def handed_in(data: bytes, submitter: str) -> bytes:
    """A record's bytes with the name of who hands it in; as they are without a name, or where they have one.

    Its seal over the machine is made anew where it fits; where cost or environment were changed, that stays to be seen.

    Args:
        data: Of a record that was read.
        submitter: Empty for nobody's name.
    """
    document = json.loads(data)
    around = document.get("environment", {})
    if not submitter or around.get(SUBMITTER):
        return data
    machine = {"cost": document.get("cost", {}), "environment": around}
    fits = around.get(SEAL) == machine_seal(machine)
    around[SUBMITTER] = submitter
    if fits:
        around[SEAL] = machine_seal(machine)
    return record_bytes({**document, "environment": around})
