"""Tables and a plot from a result of `suite.py`, and their place in docs/performance.md."""

import json
import statistics
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
PLOT = "figures/performance.png"
BEGIN, END = "<!-- perf/suite.py --table: begin -->", "<!-- perf/suite.py --table: end -->"
TITLES = {
    "decode-2": "Batches as stored, two workers",
    "decode-1": "Batches as stored, one worker",
    "decode-2-cold": "Batches as stored, two workers, files dropped from the page cache before each epoch",
    "full-2": "Cropped, resized and normalised, two workers",
    "full-1": "Cropped, resized and normalised, one worker",
}
BEST_OF = ("litdata", "litdata-zstd", "mds", "mds-zstd", "webdataset")  # whose best is the mark's peer
_COLD = 0.05  # share of pages that may be left in memory


def page(document: dict[str, Any]) -> str:
    """All tables of a result, as Markdown."""
    parts = [_about(document), *(_table(group) for group in document["groups"]), _limits(document), _growth(document)]
    return "\n\n".join(parts)


def _about(document: dict[str, Any]) -> str:
    corpus = document["corpus"]
    versions = ", ".join(f"{name} {version}" for name, version in document["versions"].items() if version)
    missing = f" Not installed: {', '.join(document['missing'])}." if document["missing"] else ""
    native = "with" if document["native"] else "without"
    crop = {"torch": "torch, bilinear, antialiased", "seamo": "seamo's in torch, bicubic, antialiased"}
    return (
        f"`{document['command']}`, {document['machine']}, load after {document['load_after']}, "
        f"{native} native code. {versions}.{missing}\n\n"
        f"{corpus['locations']} locations of {corpus['decoded_mb']:.2f} MB decoded, "
        f"batches of {corpus['batch']}, {corpus['rounds']} rounds: median (range). Ratios are medians of the "
        f"ratios of the rounds. Peers crop a sample at a time in their workers ({crop[document['peers_crop']]}: the "
        "cheaper way on this machine)."
    )


def ratio(rows: list[dict[str, Any]], name: str) -> float:
    """How many times as fast the reader `name` is as the best of `BEST_OF`, median of the rounds' ratios."""
    ours = next(row["rates"] for row in rows if row["name"] == name)
    peers = [row["rates"] for row in rows if row["name"] in BEST_OF]
    best = max(peers, key=statistics.median)
    return statistics.median(a / b for a, b in zip(ours, best, strict=True))


def cpu_ratio(rows: list[dict[str, Any]], name: str) -> float:
    """How many times the CPU time of the reader `name` the most frugal of `BEST_OF` takes; of medians."""
    spent = {row["name"]: statistics.median(row["cpu_ms"]) for row in rows}
    return min(spent[one] for one in BEST_OF if one in spent) / spent[name]


def _table(group: dict[str, Any]) -> str:
    rows = sorted(group["rows"], key=lambda row: -statistics.median(row["rates"]))
    lines = [f"### {TITLES[group['name']]}", ""]
    heads = (
        "reader",
        "samples/s",
        "CPU ms a sample",
        "MB on disk",
        "first batch, s",
        "peak MB",
        "ours in lz4",
        "ours raw",
    )
    lines += [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for row in rows:
        title = f"**{row['title']}**" if row["ours"] else row["title"]
        warm = [share for share in row.get("still_cached", []) if not share <= _COLD]
        title += " (not cold: the page cache kept it)" if warm else ""
        times = [_times(rows, ours, row) for ours in ("zarr", "wds")]
        lines.append(
            f"| {title} | {_span(row['rates'], '.0f')} | {_span(row['cpu_ms'], '.1f')} | {row['stored_mb']:.2f} | "
            f"{row['first_batch_s']:.2f} | {row['peak_mb']} | {' | '.join(times)} |"
        )
    there = {row["name"] for row in rows}
    if there & set(BEST_OF) and {"zarr", "wds"} <= there:
        lz4, raw = (ratio(rows, name) for name in ("zarr", "wds"))
        best = "Beside the best of litdata, MosaicML streaming and webdataset"
        cpu, cpu_raw = (cpu_ratio(rows, name) for name in ("zarr", "wds"))
        lines += [
            "",
            f"{best}: lz4 {lz4:.2f} x, not compressed {raw:.2f} x; in CPU time {cpu:.2f} x and {cpu_raw:.2f} x.",
        ]
    return "\n".join(lines)


def _times(rows: list[dict[str, Any]], ours: str, row: dict[str, Any]) -> str:
    mine = next((one["rates"] for one in rows if one["name"] == ours), None)
    if mine is None or row["name"] == ours:
        return ""
    return f"{statistics.median(a / b for a, b in zip(mine, row['rates'], strict=True)):.2f} x"


def _span(values: list[float], form: str) -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}}-{max(values):{form}})"


def _limits(document: dict[str, Any]) -> str:
    lines = ["### What no reader can beat, one thread", "", "| step | ms a sample | samples/s |", "|---|---|---|"]
    for name, values in document["limits_ms"].items():
        lines.append(f"| {name} | {_span(values, '.2f')} | {1e3 / statistics.median(values):,.0f} |")
    lines += ["", "| crop, resize, normalise one location, one thread | CPU ms |", "|---|---|"]
    lines += [f"| {name} | {_span(values, '.1f')} |" for name, values in document["crops_cpu_ms"].items()]
    return "\n".join(lines)


def _growth(document: dict[str, Any]) -> str:
    lines = ["### Cost of more samples, one worker", ""]
    lines += [
        "| samples | build, s | build, CPU ms a sample | read, s | read, CPU ms a sample |",
        "|---|---|---|---|---|",
    ]
    for row in document["growth"]:
        each = (1e3 * statistics.median(row[f"{what}_cpu_s"]) / row["samples"] for what in ("build", "read"))
        build, read = (f"{one:.1f}" for one in each)
        seconds = (f"{statistics.median(row[f'{what}_s']):.2f}" for what in ("build", "read"))
        took, took_reading = seconds
        lines.append(f"| {row['samples']} | {took} | {build} | {took_reading} | {read} |")
    return "\n".join(lines)


def plot(document: dict[str, Any], path: Path) -> None:
    """Samples a second of every reader, one panel a group; ours dark, and what is faster than ours to be seen."""
    groups = [group for group in document["groups"] if group["name"] in ("decode-2", "full-2")]
    figure = Figure(figsize=(11, 0.42 * max(len(group["rows"]) for group in groups) + 1.0), layout="constrained")
    for axes, group in zip(figure.subplots(1, len(groups), squeeze=False)[0], groups, strict=True):
        rows = sorted(group["rows"], key=lambda row: statistics.median(row["rates"]))
        values = [statistics.median(row["rates"]) for row in rows]
        low_high = [[value - min(row["rates"]) for value, row in zip(values, rows, strict=True)],
                    [max(row["rates"]) - value for value, row in zip(values, rows, strict=True)]]  # fmt: skip
        colours = ["#1b4965" if row["ours"] else "#a9b4c2" for row in rows]
        axes.barh([row["title"] for row in rows], values, xerr=low_high, color=colours, ecolor="#555555")
        axes.set_title(TITLES[group["name"]], fontsize=8)
        axes.set_xlabel("samples/s: median, smallest and largest", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=90)


def write_page(result: Path) -> None:
    """Put the tables of a result, and its plot, into docs/performance.md."""
    document = json.loads(result.read_text(encoding="utf-8"))
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    if not rest or not after:
        raise SystemExit(f"{PAGE} lacks {BEGIN} or {END}")
    plot(document, PAGE.parent / PLOT)
    inside = f"\n\nMade by `python perf/suite.py --table` from `perf/results/{result.name}`.\n\n" + page(document)
    inside += f"\n\n![Samples a second of every reader]({PLOT})\n\n"
    PAGE.write_text(before + BEGIN + inside + END + after, encoding="utf-8")
