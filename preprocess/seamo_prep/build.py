"""Building a store from a published archive: index, plan, shards (`seamo_prep.engines`), publish.

What is finished stays, whatever happens to the builder; building the same thing again goes on where it stopped, and
says at once if it is published already.
"""

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seamo.addresses import address_of, disk_path, join, local_path
from seamo.disk import private_folder
from seamo.errors import ArchiveError, UsageError
from seamo.files import open_files
from seamo.identity import digest
from seamo.manifest import DatasetSpec
from seamo.store.buildplan import BuildPlan, build8, view8
from seamo.store.check import infinite_pixels
from seamo.store.format import META_NAME, Layout
from seamo.store.keeping import enter_if_missing
from seamo.store.packing import check_packed
from seamo.store.reader import Store, open_store
from seamo.store.spatial import parse_spatial
from seamo.store.splits import COMPUTED, HASH_SCHEME, SPATIAL_HOW
from seamo.store.stacks import layer_ids
from seamo.store.views import find_view
from seamo.store.writer import StoreWriter
from seamo_prep.archives import Archive, folder, known_specs, load_archive, sized_spec
from seamo_prep.engines import ArchiveSource, Engine, OnBad, Progress, Say, write_shards
from seamo_prep.fingerprint import OwnFingerprint, check_apart, kept_hashes, own_fingerprint, own_labels
from seamo_prep.physics import doubtful_values
from seamo_prep.splits import has_lists, official_lists
from seamo_prep.unpack import Raw

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Built", "Engine", "Options", "build"]


_LOOKED_AT = 16  # samples of a new store whose values are held against their unit; `verify` looks at more


@dataclass(frozen=True, slots=True)
class Options:
    """What may be chosen about a build.

    Args:
        layout: `zarr` or `webdataset`.
        layers: Layer ids to build; empty takes all.
        splits: Name of the split scheme; empty takes the data set's own where its lists are in RAW, else
            `hash-60-20-20`.
        limit: Build only the first so many samples, in key order.
        relax: What may differ from the manifest (`seamo_prep.unpack`).
        on_bad: `raise`, or `skip` to put unreadable samples into the store's ledger.
        pack: Layers or stacks of decibels to store in 16 bits (`seamo.store.packing`).
    """

    layout: Layout = "zarr"
    layers: tuple[str, ...] = ()
    splits: str = ""
    limit: int | None = None
    relax: tuple[str, ...] = ()
    on_bad: OnBad = "raise"
    pack: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Built:
    """What a build gave.

    Args:
        url: Address of the store.
        was_there: True if it was published before.
        samples: Rows; 0 if it was there.
        ledger: Number of names that were left out or could not be read; 0 if it was there.
    """

    url: str
    was_there: bool
    samples: int = 0
    ledger: int = 0

    @property
    def path(self) -> Path:
        """The store's folder; an error if it is in a bucket."""
        return local_path(self.url)


def build(
    dataset_id: str,
    *,
    raw: str | Path,
    root: str | Path,
    options: Options,
    engine: Engine,
    say: Say,
    progress: Progress,
    scratch: Path | None = None,
) -> Built:
    """Build one store, or find it built. Whoever builds the same at the same time shares the work.

    Args:
        dataset_id: Of the manifest, or `folder` for one's own imagery.
        raw: Folder or address that holds the published files.
        root: Address of a folder of stores.
        options: What to build.
        engine: Who builds it.
        say: Called with each remark that a person should read.
        progress: See `Progress`.
        scratch: For a bucket: folder with room for the shards that are at hand; None: where temporary files are.

    Raises:
        UsageError: For an unknown data set, layer or split scheme, a layer that cannot be packed, or stores inside RAW.
        ArchiveError, SampleError: With the file at fault; shards that are finished stay.
        StoreError: If the disk is full, a server does not answer or honours no conditions, another builder has put
            other pixels there, or the scheduler is lost.
    """
    with ExitStack() as stack:
        here = disk_path(root)
        kept = here or stack.enter_context(private_folder(scratch or Path(tempfile.gettempdir())))
        return _build(
            dataset_id,
            raw=raw,
            root=address_of(root),
            kept=kept,
            options=options,
            engine=engine,
            say=say,
            progress=progress,
            scratch=scratch,
        )


def _build(
    dataset_id: str,
    *,
    raw: str | Path,
    root: str,
    kept: Path,
    options: Options,
    engine: Engine,
    say: Say,
    progress: Progress,
    scratch: Path | None,
) -> Built:
    """`build`; hashes of one's own imagery are kept in a folder of this disk."""
    archive = load_archive(dataset_id)
    said = spec = _spec(dataset_id, raw, options.layers)
    packed = layer_ids(spec, options.pack)
    check_packed(spec, packed)
    files = Raw(raw, spec, options.relax)
    for line in files.ignored:
        say(f"not read: {line}")
    check_apart(root, files, spec)
    scheme = _scheme(files, spec, options, say)
    rows: pd.DataFrame | None = None
    is_own = dataset_id == "folder"
    if is_own or "shape" in options.relax:  # what is read, or its size, is known from the index alone
        rows = _index(archive, files, spec, options)
    if is_own and disk_path(raw) is None:
        say(f"every file that the table names is read twice: for its hash, if it is new, and for its pixels ({raw})")
    spec = sized_spec(archive, files, _no_rows() if rows is None else rows, spec=spec)
    own = _identity(files, rows, spec, kept) if is_own and rows is not None else None
    plan = BuildPlan(
        spec=spec,
        split_scheme=scheme,
        layout=options.layout,
        limit=options.limit,
        relax=tuple(sorted(options.relax)),
        on_bad=options.on_bad,
        archive=files.fingerprint() if own is None else own.pixels,
        labels=_labels_digest(files, spec, scheme) if own is None else own.told,
        synthetic=files.synthetic,
        pack=packed,
    )
    name = f"{spec.id}/{build8(plan)}"
    place = join(root, name)
    if open_files(place).exists(META_NAME):
        view = find_view(place, view8(plan))
        if view is not None:
            enter_if_missing(root, "/".join(one for one in (name, view) if one))
            return Built(join(place, view), was_there=True)
        say(f"the pixels are published before ({place}): only their splits and labels are written")
    if rows is None:
        rows = _index(archive, files, spec, options)
    keys = [str(key) for key in rows["key"]]
    splits = _published_splits(files, spec, scheme, rows)
    labels = dict(zip(keys, rows["label"], strict=True)) if "label" in rows else None
    if is_own:
        labels = own_labels(rows, spec, files.where(folder.TABLE))
    source = ArchiveSource(dataset_id, archive, files, spec, options.on_bad)
    with StoreWriter(root, plan, keys, scratch=scratch) as writer:
        write_shards(writer, rows, source, engine=engine, say=say, progress=progress)
        if is_own and not (
            _spec(dataset_id, raw, options.layers) == said
            and _index(archive, again := Raw(raw, spec, options.relax), said, options).equals(rows)
            and _identity(again, rows, spec, kept) == own
        ):
            writer.discard()  # its shards may hold either state
            raise ArchiveError("was changed while it was built", str(files.root), "Build again when it is at rest.")
        left_out = list(rows.attrs["ledger"])
        provenance: dict[str, Any] = {"tops": list(files.tops), "not_read": list(files.ignored)}
        subset = str(rows.attrs.get("subset", ""))
        countries = dict(zip(rows["key"], rows["country"], strict=True)) if "country" in rows else None
        url = writer.publish(
            splits=splits,
            labels=labels,
            ledger=left_out,
            provenance=provenance,
            subset=subset,
            countries=countries,
        )
        for line in _remarks(open_store(url)):
            say(line)
        return Built(url, was_there=False, samples=len(keys), ledger=len(left_out))


def _remarks(store: Store) -> Iterator[str]:
    """What is odd about the values of a store that was just built."""
    for where, what in infinite_pixels(store):
        yield f"{where}: {what}"
    for where, what, fix in doubtful_values(store, store.rows("all"), most=_LOOKED_AT):
        yield f"{where}: {what}. {fix[0].upper()}{fix[1:]}"


def _spec(dataset_id: str, raw: str | Path, layers: tuple[str, ...]) -> DatasetSpec:
    spec = folder.load_spec(raw) if dataset_id == "folder" else known_specs()[dataset_id]
    known = [layer.id for layer in spec.layers]
    for name in layers:
        if name not in known:
            raise UsageError(f"no layer {name!r}", spec.id, f"Layers: {', '.join(known)}.")
    return spec.only_layers(layers) if layers else spec


def _index(archive: Archive, raw: Raw, spec: DatasetSpec, options: Options) -> "pd.DataFrame":
    if options.limit is not None and options.limit < 1:
        raise UsageError(f"limit {options.limit} is less than 1")
    rows = archive.index(raw, spec)
    if rows.empty:
        raise raw.missing("samples")
    rows.attrs["ledger"] = [*rows.attrs["ledger"], *raw.left_out()]
    if options.limit is None:
        return rows
    ledger = rows.attrs["ledger"]
    rows = rows.iloc[: options.limit]
    rows.attrs["ledger"] = ledger
    return rows


def _identity(raw: Raw, rows: "pd.DataFrame", spec: DatasetSpec, kept: Path) -> OwnFingerprint:
    return own_fingerprint(raw, rows, spec, kept_hashes(kept, spec, raw))


def _no_rows() -> "pd.DataFrame":
    import pandas as pd  # half a second, and only here

    return pd.DataFrame({"key": []})


def _scheme(raw: Raw, spec: DatasetSpec, options: Options, say: Say) -> str:
    """Name of the split scheme in use; said aloud, because every number depends on it."""
    known = (*spec.splits, *COMPUTED)
    if options.splits not in known and parse_spatial(options.splits):
        raise UsageError(f"split scheme {options.splits!r} is made when a store is evaluated", spec.id, SPATIAL_HOW)
    if options.splits and options.splits not in known:
        raise UsageError(f"no split scheme {options.splits!r}", spec.id, f"Schemes: {', '.join(known)}.")
    wished = options.splits or spec.default_split
    published = spec.splits.get(wished)
    if not options.splits and published is not None and published.files and not has_lists(raw, spec, wished):
        say(f"splits: {HASH_SCHEME}, because the lists of {wished!r} are not in {raw.root} (`fetch` brings them)")
        return HASH_SCHEME
    say(f"splits: {wished}")
    return wished


def _labels_digest(raw: Raw, spec: DatasetSpec, scheme: str) -> str:
    """Digest of what splits and labels are read from apart from the pixels; empty if there is nothing."""
    lists = spec.splits[scheme].files if scheme in spec.splits else ()
    found = {one.file: hashlib.sha256(raw.read(one.file)).hexdigest() for one in lists if raw.exists(one.file)}
    return digest(found) if found else ""


def _published_splits(raw: Raw, spec: DatasetSpec, scheme: str, rows: "pd.DataFrame") -> Mapping[str, str] | None:
    if scheme not in spec.splits:
        return None
    if spec.splits[scheme].in_archive:
        if "split" not in rows:
            raise ArchiveError(f"carries no splits for the scheme {scheme!r}", str(raw.root))
        return {str(key): str(split) for key, split in zip(rows["key"], rows["split"], strict=True)}
    return official_lists(raw, spec, scheme, [str(key) for key in rows["key"]])
