"""How long the command lines take to answer `--help` and wrong usage: medians beside an interpreter that does nothing.

python perf/startup.py [REPEATS]
"""

import os
import statistics
import subprocess
import sys
import time

HELP_MS, USAGE_MS = 300, 500  # no more
_RUN = ("demo", "--stores", "nowhere", "--results", "nowhere")
LINES = (
    ("seamo", ("--help",)),
    ("seamo", ("pretrain", "--help")),
    ("seamo", ("nothing",)),
    ("seamo", ("pretrain", "seamo-tiny")),
    ("seamo", ("pretrain", "nothing", "--store", "nowhere", "--out", "nowhere")),
    ("seamo", ("info", "nowhere")),
    ("seamo-prep", ("--help",)),
    ("seamo-prep", ("build", "--help")),
    ("seamo-prep", ("build", "nothing", "--raw", "nowhere", "--store", "nowhere")),
    ("seamo-bench", ("--help",)),
    ("seamo-bench", ("run", "--help")),
    ("seamo-bench", ("nothing",)),
    ("seamo-bench", ("run", "demo")),
    ("seamo-bench", ("run", "nothing", *_RUN[1:])),
    ("seamo-bench", ("run", *_RUN, "--backbones", "nothing")),
    ("seamo-bench", ("study", "nothing", "--store", "nowhere", *_RUN[1:])),
)
_MODULES = {"seamo": "seamo.cli", "seamo-prep": "seamo_prep.cli", "seamo-bench": "seamo_bench.cli"}


def median_ms(command: list[str], status: int, repeats: int) -> float:
    """Median wall time of a command in milliseconds, after one run that warms the caches."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        times.append(1000 * (time.perf_counter() - start))
        if done.returncode != status:
            sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr}")
    return statistics.median(times[1:])


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 11
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}, {repeats} runs")
    print(f"{median_ms([sys.executable, '-c', 'pass'], 0, repeats):6.0f} ms  python -c pass")
    slow = 0
    for program, words in LINES:
        is_help = "--help" in words
        entry = f"from {_MODULES[program]} import main; main()"  # what the installed script does
        took = median_ms([sys.executable, "-c", entry, *words], 0 if is_help else 2, repeats)
        limit = HELP_MS if is_help else USAGE_MS
        slow += took > limit
        print(f"{took:6.0f} ms  {program} {' '.join(words)}{'' if took <= limit else f'  MORE THAN {limit} ms'}")
    sys.exit(1 if slow else 0)


if __name__ == "__main__":
    main()
