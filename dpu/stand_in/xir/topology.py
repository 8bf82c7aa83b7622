"""Topological order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

Node = TypeVar("Node")


def depth_first_order(after: Mapping[Node, Sequence[Node]]) -> list[Node] | None:
    """Every node before those that come `after` it, in the order that XIR gives; None if there is a circle.

    The order is that of Boost's topological_sort: nodes as they are finished by depth-first search, in reverse.
    """
    finished: list[Node] = []
    state: dict[Node, bool] = {}  # False: under way, True: finished
    for start in after:
        waiting = [(start, iter(after[start]))] if start not in state else []
        state.setdefault(start, False)
        while waiting:
            node, successors = waiting[-1]
            successor = next((other for other in successors if state.get(other) is not True), None)
            if successor is None:
                state[node] = True
                finished.append(node)
                waiting.pop()
            elif successor in state:
                return None
            else:
                state[successor] = False
                waiting.append((successor, iter(after[successor])))
    return finished[::-1]


def stable_order(before: Mapping[Node, Sequence[Node]]) -> list[Node] | None:
    """Every node after those that come `before` it, otherwise in the given order; None if there is a circle."""
    done: dict[Node, None] = {}
    for start in before:
        waiting = [start]
        under_way: set[Node] = set()
        while waiting:
            node = waiting[-1]
            missing = [other for other in before[node] if other not in done]
            if node in done or not missing:
                done[node] = None
                waiting.pop()
            elif node in under_way:
                return None
            else:
                under_way.add(node)
                waiting += missing[::-1]
    return list(done)
