"""Records for tables: as they lie in a run's folder, or as the referee of a results repository sees them."""

from pathlib import Path
from typing import Any


def records_for_tables(results: Path) -> Any:
    """What a folder holds (`seamo_bench.records.record.RecordSet`); of a results repository with states."""
    from seamo_bench.records.layout import is_shared
    from seamo_bench.records.record import read_records

    if not is_shared(results):
        return read_records(results)
    from seamo_bench.runs.repository import refereed

    return refereed(results)
