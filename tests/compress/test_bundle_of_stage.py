"""A path that leads to a bundle."""

from __future__ import annotations

from pathlib import Path

from compress.bundle_of_stage import find_bundle


def test_a_bundle_is_found_in_its_stage(tmp_path: Path) -> None:
    """A bundle names itself, a stage folder the one bundle in it; any other folder, or two bundles, name none."""
    bundle = tmp_path / "road.bundle"
    bundle.mkdir()
    assert find_bundle(bundle) == bundle
    assert find_bundle(tmp_path) is None
    (tmp_path / "stage.json").write_text("{}")
    assert find_bundle(tmp_path) == bundle
    (tmp_path / "other.bundle").mkdir()
    assert find_bundle(tmp_path) is None
