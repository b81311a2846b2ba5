"""What licences ask for: what goes along with data, what a public root takes, what a person has accepted."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypedDict

from seamo.errors import StoreError, UsageError
from seamo.identity import write_atomically
from seamo.manifest import DatasetSpec, Redistribution
from seamo.seal import parse_json

ACCEPTED = "accepted-licences.json"
# Licences that data sets and weights have: identifier of https://spdx.org/licenses -> that of Hugging Face's cards
# (https://huggingface.co/docs/hub/repositories-licenses).
_SPDX_ON_HUB = {
    "Apache-2.0": "apache-2.0",
    "CC-BY-4.0": "cc-by-4.0",
    "CC-BY-NC-4.0": "cc-by-nc-4.0",
    "CC-BY-NC-SA-4.0": "cc-by-nc-sa-4.0",
    "CC-BY-SA-4.0": "cc-by-sa-4.0",
    "CC0-1.0": "cc0-1.0",
    "CDLA-Permissive-1.0": "cdla-permissive-1.0",
    "CDLA-Permissive-2.0": "cdla-permissive-2.0",
    "CDLA-Sharing-1.0": "cdla-sharing-1.0",
    "GPL-3.0-only": "gpl-3.0",
    "MIT": "mit",
    "ODbL-1.0": "odbl",
    "ODC-By-1.0": "odc-by",
    "PDDL-1.0": "pddl",
}
_WORST_FIRST: tuple[Redistribution, ...] = ("forbidden", "unknown", "allowed")


class Terms(TypedDict):
    """What is said of a data set's licence wherever something is made of it; plain, for JSON."""

    licence: str
    attribution: str
    redistribution: Redistribution


def terms_of(spec: DatasetSpec) -> Terms:
    """Licence, attribution and whether the data may be passed on.

    Example:
        >>> from seamo.manifest import shipped_manifest
        >>> terms_of(shipped_manifest()["eurosat"])["redistribution"]
        'allowed'
    """
    return {"licence": spec.licence, "attribution": spec.attribution, "redistribution": spec.redistribution}


def spdx_of(licence: str) -> str:
    """The SPDX identifier of a licence in words; empty where they do not begin with one that stands alone.

    Example:
        >>> spdx_of("MIT; contains modified Copernicus Sentinel data"), spdx_of("MIT (its card; another says GPL)")
        ('MIT', '')
    """
    first = licence.partition(";")[0].strip()
    return first if first in _SPDX_ON_HUB else ""


def hub_licence(licence: str) -> str:
    """The identifier of a licence on cards of Hugging Face; `other` where its words name none that stands alone."""
    return _SPDX_ON_HUB.get(spdx_of(licence), "other")


def joined_terms(specs: Sequence[DatasetSpec]) -> dict[str, str]:
    """The fields of a spec that stands for several: all that each one asks for, and the least that one permits."""

    def both(field: str) -> str:
        said = {spec.id: str(getattr(spec, field)) for spec in specs}
        alone = len(set(said.values())) == 1
        return said[specs[0].id] if alone else "; ".join(f"{name}: {text}" for name, text in said.items() if text)

    found = {spec.redistribution for spec in specs}
    return {
        "licence": both("licence"),
        "attribution": both("attribution"),
        "redistribution": next(one for one in _WORST_FIRST if one in found),
        "redistribution_why": both("redistribution_why"),
    }


def check_redistribution(spec: DatasetSpec, where: str) -> None:
    """Refuse data for a public place, unless its licence is known to permit that everybody gets it.

    Args:
        spec: Of the store.
        where: The public root.

    Raises:
        StoreError: If it is forbidden, or unknown.
    """
    if spec.redistribution == "allowed":
        return
    said = "may not be redistributed" if spec.redistribution == "forbidden" else "is not known to be redistributable"
    why = f"; {spec.redistribution_why}" if spec.redistribution_why else ""
    raise StoreError(
        f"is a public root, and {spec.id} {said} (licence: {spec.licence}{why})",
        where,
        "Use a root that is not public. If its owner permits it, say so beside its licence "
        "(`redistribution: allowed`) and build it again.",
    )


def accept_licence(folder: Path, licence: str, given: str, *, what: str, where: str, now: datetime | None) -> None:
    """Ask for a licence to be accepted, once for a folder, which remembers it.

    Args:
        folder: Where the files go; is there.
        licence: Its name.
        given: The name that the user gave to accept it; empty if none.
        what: Is licensed so, as a sentence without a full stop.
        where: Of what.
        now: Time of acceptance, for tests.

    Raises:
        UsageError: If it has not been accepted.
    """
    book = folder / ACCEPTED
    try:
        data = book.read_bytes() if book.is_file() else b"{}"
    except OSError as error:
        raise UsageError(f"cannot be read ({error.strerror})", str(book), "Delete it and accept again.") from error
    accepted = parse_json(data, str(book), error=UsageError, fix="Delete it and accept again.")
    if licence in accepted:
        return
    if given != licence:
        fix = f"Read it; if you accept it, repeat with --accept {licence} (once for this folder)."
        raise UsageError(what, where, fix)
    moment = (now or datetime.now(UTC)).isoformat(timespec="seconds")
    write_atomically(book, json.dumps(accepted | {licence: moment}, indent=1).encode())
