"""What detector.json says, as values, and the check of its fields."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Callable, Dict, Mapping, Sequence, Tuple

from board_app.core.errors import BundleError

SCHEMA_VERSION = 1
KINDS = ("quantised", "compiled")


@dataclass(frozen=True)
class HeadSpec:
    """One output of the network.

    Attributes:
        output: name of the graph's output tensor.
        stride: network pixels per grid cell.
        anchors: (width, height) in network pixels, in the order of the channels.
        fix_point: real value = integer x 2^-fix_point.
        scale_xy: how far a box centre may leave its cell: 1 not at all, 1.05 by 2.5 % of it on each side (YOLOv4).
        softmax: whether the class scores are one softmax (YOLOv2), or a sigmoid each.
    """

    output: str
    stride: int
    anchors: Tuple[Tuple[float, float], ...]
    fix_point: int
    scale_xy: float = 1.0
    softmax: bool = False


@dataclass(frozen=True)
class DetectorSpec:
    """Everything that must be known to use a network as a detector.

    Attributes:
        classes: short names in the order of the class scores, such as D00.
        input_hw: height and width of the network's input.
        heads: in the order of the graph's outputs.
        pixel_scale: what a pixel value is multiplied with before the network.
        input_tensor: name of the graph's input tensor, and its fix point.
        files: SHA-256 by file name.
        origin: where the model came from, free.
        accuracy: map50_float, map50_int8, data, images as far as known, free.
    """

    name: str
    classes: Tuple[str, ...]
    input_hw: Tuple[int, int]
    heads: Tuple[HeadSpec, ...]
    roadslim_version: str = "unknown"
    kind: str = "quantised"
    channel_order: str = "RGB"
    pixel_scale: float = 1 / 255
    letterbox_grey: int = 128
    input_tensor: str = ""
    input_fix_point: int = 7
    confidence_threshold: float = 0.25
    iou_threshold: float = 0.45
    max_detections: int = 300
    files: Mapping[str, str] = field(default_factory=dict)
    origin: Mapping[str, Any] = field(default_factory=dict)
    accuracy: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.channel_order != "RGB" or self.letterbox_grey != 128:
            raise ValueError("expected channel_order RGB and letterbox_grey 128, the only ones this version knows")
        if self.kind not in KINDS:
            raise ValueError(f"expected kind {' or '.join(KINDS)}, found {self.kind!r}")
        if not self.classes or len(set(self.classes)) != len(self.classes):
            raise ValueError(f"expected one or more different classes, found {list(self.classes)}")
        if not self.heads:
            raise ValueError("expected at least one head, found none")
        for head in self.heads:
            if head.stride < 1 or any(side % head.stride for side in self.input_hw) or min(self.input_hw) < 1:
                raise ValueError(f"expected an input size that is a multiple of stride {head.stride}, {self.input_hw}")
            if not head.anchors or any(side <= 0 for anchor in head.anchors for side in anchor):
                raise ValueError(f"expected one or more anchors above 0, found {head.anchors} for {head.output!r}")
            if head.scale_xy <= 0:
                raise ValueError(f"expected scale_xy above 0, found {head.scale_xy} for {head.output!r}")
        if self.pixel_scale <= 0:
            raise ValueError(f"expected pixel_scale above 0, found {self.pixel_scale}")
        if not 0 < self.confidence_threshold < 1 or not 0 < self.iou_threshold < 1:
            raise ValueError("expected confidence_threshold and iou_threshold between 0 and 1")
        if self.max_detections < 1:
            raise ValueError(f"expected max_detections of 1 or more, found {self.max_detections}")


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("an integer")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e300:
        raise ValueError("a finite number")
    return float(value)


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a text")
    return value


def _texts(value: Any) -> Tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
        raise ValueError("a list of texts")
    return tuple(value)


def _pair(value: Any) -> Tuple[int, int]:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise ValueError("[height, width]")
    return _integer(value[0]), _integer(value[1])


def _anchors(value: Any) -> Tuple[Tuple[float, float], ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(a, (list, tuple)) and len(a) == 2 for a in value):
        raise ValueError("a list of [width, height]")
    return tuple((_number(width), _number(height)) for width, height in value)


def _mapping(value: Any) -> Dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError("an object")
    return dict(value)


def _hashes(value: Any) -> Dict[str, str]:
    return {_text(name): _text(digest) for name, digest in _mapping(value).items()}


def _items(value: Any) -> Sequence[Any]:
    if not isinstance(value, (list, tuple)):
        raise ValueError("a list")
    return value


Reader = Callable[[Any], Any]

_HEAD: Dict[str, Reader] = {
    "output": _text,
    "stride": _integer,
    "anchors": _anchors,
    "fix_point": _integer,
    "scale_xy": _number,
    "softmax": _truth,
}
_HEAD_DEFAULTS = {"scale_xy": 1.0, "softmax": False}  # a YOLOv3 head's; bundles may leave them out
_INPUT: Dict[str, Reader] = {"tensor": _text, "fix_point": _integer}
_TOP: Dict[str, Reader] = {
    "schema_version": _integer,
    "name": _text,
    "roadslim_version": _text,
    "kind": _text,
    "classes": _texts,
    "input_hw": _pair,
    "channel_order": _text,
    "pixel_scale": _number,
    "letterbox_grey": _integer,
    "input": _mapping,
    "heads": _items,
    "confidence_threshold": _number,
    "iou_threshold": _number,
    "max_detections": _integer,
    "files": _hashes,
    "origin": _mapping,
    "accuracy": _mapping,
}


def _read(
    fields: Any, readers: Mapping[str, Reader], where: str, defaults: Mapping[str, Any] = MappingProxyType({})
) -> Dict[str, Any]:
    """The fields, each checked; missing ones without a default and unknown ones are errors."""
    if not isinstance(fields, Mapping):
        raise BundleError(f"{where}: expected an object, found {type(fields).__name__}. Make the bundle again.")
    fields = {**defaults, **fields}
    for key in fields:
        if key not in readers:
            near = difflib.get_close_matches(str(key), readers, 1)
            hint = f"Did you mean {near[0]!r}?" if near else "Remove it, or make the bundle again."
            raise BundleError(f"{where}: expected only {', '.join(readers)}; found unknown key {key!r}. {hint}")
    missing = [key for key in readers if key not in fields]
    if missing:
        raise BundleError(f"{where}: expected the keys {', '.join(missing)}, found none. Make the bundle again.")
    checked = {}
    for key, reader in readers.items():
        try:
            checked[key] = reader(fields[key])
        except ValueError as error:
            raise BundleError(
                f"{where}: expected {error} for {key!r}, found {fields[key]!r}. Make the bundle again."
            ) from None
    return checked


def spec_of(fields: Any, where: str) -> DetectorSpec:
    """The spec that the fields of detector.json describe; `where` names the file in messages.

    Raises:
        BundleError: another schema version, or a field missing, unknown or wrong.
    """
    version = fields.get("schema_version") if isinstance(fields, Mapping) else None
    if version is not None and version != SCHEMA_VERSION:
        raise BundleError(
            f"{where}: expected schema_version {SCHEMA_VERSION}, found {version!r}. "
            "Make the bundle again with this version of roadslim, or use the version that wrote it."
        )
    top = _read(fields, _TOP, where)
    del top["schema_version"]
    entry = _read(top.pop("input"), _INPUT, f"{where}, 'input'")
    heads = tuple(
        HeadSpec(**_read(head, _HEAD, f"{where}, 'heads'[{index}]", _HEAD_DEFAULTS))
        for index, head in enumerate(top.pop("heads"))
    )
    try:
        return DetectorSpec(heads=heads, input_tensor=entry["tensor"], input_fix_point=entry["fix_point"], **top)
    except ValueError as error:
        raise BundleError(f"{where}: {error}. Make the bundle again.") from None


def spec_fields_of(spec: DetectorSpec) -> Dict[str, Any]:
    """The fields of detector.json for a spec, in the order they are written."""
    values: Dict[str, Any] = {key: getattr(spec, key, None) for key in _TOP}
    values.update(
        schema_version=SCHEMA_VERSION,
        classes=list(spec.classes),
        input_hw=list(spec.input_hw),
        input={"tensor": spec.input_tensor, "fix_point": spec.input_fix_point},
        heads=[
            {
                "output": head.output,
                "stride": head.stride,
                "anchors": [list(anchor) for anchor in head.anchors],
                "fix_point": head.fix_point,
                "scale_xy": head.scale_xy,
                "softmax": head.softmax,
            }
            for head in spec.heads
        ],
        files=dict(spec.files),
        origin=dict(spec.origin),
        accuracy=dict(spec.accuracy),
    )
    return values
