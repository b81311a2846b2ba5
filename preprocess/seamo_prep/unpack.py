"""The published files of one data set, wherever they are: extracted, in an archive, or in its parts.

`Raw` answers by published name (`BigEarthNet-v1.0/<patch>/<patch>_B02.tif`), whatever holds the file. For each
published top folder it takes the extracted tree if there is one, else the whole archive, else its parts; what
lost is in `Raw.ignored`, for the CLI to name.

How each form is read:
    extracted   plain files; folders are listed with `os.scandir` when asked for, never all at once.
    .zip, .tar  in place, by member offset, split into `.partXX` or not; nothing is unpacked to disk.
    .tar.gz     (and .tar.zst) no random access. Members are listed in one pass and then read by a cursor that
                only moves forward and keeps the last 48 MiB it passed; going further back starts again. Reading
                in the archive's order (`reading_order`) costs one pass a process. Archives that were not packed
                in sorted order are read far faster after `gunzip` or `unzstd`.

Some archives share a folder, or were seen with another folder around theirs: their `unpacks_to` is `.`. Then RAW itself
is the tree, as if all of them had been unpacked into it; a file on disk wins over the same file in an archive.

Names inside an archive are untrusted: an absolute name or one with `..` refuses the archive. A hard link to a member is
that member; symbolic links, devices, sparse files and the first of two members of one name are left out, and
`Raw.left_out` names each. Archives that were joined one after the other are read to the last.
RAW may be an address (`seamo_prep.far`): archives are read there by ranges, files of an extracted tree as a whole, and
nothing is unpacked to disk either. A web server lists nothing: archives are asked for by their published names.

In an extracted tree, which is the user's own disk, links are followed; one that leads back to a folder above it is
none of the tree, and one that leads to nothing stops whoever needs it.

What `--relax` accepts (`Raw.relax`), every other difference from the manifest being an `ArchiveError`:
    shape    images of another size, all of one size in a layer (`archives.sized_spec` takes it from the first sample).
    dtype    pixels of another type, if every value survives the cast to the manifest's type.
    seasons  fewer dates than published (present dates first, the rest NaT and fill).
    names    file names that differ from the published pattern, in what each reader says.
    grid     one's own imagery: files of one sample that do not lie on one ground, or do not say where they lie.
"""

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

from seamo.addresses import address_of, disk_path, is_web
from seamo.errors import ArchiveError, UsageError
from seamo.manifest import DatasetSpec
from seamo_prep.containers import Container, Joined, Several, bytes_of
from seamo_prep.far import FarFile, ScratchFolder, Shelf
from seamo_prep.links import broken_link
from seamo_prep.outside import reading
from seamo_prep.packed import open_container
from seamo_prep.trees import FarTree, Tree

Relax = Literal["shape", "dtype", "seasons", "names", "grid"]
SYNTHETIC = "SYNTHETIC.json"

_LOG = logging.getLogger(__name__)
_PART = re.compile(r"(?P<base>.+)\.part([a-z]{2}|\d+)$|(?P<split>.+\.tar\.gz)[a-z]{2}$")  # the latter: split(1) alone
_CONTAINER = re.compile(r"\.(tar|tar\.gz|tgz|tar\.zst|zip)$")


class Raw:
    """Uniform access to the published files of one data set.

    It can be pickled: what was opened or listed is not sent along but opened again on the other side when first
    needed, once a process for all copies. Threads may share it.

    Args:
        root: The folder or the address that holds the published top folders or archive files, or the folder above
            it, where it is called by the data set's id (as `seamo-prep demo` writes it), or (on a disk) a published
            top folder itself.
        spec: The data set; its `archives` say which top folders there are. Without archives (one's own
            imagery) every file under `root` belongs to it.
        relax: What may differ from the manifest, of `shape`, `dtype`, `seasons`, `names`, `grid`.

    Raises:
        ArchiveError: If the folder is not there, or an archive cannot be walked safely.
        StoreError: If the address cannot be listed.
        UsageError: If `relax` holds another word.
    """

    def __init__(self, root: str | Path, spec: DatasetSpec, relax: Iterable[str] = ()) -> None:
        self.relax = frozenset(relax)
        unknown = sorted(self.relax - set(get_args(Relax)))
        if unknown:
            raise UsageError(f"cannot relax {', '.join(unknown)}", fix=f"Known: {', '.join(get_args(Relax))}.")
        path = disk_path(root)
        self.given: str | Path = address_of(root) if path is None else path.absolute()
        """The place as it was named, from which another process finds `root` again."""
        self._ground = _home(_ground(root, spec), spec)
        self.root: str | Path = self._ground.root if isinstance(self._ground, Tree) else self._ground.shelf.url
        self.dataset = spec.id
        self._tops = _published_tops(spec)
        self._lists = {one.file for scheme in spec.splits.values() for one in scheme.files}
        self._loose = {one.name for one in spec.archives} | self._lists | {SYNTHETIC}
        self._holders: dict[str, Container] = {}
        self._scratch = ScratchFolder()
        self.ignored: tuple[str, ...] = self._find()
        """What is not read because something better is there: archives beside their folder, parts beside the whole."""
        for line in self.ignored:
            _LOG.info("ignored=%s", line)  # `build` says it
        self.synthetic = self._read_synthetic()

    @property
    def tops(self) -> tuple[str, ...]:
        """The published top folders that are there, sorted; ("",) where `root` itself is the tree."""
        return tuple(sorted(self._holders))

    def list_dir(self, name: str = "") -> tuple[list[str], list[str]]:
        """Sub-folders and files of one folder, both sorted; two empty lists if it is not there.

        Without a name: the published top folders, and the plain files beside them.
        """
        if name == "" and "" not in self._holders:
            return list(self.tops), self._beside()
        holder = self._holder(name)
        return holder.list_dir(name) if holder else ([], [])

    def names(self, prefix: str = "") -> Iterator[str]:
        """Every file below a folder, depth first, in sorted order."""
        folders, files = self.list_dir(prefix)
        lead = f"{prefix}/" if prefix else ""
        for file in files:
            yield lead + file
        for folder in folders:
            yield from self.names(lead + folder)

    def exists(self, name: str) -> bool:
        """True if there is a file of that published name."""
        holder = self._holder(name)
        return holder.exists(name) if holder else self._is_beside(name)

    def read(self, name: str) -> bytes:
        """The bytes of one file.

        Raises:
            ArchiveError: If it is not there or its archive is damaged.
        """
        holder = self._holder(name)
        if holder is not None:
            return holder.read(name)
        if not self._is_beside(name):
            if target := self._ground.missing_target(name):
                what, fix = broken_link(target)
                raise ArchiveError(what, self.where(name), fix)
            raise ArchiveError("the file is not there", self.where(name), "Fetch or unpack it again.")
        return self._ground.read(name)

    def path(self, name: str) -> Path | None:
        """Where the file lies on disk by itself; None if it is inside an archive, at an address or not there."""
        found = self.file(name)
        return found if isinstance(found, Path) else None

    def file(self, name: str) -> Path | FarFile | None:
        """The file as it lies by itself, on disk or at an address, to be opened; None if it is not there or inside."""
        holder = self._holder(name)
        if holder is not None:
            return holder.file(name)
        return self._ground.file(name) if self._is_beside(name) else None

    def gdal_path(self, name: str) -> str | None:
        """A path under which GDAL reads parts of the file where it lies; None if it can only be read whole."""
        holder = self._holder(name)
        return holder.gdal_path(name) if holder else None

    def brought(self, name: str) -> BinaryIO | None:
        """The file on this disk without a name, if RAW is at an address; there are at most `far.SCRATCH` of them."""
        holder = self._holder(name)
        if holder is None or isinstance(self._ground, Tree):
            return None
        return self._scratch.bring(name, lambda: holder.pieces(name))

    def reading_order(self, names: Iterable[str]) -> list[str]:
        """The same names in the order in which they are cheapest to read."""

        def position(name: str) -> tuple[str, int, str]:
            holder = self._holder(name)
            return (name.partition("/")[0], holder.position(name) if holder else 0, name)

        return sorted(names, key=position)

    def where(self, name: str) -> str:
        """A published name as messages show it: with the folder or the archive that holds it."""
        holder = self._holder(name)
        return holder.where(name) if holder else self._ground.where(name)

    def fingerprint(self) -> str:
        """Sha256 of the names and sizes of the files that the store is made from.

        An archive counts as itself (its files, not its members); an extracted tree counts file by file, which
        takes one listing and one `stat` a file, in the builder only. `SYNTHETIC.json` counts too; split lists, which
        decide no pixel, do not.
        """
        found = hashlib.sha256()  # fed file by file: a full tree has ten million
        for holder in dict.fromkeys(self._holders[top] for top in self.tops):
            for name, size in holder.sizes():
                found.update(f"{size} {name}\n".encode("utf-8", "surrogateescape"))
        for name in self._beside() if "" not in self._holders else ():
            file = self._ground.file(name)
            if name in self._loose - self._lists and file is not None and not _CONTAINER.search(_base(name)):
                found.update(f"{bytes_of(file)} {name}\n".encode())
        return found.hexdigest()

    def left_out(self) -> list[tuple[str, str]]:
        """(member, reason) of what the archives hold and nobody reads: links, devices, doubles."""
        holders = dict.fromkeys(self._holders[top] for top in self.tops)
        return [entry for holder in holders for entry in holder.left_out()]

    def missing(self, what: str) -> ArchiveError:
        """The error of a reader that finds nothing to read."""
        tops = ", ".join(dict.fromkeys(self._tops.values())) or "any files"
        passed = [f"{line} is not read" for line in self.ignored] + [f"{name} {why}" for name, why in self.left_out()]
        more = f" ({len(passed)} left out, the first: {passed[0]})" if passed else ""
        return ArchiveError(
            f"no {what}{more}", str(self.root), f"RAW must hold {tops} (extracted), or the archives that contain them."
        )

    def _is_beside(self, name: str) -> bool:
        """True for a plain file directly in `root`."""
        return "/" not in name and self._ground.exists(name)

    def _beside(self) -> list[str]:
        """The plain files directly in `root`, sorted."""
        return [name for name in self._ground.list_dir("")[1] if self._ground.exists(name)]

    def _holder(self, name: str) -> Container | None:
        return self._holders.get(name.partition("/")[0]) or self._holders.get("")

    def _find(self) -> tuple[str, ...]:
        if not self._tops:
            self._holders[""] = self._ground
            return ()
        wanted = set(self._tops.values())
        folders, links = self._ground.list_dir("")
        lost = [
            f"{name} (a link to {target}, which is not there)" for name in links
            if (name in wanted or _base(name) in self._tops) and (target := self._ground.missing_target(name))
        ]  # fmt: skip
        archives = _archive_files(self._beside(), lost)
        if wanted == {"."}:
            self._holders[""] = self._as_one(archives, lost)
            return tuple(lost)
        self._holders = {name: self._ground.only(name) for name in folders if name in wanted}
        for base, files in archives.items():
            top = self._tops.get(base)
            if top is not None and top in self._holders:
                lost.append(f"{_title(files)} (its folder {top} is already there)")
                continue
            container = open_container(self._joined(files), base)
            tops = [top] if top is not None else sorted(wanted & set(container.list_dir("")[0]))
            fresh = [one for one in tops if one not in self._holders]
            if not fresh:
                lost.append(f"{_title(files)} (holds no published folder that is not already there)")
                lost += [f"{name} ({why})" for name, why in container.left_out()]
            self._holders |= dict.fromkeys(fresh, container)
        return tuple(lost)

    def _as_one(self, archives: Mapping[str, list[str]], lost: list[str]) -> Container:
        """RAW with everything that its archives hold; an archive of which all is there is not read."""
        parts: list[Container] = [self._ground]
        for base, files in archives.items():
            archive = open_container(self._joined(files), base)
            if base not in self._tops:
                lost.append(f"{_title(files)} (not an archive of this data set)")
            elif all(self._ground.exists(name) for name in archive.names()):
                lost.append(f"{_title(files)} (all that it holds is already there)")
            else:
                parts.append(archive)
        return Several(tuple(parts))

    def _joined(self, names: list[str]) -> Joined:
        files = (self._ground.file(name) for name in names)
        return Joined(tuple(one for one in files if one is not None))

    def _read_synthetic(self) -> dict[str, Any] | None:
        if not self._ground.exists(SYNTHETIC):
            return None
        where = self._ground.where(SYNTHETIC)
        with reading(where, "is not JSON", "Write the demo archive again."):
            found = json.loads(self._ground.read(SYNTHETIC))
        sizes = found.get("sizes", {}) if isinstance(found, dict) else None
        is_right = isinstance(sizes, dict) and all(
            isinstance(size, list) and len(size) == 2 and all(isinstance(n, int) and n > 0 for n in size)
            for size in sizes.values()
        )
        if not is_right:
            raise ArchiveError("is not what `demo` writes", where, "Write the demo archive again.")
        return dict(found)


def declare_synthetic(folder: Path, *, what: str, sizes: dict[str, tuple[int, int]] | None = None) -> None:
    """Write the `SYNTHETIC.json` of a demo archive: what it is, and the layer sizes that differ from the manifest."""
    declared = {"synthetic": True, "what": what, "sizes": {key: list(size) for key, size in (sizes or {}).items()}}
    (folder / SYNTHETIC).write_text(json.dumps(declared, indent=1) + "\n", encoding="utf-8")


def _ground(root: str | Path, spec: DatasetSpec) -> Tree | FarTree:
    """What lies at a place; of an address it is listed, or asked for where nothing lists it."""
    path = disk_path(root)
    if path is not None:
        if not path.is_dir():
            raise ArchiveError("no such folder", str(path), "Give the folder that holds the published files.")
        return Tree(path, "")
    if not is_web(root):
        shelf = Shelf(address_of(root))
        if not shelf.found:
            raise ArchiveError("no file is there", shelf.url, "Look whether bucket and folder are named right.")
        return FarTree(shelf)
    lists = {one.file for scheme in spec.splits.values() for one in scheme.files}
    archives = {one.name for one in spec.archives}
    names = sorted({SYNTHETIC} | lists | archives | {_base(one) for one in archives})
    shelf = Shelf(address_of(root), [*names, *(f"{spec.id}/{name}" for name in names)])
    published = {*archives, *map(_base, archives)} - lists
    if published.isdisjoint(one.removeprefix(f"{spec.id}/") for one in shelf.found):
        fix = "Name a bucket or a folder of this disk; a web server lists no files, so that none of a tree is found."
        raise ArchiveError(f"holds no {' or '.join(sorted(archives)) or 'published archive'}", shelf.url, fix)
    return FarTree(shelf)


def _home(ground: Tree | FarTree, spec: DatasetSpec) -> Tree | FarTree:
    """What lies there, or in the folder of the data set's id; not where that folder is what the archive unpacks to.

    Where the published top folder itself was named, it is the folder above.
    """
    tops = _published_tops(spec)
    if isinstance(ground, Tree) and ground.root.absolute().name in tops.values():
        folders, files = ground.list_dir("")
        if not {*folders, *map(_base, files)} & {*tops, *tops.values(), SYNTHETIC, spec.id}:
            above = ground.root.absolute().parent
            _LOG.warning(
                "%s is %s itself: RAW is taken to be the folder above", ground.root, ground.root.absolute().name
            )
            return Tree(above, "")
    if spec.id not in ground.list_dir("")[0]:
        return ground
    if spec.id in tops.values():
        folders, files = ground.list_dir(spec.id)
        if not {*folders, *files} & {spec.id, SYNTHETIC, *tops}:
            return ground
    return ground.below(spec.id)


def _published_tops(spec: DatasetSpec) -> dict[str, str]:
    """Archive file without its `.partXX` -> the folder it unpacks to."""
    tops = {}
    for one in spec.archives:
        base = _base(one.name)
        if _CONTAINER.search(base):
            tops[base] = one.unpacks_to or _CONTAINER.sub("", base)
    return tops


def _base(name: str) -> str:
    part = _PART.match(name)
    return (part["base"] or part["split"]) if part else name


def _archive_files(names: list[str], lost: list[str]) -> dict[str, list[str]]:
    """Archive name -> its one file, or its parts in order."""
    whole: dict[str, list[str]] = {}
    parts: dict[str, list[str]] = {}
    for name in names:
        base = _base(name)
        if _CONTAINER.search(base):
            (whole if base == name else parts).setdefault(base, []).append(name)
    both = sorted(whole.keys() & parts.keys())
    lost += [f"{_title(parts[base])} (the whole archive {base} is there)" for base in both]
    return dict(sorted((parts | whole).items()))


def _title(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} .. {names[-1]}"
