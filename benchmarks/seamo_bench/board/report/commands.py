"""The commands by which a reader checks the numbers of a page, with the folder as it was given."""

import shlex
from collections.abc import Iterable
from pathlib import Path

from seamo_bench.board.compare import by_seed
from seamo_bench.records.layout import named_key, record_paths
from seamo_bench.records.record import Record


class Commands:
    """Commands about the records of one folder.

    Args:
        results: The folder, on this disk.
        given: As the reader named it: a path, or an address.
    """

    def __init__(self, results: Path, given: str) -> None:
        self.folder = shlex.quote(given)
        self._given = given.rstrip("/")
        self._names = {named_key(path): path.relative_to(results).as_posix() for path in record_paths(results)}

    def verify(self, records: Iterable[Record]) -> str:
        """A line a record."""
        names = [self._names.get(record.key, f"{record.key}.json") for record in by_seed(records)]
        return "\n".join(f"seamo-bench verify {shlex.quote(f'{self._given}/{name}')}" for name in names)
