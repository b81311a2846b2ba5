"""What a referee says of one file of a results repository."""

from dataclasses import dataclass
from typing import Literal

from seamo_bench.records.record import Record

State = Literal["reproduced", "plausible, not rerun", "not reproduced", "no score", "withdrawal", "refused"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said of one file.

    Args:
        name: Of the file.
        state: `withdrawal` of one that a contribution adds.
        problems: Why it is refused; empty if it is not.
        remarks: What else must be said.
        record: That the file holds, if it could be read.
    """

    name: str
    state: State
    problems: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    record: Record | None = None
