"""Bundles: written whole, checked when read."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from board_app.core.bundle import HeadSpec, load_bundle, write_bundle
from board_app.core.errors import BundleError


def fields(**changes: Any) -> dict[str, Any]:
    """A complete detector.json, before hashes."""
    return {
        "name": "tiny",
        "roadslim_version": "0.1.0",
        "kind": "quantised",
        "classes": ["D00", "D40"],
        "input_hw": [64, 96],
        "channel_order": "RGB",
        "pixel_scale": 1 / 255,
        "letterbox_grey": 128,
        "input": {"tensor": "input", "fix_point": 7},
        "heads": [{"output": "head", "stride": 32, "anchors": [[10, 20], [30.5, 40]], "fix_point": 3}],
        "confidence_threshold": 0.25,
        "iou_threshold": 0.45,
        "max_detections": 100,
        "origin": {"run": "r", "nested": {"any": 1}},
        "accuracy": {"map50_float": 0.8},
        **changes,
    }


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def bundle_path(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.bundle"
    write_bundle(path, fields(), b"model bytes", ["Crack", "Pothole"])
    return path


def test_what_is_written_is_read(bundle_path: Path) -> None:
    """Every field comes back, with its exact value."""
    bundle = load_bundle(bundle_path)
    assert bundle.spec.heads == (HeadSpec("head", 32, ((10.0, 20.0), (30.5, 40.0)), 3),)
    assert bundle.spec.pixel_scale == 1 / 255
    assert bundle.spec.classes == ("D00", "D40") and bundle.labels == ("Crack", "Pothole")
    assert bundle.spec.input_hw == (64, 96) and bundle.spec.input_tensor == "input"
    assert bundle.spec.origin == {"run": "r", "nested": {"any": 1}}
    assert bundle.model_path.read_bytes() == b"model bytes"
    assert set(bundle.spec.files) == {"model.xmodel", "labels.txt"}
    assert bundle.model_sha256 == bundle.spec.files["model.xmodel"]


def test_a_head_says_how_it_is_decoded(tmp_path: Path) -> None:
    """What a YOLOv2 or v4 head does otherwise comes back; a scale of 0 would lose the boxes and is refused."""
    (head,) = fields()["heads"]
    other = [{**head, "scale_xy": 1.05, "softmax": True}]
    write_bundle(tmp_path / "a.bundle", fields(heads=other), b"model", ["Crack", "Pothole"])
    assert load_bundle(tmp_path / "a.bundle").spec.heads == (
        HeadSpec("head", 32, ((10.0, 20.0), (30.5, 40.0)), 3, 1.05, True),
    )
    for key, value in (("scale_xy", 0), ("softmax", 1)):
        with pytest.raises(BundleError, match=key):
            write_bundle(tmp_path / "b.bundle", fields(heads=[{**head, key: value}]), b"model", ["a", "b"])


def test_rewriting_the_same_gives_the_same_bytes(bundle_path: Path) -> None:
    """A bundle written again, over the old one, is byte for byte the same and leaves nothing beside it."""
    before = tree(bundle_path)
    write_bundle(bundle_path, fields(), b"model bytes", ["Crack", "Pothole"])
    assert tree(bundle_path) == before
    assert os.listdir(bundle_path.parent) == [bundle_path.name]


def edit(path: Path, **changes: Any) -> None:
    document = json.loads((path / "detector.json").read_text())
    document.update(changes)
    (path / "detector.json").write_text(json.dumps(document))


def damage_model(path: Path) -> None:
    (path / "model.xmodel").write_bytes(b"model bytez")


def damage_labels(path: Path) -> None:
    content = b"caf\xe9\nb\n"
    (path / "labels.txt").write_bytes(content)
    edit(path, files={**_files(path), "labels.txt": hashlib.sha256(content).hexdigest()})


def remove_model(path: Path) -> None:
    (path / "model.xmodel").unlink()


def remove_spec(path: Path) -> None:
    (path / "detector.json").unlink()


DAMAGES: list[tuple[str, Any, str]] = [
    ("wrong hash", damage_model, r"model\.xmodel: expected SHA-256 \w{64}, found \w{64}.*Copy the bundle again"),
    ("missing file", remove_model, r"expected the file model\.xmodel, found none\. Copy"),
    ("no spec", remove_spec, r"expected a bundle .*found a folder without it\. Give"),
    ("no json", lambda p: (p / "detector.json").write_text("{"), r"expected JSON, found .*Make the bundle again"),
    ("not utf-8", lambda p: (p / "detector.json").write_bytes(b"\xff\xfe{"), r"expected JSON, found .*Make"),
    ("no end of lists", lambda p: (p / "detector.json").write_text("[" * 100_000), r"expected JSON, found .*Make"),
    ("a list", lambda p: (p / "detector.json").write_text("[]"), r"expected an object, found list\. Make"),
    ("other schema", lambda p: edit(p, schema_version=2), r"expected schema_version 1, found 2\. Make the bundle"),
    ("unknown key", lambda p: edit(p, iou_treshold=0.5), r"'iou_treshold'. Did you mean 'iou_threshold'\?"),
    ("wrong type", lambda p: edit(p, input_hw="64"), r"expected \[height, width\] for 'input_hw', found '64'"),
    ("bool for a number", lambda p: edit(p, max_detections=True), r"expected an integer for 'max_detections'"),
    ("nested unknown", lambda p: edit(p, input={"tensor": "a", "fix_point": 1, "x": 2}), r"'input'.*unknown key 'x'"),
    ("nested missing", lambda p: edit(p, heads=[{"output": "h"}]), r"'heads'\[0\].*expected the keys stride, anchors"),
    ("no heads", lambda p: edit(p, heads=[]), r"expected at least one head, found none"),
    ("stride", lambda p: edit(p, input_hw=[65, 96]), r"multiple of stride 32"),
    ("grey", lambda p: edit(p, letterbox_grey=0), r"letterbox_grey 128"),
    ("not a number", lambda p: edit(p, pixel_scale=float("nan")), r"expected a finite number for 'pixel_scale'"),
    ("infinite", lambda p: edit(p, heads=[_head(p, anchors=[[float("inf"), 1]])]), r"a finite number for 'anchors'"),
    ("labels not utf-8", damage_labels, r"labels\.txt: expected UTF-8 text, found .*Make the bundle again"),
    ("threshold", lambda p: edit(p, confidence_threshold=25), r"between 0 and 1"),
    ("path in files", lambda p: edit(p, files={**_files(p), "../x": "0"}), r"expected plain file names"),
    ("model not hashed", lambda p: edit(p, files={}), r"expected the hash of model\.xmodel"),
]


def _head(path: Path, **changes: Any) -> dict[str, Any]:
    return {**json.loads((path / "detector.json").read_text())["heads"][0], **changes}


def _files(path: Path) -> dict[str, str]:
    return dict(json.loads((path / "detector.json").read_text())["files"])


@pytest.mark.parametrize(("damage", "message"), [d[1:] for d in DAMAGES], ids=[d[0] for d in DAMAGES])
def test_a_damaged_bundle_is_refused(bundle_path: Path, damage: Any, message: str) -> None:
    """The message says what was expected, what was found and what to do."""
    damage(bundle_path)
    with pytest.raises(BundleError, match=message):
        load_bundle(bundle_path)


def test_missing_key_is_named(bundle_path: Path) -> None:
    """A key that is not there is named."""
    document = json.loads((bundle_path / "detector.json").read_text())
    del document["iou_threshold"]
    (bundle_path / "detector.json").write_text(json.dumps(document))
    with pytest.raises(BundleError, match="expected the keys iou_threshold, found none"):
        load_bundle(bundle_path)


def test_labels_must_match_the_classes(tmp_path: Path) -> None:
    """Another number of labels than classes is refused before anything is written."""
    with pytest.raises(BundleError, match="expected 2 lines, one per class, found 1"):
        write_bundle(tmp_path / "x.bundle", fields(), b"m", ["Crack"])
    assert os.listdir(tmp_path) == []
    with pytest.raises(BundleError, match="labels of one line"):
        write_bundle(tmp_path / "x.bundle", fields(), b"m", ["Crack\nPothole", "b"])


def test_no_such_folder(tmp_path: Path) -> None:
    """A path with nothing there says so."""
    with pytest.raises(BundleError, match="found no such folder"):
        load_bundle(tmp_path / "missing.bundle")


@pytest.mark.parametrize(
    ("changes", "error"),
    [({"kind": "float"}, BundleError), ({"nme": "x"}, BundleError), ({"heads": "x"}, BundleError)],
)
def test_a_failed_write_leaves_the_old_bundle(
    bundle_path: Path, changes: dict[str, Any], error: type[Exception]
) -> None:
    """Wrong fields leave the old bundle as it was, and nothing beside it."""
    before = tree(bundle_path)
    with pytest.raises(error):
        write_bundle(bundle_path, fields(**changes), b"other", ["a", "b"])
    assert tree(bundle_path) == before
    assert os.listdir(bundle_path.parent) == [bundle_path.name]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_bundle(bundle_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """A failing fsync or rename leaves the old bundle as it was, and nothing beside it."""
    before = tree(bundle_path)
    real, calls = getattr(os, call), []

    def fail(*args: Any) -> Any:
        calls.append(args)
        if call == "replace" and len(calls) != 2:  # the second rename is the one that puts the new folder in place
            return real(*args)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="No space left"):
        write_bundle(bundle_path, fields(), b"other", ["a", "b"])
    monkeypatch.undo()
    assert tree(bundle_path) == before
    assert os.listdir(bundle_path.parent) == [bundle_path.name]
    assert load_bundle(bundle_path)


def test_a_folder_that_is_no_bundle_stays(tmp_path: Path) -> None:
    """Somebody's folder is never replaced by a bundle."""
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(BundleError, match="found something else, which stays"):
        write_bundle(tmp_path / "thesis", fields(), b"m", ["a", "b"])
    assert tree(tmp_path / "thesis") == {"chapter.txt": b"years of work"}
