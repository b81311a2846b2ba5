"""How the suites say what does not hold: what, where, what to do, as `seamo.errors` does."""


def expect(held: object, where: str, what: str, fix: str = "") -> None:
    """Raise where something does not hold; unlike `assert` also under `python -O`.

    Args:
        held: True in Python's sense if all is well.
        where: What was checked: an id, a task, a row.
        what: What is wrong.
        fix: What to do about it, in whole sentences.

    Raises:
        AssertionError: `<where>: <what>. <fix>`.

    Example:
        >>> expect(1 + 1 == 3, "sum", "1 + 1 is 2", "Count again.")
        Traceback (most recent call last):
        AssertionError: sum: 1 + 1 is 2. Count again.
    """
    if not held:
        raise AssertionError(f"{where}: {what}." + (f" {fix}" if fix else ""))
