"""The processes of a training; two real ones are in test_two_processes.py and in stages/test_several_processes.py."""

from __future__ import annotations

import copy

import pytest
import torch

from compress.training import processes


def test_one_alone_is_main_and_keeps_what_it_has(network) -> None:
    """Sums, gathers and copies of one process are its own values."""
    assert (processes.count(), processes.rank(), processes.is_main()) == (1, 0, True)
    value = torch.ones(3)
    processes.add_up([value])
    assert value.tolist() == [1, 1, 1]
    assert processes.gathered("mine") == ["mine"] and processes.from_main(lambda: 7) == 7
    before = copy.deepcopy(network.state_dict())
    processes.share_of_main(network)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(("configured", "here", "expected"), [(3, "2", 3), (0, "2", 4), (0, "16", 1), (3, "1", 3)])
def test_processes_of_a_machine_share_its_cores(monkeypatch, configured: int, here: str, expected: int) -> None:
    """Eight cores among those on this machine, at least one each, unless the configuration says how many."""
    monkeypatch.setenv("LOCAL_WORLD_SIZE", here)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    assert processes.threads(configured) == expected


def test_reasons_are_told_without_places_in_somebody_elses_source() -> None:
    """Of gloo's words the first sentence stays."""
    said = "[/a/gloo/pair.cc:545] Read error [127.0.0.1]:8334: Connection reset by peer. This is typically caused by"
    error = processes._gone(processes._reason(RuntimeError(said)))
    assert "(Read error [127.0.0.1]:8334: Connection reset by peer)" in str(error)
