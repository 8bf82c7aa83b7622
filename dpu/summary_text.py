"""The document of `xmodel show` in words and tables for people, at most 100 columns wide."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

WIDTH = 100
INDENT = 4


def lines(document: dict[str, Any], with_layers: bool) -> Iterator[str]:
    """The text, line by line."""
    yield f"{shortened(document['name'] or 'no name', 60)}, {document['kind']}, {_written_by(document)}"
    yield from _pairs(list(_facts(document)), indent=2)
    if document["lowered"]:
        yield "  Shown as the software DPU runs it:"
    elif document["not_lowered_because"]:
        yield from textwrap.wrap(
            f"Shown as it is, for the software DPU does not run it: {document['not_lowered_because']}",
            WIDTH,
            initial_indent="  ",
            subsequent_indent="    ",
        )
    for subgraph in document["subgraphs"]:
        yield ""
        yield from _subgraph(subgraph)
        if with_layers and subgraph["layers"]:
            yield from _layers(subgraph["layers"])


def _written_by(document: dict[str, Any]) -> str:
    if document["vitis_ai"]:
        return f"written by Vitis AI {document['vitis_ai']}"
    if document["quantiser"]:
        return f"written by {document['quantiser']}, or in its form"
    return "written by no compiler known here"


def _facts(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if document["libraries"]:
        yield "libraries", ", ".join(f"{name} {version}" for name, version in document["libraries"].items())
    if document["origin"]:
        yield "made with", document["origin"]
    if document["dpu_name"]:
        yield "DPU", document["dpu_name"]
    elif document["kind"] == "quantised":
        yield "DPU", "not compiled for one yet"
    elif document["family"] is None:
        yield "DPU", "none"
    if document["features"]:
        yield "fingerprint", f"{document['fingerprint']} = {_features(document['features'])}"
    yield "parameters", f"{document['parameters']:,} ({_bytes(document['parameter_bytes'])})"
    yield "operators", _counts(document["ops"])
    for key, value in document["attributes"].items():
        if key not in ("origin", "workload", "workload_on_arch"):
            yield key, ", ".join(value) if isinstance(value, tuple) else str(value)


def _features(features: dict[str, Any]) -> str:
    words = [features["family"], f"ISA {features['isa']}"]
    if features["expired"]:
        words[-1] += " (expired since Vitis AI 2.5)"
    if features["size"]:
        words.append(features["size"])
    if features["feature_groups"] is not None:
        words.append(f"{features['feature_groups']} feature bank groups")
    names = {
        "channel_augmentation": "channel augmentation",
        "conv_leaky": "leaky ReLU after convolution",
        "depthwise_leaky": "leaky ReLU after depthwise",
        "save_argmax": "argmax",
    }
    words += [f"{'' if features[key] else 'no '}{text}" for key, text in names.items() if features[key] is not None]
    return ", ".join(words)


def _subgraph(subgraph: dict[str, Any]) -> Iterator[str]:
    yield f"[{subgraph['index']}] {subgraph['device'] or 'no device'}  {shortened(subgraph['name'], 84)}"
    pairs = [("operators", _counts(subgraph["ops"]))]
    if subgraph["workload"]:
        useful = f"{_count(subgraph['workload'])} operations"
        if subgraph["workload_on_arch"]:
            share = subgraph["workload"] / subgraph["workload_on_arch"]
            useful += f" ({_count(subgraph['workload_on_arch'])} on the DPU's lanes, {share:.0%} of them in use)"
        pairs.append(("work", useful))
    if subgraph["parameters"]:
        pairs.append(("parameters", f"{subgraph['parameters']:,} ({_bytes(subgraph['parameter_bytes'])})"))
    if subgraph["code_bytes"]:
        pairs.append(("DPU code", _bytes(subgraph["code_bytes"])))
    yield from _pairs(pairs, indent=INDENT)
    tensors = [(way, tensor) for way in ("inputs", "outputs") for tensor in subgraph[way]]
    if tensors:
        yield from _table(
            ("", "tensor", "shape", "type", "fix"),
            [
                (way[:-1], shortened(t["name"], 48), _shape(t["shape"]), t["dtype"], _number(t["fix_point"]))
                for way, t in tensors
            ],
            right=(4,),
        )
    if subgraph["registers"]:
        rows = [
            (reg["id"], reg["context_type"] or "-", _bytes(reg["bytes"]) if reg["bytes"] is not None else "-")
            for reg in subgraph["registers"]
        ]
        yield from _table(("register", "holds", "size"), rows, right=(2,))


def _layers(layers: list[dict[str, Any]]) -> Iterator[str]:
    rows = []
    for layer in layers:
        fix = layer["fix_points"]
        positions = "/".join(shortened(_number(fix[key]), 4) for key in ("input", "weights", "bias", "output"))
        rows.append(
            (
                layer["name"],
                shortened(re.sub(r"(?<=[de])-conv2d|-fix$", "", layer["type"]), 12)
                + (
                    f"+{shortened(layer['activation'].lower().replace('leakyrelu', 'leaky'), 8)}"
                    if layer["activation"]
                    else ""
                ),
                _pair(layer["kernel_hw"]) + ("/" + _pair(layer["stride_hw"]) if layer["stride_hw"] else ""),
                _picture(layer["input_shape"]),
                _picture(layer["output_shape"]),
                _count(layer["weight_bytes"]),
                positions,
                _count(layer["workload"] or 0),
            )
        )
    head = ("layer", "type", "kernel", "in", "out", "bytes", "fix i/w/b/o", "ops")
    taken = sum(max(len(row[i]) for row in (head, *rows)) + 2 for i in range(1, len(head)))
    room = max(WIDTH - INDENT - taken, 8)
    yield from _table(head, [(shortened(row[0], room), *row[1:]) for row in rows], right=(5, 7))


def _pairs(pairs: list[tuple[str, str]], indent: int) -> Iterator[str]:
    names = [shortened(key, 24) for key, _ in pairs]
    margin = " " * (indent + max((len(name) for name in names), default=0) + 2)
    for name, (_, text) in zip(names, pairs, strict=True):
        first = f"{'':{indent}}{name}".ljust(len(margin))
        text = shortened(text, 2000) or "-"
        yield from textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=margin, break_on_hyphens=False)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]], right: tuple[int, ...]) -> Iterator[str]:
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    for row in (head, *rows):
        cells = [f"{c:>{w}}" if i in right else f"{c:<{w}}" for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        yield (" " * INDENT + "  ".join(cells)).rstrip()


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {shortened(kind, 40)}" for kind, count in counts.items())


def shortened(text: str, length: int) -> str:
    """A name that fits: its beginning and its end, control characters shown."""
    text = "".join(c if c.isprintable() else "?" for c in text)
    if len(text) <= length:
        return text
    end = (length - 1) * 2 // 3
    return text[: length - 1 - end] + "…" + text[-end:]


def _shape(shape: list[int]) -> str:
    return shortened("[" + ", ".join(map(str, shape)) + "]", 28)


def _picture(shape: list[int] | None) -> str:
    if shape is None:
        return "-"
    return shortened("x".join(map(str, shape[1:] if len(shape) == 4 and shape[0] == 1 else shape)), 14)


def _pair(pair: list[int] | None) -> str:
    if pair is None:
        return "-"
    return str(pair[0]) if pair[0] == pair[1] else f"{pair[0]}x{pair[1]}"


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)


def _count(value: int) -> str:
    for unit, size in (("T", 10**12), ("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if value >= size:
            return f"{value // (size // 1000) / 1000:.3g}{unit}" if value < 1000 * size else f"over 999{unit}"
    return str(value) if value else "-"


def _bytes(value: int) -> str:
    return f"{value:,} B" if value < 10_000 else f"{value / 1e3:,.1f} kB" if value < 10**7 else f"{value / 1e6:,.1f} MB"
