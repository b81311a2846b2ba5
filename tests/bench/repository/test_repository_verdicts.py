"""How a results repository is judged: what it needs, what it says, what its community and its register decide."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from seamo.errors import ProtocolError, StoreError
from seamo.store.reader import open_store
from seamo_bench.records.layout import record_name
from seamo_bench.records.submit import submit
from seamo_bench.runs.papers import papers_of
from seamo_bench.runs.referee import Referee
from seamo_bench.runs.register import read_entry
from seamo_bench.runs.repository import judge
from seamo_bench.runs.sharing import init_repository, register_store
from tests.bench.forging import forge
from tests.bench.referee.kinds import edit
from tests.bench.repository.contributions import RERUN, knn, near, place, refused, resealed

torch.set_num_threads(1)


def test_one_person_alone_reproduces_nothing(results, change, tmp_path):
    """Nor does a record without a name."""
    for who in ("ada ", ""):
        place(forge(results, knn(results).key, tmp_path / "mine", arrays=near), change, who=who)
        states = {one.name: one.state for one in judge(change) if one.name.startswith("records/")}
        assert set(states.values()) == {RERUN}, who


def test_nothing_in_a_name_or_a_reason_commands_the_terminal(results, base, change, tmp_path, call):
    (change / "records" / "\n::error::\x1b[2J.json").write_text("{}")
    title = edit("about", "stores", value=["a\x1b[2J\n::x"])
    place(forge(results, knn(results).key, tmp_path / "forged", document=title), change)
    code, said = call("referee", change, "--base", base)
    assert code == 1
    assert "\x1b" not in said
    assert not [line for line in said.splitlines() if line.startswith("::")]
    code, said = call("referee", change, "--json")
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
