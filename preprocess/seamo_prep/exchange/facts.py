"""What both forms say of a store: which stores are meant, where they are, licence, description."""

from dataclasses import dataclass
from pathlib import Path

from seamo.addresses import disk_path, join, last_name
from seamo.errors import UsageError
from seamo.files import open_files
from seamo.manifest import LayerSpec
from seamo.store.catalog import list_stores
from seamo.store.format import META_NAME, VIEWS_NAME
from seamo.store.keeping import is_gone
from seamo.store.packing import MISSING, stored_dtype
from seamo.store.reader import Store, open_store
from seamo.store.roots import read_catalogue


@dataclass(frozen=True, slots=True)
class StoredNumbers:
    """What the numbers of a layer are on the disk, which is not what readers of ours give where it is packed.

    Args:
        dtype: Of the array, or of the member of a tar.
        missing: The number where nothing was measured; None where no number says it.
        scale, offset: stored * scale + offset is in the layer's unit; None where it is stored as it is.
    """

    dtype: str
    missing: int | str | None
    scale: float | None
    offset: float | None


def stored_numbers(store: Store, layer: LayerSpec) -> StoredNumbers:
    """What another reader finds of a layer."""
    how = store.meta.arrays[layer.id]
    missing = layer.fill if how.scale is None else MISSING
    return StoredNumbers(stored_dtype(layer, how.scale).name, missing, how.scale, how.offset)


def stores_at(place: str | Path) -> list[Store]:
    """The published stores at an address, by name: one store, or all of a root without its views, which hold no pixels.

    Args:
        place: A store, `ROOT/ID`, or a folder of stores. Elsewhere than on a disk a root needs a catalogue.

    Raises:
        StoreError: If there is none.
    """
    if last_name(place) == META_NAME or open_files(place).exists(META_NAME):
        return [open_store(place)]
    catalogue = read_catalogue(place)
    if catalogue is not None:
        names = [name for name in sorted(catalogue.stores) if name.count("/") == 1 and not is_gone(place, name)]
        found = [join(place, name) for name in names]
    else:
        path = disk_path(place)
        entries = list_stores(path) if path is not None and path.is_dir() else []
        found = sorted(str(one.path) for one in entries if one.state == "published" and "/" not in one.build)
    return [Store(one) for one in found] if found else [open_store(place)]


def one_store_at(place: str | Path) -> Store:
    """The one store at an address.

    Raises:
        StoreError: If there is none.
        UsageError: If there are several.
    """
    found = stores_at(place)
    if len(found) > 1:
        names = ", ".join(one.url for one in found)
        raise UsageError(f"holds {len(found)} stores, and this describes one", str(place), f"Name one of {names}.")
    return found[0]


def whole_address(url: str) -> str:
    """An address that means the same from everywhere: paths from the top of the disk."""
    path = disk_path(url)
    return url if path is None else path.resolve().as_posix()


def description_of(store: Store) -> str:
    """What the store holds, in a paragraph: synthetic and subset are said."""
    meta = store.meta
    said = [store.title, meta.spec.summary]
    if meta.synthetic is not None:
        said.append("Synthetic: the pixels are made up.")
    if meta.subset:
        said.append(f"Not the whole published data set: {meta.subset}")
    if meta.counts.bad:
        said.append(f"{meta.counts.bad:,} samples could not be read; they are kept as rows without pixels.")
    if meta.spec.attribution:
        said.append(f"Attribution: {meta.spec.attribution}")
    return " ".join(f"{text.strip().rstrip('.')}." for text in said if text)


def name_of(store: Store) -> str:
    """Where a store lies below its root: `<id>/<build8>`, and of a view `<id>/<build8>/views/<view8>`."""
    meta = store.meta
    return f"{meta.id}/{meta.build}" + (f"/{VIEWS_NAME}/{meta.view}" if meta.pixels_in else "")
