"""How long the command lines take to answer `--help`: medians beside an interpreter that does nothing.

python perf/startup.py [REPEATS]
"""

import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path


def median_s(command: list[str], repeats: int) -> float:
    """Median wall time of a command in seconds, after one run that warms the caches."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 11
    beside = str(Path(sys.executable).parent)
    commands = {"python -c pass": [sys.executable, "-c", "pass"]}
    for name, words in (
        ("seamo", []),
        ("seamo-prep", []),
        ("seamo-prep", ["build"]),
        ("seamo-bench", []),
    ):
        found = shutil.which(name, path=beside)
        if found is not None:
            commands[" ".join([name, *words, "--help"])] = [found, *words, "--help"]
    for title, command in commands.items():
        try:
            print(f"{title:28} {1000 * median_s(command, repeats):7.0f} ms")
        except subprocess.CalledProcessError as error:
            print(f"{title:28} failed ({error.stderr.decode().strip().splitlines()[-1]})")


if __name__ == "__main__":
    main()
