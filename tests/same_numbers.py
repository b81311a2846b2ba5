"""Same numbers before and after a change: the proof that a change of the code left every result alone.

Whoever changes code that results pass through shows one of two things: *keys and hashes are equal*, or *a version was
bumped* (of the protocol, the head, the statistics; then new keys are what is wanted, and the comparison lists them).

    git worktree add ../before main
    PYTHONPATH=../before:../before/preprocess:../before/benchmarks python tests/same_numbers.py record before.json
    PYTHONPATH=$PWD:$PWD/preprocess:$PWD/benchmarks               python tests/same_numbers.py record after.json
    python tests/same_numbers.py compare before.json after.json    # exit status 1 on any difference

`record` takes the packages that PYTHONPATH names, through their command lines alone, and reads nothing but the files
that they write: it runs on any state of the repository. It makes *synthetic* archives, builds stores of all of them,
pretrains a very small SeaMo, and runs `tests/proof/full.yaml` and `tests/proof/demo.yaml`: every protocol and head,
cross-validation, label fractions, joined stores, missing-band policies, parts of the bands, sizes, seeds, cells that
are impossible. Backbones are those that need no published weights, and those of `tests/proof/outside`, an outside
package whose cards use every normalisation step. About three minutes on two idle cores; `--only knn,dense` runs some
protocols.

`compare` asks for: the same keys; equal arrays in every predictions file, and equal trained weights beside it; scores,
tables, paired comparisons within 1e-6; the same content hash of every store and the same pretrained weights. Rows of
SeaMo may change where its input changes: they are found again by what they are about, must all be there, and are
listed with both scores. What else differs in a record (reasons, flags, titles) is listed as a note. Compare files that
one machine made: another processor or torch rounds otherwise, and so does a thread more, which is why everything here
runs on one.
"""

import argparse
import json
import math
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

TOLERANCE = 1e-6
ABSENT = "(none)"
SHOWN = ("top1", "balanced_accuracy", "micro_ap", "miou_present", "f1_positive")  # of SeaMo's rows
EMBED_TOLERANCE = 1e-5  # of the features that `seamo embed` writes

Document = dict[str, Any]


@dataclass(slots=True)
class Report:
    """What a comparison found.

    Args:
        differences: What must not be.
        seamo: Rows of SeaMo, with both scores.
        notes: What differs and may.
        counts: Protocol -> [rows, equal rows, rows of SeaMo].
    """

    differences: list[str] = field(default_factory=list)
    seamo: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    counts: dict[str, list[int]] = field(default_factory=dict)


def compare(before: Document, after: Document) -> Report:
    """Hold two recordings against one another; where they ran other protocols, what both ran."""
    report = Report()
    old, new = _both(before, after)
    report.notes += [f"machine: {text}" for text in unequal(before["machine"], after["machine"])]
    if "code" in before and before["code"] == after.get("code"):
        report.notes.append("code: both recordings are of the same modules")
    _compare_stores(before, after, report)
    for name, text in _changed(before["weights"], after["weights"]):
        report.differences.append(f"pretrained weights: {name} {text}")
    _compare_rows(_by("key", old, seamo=False), _by("key", new, seamo=False), report)
    _compare_seamo(_by("id", old, seamo=True), _by("id", new, seamo=True), report)
    _compare_features(before["features"], after["features"], report)
    if before["only"] == after["only"]:  # a table of some protocols has other columns
        report.differences += [f"map: {name}: {text}" for name, text in _changed(before["maps"], after["maps"])]
        report.differences += [f"table: {name}: {text}" for name, text in _changed(before["tables"], after["tables"])]
    else:
        report.notes.append("tables and maps were not compared: the two ran other protocols")
    return report


def _both(before: Document, after: Document) -> tuple[list[Document], list[Document]]:
    """The records of the protocols that both ran."""
    old, new = before["records"], after["records"]
    for only in (before["only"], after["only"]):
        if only:
            old, new = ([row for row in rows if row["protocol"] in only] for rows in (old, new))
    return old, new


def _by(name: str, rows: Sequence[Document], *, seamo: bool) -> dict[str, Document]:
    return {row[name]: row for row in rows if row["seamo"] == seamo}


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Names whose values differ, or that are on one side only, and how."""
    for name in sorted({*old, *new}):
        if name not in new or name not in old:
            yield name, "is there only " + ("before" if name in old else "after")
        else:
            for text in unequal(old[name], new[name]):
                yield name, text


def unequal(old: Any, new: Any, where: str = "", tolerance: float = TOLERANCE) -> Iterator[str]:
    """Every place where two plain values differ: numbers by more than the tolerance, all else at all."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted({*old, *new}):
            place = f"{where}.{name}".lstrip(".")
            yield from unequal(old.get(name, ABSENT), new.get(name, ABSENT), place, tolerance)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for position, (a, b) in enumerate(zip(old, new, strict=True)):
            yield from unequal(a, b, f"{where}[{position}]", tolerance)
    elif _is_number(old) and _is_number(new):
        if not (abs(old - new) <= tolerance or (math.isnan(old) and math.isnan(new))):
            yield f"{where} {old!r} -> {new!r}".strip()
    elif old != new or type(old) is not type(new):
        yield f"{where} {old!r} -> {new!r}".strip()


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _compare_stores(before: Document, after: Document, report: Report) -> None:
    for name, text in _changed(before["stores"], after["stores"]):
        if not text.startswith("is there only") or before["only"] == after["only"]:
            report.differences.append(f"store {name}: {text}")


def _compare_rows(old: Mapping[str, Document], new: Mapping[str, Document], report: Report) -> None:
    named = {row["id"]: row for key, row in new.items() if key not in old}
    for key, row in old.items():
        count = report.counts.setdefault(row["protocol"], [0, 0, 0])
        count[0] += 1
        if key not in new:
            other = named.pop(row["id"], None)
            if other is None:
                report.differences.append(f"{row['id']}: is there only before ({key[:12]})")
                continue
            moved = "; ".join(unequal(row["record"]["facts"], other["record"]["facts"], "", 0.0)) or "facts are equal"
            report.differences.append(f"{row['id']}: key {key[:12]} -> {other['key'][:12]}: {moved}")
            continue
        found = list(_row_differences(row, new[key]))
        count[1] += not found
        report.differences += [f"{row['id']}: {text}" for text in found]
        rest = ({k: v for k, v in one["record"].items() if k not in _STRICT} for one in (row, new[key]))
        report.notes += [f"{row['id']}: {text}" for text in unequal(*rest)]
    report.differences += [f"{row['id']}: is there only after ({row['key'][:12]})" for row in named.values()]


_STRICT = ("status", "scores", "per_class", "predictions")


def _row_differences(old: Document, new: Document) -> Iterator[str]:
    for name, what in (("arrays", "predictions"), ("trained", "trained weights")):
        if old[name] != new[name]:
            yield f"{what} {old[name][:12] or 'none'} -> {new[name][:12] or 'none'}"
    for name in ("status", "scores", "per_class"):
        yield from unequal(old["record"][name], new["record"][name], name)


def _compare_seamo(old: Mapping[str, Document], new: Mapping[str, Document], report: Report) -> None:
    for name in sorted({*old, *new}):
        if name not in old or name not in new:
            report.differences.append(f"{name}: is there only " + ("before" if name in old else "after"))
            continue
        row, other = old[name], new[name]
        report.counts.setdefault(row["protocol"], [0, 0, 0])[2] += 1
        same = "same key" if row["key"] == other["key"] else "other key"
        same += ", same predictions" if row["arrays"] == other["arrays"] else ", other predictions"
        scores, others = row["record"]["scores"], other["record"]["scores"]
        told = ", ".join(f"{m} {_short(scores[m])} -> {_short(others.get(m))}" for m in SHOWN if m in scores)
        report.seamo.append(f"{name}: {same}" + (f"; {told}" if told else ""))


def _short(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"


def _compare_features(old: Document, new: Document, report: Report) -> None:
    for name in sorted({*old, *new}):
        a, b = (one.get(name, {"hash": "", "first": []}) for one in (old, new))
        if len(a["first"]) != len(b["first"]):
            report.differences.append(f"seamo embed {name}: {len(a['first'])} -> {len(b['first'])} numbers")
            continue
        far = float(np.abs(np.subtract(a["first"], b["first"])).max(initial=0.0))
        if not far <= EMBED_TOLERANCE:
            report.differences.append(f"seamo embed {name}: differs by {far:.2g}")
        elif a["hash"] != b["hash"]:
            report.notes.append(f"seamo embed {name}: not the same bits, within {max(far, 1e-8):.2g}")


def show(report: Report, before: Document, after: Document) -> str:
    """The report as text."""
    lines = [f"{'protocol':12} {'rows':>5} {'equal':>6} {'SeaMo':>6}"]
    rows = [*sorted(report.counts.items()), ("all", [sum(c) for c in zip(*report.counts.values(), strict=True)])]
    lines += [f"{name:12} {count[0]:5} {count[1]:6} {count[2]:6}" for name, count in rows if count]
    made = [Counter(row["record"]["status"] for row in one["records"]) for one in (before, after)]
    lines += ["", *(f"records {when}: {dict(count)}" for when, count in zip(("before", "after"), made, strict=True))]
    lines.append(
        f"stores: {len(before['stores'])}, cells of tables: {len(before['tables'])}, maps: {len(before['maps'])}"
    )
    for title, texts in (
        ("rows of SeaMo", report.seamo),
        ("notes (allowed)", report.notes),
        ("DIFFERENCES", report.differences),
    ):
        lines += ["", f"{title}: {len(texts)}", *(f"  {text}" for text in texts)]
    return "\n".join(lines) + "\n"


def main() -> None:
    """`record` or `compare`."""
    parser = argparse.ArgumentParser(description="Same numbers before and after a change.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    recording = verbs.add_parser("record", help="run the suites with the packages of PYTHONPATH")
    recording.add_argument("out", type=Path)
    recording.add_argument("--keep", type=Path, help="empty folder to work in; it stays")
    recording.add_argument("--only", default="", help="protocols, separated by commas")
    comparing = verbs.add_parser("compare", help="exit status 1 on any difference")
    comparing.add_argument("before", type=Path)
    comparing.add_argument("after", type=Path)
    asked = parser.parse_args()
    if asked.verb == "record":
        from same_numbers_recording import record  # beside this file; comparing needs none of it

        made = record(asked.out, keep=asked.keep, only=[name for name in asked.only.split(",") if name])
        failed = [row["id"] for row in made["records"] if row["record"]["status"] == "failed"]
        sys.stdout.write(f"{len(made['records'])} records, {len(failed)} failed: {asked.out}\n")
        sys.stdout.writelines(f"failed: {name}\n" for name in failed)
        return
    before, after = (json.loads(path.read_bytes()) for path in (asked.before, asked.after))
    report = compare(before, after)
    sys.stdout.write(show(report, before, after))
    sys.exit(bool(report.differences))


if __name__ == "__main__":
    main()
