"""A bundle onto a board over SSH: checked, uploaded, switched, started, healthy, or rolled back."""

from __future__ import annotations
