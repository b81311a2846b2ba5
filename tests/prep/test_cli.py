"""The command line: streams, exit statuses, JSON, what it loads."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from seamo.errors import StoreError, UsageError
from seamo.store.reader import open_store
from seamo.testing.stores import tiny_store
from seamo_prep.cli.latest import latest
from seamo_prep.cli.ls import list_stores
from seamo_prep.cli.rm import remove


def prep(*arguments: object) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "seamo_prep.cli", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def rows(*arguments: object) -> list[dict]:
    done = prep(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("arguments", [[], ["build"], ["verify"]])
def test_help_loads_little(arguments: list[str]) -> None:
    code = (
        "import sys; sys.argv = ['seamo-prep', *sys.argv[1:], '--help']\n"
        "from seamo_prep.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert end.code == 0\n"
        "print('loaded', *sorted(name for name in sys.modules if '.' not in name))"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert "Usage:" in done.stdout
    loaded = set(done.stdout.splitlines()[-1].split()[1:])
    assert "typer" in loaded
    assert not loaded & {"numpy", "pandas", "torch", "zarr", "xarray", "pyarrow", "rasterio", "dask", "PIL", "yaml"}


def test_list_shows_the_manifest() -> None:
    found = {row["id"]: row for row in rows("list")}
    assert found["eurosat"]["samples"] == 27_000
    assert found["eurosat"]["task"] == "single-label"
    assert found["ssl4eo-s12"]["bands"] == "s1 2, s2a 12, s2c 13"
    assert {"licence", "archive_bytes", "status"} <= found["eurosat"].keys()


def test_build_prints_the_path_and_nothing_else_on_stdout(demo_raw: Path, tmp_path: Path) -> None:
    words = ("build", "eurosat-sar", "--raw", demo_raw / "eurosat-sar", "--store", tmp_path, "--workers", 1)
    first, second = prep(*words), prep(*words)
    assert first.returncode == second.returncode == 0
    assert first.stdout == second.stdout == f"{open_store(tmp_path / 'eurosat-sar').path}\n"
    assert "60/60 samples (100%)" in first.stderr
    assert "splits: official" in first.stderr
    assert "published before" in second.stderr

    (row,) = rows("ls", tmp_path)
    assert (row["id"], row["state"], row["samples"]) == ("eurosat-sar", "published", 60)
    assert "synthetic" in row["title"]


def test_a_root_is_kept_by_its_verbs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, name = str(tmp_path), tiny_store(tmp_path, samples=2).path.relative_to(tmp_path).as_posix()
    latest(root, name)
    latest(root, "tiny")
    assert capsys.readouterr().out == f"{name}\n{name}\n"
    remove(root, name, dry_run=True, json=True)
    (row,) = json.loads(capsys.readouterr().out)
    assert row["refers"] == ["latest"]
    with pytest.raises(StoreError, match=f"^{name}: is referred to by latest"):
        remove(root, name)
    with pytest.raises(UsageError, match="--unset"):
        latest(root, name, unset=True)
    latest(root, "tiny", unset=True)
    remove(root, name)
    told = capsys.readouterr()
    assert (told.out, told.err) == (f"tiny\n{name}\n", f"removed {row['bytes']:,} bytes\n")
    list_stores(root, json=True)
    list_stores(root, orphans=True, json=True)
    assert capsys.readouterr().out == "[]\n[]\n"


def test_verify_and_stats_in_json(demo_root: Path) -> None:
    findings = rows("verify", demo_root / "eurosat", "--deep", "--leaks")
    assert {one["severity"] for one in findings} == {"note"}
    bands = rows("stats", demo_root / "eurosat")
    assert [row["id"] for row in bands][-5:] == ["s2:B8A", "s2:B09", "s2:B10", "s2:B11", "s2:B12"]


def test_a_damaged_store_fails_verification(demo_root: Path, tmp_path: Path) -> None:
    import shutil

    folder = shutil.copytree(open_store(demo_root / "eurosat").path, tmp_path / "store")
    (folder / "ledger.json").write_text("[ ]")
    done = prep("verify", folder)
    assert done.returncode == 1
    assert "ledger.json" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["build", "eurosatt", "--raw", ".", "--store", "."], 2, "folder. Did you mean eurosat"),
        (["build", "eurosat", "--raw", "nowhere", "--store", "."], 1, "nowhere: no such folder"),
        (["build", "eurosat", "--raw", ".", "--store", ".", "--relax", "labels"], 2, "cannot relax labels"),
        (["build", "eurosat", "--raw", ".", "--store", ".", "--workers", "2", "--scheduler", "x"], 2, "exclude"),
        (["build", "eurosat", "--raw", ".", "--store", ".", "--layout", "npz"], 2, "npz"),
        (["verify", "nowhere"], 1, "there is no such folder"),
        (["ls", "nowhere"], 1, "there is no such folder"),
        (["frobnicate"], 2, "frobnicate"),
    ],
)
def test_errors_are_one_message(arguments: list[str], status: int, message: str) -> None:
    done = prep(*arguments)
    assert done.returncode == status, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_debug_shows_the_traceback() -> None:
    done = prep("verify", "nowhere", "--debug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_demo_keeps_what_is_finished_and_touches_nothing_foreign(tmp_path: Path) -> None:
    (tmp_path / ".eurosat-sar.partial").mkdir()  # of a run that was killed
    (tmp_path / ".eurosat-sar.partial" / "rest").write_text("x")
    first = prep("demo", tmp_path, "--only", "eurosat-sar")
    assert first.stdout == f"{tmp_path / 'eurosat-sar'}\n"
    assert not (tmp_path / "eurosat-sar" / "rest").exists()
    again = prep("demo", tmp_path, "--only", "eurosat-sar")
    assert "kept" in again.stderr
    other = prep("demo", tmp_path, "--only", "eurosat-sar", "--seed", "8")
    assert other.returncode == 2
    assert "another world" in other.stderr
    (tmp_path / "eurosat").mkdir()
    (tmp_path / "eurosat" / "precious").write_text("x")
    foreign = prep("demo", tmp_path, "--only", "eurosat")
    assert foreign.returncode == 2
    assert "no demo archive" in foreign.stderr
    assert (tmp_path / "eurosat" / "precious").exists()
