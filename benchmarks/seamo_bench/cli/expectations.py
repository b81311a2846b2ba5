"""`seamo-bench expectations`."""

from typing import TYPE_CHECKING

from seamo.options import Json
from seamo.terminal import say, show
from seamo_bench.cli.arguments import Mixed, ResultsArgument
from seamo_bench.cli.judged import records_for_tables

if TYPE_CHECKING:
    from seamo_bench.board.expectations import Scorecard


def expectations(results: ResultsArgument, *, mixed: Mixed = False, as_json: Json = False) -> None:
    """Six expectations (arXiv 2605.12678) of each model of a leaderboard and of the leaderboard, with their evidence.

    A named licence, shared core evaluations, numbers copied or run again, variance, one harness, controls: each is met,
    partly, not met or not known, by what cards, records and published numbers say.
    """
    from seamo_bench.board.expectations import to_objects
    from seamo_bench.board.leaderboard import build_table
    from seamo_bench.questions.expectations import judged_board
    from seamo_bench.records.fetched import results_on_disk

    with results_on_disk(results) as folder:
        found = judged_board(build_table(records_for_tables(folder), folder, mixed=mixed))
    if as_json:
        show(to_objects(found), json=True)
    else:
        say(_text(found))


def _text(found: "Scorecard") -> str:
    """A block a model: its six cells, each with its evidence."""
    from seamo.escapes import printable
    from seamo_bench.board.expectations import EXPECTATIONS, SOURCE

    titles = {one.id: one.title for one in EXPECTATIONS}
    width = max(map(len, titles.values()))
    lines = list(found.notes)
    blocks = [("The leaderboard", found.board)]
    blocks += [(f"{one.name}{f' [floor: {one.floor}]' if one.floor else ''}", one.cells) for one in found.models]
    for name, cells in blocks:
        lines += [name]
        lines += [f"  {titles[cell.expectation]:<{width}}  {cell.met:<9}  {'; '.join(cell.evidence)}" for cell in cells]
        lines += [""]
    lines.append(f"The six are those of {SOURCE}; what counts as met is ours: `docs/expectations.md`.")
    return "\n".join(map(printable, lines))
