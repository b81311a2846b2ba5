"""The demo in two acts: `python examples/demo FOLDER`. `make demo` installs what it needs and calls it.

It runs the command lines that it prints, shows what they say, and stops where one does not do what it should: a planted
fault that no check names is an error of the demo. What a step said is kept in FOLDER/steps, so that a demo that was
interrupted goes on and a second one is quick. Standard library alone.
"""

import argparse
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import page
from steps import PRETRAINED, Step, first_act, real_act, second_act

STOPPED, INTERRUPTED = 75, 130  # as the commands exit when a scheduler's signal or Ctrl-C stopped them: run it again
PROGRAMS = Path(sys.executable).parent


class DemoError(Exception):
    """A step did not do what it should."""


class Demo:
    """Runs steps, with a counter of what is done, how long it took, and about how long the rest takes.

    Args:
        folder: Everything of the demo is below it.
        steps: All of them, so that the counter knows the end.
    """

    def __init__(self, folder: Path, steps: Sequence[Step]) -> None:
        self.kept = folder / "steps"
        self.steps = list(steps)
        self.began = time.monotonic()
        self.spent: dict[str, float] = {}  # seconds of the steps that this call ran
        self.reused = 0

    def run(self, steps: Sequence[Step]) -> None:
        """Run some of the steps, or tell that they were run before.

        Raises:
            DemoError: If a command fails, or a check does not find what was planted.
        """
        for step in steps:
            number = self.steps.index(step) + 1
            to_run = [one for one in self.steps[number - 1 :] if not self._is_kept(one)]
            left = page.time_left(to_run, self.spent, self.steps)
            head = f"[{number}/{len(self.steps)}] {page.clock(self.passed)} passed, about {page.clock(left)} left"
            print(f"\n{head}: {step.title}", flush=True)
            if self._is_kept(step):
                self.reused += 1
                print(f"  done before; what it said is in {self._path(step)}", flush=True)
                continue
            began = time.monotonic()
            text = "".join(f"$ {line}\n{self._said(step, line)}" for line in step.commands)
            self.spent[step.name] = time.monotonic() - began
            self.kept.mkdir(parents=True, exist_ok=True)
            self._path(step).write_text(text, encoding="utf-8")

    @property
    def passed(self) -> float:
        """Seconds since this call began."""
        return time.monotonic() - self.began

    def _path(self, step: Step) -> Path:
        return self.kept / f"{step.name}.txt"

    def _is_kept(self, step: Step) -> bool:
        """Whether the same command lines were run to their end, and what they made is there."""
        path = self._path(step)
        if step.again or not path.is_file() or (step.makes is not None and not step.makes.exists()):
            return False
        text = path.read_text(encoding="utf-8")
        return [line[2:] for line in text.splitlines() if line.startswith("$ ")] == list(step.commands)

    def _said(self, step: Step, line: str) -> str:
        """Run one command line, passing on what it says; its standard output."""
        is_check = bool(step.finds) and line == step.commands[-1]
        text, status = run_line(line)
        if is_check and (status != 1 or step.finds not in text):
            raise DemoError(f"the planted fault was NOT named (expected {step.finds!r}, exit status {status}): {line}")
        if not is_check and status:
            raise DemoError(f"exit status {status}: {line}")
        return text


def run_line(line: str) -> tuple[str, int]:
    """Print a command line and run it: its standard output, which is shown too, and its exit status."""
    print(f"$ {page.as_typed(line, PROGRAMS)}", flush=True)
    said = []
    with subprocess.Popen(  # noqa: S603 (a line of steps.py)
        _words(line), stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        assert process.stdout is not None  # noqa: S101 (narrows the type)
        for text in process.stdout:
            print(f"  {text}", end="", flush=True)
            said.append(text)
    if process.returncode in (STOPPED, INTERRUPTED, -2, -15):
        raise KeyboardInterrupt
    return "".join(said), process.returncode


def asked(line: str) -> list[dict[str, Any]]:
    """The JSON of a command, not shown."""
    done = subprocess.run(  # noqa: S603 (a line of this file)
        _words(f"{line} --json"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def _words(line: str) -> list[str]:
    program, *rest = shlex.split(line)
    return [sys.executable if program == "python" else str(PROGRAMS / program), *rest]


def main() -> None:
    """Both acts, or the first alone."""
    parser = argparse.ArgumentParser(prog="python examples/demo", description="The demo, in two acts.")
    parser.add_argument("folder", type=Path, help="everything that the demo makes")
    parser.add_argument("--act", type=int, choices=(1, 2), default=2, help="the last act that is shown")
    parser.add_argument("--world", type=int, default=101, help="chooses the synthetic world")
    parser.add_argument("--seed", type=int, default=10, help="of the pretraining")
    parser.add_argument("--samples", type=Path, help="real samples: act 1 is shown on their EuroSAT tiles, too")
    args = parser.parse_args()
    tiles = args.samples / "eurosat_ms" if args.samples else None
    if tiles and not tiles.is_dir():
        parser.error(f"{tiles}: no such folder; it holds the tiles, as EuroSAT_MS/<Class>/<Class>_<n>.tif")
    first = first_act(args.folder, args.world)
    real = real_act(args.folder, tiles) if tiles else []
    second = second_act(args.folder, args.world, args.seed) if args.act == 2 else []
    demo = Demo(args.folder, [*first, *real, *second])
    try:
        print(page.ACT_1)
        demo.run(first)
        before = f" ({demo.reused} of {len(first)} steps were done before)" if demo.reused else ""
        print(f"\nfirst result after {demo.passed:.0f} s{before}", flush=True)
        if real:
            print(page.REAL)
            demo.run(real)
        if second:
            print(page.ACT_2)
            demo.run(second)
        found = results_of(args.folder, real=bool(real), pretrained=bool(second))
        print(page.closing(found, args.folder, PROGRAMS, seconds=demo.passed))
    except DemoError as error:
        sys.exit(f"demo: {error}")
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        sys.exit(INTERRUPTED)


def results_of(folder: Path, *, real: bool, pretrained: bool) -> page.Results:
    """What the records of the demo say."""
    results = shlex.quote(str(folder / "results"))
    scores = {
        (row["backbone"], row["protocol"]): (row["title"], row["value"], row["low"], row["high"])
        for row in asked(f"seamo-bench table {results}")
        if row["status"] == "ok"
    }
    gains = {}
    if pretrained:
        for row in asked(f"seamo-bench compare {results} {PRETRAINED} {PRETRAINED}-random"):
            gains[row["id"].split("/")[1]] = row["difference"], row["low"], row["high"]
    return page.Results(scores, gains, real)


if __name__ == "__main__":
    main()
