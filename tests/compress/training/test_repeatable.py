"""Repeatable training, and what it leaves behind."""

from __future__ import annotations

import pytest
import torch

from compress.training.repeatable import repeatable


def test_torch_is_as_it_was_afterwards_even_after_an_error() -> None:
    """Inside algorithms are deterministic and new memory stays as it is; outside nothing changed."""
    before = torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic.fill_uninitialized_memory
    with pytest.raises(KeyError), repeatable():
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.utils.deterministic.fill_uninitialized_memory
        raise KeyError
    assert before == (
        torch.are_deterministic_algorithms_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,
    )
