"""What an .xmodel holds, as a plain document: who wrote it, for which DPU, its subgraphs, tensors and layers."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import asdict
from math import isfinite
from typing import Any

from dpu.architecture import decode_fingerprint
from dpu.errors import DpuError
from dpu.graph import Graph, Op, Subgraph
from dpu.layer_table import Readings, byte_count, constants, element_count, fix_point, layer_rows
from dpu.lowering import is_quantised, lower

_SHOWN_KINDS = ("bool", "int32", "uint32", "int64", "uint64", "float", "double", "string", "string_vec")


def summarise(graph: Graph) -> dict[str, Any]:
    """The fields of `xmodel show --json`, less the versions.

    A quantised graph is shown as it would be compiled (`lowered` true), where the software DPU knows all its operators.
    """
    quantised = is_quantised(graph)
    shown, why_not = graph, None
    if quantised:
        try:
            shown = lower(graph)
        except DpuError as error:
            why_not = str(error)
    parts = shown.root.children if shown.root and shown.root.children else (_whole(shown),)
    fingerprint = dpu_fingerprint(graph)
    dpu_name = next((name for part in graph.subgraphs("DPU") if (name := part.typed("dpu_name", "string"))), None)
    decoded = decode_fingerprint(fingerprint) if fingerprint else None
    readings = Readings(shown)
    everything = constants(Readings(graph), graph.ops)
    return {
        "name": graph.name,
        "kind": "quantised" if quantised else "compiled" if graph.subgraphs("DPU") else "other",
        "lowered": quantised and why_not is None,
        "not_lowered_because": why_not,
        "vitis_ai": vitis_ai_version(graph),
        "libraries": libraries(graph),
        "quantiser": "vai_q_pytorch" if quantised and _is_from_pytorch(graph) else None,
        "origin": graph.typed("origin", "string") or ("pytorch" if _is_from_pytorch(graph) else None),
        "family": decoded.family if decoded else dpu_name and dpu_name.split("_")[0],
        "dpu_name": dpu_name,
        "fingerprint": hexadecimal(fingerprint),
        "features": asdict(decoded) if decoded else None,
        "parameters": sum(element_count(op.output) for op in everything),
        "parameter_bytes": sum(byte_count(op.output) for op in everything),
        "ops": dict(sorted(Counter(op.type for op in graph.ops).items())),
        "op_definitions": len(graph.op_defs),
        "attributes": _attributes(graph),
        "subgraphs": [_subgraph(readings, part, index) for index, part in enumerate(parts)],
    }


def hexadecimal(fingerprint: int) -> str | None:
    """As AMD's tools print a fingerprint; None for 0, which means any DPU."""
    return f"0x{fingerprint:x}" if fingerprint else None


def dpu_fingerprint(graph: Graph) -> int:
    """The first DPU subgraph's fingerprint, 0 where none has one."""
    return next((part.fingerprint for part in graph.subgraphs("DPU") if part.fingerprint), 0)


def libraries(graph: Graph) -> dict[str, str]:
    """The versions of AMD's libraries that wrote the file, by name: xcompiler, xir, target-factory."""
    info = graph.typed("libs_info", "map_string_2_string", {})
    found = [re.fullmatch(r"(?:.* : )?([\w-]+)\.(\d{1,4}\.\d{1,4}\.\d{1,4})", key) for key in sorted(info)]
    return {match[1]: match[2] for match in found if match}


def vitis_ai_version(graph: Graph) -> str | None:
    """The Vitis AI release whose compiler wrote the file (`2.5`); None where no compiler did.

    The newest of its libraries tells: Vitis AI 2.0 has xcompiler 1.4.0 with xir 2.0.0; later all bear one number.
    """
    versions = [tuple(map(int, version.split("."))) for version in libraries(graph).values()]
    if not versions:
        return None
    major, minor, patch = max(versions)
    return f"{major}.{minor}" + (f".{patch}" if patch else "")


def boundary(graph: Graph, subgraph: Subgraph) -> tuple[list[Op], list[Op]]:
    """The operators whose tensors enter and leave a subgraph (constants aside), each sorted by tensor name."""
    readings = Readings(graph)
    return _boundary(readings, readings.inside(subgraph))


def _boundary(readings: Readings, inside: list[Op]) -> tuple[list[Op], list[Op]]:
    names = {op.name for op in inside}
    entering = dict.fromkeys(name for op in inside for name in op.input_names() if name not in names)
    leaving = [
        op
        for op in inside
        if op.type not in ("const", "const-fix")
        and not (readings.readers[op.name] and all(reader.name in names for reader in readings.readers[op.name]))
    ]
    return sorted((readings.ops[name] for name in entering), key=_tensor_name), sorted(leaving, key=_tensor_name)


def _tensor_name(op: Op) -> str:
    return op.output.name


def _is_from_pytorch(graph: Graph) -> bool:
    """Only vai_q_pytorch (and `roadslim quantize`, in its form) gives convolutions a `bias_term`."""
    convolutions = [op for op in graph.ops if op.type.removesuffix("-fix") == "conv2d"]
    return bool(convolutions) and all("bias_term" in op.attrs for op in convolutions)


def _whole(graph: Graph) -> Subgraph:
    name, attrs = (graph.root.name, graph.root.attrs) if graph.root else ("root", {})
    return Subgraph(name, tuple(op.name for op in graph.ops), attrs)


def _attributes(graph: Graph) -> dict[str, Any]:
    """The attributes of the graph and of its root that are short enough to show."""
    attrs = {**(graph.root.attrs if graph.root else {}), **graph.attrs}
    shown = {key: attr.value for key, attr in sorted(attrs.items()) if attr.kind in _SHOWN_KINDS}
    return {key: str(v) if isinstance(v, float) and not isfinite(v) else v for key, v in shown.items()}  # for JSON


def _subgraph(readings: Readings, subgraph: Subgraph, index: int) -> dict[str, Any]:
    inside = readings.inside(subgraph)
    entering, leaving = _boundary(readings, inside)
    entering = entering or [op for op in inside if op.type in ("data", "data-fix")]
    counts = Counter(op.type for op in inside)
    held = [op.output for op in constants(readings, inside)]
    return {
        "index": index,
        "name": subgraph.name,
        "device": subgraph.device or None,
        "fingerprint": hexadecimal(subgraph.fingerprint),
        "dpu_arch": subgraph.typed("dpu_name", "string"),
        "workload": subgraph.typed("workload", "uint64"),
        "workload_on_arch": subgraph.typed("workload_on_arch", "uint64"),
        "ops": dict(sorted(counts.items())),
        "parameters": sum(map(element_count, held)),
        "parameter_bytes": sum(map(byte_count, held)),
        "code_bytes": len(subgraph.typed("mc_code", "bytes", b"")),
        "inputs": [_tensor(op) for op in entering],
        "outputs": [_tensor(op) for op in leaving],
        "registers": _registers(subgraph),
        "layers": layer_rows(readings, inside),
    }


def _tensor(op: Op) -> dict[str, Any]:
    tensor = op.output
    return {"name": tensor.name, "shape": list(tensor.shape), "dtype": tensor.dtype, "fix_point": fix_point(op)}


def _registers(subgraph: Subgraph) -> list[dict[str, Any]]:
    """The DPU's address registers (`reg info` of AMD's tool): what each points to, and the bytes behind it."""
    kinds = subgraph.typed("reg_id_to_context_type_v2", "map_string_2_string", {})
    plain = subgraph.typed("reg_id_to_context_type", "map_string_2_string", {})
    sizes = subgraph.typed("reg_id_to_size", "map_string_2_int32", {})
    return [
        {"id": key, "context_type": kinds.get(key, plain.get(key)), "bytes": sizes.get(key)}
        for key in sorted({*kinds, *plain, *sizes})
    ]
