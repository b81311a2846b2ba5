"""What runs cost: Table 15 of the paper from our records, the rest estimated; and what each network costs an image."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from seamo.errors import ProtocolError
from seamo.escapes import markdown
from seamo.manifest import shipped_manifest
from seamo.model.config import SeaMoConfig
from seamo.model.flops import encoding_flops
from seamo.pretrain.facts import read_run
from seamo.pretrain.logs import read_log
from seamo.pretrain.recipe import load_recipe, parse_recipe
from seamo_bench.paper.identity import is_seamo
from seamo_bench.protocol import Protocol
from seamo_bench.protocols import find_protocol
from seamo_bench.records.record import Record
from seamo_bench.runs.estimate import BACKWARD, GPU, trained, training_throughput, trainings
from seamo_bench.suites import studies
from seamo_bench.suites.published import Published, load_published
from seamo_bench.suites.study_file import RUNS, extent, load_study, pretrainings
from seamo_bench.suites.suite import Row, load_suite

HOUR = 3600.0
PLACES = 250_000  # of SSL4EO-S12, as the paper counts them
SEASONS = 4
# Samples of data sets of which no count is published, or several that disagree.
ABOUT: dict[str, tuple[Mapping[str, int], str]] = {
    "oscd": (
        {"train": 14 * 81, "test": 10 * 81},
        "about 81 tiles of 128 pixels at a stride of 64 in each of 24 cities of about 600 x 600 (Daudt et al. 2018)",
    ),
    "segmunich": (
        {"train": 9450, "test": 1050},
        "about 10,500 tiles, what its 7.08 GB hold at float32, a tenth of them test; published counts disagree",
    ),
    **dict.fromkeys(
        ("s1s2-water-s1", "s1s2-water-s2"),
        (
            {"train": 50_000, "val": 12_500, "test": 12_500},
            "tiles as SeaMo counts them: over 50,000 to train, over 25,000 to validate and test",
        ),
    ),
}
_STATED = (GPU.flops, f"{GPU.basis}, as there is no record or run to take a rate from")


@dataclass(frozen=True, slots=True)
class ComputeRow:
    """One row of Table 15.

    Args:
        task, dataset: As published.
        paper_hours: Of an RTX 4090.
        hours: Ours, all trainings together; without a record estimated, from a stated rate if no other is known.
        trainings: How many: seeds x learning rates x data sets; 1 for an estimate.
        kind: `measured` or `estimate`.
        note: Device, rate, what was counted.
    """

    task: str
    dataset: str
    paper_hours: float
    hours: float
    trainings: int
    kind: str
    note: str


def compute_table(records: Sequence[Record], results: Path, *, backbone: str = "") -> tuple[ComputeRow, ...]:
    """The rows of Table 15.

    Args:
        records: Of a results folder.
        results: The folder; pretrainings of `study` are looked for in its `runs`.
        backbone: Id or group of ours; every run of SeaMo without.
    """
    mine = [record for record in records if record.status == "ok" and _is_ours(record, backbone)]
    rate, device = training_throughput(mine)
    known = None if rate is None else (rate, f"the median of our records on {device}")
    runs = [one for one in map(read_speed, sorted((results / RUNS).glob("*"))) if one is not None]
    return tuple(_row(one, mine, known, runs) for one in load_published() if one.table == "T15")


def _is_ours(record: Record, backbone: str) -> bool:
    if backbone:
        return backbone in (record.facts.backbone.id, record.about.group)
    return is_seamo(record)


def _row(
    one: Published,
    records: Sequence[Record],
    known: tuple[float, str] | None,
    runs: Sequence["Speed"],
) -> ComputeRow:
    hours = one.value if one.value is not None else float("nan")
    if one.protocol == "pretraining":
        return _pretraining(one, hours, runs, known)
    if one.protocol == "ablations":
        flops, count = _ablation_flops()
        return _estimate(one, hours, flops, _best_rate(runs, known), f"{count} different pretrainings")
    ids = one.dataset.split("+")
    done = [
        record
        for record in trained(records)
        if record.cost.seconds and {store.id for store in record.facts.stores} <= set(ids)
    ]
    if done:
        seconds = sum(record.cost.seconds or 0.0 for record in done)
        demo = " DEMO BUDGET." if any(record.facts.budget == "demo" for record in done) else ""
        titles = sorted({title for record in done for title in record.about.stores})
        where = sorted({record.environment.get("device", "unknown device") for record in done})
        note = f"{', '.join(where)}; {', '.join(titles)}.{demo}"
        return ComputeRow(one.protocol, one.dataset, hours, seconds / HOUR, sum(map(trainings, done)), "measured", note)
    flops, basis = _task_flops(ids)
    return _estimate(one, hours, flops, known or _STATED, f"encoder alone, one training, 'paper' recipe{basis}")


def _estimate(one: Published, hours: float, flops: float, rate: tuple[float, str], what: str) -> ComputeRow:
    note = f"{flops:.3g} FLOPs ({what}) at {rate[0] / 1e12:.3g} TFLOP/s, {rate[1]}"
    return ComputeRow(one.protocol, one.dataset, hours, flops / rate[0] / HOUR, 1, "estimate", note)


def _task_flops(ids: Sequence[str]) -> tuple[float, str]:
    """One training of `seamo-base` with every recipe of suite `paper` for these data sets, a sensor at a time.

    Returns:
        FLOPs, and what is not certain about the number of samples.

    Raises:
        ProtocolError: If nothing is known of a data set's size.
    """
    manifest, total, basis = shipped_manifest(), 0.0, ""
    rows: dict[tuple[str, tuple[str, ...]], Row] = {}
    for row in load_suite("paper").rows:
        if row.store in ids and find_protocol(row.protocol).needs != "features":
            rows.setdefault((row.store, row.inputs), row)
    for (name, inputs), row in rows.items():
        protocol = find_protocol(row.protocol)
        spec = manifest[name]
        counts: Mapping[str, int] = spec.expected.splits.get(row.split or spec.default_split, {})
        if name in ABOUT:
            counts, why = ABOUT[name]
            basis += f"; {why}"
        if not {"train", "test"} <= counts.keys():
            raise ProtocolError("has no published number of training and test samples", name)
        config = SeaMoConfig()
        sensor = (inputs or (spec.layers[0].sensor,))[0]
        flops = encoding_flops(config, sensor, size=_size(row, protocol, spec.layers[0].size))
        epochs = row.params["epochs"]
        images = BACKWARD * float(str(epochs)) * counts["train"] * row.fraction + counts["test"]
        total += flops * images * protocol.dates
    return total, basis


def _size(row: Row, protocol: Protocol, tile: object) -> int:
    """Side that the network sees: the recipe's; of dense tasks the tile's; else the card's 128."""
    if row.size:
        return row.size
    if protocol.needs == "levels" and isinstance(tile, tuple) and tile[0] % 8 == 0:
        return int(tile[0])
    return 128


@dataclass(frozen=True, slots=True)
class Speed:
    """What one pretraining took.

    Args:
        name: Of the run's folder.
        seconds: Of all its steps.
        flops: Of all its steps.
        whole: Whether it is finished.
        device: Its GPU, or `cpu`.
        store: Title of its store.
        recipe: Name of its recipe.
    """

    name: str
    seconds: float
    flops: float
    whole: bool
    device: str
    store: str
    recipe: str


def read_speed(run: Path) -> Speed | None:
    """Time and FLOPs of a run of `seamo pretrain`, from its own files; None if it is none, or has no step yet."""
    speed, curves = run / "speed.csv", run / "curves.csv"
    if not (speed.is_file() and curves.is_file() and (run / "run.json").is_file()):
        return None
    seconds = math.fsum(read_log(speed).get("seconds", []))
    drawn = read_log(curves)
    shown = {name.rpartition("_t")[2] for name in drawn if "_t" in name}
    locations = int(sum(drawn.get("locations", [])))
    if not seconds or not locations:
        return None
    said = read_run(run)
    recipe = parse_recipe(said["recipe"], where=str(run))
    facts, around = said["store"], said["environment"]["machine"]
    epochs = recipe.stage1.epochs + recipe.stage2.epochs
    flops = extent(recipe, seasons=len(shown))[1] * locations / epochs
    device = ", ".join(around["gpus"]) or "cpu"
    return Speed(run.name, seconds, flops, (run / "final").is_dir(), device, str(facts["title"]), recipe.name)


def _best_rate(runs: Sequence[Speed], known: tuple[float, str] | None) -> tuple[float, str]:
    if runs:
        return sum(run.flops for run in runs) / sum(run.seconds for run in runs), f"of {len(runs)} pretraining runs"
    return known or _STATED


def _pretraining(one: Published, hours: float, runs: Sequence[Speed], known: tuple[float, str] | None) -> ComputeRow:
    recipe = load_recipe("seamo-base")
    whole = [run for run in runs if run.whole and run.recipe == recipe.name]
    if whole:
        note = f"{', '.join(sorted({run.device for run in whole}))}; {', '.join(sorted({run.store for run in whole}))}"
        seconds = sum(run.seconds for run in whole)
        return ComputeRow(one.protocol, one.dataset, hours, seconds / HOUR, len(whole), "measured", note)
    flops = extent(recipe, seasons=SEASONS)[1] * PLACES
    return _estimate(one, hours, flops, _best_rate(runs, known), "seamo-base, 250,000 places, 20 + 200 epochs")


def _ablation_flops() -> tuple[float, int]:
    """FLOPs of the different pretrainings in the shipped studies of the paper, controls and extras included."""
    found: dict[str, float] = {}
    for study in map(load_study, studies()):
        for row in study.rows if study.table else ():
            made = pretrainings(study, row, seasons=SEASONS, places=PLACES, content="", budget="full")
            found.update({one.name: one.flops for one in made})
    return sum(found.values()), len(found)


@dataclass(frozen=True, slots=True)
class NetworkRow:
    """What one network costs on the images of one data set, in inference.

    Args:
        backbone, stores: Titles.
        size: Height and width that the network saw; (0, 0) where images are not resized.
        device: Where.
        parameters: Of the network.
        flops: Of one image; a multiply-add is 2. None for what has no parameters.
        images_per_second: Through the network, reading and normalising not counted; median over the records.
        records: How many.
        demo: Whether they are of the demo budget.
    """

    backbone: str
    stores: str
    size: tuple[int, int]
    device: str
    parameters: int | None
    flops: float | None
    images_per_second: float
    records: int
    demo: bool


def network_table(records: Sequence[Record]) -> tuple[NetworkRow, ...]:
    """One row a network, data set, image size and device, where the throughput was measured."""
    groups: dict[tuple[str, str, tuple[int, int], str, int, bool], list[Record]] = {}
    for record in records:
        adapter, about = record.facts.adapter, record.about
        if record.status == "ok" and adapter is not None and record.cost.samples_per_second:
            device = record.environment.get("device", "unknown device")
            count = record.cost.parameters or 0
            is_demo = record.facts.budget == "demo"
            place = (about.backbone, " + ".join(about.stores), adapter.size, device, count, is_demo)
            groups.setdefault(place, []).append(record)
    return tuple(
        NetworkRow(
            *place[:5],
            flops=group[0].cost.flops_per_sample,
            images_per_second=median(record.cost.samples_per_second or 0.0 for record in group),
            records=len(group),
            demo=place[5],
        )
        for place, group in sorted(groups.items())
    )


def to_objects(rows: Sequence[ComputeRow], networks: Sequence[NetworkRow] = ()) -> list[dict[str, Any]]:
    """Plain rows, each with an `id`: those of Table 15, then the networks (`kind` network)."""
    return [_object(row) for row in rows] + [
        {
            "id": f"{row.backbone}/{row.stores}/{row.size[0]}x{row.size[1]}/{row.device}"
            + ("/demo" if row.demo else ""),
            "kind": "network",
            "backbone": row.backbone,
            "store": row.stores,
            "size": list(row.size),
            "device": row.device,
            "parameters": row.parameters,
            "flops_per_image": row.flops,
            "images_per_second": row.images_per_second,
            "records": row.records,
            "demo_budget": row.demo,
        }
        for row in networks
    ]


def _object(row: ComputeRow) -> dict[str, Any]:
    return {
        "id": f"{row.task}/{row.dataset}",
        "task": row.task,
        "dataset": row.dataset,
        "paper_hours": row.paper_hours,
        "hours": round(row.hours, 4),
        "trainings": row.trainings,
        "hours_a_training": round(row.hours / row.trainings, 4),
        "kind": row.kind,
        "note": row.note,
    }


def to_markdown(rows: Sequence[ComputeRow], networks: Sequence[NetworkRow] = ()) -> str:
    """Table 15 and the networks, for people."""
    lines = [
        "# Table 15: device hours",
        "",
        "The paper's are hours of an RTX 4090; ours of the device in the note.",
        "",
    ]
    lines += ["| task | data | paper | ours | trainings | kind | note |", "|" + "---|" * 7]
    lines += ["| " + " | ".join(_cells(_object(row))) + " |" for row in rows]
    if networks:
        lines += ["", "# Networks: one forward pass", ""]
        lines += [
            "Images a second in inference, of images that are read and normalised. A multiply-add is 2 FLOPs.",
            "",
        ]
        lines += ["| network | data | image | parameters | GFLOPs | images/s | device |", "|" + "---|" * 7]
        lines += ["| " + " | ".join(_network_cells(row)) + " |" for row in networks]
    return "\n".join(lines) + "\n"


def _network_cells(row: NetworkRow) -> list[str]:
    flops = "" if row.flops is None else f"{row.flops / 1e9:.3g}"
    size = f"{row.size[0]} x {row.size[1]}" if any(row.size) else "as stored"
    rate = f"{row.images_per_second:,.0f}" if row.images_per_second >= 100 else f"{row.images_per_second:.3g}"
    name = row.backbone + (" (demo budget)" if row.demo else "")
    cells = [name, row.stores, size, f"{row.parameters or 0:,}", flops, rate, row.device]
    return [markdown(cell) for cell in cells]


def _cells(row: Mapping[str, Any]) -> list[str]:
    cells = [
        row["task"], row["dataset"], f"{row['paper_hours']:g}", f"{row['hours']:.4g}", str(row["trainings"]),
        row["kind"], str(row["note"]),
    ]  # fmt: skip
    return [markdown(cell) for cell in cells]
