"""Bounded queues and their policies."""

from __future__ import annotations

import threading

import pytest

from board_app.bounded_queue import BoundedQueue, Policy, QueueClosedError


def test_an_empty_closed_queue_gives_nothing() -> None:
    """Iterating a closed empty queue ends at once."""
    queue: BoundedQueue[int] = BoundedQueue(2)
    queue.close()
    assert list(queue) == []


def test_drop_oldest_keeps_the_newest_and_counts() -> None:
    """A full live queue loses its oldest items, counted, and never waits."""
    queue: BoundedQueue[int] = BoundedQueue(2, Policy.DROP_OLDEST)
    for number in range(7):
        queue.put(number)
    queue.close()
    assert list(queue) == [5, 6]
    assert queue.dropped == 5


def test_block_loses_nothing_and_keeps_the_order() -> None:
    """A full blocking queue makes the producer wait; everything arrives in order."""
    queue: BoundedQueue[int] = BoundedQueue(3)

    def produce() -> None:
        for number in range(500):
            queue.put(number)
        queue.close()

    producer = threading.Thread(target=produce)
    producer.start()
    assert list(queue) == list(range(500))
    producer.join(5)
    assert queue.dropped == 0


def test_several_consumers_share_the_items() -> None:
    """Each item goes to exactly one of several consumers."""
    queue: BoundedQueue[int] = BoundedQueue(4)
    taken: list[list[int]] = [[], [], []]
    consumers = [threading.Thread(target=lambda mine=mine: mine.extend(queue)) for mine in taken]
    for consumer in consumers:
        consumer.start()
    for number in range(300):
        queue.put(number)
    queue.close()
    for consumer in consumers:
        consumer.join(5)
    assert sorted(sum(taken, [])) == list(range(300))


@pytest.mark.parametrize("end", ["close", "abort"])
def test_a_waiting_producer_is_woken_when_the_queue_ends(end: str) -> None:
    """Closing or aborting a full queue lets its waiting producer go."""
    queue: BoundedQueue[int] = BoundedQueue(1)
    queue.put(0)
    failed = threading.Event()

    def produce() -> None:
        try:
            queue.put(1)
        except QueueClosedError:
            failed.set()

    producer = threading.Thread(target=produce)
    producer.start()
    getattr(queue, end)()
    assert failed.wait(5)
    producer.join(5)
    assert list(queue) == ([0] if end == "close" else [])


def test_capacity_must_be_positive() -> None:
    """A queue without room is refused."""
    with pytest.raises(ValueError, match="capacity of 1 or more, found 0"):
        BoundedQueue(0)
