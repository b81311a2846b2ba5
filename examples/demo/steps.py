"""The steps of the demo: the command lines that it prints and runs, in order."""

import os
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

# The row of the run in tables; the name of its random twin ends in -random. Images are cut into tiles of the size that
# the network learned from.
PRETRAINED = "seamo-demo-pretrain-statistics-tiles"
LOOK = "pretrain+tiles"

# Matrices this small are slower with two threads, and several times slower where another program takes a core.
ONE_THREAD = "--threads 1"


@dataclass(frozen=True, slots=True)
class Step:
    """What is done between two lines of the counter.

    Args:
        name: Of the file in FOLDER/steps.
        title: What it does, as printed.
        commands: Command lines; the first word is a program of seamo, or `python`.
        seconds: Taken on two quiet cores (measured on a machine of 2026), for the time left.
        finds: What the last command must say, and fail (exit 1): the name of a planted fault. Empty: it must succeed.
        makes: What it leaves: where that is gone, the step is run again.
        again: Run also where it was run before, because it shows results.
    """

    name: str
    title: str
    commands: tuple[str, ...]
    seconds: float
    finds: str = ""
    makes: Path | None = None
    again: bool = False


def first_act(folder: Path, world: int) -> list[Step]:
    """A first result on a synthetic archive, and four planted faults."""
    at = quote(str(folder))
    return [
        Step(
            "archive",
            "a synthetic archive: 1,070 GeoTIFFs in the folders of EuroSAT, with its split lists",
            (f"seamo-prep demo {at}/raw --size small --only eurosat --seed {world}",),
            seconds=8,
            makes=folder / "raw" / "eurosat",
        ),
        Step(
            "store",
            "its store: bands by name, units declared, splits, statistics, checksums",
            (f"seamo-prep build eurosat --raw {at}/raw --store {at}/stores",),
            seconds=4,
            makes=folder / "stores" / "eurosat",
        ),
        Step("check", "the check of the store", (f"seamo-prep verify {at}/stores/eurosat --leaks",), seconds=4),
        *_scored(folder, "first", seconds=16),
        *_faults(folder, f"{at}/raw/eurosat"),
    ]


def real_act(folder: Path, tiles: Path) -> list[Step]:
    """The same on real tiles of EuroSAT: `tiles` holds `EuroSAT_MS/<Class>/<Class>_<n>.tif`."""
    real, raw = folder / "real", quote(str(tiles))
    at = quote(str(real))
    return [
        Step(
            "real-store",
            "the store of the real tiles",
            (f"seamo-prep build eurosat --raw {raw} --store {at}/stores",),
            seconds=4,
            makes=real / "stores" / "eurosat",
        ),
        Step("real-check", "its check", (f"seamo-prep verify {at}/stores/eurosat --leaks",), seconds=4),
        *_scored(real, f"{_examples()}/real_tiles.yaml", name="real-", seconds=20),
        *_faults(real, raw, name="real-"),
    ]


def second_act(folder: Path, world: int, seed: int) -> list[Step]:
    """One pretraining, held against random weights and the floors."""
    at = quote(str(folder))
    run = f"{at}/runs/seamo-demo-seed{seed}"
    return [
        Step(
            "places",
            "places to learn from: 256 synthetic ones of SSL4EO-S12, four dates, optical and radar, without labels",
            (
                f"seamo-prep demo {at}/raw --size small --only ssl4eo-s12 --seed {world}",
                f"seamo-prep build ssl4eo-s12 --raw {at}/raw --store {at}/stores",
            ),
            seconds=27,
            makes=folder / "stores" / "ssl4eo-s12",
        ),
        Step(
            "pretrain",
            "the pretraining: stage 1 of a small SeaMo, on single optical dates",
            (f"seamo pretrain seamo-demo --set seed={seed} --resume --store {at}/stores/ssl4eo-s12 --out {run}",),
            seconds=135,
            makes=folder / "runs" / f"seamo-demo-seed{seed}" / "final",
        ),
        Step(
            "evaluate",
            "its frozen features under the same probes, beside the network with random weights",
            (
                f"seamo-bench run first --stores {at}/stores --results {at}/results"
                f" --backbones {run}@{LOOK},{run}@{LOOK}+random:{seed} {ONE_THREAD}",
            ),
            seconds=20,
            makes=folder / "results",
        ),
        Step(
            "compare",
            "what pretraining gave: the table of all, and differences paired over the test images",
            (
                f"seamo-bench table {at}/results",
                f"seamo-bench compare {at}/results {PRETRAINED} {PRETRAINED}-random",
                f"seamo-bench compare {at}/results {PRETRAINED} tokenizer-statistics",
                f"seamo-bench report {at}/results -o {at}/report.html",
            ),
            seconds=6,
            again=True,
        ),
    ]


def _scored(folder: Path, suite: str, *, seconds: float, name: str = "") -> list[Step]:
    at = quote(str(folder))
    return [
        Step(
            f"{name}floors",
            "four floors, none of them trained, under two probes of frozen features",
            (f"seamo-bench run {suite} --stores {at}/stores --results {at}/results {ONE_THREAD}",),
            seconds=seconds,
            makes=folder / "results",
        ),
        Step(
            f"{name}table",
            "the table, with 95 % intervals, and a page for the browser",
            (f"seamo-bench table {at}/results", f"seamo-bench report {at}/results -o {at}/report.html"),
            seconds=3,
            again=True,
        ),
        Step(
            f"{name}records",
            "every record held against the store: labels and split lists the same, scores computed again",
            (f"seamo-bench verify {at}/results --stores {at}/stores",),
            seconds=2,
        ),
    ]


def _faults(folder: Path, archive: str, *, name: str = "") -> list[Step]:
    """Four copies, each spoiled in one way; the check of each must name it."""
    at = quote(str(folder))
    plant = f"python {_examples()}/plant_fault.py"
    told = (
        ("bands", "fault 1 of 4: B08 and B11 exchanged in every tile", "B08 and B11 are exchanged"),
        ("shift", "fault 2 of 4: 1,000 added to every pixel", "shifted by +1000"),
        ("copies", "fault 3 of 4: test images copied into train", "the same image in several splits"),
    )
    steps = [
        Step(
            f"{name}{fault}",
            title,
            (
                f"{plant} {fault} {archive} {at}/faults/{fault}"
                + f" --store {at}/stores/eurosat" * (fault == "copies"),
                f"seamo-prep build eurosat --raw {at}/faults/{fault} --store {at}/faults/stores-{fault}",
                f"seamo-prep verify {at}/faults/stores-{fault}/eurosat",
            ),
            seconds=6,
            finds=finds,
            makes=folder / "faults" / fault,
        )
        for fault, title, finds in told
    ]
    forged = Step(
        f"{name}labels",
        "fault 4 of 4: a record whose wrong predictions were made right by changing its labels",
        (f"{plant} labels {at}/results {at}/faults/labels", f"seamo-bench verify {at}/faults/labels"),
        seconds=2,
        finds="is not the file that the record describes",
        makes=folder / "faults" / "labels",
    )
    return [*steps, forged]


def _examples() -> str:
    """The folder of the examples, as seen from here."""
    return quote(os.path.relpath(Path(__file__).parent.parent))
