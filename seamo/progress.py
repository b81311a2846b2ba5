"""How far long work is: one line on stderr with what is done, its share, the rate and the time left.

On a terminal the line is rewritten; elsewhere a new one comes every 15 seconds. Every command shows this one.
Written by hand: `rich.progress` takes a tenth of a second to import, rewrites its lines from a thread of its own, and
says nothing where stderr is a file.
"""

import os
import time
from collections import deque
from typing import TextIO

from seamo.escapes import printable

LIVE_S, QUIET_S = 0.2, 15.0  # seconds between lines on a terminal, and where stderr is a file
_MARK_S, _MARKS = 3.0, 20  # the rate is that of the last minute: what was slow at the start says little about the rest
CLEAR = "\r\x1b[K"  # to the line's begin, and empty it


def before_a_line(stream: TextIO) -> str:
    """What to write before a line of text, so that it takes the place of a progress line that is shown."""
    return CLEAR if stream.isatty() else ""


class Progress:
    """Shows how far one thing after the other is.

    Args:
        stream: Where to; None: nowhere.
        what: The things counted, such as `windows`; `bytes` are shown as MB.
        total: How many there are; None: not known.
        done: How many were there before, which say nothing about the rate.
        title: What the line begins with.
        keep: The end of everything counted is told, and stays on a terminal; not so for many small things in a row.
    """

    def __init__(
        self,
        stream: TextIO | None,
        what: str = "",
        total: int | None = None,
        *,
        done: int = 0,
        title: str = "",
        keep: bool = True,
    ) -> None:
        self._stream, self._keep = stream, keep
        self._live = stream is not None and stream.isatty()
        self._shown = float("-inf")
        self._open = False  # a line without an end stands on the terminal
        self.title = title
        self.begin(what, total, done=done)

    def begin(self, what: str, total: int | None, *, done: int = 0) -> None:
        """Something else is counted from here on."""
        self._what, self._total, self._done = what, total, done
        self._marks = deque([(time.monotonic(), done)], maxlen=_MARKS)
        self._told = self._ended = False  # whether a line spoke of this yet, and of its end
        if what or self.title:
            self._show("")

    def add(self, count: int, note: str = "") -> None:
        """Count more that is done; the note ends the line."""
        self.at(self._done + count, note=note)

    def at(self, done: int, total: int | None = None, *, note: str = "") -> None:
        """Say how much is done; the note ends the line."""
        self._done, self._total = done, self._total if total is None else total
        self._show(note)

    def report(self, done: int, total: int | None, what: str = "") -> None:
        """Say how much is done of what: for callbacks. Another name, or a lower count, begins something new."""
        if what != self._what or done < self._done or (self._total is None and total):
            self.begin(what, total, done=done)
        else:
            self.at(done, total)

    def close(self) -> None:
        """End the line on a terminal."""
        if self._open and self._stream is not None:
            self._stream.write("\n" if self._keep else CLEAR)
            self._stream.flush()
            self._open = False

    def line(self, note: str = "") -> str:
        """The line as it would be shown now."""
        now = time.monotonic()
        began, before = self._marks[0]
        rate = (self._done - before) / max(now - began, 1e-9)
        title = f"{self.title}: " if self.title and self._what else self.title
        count = f"{self._number(self._done)}/{self._number(self._total)}" if self._total else self._number(self._done)
        unit = "MB" if self._what == "bytes" else self._what
        parts = [f"{title}{count} {unit}" if self._what else title]
        if self._what and self._total:
            parts[0] += f" ({self._done / self._total:.0%})"
        if rate > 0:
            parts.append(f"{rate / 1e6:,.1f} MB/s" if self._what == "bytes" else f"{rate:,.1f}/s")
            if self._total and self._done < self._total:
                parts.append(f"{clock((self._total - self._done) / rate)} left")
        return ", ".join([*parts, *([note] if note else [])])

    def _number(self, count: int) -> str:
        return f"{count / 1e6:,.1f}" if self._what == "bytes" else f"{count:,}"

    def _show(self, note: str) -> None:
        if self._stream is None:
            return
        now = time.monotonic()
        last = self._total is not None and self._done >= self._total
        due = now - self._shown >= (LIVE_S if self._live else QUIET_S)
        # Of work of many small parts, the end of one that nobody saw begin is not told: it would fill the log.
        if (due or (last and (self._told or self._keep))) and not self._ended:
            text = printable(self.line(note))
            if self._live:
                end = "\n" if last and self._keep else ""
                self._stream.write(f"{CLEAR}{_cut(text, self._stream)}{end}")
                self._open = not end
            else:
                self._stream.write(f"{text}\n")
            self._stream.flush()
            self._shown, self._told, self._ended = now, True, last
        if now - self._marks[-1][0] >= _MARK_S:
            self._marks.append((now, self._done))


def clock(seconds: float) -> str:
    """Hours, minutes and seconds: 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


def _cut(text: str, stream: TextIO) -> str:
    """What fits into one line of the terminal: a longer one could not be rewritten."""
    try:
        width = os.get_terminal_size(stream.fileno()).columns
    except OSError:
        return text
    return text if len(text) < width or width < 2 else text[: width - 1]
