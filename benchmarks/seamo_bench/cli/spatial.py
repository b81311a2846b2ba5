"""`seamo-bench spatial`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seamo.options import Json
from seamo.terminal import remark, show
from seamo_bench.cli.arguments import ResultsArgument

if TYPE_CHECKING:
    from seamo_bench.board.spatial import DistanceBin, SpatialGap, SpatialGaps
    from seamo_bench.scores.intervals import Difference


def spatial(
    results: ResultsArgument,
    *,
    stores: Annotated[
        Path | None, typer.Option("--stores", help="Folder of stores: scores by distance, too, kept with the results.")
    ] = None,
    metric: Annotated[str, typer.Option(help="One metric for all columns; default: the task's.")] = "",
    as_json: Json = False,
) -> None:
    """What a split without blocks of land adds to a score: each model's score under it minus under whole blocks.

    From records alone; suite `spatial` makes both. With --stores also the score of test samples by the distance to the
    nearest training sample, kept with the results for the report.
    """
    from seamo_bench.records.answers import answering_folder

    if stores is not None:
        answering_folder(results)
    from seamo.progress import Progress
    from seamo_bench.board.spatial import spatial_gaps
    from seamo_bench.records.fetched import results_on_disk
    from seamo_bench.records.record import read_records

    progress = Progress(sys.stderr, title="spatial", keep=False)
    bins: Sequence[DistanceBin] = ()
    with results_on_disk(results) as folder:
        records = read_records(folder).records
        found = spatial_gaps(
            records, folder, metric=metric, tell=lambda done, total: progress.report(done, total, "differences")
        )
        progress.close()
        for line in found.left_out:
            remark(f"no difference: {line}")
        if stores is not None:
            from seamo_bench.questions.spatial import distance_curves
            from seamo_bench.tasks.stores import check_root

            check_root(stores)
            curves = distance_curves(
                records, folder, stores, metric=metric, tell=lambda done, total: progress.report(done, total, "curves")
            )
            bins = curves.bins
            progress.close()
            for line in curves.left_out:
                remark(f"no distances: {line}")
        progress.close()
    rows = [*({"what": "gap", **_gap(one)} for one in found.gaps), *({"what": "distance", **_bin(one)} for one in bins)]
    show(rows, json=as_json, text=lambda: _text(found, bins))


def _gap(one: "SpatialGap") -> dict[str, Any]:
    return {
        "id": one.column.id,
        "model": one.row,
        "metric": one.metric,
        "scheme": one.other,
        "spatial_scheme": one.column.scheme,
        "score": one.scores[0].value,
        "spatial_score": one.scores[1].value,
        **_ends(one.difference, "difference"),
        "p": one.difference.p,
        "units": one.difference.interval.num_units,
        "unit": one.difference.interval.unit,
        "method": one.difference.interval.method,
        "note": one.difference.interval.note,
        "train": one.train[0],
        "spatial_train": one.train[1],
        "test": one.test[0],
        "spatial_test": one.test[1],
        "common_samples": one.common_samples,
        **_ends(one.common, "common_difference"),
        "synthetic": one.synthetic,
        "subset": one.subset,
    }


def _ends(one: "Difference | None", name: str) -> dict[str, float | None]:
    ends = (None, None, None) if one is None else (one.interval.value, one.interval.low, one.interval.high)
    return dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))


def _bin(one: "DistanceBin") -> dict[str, Any]:
    row = one.model_dump(mode="json")
    return {"id": row.pop("column"), "model": row.pop("row"), **row}


def _text(found: "SpatialGaps", bins: "Sequence[DistanceBin]") -> str:
    from seamo.terminal import table
    from seamo_bench.board.spatial import bin_interval, distance_text, list_names, unplaced_texts
    from seamo_bench.board.tables import interval_text, number, p_text

    gaps, lists = found.gaps, list_names(bins)
    lines = [
        [
            one.row,
            _named(one),
            one.other,
            number(one.metric, one.scores[0].value),
            number(one.metric, one.scores[1].value),
            interval_text(one.metric, one.difference.interval),
            p_text(one.difference.p),
            f"{one.difference.interval.num_units} test {one.difference.interval.unit}",
            f"{one.train[0]:,} / {one.train[1]:,}",
        ]
        for one in gaps
    ]
    head = ("model", "column", "scheme", "score", "spatial", "difference", "p", "smaller side", "training samples")
    parts = [table(head, lines, title="Score minus spatial score")] if lines else []
    parts += [f"  {note}" for note in dict.fromkeys(one.difference.interval.note for one in gaps) if note]
    rows = [
        [
            one.row,
            one.column,
            ", ".join(filter(None, (one.scheme, lists.get(one.records, "")))),
            distance_text(one),
            f"{one.samples:,}",
            interval_text(one.metric, bin_interval(one)),
        ]
        for one in bins
    ]
    columns = ("model", "column", "scheme", "km to the nearest training sample", "test samples", "score")
    parts += ["", table(columns, rows, title="Score by distance")] if rows else []
    parts += [f"  {note}" for note in unplaced_texts(bins)]
    if not gaps and found.left_out:
        parts.append("no difference: every pair of splits was left out, for the reasons above")
    elif not gaps:
        parts.append("no model has a score under a spatial scheme and under another one: suite spatial makes both")
    return "\n".join(parts)


def _named(one: "SpatialGap") -> str:
    limits = [word for word, holds in (("synthetic", one.synthetic), ("subset", one.subset)) if holds]
    share = f" {one.column.fraction:.0%}" if one.column.fraction < 1 else ""
    said = f" ({', '.join(limits)})" if limits else ""
    return f"{one.column.dataset} {one.column.protocol}{share}, {one.column.scheme}{said}"
