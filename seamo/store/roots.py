"""`catalog.json`: what a root holds, and which store of a data set is meant. The one file of a root that changes.

It is sealed, and changed by compare-and-swap alone: of two who change it at once neither change is lost. Stores work
without it, and `seamo-prep ls ROOT --rebuild` makes it anew from their store.json.
"""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from seamo.addresses import disk_path, join, last_name, parent
from seamo.errors import StoreError
from seamo.files import open_files
from seamo.licences import check_redistribution
from seamo.manifest import DatasetSpec, Redistribution
from seamo.seal import open_document, seal_document
from seamo.store import format as fmt

NAME = "catalog.json"
_STORE = re.compile(rf"[a-z0-9][a-z0-9.-]*/[0-9a-f]{{8}}(/{fmt.VIEWS_NAME}/[0-9a-f]{{8}})?")
_FIX = "`seamo-prep ls ROOT --rebuild` makes it anew from the stores."


class Listed(BaseModel):
    """One store or view, as the catalogue has it.

    Args:
        title: As tables show it.
        samples, layout, splits: Of it.
        bytes: Of all its files; a view's are not its store's.
        created: UTC, ISO 8601.
        content, pixels: Its hashes.
        who: Published it (`SEAMO_WHO`); empty by default.
        refers: Names of the stores that it cannot be read without: a view's, the one that it is of.
        licence, attribution, redistribution: Of its data set; `unknown` of what was entered before they were stated.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    samples: int
    layout: str
    splits: str
    bytes: int
    created: str
    content: str
    pixels: str
    who: str = ""
    refers: tuple[str, ...] = ()
    licence: str = ""
    attribution: str = ""
    redistribution: Redistribution = "unknown"


class Catalogue(BaseModel):
    """What `catalog.json` says.

    Args:
        format: Version of it.
        stores: `<id>/<build8>` or `<id>/<build8>/views/<view8>` -> the store.
        latest: Data set id -> which of its stores is meant where none is named: what follows `<id>/`.
        public: Whether everybody can read the root: then it takes only what may be redistributed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["seamo-catalog/1"] = "seamo-catalog/1"
    stores: Mapping[str, Listed] = Field(default_factory=dict)
    latest: Mapping[str, str] = Field(default_factory=dict)
    public: bool = False

    @field_validator("stores")
    @classmethod
    def _are_names(cls, stores: Mapping[str, Listed]) -> Mapping[str, Listed]:
        for name in stores:
            if not is_store_name(name):
                raise ValueError(f"{name!r} is no name of a store")
        return stores

    @field_validator("latest")
    @classmethod
    def _are_stores(cls, latest: Mapping[str, str]) -> Mapping[str, str]:
        for dataset, build in latest.items():
            if not is_store_name(f"{dataset}/{build}"):
                raise ValueError(f"{dataset}/{build} is no name of a store")
        return latest

    def who_refers(self, name: str) -> list[str]:
        """What keeps a store from being removed: the stores that refer to it, and `latest`."""
        found = [other for other, one in sorted(self.stores.items()) if name in one.refers]
        dataset, _, build = name.partition("/")
        return [*found, *(["latest"] if self.latest.get(dataset) == build else [])]


def is_store_name(name: str) -> bool:
    """Whether this is a whole name: `<id>/<build8>`, or `<id>/<build8>/views/<view8>`."""
    return _STORE.fullmatch(name) is not None


def who() -> str:
    """Who publishes: what the environment says by `SEAMO_WHO`, and nothing else."""
    return os.environ.get("SEAMO_WHO", "").strip()[:200]


def read_catalogue(root: str | Path) -> Catalogue | None:
    """The catalogue of a root; None where there is none.

    Raises:
        StoreError: If it is damaged.
    """
    files = open_files(root)
    data = files.find(NAME)
    return None if data is None else _parse(data, files.where(NAME))


def probe(root: str | Path) -> None:
    """Try whether a bucket's server honours conditions, before anything is written there.

    Raises:
        StoreError: If it does not.
    """
    if disk_path(root) is None:
        open_files(root).probe()


def change_catalogue(root: str | Path, change: Callable[[Catalogue | None], Catalogue], *, anew: bool = False) -> None:
    """Change the catalogue by compare-and-swap.

    Args:
        root: Folder of stores.
        change: The catalogue that is there, None for none -> the one that is wanted. Called again whenever somebody
            else was faster.
        anew: A damaged catalogue counts as none; else it is an error.

    Raises:
        StoreError: If it is damaged or cannot be written; and what `change` raises.
    """
    files = open_files(root)

    def swapped(data: bytes | None) -> bytes:
        try:
            there = None if data is None else _parse(data, files.where(NAME))
        except StoreError:
            if not anew:
                raise
            there = None
        return seal_document(change(there).model_dump(mode="json"))

    files.swap(NAME, swapped)


def dataset_ids(root: str | Path) -> set[str]:
    """The data sets that have a folder below a root; elsewhere than on a disk, a store in its catalogue, if it has one.

    Args:
        root: Address of a folder of stores.
    """
    catalogue = read_catalogue(root) if disk_path(root) is None else None
    if catalogue is None:
        return set(open_files(root).folders())
    return {name.partition("/")[0] for name in catalogue.stores}


def store_urls(dataset: str | Path) -> list[str]:
    """The published stores below `<root>/<dataset-id>`, each followed by its views.

    Args:
        dataset: The address; not there = none. Elsewhere than on a disk the root's catalogue says them; where it has
            none, folders are listed.
    """
    name = last_name(dataset)
    catalogue = read_catalogue(parent(dataset)) if name and disk_path(dataset) is None else None
    if catalogue is not None:
        return [join(dataset, one[len(name) + 1 :]) for one in sorted(catalogue.stores) if one.startswith(f"{name}/")]
    files = open_files(dataset)
    found = []
    for build in files.folders():
        if not build.startswith(".") and files.exists(f"{build}/{fmt.META_NAME}"):
            views = f"{build}/{fmt.VIEWS_NAME}"
            names = [build, *(f"{views}/{view}" for view in files.folders(views) if not view.startswith("."))]
            found += [files.where(name) for name in names if files.exists(f"{name}/{fmt.META_NAME}")]
    return found


def latest_of(dataset: str | Path) -> str:
    """Which store of a data set is meant where none is named; empty if the root's catalogue does not say.

    Args:
        dataset: `<root>/<dataset-id>`.
    """
    found = read_catalogue(parent(dataset))
    return "" if found is None else found.latest.get(last_name(dataset), "")


def name_latest(root: str | Path, name: str) -> None:
    """Say which store of a data set is meant where none is named.

    Args:
        root: Folder of stores.
        name: `<id>/<build8>` or a view's; `<id>` alone: none any more.

    Raises:
        StoreError: If the catalogue has no such store, or the server does not honour conditions.
    """
    probe(root)
    dataset, _, build = name.partition("/")

    def moved(there: Catalogue | None) -> Catalogue:
        there = there or Catalogue()
        if build and name not in there.stores:
            raise not_listed(there, name, str(root))
        latest = {key: one for key, one in there.latest.items() if key != dataset}
        return there.model_copy(update={"latest": latest | ({dataset: build} if build else {})})

    change_catalogue(root, moved)


def check_public(root: str | Path, spec: DatasetSpec) -> None:
    """Refuse a store for a root that is public, unless its data may be redistributed.

    Raises:
        StoreError: If it may not, it is not known, or the catalogue is damaged.
    """
    if spec.redistribution == "allowed":
        return  # anywhere, so nobody asks the root
    found = read_catalogue(root)
    if found is not None and found.public:
        check_redistribution(spec, str(root))


def mark_public(root: str | Path, *, public: bool) -> None:
    """Say whether everybody can read a root.

    Raises:
        StoreError: If it holds a store that a public root would refuse.
    """

    def marked(there: Catalogue | None) -> Catalogue:
        there = there or Catalogue()
        held = [name for name, one in sorted(there.stores.items()) if one.redistribution != "allowed"]
        if public and held:
            what = f"holds {len(held)} stores that may not be redistributed, or of which it is not known: {held[0]}"
            fix = "Remove them (`seamo-prep rm`), or look at them again: `seamo-prep ls ROOT --rebuild`."
            raise StoreError(what, str(root), fix)
        return there.model_copy(update={"public": public})

    change_catalogue(root, marked)


def not_listed(there: Catalogue, name: str, where: str) -> StoreError:
    """The error for a name that the catalogue does not have."""
    dataset = name.partition("/")[0]
    near = ", ".join(sorted(one for one in there.stores if one.partition("/")[0] == dataset))
    known = f"Of {dataset} it has {near}" if near else f"It has no store of {dataset}"
    return StoreError(f"the catalogue has no {name}", where, f"{known}; `seamo-prep ls ROOT --rebuild` looks again.")


def _parse(data: bytes, where: str) -> Catalogue:
    facts = open_document(data, where, error=StoreError, fix=_FIX)
    try:
        return Catalogue.model_validate(facts)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise StoreError(f"is no catalogue of stores ({place}: {first['msg']})", where, _FIX) from error
