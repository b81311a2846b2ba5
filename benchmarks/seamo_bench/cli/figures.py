"""`seamo-bench figures`."""

from pathlib import Path
from typing import Annotated

import typer

from seamo.options import Json
from seamo.terminal import FAILED, remark, show
from seamo_bench.cli.arguments import ResultsArgument
from seamo_bench.cli.cells import Cells


def figures(
    results: ResultsArgument,
    out: Annotated[Path, typer.Option("-o", "--output", help="Folder of the pictures.")],
    stores: Annotated[Path, typer.Option("--stores", help="Folder of stores, for pixels and truth.")],
    as_json: Json = False,
) -> None:
    """The paper's Figures 5-13 from our stores and records, the same of every other data set, and curves over labels.

    What cannot be drawn is listed with its reason. Where records of one data set answer several questions, the one
    with the most models is shown; of a model its first seed.
    """
    from seamo_bench.paper.figures import draw_figures
    from seamo_bench.paper.label_curves import draw_label_curves
    from seamo_bench.records.fetched import results_on_disk

    progress = Cells()
    with results_on_disk(results) as folder:
        drawn = [*draw_figures(folder, stores, out, progress=progress.cell), *draw_label_curves(folder, out)]
    progress.end()
    rows = [
        {
            "id": figure.id,
            "status": "drawn" if figure.file else "not drawn",
            "file": figure.file,
            "reason": figure.reason,
        }
        for figure in drawn
    ]
    if as_json:
        show([{**row, "records": list(figure.records)} for row, figure in zip(rows, drawn, strict=True)], json=True)
    else:
        show(rows, json=False)
    if not any(figure.file for figure in drawn):
        remark("nothing could be drawn")
        raise typer.Exit(FAILED)
