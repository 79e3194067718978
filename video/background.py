"""Two threads beside the caller's: one that reads ahead, one that writes behind."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import Condition, Thread
from typing import Generic, TypeVar

T = TypeVar("T")


class Closed(Exception):
    """The other side of a channel is gone."""


class Channel(Generic[T]):
    """A bounded queue between two threads that either may close, with an error if there is one."""

    def __init__(self, depth: int) -> None:
        self._items: deque[T] = deque()
        self._depth = depth
        self._closed = False
        self._error: BaseException | None = None
        self._changed = Condition()

    def put(self, item: T) -> None:
        """Add an item, waiting for room; `Closed`, or the error it closed with, once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._items) < self._depth)
            if self._closed:
                raise self._error or Closed
            self._items.append(item)
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        """Take items, waiting for them, until it is closed and empty; then raise its error."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._items)
                if not self._items:
                    if self._error is not None:
                        raise self._error
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item
            del item  # while waiting for the next, nobody else may need this one

    def close(self, error: BaseException | None = None, *, drop: bool = False) -> None:
        """Let both sides go; with `drop`, items still inside are forgotten."""
        with self._changed:
            if not self._closed:
                self._closed, self._error = True, error
            if drop:
                self._items.clear()
            self._changed.notify_all()


@contextmanager
def read_ahead(items: Iterable[T], depth: int) -> Iterator[Iterator[T]]:
    """Iterate in a thread, at most `depth` items ahead.

    Its errors surface where the items are consumed, after the items before them.
    """
    channel: Channel[T] = Channel(depth)

    def fill() -> None:
        try:
            for item in items:
                channel.put(item)
        except Closed:
            pass
        except BaseException as error:
            channel.close(error)
        finally:
            channel.close()

    thread = Thread(target=fill, name="read-ahead", daemon=True)
    thread.start()
    try:
        yield iter(channel)
    finally:
        channel.close(drop=True)
        thread.join()


@contextmanager
def write_behind(consume: Callable[[T], None], depth: int) -> Iterator[Callable[[T], None]]:
    """Consume in a thread what the yielded function is given, at most `depth` items behind.

    Leaving the block waits for what is still queued, also when an exception passes. Errors of
    `consume` surface at the next item or when the block is left.
    """
    channel: Channel[T] = Channel(depth)

    def drain() -> None:
        try:
            for item in channel:
                consume(item)
        except BaseException as error:
            failure.append(error)
            channel.close(error, drop=True)

    failure: list[BaseException] = []
    thread = Thread(target=drain, name="write-behind", daemon=True)
    thread.start()
    try:
        yield channel.put
    finally:
        channel.close()
        thread.join()
    if failure:
        raise failure[0]
