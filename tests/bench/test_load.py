"""Other work on the machine is noticed."""

from __future__ import annotations

import pytest

from bench.load import LoadWatch, _Counters, reasons_between


def _after(own: float, busy: float, steal: float, waited: float) -> _Counters:
    return _Counters(10.0, own, (busy, 0.0, 0.0, 30.0 - busy - steal, 0.0, 0.0, 0.0, steal), waited)


START = _Counters(0.0, 0.0, (0.0, 0.0, 0.0, 10.0, 0.0, 0.0, 0.0, 0.0), 0.0)


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (_after(own=10, busy=10.5, steal=0, waited=0.1), None),
        (_after(own=10, busy=18, steal=0, waited=0.1), "other processes used 0.8 cores"),
        (_after(own=10, busy=10, steal=0, waited=2.5), "waited for a core 25% of the time"),
        (_after(own=10, busy=10, steal=3, waited=0), "the hypervisor took"),
    ],
)
def test_each_disturbance_has_its_reason(end: _Counters, reason: str | None) -> None:
    """A quiet machine gives no reason, each disturbance its own."""
    found = reasons_between(START, end)
    assert found == [] if reason is None else len(found) == 1 and reason in found[0]


def test_without_counters_there_is_no_reason() -> None:
    """A system without /proc says nothing instead of failing."""
    assert reasons_between(_Counters(0, 0, (), 0), _Counters(1, 1, (), 0)) == []


def test_watches_this_machine() -> None:
    """The counters of this machine can be read; what they say depends on it."""
    assert isinstance(LoadWatch().reasons(), list)
