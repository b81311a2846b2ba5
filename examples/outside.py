"""What the examples share: this folder as an installed package, and a small synthetic store to work on."""

import sys
import tomllib
from pathlib import Path

from seamo.store.reader import Store, open_store
from seamo.testing.world import World
from seamo_prep.archives import load_archive
from seamo_prep.build import Engine, Options, build

HERE = Path(__file__).parent


def as_installed(folder: Path) -> None:
    """Write into `folder` what `pip install ./examples` would write, and let Python look there."""
    project = tomllib.loads((HERE / "pyproject.toml").read_text("utf-8"))["project"]
    info = folder / f"seamo_examples-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n", "utf-8"
    )
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n", "utf-8")
    sys.path.append(str(folder))


def synthetic_store(folder: Path, dataset: str) -> Store:
    """The tiny synthetic archive of a data set, built into a store below `folder`."""
    raw = folder / "raw" / dataset
    raw.mkdir(parents=True)
    load_archive(dataset).demo(raw, World(seed=7), "tiny")
    built = build(
        dataset,
        raw=raw,
        root=folder / "stores",
        options=Options(),
        engine=Engine(workers=1),
        say=lambda remark: print(remark, file=sys.stderr),
        progress=lambda done, total: None,
    )
    return open_store(built.path)
