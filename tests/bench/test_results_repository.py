"""A results repository, rehearsed with git on local disks: two submitters, a merge, and every forgery that is known."""

import hashlib
import io
import json
import os
import shlex
import shutil
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import yaml

from seamo.disk import hold
from seamo.errors import ProtocolError, StoreError
from seamo.identity import canonical_json
from seamo.store.reader import open_store
from seamo_bench.board.leaderboard import build_table
from seamo_bench.cli import main
from seamo_bench.predictions import predictions_from_bytes
from seamo_bench.records.layout import predictions_name, record_name, sweep
from seamo_bench.records.record import read_records
from seamo_bench.records.submit import submit
from seamo_bench.runs.papers import papers_of
from seamo_bench.runs.plan import Places, make_plan
from seamo_bench.runs.referee import Referee
from seamo_bench.runs.register import read_entry
from seamo_bench.runs.repository import judge, refereed
from seamo_bench.runs.run import Machine, run_plan
from seamo_bench.runs.sharing import init_repository, register_store
from seamo_bench.suites.suite import load_suite
from seamo_bench.zoo.catalogue import card_document, find_card
from tests.bench.bench_store import toy_store
from tests.bench.forging import forge, sealed, some
from tests.bench.test_run import quiet

torch.set_num_threads(1)
SUITE = """
id: small
rows:
  - {store: toy, protocol: knn, backbones: [image-statistics]}
  - {store: toy, protocol: logreg, backbones: [image-statistics]}
"""
RERUN = "plausible, not rerun"


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    root = tmp_path_factory.mktemp("stores")
    toy_store(root, 90)
    return root


@pytest.fixture(scope="module")
def results(tmp_path_factory, stores):
    """Two records of one backbone: kNN and logistic regression."""
    folder = tmp_path_factory.mktemp("results")
    (folder / "suite.yaml").write_text(SUITE)
    places = Places(stores, folder, folder / "weights")
    cells = make_plan(load_suite(str(folder / "suite.yaml")), (), places)
    made = list(run_plan(cells, places, machine=Machine(), progress=quiet, inner=quiet))
    assert [record.status for record in made] == ["ok", "ok"]
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory, results, stores):
    """The main branch: one store, and the two records as Ada handed them in."""
    folder = tmp_path_factory.mktemp("repository") / "main"
    init_repository(folder)
    register_store(folder, [open_store(stores / "toy").path], who="keeper")
    sent = list(submit(results, folder, papers=lambda record: papers_of(record, {}), submitter="Ada"))
    assert [one.outcome for one in sent] == ["copied", "copied"]
    return folder


@pytest.fixture
def change(base, tmp_path):
    """A checkout of the main branch, to change."""
    return shutil.copytree(base, tmp_path / "change")


def knn(results):
    return next(record for record in read_records(results).records if record.facts.protocol.id == "knn")


def run(monkeypatch, capsys, *words):
    """The command's exit status, and what it said."""
    monkeypatch.setattr("sys.argv", ["seamo-bench", *map(str, words)])
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr()
    return end.value.code or 0, said.out + said.err


def place(path, folder, *, number=1, who="Eve"):
    """Put a forged record into a repository by hand, as somebody who does not ask `submit`."""
    told = json.loads(path.read_text())
    told["environment"]["submitter"] = who
    told = sealed(told)
    data = path.with_suffix(".npz").read_bytes()
    file = folder / predictions_name(hashlib.sha256(data).hexdigest())
    file.write_bytes(data)
    there = folder / record_name(told["key"], number)
    there.parent.mkdir(exist_ok=True)
    there.write_text(json.dumps(told))
    return there


def refused(folder, base, **options):
    """What is refused of a contribution: name -> why."""
    verdicts = judge(folder, base=base, **options)
    return {one.name: "; ".join(one.problems) for one in verdicts if one.problems}


def resealed(entry):
    """The bytes of a register's entry with a seal that fits."""
    facts = {name: value for name, value in entry.items() if name != "digest"}
    return canonical_json({**facts, "digest": hashlib.sha256(canonical_json(facts)).hexdigest()})


def near(arrays):
    """What another machine gives: the same but for rounding."""
    return {**arrays, "scores": arrays["scores"] * np.float32(1 + 1e-6)}


# Two submitters and a merge


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


def test_two_submitters_and_a_merge_make_a_row_reproduced(results, stores, tmp_path, monkeypatch, capsys):
    def call(*words):
        return run(monkeypatch, capsys, *words)

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


# Forgeries that a record's predictions carry


def answers(arrays):
    said = arrays["scores"].argmax(axis=1)
    said[0] = (arrays["labels"][0] + 1) % 3  # also where the network is right everywhere
    return {**arrays, "labels": said.astype(arrays["labels"].dtype)}


def dropped(arrays):
    return some(arrays, np.arange(1, len(arrays["keys"])))


def repeated(arrays):
    return some(arrays, np.concatenate([[1], np.arange(1, len(arrays["keys"]))]))


def renamed(arrays):
    return {**arrays, "keys": np.concatenate([["elsewhere"], arrays["keys"][1:].astype("U64")])}


def other_label_of_another(arrays):
    """A hard sample dropped, an easy one of another class in its place, under its name."""
    labels = arrays["labels"]
    easy = int(np.flatnonzero(labels != labels[0])[0])
    rows = np.concatenate([[easy], np.arange(1, len(labels))])
    return {**some(arrays, rows), "keys": arrays["keys"]}


def in_three_scenes(arrays):
    return {**arrays, "units": np.array([f"scene{k % 3}" for k in range(len(arrays["keys"]))])}


@pytest.mark.parametrize(
    ("arrays", "why"),
    [
        (answers, "the labels of its predictions are not the store's"),
        (dropped, "its predictions are of"),
        (renamed, "the samples of its predictions are not those of the test list"),
        (other_label_of_another, "the labels of its predictions are not the store's"),
        (in_three_scenes, "its units (scenes) are not the store's"),
    ],
)
def test_predictions_that_are_not_of_the_store(results, base, change, tmp_path, arrays, why):
    path = place(forge(results, knn(results).key, tmp_path / "forged", arrays=arrays), change)
    found = refused(change, base)
    assert set(found) == {path.relative_to(change).as_posix()}
    assert why in found[path.relative_to(change).as_posix()]


def test_samples_that_were_dropped_and_others_repeated(results, base, change, tmp_path):
    path = forge(results, knn(results).key, tmp_path / "forged")
    data = dict(np.load(path.with_suffix(".npz")))
    rewrite(path, lambda buffer: np.savez(buffer, **repeated(data)))
    name = place(path, change).relative_to(change).as_posix()
    assert "stands twice" in refused(change, base)[name]


def test_scores_that_were_made_up_stay_plausible(results, base, change, tmp_path):
    """One-hot of the labels: nothing that is at hand contradicts it."""

    def perfect(arrays):
        return {**arrays, "scores": np.eye(3, dtype=np.float32)[arrays["labels"]]}

    place(forge(results, knn(results).key, tmp_path / "forged", arrays=perfect), change, number=1)
    states = {one.name: one for one in judge(change, base=base) if one.name.startswith("records/")}
    first, second = record_name(knn(results).key), record_name(knn(results).key, 1)
    if knn(results).scores["balanced_accuracy"] == 1:  # it cannot be told from what is right anyhow
        assert states[second].state == "reproduced"
    else:
        assert states[second].state == states[first].state == "not reproduced"
        assert "eve (1.0000)" in " ".join(states[first].remarks)
    (change / first).unlink()
    (change / second).rename(change / first)
    assert next(one for one in judge(change) if one.name == first).state == RERUN


def rewrite(path, write):
    """Other bytes as a record's predictions; the text names them."""
    buffer = io.BytesIO()
    write(buffer)
    told = json.loads(path.read_text())
    told["predictions"]["sha256"] = hashlib.sha256(buffer.getvalue()).hexdigest()
    path.with_suffix(".npz").write_bytes(buffer.getvalue())
    path.write_text(json.dumps(sealed(told)))


def bomb(buffer):
    """A few kilobytes that unpack to eight megabytes."""
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("keys.npy", bytes(2**23))


def test_a_bomb_is_not_unpacked(results, base, change, tmp_path, monkeypatch):
    path = forge(results, knn(results).key, tmp_path / "forged")
    rewrite(path, bomb)
    data = path.with_suffix(".npz").read_bytes()
    name = place(path, change).relative_to(change).as_posix()
    monkeypatch.setattr("seamo_bench.records.record.predictions_from_bytes", lambda asked: opened(asked, data))
    assert "unpack to 8,388,608 bytes, those of its samples have at most 1,1" in refused(change, base)[name]


def opened(data, bomb):
    assert data != bomb
    return predictions_from_bytes(data)


def test_pickles_are_not_opened(results, base, change, tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was opened",))

    path = forge(results, knn(results).key, tmp_path / "forged")
    rewrite(path, lambda buffer: np.savez(buffer, keys=np.array([Trap()], dtype=object)))
    name = place(path, change).relative_to(change).as_posix()
    assert "keys.npy is not what its header says" in refused(change, base)[name]


# Forgeries of what a record says


def edit(*where, value):
    def change(document):
        inside = document
        for name in where[:-1]:
            inside = inside[name]
        inside[where[-1]] = value

    return change


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (edit("facts", "stores", 0, "content", value="0" * 64), "is not in the register"),
        (edit("facts", "stores", 0, "id", value="eurosat"), "is not in the register"),
        (edit("facts", "stores", 0, "synthetic", value=False), "is not in the register"),
        (edit("facts", "split", "lists", "test", value="0" * 64), "its split lists are not the store's: test"),
        (edit("facts", "split", "lists", "train", value="0" * 64), "its split lists are not the store's: train"),
        (edit("facts", "split", "scheme", value="official"), "no test list of split official"),
        (edit("facts", "split", "salt", value=7), "its split is not the store's"),
        (edit("facts", "task", "classes", value=["class 0", "class 1", "sea"]), "its task"),
        (edit("facts", "protocol", "version", value=99), "version 99 of protocol knn is not in protocols/"),
        (edit("facts", "protocol", "params", "sharpness", value=3), "has no parameter 'sharpness'"),
        (edit("facts", "backbone", "card", value="0" * 64), "the card of backbone image-statistics"),
        (edit("facts", "backbone", "id", value="mine"), "its card is that of backbone image-statistics"),
        (edit("facts", "backbone", "weights", value="f" * 64), "the weights of backbone image-statistics"),
        (edit("about", "backbone", value="Prithvi-EO-2.0"), "of backbone image-statistics (backbone)"),
        (edit("about", "floor", value=""), "of backbone image-statistics (floor)"),
        (edit("about", "stores", value=["EuroSAT"]), "it calls its stores EuroSAT"),
        (edit("about", "samples", "test", value=9999), "it counts samples"),
    ],
)
def test_facts_that_are_not_registered(results, base, change, tmp_path, document, why):
    path = forge(results, knn(results).key, tmp_path / "forged", document=document)
    same = path.stem == knn(results).key
    name = place(path, change, number=1 if same else 0).relative_to(change).as_posix()
    found = refused(change, base)
    assert why in found[name]
    assert set(found) == {name}


def test_scores_that_the_predictions_do_not_give(results, base, change):
    path = change / record_name(knn(results).key)
    for text, why in ((0.999, "the predictions give"), ("NaN", "no JSON"), ("Infinity", "no JSON"), ("1e999", "")):
        told = json.loads((base / path.relative_to(change)).read_text())
        told["scores"]["top1"] = text
        data = json.dumps(sealed(told)).replace(f'"{text}"', str(text))
        path.write_text(data)
        said = refused(change, None)[path.relative_to(change).as_posix()]
        assert why in said
        assert said


def test_a_record_under_another_key(results, base, change):
    path = change / record_name(knn(results).key)
    other = path.with_name(f"{path.name[:10]}{'0' * 54}.json")
    shutil.copy(path, other)
    assert "which is not its name" in refused(change, base)[other.relative_to(change).as_posix()]
    told = json.loads(path.read_text())
    told["facts"]["seed"] = 5
    other.write_text(json.dumps(sealed(told)))
    assert "not the hash of its facts" in refused(change, base)[other.relative_to(change).as_posix()]


# Forgeries of the repository


def test_files_that_do_not_belong_there(base, change, tmp_path):
    names = (
        "run.sh",
        "records/aa/x.json",
        "records/notes.txt",
        "intervals/a.npz",
        "predictions/a.npz",
        "stores/.gitkeep",
    )
    for name in names:
        (change / name).parent.mkdir(parents=True, exist_ok=True)
        (change / name).write_text("x")
    (tmp_path / "secret").mkdir()
    (change / "cards" / f"{'0' * 64}.json").symlink_to(tmp_path / "secret")
    (change / "protocols" / "more").symlink_to(tmp_path / "secret", target_is_directory=True)
    found = refused(change, base)
    assert set(found) >= {*names, f"cards/{'0' * 64}.json", "protocols/more"}
    assert found["run.sh"].startswith("is outside the layout")
    assert "is a link" in found["protocols/more"]
    assert "is not empty" in found["stores/.gitkeep"]


def test_predictions_of_no_record(base, change):
    (change / "predictions" / f"{'0' * 64}.npz").write_bytes(b"x")
    assert refused(change, base) == {f"predictions/{'0' * 64}.npz": "belongs to no record"}


def test_a_record_stays_as_it_is_until_it_is_withdrawn(results, base, change, tmp_path):
    key = knn(results).key
    path = change / record_name(key)
    data = path.read_bytes()
    told = json.loads(data)
    told["cost"]["seconds"] = 1.0
    path.write_text(json.dumps(sealed(told)))
    assert "was changed" in refused(change, base)[record_name(key)]
    path.unlink()
    kept = change / predictions_name(told["predictions"]["sha256"])
    found = refused(change, base)
    assert "was removed, and withdrawn/ does not name it" in found[record_name(key)]
    kept.unlink()
    gone = change / "withdrawn" / f"{key}.json"
    gone.write_text('{"reason": "nothing"}')
    assert "is no withdrawal" in refused(change, base)[f"withdrawn/{key}.json"]
    gone.write_text(json.dumps({"records": [hashlib.sha256(data).hexdigest()], "reason": "a wrong band", "who": "Ada"}))
    assert refused(change, base) == {}
    path.write_bytes(data)  # and comes not again
    shutil.copy(base / kept.relative_to(change), kept)
    assert refused(change, None) == {record_name(key): "is withdrawn: a wrong band"}
    honest = place(forge(results, key, tmp_path / "mine", arrays=near), change, number=0, who="Ben")
    kept.unlink()
    assert honest == path
    assert refused(change, None) == {}  # another one may


def test_a_reproduction_moves_up_where_the_first_one_is_withdrawn(results, base, change, tmp_path):
    key = knn(results).key
    second = place(forge(results, key, tmp_path / "mine", arrays=near), change, who="Ben")
    assert refused(change, base) == {}
    before, after = change, shutil.copytree(change, tmp_path / "after")
    first = after / record_name(key)
    data = first.read_bytes()
    first.unlink()
    (after / predictions_name(json.loads(data)["predictions"]["sha256"])).unlink()
    (after / second.relative_to(change)).rename(first)
    found = refused(after, before)
    assert "was changed" in found[record_name(key)]
    assert "was removed" in found[record_name(key, 1)]
    gone = {"records": [hashlib.sha256(data).hexdigest()], "reason": "made up"}
    (after / "withdrawn" / f"{key}.json").write_text(json.dumps(gone))
    assert refused(after, before) == {}


def test_a_second_record_needs_a_first_one_and_says_something_new(results, base, change):
    path = change / record_name(knn(results).key)
    shutil.copy(path, path.with_name(f"{path.stem}.2.json"))
    assert refused(change, base) == {record_name(knn(results).key, 2): f"says the same as {record_name(path.stem)}"}
    path.unlink()
    assert "no first one" in refused(change, None)[record_name(path.stem, 2)]


def test_names_on_records_are_the_contributor_s(results, base, change, tmp_path):
    path = place(forge(results, knn(results).key, tmp_path / "mine", arrays=near), change, who="Ben")
    name = path.relative_to(change).as_posix()
    assert refused(change, base, submitter="ben") == {}
    assert "is handed in by ben: a contribution of eve" in refused(change, base, submitter="eve")[name]
    more = place(forge(results, knn(results).key, tmp_path / "more", arrays=near), change, number=2, who="Cleo")
    assert set(refused(change, base)) == {name, more.relative_to(change).as_posix()}


def of_mine(change, results, tmp_path, *, title="My run", group="", who="Eve"):
    """A record of a run of one's own, with its card; the card's digest, and the record's name."""
    variant = [["group", group]] if group else []
    document = card_document(find_card("image-statistics").card) | {"id": "mine", "title": title, "variant": variant}
    data = canonical_json(document)
    digest = hashlib.sha256(data).hexdigest()

    def told(text):
        text["facts"]["backbone"] |= {"id": "mine", "card": digest}
        text["about"] |= {"backbone": title, "group": group, "floor": ""}

    path = place(forge(results, knn(results).key, tmp_path / title, document=told), change, number=0, who=who)
    (change / "cards" / f"{digest}.json").write_bytes(data)
    return path.relative_to(change).as_posix()


def test_a_run_of_one_s_own_joins_no_row_of_somebody_else_s(results, change, tmp_path):
    of_mine(change, results, tmp_path, group="ours", who="Ada")
    base = shutil.copytree(change, tmp_path / "base")
    assert refused(change, base) == {}
    name = of_mine(change, results, tmp_path, title="Another run", group="ours")
    assert refused(change, base) == {
        name: "another card is here as backbone mine: rename the run; its group ours is that of ada"
    }
    (change / name).unlink()
    name = of_mine(change, results, tmp_path, title="Another run", group="ours", who="Ada")
    assert refused(change, base) == {name: "another card is here as backbone mine: rename the run"}


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (edit("facts", "precision", value="bf16"), "they differ in precision: bf16 (image-statistics), fp32"),
        (edit("facts", "adapter", "size", value=[999, 999]), "they differ in the input of image-statistics"),
    ],
)
def test_a_record_that_would_end_the_table_for_everybody(results, base, change, tmp_path, document, why):
    path = place(forge(results, knn(results).key, tmp_path / "other", document=document), change, number=0)
    found = refused(change, base)
    assert set(found) == {path.relative_to(change).as_posix()}
    assert why in found[path.relative_to(change).as_posix()]
    assert refused(change, base, maintainer=True) == {}
    with pytest.raises(ProtocolError, match="differ in"):
        build_table(refereed(change), change, resamples=50)
    build_table(refereed(base), base, resamples=50)


def test_only_one_s_own_records_are_withdrawn(results, base, change):
    path = change / record_name(knn(results).key)
    data = path.read_bytes()
    path.unlink()
    (change / predictions_name(json.loads(data)["predictions"]["sha256"])).unlink()
    name = f"withdrawn/{knn(results).key}.json"
    (change / name).write_text(json.dumps({"records": [hashlib.sha256(data).hexdigest()], "reason": "bad"}))
    assert refused(change, base, submitter="eve") == {name: "withdraws a record of ada: bad: that is for maintainers"}
    for options in ({"submitter": "Ada"}, {}, {"submitter": "eve", "maintainer": True}):
        assert refused(change, base, **options) == {}
        assert ("withdrawal", ("of ada: bad",)) in [(one.state, one.remarks) for one in judge(change, base=base)]


def test_runs_do_not_write_into_a_repository(base, stores, tmp_path, monkeypatch, capsys):
    (tmp_path / "suite.yaml").write_text(SUITE)
    code, said = run(monkeypatch, capsys, "run", tmp_path / "suite.yaml", "--stores", stores, "--results", base)
    assert code == 2
    assert "hand in with" in said


def test_one_person_alone_reproduces_nothing(results, change, tmp_path):
    """Nor does a record without a name."""
    for who in ("ada ", ""):
        place(forge(results, knn(results).key, tmp_path / "mine", arrays=near), change, who=who)
        states = {one.name: one.state for one in judge(change) if one.name.startswith("records/")}
        assert set(states.values()) == {RERUN}, who


def test_the_register_and_what_is_around_are_the_maintainers(base, change, tmp_path):
    fake = toy_store(tmp_path / "fake", 60)
    register_store(change, [fake.path], who="Eve")
    entry = f"stores/{fake.content[:16]}.json"
    (change / "README.md").write_text("mine")
    (change / ".github" / "workflows" / "referee.yml").unlink()
    found = refused(change, base)
    assert set(found) == {entry, "README.md", ".github/workflows/referee.yml"}
    assert all(one.endswith("that is for maintainers") for one in found.values())
    assert refused(change, base, maintainer=True) == {}


def test_a_record_of_a_store_that_comes_along_is_not_judged_by_it(results, base, change, tmp_path):
    """Else the answers would do as labels of a store of one's own."""
    old = next((change / "stores").glob("*.json"))
    entry = json.loads(old.read_text())
    entry["content"] = entry["stores"][0]["content"] = "1" * 64
    (change / "stores" / f"{'1' * 16}.json").write_bytes(resealed(entry))
    fake = edit("facts", "stores", 0, "content", value="1" * 64)
    path = place(forge(results, knn(results).key, tmp_path / "forged", document=fake), change, number=0)
    assert "is not in the register" in refused(change, base)[path.relative_to(change).as_posix()]


def test_papers_that_come_along_are_those_of_the_package(base, change):
    document = card_document(find_card("image-statistics").card) | {"title": "Mine, and better"}
    data = canonical_json(document)
    name = f"cards/{hashlib.sha256(data).hexdigest()}.json"
    (change / name).write_bytes(data)
    (change / "protocols" / "knn-7.json").write_bytes(
        (change / "protocols" / "knn-2.json").read_bytes().replace(b'"version":2', b'"version":7')
    )
    found = refused(change, base)
    assert "is not the card of backbone image-statistics as it is listed here" in found[name]
    assert "is not protocol knn of version 2" in found["protocols/knn-7.json"]
    (change / name).write_bytes(data.replace(b"better", b"worse!"))
    assert "its sha256 differs" in refused(change, base)[name]
    own = canonical_json(document | {"id": "mine", "title": find_card("image-statistics").card.title})
    (change / name).unlink()
    name = f"cards/{hashlib.sha256(own).hexdigest()}.json"
    (change / name).write_bytes(own)
    assert "as image-statistics is called" in refused(change, base)[name]


def test_a_backbone_of_one_s_own_brings_its_card(results, base, change, tmp_path):
    document = card_document(find_card("image-statistics").card) | {"id": "mine", "title": "My statistics"}
    data = canonical_json(document)
    digest = hashlib.sha256(data).hexdigest()

    def mine(told):
        told["facts"]["backbone"] |= {"id": "mine", "card": digest}
        told["about"]["backbone"] = "My statistics"

    path = place(forge(results, knn(results).key, tmp_path / "mine", document=mine), change, number=0)
    assert "is not in cards/" in refused(change, base)[path.relative_to(change).as_posix()]
    (change / "cards" / f"{digest}.json").write_bytes(data)
    assert refused(change, base) == {}


# What else


def test_nothing_in_a_name_or_a_reason_commands_the_terminal(results, base, change, tmp_path, monkeypatch, capsys):
    (change / "records" / "\n::error::\x1b[2J.json").write_text("{}")
    title = edit("about", "stores", value=["a\x1b[2J\n::x"])
    place(forge(results, knn(results).key, tmp_path / "forged", document=title), change)
    code, said = run(monkeypatch, capsys, "referee", change, "--base", base)
    assert code == 1
    assert "\x1b" not in said
    assert not [line for line in said.splitlines() if line.startswith("::")]
    code, said = run(monkeypatch, capsys, "referee", change, "--json")
    assert (code, "\x1b" in said) == (1, False)
    assert {row["state"] for row in json.loads(said)} == {"refused", RERUN}


def test_stores_at_hand_are_asked_too(results, base, change, stores, tmp_path):
    place(forge(results, knn(results).key, tmp_path / "mine", arrays=near), change)
    assert refused(change, base, held=Referee(stores).problems) == {}
    found = refused(change, base, held=Referee(tmp_path).problems)
    assert all("has no store of content" in one for one in found.values())
    assert len(found) == 3


def test_no_repository_and_damaged_stores(tmp_path, stores, base):
    with pytest.raises(ProtocolError, match="no results repository"):
        judge(tmp_path)
    with pytest.raises(ProtocolError, match="no results repository"):
        register_store(tmp_path, [open_store(stores / "toy").path], who="keeper")
    shutil.copytree(stores / "toy", tmp_path / "toy")
    next((tmp_path / "toy").glob("*/ledger.json")).write_bytes(b"{}")
    with pytest.raises(StoreError, match="is damaged"):
        register_store(base, [next((tmp_path / "toy").iterdir())], who="keeper")
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(ProtocolError, match=r"README.md is there already"):
        init_repository(tmp_path)


def test_the_referee_needs_no_torch(results, base, change, tmp_path, stores):
    """Nor whoever hands in: its check installs the base of seamo alone."""
    place(forge(results, knn(results).key, tmp_path / "mine", arrays=near), change)
    (change / "protocols" / "knn-3.json").write_bytes(
        (base / "protocols" / "knn-2.json").read_bytes().replace(b'"version":2', b'"version":3')
    )
    commands = [
        ["referee", change, "--base", base],
        ["referee", base, "--register", next((stores / "toy").iterdir()), "--as", "keeper"],
        ["submit", results, base, "--as", "Ada"],
        ["table", base],
    ]
    code = (
        "import sys, json\nsys.modules.update(torch=None, scipy=None, sklearn=None, timm=None)\n"
        "from seamo_bench.cli import main\n"
        "for words in json.loads(sys.argv[1]):\n"
        "    sys.argv = ['seamo-bench', *words]\n    try: main()\n    except SystemExit as end: print('ends', end.code)"
    )
    words = json.dumps([[str(word) for word in command] for command in commands])
    done = subprocess.run([sys.executable, "-c", code, words], capture_output=True, text=True, check=True)
    assert [line for line in done.stdout.splitlines() if line.startswith("ends")] == ["ends 1", *["ends 0"] * 3]
    assert "refused: protocols/knn-3.json: is not protocol knn of version 2 as it is here" in done.stdout
    assert "0 copied, 2 there already, 0 refused" in done.stdout
    assert done.stderr == ""


def test_a_newer_seamo_adds_its_protocols(change):
    (change / "README.md").write_text("ours by now")
    assert init_repository(change) == []
    (change / "protocols" / "linear-2.json").unlink()
    knn = change / "protocols" / "knn-2.json"
    knn.write_bytes(knn.read_bytes().replace(b'"tolerance":0.002', b'"tolerance":0.05'))
    assert init_repository(change) == ["protocols/linear-2.json"]


def test_a_community_sets_its_own_tolerance(results, change, tmp_path):
    """The same reproduction, one test sample off, is one within it and none without."""

    def off(arrays):
        right = int(np.flatnonzero(arrays["scores"].argmax(axis=1) == arrays["labels"])[0])
        scores = arrays["scores"].copy()
        scores[right] = np.roll(scores[right], 1)
        return {**arrays, "scores": scores}

    knn_file = change / "protocols" / "knn-2.json"
    theirs = forge(results, knn(results).key, tmp_path / "theirs", arrays=off).parent
    for tolerance, state in ((b"0.002", "not reproduced"), (b"0.5", "reproduced")):
        knn_file.write_bytes(knn_file.read_bytes().replace(b'"tolerance":0.002', b'"tolerance":' + tolerance))
        (sent,) = submit(theirs, change, papers=lambda record: papers_of(record, {}), submitter="Ben")
        assert sent.outcome != "refused"
        states = {one.name: one.state for one in judge(change)}
        assert states[record_name(knn(results).key)] == states[record_name(knn(results).key, 1)] == state


def test_two_who_build_a_store_stand_in_its_entry(change, stores):
    path = open_store(stores / "toy").path
    entry = register_store(change, [path], who="another")
    assert [one.who for one in entry.rebuilt] == ["keeper", "another"]
    assert register_store(change, [path], who="another") == entry
    name = next((change / "stores").glob("*.json"))
    data = name.read_bytes().replace(entry.tests[0].labels.encode(), b"0" * 64)
    name.write_bytes(data)
    assert "is not what was sealed" in refused(change, None)[name.relative_to(change).as_posix()]
    name.write_bytes(resealed(json.loads(data)))
    with pytest.raises(ProtocolError, match="is another one"):
        register_store(change, [path], who="third")


def test_records_name_a_store_by_its_content_in_the_format_before_too(change):
    path = next((change / "stores").glob("*.json"))
    entry = read_entry(path.read_bytes(), f"stores/{path.name}")
    copied = entry.model_copy(update={"before": ("2" * 64,)})
    older = (entry.stores[0].model_copy(update={"content": "2" * 64}),)
    assert (copied.is_of(older), copied.is_of(entry.stores), copied.is_of(())) == (True, True, False)
    assert (entry.is_of(older), entry.is_of(entry.stores)) == (False, True)


def test_flipped_bits_are_named_without_the_base(change):
    """Of records, predictions, cards and the register; protocols and what lies around are held by the base alone.

    What a machine says of itself decides no score: it is said, not refused.
    """

    def named():
        return any(one.problems or one.remarks for one in judge(change))

    rng = np.random.default_rng(0)
    assert not named()
    for folder in ("records", "predictions", "cards", "stores"):
        path = next(one for one in sorted((change / folder).rglob("*")) if one.suffix in (".json", ".npz"))
        data = path.read_bytes()
        for place in rng.integers(0, len(data), 6).tolist():
            path.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
            assert named(), (folder, place)
        path.write_bytes(data)


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
