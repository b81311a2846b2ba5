"""Who imports whom: the house's rule, read from the source of every module."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {
    "seamo": ROOT / "seamo",
    "seamo_prep": ROOT / "preprocess" / "seamo_prep",
    "seamo_bench": ROOT / "benchmarks" / "seamo_bench",
}
VALUES = {
    "seamo.addresses",
    "seamo.bands",
    "seamo.cluster",
    "seamo.discovery",
    "seamo.disk",
    "seamo.download",
    "seamo.earth",
    "seamo.errors",
    "seamo.escapes",
    "seamo.extras",
    "seamo.files",
    "seamo.identity",
    "seamo.native",
    "seamo.progress",
    "seamo.seal",
    "seamo.summary",
    "seamo.yamlfile",
}
SPECS = {
    "seamo.licences",
    "seamo.manifest",
    "seamo.rasterfacts",
    "seamo.resample",
    "seamo.sample",
    "seamo.stats",
    "seamo.units",
}
SHELL = {"seamo.options", "seamo.terminal"}
STORE = VALUES | SPECS | {"seamo.store"}
# The suites that outside packages test themselves with: they reach every room, and no room imports them.
ROOF = {f"seamo.testing.{name}" for name in ("archives", "backbones", "protocols", "tasks")}
TRAINING = STORE | {"seamo.data", "seamo.inputs", "seamo.model"}

# Room -> what of ours it may import. The first room that is a prefix of a module's name counts.
ROOMS: list[tuple[str, set[str]]] = [
    *((room, VALUES) for room in sorted(VALUES)),
    *((room, VALUES | SPECS) for room in sorted(SPECS)),
    *((room, VALUES | SHELL) for room in sorted(SHELL)),
    ("seamo.store", STORE),
    ("seamo.data", STORE | {"seamo.data"}),
    ("seamo.inputs", STORE | {"seamo.data", "seamo.inputs"}),
    ("seamo.model", VALUES | {"seamo.model"}),
    ("seamo.pretrain", TRAINING | {"seamo.pretrain", "seamo"}),
    ("seamo.use", TRAINING | {"seamo.pretrain", "seamo.use"}),
    *((room, {"seamo", "seamo_prep", "seamo_bench"}) for room in sorted(ROOF)),
    ("seamo.testing", {"seamo"}),
    ("seamo.cli", {"seamo"}),
    ("seamo_prep.cli", STORE | SHELL | {"seamo.testing", "seamo_prep"}),
    ("seamo_prep", STORE | {"seamo.testing", "seamo_prep"}),
    ("seamo_bench", {"seamo", "seamo_bench"}),
    ("seamo", {"seamo"}),
]
# Upward imports inside a function or for types, each with its reason.
LAZY_UPWARD = {
    ("seamo", "seamo.use"): "seamo.create_model is handed out when it is asked for; `import seamo` loads no torch",
    ("seamo.sample", "seamo.store"): "Sample.plot is a face of seamo.store, which knows how units are shown",
    ("seamo.store.faces", "seamo.inputs"): "Faces.torch is a face of seamo.inputs, as the next two are of seamo.data",
    ("seamo.store.faces", "seamo.data"): "Faces.loader and .webdataset are faces of seamo.data; opening loads no torch",
    (
        "seamo_prep.speed",
        "seamo.inputs",
    ): "`seamo-prep bench` measures the Loader and the crop where torch is installed",
}
# The floors of the benchmark, lowest first: a room imports rooms of lower floors alone. Type-only imports and imports
# inside functions count.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("predictions",),
    ("facts", "scores"),
    ("card",),
    ("network",),
    ("family", "protocol"),
    ("networks", "weights", "tasks", "records"),
    ("backbones", "protocols"),
    ("zoo",),
    ("features", "suites", "board"),
    ("runs", "predict"),
    ("paper",),
    ("why",),
    ("questions",),
    ("cli",),
)
LOOSE = {"card", "facts", "family", "network", "predictions", "protocol", "weights"}  # contracts, alone at the root
LAPTOP = {f"seamo_bench.{name}" for name in ("predictions", "facts", "scores", "board")}
LAPTOP_LIBRARIES = {"jinja2", "numpy", "pandas", "pydantic"}
# What a command line may load before it knows what is asked.
CLI_LIBRARIES = {"typer", "rich", "yaml", "pydantic"}


@cache
def modules() -> dict[str, Path]:
    found = {}
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = [package, *path.relative_to(folder).with_suffix("").parts]
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, module: str, *, types: bool = False) -> list[tuple[str, bool]]:
    """(imported module, at the top level) of every import; type-checking blocks count with `types`."""
    found: list[tuple[str, bool]] = []

    def visit(node: ast.AST, top: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test) and not types:
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


def room_of(module: str) -> str:
    """A room is a folder of a package, or a file at its root."""
    return ".".join(module.split(".")[:2])


@cache
def arrows() -> dict[str, dict[str, list[str]]]:
    """Room -> room that it imports -> the modules that do; every import counts but those of LAZY_UPWARD."""
    known = modules()
    found: dict[str, dict[str, list[str]]] = {}
    for module, path in known.items():
        for imported, _ in imports(path, module, types=True) if module not in ROOF else ():
            target = imported
            while target and target not in known:
                target = target.rpartition(".")[0]
            listed = any(module == upper and within(imported, {lower}) for upper, lower in LAZY_UPWARD)
            if target and room_of(target) != room_of(module) and not listed:
                found.setdefault(room_of(module), {}).setdefault(room_of(target), []).append(module)
    return found


def test_nothing_stands_on_the_roof() -> None:
    for module, path in modules().items():
        for name, _ in imports(path, module, types=True):
            assert module in ROOF or not within(name, ROOF), f"{module} imports {name}"


def test_rooms_form_no_circle() -> None:
    graph = arrows()
    floors: list[set[str]] = []
    left = {room_of(module) for module in modules()}
    while left:
        free = {room for room in left if not set(graph.get(room, {})) & (left - {room})}
        told = {room: {b: m[:3] for b, m in graph[room].items() if b in left} for room in sorted(left) if not free}
        assert free, f"a circle among {told}"
        floors.append(free)
        left -= free
    assert len(floors) < len({room_of(module) for module in modules()})


@pytest.mark.parametrize("room", sorted({room_of(module) for module in modules() if within(module, {"seamo_bench"})}))
def test_rooms_of_the_benchmark_import_lower_floors_alone(room: str) -> None:
    floor_of = {f"seamo_bench.{name}": number for number, names in enumerate(FLOORS) for name in names}
    if room == "seamo_bench":  # its lazy exports
        return
    assert room in floor_of, f"{room} stands on no floor"
    for target, importers in arrows().get(room, {}).items():
        lower = not within(target, {"seamo_bench"}) or floor_of[target] < floor_of[room]
        assert lower, f"{room} imports {target}, which is not below it: {importers}"


def test_contracts_stand_alone_at_the_root() -> None:
    files = {path.stem for path in PACKAGES["seamo_bench"].glob("*.py")} - {"__init__"}
    assert files == LOOSE
    assert len(files) <= 8


def test_no_optional_hook_is_asked_for() -> None:
    """A backbone family and a protocol are values: nobody looks whether a module has this or that."""
    allowed = {
        "seamo_bench.board.compare",
        "seamo_bench.protocols.finetune.training",
    }  # a record's value; timm's drop path
    for module, path in modules().items():
        if within(module, {"seamo_bench"}) and module not in allowed:
            assert "hasattr(" not in path.read_text(encoding="utf-8"), module


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
    scored = [module for module in modules() if within(module, LAPTOP)]
    assert len(scored) > 20
    for module in scored:
        for name, _ in imports(modules()[module], module):
            library = name.split(".")[0]
            fine = library in LAPTOP_LIBRARIES | set(PACKAGES) or library in sys.stdlib_module_names
            assert fine, f"{module} imports {name}"


def test_command_lines_load_little() -> None:
    for module, path in modules().items():
        if within(module, {"seamo.cli", "seamo_prep.cli", "seamo_bench.cli"}):
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


def test_what_outsiders_use_is_exported_and_loads_no_torch_before_it_must() -> None:
    import seamo_bench

    assert set(seamo_bench.__all__) == set(seamo_bench._HOME)
    for name in seamo_bench.__all__:
        assert callable(getattr(seamo_bench, name)), name
    light = [name for name in seamo_bench.__all__ if name not in {"backbone", "evaluate", "load_backbone"}]
    code = f"import seamo_bench, sys\nfor name in {light}: getattr(seamo_bench, name)\nprint('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_no_public_class_name_is_taken_twice() -> None:
    taken: dict[str, str] = {}
    for module, path in modules().items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                assert node.name not in taken, f"{node.name} is in {taken.get(node.name)} and in {module}"
                taken[node.name] = module


def test_files_stay_readable() -> None:
    """About 400 lines at most."""
    for module, path in modules().items():
        count = len(path.read_text(encoding="utf-8").splitlines())
        assert count <= 420, f"{module} has {count} lines"
