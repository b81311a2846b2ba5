"""Damage on purpose: every single bit flip and truncation of what is kept must be noticed, or change nothing.

    python -m tests.damage [--flips 1000] [--cuts 200] [--seed 0] [SUBJECT ...]

A subject is a folder that seamo keeps, how it is used, and how it is verified. A damage is *named* when using or
verifying ends in seamo's own error or finding, *made anew* when it is a cache and what is used is right again. It is a
fault when what is used differs in silence, when an error is not seamo's, or when nobody notices. The share that is
noticed without `verify` is printed.
"""

import argparse
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seamo.errors import SeamoError


@dataclass(frozen=True)
class Subject:
    """Something that is kept.

    Args:
        folder: Holds it.
        use: Uses all of it as a user would; equal results compare equal. Raises seamo's errors.
        verify: Says what is wrong, "" if nothing is; None for a cache, which heals itself.
        restores: Whether using it may write into the folder.
    """

    folder: Path
    use: Callable[[Path], Any]
    verify: Callable[[Path], str] | None
    restores: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of one damage: `use`, `verify`, `anew`, or a fault with its text."""

    where: str
    how: str
    fault: str = ""


def attack(subject: Subject, *, flips: int, cuts: int, seed: int) -> Iterator[Outcome]:
    """Damage the files of a subject one at a time, bits in proportion to nothing: each file is met equally often."""
    drawn = random.Random(seed)  # noqa: S311 - which bit is no secret
    sound = subject.use(subject.folder)
    names = sorted(str(one.relative_to(subject.folder)) for one in subject.folder.rglob("*") if one.is_file())
    names = [name for name in names if (subject.folder / name).stat().st_size]
    kept = subject.folder.with_name(f"{subject.folder.name}.sound")
    if subject.restores:
        shutil.copytree(subject.folder, kept)
    kinds = [True] * flips + [False] * cuts
    for number, is_flip in enumerate(kinds):
        path = subject.folder / names[number % len(names)]
        whole = path.read_bytes()
        place = drawn.randrange(len(whole))
        bit = 1 << drawn.randrange(8)
        damaged = whole[:place] + (bytes([whole[place] ^ bit]) + whole[place + 1 :] if is_flip else b"")
        path.write_bytes(damaged)
        what = f"{path.relative_to(subject.folder)} {f'bit {bit} of byte' if is_flip else 'cut at'} {place}"
        yield _judged(subject, sound, what)
        if subject.restores:
            shutil.rmtree(subject.folder)
            shutil.copytree(kept, subject.folder)
        else:
            path.write_bytes(whole)
    shutil.rmtree(kept, ignore_errors=True)


def _judged(subject: Subject, sound: Any, what: str) -> Outcome:
    try:
        found = subject.use(subject.folder)
    except SeamoError:
        return Outcome(what, "use")
    except Exception as error:  # noqa: BLE001 - the fault that is looked for
        return Outcome(what, "fault", f"foreign {type(error).__name__}: {error}")
    if found != sound:
        return Outcome(what, "fault", "other results, no word")
    if subject.verify is None:
        return Outcome(what, "anew")
    try:
        return Outcome(what, "verify") if subject.verify(subject.folder) else Outcome(what, "fault", "nobody noticed")
    except SeamoError:
        return Outcome(what, "verify")
    except Exception as error:  # noqa: BLE001 - the fault that is looked for
        return Outcome(what, "fault", f"foreign {type(error).__name__} of verify: {error}")


def store_subject(root: Path, layout: str) -> Subject:
    """A tiny store, read through the library and verified as `seamo-prep verify --deep` does."""
    from seamo.testing.stores import tiny_store

    return Subject(tiny_store(root, layout=layout).path, read_store, verify_store)  # type: ignore[arg-type]


def view_subject(root: Path) -> Subject:
    """A view of a tiny store: other splits of the same pixels."""
    from dataclasses import replace

    from seamo.store.buildplan import BuildPlan
    from seamo.store.reader import open_store
    from seamo.store.writer import StoreWriter
    from seamo.testing.stores import tiny_store

    store = tiny_store(root)
    meta = store.meta
    plan = BuildPlan(meta.spec, "official", limit=meta.limit, synthetic=meta.synthetic)
    with StoreWriter(root, replace(plan, split_scheme="cv5x5"), list(store.index["key"])) as writer:
        path = open_store(writer.publish()).path
    return Subject(path, read_store, verify_store)


def read_store(folder: Path) -> Any:
    """Everything that a store gives: its rows, all samples, its statistics."""
    from seamo.store.reader import open_store

    store = open_store(folder)
    frame = store.read_index(list(store.index.columns))
    rows = {split: store.rows(split).tolist() for split in store.meta.counts.splits}
    pixels = [
        (one.key, one.label if not hasattr(one.label, "tobytes") else one.label.tobytes(), one.scene)
        + tuple(layer.tobytes() for layer in one.layers.values())
        + tuple(dates.tobytes() for dates in one.time.values())
        for one in (store[i] for i in range(len(store)))
    ]
    return frame.to_json(default_handler=str, date_format="iso"), rows, pixels, store.meta.model_dump()


def verify_store(folder: Path) -> str:
    """The first error that `verify --deep` finds."""
    from seamo.store.reader import open_store
    from seamo_prep.verify import verify

    found = verify(open_store(folder), deep=True, leaks=False, say=lambda _: None)
    return next((f"{one.where} {one.what}" for one in found if one.severity == "error"), "")


SUBJECTS: dict[str, Callable[[Path], Subject]] = {
    "store-zarr": lambda root: store_subject(root, "zarr"),
    "store-webdataset": lambda root: store_subject(root, "webdataset"),
    "view": view_subject,
}


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> int:
    """See the module's text; 0 if there is no fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=", ".join(SUBJECTS))
    parser.add_argument("--flips", type=int, default=1000)
    parser.add_argument("--cuts", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    faults = 0
    for name in chosen.subjects or SUBJECTS:
        with tempfile.TemporaryDirectory() as root:
            subject = SUBJECTS[name](Path(root))
            counts: Counter[str] = Counter()
            for one in attack(subject, flips=chosen.flips, cuts=chosen.cuts, seed=chosen.seed):
                counts[one.how] += 1
                if one.fault:
                    faults += 1
                    _say(f"{name}: {one.where}: {one.fault}")
        total = sum(counts.values())
        share = (counts["use"] + counts["anew"]) / max(total, 1)
        _say(
            f"{name}: {total} damages: {counts['use']} named in use, {counts['anew']} made anew, "
            f"{counts['verify']} by verify, {counts['fault']} faults; {share:.0%} noticed without verify"
        )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
