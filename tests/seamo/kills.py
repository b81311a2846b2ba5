"""Commands of `seamo` that die by SIGKILL at a chosen effect on the disk, for `test_kills.py`.

Python has what it needs imported once; every try is a fork of it that goes through the command line, so that hundreds
of kills do not cost the imports. A line of stdin is a try, `<n> <argument><tab><argument>...` (0: nobody is killed);
the answer is its exit status and the number of effects that it had.
"""

import os
import signal
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

HEAVY = (
    "seamo.cli.program", "seamo.pretrain.figures", "seamo.pretrain.loop", "seamo.use.dense", "seamo.use.export",
    "seamo.use.pooled", "torch._dynamo",  # AdamW's first step imports the last
)  # fmt: skip
EFFECTS = ("fsync", "rename", "replace", "unlink", "remove", "mkdir", "rmdir", "truncate", "ftruncate")


def die_at(moment: int, counter: int) -> None:
    """Let this process die before its effect of that number; the count is written to a file handle on the way."""
    count = 0

    def dying(effect: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            os.pwrite(counter, str(count).encode(), 0)
            if count == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            return effect(*args, **options)

        return call

    for name in EFFECTS:
        setattr(os, name, dying(getattr(os, name)))


def try_once(moment: int, arguments: list[str]) -> tuple[int, int]:
    """Exit status (-9: killed) and number of effects."""
    with tempfile.TemporaryFile() as counter:
        child = os.fork()
        if child == 0:
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, 1)
            die_at(moment, counter.fileno())
            sys.argv = ["seamo", *arguments]
            status = 1
            try:
                from seamo.cli import main

                main()
                status = 0
            except SystemExit as done:
                status = done.code if isinstance(done.code, int) else int(done.code is not None)
            finally:
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        counter.seek(0)
        return status, int(counter.read() or 0)


def main() -> None:
    """Serve tries until stdin ends."""
    for name in HEAVY:
        import_module(name)
    import_module("torch").set_num_threads(1)
    _say("ready")
    for line in sys.stdin:
        moment, _, rest = line.rstrip("\n").partition(" ")
        status, effects = try_once(int(moment), rest.split("\t"))
        _say(f"{status} {effects}")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    main()
