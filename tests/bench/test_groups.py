"""Which runs are one row: seeds of one pretraining, and nothing that only has the same front of a name."""

import json
from pathlib import Path

import numpy as np
import pytest

from seamo_bench import facts as f
from seamo_bench.backbones.seamo import card_of
from seamo_bench.board.leaderboard import build_table
from seamo_bench.board.tables import head_title, to_text
from seamo_bench.predictions import ClassPredictions
from seamo_bench.records.record import About, read_records, write_record
from seamo_bench.zoo.catalogue import card_digest

ALIKE = {"model.dim": "96", "optimiser.base_lr": "0.016", "pretrained_on.content": '"3fe"', "step": "8"}


def put(
    folder: Path, backbone: str, *, store: str = "one", title: str = "Store", card: str = "", **about: object
) -> None:
    facts = f.Facts(
        stores=(f.StoreFacts(id=store, content="c" * 64),),
        split=f.SplitFacts(scheme="official", lists={"train": "1" * 64, "test": "2" * 64}),
        task=f.TaskFacts(kind="single-label", classes=("a", "b")),
        backbone=f.BackboneFacts(id=backbone, card=card or backbone, weights=card or backbone),
        protocol=f.ProtocolFacts(id="knn", version=1),
    )
    labels = np.arange(40) % 2
    rng = np.random.default_rng(len(backbone) + len(store))
    scores = (np.eye(2)[labels] + rng.normal(0, 0.7, (40, 2))).astype(np.float32)
    told = About(stores=(title,), backbone=f"SeaMo ({backbone})", family="seamo", **about)  # type: ignore[arg-type]
    write_record(
        folder, facts, about=told, predictions=ClassPredictions(np.array([f"k{i}" for i in range(40)]), labels, scores)
    )


def rows(folder: Path) -> tuple[list[str], str]:
    table = build_table(read_records(folder), folder, resamples=50)
    return sorted(row.id for row in table.rows), " ".join(table.notes)


def test_seeds_of_one_pretraining_are_one_row(tmp_path: Path) -> None:
    for seed in range(3):
        put(tmp_path, f"net-seed{seed}", group="net", pretraining_seed=seed, pretraining=ALIKE)
    names, notes = rows(tmp_path)
    assert names == ["net"]
    assert "rows by themselves" not in notes
    assert "(3 seeds" in to_text(build_table(read_records(tmp_path), tmp_path, resamples=50))


@pytest.mark.parametrize("name", ALIKE)
def test_one_difference_makes_rows_and_is_named(tmp_path: Path, name: str) -> None:
    put(tmp_path, "net-seed0", group="net", pretraining_seed=0, pretraining=ALIKE)
    put(tmp_path, "net-seed1", group="net", pretraining_seed=1, pretraining={**ALIKE, name: "7"})
    names, notes = rows(tmp_path)
    assert names == ["net-seed0", "net-seed1"]
    assert f"they differ in {name} {ALIKE[name]} / 7" in notes


def test_many_differences_are_counted(tmp_path: Path) -> None:
    put(tmp_path, "net-seed0", group="net", pretraining_seed=0, pretraining={f"k{i}": "1" for i in range(9)})
    put(tmp_path, "net-seed1", group="net", pretraining_seed=1, pretraining={f"k{i}": "2" for i in range(9)})
    assert "and 5 more" in rows(tmp_path)[1]


def test_one_seed_twice_is_no_second_seed(tmp_path: Path) -> None:
    put(tmp_path, "net-seed0", group="net", pretraining_seed=0, pretraining=ALIKE)
    put(tmp_path, "net-s0", group="net", pretraining_seed=0, pretraining=ALIKE)
    names, notes = rows(tmp_path)
    assert names == ["net-s0", "net-seed0"]
    assert "seed 0 is there 2 times" in notes


def test_two_runs_of_one_name_are_told_apart_by_their_cards(tmp_path: Path) -> None:
    put(tmp_path, "net-seed0", card="a" * 64, group="net", pretraining_seed=0, pretraining=ALIKE)
    put(tmp_path, "net-seed0", card="b" * 64, group="net", pretraining_seed=0, pretraining={**ALIKE, "step": "9"})
    assert rows(tmp_path)[0] == ["net-seed0 (aaaaaaaa)", "net-seed0 (bbbbbbbb)"]


def test_older_records_keep_their_row_and_it_is_said(tmp_path: Path) -> None:
    for seed in range(2):
        put(tmp_path, f"net-seed{seed}", group="net", pretraining_seed=seed)
    names, notes = rows(tmp_path)
    assert names == ["net"]
    assert "nothing says that its 2 runs were pretrained alike" in notes
    put(
        tmp_path, "net-seed2", group="net", pretraining_seed=2, pretraining=ALIKE
    )  # what one of three says proves nothing
    assert rows(tmp_path)[0] == ["net-seed0", "net-seed1", "net-seed2"]


def test_two_stores_of_one_title_have_two_headings(tmp_path: Path) -> None:
    put(tmp_path, "net", store="one")
    put(tmp_path, "net", store="two")
    put(tmp_path, "net", store="three", title="Another")
    titles = [head_title(head) for head in build_table(read_records(tmp_path), tmp_path, resamples=50).heads]
    assert len(set(titles)) == 3
    assert sum("Store [one]" in title for title in titles) == sum("Store [two]" in title for title in titles) == 1
    assert sum(title.startswith("Another:") for title in titles) == 1


def run_folder(root: Path, name: str, *, seed: int, dim: int = 96, settings: dict[str, object] | None = None) -> str:
    """The card of a pretraining, as a run writes it; no weights are read for it."""
    bands = {"s2": ["B02", "B03"]}
    config = {"bands": bands, "size": 32, "patch": 4, "dim": dim, "depth": 2, "heads": 2, "strategy": "unimodal"}
    numbers = dict.fromkeys(bands["s2"], 1.0)
    norm = {"kind": "two-sigma", "unit": "dn", "mean": numbers, "std": numbers, "source": "x", "eight_bit": False}
    made = {"recipe": "r", "seed": seed, "stage": 2, "step": 8, "pretrained_on": "ssl4eo-s12", "samples": 4}
    made |= {
        "store": {"title": "T", "content": "3fe", "synthetic": True},
        "stacks": {"s2": "s2a"},
        "crop": {},
        "products": {},
    }
    made |= {"settings": settings} if settings is not None else {}
    weights = {"sha256": f"{seed}" * 64, "bytes": 1}
    card = {
        "format": "seamo-model/1",
        "seamo": "0",
        "config": config,
        "weights": weights,
        "normalisation": {"s2": norm},
        "provenance": made,
    }
    folder = root / name / "final"
    folder.mkdir(parents=True)
    (folder / "card.json").write_text(json.dumps(card))
    return str(root / name)


def test_what_a_run_s_card_tells_of_its_pretraining(tmp_path: Path) -> None:
    told = [
        dict(card_of(run_folder(tmp_path, name, **options)).pretraining)  # type: ignore[union-attr, arg-type]
        for name, options in {
            "a-seed0": {"seed": 0, "settings": {"optimiser": {"base_lr": 0.1}, "model": {"dim": 96}}},
            "a-seed1": {"seed": 1, "settings": {"optimiser": {"base_lr": 0.1}, "model": {"dim": 96}}},
            "a-seed2": {"seed": 2, "settings": {"optimiser": {"base_lr": 0.2}, "model": {"dim": 96}}},
            "old-seed0": {"seed": 0},
            "old-seed1": {"seed": 1, "dim": 48},
        }.items()
    ]
    assert told[0] == told[1]
    assert {name for name in told[0] if told[0][name] != told[2].get(name)} == {"optimiser.base_lr"}
    assert {name for name in told[3] if told[3][name] != told[4].get(name)} == {"model.dim"}
    assert not any("seed" in name for one in told for name in one)
    random = card_of(f"{tmp_path / 'a-seed0'}@random:0")
    assert random is not None
    assert dict(random.pretraining)["model.dim"] == "96"
    assert "step" not in dict(random.pretraining)


def test_what_is_told_of_a_pretraining_moves_no_key(tmp_path: Path) -> None:
    """Records of runs whose cards say more keep their keys: the weights are named by their own hash."""
    first = card_of(run_folder(tmp_path / "old", "a-seed0", seed=0))
    second = card_of(run_folder(tmp_path / "new", "a-seed0", seed=0, settings={"optimiser": {"base_lr": 0.1}}))
    assert first is not None
    assert second is not None
    assert first.pretraining != second.pretraining
    assert card_digest(first) == card_digest(second)
