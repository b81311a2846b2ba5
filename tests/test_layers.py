"""Who imports whom: the house's rule, read from the source of every module."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {
    "seamo": ROOT / "seamo",
    "seamo_prep": ROOT / "preprocess" / "seamo_prep",
    "seamo_bench": ROOT / "benchmarks" / "seamo_bench",
}
VALUES = {"seamo.bands", "seamo.download", "seamo.errors", "seamo.identity"}
SPECS = {"seamo.manifest", "seamo.sample", "seamo.stats", "seamo.resample"}

# Room -> what of ours it may import. The first room that is a prefix of a module's name counts.
ROOMS: list[tuple[str, set[str]]] = [
    *((room, VALUES) for room in sorted(VALUES)),
    *((room, VALUES | SPECS) for room in sorted(SPECS)),
    ("seamo.store", VALUES | SPECS | {"seamo.store"}),
    ("seamo.data", VALUES | SPECS | {"seamo.store", "seamo.data"}),
    ("seamo.model", VALUES | {"seamo.model"}),
    ("seamo.pretrain", VALUES | SPECS | {"seamo.store", "seamo.data", "seamo.model", "seamo.pretrain", "seamo"}),
    (
        "seamo.use",
        VALUES | SPECS | {"seamo.store", "seamo.data", "seamo.model", "seamo.pretrain", "seamo.use"},
    ),
    ("seamo.testing", {"seamo"}),
    ("seamo.cli", {"seamo"}),
    ("seamo_prep", VALUES | SPECS | {"seamo.store", "seamo.testing", "seamo_prep"}),
    ("seamo_bench", {"seamo", "seamo_bench"}),
    ("seamo", {"seamo"}),
]
# Upward imports inside a function, each with its reason.
LAZY_UPWARD = {
    ("seamo.store.faces", "seamo.data"),  # Faces.loader and .webdataset; opening a store loads no torch
}
LAPTOP = {
    f"seamo_bench.{name}"
    for name in ("metrics", "intervals", "leaderboard", "geography", "report", "report.atlas", "report.plots")
}
LAPTOP_LIBRARIES = {"numpy", "pandas", "pydantic"}
# What a command line may load before it knows what is asked.
CLI_LIBRARIES = {"typer", "rich", "yaml", "pydantic"}


def modules() -> dict[str, Path]:
    found = {}
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = [package, *path.relative_to(folder).with_suffix("").parts]
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, module: str) -> list[tuple[str, bool]]:
    """(imported module, at the top level) of every import; type-checking blocks do not count."""
    found: list[tuple[str, bool]] = []

    def visit(node: ast.AST, top: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Import):
                found.extend((alias.name, top) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{module}: relative import on line {child.lineno}"
                found.extend((f"{child.module}.{alias.name}", top) for alias in child.names)
            visit(child, top and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda))

    visit(ast.parse(path.read_text(encoding="utf-8")), True)
    return found


def within(name: str, rooms: set[str]) -> bool:
    return any(name == room or name.startswith(room + ".") for room in rooms)


@pytest.mark.parametrize("module", sorted(modules()))
def test_module_imports_only_rooms_below(module: str) -> None:
    allowed = next(below for room, below in ROOMS if within(module, {room}))
    for name, top in imports(modules()[module], module):
        if not within(name, set(PACKAGES)) or name in {"seamo", "seamo.__version__"}:
            continue
        lazy = not top and any(module == upper and within(name, {lower}) for upper, lower in LAZY_UPWARD)
        assert lazy or within(name, allowed), f"{module} imports {name}"


def test_no_module_imports_the_folder_names() -> None:
    # An editable install puts the checkout on sys.path, where `benchmarks.seamo_bench` would import
    # as a namespace package; in a wheel it would not.
    for module, path in modules().items():
        for name, _ in imports(path, module):
            assert not within(name, {"preprocess", "benchmarks", "tests"}), f"{module} imports {name}"


def test_preprocessing_never_loads_torch() -> None:
    for module, path in modules().items():
        if within(module, {"seamo_prep"}):
            for name, _ in imports(path, module):
                assert not within(name, {"torch", "timm", "webdataset", "torchvision"}), f"{module} imports {name}"


def test_scores_need_only_numpy_and_pandas() -> None:
    for module in LAPTOP & set(modules()):
        for name, _ in imports(modules()[module], module):
            library = name.split(".")[0]
            fine = library in LAPTOP_LIBRARIES | set(PACKAGES) or library in sys.stdlib_module_names
            assert fine, f"{module} imports {name}"


def test_command_lines_load_little() -> None:
    for module, path in modules().items():
        if module.endswith("cli"):
            for name, top in imports(path, module):
                library = name.split(".")[0]
                fine = library in CLI_LIBRARIES | set(PACKAGES) or library in sys.stdlib_module_names
                assert not top or fine, f"{module} imports {name} before it knows what is asked"


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import seamo", {"torch", "numpy", "pandas", "zarr", "pydantic"}),
        ("import seamo, seamo.store.reader", {"torch"}),
        ("import seamo_bench.card, seamo_bench.scores.metrics", {"torch", "timm", "scipy", "sklearn"}),
    ],
)
def test_import_stays_light(statement: str, absent: set[str]) -> None:
    code = f"{statement}\nimport sys\nprint(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not absent & set(loaded)
