"""What each model was fed: the different input contracts among records, each with all who share it."""

from collections.abc import Mapping, Sequence

from seamo_bench.board.compare import row_of
from seamo_bench.board.leaderboard import Head
from seamo_bench.board.report.contracts import contracts
from seamo_bench.board.report.page import Page, Tab


def view(page: Page, _heads: Sequence[Head]) -> Mapping[str, object] | None:
    """All input contracts, folded; equal ones stand together."""
    rows = {row.id: row for row in page.made.rows}
    listed = []
    for number, contract in enumerate(contracts(page.found.records)):
        users: dict[str, list[str]] = {}
        for record in contract.records:
            stores = "+".join(store.id for store in record.facts.stores)
            users.setdefault(stores, []).append(row_of(record))
        shared = [
            (stores, [rows[name].title for name in dict.fromkeys(names) if name in rows])
            for stores, names in users.items()
        ]
        listed.append({"number": number, "users": shared, "facts": contract.facts})
    return {"contracts": listed}


TAB = Tab(id="inputs", name="Inputs", title="What each model was fed", order=90, view=view)
