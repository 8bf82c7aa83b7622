"""Pictures kept in memory."""

from __future__ import annotations

import pytest

from compress.data.picture_cache import PictureCache


@pytest.mark.parametrize(("limit_bytes", "kept"), [(0, 0), (9, 0), (10, 1), (35, 3), (1000, 5)])
def test_as_many_as_fit_are_kept(limit_bytes: int, kept: int) -> None:
    """Over two rounds each kept picture is decoded once and every other twice."""
    cache, decoded = PictureCache[str](limit_bytes, 10), []

    def decode(index: int) -> str:
        decoded.append(index)
        return f"picture {index}"

    for _ in range(2):
        assert [cache.get(index, decode) for index in range(5)] == [f"picture {index}" for index in range(5)]
    assert len(decoded) == 10 - kept
