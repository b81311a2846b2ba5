"""What a GPU is asked first: one command of eight minutes, parts in a fixed order, each within its budget.

    python perf/gpu.py [--minutes 8] [--peak-tflops 989] [--out gpu.json]
    python perf/gpu.py --fiftieth      # the same parts at a fiftieth, also on a CPU: that they run, not how fast

Each part is a process of its own: one that fails or hangs costs its budget and no other part. What does not fit into
the minutes that are left is skipped, and said to be. Worlds and a store are drawn beside the first parts by niced
processes that leave four cores alone. Marks, fixed beforehand: 45 % model-FLOPs utilisation for stage 2 of `seamo-base`
at 256 places; 69 places/s, the rate on an RTX 4090 that the paper's hours mean (200 hours, 220 epochs, 250,000 places);
the others stand in `gpu_parts.py` and `gpu_learning.py`. Without a CUDA device and `--fiftieth` nothing is measured.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

HERE = Path(__file__).resolve().parent
MARK_MFU, MARK_RATE = 0.45, 69.0
NOT_MEASURED = "not measured: no CUDA device"
STEP = "training step, SeaMo stage 2"  # as perf/training.py calls it


@dataclass(frozen=True, slots=True)
class Part:
    """One thing to measure.

    Args:
        name: What the report calls it.
        script: In this folder; with its words. It writes its figures to `--out` or `--json`.
        least: Seconds without which it is not begun.
        most: Seconds after which it is ended; 0: what is left.
        drawn: Whether it needs the worlds and the store.
        flag: How the script is told where its figures go.
    """

    name: str
    script: tuple[str, ...]
    least: float
    most: float
    drawn: bool = False
    flag: str = "--out"


@dataclass(slots=True)
class Outcome:
    """What came of a part: `status` is ok, skipped, failed, timed out or not measured, with its reason."""

    name: str
    status: str
    seconds: float = 0.0
    figures: dict[str, object] = field(default_factory=dict)
    text: str = ""


def parts(work: Path, *, fiftieth: bool, device: str, peak: float | None) -> list[Part]:
    """In the order in which they matter."""
    small = ["--size", "16", "--dim", "64", "--depth", "1"] if fiftieth else ["--recipe", "seamo-base"]
    step = ["training.py", *small, "--device", device, "--dtype", "bf16"]
    step += ["--rounds", "1"] if fiftieth else ["--rounds", "3", "--repeat", "6"]
    step += [] if peak is None else ["--peak-tflops", f"{peak:g}"]
    compiled = [] if fiftieth else ["--compile"]  # inductor on a CPU is another compiler
    batch = ["1", "2", "3"] if fiftieth else ["256", "128", "384"]
    more = ["--fiftieth"] if fiftieth else []
    here = ["--work", str(work), *more]
    learning = ("gpu_learning.py", "--world", str(work / "world"), *more)
    listed = [
        Part(f"step, {batch[0]} places", (*step, *compiled, "--batch", batch[0], "--profile"), 60, 120, flag="--json"),
        *(
            Part(f"step, {one} places", (*step, *compiled, "--batch", one, "--alone"), 35, 55, flag="--json")
            for one in batch[1:]
        ),
        Part("loader beside the step", ("gpu_parts.py", "loader", *here), 35, 65, drawn=True),
        Part("bf16 against fp32", ("gpu_parts.py", "precision", *here), 20, 40),
        Part(f"eager step, {batch[0]} places", (*step, "--batch", batch[0], "--alone"), 20, 30, flag="--json"),
        Part("nccl, one rank", ("gpu_parts.py", "nccl", *here), 15, 25),
        Part("learning", learning, 170, 0, drawn=True),
    ]
    # A dry run is of the script and not of the machine, which may be a slow one that others use, too.
    return [replace(one, least=1, most=20 * one.most) for one in listed] if fiftieth else listed


def run(part: Part, seconds: float, out: Path) -> Outcome:
    """A part as a process, ended after so many seconds."""
    command = [sys.executable, str(HERE / part.script[0]), *part.script[1:], part.flag, str(out)]
    if part.name == "learning":
        # The rest: imports, and the probes that come after both seeds.
        command += ["--seconds", f"{0.85 * seconds / (50 if '--fiftieth' in part.script else 1):.1f}"]
    began = time.perf_counter()
    try:
        done = subprocess.run(
            command, cwd=HERE, capture_output=True, text=True, timeout=seconds, check=False, env=surroundings()
        )
    except subprocess.TimeoutExpired as error:
        said = error.stdout.decode() if isinstance(error.stdout, bytes) else error.stdout or ""
        return Outcome(part.name, f"timed out after {seconds:.0f} s", time.perf_counter() - began, text=said)
    spent, text = time.perf_counter() - began, done.stdout + done.stderr
    if done.returncode or not out.exists():
        return Outcome(part.name, f"failed: exit status {done.returncode}", spent, text=text)
    figures = json.loads(out.read_text())
    status = NOT_MEASURED if "not measured" in figures else "ok"
    return Outcome(part.name, status, spent, figures, text)


def surroundings() -> dict[str, str]:
    """Where the scripts find `seamo` when it is not installed: in the folder above."""
    above = HERE.parent
    paths = [str(above), str(above / "preprocess"), str(above / "benchmarks"), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}


def drawn_in_time(preparing: "subprocess.Popen[bytes]", until: float) -> str:
    """Wait for the worlds; why they are not there, or nothing."""
    try:
        status = preparing.wait(max(0.1, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        return "skipped: the worlds were not drawn in time"
    return "" if status == 0 else f"skipped: drawing the worlds failed with {status}"


def measure(given: argparse.Namespace, work: Path, device: str) -> list[Outcome]:
    """All parts within the minutes."""
    end = time.monotonic() + 60 * given.minutes
    words = ["gpu_parts.py", "prepare", "--work", str(work), "--out", str(work / "prepared.json")]
    words += ["--fiftieth"] if given.fiftieth else []
    with (work / "prepare.txt").open("wb") as said:
        preparing = subprocess.Popen(
            [sys.executable, *words], cwd=HERE, stdout=said, stderr=subprocess.STDOUT, env=surroundings()
        )
        try:
            return outcomes(given, work, device, preparing, end)
        finally:
            preparing.terminate()
            preparing.wait()


def outcomes(
    given: argparse.Namespace, work: Path, device: str, preparing: "subprocess.Popen[bytes]", end: float
) -> list[Outcome]:
    found: list[Outcome] = []
    listed = parts(work, fiftieth=given.fiftieth, device=device, peak=given.peak_tflops)
    for number, part in enumerate(listed):
        reserve = listed[-1].least if part is not listed[-1] else 0.0  # the experiment is not starved by what is before
        if part.drawn and (why := drawn_in_time(preparing, end - reserve - part.least)):
            text = (work / "prepare.txt").read_text(errors="replace")
            found.append(Outcome(part.name, why, text=text))
        elif (left := end - time.monotonic() - reserve) < part.least:
            found.append(Outcome(part.name, f"skipped: it needs {part.least:.0f} s, {max(0, left):.0f} were left"))
        else:
            found.append(run(part, min(part.most or left, left), work / f"{number}.json"))
        one = found[-1]
        print(f"{one.name}: {one.status} ({one.seconds:.0f} s)", flush=True)
    return found


def verdicts(found: Sequence[Outcome], device: str) -> list[str]:
    """The marks, in words."""
    by_name = {one.name: one for one in found}
    said = []
    steps = [one for one in found if one.name.startswith("step, ") and one.status == "ok"]
    for one in steps:
        step = one.figures[STEP]
        assert isinstance(step, dict)
        rate, mfu = float(step["locations_per_s"]), float(step["mfu"])
        if device != "cuda":
            said.append(f"{one.name}: {NOT_MEASURED} (the step ran on a CPU, {rate:.3g} places/s of a small model)")
            continue
        mark = "met" if mfu >= MARK_MFU else "not met"
        said.append(
            f"{one.name}: {rate:.0f} places/s, {rate / MARK_RATE:.1f} times the paper's rate on an RTX 4090; "
            f"utilisation {mfu:.1%}, mark {MARK_MFU:.0%}: {mark}"
        )
    eager = next((one for one in found if one.name.startswith("eager") and one.status == "ok"), None)
    if eager and steps and device == "cuda":
        compiled, plain = steps[0].figures[STEP], eager.figures[STEP]
        assert isinstance(compiled, dict)
        assert isinstance(plain, dict)
        ratio = compiled["locations_per_s"] / plain["locations_per_s"]
        said.append(f"compiled is {ratio:.2f} times as fast as eager: mark 1, {'met' if ratio > 1 else 'not met'}")
    for name in ("loader beside the step", "bf16 against fp32", "nccl, one rank"):
        one = by_name[name]
        said.append(f"{name}: {json.dumps(one.figures) if one.status == 'ok' else one.status}")
    learning = by_name["learning"]
    criteria = learning.figures.get("criteria", {})
    assert isinstance(criteria, dict)
    for name, verdict in criteria.items():
        dry = "" if device == "cuda" else " (a dry run at a fiftieth, no evidence)"
        said.append(f"learning, {name}: {'met' if verdict['met'] else 'not met'}{dry}")
    return said if criteria else [*said, f"learning: {learning.status}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--peak-tflops", type=float, help="of the device in bf16; measured without it")
    parser.add_argument("--fiftieth", action="store_true", help="a fiftieth of everything; also on a CPU")
    parser.add_argument("--out", type=Path, help="write figures and texts here, as JSON")
    given = parser.parse_args()
    import torch

    cuda = torch.cuda.is_available()
    device = "cuda" if cuda else "cpu"
    name = torch.cuda.get_device_name() if cuda else "no CUDA device"
    if not cuda and not given.fiftieth:
        print(NOT_MEASURED)
        raise SystemExit(1)
    from bench import machine

    about = f"{machine()}, torch {torch.__version__}, {name}{', at a fiftieth' if given.fiftieth else ''}"
    print(about, flush=True)
    with tempfile.TemporaryDirectory(prefix="seamo-gpu-") as folder:
        found = measure(given, Path(folder), device)
    said = verdicts(found, device)
    if given.out is not None:
        document = {"about": about, "device": name, "verdicts": said, "parts": [asdict(one) for one in found]}
        given.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    for one in found:
        if one.text and (one.status != "ok" or one.name.startswith("step") or one.name == "learning"):
            print(f"\n== {one.name}\n{one.text[-8000:].strip()}")
    print("\n" + "\n".join(said))


if __name__ == "__main__":
    main()
