"""The report of a study, beside its records: `<results>/studies/<id>.md` and `.json`."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seamo.addresses import disk_path
from seamo.escapes import markdown
from seamo.files import open_files
from seamo.identity import write_atomically
from seamo_bench.board.tables import p_text

REPORTS = "studies"


def to_markdown(report: Mapping[str, Any]) -> str:
    """The report for people."""
    lines = [f"# {markdown(report['title'])} ({report['table']}, recipe {markdown(report['recipe'])})", ""]
    lines += [f"- {markdown(note)}" for note in report["notes"]]
    tasks = list(report["rows"][0]["scores"])
    for task in tasks:
        lines += ["", f"## {markdown(task)}", ""]
        lines += ["| row | kind | score | difference | p | so | paper | paper's difference |", "|" + "---|" * 8]
        for row in report["rows"]:
            lines.append(_bar(_cells(row, row["scores"][task])))
    lines += ["", "## Rows", "", "| row | id | epochs of stage 2 | images | FLOPs | why |", "|" + "---|" * 6]
    for row in report["rows"]:
        size = [str(row["stage2_epochs"] or ""), f"{row['images']:,}", f"{row['flops']:.3g}"]
        why = row["reason"] or (f"{row['kind']}: {row['why']}" if row["why"] else "")
        lines.append(_bar([row["label"], row["id"], *size, why]))
    return "\n".join(lines) + "\n"


def _bar(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(markdown, cells)) + " |"


def _cells(row: Mapping[str, Any], cell: Mapping[str, Any]) -> list[str]:
    head = [row["label"], row["kind"]]
    paper = ["" if cell["paper"] is None else f"{cell['paper']:.2f}", _signed(cell.get("paper_difference"), 1.0)]
    if "value" not in cell:
        return [*head, cell["reason"], "", "", "", *paper]
    score = f"{100 * cell['value']:.2f}" + _range(cell["low"], cell["high"])
    if "difference" not in cell:
        return [*head, score, "", "", cell["verdict"], *paper]
    gap = _signed(cell["difference"], 100.0) + _range(cell["difference_low"], cell["difference_high"])
    return [*head, score, gap, p_text(cell["p"]), cell["verdict"], *paper]


def _signed(value: float | None, scale: float) -> str:
    return "" if value is None else f"{scale * value:+.2f}"


def _range(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" [{100 * low:.2f}, {100 * high:.2f}]"


def write_report(report: Mapping[str, Any], results: Path) -> str:
    """Write `studies/<id>.json` and `.md` into a folder of results, or put them at its address; where the latter is."""
    texts = {"json": json.dumps(report, indent=1) + "\n", "md": to_markdown(report)}
    name = f"{REPORTS}/{report['id']}"
    folder = disk_path(results)
    if folder is None:
        files = open_files(results)
        for kind, text in texts.items():
            files.swap(f"{name}.{kind}", lambda _, text=text: text.encode("utf-8"))  # type: ignore[misc]
        return files.where(f"{name}.md")
    (folder / REPORTS).mkdir(parents=True, exist_ok=True)
    for kind, text in texts.items():
        write_atomically(folder / f"{name}.{kind}", text.encode("utf-8"))
    return str(folder / f"{name}.md")
