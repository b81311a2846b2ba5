"""What measurements share: rounds that alternate, medians and ratios, the memory of a process tree, the machine."""

import json
import os
import platform
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

RESULTS = Path(__file__).resolve().parent / "results"
_SAMPLE_S = 0.05  # between two looks at the memory of a process tree


def machine() -> str:
    """One line about where and when something was measured."""
    name = platform.machine()
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123 - not a file of ours
        name = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), name)
    memory = psutil.virtual_memory().total / 2**30
    load = os.getloadavg()[0]
    cores = len(os.sched_getaffinity(0))
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {name}, {cores} cores, {memory:.0f} GiB, load before {load:.1f}, "
        f"Python {platform.python_version()}, numpy {version('numpy')}, zarr {version('zarr')}"
    )


def facts(packages: tuple[str, ...]) -> dict[str, object]:
    """The same as values, for results that are kept, with versions; None for a package that is not there."""
    found: dict[str, str | None] = {}
    for name in packages:
        found[name] = None
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return {"machine": machine(), "kernel": platform.release(), "versions": found}


def keep(name: str, document: Mapping[str, object]) -> Path:
    """Keep a result: perf/results/<date>-<name>.json."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{datetime.now(UTC):%Y-%m-%d}-{name}.json"
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return path


@dataclass(slots=True)
class Rounds:
    """Rates of several variants that were measured in turn.

    Args:
        rates: Variant -> samples a second, one number a round.
    """

    rates: dict[str, list[float]] = field(default_factory=dict)

    def report(self, ours: str) -> str:
        """Median and range of each, and how many times faster `ours` is (median of the ratios by round)."""
        lines = [f"{'variant':42} {'samples/s':>10} {'range':>17} {'ours is':>9}"]
        for name, rates in self.rates.items():
            ratios = [mine / theirs for mine, theirs in zip(self.rates[ours], rates, strict=True)]
            span = f"{min(rates):.1f}-{max(rates):.1f}"
            faster = "" if name == ours else f"{statistics.median(ratios):.2f} x"
            lines.append(f"{name:42} {statistics.median(rates):10.1f} {span:>17} {faster:>9}")
        return "\n".join(lines)


def alternate(variants: Mapping[str, Callable[[], int]], *, rounds: int) -> Rounds:
    """Measure variants in turn, so that a noisy machine is noisy for all of them.

    Args:
        variants: Name -> what to run; returns the number of samples it went through.
        rounds: How often; a first round that warms the caches is not counted.
    """
    found = Rounds({name: [] for name in variants})
    for number in range(rounds + 1):
        for name, run in variants.items():
            begin = time.perf_counter()
            count = run()
            if number:
                found.rates[name].append(count / (time.perf_counter() - begin))
    return found


@dataclass(frozen=True, slots=True)
class Peak:
    """What a command needed.

    Args:
        seconds: Wall time.
        rss: Largest sum of the resident memory of its processes, bytes; shared pages count once a process.
        pss: The same with shared pages counted once in all; looked at only every second or so, because it is slow.
        processes: Largest number of processes at a time.
    """

    seconds: float
    rss: int
    pss: int
    processes: int


def peak_of(command: list[str], *, env: Mapping[str, str]) -> Peak:
    """Run a command and watch the memory of its whole process tree.

    Raises:
        subprocess.CalledProcessError: If it fails.
    """
    begin = time.perf_counter()
    with subprocess.Popen(command, env=dict(env), stdout=subprocess.DEVNULL) as process:
        rss = pss = count = looks = 0
        done = threading.Event()
        threading.Thread(target=lambda: (process.wait(), done.set()), daemon=True).start()
        while not done.wait(_SAMPLE_S):
            tree = _tree(process.pid)
            rss = max(rss, sum(_memory(one, full=False) for one in tree))
            count = max(count, len(tree))
            looks += 1
            if looks % 20 == 0:
                pss = max(pss, sum(_memory(one, full=True) for one in tree))
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Peak(time.perf_counter() - begin, rss, pss, count)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, of its children that live, and of those that it waited for."""
    total = 0.0
    for number, one in enumerate(_tree(pid)):
        with suppress(psutil.NoSuchProcess):
            spent = one.cpu_times()
            total += spent.user + spent.system
            if not number:
                total += spent.children_user + spent.children_system
    return total


def pss_of(pid: int) -> int:
    """Memory of a process tree now, shared pages once, bytes."""
    return sum(_memory(one, full=True) for one in _tree(pid))


def _tree(pid: int) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    return []


def _memory(process: psutil.Process, *, full: bool) -> int:
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied, ProcessLookupError):
        return int(process.memory_full_info().pss if full else process.memory_info().rss)
    return 0
