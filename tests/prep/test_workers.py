"""Ctrl-C reaches every process of a terminal at once; the workers leave the answer to the one that started them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

POOL = """
import signal, sys, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from seamo.options import program
from seamo_prep.workers import deaf_workers, ended_with_us
app = program("A program for tests.")

def wait():
    print("deaf", signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()), flush=True)
    time.sleep(60)

@app.command()
def go() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool, ended_with_us():
        with deaf_workers():
            waiting = [pool.submit(wait) for _ in range(3)]
        waiting[0].result()
"""

OURS = """
import signal, time
from seamo.options import program
from seamo_prep.processes import in_processes
app = program("A program for tests.")

def wait():
    print("deaf", signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()), flush=True)
    time.sleep(60)

@app.command()
def go() -> None:
    list(in_processes(wait, iter([(1, ())]), workers=2, preload=["seamo.options"]))
"""


@pytest.mark.parametrize("program", [POOL, OURS], ids=["pool", "ours"])
def test_ctrl_c_is_one_message_with_workers_too(program: str, tmp_path: Path) -> None:
    (tmp_path / "pooled_program.py").write_text(program)
    main = "from seamo.terminal import run\nif __name__ == '__main__': run('pooled', 'pooled_program')\n"
    (tmp_path / "main.py").write_text(main)
    child = subprocess.Popen(
        [sys.executable, "main.py", "go"], cwd=tmp_path, stdout=-1, stderr=-1, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == "deaf True\n"
    os.killpg(child.pid, signal.SIGINT)
    _, errors = child.communicate(timeout=30)  # and not the minute that the worker sleeps
    assert child.returncode == 130
    assert errors.startswith("pooled: stopped by SIGINT.")
    assert errors.count("\n") == 1
