"""Two submitters and a merge, rehearsed with git on local disks; who writes at once or is killed."""

import json
import os
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor

import torch
import yaml

from seamo.disk import hold
from seamo.store.reader import open_store
from seamo_bench.records.layout import sweep
from seamo_bench.records.submit import submit
from tests.bench.forging import forge
from tests.bench.repository.contributions import RERUN, SUITE, knn, near

torch.set_num_threads(1)


def git(folder, *words):
    mine = ("-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "init.defaultBranch=main")
    return subprocess.run(["git", *mine, *words], cwd=folder, check=True, capture_output=True, text=True).stdout


def workflow(folder):
    return yaml.safe_load((folder / ".github" / "workflows" / "referee.yml").read_text())


def continuous_integration(tmp_path, origin, branch, author, call):
    """What the workflow does with a pull request, by its own commands: the merge is `data`, its first parent `base`."""
    place = tmp_path / f"ci-{branch}-{author}"
    place.mkdir()
    git(place, "clone", "--quiet", "--branch", "main", str(origin), "data")
    git(place / "data", "merge", "--quiet", "--no-ff", "--no-edit", f"origin/{branch}")
    steps = {one.get("name"): one for one in workflow(place / "data")["jobs"]["referee"]["steps"]}
    trust = steps["What is trusted, the branch as it is"]["run"]
    subprocess.run(
        ["bash", "-c", trust], cwd=place, env={**os.environ, "BRANCH": "HEAD^1"}, check=True, capture_output=True
    )
    script = steps["Judge a pull request"]["run"]
    words = [one.replace("$AUTHOR", author).replace("$ROLE", "--contributor") for one in shlex.split(script)]
    assert words[:2] == ["seamo-bench", "referee"]
    where = {"data": str(place / "data"), "base": str(place / "base")}
    return call(*[where.get(word, word) for word in words[1:]])


def test_two_submitters_and_a_merge_make_a_row_reproduced(results, stores, tmp_path, monkeypatch, call):
    main_branch, origin = tmp_path / "first", tmp_path / "origin.git"
    assert call("referee", "--init", main_branch)[0] == 0
    assert call("referee", main_branch)[0] == 0
    store = open_store(stores / "toy").path
    assert call("referee", main_branch, "--register", store)[0] == 2  # nobody vouches
    code, said = call("referee", main_branch, "--register", store, "--as", "keeper")
    assert (code, "test lists, by keeper" in said) == (0, True)
    git(main_branch, "init", "--quiet")
    git(main_branch, "add", ".")
    git(main_branch, "commit", "--quiet", "--message", "Begin")
    git(tmp_path, "clone", "--quiet", "--bare", "first", "origin.git")

    theirs = tmp_path / "theirs"  # Ben ran one of the two on another machine
    forge(results, knn(results).key, theirs, arrays=near)
    for name, folder in (("ada", results), ("ben", theirs)):
        clone = tmp_path / name
        git(tmp_path, "clone", "--quiet", str(origin), name)
        git(clone, "switch", "--quiet", "--create", f"of-{name}")
        monkeypatch.setenv("SEAMO_WHO", name)
        code, said = call("submit", folder, clone, "--stores", stores)
        assert code == 0
        assert ("as reproduction 1" in said) is (name == "ben")
        code, again = call("submit", folder, clone)
        assert "0 copied" in again
        monkeypatch.delenv("SEAMO_WHO")
        git(clone, "add", ".")
        git(clone, "commit", "--quiet", "--message", f"Results of {name}")
        git(clone, "push", "--quiet", "origin", f"of-{name}")
        code, said = continuous_integration(tmp_path, origin, f"of-{name}", "somebody", call)
        assert (code, f"is handed in by {name}: a contribution of somebody" in said) == (1, True)
        code, said = continuous_integration(tmp_path, origin, f"of-{name}", name, call)
        assert code == 0, said
        assert said.count(RERUN) == (2 if name == "ada" else 1)
        assert said.count("reproduced: records/") == (0 if name == "ada" else 2)
        git(clone, "push", "--quiet", "origin", f"of-{name}:main")

    git(tmp_path, "clone", "--quiet", str(origin), "board")
    board = tmp_path / "board"
    code, said = call("table", board)
    assert code == 0
    assert "1 of 2 scores are reproduced" in said
    assert said.count("{reproduced}") == 1
    assert said.count("{plausible, not rerun}") == 1
    code, said = call("table", board, "--json")
    states = {row["protocol"]: row["state"] for row in json.loads(said)}
    assert states == {"knn": "reproduced", "logreg": RERUN}
    assert call("report", board, "-o", tmp_path / "board.html")[0] == 0
    assert "<td>reproduced</td>" in (tmp_path / "board.html").read_text()
    code, said = call("verify", board, "--stores", stores)
    assert (code, said.count("key, predictions and scores agree"), said.count(".1.json")) == (0, 3, 1)
    (second,) = board.glob("records/*/*.1.json")
    assert call("verify", second)[0] == 0
    assert git(board, "status", "--porcelain") == ""  # tables leave nothing behind


def test_the_workflow_runs_the_base_s_referee_on_data_without_rights(base):
    text = (base / ".github" / "workflows" / "referee.yml").read_text()
    told = workflow(base)
    assert set(told[True]) == {"pull_request", "push"}  # `on` is true in YAML 1.1
    assert told["permissions"] == {"contents": "read"}
    assert "secrets." not in text
    (job,) = told["jobs"].values()
    assert all(one["with"]["persist-credentials"] is False for one in job["steps"] if "checkout" in one.get("uses", ""))
    scripts = [one["run"] for one in job["steps"] if "run" in one]
    assert not any("${{" in one for one in scripts)  # nothing of a stranger becomes part of a script
    assert any("base/requirements.txt" in one for one in scripts)
    owners = (base / ".github" / "CODEOWNERS").read_text()
    assert all(f"/{one}/ " in owners for one in ("stores", "protocols", "withdrawn", ".github"))


def test_runs_do_not_write_into_a_repository(base, stores, tmp_path, call):
    (tmp_path / "suite.yaml").write_text(SUITE)
    code, said = call("run", tmp_path / "suite.yaml", "--stores", stores, "--results", base)
    assert code == 2
    assert "hand in with" in said


def test_a_killed_writer_is_swept(results, tmp_path):
    """Killed before the name was given, or after it and before the work file was gone; who still writes is left."""
    for name in ("records", "predictions"):
        (tmp_path / name).mkdir()
    assert [one.outcome for one in submit(results, tmp_path)] == ["copied", "copied"]
    whole = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    record = next(path for path in whole if path.suffix == ".json")
    record.with_name(f".{record.name}.0123456789abcdef.part").hardlink_to(record)
    (tmp_path / "predictions" / ".a.npz.0123456789abcdef.part").write_bytes(b"hal")
    written = tmp_path / "predictions" / ".b.npz.0123456789abcdef.part"
    handle = hold(written, folder=False)
    assert [one.outcome for one in submit(results, tmp_path)] == ["there already", "there already"]
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == {*whole, written}
    os.close(handle)
    sweep(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == whole


def test_a_folder_that_a_run_writes_to_is_not_swept(results, tmp_path):
    at_work = tmp_path / ".a.json.0123456789abcdef.part"
    at_work.write_bytes(b"hal")
    assert [one.outcome for one in submit(results, tmp_path)] == ["copied", "copied"]
    assert at_work.read_bytes() == b"hal"


def test_two_who_submit_at_once_leave_one_first_record(results, tmp_path):
    """Threads, each with handles of its own: the locks are between open files."""
    key = knn(results).key
    folders = {
        "Ada": forge(results, key, tmp_path / "mine").parent,
        "Ben": forge(results, key, tmp_path / "theirs", arrays=near).parent,
    }

    dest = tmp_path / "dest"
    for n in range(20):
        for name in ("records", "predictions"):
            (dest / str(n) / name).mkdir(parents=True)

    def hand_in(who):
        return [one.outcome for n in range(20) for one in submit(folders[who], dest / str(n), submitter=who)]

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(hand_in, folders)) == [["copied"] * 20] * 2
    for n in range(20):
        place = tmp_path / "dest" / str(n)
        files = [path for path in place.rglob("*") if path.is_file()]
        records = sorted(path.name for path in files if path.suffix == ".json")
        assert records == [f"{key}.1.json", f"{key}.json"]
        assert len(files) == 4  # and their predictions
