"""What the command line shows: progress and remarks on stderr, tables and JSON on stdout."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

_QUIET_S = 5.0  # seconds between lines of progress where stderr is a file


def remark(text: str) -> None:
    """One line on stderr."""
    typer.echo(text, err=True)


def as_json(rows: Any) -> None:
    """One document on stdout."""
    typer.echo(json.dumps(rows, indent=1, allow_nan=False, default=str))


def as_table(rows: Sequence[Mapping[str, Any]], *, title: str = "") -> None:
    """A table on stdout; numbers on the right, columns from the first row's keys."""
    if not rows:
        typer.echo(f"{title}: nothing" if title else "nothing")
        return
    # A pipe or a file gets the whole width: cut columns could not be searched.
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    table = Table(title=title or None, box=None, pad_edge=False, title_justify="left")
    for name in rows[0]:
        is_number = all(isinstance(row[name], int | float | None) for row in rows)
        table.add_column(name, justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row.values()))
    console.print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.2f}"
    return str(value)


class _Rate(ProgressColumn):
    """Samples a second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f}/s" if task.speed else "-/s")


class Meter:
    """Progress of one long piece of work on stderr, with rate and time left; a context manager.

    Args:
        title: What is being done.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn(),
            console=self._console, disable=not self._console.is_terminal,
        )  # fmt: skip
        self._task = self._bar.add_task(title, total=None)
        self._begin: tuple[float, int] | None = None
        self._said = 0.0

    def __enter__(self) -> "Meter":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, done: int, total: int) -> None:
        """Say how far it is; the first call tells what was done before."""
        now = time.monotonic()
        if self._begin is None:
            self._begin = (now, done)
            if done:
                remark(f"{self._title}: {done:,} of {total:,} are there already")
            self._bar.reset(self._task, total=total, completed=done)
        self._bar.update(self._task, completed=done, total=total)
        if not self._console.is_terminal and (now - self._said > _QUIET_S or done == total):
            self._said = now
            remark(self._line(done, total, now))

    def _line(self, done: int, total: int, now: float) -> str:
        start, before = self._begin or (now, 0)
        rate = (done - before) / max(now - start, 1e-6)
        left = f", {(total - done) / rate:,.0f} s left" if rate > 0 and done < total else ""
        speed = f", {rate:,.0f}/s" if done > before else ""
        return f"{self._title}: {done:,} of {total:,}{speed}{left}"
