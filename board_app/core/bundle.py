"""The bundle: a folder with the model and everything that must be known to use it.

NAME.bundle/
    model.xmodel     the network, quantised or compiled
    detector.json    input, heads, classes, thresholds, hashes, origin, accuracy
    labels.txt       one name to show per line, in the order of the classes
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Sequence, Tuple

from board_app.core.atomic_file import PathLike, sha256_of
from board_app.core.atomic_folder import replacing_folder
from board_app.core.detector_json import SCHEMA_VERSION, DetectorSpec, HeadSpec, spec_fields_of, spec_of
from board_app.core.errors import BundleError

__all__ = ["SCHEMA_VERSION", "Bundle", "DetectorSpec", "HeadSpec", "load_bundle", "write_bundle"]

MODEL_FILE = "model.xmodel"
SPEC_FILE = "detector.json"
LABELS_FILE = "labels.txt"


@dataclass(frozen=True)
class Bundle:
    """A checked bundle.

    Attributes:
        path: the folder.
        spec: what detector.json says.
        labels: names to show, one per class.
    """

    path: Path
    spec: DetectorSpec
    labels: Tuple[str, ...]

    @property
    def model_path(self) -> Path:
        """The .xmodel file."""
        return self.path / MODEL_FILE

    @property
    def model_sha256(self) -> str:
        """The model file's SHA-256, as checked when the bundle was loaded."""
        return self.spec.files[MODEL_FILE]


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # of the JSON or of the UTF-8
        raise BundleError(
            f"{path}: expected JSON, found something else ({error}). Make the bundle again: roadslim compress CONFIG"
        ) from None


def load_bundle(path: PathLike) -> Bundle:
    """Read a bundle and check its schema version, its fields and the hash of every file.

    Raises:
        BundleError: the folder is no bundle, incomplete, changed, or of another version.
    """
    folder = Path(path)
    if not (folder / SPEC_FILE).is_file():
        found = "no such folder" if not folder.exists() else f"a {'folder' if folder.is_dir() else 'file'} without it"
        raise BundleError(
            f"{folder}: expected a bundle (a folder with {SPEC_FILE}), found {found}. "
            "Give the path of a .bundle folder as `roadslim compress` writes it."
        )
    spec = spec_of(_read_json(folder / SPEC_FILE), str(folder / SPEC_FILE))
    for name in (MODEL_FILE, LABELS_FILE):
        if name not in spec.files:
            raise BundleError(
                f"{folder / SPEC_FILE}: expected the hash of {name} in 'files', found only {sorted(spec.files)}. "
                "Make the bundle again."
            )
    for name, expected in spec.files.items():
        _check_file(folder, name, expected)
    labels = _read_labels(folder / LABELS_FILE)
    if len(labels) != len(spec.classes):
        raise BundleError(
            f"{folder / LABELS_FILE}: expected {len(spec.classes)} lines, one per class, found {len(labels)}. "
            "Make the bundle again."
        )
    return Bundle(folder, spec, labels)


def _read_labels(path: Path) -> Tuple[str, ...]:
    try:
        return tuple(path.read_text(encoding="utf-8").splitlines())
    except UnicodeDecodeError as error:
        raise BundleError(f"{path}: expected UTF-8 text, found {error}. Make the bundle again.") from None


def _check_file(folder: Path, name: str, expected: str) -> None:
    if Path(name).name != name:
        raise BundleError(
            f"{folder / SPEC_FILE}: expected plain file names in 'files', found {name!r}. Make the bundle again."
        )
    if not (folder / name).is_file():
        raise BundleError(f"{folder}: expected the file {name}, found none. Copy the bundle again, whole.")
    found = sha256_of(folder / name)
    if found != expected:
        raise BundleError(
            f"{folder / name}: expected SHA-256 {expected}, found {found}: the file was changed or damaged. "
            "Copy the bundle again, or make it again."
        )


def write_bundle(path: PathLike, spec_fields: Dict[str, Any], model_file_bytes: bytes, labels: Sequence[str]) -> Bundle:
    """Write a bundle whole or not at all, taking the place of an older one.

    Args:
        path: the folder to make, by custom NAME.bundle.
        spec_fields: the fields of detector.json; `schema_version` and `files` are filled in here.
        model_file_bytes: content of the .xmodel.
        labels: names to show, one per class, without line breaks.
    Raises:
        BundleError: a field is missing, unknown or wrong, or `path` holds something that is no bundle.
        OSError: the disk is full or the folder cannot be written; what was there before is still there.
    """
    folder = Path(path)
    lines = [str(label) for label in labels]
    if any(len(line.splitlines()) != 1 for line in lines):
        raise BundleError(f"{folder}: expected labels of one line each, found {lines}. Give each class a short name.")
    if folder.exists() and not (folder / SPEC_FILE).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise BundleError(
            f"{folder}: expected a bundle or nothing there, found something else, which stays. Choose another path."
        )
    with replacing_folder(folder) as partial:
        (partial / MODEL_FILE).write_bytes(model_file_bytes)
        (partial / LABELS_FILE).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        files = {name: sha256_of(partial / name) for name in (MODEL_FILE, LABELS_FILE)}
        fields = {"schema_version": SCHEMA_VERSION, **spec_fields, "files": files}
        spec = spec_of(fields, str(folder / SPEC_FILE))
        text = json.dumps(spec_fields_of(spec), indent=2, ensure_ascii=False) + "\n"
        (partial / SPEC_FILE).write_text(text, encoding="utf-8")
        load_bundle(partial)
    return Bundle(folder, spec, tuple(lines))
