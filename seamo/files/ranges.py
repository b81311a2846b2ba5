"""Ranges of one file put together where they lie near each other: a request costs more than a few bytes too many."""

from collections.abc import Sequence


def near(ranges: Sequence[tuple[int, int]], *, gap: int, longest: int) -> list[tuple[int, int, list[int]]]:
    """Spans that cover ranges.

    Args:
        ranges: (offset, length) each; a length of 0 is in no span.
        gap: Bytes between two ranges that are fetched for nothing rather than asking again.
        longest: Bytes of a span, unless one range is longer.

    Returns:
        (start, stop, positions of its ranges) of every span, by offset.

    Example:
        >>> near([(0, 10), (12, 5), (900, 5)], gap=100, longest=1000)
        [(0, 17, [0, 1]), (900, 905, [2])]
    """
    spans: list[tuple[int, int, list[int]]] = []
    for i in sorted((i for i, one in enumerate(ranges) if one[1] > 0), key=lambda i: ranges[i]):
        offset, length = ranges[i]
        if spans and offset - spans[-1][1] <= gap and offset + length - spans[-1][0] <= longest:
            start, stop, members = spans[-1]
            spans[-1] = (start, max(stop, offset + length), [*members, i])
        else:
            spans.append((offset, offset + length, [i]))
    return spans
