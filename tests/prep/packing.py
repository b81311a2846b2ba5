"""Demo archives in the form in which their data sets are published: zips, tars, compressed ones, split ones."""

import io
import shutil
import tarfile
import zipfile
from pathlib import Path

import pyarrow

from seamo.manifest import DatasetSpec
from seamo_prep.unpack import _base, _published_tops


def pack(demo: Path, out: Path, spec: DatasetSpec, *, form: str = "") -> Path:
    """The demo below `demo`, packed into the archives of the manifest; what no archive holds lies beside them.

    Args:
        demo: As the archive's `demo` wrote it.
        out: A folder that is not there yet.
        spec: The data set.
        form: `.zip`, `.tar` ...: another one than the published, where the manifest does not name the folder by it.
    """
    out.mkdir()
    tops: dict[str, list[str]] = {}
    for base, top in _published_tops(spec).items():
        tops.setdefault(top, []).append(base)
    left = {one.name: one for one in demo.iterdir()}
    for top, bases in tops.items():
        names = [name for name in left if (demo / name).is_dir()] if top == "." else [top] if top in left else []
        # Data sets of one top folder, or of none, may have many archives: all that there is goes into the first.
        base = bases[0] if not form else f"any{len(left)}{form}"
        if names and "/" not in base:
            whole = packed([left.pop(name) for name in names], demo, Path(base))
            parts = sorted(one.name for one in spec.archives if one.name != base and _base(one.name) == base)
            step = len(whole) // max(1, len(parts)) + 1
            for number, name in enumerate(parts if parts and not form else [base]):
                data = whole[number * step : (number + 1) * step] if parts and not form else whole
                (out / name).write_bytes(data)
    for one in left.values():
        (shutil.copytree if one.is_dir() else shutil.copy)(one, out / one.name)
    return out


def packed(folders: list[Path], root: Path, name: Path) -> bytes:
    """An archive of all files below some folders, in sorted order."""
    files = sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())
    data = io.BytesIO()
    if name.suffix == ".zip":
        with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as out:
            for path in files:
                out.write(path, path.relative_to(root).as_posix())
        return data.getvalue()
    with tarfile.open(fileobj=data, mode="w:gz" if name.suffix in (".gz", ".tgz") else "w") as tar:
        for path in files:
            tar.add(path, path.relative_to(root).as_posix())
    return pyarrow.compress(data.getvalue(), "zstd", asbytes=True) if name.suffix == ".zst" else data.getvalue()
