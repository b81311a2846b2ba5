"""The one progress line: in a file, on a terminal, for many small parts, and its rate."""

import io

import pytest

from seamo.progress import Progress, clock


class Clock:
    """A time that the test sets, in place of `time.monotonic`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr("seamo.progress.time.monotonic", lambda: self.now)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_in_a_file_is_a_line_every_15_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    watch, out = Clock(monkeypatch), io.StringIO()
    shown = Progress(out, "windows", 100, done=20)
    assert out.getvalue() == "20/100 windows (20%)\n"
    for _ in range(40):
        watch.now += 1
        shown.add(2)
    lines = out.getvalue().splitlines()
    assert lines[1:] == [
        "50/100 windows (50%), 2.0/s, 0:00:25 left",
        "80/100 windows (80%), 2.0/s, 0:00:10 left",
        "100/100 windows (100%), 2.0/s",
    ]
    shown.at(100)
    assert out.getvalue().splitlines() == lines


def test_the_rate_is_that_of_the_last_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Clock(monkeypatch)
    shown = Progress(io.StringIO(), "steps", 10_000)
    for seconds in (*[100] * 10, *[1] * 100):  # compiling, then quick
        watch.now += seconds
        shown.add(10)
    assert "10.0/s" in shown.line()
    assert clock(3723) == "1:02:03"


def test_progress_on_a_terminal_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    watch, out = Clock(monkeypatch), Terminal()
    shown = Progress(out, title="eurosat", keep=False)
    for part in ("features", "rows"):
        for done in range(11):
            watch.now += 1
            shown.report(done, 10, part)
    assert "\n" not in out.getvalue()
    shown.close()
    assert out.getvalue().endswith("eurosat: 10/10 rows (100%), 1.0/s\r\x1b[K")
    kept = Terminal()
    Progress(kept, "bytes", 4_000_000).at(4_000_000)
    assert kept.getvalue().endswith("4.0/4.0 MB (100%)\n") or "MB/s\n" in kept.getvalue()


def test_small_parts_do_not_fill_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    watch, out = Clock(monkeypatch), io.StringIO()
    shown = Progress(out, keep=False)
    for cell in range(1000):
        shown.title = f"[{cell + 1}/1000] cell"
        for done in range(3):
            watch.now += 0.01
            shown.report(done, 2, "images")
    assert out.getvalue().count("\n") == 3  # the first, its end, and one after 15 of the 30 seconds
