"""Fixtures of tests that give the benchmark's commands."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from seamo_bench.cli import main
from seamo_bench.runs.results import AtAddress


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with the temporary files of commands in it."""
    (tmp_path / "here" / "tmp").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "here" / "tmp"))
    monkeypatch.setattr(AtAddress, "poll_s", 0.1)
    return tmp_path / "here"


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Run a command: its exit status, and what it said."""

    def run(*words: object) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["seamo-bench", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        return int(end.value.code or 0), said.out + said.err

    return run
