"""The shell of the three programs: errors, signals, streams, tables; what help and wrong usage load."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from seamo import __version__
from seamo.errors import DownloadError, RecipeError, StoreError, UsageError
from seamo.terminal import Stop, as_json, explain, goes_on, table

# A program of its own with verbs that end in every way; `run` gets it as it gets the three.
PROGRAM = '''
import os, sys, time
from pathlib import Path
import typer
from seamo.errors import StoreError, UsageError
from seamo.options import Json, program
from seamo.terminal import goes_on, names, remark, say, show

app = program("A program for tests.")

@app.command()
def rows(as_json: Json = False) -> None:
    remark("beside")
    show([{"id": "a", "n": 27000, "x": 0.5}, {"id": "b", "n": None, "x": float("nan")}], json=as_json)

@app.command()
def ends(how: str) -> None:
    """End in one way."""
    if how == "usage":
        raise UsageError("no such thing", "place", "Take another.")
    if how == "store":
        raise StoreError("is damaged", "place", "Build it again.")
    if how == "missing":
        open("not/there")
    if how == "full":
        with open("/dev/full", "w") as file:
            file.write("x")
    if how == "memory":
        raise MemoryError
    if how == "module":
        raise ModuleNotFoundError("No module named 'timm'", name="timm")
    if how == "bug":
        raise ZeroDivisionError("by nought")
    if how == "logs":
        import logging
        for name in ("seamo.store", "elsewhere"):
            word = "ours" if name == "seamo.store" else "theirs"
            logging.getLogger(name).info(word)
            logging.getLogger(name).warning(word)
    if how == "found":
        raise typer.Exit(1)

@app.command()
def waits(advice: str = "") -> None:
    from contextlib import nullcontext
    with goes_on(advice) if advice else nullcontext():
        try:
            print("ready", flush=True)
            time.sleep(30)
        finally:
            print("cleaned", flush=True)

@app.command()
def swallows() -> None:
    class Deaf:
        def __del__(self) -> None:
            print("ready", flush=True)
            time.sleep(30)
    Deaf()
    time.sleep(30)
'''
MAIN = "from seamo.terminal import run; run('trial', 'trial_program')"
HEAVY = {"torch", "numpy", "pandas", "scipy", "sklearn", "zarr", "rasterio", "pyarrow", "xarray", "matplotlib", "timm"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("program")
    (folder / "trial_program.py").write_text(PROGRAM)
    return folder


def environment(place: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(place), *sys.path])}


# One interpreter answers many command lines, each in a fork: starting one takes most of a test's time.
DRIVER = """
import importlib, json, os, sys
import typer
answers = []
for module, words in json.loads(sys.argv[1]):
    out, errors = open("out", "w+"), open("errors", "w+")
    child = os.fork()
    if not child:
        os.dup2(out.fileno(), 1), os.dup2(errors.fileno(), 2)
        sys.argv = ["trial", *words]
        try:
            if module == "trial":
                from seamo.terminal import run
                run("trial", "trial_program")
            else:
                importlib.import_module(module).main()
        except SystemExit as end:
            open("loaded", "w").write(" ".join(name for name in sys.modules if "." not in name))
            sys.stdout.flush()
            os._exit(end.code or 0)
        finally:
            os._exit(99)
    _, status = os.waitpid(child, 0)
    texts = [file.seek(0) or file.read() for file in (out, errors)]
    answers.append([os.waitstatus_to_exitcode(status), *texts, open("loaded").read().split()])
print(json.dumps(answers))
"""


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str
    loaded: frozenset[str]


def answers(place: Path, *lines: tuple[str, tuple[str, ...]]) -> list[Done]:
    """What modules' `main` answers to command lines."""
    command = [sys.executable, "-c", DRIVER, json.dumps(lines)]
    done = subprocess.run(command, stdout=-1, text=True, env=environment(place), cwd=place, timeout=120, check=True)
    return [Done(status, out, errors, frozenset(loaded)) for status, out, errors, loaded in json.loads(done.stdout)]


def trial(place: Path, *lines: tuple[str, ...]) -> list[Done]:
    """What the program of these tests answers."""
    return answers(place, *(("trial", line) for line in lines))


ENDS = {
    "usage": (2, "place: no such thing. Take another."),
    "store": (1, "place: is damaged. Build it again."),
    "missing": (1, "not/there: no such file or directory. Check the path."),
    "full": (1, "no space left on device. Make room. Give the same command again"),
    "memory": (1, "out of memory. Take fewer workers"),
    "module": (1, "this needs timm, which is not installed. Run `pip install 'seamo[torch]'`."),
    "bug": (1, "unexpected ZeroDivisionError: by nought. With --debug"),
    "found": (1, ""),
    "well": (0, ""),
}


def test_an_error_is_one_message_and_a_status(place: Path) -> None:
    for done, (how, (status, message)) in zip(
        trial(place, *(("ends", how) for how in ENDS)), ENDS.items(), strict=True
    ):
        assert (done.returncode, done.stdout) == (status, ""), how
        assert message in done.stderr
        assert done.stderr.count("\n") == bool(message)
        assert done.stderr.startswith("trial: ") == bool(message)


def test_debug_shows_the_traceback_wherever_it_stands(place: Path) -> None:
    lines = [("--debug", "ends", "usage"), ("ends", "--debug", "missing"), ("ends", "bug", "--debug")]
    for done, how in zip(trial(place, *lines), ("usage", "missing", "bug"), strict=True):
        status, message = ENDS[how]
        assert (done.returncode, done.stdout) == (status, "")
        assert "Traceback" in done.stderr
        assert "trial_program.py" in done.stderr
        assert message in done.stderr.splitlines()[-1]


def test_wrong_usage(place: Path) -> None:
    lines = {
        ("nothing",): "trial: No such command 'nothing'. Try 'trial --help'.",
        ("ends",): "trial ends: Missing argument 'how'. Try 'trial ends --help'.",
        ("ends", "well", "--fast"): "trial ends: No such option: --fast. Try 'trial ends --help'.",
        ("rows", "--log", "loud"): "trial: --log: no level 'loud'. Choose debug, info, warning, error.",
        ("rows", "--log"): "trial: --log: no level ''.",
    }
    for done, message in zip(trial(place, *lines), lines.values(), strict=True):
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.lower().startswith(message.lower())  # capitals are the parser's
        assert done.stderr.count("\n") == 1


def test_results_and_remarks_take_different_streams(place: Path) -> None:
    plain, *documents = trial(place, ("rows",), ("rows", "--json"), ("--json", "rows"))
    assert plain.stderr == "beside\n"
    assert plain.stdout.splitlines()[2:] == ["a   27,000  0.5000", "b        -     nan"]
    for done in documents:
        assert json.loads(done.stdout) == [{"id": "a", "n": 27000, "x": 0.5}, {"id": "b", "n": None, "x": None}]


def test_help_version_and_logs(place: Path) -> None:
    version, shown, bare, quiet, told = trial(
        place, ("--version",), ("--help",), (), ("ends", "logs"), ("ends", "--log=info", "logs")
    )
    assert version.stdout == f"trial {__version__}\n"
    assert shown.returncode == 0
    for word in ("--debug", "--log", "--json", "--version", "75", "ends"):
        assert word in shown.stdout
    assert bare.returncode == 2
    assert "Usage: trial" in bare.stderr
    assert quiet.stderr == "WARNING: ours\nWARNING: theirs\n"
    assert told.stderr == "INFO: ours\nWARNING: ours\nWARNING: theirs\n"


def test_a_closed_pipe_is_no_error_and_a_full_one_is(place: Path) -> None:
    line = f"'{sys.executable}' -c \"{MAIN}\" rows | true"
    piped = subprocess.run(["bash", "-c", line], capture_output=True, text=True, env=environment(place), cwd=place)
    assert piped.stderr.replace("beside\n", "") == ""
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-c", MAIN, "rows"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment(place))
    assert done.returncode == 1
    assert "no space left on device. Make room." in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_were_closed_before_are_none_of_the_files(tmp_path: Path, closed: str) -> None:
    """A file that is opened would take the number of a closed stream, and what writes there would write into it."""
    (tmp_path / "opening_program.py").write_text(
        "import os\nfrom pathlib import Path\n"
        "from seamo.options import program\nfrom seamo.terminal import remark, say\n"
        "app = program('A program for tests.')\n"
        "@app.command()\ndef opens(place: Path) -> None:\n"
        "    place.write_text(str(os.open(os.devnull, os.O_RDONLY)))\n    say('said')\n    remark('beside')\n"
        "@app.command()\ndef rests() -> None:\n    pass\n"
    )
    main = f"from seamo.terminal import run; import sys; sys.argv = ['trial', 'opens', '{tmp_path / 'number'}']; "
    line = f"exec '{sys.executable}' -c \"{main} run('trial', 'opening_program')\" {closed}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, env=environment(tmp_path), timeout=60)
    assert (done.returncode, "unexpected" in done.stderr) == (0, False)
    assert int((tmp_path / "number").read_text()) > 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (("waits",), "Give the same command again"),
        (("waits", "--advice", "Go on with --resume."), "Go on with --resume."),
        (("swallows",), "Give the same command again"),  # where Python cannot raise, it is raised a moment later
    ],
)
def test_a_signal_is_75_or_130_and_says_how_to_go_on(
    place: Path, number: signal.Signals, words: tuple[str, ...], advice: str
) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", MAIN, *words], stdout=-1, stderr=-1, text=True, env=environment(place)
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    time.sleep(0.05)
    child.send_signal(number)
    out, errors = child.communicate(timeout=20)
    assert child.returncode == (130 if number is signal.SIGINT else 75)
    assert out == ("cleaned\n" if words[0] == "waits" else "")
    assert errors == f"trial: stopped by {number.name}. {errors.partition('. ')[2]}"
    assert advice in errors
    assert errors.count("\n") == 1


def test_a_signal_while_importing_is_answered(tmp_path: Path) -> None:
    (tmp_path / "trial_program.py").write_text("import time; print('ready', flush=True); time.sleep(30)")
    child = subprocess.Popen([sys.executable, "-c", MAIN, "rows"], stdout=-1, stderr=-1, text=True,
                             env=environment(tmp_path))  # fmt: skip
    assert child.stdout is not None
    child.stdout.readline()
    time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=20)
    assert (child.returncode, errors.count("\n")) == (130, 1)


def test_a_signal_inside_of_exec_is_75_too(tmp_path: Path) -> None:
    """Making a dataclass is an `exec`; `python -m` remembers a KeyboardInterrupt that left one, and ends with 130."""
    (tmp_path / "trial_program.py").write_text("import time\nexec('print(1, flush=True); time.sleep(30)')\n")
    (tmp_path / "trial_main.py").write_text(MAIN)
    child = subprocess.Popen([sys.executable, "-m", "trial_main"], stdout=-1, stderr=-1, env=environment(tmp_path))
    assert child.stdout is not None
    child.stdout.readline()
    time.sleep(0.05)
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=20)
    assert child.returncode == 75


def test_a_signal_waits_for_the_import_of_torch(tmp_path: Path) -> None:
    """Raised inside of it, what a signal turns into ended the process by an abort of C++."""
    slow = "import sys, time\nprint('ready', flush=True)\ntime.sleep(1)\nprint('whole', flush=True)\n"
    (tmp_path / "torch.py").write_text(slow)
    (tmp_path / "trial_program.py").write_text("import time, torch\ntime.sleep(30)\n")
    child = subprocess.Popen([sys.executable, "-c", MAIN, "rows"], stdout=-1, stderr=-1, text=True,
                             env=environment(tmp_path))  # fmt: skip
    assert child.stdout is not None
    child.stdout.readline()
    child.send_signal(signal.SIGTERM)
    out, errors = child.communicate(timeout=20)
    assert out == "whole\n"
    assert (child.returncode, errors.count("\n")) == (75, 1)


def test_what_a_signal_turned_into_is_still_a_stop() -> None:
    assert explain(ImportError("initialization failed"), [signal.SIGTERM])[1] == 75
    assert explain(KeyboardInterrupt())[1] == 130
    assert explain(Stop("so"))[1] == 75  # a signal of a scheduler that a command obeyed
    assert explain(Stop("so"), [signal.SIGINT])[1] == 130
    with pytest.raises(Stop, match="so"), goes_on("so", ValueError):
        raise ValueError


def test_messages() -> None:
    assert explain(UsageError("a", "b", "C.")) == ("b: a. C.", 2)
    assert explain(RecipeError("a"))[1] == 2
    assert explain(StoreError("a"))[1] == 1
    assert explain(DownloadError("a", "b", "C.")) == ("b: a. C.", 1)  # an OSError, too
    assert explain(PermissionError(errno.EACCES, "Permission denied", "x"))[0].startswith("x: permission denied. Ask")
    assert explain(OSError(errno.ENOSPC, "No space", "a", None, "b"))[0].startswith("a -> b: no space. Make room.")
    assert explain(OSError("a raster library's words."))[0].startswith("a raster library's words. Give the same")
    assert "pip install 'seamo[torch]'" in explain(ModuleNotFoundError("no", name="timm"))[0]
    assert "unexpected ModuleNotFoundError" in explain(ModuleNotFoundError("no", name="seamo.nothing"))[0]


def test_documents_are_json_and_tables_are_whole() -> None:
    assert json.loads(as_json({"a": [float("inf"), 1.5], "b": Path("c")})) == {"a": [None, 1.5], "b": "c"}
    long = "x" * 500
    lines = table(["id", "value", "words"], [["a", 1353.7289, long], ["bb", -12.3, None]], title="T").splitlines()
    assert lines[0] == "T"
    assert lines[1].split() == ["id", "value", "words"]
    assert set(lines[2]) == {"-"}
    assert lines[3] == f"a   1,353.73  {long}"
    assert lines[4] == "bb  -12.3000  -"
    assert table(["a", "b"], [["x", "[bold]y"]]).splitlines()[-1] == "x  [bold]y"  # no markup in what others wrote


# What may be loaded when the answer is known: nothing of HEAVY, but numpy and pyarrow where a store must be looked for.
STORES = {"numpy", "pyarrow", "pandas"}
CHEAP = [
    ("seamo.cli", ("--help",), 0, set()),
    ("seamo.cli", ("--version",), 0, set()),
    ("seamo.cli", ("pretrain", "--help"), 0, set()),
    ("seamo.cli", ("nothing",), 2, set()),
    ("seamo.cli", ("pretrain", "seamo-tiny"), 2, set()),
    ("seamo.cli", ("pretrain", "nothing", "--store", "x", "--out", "y"), 2, set()),
    ("seamo.cli", ("pretrain", "seamo-tiny", "--store", "x", "--out", "y", "--set", "sead=1"), 2, set()),
    ("seamo.cli", ("info", "nowhere"), 2, set()),
    ("seamo.cli", ("export", "nowhere", "-o", "x"), 2, set()),
    ("seamo.cli", ("embed", "nowhere", "x", "-o", "y"), 2, set()),
    ("seamo_bench.cli", ("--help",), 0, set()),
    ("seamo_bench.cli", ("--version",), 0, set()),
    ("seamo_bench.cli", ("run", "--help"), 0, set()),
    ("seamo_bench.cli", ("weights", "--help"), 0, set()),
    ("seamo_bench.cli", ("nothing",), 2, set()),
    ("seamo_bench.cli", ("weights", "nothing"), 2, set()),
    ("seamo_bench.cli", ("list", "things"), 2, set()),
    ("seamo_bench.cli", ("run", "demo"), 2, set()),
    ("seamo_bench.cli", ("plan", "dem", "--stores", "x"), 2, set()),
    ("seamo_bench.cli", ("run", "dem", "--stores", "x", "--results", "y"), 2, set()),
    ("seamo_bench.cli", ("plan", "demo", "--stores", "x", "--backbones", "resnet18,resnet17"), 2, set()),
    ("seamo_bench.cli", ("run", "demo", "--stores", "x", "--results", "y", "--backbones", "resnet17"), 2, set()),
    ("seamo_bench.cli", ("run", "demo", "--stores", "x", "--results", "y", "--budget", "tiny"), 2, set()),
    ("seamo_bench.cli", ("study", "table9", "--store", "x", "--stores", "y", "--results", "z"), 2, set()),
    ("seamo_bench.cli", ("explain", "resnet17", "x"), 2, set()),
    ("seamo_bench.cli", ("weights", "fetch", "resnet17"), 2, set()),
    ("seamo_bench.cli", ("table", "x", "--md", "--csv"), 2, set()),
    ("seamo_bench.cli", ("predict", "x", "y", "-o", "z", "--unit", "none"), 2, STORES | {"rasterio"}),
    ("seamo_prep.cli", ("--help",), 0, set()),
    ("seamo_prep.cli", ("--version",), 0, set()),
    ("seamo_prep.cli", ("build", "--help"), 0, set()),
    ("seamo_prep.cli", ("nothing",), 2, set()),
    ("seamo_prep.cli", ("build", "eurosat"), 2, set()),
    ("seamo_prep.cli", ("build", "eurosatt", "--raw", "x", "--store", "y"), 2, set()),
    ("seamo_prep.cli", ("fetch", "eurosatt", "--to", "x"), 2, set()),
    ("seamo_prep.cli", ("init", "--help"), 0, set()),
    ("seamo_prep.cli", ("init",), 2, set()),
    ("seamo_prep.cli", ("init", "nowhere"), 2, set()),
    ("seamo_prep.cli", ("init", "s3://bucket/a"), 2, set()),
    ("seamo_prep.cli", ("demo", "x", "--only", "eurosatt"), 2, set()),
    ("seamo_prep.cli", ("export", "nowhere", "-o", "x"), 2, set()),
    ("seamo_prep.cli", ("export", "nowhere", "--croissant", "--stac", "-o", "x"), 2, set()),
]


def test_help_and_wrong_usage_are_answered_before_anything_heavy_is_loaded(tmp_path: Path) -> None:
    lines = [(module, words) for module, words, _, _ in CHEAP]
    for done, (module, words, status, allowed) in zip(answers(tmp_path, *lines), CHEAP, strict=True):
        about = f"{module} {' '.join(words)}: {done.stderr}"
        assert done.returncode == status, about
        assert done.loaded & HEAVY <= allowed, about
        assert "Traceback" not in done.stderr, about
        if "--help" in words:
            assert not done.loaded & {"rich", "yaml"}, about  # a tenth of a second each
        if status:
            assert (done.stdout, done.stderr.count("\n")) == ("", 1), about


def test_a_plan_of_every_protocol_loads_no_torch(tmp_path: Path) -> None:
    from seamo.testing.stores import tiny_store
    from seamo_bench.protocols import protocols

    tiny_store(tmp_path / "stores")
    rows = "".join(f"  - {{store: tiny, protocol: {name}}}\n" for name in protocols())
    (tmp_path / "all.yaml").write_text(f"id: all\nbackbones: [image-statistics, resnet18]\nrows:\n{rows}")
    words = ("plan", "all.yaml", "--stores", "stores", "--results", "results", "--json")
    (done,) = answers(tmp_path, ("seamo_bench.cli", words))
    assert done.returncode == 0, done.stderr
    cells = json.loads(done.stdout)
    assert len(cells) == 2 * len(protocols())
    assert {cell["status"] for cell in cells} == {"will run", "impossible"}
    assert not done.loaded & (HEAVY - STORES)
