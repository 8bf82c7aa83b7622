"""Queues between the stages: bounded, with a named policy, closed by the one who fills them."""

from __future__ import annotations

import threading
from collections import deque
from enum import Enum
from typing import Deque, Generic, Iterator, TypeVar

T = TypeVar("T")


class Policy(Enum):
    """What happens to a new item when the queue is full."""

    BLOCK = "block"  # the producer waits: nothing is lost; for files
    DROP_OLDEST = "drop_oldest"  # the oldest waiting item goes and is counted; for live sources


class QueueClosedError(Exception):
    """The queue takes no more items."""


class BoundedQueue(Generic[T]):
    """A first-in first-out queue for threads.

    Attributes:
        dropped: items that DROP_OLDEST threw away so far.
    """

    def __init__(self, capacity: int, policy: Policy = Policy.BLOCK) -> None:
        if capacity < 1:
            raise ValueError(f"expected a capacity of 1 or more, found {capacity}")
        self.capacity = capacity
        self.policy = policy
        self.dropped = 0
        self._items: Deque[T] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, item: T) -> None:
        """Add an item; waits or drops by the policy.

        Raises:
            QueueClosedError: the queue is closed, also when that happens while waiting.
        """
        with self._changed:
            while not self._closed and len(self._items) >= self.capacity:
                if self.policy is Policy.DROP_OLDEST:
                    self._items.popleft()
                    self.dropped += 1
                else:
                    self._changed.wait()
            if self._closed:
                raise QueueClosedError
            self._items.append(item)
            self._changed.notify_all()

    def close(self) -> None:
        """Take no more items; what is inside can still be taken out."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def abort(self) -> None:
        """Take no more items and forget what is inside."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        """Take items out until the queue is closed and empty; several threads may do so at once."""
        while True:
            with self._changed:
                while not self._items and not self._closed:
                    self._changed.wait()
                if not self._items:
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item
