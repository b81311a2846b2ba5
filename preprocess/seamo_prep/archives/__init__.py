"""One module per published archive; found by listing this folder, imported when asked for.

A module's name is the data set's id with `_` for `-` and `.`. A package elsewhere adds its own through the entry
point group `seamo.archives`: the entry point is called by the data set's id and names the module and, after a
colon, the manifest YAML that lies beside the module:

    [project.entry-points."seamo.archives"]
    my-lakes = "my_package.my_lakes:my_lakes.yaml"
"""

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec as find_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Protocol, cast

from seamo.discovery import did_you_mean
from seamo.errors import ManifestError, UsageError
from seamo.manifest import DatasetSpec, load_manifest, shipped_manifest

if TYPE_CHECKING:
    import pandas as pd

    from seamo.sample import Sample
    from seamo.testing.world import World
    from seamo_prep.unpack import Raw

GROUP = "seamo.archives"


class Archive(Protocol):
    """What every module here offers."""

    def index(self, raw: "Raw", spec: DatasetSpec) -> "pd.DataFrame":
        """One row a sample, sorted by key, without reading a pixel.

        Columns: `key`; where known `scene`, `y0`, `x0`, `height`, `width`, `split` (only for schemes that the
        archive itself carries), `label`, `country` (as it names it); columns that start with `_` are what `read` needs.
        `frame.attrs["ledger"]` lists (name, reason) of what was left out, or taken otherwise than it was published;
        `frame.attrs["subset"]`, where there is one, says what the archive's own lists miss (`2 of 24 cities`).
        """

    def read(self, raw: "Raw", rows: "pd.DataFrame", spec: DatasetSpec) -> Iterator["Sample"]:
        """The samples of some rows, in their order. Pure: runs in several threads at once, and on other machines."""

    def demo(self, raw: Path, world: "World", size: str) -> None:
        """Write a small synthetic archive into the folder `raw` (RAW/<id> of the CLI); size: tiny | small.

        The layout, names, dtypes and the nodata rule are the published ones; `SYNTHETIC.json` declares it.
        """


def archive_ids() -> tuple[str, ...]:
    """Ids of the data sets that can be built, sorted: those of the manifest with a module, and entry points."""
    own = {one.name for one in iter_modules(__path__)}
    return tuple(sorted({one for one in shipped_manifest() if _module_name(one) in own} | set(_outside())))


def load_archive(dataset_id: str) -> Archive:
    """Import the module of one data set.

    Raises:
        UsageError: If there is none.
    """
    outside = _outside().get(dataset_id)
    if outside is not None:
        return cast(Archive, import_module(outside.module))
    check_id(dataset_id)
    return cast(Archive, import_module(f"{__name__}.{_module_name(dataset_id)}"))


def known_specs() -> Mapping[str, DatasetSpec]:
    """The manifest, and the entries that entry points bring along.

    Raises:
        ManifestError: If an entry point's YAML is not there or does not describe its data set.
    """
    specs = dict(shipped_manifest())
    for dataset_id, entry in _outside().items():
        path = _beside_module(entry)
        found = load_manifest(path)
        if dataset_id not in found:
            raise ManifestError(f"has no entry {dataset_id!r}", str(path), "Name the entry as the entry point.")
        specs[dataset_id] = found[dataset_id]
    return specs


def find_spec(dataset_id: str) -> DatasetSpec:
    """The manifest's entry of a data set, whether anything here reads it or not.

    Raises:
        UsageError: If there is none.
    """
    specs = known_specs()
    if dataset_id not in specs:
        raise _no_dataset(dataset_id, tuple(specs))
    return specs[dataset_id]


def check_id(dataset_id: str) -> None:
    """Refuse an id of which there is no module; nothing of it is imported.

    Raises:
        UsageError: If so.
    """
    known = (*archive_ids(), "folder")
    if dataset_id not in known:
        raise _no_dataset(dataset_id, known)


def _no_dataset(dataset_id: str, known: Sequence[str]) -> UsageError:
    fix = f"Known: {', '.join(known)}. {did_you_mean(dataset_id, known)}"
    return UsageError(f"no data set {dataset_id!r}", fix=fix.rstrip())


def sized_spec(archive: Archive, raw: "Raw", rows: "pd.DataFrame", *, spec: DatasetSpec) -> DatasetSpec:
    """The spec with the sizes that this archive really has, where they may differ from the manifest's.

    They may where `SYNTHETIC.json` declares them, and with `--relax shape`, which takes them from the first
    sample; every other sample must then agree, unless the index says that sizes differ.
    """
    if raw.synthetic is not None:
        sizes = {key: (int(h), int(w)) for key, (h, w) in raw.synthetic.get("sizes", {}).items()}
        own = {layer.id for layer in spec.layers}
        spec = spec.with_sizes({key: size for key, size in sizes.items() if key in own})
    if "shape" not in raw.relax or rows.empty:
        return spec
    open_spec = spec.model_copy(update={"layers": tuple(one.model_copy(update={"size": None}) for one in spec.layers)})
    if {"height", "width"} <= set(rows.columns) and len(rows[["height", "width"]].drop_duplicates()) > 1:
        return open_spec
    first = next(iter(archive.read(raw, rows.iloc[:1], open_spec)))
    return spec.with_sizes({key: (pixels.shape[2], pixels.shape[3]) for key, pixels in first.layers.items()})


def _module_name(dataset_id: str) -> str:
    return dataset_id.replace("-", "_").replace(".", "_")


def _outside() -> dict[str, EntryPoint]:
    return {one.name: one for one in entry_points(group=GROUP)}


def _beside_module(entry: EntryPoint) -> Path:
    found = find_module(entry.module)
    if found is None or found.origin is None or not entry.attr:
        raise ManifestError("names no module with a YAML beside it", f"entry point {entry.name} = {entry.value}",
                            "Write it as module:file.yaml.")  # fmt: skip
    return Path(found.origin).parent / entry.attr
