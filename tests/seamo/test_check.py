"""Checking files in threads: what is found stands in the order that was asked for, and nothing goes on after an end."""

import threading

import pytest

from seamo.store import check


def test_items_are_found_in_their_order_the_largest_first():
    begun: list[int] = []
    sizes = [3, 9, 1, 7, 5]

    def call(size: int) -> str:
        begun.append(size)
        return f"found {size}"

    assert check._in_threads(call, sizes, lambda size: size) == [f"found {size}" for size in sizes]
    assert begun[0] == 9
    assert sorted(begun) == sorted(sizes)
    assert check._in_threads(call, [], lambda size: size) == []


@pytest.mark.parametrize("error", [IndexError, OSError, KeyboardInterrupt])
def test_what_one_raises_ends_all(error: type[BaseException]):
    count = 500
    ended, done = threading.Event(), []

    def call(item: int) -> int:
        if item == count:  # the first that is begun
            ended.set()
            raise error("of one")
        assert ended.wait(10)
        done.append(item)
        threading.Event().wait(0.005)
        return item

    with pytest.raises(error, match="of one"):
        check._in_threads(call, range(count + 1), lambda item: item)
    assert len(done) < count
