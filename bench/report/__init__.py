"""The report: one HTML file with everything in it, readable without a network."""

from __future__ import annotations

from bench.report.page import write_report

__all__ = ["write_report"]
