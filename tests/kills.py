"""Kills on purpose: verbs that write, killed at random moments, lose nothing, change nothing and leave nothing.

    python -m tests.kills [--kills 500] [--seed 0] [VERB ...]

Each round starts a verb through the command line in an empty folder, kills its whole process group at a random moment
(again and again, one to three times), lets it run to its end, and holds what is there against a run that nobody
disturbed: the same content, and no file that a finished run does not leave. With `build-scheduler` and `run-scheduler`
it is dask workers that are killed, and the verb itself that must end.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SETTINGS = {
    "stage1.epochs": 2,
    "stage1.warmup_epochs": 0,
    "stage2.epochs": 2,
    "stage2.warmup_epochs": 0,
    "optimiser.batch": 2,
    "machine.checkpoint_every": 2,
    "machine.workers": 1,
}
PRETRAIN = [
    "seamo-demo-plain",
    "--device",
    "cpu",
    *(word for key, n in _SETTINGS.items() for word in ("--set", f"{key}={n}")),
]
SUITE = """id: kills
title: kills
backbones: [image-statistics]
rows:
  - {store: eurosat, protocol: knn}
  - {store: eurosat, protocol: logreg}
"""
SCHEDULERS = ("build-scheduler", "run-scheduler")  # of these the workers are killed: `attack_workers`
_ENTRY = {"seamo": "seamo.cli", "seamo-prep": "seamo_prep.cli", "seamo-bench": "seamo_bench.cli"}
_LITTER = (".part", ".partial", ".tmp")


@dataclass(frozen=True)
class Verb:
    """One verb under attack.

    Args:
        command: Program and arguments, for the prepared folder and the folder that is written.
        result: What must come out, as plain values.
        prepare: Puts what must be there beforehand into the folder that is written.
        share: Of the kills, against the others: what takes long is killed less often.
    """

    command: Callable[[Path, Path], list[str]]
    result: Callable[[Path], Any]
    prepare: Callable[[Path, Path], None] = lambda _made, _out: None
    share: float = 1.0


def stores_of(out: Path) -> Any:
    """Content, pixels, truth, statistics and manifest of every store and view."""
    found = {}
    for path in sorted(out.rglob("store.json")):
        facts = json.loads(path.read_bytes())
        kept = {name: facts[name] for name in ("pixels", "content", "truth", "statistics", "counts", "index", "title")}
        files = json.loads((path.parent / "checksums.json").read_bytes())["files"]
        there = {str(one.relative_to(path.parent)) for one in path.parent.rglob("*") if one.is_file()}
        own = {name for name in there if not name.startswith("views/")}
        found[str(path.parent.relative_to(out))] = (kept, files, sorted(own))
        for name, said in files.items():
            data = (path.parent / name).read_bytes()
            assert hashlib.sha256(data).hexdigest() == said["sha256"], f"{path.parent / name} is not what was sealed"
    listed = {
        str(path.parent.relative_to(out) / name): sorted(one["refers"])
        for path in sorted(out.rglob("catalog.json"))
        for name, one in json.loads(path.read_bytes())["stores"].items()
    }
    return found, listed


def records_of(out: Path) -> Any:
    """Key, status, scores and predictions of every record."""
    found = {}
    for path in sorted(out.rglob("*.json")):
        facts = json.loads(path.read_bytes())
        if isinstance(facts, dict) and "scores" in facts and "facts" in facts:
            said = facts.get("predictions") or {}
            found[path.name] = (facts.get("status"), facts["scores"], said.get("sha256"))
    return found


def weights_of(out: Path) -> Any:
    """The final weights, the names of checkpoints, and the losses."""
    final = (out / "run" / "final" / "model.safetensors").read_bytes()
    steps = sorted(one.name for one in (out / "run" / "checkpoints").iterdir())
    return hashlib.sha256(final).hexdigest(), steps


def bytes_of(out: Path) -> Any:
    """Every file with its hash."""
    return {
        str(one.relative_to(out)): hashlib.sha256(one.read_bytes()).hexdigest()
        for one in sorted(out.rglob("*"))
        if one.is_file() and not one.name.endswith(".lock")
    }


def _copied(name: str) -> Callable[[Path, Path], None]:
    return lambda made, out: shutil.copytree(made / name, out / name, dirs_exist_ok=True)


def _one(folder: Path) -> str:
    return str(next(path.parent for path in sorted(folder.glob("*/store.json"))))


VERBS: dict[str, Verb] = {
    "build-zarr": Verb(
        lambda made, out: [
            "seamo-prep",
            "build",
            "eurosat",
            "--raw",
            f"{made}/raw",
            "--store",
            f"{out}/s",
            "--workers",
            "2",
        ],
        stores_of,
    ),
    "build-webdataset": Verb(
        lambda made, out: [
            *("seamo-prep", "build", "eurosat", "--raw", f"{made}/raw", "--store", f"{out}/s"),
            *("--layout", "webdataset", "--workers", "1"),
        ],
        stores_of,
    ),
    "build-view": Verb(
        lambda made, out: [
            *("seamo-prep", "build", "eurosat", "--raw", f"{made}/raw", "--store", f"{out}/stores"),
            *("--splits", "cv5x5", "--workers", "1"),
        ],
        stores_of,
        _copied("stores"),
    ),
    "build-scheduler": Verb(
        lambda made, out: ["seamo-prep", "build", "eurosat", "--raw", f"{made}/raw", "--store", f"{out}/stores"],
        stores_of,
        share=0.5,
    ),
    "run-scheduler": Verb(
        lambda made, out: [
            *("seamo-bench", "run", f"{made}/suite.yaml", "--stores", f"{made}/stores", "--results", f"{out}/results"),
            *("--backbones", "image-statistics,pixel-values", "--threads", "1"),
        ],
        records_of,
        share=0.5,
    ),
    "copy": Verb(
        lambda made, out: ["seamo-prep", "copy", _one(made / "stores" / "eurosat"), f"{out}/s"],
        stores_of,
    ),
    "pretrain": Verb(
        lambda made, out: [
            *(
                "seamo",
                "pretrain",
                *PRETRAIN,
                "--store",
                f"{made}/stores/ssl4eo-s12",
                "--out",
                f"{out}/run",
                "--resume",
            ),
        ],
        weights_of,
        share=0.5,
    ),
    "run": Verb(
        lambda made, out: [
            *("seamo-bench", "run", f"{made}/suite.yaml", "--stores", f"{made}/stores", "--results", f"{out}/results"),
        ],
        records_of,
        share=0.5,
    ),
    "submit": Verb(
        lambda made, out: ["seamo-bench", "submit", f"{made}/results", f"{out}/dest"],
        records_of,
        share=0.5,
    ),
    "demo": Verb(
        lambda _, out: ["seamo-prep", "demo", f"{out}/raw", "--size", "tiny", "--only", "eurosat", "--workers", "1"],
        bytes_of,
        share=0.5,
    ),
}


def command_line(words: list[str]) -> list[str]:
    """The same through `python -m`, so that the tree under test is what runs."""
    return [sys.executable, "-m", _ENTRY[words[0]], *words[1:]]


def prepare(made: Path, *, small: bool = False) -> None:
    """Archives, stores, a suite and results that the verbs need.

    Args:
        made: An empty folder.
        small: Only EuroSAT and its store: what `build-*` and `copy` need.
    """
    if small:
        _ended(["seamo-prep", "demo", f"{made}/raw", "--size", "tiny", "--only", "eurosat", "--workers", "1"])
        _ended(["seamo-prep", "build", "eurosat", "--raw", f"{made}/raw", "--store", f"{made}/stores"])
        return
    for words in (
        ["seamo-prep", "demo", f"{made}/raw", "--size", "tiny", "--only", "ssl4eo-s12,eurosat", "--workers", "1"],
        ["seamo-prep", "build", "eurosat", "--raw", f"{made}/raw", "--store", f"{made}/stores", "--workers", "1"],
        ["seamo-prep", "build", "ssl4eo-s12", "--raw", f"{made}/raw", "--store", f"{made}/stores", "--workers", "1"],
    ):
        _ended(words)
    (made / "suite.yaml").write_text(SUITE)
    _ended(["seamo-bench", "run", f"{made}/suite.yaml", "--stores", f"{made}/stores", "--results", f"{made}/results"])


def attack(verb: Verb, made: Path, root: Path, *, kills: int, seed: int) -> tuple[int, list[str]]:
    """Kill a verb so many times, in rounds of one to three; what went wrong, and the number of kills that hit.

    Args:
        verb: Under attack.
        made: From `prepare`.
        root: An empty folder.
        kills: How many.
        seed: Of the moments.
    """
    drawn = random.Random(seed)  # noqa: S311 - no secret
    sound = root / "sound"
    sound.mkdir()
    verb.prepare(made, sound)
    begun = time.monotonic()
    _ended(verb.command(made, sound))
    lasts = time.monotonic() - begun
    want, files = verb.result(sound), _names(sound)
    hits, faults, number = 0, [], 0
    while hits < kills:
        number += 1
        out = root / f"round{number}"
        out.mkdir()
        verb.prepare(made, out)
        moments = [round(drawn.uniform(0.0, 1.05 * lasts), 3) for _ in range(min(drawn.randint(1, 3), kills - hits))]
        for moment in moments:
            hits += _killed(verb.command(made, out), moment)
        ended = subprocess.run(command_line(verb.command(made, out)), capture_output=True, text=True, check=False)
        where = f"killed after {moments} s"
        if ended.returncode:
            faults.append(f"{where}: ended with {ended.returncode}: {ended.stderr.strip()[-300:]}")
        elif verb.result(out) != want:
            faults.append(f"{where}: something else came out")
        else:
            extra = sorted(_names(out) - files)
            faults += [f"{where}: left {name}" for name in extra if _is_litter(name)]
        if not ended.returncode:
            shutil.rmtree(out)
        if number > 20 * max(kills, 1):
            faults.append("the verb ends before it can be killed")
            break
    return hits, faults


def attack_workers(verb: Verb, made: Path, root: Path, *, kills: int, seed: int) -> tuple[int, list[str]]:
    """Kill workers of a scheduler while a verb uses them, at most four a round; see `attack`."""
    from tests.dask_cluster import SLOW_CELLS, SLOW_SHARDS, Cluster

    drawn = random.Random(seed)  # noqa: S311 - no secret
    os.environ["DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES"] = "10"  # as the guide advises where workers come and go
    sound = root / "sound"
    _ended(verb.command(made, sound))
    want = verb.result(sound)
    slow = SLOW_SHARDS if verb.result is stores_of else SLOW_CELLS
    hits, faults, number = 0, [], 0
    while hits < kills and number < 2 * kills:
        number += 1
        out, place = root / f"round{number}", root / f"cluster{number}"
        with Cluster(place, seconds=0.3, slow=slow) as cluster:
            for _ in range(2):
                cluster.start_worker()
            words = [*verb.command(made, out), "--scheduler", cluster.address]
            process = subprocess.Popen(command_line(words), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            killed = 0
            while process.poll() is None:
                time.sleep(drawn.uniform(0.2, 1.5))
                if killed < min(4, kills - hits) and list(cluster.marks.iterdir()) and process.poll() is None:
                    cluster.workers[-2 + killed % 2].kill()
                    killed += 1
                    cluster.start_worker()
            said = process.stderr.read().decode() if process.stderr else ""
            hits += killed
        if process.returncode:
            faults.append(f"{killed} workers killed: ended with {process.returncode}: {said[-300:]}")
        elif verb.result(out) != want:
            faults.append(f"{killed} workers killed: something else came out")
    return hits, faults


def _names(folder: Path) -> set[str]:
    return {str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file()}


def _is_litter(name: str) -> bool:
    """A file that a finished run does not leave, by its name."""
    last = name.rpartition("/")[2]
    return any(part.endswith(_LITTER) for part in name.split("/")) or last.startswith(".") or ".work/" in name


def _killed(words: list[str], moment: float) -> int:
    process = subprocess.Popen(
        command_line(words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return 1
    return 0


def _ended(words: list[str]) -> None:
    done = subprocess.run(command_line(words), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: {done.stderr}")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def shares(verbs: Mapping[str, Verb], kills: int) -> dict[str, int]:
    """Kills of each verb."""
    total = sum(verb.share for verb in verbs.values())
    return {name: max(1, round(kills * verb.share / total)) for name, verb in verbs.items()}


def main(arguments: list[str]) -> int:
    """See the module's text; 0 if nothing went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verbs", nargs="*", metavar="VERB", help=", ".join(VERBS))
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    verbs = {name: VERBS[name] for name in chosen.verbs or VERBS}
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    wrong = 0
    with tempfile.TemporaryDirectory() as made:
        prepare(Path(made))
        for name, kills in shares(verbs, chosen.kills).items():
            with tempfile.TemporaryDirectory() as root:
                how = attack_workers if name in SCHEDULERS else attack
                hits, faults = how(verbs[name], Path(made), Path(root), kills=kills, seed=chosen.seed)
            wrong += len(faults)
            _say("\n  ".join([f"{name}: {hits} kills, {len(faults)} faults", *faults]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
