"""Bringing published archives: what there is to bring, what it costs, and the bringing itself."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from seamo.addresses import local_path
from seamo.download import RemoteFile, download
from seamo.errors import DownloadError, UsageError
from seamo.licences import accept_licence
from seamo.manifest import DatasetSpec

SPLITS = "splits"  # the part that holds the published split lists


@dataclass(frozen=True, slots=True)
class Item:
    """One file of a data set.

    Args:
        file: The file and what it must be.
        part: The group that `--only` names.
        how: What to do where no direct link is allowed; empty if there is a link.
        note: What is not certain about it.
    """

    file: RemoteFile
    part: str
    how: str = ""
    note: str = ""

    @property
    def by_hand(self) -> bool:
        """Whether a person has to get it."""
        return not self.file.urls


def items(spec: DatasetSpec, only: Sequence[str] = ()) -> list[Item]:
    """Every file of a data set, archives first, then split lists; each once.

    Of several archives that hold the same samples (`same_as`), the first counts; the others are kept if `only` names
    their file, or their part without that of the first.

    Args:
        spec: The manifest's entry.
        only: Parts or file names to keep; empty keeps all.

    Raises:
        UsageError: If `only` names a part that does not exist.
    """
    found = {
        one.name: Item(
            RemoteFile(one.name, one.urls, one.bytes, one.md5, one.sha256),
            one.part,
            how="" if one.urls else one.how or f"See {spec.homepage}.",
            note=one.unverified,
        )
        for one in spec.archives
    }
    for scheme in spec.splits.values():
        for listed in scheme.files:
            how = "" if listed.urls else f"No link is published for this list ({scheme.note or spec.homepage})."
            file = RemoteFile(listed.file, listed.urls, None, listed.md5, listed.sha256)
            found.setdefault(listed.file, Item(file, SPLITS, how=how))
    equals = {one.name: one.same_as for one in spec.archives if one.same_as}

    def is_wanted(item: Item) -> bool:
        first = found.get(equals.get(item.file.name, ""))
        if item.file.name in only:
            return True
        if first is not None and (not only or first.part in only or first.file.name in only):
            return False
        return not only or item.part in only

    chosen = [item for item in found.values() if is_wanted(item)]
    known = {item.part for item in found.values()} | set(found)
    unknown = [name for name in only if name not in known]
    if unknown:
        parts = ", ".join(sorted({item.part for item in found.values() if item.part}))
        raise UsageError(f"no part or file {unknown[0]!r}", spec.id, f"Parts: {parts or 'none, fetch it whole'}.")
    return chosen


def fetch(
    spec: DatasetSpec,
    raw: Path,
    *,
    only: Sequence[str] = (),
    accept: str = "",
    on_progress: Callable[[str, int, int | None], None] | None = None,
    now: datetime | None = None,
) -> list[Item]:
    """Bring the files of a data set into RAW; what is there and right is left alone.

    Args:
        spec: The manifest's entry.
        raw: Target folder; made if it does not exist.
        only: See `items`.
        accept: Licence that the user accepts, where one must be; remembered in RAW.
        on_progress: Called with (file name, bytes so far, bytes expected or None).
        now: Time of acceptance, for tests.

    Returns:
        The files that a person has to get and that are not in RAW yet, with instructions.

    Raises:
        UsageError: If a licence must be accepted and was not.
        DownloadError: After everything was tried, naming each file that could not be brought; also before
            the first byte if the disk cannot hold what is missing.
    """
    raw = local_path(raw)
    raw.mkdir(parents=True, exist_ok=True)
    chosen = items(spec, only)
    if spec.accept and not all(item.by_hand for item in chosen):
        what = f"its data is licensed {spec.accept}, which must be accepted ({spec.homepage})"
        accept_licence(raw, spec.accept, accept, what=what, where=spec.id, now=now)
    _check_room(chosen, raw)
    failures: list[DownloadError] = []
    for item in chosen:
        if item.by_hand:
            continue

        def tell(have: int, of: int | None, name: str = item.file.name) -> None:
            if on_progress:
                on_progress(name, have, of)

        try:
            download(item.file, raw, on_progress=tell)
        except DownloadError as error:
            failures.append(error)
    if failures:
        first = failures[0]
        more = f" ({len(failures) - 1} more files failed)" if len(failures) > 1 else ""
        raise DownloadError(f"{first.what}{more}", first.where, first.fix)
    return [item for item in chosen if item.by_hand and not (raw / item.file.name).exists()]


def _check_room(chosen: Sequence[Item], raw: Path) -> None:
    missing = 0
    for item in chosen:
        if item.by_hand or item.file.size is None:
            continue
        there = [path for path in (raw / item.file.name, raw / f"{item.file.name}.part") if path.exists()]
        missing += max(item.file.size - sum(path.stat().st_size for path in there), 0)
    free = shutil.disk_usage(raw).free
    if missing > free:
        need, have = f"{missing / 1e9:.1f} GB", f"{free / 1e9:.1f} GB"
        raise DownloadError(f"needs {need}, {have} are free", str(raw), "Choose another disk or fetch parts (--only).")
