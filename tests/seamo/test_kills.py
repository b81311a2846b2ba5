"""`seamo` killed at its effects on the disk and given again: nothing lost, nothing different, no litter."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
import yaml
from rasterio.transform import from_origin

from seamo.pretrain.loop import pretrain
from seamo.store.reader import Store
from tests.seamo.small_store import build_small_store
from tests.seamo.test_pretrain_loop import RECIPE
from tests.seamo.test_run_damage import recipe

ROOT = Path(__file__).resolve().parents[2]
KILLED = -int(signal.SIGKILL)


class Dying:
    """`tests/seamo/kills.py`, kept running."""

    def __init__(self) -> None:
        paths = os.pathsep.join(str(ROOT / part) for part in ("", "preprocess", "benchmarks"))
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("kills.py"))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert self._line() == "ready"

    def run(self, moment: int, *arguments: object) -> tuple[int, int]:
        """Exit status and number of effects of a command that is killed at that effect (0: never)."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{moment} " + "\t".join(map(str, arguments)) + "\n")
        self.process.stdin.flush()
        status, effects = self._line().split()
        return int(status), int(effects)

    def close(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


@pytest.fixture(scope="module")
def dying() -> Iterator[Dying]:
    one = Dying()
    yield one
    one.close()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return build_small_store(tmp_path_factory.mktemp("store"), n=8)


@pytest.fixture(scope="module")
def run(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrain(recipe(), store, tmp_path_factory.mktemp("run") / "run").parent


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "radar.tif"
    pixels = np.random.default_rng(0).normal(-12, 3, (2, 40, 24)).astype("float32")
    place = {"crs": "EPSG:32632", "transform": from_origin(5e5, 5e6, 10, 10)}
    with rasterio.open(path, "w", driver="GTiff", count=2, height=40, width=24, dtype="float32", **place) as file:
        file.write(pixels)
        file.descriptions = ("VV", "VH")
    return path


def contents(path: Path) -> dict[str, bytes]:
    """Everything below a folder, hidden files too; or the one file."""
    if path.is_file():
        return {"": path.read_bytes()}
    return {one.relative_to(path).as_posix(): one.read_bytes() for one in path.rglob("*") if one.is_file()}


def pretrained(out: Path) -> dict[str, bytes]:
    """What a pretraining must come to however often it was killed: all but timings and who computed."""
    own = ("speed.csv", "environment.json", "checksums.json", "checkpoint.json", "events.out")
    return {name: data for name, data in contents(out).items() if not any(one in name for one in own)}


def kill_at(
    dying: Dying, folder: Path, arguments: list[object], out: Path, *, moments: Callable[[int], list[int]],
    look: Callable[[Path], dict[str, bytes]] = contents,
) -> int:  # fmt: skip
    """Kill a command at each of some effects and give it again; the number of kills.

    Args:
        dying: Runs it.
        folder: Of the output, empty.
        arguments: Of the command.
        out: The output.
        moments: Number of effects -> which of them to be killed at.
        look: What of the output must be the same.
    """
    status, effects = dying.run(0, *arguments)
    assert status == 0
    want, around, kills = look(out), sorted(path.name for path in folder.iterdir()), 0
    for moment in moments(effects):
        _empty(folder)
        status, _ = dying.run(moment, *arguments)
        assert status in (KILLED, 0)  # threads make some effects come in another order, or not at all
        kills += status == KILLED
        whole = out.exists() and look(out) == want
        again, _ = dying.run(0, *arguments)
        assert again == 0 or whole, moment  # what is whole is refused as "exists already"
        assert look(out) == want, moment
        assert sorted(path.name for path in folder.iterdir()) == around, moment
        assert not list(folder.rglob(".*")), moment
    return kills


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def some(effects: int) -> list[int]:
    """One in the middle, and the last: what is left then is litter alone."""
    return [max(1, effects // 2), effects]


def every(effects: int) -> list[int]:
    return list(range(1, effects + 1))


def attack(dying: Dying, name: str, folder: Path, made: dict[str, Path], moments: Callable[[int], list[int]]) -> int:
    run, store, image = made["run"], made["store"], made["image"]
    verbs: dict[str, list[object]] = {
        "export": ["export", run, "-o", folder / "out"],
        "reconstruct": ["reconstruct", run, "--store", store, "-o", folder / "out.png"],
        "embed tif": ["embed", run, image, "--unit", "db", "--statistics", made["numbers"], "--sensor", "s1",
                      "--device", "cpu", "-o", folder / "out.tif"],
        "embed zarr": ["embed", run, image, "--unit", "db", "--statistics", made["numbers"], "--sensor", "s1",
                       "--device", "cpu", "-o", folder / "out.zarr"],
        "embed npz": ["embed", run, store, "--sensor", "s1", "--device", "cpu", "-o", folder / "out.npz"],
        "embed parquet": ["embed", run, store, "--sensor", "s1", "--device", "cpu", "-o", folder / "out.parquet"],
    }  # fmt: skip
    arguments = verbs[name]
    return kill_at(dying, folder, arguments, Path(str(arguments[-1])), moments=moments)


@pytest.fixture
def made(run: Path, store: Store, image: Path, tmp_path: Path) -> dict[str, Path]:
    numbers = tmp_path / "numbers.yaml"
    one = {"VV": -12.0, "VH": -12.0}
    numbers.write_text(
        yaml.safe_dump({"s1": {"unit": "db", "source": "test", "mean": one, "std": {"VV": 3.0, "VH": 3.0}}})
    )
    return {"run": run, "store": Path(str(store.path)), "image": image, "numbers": numbers}


VERBS = ("export", "reconstruct", "embed tif", "embed zarr", "embed npz", "embed parquet")


@pytest.mark.soak
@pytest.mark.parametrize("name", ["export", "embed zarr"])
def test_a_verb_killed_at_a_few_effects(dying: Dying, made: dict[str, Path], tmp_path: Path, name: str) -> None:
    (tmp_path / "outputs").mkdir()
    assert attack(dying, name, tmp_path / "outputs", made, some) >= 1


@pytest.mark.soak
@pytest.mark.parametrize("name", VERBS)
def test_a_verb_killed_at_every_effect(dying: Dying, made: dict[str, Path], tmp_path: Path, name: str) -> None:
    (tmp_path / "outputs").mkdir()
    kills = attack(dying, name, tmp_path / "outputs", made, every)
    assert kills >= 5


def pretraining(folder: Path, store: Store) -> list[object]:
    file = folder.parent / "recipe.yaml"
    plain = recipe().to_dict()
    file.write_text(yaml.safe_dump({**RECIPE, **{part: plain[part] for part in ("stage1", "stage2", "machine")}}))
    return ["pretrain", file, "--store", store.path, "--out", folder / "run", "--resume", "--device", "cpu"]


def test_pretraining_killed_at_a_few_effects(dying: Dying, store: Store, tmp_path: Path) -> None:
    (tmp_path / "outputs").mkdir()
    arguments = pretraining(tmp_path / "outputs", store)
    out = tmp_path / "outputs" / "run"
    assert kill_at(dying, tmp_path / "outputs", arguments, out, moments=some, look=pretrained) >= 1


@pytest.mark.soak
def test_pretraining_killed_at_every_effect(dying: Dying, store: Store, tmp_path: Path) -> None:
    (tmp_path / "outputs").mkdir()
    arguments = pretraining(tmp_path / "outputs", store)
    out = tmp_path / "outputs" / "run"
    kills = kill_at(dying, tmp_path / "outputs", arguments, out, moments=every, look=pretrained)
    assert kills >= 50


@pytest.mark.soak
def test_pretraining_killed_again_and_again(dying: Dying, store: Store, tmp_path: Path) -> None:
    (tmp_path / "outputs").mkdir()
    arguments, out = pretraining(tmp_path / "outputs", store), tmp_path / "outputs" / "run"
    assert dying.run(0, *arguments)[0] == 0
    want = pretrained(out)
    shutil.rmtree(out)
    moment, kills = 1, 0
    while dying.run(moment, *arguments)[0] == KILLED:  # each time a little later, in the same folder
        moment, kills = moment + 2, kills + 1
    assert pretrained(out) == want
    assert not list(out.rglob(".*"))
    assert kills >= 20
