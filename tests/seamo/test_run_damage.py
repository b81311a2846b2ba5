"""Every file of a run and of its checkpoints damaged in turn: named, or made again to the same bytes; never silent."""

import hashlib
import json
import logging
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from seamo.errors import CheckpointError, SeamoError, TrainingError
from seamo.model.checkpoint import load_model
from seamo.pretrain.checkpoint import checkpoints, latest_checkpoint
from seamo.pretrain.describe import describe
from seamo.pretrain.facts import read_run
from seamo.pretrain.loop import pretrain
from seamo.pretrain.recipe import apply_changes, parse_recipe
from seamo.seal import seal_document
from seamo.store.reader import Store
from seamo.use.inputs import load_pretrained
from tests.seamo.small_model import seal_again, write_card
from tests.seamo.small_store import build_small_store
from tests.seamo.test_pretrain_loop import RECIPE

SHORT = ("stage1={epochs: 1, warmup_epochs: 0}", "stage2={epochs: 2, warmup_epochs: 0}", "machine.keep=3")
ENDS = ("curves.csv", "final/model.safetensors", "final/card.json")  # the same bytes however a run came to its end


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return build_small_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def ended(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 9 steps with checkpoints of steps 3, 6, 8, 9."""
    out = tmp_path_factory.mktemp("run") / "ended"
    pretrain(recipe(), store, out)
    assert [int(path.name[-2:]) for path in checkpoints(out / "checkpoints")] == [3, 6, 8, 9]
    return out


@pytest.fixture(scope="module")
def broken_off(ended: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run as a kill leaves it: behind step 8, of which there is a checkpoint."""
    out = tmp_path_factory.mktemp("run") / "broken-off"
    shutil.copytree(ended, out)
    shutil.rmtree(out / "final")
    shutil.rmtree(out / "checkpoints" / "step-00000009")
    (out / "checksums.json").unlink()
    return out


def recipe(*changes: str) -> Any:
    return parse_recipe(apply_changes(RECIPE, [*SHORT, *changes]), "test")


def files_of(run: Path) -> list[Path]:
    return sorted(path.relative_to(run) for path in run.rglob("*") if path.is_file())


def damaged_copies(run: Path, to: Path, *, flips: int, cuts: int) -> Iterator[tuple[Path, Path]]:
    """(copy of a run, its damaged file): single bits flipped and ends cut off, over every file in turn."""
    rng, names = random.Random(5), files_of(run)  # noqa: S311 - the same places every time
    shutil.copytree(run, to)
    for i in range(flips + cuts):
        name = names[i % len(names)]
        data = (run / name).read_bytes()
        at = rng.randrange(len(data))
        bad = bytearray(data)
        bad[at] ^= 1 << rng.randrange(8)
        (to / name).write_bytes(bytes(bad) if i < flips else data[:at])
        yield to, name
        (to / name).write_bytes(data)


def attack_ended(ended: Path, to: Path, *, flips: int, cuts: int) -> None:
    """`seamo info` reads every file of a run that has ended and names the damaged one."""
    assert describe(ended)["finished"]
    for run, name in damaged_copies(ended, to, flips=flips, cuts=cuts):
        with pytest.raises(SeamoError) as caught:
            describe(run)
        assert name.as_posix() in str(caught.value), name


def test_every_file_of_an_ended_run_is_named_when_damaged(ended: Path, tmp_path: Path) -> None:
    attack_ended(ended, tmp_path / "run", flips=100, cuts=30)


@pytest.mark.soak
def test_a_thousand_flips_of_an_ended_run(ended: Path, tmp_path: Path) -> None:
    attack_ended(ended, tmp_path / "run", flips=1000, cuts=200)


def attack_model(run: Path, to: Path, *, flips: int, cuts: int) -> None:
    """Without `info`: a model is loaded whole or not at all."""
    final, names = run / "final", ("card.json", "model.safetensors", "checksums.json")
    assert load_pretrained(final, device="cpu").identity
    for folder, name in damaged_copies(final, to, flips=flips, cuts=cuts):
        with pytest.raises(CheckpointError, match="|".join(names)):
            load_model(folder)
        assert name.name in names


def test_a_damaged_model_is_not_loaded(ended: Path, tmp_path: Path) -> None:
    attack_model(ended, tmp_path / "model", flips=60, cuts=30)


@pytest.mark.soak
def test_a_thousand_flips_of_a_model(ended: Path, tmp_path: Path) -> None:
    attack_model(ended, tmp_path / "model", flips=1000, cuts=200)


def attack_going_on(ended: Path, broken_off: Path, store: Store, to: Path, *, names: list[Path], cut: bool) -> int:
    """Going on either ends where the undisturbed run ended, byte by byte, or is refused by name; how often refused."""
    rng, refused = random.Random(7), 0  # noqa: S311 - the same places every time
    for name in names:
        shutil.rmtree(to, ignore_errors=True)
        shutil.copytree(broken_off, to)
        data = bytearray((to / name).read_bytes())
        at = rng.randrange(len(data))
        data[at] ^= 1 << rng.randrange(8)
        (to / name).write_bytes(data[:at] if cut else data)
        said = ""
        try:
            pretrain(recipe(), store, to, resume=True)
        except SeamoError as error:
            said = str(error)
        if said:
            assert name.name in said
            refused += 1
            continue
        for end in ENDS:
            assert (to / end).read_bytes() == (ended / end).read_bytes(), (name, end)
        assert describe(to)["finished"]  # nothing that is damaged is left
        assert not list(to.rglob(".*"))
    return refused


@pytest.mark.parametrize("cut", [False, True], ids=["a bit", "cut off"])
def test_going_on_from_a_damaged_run(
    ended: Path, broken_off: Path, store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture, cut: bool
) -> None:
    newest = Path("checkpoints/step-00000008")
    names = [newest / "checkpoint.json", newest / "state.pt", Path("environment.json"), Path("recipe.yaml")]
    with caplog.at_level(logging.WARNING):
        assert attack_going_on(ended, broken_off, store, tmp_path / "run", names=names, cut=cut) == 0
    for name in names:
        assert str(tmp_path / "run" / name) in caplog.text or f"({name.name}" in caplog.text
    caplog.clear()
    assert attack_going_on(ended, broken_off, store, tmp_path / "run", names=[Path("run.json")], cut=cut) == 1


@pytest.mark.soak
@pytest.mark.parametrize("cut", [False, True], ids=["a bit", "cut off"])
def test_going_on_from_any_damaged_file(ended: Path, broken_off: Path, store: Store, tmp_path: Path, cut: bool) -> None:
    names = files_of(broken_off) * 3
    attack_going_on(ended, broken_off, store, tmp_path / "run", names=names, cut=cut)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda facts: facts.update(epoch=0), "is not what was sealed"),
        (lambda facts: facts.update(bacth=facts.pop("batch")), "is not what was sealed"),
        (lambda facts: facts.pop("digest"), "carries no digest"),
        (lambda facts: facts.update(loss=float("nan")), "is no JSON that can be read"),
        (lambda facts: facts["files"].pop("state.pt"), "is not what was sealed"),
    ],
)
def test_edited_facts_are_named(
    broken_off: Path, tmp_path: Path, change: Callable[[Any], object], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(broken_off, tmp_path / "run")
    file = tmp_path / "run" / "checkpoints" / "step-00000008" / "checkpoint.json"
    facts = json.loads(file.read_text())
    change(facts)
    file.write_text(json.dumps(facts))
    found = latest_checkpoint(tmp_path / "run" / "checkpoints")
    assert found is not None
    assert found.progress.step == 6
    assert f"checkpoint.json {message}" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"), [({"stage": 9}, "is of stage 9, which no run has"), ({"step": 6}, "is of step 6")]
)
def test_facts_that_no_run_writes_are_named_whatever_their_seal(
    broken_off: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, change: dict[str, int], message: str
) -> None:
    """Also of a checkpoint under another one's name: its steps would be gone through twice."""
    shutil.copytree(broken_off, tmp_path / "run")
    file = checkpoints(tmp_path / "run" / "checkpoints")[-1] / "checkpoint.json"
    facts = json.loads(file.read_text())
    del facts["digest"]
    file.write_bytes(seal_document({**facts, **change}))
    found = latest_checkpoint(tmp_path / "run" / "checkpoints")
    assert found is not None
    assert found.path != file.parent
    assert f"checkpoint.json {message}" in caplog.text


def test_a_log_that_lost_a_row_is_written_again_from_the_checkpoint_before(
    ended: Path, broken_off: Path, store: Store, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    shutil.copytree(broken_off, out)
    lines = (out / "curves.csv").read_bytes().splitlines(keepends=True)
    (out / "curves.csv").write_bytes(b"".join(lines[:8]))  # the head, and steps 1 to 7
    pretrain(recipe(), store, out, resume=True)
    assert (out / "curves.csv").read_bytes() == (ended / "curves.csv").read_bytes()
    (out / "curves.csv").write_bytes(lines[0])  # of a run that has ended it cannot be had again
    with pytest.raises(TrainingError, match=r"curves\.csv has \d+ bytes instead of"):
        pretrain(recipe(), store, out, resume=True)
    with pytest.raises(TrainingError, match=r"curves\.csv has \d+ bytes instead of"):
        describe(out)


def test_a_damaged_final_model_is_made_again(ended: Path, store: Store, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(ended, out)
    file = out / "final" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    (out / "recipe.yaml").write_bytes(b"seed: 4\n")
    assert pretrain(recipe(), store, out, resume=True) == out / "final"
    for name in (*ENDS, "recipe.yaml"):
        assert (out / name).read_bytes() == (ended / name).read_bytes()
    assert describe(out)["finished"]


def test_an_ended_run_that_is_asked_again_does_not_change(ended: Path, store: Store) -> None:
    before = {name: (ended / name).read_bytes() for name in files_of(ended)}
    assert pretrain(recipe("machine.workers=2"), store, ended, resume=True) == ended / "final"
    assert {name: (ended / name).read_bytes() for name in files_of(ended)} == before


def as_before(run: Path) -> None:
    """What the release before wrote: no digests, no checksums.json, a checkpoint's files by sha256 alone."""
    plain = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({"format": "seamo-run/1", "store": plain["store"]}, indent=1) + "\n")
    around = json.loads((run / "environment.json").read_text())
    del around["digest"]
    (run / "environment.json").write_text(json.dumps(around, indent=1) + "\n")
    (run / "checksums.json").unlink(missing_ok=True)
    for model in [run / "final", *(run / "checkpoints").iterdir()]:
        if not model.is_dir():
            continue
        card = json.loads((model / "card.json").read_text())
        (model / "card.json").write_text(json.dumps({**card, "format": "seamo-model/1"}, indent=1) + "\n")
        (model / "checksums.json").unlink()
        if (model / "checkpoint.json").exists():
            facts = json.loads((model / "checkpoint.json").read_text())
            old = {name: facts[name] for name in ("stage", "epoch", "batch", "step", "loss")}
            names = ("card.json", "model.safetensors", "state.pt")
            old["files"] = {name: hashlib.sha256((model / name).read_bytes()).hexdigest() for name in names}
            (model / "checkpoint.json").write_text(json.dumps(old, indent=1))


def test_a_run_of_the_release_before_is_read_and_gone_on_with(
    ended: Path, broken_off: Path, store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old, half = tmp_path / "old", tmp_path / "half"
    shutil.copytree(ended, old)
    shutil.copytree(broken_off, half)
    as_before(old)
    as_before(half)
    before = {name: (old / name).read_bytes() for name in files_of(old)}
    assert read_run(old)["recipe"] == recipe().to_dict() | {"model": read_run(ended)["recipe"]["model"]}
    assert load_model(old / "final")[1]["weights"] == load_model(ended / "final")[1]["weights"]
    assert describe(old)["last"] == describe(ended)["last"]
    assert pretrain(recipe(), store, old, resume=True) == old / "final"
    assert {name: (old / name).read_bytes() for name in files_of(old)} == before
    pretrain(recipe(), store, half, resume=True)
    assert "of an earlier release: nothing vouches for" in caplog.text
    for name in ENDS:
        assert (half / name).read_bytes() == (ended / name).read_bytes()
    state = half / "checkpoints" / "step-00000009" / "state.pt"
    state.write_bytes(state.read_bytes()[:-1])
    with pytest.raises(TrainingError, match=r"step-00000009/state\.pt has"):
        describe(half)


def test_a_card_that_is_made_up_takes_no_memory(ended: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(ended / "final", folder)
    card = json.loads((folder / "card.json").read_text())
    for part, name, value in (
        ("", "depth", 10**7),
        ("", "dim", 2**20),
        ("decoder", "width", 2**20),
        ("tm", "depth", 10**9),
    ):
        config = json.loads(json.dumps(card["config"]))
        (config[part] if part else config)[name] = value
        write_card(folder, {**card, "config": config})
        with pytest.raises(CheckpointError, match="fewer than the configuration has"):
            load_model(folder)


def _fuzz_models(ended: Path, folder: Path, count: int) -> int:
    """Cards and weights changed under a seal that fits: a model, or an error of ours; how many were refused."""
    rng, refused = random.Random(3), 0  # noqa: S311 - the same files every time
    shutil.copytree(ended / "final", folder)
    sound = {name: (folder / name).read_bytes() for name in ("card.json", "model.safetensors")}
    meant = [
        b"null",
        b"{}",
        b"[]",
        b"-1",
        b"1e999",
        b"NaN",
        b'"\\ud800"',
        b"9" * 400,
        b"true",
        b"\xff",
        b"\0",
        b'"x":1,',
    ]
    for _ in range(count):
        for name, data in sound.items():
            (folder / name).write_bytes(data)
        name = rng.choice(list(sound))
        data, end = bytearray(sound[name]), len(sound[name])
        reach = end if name == "card.json" else min(end, 12_000)  # the header of the weights
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(reach)
            kind = rng.randrange(3)
            if kind == 0:
                data[at] ^= 1 << rng.randrange(8)
            elif kind == 1:
                del data[at : at + rng.randint(1, 12)]
            else:
                data[at : at + rng.randint(0, 8)] = rng.choice(meant)
        (folder / name).write_bytes(data)
        if name == "model.safetensors":
            card = json.loads(sound["card.json"])
            digest = hashlib.sha256(data).hexdigest()
            write_card(folder, {**card, "weights": {"bytes": len(data), "sha256": digest}})
        else:
            seal_again(folder)
        try:
            load_pretrained(folder, device="cpu")
        except SeamoError:
            refused += 1
    return refused


def test_fuzzed_models_under_a_seal_that_fits(ended: Path, tmp_path: Path) -> None:
    assert _fuzz_models(ended, tmp_path / "model", 150) > 75


@pytest.mark.soak
def test_many_fuzzed_models_under_a_seal_that_fits(ended: Path, tmp_path: Path) -> None:
    assert _fuzz_models(ended, tmp_path / "model", 20_000) > 10_000


def test_an_optimiser_of_another_model_is_one_message(broken_off: Path, store: Store, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(broken_off, out)
    folder = out / "checkpoints" / "step-00000008"
    torch.save({"optimiser": {"state": {}, "param_groups": [{"params": [0]}]}}, folder / "state.pt")
    facts = json.loads((folder / "checkpoint.json").read_text())
    del facts["digest"]
    data = (folder / "state.pt").read_bytes()
    facts["files"]["state.pt"] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    plain = {"separators": (",", ":"), "sort_keys": True}
    facts["digest"] = hashlib.sha256(json.dumps(facts, **plain).encode()).hexdigest()
    (folder / "checkpoint.json").write_text(json.dumps(facts, **plain))
    with pytest.raises(TrainingError, match=r"state\.pt: does not fit the optimiser"):
        pretrain(recipe(), store, out, resume=True)


def test_weights_of_an_encoder_are_not_a_model(ended: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(ended / "final", folder)
    save_file({"a": torch.zeros(1)}, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"model\.safetensors: has \d+ bytes instead of"):
        load_model(folder)
