"""Two runs at one address, or two who hand in there, one of them killed: `python -m tests.races run submit`."""

import hashlib
import random
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import seamo_bench.runs.claims_there
from seamo.addresses import disk_path
from seamo.files import open_files
from seamo_bench.records.examine import verify
from seamo_bench.records.fetched import results_on_disk
from seamo_bench.records.layout import PREDICTIONS, RECORDS
from seamo_bench.records.record import read_records
from seamo_bench.runs.claims import OLD_S
from seamo_bench.runs.results import AtAddress
from tests.bench.address_world import of_address, of_disk
from tests.bench.bench_store import toy_store
from tests.races import Told, kill
from tests.racing import PATIENCE_S, Looker, ended, last, ran, start

SUITE = """
id: race
backbones: [image-statistics, pixel-values]
rows:
  - {store: toy, protocol: knn}
  - {store: toy, protocol: logreg}
  - {store: toy, protocol: linear, seeds: 2, params: {steps: 2}}
"""
NUM_RECORDS = 8


def make(folder: Path) -> list[str]:
    """A store, a suite, and what a run leaves on a disk; the command but for its results."""
    toy_store(folder / "stores", 60)
    (folder / "suite.yaml").write_text(SUITE)
    words = ["seamo-bench", "run", str(folder / "suite.yaml"), "--stores", str(folder / "stores"), "--threads", "1"]
    if ended([*words, "--results", str(folder / "disk")], folder / "log"):
        raise SystemExit(last(folder / "log"))
    return words


def run_at_once(folder: Path, bucket: str, *, rounds: int, seed: int) -> Told:
    """Two give one command at once, one of them is killed.

    By turns the killed one comes again at once; claims are overlooked, so that both do every cell; or claims get old
    soon, and somebody else comes when the survivor has ended.

    Args:
        folder: An empty one.
        bucket: Address below which each round takes a place.
        rounds: How many.
        seed: Of the moments.
    """
    words, drawn, told, lasts = make(folder), random.Random(seed), Told(), 4.0  # noqa: S311 - no secret
    want = of_disk(folder / "disk")
    for turn in range(rounds):
        place, log = f"{bucket}/{seed}-{turn}", folder / f"log{turn}"
        command = [*words, "--results", place]
        ways = [partial(alone, str(folder / f"tmp{turn}-{n}"), (OLD_S, 0.0, 3.0)[turn % 3]) for n in range(3)]
        with Looking(place) as reader:
            begun = time.monotonic()
            two = [start(command, log.with_suffix(f".{n}"), ways[n]) for n in range(2)]
            victim = drawn.randrange(2)
            hit = kill(two[victim], place, drawn, lasts)
            if turn % 3 == 0:
                two.append(start(command, log.with_suffix(".2"), ways[victim]))
            for one in two:
                one.join(PATIENCE_S)
            lasts = 0.8 * lasts + 0.2 * (time.monotonic() - begun)
            codes = [one.exitcode for n, one in enumerate(two) if not (hit and n == victim)]
            codes.append(ended(command, log.with_suffix(".3"), ways[2]))
        faults = reader.bad[:5]
        if any(codes):
            faults.append(f"ended with {codes}: {[last(log.with_suffix(f'.{n}')) for n in range(4)]}")
        faults += differences(want, of_address(place))
        told.rounds, told.kills, told.looks = told.rounds + 1, told.kills + hit, told.looks + reader.looks
        told.faults += [f"round {turn}: {one}" for one in faults]
        for one in faults:
            sys.stderr.write(f"round {turn}: {one}\n")
    return told


def submit_at_once(folder: Path, bucket: str, *, rounds: int, seed: int) -> Told:
    """Two people hand the same records in to one results repository, one of them is killed.

    By turns the killed one comes again at once, or when the other has ended. In a bucket the two begin the repository.

    Args:
        folder: An empty one.
        bucket: Address below which each round takes a place.
        rounds: How many.
        seed: Of the moments.
    """
    make(folder)
    drawn, told, lasts = random.Random(seed), Told(), 2.0  # noqa: S311 - no secret
    want: tuple[list[str], list[str]] | None = None
    for turn in range(-1, rounds):
        place, log, faults = f"{bucket}/{seed}-{turn}", folder / f"log{turn}", list[str]()
        words = [["seamo-bench", "submit", str(folder / "disk"), place, "--as", who] for who in ("Ada", "Ben")]
        if (there := disk_path(place)) is not None:
            for name in (RECORDS, PREDICTIONS):
                (there / name).mkdir(parents=True)
        if want is None:  # nobody disturbs these two
            for one in words:
                ran(one, log, faults)
            want = _handed_in(place)
            told.faults += faults
            continue
        with Looking(place) as reader:
            begun = time.monotonic()
            two = [start(one, log.with_suffix(f".{n}")) for n, one in enumerate(words)]
            victim = drawn.randrange(2)
            hit = kill(two[victim], place, drawn, lasts, len(want[0]))
            if turn % 2:
                two.append(start(words[victim], log.with_suffix(".2")))
            for one in two:
                one.join(PATIENCE_S)
            lasts = 0.8 * lasts + 0.2 * (time.monotonic() - begun)
        faults = reader.bad[:5]
        if any(codes := [one.exitcode for n, one in enumerate(two) if not (hit and n == victim)]):
            faults.append(f"ended with {codes}: {[last(log.with_suffix(f'.{n}')) for n in range(3)]}")
        for one in words:
            ran(one, log, faults)
        if _handed_in(place) != want:
            faults.append("something else was handed in")
        told.rounds, told.kills, told.looks = told.rounds + 1, told.kills + hit, told.looks + reader.looks
        told.faults += [f"round {turn}: {one}" for one in faults]
        for one in faults:
            sys.stderr.write(f"round {turn}: {one}\n")
    return told


def _handed_in(place: str) -> tuple[list[str], list[str]]:
    """Names of all files, and the hashes of their bytes: who was first does not matter."""
    files = open_files(place)
    names = sorted(files.names())
    return names, sorted(hashlib.sha256(files.read(name)).hexdigest() for name in names)


def alone(temporary: str, old_s: float) -> None:
    """Where a program keeps temporary files, and when claims are old to it."""
    Path(temporary).mkdir(exist_ok=True)
    tempfile.tempdir = temporary
    seamo_bench.runs.claims_there.OLD_S, AtAddress.poll_s = old_s, 0.5


def differences(want: dict[str, object], found: dict[str, object]) -> list[str]:
    """What of a place is not what a run on a disk leaves; parts of features may overlap."""
    bad = [f"{name} is not there" for name in want if name not in found]
    bad += [f"{name} is another" for name in want if name in found and want[name] != found[name]]
    return bad + [f"left {name}" for name in found if name not in want and not name.startswith("features/")]


class Looking(Looker):
    """Loads every record with its predictions, as `table` and `verify` do."""

    def __init__(self, place: str) -> None:
        super().__init__()
        self._place = Path(place)

    def look(self) -> None:
        """Once, if there is something."""
        names = list(open_files(self._place).names())
        if not any(name.endswith(".json") and ("/" not in name or name.startswith(f"{RECORDS}/")) for name in names):
            return
        with results_on_disk(self._place) as folder:
            found = read_records(folder)
            self.bad += [f"a reader saw {one.path.name}: {one.reason}" for one in found.damaged]
            for record in found.records:
                self.bad += [f"a reader saw {record.key}: {one}" for one in verify(record, folder)]
                self.bad += [f"a reader saw {record.key}: {record.reason}"] if record.status != "ok" else []
            self.looks += bool(found.records)
