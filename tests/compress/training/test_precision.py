"""compress.training.precision: what `auto` means on a machine, and what is said of a precision that does not fit."""

from __future__ import annotations

import logging

import pytest
import torch

from board_app.core.errors import UsageError
from compress.training import precision
from compress.training.precision import check_precision, computes_bf16, products_in

CPU = torch.device("cpu")


def product_type(name) -> torch.dtype:
    with products_in(name, CPU):
        return torch.nn.functional.conv2d(torch.ones(1, 1, 4, 4), torch.ones(1, 1, 3, 3)).dtype


@pytest.mark.parametrize(
    ("capabilities", "found"),
    [
        ({"avx512_bf16": True, "amx_bf16": False}, True),
        ({"avx512_bf16": False, "amx_bf16": True}, True),
        ({"neon": True, "bf16": True}, True),
        ({"avx2": True, "avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, False),
        ({}, False),
    ],
)
def test_auto_is_bf16_where_the_cpu_has_it(capabilities, found, monkeypatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert computes_bf16(CPU) is found
    assert product_type("auto") is (torch.bfloat16 if found else torch.float32)


def test_what_is_asked_for_is_done() -> None:
    assert product_type("float32") is torch.float32
    assert product_type("bf16") is torch.bfloat16


@pytest.mark.parametrize("found", [True, False])
def test_a_bf16_that_is_imitated_is_warned_of(found, monkeypatch, caplog) -> None:
    monkeypatch.setattr(precision, "computes_bf16", lambda device: found)
    with caplog.at_level(logging.WARNING):
        for name in ("bf16", "auto", "float32"):
            check_precision(name, CPU)
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == (not found)
    assert all("bf16: found no instructions" in text and "auto" in text for text in warnings)


def test_fp16_wants_a_gpu() -> None:
    """On a CPU it is refused, with what to take instead."""
    with pytest.raises(UsageError, match="fp16: expected a GPU.*auto"):
        check_precision("fp16", CPU)
