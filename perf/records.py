"""What tables, reports, comparisons and plans cost with many records: seconds and memory of whole commands.

python perf/records.py [--records 300,600,1200,2400] [--columns 4,30] [--samples 400]

Records are invented and say so (synthetic): models with five seeds each, over few or over many columns. Each command
is a process of its own, twice: the first makes the replicates that intervals are computed from, the second finds them.
"""

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from bench import machine

from seamo_bench import facts as f
from seamo_bench.predictions import ClassPredictions
from seamo_bench.records.record import About, write_record

SEEDS = 5
CLASSES = tuple("abcdefghij")
COMMANDS = {
    "table": ("table",),
    "report": ("report", "-o", "{out}"),
    "compare": ("compare", "model-000", "model-001"),
}


def invent(results: Path, *, records: int, columns: int, samples: int) -> None:
    """Records of models of growing skill: every model in every column, five seeds each, as many models as it takes."""
    keys = np.array([f"k{i:05d}" for i in range(samples)])
    models = -(-records // (columns * SEEDS))
    left = records
    for model in range(models):
        for column in range(columns):
            labels = np.random.default_rng([1, column]).integers(0, len(CLASSES), samples)
            for seed in range(min(SEEDS, left)):
                rng = np.random.default_rng([2, model, column, seed])
                right = rng.random(samples) < 0.5 + 0.4 * model / models
                scores = rng.normal(0, 0.3, (samples, len(CLASSES))).astype(np.float32)
                scores[np.arange(samples), np.where(right, labels, (labels + 1) % len(CLASSES))] += 3
                facts = f.Facts(
                    stores=(f.StoreFacts(id=f"made-{column:02d}", content=f"{column:064x}", synthetic=True),),
                    split=f.SplitFacts(scheme="official", lists={"train": "1" * 64, "test": f"{column:064x}"}),
                    task=f.TaskFacts(kind="single-label", classes=CLASSES, label_space=f"made-{column:02d}"),
                    backbone=f.BackboneFacts(id=f"model-{model:03d}", card=f"{model:064x}", weights=f"{model:064x}"),
                    protocol=f.ProtocolFacts(id="linear", version=1),
                    seed=seed,
                )
                about = About(stores=(f"Invented {column}",), backbone=f"Model {model}")
                write_record(results, facts, about=about, predictions=ClassPredictions(keys, labels, scores))
                left -= 1


def timed(words: list[str]) -> tuple[float, float, float]:
    """Seconds by the clock, seconds of CPU, and MB of a command."""
    entry = (
        "import resource, sys\nfrom seamo_bench.cli import main\ntry:\n    main()\nfinally:\n"
        "    print('PEAK', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    )
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", entry, *words], check=False, capture_output=True, text=True)
    took, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    peak = re.search(r"PEAK (\d+)", done.stderr)
    if done.returncode or peak is None:
        sys.exit(f"{' '.join(words)}: exit {done.returncode}\n{done.stderr}")
    return took, used, int(peak[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", default="300,600,1200,2400")
    parser.add_argument("--columns", default="4,30")
    parser.add_argument("--samples", type=int, default=400)
    said = parser.parse_args()
    print(f"{machine()}; {said.samples} test samples, {SEEDS} seeds a model and column; load {os.getloadavg()[0]:.1f}")
    print(
        f"{'command':10} {'columns':>8} {'records':>8} {'first':>10} {'(CPU)':>9} {'again':>10} {'(CPU)':>9} {'MB':>6}"
    )
    for columns in map(int, said.columns.split(",")):
        for records in map(int, said.records.split(",")):
            with tempfile.TemporaryDirectory() as folder:
                results = Path(folder) / "results"
                invent(results, records=records, columns=columns, samples=said.samples)
                for name, (verb, *words) in COMMANDS.items():
                    line = [verb, str(results), *(word.format(out=f"{folder}/report.html") for word in words)]
                    first, again = timed(line), timed(line)
                    print(
                        f"{name:10} {columns:8} {records:8} {first[0]:8.1f} s {first[1]:7.1f} s "
                        f"{again[0]:8.1f} s {again[1]:7.1f} s {again[2]:6.0f}",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
