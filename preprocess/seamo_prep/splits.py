"""Published split lists: found in RAW, checked, and read as sample name -> split."""

import gzip
import hashlib
import io
import re
from collections import Counter
from collections.abc import Iterable

from seamo.errors import ArchiveError
from seamo.manifest import DatasetSpec, SplitFile
from seamo_prep.outside import reading
from seamo_prep.unpack import Raw

_MOST_BYTES = 24 << 20  # of a list: the longest published one has 17 MB
_FETCH = "Fetch it again with `seamo-prep fetch`."


def has_lists(raw: Raw, spec: DatasetSpec, scheme: str) -> bool:
    """True if every list of a published scheme is in RAW (beside the top folders)."""
    files = spec.splits[scheme].files if scheme in spec.splits else ()
    return bool(files) and all(raw.exists(one.file) for one in files)


def official_lists(raw: Raw, spec: DatasetSpec, scheme: str, keys: Iterable[str] = ()) -> dict[str, str]:
    """Split of every sample that the lists of a published scheme name.

    Lists are checked against the manifest's hash and number of lines, unless the archive is declared synthetic.
    A line names its sample by its first field (up to a comma or blank), of which the folder and the ending are
    dropped: `tif/River/River_1.tif   8`, `River_1.jpg` and `<s2_name>,<s1_name>` all work.

    Args:
        raw: Where the lists are.
        spec: The data set.
        scheme: One of `spec.splits` with files.
        keys: The samples there are. With them, the result is by key, and the lists are held against them.

    Returns:
        Key (without `keys`: the sample's name, the last part of its key) -> `train`, `val` or `test`; what a
        list excludes is left out.

    Raises:
        ArchiveError: If a list is missing or altered, two lists share a sample, no line names a sample there is,
            or the archive is complete and a line names none.
    """
    lists = [(one, _names(raw, one)) for one in spec.splits[scheme].files]
    if not lists:
        raise ArchiveError(f"split scheme {scheme!r} has no lists", spec.id, "Its archive carries the split itself.")
    found: dict[str, str] = {}
    for one, names in lists:
        for name in names if one.split != "exclude" else ():
            if found.setdefault(name, one.split) != one.split:
                raise ArchiveError(f"{name} is in {found[name]} and in {one.split}", raw.where(one.file), _FETCH)
    key_of = {key.rpartition("/")[2]: key for key in keys}
    if key_of:
        _hold_against(key_of, lists, spec, scheme)
    excluded = {name for one, names in lists if one.split == "exclude" for name in names}
    kept = {name: split for name, split in found.items() if name not in excluded}
    return {key_of[name]: split for name, split in kept.items() if name in key_of} if key_of else kept


def _hold_against(
    key_of: dict[str, str], lists: list[tuple[SplitFile, list[str]]], spec: DatasetSpec, scheme: str
) -> None:
    named = {name: one.file for one, names in lists for name in names}
    strangers = [name for name in named if name not in key_of]
    is_complete = spec.expected.samples is not None and len(key_of) >= spec.expected.samples
    if strangers and (is_complete or len(strangers) == len(named)):
        raise ArchiveError(
            f"names {strangers[0]}, which is not in the archive ({len(strangers)} of {len(named)} lines)",
            where=f"{spec.id}, split scheme {scheme}, {named[strangers[0]]}",
            fix="Check that list and archive belong together.",
        )


def _names(raw: Raw, one: SplitFile) -> list[str]:
    data = raw.read(one.file)
    if raw.synthetic is None:
        for kind, want in (("sha256", one.sha256), ("md5", one.md5)):
            if want is not None and hashlib.new(kind, data, usedforsecurity=False).hexdigest() != want:
                raise ArchiveError(f"has another {kind} than the published list", raw.where(one.file), _FETCH)
    with reading(raw.where(one.file), "is not a list of names", _FETCH):
        if one.file.endswith(".gz"):
            with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
                data = file.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise ArchiveError(f"has more than {_MOST_BYTES:,} bytes", raw.where(one.file), _FETCH)
        text = data.decode("ascii")
    names = [_sample_name(line) for line in text.splitlines() if line.strip()]
    if raw.synthetic is None and one.lines is not None and len(names) != one.lines:
        raise ArchiveError(f"has {len(names)} lines instead of {one.lines}", raw.where(one.file), _FETCH)
    if len(set(names)) != len(names):
        twice = Counter(names).most_common(1)[0][0]
        raise ArchiveError(f"names {twice} twice", raw.where(one.file), _FETCH)
    return names


def _sample_name(line: str) -> str:
    first = re.split(r"[,\s]", line.strip(), maxsplit=1)[0]
    return re.sub(r"\.(tif|jpg)$", "", first.rpartition("/")[2])
