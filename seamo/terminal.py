"""The shell of the three programs: exit status, signals, one message for every error, logs; results as tables or JSON.

Nothing but the standard library is imported before a command is: `--help` and wrong usage answer at once, and Ctrl-C
is answered from the first moment. Results go to stdout, all else to stderr.
"""

import errno
import importlib
import io
import os
import signal
import sys
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from seamo import __version__
from seamo.disk import drop_scratch
from seamo.errors import RecipeError, SeamoError, UsageError
from seamo.escapes import printable
from seamo.extras import missing_extra
from seamo.progress import before_a_line

DONE, FAILED, WRONG_USAGE = 0, 1, 2
STOPPED = 75  # EX_TEMPFAIL: stopped by a scheduler's signal, run it again
INTERRUPTED = 130  # by a person (Ctrl-C): 128 + SIGINT, as shells have it
LEVELS = ("debug", "info", "warning", "error")
PACKAGES = ("seamo", "seamo_prep", "seamo_bench")
_AGAIN = "Give the same command again: it goes on with what is finished."


class Stop(Exception):  # noqa: N818 - not an error: a command was asked to stop, and did
    """A command was stopped by a signal.

    Args:
        how: How to go on, as a sentence.
    """


@contextmanager
def goes_on(how: str, *stops: type[BaseException]) -> Iterator[None]:
    """Say how to go on when a signal stops what is inside.

    Args:
        how: As a sentence.
        stops: What else than KeyboardInterrupt stands for a signal that was obeyed.

    Raises:
        Stop: In place of them.
    """
    ends: tuple[type[BaseException], ...] = (KeyboardInterrupt, *stops)
    try:
        yield
    except ends as error:
        raise Stop(how) from error


def run(name: str, module: str) -> NoReturn:
    """Run a program and leave the process: 0 done, 1 failed, 2 wrong usage, 75 stopped by a signal, 130 by Ctrl-C.

    `--debug` and `--log LEVEL` are taken out of the arguments, wherever they stand; `--json` may stand before the verb,
    `--version` and `--help` stand there.

    Args:
        name: Of the program, as people type it.
        module: Whose `app` is run: imported here, so that an interrupt while importing is answered, too.
    """
    debug = "--debug" in sys.argv[1:]
    _open_closed()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal without Unicode shows what it can
    with _signals() as caught:
        try:
            status = _call(name, module, debug=debug)
        except BaseException as error:  # noqa: BLE001 - the last door: every error becomes one message and a status
            status = _tell(name, error, caught, debug=debug)
        finally:
            drop_scratch()
    sys.exit(status)


def _open_closed() -> None:
    """Give streams that were closed by whoever started us (`>&-`, some daemons) a place that nobody reads.

    Else the first files that are opened take their numbers, and libraries that write to them write into those files.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):  # in the order of their numbers
        if getattr(sys, name) is None:  # what is opened takes the lowest number that is free
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115


def _call(name: str, module: str, *, debug: bool) -> int:
    words = [word for word in sys.argv[1:] if word != "--debug"]
    _set_up_logs(_take_level(words) or ("debug" if debug else "warning"))
    if words[:1] == ["--version"]:
        say(f"{name} {__version__}")
        return DONE
    if words[:1] == ["--json"]:
        end = words.index("--") if "--" in words else len(words)
        words = [*words[1:end], "--json", *words[end:]]
    import typer
    from typer.main import get_command

    app: typer.Typer = importlib.import_module(module).app  # `seamo.options.program` made it
    # Not app(): that answers interrupts, closed pipes and wrong usage in its own words.
    command = get_command(app)
    if words[:1] == ["--help"]:
        say(command.get_help(typer.Context(command, info_name=name)))
        return DONE
    try:
        with command.make_context(name, words) as context:
            command.invoke(context)
    except typer.Exit as end_:
        return end_.exit_code
    except _usage_error() as wrong:
        return _wrong_usage(name, wrong)
    finally:
        sys.stdout.flush()  # here, where a full disk or a closed pipe is answered
    return DONE


def _usage_error() -> Any:
    """The exception of the parser (click's, or typer's copy of it) for wrong options and unknown verbs."""
    import typer

    return typer.BadParameter.__base__


def _wrong_usage(name: str, wrong: Any) -> int:
    path = wrong.ctx.command_path if wrong.ctx is not None else name
    text = wrong.format_message()
    if "Usage:" in text:  # no verb: the help itself
        remark(text)
    else:
        remark(f"{path}: {text.rstrip('.')}. Try '{path} --help'.")
    return WRONG_USAGE


def _tell(name: str, error: BaseException, caught: list[int], *, debug: bool) -> int:
    """Write the one message of an error; the exit status."""
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(ValueError):  # outside the main thread
            signal.signal(number, signal.SIG_IGN)  # a second one would cut the message short
    if isinstance(error, SystemExit) and not caught:
        return error.code if isinstance(error.code, int) else FAILED if error.code else DONE
    if isinstance(error, BrokenPipeError) and not caught:  # `| head` has read enough
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    text, status = explain(error, caught)
    with suppress(OSError, ValueError):  # nobody reads stderr any more
        if debug:
            import traceback

            remark("".join(traceback.format_exception(error)).rstrip())
        remark(f"{name}: {text}")
    return status


def explain(error: BaseException, caught: Sequence[int] = ()) -> tuple[str, int]:
    """What to say about an error, which names how to go on, and the exit status.

    Args:
        error: What ended the command.
        caught: Signals that had come before: whatever was raised then is their doing.
    """
    if caught or isinstance(error, KeyboardInterrupt | Stop):
        by = f" by {signal.Signals(caught[0]).name}" if caught else ""
        is_person = caught[0] == signal.SIGINT if caught else isinstance(error, KeyboardInterrupt)
        status = INTERRUPTED if is_person else STOPPED
        return f"stopped{by}. {error if isinstance(error, Stop) else _AGAIN}", status
    if isinstance(error, SeamoError):
        return str(error), WRONG_USAGE if isinstance(error, UsageError | RecipeError) else FAILED
    if isinstance(error, OSError):
        return _of_the_system(error), FAILED
    if isinstance(error, MemoryError):
        return f"out of memory. Take fewer workers or smaller batches. {_AGAIN}", FAILED
    if isinstance(error, ModuleNotFoundError) and (told := missing_extra(error)):
        return told, FAILED
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"unexpected {what}. With --debug the same command shows where; please report it.", FAILED


_REMEDIES = {
    errno.ENOSPC: f"Make room. {_AGAIN}",
    errno.EDQUOT: f"Make room. {_AGAIN}",
    errno.EFBIG: f"Make room. {_AGAIN}",
    errno.ENOENT: "Check the path.",
    errno.ENOTDIR: "Check the path.",
    errno.EISDIR: "A file is wanted here, not a folder.",
    errno.EEXIST: "Remove it, or choose another place.",
    errno.EACCES: "Ask for the right to it, or choose another place.",
    errno.EPERM: "Ask for the right to it, or choose another place.",
    errno.EROFS: "Choose another place.",
    errno.EMFILE: f"Raise the limit (ulimit -n). {_AGAIN}",
    errno.EIO: f"Look after the disk. {_AGAIN}",
}


def _of_the_system(error: OSError) -> str:
    remedy = _REMEDIES.get(error.errno or 0, _AGAIN)
    if error.strerror is None:  # a library's own, in its own words
        return f"{str(error).strip().rstrip('.') or type(error).__name__}. {remedy}"
    places = [os.fsdecode(one) for one in (error.filename, error.filename2) if isinstance(one, str | bytes)]
    where = f"{' -> '.join(places)}: " if places else ""
    return f"{where}{error.strerror[:1].lower()}{error.strerror[1:]}. {remedy}"


class _Signalled(KeyboardInterrupt):
    """Raised by a signal.

    Where the plain class leaves an `exec`, as of a dataclass, `python -m` ends with 130 whatever status it is given.
    """


def _is_importing(name: str) -> bool:
    """Whether a module is being imported at this moment."""
    return bool(getattr(getattr(sys.modules.get(name), "__spec__", None), "_initializing", False))


@contextmanager
def _signals() -> Iterator[list[int]]:
    """While entered, SIGINT and SIGTERM raise KeyboardInterrupt; yields the list of those that came."""
    caught: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of handlers
        if _is_importing("torch"):  # its C++ calls Python, and aborts the process where that raises
            again(number)
            return
        caught.append(number)
        raise _Signalled

    def again(number: int) -> None:
        import threading

        main = threading.main_thread().ident or 0
        timer = threading.Timer(0.05, signal.pthread_kill, (main, number))
        timer.daemon = True
        timer.start()

    def lost(unraisable: Any) -> None:
        # It fell into a destructor or a callback, where nobody can answer it: again, a moment later.
        if not caught or not issubclass(unraisable.exc_type, KeyboardInterrupt):
            hook(unraisable)
            return
        again(caught.pop())

    hook, sys.unraisablehook = sys.unraisablehook, lost
    before: dict[signal.Signals, Any] = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        # Not outside the main thread, where handlers cannot be set, and not what `nohup` or a shell ignores.
        with suppress(ValueError):
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, stop)
    try:
        yield caught
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)


def _take_level(words: list[str]) -> str:
    """Take `--log LEVEL` or `--log=LEVEL` out of the arguments."""
    for at, word in enumerate(words):
        option, equals, level = word.partition("=")
        if option == "--log":
            level = level if equals else "".join(words[at + 1 : at + 2])
            if level not in LEVELS:
                raise UsageError(f"no level {level!r}", "--log", f"Choose {', '.join(LEVELS)}.")
            del words[at : at + (1 if equals else 2)]
            return level
    return ""


def _set_up_logs(level: str) -> None:
    """Our logs from a level on, other packages' warnings; on stderr."""
    import logging

    class Lines(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return before_a_line(sys.stderr) + printable(super().format(record), lines=True)

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines("%(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.captureWarnings(capture=True)
    for package in PACKAGES:
        logging.getLogger(package).setLevel(level.upper())
    for package in ("distributed", "asyncio"):  # what a person should read of them comes as an error of ours
        quiet = logging.getLogger(package)
        quiet.propagate = level == "debug"
        if not quiet.handlers:
            quiet.addHandler(logging.NullHandler())


def say(text: str) -> None:
    """Lines on stdout: a result. Nothing in it commands the terminal, as nothing that is printed anywhere else here."""
    sys.stdout.write(f"{printable(text, lines=True)}\n")


def remark(text: str) -> None:
    """Lines on stderr, in the place of the progress line where one is shown."""
    sys.stderr.write(f"{before_a_line(sys.stderr)}{printable(text, lines=True)}\n")
    sys.stderr.flush()


def names(text: str) -> tuple[str, ...]:
    """What an option lists, separated by commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def as_json(document: Any) -> str:
    """One document; what is no number is null, as JSON has no NaN."""
    import json

    try:
        return json.dumps(document, indent=1, allow_nan=False, default=str)
    except ValueError:
        return json.dumps(_finite(document), indent=1, allow_nan=False, default=str)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and value - value != 0 else value


def show(
    rows: Sequence[Mapping[str, Any]], *, json: bool, title: str = "", text: Callable[[], str] | None = None
) -> None:
    """Rows on stdout: as one JSON document, or as a table, or as the text that is given instead."""
    if json:
        say(as_json(rows))
    elif text is not None:
        say(text())
    elif rows:
        say(table(list(rows[0]), [list(row.values()) for row in rows], title=title))
    else:
        say(f"{title}: nothing" if title else "nothing")


def table(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], *, title: str = "", right: Container[int] | None = None
) -> str:
    """Columns of text, a line under their heads.

    Args:
        columns: Heads.
        rows: Values; see `cell`.
        title: A line above.
        right: Columns that end together; those of numbers without it.
    """
    from io import StringIO

    from rich.box import Box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # A pipe or a file gets the whole width: cut columns could not be searched.
    console = Console(file=StringIO(), width=None if sys.stdout.isatty() else 10_000, highlight=False)
    box = Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
    printed = Table(box=box, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for at, name in enumerate(columns):
        numbers = all(isinstance(row[at], int | float | None) for row in rows)
        ends = numbers if right is None else at in right
        printed.add_column(Text(printable(name)), justify="right" if ends else "left", overflow="fold")
    for row in rows:
        printed.add_row(*(Text(cell(value)) for value in row))
    with console.capture() as captured:
        console.print(printed)
    lines = [line.rstrip() for line in captured.get().splitlines()]
    return "\n".join([*([printable(title)] if title else []), *lines])


def cell(value: Any) -> str:
    """A value in a table: 27,000; 0.7312 and 1,353.73; yes; - for nothing known."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.2f}" if abs(value) >= 100 else f"{value:.4f}"
    return printable(str(value))
