"""Archives are found by listing their folder and by entry points; a listing imports none of them."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from seamo.errors import UsageError
from seamo_prep.archives import archive_ids, load_archive

MODULE = """
from seamo.sample import Sample

def index(raw, spec): ...
def read(raw, rows, spec): ...
def demo(raw, world, size): ...
"""
ENTRY = """
datasets:
  my-lakes:
    title: Lakes
    summary: lakes
    licence: CC0-1.0
    citation: none
    layers:
      - {id: s1, stack: s1, sensor: s1, bands: [VV, VH], gsd_m: 10, dtype: float32, unit: db, fill: nan, size: [8, 8]}
    task: {kind: none}
"""
CHECK = """
import sys
from seamo_prep.archives import archive_ids, known_specs, load_archive
assert "my-lakes" in archive_ids() and "eurosat" in archive_ids(), archive_ids()
assert known_specs()["my-lakes"].title == "Lakes"
loaded = [name for name in sys.modules if name.startswith(("seamo_prep.archives.", "lakes_package"))]
assert loaded in ([], ["lakes_package"]), loaded
assert load_archive("my-lakes").__name__ == "lakes_package.my_lakes"
assert "torch" not in sys.modules
"""


def test_ids_name_modules() -> None:
    for dataset in archive_ids():
        module = load_archive(dataset)
        assert module.__name__ == f"seamo_prep.archives.{dataset.replace('-', '_').replace('.', '_')}"
        assert all(callable(getattr(module, name)) for name in ("index", "read", "demo"))
    assert callable(load_archive("folder").read)
    with pytest.raises(UsageError, match=r"no data set 'eurosta'\. Known: .*eurosat"):
        load_archive("eurosta")


def test_a_package_elsewhere_adds_one(tmp_path: Path) -> None:
    package = tmp_path / "lakes_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "my_lakes.py").write_text(MODULE)
    (package / "my_lakes.yaml").write_text(ENTRY)
    info = tmp_path / "lakes-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lakes\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[seamo.archives]\nmy-lakes = lakes_package.my_lakes:my_lakes.yaml\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{textwrap.dedent(CHECK)}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
