"""What `same_numbers.py record` does: run the suites of `tests/proof` by command line, and read what they wrote."""

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

PROOF = Path(__file__).resolve().parent / "proof"
SUITES = {"full": PROOF / "full.yaml", "demo": PROOF / "demo.yaml"}  # budget -> suite
RUN = "proof-seed0"
SEAMO = (RUN, "seamo-random")  # ids of SeaMo's backbones begin with these
TRAINED_ON = "ssl4eo-s12"
# Stores of the suites. The others are built too, for their content hashes, but where the suites do not see them.
STORES = (
    "eurosat", "eurosat-sar", "bigearthnet-v1", "bigearthnet-v2", "dfc2020", "segmunich", "oscd", "glh-water",
    "fmow-sentinel", "s1s2-water-s1",
)  # fmt: skip
MODEL = {
    "stage1.epochs": 2, "stage1.warmup_epochs": 1, "stage2.epochs": 2, "stage2.warmup_epochs": 1,
    "optimiser.batch": 4, "machine.micro_batch": 4, "model.dim": 32, "model.depth": 2, "model.heads": 2,
    "model.decoder.depth": 1, "model.decoder.width": 32, "model.decoder.heads": 2,
}  # fmt: skip
PINNED = {
    "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "0",
    "CUDA_VISIBLE_DEVICES": "", "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "200",
}  # fmt: skip
PACKAGES = ("seamo", "seamo_prep", "seamo_bench")
POINTS = "[seamo.backbones]\nproof-steps = proof_models.steps\nproof-columns = proof_models.columns\n"
METADATA = "Metadata-Version: 2.1\nName: proof-models\nVersion: 1.0\n"
LOOSE = ("cost", "environment")  # of a record: never the same twice

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Shell:
    """Runs the three programs in one folder.

    Args:
        folder: Where everything is made; paths in records and suites are relative to it.
    """

    folder: Path

    def call(self, package: str, *arguments: object, status: Sequence[int] = (0,)) -> str:
        """Stdout of one command.

        Raises:
            SystemExit: If it ends with another status; its messages are shown.
        """
        given = [str(argument) for argument in arguments]
        paths = [str(self.folder / "outside"), *(os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        done = subprocess.run(
            [sys.executable, "-c", f"from {package}.cli import main; main()", *given],
            cwd=self.folder,
            env={**os.environ, **PINNED, "PYTHONPATH": os.pathsep.join(path for path in paths if path)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in status:
            sys.stderr.write(done.stdout + done.stderr)
            raise SystemExit(f"{package} {' '.join(given)} ended with {done.returncode}")
        return done.stdout

    def code(self) -> dict[str, str]:
        """Package -> one hash of its modules, so that nobody compares a state of the code with itself unknowingly."""
        paths = f"import {', '.join(PACKAGES)}\nfor one in ({', '.join(PACKAGES)}): print(one.__path__[0])"
        found = {}
        told = subprocess.run(
            [sys.executable, "-c", paths], cwd=self.folder, capture_output=True, text=True, check=True
        )
        for name, folder in zip(PACKAGES, told.stdout.splitlines(), strict=True):
            summed = hashlib.sha256()
            for path in sorted(Path(folder).rglob("*.py")):
                summed.update(f"{path.relative_to(folder)}\n".encode() + path.read_bytes())
            found[name] = summed.hexdigest()
            _say(f"{name} {found[name][:8]} of {folder}")
        return found


def record(out: Path, *, keep: Path | None = None, only: Sequence[str] = ()) -> Document:
    """Run everything and write what came out.

    Args:
        out: The JSON file.
        keep: Folder to work in, which stays; it must be empty.
        only: Protocols; all without.

    Raises:
        SystemExit: If a command fails, or a protocol that is listed stands in no suite.
    """
    if keep is not None and keep.exists() and any(keep.iterdir()):
        raise SystemExit(f"{keep} is not empty: records of another state of the code would count as done")
    with tempfile.TemporaryDirectory(prefix="same-numbers-") as temporary:
        folder = Path(temporary) if keep is None else keep
        folder.mkdir(parents=True, exist_ok=True)
        document = _record(Shell(folder.resolve()), tuple(only))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return document


def _record(shell: Shell, only: tuple[str, ...]) -> Document:
    folder = shell.folder
    info = folder / "outside" / "proof_models-1.0.dist-info"
    shutil.copytree(PROOF / "outside", folder / "outside", ignore=shutil.ignore_patterns("__pycache__"))
    info.mkdir()
    (info / "METADATA").write_text(METADATA, encoding="utf-8")
    (info / "entry_points.txt").write_text(POINTS, encoding="utf-8")
    code = shell.code()
    suites = {budget: _suite(path, only) for budget, path in SUITES.items()}
    for budget, suite in suites.items():
        (folder / f"{budget}.yaml").write_text(yaml.safe_dump(suite, sort_keys=False), encoding="utf-8")
    told = json.loads(shell.call("seamo_bench", "list", "protocols", "--json"))
    absent = {row["id"] for row in told} - {row["protocol"] for suite in suites.values() for row in suite["rows"]}
    if absent and not only:
        raise SystemExit(f"no row of {PROOF} runs {', '.join(sorted(absent))}: add one")

    readable = [row["id"] for row in json.loads(shell.call("seamo_prep", "list", "--json")) if row["status"] == "ready"]
    names = [name for name in readable if not only or name in (*STORES, TRAINED_ON)]
    _say(f"stores of {len(names)} synthetic archives")
    shell.call("seamo_prep", "demo", "raw", "--size", "tiny", "--seed", 7, "--workers", 2, "--only", ",".join(names))

    def build(name: str) -> None:
        root = "stores" if name in (*STORES, TRAINED_ON) else "more"
        shell.call("seamo_prep", "build", name, "--raw", "raw", "--store", root, "--workers", 1)

    def run(budget: str) -> None:
        arguments = ("--stores", "stores", "--results", budget, "--budget", budget)
        # Status 1: a cell failed. Its record says so, and the comparison looks at it.
        machine = ("--device", "cpu", "--threads", 1, "--workers", 1, "--keep-models")
        shell.call("seamo_bench", "run", f"{budget}.yaml", *arguments, *machine, status=(0, 1))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(build, names))
        _say("pretraining")
        changes = [word for name, value in MODEL.items() for word in ("--set", f"{name}={value}")]
        store = f"stores/{TRAINED_ON}"
        shell.call(
            "seamo", "pretrain", "seamo-tiny", "--store", store, "--out", f"runs/{RUN}", "--device", "cpu", *changes
        )
        _say("suites")
        list(pool.map(run, [budget for budget, suite in suites.items() if suite["rows"]]))
    _say("features, maps, tables")
    return {
        "only": list(only),
        "code": code,
        "machine": _machine(folder),
        "stores": _stores(folder),
        "weights": _weights(folder / "runs" / RUN / "final" / "model.safetensors"),
        "records": _records(folder),
        "features": _features(shell),
        "maps": _maps(shell),
        "tables": _tables(shell),
    }


def _say(what: str) -> None:
    sys.stderr.write(f"{what}\n")


def _suite(path: Path, only: Sequence[str]) -> Document:
    suite: Document = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {**suite, "rows": [row for row in suite["rows"] if not only or row["protocol"] in only]}


def _machine(folder: Path) -> dict[str, str]:
    """What decides how numbers are rounded: the processor, and the versions that a record notes."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    noted = json.loads(min(folder.glob("*/*.npz")).with_suffix(".json").read_bytes())["environment"]
    noted.pop("seamo", None)
    return {**noted, "processor": model, "capability": os.environ.get("ATEN_CPU_CAPABILITY", "")}


def _stores(folder: Path) -> Document:
    """Store -> what its bytes are: the content hash, its build (the hash of the plan), its splits."""
    found = {}
    for path in sorted([*folder.glob("stores/*/*/store.json"), *folder.glob("more/*/*/store.json")]):
        meta = json.loads(path.read_bytes())
        splits = meta["counts"]["splits"]
        found[meta["id"]] = {"content": meta["content"], "build": meta["build"], "splits": splits}
    return found


def _weights(path: Path) -> dict[str, str]:
    """Tensor -> hash, of a file of weights."""
    from safetensors.numpy import load_file

    return {name: hash_of({name: array}) for name, array in sorted(load_file(path).items())}


def _trained(written: Document, folder: Path) -> str:
    """One hash of all that a run trained: it moves with the last bit, where counts of pixels stay."""
    if written["head"] is None:
        return ""
    return hashlib.sha256(json.dumps(_weights(folder / written["head"]["name"])).encode()).hexdigest()


def hash_of(arrays: Mapping[str, Any]) -> str:
    """Sha256 of what arrays hold: names, types, shapes and numbers, whatever file they came from."""
    summed = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        summed.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        summed.update(array.tobytes())
    return summed.hexdigest()


def _records(folder: Path) -> list[Document]:
    found = []
    for path in sorted(path for budget in SUITES for path in folder.glob(f"{budget}/*.json")):
        written = json.loads(path.read_bytes())
        arrays = path.with_suffix(".npz")
        hashed = ""
        if arrays.is_file():
            with np.load(arrays, allow_pickle=False) as data:
                hashed = hash_of(dict(data))
        found.append(
            {
                "key": path.stem,
                "id": cell_id(written),
                "seamo": written["facts"]["backbone"]["id"].startswith(SEAMO),
                "protocol": written["facts"]["protocol"]["id"],
                "arrays": hashed,
                "trained": _trained(written, path.parent),
                "record": {name: value for name, value in written.items() if name not in LOOSE},
            }
        )
    twice = [name for name, count in Counter(row["id"] for row in found).items() if count > 1]
    if twice:
        raise SystemExit(f"two records are called {twice[0]!r}: say more in cell_id")
    return found


def cell_id(written: Document) -> str:
    """What a record is about, in words that do not depend on how the backbone reads pixels."""
    facts = written["facts"]
    protocol, split, adapter = facts["protocol"], facts["split"], facts["adapter"] or {}
    params = hashlib.sha256(json.dumps(protocol["params"], sort_keys=True).encode()).hexdigest()[:6]
    told = [
        protocol["id"],
        *(str(protocol["params"][name]) for name in ("head", "frozen") if name in protocol["params"]),
    ]
    return " | ".join(
        [
            facts["backbone"]["id"],
            "+".join(store["id"] for store in facts["stores"]),
            f"{' '.join(told)} {params}",
            f"{split['scheme']} {split['fraction']:g} {facts['task']['label_space']}",
            f"{facts['inputs']} {adapter.get('missing', '')} {adapter.get('size', '')}".strip(),
            f"{facts['precision']} {facts['budget']} {written['status']} seed {facts['seed']}",
        ]
    )


def _features(shell: Shell) -> Document:
    """What `seamo embed` gives, of a store on one grid, of one on native grids, and of an image."""
    image = min((shell.folder / "raw" / "eurosat").rglob("*.tif")).relative_to(shell.folder)
    bands = "B01,B02,B03,B04,B05,B06,B07,B08,B09,-,B11,B12,B8A"
    found = {}
    for name in ("eurosat", "bigearthnet-v1"):
        shell.call("seamo", "embed", f"runs/{RUN}", f"stores/{name}", "-o", f"{name}.npz", "--device", "cpu")
        with np.load(shell.folder / f"{name}.npz", allow_pickle=False) as data:
            found[name] = data["features"]
    asked = ("--bands", bands, "--unit", "dn", "--device", "cpu")
    shell.call("seamo", "embed", f"runs/{RUN}", image, "-o", "embedded.tif", *asked)
    found["image"] = _pixels(shell.folder / "embedded.tif")
    return {name: {"hash": hash_of({name: array}), "first": _first(array)} for name, array in found.items()}


def _first(array: Any) -> list[float]:
    """Enough of the numbers to say how far two runs are apart."""
    return [round(float(number), 8) for number in np.ravel(array)[:4096]]


def _pixels(path: Path) -> Any:
    import rasterio

    with rasterio.open(path) as opened:
        return opened.read()


def _maps(shell: Shell) -> dict[str, str]:
    """What `seamo-bench predict` draws with a kept head, of a dense record and of a classification."""
    folder, found = shell.folder, {}
    bands = {
        "dfc2020": ("s2_0", "B01,B02,B03,B04,B05,B06,B07,B08,B8A,B09,B10,B11,B12"),
        "eurosat": ("", "B01,B02,B03,B04,B05,B06,B07,B08,B09,B10,B11,B12,B8A"),
    }
    for row in _records(folder):
        written = row["record"]
        backbone, stores = written["facts"]["backbone"]["id"], written["facts"]["stores"]
        if backbone != "proof-clip" or not written["head"] or stores[0]["id"] not in bands or written["facts"]["seed"]:
            continue
        part, named = bands[stores[0]["id"]]
        image = min(path for path in (folder / "raw" / stores[0]["id"]).rglob("*.tif") if part in str(path))
        which = f"full/{row['key']}.json"
        asked = ("--unit", "dn", "--bands", named, "--probabilities", "--device", "cpu", "--threads", 1)
        shell.call("seamo_bench", "predict", which, image.relative_to(folder), "-o", "map.tif", *asked)
        found[row["id"]] = hash_of({"map": _pixels(folder / "map.tif")})
        (folder / "map.tif").unlink()
        if len(found) == 4:
            break
    return found


def _tables(shell: Shell) -> Document:
    """Cells of `table` and `compare`, of the records that are not SeaMo's: values, intervals and tests."""
    found: Document = {}
    for budget in SUITES:
        plain = shell.folder / f"plain-{budget}"
        plain.mkdir()
        for row in _records(shell.folder):
            source = shell.folder / budget / f"{row['key']}.json"
            if not row["seamo"] and source.is_file():
                for path in (source, source.with_suffix(".npz")):
                    if path.is_file():
                        shutil.copy(path, plain / path.name)
        if not any(plain.iterdir()):
            continue
        # Rows of two precisions share no column unasked.
        asked = ("table", plain.name, "--json", *(["--mixed"] if budget == "full" else []))
        for cell in json.loads(shell.call("seamo_bench", *asked)):
            kept = {name: value for name, value in cell.items() if name not in ("notes", "flags", "reason", "title")}
            found[f"{budget} {cell['id']} {cell['metric']}"] = kept
        for pair in json.loads(
            shell.call("seamo_bench", "compare", plain.name, "image-statistics", "pixel-values", "--json")
        ):
            found[f"{budget} compare {pair['id']} {pair['metric']}"] = pair
    return found
