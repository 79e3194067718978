"""Reading ahead and writing behind keep order, stay bounded, and pass errors on once."""

import threading
import time
import traceback
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from video.background import read_ahead, write_behind


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(), max_size=30), st.integers(1, 5))
def test_order_is_kept(items: list[int], depth: int) -> None:
    with read_ahead(items, depth) as ahead:
        assert list(ahead) == items
    written: list[int] = []
    with write_behind(written.append, depth) as put:
        for item in items:
            put(item)
    assert written == items


def test_never_more_ahead_than_allowed() -> None:
    made = 0

    def items() -> Iterator[int]:
        nonlocal made
        for i in range(100):
            made += 1
            yield i

    with read_ahead(items(), 3) as ahead:
        for i, _ in enumerate(ahead):
            time.sleep(0.001)
            assert made <= i + 1 + 3 + 1  # taken, queued, and one that waits for room


def test_never_more_behind_than_allowed() -> None:
    done = 0
    gate = threading.Semaphore(0)

    def consume(item: int) -> None:
        nonlocal done
        gate.acquire()
        done += 1

    with write_behind(consume, 2) as put:
        for i in range(3):  # one in work, two queued
            put(i)
        blocked = threading.Thread(target=put, args=(3,))
        blocked.start()
        blocked.join(0.1)
        assert blocked.is_alive()
        assert done == 0
        gate.release(4)
        blocked.join(5)
    assert done == 4


def fail_after(n: int) -> Iterator[int]:
    yield from range(n)
    raise ValueError("from within")


def test_error_of_the_source_comes_after_its_items() -> None:
    seen = []
    with (
        pytest.raises(ValueError, match="from within") as caught,
        read_ahead(fail_after(3), 2) as ahead,
    ):
        seen.extend(ahead)
    assert seen == [0, 1, 2]
    assert "fail_after" in "".join(traceback.format_tb(caught.tb))


def test_error_of_the_consumer_comes_once() -> None:
    calls = []

    def consume(item: int) -> None:
        calls.append(item)
        raise ValueError(f"at {item}")

    def flood() -> None:
        with write_behind(consume, 1) as put:
            for i in range(50):
                put(i)

    with pytest.raises(ValueError, match="at 0") as caught:
        flood()
    assert calls == [0]
    assert "consume" in "".join(traceback.format_tb(caught.tb))


def test_error_of_the_last_item_is_not_lost() -> None:
    with pytest.raises(ZeroDivisionError), write_behind(lambda item: 1 // item, 5) as put:
        put(0)


def test_leaving_early_stops_the_reader() -> None:
    def endless() -> Iterator[int]:
        i = 0
        while True:
            yield i
            i += 1

    with read_ahead(endless(), 2) as ahead:
        next(ahead)
    assert not any(t.name == "read-ahead" for t in threading.enumerate())


def test_what_is_queued_is_written_when_an_exception_passes() -> None:
    written: list[int] = []

    def slow(item: int) -> None:
        time.sleep(0.01)
        written.append(item)

    def interrupted() -> None:
        with write_behind(slow, 5) as put:
            for i in range(5):
                put(i)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert written == [0, 1, 2, 3, 4]
