"""Building into a bucket: made in a scratch folder of this disk, then put there as `copy` does."""

import os
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path

from seamo.addresses import address_of, disk_path, join
from seamo.errors import UsageError
from seamo.files import open_files
from seamo.identity import digest
from seamo.store import transfer
from seamo.store.copy import copy_store
from seamo.store.format import META_NAME, VIEWS_NAME
from seamo.store.keeping import enter_if_missing
from seamo.store.reader import Store
from seamo.store.roots import probe
from seamo_prep.build import Built, Options, build
from seamo_prep.engines import Engine, Progress, Say


def build_into_bucket(
    dataset_id: str,
    *,
    raw: str | Path,
    root: str,
    scratch: Path | None,
    options: Options,
    engine: Engine,
    say: Say,
    progress: Progress,
    moved: transfer.Progress,
) -> Built:
    """Build one store into a bucket, or find it there.

    A killed build or upload goes on with what lies in the scratch folder; it is gone when the store is published.

    Args:
        dataset_id: As `build` takes it.
        raw: Folder or address that holds the published files.
        root: Address of stores.
        scratch: A folder with room for the store; None: where temporary files are.
        options: What to build.
        engine: Who builds it.
        say: Called with each remark that a person should read.
        progress: Of the build.
        moved: Of the upload.

    Raises:
        UsageError: If the scratch folder is somebody else's; and what `build` raises.
        StoreError: If the server does not honour conditions; and what `copy_store` raises.
    """
    probe(root)
    here = disk_path(raw)
    given = address_of(raw) if here is None else str(here.resolve())
    folder = _scratch(scratch, [dataset_id, given, root, asdict(options)])

    def published(name: str, view: str) -> str:
        place = join(root, name)
        if not open_files(place).exists(META_NAME):
            return ""
        if Store(place).meta.view == view:
            enter_if_missing(root, name)
            return place
        seen = f"{name}/{VIEWS_NAME}/{view}"
        if open_files(join(root, seen)).exists(META_NAME):
            enter_if_missing(root, seen)
            return join(root, seen)
        say(f"the pixels are published before: {place} is brought here to make a view of it")
        copy_store(place, folder, layout=None, progress=moved)
        return ""

    built = build(
        dataset_id,
        raw=raw,
        root=folder,
        options=options,
        engine=engine,
        say=say,
        progress=progress,
        published=published,
    )
    made = disk_path(built.url)
    if made is not None:
        copy_store(made, root, layout=None, progress=moved)
        url = join(root, made.relative_to(folder).as_posix())
        built = Built(url, was_there=False, samples=built.samples, ledger=built.ledger)
    shutil.rmtree(folder, ignore_errors=True)
    return built


def _scratch(place: Path | None, what: object) -> Path:
    """A folder that the same command finds again."""
    folder = (place or Path(tempfile.gettempdir())) / f"seamo-build-{digest(what)[:16]}"
    folder.mkdir(mode=0o700, parents=place is not None, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise UsageError("is somebody else's", str(folder), "Name another folder: --scratch.")
    return folder
