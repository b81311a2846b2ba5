"""What a million rows cost before the first pixel: seconds and MB of each command on a store of 1,000,000 samples.

python perf/million.py [--rows 1000000] [--tasks single-label,multi-label] [--keep FOLDER] [--json]

The store is made first (`made_million.py`: a whole index, few pixels; synthetic), which takes a minute or two. Every
line is a process of its own. `work` is time by the clock without imports, beside its CPU time and the imports; `whole`
is the command as a user waits for it, the interpreter's start included. MB is the process's high-water mark, and how
much of it came with imports (torch alone takes 270 to 510 MB, by its build). Fails where work takes more than a second,
or more than 500 MB beside the imports; a Loader's first batch is shown beside it.
`verify` exits with 1: what it says of made-up pixels is true.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SECONDS, MB = 1.0, 500.0  # no more
_SUITE = """id: million
backbones: [image-statistics, resnet18]
rows:
  - {store: tiny, protocol: linear}
  - {store: tiny, protocol: knn}
  - {store: tiny, protocol: finetune}
"""
# Imports are measured from outside: the outermost one counts, wherever it stands.
_CHILD = """
import builtins, importlib, json, sys, time
def memory(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(name)) / 1024
inside, imports, busy, loaded = 0, 0.0, 0.0, 0.0
def measured(call):
    def one(*words, **more):
        global inside, imports, busy, loaded
        if inside:
            return call(*words, **more)
        inside, start, used = 1, time.perf_counter(), time.process_time()
        held = memory("VmRSS") if words[0] not in sys.modules else 0.0
        try:
            return call(*words, **more)
        finally:
            inside, imports, busy = 0, imports + time.perf_counter() - start, busy + time.process_time() - used
            loaded += memory("VmRSS") - held if held else 0.0
    return one
begin, used = time.perf_counter(), time.process_time()
builtins.__import__, importlib.import_module = measured(builtins.__import__), measured(importlib.import_module)
beside = {{}}
try:
    {code}
except SystemExit as end:
    if end.code not in (None, 0, {status}):
        raise
print(json.dumps({{"work_s": time.perf_counter() - begin - imports, "work_cpu_s": time.process_time() - used - busy,
                   "imports_s": imports, "mb": memory("VmHWM"), "imports_mb": loaded, **beside}}), file=sys.stderr)
"""
_MAIN = "from {0}.cli import main; sys.argv[0] = {0!r}; main()"
_ROWS = "from seamo.store.reader import open_store; store = open_store(sys.argv[1]); rows = store.rows('train')"
_LOADER = """from seamo.data.loader import Loader
    from seamo.store.reader import open_store
    store = open_store(sys.argv[1])
    loader = Loader(store, store.rows('train'), 64, shuffle=True, drop_last=True)"""
_BATCH = """
    beside["loader_s"] = time.perf_counter() - begin - imports
    next(iter(loader))"""


def lines(folder: Path, store: str) -> dict[str, tuple[str, list[str], int]]:
    """Name -> code, words and the exit status that is no failure either."""
    stores, suite = str(folder / "stores"), str(folder / "million.yaml")
    prep, bench = _MAIN.format("seamo_prep"), _MAIN.format("seamo_bench")
    return {
        "open, rows": (_ROWS, [store], 0),
        "Loader": (_LOADER, [store], 0),
        "Loader, first batch": (_LOADER + _BATCH, [store], 0),
        "ls": (prep, ["ls", stores], 0),
        "plan": (bench, ["plan", suite, "--stores", stores, "--results", str(folder / "results")], 0),
        "verify": (prep, ["verify", store], 1),
        "look": (prep, ["look", store, "-o", str(folder / "look.png")], 0),
    }


def measured(code: str, words: list[str], status: int) -> dict[str, float]:
    """Seconds and MB of one process.

    Raises:
        SystemExit: If it fails.
    """
    begin = time.perf_counter()
    command = [sys.executable, "-c", _CHILD.format(code=code, status=status), *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    whole = time.perf_counter() - begin
    if done.returncode:
        sys.exit(f"{' '.join(words)}: exit {done.returncode}\n{done.stderr}")
    return {**json.loads(done.stderr.splitlines()[-1]), "whole_s": whole}


def measure(folder: Path, task: str, rows: int, rounds: int) -> dict[str, Any]:
    """Make the store if it is not there, and measure every line: medians of some rounds."""
    from made_million import made_store

    begin = time.perf_counter()
    there = list((folder / "stores").glob("*/*/store.json"))
    store = str(there[0].parent) if there else made_store(folder, rows, task).url  # type: ignore
    (folder / "million.yaml").write_text(_SUITE)
    took = time.perf_counter() - begin
    found: dict[str, Any] = {}
    for name, line in lines(folder, store).items():
        runs = sorted((measured(*line) for _ in range(rounds)), key=lambda run: run["work_s"])
        found[name] = runs[rounds // 2]
    index = Path(store, "index.parquet").stat().st_size
    return {"task": task, "rows": rows, "index_bytes": index, "made_in_s": took, "found": found}


def is_over(name: str, run: dict[str, float]) -> bool:
    """Whether a line is above a mark; the first batch is beside them."""
    return "batch" not in name and (run["work_s"] > SECONDS or run["mb"] - run["imports_mb"] > MB)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--tasks", default="single-label,multi-label")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--keep", type=Path, help="folder for the stores, kept and found again; a temporary one without"
    )
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    from bench import machine

    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch:
        home = given.keep or Path(scratch)
        tables = [measure(home / task, task, given.rows, given.rounds) for task in given.tasks.split(",")]
    over = [f"{one['task']} {name}" for one in tables for name, run in one["found"].items() if is_over(name, run)]
    if given.json:
        print(json.dumps({"machine": machine(), "load": load, "seconds": SECONDS, "mb": MB, "tables": tables,
                          "over": over}, indent=1))  # fmt: skip
    else:
        print(machine())
        for one in tables:
            print(f"{one['rows']:,} rows, {one['task']}, index {one['index_bytes'] / 1e6:.0f} MB (synthetic)")
            print(f"{'':22}{'work':>8}{'its CPU':>9}{'imports':>9}{'whole':>8}{'MB':>7}{'imports':>9}")
            for name, run in one["found"].items():
                numbers = f"{run['work_s']:8.2f}{run['work_cpu_s']:9.2f}{run['imports_s']:9.2f}{run['whole_s']:8.2f}"
                flag = "  TOO MUCH" if is_over(name, run) else ""
                print(f"{name:22}{numbers}{run['mb']:7.0f}{run['imports_mb']:9.0f}{flag}")
    sys.exit(1 if over else 0)


if __name__ == "__main__":
    main()
