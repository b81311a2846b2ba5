"""What a mutation is: a fault, how it gets into the code, and the tests that must see it."""

from dataclasses import dataclass

BENCH = "benchmarks/seamo_bench"


@dataclass(frozen=True, slots=True)
class Edit:
    """One change of one file.

    Args:
        path: Below the root.
        old: Text that stands in it exactly once.
        new: What it becomes.
    """

    path: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mutation:
    """A fault, and the tests of which one must fail.

    Args:
        name: What is wrong.
        edits: How it gets into the code.
        tests: As pytest names them.
    """

    name: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]
