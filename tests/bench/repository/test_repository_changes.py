"""What a contribution may change: records of others, withdrawals, cards, protocols and the register."""

import hashlib
import json
import shutil

import pytest
import torch

from seamo.errors import ProtocolError
from seamo.identity import canonical_json
from seamo_bench.board.leaderboard import build_table
from seamo_bench.records.layout import predictions_name, record_name
from seamo_bench.runs.repository import judge, refereed
from seamo_bench.runs.sharing import register_store
from seamo_bench.zoo.catalogue import card_document, find_card
from tests.bench.bench_store import toy_store
from tests.bench.forging import forge, sealed
from tests.bench.referee.kinds import edit
from tests.bench.repository.contributions import knn, near, place, refused, resealed

torch.set_num_threads(1)


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
