"""Peak memory of the whole process tree of a build, with samples that are made on the fly (synthetic).

python perf/memory.py [eurosat=20000] [ssl4eo-s12=500] [--layout zarr|webdataset]

The build is the real `seamo-prep build --workers 2`. What counts is the largest sum of the resident memory of all its
processes, in which pages that processes share are counted several times. Fails above 2 GB.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from bench import machine, peak_of
from made_archive import installed

_LIMIT = 2_000_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=["eurosat=20000", "ssl4eo-s12=500"], metavar="ID=SAMPLES")
    parser.add_argument("--layout", choices=("zarr", "webdataset"), default="zarr")
    parser.add_argument("--scratch", type=Path, default=None, help="folder for the stores; a temporary one without it")
    arguments = parser.parse_args()
    print(machine())
    highest = 0
    for item in arguments.what:
        dataset, _, count = item.partition("=")
        with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
            name, raw, environment = installed(Path(scratch) / "package", dataset, count=int(count))
            command = [sys.executable, "-m", "seamo_prep.cli", "build", name, "--raw", str(raw), "--workers", "2",
                       "--store", f"{scratch}/store", "--layout", arguments.layout]  # fmt: skip
            peak = peak_of(command, env=environment)
            stored = sum(path.stat().st_size for path in Path(scratch, "store").rglob("*") if path.is_file())
        highest = max(highest, peak.rss)
        print(
            f"{dataset}, {int(count):,} samples, {arguments.layout}: peak {peak.rss / 1e6:,.0f} MB "
            f"(shared pages once: {peak.pss / 1e6:,.0f} MB) in {peak.processes} processes, "
            f"{peak.seconds:.0f} s, store {stored / 1e6:,.0f} MB"
        )
    print(f"highest {highest / 1e6:,.0f} MB, limit {_LIMIT / 1e6:,.0f} MB: {'ok' if highest < _LIMIT else 'TOO MUCH'}")
    sys.exit(0 if highest < _LIMIT else 1)


if __name__ == "__main__":
    main()
