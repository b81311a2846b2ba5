"""Kept features are damaged in every file and every way: they are computed again, never used, and nothing is left."""

import json
import logging
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import seamo_bench
from seamo.bands import Unit
from seamo.errors import ProtocolError
from seamo.inputs.spec import InputSpec, Step
from seamo.inputs.statistics import store_statistics
from seamo.inputs.wiring import wire
from seamo.store.buildplan import BuildPlan
from seamo.store.reader import Store, open_store
from seamo_bench.facts import BackboneFacts
from seamo_bench.features.cache import FeatureCache, Work, cache_name
from seamo_bench.features.parts import notes_file, read_parts, write_part
from seamo_bench.network import Backbone
from tests.bench.bench_store import toy_store
from tests.seamo.small_store import write_view

torch.set_num_threads(1)
SAMPLES = 48
NOTES = "first-batch-*.json"
FACTS = BackboneFacts(id="image-statistics", card="c")
Damage = Callable[[Path], None]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Backbone, Path, NDArray[np.float32]]:
    """A store, a backbone, a sound cache of three parts, and the features of all samples."""
    root = tmp_path_factory.mktemp("sealed")
    store = toy_store(root / "stores", n=SAMPLES)
    backbone = seamo_bench.load_backbone("image-statistics", store=store)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seamo_bench.features.cache.PART_ROWS", 16)
        want = cache_in(root / "sound", store, backbone).table(np.arange(SAMPLES)).read()
    return store, backbone, root / "sound", want


def cache_in(root: Path, store: Store, backbone: Backbone) -> FeatureCache:
    return FeatureCache(root, store, backbone, facts=FACTS, work=Work(torch.device("cpu"), batch_size=8))


def files_of(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


def check(world: tuple[Store, Backbone, Path, NDArray[np.float32]], root: Path, name: str) -> None:
    """The features are those of a sound cache, and afterwards every part in the folder is whole."""
    store, backbone, _, want = world
    cache = cache_in(root, store, backbone)
    np.testing.assert_array_equal(cache.table(np.arange(SAMPLES)).read(), want, err_msg=name)
    assert cache.notes == ("one note",), name
    names = [path.name for path in files_of(root)]
    stems = [one.removesuffix(".checksums.json") for one in names if one.endswith(".checksums.json")]
    assert len(names) == 3 * len(stems) + 1, f"{name}: something is left: {names}"
    assert len(read_parts(cache.folder, SAMPLES).files) == len(stems), name
    assert (read_parts(cache.folder, SAMPLES).where[:, 0] >= 0).all(), name


@pytest.fixture(autouse=True)
def _small_parts_and_one_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seamo_bench.features.cache.PART_ROWS", 16)
    monkeypatch.setattr("seamo_bench.features.cache.check_range", lambda _inputs, _wiring: ["one note"])


def copy_of(sound: Path, target: Path) -> Path:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(sound, target)
    for path in target.rglob(NOTES):
        path.unlink()  # made before the note was: the copy gets its own
    return target


@pytest.fixture
def fresh(world: tuple[Store, Backbone, Path, NDArray[np.float32]], tmp_path: Path) -> Callable[[], Path]:
    """Makes a sound cache, all of whose files are there."""
    store, backbone, sound, _ = world
    master = copy_of(sound, tmp_path / "master")
    cache_in(master, store, backbone).fill(np.arange(SAMPLES))

    def make() -> Path:
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        shutil.copytree(master, tmp_path / "copy")
        return tmp_path / "copy"

    return make


def flips(fresh: Callable[[], Path], seed: int, count: int) -> list[tuple[int, int]]:
    """(File, bit) drawn at random, every file in turn."""
    files = files_of(fresh())
    rng = np.random.default_rng(seed)
    return [(k % len(files), int(rng.integers(8 * files[k % len(files)].stat().st_size))) for k in range(count)]


def attack(world, fresh, caplog, *, count: int, cuts: int) -> None:  # type: ignore[no-untyped-def]
    """Single bits and truncations over every file; each is named in the log."""
    for number, bit in flips(fresh, 0, count):
        root = fresh()
        path = files_of(root)[number]
        data = bytearray(path.read_bytes())
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        caplog.clear()
        check(world, root, f"bit {bit} of {path.name}")
        assert len(caplog.records) == 1, f"bit {bit} of {path.name}"
    rng = np.random.default_rng(1)
    for number in range(cuts):
        root = fresh()
        files = files_of(root)
        path = files[number % len(files)]
        data = path.read_bytes()
        keep = int(rng.integers(len(data)))
        path.write_bytes(data[:keep])
        caplog.clear()
        check(world, root, f"{path.name} cut to {keep}")
        assert len(caplog.records) == 1, f"{path.name} cut to {keep}"


def test_bits_and_truncations_over_every_file_are_named_and_never_used(world, fresh, caplog):
    attack(world, fresh, caplog, count=60, cuts=30)


@pytest.mark.soak
def test_a_thousand_bits_and_two_hundred_truncations(world, fresh, caplog):
    attack(world, fresh, caplog, count=1000, cuts=200)


def test_exchanged_renamed_missing_and_forged_files_are_never_used(world, fresh, caplog):
    store = world[0]
    names = [path.name for path in files_of(fresh())]
    kinds = {kind: [one for one in names if one.endswith(kind)] for kind in (".rows.npy", ".checksums.json")}
    kinds["features"] = [one for one in names if one.endswith(".npy") and not one.endswith(".rows.npy")]
    assert {kind: len(found) for kind, found in kinds.items()} == dict.fromkeys(kinds, 3)

    def swapped(one: str, other: str) -> Damage:
        def do(folder: Path) -> None:
            (folder / one).rename(folder / "x")
            (folder / other).rename(folder / one)
            (folder / "x").rename(folder / other)

        return do

    def shuffled(name: str) -> Damage:
        def do(folder: Path) -> None:
            array = np.load(folder / name)
            np.save(folder / name, np.random.default_rng(0).permutation(array, axis=0))

        return do

    def part_swapped(folder: Path) -> None:
        """All three files of one part under the names of another."""
        one, other = (name.removesuffix(".checksums.json") for name in kinds[".checksums.json"][:2])
        for kind in (".rows.npy", ".npy", ".checksums.json"):
            swapped(one + kind, other + kind)(folder)

    def old_notes(folder: Path) -> None:
        notes_file(folder, store.content).write_text(json.dumps(["nothing to see"]))

    def edited_notes(folder: Path) -> None:
        path = notes_file(folder, store.content)
        document = json.loads(path.read_text())
        path.write_text(json.dumps({**document, "notes": []}, sort_keys=True, separators=(",", ":")))

    damages: dict[str, Damage] = {
        **{f"{kind} exchanged": swapped(*found[:2]) for kind, found in kinds.items()},
        **{f"{name} deleted": (lambda folder, name=name: (folder / name).unlink()) for name in names},
        **{f"{name} empty": (lambda folder, name=name: (folder / name).write_bytes(b"")) for name in names},
        **{f"{name} shuffled": shuffled(name) for name in (*kinds["features"], *kinds[".rows.npy"])},
        "a part under another name": part_swapped,
        "notes of the version before": old_notes,
        "notes edited": edited_notes,
        "all gone but one": lambda folder: [(folder / name).unlink() for name in names[:-1]],
    }
    for name, damage in damages.items():
        root = fresh()
        (folder,) = root.iterdir()
        damage(folder)
        caplog.clear()
        check(world, root, name)
        if "first-batch" not in name and "gone" not in name:
            assert len(caplog.records) == 1, name


def test_a_part_of_another_cache_is_not_taken(world, fresh, caplog):
    """Sealed, whole, with rows that this store has, but computed by something else."""
    root = fresh()
    (folder,) = root.iterdir()
    other = root.parent / "another-cache"
    other.mkdir(exist_ok=True)
    write_part(other, np.arange(20), np.full((20, 5), 7.0, np.float32))
    for path in folder.glob("*.npy"):
        path.unlink()
    for path in other.iterdir():
        shutil.copy(path, folder)
    with caplog.at_level(logging.WARNING):
        check(world, root, "a part of another cache")
    assert "4 of 4 parts" in caplog.text


def test_a_cache_of_the_version_before_is_computed_again_and_swept(world, fresh):
    root = fresh()
    for path in root.rglob("*.checksums.json"):
        path.unlink()
    (folder,) = root.iterdir()
    (folder / ".0123.npy.77.part").write_bytes(b"killed while it wrote")
    check(world, root, "without seals")


def test_a_disk_that_loses_what_is_written_is_an_error(world, tmp_path, monkeypatch):
    store, backbone, _, _ = world
    monkeypatch.setattr("seamo_bench.features.cache.write_part", lambda *_: None)
    with pytest.raises(ProtocolError, match="what was written is not what is read"):
        cache_in(tmp_path, store, backbone).table(np.arange(9))


def test_a_part_that_cannot_be_written_is_an_error_and_ends_the_thread(world, tmp_path, monkeypatch):
    store, backbone, _, _ = world

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("seamo_bench.features.cache.write_part", full)
    with pytest.raises(OSError, match="No space left"):
        cache_in(tmp_path, store, backbone).table(np.arange(9))
    assert not [one.name for one in threading.enumerate() if one.name.startswith("seamo-")]


DYING = """
import os, signal, sys
from pathlib import Path
import numpy as np
import seamo_bench.features.parts as parts
die_at, count = int(sys.argv[2]), 0
write = parts.write_atomically

def dying(path, data):
    global count
    count += 1
    if count == die_at:
        path.with_name(f".{path.name}.{os.getpid()}.part").write_bytes(data[: len(data) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
    write(path, data)

parts.write_atomically = dying
folder = Path(sys.argv[1])
parts.write_notes(folder, "c" * 64, [])
for start in range(0, 30, 10):
    rows = np.arange(start, start + 10)
    parts.write_part(folder, rows, np.repeat(rows[:, None], 3, 1).astype(np.float32))
"""


def test_a_kill_between_any_two_writes_leaves_what_is_whole(tmp_path):
    whole = []
    for die_at in range(1, 11):
        folder = tmp_path / str(die_at)
        folder.mkdir()
        done = subprocess.run([sys.executable, "-c", DYING, str(folder), str(die_at)], check=False)
        assert done.returncode == -signal.SIGKILL
        parts = read_parts(folder, 30)
        there = np.flatnonzero(parts.where[:, 0] >= 0)
        whole.append(len(parts.files))
        np.testing.assert_array_equal(there, np.arange(10 * len(parts.files)))
    assert whole == [0, 0, 0, 0, 1, 1, 1, 2, 2, 2]


HOLDING = """
import fcntl, os, sys
fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_SH)
print("held", flush=True)
input()
"""


def test_while_another_process_writes_nothing_is_swept(world, fresh):
    """A part of which two files are there is not litter as long as its writer lives."""
    store, backbone, _, want = world
    root = fresh()
    (folder,) = root.iterdir()
    seal = sorted(folder.glob("*.checksums.json"))[0]
    seal.unlink()
    with subprocess.Popen([sys.executable, "-c", HOLDING, str(folder)], stdin=-1, stdout=-1) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        writer.stdout.readline()
        (folder / ".still-written.npy.1.part").write_bytes(b"half")
        np.testing.assert_array_equal(cache_in(root, store, backbone).table(np.arange(SAMPLES)).read(), want)
        assert (folder / ".still-written.npy.1.part").is_file()
        writer.stdin.close()


def test_views_share_features_and_each_says_what_its_own_first_images_showed(tmp_path, monkeypatch):
    """Corrected labels and another split list cost no pass through a network."""
    base = toy_store(tmp_path / "stores", n=SAMPLES)
    keys = [str(key) for key in base.index["key"]]
    plan = BuildPlan(base.spec, "hash-60-20-20", synthetic={"what": "synthetic, for tests"})
    corrected = write_view(base.path, replace(plan, labels="l" * 64), labels=dict.fromkeys(keys, 0))
    resplit = write_view(base.path, replace(plan, split_scheme="none"))
    views = [base, open_store(corrected), open_store(resplit)]
    assert len({view.content for view in views}) == 3
    passes: list[int] = []
    want = None
    for number, view in enumerate(views):
        backbone = seamo_bench.load_backbone("image-statistics", store=view)
        forward = backbone.network.forward_features

        def counted(inputs, forward=forward, number=number):
            passes.append(number)
            return forward(inputs)

        monkeypatch.setattr(backbone.network, "forward_features", counted)
        monkeypatch.setattr("seamo_bench.features.cache.check_range", lambda *_, number=number: [f"note {number}"])
        cache = cache_in(tmp_path / "features", view, backbone)
        found = cache.table(np.arange(SAMPLES)).read()
        want = found if want is None else want
        np.testing.assert_array_equal(found, want)
        assert cache.notes == cache_in(tmp_path / "features", view, backbone).notes == (f"note {number}",)
    assert set(passes) == {0}
    assert len(list((tmp_path / "features").iterdir())) == 1


def test_numbers_of_a_split_s_statistics_count_and_where_they_come_from_does_not(tmp_path):
    base = toy_store(tmp_path / "stores", n=SAMPLES)
    plan = BuildPlan(base.spec, "hash-60-20-20", synthetic={"what": "synthetic, for tests"})
    zeros = {str(key): 0 for key in base.index["key"]}
    corrected = open_store(write_view(base.path, replace(plan, labels="l" * 64), labels=zeros))
    # As `train`: the statistics of all samples are other numbers.
    names = {}
    for name, view, part in (("base", base, "train"), ("corrected", corrected, "train"), ("all", base, "all")):
        backbone = seamo_bench.load_backbone("image-statistics", store=view)
        own = InputSpec("s2", ("B02", "B03"), Unit.DN, (Step("store-zscore"),), "here")
        card = replace(backbone.card, inputs=(own,))
        wiring = wire(card.expects, view.spec, statistics=store_statistics(view, part=part))
        assert view.content[:12] in wiring.sensors[0].statistics
        names[name] = cache_name(view.pixels, FACTS, wiring)
    assert names["base"] == names["corrected"] != names["all"]
